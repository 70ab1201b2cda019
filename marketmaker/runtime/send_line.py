"""Orders of several symbols waiting to be sent: first in, first out per symbol, turn by turn between symbols."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from marketmaker.model.instrument import Instrument
from marketmaker.model.order import ClientOrderId, NewOrder, OrderRef
from marketmaker.runtime.event_queue import EventQueue

O_co = TypeVar("O_co", NewOrder, OrderRef, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Channel:
    """One symbol's way out to the venue and back: what is traded, and the queue its events go to."""

    name: str
    instrument: Instrument
    queue: EventQueue


class Stage(Enum):
    """WAITING in a line; IN_FLIGHT at the venue; RESTING until a retry is due."""

    WAITING = "waiting for budget"
    IN_FLIGHT = "in flight"
    RESTING = "waiting for a retry"


Key = tuple[str, ClientOrderId]


class Job(Generic[O_co]):
    """One order to place or to cancel. `attempts` made so far; `timer` runs while RESTING. `unwanted`: why it is not to
    be tried again should this attempt come back undone, "" while it is wanted.

    No dataclass: mypyc compiles none that is generic.
    """

    __slots__ = ("attempts", "channel", "order", "stage", "timer", "unwanted")

    def __init__(self, channel: Channel, order: O_co) -> None:
        self.channel = channel
        self.order: O_co = order
        self.stage = Stage.WAITING
        self.attempts = 0
        self.unwanted = ""
        self.timer: asyncio.TimerHandle | None = None

    @property
    def key(self) -> Key:
        return (self.channel.name, self.order.client_order_id)


class SendLine(Generic[O_co]):
    """A symbol whose turn it is sends one batch, then goes to the back if more of its orders wait."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Job[O_co]]] = {}
        self._turns: deque[str] = deque()

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def __bool__(self) -> bool:
        return bool(self._turns)

    def append(self, job: Job[O_co]) -> None:
        self._line_of(job).append(job)

    def put_back(self, job: Job[O_co]) -> None:
        """In front of its symbol's line: it has waited before."""
        self._line_of(job).appendleft(job)

    def remove(self, job: Job[O_co]) -> None:
        name = job.channel.name
        line = self._lines[name]
        line.remove(job)
        if not line:
            del self._lines[name]
            self._turns.remove(name)

    def take(self, limit: int) -> list[Job[O_co]]:
        """Up to `limit` >= 1 jobs, all of the symbol whose turn it is; the line must not be empty."""
        name = self._turns.popleft()
        line = self._lines[name]
        batch = [line.popleft() for _ in range(min(limit, len(line)))]
        if line:
            self._turns.append(name)
        else:
            del self._lines[name]
        return batch

    def _line_of(self, job: Job[O_co]) -> deque[Job[O_co]]:
        name = job.channel.name
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = deque()
            self._turns.append(name)
        return line
