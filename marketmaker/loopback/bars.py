"""Candles of one symbol with everything a venue tells of them: minute bars, and longer ones made of those."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from marketmaker.model.market import Trade
from marketmaker.model.order import Side

MINUTE_MS = 60_000
MINUTES_KEPT = 5_000


@dataclass(slots=True, kw_only=True)
class Bar:
    """Prices in ticks; `lots` and `quanta` (price times lots) of all trades, and of those whose taker bought."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    lots: int = 0
    quanta: int = 0
    taker_lots: int = 0
    taker_quanta: int = 0
    trades: int = 0
    first_id: int = -1
    last_id: int = -1

    def add(self, other: Bar) -> None:
        """Take in the bar that follows; one without trades changes nothing but the count of its time."""
        if other.trades:
            if not self.trades:
                self.open, self.high, self.low = other.open, other.high, other.low
                self.first_id = other.first_id
            self.high = max(self.high, other.high)
            self.low = min(self.low, other.low)
            self.last_id = other.last_id
        self.close = other.close
        self.lots += other.lots
        self.quanta += other.quanta
        self.taker_lots += other.taker_lots
        self.taker_quanta += other.taker_quanta
        self.trades += other.trades


class Bars:
    """Bars begin at multiples of their interval; a minute without trades is flat at the close before it."""

    def __init__(self) -> None:
        self._minutes: deque[Bar] = deque(maxlen=MINUTES_KEPT)

    @property
    def last_ticks(self) -> int | None:
        return self._minutes[-1].close if self._minutes else None

    def trade(self, trade: Trade, trade_id: int, now_ms: int) -> None:
        price = int(trade.price_ticks)
        if not self._minutes:
            open_ms = now_ms - now_ms % MINUTE_MS
            bar = Bar(open_ms=open_ms, open=price, high=price, low=price, close=price)
            self._minutes.append(bar)
        self.roll(now_ms)
        quanta = price * trade.qty_lots
        bought = trade.aggressor is Side.BUY
        self._minutes[-1].add(
            Bar(
                open_ms=now_ms,
                open=price,
                high=price,
                low=price,
                close=price,
                lots=trade.qty_lots,
                quanta=quanta,
                taker_lots=trade.qty_lots if bought else 0,
                taker_quanta=quanta if bought else 0,
                trades=1,
                first_id=trade_id,
                last_id=trade_id,
            )
        )

    def roll(self, now_ms: int) -> None:
        """Begin the minute that `now_ms` is in."""
        while self._minutes and now_ms >= self._minutes[-1].open_ms + MINUTE_MS:
            last = self._minutes[-1]
            close = last.close
            self._minutes.append(
                Bar(
                    open_ms=last.open_ms + MINUTE_MS, open=close, high=close, low=close, close=close
                )
            )

    def series(self, interval_ms: int) -> list[Bar]:
        """Oldest first, the last one still open."""
        return list(self._grouped(interval_ms))

    def at(self, open_ms: int, interval_ms: int) -> Bar | None:
        """The bar that begins at `open_ms`."""
        found: Bar | None = None
        for minute in reversed(self._minutes):
            if minute.open_ms < open_ms:
                break
            if minute.open_ms < open_ms + interval_ms:
                found = _join(minute, found, open_ms)
        return found

    def _grouped(self, interval_ms: int) -> Iterator[Bar]:
        group: Bar | None = None
        for minute in self._minutes:
            open_ms = minute.open_ms - minute.open_ms % interval_ms
            if group is not None and group.open_ms != open_ms:
                yield group
                group = None
            if group is None:
                group = _copy(minute, open_ms)
            else:
                group.add(minute)
        if group is not None:
            yield group


def _copy(bar: Bar, open_ms: int) -> Bar:
    flat = Bar(open_ms=open_ms, open=bar.open, high=bar.high, low=bar.low, close=bar.close)
    flat.add(bar)
    return flat


def _join(earlier: Bar, later: Bar | None, open_ms: int) -> Bar:
    joined = _copy(earlier, open_ms)
    if later is not None:
        joined.add(later)
    return joined
