"""The audit chain: 1,000 random tamperings by somebody without the key, each of them found."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from control_plane.domain.audit import (
    Checker,
    Head,
    Kept,
    Keys,
    Record,
    anchor_line,
    anchors,
    document,
)

KEYS = Keys("k" * 32)
STRANGER = Keys("x" * 32)
START = Head(0, "")
Chain = list[Record]


def chain(length: int, keys: Keys = KEYS) -> Chain:
    made: Chain = []
    for seq in range(1, length + 1):
        prev = made[-1].seal if made else ""
        body = document([{"seq": seq, "kind": "model.created"}], [{"of": "models", "after": {}}])
        at = f"2026-01-01T00:00:{seq % 60:02d}.000000Z"
        one = Record(seq, at, "ann", "t1", "::1", f"r-{seq}", "POST /x", body, "", prev)
        made.append(keys.sealed(one))
    return made


def head_of(records: Chain) -> Head:
    return Head(records[-1].seq, records[-1].seal) if records else START


def faults(records: Chain, head: Head, anchored: list[str], keys: Keys = KEYS) -> list[str]:
    checker = Checker(keys, Kept(head, START), anchors(anchored))
    checker.take(records)
    checker.end(head)
    return checker.faults


WHOLE = chain(40)
ANCHORED = [anchor_line(head_of(WHOLE), "t")]


def changed(records: Chain, at: random.Random) -> Chain:
    """One character of one field is another one."""
    n, name = at.randrange(len(records)), at.choice(Record._fields)
    old = getattr(records[n], name)
    if isinstance(old, int):
        new: Any = old ^ (1 << at.randrange(8))
    elif not old:
        new = "x"
    else:
        i = at.randrange(len(old))
        new = old[:i] + chr(ord(old[i]) ^ (1 << at.randrange(5))) + old[i + 1 :]
    return [*records[:n], Record(**{**records[n]._asdict(), name: new}), *records[n + 1 :]]


def taken_out(records: Chain, at: random.Random) -> Chain:
    n = at.randrange(len(records))
    return records[:n] + records[n + 1 :]


def swapped(records: Chain, at: random.Random) -> Chain:
    made = list(records)
    a, b = at.sample(range(len(made)), 2)
    made[a], made[b] = made[b], made[a]
    return made


def put_in(records: Chain, at: random.Random) -> Chain:
    n = at.randrange(len(records))
    return [*records[:n], at.choice(records), *records[n:]]


def cut(records: Chain, at: random.Random) -> Chain:
    return records[: at.randrange(len(records))]


def made_anew(records: Chain, at: random.Random) -> Chain:
    """From some record on, all is sealed again, with a key of their own under our key's name."""
    n = at.randrange(len(records))
    made = records[:n]
    for one in records[n:]:
        prev = made[-1].seal if made else ""
        forged = one._replace(actor="eve", prev=prev)
        seal = STRANGER.sealed(forged).seal
        made.append(forged._replace(seal=seal, key=at.choice((KEYS.id, STRANGER.id))))
    return made


WAYS = (changed, taken_out, swapped, put_in, cut, made_anew)


def test_a_chain_that_nobody_touched_is_whole() -> None:
    assert faults(WHOLE, head_of(WHOLE), ANCHORED) == []


@pytest.mark.parametrize("moves_the_head", [True, False])
def test_1000_of_1000_tamperings_are_found(moves_the_head: bool) -> None:
    found, tried, dice = 0, 0, random.Random(7)
    while tried < 1_000:
        way: Callable[[Chain, random.Random], Chain] = WAYS[tried % len(WAYS)]
        tampered = way(WHOLE, dice)
        if tampered == WHOLE:
            continue
        tried += 1
        head = head_of(tampered) if moves_the_head else head_of(WHOLE)
        found += bool(faults(tampered, head, ANCHORED))
    assert found == tried


def test_a_tail_that_was_cut_together_with_the_head_is_missed_by_its_anchor() -> None:
    short = WHOLE[:-1]
    assert faults(short, head_of(short), []) == []
    assert faults(short, head_of(short), ANCHORED) == [
        "record 40 was anchored, and the chain ends at 39"
    ]


def test_whoever_has_the_key_cannot_rewrite_what_was_anchored() -> None:
    longer = chain(41)
    forged = [KEYS.sealed(longer[0]._replace(actor="eve"))]
    for one in longer[1:]:
        forged.append(KEYS.sealed(one._replace(prev=forged[-1].seal)))
    assert faults(forged, head_of(forged), []) == []
    assert faults(forged, head_of(forged), ANCHORED) == [
        "record 40: another record of this number was anchored"
    ]


def test_a_new_key_seals_and_the_old_one_still_verifies() -> None:
    rotated = Keys("n" * 32, "k" * 32)
    last = WHOLE[-1]
    new = rotated.sealed(last._replace(seq=41, prev=last.seal))
    records = [*WHOLE, new]
    assert faults(records, head_of(records), ANCHORED, rotated) == []
    assert faults(records, head_of(records), ANCHORED) == [
        f"record 41: there is no key '{new.key}'"
    ]


def test_what_was_forgotten_needs_the_key_too() -> None:
    up_to, rest = head_of(WHOLE[:10]), WHOLE[10:]

    def of(kept: Kept) -> list[str]:
        checker = Checker(KEYS, kept)
        checker.take(rest)
        checker.end(head_of(WHOLE))
        return checker.faults

    assert of(Kept(head_of(WHOLE), up_to, *KEYS.forgotten(up_to))) == []
    gone = ["records up to 10 are gone, and nobody with a key forgot them"]
    assert of(Kept(head_of(WHOLE), up_to, *STRANGER.forgotten(up_to))) == gone
    assert of(Kept(head_of(WHOLE), up_to, KEYS.id, STRANGER.forgotten(up_to)[1])) == gone


def test_an_anchor_that_a_crash_cut_off_says_nothing() -> None:
    assert anchors([*ANCHORED, ANCHORED[0][:30], "", "1 2"]) == {40: {WHOLE[-1].seal}}


def test_values_of_headers_are_masked_wherever_they_stand() -> None:
    told = document([], [{"after": {"gates": [{"headers": {"Authorization": "canary"}}]}}])
    assert "canary" not in told
    assert '"headers":{"Authorization":"***"}' in told
