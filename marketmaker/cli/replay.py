"""`marketmaker replay JOURNAL`: decides every event of a journal again and compares with what was decided then."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from marketmaker.errors import ConfigError, MarketMakerError
from marketmaker.model.action import Action
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import GridSettings
from marketmaker.model.status import GridMemory
from marketmaker.runtime.journal import JournaledSymbol, JournalEntries, read_journal
from marketmaker.runtime.wire_format import to_json, to_text

PROGRESS_EVERY = 20_000
EXAMPLE = "example: marketmaker replay /var/lib/marketmaker/journal.jsonl.gz"


class Manager(Protocol):
    def decide(self, event: Event) -> list[Action]: ...


class MakeManager(Protocol):
    """The constructor of the core's position manager."""

    def __call__(
        self,
        *,
        instrument: Instrument,
        settings: GridSettings,
        sequences: int,
        max_slot: int,
        first_sequence: int,
        request_lifetime_s: float,
        order_lifetime_s: float | None,
        memory: GridMemory | None,
    ) -> Manager: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`error` is what the core raised instead of deciding, "" when it decided."""

    line_number: int
    symbol: str
    event: Event
    expected: list[Action]
    actual: list[Action]
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """`remarks`: what the journal itself lacks, in words; they are no differences."""

    version: str
    symbols: tuple[str, ...]
    events: int
    actions: int
    differences: int
    first: Difference | None
    remarks: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Decide every event of a journal again with the present code and compare with the recorded\n"
        "actions. Exit code 0: no difference, 1: at least one, 2: the file cannot be read."
    )
    parser.epilog = EXAMPLE
    parser.add_argument("journal", metavar="JOURNAL", help="a file written by `run`, plain or .gz")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run_replay(
    path: str, *, make_manager: MakeManager, as_json: bool, out: TextIO, err: TextIO
) -> int:
    """The command: prints to `out`, errors and progress to `err`; returns the exit code."""
    on_terminal = err.isatty()

    def progress(events: int) -> None:
        if on_terminal:
            err.write(f"\rreplaying: {events:,} events")
            err.flush()

    try:
        result = replay(path, make_manager=make_manager, progress=progress)
    except ConfigError as error:
        erase_progress(err, on_terminal)
        print(error, file=err)
        return 2
    erase_progress(err, on_terminal)
    text = json.dumps(result_json(result), indent=2) if as_json else describe(path, result)
    print(text, file=out)
    return 1 if result.differences else 0


def erase_progress(err: TextIO, on_terminal: bool) -> None:
    if on_terminal:
        err.write("\r\x1b[K")


def replay(
    path: str, *, make_manager: MakeManager, progress: Callable[[int], None]
) -> ReplayResult:
    """Raises ConfigError for a file that cannot be read. `progress` is told the number of events so far."""
    header, entries = read_journal(path)
    managers = [make_one(path, symbol, make_manager) for symbol in header.symbols]
    broken: set[int] = set()
    events = actions = differences = 0
    first: Difference | None = None
    for entry in entries:
        events += 1
        actions += len(entry.actions)
        if events % PROGRESS_EVERY == 0:
            progress(events)
        if entry.symbol_index in broken:
            continue
        actual, error = decide_again(managers[entry.symbol_index], entry.event)
        if error:
            broken.add(entry.symbol_index)
        if error or actual != entry.actions:
            differences += 1
            first = first or Difference(
                line_number=entry.line_number,
                symbol=header.symbols[entry.symbol_index].name,
                event=entry.event,
                expected=entry.actions,
                actual=actual,
                error=error,
            )
    return ReplayResult(
        version=header.version,
        symbols=tuple(symbol.name for symbol in header.symbols),
        events=events,
        actions=actions,
        differences=differences,
        first=first,
        remarks=(
            *remarks(entries),
            *(
                f"{header.symbols[index].name}: not decided again after the core failed"
                for index in sorted(broken)
            ),
        ),
    )


def make_one(path: str, symbol: JournaledSymbol, make_manager: MakeManager) -> Manager:
    core = symbol.core
    try:
        return make_manager(
            instrument=core.instrument,
            settings=core.settings,
            sequences=core.sequences,
            max_slot=core.max_slot,
            first_sequence=core.first_sequence,
            request_lifetime_s=core.request_lifetime_s,
            order_lifetime_s=core.order_lifetime_s,
            memory=core.memory,
        )
    except MarketMakerError as error:
        raise ConfigError(f"{path}:1: {symbol.name}: {error}") from error


def decide_again(manager: Manager, event: Event) -> tuple[list[Action], str]:
    """The actions, or what the core raised: a journal that ends in a bug is replayed to see just that."""
    try:
        return manager.decide(event), ""
    except Exception as error:
        return [], f"{type(error).__name__}: {error}"


def remarks(entries: JournalEntries) -> Iterator[str]:
    if entries.lost_line is not None:
        yield f"line {entries.lost_line}: the disk was full here; what follows was not compared"
    elif not entries.closed:
        yield "the journal was not closed: the process that wrote it was killed, or still runs"
    if entries.unfinished_line is not None:
        yield f"line {entries.unfinished_line}: the last event may lack its actions; not compared"
    if entries.torn_line is not None:
        yield f"line {entries.torn_line}: cut off in the middle"


def describe(path: str, result: ReplayResult) -> str:
    lines = [
        f"{path}: {', '.join(result.symbols)}, written by version {result.version}",
        f"events {result.events:,}, actions {result.actions:,}, differences {result.differences:,}",
        *result.remarks,
    ]
    if (first := result.first) is not None:
        lines += [
            f"first difference at {path}:{first.line_number}, {first.symbol}",
            f"  event    {to_text(to_json(first.event))}",
            f"  expected {actions_text(first.expected)}",
            f"  actual   {first.error or actions_text(first.actual)}",
        ]
    return "\n".join(lines)


def actions_text(actions: list[Action]) -> str:
    return to_text([to_json(action) for action in actions])


def result_json(result: ReplayResult) -> dict[str, Any]:
    first = result.first
    return {
        "version": result.version,
        "symbols": list(result.symbols),
        "events": result.events,
        "actions": result.actions,
        "differences": result.differences,
        "remarks": list(result.remarks),
        "first_difference": None
        if first is None
        else {
            "line": first.line_number,
            "symbol": first.symbol,
            "event": to_json(first.event),
            "expected": [to_json(action) for action in first.expected],
            "actual": [to_json(action) for action in first.actual],
            "error": first.error,
        },
    }
