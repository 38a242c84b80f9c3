"""Sources of servers, servers that are drained, and boot configs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "sources",
        *(sa.Column(name, NAME, nullable=False) for name in ("fleet", "name")),
        *(_document(name, nullable=False) for name in ("document", "report")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("rv", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("fleet", "name", name=op.f("pk_sources")),
        sa.ForeignKeyConstraint(
            ["fleet"], ["fleets.name"], name=op.f("fk_sources_fleet_fleets"), ondelete="CASCADE"
        ),
    )
    op.add_column("servers", sa.Column("source", NAME, nullable=False, server_default=""))
    op.add_column(
        "servers", sa.Column("joined", sa.Boolean(), nullable=False, server_default=sa.text("true"))
    )
    op.add_column("servers", _document("drain", nullable=True))
    directory = sa.Column("boot_config_dir", sa.Text(), nullable=False, server_default="")
    op.add_column("fleets", directory)


def downgrade() -> None:
    op.drop_column("fleets", "boot_config_dir")
    for name in ("drain", "joined", "source"):
        op.drop_column("servers", name)
    op.drop_table("sources")


def _document(name: str, *, nullable: bool) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)
