"""`marketmaker venue`: a loopback venue as a process, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from dataclasses import replace

from marketmaker.backtest.data import SYNTHETIC, open_feed
from marketmaker.loopback.binance import BinanceSettings, LoopbackBinance
from marketmaker.model.settings import PaperSettings

SYNTHETIC_HISTORY_S = 7_200.0
"""A synthetic market has been open this long when it is first seen, so that there are candles."""
FEED_HISTORY_MAX_S = 36_000.0
"""In the time of the feed, which a speed shortens."""


def run_venue(args: argparse.Namespace) -> int:
    """Raises ConfigError for a feed that cannot be read or a port that is taken."""
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
    venue = LoopbackBinance(
        feed=feed,
        paper=paper,
        settings=BinanceSettings(
            api_key=args.api_key,
            api_secret=args.api_secret,
            unrouted=args.unrouted,
            control=args.allow_mischief,
        ),
        speed=args.speed,
        history_s=history_s,
    )
    print(f"market: {feed.describe()}", flush=True)
    return asyncio.run(serve(venue, args))


async def serve(venue: LoopbackBinance, args: argparse.Namespace) -> int:
    """Until SIGTERM or SIGINT; an error of the feed is raised."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    try:
        await venue.start(args.port)
        print(described(venue, args), flush=True)
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait({waiting, venue.market_task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if venue.market_task.done():
            venue.market_task.result()
    finally:
        await venue.close()
    return 0


def described(venue: LoopbackBinance, args: argparse.Namespace) -> str:
    lines = [
        f"REST: {venue.rest_url}",
        f"streams: {venue.ws_url} with the routes /public, /market and /private",
        f"order entry: {venue.ws_url}/ws-fapi/v1",
        f"instruments: {', '.join(venue.instruments)}",
    ]
    if args.allow_mischief:
        lines.append(f"mischief: {venue.rest_url}/_mischief")
    return "\n".join([*lines, "Ctrl-C ends it"])
