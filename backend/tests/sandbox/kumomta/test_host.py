"""The `kumo` module that the policy meets: as strict as kumod's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.clock import VirtualClock
from sandbox.kumomta.admin_rules import Suspensions, queue_parts
from sandbox.kumomta.authentication import Authentication
from sandbox.kumomta.host import Host
from sandbox.kumomta.lua_state import MISSING, LuaState, PolicyFailed, Rejected
from sandbox.kumomta.memo import Memos
from sandbox.kumomta.message import ConnectionMeta, Message
from sandbox.kumomta.options import PolicyError, checked, seconds
from sandbox.receivers.lookups import Lookups

Run = Callable[..., Any]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def make_host(clock: VirtualClock, **env: str) -> Host:
    origins = Authentication(clock, Lookups(lambda: ("127.0.0.1", 53)))
    return Host(clock, Suspensions(clock), env, origins)


@pytest.fixture
def run(tmp_path: Path, clock: VirtualClock, valkey_url: str) -> Iterator[Run]:
    """Runs the body of a handler with the given arguments and returns what it returns."""
    hosts = []

    def call(body: str, *arguments: Any, **env: str) -> Any:
        host = make_host(clock, REDIS=valkey_url, **env)
        hosts.append(host)
        policy = tmp_path / "init.lua"
        policy.write_text(f"kumo.on('test', function(...) {body} end)")
        return LuaState(policy, host.functions(), host.support()).fire("test", *arguments)

    yield call
    for host in hosts:
        host.close()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("kumo.start_esmtp_listener { listne = 'x' }", "missing field `listen`"),
        ("kumo.start_esmtp_listener { listen = 'x', tls = 1 }", "unknown field `tls`"),
        (
            "kumo.start_esmtp_listener { listen = 'x', trace_headers = { names = {} } }",
            "trace_headers: unknown field `names`",
        ),
        ("kumo.make_queue_config { max_age = 'long' }", "invalid duration 'long'"),
        ("kumo.make_queue_config { protocol = { custom_lua = { size = 1 } } }", "constructor"),
        (
            "kumo.make_egress_pool { name = 'x', entries = { { weight = 1 } } }",
            "missing field `name`",
        ),
        ("kumo.make_egress_source { name = 'x', remote_port = 'smtp' }", "expected int"),
        ("kumo.configure_log_hook { name = 'x', per_record = { Bounced = {} } }", "`Bounced`"),
        ("kumo.memoize(print, { name = 'x', ttl = '1s' })", "missing field `capacity`"),
        ("kumo.api.admin.suspend.suspend { reason = 'x', tenent = 'y' }", "unknown field `tenent`"),
        ("kumo.make_everything {}", "attempt to call a nil value"),
        ("(...):get_mta('x')", "no field or method named get_mta"),
        ("local msg = ...; msg.x = 1", "read-only"),
        ("kumo.reject('550', 'x')", "takes an integer"),
        ("forgotten = 1", "global `forgotten` is not declared"),
        ("return mispelt", "global `mispelt` is not declared"),
        ("error 'boom'", "boom"),
    ],
)
def test_mistakes_are_errors(run: Run, body: str, complaint: str) -> None:
    with pytest.raises(PolicyFailed) as caught:
        run(body, ConnectionMeta({}))
    assert complaint in str(caught.value)


def test_reject_and_disconnect_reach_the_server_and_pcall(run: Run) -> None:
    with pytest.raises(Rejected) as caught:
        run("kumo.reject(550, '5.7.1 no')")
    assert (caught.value.code, caught.value.message) == (550, "5.7.1 no")
    with pytest.raises(Rejected) as caught:
        run("kumo.disconnect(421, 'bye')")
    assert caught.value.disposition == "ForceDisconnect"
    assert run("local ok, err = pcall(kumo.reject, 550, 'no'); return { ok, tostring(err) }") == [
        False,
        "550 no",
    ]
    assert run("return 1") == 1


def test_host_errors_can_be_caught(run: Run) -> None:
    caught = run("return select(2, pcall(kumo.serde.json_parse, '{'))")
    assert caught.startswith("json_parse:")


def test_an_event_without_a_handler(run: Run, tmp_path: Path, clock: VirtualClock) -> None:
    host = make_host(clock)
    (tmp_path / "empty.lua").write_text("")
    state = LuaState(tmp_path / "empty.lua", host.functions(), host.support())
    assert state.fire("test") is MISSING


def test_a_policy_with_a_mistake_does_not_load(tmp_path: Path, clock: VirtualClock) -> None:
    host = make_host(clock)
    (tmp_path / "bad.lua").write_text("kumo.on('x'")
    with pytest.raises(PolicyFailed):
        LuaState(tmp_path / "bad.lua", host.functions(), host.support())


def test_time_and_environment_are_the_worlds(run: Run, clock: VirtualClock) -> None:
    clock.advance(86400 * 400)
    assert run("return os.time()") == pytest.approx(clock.timestamp(), abs=1)
    assert run("return os.date('!%Y%m%d')") == clock.now().strftime("%Y%m%d")
    assert run("return os.date('!%Y', 0)") == "1970"
    assert run("return os.getenv 'GREETING'", GREETING="hello") == "hello"
    assert run("return os.getenv 'HOME' == nil") is True


def test_lua_cannot_reach_into_the_host(run: Run) -> None:
    body = "local msg = ...; return rawget(msg, '__h').__class__"
    with pytest.raises(PolicyFailed):
        run(body, ConnectionMeta({}))


def test_redis_answers_have_the_shape_kumod_gives_them(run: Run) -> None:
    opened = "local redis = require 'redis'; local c = redis.open { node = os.getenv 'REDIS' }; "
    run(opened + "c:query('FLUSHDB')")
    assert run(opened + "return c:query('SET', 'a', 'x')") is True
    assert run(opened + "return c:query('GET', 'missing') == nil") is True
    # Missing values close up: the answer cannot be matched with the question by position.
    assert run(opened + "return c:query('MGET', 'missing', 'a')") == ["x"]
    run(opened + "c:query('HSET', 'h', 'k', 'v')")
    assert run(opened + "return c:query('HGETALL', 'h')") == ["k", "v"]
    assert run(opened + "return c:query('EVAL', 'return 7', 0)") == 7
    with pytest.raises(PolicyFailed, match="WRONGTYPE"):
        run(opened + "c:query('GET', 'h')")


def test_hmac_matches_a_known_vector(run: Run) -> None:
    # RFC 4231 section 4.3.
    body = (
        "return kumo.digest.hmac_sha256({ key_data = 'Jefe' }, 'what do ya want for nothing?').hex"
    )
    assert run(body) == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_values_survive_the_border(run: Run) -> None:
    value = {"a": [1, 2.5, "ü", True], "b": {"c": "d"}, "e": []}
    text = "return kumo.serde.json_parse(kumo.serde.json_encode(...))"
    assert run(text, value) == {**value, "e": {}}


class TestMemoize:
    @pytest.fixture
    def memos(self, clock: VirtualClock) -> Memos:
        made = Memos(lambda: clock.now().timestamp())
        options = {"name": "m", "ttl": "5s", "capacity": 2, "invalidate_with_epoch": True}
        made.declare(options)
        return made

    def load(self, memos: Memos, value: Any, *arguments: Any) -> Any:
        hit, found = memos.take("m", list(arguments))
        if not hit:
            memos.put(found, value)
            return value
        return found

    def test_values_live_for_their_ttl(self, memos: Memos, clock: VirtualClock) -> None:
        assert self.load(memos, "old", "k") == "old"
        assert self.load(memos, "new", "k") == "old"
        clock.advance(5)
        assert self.load(memos, "new", "k") == "new"

    def test_errors_are_served_for_60_s(self, memos: Memos, clock: VirtualClock) -> None:
        _, ticket = memos.take("m", ["k"])
        memos.fail(ticket, "away")
        clock.advance(59)
        with pytest.raises(PolicyError, match="away"):
            memos.take("m", ["k"])
        clock.advance(2)
        assert memos.take("m", ["k"])[0] is False

    def test_the_oldest_goes_when_it_is_full_and_all_go_with_the_epoch(self, memos: Memos) -> None:
        for key in "abc":
            self.load(memos, key, key)
        assert self.load(memos, "again", "a") == "again"
        memos.epoch += 1
        assert self.load(memos, "after", "c") == "after"

    def test_one_loads_and_the_others_wait(self, memos: Memos) -> None:
        _, ticket = memos.take("m", ["k"])
        seen: list[Any] = []
        waiting = [
            threading.Thread(target=lambda: seen.append(self.load(memos, "mine", "k")))
            for _ in range(5)
        ]
        for thread in waiting:
            thread.start()
        memos.put(ticket, "first")
        for thread in waiting:
            thread.join(5)
        assert seen == ["first"] * 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("20m", 1200), ("1 day", 86400), ("500ms", 0.5), ("1h 30m", 5400), (90, 90)],
)
def test_durations(text: object, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "5 parsecs", "10", True, None])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(PolicyError):
        seconds(text)


def test_an_empty_table_is_a_list_where_one_is_wanted() -> None:
    assert checked("make_egress_pool", {"name": "x", "entries": {}})["entries"] == []


def test_queue_names() -> None:
    assert queue_parts("c:t@d!r") == {
        "campaign": "c", "tenant": "t", "domain": "d", "routing_domain": "r",
    }  # fmt: skip
    assert queue_parts("d")["tenant"] is None


def test_header_surgery(clock: VirtualClock) -> None:
    content = b"A: 1\r\nB: 2\r\n folded\r\na: 3\r\n\r\nA: body\r\n"
    message = Message("a@b.test", ["c@d.test"], content, {}, clock.now)
    message.remove_all_named_headers("A")
    assert message.content == b"B: 2\r\n folded\r\n\r\nA: body\r\n"
    message.append_header("C", "x")
    message.prepend_header("D", "y")
    assert message.content == b"D: y\r\nB: 2\r\n folded\r\nC: x\r\n\r\nA: body\r\n"


def test_memoized_tables_are_not_tables(run: Run) -> None:
    body = """
      local get = kumo.memoize(function(n) return { n = n, list = { 'a', 'b' } } end, {
        name = 'user.t', ttl = '1m', capacity = 10 })
      local first, second = get(1), get(1)
      local names = {}
      for name in pairs(second) do names[#names + 1] = name end
      table.sort(names)
      return { type(first), type(second), second.n, second.missing == nil, #second.list,
        second.list[2], table.concat(names, ','), type(select(2, pcall(function() second.n = 2 end))) }
    """
    assert run(body) == ["userdata", "userdata", 1, True, 2, "b", "list,n", "string"]
