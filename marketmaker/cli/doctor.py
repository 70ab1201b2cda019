"""`marketmaker doctor CONFIG`: is everything fit to trade?"""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], int],
) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="look at clock, network, permissions, disk, versions, configuration and key",
        description="Look at the machine, the configuration and the key that it names. One line for each thing: "
        "ok, note or problem, and what to do. Sends no order and changes nothing. Exit code 0 without a problem, "
        "1 with one, 2 for a wrong configuration.",
        epilog="example: marketmaker doctor config.yaml",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file")
    parser.add_argument("--offline", action="store_true", help="leave out network and key")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    parser.set_defaults(run=run)
