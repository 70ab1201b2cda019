"""The slot table answers every pair, and only a next state changes a slot."""

from __future__ import annotations

from itertools import product

import pytest

from marketmaker.core.slot import TRANSITIONS, Heard, Slot, SlotState, Verdict
from marketmaker.errors import InvariantBroken

PAIRS = list(product(SlotState, Heard))

GOLDEN = """
            free     pending  locked
sent        pending  broken   broken
accepted    resync   locked   late
part_filled resync   locked   locked
filled      resync   free     free
cancelled   late     free     free
rejected    late     free     resync
unknown     late     pending  late
"""


def golden_pairs() -> dict[tuple[SlotState, Heard], str]:
    header, *rows = [line.split() for line in GOLDEN.strip().splitlines()]
    return {
        (SlotState(state), Heard(heard)): answer
        for heard, *answers in rows
        for state, answer in zip(header, answers, strict=True)
    }


def label(pair: tuple[SlotState, Heard]) -> str:
    return f"{pair[0].value}-{pair[1].value}"


def test_the_table_answers_every_pair_and_no_other() -> None:
    assert set(TRANSITIONS) == set(PAIRS)


def test_the_golden_copy_names_every_pair() -> None:
    assert set(golden_pairs()) == set(PAIRS)


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_each_pair_is_answered_as_in_the_golden_copy(pair: tuple[SlotState, Heard]) -> None:
    assert TRANSITIONS[pair].value == golden_pairs()[pair]


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_a_state_is_moved_to_and_a_verdict_changes_nothing(pair: tuple[SlotState, Heard]) -> None:
    state, heard = pair
    slot = Slot(index=-3, sign=1, state=state)
    expected = TRANSITIONS[pair]
    if expected is Verdict.BROKEN:
        with pytest.raises(InvariantBroken):
            slot.hear(heard)
    else:
        assert slot.hear(heard) is expected
    unchanged = Slot(index=-3, sign=1, state=state)
    if isinstance(expected, SlotState):
        unchanged.state = expected
    assert slot == unchanged


def test_broken_says_which_slot_heard_what_in_which_state() -> None:
    with pytest.raises(InvariantBroken, match="slot 7 heard sent while locked"):
        Slot(index=7, sign=1, state=SlotState.LOCKED).hear(Heard.SENT)


def test_no_refusal_is_believed_of_an_order_seen_open() -> None:
    slot = Slot(index=1, sign=1, state=SlotState.LOCKED)
    assert slot.hear(Heard.REJECTED) is Verdict.RESYNC
    assert slot.state is SlotState.LOCKED


def test_no_answer_keeps_the_slot_pending() -> None:
    slot = Slot(index=1, sign=1)
    assert slot.hear(Heard.SENT) is SlotState.PENDING
    assert slot.hear(Heard.UNKNOWN) is SlotState.PENDING
