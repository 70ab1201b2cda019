"""Listens to the market and to the account, and shuts or opens the RISK and LIMITS gates of every symbol.

Candles come from the venue's stream; their past is loaded by request, symbol by symbol, at the start and after every
gap of the stream. A symbol that cannot be loaded has no data until it can. Equity is asked for every
`check_interval_s`, and only when a limit on it is set; once per quote currency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.core.risk import STILL_FEW, CandleGate, EquityWatch, GateStatus, Transition
from marketmaker.errors import VenueError
from marketmaker.model.action import RaiseAlert, Severity
from marketmaker.model.event import Gate, GateOpened, GateShut
from marketmaker.model.market import Candle
from marketmaker.model.settings import RiskSettings
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.send_line import Channel

NS = 1_000_000_000
REQUEST_TIMEOUT_S = 30.0
BACKOFF_MAX_S = 30.0
EXTRA_CANDLES = 2
"""Loaded beyond the window: the open one and the one that is judged."""


class RiskMonitor:
    """Implements `adapters.protocol.CandleListener`. Never returns from `run`, whatever is switched on."""

    def __init__(
        self,
        settings: RiskSettings,
        adapter: Adapter,
        clock: Clock,
        channels: Sequence[Channel],
        alert: Callable[[RaiseAlert], None],
    ) -> None:
        self._settings = settings
        self._adapter = adapter
        self._clock = clock
        self._channels = tuple(channels)
        self._alert = alert
        self._gate = CandleGate(settings)
        self._unloaded = list(settings.monitor_symbols)
        self._load = asyncio.Event()
        self._stream_was_down = False
        self._silent: dict[str, str] = {}
        self._limits: dict[str, EquityWatch] = {}
        self._limit = ""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="risk_monitor"
        )

    def status(self) -> GateStatus:
        return self._gate.status(self._clock.now_ns())

    @property
    def limit_reached(self) -> str:
        """The account limit that holds the LIMITS gate shut, "" for none."""
        return self._limit

    async def run(self) -> None:
        settings = self._settings
        async with asyncio.TaskGroup() as group:
            if settings.enabled:
                group.create_task(self._load_candles())
                group.create_task(self._stream_candles())
                group.create_task(self._watch_candles())
            if settings.daily_loss_limit is not None or settings.max_drawdown is not None:
                group.create_task(self._watch_equity())
            group.create_task(asyncio.Event().wait())

    # Candles

    def on_candle(self, candle: Candle) -> None:
        self._act(self._gate.hear(candle, self._clock.now_ns()))

    def stream_up(self) -> None:
        self._log.info(log_events.CANDLE_STREAM_UP)
        if self._stream_was_down:
            self._stream_was_down = False
            self._unloaded = list(self._settings.monitor_symbols)
            self._load.set()

    def stream_down(self, reason: str) -> None:
        self._log.warning(log_events.CANDLE_STREAM_DOWN, reason=reason)
        self._stream_was_down = True

    def look(self) -> None:
        """Let time alone have its effect, and tell of symbols that fell silent. The service's timer calls this."""
        now_ns = self._clock.now_ns()
        self._act(self._gate.assess(now_ns))
        for symbol in self._gate.status(now_ns).symbols:
            told = self._silent.pop(symbol.symbol, "")
            if symbol.no_data:
                self._silent[symbol.symbol] = symbol.no_data
                few = symbol.no_data.endswith(STILL_FEW)
                if not told or (told.endswith(STILL_FEW) and not few):
                    self._tell_no_data(symbol.symbol, symbol.no_data, few=few)
            elif told:
                self._log.info(log_events.RISK_DATA_BACK, symbol=symbol.symbol)

    def _tell_no_data(self, symbol: str, reason: str, *, few: bool) -> None:
        """`few`: candles come, and it will not be long until there are enough."""
        write = self._log.warning if few else self._log.error
        write(log_events.RISK_NO_DATA, symbol=symbol, reason=reason)
        message = (
            f"the risk gate cannot judge {symbol} yet: {reason}"
            if few
            else f"no candles of {symbol} for the risk gate: {reason}"
        )
        self._alert(
            RaiseAlert(
                severity=Severity.WARNING if few else Severity.ERROR,
                topic=log_events.RISK_NO_DATA,
                message=message,
            )
        )

    async def _watch_candles(self) -> None:
        # Nobody is silent before he had two intervals to speak.
        await asyncio.sleep(2 * self._settings.interval_s)
        while True:
            self.look()
            await asyncio.sleep(self._settings.check_interval_s)

    async def _stream_candles(self) -> None:
        settings = self._settings
        await self._adapter.stream_candles(settings.monitor_symbols, settings.interval_s, self)
        raise VenueError("the candle stream ended", venue=self._adapter.name)

    async def _load_candles(self) -> None:
        failures = 0
        while True:
            self._load.clear()
            wanted, self._unloaded = self._unloaded, []
            for symbol in wanted:
                if not await self._load_symbol(symbol):
                    self._unloaded.append(symbol)
            if not self._unloaded:
                failures = 0
                await self._load.wait()
            else:
                await asyncio.sleep(min(2.0 ** min(failures, 10), BACKOFF_MAX_S))
                failures += 1

    async def _load_symbol(self, symbol: str) -> bool:
        settings = self._settings
        limit = settings.average_window + EXTRA_CANDLES
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                candles = await self._adapter.fetch_candles(symbol, settings.interval_s, limit)
        except (VenueError, TimeoutError) as error:
            self._log.warning(log_events.CANDLES_FAILED, symbol=symbol, error=str(error))
            return False
        for candle in candles:
            self.on_candle(candle)
        self._log.debug(log_events.CANDLES_LOADED, symbol=symbol, count=len(candles))
        return True

    def _act(self, change: Transition | None) -> None:
        if change is None:
            return
        if change.shut:
            self._log.warning(log_events.RISK_HALTED, reason=change.reason)
            self._shut(Gate.RISK, change.reason, change.ts_ns)
        else:
            self._log.warning(log_events.RISK_RELEASED, reason=change.reason)
            self._open(Gate.RISK, change.ts_ns)
        self._alert(
            RaiseAlert(
                severity=Severity.WARNING,
                topic=log_events.RISK_HALTED if change.shut else log_events.RISK_RELEASED,
                message=change.reason,
            )
        )

    # Limits on the account

    async def _watch_equity(self) -> None:
        while True:
            await self._read_equity()
            await asyncio.sleep(self._settings.check_interval_s)

    async def _read_equity(self) -> None:
        by_quote = {channel.instrument.quote: channel.instrument for channel in self._channels}
        for quote, instrument in by_quote.items():
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    account = await self._adapter.fetch_account(instrument)
            except (VenueError, TimeoutError) as error:
                self._log.warning(log_events.ACCOUNT_FAILED, quote=quote, error=str(error))
                continue
            watch = self._limits.setdefault(quote, EquityWatch(self._settings))
            watch.hear(account.equity, self._clock.now_ns())
        self._set_limit(
            "; ".join(f"{quote} {w.reached}" for quote, w in self._limits.items() if w.reached)
        )

    def _set_limit(self, reached: str) -> None:
        if reached == self._limit:
            return
        self._limit = reached
        now_ns = self._clock.now_ns()
        if reached:
            self._log.error(log_events.LIMIT_REACHED, reason=reached)
            self._shut(Gate.LIMITS, reached, now_ns)
        else:
            self._log.warning(log_events.LIMIT_LIFTED)
            self._open(Gate.LIMITS, now_ns)
        self._alert(
            RaiseAlert(
                severity=Severity.ERROR if reached else Severity.WARNING,
                topic=log_events.LIMIT_REACHED if reached else log_events.LIMIT_LIFTED,
                message=reached or "a new day: the daily loss limit holds again",
            )
        )

    def _shut(self, gate: Gate, reason: str, ts_ns: int) -> None:
        for channel in self._channels:
            channel.queue.put(GateShut(gate=gate, reason=reason, ts_ns=ts_ns))

    def _open(self, gate: Gate, ts_ns: int) -> None:
        for channel in self._channels:
            channel.queue.put(GateOpened(gate=gate, ts_ns=ts_ns))
