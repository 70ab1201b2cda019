"""What the embedded exchange has promised to do later, and how its driver waits for the time to come.

One queue in time order, first come first served at equal times. It runs on any loop: on a `VirtualTimeLoop` it steps
through time in place, on a real one it sleeps. `time_ns` is the exchange's own time: the moment it is working on, which
a busy real loop may reach late, so that latencies add up from when things happened and not from when we got to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeVarTuple

from marketmaker.sim.loop import NS_PER_S, VirtualTimeLoop

NEVER = 1 << 63
STEPS_PER_TURN = 256
"""How many due steps a driver may take on a real loop before others get their turn."""

Ts = TypeVarTuple("Ts")


class Agenda:
    """`next_ns`: when the next action is due, NEVER when there is none. All times are Unix ns."""

    def __init__(self, now_ns: Callable[[], int], loop: asyncio.AbstractEventLoop) -> None:
        self._now_ns = now_ns
        self._loop = loop
        self._queue: list[tuple[int, int, Callable[[], object]]] = []
        self._count = 0
        self._steps = 0
        self._waiting_ns = 0
        self._alarm: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.next_ns = NEVER
        self.time_ns = now_ns()
        self.reach = loop.advance_to if isinstance(loop, VirtualTimeLoop) else self._reach_real
        """Whether the driver may go on to this time at once; if not it must wait."""

    def now_ns(self) -> int:
        """The clock's time, but never before the exchange's own."""
        return max(self._now_ns(), self.time_ns)

    def add(self, due_ns: int, action: Callable[[*Ts], object], *args: *Ts) -> None:
        self._count += 1
        heappush(self._queue, (due_ns, self._count, lambda: action(*args)))
        self.next_ns = self._queue[0][0]
        if due_ns < self._waiting_ns:
            self._set_timer(due_ns)

    def run_next(self) -> None:
        due_ns, _, action = heappop(self._queue)
        self.time_ns = max(self.time_ns, due_ns)
        self.next_ns = self._queue[0][0] if self._queue else NEVER
        action()

    async def wait_until(self, due_ns: int) -> None:
        """Returns at `due_ns`, or when something was added that is due before it, then. One waits at a time."""
        self._steps = 0
        self._alarm = self._loop.create_future()
        try:
            self._set_timer(due_ns)
            await self._alarm
        finally:
            self._waiting_ns = 0
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _set_timer(self, due_ns: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting_ns = due_ns
        if due_ns < NEVER:
            delay_s = max(0, due_ns - self._now_ns()) / NS_PER_S
            self._timer = self._loop.call_at(self._loop.time() + delay_s, self._ring)

    def _ring(self) -> None:
        if self._alarm is not None and not self._alarm.done():
            self._alarm.set_result(None)

    def _reach_real(self, due_ns: int) -> bool:
        self._steps += 1
        if self._steps > STEPS_PER_TURN:
            return False
        return self._now_ns() >= due_ns
