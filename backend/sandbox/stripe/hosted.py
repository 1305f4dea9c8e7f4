"""The pages Stripe hosts: checkout, authentication, portal, invoices, receipts."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox.stripe import (
    checkout,
    clockwork,
    invoices,
    pages,
    payment_intents,
    portal,
    setup_intents,
)
from sandbox.stripe.account import Account, Object
from sandbox.stripe.errors import StripeError, missing


class Hosted:
    def __init__(self, account: Account) -> None:
        self._account = account

    def routes(self) -> list[Route]:
        both = ["GET", "POST"]
        return [
            Route("/hosted/checkout/{session}", self._guarded(self._checkout), methods=both),
            Route("/hosted/authenticate/{intent}", self._guarded(self._authenticate), methods=both),
            Route("/hosted/portal/{secret}", self._guarded(self._portal), methods=both),
            Route("/hosted/invoices/{invoice}", self._guarded(self._invoice), methods=both),
            Route("/hosted/invoices/{invoice}/pdf", self._guarded(self._pdf)),
            Route("/hosted/receipts/{charge}", self._guarded(self._receipt)),
        ]

    def _guarded(
        self, page: Callable[[Request, dict[str, str]], Response]
    ) -> Callable[[Request], object]:
        async def handle(request: Request) -> Response:
            clockwork.run(self._account)
            body = parse_qs((await request.body()).decode())
            try:
                return page(request, {name: value[0] for name, value in body.items()})
            except StripeError as error:
                return HTMLResponse(pages.problem(str(error)), error.status)

        return handle

    def _checkout(self, request: Request, form: dict[str, str]) -> Response:
        account, identifier = self._account, request.path_params["session"]
        session = checkout.get(account, {}, identifier)
        refused = None
        if request.method == "POST":
            try:
                checkout.complete(account, identifier, form.get("card", ""))
                target = session["success_url"].replace("{CHECKOUT_SESSION_ID}", identifier)
                return RedirectResponse(target, 303)
            except StripeError as error:
                refused = str(error)
        rows = account.noted(identifier, "line_items") or []
        return HTMLResponse(pages.checkout(session, rows, refused), 402 if refused else 200)

    def _authenticate(self, request: Request, form: dict[str, str]) -> Response:
        """3-D Secure: the holder says yes or no to the bank."""
        account, identifier = self._account, request.path_params["intent"]
        kind = "setup_intent" if identifier.startswith("seti_") else "payment_intent"
        intent = account.find(kind, identifier)
        if request.query_params.get("client_secret") != intent["client_secret"]:
            raise missing(kind, identifier)
        if request.method == "GET":
            return HTMLResponse(pages.authenticate(intent))
        done = authenticate(account, identifier, succeed=form.get("answer") == "yes")
        back = account.noted(identifier, "return_url")
        if back is None:
            return HTMLResponse(pages.problem(f"Done: {done['status']}. You can close this page."))
        return RedirectResponse(_back(back, kind, done), 303)

    def _portal(self, request: Request, form: dict[str, str]) -> Response:
        account, secret = self._account, request.path_params["secret"]
        session = portal.open_session(account, secret)
        refused = None
        if request.method == "POST":
            try:
                portal.act(account, session, dict(form))
            except StripeError as error:
                refused = str(error)
        subscriptions = portal.living_subscriptions(account, session["customer"])
        bills = account.all("invoice", customer=session["customer"])
        return HTMLResponse(pages.portal(session, subscriptions, bills, refused))

    def _invoice(self, request: Request, form: dict[str, str]) -> Response:
        account, identifier = self._account, request.path_params["invoice"]
        invoice, refused = account.find("invoice", identifier), None
        if request.method == "POST":
            try:
                invoices.pay(account, {"payment_method": form.get("card", "")}, identifier)
            except StripeError as error:
                refused = str(error)
        return HTMLResponse(pages.invoice(invoice, refused))

    def _pdf(self, request: Request, _: dict[str, str]) -> Response:
        invoice = self._account.find("invoice", request.path_params["invoice"])
        return Response(pages.invoice_pdf(invoice), media_type="application/pdf")

    def _receipt(self, request: Request, _: dict[str, str]) -> Response:
        return HTMLResponse(
            pages.receipt(self._account.find("charge", request.path_params["charge"]))
        )


def authenticate(account: Account, intent: str, *, succeed: bool) -> Object:
    """Raises StripeError unless the intent waits for the holder."""
    if intent.startswith("seti_"):
        return setup_intents.authenticate(account, intent, succeed=succeed)
    return payment_intents.authenticate(account, intent, succeed=succeed)


def _back(url: str, kind: str, intent: Object) -> str:
    """The return address with what Stripe adds to it."""
    good = {"succeeded", "requires_capture", "processing"}
    known = {
        kind: intent["id"],
        f"{kind}_client_secret": intent["client_secret"],
        "redirect_status": "succeeded" if intent["status"] in good else "failed",
    }
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(known)) if part)
    return urlunsplit(parts._replace(query=query))
