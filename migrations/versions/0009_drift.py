"""What a fleet does when somebody else's config is seen on one of its servers."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_drift = sa.Column("on_drift", sa.Text(), nullable=False, server_default="enforce")
    op.add_column("fleets", on_drift)


def downgrade() -> None:
    op.drop_column("fleets", "on_drift")
