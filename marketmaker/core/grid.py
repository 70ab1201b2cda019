"""Price → the levels we want to quote.

A `Ladder` looks one way. A long ladder opens with buys at its rungs and gives each back one rung higher; a short
ladder is its mirror image. To write every rule once, a ladder counts in its own direction: `rung` = sign * level
number and `reach` = sign * price, so that for a short grid, too, entries lie below and exits above. A long grid has
one ladder, a neutral grid two that meet at the anchor.

    window   rungs [lo, hi]: entries are wanted there. hi is the highest rung at least `place_distance` of an interval
             below the price; lo lies `entry_window - 1` below the rung nearest to the price (or below hi).
    offered  of the rungs that hold something sellable, the `exit_budget` nearest to the price: always one contiguous
             run of the sorted inventory, kept as two indices that move with the price.
    band     the reaches between which neither of the two changes.

Every move costs what it changes: rungs that enter or leave, never the number of rungs there are.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

from marketmaker.core.lattice import Lattice
from marketmaker.model.instrument import Ticks

NOWHERE: Final = (0, -1)
"""An empty window."""

FAR: Final = 1 << 61


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowMove:
    """What a price change did to a window: rungs that left at the bottom, rungs that fell out at the top, rungs that
    entered, each from one up to before another, and stranded rungs that are below the window now."""

    left_from: int
    left_end: int
    dropped_from: int
    dropped_end: int
    entered_from: int
    entered_end: int
    passed: list[int]

    @property
    def left(self) -> range:
        return range(self.left_from, self.left_end)

    @property
    def dropped(self) -> range:
        return range(self.dropped_from, self.dropped_end)

    @property
    def entered(self) -> range:
        return range(self.entered_from, self.entered_end)


class Ladder:
    """One direction of a grid. `lowest` and `highest` are the outermost rungs that may be quoted; `exit_budget`, which
    whoever knows the cap sets, is at most `exit_window`."""

    def __init__(
        self,
        *,
        sign: int,
        lattice: Lattice,
        entry_window: int,
        exit_window: int,
        lowest: int,
        highest: int,
        distance: tuple[int, int],
        from_nearest: bool,
    ) -> None:
        self.sign = sign
        self.lattice = lattice
        self.entry_window = entry_window
        self.exit_window = exit_window
        self.exit_budget = exit_window
        self.lowest = lowest
        self.highest = highest
        self.distance = distance
        self.from_nearest = from_nearest
        self.lo, self.hi = NOWHERE
        self.below = 0
        self.moved_at = -FAR
        """Where the price was when the window moved last, and the rung at or below it."""
        self.window_band = (FAR, -FAR)
        self.inventory: list[int] = []
        self.first = 0
        self.last = 0
        self.stranded: set[int] = set()
        """Rungs above the window whose entry still rests there; kept by whoever knows the orders."""

    def mirrored(self, number: int) -> int:
        """A rung's level number, or a level's rung."""
        return number if self.sign > 0 else -number

    def reach_of(self, rung: int) -> int:
        """The rung's price in this ladder's direction."""
        return self.mirrored(self.price_of(rung))

    def price_of(self, rung: int) -> Ticks:
        return self.lattice.level(self.mirrored(rung))

    def rung_at_or_below(self, reach: int) -> int:
        """The highest rung at or below `reach`."""
        if self.sign > 0:
            return self.lattice.at_or_below(Ticks(reach))
        price = Ticks(-reach)
        number = self.lattice.at_or_below(price)
        return -number if self.lattice.level(number) == price else -number - 1

    def threshold(self, rung: int) -> int:
        """The lowest reach at which an entry may be placed at `rung`: a fraction of the interval above it."""
        level = self.reach_of(rung)
        numerator, denominator = self.distance
        if not numerator:
            return level + 1
        gap = self.reach_of(rung + 1) - level
        return level + max(1, -(-gap * numerator // denominator))

    def midpoint(self, rung: int) -> int:
        """The lowest reach whose nearest rung is `rung`: halves go up."""
        return (self.reach_of(rung - 1) + self.reach_of(rung) + 1) // 2

    @property
    def nearest(self) -> int:
        """The rung nearest to the price at which the window moved last."""
        above = self.below + 1
        return above if self.midpoint(above) <= self.moved_at else self.below

    def move_window(self, reach: int) -> WindowMove:
        """Follow the price."""
        below = self.rung_at_or_below(reach)
        self.below, self.moved_at = below, reach
        hi, low = below, self.threshold(below)
        if low <= reach:
            high = self.threshold(below + 1)
        else:
            hi, low, high = below - 1, self.threshold(below - 1), low
        if self.from_nearest:
            nearest = self.nearest
            lo = nearest - self.entry_window + 1
            low = max(low, self.midpoint(nearest))
            high = min(high, self.midpoint(nearest + 1))
        else:
            lo = hi - self.entry_window + 1
        self.window_band = (low, high - 1)
        return self.set_window(max(lo, self.lowest), min(hi, self.highest))

    def set_window(self, lo: int, hi: int) -> WindowMove:
        old_lo, old_hi = self.lo, self.hi
        hi = max(hi, lo - 1)
        self.lo, self.hi = lo, hi
        passed: list[int] = []
        if self.stranded and (hi > old_hi or lo > old_lo):
            passed = sorted(rung for rung in self.stranded if rung < lo)
            self.stranded.difference_update([rung for rung in self.stranded if rung <= hi])
        entered_from, entered_end = lo, old_lo
        if old_hi < old_lo or hi < old_lo or lo > old_hi:
            entered_end = hi + 1
        elif hi > old_hi:
            entered_from, entered_end = old_hi + 1, hi + 1
        return WindowMove(
            left_from=old_lo,
            left_end=min(lo, old_hi + 1),
            dropped_from=max(hi + 1, old_lo),
            dropped_end=old_hi + 1,
            entered_from=entered_from,
            entered_end=entered_end,
            passed=passed,
        )

    def in_window(self, rung: int) -> bool:
        return self.lo <= rung <= self.hi

    def free_rungs(self) -> int:
        """Rungs of the window that hold nothing sellable: where entries are wanted."""
        held = bisect_left(self.inventory, self.hi + 1) - bisect_left(self.inventory, self.lo)
        return self.hi - self.lo + 1 - held

    def is_offered(self, rung: int) -> bool:
        """Whether a rung that holds something sellable is among those to be offered."""
        run = self.inventory
        return self.last > self.first and run[self.first] <= rung <= run[self.last - 1]

    def place_of(self, rung: int) -> int:
        """Where in the inventory the rung is or would be; mostly it is the lowest."""
        run = self.inventory
        return 0 if not run or rung <= run[0] else bisect_left(run, rung)

    def add_inventory(self, rung: int) -> list[int]:
        """Returns the rungs that may have become offered."""
        place = self.place_of(rung)
        self.inventory.insert(place, rung)
        if place <= self.first:
            self.first += 1
            self.last += 1
        elif place < self.last:
            self.last += 1
            return [rung]
        return []

    def remove_inventory(self, rung: int) -> None:
        place = self.place_of(rung)
        self.inventory.pop(place)
        if place < self.first:
            self.first -= 1
            self.last -= 1
        elif place < self.last:
            self.last -= 1

    def offers_everything(self) -> bool:
        """Whether all that is sellable is offered, so that no price can change what is."""
        return self.first == 0 and self.last == len(self.inventory) <= self.exit_budget

    def move_offered(self, reach: int) -> list[int]:
        """Make the offered run the nearest `exit_budget` rungs again. Returns the rungs that joined or left it."""
        run = self.inventory
        changed: list[int] = []
        size = min(self.exit_budget, len(run))
        first, last = self.first, self.last
        if first == last:
            first = last = bisect_left(run, self.nearest)
        while last - first > size:
            if reach - self.reach_of(run[first]) > self.reach_of(run[last - 1]) - reach:
                changed.append(run[first])
                first += 1
            else:
                last -= 1
                changed.append(run[last])
        while last - first < size:
            if first > 0 and (
                last == len(run)
                or reach - self.reach_of(run[first - 1]) <= self.reach_of(run[last]) - reach
            ):
                first -= 1
                changed.append(run[first])
            else:
                changed.append(run[last])
                last += 1
        while first < last < len(run) and self.reach_of(run[last]) - reach < reach - self.reach_of(
            run[first]
        ):
            changed += (run[first], run[last])
            first += 1
            last += 1
        while (
            0 < first < last
            and reach - self.reach_of(run[first - 1]) <= self.reach_of(run[last - 1]) - reach
        ):
            first -= 1
            last -= 1
            changed += (run[first], run[last])
        self.first, self.last = first, last
        return changed

    def band(self) -> tuple[int, int]:
        """The lowest and highest reach between which neither window nor offered run changes, both included."""
        low, high = self.window_band
        run, first, last = self.inventory, self.first, self.last
        if first < last < len(run):
            high = min(high, (self.reach_of(run[first]) + self.reach_of(run[last])) // 2)
        if 0 < first < last:
            low = max(low, (self.reach_of(run[first - 1]) + self.reach_of(run[last - 1])) // 2 + 1)
        return low, high
