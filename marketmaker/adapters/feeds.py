"""Who listens to what: the listeners of prices, candles and orders by symbol, and the session that serves them.

A `stream_*` method of an adapter joins a feed, holds the session, and leaves again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeVar

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.funding import FundingBook, Payment
from marketmaker.adapters.protocol import CandleListener, OrderListener, PriceListener
from marketmaker.adapters.subscriptions import Subscriptions
from marketmaker.adapters.venue_clock import VenueClock
from marketmaker.adapters.websocket import Session
from marketmaker.errors import MalformedMessage, NotSent, StreamBroken
from marketmaker.model.account import Position
from marketmaker.model.instrument import Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import OrderReport

L = TypeVar("L")


class UpListener(Protocol):
    def stream_up(self) -> None: ...
    def stream_down(self, reason: str) -> None: ...


@dataclass(slots=True, eq=False)
class PriceFeed:
    """Who listens to one symbol's prices. `last_ns`: the venue time of the last trade passed on; `mark`: as last told."""

    contract: Contract
    listeners: list[PriceListener] = field(default_factory=list)
    last_ns: int = 0
    mark: Decimal | None = None

    def confirm(self, price: int, ts_venue_ns: int, ts_local_ns: int) -> None:
        for listener in self.listeners:
            listener.on_confirming_price(Ticks(price), ts_venue_ns, ts_local_ns)


class PriceFeeds:
    def __init__(self) -> None:
        self.of: dict[str, PriceFeed] = {}

    async def follow(
        self,
        contract: Contract,
        names: Sequence[str],
        listener: PriceListener,
        *,
        session: Session,
        topics: Subscriptions,
    ) -> None:
        """Until cancelled. The topics `names` are given up when nobody listens to the contract any more."""
        symbol = contract.symbol
        feed = self.of.setdefault(symbol, PriceFeed(contract))
        feed.listeners.append(listener)
        try:
            await stream_topics(session, topics, names, listener)
        finally:
            leave(feed.listeners, listener)
            if not feed.listeners:
                del self.of[symbol]
                topics.unsubscribe(session, names)

    def up(self) -> None:
        for listener in self._all():
            listener.stream_up()

    def down(self, reason: str) -> None:
        for listener in self._all():
            listener.stream_down(reason)

    def _all(self) -> list[PriceListener]:
        return [listener for feed in self.of.values() for listener in feed.listeners]


class CandleFeeds:
    """By (symbol, interval in seconds)."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, int], list[CandleListener]] = {}

    async def follow(
        self,
        names: Mapping[str, str],
        interval_s: int,
        listener: CandleListener,
        *,
        session: Session,
        topics: Subscriptions,
    ) -> None:
        """Until cancelled. `names`: the topic of each symbol, given up when nobody listens to it any more."""
        for symbol in names:
            self.of.setdefault((symbol, interval_s), []).append(listener)
        try:
            await stream_topics(session, topics, names.values(), listener)
        finally:
            gone = []
            for symbol, name in names.items():
                key = (symbol, interval_s)
                leave(self.of[key], listener)
                if not self.of[key]:
                    del self.of[key]
                    gone.append(name)
            topics.unsubscribe(session, gone)

    def hear(self, candle: Candle) -> None:
        for listener in self.of.get((candle.symbol, candle.interval_s), ()):
            listener.on_candle(candle)

    def up(self) -> None:
        for listener in self._all():
            listener.stream_up()

    def down(self, reason: str) -> None:
        for listener in self._all():
            listener.stream_down(reason)

    def _all(self) -> list[CandleListener]:
        everyone = (listener for listeners in self.of.values() for listener in listeners)
        return list({id(listener): listener for listener in everyone}.values())


class OrderFeeds:
    """Who listens to the private stream, by symbol; `up` and `down` reach everyone, for the stream is one.

    Payments belong to it though they are read from the history: `funding` must hear of its gaps. `read`, `poll_s`: see
    `FundingBook`.
    """

    def __init__(
        self,
        read: Callable[[int], Awaitable[Sequence[Payment]]],
        *,
        clock: VenueClock,
        poll_s: float = 0.0,
    ) -> None:
        self.of: dict[str, list[OrderListener]] = {}
        self.funding = FundingBook(read, self._on_payment, now_ns=clock.now_ns, poll_s=poll_s)
        self._contracts: dict[str, Contract] = {}
        self._local_ns = clock.local_ns

    @contextmanager
    def joined(self, symbol: str, contract: Contract, listener: OrderListener) -> Iterator[None]:
        listeners = self.of.setdefault(symbol, [])
        listeners.append(listener)
        self._contracts[symbol] = contract
        self.funding.open()
        try:
            yield
        finally:
            leave(listeners, listener)
            if not listeners:
                self.of.pop(symbol, None)
                self._contracts.pop(symbol, None)

    def contract_of(self, symbol: str) -> Contract | None:
        """None for a symbol that nobody listens to."""
        return self._contracts.get(symbol)

    def on_order(self, symbol: str, report: OrderReport, ts_local_ns: int) -> None:
        for listener in self.of.get(symbol, ()):
            listener.on_order(report, ts_local_ns)

    def on_position(self, symbol: str, position: Position, ts_local_ns: int) -> None:
        for listener in self.of.get(symbol, ()):
            listener.on_position(position, ts_local_ns)

    def _on_payment(self, payment: Payment) -> None:
        ts_local_ns = self._local_ns()
        for listener in self.of.get(payment.symbol, ()):
            listener.on_funding(
                payment.payment_id, payment.amount, payment.ts_venue_ns, ts_local_ns
            )

    def up(self) -> None:
        self.funding.stream_up()
        for listener in self._all():
            listener.stream_up()

    def down(self, reason: str) -> None:
        self.funding.stream_down()
        for listener in self._all():
            listener.stream_down(reason)

    def doubt(self, error: MalformedMessage) -> None:
        """A message that cannot be read may have told an order's end: a snapshot repairs what it said."""
        self.down(f"unreadable: {error.message}")
        self.up()

    def _all(self) -> list[OrderListener]:
        return [listener for listeners in self.of.values() for listener in listeners]


def leave(listeners: list[L], listener: L) -> None:
    """By identity: two listeners may compare equal. Who is not there has left."""
    for index, each in enumerate(listeners):
        if each is listener:
            del listeners[index]
            return


async def stream_topics(
    session: Session, topics: Subscriptions, names: Iterable[str], listener: UpListener
) -> None:
    """Subscribes on the running session, or on the one that this starts, and holds it until cancelled."""
    topics.wanted.update(dict.fromkeys(names))
    link, ups = session.link, session.ups
    if link is not None:
        try:
            await topics.subscribe(session, link)
        except (StreamBroken, NotSent) as error:
            session.fail(link, error.message)
        if session.up and session.ups == ups:
            listener.stream_up()
    await session.hold()


async def hold_until_one_fails(
    mine: Sequence[asyncio.Task[None]], services: Sequence[asyncio.Task[None]]
) -> None:
    """Until cancelled, or until one of them ends, which raises what it raised; `mine` are cancelled then."""
    try:
        done, _ = await asyncio.wait({*mine, *services}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in mine:
            task.cancel()
