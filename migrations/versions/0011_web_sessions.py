"""Sessions of the dashboard: a browser that acts for a token."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "web_sessions",
        sa.Column("sha256", NAME, nullable=False),
        sa.Column("token", NAME, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["token"],
            ["tokens.id"],
            name=op.f("fk_web_sessions_token_tokens"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_web_sessions")),
    )
    op.create_index(op.f("ix_web_sessions_expires_at"), "web_sessions", ["expires_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_web_sessions_expires_at"), "web_sessions")
    op.drop_table("web_sessions")
