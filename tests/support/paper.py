"""The embedded exchange for tests: a quiet market one can push events into, listeners that write down what they hear."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ParamSpec

from marketmaker.adapters.protocol import Adapter
from marketmaker.model.account import Position
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle, Quote, Trade
from marketmaker.model.order import (
    ClientOrderId,
    NewOrder,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.instruments import paper_instrument
from marketmaker.sim.loop import NS_PER_S, VirtualTimeLoop
from marketmaker.sim.venue import PaperExchange

START_NS = 1_700_000_000 * NS_PER_S
P = ParamSpec("P")


def on_virtual_time(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run a coroutine test on a loop of its own on which waiting costs nothing."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def body() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(START_NS)) as runner:
            runner.run(body())

    return run


def loop_now_ns() -> int:
    """Unix time on the running `VirtualTimeLoop`."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop.now_ns


def make_trade(
    price_ticks: int, qty_lots: int = 1, ts_ns: int = START_NS, aggressor: Side = Side.SELL
) -> Trade:
    return Trade(
        price_ticks=Ticks(price_ticks),
        qty_lots=Lots(qty_lots),
        aggressor=aggressor,
        ts_venue_ns=ts_ns,
        ts_local_ns=ts_ns,
    )


def make_quote(
    bid_ticks: int,
    ask_ticks: int,
    bid_lots: int = 1000,
    ask_lots: int = 1000,
    ts_ns: int = START_NS,
) -> Quote:
    return Quote(
        bid_ticks=Ticks(bid_ticks),
        bid_lots=Lots(bid_lots),
        ask_ticks=Ticks(ask_ticks),
        ask_lots=Lots(ask_lots),
        ts_venue_ns=ts_ns,
        ts_local_ns=ts_ns,
    )


def make_order(
    side: Side,
    price_ticks: int,
    qty_lots: int,
    *,
    sequence: int = 1,
    slot: int = 0,
    post_only: bool = True,
    reduce_only: bool = False,
    time_in_force: TimeInForce = TimeInForce.GTC,
) -> NewOrder:
    return NewOrder(
        client_order_id=ClientOrderId(slot, side, sequence),
        side=side,
        price_ticks=Ticks(price_ticks),
        qty_lots=Lots(qty_lots),
        post_only=post_only,
        reduce_only=reduce_only,
        time_in_force=time_in_force,
    )


class ScriptedFeed:
    """(symbol, event) pairs as given."""

    def __init__(self, events: Iterable[tuple[str, Trade | Quote]]) -> None:
        self._events = tuple(events)
        self.symbols = tuple(dict.fromkeys(symbol for symbol, _ in self._events))
        self.start_ns = self._events[0][1].ts_local_ns if self._events else START_NS

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        return iter(self._events)


class QuietFeed:
    """Nothing for `hours`, then one trade: time goes on, and a test pushes what it needs."""

    def __init__(self, *symbols: str, hours: int = 24 * 365) -> None:
        self.start_ns = START_NS
        self.symbols = symbols
        self._end_ns = START_NS + hours * 3600 * NS_PER_S

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        yield self.symbols[0], make_trade(1, ts_ns=self._end_ns)


@dataclass
class HeardPrices:
    """`prices` and `confirming`: (ticks, ts_venue_ns, ts_local_ns)."""

    prices: list[tuple[int, int, int]] = field(default_factory=list)
    confirming: list[tuple[int, int, int]] = field(default_factory=list)
    ups: int = 0
    downs: list[str] = field(default_factory=list)

    def on_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        self.prices.append((price_ticks, ts_venue_ns, ts_local_ns))

    def on_confirming_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        self.confirming.append((price_ticks, ts_venue_ns, ts_local_ns))

    def stream_up(self) -> None:
        self.ups += 1

    def stream_down(self, reason: str) -> None:
        self.downs.append(reason)


@dataclass
class HeardOrders:
    """`log` holds everything in the order in which it came; `times` when each order report did."""

    reports: list[OrderReport] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    funding: list[tuple[str, Decimal]] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    log: list[object] = field(default_factory=list)
    ups: int = 0
    downs: list[str] = field(default_factory=list)

    def on_order(self, report: OrderReport, ts_local_ns: int) -> None:
        self.reports.append(report)
        self.times.append(ts_local_ns)
        self.log.append(report)

    def on_funding(
        self, payment_id: str, amount: Decimal, ts_venue_ns: int, ts_local_ns: int
    ) -> None:
        self.funding.append((payment_id, amount))
        self.log.append(amount)

    def on_position(self, position: Position, ts_local_ns: int) -> None:
        self.positions.append(position)
        self.log.append(position)

    def stream_up(self) -> None:
        self.ups += 1

    def stream_down(self, reason: str) -> None:
        self.downs.append(reason)

    def life(self, order: NewOrder) -> list[tuple[OrderStatus, int]]:
        """What was said of one order: (status, cumulative lots filled)."""
        return [
            (report.status, report.filled_lots)
            for report in self.reports
            if report.client_order_id == order.client_order_id
        ]


@dataclass
class HeardCandles:
    candles: list[Candle] = field(default_factory=list)
    ups: int = 0
    downs: list[str] = field(default_factory=list)

    def on_candle(self, candle: Candle) -> None:
        self.candles.append(candle)

    def stream_up(self) -> None:
        self.ups += 1

    def stream_down(self, reason: str) -> None:
        self.downs.append(reason)


def make_instrument(
    name: str = "ETHUSDT",
    overrides: InstrumentSettings | None = None,
    settings: PaperSettings | None = None,
) -> Instrument:
    return paper_instrument(name, overrides or InstrumentSettings(), settings or PaperSettings())


def make_paper(
    *names: str,
    settings: PaperSettings | None = None,
    feed: ScriptedFeed | QuietFeed | None = None,
    bot_tag: str = "mm",
    now_ns: Callable[[], int] = loop_now_ns,
) -> PaperExchange:
    """An exchange with these instruments (ETHUSDT when none is named), not yet connected."""
    names = names or ("ETHUSDT",)
    settings = settings or PaperSettings()
    return PaperExchange(
        settings=settings,
        instruments={name: make_instrument(name, settings=settings) for name in names},
        feed=feed or QuietFeed(*names),
        bot_tag=bot_tag,
        now_ns=now_ns,
    )


@asynccontextmanager
async def listening(*streams: Any) -> Any:
    """Run stream coroutines as tasks for as long as the block lasts; their errors are raised at its end."""
    tasks = [asyncio.create_task(stream) for stream in streams]
    try:
        await asyncio.sleep(0.1)
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


_: Callable[..., Adapter] = make_paper
