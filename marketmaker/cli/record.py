"""`marketmaker record`: its arguments. What it does is in `marketmaker.recorder`."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int],
) -> None:
    parser = subparsers.add_parser(
        "record",
        help="store an exchange's public streams as they come",
        description=(
            "Connect to the configured exchange without its key, subscribe to the prices of the configured symbols and"
            " write every frame as it comes, one a line: <receive time, Unix ns> <frame>. Ends with Ctrl-C or after"
            " --duration. Of Binance, the file can be fed to backtest and to paper.feed."
        ),
        epilog="example: marketmaker record config.yaml --out today.gz --duration 3600",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file")
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="a new file; compressed when it ends in .gz"
    )
    parser.add_argument("--duration", type=float, metavar="SECONDS", help="default: until Ctrl-C")
    parser.set_defaults(run=run)
