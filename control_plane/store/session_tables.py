"""The table of the dashboard's sessions."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NAME, Key, Row


class WebSessionRow(Row):
    """That a browser which knows the id behind this hash acts for a token, until a time."""

    __tablename__ = "web_sessions"
    sha256: Mapped[Key]
    token: Mapped[str] = mapped_column(NAME, ForeignKey("tokens.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
