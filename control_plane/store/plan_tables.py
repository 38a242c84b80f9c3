"""The table of plans."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NAME, Row


class PlanRow(Row):
    """What a rollout was to do when it began; never updated."""

    __tablename__ = "plans"
    rollout: Mapped[str] = mapped_column(
        NAME, ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True
    )
    made_at: Mapped[datetime]
    document: Mapped[dict[str, Any]]
