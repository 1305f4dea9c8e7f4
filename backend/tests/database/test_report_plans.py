"""A report is planned in its own way, and what is asked after it on that connection is not."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import clock
from app.config import get_settings
from app.database.models import new_id
from app.database.queries import analytics
from app.database.session import make_engine, scope

SETTINGS = {"plan_cache_mode": "force_custom_plan", "enable_sort": "off"}


def settings(db: Session) -> dict[str, str]:
    return {name: str(db.scalar(text(f"SHOW {name}"))) for name in SETTINGS}


def test_settings_end_with_the_report(clean: None) -> None:
    today = clock.now().date()
    engine = make_engine(get_settings().sqlalchemy_url)
    try:
        # One connection for both, as the pool would give it to the next request.
        with engine.connect() as connection, Session(connection) as db:
            usual = settings(db)
            db.commit()
            scope(db, new_id())
            assert analytics.grouped(db, today - timedelta(days=89), today, "inbox") == []
            assert settings(db) == SETTINGS
            db.commit()
            assert settings(db) == usual
            assert not usual.items() & SETTINGS.items()
    finally:
        engine.dispose()
