"""An event loop that owns its time: as fast as it goes, or so many times faster than the clock on the wall.

Timers, sleeps and timeouts are the ordinary ones; only `time()` differs. Without a speed, time stands still while
anything is ready to run and then jumps to the next timer, so an hour of waiting costs nothing and the same program
makes the same steps in the same order every time. With a speed, time runs that many times as fast as the real one.

Sockets, child processes and signal handlers work in both. While time jumps the real selector is looked at now and
then, without blocking; only when no timer is left does the loop wait on it. Work handed to a thread takes no virtual
time: time stands still until it is done.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from math import inf
from typing import Any, TypeVar, TypeVarTuple

NS_PER_S = 1_000_000_000
TURNS_PER_POLL = 64
"""Turns of the loop between two looks at the real selector while time jumps."""
ADVANCES_PER_TURN = 256
"""How often `advance_to` may say yes before it sends its caller round the loop, where signals are heard."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Ready = list[tuple[selectors.SelectorKey, int]]


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`start_ns`: Unix time at which the loop's life begins. `speed`: None jumps, N > 0 runs N times real time."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self, start_ns: int, speed: float | None = None) -> None:
        self._real_selector = selectors.DefaultSelector()
        super().__init__(_Selector(self._real_selector, self._wait))
        if speed is not None and not 0 < speed < inf:
            self.close()
            raise ValueError(f"speed must be a positive number, got {speed}")
        self.start_ns = start_ns
        self.speed = speed
        self._elapsed_ns = 0
        self._turns = 0
        self._advances = 0
        self._in_threads = 0
        self._real_start_s = super().time()
        self._clock_resolution = 1 / NS_PER_S

    @property
    def now_ns(self) -> int:
        """Unix time in this loop's world."""
        return self.start_ns + self._read_ns()

    def time(self) -> float:
        return self._read_ns() / NS_PER_S

    def advance_to(self, ts_ns: int) -> bool:
        """Step to `ts_ns` in place, when nothing else has a claim on the time until then.

        False, and no time has passed: a callback is ready, a timer is due by then, real time is not there yet, or
        the loop is due a look at its sockets. Then wait in the ordinary way (`sleep_until`) and go on.
        """
        elapsed_ns = ts_ns - self.start_ns
        if (
            self._ready
            or self._in_threads
            or (self._scheduled and self._scheduled[0].when() <= elapsed_ns / NS_PER_S)
        ):
            return False
        if self._advances == ADVANCES_PER_TURN:
            self._turns = 0
            return False
        self._advances += 1
        if self.speed is not None:
            return elapsed_ns <= self._read_ns()
        self._elapsed_ns = max(self._elapsed_ns, elapsed_ns)
        return True

    def stall(self, seconds: float) -> None:
        """Let time pass with nobody running, as for a process that was stopped; only where time jumps."""
        self._elapsed_ns += round(seconds * NS_PER_S)

    async def sleep_until(self, ts_ns: int) -> None:
        """Lets everything else that is ready run first, even when `ts_ns` has passed."""
        woken = self.create_future()
        timer = self.call_at((ts_ns - self.start_ns) / NS_PER_S, _wake, woken)
        try:
            await woken
        finally:
            timer.cancel()

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._left_thread)
        return future

    def _left_thread(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1

    def _read_ns(self) -> int:
        if self.speed is None:
            return self._elapsed_ns
        return int((super().time() - self._real_start_s) * self.speed * NS_PER_S)

    def _wait(self, timeout: float | None) -> Ready:
        """What the loop does instead of sleeping; `timeout` is in its own seconds."""
        self._advances = 0
        select = self._real_selector.select
        if timeout is None:
            return select()
        if self.speed is not None:
            return select(timeout / self.speed)
        if timeout > 0 and self._in_threads:
            return select()
        self._turns -= 1
        if self._turns < 0:
            self._turns = TURNS_PER_POLL
            if found := select(0):
                return found
        if timeout > 0:
            when = self._scheduled[0].when()
            if when == inf:
                return select()
            self._elapsed_ns = max(self._elapsed_ns, round(when * NS_PER_S))
        return []


class LoopClock:
    """The time of a `VirtualTimeLoop`, for those who only want to know what time it is."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def now_ns(self) -> int:
        return self._loop.now_ns


class _Selector(selectors.BaseSelector):
    """The real selector, with the waiting done by the loop."""

    def __init__(self, real: selectors.BaseSelector, wait: Callable[[float | None], Ready]) -> None:
        self._real = real
        self._wait = wait

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> Ready:
        return self._wait(timeout)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Any:
        return self._real.get_map()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
