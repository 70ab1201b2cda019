"""Skip-ahead: only the events at which something can happen are played.

Between two of them nothing of ours changes, because

    the price stays inside the core's quiet band, where the core decides nothing
    no event reaches the best of our resting orders, so the exchange does nothing to any of them
    the mark stays where the account cannot run short of margin
    nothing falls due: no order on its way, no timer, no funding, no cleaning

The next event that breaks one of the first three is found with the index; the fourth is a time, and whichever comes
first is played. An event played in vain costs time and changes nothing, so every bound errs on that side.
"""

from __future__ import annotations

from collections.abc import Callable

from marketmaker.backtest.arrays import ALWAYS
from marketmaker.backtest.drive import Bench
from marketmaker.backtest.funding import NEVER
from marketmaker.backtest.index import PriceIndex
from marketmaker.sim.matching import FillModel


def skip_ahead(
    bench: Bench, index: PriceIndex, *, progress: Callable[[int], None] | None = None
) -> None:
    """The same outcome as `drive.drive`. `index` is over the `low` and `high` of the bench's stretch."""
    ts_ns = bench.data.ts_ns
    size, last_ns = len(ts_ns), int(ts_ns[-1])
    times = bench.times
    manager, holding, matcher = bench.manager, bench.market.holding, bench.market.matcher
    lowest, never = ALWAYS, NEVER
    nearer = 1 if matcher.model is FillModel.CROSS else 0
    played = bench.begin()
    while True:
        quiet_low, quiet_high = manager.quiet()
        if quiet_low > quiet_high:
            place = played + 1
        else:
            best_buy, best_sell = matcher.reach()
            low = max(quiet_low - 1, best_buy - nearer)
            low = max(low, lowest)
            high = min(quiet_high + 1, best_sell + nearer)
            if holding.lots:
                low = max(low, holding.safe_low // 2)
                high = min(high, -(-holding.safe_high // 2))
            place = index.next_outside(played + 1, low, high)
        due_ns = bench.next_due_ns()
        at_ns = times[place] if place < size else last_ns
        if due_ns != never and due_ns <= at_ns:
            before = max(int(ts_ns.searchsorted(due_ns)) - 1, played)
            bench.catch_up(played, before)
            played = before
            bench.do_due(due_ns)
            continue
        if place >= size:
            break
        bench.play(place, at_ns)
        played = place
        if progress is not None:
            progress(place)
    bench.catch_up(played, size - 1)
    if progress is not None:
        progress(size - 1)
