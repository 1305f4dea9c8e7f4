"""One Lua 5.4 state with the policy loaded. Belongs to the thread that made it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lupa.lua54 import LuaError, LuaRuntime, lua_type

from sandbox.kumomta.lua_object import LuaObject
from sandbox.kumomta.options import PolicyError

LUA = Path(__file__).parent / "lua"
log = logging.getLogger("sandbox.kumomta.policy")


class Rejected(Exception):
    """kumo.reject or kumo.disconnect: the SMTP answer, and what becomes of the session."""

    def __init__(self, code: int, message: str, disposition: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.message = message
        self.disposition = disposition


class PolicyFailed(Exception):
    """Any other error of a handler; the text has the Lua traceback."""


MISSING = object()


def _deny(_obj: object, attribute: object, _setting: bool) -> object:
    # Lua reaches host objects through declared methods only (see prelude.lua), never by attribute.
    raise AttributeError(f"{attribute!r} is not open to Lua")


class LuaState:
    """`functions` maps dotted names below `kumo` to host functions; `support` the prelude's own.

    Raises PolicyFailed when the policy does not load.
    """

    def __init__(
        self,
        policy: Path,
        functions: Mapping[str, Callable[..., Any]],
        support: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._lua = LuaRuntime(
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_deny,
        )
        self._functions = functions
        folders = (policy.parent, LUA)
        self._lua.globals().package.path = ";".join(f"{folder}/?.lua" for folder in folders)
        prelude = self._lua.execute((LUA / "prelude.lua").read_text(), self._host(support))
        self._fire, self._wrap = prelude.fire, prelude.wrap
        self._call_method = prelude.call_method
        try:
            self._lua.execute(policy.read_text())
        except LuaError as error:
            raise PolicyFailed(f"{policy}: {error}") from error

    def fire(self, event: str, *arguments: Any, mode: str = "single") -> Any:
        """What the handlers returned, or MISSING; raises Rejected or PolicyFailed."""
        answer = self._fire(event, mode, *(self.to_lua(argument) for argument in arguments))
        return self._finished(event, answer)

    def fire_raw(self, event: str, *arguments: Any) -> Any:
        """As `fire`, but the Lua value itself, for objects of the policy's own."""
        answer = self._fire(event, "single", *(self.to_lua(argument) for argument in arguments))
        return self._finished(event, answer, raw=True)

    def call_method(self, target: Any, name: str, *arguments: Any) -> Any:
        answer = self._call_method(target, name, *(self.to_lua(argument) for argument in arguments))
        return self._finished(name, answer)

    def _finished(self, what: str, answer: Any, raw: bool = False) -> Any:
        status, *values = answer if isinstance(answer, tuple) else (answer,)
        if status == "missing":
            return MISSING
        if status == "reject":
            raise Rejected(*values)
        if status == "error":
            raise PolicyFailed(f"{what}: {values[0]}")
        value = values[0] if values else None
        return value if raw else self.to_python(value)

    # Values that cross the border.

    def to_lua(self, value: Any) -> Any:
        if isinstance(value, LuaObject):
            return self._wrap(value, value.lua_name)
        if isinstance(value, Mapping):
            table = self._lua.table()
            for key, item in value.items():
                table[key] = self.to_lua(item)
            return table
        if isinstance(value, list | tuple):
            return self._lua.table(*(self.to_lua(item) for item in value))
        return value

    def to_python(self, value: Any) -> Any:
        """Tables become lists (keys 1..n) or dicts; an empty table is an empty dict."""
        if lua_type(value) != "table":
            return value
        handle = value["__h"]
        if handle is not None:
            return handle
        pairs = list(value.items())
        if pairs and all(isinstance(key, int) for key, _ in pairs):
            return [self.to_python(item) for _, item in sorted(pairs, key=lambda pair: pair[0])]
        return {str(key): self.to_python(item) for key, item in pairs}

    # The functions behind prelude.lua: each answers (True, value…) or (False, message).

    def _host(self, support: Mapping[str, Callable[..., Any]]) -> Any:
        host = self._lua.table()
        for name, function in support.items():
            host[name] = self._guarded(function)
        host["call"] = self._guarded(lambda name, *arguments: self._functions[name](*arguments))
        host["invoke"] = self._guarded(_invoke)
        host["field"] = self._guarded(getattr)
        host["text"] = self._guarded(str)
        host["names"] = self._guarded(lambda: list(self._functions))
        host["methods"] = self._guarded(lambda name: list(LuaObject.registry[name].lua_methods))
        host["fields"] = self._guarded(lambda name: list(LuaObject.registry[name].lua_fields))
        return host

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
        def call(*arguments: Any) -> tuple[Any, ...]:
            try:
                answer = function(*(self.to_python(argument) for argument in arguments))
                if isinstance(answer, tuple):
                    return (True, *(self.to_lua(item) for item in answer))
                return (True, self.to_lua(answer))
            except PolicyError as error:
                return (False, str(error))
            except (TypeError, KeyError, ValueError) as error:
                # A wrong call by the policy; kumod refuses the conversion of the arguments.
                log.debug("refused call", exc_info=True)
                return (False, f"bad argument: {error}")

        return call


def _invoke(handle: LuaObject, name: str, *arguments: Any) -> Any:
    return getattr(handle, name)(*arguments)
