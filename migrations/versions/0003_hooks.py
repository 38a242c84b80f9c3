"""Hooks and their runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")
STILL_OPEN = sa.text("state IN ('pending', 'running')")


def upgrade() -> None:
    op.create_table(
        "hooks",
        *_names("name", "fleet"),
        _document("document"),
        _time("created_at"),
        *_texts("created_by"),
        *_numbers("seq"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_hooks")),
        _refers("hooks", "fleet", "fleets", "name"),
    )
    op.create_index(op.f("ix_hooks_fleet"), "hooks", ["fleet"])
    op.create_table(
        "hook_runs",
        *_names("id", "hook", "fleet", "model", "server"),
        sa.Column("rollout", NAME, nullable=True),
        *_texts("moment", "state", "sentence", "output"),
        *_numbers("order", "attempts"),
        sa.Column("version", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("duration_s", sa.Float(), nullable=False),
        _document("body"),
        _time("created_at"),
        *(_time(name, nullable=True) for name in ("started_at", "ended_at")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hook_runs")),
        _refers("hook_runs", "fleet", "fleets", "name"),
        _refers("hook_runs", "rollout", "rollouts", "id"),
    )
    op.create_index(op.f("ix_hook_runs_rollout"), "hook_runs", ["rollout"])
    op.create_index(op.f("ix_hook_runs_hook_created_at"), "hook_runs", ["hook", "created_at"])
    op.create_index(
        op.f("ix_hook_runs_open"),
        "hook_runs",
        ["fleet"],
        sqlite_where=STILL_OPEN,
        postgresql_where=STILL_OPEN,
    )


def downgrade() -> None:
    op.drop_table("hook_runs")
    op.drop_table("hooks")


def _names(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, NAME, nullable=False) for name in names]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _numbers(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False) for name in names]


def _time(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _document(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=False)


def _refers(table: str, column: str, other: str, its: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.{its}"], name=name, ondelete="CASCADE")
