"""The table of replicas."""

from datetime import datetime

from sqlalchemy.orm import Mapped

from control_plane.store.tables import Key, Row


class ReplicaRow(Row):
    """A process that would lead fleets; one that was not heard of for long is gone."""

    __tablename__ = "replicas"
    id: Mapped[Key]
    expires_at: Mapped[datetime]
