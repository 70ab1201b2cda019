"""`marketmaker exchanges`: the venues known by name, which of them work, what each needs, what was shown of each.

The matrix is what the conformance suite found (`marketmaker/conformance/<id>.json`): every card passed, or was skipped
with the reason. A venue is offered only when none failed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

from marketmaker.cli.table import aligned
from marketmaker.venues import VENUES, Venue

KINDS = ("execution", "data")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "exchanges",
        help="list the exchanges, the credentials each needs and what each was shown to do",
        description="List the exchanges, whether this version can trade there, the credentials each needs, and what"
        " the conformance suite has shown of each.",
        epilog="example: marketmaker exchanges --json",
    )
    parser.add_argument(
        "--json", action="store_true", help="print a JSON list, with every card of the suite"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps([told(venue) for venue in VENUES.values()], indent=2))
        return 0
    rows = [("id", "name", "available", "rehearsal", "conformance", "credentials")]
    rows += [
        (
            venue.id,
            venue.name,
            "yes" if venue.available else "not yet",
            f"venue {venue.id}" if venue.rehearsal else "",
            counted(conformance(venue.id)),
            ", ".join(venue.credentials) or "none",
        )
        for venue in VENUES.values()
    ]
    rows += [
        ("ccxt:ID", "any other, through ccxt", "yes", "", "", "api_key, api_secret (passphrase)")
    ]
    print("\n".join(aligned(rows)))
    return 0


def told(venue: Venue) -> dict[str, Any]:
    return {
        "id": venue.id,
        "name": venue.name,
        "available": venue.available,
        "rehearsal": venue.rehearsal,
        "credentials": list(venue.credentials),
        "conformance": conformance(venue.id),
    }


def conformance(exchange: str) -> dict[str, dict[str, str]]:
    """By kind: what each card said, "passed" or "skipped: why". {} for a venue that was not tried."""
    file = resources.files("marketmaker") / "conformance" / f"{exchange.replace(':', '.')}.json"
    if not file.is_file():
        return {}
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {kind: found[kind] for kind in KINDS}


def counted(found: dict[str, dict[str, str]]) -> str:
    """`71 of 72 execution, 28 of 28 data`"""

    def each() -> Iterator[str]:
        for kind, cards in found.items():
            passed = sum(said == "passed" for said in cards.values())
            yield f"{passed} of {len(cards)} {kind}"

    return ", ".join(each())
