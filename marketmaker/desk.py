"""The operator's desk: what can be seen of a running daemon, what may be asked of it, and the door to both.

Without `http.listen` nothing listens, nothing is read, and only a reload by SIGHUP is left.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING

from marketmaker.adapters.protocol import Adapter
from marketmaker.config import Configuration
from marketmaker.core.risk import GateStatus
from marketmaker.model.account import AccountState
from marketmaker.model.action import RaiseAlert
from marketmaker.model.settings import Settings
from marketmaker.news import News
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.equity_watch import EquityWatch, WatchedSymbol
from marketmaker.runtime.executor import Executor
from marketmaker.runtime.latency import LatencyMeter
from marketmaker.runtime.risk_monitor import RiskMonitor
from marketmaker.symbol import Symbol

if TYPE_CHECKING:
    from marketmaker.doorkeeper import Doorkeeper
    from marketmaker.overview import Overview
    from marketmaker.reload import Reloader

EQUITY_INTERVAL_S = 15.0


class Desk:
    """`load` reads the configuration again, None where there is no file; `serves` says whether HTTP may be served."""

    def __init__(
        self,
        *,
        settings: Settings,
        adapter: Adapter,
        clock: Clock,
        symbols: Sequence[Symbol],
        executor: Executor,
        load: Callable[[], Configuration] | None,
        serves: bool,
        stopping: Callable[[], bool],
        adopted: Callable[[Settings], None],
    ) -> None:
        self.news = News(clock)
        self.latency = LatencyMeter()
        self.risk: RiskMonitor | None = None
        self.doorkeeper: Doorkeeper | None = None
        self.reloader: Reloader | None = None
        self._adapter = adapter
        self._clock = clock
        self._symbols = symbols
        self._overview: Overview | None = None
        if load is None:
            return
        from marketmaker.reload import Reloader

        self.reloader = Reloader(
            settings=settings,
            symbols=symbols,
            adapter=adapter,
            executor=executor,
            clock=clock,
            news=self.news,
            load=load,
            adopted=adopted,
        )
        if not serves or settings.http.listen is None:
            return
        from marketmaker.control import Control
        from marketmaker.doorkeeper import Doorkeeper
        from marketmaker.overview import Overview

        self._overview = Overview(
            settings=settings,
            venue=adapter.name,
            clock=clock,
            symbols=symbols,
            executor=executor,
            news=self.news,
            latency=self.latency.latency_snapshot,
            risk=self._risk_now,
            stopping=stopping,
        )
        self.doorkeeper = Doorkeeper(
            settings=settings.http,
            overview=self._overview,
            control=Control(symbols=symbols, adapter=adapter, clock=clock, news=self.news),
            reloader=self.reloader,
            news=self.news,
        )

    def open(self) -> None:
        """Raises ConfigError when the address cannot be had."""
        if self.doorkeeper is not None:
            self.doorkeeper.open()

    def alert(self, alert: RaiseAlert) -> None:
        self.news.alert(alert)

    def services(self) -> Iterator[tuple[str, Callable[[], Coroutine[None, None, None]]]]:
        """What has to run from the start on, by name; trading can do without."""
        if self.doorkeeper is not None:
            yield "web", self.doorkeeper.run

    def begin(
        self, opening: AccountState, *, alarms: bool
    ) -> Iterator[tuple[str, Callable[[], Coroutine[None, None, None]]]]:
        """What has to run once every symbol is built. `alarms`: nobody else compares equity and books."""
        if self._overview is None:
            return
        self._overview.opening = opening
        watch = EquityWatch(
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
            record=self._overview.hear_equity,
            alert=self.alert if alarms else lambda _: None,
            interval_s=EQUITY_INTERVAL_S,
        )
        yield "equity for the web", watch.run

    async def close(self) -> None:
        if self.doorkeeper is not None:
            await self.doorkeeper.close()

    def _risk_now(self) -> tuple[GateStatus, str] | None:
        return None if self.risk is None else (self.risk.status(), self.risk.limit_reached)
