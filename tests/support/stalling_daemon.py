"""`marketmaker run` on a paper exchange whose decisions stop, while the process lives on.

    STALL=feed     the price stream falls silent
    STALL=engine   events come and no decision is made on any of them
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
from marketmaker.runtime.engine import Engine
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


handle = Engine.handle


def handle_unless_stalled(engine: Engine, event: Any) -> None:
    if not (STALLED.is_set() and os.environ["STALL"] == "engine"):
        handle(engine, event)


if __name__ == "__main__":
    launch.PaperExchange = StallingExchange  # type: ignore[misc]
    Engine.handle = handle_unless_stalled  # type: ignore[method-assign]
    sys.argv[1:1] = ["run"]
    sys.exit(main())
