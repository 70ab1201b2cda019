"""What `marketmaker backtest` does: a configuration and recordings in, one result out."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from importlib import import_module
from pathlib import Path

from marketmaker import compiled
from marketmaker.cli.progress import Progress
from marketmaker.cli.table import aligned
from marketmaker.config import Configuration, check_symbol, load_configuration, paper_instruments
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import GridSettings, PaperSettings, Settings, SymbolSettings
from marketmaker.runtime.retry import refusal_of

try:
    from marketmaker.backtest import arrays, cache, html, result
    from marketmaker.backtest.arrays import Gap, MarketData
    from marketmaker.backtest.drive import Bench, Journal, drive
    from marketmaker.backtest.funding import Funding, RecordedFunding, read_funding
    from marketmaker.backtest.index import PriceIndex
    from marketmaker.backtest.skip import skip_ahead
except ModuleNotFoundError as error:
    if error.name != "numpy":
        raise
    raise ConfigError("backtest needs numpy: pip install 'marketmaker[backtest]'") from None

DAY_NS = 86_400 * 1_000_000_000
FEW_TICKS = 10
FEW_BP = 10
FILL_RULES = {
    "cross": "an order fills when a trade or the opposite best goes beyond its price",
    "touch": "an order fills when a trade or the opposite best reaches its price",
    "queue": "an order fills when what stood before it at its price has traded",
}
BAR_RULES = {
    "worst": "the extreme that reaches the exits first, then the other, then the close; windows move at the close",
    "path": "four trades a bar as on the paper exchange; round trips inside a bar count",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything a run needs, read and checked once; a sweep may change `symbol` and keep the rest."""

    settings: Settings
    symbol: SymbolSettings
    instrument: Instrument
    data: MarketData
    index: PriceIndex
    gaps: tuple[Gap, ...]
    funding: RecordedFunding | None = None


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError, one line per problem."""
    configuration = load_configuration(args.config)
    with cache.stored_beside() as store:
        return run_prepared(prepare(configuration, args, store), args)


def run_prepared(prepared: Prepared, args: argparse.Namespace) -> int:
    out = make_directory(args.out)
    remarks = tuple(remarks_on(prepared, args.fill, args.latency))
    notes = (*prepared.data.described, *understood(prepared, args))
    for line in (*notes, *remarks):
        print(f"marketmaker: {line}", file=sys.stderr)
    found = simulate(prepared, args, remarks)
    content = {**result.as_json(found), "compiled": compiled.in_use()}
    if out is not None:
        (out / "summary.json").write_text(result.to_text(content) + "\n", encoding="utf-8")
        (out / "series.json").write_text(json.dumps(result.series_json(found)), encoding="utf-8")
        text = html.page(found, grid=prepared.symbol.grid, notes=notes)
        (out / "report.html").write_text(text, encoding="utf-8")
    print(result.to_text(content) if args.json else "\n".join(aligned(list(result.table(found)))))
    return 0


def make_directory(path: str | None) -> Path | None:
    if path is None:
        return None
    out = Path(path)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--out {path}: {error.strerror}; name a directory that may be written to"
        ) from error
    return out


def prepare(
    configuration: Configuration,
    args: argparse.Namespace,
    store: Callable[..., object] = cache.store,
) -> Prepared:
    """`store`: keeps the converted copy, as `cache.store` does."""
    settings = configuration.settings
    symbols = {symbol.name: symbol for symbol in settings.symbols}
    if args.symbol is not None and args.symbol not in symbols:
        raise ConfigError(
            f"--symbol {args.symbol}: not configured; it is one of {', '.join(symbols)}"
        )
    wanted = tuple(symbols) if args.symbol is None else (args.symbol,)
    looked = [look_at(Path(name), wanted, args) for name in args.data]
    named = list(dict.fromkeys(recording.symbol for recording in looked))
    if len(named) > 1:
        other = next(recording for recording in looked if recording.symbol != named[0])
        raise ConfigError(
            f"{other.path}: holds {other.symbol}, {looked[0].path} holds {named[0]}; test one symbol at a time"
        )
    symbol, instrument = symbols[named[0]], paper_instruments(settings)[named[0]]
    data, index = load_all(looked, instrument, wanted, args, store)
    problems = check_symbol(symbol, instrument, symbol.grid.anchor or first_price(data, instrument))
    if problems:
        raise configuration.explain(problems)
    funding = None if args.funding is None else read_funding(Path(args.funding))
    return Prepared(
        settings=settings,
        symbol=symbol,
        instrument=instrument,
        data=data,
        index=index,
        gaps=tuple(arrays.find_gaps(data)),
        funding=funding,
    )


def look_at(path: Path, wanted: tuple[str, ...], args: argparse.Namespace) -> arrays.Recording:
    """The file itself, unless what a kept copy says of it still holds: its format's reader need not be loaded then."""
    if not args.no_cache:
        symbol = cache.symbol_kept(path, looked_for(wanted, args))
        if symbol is not None:
            return arrays.Recording(path=path, form="kept", symbol=symbol, table=None)
    return arrays.look_at(path, wanted, args.columns)


def looked_for(wanted: tuple[str, ...], args: argparse.Namespace) -> str:
    return f"{' '.join(wanted)} {args.columns}"


def load_all(
    looked: list[arrays.Recording],
    instrument: Instrument,
    wanted: tuple[str, ...],
    args: argparse.Namespace,
    store: Callable[..., object] = cache.store,
) -> tuple[MarketData, PriceIndex]:
    parts = [load_one(recording, instrument, wanted, args, store) for recording in looked]
    whole = arrays.joined([data for data, _ in parts], [str(each.path) for each in looked])
    data = arrays.between(whole, args.begin, args.end)
    if len(parts) == 1 and data is parts[0][0]:
        return parts[0]
    return data, data.index()


def load_one(
    recording: arrays.Recording,
    instrument: Instrument,
    wanted: tuple[str, ...],
    args: argparse.Namespace,
    store: Callable[..., object],
) -> tuple[MarketData, PriceIndex]:
    reading = (
        f"{instrument.name} {instrument.tick_size} {instrument.lot_size} {args.bars} {args.columns}"
    )
    if not args.no_cache and (kept := cache.load_cached(recording.path, reading)) is not None:
        return kept
    if recording.form == "kept":
        recording = arrays.look_at(recording.path, wanted, args.columns)
    data = arrays.load(recording, instrument, args.bars)
    index = data.index()
    if not args.no_cache:
        store(recording.path, reading, data, index, looked_for(wanted, args))
    return data, index


def first_price(data: MarketData, instrument: Instrument) -> Decimal:
    priced = data.price[data.price > 0]
    if not len(priced):
        raise ConfigError("the data holds no price; record trades, or quotes with both sides")
    return instrument.price(priced[0].item())


def simulate(
    prepared: Prepared, args: argparse.Namespace, remarks: tuple[str, ...]
) -> result.Result:
    if not args.journal:
        bench = bench_of(prepared, args)
        play(bench, prepared, args)
    else:
        backtest_journal = import_module("marketmaker.backtest_journal")
        journal = backtest_journal.Journal(args.journal)
        bench = bench_of(prepared, args, journal)
        backtest_journal.begin(journal, bench, prepared.symbol.grid)
        play(bench, prepared, args)
        backtest_journal.finish(journal)
    return result.read_result(
        bench,
        balance=prepared.settings.paper.balance,
        fill_model=args.fill,
        latency_ns=latency_ns(args),
        remarks=remarks,
        gaps=prepared.gaps,
    )


def bench_of(prepared: Prepared, args: argparse.Namespace, journal: Journal | None = None) -> Bench:
    return make_bench(
        prepared.data,
        instrument=prepared.instrument,
        grid=prepared.symbol.grid,
        paper=prepared.settings.paper,
        options=args,
        cleanup_interval_s=prepared.settings.cleanup_interval_s,
        funding=prepared.funding,
        journal=journal,
    )


def play(bench: Bench, prepared: Prepared, args: argparse.Namespace) -> None:
    with rare_collections(), Progress.on(sys.stderr, len(prepared.data), "events") as progress:
        if args.every_event:
            drive(bench, progress=progress)
        else:
            skip_ahead(bench, prepared.index, progress=progress)


def make_bench(
    data: MarketData,
    *,
    instrument: Instrument,
    grid: GridSettings,
    paper: PaperSettings,
    options: argparse.Namespace,
    cleanup_interval_s: float,
    funding: Funding | None,
    journal: Journal | None = None,
) -> Bench:
    """`options`: `fill` and `latency` of the command."""
    return Bench(
        data,
        instrument=instrument,
        grid=grid,
        paper=replace(paper, fill=options.fill),
        refusal_of=refusal_of,
        latency_ns=latency_ns(options),
        cleanup_interval_s=cleanup_interval_s,
        journal=journal,
        funding=funding,
    )


def latency_ns(options: argparse.Namespace) -> int:
    latency_ms: float = options.latency
    return round(latency_ms * 1_000_000)


@contextmanager
def rare_collections() -> Iterator[None]:
    """A run makes millions of small values and no cycles among them: looking for cycles less often saves 7 %. What is
    there already is not looked through at all meanwhile."""
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def understood(prepared: Prepared, args: argparse.Namespace) -> Iterator[str]:
    data = prepared.data
    yield (
        f"{len(data):,} events of {prepared.symbol.name} ({data.kind}), {result.moment(int(data.ts_ns[0]))} to "
        f"{result.moment(int(data.ts_ns[-1]))}"
    )
    yield f"fill {args.fill}: {FILL_RULES[args.fill]}"
    if data.kind == "bars" or data.bar_ns:
        yield f"inside a bar ({args.bars}): {BAR_RULES[args.bars]}"
    yield funding_line(prepared)
    yield from result.gap_lines(prepared.gaps)


def funding_line(prepared: Prepared) -> str:
    paper, found = prepared.settings.paper, prepared.funding
    if found is None:
        hours = f"{paper.funding_interval_s / 3600:g}"
        return f"funding: {paper.funding_rate:f} every {hours} h, from the configuration; --funding FILE takes recorded rates"
    first, last = prepared.data.ts_ns[[0, -1]].tolist()
    inside = sum(first < each <= last for each in found.times_ns)
    line = (
        f"funding: {len(found.rates)} recorded rates, {result.moment(found.times_ns[0])} to "
        f"{result.moment(found.times_ns[-1])}, {inside} of them in the data"
    )
    if found.times_ns[0] > first + DAY_NS or found.times_ns[-1] < last - DAY_NS:
        line += "; none is paid where the file has none"
    return line


def remarks_on(prepared: Prepared, fill: str, latency_ms: float) -> Iterator[str]:
    """What one has to know to read the figures."""
    interval = spacing(prepared)
    price = first_price(prepared.data, prepared.instrument)
    ticks, basis_points = interval / prepared.instrument.tick_size, interval / price * 10_000
    if ticks < FEW_TICKS or basis_points < FEW_BP:
        yield (
            f"levels lie {ticks:.1f} ticks or {basis_points:.1f} bp apart: under {FEW_TICKS} ticks or {FEW_BP} bp the "
            f"answer hangs on the fill rule ({fill}) more than on the strategy; compare --fill cross, touch and queue"
        )
    if latency_ms == 0:
        yield "no latency: orders arrive in the instant they are decided; see what --latency 20 leaves"
    if prepared.settings.risk.enabled:
        yield "not modelled: the risk gate (it needs candles of its monitor_symbols), rate limits, broken streams"


def spacing(prepared: Prepared) -> Decimal:
    """Between two levels at the first price, in quote currency."""
    grid = prepared.symbol.grid
    if grid.price_interval is not None:
        return grid.price_interval
    assert grid.interval_pct is not None
    return grid.interval_pct * first_price(prepared.data, prepared.instrument)
