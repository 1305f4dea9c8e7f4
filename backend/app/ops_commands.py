"""`inboxgrove ops …`, whole: each module brings its own commands."""

from __future__ import annotations

from app.ops import admin_app, ops_app
from app.ops_alerts import alerts
from app.ops_appeals import appeals_app
from app.ops_backup import backup, backup_daily, backup_verify, restore
from app.ops_claims import domain_claims
from app.ops_dkim import dkim_app
from app.ops_erasure import erase_tenant
from app.ops_events import replay_events
from app.ops_jobs import jobs
from app.ops_nodes import nodes_app
from app.ops_restored import restored_app
from app.ops_transfers import transfer_code

admin_app.command("erase-tenant")(erase_tenant)
ops_app.command()(alerts)
ops_app.command()(backup)
ops_app.command("backup-daily")(backup_daily)
ops_app.command("backup-verify")(backup_verify)
ops_app.command()(restore)
ops_app.command("domain-claims")(domain_claims)
ops_app.command("replay-events")(replay_events)
ops_app.command()(jobs)
ops_app.command("transfer-code")(transfer_code)
ops_app.add_typer(appeals_app, name="appeals")
ops_app.add_typer(nodes_app, name="nodes")
ops_app.add_typer(dkim_app, name="dkim")
ops_app.add_typer(restored_app, name="restored")
