"""Strategies, the default of each model, and the one that a rollout follows."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "strategies",
        sa.Column("name", NAME, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("document", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "number", name=op.f("pk_strategies")),
    )
    op.add_column("models", _with_default("default_strategy", sa.Text(), ""))
    op.add_column("rollouts", _with_default("strategy", sa.Text(), "direct"))
    op.add_column("rollouts", _with_default("strategy_number", sa.BigInteger(), "0"))


def downgrade() -> None:
    op.drop_column("rollouts", "strategy_number")
    op.drop_column("rollouts", "strategy")
    op.drop_column("models", "default_strategy")
    op.drop_table("strategies")


def _with_default(name: str, kind: sa.types.TypeEngine[Any], default: str) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=default)
