"""The table of tokens."""

from datetime import datetime

from sqlalchemy import Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import Key, Name, Row


class TokenRow(Row):
    """A bearer token's hash; a name has one token that is not revoked."""

    __tablename__ = "tokens"
    id: Mapped[Key]
    name: Mapped[Name]
    role: Mapped[str]
    sha256: Mapped[str]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(Text, server_default="person")
    __table_args__ = (
        Index(
            "uq_tokens_name",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )
