"""Request sets that gates replay, and the plans that rollouts began with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "request_sets",
        sa.Column("model", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "name", name=op.f("pk_request_sets")),
        sa.ForeignKeyConstraint(
            ["model"],
            ["models.name"],
            name=op.f("fk_request_sets_model_models"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "plans",
        sa.Column("rollout", NAME, nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("rollout", name=op.f("pk_plans")),
        sa.ForeignKeyConstraint(
            ["rollout"],
            ["rollouts.id"],
            name=op.f("fk_plans_rollout_rollouts"),
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    op.drop_table("plans")
    op.drop_table("request_sets")
