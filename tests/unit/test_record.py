import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.domain.observed import (
    Failure,
    Flip,
    Intent,
    Observed,
    Refusal,
    Suspect,
    Verified,
    VersionSeen,
)
from control_plane.domain.record import from_json, to_json
from control_plane.domain.state import (
    Ability,
    Able,
    Config,
    Marker,
    ModelConfig,
    ReloadAnswer,
    State,
)

names = st.text(min_size=1, max_size=5)
numbers = st.integers(0, 2**63 - 1)
instants = st.floats(0, 4e9, allow_nan=False)
configs = st.builds(
    Config,
    st.dictionaries(
        names,
        st.builds(ModelConfig, names, st.frozensets(numbers), st.dictionaries(names, numbers)),
        max_size=3,
    ),
)
markers = st.none() | st.builds(Marker, names, numbers)
answers = st.none() | st.builds(ReloadAnswer, code=names, message=names)
intents = st.builds(
    Intent,
    config=configs,
    marker=markers,
    names_added=st.frozensets(names),
    sent_at=instants,
    epoch=numbers,
    answer=answers,
    answered_at=instants,
    reached_at=instants,
)
seen = st.builds(
    VersionSeen,
    state=st.sampled_from(State),
    since=instants,
    error_code=st.integers(0, 16),
    error=names,
    served=st.booleans(),
    able=st.none() | st.builds(Able, ability=st.sampled_from(Ability), text=names),
)
failures = st.builds(Failure, count=numbers, at=instants)
pointers = st.dictionaries(names, st.dictionaries(names, numbers, max_size=2), max_size=2)


def by_version(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(names, st.dictionaries(numbers, of, max_size=2), max_size=2)


observations = st.builds(
    Observed,
    at=instants,
    looked_at=instants,
    reachable=st.booleans(),
    unreachable_since=instants,
    models=by_version(seen),
    labels=pointers,
    verified=st.none() | st.builds(Verified, config=configs, marker=markers, at=instants),
    proven=pointers,
    intent=st.none() | intents,
    ghosts=st.lists(intents, max_size=2).map(tuple),
    cleared_at=instants,
    foreign=st.booleans(),
    restarted_at=instants,
    quiet_since=instants,
    marker_gone=st.booleans(),
    other_writer_since=instants,
    wedged=names,
    exhausted_at=instants,
    flips=st.lists(st.builds(Flip, instants, instants, st.frozensets(names)), max_size=2).map(
        tuple
    ),
    adopted_at=instants,
    not_adopted=names,
    refusal=st.none() | st.builds(Refusal, digest=names, text=names, count=numbers, at=instants),
    added=by_version(instants),
    dropped=by_version(instants),
    failures=by_version(failures),
    suspects=by_version(st.builds(Suspect, weight=numbers, why=names, at=instants)),
)


@given(observations)
@settings(max_examples=60, deadline=None)
def test_what_is_known_survives_being_written_as_json(observed: Observed) -> None:
    written = json.loads(json.dumps(to_json(observed)))
    assert from_json(written) == observed


def test_nothing_known_is_an_empty_document() -> None:
    assert to_json(Observed()) == {}
    assert from_json({"status": "ready"}) == Observed()
