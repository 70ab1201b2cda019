"""What a conformance card works with: an adapter, everything it told, and a hand on the venue behind it.

Real venues are loopback venues over sockets and real time; the embedded exchange runs on virtual time. A card never
looks at which: it moves the market, waits with `calm` or `until`, and asks for a switch (`mischief`) only where the
venue has some, else it is skipped, visibly.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from marketmaker.adapters.protocol import Adapter
from marketmaker.adapters.websocket import Session
from marketmaker.errors import VenueError
from marketmaker.loopback.stage import LoopbackVenue
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import (
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from tests.support.inside import attributes
from tests.support.paper import HeardCandles, HeardOrders, HeardPrices, make_order

BUY, SELL = Side.BUY, Side.SELL
OPEN, FILLED, CANCELLED = OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED
MID = 300_000
"""Ticks around which a bench's market stands: bid one below, ask one above."""
DEADLINE_S = 20.0
QUIET_S = 0.04
TURN_S = 6.0
BREATHS = 8
TURNS_PER_BREATH = 12
"""How often the loop turns within a quiet time at least. Venue and adapter live on this loop, so that a message needs turns
to arrive, not time; a process that was kept waiting by others has had time and no turns."""


@dataclass
class Bench:
    """`venue` is None for the embedded exchange. `open_other(**changes)`: another adapter on the same account, with
    other `credentials`, `endpoints` or parts; not connected. `drop`, `restore`: the private stream, cut and mended."""

    adapter: Adapter
    instrument: Instrument
    orders: HeardOrders
    prices: HeardPrices
    candles: HeardCandles
    trade: Callable[[int, int], None]
    quote: Callable[[int, int, int, int], None]
    drop: Callable[[], None]
    restore: Callable[[], None]
    venue: LoopbackVenue | None = None
    open_other: Callable[..., AbstractAsyncContextManager[Adapter]] | None = None
    exchange: str = ""
    virtual: bool = False
    sequence: int = 0
    quiet_s: float = QUIET_S
    baseline: dict[str, int] = field(default_factory=dict)

    # -- what cards may need and not every venue has -------------------------------------------------

    @property
    def rehearsed(self) -> LoopbackVenue:
        if self.venue is None:
            pytest.skip("the embedded exchange has no server, no keys and no faults")
        return self.venue

    def mischief(self, **changes: Any) -> None:
        self.rehearsed.stage.mischief.set(changes)

    def other(self, **changes: Any) -> AbstractAsyncContextManager[Adapter]:
        if self.open_other is None:
            pytest.skip("the embedded exchange has no account to share")
        return self.open_other(**changes)

    # -- time ----------------------------------------------------------------------------------------

    async def calm(self) -> None:
        """Until everything under way has arrived."""
        if self.virtual:
            await asyncio.sleep(0.5)
            return
        heard = -1
        while heard != (now := self._heard()):
            heard = now
            for _ in range(BREATHS):
                await asyncio.sleep(self.quiet_s / BREATHS)
                for _ in range(TURNS_PER_BREATH):
                    await asyncio.sleep(0)

    def _heard(self) -> int:
        return len(self.orders.log) + len(self.prices.prices)

    async def not_at_the_turn(self) -> None:
        """Away from where one minute's candle ends and the next, an empty one, begins."""
        left_s = 60 - time.time() % 60
        if not self.virtual and left_s < TURN_S:
            await asyncio.sleep(left_s + 1.2)  # the venue tells of candles every second

    async def until(self, true: Callable[[], object]) -> None:
        waited_s = 0.0
        while not true():
            assert waited_s < DEADLINE_S, "it did not come true in time"
            await asyncio.sleep(0.005)
            waited_s += 0.005

    # -- orders --------------------------------------------------------------------------------------

    def order(self, side: Side, price_ticks: int, qty_lots: int = 100, **more: Any) -> NewOrder:
        """With a client id that was never used on this bench."""
        self.sequence += 1
        return make_order(side, price_ticks, qty_lots, sequence=self.sequence, **more)

    def rest(self, back: int = 100, lots: int = 100, **more: Any) -> NewOrder:
        """A post-only buy so many ticks below the middle."""
        return self.order(BUY, MID - back, lots, **more)

    def taking(self, side: Side, lots: int, **more: Any) -> NewOrder:
        return self.order(side, MID + side * 500, lots, post_only=False, **more)

    async def place(self, *orders: NewOrder) -> Sequence[OrderReport | VenueError]:
        outcomes = await self.adapter.place(self.instrument, orders)
        await self.calm()
        return outcomes

    async def accept(self, order: NewOrder) -> OrderReport:
        (outcome,) = await self.place(order)
        assert isinstance(outcome, OrderReport), outcome
        return outcome

    async def refuse(self, order: NewOrder) -> VenueError:
        (outcome,) = await self.place(order)
        assert isinstance(outcome, VenueError), outcome
        return outcome

    async def cancel(self, *orders: NewOrder) -> Sequence[OrderReport | VenueError | None]:
        refs = [OrderRef(client_order_id=o.client_order_id, venue_order_id="") for o in orders]
        known = {r.client_order_id: r.venue_order_id for r in self.orders.reports}
        refs = [
            OrderRef(
                client_order_id=r.client_order_id, venue_order_id=known.get(r.client_order_id, "")
            )
            for r in refs
        ]
        outcomes = await self.adapter.cancel(self.instrument, refs)
        await self.calm()
        return outcomes

    async def listed(self) -> list[NewOrder | Any]:
        """Our ids of the open orders, oldest first."""
        rows = await self.adapter.fetch_open_orders(self.instrument)
        return [row.client_order_id for row in rows]

    async def asked(self, order: NewOrder) -> OrderReport:
        return await self.adapter.fetch_order(self.instrument, order.client_order_id)

    async def position_lots(self) -> int:
        return (await self.adapter.fetch_position(self.instrument)).qty_lots

    async def go_long(self, lots: int) -> NewOrder:
        order = self.taking(BUY, lots)
        await self.accept(order)
        await self.until(lambda: self.orders.life(order)[-1:] == [(FILLED, lots)])
        return order

    def told_of(self, order: NewOrder) -> list[OrderReport]:
        """Its reports by the stream, oldest first; another order's may still be on their way, so a card asks for its own."""
        return [r for r in self.orders.reports if r.client_order_id == order.client_order_id]

    async def first_told(self, order: NewOrder) -> OrderReport:
        await self.until(lambda: self.told_of(order))
        return self.told_of(order)[0]

    def ended(self, order: NewOrder) -> OrderReport | None:
        """Its last report by the stream, when that is an end."""
        mine = self.told_of(order)
        return mine[-1] if mine and mine[-1].status is not OPEN else None

    def fills_of(self, order: NewOrder) -> list[Fill]:
        """As told by the stream."""
        return [report.fill for report in self.told_of(order) if report.fill]

    # -- between two cards ---------------------------------------------------------------------------

    async def reset(self) -> None:
        """Nothing open, flat, the market where it was, nothing heard; every stream up."""
        venue = self.venue
        if venue is not None:
            stage = venue.stage
            fresh = type(stage.mischief)()
            for name in stage.mischief.__dataclass_fields__:
                setattr(stage.mischief, name, getattr(fresh, name))
            stage.ban.until_ms = 0
        await self.until(self.all_up)
        await self.until(lambda: all(each.up for each in sessions(self.adapter) if each._users))
        if venue is not None:
            desk, name = venue.stage.desk, self.instrument.name
            before, ends = self._ends(), len(desk.cancel_all(name))
            desk.cancel_all()
            self.quote(MID - 1, 10**6, MID + 1, 10**6)
            ends += flatten(venue, name)
            await self.until(lambda: len(self._ends() - before) >= ends)
        await self.calm()
        for heard in (self.orders.reports, self.orders.times, self.orders.log):
            heard.clear()
        self.orders.funding.clear()
        self.orders.positions.clear()
        for kind in (self.orders, self.prices, self.candles):
            kind.ups, kind.downs = 1, []  # type: ignore[attr-defined]
        self.prices.prices.clear()
        self.prices.confirming.clear()
        self.candles.candles.clear()

    def _ends(self) -> set[str]:
        """Orders of which the stream has told that they are over."""
        return {each.venue_order_id for each in self.orders.reports if each.status is not OPEN}

    def all_up(self) -> bool:
        kinds = (self.orders, self.prices, self.candles)
        return all(each.ups == len(each.downs) + 1 for each in kinds)


def sessions(adapter: Adapter) -> list[Session]:
    return [each for each in attributes(adapter).values() if isinstance(each, Session)]


def flatten(venue: LoopbackVenue, symbol: str) -> int:
    """The venue closes the position, as its own market order would. Returns how many orders that took."""
    from marketmaker.loopback.desk import Ticket

    desk = venue.stage.desk
    lots = desk.holding(symbol).lots
    if lots:
        side = SELL if lots > 0 else BUY
        desk.place(
            Ticket(
                instrument=venue.stage.instruments[symbol],
                side=side,
                price_ticks=MID + side * 500,
                qty_lots=abs(lots),
                market=True,
                reduce_only=True,
                time_in_force=TimeInForce.IOC,
            )
        )
    return 1 if lots else 0


def money(instrument: Instrument, price_ticks: int, lots: int) -> Decimal:
    return instrument.notional(price_ticks, lots)  # type: ignore[arg-type]
