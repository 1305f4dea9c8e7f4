"""A message whose job cannot be begun goes back to the queue instead of being used up."""

from __future__ import annotations

import pytest
from celery.exceptions import Reject

from app.database.models import Job, JobState
from app.database.session import ALL_TENANTS, transaction
from tests.tasks.test_jobs import job_of, make_job

TASK = "billing.expire_trials"


@pytest.mark.usefixtures("clean")
def test_it_goes_back_and_is_done_later() -> None:
    from app.tasks.celery_app import app

    job_id = make_job(task=TASK)
    with transaction(tenant=ALL_TENANTS) as db:
        # Whoever holds the row is to others what a database is that does not answer.
        db.get_one(Job, job_id, with_for_update=True)
        with pytest.raises(Reject) as given_back:
            app.tasks[TASK](str(job_id))
    assert given_back.value.requeue
    left = job_of(job_id)
    assert (left.state, left.deliveries) == (JobState.SENT, 0)
    app.tasks[TASK](str(job_id))
    assert job_of(job_id).state == JobState.DONE
