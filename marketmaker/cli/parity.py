"""`marketmaker parity`: its arguments. What it does is in `parity`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Play a paper or live run's journal through the backtester and compare: how many order decisions are\n"
        "identical, how far the PnL lies apart in bp of turnover, and what differed first. Exit code 0: every\n"
        "decision is identical, 1: at least one is not, 2: the file cannot be read."
    )
    parser.epilog = "example: marketmaker parity journal.jsonl.gz"
    parser.add_argument("journal", metavar="JOURNAL", help="a file written by `run`, plain or .gz")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
