"""What the service manager hears: READY, a line of status, and that every live symbol still decides."""

from __future__ import annotations

import asyncio

from marketmaker.model.event import TimerFired
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.notify import Notifier
from marketmaker.symbol import Symbol, describe, is_fed_or_paused, is_settled

SETTLED_POLL_S = 0.05


async def tell_service_manager(notifier: Notifier, clock: Clock, symbols: list[Symbol]) -> None:
    """READY after the first snapshot and the first quote; WATCHDOG while every live symbol still decides."""
    interval_s = notifier.watchdog_interval_s
    while not all(is_settled(symbol) for symbol in symbols):  # noqa: ASYNC110  (many owners)
        await asyncio.sleep(SETTLED_POLL_S)
    notifier.ready()
    while True:
        probed_ns = clock.now_ns()
        if interval_s is not None:
            for symbol in symbols:
                if not symbol.failed:
                    symbol.channel.queue.put(TimerFired(ts_ns=probed_ns))
        await asyncio.sleep(interval_s if interval_s is not None else 1.0)
        live = [symbol for symbol in symbols if not symbol.failed]
        notifier.status("; ".join(describe(symbol) for symbol in symbols))
        if interval_s is not None and all(
            symbol.engine.last_decided_ns >= probed_ns and is_fed_or_paused(symbol)
            for symbol in live
        ):
            notifier.watchdog()
