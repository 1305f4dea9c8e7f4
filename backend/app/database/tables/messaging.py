"""The outbox, and the jobs that its events become."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database.tables.base import Base, Text


class OutboxEvent(Base):
    """What must have consequences, written in the transaction of its cause."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_unsent", "id", postgresql_where=text("routed_at IS NULL")),)

    event: Mapped[str] = mapped_column(String(60))
    payload: Mapped[dict[str, Any]]
    tenant_id: Mapped[UUID | None] = mapped_column(index=True)
    request_id: Mapped[str | None] = mapped_column(String(64))
    """Of the request that caused it, however many jobs lie between."""
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """Where in a trace it was recorded (W3C Trace Context); none when nothing is traced."""
    routed_at: Mapped[datetime | None]
    """When the relay turned it into jobs."""


class JobState(StrEnum):
    WAITING = "waiting"
    """Due at next_try_at; the relay hands it to Celery then."""
    SENT = "sent"
    """Handed to Celery; taken back by the sweep if nothing comes of it."""
    DONE = "done"
    DEAD = "dead"
    """Given up; an operator sees it and can replay it."""


class Job(Base):
    """One task for one event. The row is the truth; Celery is only the messenger."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("outbox_id", "task"),
        Index(
            "ix_jobs_due",
            "next_try_at",
            postgresql_where=text("state IN ('waiting', 'sent')"),
        ),
        Index("ix_jobs_state", "state"),
    )

    outbox_id: Mapped[UUID] = mapped_column(ForeignKey("outbox.id", ondelete="CASCADE"))
    task: Mapped[str] = mapped_column(String(60))
    payload: Mapped[dict[str, Any]]
    tenant_id: Mapped[UUID | None] = mapped_column(index=True)
    request_id: Mapped[str | None] = mapped_column(String(64))
    traceparent: Mapped[str | None] = mapped_column(String(55))
    state: Mapped[JobState] = mapped_column(Text(JobState), default=JobState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    """Runs that ended in an error."""
    deliveries: Mapped[int] = mapped_column(default=0)
    """Runs that began since the last orderly end: a worker that dies leaves this raised."""
    next_try_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(String(1000))
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class ScheduledRun(Base):
    """One period of one schedule, claimed once: two beats or a late one do no harm."""

    __tablename__ = "scheduled_runs"
    __table_args__ = (UniqueConstraint("name", "period"),)

    name: Mapped[str] = mapped_column(String(60))
    period: Mapped[datetime]
    """The instant the period began."""
