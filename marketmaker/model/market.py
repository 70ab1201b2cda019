"""What a market shows: trades, best bid and offer, candles."""

from __future__ import annotations

from dataclasses import dataclass

from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """A public trade. `aggressor` is the taker's side."""

    price_ticks: Ticks
    qty_lots: Lots
    aggressor: Side
    ts_venue_ns: int
    ts_local_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and offer; a side with no orders has quantity 0 and the price last seen there."""

    bid_ticks: Ticks
    bid_lots: Lots
    ask_ticks: Ticks
    ask_lots: Lots
    ts_venue_ns: int
    ts_local_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """`open_ts_ns` is the start of the bar. Prices and volume feed statistics only, hence floats."""

    symbol: str
    interval_s: int
    open_ts_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    closed: bool
