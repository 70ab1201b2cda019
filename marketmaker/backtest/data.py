"""`--feed TEXT` into a market feed: the built-in synthetic market, or a recorded file of any known format."""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Protocol

from marketmaker.backtest.frames import FrameFeed
from marketmaker.backtest.recording import bad_file, read_head, read_lines
from marketmaker.backtest.tables import open_table
from marketmaker.errors import ConfigError
from marketmaker.sim.feed import MarketFeed

SYNTHETIC = "synthetic"
DEFAULT_SEED = 1
PARQUET_MAGIC = b"PAR1"
FORMATS = "raw WebSocket lines '<receive time, ns> <JSON>', csv of trades or candles (both plain, .gz or .zip), parquet"


class RecordedOrSynthetic(MarketFeed, Protocol):
    def describe(self) -> str:
        """One line: what the feed is, and what was read of it so far."""
        ...


def open_feed(text: str, symbols: tuple[str, ...], now_ns: int) -> RecordedOrSynthetic:
    """`synthetic`, `synthetic:SEED` (which starts at `now_ns`) or the path of a recording (with its own times).

    The format is told from the content. A feed's `symbols` are those of `symbols` it has data of, at least one.
    Raises ConfigError of one line for anything that cannot be read; later rows are read and checked by `events`.
    """
    if not text.strip():
        raise ConfigError(
            "feed is empty; give synthetic, synthetic:SEED or the path of a recording"
        )
    if text == SYNTHETIC or text.startswith(f"{SYNTHETIC}:"):
        synthetic = import_module("marketmaker.sim.synthetic")
        feed: RecordedOrSynthetic = synthetic.SyntheticFeed(_seed(text), symbols, now_ns)
        return feed
    path = _path(text)
    if read_head(path, len(PARQUET_MAGIC)) == PARQUET_MAGIC:
        return open_table(path, True, symbols)
    first = next(islice(read_lines(path), 1), "")
    if not first.strip():
        raise bad_file(path, "begins with an empty line or holds nothing; record it again")
    if first[0].isdecimal() and first.partition(" ")[2].startswith("{"):
        return FrameFeed(path, symbols)
    if "," in first and first[0] not in "{[<" and "\ufffd" not in first:
        return open_table(path, False, symbols)
    raise bad_file(path, f"is none of the known formats: {FORMATS}")


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"feed {text!r}: {error}; write the path out") from error


def _seed(text: str) -> int:
    _, colon, seed = text.partition(":")
    if not colon:
        return DEFAULT_SEED
    try:
        return int(seed)
    except ValueError:
        raise ConfigError(
            f"feed {text!r}: the seed must be a whole number, as in synthetic:7"
        ) from None
