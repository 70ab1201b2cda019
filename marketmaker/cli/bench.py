"""`marketmaker bench`: its arguments. What it does is in `benching`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run the daemon against a venue with a stopwatch on this machine, every service on, and print how soon an order"
        " follows the trade that calls for it and where each microsecond goes. Nothing leaves this machine."
    )
    parser.epilog = "example: marketmaker bench --symbols 10 --levels 40 --pace 1000"
    parser.add_argument(
        "--symbols", type=whole, default=1, metavar="N", help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--levels", type=whole, default=3, metavar="N", help="buy window of each (default: 3)"
    )
    parser.add_argument(
        "--ticks", type=whole, default=2000, metavar="N", help="to be measured (default: 2000)"
    )
    parser.add_argument(
        "--pace",
        type=pace,
        default="closed",
        metavar="closed|MICROSECONDS",
        help="from tick to tick; closed: the next follows the order at once (default)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 1000000, got {text}")
    return int(text)


def pace(text: str) -> str:
    if text != "closed":
        whole(text)
    return text
