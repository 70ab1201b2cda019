"""`marketmaker venue`: a loopback venue as a process, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from dataclasses import replace

from marketmaker.backtest.data import SYNTHETIC, open_feed
from marketmaker.errors import ConfigError
from marketmaker.loopback import make_loopback
from marketmaker.loopback.stage import LoopbackVenue
from marketmaker.model.settings import PaperSettings

SYNTHETIC_HISTORY_S = 7_200.0
"""A synthetic market has been open this long when it is first seen, so that there are candles."""
FEED_HISTORY_MAX_S = 36_000.0
"""In the time of the feed, which a speed shortens."""


CHOSEN = ("api_key", "api_secret", "passphrase", "unrouted", "account")
"""Settings of the venue that are its own unless they are given."""
OF_ONE = {
    "unrouted": ("binance", "has no routes"),
    "account": ("bitget", "has one kind of account"),
}
"""Those that one venue alone has, and what is said of any other."""


def run_venue(args: argparse.Namespace) -> int:
    """Raises ConfigError for a feed that cannot be read or a port that is taken."""
    for name, (only, why) in OF_ONE.items():
        if getattr(args, name) and args.venue != only:
            raise ConfigError(f"--{name} is for {only}; {args.venue} {why}")
    synthetic = args.feed.partition(":")[0] == SYNTHETIC
    history_s = min(SYNTHETIC_HISTORY_S * args.speed, FEED_HISTORY_MAX_S) if synthetic else 0.0
    feed = open_feed(args.feed, tuple(args.symbols), time.time_ns())
    paper = PaperSettings()
    paper = replace(
        paper,
        balance=args.balance or paper.balance,
        leverage=args.leverage or paper.leverage,
        fill=args.fill or paper.fill,
    )
    venue = make_loopback(
        args.venue,
        feed=feed,
        paper=paper,
        speed=args.speed,
        history_s=history_s,
        control=args.allow_mischief,
        **{name: value for name in CHOSEN if (value := getattr(args, name)) is not None},
    )
    print(f"market: {feed.describe()}", flush=True)
    return asyncio.run(serve(venue, args))


async def serve(venue: LoopbackVenue, args: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT; an error of the feed is raised."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        await venue.start(args.port)
        print(described(venue, args), flush=True)
        waiting = asyncio.create_task(stopped.wait())
        market = venue.stage.market_task
        await asyncio.wait({waiting, market}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if market.done():
            market.result()
    finally:
        await venue.close()
    return 0


def described(venue: LoopbackVenue, args: argparse.Namespace) -> str:
    """As it goes into a configuration."""
    lines = [
        "endpoints:",
        *(f"  {name}: {json.dumps(url)}" for name, url in venue.endpoints.items()),
    ]
    settings = venue.stage.settings
    lines += ["credentials:", f'  api_key: "{settings.api_key}"']
    lines.append(f'  api_secret: "{settings.api_secret}"')
    lines.append(f'  passphrase: "{settings.passphrase}"  # where the venue wants one')
    lines.append(f"instruments: {', '.join(venue.stage.instruments)}")
    if args.allow_mischief:
        lines.append(f"mischief: {venue.stage.rest_url}/_mischief")
    return "\n".join([*lines, "Ctrl-C ends it"])
