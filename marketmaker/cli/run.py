"""`marketmaker run`: its arguments. What it does is in `launch`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Trade until stopped; SIGTERM and Ctrl-C cancel every own order first."
    parser.epilog = (
        "example: marketmaker run config.yaml --feed synthetic:7 --duration 60 --summary run.json"
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file")
    parser.add_argument(
        "--duration", type=positive, metavar="SECONDS", help="stop by itself after this long"
    )
    parser.add_argument(
        "--feed",
        metavar="PATH|synthetic[:SEED]",
        help="market of the paper exchange, instead of paper.feed",
    )
    parser.add_argument(
        "--speed",
        type=speed,
        default=1.0,
        metavar="N|max",
        help="N times real time, or as fast as it goes on virtual time (paper only)",
    )
    parser.add_argument(
        "--summary", metavar="PATH", help="write a JSON summary at every kind of exit"
    )
    parser.add_argument(
        "--http",
        metavar="ADDRESS",
        help="serve the dashboard here, such as 127.0.0.1:8420, instead of http.listen",
    )
    parser.add_argument(
        "--journal", metavar="PATH", help="write the journal here, instead of journal"
    )


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of seconds, got {text}")
    return value


def speed(text: str) -> float | None:
    """None: as fast as it goes."""
    if text == "max":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number or max, got {text}")
    return value
