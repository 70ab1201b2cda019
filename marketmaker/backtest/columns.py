"""Recorded tables as rows of values: csv (plain, gzip, zip) and parquet. One file holds one symbol.

Columns are found by name, whatever their order and case (`TRADE_COLUMNS`, `CANDLE_COLUMNS`); others are ignored.
Binance's csv dumps without a header are known by their number of columns. Times are Unix times, in the unit the
column's name ends with (`_ms`, `_us`, `_ns`, `_s`), else in the one that makes the first of them a date of our time;
or dates: ISO text, or a timestamp column as pandas writes it, UTC where they do not say otherwise.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from marketmaker.backtest.recording import Number, bad_file, bad_row, read_lines

Row = tuple[Any, ...]

DATES = ("date", "datetime")
TRADE_COLUMNS = {
    "ts_ms": (
        "ts_ms",
        "transact_time",
        "time",
        "timestamp",
        "ts_us",
        "ts_ns",
        "trade_time",
        *DATES,
    ),
    "price": ("price",),
    "qty": ("qty", "quantity", "size"),
    "buyer_is_maker": ("buyer_is_maker", "is_buyer_maker"),
}
CANDLE_COLUMNS = {
    "open_time_ms": (
        "open_time_ms",
        "open_time",
        "open_time_us",
        "open_time_ns",
        "ts_ms",
        "time",
        *DATES,
    ),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume",),
}
FUNDING_COLUMNS = {
    "ts_ms": (
        "funding_time",
        "fundingtime",
        "calc_time",
        *CANDLE_COLUMNS["open_time_ms"],
        "timestamp",
    ),
    "rate": ("funding_rate", "fundingrate", "last_funding_rate", "rate", "open"),
}
AGG_TRADES = ("id", "price", "qty", "first_id", "last_id", "time", "is_buyer_maker", "best_match")
KLINES = ("open_time", "open", "high", "low", "close", "volume", "close_time")
HEADERLESS = {7: AGG_TRADES[:7], 8: AGG_TRADES, 12: KLINES}
UNITS_NS = {"_s": 1_000_000_000, "_ms": 1_000_000, "_us": 1_000, "_ns": 1}
BATCH_ROWS = 65_536
OUR_TIME_NS = 10**18
"""2001-09-09, in ns; ten times that is in 2286, so no time fits two units."""
LONGEST_TIME = 20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SYMBOL_COLUMN = "symbol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Which columns of a file to read: names for parquet, places for csv, in the order of `*_COLUMNS`.

    With `has_symbol` each row's symbol comes last.
    """

    path: Path
    parquet: bool
    header: bool
    names: tuple[str, ...]
    places: tuple[int, ...]
    candles: bool
    has_symbol: bool

    def rows(self, batch_rows: int = BATCH_ROWS) -> Iterator[Row]:
        """Values as the file has them: text from csv, numbers from parquet."""
        if self.parquet:
            return _parquet_rows(self.path, self.names, batch_rows)
        return _csv_rows(self.path, self.places, self.header)


def read_table(
    path: Path, parquet: bool, renamed: Mapping[str, str] | None = None, kind: str = ""
) -> Table:
    """Raises ConfigError naming the columns needed and found. `renamed`: our name of a column to the file's.

    `kind`: "funding" for rates, else trades or candles, whichever it is.
    """
    found, header = (_parquet_columns(path), True) if parquet else _csv_columns(path)
    return table_of(path, found, parquet=parquet, header=header, renamed=renamed, kind=kind)


def table_of(
    path: Path,
    found: tuple[str, ...],
    *,
    parquet: bool = False,
    header: bool = True,
    renamed: Mapping[str, str] | None = None,
    kind: str = "",
) -> Table:
    """Which of the columns `found` to read. Raises ConfigError naming the columns needed and found."""
    renamed = renamed or {}
    folded = [name.strip().lower() for name in found]
    candles = {"open", "high", "low", "close"} <= {*folded, *renamed} and not kind
    wanted = FUNDING_COLUMNS if kind else CANDLE_COLUMNS if candles else TRADE_COLUMNS
    if strange := [name for name in renamed if name not in wanted]:
        raise bad_file(path, f"--columns names {strange[0]}; it takes {', '.join(wanted)}")
    chosen = {
        name: next((alias for alias in aliases if alias in folded), "")
        for name, aliases in wanted.items()
    }
    chosen |= {
        name: given.lower() if given.lower() in folded else "" for name, given in renamed.items()
    }
    missing = [name for name, alias in chosen.items() if not alias]
    if missing:
        need = f"{', '.join(TRADE_COLUMNS)} (trades) or {', '.join(CANDLE_COLUMNS)} (candles)"
        if kind:
            need = ", ".join(f"{name} ({' or '.join(FUNDING_COLUMNS[name])})" for name in wanted)
        raise bad_file(
            path,
            f"lacks {', '.join(missing)}: needs columns {need}; found {', '.join(found)}; rename, or in a backtest say "
            f"--columns {missing[0]}=NAME",
        )
    has_symbol = SYMBOL_COLUMN in folded
    aliases = [*chosen.values(), SYMBOL_COLUMN] if has_symbol else list(chosen.values())
    if twice := [alias for alias in aliases if folded.count(alias) > 1]:
        raise bad_file(path, f"has the column {twice[0]} twice; remove one")
    places = tuple(folded.index(alias) for alias in aliases)
    return Table(
        path=path,
        parquet=parquet,
        header=header,
        names=tuple(found[place] for place in places),
        places=places,
        candles=candles,
        has_symbol=has_symbol,
    )


def _csv_columns(path: Path) -> tuple[tuple[str, ...], bool]:
    try:
        first = next(csv.reader(islice(read_lines(path), 1)), [])
    except csv.Error as error:
        raise bad_file(path, f"not csv: {error}; download or record it again") from error
    if first and first[0].strip().isdigit():
        if len(first) not in HEADERLESS:
            raise bad_file(path, f"has no header and {len(first)} columns; add a header line")
        return HEADERLESS[len(first)], False
    return tuple(first), True


def _csv_rows(path: Path, places: tuple[int, ...], header: bool) -> Iterator[Row]:
    reader = csv.reader(read_lines(path))
    pick = itemgetter(*places)
    row = 0
    try:
        if header:
            next(reader, None)
        for fields in reader:
            if not fields:
                continue
            row += 1
            yield pick(fields)
    except IndexError:
        raise bad_row(path, row, "too few columns; the file is cut off or mixed") from None
    except csv.Error as error:
        raise bad_row(path, row + 1, f"not csv: {error}; download or record it again") from error


def _pyarrow(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    """The parquet module and what reading raises. Imported here and only here: it is an extra, and large."""
    try:
        arrow = import_module("pyarrow")
        return import_module("pyarrow.parquet"), (arrow.ArrowException, OSError)
    except ImportError:
        raise bad_file(path, "needs pyarrow: pip install 'marketmaker[parquet]'") from None


def _parquet_columns(path: Path) -> tuple[str, ...]:
    parquet, read_errors = _pyarrow(path)
    try:
        with parquet.ParquetFile(path) as file:
            return tuple(file.schema_arrow.names)
    except read_errors as error:
        raise bad_file(path, f"is not whole parquet ({error}); copy it again") from error


def _parquet_rows(path: Path, names: tuple[str, ...], batch_rows: int) -> Iterator[Row]:
    parquet, read_errors = _pyarrow(path)
    row = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_rows, columns=list(names), use_threads=False):
                yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
                row += batch.num_rows
    except read_errors as error:
        raise bad_row(path, row + 1, f"damaged parquet ({error}); copy it again") from error


class Clock:
    """A table's time column in ns. `first`: its first row; ConfigError when there is none or its time is unusable.
    `unit_ns`: what one of its units is."""

    def __init__(self, table: Table, first: Row | None) -> None:
        if first is None:
            raise bad_file(table.path, "holds no rows; record or download it again")
        self.unit_ns = 1
        try:
            value = self.time_ns(first[0])
            if _date_ns(first[0]) is None:
                self.unit_ns = _unit_ns(table.names[0], value)
        except ValueError as error:
            raise bad_row(table.path, 1, str(error)) from None
        self.first_ns = value * self.unit_ns

    def time_ns(self, value: Number | datetime) -> int:
        """Raises ValueError for anything but a date or a whole number > 0."""
        if (date_ns := _date_ns(value)) is not None:
            return date_ns
        if isinstance(value, int):
            time = value
        elif isinstance(value, str) and value.strip().isdecimal() and len(value) <= LONGEST_TIME:
            time = int(value)
        else:
            raise ValueError(f"time {value!r} is not a whole number; give Unix milliseconds")
        if time <= 0:
            raise ValueError(f"time is {time}, must be after 1970")
        return time * self.unit_ns


def _date_ns(value: object) -> int | None:
    """Unix ns of a date, None for what is none."""
    if isinstance(value, str) and "-" in value[1:]:
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    when = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
    return (when - EPOCH) // timedelta(microseconds=1) * 1_000


def _unit_ns(name: str, first: int) -> int:
    lower = name.strip().lower()
    for ending, unit_ns in UNITS_NS.items():
        if lower.endswith(ending):
            return unit_ns
    for unit_ns in UNITS_NS.values():
        if OUR_TIME_NS <= first * unit_ns < 10 * OUR_TIME_NS:
            return unit_ns
    raise ValueError(
        f"time {first} is no date since 2001 in s, ms, us or ns; give Unix milliseconds"
    )
