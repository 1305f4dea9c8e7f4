"""From the bytes of a query to the bytes of a response, with the faults that are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from dnslib import CLASS, EDNS0, OPCODE, QTYPE, RCODE, DNSError, DNSHeader, DNSRecord

from sandbox.dns.authority import Answer, Authority
from sandbox.dns.zone import rr
from sandbox.faults import Fault
from sandbox.world import World

PLAIN_UDP = 512  # RFC 1035, section 4.2.1.
EDNS_UDP = 1232  # What today's servers send without risking fragments.
CACHED = 20_000


@dataclass(frozen=True)
class Reply:
    """None stays silent; `seconds` is how long to wait before sending."""

    wire: bytes | None
    seconds: float = 0.0


class Messages:
    """Answers queries; remembers whole responses until a zone changes, which makes it fast."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.authority = Authority(world)
        self._cache: dict[tuple[bool, bytes], bytes] = {}
        self._sources: tuple[object, ...] = ()

    def reply(self, query: bytes, tcp: bool) -> Reply:
        if self._world.faults.rules:
            return self._perhaps_faulty(query, tcp)
        sources = self.authority.sources()
        if len(self._cache) > CACHED or not _same(sources, self._sources):
            self._cache.clear()
            self._sources = sources
        # The two bytes of the id are the only ones that differ between equal queries.
        key = (tcp, query[2:])
        rest = self._cache.get(key)
        if rest is None:
            wire = self._answer(query, tcp)
            if wire is None:
                return Reply(None)
            self._cache[key] = rest = wire[2:]
        return Reply(query[:2] + rest)

    def _answer(self, query: bytes, tcp: bool) -> bytes | None:
        request = _parse(query)
        if request is None:
            return _malformed(query)
        refusal = _unanswerable(request)
        if refusal is not None:
            return _pack(request, Answer(refusal), tcp)
        question = request.q
        return _pack(request, self.authority.resolve(_name(request), question.qtype), tcp)

    def _perhaps_faulty(self, query: bytes, tcp: bool) -> Reply:
        """The rule's pattern sees `QUERY example.com TXT udp`."""
        request = _parse(query)
        if request is None or _unanswerable(request) is not None:
            return Reply(self._answer(query, tcp))
        kind = QTYPE.get(request.q.qtype)
        operation = f"QUERY {_name(request)} {kind} {'tcp' if tcp else 'udp'}"
        fault = self._world.faults.take("dns", operation)
        if fault is None:
            return Reply(self._answer(query, tcp))
        match fault.mode:
            case "timeout":
                return Reply(None)
            case "servfail":
                return Reply(_pack(request, Answer(RCODE.SERVFAIL), tcp))
            case "truncate" if not tcp:
                return Reply(_truncated(request))
            case "lie":
                return Reply(_pack(request, _lie(request, fault), tcp))
            case "stall":
                return Reply(self._answer(query, tcp), fault.seconds)
        return Reply(self._answer(query, tcp))


def _same(left: tuple[object, ...], right: tuple[object, ...]) -> bool:
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


def _parse(query: bytes) -> DNSRecord | None:
    try:
        return DNSRecord.parse(query)
    except (DNSError, UnicodeDecodeError):
        return None


def _malformed(query: bytes) -> bytes | None:
    """FORMERR, or silence when not even an id can be read or it is an answer itself."""
    if len(query) < 12 or query[2] & 0x80:
        return None
    identity = int.from_bytes(query[:2], "big")
    wire: bytes = DNSRecord(DNSHeader(id=identity, qr=1, rcode=RCODE.FORMERR)).pack()
    return wire


def _unanswerable(request: DNSRecord) -> int | None:
    if request.header.opcode != OPCODE.QUERY:
        return int(RCODE.NOTIMP)
    if len(request.questions) != 1:
        return int(RCODE.FORMERR)
    return None if request.q.qclass == CLASS.IN else int(RCODE.REFUSED)


def _name(request: DNSRecord) -> str:
    return str(request.q.qname).lower().rstrip(".")


def _lie(request: DNSRecord, fault: Fault) -> Answer:
    """`content` (a text or a list) is told for the type asked, else `rcode`, else NXDOMAIN."""
    content = fault.params.get("content")
    if content is None:
        return Answer(getattr(RCODE, str(fault.params.get("rcode", "NXDOMAIN"))))
    contents = content if isinstance(content, list) else [content]
    kind = fault.params.get("type") or QTYPE.get(request.q.qtype)
    told = [{"name": _name(request), "type": kind, "content": text} for text in contents]
    return Answer(records=[rr(record) for record in told])


def _pack(request: DNSRecord, answer: Answer, tcp: bool) -> bytes:
    response = request.reply(ra=1, aa=1)
    response.header.rcode = answer.rcode
    response.add_answer(*answer.records)
    response.add_auth(*answer.authority)
    limit = 65535
    size = _edns(request)
    if size is not None:
        response.add_ar(EDNS0(udp_len=EDNS_UDP))
    if not tcp:
        limit = PLAIN_UDP if size is None else min(max(size, PLAIN_UDP), EDNS_UDP)
    wire: bytes = response.pack()
    return wire if len(wire) <= limit else _truncated(request)


def _truncated(request: DNSRecord) -> bytes:
    """Nothing but the TC bit: the client asks again over TCP."""
    response = request.reply(ra=1, aa=1)
    response.header.tc = 1
    if _edns(request) is not None:
        response.add_ar(EDNS0(udp_len=EDNS_UDP))
    wire: bytes = response.pack()
    return wire


def _edns(request: DNSRecord) -> int | None:
    """The size of UDP answer the client takes, None without EDNS."""
    for extra in request.ar:
        if extra.rtype == QTYPE.OPT:
            return int(extra.rclass)
    return None
