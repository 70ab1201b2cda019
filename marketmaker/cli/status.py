"""`marketmaker status`: what a running daemon does, and why it does not, in 80 columns."""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from marketmaker.cli.remote import NoAnswer, add_arguments, print_json, remote_of
from marketmaker.cli.table import aligned
from marketmaker.errors import ConfigError

WIDTH = 80
REFRESH_S = 1.0
CLEAR = "\x1b[H\x1b[J"
MINUTE, HOUR, DAY = 60, 3600, 86400


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "status",
        help="what a running daemon does, and why it does not",
        description="Show what a running daemon does. Exit code 1 when it is not healthy.",
        epilog="example: marketmaker status config.yaml --slots",
    )
    add_arguments(parser)
    parser.add_argument("--slots", action="store_true", help="every slot, and why it has no order")
    parser.add_argument("--watch", action="store_true", help="again every second until Ctrl-C")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.watch and args.json:
        raise ConfigError("--watch and --json do not go together; /events streams JSON")
    remote = remote_of(args)
    if not args.watch:
        view = remote.get("/status")
        if args.json:
            print_json(view)
        else:
            print("\n".join(lines(view, slots=args.slots)))
        return 0 if view["healthy"] else 1
    try:
        while True:
            try:
                shown = "\n".join(lines(remote.get("/status"), slots=args.slots))
            except NoAnswer as error:
                shown = "\n".join(textwrap.wrap(str(error), WIDTH))
            sys.stdout.write(f"{CLEAR if sys.stdout.isatty() else ''}{shown}\n")
            sys.stdout.flush()
            time.sleep(REFRESH_S)
    except KeyboardInterrupt:
        return 0


def lines(view: dict[str, Any], *, slots: bool) -> Iterator[str]:
    up = duration((view["time_ms"] - view["started_ms"]) / 1000)
    health = "healthy" if view["healthy"] else "NOT HEALTHY"
    yield f"marketmaker {view['version']}  {view['venue']} ({view['mode']})  {view['phase']} {up}  {health}"
    rows = [("symbol", "price", "state", "buys", "sells", "position", "profit", "fills")]
    rows += [
        (
            row["symbol"],
            row.get("price", "-"),
            row["state"],
            str(row["bids"]),
            str(row["asks"]),
            f"{trimmed(row['position'])} {row['base']}",
            rounded(row["pnl"]["total"]),
            str(row["counters"]["fills"]),
        )
        for row in view["symbols"]
    ]
    yield from (line[:WIDTH] for line in aligned(rows))
    for reason in dict.fromkeys((*view["health"], *view["reasons"])):
        yield from textwrap.wrap(
            f"not quoting: {reason}", WIDTH, subsequent_indent="  ", break_on_hyphens=False
        )
    yield "  ".join(bottom(view))
    if slots:
        for row in view["symbols"]:
            yield ""
            yield from slot_lines(row)


def bottom(view: dict[str, Any]) -> Iterator[str]:
    equity = view.get("equity")
    if equity is not None:
        gained = Decimal(equity["now"]) - Decimal(equity["opening"])
        yield f"equity {rounded(equity['now'])} ({gained:+.2f})"
    budget = view["budget"]
    yield f"budget {budget['left']}/{budget['burst']}"
    risk = view["risk"]
    yield f"risk gate {risk['state']}" + (f" ({risk['limit']})" if risk["limit"] else "")
    ages = [
        row["streams"]["price_age_s"] for row in view["symbols"] if "price_age_s" in row["streams"]
    ]
    if ages:
        yield f"oldest price {max(ages):.1f} s"


def slot_lines(row: dict[str, Any]) -> Iterator[str]:
    yield f"{row['symbol']} {row['interval']}"
    rows = [("slot", "level", "holds", "order")]
    for slot in reversed(row["slots"]):
        order = slot["why"]
        if "side" in slot:
            order = f"{slot['side']} {trimmed(slot['order_qty'])} at {slot['order_price']}"
            if slot["state"] == "pending":
                order += " (on its way)"
        held = trimmed(slot["held"])
        rows.append((str(slot["slot"]), slot["price"], "" if held == "0" else held, order))
    yield from (line[:WIDTH] for line in aligned(rows))


def trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def rounded(text: str) -> str:
    return f"{Decimal(text):.2f}"


def duration(seconds: float) -> str:
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < DAY:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / DAY:.1f} days"
