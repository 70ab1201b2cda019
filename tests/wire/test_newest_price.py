"""Under a burst the daemon never acts on a price when a newer one has been read: real sockets, the real adapter, monitor
and queue; only the consumer is the test's."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

pytest.importorskip("picows")

from websockets.asyncio.server import ServerConnection, serve

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.binance.wire import read_agg_trade
from marketmaker.adapters.websocket import Link, Session
from marketmaker.model.event import CleanupDue, Event, PriceChanged
from marketmaker.model.instrument import Ticks
from marketmaker.model.settings import PriceMonitorSettings
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.price_monitor import PriceMonitor
from marketmaker.runtime.turn import Turn
from tests.support.fakes import ManualClock

TRADES, FIRST = 5_000, 100_000


def trade(price: int) -> bytes:
    return b'{"e":"aggTrade","s":"ETHUSDT","p":"%d","T":%d}' % (price, price)


def frame(payload: bytes) -> bytes:
    """As a server sends it: short, whole, not masked."""
    assert len(payload) < 126
    return bytes((0x81, len(payload))) + payload


@asynccontextmanager
async def burst(rng: random.Random) -> AsyncIterator[str]:
    """A server that sends prices rising by one, cut into pieces that end anywhere, many frames or a part of one."""

    async def send(connection: ServerConnection) -> None:
        stream = b"".join(frame(trade(FIRST + number)) for number in range(TRADES))
        while stream:
            size = rng.choice((1, 30, 200, 5_000, 60_000))
            connection.transport.write(stream[:size])
            stream = stream[size:]
            await asyncio.sleep(0)
        await connection.wait_closed()

    async with serve(send, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}"


class Watcher:
    """The one consumer: what it was given, and what had been read when it was."""

    def __init__(self, queue: EventQueue) -> None:
        self.newest_read = 0
        self.acted_on: list[int] = []
        self.stale: list[tuple[int, int]] = []
        self.events = 0
        self._queue = queue
        queue.serve(self._consume, self._fail)

    def _consume(self, event: Event) -> None:
        if isinstance(event, PriceChanged):
            self.acted_on.append(event.price_ticks)
            if event.price_ticks != self.newest_read:
                self.stale.append((event.price_ticks, self.newest_read))
        else:
            self.events += 1

    def _fail(self, error: Exception) -> None:
        raise error


async def nothing(link: Link) -> None:
    """No greeting."""


@pytest.mark.parametrize("seed", range(3))
async def test_no_stale_price_is_ever_acted_upon_and_events_never_wait_behind_prices(
    seed: int,
) -> None:
    rng = random.Random(seed)
    turn, clock = Turn(), ManualClock()
    queue = EventQueue(turn=turn)
    monitor = PriceMonitor(PriceMonitorSettings(), queue, clock, name="ETHUSDT", confirming=False)
    watcher = Watcher(queue)
    read_together: list[int] = []
    put = 0

    def hear(link: Link, message: bytes) -> None:
        nonlocal put
        price = int(read_agg_trade(message).p)
        assert price == watcher.newest_read + 1 or not watcher.newest_read
        watcher.newest_read = price
        socket = link.socket
        read_together.append(bool(socket is not None and socket.more))
        monitor.on_price(Ticks(price), price, price)
        if price % 100 == 0:
            queue.put(CleanupDue(ts_ns=price))
            put += 1

    async with burst(rng) as url:

        async def address() -> str:
            return url

        session = Session(
            "burst",
            url=address,
            greet=nothing,
            on_message=hear,
            on_up=monitor.stream_up,
            on_down=lambda reason: None,
            backoff=Backoff(rng),
        )
        session.turn = turn
        holding = asyncio.create_task(session.hold())
        async with asyncio.timeout(60):
            while watcher.newest_read < FIRST + TRADES - 1:  # noqa: ASYNC110  (the socket tells)
                await asyncio.sleep(0.01)
        holding.cancel()
        with suppress(asyncio.CancelledError):
            await holding
    assert watcher.stale == []
    assert watcher.acted_on[-1] == FIRST + TRADES - 1
    assert watcher.events == put == TRADES // 100
    assert len(queue) == 0 and queue.depth_max < TRADES // 100
    # The burst was one: many frames were read at once, and of those only the last was acted upon.
    assert sum(read_together) > TRADES // 2
    assert len(watcher.acted_on) < TRADES // 2
