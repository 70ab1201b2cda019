"""Recordings as arrays: one row per market event, prices in ticks, quantities in lots, times in ns.

What a row is:

    trades   a trade: `low`, `high` and `price` are the same array
    bars     a whole bar at its end, along the path that is worst for a grid: first the extreme that reaches its exits
             (the high; for a short grid the low), then the other one, then the close. Orders fill at their own prices.
             The core hears of fills at once but hears no price before the close: windows move once a bar. An entry that
             the low fills has its exit filled by the same bar only where the close lies beyond that exit. With `bars="path"` a bar is four trades instead, as on the paper
             exchange (`tables.CandleTable`), and round trips inside a bar count.
    frames   a trade or a best bid and offer, in the order they were received

`price` is what the core would hear: the last trade's, before the first trade the middle of the quote, 0 while there is
neither. `low` and `high` bound what the row can reach: nothing rests there, nothing happens.

Parquet, feather, npz and, where pyarrow is installed, csv are read column by column; everything else, and every file in
which something is wrong, row by row through the feeds, whose messages name the row.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketmaker.backtest.ahead import Ahead
from marketmaker.backtest.columns import UNITS_NS, Clock, Table, read_table, table_of
from marketmaker.backtest.data import open_feed
from marketmaker.backtest.frames import FrameFeed
from marketmaker.backtest.index import PriceIndex, Prices
from marketmaker.backtest.recording import (
    FLOAT_TOLERANCE,
    MOST_STEPS,
    READ_ERRORS,
    Steps,
    bad_file,
    bad_row,
    open_bytes,
    read_head,
)
from marketmaker.backtest.tables import CandleTable, TradeTable, symbol_of
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade

Whole = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]
Values = list[NDArray[Any]]
"""One array a column, in the order of the table's names."""

MINUTE_NS = 60_000_000_000
ALWAYS = -(1 << 31)
"""A `low` that no bound lies below: such a row is always played."""
INT32_MAX = (1 << 31) - 1
NPZ_MAGIC = b"PK\x03\x04"
FEATHER_MAGIC = (b"ARROW1", b"FEA1")
BARS = ("worst", "path")
PIECE_ROWS = 1 << 16
PIECES_AHEAD = 16
"""Read and waiting to be looked at, at most: 25 MB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quotes:
    """For rows that may be quotes. `before`: the last row of the other kind before each, -1 if none."""

    is_quote: NDArray[np.bool_]
    bid: Whole
    bid_lots: Whole
    ask: Whole
    ask_lots: Whole
    before: Whole


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarketData:
    """`kind`: trades, bars or frames. `bar_ns` 0 unless bars. `described`: a line for each file that was read."""

    symbol: str
    kind: str
    ts_ns: Whole
    price: Prices
    low: Prices
    high: Prices
    qty: Whole
    quotes: Quotes | None = None
    bar_ns: int = 0
    described: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ts_ns)

    def index(self) -> PriceIndex:
        return PriceIndex(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """No event for `length_ns` after `start_ns`."""

    start_ns: int
    length_ns: int


def find_gaps(data: MarketData) -> list[Gap]:
    """Longest first: more than a minute between trades or quotes, more than a bar between bars."""
    longest_ns = data.bar_ns if data.kind == "bars" else MINUTE_NS
    gaps = []
    for start in range(0, len(data), PIECE_ROWS):
        times = data.ts_ns[start : start + PIECE_ROWS + 1]
        steps = np.diff(times)
        gaps += [
            Gap(start_ns=int(times[place]), length_ns=int(steps[place]))
            for place in np.flatnonzero(steps > longest_ns)
        ]
    return sorted(gaps, key=lambda gap: (-gap.length_ns, gap.start_ns))


def from_trades(
    symbol: str, ts_ns: Any, price: Any, qty: Any, described: Sequence[str] = ()
) -> MarketData:
    ticks = narrow(np.asarray(price))
    return MarketData(
        symbol=symbol,
        kind="trades",
        ts_ns=np.ascontiguousarray(ts_ns, np.int64),
        price=ticks,
        low=ticks,
        high=ticks,
        qty=np.ascontiguousarray(qty, np.int64),
        described=tuple(described),
    )


def from_bars(
    symbol: str,
    *,
    close_ns: Any,
    low: Any,
    high: Any,
    close: Any,
    qty: Any,
    bar_ns: int,
    described: Sequence[str] = (),
) -> MarketData:
    """`close_ns`: the end of each bar."""
    return MarketData(
        symbol=symbol,
        kind="bars",
        ts_ns=np.ascontiguousarray(close_ns, np.int64),
        price=narrow(np.asarray(close)),
        low=narrow(np.asarray(low)),
        high=narrow(np.asarray(high)),
        qty=np.ascontiguousarray(qty, np.int64),
        bar_ns=bar_ns,
        described=tuple(described),
    )


def from_events(
    symbol: str, events: Iterator[Trade | Quote] | Sequence[Trade | Quote], described: str = ""
) -> MarketData:
    """Any mixture of trades and quotes, in time order."""
    rows = [
        (e.ts_local_ns, 0, e.price_ticks, e.qty_lots, 0, 0, 0, 0)
        if isinstance(e, Trade)
        else (e.ts_local_ns, 1, 0, 0, e.bid_ticks, e.bid_lots, e.ask_ticks, e.ask_lots)
        for e in events
    ]
    table = np.array(rows, np.int64).reshape(-1, 8)
    ts_ns, quoted, price, qty = table.T[:4]
    lines = (described,) if described else ()
    if not quoted.any():
        return from_trades(symbol, ts_ns, price, qty, lines)
    return _from_frames(symbol, table, lines)


def _from_frames(symbol: str, table: Whole, described: tuple[str, ...]) -> MarketData:
    """`table`: time, whether a quote, price, quantity, bid, its lots, ask, its lots."""
    ts_ns, quoted, price, qty, bid, bid_lots, ask, ask_lots = table.T
    is_quote = quoted > 0
    places = np.arange(len(ts_ns))
    last_trade = np.maximum.accumulate(np.where(is_quote, -1, places))
    last_quote = np.maximum.accumulate(np.where(is_quote, places, -1))
    whole = (bid_lots > 0) & (ask_lots > 0)
    middle = np.maximum.accumulate(np.where(is_quote & whole, places, -1))
    heard = np.where(last_trade >= 0, price[last_trade], (bid[middle] + ask[middle]) // 2)
    heard[(last_trade < 0) & (middle < 0)] = 0
    low = np.where(is_quote, np.minimum(bid, ask), price)
    high = np.where(is_quote, np.maximum(bid, ask), price)
    low[(last_quote >= 0) & ~whole[last_quote]] = ALWAYS
    return MarketData(
        symbol=symbol,
        kind="frames",
        ts_ns=np.ascontiguousarray(ts_ns),
        price=narrow(heard),
        low=narrow(low),
        high=narrow(high),
        qty=np.ascontiguousarray(qty),
        quotes=Quotes(
            is_quote=is_quote,
            bid=np.ascontiguousarray(bid),
            bid_lots=np.ascontiguousarray(bid_lots),
            ask=np.ascontiguousarray(ask),
            ask_lots=np.ascontiguousarray(ask_lots),
            before=np.where(is_quote, last_trade, last_quote),
        ),
        described=described,
    )


def narrow(values: NDArray[Any]) -> Prices:
    """As 32-bit numbers where they fit: half the memory to walk through."""
    small = not len(values) or (int(values.max()) <= INT32_MAX and int(values.min()) >= ALWAYS)
    return np.ascontiguousarray(values, np.int32 if small else np.int64)


def between(data: MarketData, from_ns: int | None, to_ns: int | None) -> MarketData:
    """The rows at or after `from_ns` and before `to_ns`. Raises ConfigError when none are left."""
    start = 0 if from_ns is None else int(data.ts_ns.searchsorted(from_ns))
    stop = len(data) if to_ns is None else int(data.ts_ns.searchsorted(to_ns))
    if start == 0 and stop == len(data):
        return data
    if start >= stop:
        raise ConfigError("--from and --to leave no data; choose a stretch that the files hold")
    return part_of(data, start, stop)


def part_of(data: MarketData, start: int, stop: int) -> MarketData:
    """Rows [start, stop), at least one. Of frames, what was quoted or traded before them is not known any more."""
    part = slice(start, stop)
    price = data.price[part]
    same = data.low is data.high
    quotes = data.quotes
    if quotes is not None:
        before = quotes.before[part]
        quotes = Quotes(
            is_quote=quotes.is_quote[part],
            bid=quotes.bid[part],
            bid_lots=quotes.bid_lots[part],
            ask=quotes.ask[part],
            ask_lots=quotes.ask_lots[part],
            before=np.where(before < start, -1, before - start),
        )
    return replace(
        data,
        ts_ns=data.ts_ns[part],
        price=price,
        low=price if same else data.low[part],
        high=price if same else data.high[part],
        qty=data.qty[part],
        quotes=quotes,
    )


def joined(parts: Sequence[MarketData], names: Sequence[str]) -> MarketData:
    """Several recordings one after the other. Raises ConfigError when they overlap or do not go together."""
    order = sorted(range(len(parts)), key=lambda place: int(parts[place].ts_ns[0]))
    parts, names = [parts[place] for place in order], [names[place] for place in order]
    first = parts[0]
    if len(parts) == 1:
        return first
    for earlier, later, name, next_name in zip(parts, parts[1:], names, names[1:], strict=False):
        if later.kind != first.kind or later.quotes is not None or later.bar_ns != first.bar_ns:
            raise ConfigError(
                f"{next_name}: cannot be joined to {names[0]}; give files of one kind, trades or"
                " candles of one length"
            )
        if later.ts_ns[0] < earlier.ts_ns[-1]:
            raise ConfigError(
                f"{next_name}: begins before {name} ends; give each stretch of time once"
            )
    price = np.concatenate([part.price for part in parts])
    same = first.low is first.high
    return replace(
        first,
        ts_ns=np.concatenate([part.ts_ns for part in parts]),
        price=price,
        low=price if same else np.concatenate([part.low for part in parts]),
        high=price if same else np.concatenate([part.high for part in parts]),
        qty=np.concatenate([part.qty for part in parts]),
        described=tuple(line for part in parts for line in part.described),
    )


# --- files ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A file that was looked at: whose data it holds and how to read the rest. `form`: parquet, feather, npz, csv
    or frames."""

    path: Path
    form: str
    symbol: str
    table: Table | None


def look_at(
    path: Path, symbols: tuple[str, ...], renamed: dict[str, str] | None = None
) -> Recording:
    """Raises ConfigError for a file that is none of ours, or holds none of `symbols`.

    `renamed`: our name of a column to the file's.
    """
    head = read_head(path, 6)
    table: Table | None = None
    if head.startswith(b"PAR1"):
        form, table = "parquet", read_table(path, True, renamed)
    elif head.startswith(FEATHER_MAGIC):
        names = tuple(
            _arrow(path, "feather", lambda feather: feather.read_table(path).schema.names)
        )
        form, table = "feather", table_of(path, names, renamed=renamed)
    elif head.startswith(NPZ_MAGIC) and _is_npz(path):
        form, table = "npz", table_of(path, tuple(_npz(path)), renamed=renamed)
    else:
        feed = open_feed(str(path), symbols, 0) if not renamed else None
        if isinstance(feed, FrameFeed):
            if len(feed.symbols) > 1:
                raise bad_file(path, f"holds {' and '.join(feed.symbols)}; name one with --symbol")
            return Recording(path=path, form="frames", symbol=feed.symbols[0], table=None)
        form, table = "csv", read_table(path, False, renamed)
    return Recording(path=path, form=form, symbol=_symbol(path, form, table, symbols), table=table)


def _symbol(path: Path, form: str, table: Table, symbols: tuple[str, ...]) -> str:
    if form in {"feather", "npz"}:
        return symbol_of(path, None, symbols)
    first = next(table.rows(1), None) if table.has_symbol else None
    return symbol_of(path, None if first is None else str(first[-1]), symbols)


def load(recording: Recording, instrument: Instrument, bars: str = "worst") -> MarketData:
    """Raises ConfigError naming file and row for the first value that cannot be."""
    table = recording.table
    if table is None:
        return _from_feed(FrameFeed(recording.path, (recording.symbol,)), instrument)
    found = _read_columns(recording, table, instrument, bars)
    if found is not None:
        return found
    if recording.form in {"feather", "npz"}:
        raise bad_file(recording.path, "holds columns that are not plain numbers; save as parquet")
    if table.candles and bars == "worst":
        return _bars_by_row(recording, table, instrument)
    kind = CandleTable if table.candles else TradeTable
    return _from_feed(kind(table, recording.symbol), instrument)


def _read_columns(
    recording: Recording, table: Table, instrument: Instrument, bars: str
) -> MarketData | None:
    """None when the rows have to be looked at one by one."""
    if recording.form == "parquet" and not table.candles:

        def read(parquet: Any) -> MarketData | None:
            with parquet.ParquetFile(table.path) as file:
                pieces = Ahead(_batches(file, table), PIECES_AHEAD)
                with closing(pieces):
                    return _trades(recording, table, pieces, file.metadata.num_rows, instrument)

        found: MarketData | None = _arrow(recording.path, "parquet", read)
        return found
    columns = _columns(recording, table)
    if columns is None:
        return None
    return _from_columns(recording, table, columns, instrument, bars)


def _from_feed(feed: FrameFeed | TradeTable | CandleTable, instrument: Instrument) -> MarketData:
    symbol = instrument.name
    events = [event for name, event in feed.events({symbol: instrument}) if name == symbol]
    return from_events(symbol, events, feed.describe())


def _bars_by_row(recording: Recording, table: Table, instrument: Instrument) -> MarketData:
    feed = CandleTable(table, recording.symbol)
    events = [event for _, event in feed.events({instrument.name: instrument})]
    quarters = from_events(instrument.name, events)
    prices = np.asarray(quarters.price).reshape(-1, 4)
    opened_ns = quarters.ts_ns[::4]
    return from_bars(
        instrument.name,
        close_ns=opened_ns + feed.bar_ns,
        low=prices.min(axis=1),
        high=prices.max(axis=1),
        close=prices[:, 3],
        qty=quarters.qty.reshape(-1, 4).sum(axis=1),
        bar_ns=feed.bar_ns,
        described=(feed.describe(),),
    )


def _columns(recording: Recording, table: Table) -> Columns | None:
    """The chosen columns as numbers, in the table's order; None when they have to be read row by row."""
    path, names = recording.path, list(table.names)
    if recording.form == "npz":
        stored = _npz(path)
        found = {name: stored[name] for name in names}
    elif recording.form == "feather":
        arrow = _arrow(path, "feather", lambda feather: feather.read_table(path, columns=names))
        found = {name: arrow[name].to_numpy() for name in names}
    elif recording.form == "parquet":
        found = _arrow(path, "parquet", lambda parquet: _parquet_columns(parquet, path, names))
    else:
        found = _csv_columns(path, table) or {}
    if not found or any(column.ndim != 1 for column in found.values()):
        return None
    if found[names[0]].dtype.kind == "M":
        found[names[0]] = _whole_times(names[0], found[names[0]])
    return found if _are_numbers(table, list(found.values())) else None


def _are_numbers(table: Table, values: Values) -> bool:
    wanted = values[: 6 if table.candles else 4]
    return all(column.dtype.kind in "iufb" for column in wanted)


def _batches(file: Any, table: Table) -> Iterator[Values]:
    """Piece by piece, so that no column is ever held whole as the file has it."""
    names = list(dict.fromkeys(table.names))
    for batch in file.iter_batches(PIECE_ROWS, columns=names, use_threads=False):
        yield [batch.column(name).to_numpy(zero_copy_only=False) for name in table.names]


def _parquet_columns(parquet: Any, path: Path, names: list[str]) -> Columns:
    """One column after the other, so that no more than one of them is held twice; and without what pyarrow loads to
    read a whole directory of files as one table."""
    with parquet.ParquetFile(path) as file:
        return {
            name: file.read([name], use_threads=False).column(name).to_numpy() for name in names
        }


def _whole_times(name: str, dates: NDArray[Any]) -> Whole:
    """A timestamp column in the unit its name says, else in ns. A missing one becomes 0, which is refused by its row."""
    units = (unit for ending, unit in UNITS_NS.items() if name.strip().lower().endswith(ending))
    whole = dates.astype("datetime64[ns]").astype(np.int64)
    return np.asarray(np.where(np.isnat(dates), 0, whole // next(units, 1)))


def _arrow(path: Path, module: str, read: Callable[[Any], Any]) -> Any:
    try:
        arrow = import_module("pyarrow")
        reader = import_module(f"pyarrow.{module}")
    except ImportError:
        raise bad_file(path, "needs pyarrow: pip install 'marketmaker[backtest]'") from None
    try:
        return read(reader)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise bad_file(path, f"is not whole {module} ({error}); copy it again") from error


def _csv_columns(path: Path, table: Table) -> Columns | None:
    """None when pyarrow is not there or finds anything odd: the reader of rows says what."""
    try:
        arrow = import_module("pyarrow")
        reader = import_module("pyarrow.csv")
    except ImportError:
        return None
    try:
        with ExitStack() as stack:
            content = arrow.BufferReader(open_bytes(path, stack).read())
            options = reader.ReadOptions(
                autogenerate_column_names=True, skip_rows=int(table.header), use_threads=False
            )
            found = reader.read_csv(content, read_options=options)
            return {
                name: found[f"f{place}"].to_numpy()
                for name, place in zip(table.names, table.places, strict=True)
            }
    except (arrow.ArrowException, KeyError, *READ_ERRORS):
        return None


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except READ_ERRORS:
        return False


def _npz(path: Path) -> Columns:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, *READ_ERRORS) as error:
        raise bad_file(path, f"is not a whole npz file ({error}); save it again") from error


def _from_columns(
    recording: Recording, table: Table, columns: Columns, instrument: Instrument, bars: str
) -> MarketData | None:
    """None when anything is not as it should be and the rows have to be looked at one by one."""
    path = recording.path
    values = [columns[name] for name in table.names]
    if not table.candles:
        rows = len(values[0])
        pieces = (
            [column[at : at + PIECE_ROWS] for column in values] for at in range(0, rows, PIECE_ROWS)
        )
        return _trades(recording, table, pieces, rows, instrument)
    if not len(values[0]):
        raise bad_file(path, "holds no rows; record or download it again")
    _one_symbol(recording, table, values)
    when = _times(path, values[0])
    ts_ns = when * _unit_ns(table, when)
    steps = Steps(instrument)
    open_, high, low, close = (
        _whole(path, column, instrument.tick_size, steps.price, least=1) for column in values[1:5]
    )
    lots = _floor_lots(path, values[5], instrument.lot_size, steps)
    stretch = np.diff(ts_ns[:1_000])
    bar_ns = int(stretch[stretch > 0].min()) if (stretch > 0).any() else MINUTE_NS
    _refuse(
        path,
        np.diff(ts_ns, prepend=ts_ns[0] - bar_ns) < bar_ns,
        "bar begins before the last one ends; sort the file by time",
    )
    inside = (low <= np.minimum(open_, close)) & (np.maximum(open_, close) <= high)
    _refuse(path, ~inside, "open and close must lie between low and high")
    line = (
        f"{path.name}: candles of {instrument.name}, {bar_ns // 1_000_000_000} s; {len(ts_ns)} rows"
    )
    traded = lots > 0
    if not traded.any():
        raise bad_file(path, "no bar has any volume; download it again")
    if bars == "path":
        bars_of = (ts_ns[traded], open_[traded], high[traded], low[traded], close[traded])
        return _as_path(instrument.name, bars_of, lots[traded], bar_ns, line)
    return from_bars(
        instrument.name,
        close_ns=ts_ns[traded] + bar_ns,
        low=low[traded],
        high=high[traded],
        close=close[traded],
        qty=lots[traded],
        bar_ns=bar_ns,
        described=(line,),
    )


def _trades(
    recording: Recording,
    table: Table,
    pieces: Iterator[Values],
    rows: int,
    instrument: Instrument,
) -> MarketData | None:
    """None as `_from_columns`. A piece stays in the processor's cache from the file's numbers to ours. `rows`: of all
    pieces together."""
    path, steps = recording.path, Steps(instrument)
    times, lots = np.empty(rows, np.int64), np.empty(rows, np.int64)
    prices: list[Prices] = []
    row = unit_ns = last_ns = 0
    for values in pieces:
        if values[0].dtype.kind == "M":
            values[0] = _whole_times(table.names[0], values[0])
        if not _are_numbers(table, values):
            return None
        _one_symbol(recording, table, values, row)
        when = _times(path, values[0], row)
        unit_ns = unit_ns or _unit_ns(table, when)
        stop = row + len(when)
        ts_ns = np.multiply(when, unit_ns, out=times[row:stop])
        price = _whole(path, values[1], instrument.tick_size, steps.price, least=1, before=row)
        qty = _whole(path, values[2], instrument.lot_size, steps.qty, least=0, before=row)
        _refuse(path, qty == 0, "quantity is 0; remove the row", row)
        _refuse_unless_flags(path, values[3], row)
        if ts_ns[0] < last_ns or (ts_ns[1:] < ts_ns[:-1]).any():
            back = np.diff(ts_ns, prepend=last_ns) < 0
            _refuse(path, back, "time goes back; sort the file by time", row)
        prices.append(narrow(price))
        lots[row:stop] = qty
        row, last_ns = stop, int(ts_ns[-1])
    if not prices:
        raise bad_file(path, "holds no rows; record or download it again")
    line = f"{path.name}: trades of {instrument.name}; {row} rows"
    return from_trades(instrument.name, times, np.concatenate(prices), lots, (line,))


def _one_symbol(recording: Recording, table: Table, values: Values, before: int = 0) -> None:
    if not table.has_symbol:
        return
    other = np.flatnonzero(values[-1] != recording.symbol)
    if len(other):
        named = values[-1][other[0]]
        problem = f"symbol is {named}, was {recording.symbol} before; split the file by symbol"
        raise bad_row(recording.path, before + int(other[0]) + 1, problem)


def _as_path(
    symbol: str, bars: tuple[Whole, ...], lots: Whole, bar_ns: int, line: str
) -> MarketData:
    """Four trades a bar, as `tables.CandleTable` makes them. `bars`: when it opened, open, high, low, close."""
    opened_ns, open_, high, low, close = bars
    rising = close >= open_
    path = np.stack(
        [open_, np.where(rising, low, high), np.where(rising, high, low), close], axis=1
    )
    times = opened_ns[:, None] + np.arange(4) * bar_ns // 4
    return from_trades(
        symbol, times.ravel(), path.ravel(), np.repeat(np.maximum(lots // 4, 1), 4), (line,)
    )


def _times(path: Path, values: NDArray[Any], before: int = 0) -> Whole:
    """In the file's own unit."""
    if values.dtype.kind == "f":
        broken = values != np.floor(values)
        _refuse(path, broken, "time is not a whole number; give milliseconds", before)
    _refuse(path, values <= 0, "time must be after 1970", before)
    return values.astype(np.int64, copy=False)


def _unit_ns(table: Table, times: Whole) -> int:
    return Clock(table, (int(times[0]),)).unit_ns


def _whole(
    path: Path,
    values: NDArray[Any],
    step: Decimal,
    exact: Callable[[Any], int],
    *,
    least: int,
    before: int = 0,
) -> Whole:
    """Values as whole steps. What does not look like one is asked of `exact`, which says what is wrong with it.
    `before`: rows of the file before these."""
    result = np.empty(len(values), np.int64)
    for start in range(0, len(values), PIECE_ROWS):
        piece = slice(start, start + PIECE_ROWS)
        with np.errstate(invalid="ignore"):
            steps = values[piece] / float(step)
            whole = np.rint(steps)
            off = np.abs(np.subtract(steps, whole, out=steps), out=steps)
            if off.max() < FLOAT_TOLERANCE and whole.min() >= least and whole.max() < MOST_STEPS:
                result[piece] = whole
                continue
            good = (off < FLOAT_TOLERANCE) & (whole >= least) & (whole < MOST_STEPS)
            result[piece] = np.where(good, whole, 0)
        for place in (np.flatnonzero(~good) + start).tolist():
            try:
                result[place] = exact(values[place].item())
            except (TypeError, ValueError) as error:
                raise bad_row(path, before + place + 1, str(error)) from None
    return result


def _floor_lots(path: Path, values: NDArray[Any], step: Decimal, steps: Steps) -> Whole:
    with np.errstate(invalid="ignore"):
        lots = np.floor(values / float(step) + FLOAT_TOLERANCE)
        good = (lots >= 0) & (lots < MOST_STEPS)
    for place in np.flatnonzero(~good).tolist():
        try:
            steps.floor_qty(values[place].item())
        except (TypeError, ValueError) as error:
            raise bad_row(path, place + 1, str(error)) from None
    return np.where(good, lots, 0).astype(np.int64)


def _refuse_unless_flags(path: Path, values: NDArray[Any], before: int) -> None:
    if values.dtype.kind != "b":
        problem = "buyer_is_maker must be true or false"
        _refuse(path, (values != 0) & (values != 1), problem, before)


def _refuse(path: Path, wrong: NDArray[np.bool_], problem: str, before: int = 0) -> None:
    if wrong.any():
        raise bad_row(path, before + int(wrong.argmax()) + 1, problem)
