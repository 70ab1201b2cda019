"""What every loopback venue stands on: one port, the embedded exchange behind it, and the mischief in between.

The venue's file composes a `Stage`: it registers its routes, answers requests with an `Outcome`, and hears of the
market and of the account (`Venue`). What can go wrong on the way goes wrong here, the same for every venue: answers
lost, delayed or hung, requests lost, limits, bans, maintenance, events late, twice, swapped or never, streams silent.
How a refusal is worded is the venue's (`Refusals`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, Protocol

from aiohttp import web

from marketmaker.errors import ConfigError
from marketmaker.loopback.bars import Bars
from marketmaker.loopback.book import Book
from marketmaker.loopback.desk import FIRST_ORDER_ID, Desk, Teller
from marketmaker.loopback.limits import Ban
from marketmaker.loopback.mischief import Failure, Mischief
from marketmaker.loopback.sockets import Sockets
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.exchange import News
from marketmaker.sim.feed import MarketFeed
from marketmaker.sim.instruments import LISTINGS, paper_instrument

HOST = "127.0.0.1"
MINUTE_MS = 60_000
FIRST_TRADE_ID = 6_310_000_000
REORDER_FLUSH_S = 0.2

Json = dict[str, Any]
Kind = Literal["place", "cancel", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSettings:
    """What every venue can be told.

    `gap_s`: how clearly `Mischief.events` separates events from answers. `patience`: requests over the limit in a row
    before the ban of `ban_s`. `control`: whether `/_mischief` is there. Limits of None are the venue's own.
    """

    api_key: str = "loopback-key"
    api_secret: str = "loopback-secret"
    passphrase: str = "loopback-passphrase"
    patience: int = 10
    ban_s: int = 120
    connection_s: float = 86_400.0
    ping_s: float = 180.0
    pong_s: float = 600.0
    gap_s: float = 0.05
    control: bool = False


@dataclass(slots=True, kw_only=True)
class Outcome:
    """An answer on its way. `cut`: the connection ends instead; `mute`: there is no answer at all."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    cut: bool = False
    mute: bool = False

    @property
    def text(self) -> str:
        return compact(self.body)


class Refusals(Protocol):
    """The venue's words for what it did not do, or does not know whether it did."""

    def failed(self, failure: Failure) -> Outcome: ...
    def may_not_trade(self) -> Outcome: ...
    def overloaded(self) -> Outcome: ...
    def unknown(self) -> Outcome: ...


class Venue(Teller, Protocol):
    """Called from the event loop; never blocks, never raises. Times in ms of the venue's feed, numbers of trades."""

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None: ...
    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None: ...
    def on_second(self, now_ms: int) -> None: ...
    def send_private(self, event: Any) -> None:
        """An event given to `Stage.tell`, now that it may go out."""
        ...


class Stage:
    """`speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol it could list."""

    def __init__(
        self,
        *,
        venue: Venue,
        settings: StageSettings,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
        ids_reusable: bool = True,
        post_only_by_stream: bool = False,
        first_order_id: int = FIRST_ORDER_ID,
    ) -> None:
        self.settings = settings
        self.mischief = Mischief()
        self.served: deque[tuple[str, str]] = deque(maxlen=100_000)
        """(method, path) of every REST request, ("WS", method) of every one over WebSocket, oldest first."""
        self.paper = paper or PaperSettings()
        self.instruments = listed(feed, self.paper, instruments or {})
        self.bars = {name: Bars() for name in self.instruments}
        self.ban = Ban(settings.patience, settings.ban_s * 1_000)
        self.port = 0
        self._venue = venue
        self._clock = now_ns
        self.book = Book(
            settings=self.paper,
            instruments=self.instruments,
            feed=feed,
            speed=speed,
            history_s=history_s,
            watcher=self,
            now_ns=now_ns,
        )
        self.desk = Desk(
            book=self.book,
            instruments=self.instruments,
            mischief=self.mischief,
            teller=venue,
            now_ms=self.now_ms,
            ids_reusable=ids_reusable,
            post_only_by_stream=post_only_by_stream,
            first_order_id=first_order_id,
        )
        self.sockets = Sockets(
            age_s=settings.connection_s, ping_s=settings.ping_s, pong_s=settings.pong_s
        )
        self._last_trade_id = FIRST_TRADE_ID
        self._switches: dict[str, asyncio.TimerHandle] = {}
        self._held: list[Any] | None = None
        self._swapped: Any = None
        self._ended = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._deeds: dict[str, Callable[[], None]] = {"disconnect": self.disconnect_all}

    # -- life ----------------------------------------------------------------------------------------

    async def start(
        self,
        port: int,
        routes: Iterable[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]],
        deeds: dict[str, Callable[[], None]] | None = None,
    ) -> None:
        """Listen on this machine; port 0 takes a free one. `routes`: (method or *, path, handler), first match wins;
        `deeds`: what `/_mischief` can be told to do besides "disconnect". Raises ConfigError when the port is taken."""
        self._deeds.update(deeds or {})
        app = web.Application()
        if self.settings.control:
            app.router.add_route("*", "/_mischief", self._control)
        for method, path, handler in routes:
            app.router.add_route(method, path, handler)
        self.book.start()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, port)
        try:
            await site.start()
        except OSError as error:
            await self.close()
            raise ConfigError(f"port {port} cannot be listened on: {error.strerror}") from error
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        self._ended.set()
        for timer in self._switches.values():
            timer.cancel()
        self.sockets.cut_all()
        if self._runner is not None:
            await self._runner.cleanup()
        await self.book.close()

    @property
    def market_task(self) -> asyncio.Task[None]:
        """Ends only with an error of the feed."""
        return self.book.driver

    @property
    def rest_url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{HOST}:{self.port}"

    # -- for drivers and tests -----------------------------------------------------------------------

    def push(self, symbol: str, event: Trade | Quote) -> None:
        """Something happens in the market, now."""
        self.book.push(symbol, event)

    def disconnect_all(self) -> None:
        """Cut every WebSocket connection."""
        self.sockets.cut_all()

    @property
    def connections(self) -> int:
        """Open WebSocket connections."""
        return len(self.sockets)

    def now_ms(self) -> int:
        """The venue's clock."""
        return self._clock() // 1_000_000 + self.mischief.clock_offset_ms

    @property
    def quote_asset(self) -> str:
        return next(iter(self.instruments.values())).quote

    # -- answering -----------------------------------------------------------------------------------

    async def respond(
        self, request: web.Request, answer: Callable[[str], Outcome]
    ) -> web.StreamResponse:
        """The answer to a REST request: `answer` gets its body. Lost and hung answers end here."""
        body = await request.text() if request.can_read_body else ""
        self.served.append((request.method, request.path))
        outcome = answer(body)
        if outcome.wait_s:
            await asyncio.sleep(outcome.wait_s)
        if outcome.mute:
            await self._ended.wait()
            outcome.cut = True
        if outcome.cut and request.transport is not None:
            request.transport.abort()
        return web.Response(
            text=outcome.text,
            status=outcome.status,
            headers=outcome.headers,
            content_type="application/json",
        )

    def later(self, wait_s: float, act: Callable[..., object], *args: Any) -> None:
        """Now, or when the mischief of a late answer is over."""
        if wait_s:
            asyncio.get_running_loop().call_later(wait_s, act, *args)
        else:
            act(*args)

    def banned_until_ms(self, now_ms: int) -> int:
        """0 when there is no ban. Begins one that it was told to."""
        if self.mischief.ban_s:
            self.ban.begin(now_ms, round(self.mischief.ban_s * 1_000))
            self.mischief.ban_s = 0.0
        return self.ban.until_ms if now_ms < self.ban.until_ms else 0

    def perform(
        self,
        work: Callable[[], Outcome],
        refusals: Refusals,
        *,
        kind: Kind = "",
        path: str = "",
        reduce_only: bool = False,
        allowed: Callable[[], Outcome | None] = lambda: None,
    ) -> Outcome:
        """Do what a signed request asks for, or do it wrong. `allowed`: what counts against order limits, and the
        refusal when one is reached."""
        mischief = self.mischief
        if failure := mischief.failure(path):
            return refusals.failed(failure)
        if kind and not mischief.may_trade:
            return refusals.may_not_trade()
        if kind == "place" and not reduce_only and mischief.strikes("overloaded"):
            return refusals.overloaded()
        meant = mischief.scope in ("any", kind)
        if meant and mischief.strikes("lose_requests"):
            return Outcome(cut=True)
        if meant and mischief.strikes("hang_requests"):
            return Outcome(mute=True)
        if meant and mischief.strikes("unknown_not_done"):
            return refusals.unknown()
        if (refused := allowed()) is not None:
            return refused
        outcome = self._do_apart(work)
        if meant and mischief.strikes("lose_answers"):
            outcome.cut = True
        elif meant and mischief.strikes("hang_answers"):
            outcome.mute = True
        elif meant and mischief.strikes("unknown_done"):
            outcome = refusals.unknown()
        outcome.wait_s += mischief.delay_answers_s
        return outcome

    def _do_apart(self, work: Callable[[], Outcome]) -> Outcome:
        """What it causes on the private stream comes with the answer, clearly before it or clearly after it."""
        when, gap_s = self.mischief.events, self.settings.gap_s
        if when != "after":
            outcome = work()
            outcome.wait_s = gap_s if when == "before" else 0.0
            return outcome
        held = self._held = []
        outcome = work()
        self._held = None
        delay_s = self.mischief.delay_answers_s + gap_s
        asyncio.get_running_loop().call_later(delay_s, self._release, held)
        return outcome

    def _release(self, held: list[Any]) -> None:
        for event in held:
            self.tell(event)

    # -- the private stream --------------------------------------------------------------------------

    def tell(self, event: Any) -> None:
        """An event of the private stream, in whatever form the venue gives it; it comes out at `send_private`."""
        mischief = self.mischief
        if self._held is not None:
            self._held.append(event)
        elif mischief.strikes("lose_events") or mischief.hushes("private"):
            return
        elif not mischief.reorder_events:
            self._send(event)
        elif self._swapped is None:
            self._swapped = event
            asyncio.get_running_loop().call_later(REORDER_FLUSH_S, self._unswap)
        else:
            self._send(event)
            self._unswap()

    def _unswap(self) -> None:
        if self._swapped is not None:
            event, self._swapped = self._swapped, None
            self._send(event)

    def _send(self, event: Any) -> None:
        for _ in range(2 if self.mischief.duplicate_events else 1):
            self._venue.send_private(event)

    # -- public streams ------------------------------------------------------------------------------

    def publish(self, stream: str, message: Any) -> None:
        """To every socket that has joined the stream; `message` is made into JSON only if somebody listens."""
        if self.sockets.wanted(stream) and not self.mischief.hushes(stream):
            self.sockets.publish(stream, compact(message))

    # -- the dead-man's switch -----------------------------------------------------------------------

    def set_switch(self, name: str, after_s: float, act: Callable[..., object], *args: Any) -> None:
        """`act` after so many seconds, unless it is set again; 0 switches it off."""
        if timer := self._switches.pop(name, None):
            timer.cancel()
        if after_s:
            self._switches[name] = asyncio.get_running_loop().call_later(after_s, act, *args)

    # -- what the engine tells (see book.Watcher) ----------------------------------------------------

    def on_news(self, name: str, news: News, now_ns: int) -> None:
        self.desk.hear(name, news)

    def on_history(self, symbol: str, event: Trade | Quote, now_ns: int) -> None:
        if isinstance(event, Trade):
            self._last_trade_id += 1
            self.bars[symbol].trade(event, self._last_trade_id, now_ns // 1_000_000)

    def on_market(self, symbol: str, event: Trade | Quote, ts_venue_ns: int, now_ns: int) -> None:
        now_ms = now_ns // 1_000_000
        happened_ms = ts_venue_ns // 1_000_000
        if isinstance(event, Trade):
            self._last_trade_id += 1
            self.bars[symbol].trade(event, self._last_trade_id, now_ms)
            self._venue.on_trade(symbol, event, self._last_trade_id, happened_ms, now_ms)
        else:
            self._venue.on_quote(symbol, event, happened_ms, now_ms)

    def on_second(self, now_ns: int) -> None:
        now_ms = now_ns // 1_000_000
        for bars in self.bars.values():
            bars.roll(now_ms)
        self._venue.on_second(now_ms)
        self.sockets.look_after(str(now_ms).encode())

    def next_funding_ms(self, now_ms: int) -> int:
        every_ms = round(self.paper.funding_interval_s * 1_000)
        return (now_ms // every_ms + 1) * every_ms

    # -- the control endpoint ------------------------------------------------------------------------

    async def _control(self, request: web.Request) -> web.Response:
        """GET: the switches as they are. POST: {"set": {switch: value}, "do": ["disconnect"],
        "quotes": [{symbol, bid, ask, qty}], "trades": [{symbol, price, qty, side}]}."""
        if request.method == "POST":
            try:
                order = await request.json()
                self.mischief.set(order.get("set", {}))
                for deed in order.get("do", ()):
                    self._deeds[deed]()
                for event in order.get("quotes", ()):
                    self.push(event["symbol"], self._quote_of(event))
                for event in order.get("trades", ()):
                    self.push(event["symbol"], self._trade_of(event))
            except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
                return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)
        names = self.mischief.__dataclass_fields__
        shown = {name: getattr(self.mischief, name) for name in names if name != "fail"}
        shown["connections"] = self.connections
        orders = self.desk.open_orders()
        shown["open_orders"] = len(orders)
        shown["resting"] = [
            f"{each.instrument.name} {each.side.name} {each.price_ticks * each.instrument.tick_size:f}"
            for each in orders
        ]
        shown["duplicates"] = self.desk.duplicates()
        shown["positions"] = {
            name: f"{self.desk.holding(name).lots * instrument.lot_size:f}"
            for name, instrument in self.instruments.items()
        }
        return web.json_response(shown)

    def _quote_of(self, event: Json) -> Quote:
        instrument = self.instruments[event["symbol"]]
        qty = Lots(int(Decimal(str(event.get("qty", "1000"))) / instrument.lot_size))
        now_ns = self._clock()
        return Quote(
            bid_ticks=instrument.exact_ticks(Decimal(str(event["bid"]))),
            bid_lots=qty,
            ask_ticks=instrument.exact_ticks(Decimal(str(event["ask"]))),
            ask_lots=qty,
            ts_venue_ns=now_ns,
            ts_local_ns=now_ns,
        )

    def _trade_of(self, event: Json) -> Trade:
        instrument = self.instruments[event["symbol"]]
        now_ns = self._clock()
        return Trade(
            price_ticks=instrument.exact_ticks(Decimal(str(event["price"]))),
            qty_lots=instrument.exact_lots(Decimal(str(event.get("qty", instrument.lot_size)))),
            aggressor=Side[event.get("side", "SELL")],
            ts_venue_ns=now_ns,
            ts_local_ns=now_ns,
        )


def compact(body: Any) -> str:
    return json.dumps(body, separators=(",", ":"))


def listed(
    feed: MarketFeed, paper: PaperSettings, own: dict[str, InstrumentSettings]
) -> dict[str, Instrument]:
    """Raises ConfigError when the feed holds nothing that could be listed."""
    found = {
        name: paper_instrument(name, own.get(name, InstrumentSettings()), paper)
        for name in feed.symbols
        if name in own or name in LISTINGS
    }
    if not found:
        raise ConfigError(
            f"the feed holds {', '.join(feed.symbols)}; the venue lists {', '.join(LISTINGS)}"
        )
    return found


class LoopbackVenue(Protocol):
    """What a venue's file gives: drivers and tests know it by this.

    `endpoints`: what a configuration writes under `endpoints` to come here.
    """

    stage: Stage

    async def start(self, port: int = 0) -> None: ...
    async def close(self) -> None: ...

    @property
    def endpoints(self) -> dict[str, str]: ...
