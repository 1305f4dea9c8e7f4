"""PaymentGateway.read_webhook: only what Stripe signed, just now, is believed."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app import clock
from app.errors import Invalid
from app.integrations.stripe_client import StripeGateway
from tests.contracts.tools import Sandbox, Scripted, eventually

SECRET = "whsec_contract"
BODY = json.dumps(
    {
        "id": "evt_1",
        "object": "event",
        "type": "invoice.paid",
        "created": 1_795_000_000,
        "data": {"object": {"id": "in_1", "amount_paid": 9700, "tax": 1.25}},
    }
).encode()


@pytest.fixture(autouse=True)
def _real_time() -> Iterator[None]:
    from app.config import get_settings

    clock.follow(None)
    yield
    clock.follow(get_settings().clock_offset_file)


@pytest.fixture
def gateway() -> StripeGateway:
    return StripeGateway(
        secret_key="sk_test_x",
        webhook_secret=SECRET,
        api_base="http://127.0.0.1:9",
        timeout_seconds=1,
    )


def now() -> int:
    return int(clock.now().timestamp())


def signature(body: bytes, at: int, secret: str = SECRET) -> str:
    """By the rule in Stripe's documentation, not by the SDK that is under test."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def header(body: bytes = BODY, *, at: int | None = None, secret: str = SECRET) -> str:
    at = now() if at is None else at
    return f"t={at},v1={signature(body, at, secret)}"


def test_a_signed_event_is_read_as_it_came(gateway: StripeGateway) -> None:
    event = gateway.read_webhook(BODY, header())
    assert (event.id, event.type, int(event.created.timestamp())) == (
        "evt_1",
        "invoice.paid",
        1_795_000_000,
    )
    assert event.object == {"id": "in_1", "amount_paid": 9700, "tax": 1.25}
    assert event.payload == json.loads(BODY)
    assert json.dumps(event.payload)


def test_while_a_secret_is_rolled_over_either_signature_will_do(gateway: StripeGateway) -> None:
    at = now()
    old, new = signature(BODY, at, "whsec_other"), signature(BODY, at)
    assert gateway.read_webhook(BODY, f"t={at},v1={old},v1={new},v0=abc").id == "evt_1"


@pytest.mark.parametrize("age", [-299, 0, 299])
def test_a_timestamp_may_be_off_by_less_than_five_minutes(gateway: StripeGateway, age: int) -> None:
    assert gateway.read_webhook(BODY, header(at=now() - age)).id == "evt_1"


@pytest.mark.parametrize("age", [-86_400, -310, 310, 86_400])
def test_neither_the_past_nor_the_future_is_believed(gateway: StripeGateway, age: int) -> None:
    with pytest.raises(Invalid, match="timestamp"):
        gateway.read_webhook(BODY, header(at=now() - age))


def test_age_is_judged_by_our_clock(gateway: StripeGateway, tmp_path: Path) -> None:
    signed_today = header()
    offset = tmp_path / "offset"
    offset.write_text(str(8 * 86_400))
    clock.follow(offset)
    with pytest.raises(Invalid, match="timestamp"):
        gateway.read_webhook(BODY, signed_today)
    assert gateway.read_webhook(BODY, header()).id == "evt_1"


def test_an_old_signature_gains_nothing_from_a_second_time(gateway: StripeGateway) -> None:
    captured = header(at=now() - 3600)
    for forged in (
        f"t={now()},{captured}",
        f" t={now()},{captured}",
        f"{captured},t={now()}",
        f"v0=x, t={now()},{captured}",
        captured.replace("t=", "t=0"),
    ):
        with pytest.raises(Invalid):
            gateway.read_webhook(BODY, forged)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        "t=1",
        "v1=abc",
        "t=,v1=abc",
        "t=x,v1=abc",
        "t=²,v1=abc",
        "t=-5,v1=abc",
        "t=1e9,v1=abc",
        f"t={'9' * 5000},v1=abc",
        ",,,===",
        "\x00",
    ],
)
def test_no_header_is_a_crash(gateway: StripeGateway, forged: str) -> None:
    with pytest.raises(Invalid):
        gateway.read_webhook(BODY, forged)


def test_signatures_of_others_are_refused(gateway: StripeGateway) -> None:
    at = now()
    for forged in (
        header(secret="whsec_other"),
        header(secret=""),
        f"t={at},v0={signature(BODY, at)}",
        f"t={at},v1=",
        f"t={at},v1={signature(BODY, at)[:-1]}",
        f"t={at},v1=ünïcode",
    ):
        with pytest.raises(Invalid):
            gateway.read_webhook(BODY, forged)


def test_a_changed_body_is_refused(gateway: StripeGateway) -> None:
    signed = header()
    for body in (BODY.replace(b"9700", b"9701"), BODY + b"\n", b"\xef\xbb\xbf" + BODY, b""):
        with pytest.raises(Invalid):
            gateway.read_webhook(body, signed)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"id": "evt_1"}',
        b'{"id": "e", "type": "t", "created": "soon", "data": {"object": {}}}',
        b'{"id": "e", "type": "t", "created": 1e300, "data": {"object": {}}}',
        b'{"id": "e", "type": "t", "created": 1, "data": []}',
    ],
)
def test_a_signed_body_that_is_no_event_is_refused(gateway: StripeGateway, body: bytes) -> None:
    with pytest.raises(Invalid):
        gateway.read_webhook(body, header(body))


def test_without_a_secret_nothing_is_believed() -> None:
    gateway = StripeGateway(
        secret_key="sk_test_x", webhook_secret="", api_base="http://x.test", timeout_seconds=1
    )
    with pytest.raises(Invalid):
        gateway.read_webhook(BODY, header(secret=""))


def test_what_the_provider_delivers_is_read(scripted: Scripted) -> None:
    for _ in range(20):
        scripted.say(200, "ok")
    sandbox = Sandbox(
        ("stripe",), STRIPE_WEBHOOK_URL=f"{scripted.url}/hook", STRIPE_WEBHOOK_SECRET=SECRET
    )
    try:
        gateway = StripeGateway(
            secret_key="sk_test_sandbox",
            webhook_secret=SECRET,
            api_base=f"{sandbox.url}/stripe",
            timeout_seconds=5,
        )
        customer = gateway.create_customer(email="a@b.test", name="A", tenant_id="t", key="hook-1")
        intent = gateway.create_setup_intent(customer=customer, tenant_id="t", key="hook-2")
        httpx.post(
            f"{sandbox.url}/stripe/v1/setup_intents/{intent.id}/confirm",
            data={
                "client_secret": str(intent.client_secret),
                "payment_method": "pm_card_visa",
                "key": "pk_test_sandbox",
            },
        ).raise_for_status()

        def saved() -> list[str]:
            events = [
                gateway.read_webhook(body, headers["stripe-signature"])
                for _, _, headers, body in list(scripted.asked)
            ]
            return [
                str(event.object["payment_method"])
                for event in events
                if event.type == "setup_intent.succeeded"
            ]

        (method,) = eventually(saved)
        assert gateway.get_card(method).customer == customer
    finally:
        sandbox.close()
