"""What a price event costs the core, and whether that depends on how many slots there are.

Three grids of 100, 10,000 and 100,000 slots (half of them resting entries, half held inventory that is offered) are
driven side by side in one process, a slice of each in turn, so that a busy machine disturbs all three alike. Only
`decide` is timed; the venue's answers in between are not. Printed: the median ns per event inside the quiet band and
at a window shift (one order leaves, one enters), each with its ratio to the smallest grid, and events per second of
the core alone on a random walk with fills.

    python benchmarks/core.py [--rounds N] [--json]
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from decimal import Decimal
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketmaker.core.position_manager import PositionManager
from marketmaker.model.account import Position, VenueSnapshot
from marketmaker.model.action import Action, CancelOrder, PlaceOrder
from marketmaker.model.client_order_id import TEXT_MAX_SLOT, TEXT_SEQUENCES
from marketmaker.model.event import (
    OrderReported,
    OrderStreamRestored,
    PriceChanged,
    SnapshotTaken,
)
from marketmaker.model.instrument import Instrument, Lots, Quanta, Ticks
from marketmaker.model.order import EndReason, NewOrder, OrderReport, OrderStatus
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory, Holding

SIZES = (100, 10_000, 100_000)
INTERVAL_TICKS = 100
ANCHOR = 100_000_000
LOTS = 10
SLICE = 200
FIRST_HELD = 200_000
"""The held slots lie so far above that the price can climb a level at every shift of the whole run."""

INSTRUMENT = Instrument(
    venue="bench",
    name="XUSDT",
    base="X",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)


class Bench:
    """A grid of `slots` slots with every order acknowledged, and the little of a venue that keeps it so."""

    def __init__(self, slots: int) -> None:
        half = slots // 2
        self.now_ns = 1_700_000_000_000_000_000
        self.level = 0
        settings = GridSettings(
            price_interval=Decimal(INTERVAL_TICKS) * INSTRUMENT.tick_size,
            order_amount=Decimal(LOTS * ANCHOR) * INSTRUMENT.quantum,
            buy_window=half,
            sell_window=half,
            max_open_orders=slots + 10,
        )
        holdings = tuple(
            Holding(slot=index, qty_lots=Lots(LOTS), cost=Quanta(LOTS * ANCHOR))
            for index in range(FIRST_HELD, FIRST_HELD + half)
        )
        self.manager = PositionManager(
            instrument=INSTRUMENT,
            settings=settings,
            sequences=TEXT_SEQUENCES,
            max_slot=TEXT_MAX_SLOT,
            first_sequence=1,
            request_lifetime_s=5.0,
            memory=GridMemory(
                anchor_ticks=Ticks(ANCHOR), next_sequence=1, holdings=holdings, ended=""
            ),
        )
        self.orders: dict[object, NewOrder] = {}
        self.manager.decide(OrderStreamRestored(ts_ns=self.now_ns))
        snapshot = VenueSnapshot(
            open_orders=(),
            position=Position(
                qty_lots=Lots(LOTS * half), entry_price=Decimal(1), mark_price=Decimal(1)
            ),
            fills=(),
            ts_asked_ns=self.now_ns,
            ts_answered_ns=self.now_ns,
        )
        self.manager.decide(SnapshotTaken(snapshot=snapshot, ts_ns=self.now_ns))
        self.answer(self.manager.decide(self.price(ANCHOR + 20)))

    def price(self, ticks: int) -> PriceChanged:
        self.now_ns += 1_000
        return PriceChanged(price_ticks=Ticks(ticks), ts_venue_ns=self.now_ns, ts_ns=self.now_ns)

    def report(self, order: NewOrder, status: OrderStatus, filled: int) -> OrderReported:
        self.now_ns += 1_000
        return OrderReported(
            report=OrderReport(
                client_order_id=order.client_order_id,
                venue_order_id="v",
                side=order.side,
                price_ticks=order.price_ticks,
                qty_lots=order.qty_lots,
                filled_lots=Lots(filled),
                status=status,
                end_reason=EndReason.REQUESTED if status is OrderStatus.CANCELLED else None,
            ),
            ts_ns=self.now_ns,
        )

    def answer(self, actions: list[Action]) -> int:
        """Acknowledge and confirm until nothing is left; returns how many events that took."""
        events, waiting = 0, list(actions)
        while waiting:
            action = waiting.pop(0) if len(waiting) < 100 else waiting.pop()
            if isinstance(action, PlaceOrder):
                self.orders[action.order.client_order_id] = action.order
                waiting += self.manager.decide(self.report(action.order, OrderStatus.OPEN, 0))
            elif isinstance(action, CancelOrder):
                order = self.orders.pop(action.order.client_order_id)
                waiting += self.manager.decide(self.report(order, OrderStatus.CANCELLED, 0))
            else:
                continue
            events += 1
        return events

    def quiet_slice(self) -> float:
        """Nanoseconds per price event inside the quiet band."""
        low, high = self.manager.quiet_band or (0, 0)
        events = [self.price(low + step % (high - low + 1)) for step in range(SLICE)]
        decide = self.manager.decide
        began = time.perf_counter_ns()
        for event in events:
            decide(event)
        return (time.perf_counter_ns() - began) / SLICE

    def shift_slice(self) -> float:
        """Nanoseconds per price event that moves the window by one level: one cancel, one placement."""
        spent, shifts = 0, SLICE // 4
        for _ in range(shifts):
            self.level += 1
            event = self.price(ANCHOR + 20 + self.level * INTERVAL_TICKS)
            began = time.perf_counter_ns()
            actions = self.manager.decide(event)
            spent += time.perf_counter_ns() - began
            assert sum(isinstance(each, PlaceOrder | CancelOrder) for each in actions) == 2
            self.answer(actions)
        return spent / shifts


def events_per_second(seed: int = 7, steps: int = 40_000) -> float:
    """The core alone: a random walk, fills of whatever the price crosses, every answer included."""
    bench = Bench(100)
    random = Random(seed)
    price, events = ANCHOR + 20, 0
    began = time.perf_counter()
    for _ in range(steps):
        price += random.choice((-30, -10, 10, 30))
        events += 1 + bench.answer(bench.manager.decide(bench.price(price)))
        crossed = [
            order for order in bench.orders.values() if (order.price_ticks - price) * order.side > 0
        ]
        for order in crossed:
            del bench.orders[order.client_order_id]
            filled = bench.report(order, OrderStatus.FILLED, order.qty_lots)
            events += 1 + bench.answer(bench.manager.decide(filled))
    return events / (time.perf_counter() - began)


def measure(rounds: int) -> dict[str, dict[int, float]]:
    benches = {size: Bench(size) for size in SIZES}
    quiet: dict[int, list[float]] = {size: [] for size in SIZES}
    shift: dict[int, list[float]] = {size: [] for size in SIZES}
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        for size, bench in benches.items():
            quiet[size].append(bench.quiet_slice())
            shift[size].append(bench.shift_slice())
    gc.enable()
    return {
        "quiet": {size: statistics.median(values) for size, values in quiet.items()},
        "shift": {size: statistics.median(values) for size, values in shift.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    medians = measure(args.rounds)
    per_second = events_per_second()
    if args.json:
        print(json.dumps({**medians, "events_per_s": per_second}))
        return
    print(f"{'slots':>9} {'quiet ns':>10} {'ratio':>6} {'shift ns':>10} {'ratio':>6}")
    for size in SIZES:
        quiet, shift = medians["quiet"][size], medians["shift"][size]
        print(
            f"{size:>9,} {quiet:>10.0f} {quiet / medians['quiet'][SIZES[0]]:>6.2f}"
            f" {shift:>10.0f} {shift / medians['shift'][SIZES[0]]:>6.2f}"
        )
    print(f"core alone, random walk with fills: {per_second:,.0f} events/s")


if __name__ == "__main__":
    main()
