"""What drives the embedded exchange: market events of one or more symbols, in order of `ts_local_ns`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade


class MarketFeed(Protocol):
    """`start_ns`: time of the first event (Unix ns). `symbols`: whose events it holds."""

    start_ns: int
    symbols: tuple[str, ...]

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        """(symbol, event) in time order; prices and quantities in the ticks and lots of `instruments`.

        Raises ConfigError naming file and row for data that cannot be read.
        """
        ...
