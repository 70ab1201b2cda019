"""When to stop opening: candles of several markets that all turn bad at once, and losses of the account.

The candle gate has two states and a memory of candles per symbol. Averages are over the `average_window` closed
candles *before* the one that is judged.

- A symbol *panics* when its newest candle, open or closed, has close < mean close and volume > m * mean volume.
- Open: the gate shuts when every monitored symbol with data panics at once.
- Shut: a symbol *has recovered* while its newest closed candle both opened and closed after the gate shut and has
  close > mean close and volume < m * mean volume, and while its newest candle does not panic. The gate opens when
  `recovery_threshold` symbols have (or all with data, if those are fewer), not before `min_hold`.

So both edges look at the same candles but never at the same ones: a crash shuts the gate from the open candle, and
the calm minute before the crash, being older than the shutting, can never open it again.

The awkward spot is silence. A symbol without a full window, without volume in it, or not heard for two intervals has
*no data*: it neither panics nor counts as healthy, and with no data anywhere the gate stays as it is.
Floats are fine here: these are statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from math import isfinite

from marketmaker.model.market import Candle
from marketmaker.model.settings import RiskSettings

NS = 1_000_000_000
DAY_NS = 86_400 * NS
QUIET_INTERVALS = 2
STILL_FEW = "closed candles"
"""How the reason ends where candles come and are not enough yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The gate changed at `ts_ns` (our clock); `reason` holds the figures that did it."""

    shut: bool
    reason: str
    ts_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolStatus:
    """One monitored symbol as `status` shows it; figures are 0 without data, and `no_data` says why there is none.

    `ratio` = volume / mean volume of the newest candle.
    """

    symbol: str
    no_data: str = ""
    close: float = 0.0
    mean_close: float = 0.0
    volume: float = 0.0
    mean_volume: float = 0.0
    ratio: float = 0.0
    panics: bool = False
    recovered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatus:
    """`since_ns` is when it shut, 0 while open; `recovered` of `needed` symbols have recovered."""

    shut: bool
    since_ns: int
    recovered: int
    needed: int
    symbols: tuple[SymbolStatus, ...]


class History:
    """Candles of one symbol: the closed ones by opening time, oldest first, and when the last word came."""

    def __init__(self, symbol: str, window: int, interval_ns: int) -> None:
        self.symbol = symbol
        self.window = window
        self.interval_ns = interval_ns
        self.closed: dict[int, Candle] = {}
        self.newest: Candle | None = None
        self.heard_ns = 0

    def hear(self, candle: Candle, now_ns: int) -> None:
        """Take in a candle in any order; a closed one is final, an open one yields to what comes later."""
        newest = self.newest
        opened_ns = candle.open_ts_ns
        if newest is None or opened_ns > newest.open_ts_ns:
            # A venue that never says "closed" says it by going on to the next one.
            if newest is not None:
                self.closed.setdefault(newest.open_ts_ns, newest)
            self.newest = candle
        elif opened_ns == newest.open_ts_ns and (candle.closed or not newest.closed):
            self.newest = candle
        if candle.closed:
            self.closed[opened_ns] = candle
        if opened_ns + (QUIET_INTERVALS + 1) * self.interval_ns >= now_ns:
            self.heard_ns = max(self.heard_ns, now_ns)
        self._forget()

    def before(self, opened_ns: int) -> list[Candle]:
        """The closed candles that averages for a candle opened at `opened_ns` are made of."""
        return [self.closed[key] for key in self.closed if key < opened_ns][-self.window :]

    def newest_closed(self) -> Candle | None:
        return next(reversed(self.closed.values()), None)

    def why_no_data(self, now_ns: int) -> str:
        """ "" when there is data."""
        if self.newest is None:
            return "no candle yet"
        silent_ns = now_ns - self.heard_ns
        if silent_ns > QUIET_INTERVALS * self.interval_ns:
            return "only old candles" if not self.heard_ns else f"quiet for {silent_ns // NS} s"
        base = self.before(self.newest.open_ts_ns)
        if len(base) < self.window:
            return f"{len(base)} of {self.window} {STILL_FEW}"
        if not any(candle.volume for candle in base):
            return "no volume"
        return ""

    def _forget(self) -> None:
        """Keep order by time, and nothing older than two windows before the newest."""
        assert self.newest is not None
        oldest_ns = self.newest.open_ts_ns - 2 * self.window * self.interval_ns
        self.closed = {key: self.closed[key] for key in sorted(self.closed) if key >= oldest_ns}


class CandleGate:
    """`shut` and, while it is, `since_ns`. Tell it candles with `hear`, and the time with `assess`."""

    def __init__(self, settings: RiskSettings) -> None:
        self._interval_s = settings.interval_s
        self._multiplier = settings.volume_multiplier
        self._threshold = settings.recovery_threshold
        self._min_hold_ns = round(settings.min_hold_s * NS)
        self._histories = {
            symbol: History(symbol, settings.average_window, settings.interval_s * NS)
            for symbol in settings.monitor_symbols
        }
        self.shut = False
        self.since_ns = 0

    def hear(self, candle: Candle, now_ns: int) -> Transition | None:
        """Candles of other symbols or intervals, and ones with impossible figures, change nothing."""
        history = self._histories.get(candle.symbol)
        figures = (candle.close, candle.volume)
        if (
            history is None
            or candle.interval_s != self._interval_s
            or not all(isfinite(figure) and figure >= 0 for figure in figures)
        ):
            return None
        history.hear(candle, now_ns)
        return self.assess(now_ns)

    def assess(self, now_ns: int) -> Transition | None:
        """What changes by now. Call it now and then, for time alone can open the gate."""
        status = self.status(now_ns)
        known = [symbol for symbol in status.symbols if not symbol.no_data]
        if not known:
            return None
        if not self.shut:
            if not all(symbol.panics for symbol in known):
                return None
            self.shut, self.since_ns = True, now_ns
            figures = "; ".join(self._figures(symbol) for symbol in known)
            return Transition(
                shut=True, reason=f"all {len(known)} markets panic: {figures}", ts_ns=now_ns
            )
        if now_ns - self.since_ns < self._min_hold_ns or status.recovered < status.needed:
            return None
        self.shut, self.since_ns = False, 0
        return Transition(
            shut=False,
            reason=f"{status.recovered} of {len(known)} markets have recovered",
            ts_ns=now_ns,
        )

    def status(self, now_ns: int) -> GateStatus:
        symbols = tuple(self._status_of(history, now_ns) for history in self._histories.values())
        known = sum(not symbol.no_data for symbol in symbols)
        return GateStatus(
            shut=self.shut,
            since_ns=self.since_ns,
            recovered=sum(symbol.recovered for symbol in symbols),
            needed=min(self._threshold, known),
            symbols=symbols,
        )

    def _status_of(self, history: History, now_ns: int) -> SymbolStatus:
        newest = history.newest
        no_data = history.why_no_data(now_ns)
        if no_data or newest is None:
            return SymbolStatus(symbol=history.symbol, no_data=no_data)
        mean_close, mean_volume = means(history.before(newest.open_ts_ns))
        panics = newest.close < mean_close and newest.volume > self._multiplier * mean_volume
        return SymbolStatus(
            symbol=history.symbol,
            close=newest.close,
            mean_close=mean_close,
            volume=newest.volume,
            mean_volume=mean_volume,
            ratio=newest.volume / mean_volume,
            panics=panics,
            recovered=self.shut and not panics and self._has_recovered(history),
        )

    def _has_recovered(self, history: History) -> bool:
        candle = history.newest_closed()
        if candle is None or candle.open_ts_ns < self.since_ns:
            return False
        base = history.before(candle.open_ts_ns)
        if len(base) < history.window:
            return False
        mean_close, mean_volume = means(base)
        return candle.close > mean_close and candle.volume < self._multiplier * mean_volume

    def _figures(self, symbol: SymbolStatus) -> str:
        return (
            f"{symbol.symbol} close {symbol.close:g} < mean {symbol.mean_close:g}, volume"
            f" {symbol.ratio:.1f} > {self._multiplier:g} x mean"
        )


def means(candles: list[Candle]) -> tuple[float, float]:
    """Of close and of volume; `candles` is not empty."""
    count = len(candles)
    return (
        sum(candle.close for candle in candles) / count,
        sum(candle.volume for candle in candles) / count,
    )


def assess_limits(
    equity_now: Decimal,
    equity_start: Decimal,
    equity_peak: Decimal,
    day_start_equity: Decimal,
    settings: RiskSettings,
) -> str | None:
    """Which limit on the account is reached, with the figures; None while all hold.

    `day_start_equity` is of the current UTC day. Limits are fractions of `equity_start`; reaching one is enough.
    """
    for limit, since, name in (
        (settings.max_drawdown, equity_peak, "max_drawdown"),
        (settings.daily_loss_limit, day_start_equity, "daily_loss_limit"),
    ):
        if limit is None:
            continue
        loss, allowed = since - equity_now, limit * equity_start
        if loss >= allowed and loss > 0:
            return f"{name}: equity is {loss:f} below {since:f}, the limit is {allowed:f}"
    return None


class EquityWatch:
    """Remembers start, peak and day start of one account's equity, and holds what was reached.

    A drawdown holds until the process restarts, a daily loss until the UTC day ends: an account that hovers at its
    limit does not go in and out.
    """

    def __init__(self, settings: RiskSettings) -> None:
        self._settings = settings
        self._start: Decimal | None = None
        self._peak = Decimal(0)
        self._day = 0
        self._day_start = Decimal(0)
        self.reached = ""

    def hear(self, equity: Decimal, now_ns: int) -> str:
        """The limit that holds now, "" for none. `equity` must be finite."""
        day = now_ns // DAY_NS
        if self._start is None:
            self._start, self._peak = equity, equity
            self._day, self._day_start = day, equity
        self._peak = max(self._peak, equity)
        if day > self._day:
            self._day, self._day_start = day, equity
            if self.reached.startswith("daily_loss_limit"):
                self.reached = ""
        # A drawdown is looked for even while a daily loss holds, for it outlives the day.
        if not self.reached.startswith("max_drawdown"):
            now = assess_limits(equity, self._start, self._peak, self._day_start, self._settings)
            if now is not None and (not self.reached or now.startswith("max_drawdown")):
                self.reached = now
        return self.reached
