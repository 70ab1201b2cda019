"""`marketmaker run` on a paper exchange whose decisions stop, while the process lives on.

    STALL=feed     the price stream falls silent
    STALL=engine   the engine waits for ever and no event is decided on any more
    STALL=loop     nothing runs at all

    python -m tests.support.stalling_daemon CONFIG [options of run]

The stall begins at SIGUSR1.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any

from marketmaker import launch
from marketmaker.__main__ import main
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.sim.venue import PaperExchange

STALLED = threading.Event()


class StallingExchange(PaperExchange):
    async def connect(self) -> None:
        await super().connect()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stall)

    async def stream_prices(self, instrument: Any, listener: Any) -> None:
        await super().stream_prices(instrument, Muffled(listener))


class Muffled:
    """A listener that hears nothing while the feed is stalled."""

    def __init__(self, listener: Any) -> None:
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def on_price(self, *args: Any) -> None:
        if not (STALLED.is_set() and os.environ["STALL"] == "feed"):
            self._listener.on_price(*args)

    def on_confirming_price(self, *args: Any) -> None:
        if not (STALLED.is_set() and os.environ["STALL"] == "feed"):
            self._listener.on_confirming_price(*args)


def stall() -> None:
    STALLED.set()
    if os.environ["STALL"] == "loop":
        threading.Event().wait()


next_event = EventQueue.get


async def get(queue: EventQueue) -> Any:
    event = await next_event(queue)
    if STALLED.is_set() and os.environ["STALL"] == "engine":
        await asyncio.Event().wait()
    return event


if __name__ == "__main__":
    launch.PaperExchange = StallingExchange  # type: ignore[misc]
    EventQueue.get = get  # type: ignore[method-assign]
    sys.argv[1:1] = ["run"]
    sys.exit(main())
