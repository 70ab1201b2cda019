"""What a trade inside the quiet band costs: from the frame's bytes to done, CPU time, nothing mocked but the socket.

The adapter's session, its decoding, the price monitor and the queue; the consumer is never called. Medians of rounds.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
from decimal import Decimal
from pathlib import Path
from time import thread_time_ns

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from marketmaker.adapters.binance import LIVE, Binance
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.feeds import PriceFeed
from marketmaker.adapters.websocket import Link
from marketmaker.compiled import which
from marketmaker.model.event import Event
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import Credentials, PriceMonitorSettings
from marketmaker.runtime.clock import RealClock
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.price_monitor import PriceMonitor
from marketmaker.runtime.turn import Turn

ROUNDS, TRADES = 15, 20_000
MIDDLE, REACH = 300_000, 1_000
INSTRUMENT = Instrument(
    venue="binance",
    name="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)


def frame(price_ticks: int, ms: int) -> bytes:
    whole, part = divmod(price_ticks, 100)
    return (
        f'{{"e":"aggTrade","E":{ms},"s":"ETHUSDT","a":1,"p":"{whole}.{part:02d}","q":"0.010","f":1,"l":1,"T":{ms},'
        '"m":false}'
    ).encode()


def never(event: Event) -> None:
    raise AssertionError("a quiet price woke the consumer")


def failed(error: Exception) -> None:
    raise error


async def main() -> None:
    clock, turn = RealClock(), Turn()
    adapter = Binance(Credentials(), LIVE, "mm1", clock, random.Random(0))
    adapter.take_turns(turn)
    queue = EventQueue(turn=turn)
    monitor = PriceMonitor(PriceMonitorSettings(), queue, clock, name="ETHUSDT", confirming=True)
    queue.quiet_band = (MIDDLE - REACH, MIDDLE + REACH)
    adapter._price_feeds.of["ETHUSDT"] = PriceFeed(Contract(INSTRUMENT), [monitor])
    monitor.stream_up()
    link, hear = Link(1), adapter._prices._hear
    frames = [frame(MIDDLE + number % 50, 1_767_225_600_000 + number) for number in range(TRADES)]
    hear(link, frames[0])
    while queue.poll() is not None:
        pass
    queue.serve(never, failed)
    rounds = []
    for _ in range(ROUNDS):
        began = thread_time_ns()
        for text in frames:
            hear(link, text)
        rounds.append((thread_time_ns() - began) / TRADES / 1000)
    print(
        f"\nquiet trade, frame to done: {statistics.median(rounds):.2f} us of CPU"
        f" ({queue.prices_quiet} of {queue.prices_seen} prices were quiet; core: {which()})"
    )


asyncio.run(main())
