"""Holds after rollbacks, and whether a token is a person's."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")
# What was rolled back from since it was last verified is held from now on.
HELD = sa.text(
    "INSERT INTO holds (fleet, model, label, version, since, actor, reason, resumed_by)"
    " SELECT fleet, model, label, version, max(rolled_back_at), '', '', '' FROM verifications"
    " GROUP BY fleet, model, label, version HAVING max(rolled_back_at) >= max(at)"
)


def upgrade() -> None:
    op.create_table(
        "holds",
        *(sa.Column(name, NAME, nullable=False) for name in ("fleet", "model", "label")),
        sa.Column("version", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("actor", "reason")),
        sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resumed_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("fleet", "model", "label", "version", name=op.f("pk_holds")),
        sa.ForeignKeyConstraint(
            ["fleet"], ["fleets.name"], name=op.f("fk_holds_fleet_fleets"), ondelete="CASCADE"
        ),
    )
    op.execute(HELD)
    op.add_column("tokens", sa.Column("kind", sa.Text(), nullable=False, server_default="person"))


def downgrade() -> None:
    op.drop_column("tokens", "kind")
    op.drop_table("holds")
