"""The embedded exchange behind the adapter protocol: a market is replayed, and our orders meet it.

Here is only what a network does: latency, rate limits, streams that go up and down, answers that may never come. What
the exchange itself does is in `exchange`. A request reaches it `order_latency_ms` after it was sent and its answer takes
as long again; events take `stream_latency_ms`. Everything happens in the order in which it is due, and first come
first served at equal times; requests come before a market event of the same time.

One task drives it all (`replay`). The feed begins when `connect` is called, whatever its own clock says: its times are shifted to
now. When it has ended the exchange stays open, in a market at rest: no more prices, candles or funding.

Deliberately simple: an order is filled at its own price or the opposite best, never deeper into a book; a liquidation
closes everything at the mark, and a wallet may end below zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import Any, TypeVar

from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
)
from marketmaker.errors import (
    ConfigError,
    MarketMakerError,
    NotSent,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Rejected,
    StreamBroken,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Candle, Quote, Trade
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.agenda import Agenda
from marketmaker.sim.exchange import Exchange, News
from marketmaker.sim.feed import MarketFeed
from marketmaker.sim.instruments import LISTINGS, VENUE, paper_instrument, unknown_instrument
from marketmaker.sim.loop import NS_PER_S
from marketmaker.sim.order_limit import OrderLimit
from marketmaker.sim.private_stream import PrivateStream
from marketmaker.sim.replay import Replay
from marketmaker.sim.tape import Tape

BATCH = 20
FILLS_PER_PAGE = 1_000
CANDLE_INTERVAL_S = 60
"""Candles of this interval are made from the start; of others, from when they are first asked for."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperStats:
    """Counters since `connect`. `refused` without rate limits; `limited` counts requests."""

    trades: int
    quotes: int
    accepted: int
    refused: int
    limited: int
    cancelled: int
    fills: int
    liquidations: int
    funding_payments: int


class PaperExchange:
    """One account at the embedded exchange. `now_ns` is Unix time on the clock of the running loop.

    Symbols of the feed that are missing in `instruments` are added when they are well known, for their candles, and
    left out otherwise.

    `finished` is set when the feed has ended and its last event was delivered, or when it has failed. While
    `hang_placements` is set, placements do their work but are never answered.
    """

    def __init__(
        self,
        *,
        settings: PaperSettings,
        instruments: dict[str, Instrument],
        feed: MarketFeed,
        bot_tag: str,
        now_ns: Callable[[], int],
    ) -> None:
        self.finished = asyncio.Event()
        self.hang_placements = False
        self._settings = settings
        self._feed = feed
        self._now_ns = now_ns
        self._ids = TextForm(bot_tag)
        self._instruments = dict(instruments)
        for symbol in feed.symbols:
            if symbol in LISTINGS and symbol not in instruments:
                self._instruments[symbol] = paper_instrument(symbol, InstrumentSettings(), settings)
        self._exchange = Exchange(
            settings=settings,
            instruments=self._instruments,
            client_order_ids=self._ids,
            emit=self._emit,
        )
        self._limit = OrderLimit(per_s=settings.orders_per_s, burst=settings.order_burst)
        self._limited = 0
        self._order_latency_ns = round(settings.order_latency_ms * 1_000_000)
        self._stream_latency_ns = round(settings.stream_latency_ms * 1_000_000)
        self._tapes: dict[str, Tape] = {}
        self._private = PrivateStream(self._stream_latency_ns)
        self._unanswered: dict[asyncio.Future[Any], None] = {}
        self._agenda: Agenda | None = None
        self._driver: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return VENUE

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            post_only=True,
            reduce_only=True,
            place_batch=BATCH,
            cancel_batch=BATCH,
            cancel_all=True,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=self._settings.orders_per_s,
            order_burst=self._settings.order_burst,
        )

    @property
    def client_order_ids(self) -> TextForm:
        return self._ids

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the feed and let it run. Raises ConfigError for a feed that cannot be read."""
        events = iter(self._feed.events(self._instruments))
        first = [event for event in (next(events, None),) if event is not None]
        agenda = Agenda(self._now_ns, asyncio.get_running_loop())
        shift_ns = agenda.time_ns - self._feed.start_ns
        for name, market in self._exchange.markets.items():
            self._tapes[name] = Tape(
                market=market,
                exchange=self._exchange,
                agenda=agenda,
                latency_ns=self._stream_latency_ns,
                shift_ns=shift_ns,
            )
            self._tapes[name].series(CANDLE_INTERVAL_S)
        self._agenda = agenda
        replay = Replay(
            feed=chain(first, events),
            shift_ns=shift_ns,
            agenda=agenda,
            tapes=self._tapes,
            exchange=self._exchange,
            funding_interval_ns=round(self._settings.funding_interval_s * NS_PER_S),
            now_ns=self._now_ns,
        )
        self._driver = asyncio.create_task(replay.run(self._feed_ended), name="paper exchange")
        self._driver.add_done_callback(self._driver_ended)

    async def close(self) -> None:
        """Stop the market. What was asked and not answered stays unknown."""
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.wait([self._driver])

    def _feed_ended(self) -> None:
        assert self._agenda is not None
        due_ns = self._agenda.time_ns + self._stream_latency_ns
        self._agenda.add(due_ns, self.finished.set)

    def _driver_ended(self, _: asyncio.Task[None]) -> None:
        self.finished.set()
        for future in tuple(self._unanswered):
            if not future.done():
                future.set_exception(OutcomeUnknown("the exchange went away", venue=VENUE))
                future.exception()

    # -- requests ------------------------------------------------------------------------------------

    async def fetch_instrument(self, name: str) -> Instrument:
        instrument = self._instruments.get(name)
        if instrument is None:
            raise ConfigError(unknown_instrument(name, tuple(self._instruments)))
        return await self._ask(lambda _: instrument)

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        return await self._ask(lambda _: self._exchange.account_state())

    async def fetch_position(self, instrument: Instrument) -> Position:
        return await self._ask(lambda _: self._exchange.position(instrument.name))

    async def fetch_open_orders(self, instrument: Instrument) -> Sequence[OrderReport]:
        return await self._ask(lambda now: self._exchange.open_orders(instrument.name, now))

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        return await self._ask(
            lambda now: self._exchange.order(instrument.name, client_order_id, now)
        )

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> Sequence[Fill]:
        fills: list[Fill] = []
        while True:
            skip = len(fills)
            page = await self._ask(
                lambda _, skip=skip: self._exchange.fills(  # type: ignore[misc]
                    instrument.name, since_ns, skip, FILLS_PER_PAGE
                )
            )
            fills += page
            if len(page) < FILLS_PER_PAGE:
                return fills

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> Sequence[Candle]:
        """What has been seen since the interval was first asked for; nothing for a symbol the feed lacks."""

        def read(_: int) -> list[Candle]:
            tape = self._tapes.get(symbol)
            return tape.series(interval_s).newest(limit) if tape else []

        return await self._ask(read)

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return await self._ask(lambda _: self._settings.funding_rate)

    def place(
        self, instrument: Instrument, orders: Sequence[NewOrder]
    ) -> asyncio.Future[list[OrderReport | VenueError]]:
        return self._ask(lambda now: self._place(instrument.name, orders, now), placing=True)

    def cancel(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> asyncio.Future[list[OrderReport | VenueError]]:
        return self._ask(lambda now: self._cancel(instrument.name, orders, now))

    def cancel_all(self, instrument: Instrument) -> asyncio.Future[list[OrderReport]]:
        """Cancel every order of the instrument; one message to the rate limit."""

        def work(now_ns: int) -> list[OrderReport]:
            if limited := self._over_limit(1, "cancel_all", now_ns):
                raise limited[0]
            return self._exchange.cancel_all(instrument.name, now_ns)

        return self._ask(work)

    def _place(
        self, name: str, orders: Sequence[NewOrder], now_ns: int
    ) -> list[OrderReport | VenueError]:
        outcomes: list[OrderReport | VenueError] = []
        outcomes += self._over_limit(len(orders), "place", now_ns)
        for order in orders[len(outcomes) :]:
            try:
                outcomes.append(self._exchange.place(name, order, now_ns))
            except Rejected as error:
                outcomes.append(error)
        return outcomes

    def _cancel(
        self, name: str, orders: Sequence[OrderRef], now_ns: int
    ) -> list[OrderReport | VenueError]:
        outcomes: list[OrderReport | VenueError] = []
        outcomes += self._over_limit(len(orders), "cancel", now_ns)
        for ref in orders[len(outcomes) :]:
            try:
                outcomes.append(self._exchange.cancel(name, ref, now_ns))
            except OrderNotFound as error:
                outcomes.append(error)
        return outcomes

    def _over_limit(self, messages: int, operation: str, now_ns: int) -> list[RateLimited]:
        """One refusal for each message when the bucket does not hold them all; otherwise they are taken."""
        if messages > BATCH:
            raise Rejected(
                f"{messages} orders in one request, at most {BATCH}",
                venue=VENUE,
                operation=operation,
            )
        wait_s = self._limit.wait_ns(messages, now_ns) / NS_PER_S
        if wait_s == 0:
            return []
        self._limited += 1
        return [
            RateLimited(
                f"more than {self._settings.orders_per_s:g} orders/s",
                retry_after_s=wait_s,
                venue=VENUE,
                operation=operation,
            )
            for _ in range(messages)
        ]

    def _ask(self, work: Callable[[int], T], *, placing: bool = False) -> asyncio.Future[T]:
        """Let `work` happen at the exchange, with its time as argument; the future is the answer."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._agenda is None or self._driver is None or self._driver.done():
            future.set_exception(NotSent("not connected", venue=VENUE))
            return future
        self._unanswered[future] = None
        future.add_done_callback(self._unanswered.pop)
        due_ns = self._agenda.now_ns() + self._order_latency_ns
        self._agenda.add(due_ns, self._arrive, self._agenda, work, future, placing)
        return future

    def _arrive(
        self, agenda: Agenda, work: Callable[[int], T], future: asyncio.Future[T], placing: bool
    ) -> None:
        due_ns = agenda.time_ns + self._order_latency_ns
        try:
            result = work(agenda.time_ns)
        except MarketMakerError as error:
            agenda.add(due_ns, _answer_error, future, error)
            return
        if not (placing and self.hang_placements):
            agenda.add(due_ns, _answer, future, result)

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        await self._ask(lambda _: None)
        tape = self._tapes[instrument.name]
        tape.listeners.append(listener)
        try:
            listener.stream_up()
            tape.greet(listener)
            await self._outlast()
        finally:
            tape.listeners.remove(listener)

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        await self._ask(lambda _: None)
        self._private.join(instrument.name, listener)
        try:
            await self._outlast()
        finally:
            self._private.leave(instrument.name, listener)

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        """Symbols the feed lacks stay silent."""
        await self._ask(lambda _: None)
        every = [self._tapes[name].series(interval_s) for name in symbols if name in self._tapes]
        for series in every:
            series.listeners.append(listener)
        try:
            listener.stream_up()
            await self._outlast()
        finally:
            for series in every:
                series.listeners.remove(listener)

    async def _outlast(self) -> None:
        """Until cancelled. Raises what the feed raised, or StreamBroken after `close`."""
        assert self._driver is not None
        await asyncio.wait([self._driver])
        if not self._driver.cancelled():
            self._driver.result()
        raise StreamBroken("the exchange was closed", venue=VENUE)

    def _emit(self, name: str, news: News, now_ns: int) -> None:
        if self._agenda is not None:
            self._private.send(self._agenda, name, news, now_ns)

    # -- for drivers and tests -----------------------------------------------------------------------

    def push(self, symbol: str, event: Trade | Quote) -> None:
        """An event of the market from elsewhere than the feed, now. Its times are taken as they are."""
        if self._agenda is None:
            raise NotSent("not connected", venue=VENUE)
        now_ns = self._agenda.now_ns()
        self._agenda.add(now_ns, self._tapes[symbol].apply, event, now_ns)

    def drop_order_stream(self, reason: str = "dropped") -> None:
        """Cut the private stream: what happens until it is restored, or is on its way now, is never delivered."""
        self._private.drop(reason)

    def restore_order_stream(self) -> None:
        self._private.restore()

    @property
    def failure(self) -> BaseException | None:
        """What the feed raised; None while it runs, and when it ended in order."""
        driver = self._driver
        return driver.exception() if driver and driver.done() and not driver.cancelled() else None

    def open_order_count(self, name: str) -> int:
        return len(self._exchange.market(name).open_orders)

    def stats(self) -> PaperStats:
        return PaperStats(
            trades=sum(tape.trades for tape in self._tapes.values()),
            quotes=sum(tape.quotes for tape in self._tapes.values()),
            limited=self._limited,
            **self._exchange.counts,
        )


def _answer(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _answer_error(future: asyncio.Future[T], error: MarketMakerError) -> None:
    if not future.done():
        future.set_exception(error)
