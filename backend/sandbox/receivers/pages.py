"""/mail: what arrived, as JSON for programs and as pages for people."""

from __future__ import annotations

import json
from datetime import datetime
from email.utils import parseaddr
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.receivers.exchange import Exchange
from sandbox.receivers.mailbox import Mailbox, listed, source
from sandbox.receivers.outgoing import Outgoing
from sandbox.receivers.reading import MAX_SHOWN, read
from sandbox.store import Document
from sandbox.world import World

PER_PAGE = 50
# Nothing on these pages may run or fetch anything, whatever a message contains. A frame made by
# `srcdoc` inherits this policy and is sandboxed without any permission on top.
SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Pages:
    """Handlers of /mail and /control/mail."""

    def __init__(
        self, world: World, mailbox: Mailbox, outgoing: Outgoing, exchange: Exchange
    ) -> None:
        self._world = world
        self._mailbox = mailbox
        self._outgoing = outgoing
        self._exchange = exchange
        self._refusals = world.store.collection("mail.refusals")
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"ago": self._ago, "person": _person, "hue": _hue}
        self._templates.filters |= {"size": _size, "clock": _clock}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.index),
                Route("/messages", self.messages, methods=["GET"]),
                Route("/messages", self.clear, methods=["DELETE"]),
                Route("/messages/{id}.html", self.page),
                Route("/messages/{id}.eml", self.download),
                Route("/messages/{id}/complain", self.report_spam, methods=["POST"]),
                Route("/messages/{id}", self.message),
                Route("/stats", self.stats),
                Route("/refused", self.refused),
                Route("/refused.html", self.refused_page),
                Route("/reports", self.reports),
                Route("/reports.html", self.reports_page),
            ]
        )

    def control(self) -> list[BaseRoute]:
        return [
            Route("/complain", self.complain, methods=["POST"]),
            Route("/refuse", self.refuse, methods=["GET", "POST", "DELETE"]),
        ]

    # Programs

    async def messages(self, request: Request) -> Response:
        """`count` is the number of all matches; `messages` holds the newest `limit` of them."""
        try:
            found = list(self._mailbox.matching(request.query_params))
            limit = max(0, min(int(request.query_params.get("limit", 100)), 1000))
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 400)
        shown = [listed(document) for document in found[:limit]]
        return _json({"messages": shown, "count": len(found)})

    async def message(self, request: Request) -> Response:
        document = self._mailbox.messages.get(request.path_params["id"])
        if document is None:
            return _missing()
        return _json({**document, "raw": source(document).decode("utf-8", "replace")})

    async def download(self, request: Request) -> Response:
        """The message as it lies in the mailbox, byte for byte."""
        document = self._mailbox.messages.get(request.path_params["id"])
        if document is None:
            return _missing()
        name = f'attachment; filename="message-{document["id"]}.eml"'
        headers = {**SAFE, "Content-Disposition": name}
        return Response(source(document), media_type="message/rfc822", headers=headers)

    async def clear(self, _: Request) -> Response:
        self._mailbox.clear()
        self._outgoing.forget()
        self._exchange.forget()
        return Response(status_code=204)

    async def stats(self, _: Request) -> Response:
        return _json(self._statistics())

    async def refused(self, _: Request) -> Response:
        kept = list(self._mailbox.refused.values())[::-1]
        return _json({"refused": kept, "count": len(kept)})

    async def reports(self, _: Request) -> Response:
        kept = list(self._outgoing.reports.values())[::-1]
        return _json({"reports": kept, "count": len(kept)})

    async def complain(self, request: Request) -> Response:
        """Press "this is spam" for a kept message: {"message_id"} by our id or its Message-ID."""
        wanted = str((await _body(request)).get("message_id", ""))
        document = self._find(wanted)
        if document is None:
            return _missing()
        return _json({"reports": self._outgoing.complain(document)}, 202)

    async def refuse(self, request: Request) -> Response:
        """Refuse every message to a domain: {"domain", "code"=550, "text"}; `code` null ends it."""
        if request.method == "DELETE":
            self._refusals.clear()
        elif request.method == "POST":
            body = await _body(request)
            domain = str(body.get("domain", "")).lower()
            code = body.get("code", 550)
            text = str(body.get("text") or "5.7.1 Refused by order")
            if not domain or (code is not None and code not in range(400, 600)):
                return JSONResponse({"error": "Give a domain and a code from 400 to 599."}, 400)
            if not text.isascii() or not text.isprintable():
                return JSONResponse({"error": "The text is one line of ASCII."}, 400)
            if code is None:
                self._refusals.pop(domain, None)
            else:
                self._refusals[domain] = {"domain": domain, "code": code, "text": text}
        return _json({"refusals": list(self._refusals.values())})

    # People

    async def index(self, request: Request) -> Response:
        query = {name: value for name, value in request.query_params.items() if value}
        folder = query.setdefault("folder", "inbox")
        page = max(1, int(query["page"])) if query.get("page", "").isdecimal() else 1
        try:
            found = list(self._mailbox.matching(query))
        except ValueError:
            found = []
        start = (page - 1) * PER_PAGE
        return self._show(
            request,
            "index.html",
            tab=folder,
            messages=list(islice(found, start, start + PER_PAGE)),
            count=len(found),
            page=page,
            pages=max(1, -(-len(found) // PER_PAGE)),
            query=query.get("q", ""),
            live="live" in query,
        )

    async def page(self, request: Request) -> Response:
        document = self._mailbox.messages.get(request.path_params["id"])
        if document is None:
            return self._show(request, "missing.html", status=404, tab="")
        raw = source(document)
        reports = [r for r in self._outgoing.reports.values() if r["message_id"] == document["id"]]
        return self._show(
            request,
            "message.html",
            tab=document["folder"],
            message=document,
            reading=read(raw),
            source=raw[:MAX_SHOWN].decode("utf-8", "replace"),
            cut=len(raw) > MAX_SHOWN,
            reports=reports,
        )

    async def report_spam(self, request: Request) -> Response:
        document = self._mailbox.messages.get(request.path_params["id"])
        if document is None:
            return _missing()
        self._outgoing.complain(document)
        return RedirectResponse(f"{_base(request)}/messages/{document['id']}.html", 303)

    async def refused_page(self, request: Request) -> Response:
        kept = list(self._mailbox.refused.values())[::-1]
        return self._show(request, "refused.html", tab="refused", refused=kept)

    async def reports_page(self, request: Request) -> Response:
        kept = list(self._outgoing.reports.values())[::-1]
        return self._show(request, "reports.html", tab="reports", reports=kept)

    def _show(
        self, request: Request, template: str, status: int = 200, **values: Any
    ) -> HTMLResponse:
        page = self._templates.get_template(template).render(
            base=_base(request), stats=self._statistics(), **values
        )
        return HTMLResponse(page.encode("utf-8", "replace"), status, headers=SAFE)

    def _statistics(self) -> dict[str, Any]:
        states: dict[str, int] = {}
        for report in self._outgoing.reports.values():
            states[report["status"]] = states.get(report["status"], 0) + 1
        return {**self._mailbox.statistics(), "reports": states}

    def _find(self, wanted: str) -> Document | None:
        if wanted in self._mailbox.messages:
            return self._mailbox.messages[wanted]
        bare = wanted.strip("<> ")
        newest_first = reversed(list(self._mailbox.messages.values()))
        matches = (d for d in newest_first if bare and d["message_id"].strip("<> ") == bare)
        return next(matches, None)

    def _ago(self, stored: str) -> str:
        """Distance from the sandbox's clock in words."""
        seconds = (self._world.clock.now() - datetime.fromisoformat(stored)).total_seconds()
        for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
            if seconds >= length:
                return f"{int(seconds // length)} {unit} ago"
        return "just now"


def _base(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _json(content: dict[str, Any], status: int = 200) -> Response:
    # ASCII escapes carry any string, also one that is no valid Unicode.
    return Response(json.dumps(content), status, media_type="application/json")


def _missing() -> JSONResponse:
    return JSONResponse({"error": "There is no such message."}, 404)


async def _body(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(await request.body() or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _person(header_from: str) -> str:
    name, address = parseaddr(header_from)
    return name or address or header_from or "(no sender)"


def _hue(text: str) -> int:
    """A steady colour for a sender: degrees on the colour wheel."""
    return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:2], "big") % 360


def _size(count: int) -> str:
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KB" if count < 1024 * 1024 else f"{count / 1024 / 1024:.1f} MB"


def _clock(stored: str) -> str:
    return datetime.fromisoformat(stored).strftime("%d %b %Y, %H:%M:%S UTC")
