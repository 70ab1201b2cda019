"""The journal of a backtest. Imported only where one is asked for: asyncio comes with it, a tenth of what a start costs."""

from __future__ import annotations

from marketmaker import __version__
from marketmaker.backtest.drive import REQUEST_LIFETIME_S, Bench
from marketmaker.errors import ConfigError
from marketmaker.model.settings import GridSettings
from marketmaker.runtime.journal import CoreArguments, Journal, JournaledSymbol, JournalHeader


def begin(journal: Journal, bench: Bench, grid: GridSettings) -> None:
    """Before anything has happened at the bench. Raises ConfigError when the file cannot be created."""
    manager = bench.manager
    core = CoreArguments(
        instrument=bench.instrument,
        settings=grid,
        sequences=manager.sequences,
        max_slot=manager.max_slot,
        first_sequence=manager.next_sequence,
        request_lifetime_s=REQUEST_LIFETIME_S,
        order_lifetime_s=None,
        memory=None,
    )
    symbol = JournaledSymbol(name=bench.instrument.name, core=core)
    journal.open(JournalHeader(version=__version__, symbols=(symbol,)))


def finish(journal: Journal) -> None:
    """Raises ConfigError when the disk would not take all of it."""
    journal.close()
    if journal.failed is not None:
        raise ConfigError(f"{journal.failed}; name a file on a disk with room")
