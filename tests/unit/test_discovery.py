"""What may be concluded from looks at a source, one after the other."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.address import Address
from control_plane.domain.discovery import Answer, Conclusion, Watch, conclude

GRACE_S = 10.0
A, B, C = (Address("10.0.0.7", port) for port in (1, 2, 3))
BROKEN = Answer(fault="DNS did not answer")
EMPTY = Answer()


def listing(*addresses: Address) -> Answer:
    return Answer(frozenset(addresses))


class Looks:
    """Looks at one source; who leaves is forgotten, who is listed becomes a member."""

    def __init__(self, *members: Address) -> None:
        self.members = {str(one) for one in members}
        self.watch = Watch()

    def __call__(self, at: float, answer: Answer) -> Conclusion:
        found = conclude(answer, self.members, self.watch, grace_s=GRACE_S, at=at)
        self.watch = found.watch
        self.members = (self.members | (found.listed or set())) - found.leaving
        return found


def test_who_is_listed_comes_at_once() -> None:
    look = Looks(A)
    assert look(0, listing(A, B)).listed == frozenset({str(A), str(B)})


def test_who_is_missing_leaves_after_the_grace_period() -> None:
    look = Looks(A, B)
    assert look(0, listing(A)).missing == {str(B)}
    assert not look(9.9, listing(A)).leaving
    assert look(10, listing(A)).leaving == {str(B)}
    assert not look(11, listing(A)).missing


def test_who_comes_back_has_a_whole_grace_period_again() -> None:
    look = Looks(A, B)
    look(0, listing(A))
    assert not look(5, listing(A, B)).missing
    look(6, listing(A))
    assert not look(12, listing(A)).leaving
    assert look(16, listing(A)).leaving == {str(B)}


def test_nobody_leaves_while_the_source_cannot_be_looked_up() -> None:
    look = Looks(A, B)
    look(0, listing(A))
    for at in (5, 15, 1_000):
        found = look(at, BROKEN)
        assert (found.listed, found.fault) == (None, BROKEN.fault)
    assert look(1_001, listing(A, B)).missing == frozenset()


def test_absence_at_both_ends_of_an_outage_is_absence() -> None:
    look = Looks(A, B)
    look(0, listing(A))
    look(5, BROKEN)
    assert look(11, listing(A)).leaving == {str(B)}


def test_an_empty_list_is_a_fault_for_a_grace_period_and_then_begins_another() -> None:
    look = Looks(A, B)
    for at in (0, 5, 9.9):
        found = look(at, EMPTY)
        assert found.listed is None
        assert "lists no server any more" in found.fault
    believed = look(10, EMPTY)
    assert not believed.fault
    assert believed.missing == {str(A), str(B)}
    assert not look(19.9, EMPTY).leaving
    assert look(20, EMPTY).leaving == {str(A), str(B)}


def test_one_server_that_shows_again_ends_the_emptiness() -> None:
    look = Looks(A, B)
    look(0, EMPTY)
    look(9, listing(A))
    assert look(10, EMPTY).fault
    assert look(19.9, EMPTY).fault
    believed = look(20, EMPTY)
    assert believed.missing == {str(A), str(B)}
    assert believed.leaving == {str(B)}


def test_an_outage_within_an_emptiness_proves_nothing_either_way() -> None:
    look = Looks(A)
    look(0, EMPTY)
    look(5, BROKEN)
    assert look(10, EMPTY).missing == {str(A)}


def test_a_source_without_servers_may_be_empty() -> None:
    found = Looks()(0, EMPTY)
    assert (found.fault, found.listed) == ("", frozenset())


def test_a_successor_waits_the_whole_grace_period() -> None:
    look = Looks(A, B)
    look(0, listing(A))
    look.watch = Watch()
    assert not look(10, listing(A)).leaving
    assert look(20, listing(A)).leaving == {str(B)}


ANSWERS = st.one_of(
    st.just(BROKEN), st.sets(st.sampled_from([A, B, C])).map(lambda some: listing(*some))
)
LOOKS = st.lists(st.tuples(st.floats(0.1, 15), ANSWERS), max_size=30)


@given(LOOKS)
def test_who_leaves_was_in_no_good_look_for_a_grace_period(
    looks: Sequence[tuple[float, Answer]],
) -> None:
    look, at = Looks(A, B), 0.0
    history: list[tuple[float, Answer]] = []
    for pause_s, answer in looks:
        at += pause_s
        history.append((at, answer))
        for gone in look(at, answer).leaving:
            good = [(when, one) for when, one in history if not one.fault]
            seen = [when for when, one in good if gone in map(str, one.addresses)]
            without = [when for when, _ in good if not seen or when > seen[-1]]
            assert without[-1] == at
            assert at - without[0] >= GRACE_S


@pytest.mark.parametrize("fault", [BROKEN, EMPTY])
@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=10))
def test_nobody_leaves_within_a_grace_period_of_faults(fault: Answer, pauses: list[float]) -> None:
    look, at = Looks(A, B, C), 0.0
    for pause_s in pauses:
        at += pause_s
        if at < 2 * GRACE_S:
            assert not look(at, fault).leaving
    assert fault is EMPTY or look.members == {str(one) for one in (A, B, C)}
