"""Reminds one symbol's core, at every interval, to look whether it has too many orders open."""

from __future__ import annotations

import asyncio

from marketmaker.model.event import CleanupDue
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.event_queue import EventQueue


class OrderCleaner:
    def __init__(self, queue: EventQueue, clock: Clock, interval_s: float) -> None:
        self._queue = queue
        self._clock = clock
        self._interval_s = interval_s

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self._queue.put(CleanupDue(ts_ns=self._clock.now_ns()))
