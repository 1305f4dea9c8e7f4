"""Redis is wiped while customers send: they see deferrals, and nothing else is lost or gained."""

from __future__ import annotations

import smtplib
import threading
import time
from email.message import EmailMessage

from redis import Redis

from app import clock
from app.config import get_settings
from app.database.session import ALL_TENANTS, transaction
from app.integrations import ports
from app.services import directory_repair
from app.services.directory_repair import Repairs
from tests.fixtures.customer import Customer
from tests.fixtures.world import eventually


def reconcile() -> Repairs:
    with transaction(tenant=ALL_TENANTS) as db:
        return directory_repair.reconcile(db, ports.current().mail)


def test_a_wipe_under_load_defers_and_restores_itself(customer: Customer) -> None:
    customer.sign_up().add_card()
    rows = customer.provision(customer.buy_domain()["id"], 5)
    codes: list[tuple[float, int]] = []
    stop = threading.Event()

    def keep_sending(row: dict[str, str]) -> None:
        while not stop.is_set():
            try:
                with customer.login(row) as session:
                    message = EmailMessage()
                    message["From"], message["To"] = row["email"], "ann@gmail.test"
                    message["Subject"] = f"during the wipe {customer.tag}"
                    message.set_content("Hello")
                    session.send_message(message)
                codes.append((time.monotonic(), 250))
            except smtplib.SMTPSenderRefused as error:
                codes.append((time.monotonic(), error.smtp_code))
            except smtplib.SMTPResponseException as error:
                codes.append((time.monotonic(), error.smtp_code))
            except (smtplib.SMTPException, OSError):
                # A machine that stands still for twenty seconds ends sessions, as anywhere.
                continue
            time.sleep(0.2)

    threads = [threading.Thread(target=keep_sending, args=(row,)) for row in rows]
    with Redis.from_url(get_settings().redis_url, decode_responses=True) as redis:
        for thread in threads:
            thread.start()
        eventually(lambda: sum(code == 250 for _, code in list(codes)) >= 5, within=60)
        redis.flushdb()
        wiped = time.monotonic()
        eventually(lambda: any(code == 451 for at, code in list(codes) if at > wiped), within=60)
        assert reconcile().restored
        whole = time.monotonic()
        eventually(lambda: sum(code == 250 for at, code in codes[:] if at > whole) >= 3, within=60)
        stop.set()
        for thread in threads:
            thread.join()
        # Some were over their hourly limit by then; nobody was told a lasting "no".
        assert {code for _, code in codes} <= {250, 450, 451, 454}
        accepted = sum(code == 250 for _, code in codes)
        subject = f"during the wipe {customer.tag}"
        eventually(lambda: len(customer.received(subject)) == accepted)
        today = clock.now().strftime("%Y%m%d")
        counted = sum(int(redis.get(key) or 0) for key in redis.keys(f"ig:q:*:d:{today}"))
        assert sum(code == 250 for at, code in codes if at > whole) <= counted <= accepted
        assert reconcile() == Repairs(checked=5, inboxes=0, killed=0, revived=0)
