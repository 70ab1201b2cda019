"""Candles made of the trades that go by."""

from __future__ import annotations

from collections import deque

from marketmaker.adapters.protocol import CandleListener
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Candle

NS_PER_S = 1_000_000_000
CANDLES_KEPT = 1_500


class CandleSeries:
    """One symbol at one interval. Bars start at multiples of the interval in Unix time and follow without a gap.

    A bar without trades is flat at the close before it. `end_ns` is where the newest bar ends, None before the first
    trade. `changed`: the newest bar has traded since `take_change`.
    """

    __slots__ = (
        "_close",
        "_closed",
        "_high",
        "_interval_ns",
        "_interval_s",
        "_lot_size",
        "_lots",
        "_low",
        "_open",
        "_symbol",
        "_tick_size",
        "changed",
        "end_ns",
        "listeners",
    )

    def __init__(self, instrument: Instrument, interval_s: int) -> None:
        self._symbol = instrument.name
        self._tick_size = float(instrument.tick_size)
        self._lot_size = float(instrument.base_per_lot)
        self._interval_s = interval_s
        self._interval_ns = interval_s * NS_PER_S
        self._closed: deque[Candle] = deque(maxlen=CANDLES_KEPT)
        self._open = self._high = self._low = self._close = self._lots = 0
        self.end_ns: int | None = None
        self.changed = False
        self.listeners: list[CandleListener] = []

    def trade(self, price_ticks: int, qty_lots: int, now_ns: int) -> None:
        """`now_ns` lies before the end of the newest bar: `close_bar` came first."""
        if self.end_ns is None:
            self.end_ns = (now_ns // self._interval_ns + 1) * self._interval_ns
        if not self._lots:
            self._open = self._high = self._low = price_ticks
        elif price_ticks > self._high:
            self._high = price_ticks
        elif price_ticks < self._low:
            self._low = price_ticks
        self._close = price_ticks
        self._lots += qty_lots
        self.changed = True

    def close_bar(self) -> Candle:
        """End the newest bar and begin the next."""
        assert self.end_ns is not None
        candle = self._candle(closed=True)
        self._closed.append(candle)
        self.end_ns += self._interval_ns
        self._open = self._high = self._low = self._close
        self._lots = 0
        self.changed = False
        return candle

    def take_change(self) -> Candle | None:
        """The newest bar as it stands, when it has traded since this was asked last."""
        if not self.changed:
            return None
        self.changed = False
        return self._candle(closed=False)

    def newest(self, limit: int) -> list[Candle]:
        """Oldest first, the last one still open."""
        if self.end_ns is None:
            return []
        candles = [*self._closed, self._candle(closed=False)]
        return candles[-limit:] if limit > 0 else []

    def _candle(self, *, closed: bool) -> Candle:
        assert self.end_ns is not None
        tick_size = self._tick_size
        return Candle(
            symbol=self._symbol,
            interval_s=self._interval_s,
            open_ts_ns=self.end_ns - self._interval_ns,
            open=self._open * tick_size,
            high=self._high * tick_size,
            low=self._low * tick_size,
            close=self._close * tick_size,
            volume=self._lots * self._lot_size,
            closed=closed,
        )
