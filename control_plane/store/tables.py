"""Tables: the rows behind the domain's values, which never leave `store`.

Store functions select columns, not entities, so nothing is ever answered from a stale identity
map. Names compare byte by byte on both engines, so lists have one order everywhere.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import VARCHAR
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.expression import literal
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

NAME = String(128).with_variant(VARCHAR(128, collation="C"), "postgresql")
NUMBER = BigInteger().with_variant(Integer(), "sqlite")  # lets SQLite use it as the row id
DOCUMENT = JSON(none_as_null=True)
OF_A_ROLLOUT = "rollout <> ''"  # most events are of none; who asks by rollout has to say so too


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, stored and returned in UTC; a naive one is a bug and refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse naive times."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone")
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Say that it is UTC; SQLite returns it without a zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class clock_in(FunctionElement[datetime]):  # noqa: N801 - reads as an SQL function
    """The database's clock at this moment, not at the transaction's begin, plus seconds."""

    type = UtcDateTime()
    inherit_cache = True
    name = "clock_in"


def clock(plus_s: float = 0.0) -> ColumnElement[datetime]:
    """Return the database's time `plus_s` seconds from now, as an expression."""
    return clock_in(literal(float(plus_s), Float()))


@compiles(clock_in, "postgresql")
def _clock_in_postgres(element: Any, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"(clock_timestamp() + make_interval(secs => CAST({seconds} AS double precision)))"


@compiles(clock_in, "sqlite")
def _clock_in_sqlite(element: Any, compiler: Any, **kw: Any) -> str:
    seconds = compiler.process(element.clauses, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


Name = Annotated[str, mapped_column(NAME)]
Key = Annotated[str, mapped_column(NAME, primary_key=True)]
NumberKey = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=False)]


class Row(DeclarativeBase):
    """A row of some table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        int: BigInteger,
        bool: Boolean,
        datetime: UtcDateTime,
        dict[str, Any]: DOCUMENT,
        list[Any]: DOCUMENT,
    }


class InstallationRow(Row):
    """This installation's random id; one row."""

    __tablename__ = "installation"
    id: Mapped[Key]


class CounterRow(Row):
    """A number taken under this row's lock; `journal` is the last event's."""

    __tablename__ = "counters"
    name: Mapped[Key]
    value: Mapped[int]


class ModelRow(Row):
    """A model."""

    __tablename__ = "models"
    name: Mapped[Key]
    base_path: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    description: Mapped[str]
    owner: Mapped[str]
    tags: Mapped[dict[str, Any]]
    default_strategy: Mapped[str] = mapped_column(Text, server_default="")
    rv: Mapped[int]


class VersionRow(Row):
    """A registered version."""

    __tablename__ = "versions"
    model: Mapped[str] = mapped_column(
        NAME, ForeignKey("models.name", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[NumberKey]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    size_bytes: Mapped[int]
    digest: Mapped[str]
    fault: Mapped[str]
    signatures: Mapped[dict[str, Any]]
    fingerprint: Mapped[str]
    description: Mapped[str]
    tags: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    source: Mapped[str]
    rv: Mapped[int]
    __table_args__ = (
        Index(
            "ix_versions_pending",
            "created_at",
            sqlite_where=text("digest = ''"),
            postgresql_where=text("digest = ''"),
        ),
    )


class DeletedVersionRow(Row):
    """What a deleted version's files were; outlives its model."""

    __tablename__ = "deleted_versions"
    model: Mapped[Key]
    number: Mapped[NumberKey]
    digest: Mapped[str]


class FleetRow(Row):
    """A fleet; its lock orders the changes of its desired state."""

    __tablename__ = "fleets"
    name: Mapped[Key]
    created_at: Mapped[datetime]
    description: Mapped[str]
    path_map: Mapped[dict[str, Any]]
    storage: Mapped[str]
    take_over: Mapped[str]
    max_unavailable: Mapped[int]
    boot_config_dir: Mapped[str] = mapped_column(Text, server_default="")
    on_drift: Mapped[str] = mapped_column(Text, server_default="enforce")
    head: Mapped[int]
    rv: Mapped[int]


class ServerRow(Row):
    """A server; no two share an address, since each has one writer."""

    __tablename__ = "servers"
    fleet: Mapped[str] = mapped_column(NAME, ForeignKey("fleets.name"), primary_key=True)
    name: Mapped[Key]
    address: Mapped[str] = mapped_column(Text, unique=True)
    created_at: Mapped[datetime]
    rest_address: Mapped[str]
    taken_over: Mapped[bool]
    taken_over_at: Mapped[datetime | None]
    memory_bytes: Mapped[int | None]
    flags: Mapped[dict[str, Any]]
    last_seen_at: Mapped[datetime | None]
    source: Mapped[str] = mapped_column(NAME, server_default="")
    joined: Mapped[bool] = mapped_column(server_default=text("true"))
    drain: Mapped[dict[str, Any] | None]
    rv: Mapped[int]


class ObservationRow(Row):
    """What was last observed of a server."""

    __tablename__ = "observations"
    fleet: Mapped[Key]
    server: Mapped[Key]
    document: Mapped[dict[str, Any]]
    __table_args__ = (
        ForeignKeyConstraint(
            ["fleet", "server"], ["servers.fleet", "servers.name"], ondelete="CASCADE"
        ),
    )


class RevisionRow(Row):
    """A revision; never updated."""

    __tablename__ = "revisions"
    fleet: Mapped[str] = mapped_column(
        NAME, ForeignKey("fleets.name", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[NumberKey]
    parent: Mapped[int]
    kind: Mapped[str]
    actor: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime]
    __table_args__ = (Index(None, "fleet", "created_at"),)


class DeploymentRow(Row):
    """What a revision says of one model; a null document is a tombstone. Never updated."""

    __tablename__ = "deployments"
    fleet: Mapped[Key]
    model: Mapped[Key]
    number: Mapped[NumberKey]
    document: Mapped[dict[str, Any] | None]
    __table_args__ = (
        ForeignKeyConstraint(
            ["fleet", "number"], ["revisions.fleet", "revisions.number"], ondelete="CASCADE"
        ),
        Index(None, "fleet", "number"),
    )


class RolloutRow(Row):
    """A rollout."""

    __tablename__ = "rollouts"
    id: Mapped[Key]
    fleet: Mapped[str] = mapped_column(NAME, ForeignKey("fleets.name", ondelete="CASCADE"))
    models: Mapped[list[Any]]
    kind: Mapped[str]
    from_revision: Mapped[int]
    to_revision: Mapped[int]
    phase: Mapped[str]
    sentence: Mapped[str]
    steps: Mapped[list[Any]]
    created_at: Mapped[datetime]
    deadline_at: Mapped[datetime]
    actor: Mapped[str]
    reason: Mapped[str]
    label: Mapped[str]
    laggards: Mapped[list[Any]]
    ended_at: Mapped[datetime | None]
    superseded_by: Mapped[str]
    error: Mapped[str]
    strategy: Mapped[str] = mapped_column(Text, server_default="direct")
    strategy_number: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rv: Mapped[int]
    __table_args__ = (Index(None, "created_at", "id"), Index(None, "fleet", "created_at"))


class RolloutModelRow(Row):
    """That a rollout is about a model."""

    __tablename__ = "rollout_models"
    model: Mapped[Key]
    rollout: Mapped[str] = mapped_column(
        NAME, ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True
    )
    __table_args__ = (Index(None, "rollout"),)


class LiveRolloutRow(Row):
    """The live rollout of a deployment: the key allows one."""

    __tablename__ = "live_rollouts"
    fleet: Mapped[Key]
    model: Mapped[Key]
    rollout: Mapped[str] = mapped_column(
        NAME, ForeignKey("rollouts.id", ondelete="CASCADE"), index=True
    )


class StrategyRow(Row):
    """What a strategy was from some edit to the next; without a document, it was deleted."""

    __tablename__ = "strategies"
    name: Mapped[Key]
    number: Mapped[NumberKey]
    document: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class VerificationRow(Row):
    """That a label was verified on a version, for a revision."""

    __tablename__ = "verifications"
    fleet: Mapped[str] = mapped_column(
        NAME, ForeignKey("fleets.name", ondelete="CASCADE"), primary_key=True
    )
    model: Mapped[Key]
    label: Mapped[Key]
    revision: Mapped[NumberKey]
    version: Mapped[NumberKey]
    at: Mapped[datetime]
    rolled_back_at: Mapped[datetime | None]


class EventRow(Row):
    """A journal record; never updated."""

    __tablename__ = "events"
    seq: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=False)
    kind: Mapped[str]
    at: Mapped[datetime]
    actor: Mapped[str]
    fleet: Mapped[Name]
    model: Mapped[Name]
    server: Mapped[Name]
    rollout: Mapped[str]
    revision: Mapped[int]
    reason: Mapped[str]
    data: Mapped[dict[str, Any]]
    __table_args__ = (
        Index(None, "fleet", "seq"),
        Index(None, "model", "seq"),
        Index(
            "ix_events_of_rollout",
            "rollout",
            "seq",
            sqlite_where=text(OF_A_ROLLOUT),
            postgresql_where=text(OF_A_ROLLOUT),
        ),
    )


class IdempotencyRow(Row):
    """The answer that a key's first request got."""

    __tablename__ = "idempotency_keys"
    actor: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    body_hash: Mapped[str]
    status: Mapped[int]
    body: Mapped[Any] = mapped_column(JSON)
    headers: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


class LeaseRow(Row):
    """Who may write to a fleet; outlives the fleet, so that its epoch never repeats."""

    __tablename__ = "leases"
    fleet: Mapped[Key]
    holder: Mapped[str]
    epoch: Mapped[int]
    expires_at: Mapped[datetime]
