"""Stand-ins for tests: a venue that does what it is told, a clock that is set by hand, a loop whose time jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar, cast

from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
)
from marketmaker.errors import OrderNotFound, VenueError
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.event import Event, PriceChanged
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import (
    ClientOrderId,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
)
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.sim.loop import LoopClock, VirtualTimeLoop

NS = 1_000_000_000
START_NS = 1_750_000_000 * NS
T = TypeVar("T")


class ManualClock:
    """Stands still until it is moved."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.ns = now_ns

    def now_ns(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> int:
        self.ns += round(seconds * NS)
        return self.ns


def run_virtual(
    main: Callable[[LoopClock], Coroutine[Any, Any, T]], *, limit_s: float = 100_000.0
) -> T:
    """Run `main(clock)` on virtual time; a program that waits for ever ends with TimeoutError."""

    async def bounded() -> T:
        async with asyncio.timeout(limit_s):
            return await main(LoopClock(loop))

    loop = VirtualTimeLoop(START_NS)
    try:
        return loop.run_until_complete(bounded())
    finally:
        loop.close()


def make_instrument(name: str = "ETHUSDT", *, quote: str = "USDT") -> Instrument:
    return Instrument(
        venue="fake",
        name=name,
        base=name.removesuffix(quote),
        quote=quote,
        tick_size=Decimal("0.01"),
        lot_size=Decimal("0.001"),
        maker_fee=Decimal("0.0002"),
        taker_fee=Decimal("0.0005"),
    )


def make_order(
    sequence: int, *, slot: int = 0, side: Side = Side.BUY, reduce_only: bool = False
) -> NewOrder:
    return NewOrder(
        client_order_id=ClientOrderId(slot, side, sequence),
        side=side,
        price_ticks=Ticks(300_000 + slot),
        qty_lots=Lots(10),
        post_only=True,
        reduce_only=reduce_only,
    )


def make_ref(order: NewOrder, venue_order_id: str = "v") -> OrderRef:
    return OrderRef(client_order_id=order.client_order_id, venue_order_id=venue_order_id)


def make_report(
    client_order_id: ClientOrderId | None,
    status: OrderStatus = OrderStatus.OPEN,
    *,
    filled_lots: int = 0,
) -> OrderReport:
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id="v",
        side=client_order_id.side if client_order_id is not None else Side.BUY,
        price_ticks=Ticks(300_000),
        qty_lots=Lots(10),
        filled_lots=Lots(filled_lots),
        status=status,
    )


def make_fill(trade_id: str, ts_venue_ns: int) -> Fill:
    return Fill(
        trade_id=trade_id,
        client_order_id=ClientOrderId(0, Side.BUY, 1),
        venue_order_id="v",
        side=Side.BUY,
        price_ticks=Ticks(300_000),
        qty_lots=Lots(1),
        fee=Decimal(0),
        is_maker=True,
        ts_venue_ns=ts_venue_ns,
    )


def make_price(ticks: int, ts_ns: int = START_NS) -> PriceChanged:
    return PriceChanged(price_ticks=Ticks(ticks), ts_venue_ns=ts_ns, ts_ns=ts_ns)


def drain_queue(queue: EventQueue) -> list[Event]:
    """Everything `get` would deliver now."""
    events = []
    while (event := queue.poll()) is not None:
        events.append(event)
    return events


class Hang:
    """As an outcome: no answer ever comes."""


CAPABILITIES = Capabilities(
    post_only=True,
    reduce_only=True,
    place_batch=1,
    cancel_batch=1,
    cancel_all=False,
    query_by_client_id=True,
    confirming_price=True,
    orders_per_s=1000.0,
    order_burst=1000,
)


@dataclass
class FakeAdapter:
    """A venue that accepts everything unless told otherwise.

    `outcomes[client_order_id]` are the answers to successive placements of that order, `cancel_outcomes` likewise;
    when they run out the order is accepted. An `Exception` that is not a VenueError makes the whole request raise it;
    `raise_now` is raised by the plain call itself, once. Every answer takes `latency_s`. What was asked is in
    `places` and `cancels`: (instrument name, orders of one request). `script` maps a method's name to the answers of
    its successive calls, the last of which repeats; an exception among them is raised.
    """

    name: str = "fake"
    capabilities: Capabilities = CAPABILITIES
    client_order_ids: TextForm = field(default_factory=lambda: TextForm("tst"))
    latency_s: float = 0.0
    outcomes: dict[ClientOrderId, list[Any]] = field(default_factory=dict)
    cancel_outcomes: dict[ClientOrderId, list[Any]] = field(default_factory=dict)
    raise_now: Exception | None = None
    script: dict[str, list[Any]] = field(default_factory=dict)
    places: list[tuple[str, tuple[NewOrder, ...]]] = field(default_factory=list)
    cancels: list[tuple[str, tuple[OrderRef, ...]]] = field(default_factory=list)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    asking_now: int = 0
    asking_most: int = 0

    @property
    def placed_sequences(self) -> list[int]:
        return [o.client_order_id.sequence for _, batch in self.places for o in batch]

    def place(
        self, instrument: Instrument, orders: Sequence[NewOrder]
    ) -> Awaitable[Sequence[OrderReport | VenueError]]:
        self.places.append((instrument.name, tuple(orders)))
        self._raise_now()
        answers = [
            self._next(self.outcomes, o.client_order_id, make_report(o.client_order_id))
            for o in orders
        ]
        return self._answer(answers)

    def cancel(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Awaitable[Sequence[OrderReport | VenueError | None]]:
        self.cancels.append((instrument.name, tuple(orders)))
        self._raise_now()
        return self._answer(
            [self._next(self.cancel_outcomes, o.client_order_id, None) for o in orders]
        )

    async def connect(self) -> None:
        await self._call("connect", None, None)

    async def close(self) -> None:
        await self._call("close", None, None)

    async def fetch_instrument(self, name: str) -> Instrument:
        return await self._call("fetch_instrument", name, make_instrument(name))

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        return await self._call("fetch_account", instrument.name, make_account(1000))

    async def fetch_position(self, instrument: Instrument) -> Position:
        return await self._call("fetch_position", instrument.name, FLAT)

    async def fetch_open_orders(self, instrument: Instrument) -> Sequence[OrderReport]:
        return await self._call("fetch_open_orders", instrument.name, ())

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        return await self._call(
            "fetch_order", client_order_id, OrderNotFound("no such order", venue=self.name)
        )

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> Sequence[Fill]:
        return await self._call("fetch_fills", since_ns, ())

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> Sequence[Candle]:
        return await self._call("fetch_candles", symbol, ())

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        await self._call("stream_prices", listener, Hang)

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        await self._call("stream_orders", listener, Hang)

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        await self._call("stream_candles", tuple(symbols), Hang)

    def _raise_now(self) -> None:
        if self.raise_now is not None:
            error, self.raise_now = self.raise_now, None
            raise error

    def _next(self, plan: dict[ClientOrderId, list[Any]], key: ClientOrderId, usual: Any) -> Any:
        return plan[key].pop(0) if plan.get(key) else usual

    async def _answer(self, answers: list[Any]) -> list[Any]:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        for answer in answers:
            if answer is Hang:
                await asyncio.Event().wait()
            if isinstance(answer, Exception) and not isinstance(answer, VenueError):
                raise answer.with_traceback(None)
        return answers

    async def _call(self, method: str, argument: Any, usual: T | Exception | type[Hang]) -> T:
        self.asked.append((method, argument))
        self.asking_now += 1
        self.asking_most = max(self.asking_most, self.asking_now)
        try:
            plan = self.script.get(method)
            answer: Any = usual if not plan else plan.pop(0) if len(plan) > 1 else plan[0]
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            if answer is Hang:
                await asyncio.Event().wait()
            if isinstance(answer, Exception):
                raise answer.with_traceback(None)
            return cast(T, answer)
        finally:
            self.asking_now -= 1


FLAT = Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=Decimal(3000))


def make_account(equity: int | str | Decimal) -> AccountState:
    return AccountState(
        equity=Decimal(equity),
        available=Decimal(equity),
        leverage=Decimal(5),
        hedge_mode=False,
        can_withdraw=False,
        clock_offset_ns=0,
    )
