"""`marketmaker pause|resume|cancel-all|flatten`: asks a running daemon, waits for the outcome, and says it."""

from __future__ import annotations

import argparse
import sys
from functools import partial

from marketmaker.cli.remote import add_arguments, add_symbols, print_json, remote_of

DEEDS = {
    "pause": (
        "cancel every entry and open nothing; exits go on",
        "Cancel every entry and open nothing until resumed, over restarts too. Exits go on.",
    ),
    "resume": (
        "trade on after pause, cancel-all or flatten",
        "Trade on after pause, cancel-all or flatten.",
    ),
    "cancel-all": (
        "cancel every order of ours, exits too",
        "Cancel every order of ours, exits too, and place none until resumed. A stop loss still acts.",
    ),
    "flatten": (
        "give the whole position back and stay out",
        "Cancel every order, give the whole position back at the market, reduce-only, and open nothing until resumed. "
        "Asks first on a terminal.",
    ),
}


def add_parsers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, (short, long) in DEEDS.items():
        parser = subparsers.add_parser(
            name,
            help=short,
            description=f"{long} Exit code 0 when the venue confirms it, 1 when not.",
            epilog=f"example: marketmaker {name} config.yaml --symbol ETHUSDT",
        )
        add_arguments(parser)
        add_symbols(parser)
        if name == "flatten":
            parser.add_argument("--yes", action="store_true", help="do not ask first")
        parser.set_defaults(run=partial(run, name))


def run(name: str, args: argparse.Namespace) -> int:
    remote = remote_of(args)
    if name == "flatten" and not args.yes and sys.stdin.isatty():
        of_what = ", ".join(args.symbol) or "every symbol"
        print(f"Give back the whole position of {of_what} at the market? [y/N] ", end="")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            print("nothing was done")
            return 1
    outcome = remote.act(name, {"symbols": args.symbol})
    if args.json:
        print_json(outcome)
    else:
        for row in outcome["symbols"]:
            print(f"{row['symbol']}: {row['text']}")
        if not outcome["symbols"]:
            print(outcome["text"])
        word = "done" if outcome["done"] else "NOT done"
        print(f"{name}: {word} after {outcome['seconds']:.2f} s")
    return 0 if outcome["done"] else 1
