"""kumo.http and the redis module, over httpx and redis-py.

They block, as calls in a policy do; only the Lua threads call them, never the event loop.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from sandbox.kumomta.lua_object import LuaObject
from sandbox.kumomta.options import PolicyError, checked, seconds


class HttpClient(LuaObject):
    lua_name = "HttpClient"
    lua_methods = ("get", "post", "put", "close")

    def __init__(self, options: object) -> None:
        wanted = checked("http.build_client", options)
        self.client = httpx.Client(
            timeout=wanted.get("timeout", 60.0),
            headers={"User-Agent": wanted.get("user_agent", "kumomta")},
            verify=not wanted.get("accept_invalid_certs", False),
            # A proxy of the surroundings must not come between two processes of one machine.
            trust_env=False,
        )

    def get(self, url: str) -> HttpRequest:
        return HttpRequest(self.client, "GET", url)

    def post(self, url: str) -> HttpRequest:
        return HttpRequest(self.client, "POST", url)

    def put(self, url: str) -> HttpRequest:
        return HttpRequest(self.client, "PUT", url)

    def close(self) -> None:
        self.client.close()


class HttpRequest(LuaObject):
    lua_name = "HttpRequest"
    lua_methods = ("header", "bearer_auth", "basic_auth", "body", "timeout", "send")

    def __init__(self, client: httpx.Client, method: str, url: str) -> None:
        self._client, self._method, self._url = client, method, url
        self._headers: dict[str, str] = {}
        self._auth: tuple[str, str] | None = None
        self._body: str | None = None
        self._timeout: float | None = None

    def header(self, name: str, value: str) -> HttpRequest:
        self._headers[name] = value
        return self

    def bearer_auth(self, token: str) -> HttpRequest:
        return self.header("Authorization", f"Bearer {token}")

    def basic_auth(self, user: str, password: str = "") -> HttpRequest:
        self._auth = (user, password)
        return self

    def body(self, text: str) -> HttpRequest:
        self._body = text
        return self

    def timeout(self, duration: Any) -> HttpRequest:
        self._timeout = seconds(duration)
        return self

    def send(self) -> HttpResponse:
        extra: dict[str, Any] = {} if self._timeout is None else {"timeout": self._timeout}
        try:
            answer = self._client.request(
                self._method,
                self._url,
                headers=self._headers,
                content=None if self._body is None else self._body.encode(),
                auth=self._auth,
                **extra,
            )
        except httpx.HTTPError as error:
            raise PolicyError(f"{self._method} {self._url}: {error!r}") from error
        return HttpResponse(answer)


class HttpResponse(LuaObject):
    lua_name = "HttpResponse"
    lua_methods = ("status_code", "status_reason", "status_is_success", "text")

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    def status_code(self) -> int:
        return self._answer.status_code

    def status_reason(self) -> str:
        return self._answer.reason_phrase

    def status_is_success(self) -> bool:
        return self._answer.is_success

    def text(self) -> str:
        return self._answer.content.decode("utf-8", "replace")


class RedisPools:
    """One pool per set of arguments, as in kumod; shared by all Lua states."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[str, redis.Redis] = {}

    def open(self, options: object) -> RedisConnection:
        wanted = checked("redis.open", options)
        key = json.dumps(wanted, sort_keys=True)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = _client(wanted)
            return RedisConnection(self._clients[key])

    def close(self) -> None:
        with self._lock:
            for client in self._clients.values():
                client.connection_pool.disconnect()
            self._clients.clear()


def _client(wanted: dict[str, Any]) -> redis.Redis:
    pool = redis.BlockingConnectionPool.from_url(
        wanted["node"],
        max_connections=wanted.get("pool_size", 10),
        timeout=wanted.get("wait_timeout", 30.0),
        socket_connect_timeout=wanted.get("connect_timeout", 30.0),
        socket_timeout=wanted.get("response_timeout", 30.0),
        protocol=2,
        # One second try with a new connection: an idle one may have died with the server.
        retry=Retry(NoBackoff(), 1),
        retry_on_error=[redis.ConnectionError],
    )
    client = redis.Redis(connection_pool=pool)
    # Answers as the server gives them, not as redis-py likes to shape them.
    client.response_callbacks.clear()
    return client


class RedisConnection(LuaObject):
    lua_name = "RedisConnection"
    lua_methods = ("query",)

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def query(self, *command: Any) -> Any:
        try:
            return _plain(self._client.execute_command(*command))  # type: ignore[no-untyped-call]
        except (redis.RedisError, OSError) as error:
            raise PolicyError(f"redis: {type(error).__name__}: {error}") from error


def _plain(answer: Any) -> Any:
    if isinstance(answer, bytes):
        return True if answer == b"OK" else answer.decode("utf-8", "replace")
    if isinstance(answer, list | tuple):
        # kumod appends to a Lua array, and appending nil does nothing: missing values close up.
        return [_plain(item) for item in answer if item is not None]
    return answer
