"""Leases among several replicas: their terms, and how many fleets are one replica's share."""

from dataclasses import dataclass
from typing import Final

from control_plane.domain.errors import FieldInvalid

ALONE: Final = "sqlite"  # holds all leases where one process has the database
_LONGEST_S = 5.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a lease lasts, and when its holder stops.

    Raises:
        FieldInvalid: a lease would not outlast one lost renewal.
    """

    ttl_s: float = 6.0  # by the database's clock
    renew_s: float = 2.0
    send_margin_s: float = 1.0  # a push needs this much of it

    def __post_init__(self) -> None:
        """Refuse terms that one slow answer would break."""
        if self.ttl_s <= 2 * self.renew_s + self.send_margin_s:
            text = (
                f"{self.ttl_s:g} is not above 2 × lease_renew_s + send_margin_s ="
                f" 2 × {self.renew_s:g} + {self.send_margin_s:g}"
            )
            raise FieldInvalid("lease_ttl_s", text, hint="a lease has to outlast a lost renewal")

    @property
    def demote_s(self) -> float:
        """Our own end of a lease, by our clock, counted from before it was asked for."""
        return self.ttl_s - self.renew_s

    @property
    def patience_s(self) -> float:
        """How long a renewal may take, so that a second one still comes in time for a push."""
        return min((self.ttl_s - self.renew_s - self.send_margin_s) / 2, _LONGEST_S)


def fair_share(fleets: int, replicas: int) -> int:
    """How many fleets a replica leads at most, so that all are led and none leads for the rest."""
    return -(-fleets // max(replicas, 1))
