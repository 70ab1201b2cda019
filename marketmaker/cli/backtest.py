"""`marketmaker backtest`: its arguments. What it does is in `backtesting`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import UTC, datetime

FILLS = ("cross", "touch", "queue")
BARS = ("worst", "path")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run a configuration's grid over recorded data with the daemon's own decisions and the paper exchange's matching."
    parser.epilog = "example: marketmaker backtest config.yaml --data xrpusdt-trades.parquet --fill cross --json"
    add_data_arguments(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="write report.html, summary.json and series.json here"
    )
    parser.add_argument("--journal", metavar="PATH", help="write what was heard and decided here")
    parser.add_argument(
        "--every-event", action="store_true", help="the slow reference: play every event"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """The configuration, and which data it meets how."""
    parser.add_argument("config", metavar="CONFIG", help="YAML file, the one that `run` takes")
    parser.add_argument(
        "--data",
        metavar="FILE",
        nargs="+",
        required=True,
        help="trades or candles (csv, csv.gz, zip of csv, parquet, feather, npz) or raw WebSocket frames",
    )
    parser.add_argument("--symbol", help="which of the configured symbols the data is of")
    parser.add_argument(
        "--from", dest="begin", type=moment, metavar="TIME", help="first moment, such as 2026-03-17"
    )
    parser.add_argument(
        "--to", dest="end", type=moment, metavar="TIME", help="first moment no more included"
    )
    parser.add_argument(
        "--fill", choices=FILLS, default="cross", help="when a resting order fills (default: cross)"
    )
    parser.add_argument(
        "--latency",
        type=milliseconds,
        default=0.0,
        metavar="MS",
        help="from a decision to its arrival at the exchange (default: 0)",
    )
    parser.add_argument(
        "--bars",
        choices=BARS,
        default="worst",
        help="inside a candle: its extremes in the worse order (worst), or four trades as on paper (path)",
    )
    parser.add_argument(
        "--columns",
        type=columns,
        default={},
        metavar="NAME=COLUMN,...",
        help="what the file calls a column, such as price=last,qty=amount",
    )
    parser.add_argument(
        "--funding",
        metavar="FILE",
        help="recorded funding rates (csv, csv.gz, zip of csv, parquet), instead of the configuration's one",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="keep no converted copy of the data"
    )


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int],
) -> None:
    parser = subparsers.add_parser("backtest", help="run a configuration over recorded data")
    add_arguments(parser)
    parser.set_defaults(run=run)


def moment(text: str) -> int:
    """Unix ns of an ISO date or time, UTC unless it says otherwise."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a date or time such as 2026-03-17 or 2026-03-17T12:30, got {text}"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1_000_000) * 1_000


def milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more milliseconds, got {text}")
    return value


def columns(text: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and given.strip() for name, _, given in pairs):
        raise argparse.ArgumentTypeError(f"must read NAME=COLUMN,..., got {text}")
    return {name.strip(): given.strip() for name, _, given in pairs}
