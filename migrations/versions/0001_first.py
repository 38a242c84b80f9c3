"""Everything: catalog, fleets, revisions, rollouts, journal, tokens, leases."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import VARCHAR

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NAME = sa.String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")
SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "counters",
    "installation",
    "models",
    "versions",
    "deleted_versions",
    "fleets",
    "servers",
    "observations",
    "revisions",
    "deployments",
    "rollouts",
    "rollout_models",
    "live_rollouts",
    "verifications",
    "events",
    "idempotency_keys",
    "tokens",
    "leases",
)


def upgrade() -> None:
    _installation()
    _catalog()
    _fleets()
    _revisions()
    _rollouts()
    _labels()
    _journal()
    _access()
    _first_rows()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def _installation() -> None:
    op.create_table("counters", _name("name"), _number("value"), _key("counters", "name"))
    op.create_table("installation", _name("id"), _key("installation", "id"))


def _catalog() -> None:
    op.create_table(
        "models",
        _name("name"),
        *_texts("base_path", "created_by", "description", "owner"),
        _time("created_at"),
        _document("tags"),
        _number("rv"),
        _key("models", "name"),
    )
    op.create_table(
        "versions",
        _name("model"),
        _number("number"),
        _time("created_at"),
        *_texts("created_by", "digest", "fault", "fingerprint", "description", "source"),
        *(_document(name) for name in ("signatures", "tags", "metrics")),
        *(_number(name) for name in ("size_bytes", "rv")),
        _key("versions", "model", "number"),
        _refers("versions", ["model"], "models", ["name"], "CASCADE"),
    )
    _partial_index("ix_versions_pending", "versions", "created_at", "digest = ''")
    op.create_table(
        "deleted_versions",
        _name("model"),
        _number("number"),
        *_texts("digest"),
        _key("deleted_versions", "model", "number"),
    )


def _fleets() -> None:
    op.create_table(
        "fleets",
        _name("name"),
        _time("created_at"),
        *_texts("description", "storage", "take_over"),
        _document("path_map"),
        *(_number(name) for name in ("max_unavailable", "head", "rv")),
        _key("fleets", "name"),
    )
    op.create_table(
        "servers",
        *_names("fleet", "name"),
        *_texts("address", "rest_address"),
        _time("created_at"),
        sa.Column("taken_over", sa.Boolean(), nullable=False),
        _time("taken_over_at", nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        _document("flags"),
        _time("last_seen_at", nullable=True),
        _number("rv"),
        _key("servers", "fleet", "name"),
        _refers("servers", ["fleet"], "fleets", ["name"]),
        sa.UniqueConstraint("address", name=op.f("uq_servers_address")),
    )
    op.create_table(
        "observations",
        *_names("fleet", "server"),
        _document("document"),
        _key("observations", "fleet", "server"),
        _refers("observations", ["fleet", "server"], "servers", ["fleet", "name"], "CASCADE"),
    )


def _revisions() -> None:
    op.create_table(
        "revisions",
        _name("fleet"),
        *(_number(name) for name in ("number", "parent")),
        *_texts("kind", "actor", "reason"),
        _time("created_at"),
        _key("revisions", "fleet", "number"),
        _refers("revisions", ["fleet"], "fleets", ["name"], "CASCADE"),
    )
    _index("revisions", "fleet", "created_at")
    op.create_table(
        "deployments",
        *_names("fleet", "model"),
        _number("number"),
        _document("document", nullable=True),
        _key("deployments", "fleet", "model", "number"),
        _refers("deployments", ["fleet", "number"], "revisions", ["fleet", "number"], "CASCADE"),
    )
    _index("deployments", "fleet", "number")


def _rollouts() -> None:
    op.create_table(
        "rollouts",
        *_names("id", "fleet"),
        *(_document(name) for name in ("models", "steps", "laggards")),
        *(_number(name) for name in ("from_revision", "to_revision", "rv")),
        *_texts("kind", "phase", "sentence", "actor", "reason", "label", "superseded_by", "error"),
        *(_time(name) for name in ("created_at", "deadline_at")),
        _time("ended_at", nullable=True),
        _key("rollouts", "id"),
        _refers("rollouts", ["fleet"], "fleets", ["name"], "CASCADE"),
    )
    _index("rollouts", "created_at", "id")
    _index("rollouts", "fleet", "created_at")
    for table, keys in (("rollout_models", ["model", "rollout"]), ("live_rollouts", None)):
        op.create_table(
            table,
            *_names(*(keys or ["fleet", "model", "rollout"])),
            _key(table, *(keys or ["fleet", "model"])),
            _refers(table, ["rollout"], "rollouts", ["id"], "CASCADE"),
        )
        _index(table, "rollout")


def _labels() -> None:
    op.create_table(
        "verifications",
        *_names("fleet", "model", "label"),
        *(_number(name) for name in ("revision", "version")),
        _time("at"),
        _time("rolled_back_at", nullable=True),
        _key("verifications", "fleet", "model", "label", "revision", "version"),
        _refers("verifications", ["fleet"], "fleets", ["name"], "CASCADE"),
    )


def _journal() -> None:
    op.create_table(
        "events",
        sa.Column("seq", SEQ, nullable=False, autoincrement=False),
        _time("at"),
        *_texts("kind", "actor", "rollout", "reason"),
        *_names("fleet", "model", "server"),
        _number("revision"),
        _document("data"),
        _key("events", "seq"),
    )
    _index("events", "fleet", "seq")
    _index("events", "model", "seq")


def _access() -> None:
    op.create_table(
        "idempotency_keys",
        *_texts("actor", "key", "body_hash"),
        _number("status"),
        *(_document(name) for name in ("body", "headers")),
        _time("created_at"),
        _key("idempotency_keys", "actor", "key"),
    )
    _index("idempotency_keys", "created_at")
    op.create_table(
        "tokens",
        *_names("id", "name"),
        *_texts("role", "sha256"),
        _time("created_at"),
        *(_time(name, nullable=True) for name in ("revoked_at", "expires_at", "last_used_at")),
        _key("tokens", "id"),
    )
    _partial_index("uq_tokens_name", "tokens", "name", "revoked_at IS NULL", unique=True)
    op.create_table(
        "leases",
        _name("fleet"),
        *_texts("holder"),
        _number("epoch"),
        _time("expires_at"),
        _key("leases", "fleet"),
    )


def _first_rows() -> None:
    bind = op.get_bind()
    tables = sa.MetaData()
    tables.reflect(bind, only=["counters", "installation", "fleets"])
    bind.execute(tables.tables["counters"].insert().values(name="journal", value=0))
    bind.execute(tables.tables["installation"].insert().values(id=secrets.token_hex(4)))
    default = {"name": "default", "description": "", "storage": "visible", "take_over": "ask"}
    numbers = {"max_unavailable": 0, "head": 0, "rv": 1}
    made = {"created_at": datetime.now(UTC), "path_map": {}}
    bind.execute(tables.tables["fleets"].insert().values(**default, **numbers, **made))


def _name(name: str) -> sa.Column[str]:
    return sa.Column(name, NAME, nullable=False)


def _names(*names: str) -> list[sa.Column[str]]:
    return [_name(name) for name in names]


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False, autoincrement=False)


def _time(name: str, *, nullable: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _document(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _refers(
    table: str,
    columns: Sequence[str],
    other: str,
    its: Sequence[str],
    ondelete: str | None = None,
) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{'_'.join(columns)}_{other}")
    return sa.ForeignKeyConstraint(
        columns, [f"{other}.{column}" for column in its], name=name, ondelete=ondelete
    )


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, columns)


def _partial_index(name: str, table: str, column: str, where: str, *, unique: bool = False) -> None:
    only = sa.text(where)
    op.create_index(
        op.f(name), table, [column], unique=unique, sqlite_where=only, postgresql_where=only
    )
