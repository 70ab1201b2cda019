"""Recorded tables as market feeds: one symbol's trades, or its candles played as trades."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path

from marketmaker.backtest.columns import Clock, Row, Table, read_table
from marketmaker.backtest.recording import Steps, bad_file, bad_row
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side

AGGRESSOR = {
    **dict.fromkeys((True, "true", "True", "TRUE", "1"), Side.SELL),
    **dict.fromkeys((False, "false", "False", "FALSE", "0"), Side.BUY),
}
"""By buyer_is_maker. Parquet's 1 and 0 are equal to True and False."""
PEEKED_BARS = 1_000
LONE_BAR_NS = 60_000_000_000
OTHER_MARKET = r"[a-z0-9]+?(usdt|usdc|fdusd|busd|usd)(_perp)?(?![a-z0-9])"


class TradeTable:
    """A `MarketFeed` of one symbol's recorded trades; venue and local time are the trade's.

    Raises ConfigError when the first row cannot be read; `events` does for every later one.
    """

    def __init__(self, table: Table, symbol: str) -> None:
        self._table = table
        self._symbol = symbol
        self._clock = Clock(table, next(table.rows(1), None))
        self.symbols: tuple[str, ...] = (symbol,)
        self.start_ns = self._clock.first_ns
        self.rows_read = 0

    def describe(self) -> str:
        return f"{self._table.path.name}: trades of {self._symbol}; {self.rows_read} rows"

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        path, symbol, time_ns = self._table.path, self._symbol, self._clock.time_ns
        steps = Steps(instruments[symbol])
        last_ns = self.rows_read = 0
        for row, (time, price, qty, maker) in enumerate(_rows_of(self._table, symbol), 1):
            try:
                ts_ns = time_ns(time)
                trade = Trade(
                    price_ticks=steps.price(price),
                    qty_lots=steps.qty(qty),
                    aggressor=AGGRESSOR[maker],
                    ts_venue_ns=ts_ns,
                    ts_local_ns=ts_ns,
                )
            except KeyError:
                problem = f"buyer_is_maker is {maker!r}, must be true or false"
                raise bad_row(path, row, problem) from None
            except (TypeError, ValueError) as error:
                raise bad_row(path, row, str(error)) from None
            if not trade.qty_lots:
                raise bad_row(path, row, "quantity is 0; remove the row")
            if ts_ns < last_ns:
                raise bad_row(path, row, "time goes back; sort the file by time")
            last_ns = ts_ns
            self.rows_read = row
            yield symbol, trade


class CandleTable:
    """A `MarketFeed` that turns each bar into four trades, along the path that is worse for a long grid.

    A bar that closed at or above its open goes open, low, high, close: it buys on the way down before it sells. One
    that closed below goes open, high, low, close: it sells little and ends with what it bought. The trades stand
    at 0, 1/4, 1/2 and 3/4 of the bar, each with a quarter of its volume, rounded down to the lot, at least one. The
    aggressor is the side the price moves to. A bar whose volume is under one lot had no trade and makes none.

    The bar's length is the smallest step among the first 1,000 bars. Raises ConfigError as `TradeTable` does.
    """

    def __init__(self, table: Table, symbol: str) -> None:
        self._table = table
        self._symbol = symbol
        head = list(islice(table.rows(PEEKED_BARS), PEEKED_BARS))
        self._clock = Clock(table, next(iter(head), None))
        self.symbols: tuple[str, ...] = (symbol,)
        self.rows_read = 0
        self.bar_ns = self._bar_length(head)
        self.start_ns = self._clock.first_ns

    def _bar_length(self, head: Sequence[Row]) -> int:
        try:
            opened = [self._clock.time_ns(bar[0]) for bar in head]
        except ValueError as error:
            raise bad_file(self._table.path, str(error)) from None
        return min((b - a for a, b in pairwise(opened) if b > a), default=LONE_BAR_NS)

    def describe(self) -> str:
        return (
            f"{self._table.path.name}: candles of {self._symbol}, {self.bar_ns // 1_000_000_000} s; "
            f"{self.rows_read} rows"
        )

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        path, symbol = self._table.path, self._symbol
        steps = Steps(instruments[symbol])
        next_open_ns = self.rows_read = 0
        last, aggressor = Ticks(0), Side.BUY
        for row, (time, *prices, volume) in enumerate(_rows_of(self._table, symbol), 1):
            try:
                opened_ns = self._clock.time_ns(time)
                open_, high, low, close = map(steps.price, prices)
                qty = steps.floor_qty(volume)
            except (TypeError, ValueError) as error:
                raise bad_row(path, row, str(error)) from None
            if opened_ns < next_open_ns:
                raise bad_row(
                    path, row, "bar begins before the last one ends; sort the file by time"
                )
            if not low <= min(open_, close) <= max(open_, close) <= high:
                raise bad_row(path, row, "open and close must lie between low and high")
            next_open_ns = opened_ns + self.bar_ns
            self.rows_read = row
            if qty == 0:
                continue
            middle = (low, high) if close >= open_ else (high, low)
            for quarter, price in enumerate((open_, *middle, close)):
                if price != last:
                    aggressor = Side.BUY if price > last else Side.SELL
                last = price
                ts_ns = opened_ns + quarter * self.bar_ns // 4
                yield (
                    symbol,
                    Trade(
                        price_ticks=price,
                        qty_lots=Lots(max(qty // 4, 1)),
                        aggressor=aggressor,
                        ts_venue_ns=ts_ns,
                        ts_local_ns=ts_ns,
                    ),
                )


def open_table(path: Path, parquet: bool, symbols: tuple[str, ...]) -> TradeTable | CandleTable:
    """The feed of the table's one symbol: its `symbol` column's, else by `symbol_by_name`."""
    table = read_table(path, parquet)
    first = next(table.rows(1), None) if table.has_symbol else None
    symbol = symbol_of(path, None if first is None else str(first[-1]), symbols)
    return CandleTable(table, symbol) if table.candles else TradeTable(table, symbol)


def symbol_of(path: Path, written: str | None, symbols: tuple[str, ...]) -> str:
    """Whose data a file holds: `written` in its first row, else told by its name. Raises ConfigError."""
    if written is None:
        return symbol_by_name(path, symbols)
    if written not in symbols:
        raise bad_file(path, f"holds {written}, not {', '.join(symbols)}; configure {written}")
    return written


def symbol_by_name(path: Path, symbols: tuple[str, ...]) -> str:
    """Whose data a file without symbols holds: the one whose name starts the file's name, else the only one there is.

    Raises ConfigError when that leaves it open, or when the file is named after another market (`ethusdt-...`).
    """
    name = path.name.lower()
    starting = [
        symbol
        for symbol in symbols
        if name.startswith(symbol.lower()) and not name[len(symbol) :][:1].isalnum()
    ]
    if starting:
        return max(starting, key=len)
    if other := re.match(OTHER_MARKET, name):
        market = other[0].upper()
        raise bad_file(
            path,
            f"is named after {market}, not {', '.join(symbols)}; configure {market} or rename the file",
        )
    if len(symbols) > 1:
        raise bad_file(
            path, f"whose data is this? Start the file name with one of {', '.join(symbols)}"
        )
    return symbols[0]


def _rows_of(table: Table, symbol: str) -> Iterator[Row]:
    if not table.has_symbol:
        return table.rows()
    return _rows_of_one_symbol(table, symbol)


def _rows_of_one_symbol(table: Table, symbol: str) -> Iterator[Row]:
    for row, (*values, named) in enumerate(table.rows(), 1):
        if named != symbol:
            problem = f"symbol is {named}, was {symbol} before; split the file by symbol"
            raise bad_row(table.path, row, problem)
        yield tuple(values)
