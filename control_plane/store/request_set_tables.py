"""The table of request sets."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NAME, Key, Row


class RequestSetRow(Row):
    """A request set; its content stands last, so that the rest is read without it."""

    __tablename__ = "request_sets"
    model: Mapped[str] = mapped_column(
        NAME, ForeignKey("models.name", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[Key]
    form: Mapped[str]
    records: Mapped[int]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    created_at: Mapped[datetime]
    created_by: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)
