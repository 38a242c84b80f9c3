"""What may be concluded from one look at a source.

Absence of evidence is not evidence of absence. A look that failed says nothing. One that finds no
server at all, where there were some, is taken for a failure until it was so for the whole grace
period: names lose all their records through mistakes more often than fleets lose all their servers.
A server leaves when a good look lacks it whose first such look is a grace period ago.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from control_plane.domain.address import Address


@dataclass(frozen=True, slots=True)
class Answer:
    """What one look at a source brought back."""

    addresses: frozenset[Address] = frozenset()
    fault: str = ""  # why it brought back nothing to go by


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered between looks, in seconds of a clock that never jumps.

    It is not written down: a successor waits the whole grace period anew, which errs to the side
    of keeping a server.
    """

    missing: Mapping[str, float] = field(default_factory=dict)  # by address: first look without it
    empty_since: float | None = None  # the first of looks that all found nothing


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from a look; `listed` is None where nothing does."""

    watch: Watch
    fault: str = ""
    listed: frozenset[str] | None = None
    missing: frozenset[str] = frozenset()  # members that are not listed, those that leave included
    leaving: frozenset[str] = frozenset()


def conclude(
    answer: Answer, members: Collection[str], watch: Watch, *, grace_s: float, at: float
) -> Conclusion:
    """Say what a look means for the servers that the source has found before, by address."""
    listed = frozenset(str(one) for one in answer.addresses)
    if answer.fault:
        return Conclusion(watch, answer.fault)
    empty_since = None
    if members and not listed:
        empty_since = at if watch.empty_since is None else watch.empty_since
        if at - empty_since < grace_s:
            words = f"it lists no server any more; that is believed after {grace_s:g} s"
            return Conclusion(replace(watch, empty_since=empty_since), words)
    missing = {one: watch.missing.get(one, at) for one in set(members) - listed}
    leaving = frozenset(one for one, since in missing.items() if at - since >= grace_s)
    return Conclusion(Watch(missing, empty_since), "", listed, frozenset(missing), leaving)
