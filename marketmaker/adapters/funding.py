"""Funding payments read from the venue's history: after an event that says one was made, and after every gap."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

from marketmaker.adapters.memory import remember
from marketmaker.errors import VenueError

RETRIES_S = (0.0, 2.0, 5.0, 15.0, 60.0)
OVERLAP_NS = 60_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    """`amount` > 0 was paid to us, in the instrument's quote currency."""

    payment_id: str
    symbol: str
    amount: Decimal
    ts_venue_ns: int


class FundingBook:
    """`read(since_ns)` answers every payment at or after then; `deliver` gets each once.

    `poll_s`: for venues that tell of no payment, how often the history is read anyway; 0 never.
    """

    def __init__(
        self,
        read: Callable[[int], Awaitable[Sequence[Payment]]],
        deliver: Callable[[Payment], None],
        *,
        now_ns: Callable[[], int],
        poll_s: float = 0.0,
    ) -> None:
        self._read = read
        self._deliver = deliver
        self._now_ns = now_ns
        self._poll_s = poll_s
        self._due = asyncio.Event()
        self._expected = False
        self._since_ns = 0
        self._opened_ns = 0
        self._seen: OrderedDict[str, None] = OrderedDict()

    def open(self) -> None:
        """Payments before this moment are not ours to book."""
        self._opened_ns = self._opened_ns or self._now_ns()

    def paid(self, ts_venue_ns: int) -> None:
        """One was made about then: the history is read until it shows it."""
        self._since_ns = min(self._since_ns or ts_venue_ns, ts_venue_ns)
        self._expected = True
        self._due.set()

    def stream_down(self) -> None:
        """A payment that falls into the gap is looked for from here on."""
        self._since_ns = self._since_ns or self._now_ns()

    def stream_up(self) -> None:
        if self._since_ns:
            self._due.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._poll_s or None):
                    await self._due.wait()
            except TimeoutError:
                self._since_ns = self._since_ns or self._now_ns() - round(2e9 * self._poll_s)
            self._due.clear()
            expected, self._expected = self._expected, False
            for delay_s in RETRIES_S:
                await asyncio.sleep(delay_s)
                with suppress(VenueError):
                    if await self._look() or not expected:
                        self._since_ns = 0
                        break

    async def _look(self) -> bool:
        """Whether there was anything new."""
        since_ns, found = max(self._since_ns - OVERLAP_NS, self._opened_ns), False
        for payment in await self._read(since_ns):
            found |= self.hear(payment)
        return found

    def hear(self, payment: Payment) -> bool:
        """Delivers a payment that was not told before; whether it was one."""
        if payment.payment_id in self._seen:
            return False
        remember(self._seen, payment.payment_id, None)
        self._deliver(payment)
        return True
