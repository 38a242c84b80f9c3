"""The audit chain: a record is only ever added, at the head, or forgotten from the oldest on."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NAMES = ("at", "token", "request", "key", "prev", "seal")
TEXTS = ("actor", "address", "call", "document")

ON_SQLITE = (
    """CREATE TRIGGER audit_added BEFORE INSERT ON audit BEGIN
    SELECT RAISE(ABORT, 'audit: this record does not follow the newest one')
    WHERE NOT EXISTS (SELECT 1 FROM audit_head WHERE seq = NEW.seq - 1 AND seal = NEW.prev);
    UPDATE audit_head SET seq = NEW.seq, seal = NEW.seal;
    END""",
    """CREATE TRIGGER audit_changed BEFORE UPDATE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit: records do not change');
    END""",
    """CREATE TRIGGER audit_deleted BEFORE DELETE ON audit BEGIN
    SELECT RAISE(ABORT, 'audit: records are forgotten from the oldest on')
    WHERE OLD.seq > (SELECT forgotten_seq FROM audit_head);
    END""",
    """CREATE TRIGGER audit_head_deleted BEFORE DELETE ON audit_head BEGIN
    SELECT RAISE(ABORT, 'audit: the chain has a head');
    END""",
)
ON_POSTGRESQL = (
    """CREATE FUNCTION audit_added() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE audit_head SET seq = NEW.seq, seal = NEW.seal
      WHERE seq = NEW.seq - 1 AND seal = NEW.prev;
      IF NOT FOUND THEN
        RAISE EXCEPTION 'audit: this record does not follow the newest one';
      END IF;
      RETURN NEW;
    END $$""",
    """CREATE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit' THEN
        IF OLD.seq <= (SELECT forgotten_seq FROM audit_head) THEN
          RETURN OLD;
        END IF;
      END IF;
      RAISE EXCEPTION 'audit: records do not change, and are forgotten from the oldest on';
    END $$""",
    "CREATE TRIGGER audit_added BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION audit_added()",
    """CREATE TRIGGER audit_changed BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_kept()""",
    """CREATE TRIGGER audit_emptied BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_kept()""",
    """CREATE TRIGGER audit_head_deleted BEFORE DELETE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION audit_kept()""",
)


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", NUMBER, nullable=False, autoincrement=False),
        *(sa.Column(one, NAME, nullable=False) for one in NAMES),
        *(sa.Column(one, sa.Text(), nullable=False) for one in TEXTS),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_request"), "audit", ["request"])
    head = op.create_table(
        "audit_head",
        sa.Column("name", NAME, nullable=False),
        sa.Column("seq", NUMBER, nullable=False),
        sa.Column("seal", NAME, nullable=False),
        sa.Column("forgotten_seq", NUMBER, nullable=False),
        *(
            sa.Column(one, NAME, nullable=False)
            for one in ("forgotten", "forgotten_key", "forgotten_seal")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audit_head")),
    )
    nothing = dict.fromkeys(("seal", "forgotten", "forgotten_key", "forgotten_seal"), "")
    op.bulk_insert(head, [{"name": "chain", "seq": 0, "forgotten_seq": 0, **nothing}])
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in ON_SQLITE if on_sqlite else ON_POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    op.drop_table("audit")
    op.drop_table("audit_head")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_added()")
        op.execute("DROP FUNCTION audit_kept()")
