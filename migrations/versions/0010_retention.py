"""Events are found by their rollout, and runs of hooks by their end."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    of_a_rollout = sa.text("rollout <> ''")
    op.create_index(
        "ix_events_of_rollout",
        "events",
        ["rollout", "seq"],
        sqlite_where=of_a_rollout,
        postgresql_where=of_a_rollout,
    )
    op.create_index(op.f("ix_hook_runs_ended_at"), "hook_runs", ["ended_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_hook_runs_ended_at"), "hook_runs")
    op.drop_index("ix_events_of_rollout", "events")
