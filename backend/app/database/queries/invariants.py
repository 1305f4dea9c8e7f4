"""What must always be true, as questions to the database: each answers with the ids that break it.

Run by `inboxgrove ops invariants` and after every crash test. The numbers are those of the design's
list (the other half of I12, that every operation which changes something has an audit event, is a
property of the code, and a test's); a young row is given the time that its job may take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.database.queries import audit
from app.rules import audit_chain, limits, plans

Check = Callable[[Session, datetime], list[str]]

GRACE = timedelta(minutes=15)
WORKING = "('registering','registered','configuring_dns','verifying_dns','authorizing')"


def _ids(db: Session, sql: str, **values: Any) -> list[str]:
    return [str(row[0]) for row in db.execute(text(sql), values)]


def one_capture_of_the_price(db: Session, _: datetime) -> list[str]:
    """I1: per order at most one capture, and of nothing but the price."""
    return _ids(
        db,
        """
        SELECT p.id FROM domain_purchases p
        JOIN transaction_history t ON t.purchase_id = p.id AND t.transaction_type = 'capture'
        GROUP BY p.id HAVING count(*) > 1 OR sum(t.amount) * 100 <> max(p.price_cents)
        """,
    )


def one_registration_of_a_name(db: Session, _: datetime) -> list[str]:
    """I2: a name was bought at most once for each time it lived."""
    return _ids(
        db,
        """
        SELECT domain_id FROM registrar_operations WHERE state = 'done' AND kind = 'register'
        GROUP BY domain_id HAVING count(*) > 1
        """,
    )


def captured_means_registered(db: Session, _: datetime) -> list[str]:
    """I3: nobody paid for a name that they did not get."""
    return _ids(
        db,
        """
        SELECT p.id FROM domain_purchases p LEFT JOIN domains d ON d.id = p.domain_id
        WHERE p.state = 'captured' AND (d.id IS NULL OR d.purchase_date IS NULL)
        """,
    )


def registered_means_captured(db: Session, now: datetime) -> list[str]:
    """I4: a bought name or another year of it is paid for, or stands as a loss for a human."""
    return _renewed_and_not_paid(db, now) + _ids(
        db,
        """
        SELECT p.id FROM domain_purchases p JOIN domains d ON d.id = p.domain_id
        WHERE p.kind = 'registration' AND d.purchase_date < :before
          AND p.state NOT IN ('captured', 'loss')
        """,
        before=now - GRACE,
    )


def _renewed_and_not_paid(db: Session, now: datetime) -> list[str]:
    """Nor the other way round: without the year its price is neither kept nor held."""
    return _ids(
        db,
        """
        SELECT p.id FROM domain_purchases p
        WHERE p.kind = 'renewal' AND p.updated_at < :before AND (
            (p.state NOT IN ('captured', 'loss') AND EXISTS (
                SELECT FROM registrar_operations o
                WHERE o.purchase_id = p.id AND o.state = 'done'))
            OR (p.state = 'captured' AND NOT EXISTS (
                SELECT FROM registrar_operations o
                WHERE o.purchase_id = p.id AND o.state = 'done'))
            OR (p.state = 'authorised' AND NOT EXISTS (
                SELECT FROM registrar_operations o
                WHERE o.purchase_id = p.id AND o.state IN ('submitted', 'unknown', 'done')))
            OR (SELECT count(*) FROM registrar_operations o
                WHERE o.purchase_id = p.id AND o.state = 'done') > 1)
        """,
        before=now - GRACE,
    )


def no_hold_on_a_finished_order(db: Session, now: datetime) -> list[str]:
    """I5: a failed order holds no money."""
    return _ids(
        db,
        """
        SELECT p.id FROM domain_purchases p JOIN domains d ON d.id = p.domain_id
        WHERE d.status = 'failed' AND p.state = 'authorised' AND d.updated_at < :before
        """,
        before=now - GRACE,
    )


def nothing_is_forgotten(db: Session, now: datetime) -> list[str]:
    """I6: whatever is being worked on has a job that will look at it again."""
    return _ids(
        db,
        f"""
        SELECT d.id FROM domains d WHERE d.status IN {WORKING} AND d.updated_at < :before
        AND NOT EXISTS (SELECT FROM jobs j WHERE j.payload ->> 'domain_id' = d.id::text
                        AND j.state IN ('waiting', 'sent', 'dead'))
        AND NOT EXISTS (SELECT FROM outbox o WHERE o.payload ->> 'domain_id' = d.id::text
                        AND o.routed_at IS NULL)
        """,  # noqa: S608  # A constant of this module.
        before=now - GRACE,
    )


def the_outbox_flows(db: Session, now: datetime) -> list[str]:
    """I7: no event waits longer than a minute for the relay."""
    return _ids(
        db,
        "SELECT id FROM outbox WHERE routed_at IS NULL AND created_at < :before",
        before=now - timedelta(seconds=60),
    )


def counters_are_counts(db: Session, _: datetime) -> list[str]:
    """I9: the counters equal what they count, and stay within the plan."""
    wrong = _ids(
        db,
        """
        SELECT t.id FROM tenants t
        WHERE t.inboxes_count <> (SELECT count(*) FROM inboxes i
                                  WHERE i.tenant_id = t.id AND i.status <> 'deleted')
           OR t.domains_count <> (SELECT count(*) FROM domains d
                                  WHERE d.tenant_id = t.id
                                    AND d.status NOT IN ('failed', 'expired', 'deleted'))
        """,
    )
    for tenant_id, tier, status, inboxes in db.execute(
        text("SELECT id, subscription_tier, subscription_status, inboxes_count FROM tenants")
    ):
        allowed = limits.limits_of(plans.plan(tier), on_trial=status == "trialing")
        if inboxes > allowed.inboxes:
            wrong.append(str(tenant_id))
    return wrong


def silence_after_the_kill(db: Session, _: datetime) -> list[str]:
    """I10: no message of a suspended tenant was accepted later than two seconds after."""
    return _ids(
        db,
        """
        SELECT e.id FROM delivery_events e JOIN tenants t ON t.id = e.tenant_id
        WHERE t.is_suspended AND e.event_type = 'Reception'
          AND e.occurred_at > t.suspended_at + interval '2 seconds'
        """,
    )


def tenants_do_not_mix(db: Session, _: datetime) -> list[str]:
    """I11: no row refers to a row of another tenant."""
    return _ids(
        db,
        """
        SELECT i.id FROM inboxes i JOIN domains d ON d.id = i.domain_id
            WHERE i.tenant_id <> d.tenant_id
        UNION ALL SELECT p.id FROM domain_purchases p JOIN domains d ON d.id = p.domain_id
            WHERE p.tenant_id <> d.tenant_id
        UNION ALL SELECT e.id FROM delivery_events e JOIN inboxes i ON i.id = e.inbox_id
            WHERE e.tenant_id <> i.tenant_id
        UNION ALL SELECT k.id FROM dkim_keys k JOIN domains d ON d.id = k.domain_id
            WHERE k.tenant_id <> d.tenant_id
        UNION ALL SELECT r.id FROM refresh_tokens r JOIN users u ON u.id = r.user_id
            WHERE r.tenant_id <> u.tenant_id
        """,
    )


def audit_chains_hold(db: Session, now: datetime) -> list[str]:
    """I12: what was written down of late was not changed since; as tenant:seq."""
    recent = audit.recent_chains(db, now - timedelta(days=1))
    return [f"{f.tenant_id}:{f.seq}" for f in audit_chain.faults(recent, whole=False)]


def webhooks_are_handled(db: Session, now: datetime) -> list[str]:
    """I13: no provider's event waits longer than five minutes."""
    return _ids(
        db,
        "SELECT id FROM provider_events WHERE handled_at IS NULL AND created_at < :before",
        before=now - timedelta(minutes=5),
    )


CHECKS: Mapping[str, Check] = {
    "I1_one_capture_of_the_price": one_capture_of_the_price,
    "I2_one_registration_of_a_name": one_registration_of_a_name,
    "I3_captured_means_registered": captured_means_registered,
    "I4_registered_means_captured": registered_means_captured,
    "I5_no_hold_on_a_finished_order": no_hold_on_a_finished_order,
    "I6_nothing_is_forgotten": nothing_is_forgotten,
    "I7_the_outbox_flows": the_outbox_flows,
    "I9_counters_are_counts": counters_are_counts,
    "I10_silence_after_the_kill": silence_after_the_kill,
    "I11_tenants_do_not_mix": tenants_do_not_mix,
    "I12_audit_chains_hold": audit_chains_hold,
    "I13_webhooks_are_handled": webhooks_are_handled,
}


def run(db: Session) -> dict[str, list[str]]:
    """Every check and the ids that break it."""
    now = clock.now()
    return {name: check(db, now) for name, check in CHECKS.items()}
