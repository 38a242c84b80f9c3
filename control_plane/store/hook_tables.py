"""The tables of hooks and their runs."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Float, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NAME, Key, Name, Row


class HookRow(Row):
    """A hook."""

    __tablename__ = "hooks"
    name: Mapped[Key]
    fleet: Mapped[str] = mapped_column(NAME, ForeignKey("fleets.name", ondelete="CASCADE"))
    document: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    seq: Mapped[int]
    __table_args__ = (Index(None, "fleet"),)


class HookRunRow(Row):
    """A run of a hook; it outlives the hook."""

    __tablename__ = "hook_runs"
    id: Mapped[Key]
    hook: Mapped[Name]
    fleet: Mapped[str] = mapped_column(NAME, ForeignKey("fleets.name", ondelete="CASCADE"))
    moment: Mapped[str]
    rollout: Mapped[str | None] = mapped_column(NAME, ForeignKey("rollouts.id", ondelete="CASCADE"))
    model: Mapped[Name]
    version: Mapped[int | None] = mapped_column(BigInteger)
    server: Mapped[Name]
    order: Mapped[int]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    state: Mapped[str]
    attempts: Mapped[int]
    status: Mapped[int | None] = mapped_column(BigInteger)
    duration_s: Mapped[float] = mapped_column(Float)
    sentence: Mapped[str]
    output: Mapped[str]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    __table_args__ = (
        Index(None, "rollout"),
        Index(None, "hook", "created_at"),
        Index(None, "ended_at"),
        Index(
            "ix_hook_runs_open",
            "fleet",
            sqlite_where=text("state IN ('pending', 'running')"),
            postgresql_where=text("state IN ('pending', 'running')"),
        ),
    )
