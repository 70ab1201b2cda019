"""A turn of the loop: what was read from a socket at once is heard as a whole, and acted on before the loop goes on.

An adapter that reads ahead brackets what it passes on with `begin` and `end` (`adapters.protocol.Turn`). Queues that
hear something in between are pumped inside `end`: the orders that a frame calls for leave in the callback in which the
frame came, with no task and no further turn of the loop between them, and when several frames came at once, only the
newest price is acted on. Outside a bracket a queue is pumped by a callback of its own in the next turn of the loop, as
it is on virtual time, where nothing reads ahead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turn:
    """Implements `adapters.protocol.Turn`. One per process."""

    __slots__ = ("_due", "_promised", "open")

    def __init__(self) -> None:
        self.open = False
        self._due: deque[Callable[[], None]] = deque()
        self._promised = False

    def begin(self) -> None:
        self.open = True

    def end(self) -> None:
        self.open = False
        due = self._due
        while due:
            due.popleft()()

    def more(self) -> None:
        """The next message of the same reading follows at once; should it not, the turn ends by itself."""
        if not self._promised:
            self._promised = True
            asyncio.get_running_loop().call_soon(self._end_promised)

    def add(self, pump: Callable[[], None]) -> None:
        """To be called inside `end`."""
        self._due.append(pump)

    def _end_promised(self) -> None:
        self._promised = False
        self.end()
