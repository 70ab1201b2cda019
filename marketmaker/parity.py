"""What `marketmaker parity` does: a journal in, a comparison with the backtester out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from marketmaker.cli.replay import erase_progress, make_one, remarks
from marketmaker.core.position_manager import PositionManager
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.runtime.journal import JournaledSymbol, read_journal
from marketmaker.runtime.retry import refusal_of

try:
    from marketmaker.backtest.parity import Comparison, Difference, Made, Parity
except ModuleNotFoundError as error:
    if error.name != "numpy":
        raise
    raise ConfigError("parity needs numpy: pip install 'marketmaker[backtest]'") from None

PROGRESS_EVERY = 20_000
NS_PER_S = 1_000_000_000


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError for a file that cannot be read."""
    header, entries = read_journal(args.journal)
    symbols = header.symbols
    comparisons = [comparison_of(args.journal, symbol) for symbol in symbols]
    on_terminal = sys.stderr.isatty()
    events, first_ns, last_ns = 0, 0, 0
    try:
        for entry in entries:
            comparisons[entry.symbol_index].hear(entry.event, entry.actions, entry.line_number)
            events += 1
            first_ns, last_ns = first_ns or entry.event.ts_ns, entry.event.ts_ns
            if on_terminal and events % PROGRESS_EVERY == 0:
                sys.stderr.write(f"\rplaying: {events:,} events")
                sys.stderr.flush()
    finally:
        erase_progress(sys.stderr, on_terminal)
    found = [comparison.verdict() for comparison in comparisons]
    told = tuple(remarks(entries))
    if args.json:
        content = {
            "journal": args.journal,
            "version": header.version,
            "events": events,
            "seconds": (last_ns - first_ns) / NS_PER_S,
            "identical": all(each.identical for each in found),
            "remarks": list(told),
            "symbols": [
                symbol_json(symbol, parity) for symbol, parity in zip(symbols, found, strict=True)
            ],
        }
        print(json.dumps(content, indent=2))
    else:
        minutes = (last_ns - first_ns) / NS_PER_S / 60
        print(
            f"{args.journal}: {minutes:.1f} min, {events:,} events, written by version {header.version}"
        )
        for line in told:
            print(line)
        for symbol, parity in zip(symbols, found, strict=True):
            print("\n".join(lines(args.journal, symbol, parity)))
    return 0 if all(each.identical for each in found) else 1


def comparison_of(path: str, symbol: JournaledSymbol) -> Comparison:
    def make_manager() -> PositionManager:
        manager = make_one(path, symbol, PositionManager)
        assert isinstance(manager, PositionManager)
        return manager

    return Comparison(
        instrument=symbol.core.instrument,
        settings=symbol.core.settings,
        make_manager=make_manager,
        refusal_of=refusal_of,
    )


def lines(path: str, symbol: JournaledSymbol, found: Parity) -> Iterator[str]:
    quote = symbol.core.instrument.quote
    yield (
        f"{symbol.name}: decided again, {found.same_again:,} of {found.decided:,} order decisions identical "
        f"({percent(found.same_again, found.decided)})"
    )
    if found.broken:
        yield f"  today's core failed: {found.broken}"
    if found.first_again is not None:
        made = found.first_again
        yield f"  first difference at {path}:{made.line}: {sentence(made, symbol.core.instrument)}"
    yield (
        f"{symbol.name}: backtest of the same market, {found.same:,} of {found.decided:,} order decisions identical "
        f"({percent(found.same, found.decided)}), {found.backtested:,} made"
    )
    gap = "no turnover" if found.gap_bp is None else f"gap {found.gap_bp:+.4f} bp of turnover"
    yield (
        f"  PnL recorded {found.recorded_pnl:+,.4f}, backtest {found.backtest_pnl:+,.4f} {quote}: {gap} "
        f"({found.turnover:,.2f} {quote}); fills {found.recorded_fills:,} and {found.backtest_fills:,}"
    )
    if found.first is not None:
        yield from difference_lines(path, symbol.core.instrument, found.first)


def percent(part: int, whole: int) -> str:
    """Never 100 % when one is missing."""
    if not whole:
        return "none made"
    shown = part * 10_000 // whole / 100
    return f"{shown:g} %"


def difference_lines(path: str, instrument: Instrument, first: Difference) -> Iterator[str]:
    def told(made: Made | None) -> str:
        return "nothing more in this slot" if made is None else sentence(made, instrument)

    where = f" at {path}:{first.recorded.line}" if first.recorded is not None else ""
    yield f"  first difference{where}, slot {first.slot}"
    yield f"    recorded  {told(first.recorded)}"
    yield f"    backtest  {told(first.backtest)}"
    recorded, backtest = (instrument.base_qty(Lots(lots)) for lots in first.filled)
    if recorded != backtest:
        yield (
            f"    because until then the slot had filled {recorded:f} {instrument.base} in the journal and {backtest:f} in "
            "the backtest: the fill rule saw another fill"
        )


def sentence(made: Made, instrument: Instrument) -> str:
    verb, side, price_ticks, qty_lots = made.decision
    what = f"{verb} {side.name.lower()}"
    if verb == "place":
        qty = instrument.base_qty(Lots(qty_lots))
        what += f" {qty:f} at {instrument.price(Ticks(price_ticks)):f}"
    return f"{clock(made.ts_ns)} {what} ({made.reason})"


def clock(ts_ns: int) -> str:
    seconds, ns = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000:03d}Z"


def symbol_json(symbol: JournaledSymbol, found: Parity) -> dict[str, Any]:
    instrument = symbol.core.instrument
    return {
        "symbol": symbol.name,
        "decided": found.decided,
        "identical_again": found.same_again,
        "failed": found.broken,
        "backtested": found.backtested,
        "identical_in_backtest": found.same,
        "fills_recorded": found.recorded_fills,
        "fills_backtest": found.backtest_fills,
        "pnl_recorded": f"{found.recorded_pnl:f}",
        "pnl_backtest": f"{found.backtest_pnl:f}",
        "turnover": f"{found.turnover:f}",
        "gap_bp": found.gap_bp,
        "first_difference_again": made_json(found.first_again, instrument),
        "first_difference": None
        if found.first is None
        else {
            "slot": found.first.slot,
            "recorded": made_json(found.first.recorded, instrument),
            "backtest": made_json(found.first.backtest, instrument),
            "filled_lots": list(found.first.filled),
        },
    }


def made_json(made: Made | None, instrument: Instrument) -> dict[str, Any] | None:
    if made is None:
        return None
    return {"line": made.line, "slot": made.slot, "decision": sentence(made, instrument)}
