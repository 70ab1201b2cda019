"""The embedded exchange as a venue's server uses it: driven by a feed on the real clock, with anybody's client order ids.

The exchange knows our own short ids only, so every order that comes in gets one (`Register`), under which its text is
kept. Everything a server asks for happens at once and at the exchange's own time; what the market and the
exchange do is told to the `Watcher` in the order in which it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import Protocol

from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import ClientOrderId, Side
from marketmaker.model.settings import PaperSettings
from marketmaker.sim.agenda import Agenda
from marketmaker.sim.exchange import Exchange, News
from marketmaker.sim.feed import MarketFeed
from marketmaker.sim.replay import Replay
from marketmaker.sim.tape import Tape

NS_PER_S = 1_000_000_000


class Register:
    """A `ClientOrderIdForm` that takes any text: `sequence` is the how-manieth order it was."""

    sequences = 1 << 62
    max_slot = 0

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}
        self._newest: dict[str, ClientOrderId] = {}
        self._count = 0

    def enter(self, text: str, side: Side) -> ClientOrderId:
        self._count += 1
        order = ClientOrderId(0, side, self._count)
        self._texts[order.sequence] = text
        self._newest[text] = order
        return order

    def forget(self, order: ClientOrderId) -> None:
        text = self._texts.pop(order.sequence, None)
        if text is not None and self._newest.get(text) == order:
            del self._newest[text]

    def encode(self, order: ClientOrderId) -> str:
        return self._texts[order.sequence]

    def decode(self, wire: str) -> ClientOrderId | None:
        return self._newest.get(wire)


class Watcher(Protocol):
    """Called from the event loop; never blocks, never raises. Times are Unix ns."""

    def on_news(self, name: str, news: News, now_ns: int) -> None: ...
    def on_market(
        self, symbol: str, event: Trade | Quote, ts_venue_ns: int, now_ns: int
    ) -> None: ...
    def on_history(self, symbol: str, event: Trade | Quote, now_ns: int) -> None:
        """Before the market opened: for candles only."""
        ...

    def on_second(self, now_ns: int) -> None: ...


class Paced:
    """A feed at `speed` times its own pace."""

    def __init__(self, feed: MarketFeed, speed: float) -> None:
        self.start_ns = feed.start_ns
        self.symbols = feed.symbols
        self._feed = feed
        self._speed = speed

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        start_ns, speed = self.start_ns, self._speed
        for symbol, event in self._feed.events(instruments):
            yield (
                symbol,
                replace(
                    event,
                    ts_venue_ns=start_ns + round((event.ts_venue_ns - start_ns) / speed),
                    ts_local_ns=start_ns + round((event.ts_local_ns - start_ns) / speed),
                ),
            )


class Book:
    """One account at the embedded exchange, and the market around it.

    The first `history_s` of the feed have happened when it starts, so that there are candles. `now_ns` is Unix time.
    """

    def __init__(
        self,
        *,
        settings: PaperSettings,
        instruments: dict[str, Instrument],
        feed: MarketFeed,
        speed: float,
        history_s: float,
        watcher: Watcher,
        now_ns: Callable[[], int],
    ) -> None:
        self.ids = Register()
        self.exchange = Exchange(
            settings=settings,
            instruments=instruments,
            client_order_ids=self.ids,
            emit=watcher.on_news,
        )
        self.feed_ended = False
        self._settings = settings
        self._instruments = instruments
        self._feed = feed if speed == 1.0 else Paced(feed, speed)
        self._history_ns = round(history_s / speed * NS_PER_S)
        self._watcher = watcher
        self._clock = now_ns
        self._tapes: dict[str, Tape] = {}
        self._agenda: Agenda | None = None
        self._driver: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Raises ConfigError for a feed that cannot be read."""
        events = iter(self._feed.events(self._instruments))
        agenda = self._agenda = Agenda(self._clock, asyncio.get_running_loop())
        open_ns = self._feed.start_ns + self._history_ns
        shift_ns = agenda.time_ns - open_ns
        first: list[tuple[str, Trade | Quote]] = []
        for symbol, event in events:
            if event.ts_local_ns >= open_ns:
                first.append((symbol, event))
                break
            if symbol in self._instruments:
                self._watcher.on_history(symbol, event, event.ts_local_ns + shift_ns)
        for name, market in self.exchange.markets.items():
            self._tapes[name] = Tape(
                market=market,
                exchange=self.exchange,
                agenda=agenda,
                latency_ns=0,
                shift_ns=shift_ns,
            )
        replay = Replay(
            feed=self._told(chain(first, events), shift_ns),
            shift_ns=shift_ns,
            agenda=agenda,
            tapes=self._tapes,
            exchange=self.exchange,
            funding_interval_ns=round(self._settings.funding_interval_s * NS_PER_S),
            now_ns=self._clock,
        )
        self._plan_second(agenda)
        self._driver = asyncio.create_task(replay.run(self._feed_has_ended), name="loopback market")

    async def close(self) -> None:
        """Raises what the feed raised."""
        if self._driver is None:
            return
        self._driver.cancel()
        with suppress(asyncio.CancelledError):
            await self._driver

    @property
    def driver(self) -> asyncio.Task[None]:
        """Ends only with an error of the feed."""
        assert self._driver is not None
        return self._driver

    def now_ns(self) -> int:
        """The exchange's time, which what is done now happens at."""
        assert self._agenda is not None
        self._agenda.time_ns = self._agenda.now_ns()
        return self._agenda.time_ns

    def push(self, symbol: str, event: Trade | Quote) -> None:
        """An event of the market from elsewhere than the feed, now."""
        now_ns = self.now_ns()
        self._tapes[symbol].apply(event, now_ns)
        self._watcher.on_market(symbol, event, now_ns, now_ns)

    def _told(
        self, events: Iterable[tuple[str, Trade | Quote]], shift_ns: int
    ) -> Iterator[tuple[str, Trade | Quote]]:
        """Asked for the next event, the replay has just done with the one before."""
        assert self._agenda is not None
        for symbol, event in events:
            yield symbol, event
            if symbol in self._tapes:
                ts_venue_ns = event.ts_venue_ns + shift_ns
                self._watcher.on_market(symbol, event, ts_venue_ns, self._agenda.time_ns)

    def _feed_has_ended(self) -> None:
        self.feed_ended = True

    def _plan_second(self, agenda: Agenda) -> None:
        agenda.add((agenda.now_ns() // NS_PER_S + 1) * NS_PER_S, self._second, agenda)

    def _second(self, agenda: Agenda) -> None:
        self._watcher.on_second(agenda.time_ns)
        self._plan_second(agenda)
