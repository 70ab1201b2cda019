"""`marketmaker exchanges`: the venues known by name, which of them work, what each needs."""

from __future__ import annotations

import argparse
import json

from marketmaker.cli.table import aligned
from marketmaker.venues import VENUES


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "exchanges",
        help="list the exchanges and the credentials each needs",
        description="List the exchanges, whether this version can trade there, and the credentials each needs.",
        epilog="example: marketmaker exchanges --json",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.json:
        print(
            json.dumps(
                [
                    {
                        "id": venue.id,
                        "name": venue.name,
                        "available": venue.available,
                        "credentials": list(venue.credentials),
                    }
                    for venue in VENUES.values()
                ],
                indent=2,
            )
        )
        return 0
    rows = [("id", "name", "available", "credentials")]
    rows += [
        (
            venue.id,
            venue.name,
            "yes" if venue.available else "not yet",
            ", ".join(venue.credentials) or "none",
        )
        for venue in VENUES.values()
    ]
    print("\n".join(aligned(rows)))
    return 0
