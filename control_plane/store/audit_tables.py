"""The tables of the audit chain; triggers of their migration let records in, and none change."""

from sqlalchemy import BigInteger, Integer
from sqlalchemy.orm import Mapped, mapped_column

from control_plane.store.tables import NUMBER, Key, Name, Row


class AuditRow(Row):
    """A record, as `domain.audit.Record` has it."""

    __tablename__ = "audit"
    seq: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=False)
    at: Mapped[Name]
    actor: Mapped[str]
    token: Mapped[Name]
    address: Mapped[str]
    request: Mapped[Name] = mapped_column(index=True)
    call: Mapped[str]
    document: Mapped[str]
    key: Mapped[Name]
    prev: Mapped[Name]
    seal: Mapped[Name]


class AuditHeadRow(Row):
    """The chain's newest record, and up to where it was forgotten; one row, `chain`."""

    __tablename__ = "audit_head"
    name: Mapped[Key]
    seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"))
    seal: Mapped[Name]
    forgotten_seq: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"))
    forgotten: Mapped[Name]
    forgotten_key: Mapped[Name]
    forgotten_seal: Mapped[Name]
