"""The table of sources."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NAME, Key, Row


class SourceRow(Row):
    """Where the servers of a fleet are found, and what was found there last."""

    __tablename__ = "sources"
    fleet: Mapped[str] = mapped_column(
        NAME, ForeignKey("fleets.name", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[Key]
    document: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    rv: Mapped[int]
