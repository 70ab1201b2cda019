"""`marketmaker sweep`: its arguments. What it does is in the package `sweep`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable

from marketmaker.cli.backtest import add_data_arguments

SAMPLERS = ("grid", "random", "tpe", "nsga2")
OBJECTIVES = ("return", "calmar")


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int],
) -> None:
    parser = subparsers.add_parser(
        "sweep",
        help="search a grid's parameters over recorded data",
        description=(
            "Search a grid's parameters over recorded data, walk-forward: each stretch's best is shown with what it did "
            "on the next one. The same seed gives the same best trial whoever computes it."
        ),
        epilog="example: marketmaker sweep config.yaml --data trades.parquet --space space.yaml --trials 200 --jobs 4",
    )
    add_data_arguments(parser)
    parser.add_argument(
        "--space", metavar="SPACE.yaml", required=True, help="which keys of `grid` to search, where"
    )
    parser.add_argument(
        "--trials",
        type=count,
        metavar="N",
        help="how many (default: 100; with --sampler grid every combination)",
    )
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default="tpe", help="who proposes them (default: tpe)"
    )
    parser.add_argument("--seed", type=whole, default=1, metavar="N", help="of the sampler (1)")
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        default="return",
        help="what is best in sample: return, or return by drawdown (default: return)",
    )
    parser.add_argument(
        "--folds",
        type=count,
        default=4,
        metavar="K",
        help="the data is cut into K + 1 parts: K folds of one in sample and the next out of it (default: 4)",
    )
    parser.add_argument(
        "--jobs", type=count, default=processors(), metavar="N", help="processes (default: all)"
    )
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="a Dask scheduler instead, such as tcp://host:8786"
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="trials, results and the best configuration go here (default: CONFIG's name with .sweep)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the sweep in --out")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.set_defaults(run=run)


def processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text}")
    return int(text)


def whole(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"must be a whole number of 0 or more, got {text}")
    return int(text)
