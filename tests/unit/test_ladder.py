"""The ladder against a naive recomputation: window, offered run, what each move reports, and the quiet band."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from marketmaker.core.grid import Ladder
from marketmaker.core.lattice import ArithmeticLattice, GeometricLattice, Lattice
from marketmaker.model.instrument import Ticks

SPAN = range(-40, 41)
"""Rungs the naive recomputation looks at; prices stay well inside."""


def make_ladder(**changes: object) -> Ladder:
    """Levels every 100 ticks around 10,000; windows of 3 and 2."""
    chosen: dict[str, object] = {
        "sign": 1,
        "lattice": ArithmeticLattice(Ticks(10_000), 100, 1),
        "entry_window": 3,
        "exit_window": 2,
        "lowest": SPAN[0],
        "highest": SPAN[-1],
        "distance": (1, 10),
        "from_nearest": True,
    }
    chosen.update(changes)
    return Ladder(**chosen)  # type: ignore[arg-type]


def naive_nearest(ladder: Ladder, reach: int) -> int:
    """Halves go up, in the ladder's own direction."""
    return min(SPAN, key=lambda rung: (abs(ladder.reach_of(rung) - reach), -rung))


def naive_top(ladder: Ladder, reach: int) -> int:
    """The highest rung that lies at least the placing distance, and a tick, below the price."""
    share = Fraction(*ladder.distance)

    def far_enough(rung: int) -> bool:
        level = ladder.reach_of(rung)
        return reach - level >= max(1, ceil((ladder.reach_of(rung + 1) - level) * share))

    return next(rung for rung in reversed(SPAN) if far_enough(rung))


def naive_window(ladder: Ladder, reach: int) -> set[int]:
    top = naive_top(ladder, reach)
    start = naive_nearest(ladder, reach) if ladder.from_nearest else top
    bottom = start - ladder.entry_window + 1
    return {r for r in SPAN if bottom <= r <= top and ladder.lowest <= r <= ladder.highest}


def naive_offered(ladder: Ladder, inventory: set[int], reach: int) -> set[int]:
    """The nearest; of two equally near the lower."""
    nearest = sorted(inventory, key=lambda rung: (abs(ladder.reach_of(rung) - reach), rung))
    return set(nearest[: ladder.exit_budget])


def window_of(ladder: Ladder) -> set[int]:
    return {rung for rung in SPAN if ladder.in_window(rung)}


def offered_by(ladder: Ladder) -> set[int]:
    return {rung for rung in ladder.inventory if ladder.is_offered(rung)}


@st.composite
def lattices(draw: st.DrawFn) -> Lattice:
    if draw(st.booleans()):
        denominator = draw(st.integers(1, 7))
        return ArithmeticLattice(
            Ticks(draw(st.integers(20_000, 30_000))),
            draw(st.integers(denominator, 700)),
            denominator,
        )
    step = draw(st.sampled_from(["0.001", "0.004", "0.01", "0.02"]))
    return GeometricLattice(Ticks(draw(st.integers(20_000, 30_000))), 1 + Decimal(step))


@st.composite
def ladders(draw: st.DrawFn, *, bounded: bool = True, least_window: int = 1) -> Ladder:
    lattice = draw(lattices())
    lowest, highest = SPAN[0], SPAN[-1]
    if bounded:
        lowest = draw(st.integers(-20, 0))
        highest = draw(st.integers(0, 20))
    return Ladder(
        sign=draw(st.sampled_from([1, -1])),
        lattice=lattice,
        entry_window=draw(st.integers(least_window, 6)),
        exit_window=draw(st.integers(0, 4)),
        lowest=lowest,
        highest=highest,
        distance=draw(
            st.sampled_from([Decimal(d) for d in ("0", "0.1", "0.25", "0.5", "0.9", "1")])
        ).as_integer_ratio(),
        from_nearest=draw(st.booleans()),
    )


def reaches(draw: st.DrawFn, ladder: Ladder) -> int:
    """Anywhere between the rungs -25 and 25, often right at a level or half way."""
    rung = draw(st.integers(-25, 24))
    low, high = ladder.reach_of(rung), ladder.reach_of(rung + 1)
    return draw(
        st.integers(low, high) | st.sampled_from([low, low + 1, (low + high) // 2, high - 1])
    )


class LadderMachine(RuleBasedStateMachine):
    """Any order of price moves, inventory coming and going and budgets changing."""

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        self.ladder = data.draw(ladders())
        self.inventory: set[int] = set()
        self.reach = data.draw(st.composite(reaches)(self.ladder))
        self.follow(self.reach)

    def follow(self, reach: int) -> None:
        before = window_of(self.ladder)
        self.reach = reach
        move = self.ladder.move_window(reach)
        after = window_of(self.ladder)
        assert after == naive_window(self.ladder, reach)
        assert set(move.entered) == after - before
        assert set(move.left) | set(move.dropped) == before - after
        assert all(rung < self.ladder.lo for rung in move.left)
        assert all(rung > self.ladder.hi for rung in move.dropped)
        self.offer()

    def offer(self) -> None:
        before = offered_by(self.ladder)
        changed = self.ladder.move_offered(self.reach)
        after = offered_by(self.ladder)
        assert after == naive_offered(self.ladder, self.inventory, self.reach)
        assert before ^ after <= set(changed) <= self.inventory

    @rule(data=st.data())
    def price_moves(self, data: st.DataObject) -> None:
        self.follow(data.draw(st.composite(reaches)(self.ladder)))

    @rule(direction=st.sampled_from([-1, 1]))
    def price_leaves_the_band_by_a_tick(self, direction: int) -> None:
        low, high = self.ladder.band()
        self.follow(low - 1 if direction < 0 else high + 1)

    @rule(rung=st.integers(-22, 22))
    def inventory_comes(self, rung: int) -> None:
        if rung in self.inventory:
            return
        before = offered_by(self.ladder)
        self.inventory.add(rung)
        joined = self.ladder.add_inventory(rung)
        assert offered_by(self.ladder) - before == set(joined)
        assert before <= offered_by(self.ladder)
        self.offer()

    @precondition(lambda self: self.inventory)
    @rule(data=st.data())
    def inventory_goes(self, data: st.DataObject) -> None:
        rung = data.draw(st.sampled_from(sorted(self.inventory)))
        before = offered_by(self.ladder)
        self.inventory.remove(rung)
        self.ladder.remove_inventory(rung)
        assert offered_by(self.ladder) == before - {rung}
        self.offer()

    @rule(budget=st.integers(0, 5))
    def budget_changes(self, budget: int) -> None:
        self.ladder.exit_budget = budget
        self.offer()

    @invariant()
    def inventory_is_sorted_and_complete(self) -> None:
        assert self.ladder.inventory == sorted(self.inventory)

    @invariant()
    def free_rungs_are_those_of_the_window_without_inventory(self) -> None:
        assert self.ladder.free_rungs() == len(window_of(self.ladder) - self.inventory)

    @invariant()
    def the_price_is_inside_its_own_band(self) -> None:
        low, high = self.ladder.band()
        assert low <= self.reach <= high

    @invariant()
    def inside_the_band_nothing_changes(self) -> None:
        low, high = self.ladder.band()
        window, offered = window_of(self.ladder), offered_by(self.ladder)
        for reach in (low, (low + high) // 2, high):
            note(f"band {low}..{high}, probing {reach}")
            assert naive_window(self.ladder, reach) == window
            assert naive_offered(self.ladder, self.inventory, reach) == offered


def test_any_history_of_a_ladder_agrees_with_the_naive_recomputation() -> None:
    run_state_machine_as_test(
        LadderMachine, settings=settings(max_examples=80, stateful_step_count=20)
    )


@given(st.data())
def test_just_outside_the_band_something_changes(data: st.DataObject) -> None:
    """Where no window is empty or cut off at an outermost rung, every edge of the band is one of window or offered."""
    ladder = data.draw(ladders(bounded=False, least_window=3))
    reach = data.draw(st.composite(reaches)(ladder))
    ladder.move_window(reach)
    for rung in data.draw(st.sets(st.integers(-22, 22), max_size=8)):
        ladder.add_inventory(rung)
    ladder.move_offered(reach)
    inventory = set(ladder.inventory)
    low, high = ladder.band()
    for outside in (low - 1, high + 1):
        assert naive_window(ladder, outside) != window_of(ladder) or naive_offered(
            ladder, inventory, outside
        ) != offered_by(ladder)


@given(ladders(), st.integers(-40, 40))
def test_rung_at_or_below_is_the_highest_rung_not_above_the_reach(
    ladder: Ladder, offset: int
) -> None:
    reach = ladder.reach_of(0) + 37 * offset
    rung = ladder.rung_at_or_below(reach)
    assert ladder.reach_of(rung) <= reach < ladder.reach_of(rung + 1)


def test_the_window_starts_at_the_nearest_level_and_leaves_out_what_is_too_near() -> None:
    ladder = make_ladder()
    ladder.move_window(10_009)
    assert window_of(ladder) == {-2, -1}
    ladder.move_window(10_010)
    assert window_of(ladder) == {-2, -1, 0}
    ladder.move_window(10_049)
    assert window_of(ladder) == {-2, -1, 0}
    ladder.move_window(10_050)
    assert window_of(ladder) == {-1, 0}


def test_a_window_from_below_always_has_its_full_width() -> None:
    ladder = make_ladder(from_nearest=False)
    for reach in (10_009, 10_010, 10_060, 10_109):
        ladder.move_window(reach)
        assert len(window_of(ladder)) == 3
    ladder.move_window(10_109)
    assert window_of(ladder) == {-2, -1, 0}


def test_a_short_ladder_is_the_mirror_image() -> None:
    ladder = make_ladder(sign=-1)
    ladder.move_window(-9_990)
    assert sorted(ladder.price_of(rung) for rung in window_of(ladder)) == [10_000, 10_100, 10_200]
    assert ladder.rung_at_or_below(-10_000) == 0
    assert ladder.rung_at_or_below(-10_001) == -1
    assert ladder.rung_at_or_below(-9_999) == 0


def test_no_rung_beyond_the_outermost_ones_is_in_the_window() -> None:
    ladder = make_ladder(lowest=-2, highest=1)
    ladder.move_window(9_900)
    assert window_of(ladder) == {-2}
    ladder.move_window(9_000)
    assert window_of(ladder) == set()
    ladder.move_window(10_300)
    assert window_of(ladder) == {1}
    ladder.move_window(20_000)
    assert window_of(ladder) == set()
    assert set(ladder.move_window(10_110).entered) == {-1, 0, 1}


def test_a_stranded_rung_is_passed_when_the_window_rises_above_it() -> None:
    ladder = make_ladder()
    ladder.move_window(10_510)
    assert set(ladder.move_window(10_010).dropped) == {3, 4, 5}
    ladder.stranded.update({4, 5})
    assert ladder.move_window(9_910).passed == []
    assert ladder.stranded == {4, 5}
    assert ladder.move_window(10_710).passed == [4]
    assert ladder.stranded == set()


def test_the_offered_run_follows_the_price_and_reports_who_joined_and_left() -> None:
    ladder = make_ladder()
    ladder.move_window(10_010)
    for rung in (-4, -2, 3, 6):
        ladder.add_inventory(rung)
    assert sorted(ladder.move_offered(10_010)) == [-2, 3]
    assert sorted(ladder.move_offered(10_410)) == [-2, 6]
    assert offered_by(ladder) == {3, 6}
    assert ladder.move_offered(10_410) == []


def test_of_two_equally_near_the_lower_is_offered() -> None:
    ladder = make_ladder(exit_window=1)
    ladder.move_window(10_000)
    ladder.add_inventory(-1)
    ladder.add_inventory(1)
    ladder.move_offered(10_000)
    assert offered_by(ladder) == {-1}
    ladder.move_offered(10_001)
    assert offered_by(ladder) == {1}


@pytest.mark.parametrize("budget", [0, 1])
def test_without_budget_nothing_is_offered(budget: int) -> None:
    ladder = make_ladder(exit_window=budget)
    ladder.move_window(10_000)
    ladder.add_inventory(1)
    ladder.move_offered(10_000)
    assert ladder.is_offered(1) == bool(budget)
