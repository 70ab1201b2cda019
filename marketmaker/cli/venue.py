"""`marketmaker venue`: its arguments. What it does is in `loopback.server`."""

from __future__ import annotations

import argparse
from decimal import Decimal, InvalidOperation

from marketmaker.venues import VENUES

REHEARSED = tuple(venue.id for venue in VENUES.values() if venue.rehearsal)
SYMBOLS = ("ETHUSDT", "BTCUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a venue on this machine: a server that speaks the venue's protocol over the embedded exchange, so that a"
        " live configuration can be rehearsed without an account. Put the endpoints that it prints into the"
        " configuration."
    )
    parser.epilog = "example: marketmaker venue binance --port 9001 --feed synthetic:7"
    parser.add_argument("venue", choices=REHEARSED, help="whose protocol to speak")
    parser.add_argument("--port", type=port, default=0, metavar="N", help="default: a free one")
    parser.add_argument(
        "--feed",
        default="synthetic",
        metavar="PATH|synthetic[:SEED]",
        help="the market, as for run (default: %(default)s)",
    )
    parser.add_argument(
        "--symbols",
        type=symbols,
        default=SYMBOLS,
        metavar="A,B",
        help=f"what is traded (default: {','.join(SYMBOLS)})",
    )
    parser.add_argument(
        "--speed", type=factor, default=1.0, metavar="N", help="the market at N times its pace"
    )
    parser.add_argument("--balance", type=amount, metavar="USDT", help="default: 10000")
    parser.add_argument("--leverage", type=amount, metavar="N", help="default: 5")
    parser.add_argument(
        "--fill", choices=("cross", "touch", "queue"), help="fill model (default: queue)"
    )
    parser.add_argument("--api-key", help="the key it takes (default: the one it prints)")
    parser.add_argument("--api-secret", help="the secret it takes (default: the one it prints)")
    parser.add_argument("--passphrase", help="for venues that want one")
    parser.add_argument(
        "--unrouted",
        choices=("public", "all"),
        help="binance only: what stream paths without a route serve, public as the venue (the default) or everything"
        " as its demo",
    )
    parser.add_argument(
        "--account",
        choices=("unified", "classic"),
        help="bitget only: the generation of the account (default: unified)",
    )
    parser.add_argument(
        "--allow-mischief",
        action="store_true",
        help="let anybody on this machine make it misbehave, by POST to /_mischief",
    )


def port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError(f"must be a port from 0 to 65535, got {text}")
    return int(text)


def symbols(text: str) -> tuple[str, ...]:
    names = tuple(name.strip().upper() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("must name at least one symbol, as in ETHUSDT,BTCUSDT")
    return names


def factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError(f"must be a number above 0, at most 10000, got {text}")
    return value


def amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text}")
    return value
