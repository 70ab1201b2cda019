"""Four mistakes that drivers of a grid make without a word, each of which has moved a published-looking figure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from random import Random

import pytest

pytest.importorskip("numpy")

from marketmaker.backtest.arrays import from_bars
from marketmaker.backtest.skip import skip_ahead
from marketmaker.model.action import Action, PlaceOrder
from marketmaker.model.event import CancelRefused, Event
from marketmaker.model.settings import PostOnlyPolicy
from tests.support.backtests import (
    SECOND_NS,
    XRP,
    job_grid,
    job_paper,
    make_bench,
    trades,
)

START = 14_000
MS = 1_000_000


class Watch:
    """A journal that keeps everything as it is."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.actions: list[Action] = []

    def heard(self, symbol_index: int, event: Event) -> None:
        self.events.append(event)

    def decided(self, symbol_index: int, actions: Sequence[Action]) -> None:
        self.actions += actions


def saw(rounds: int) -> list[int]:
    """Down through a level and up through its exit, over and over."""
    return [START, *[START - 10, START] * rounds]


def test_an_order_id_is_never_used_again_while_the_dead_order_is_remembered() -> None:
    """One slot is bought and sold 50 times: 100 fills, and no two orders of the run share an id."""
    data = trades(saw(50))
    watch = Watch()
    bench = make_bench(data, journal=watch)
    skip_ahead(bench, data.index())
    placed = [
        action.order.client_order_id for action in watch.actions if isinstance(action, PlaceOrder)
    ]
    assert (bench.manager.books.buys, bench.manager.books.sells) == (50, 50)
    assert len(placed) == len(set(placed)) == bench.manager.orders_placed
    assert bench.exchange.counts["refused"] == 0


def test_a_refused_exit_is_heard_and_tried_again() -> None:
    """While the post-only exit is on its way the price jumps past it. The venue refuses it; the slot must not think
    that it is being sold for ever, but try again and sell."""
    prices = [START] * 4 + [START - 10] + [START + 40] * 9
    data = trades(prices)
    grid = job_grid(post_only=PostOnlyPolicy.DEGRADE, post_only_rejects=1)
    bench = make_bench(data, grid, job_paper("touch"), latency_ns=3 * SECOND_NS // 2)
    skip_ahead(bench, data.index())
    assert bench.exchange.counts["refused"] > 0, "the exit was meant to be refused"
    assert bench.manager.orders_rejected == bench.exchange.counts["refused"]
    assert bench.manager.books.inventory_lots == 0
    assert bench.manager.books.sells == bench.manager.books.buys > 0


def test_a_buy_and_a_sell_in_one_event_are_two_fills() -> None:
    """A bar that reaches both: the position is the same before and after to a few lots, fills and fees are not."""
    low = [START, START - 10, START - 20]
    high = [START, START - 10, START]
    close = [START, START - 10, START - 15]
    data = from_bars(
        "XRPUSDT",
        close_ns=[60 * SECOND_NS * (place + 30_000_000) for place in range(3)],
        low=low,
        high=high,
        close=close,
        qty=[10**6] * 3,
        bar_ns=60 * SECOND_NS,
    )
    bench = make_bench(data, job_grid(window=2))
    lots: list[int] = []
    bench.begin()
    for place in (1, 2):
        bench.play(place, bench.times[place])
        lots.append(bench.market.holding.lots)
    held = [fill * side for fill, side in zip(bench.fills.qty_lots, bench.fills.side, strict=True)]
    assert bench.fills.side.tolist() == [1, -1, 1]
    assert abs(lots[1] - lots[0]) < 3 < lots[0]
    assert sum(held) == bench.market.holding.lots == bench.manager.books.inventory_lots
    assert bench.fills.ts_ns[1] == bench.fills.ts_ns[2] == data.ts_ns[2]
    paid = sum(
        XRP.notional(price, qty) * XRP.maker_fee  # type: ignore[arg-type]
        for price, qty in zip(bench.fills.price_ticks, bench.fills.qty_lots, strict=True)
    )
    assert bench.manager.books.fees == paid


def test_a_slot_is_not_free_before_its_cancel_is_confirmed() -> None:
    """With latency some orders fill after their cancel was sent. Such a fill is inventory of its slot, which is then
    offered, never bought a second time: slots never hold more than one order's worth, and books equal position."""
    random = Random(5)
    prices, price = [], START
    for _ in range(6_000):
        price = max(price + random.choice((-12, -7, 7, 12)), 5_000)
        prices.append(price)
    data = trades(prices, step_ns=4 * MS)
    watch = Watch()
    bench = make_bench(
        data, job_grid(window=2), job_paper("touch"), latency_ns=10 * MS, journal=watch
    )
    skip_ahead(bench, data.index())
    late = sum(isinstance(event, CancelRefused) for event in watch.events)
    assert late > 0, "no cancel came too late: the run shows nothing"
    assert bench.manager.books.inventory_lots == bench.market.holding.lots
    largest = max(Decimal(50) / XRP.price(level) for level in prices) + 1  # type: ignore[arg-type]
    for slot in bench.manager.slots.values():
        assert XRP.base_qty(slot.held_lots) <= largest  # type: ignore[arg-type]
        assert slot.order is None or not slot.held_lots or slot.order.is_exit
    live = [order.client_order_id.slot for order in bench.market.open_orders.values()]  # type: ignore[union-attr]
    assert len(live) == len(set(live))
