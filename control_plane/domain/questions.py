"""What the next look has to ask a server: the marker, and of hot models the status."""

from collections.abc import Mapping
from dataclasses import dataclass

from control_plane.domain.observed import Observed


@dataclass(frozen=True, slots=True)
class Questions:
    """What the next look has to ask the server."""

    statuses: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    markers: tuple[tuple[str, str], ...]
    full: bool


def questions(
    observed: Observed, wanted: Mapping[str, Mapping[str, int]], owner: str, hot: frozenset[str]
) -> Questions:
    """Choose what to ask: the marker, and of hot models the status; everything where unsure.

    Args:
        observed: what is known.
        wanted: the labels that each assigned model should have.
        owner: our owner marker's name.
        hot: models in which something moves.
    """
    full = observed.looked_at == 0.0 or observed.verified is None or observed.marker_gone
    names = set(wanted) | set(observed.models)
    if observed.intent:
        names |= set(observed.intent.config.models)
        hot |= observed.intent.names_added
    if observed.verified:
        names |= set(observed.verified.config.models)
        if observed.verified.marker is None:  # then the statuses alone tell of a restart
            hot = frozenset(names)
    markers = [
        (one.marker.model, one.config.digest_label)
        for one in (observed.verified, observed.intent, *observed.ghosts)
        if one is not None and one.marker is not None
    ]
    if not full:
        return Questions(tuple(sorted(hot & names)), (), tuple(dict.fromkeys(markers)), full=False)
    labels = [(name, label) for name in sorted(names) for label in _known(observed, wanted, name)]
    markers += [(name, owner) for name in sorted(names)]
    return Questions(tuple(sorted(names)), tuple(labels), tuple(dict.fromkeys(markers)), full=True)


def _known(
    observed: Observed, wanted: Mapping[str, Mapping[str, int]], name: str
) -> tuple[str, ...]:
    sources = [wanted.get(name, {}), observed.proven.get(name, {}), observed.labels.get(name, {})]
    if observed.verified and name in observed.verified.config.models:
        sources.append(observed.verified.config.models[name].labels)
    return tuple(sorted({label for source in sources for label in source}))
