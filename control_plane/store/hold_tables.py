"""The table of holds."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NAME, Key, NumberKey, Row


class HoldRow(Row):
    """That a label was rolled back from a version, and whether somebody let it be promoted anew."""

    __tablename__ = "holds"
    fleet: Mapped[str] = mapped_column(
        NAME, ForeignKey("fleets.name", ondelete="CASCADE"), primary_key=True
    )
    model: Mapped[Key]
    label: Mapped[Key]
    version: Mapped[NumberKey]
    since: Mapped[datetime]
    actor: Mapped[str]
    reason: Mapped[str]
    resumed_at: Mapped[datetime | None]
    resumed_by: Mapped[str]
