"""Another year of a name is a purchase too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "domain_purchases",
        sa.Column("kind", sa.String(length=40), nullable=False, server_default="registration"),
    )
    op.alter_column("domain_purchases", "kind", server_default=None)
    op.add_column(
        "domain_purchases", sa.Column("renews_from", sa.DateTime(timezone=True), nullable=True)
    )
    op.add_column(
        "domain_purchases", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0")
    )
    op.alter_column("domain_purchases", "attempts", server_default=None)
    op.add_column(
        "domain_purchases", sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.drop_constraint("uq_domain_purchases_domain_id", "domain_purchases", type_="unique")
    op.create_index(
        "uq_domain_purchases_registration",
        "domain_purchases",
        ["domain_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'registration'"),
    )
    op.create_index(
        "uq_domain_purchases_renewal",
        "domain_purchases",
        ["domain_id", "renews_from"],
        unique=True,
        postgresql_where=sa.text(
            "kind = 'renewal' AND state IN ('quoted', 'authorised', 'captured', 'loss')"
        ),
    )
    op.add_column("registrar_operations", sa.Column("purchase_id", sa.Uuid(), nullable=True))
    op.create_foreign_key(
        "fk_registrar_operations_purchase_id_domain_purchases",
        "registrar_operations",
        "domain_purchases",
        ["purchase_id"],
        ["id"],
        ondelete="CASCADE",
    )
    op.create_index("ix_registrar_operations_purchase_id", "registrar_operations", ["purchase_id"])


def downgrade() -> None:
    op.drop_column("registrar_operations", "purchase_id")
    op.drop_index("uq_domain_purchases_renewal", "domain_purchases")
    op.drop_index("uq_domain_purchases_registration", "domain_purchases")
    op.execute("DELETE FROM domain_purchases WHERE kind = 'renewal'")
    op.create_unique_constraint("uq_domain_purchases_domain_id", "domain_purchases", ["domain_id"])
    for column in ("tried_at", "attempts", "renews_from", "kind"):
        op.drop_column("domain_purchases", column)
