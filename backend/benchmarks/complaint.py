"""`python -m benchmarks.complaint --stack .data/stack.json`: from a complaint to the refusal.

On a running stack (`inboxgrove up`): an inbox sends to one person after another, each presses
"spam", and from that moment a logged-in session tries the same recipient again and again. Measured
is the time until the first refusal, over the whole way: the recipient's provider writes and signs
its report, port 25, the policy, the log hook, the API, PostgreSQL, Redis, the policy again.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import secrets
import smtplib
import statistics
import time
from pathlib import Path
from typing import Any

import httpx

from demo.smtp import Inbox, compose, login
from demo.world import API, Addresses, Browser, ReceivedMail, wait_for

COMPLAINTS = 9
"""Ten would stop the tenant."""
PAUSE_SECONDS = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", type=Path, required=True, help="stack.json of a running stack")
    endpoints = json.loads(parser.parse_args().stack.read_text())["endpoints"]
    host, _, port = endpoints["submission"].rpartition(":")
    to = Addresses(endpoints["api"], endpoints["sandbox"], host, int(port))
    inbox, mails = prepare(to)
    with login(to, inbox) as session:
        found = sorted(complain(to, session, inbox, mail) * 1000 for mail in mails)
    print(f"{len(found)} complaints, from the press of the button to the refusal at RCPT TO:")
    print(f"median {statistics.median(found):.0f} ms, worst {found[-1]:.0f} ms")


def prepare(to: Addresses) -> tuple[Inbox, list[dict[str, Any]]]:
    """A new customer's inbox, and the mails that its recipients got."""
    tag = secrets.token_hex(4)
    api, browser = API(to.api_url), Browser(to.sandbox_url)
    signed_up = api.post(
        "/auth/register",
        company_name=f"Bench {tag}",
        email=f"owner@bench-{tag}.example",
        password=f"Correct-{tag}-horse",
    )
    api.sign_in(signed_up["access_token"])
    intent = signed_up["setup_intent"]
    browser.confirm("setup_intent", intent["id"], intent["client_secret"])
    wait_for(lambda: api.get("/billing/payment-methods"), seconds=30, every=0.2, what="a card")
    api.post("/billing/upgrade", plan="starter")
    offer = api.post("/billing/domain-purchase-intent", domain_name=f"bench-{tag}.com")
    browser.confirm("payment_intent", offer["payment_intent_id"], offer["client_secret"])
    bought = api.post("/domains/purchase", purchase_id=offer["purchase_id"])
    domain_id = bought["domain"]["id"]
    wait_for(
        lambda: api.get(f"/domains/{domain_id}")["status"] == "active",
        seconds=60,
        every=0.2,
        what="the domain is active",
    )
    made = api.post("/infrastructure/provision", domain_id=domain_id, inbox_count=1)
    (row,) = csv.DictReader(io.StringIO(made["csv_data"]))
    inbox = Inbox(row["email"], row["username"], row["password"])
    wait_for(
        lambda: api.get("/infrastructure/inboxes", status="active"),
        seconds=30,
        every=0.2,
        what="the inbox is active",
    )
    with login(to, inbox) as session:
        for number in range(COMPLAINTS):
            session.send_message(compose(inbox, f"person{number}-{tag}@gmail.test", f"offer {tag}"))
    received = ReceivedMail(to.sandbox_url)
    mails = wait_for(
        lambda: arrived(received, tag),
        seconds=60,
        every=0.2,
        what="all mails arrived",
    )
    # The relay tells of accepted mail in batches.
    time.sleep(3)
    return inbox, mails


def arrived(received: ReceivedMail, tag: str) -> list[dict[str, Any]] | None:
    mails = received.about(f"offer {tag}")
    return mails if len(mails) == COMPLAINTS else None


def complain(to: Addresses, session: smtplib.SMTP, inbox: Inbox, mail: dict[str, Any]) -> float:
    """Seconds until the recipient of `mail` is refused."""
    pressed = time.monotonic()
    url = f"{to.sandbox_url}/control/mail/complain"
    httpx.post(url, json={"message_id": mail["id"]}, timeout=30).raise_for_status()
    while True:
        session.mail(inbox.email)
        code, _ = session.rcpt(mail["rcpt_to"])
        session.rset()
        if code == 550:
            return time.monotonic() - pressed
        if time.monotonic() - pressed > 30:
            raise SystemExit(f"{mail['rcpt_to']} is still not refused.")
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
