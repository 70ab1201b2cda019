"""Feeds the ledger: what the engines decide, the account every minute, when each side was quoted, and the trades that
the venue made while the ledger could not be written."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import replace
from functools import partial

import structlog

from marketmaker import __version__
from marketmaker.adapters.protocol import Adapter
from marketmaker.core import readings
from marketmaker.core.repair import OVERLAP_NS
from marketmaker.errors import VenueError
from marketmaker.ledger.url import shown
from marketmaker.ledger.writer import Ledger
from marketmaker.model.account import AccountState
from marketmaker.model.action import RaiseAlert, Severity
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import Side
from marketmaker.model.settings import Settings, without_secrets
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.engine import OnDecided
from marketmaker.runtime.equity_watch import EquityWatch, WatchedSymbol
from marketmaker.runtime.wire_format import to_json, to_text
from marketmaker.symbol import Symbol, quoted_sides

QUOTING_INTERVAL_S = 1.0
CATCH_UP_PAUSE_S = 5.0


class Bookkeeper:
    """`account` tells accounts of one venue apart. `on_trouble(reason)` and `on_recovered()` shut and open the gate for
    new risk. `serve(symbol, work)` runs a symbol's errand that ends."""

    def __init__(
        self,
        *,
        settings: Settings,
        adapter: Adapter,
        clock: Clock,
        account: str,
        in_thread: bool,
        symbols: list[Symbol],
        alert: Callable[[RaiseAlert], None],
        on_trouble: Callable[[str], None],
        on_recovered: Callable[[], None],
        serve: Callable[[Symbol, Coroutine[None, None, None]], None],
    ) -> None:
        self._adapter = adapter
        self._clock = clock
        self._symbols = symbols
        self._alert = alert
        self._on_trouble = on_trouble
        self._on_recovered = on_recovered
        self._serve = serve
        self._equity_watch: EquityWatch | None = None
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="bookkeeper", venue=adapter.name
        )
        self.ledger = Ledger(
            settings.ledger,
            venue=adapter.name,
            account=account,
            bot_tag=settings.bot_tag,
            in_thread=in_thread,
            on_failure=self._failed,
            on_recovered=self._recovered,
        )
        kept = replace(without_secrets(settings), ledger=shown(settings.ledger))
        self.ledger.open(program=__version__, settings=to_text(to_json(kept)), ts_ns=clock.now_ns())

    def hears(self, instrument: Instrument) -> OnDecided:
        """What an engine calls with every event and what was decided on it."""
        return partial(self.ledger.intake.note, instrument)

    def services(self, opening: AccountState) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """What has to run beside the engines, by name. `opening`: the account when this process began."""
        for symbol in self._symbols:
            self.ledger.intake.record_instrument(symbol.instrument)
        self._equity_watch = EquityWatch(
            self._adapter,
            self._clock,
            [
                WatchedSymbol(
                    instrument=symbol.instrument, manager=symbol.manager, opening=symbol.start
                )
                for symbol in self._symbols
            ],
            opening=opening,
            opening_ts_ns=self._clock.now_ns(),
            record=self.ledger.intake.record_equity,
            alert=self._alert,
        )
        yield "ledger", self.ledger.run()
        yield "equity watch", self._equity_watch.run()
        yield "quoting watch", self._watch_quoting()
        for symbol in self._symbols:
            newest_ns = self.ledger.last_trade_ns(symbol.instrument.name)
            if newest_ns is not None:
                self._catch_up(symbol, newest_ns)

    async def look_at_equity(self) -> None:
        if self._equity_watch is not None:
            await self._equity_watch.look()

    async def close(self, timeout_s: float) -> str:
        """Writes what is waiting; returns "" or what could not be written."""
        self.ledger.intake.end_quoting(self._clock.now_ns())
        problem = await self.ledger.close(timeout_s)
        return f"the ledger is not whole: {problem}" if problem else ""

    def _catch_up(self, symbol: Symbol, since_ns: int) -> None:
        """Asks the venue for the trades that the ledger may lack. The slots have their own way (`reconciler`)."""
        self._serve(symbol, self._fetch_trades(symbol, since_ns - OVERLAP_NS))

    async def _fetch_trades(self, symbol: Symbol, since_ns: int) -> None:
        while True:
            try:
                fills = await self._adapter.fetch_fills(symbol.instrument, since_ns)
                break
            except VenueError as error:
                self._log.warning(log_events.RECONCILE_FAILED, error=str(error))
                await asyncio.sleep(CATCH_UP_PAUSE_S)
        for fill in fills:
            self.ledger.intake.record_trade(symbol.instrument, fill)

    async def _watch_quoting(self) -> None:
        while True:
            for symbol in self._symbols:
                sides = quoted_sides(symbol)
                self.ledger.intake.record_quoting(
                    symbol.instrument.name,
                    bids=Side.BUY in sides,
                    asks=Side.SELL in sides,
                    why="; ".join(readings.not_quoting(symbol.manager)),
                    ts_ns=self._clock.now_ns(),
                )
            await asyncio.sleep(QUOTING_INTERVAL_S)

    def _failed(self, reason: str) -> None:
        self._alert(RaiseAlert(severity=Severity.ERROR, topic="ledger", message=reason))
        self._on_trouble(reason)

    def _recovered(self, missing_since_ns: Mapping[str, int]) -> None:
        self._on_recovered()
        for symbol in self._symbols:
            since_ns = missing_since_ns.get(symbol.instrument.name)
            if since_ns is not None:
                self._catch_up(symbol, since_ns)
