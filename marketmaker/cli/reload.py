"""`marketmaker reload --plan|--apply`: what the configuration file would change in a running daemon, and changing it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from marketmaker.cli.remote import add_arguments, print_json, remote_of
from marketmaker.cli.table import aligned


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "reload",
        help="have a running daemon read its configuration again",
        description="What can change while it trades changes, the rest is refused by name. Exit code 0 when everything "
        "that differs can change (or has), 1 when something needs a restart, 2 when the file is wrong.",
        epilog="example: marketmaker reload config.yaml --plan",
    )
    add_arguments(parser)
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument(
        "--plan", action="store_true", help="say what would change and which orders would move"
    )
    how.add_argument("--apply", action="store_true", help="change it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    outcome = remote_of(args).act("reload", {"apply": args.apply})
    if args.json:
        print_json(outcome)
    else:
        print("\n".join(lines(outcome)))
    if outcome["problems"]:
        return 1 if outcome["applied"] else 2
    return 1 if any(change["refused"] for change in outcome["changes"]) else 0


def lines(outcome: dict[str, Any]) -> Iterator[str]:
    yield from outcome["problems"]
    for change in outcome["changes"]:
        line = f"{change['key']}: {change['old']} -> {change['new']}"
        yield f"{line}  REFUSED: {change['refused']}" if change["refused"] else line
    if outcome["orders"]:
        rows = [
            (each["symbol"], each["what"], each["side"], each["qty"], each["price"], each["reason"])
            for each in outcome["orders"]
        ]
        yield from aligned([("symbol", "", "side", "quantity", "price", "reason"), *rows])
    yield outcome["text"]
