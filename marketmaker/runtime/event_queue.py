"""One symbol's way into its engine: prices conflate, everything else keeps its order.

Only the newest price is kept. While it lies in the quiet band (where the core has said that it would do nothing) it
is remembered but wakes nobody; outside it is loud. Whenever anything is delivered, a pending price goes first, so a
decision on an order event never uses an older price than the latest known, and skipping quiet ticks changes no
outcome. The awkward spot: a price may therefore be delivered before events that were seen earlier, so `ts_ns` is not
monotonic across a price and the events behind it.

Full. Everything but prices is bounded. When the bound is reached the order reports of the backlog are given up, for
the venue can tell them again: an `OrderStreamLost` takes the place of the first of them, `OrderStreamRestored` closes
the backlog (unless the stream really is down), and `on_overflow` asks for a snapshot. Real stream losses in between
fall inside that bracket and go too. Refusals, gates, snapshots and stop requests are never given up; when they alone
fill half the bound the engine has stopped reading, which is a bug of ours.

Who reads. `serve` names the one consumer. It is called with event after event, never from inside `put` or
`offer_price`: within a turn (`runtime.turn`) at the turn's end, otherwise in the loop's next turn. Events must not flow
for ever without letting others run: after `STREAK_MAX` of them the rest waits for another turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from marketmaker.errors import InvariantBroken
from marketmaker.model.event import (
    Event,
    OrderReported,
    OrderStreamLost,
    OrderStreamRestored,
    PriceChanged,
)
from marketmaker.model.instrument import Ticks
from marketmaker.runtime.turn import Turn

BOUND: Final = 100_000
STREAK_MAX: Final = 64
NEVER_QUIET: Final = (1, 0)
"""An empty band: no price is inside."""

RETOLD: Final = (OrderReported, OrderStreamLost, OrderStreamRestored)
"""What an overflow gives up, because a snapshot says it again."""


class EventQueue:
    """Many producers, exactly one consumer, all on one event loop.

    `prompt`: the price delivered last was acted on as soon as it was heard, not kept for later.
    Counters: `prices_quiet`, `prices_loud` (as they came in), `prices_delivered`, `depth_max` (events waiting, price
    not counted), `overflows`.
    """

    def __init__(self, *, bound: int = BOUND, turn: Turn | None = None) -> None:
        self._bound = bound
        self._turn = turn or Turn()
        self._events: deque[Event] = deque()
        self._consume: Callable[[Event], None] | None = None
        self._failed: Callable[[Exception], None] | None = None
        self._due = False
        self._order_stream_up = False
        self._price: Ticks | None = None
        self._price_venue_ns = 0
        self._price_local_ns = 0
        self._price_loud = False
        self._quiet_low, self._quiet_high = NEVER_QUIET
        self.on_overflow: Callable[[str], None] | None = None
        self.prompt = False
        self.prices_quiet = 0
        self.prices_loud = 0
        self.prices_delivered = 0
        self.depth_max = 0
        self.overflows = 0

    def __len__(self) -> int:
        return len(self._events)

    @property
    def prices_seen(self) -> int:
        return self.prices_quiet + self.prices_loud

    @property
    def quiet_band(self) -> tuple[int, int] | None:
        """Lowest and highest price in ticks, both inside, at which nobody is woken. None: every price is loud."""
        band = (self._quiet_low, self._quiet_high)
        return None if band == NEVER_QUIET else band

    @quiet_band.setter
    def quiet_band(self, band: tuple[int, int] | None) -> None:
        self._quiet_low, self._quiet_high = band if band is not None else NEVER_QUIET
        if self._price is not None:
            self._wake_if_loud()

    def offer_price(self, price_ticks: Ticks, ts_venue_ns: int, ts_local_ns: int) -> None:
        """Replace the pending price. Called for every tick; builds nothing."""
        self._price = price_ticks
        self._price_venue_ns = ts_venue_ns
        self._price_local_ns = ts_local_ns
        if self._quiet_low <= price_ticks <= self._quiet_high:
            self.prices_quiet += 1
            self._price_loud = False
            return
        self.prices_loud += 1
        self._price_loud = True
        self._wake()

    def put_price(self, event: PriceChanged) -> None:
        self.offer_price(event.price_ticks, event.ts_venue_ns, event.ts_ns)

    def put(self, event: Event) -> None:
        """Raises InvariantBroken when the consumer has stopped reading."""
        if isinstance(event, PriceChanged):
            self.put_price(event)
            return
        if isinstance(event, OrderStreamRestored):
            self._order_stream_up = True
        elif isinstance(event, OrderStreamLost):
            self._order_stream_up = False
        if len(self._events) >= self._bound:
            self._give_up_reports(event)
        self._events.append(event)
        self.depth_max = max(self.depth_max, len(self._events))
        self._wake()

    def serve(self, consume: Callable[[Event], None], failed: Callable[[Exception], None]) -> None:
        """From here on `consume` gets every event. What it raises goes to `failed`, and nothing more is consumed.

        Raises InvariantBroken when somebody consumes already.
        """
        if self._consume is not None:
            raise InvariantBroken("an event queue has a second consumer")
        self._consume, self._failed = consume, failed
        self._wake_if_loud()

    def release(self) -> None:
        """Nobody consumes any more; what waits goes on waiting."""
        self._consume = self._failed = None

    def poll(self) -> Event | None:
        """The next event to be consumed, None if there is nothing to wake anybody for."""
        price = self._price
        if price is not None and (self._events or not self._quiet_low <= price <= self._quiet_high):
            self._price = None
            self.prompt = self._price_loud
            self.prices_delivered += 1
            return PriceChanged(
                price_ticks=price, ts_venue_ns=self._price_venue_ns, ts_ns=self._price_local_ns
            )
        return self._events.popleft() if self._events else None

    def _wake_if_loud(self) -> None:
        price = self._price
        if self._events or (price is not None and not self._quiet_low <= price <= self._quiet_high):
            self._wake()

    def _wake(self) -> None:
        if self._due or self._consume is None:
            return
        self._due = True
        if self._turn.open:
            self._turn.add(self._pump)
        else:
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        consume = self._consume
        try:
            for _ in range(STREAK_MAX):
                if consume is None or (event := self.poll()) is None:
                    self._due = False
                    return
                consume(event)
                consume = self._consume
        except Exception as error:
            failed = self._failed
            self._due = False
            self.release()
            assert failed is not None
            failed(error)
            return
        self._due = False
        self._wake_if_loud()

    def _give_up_reports(self, newcomer: Event) -> None:
        kept: deque[Event] = deque()
        lost: OrderStreamLost | None = None
        reason = "event queue full: order reports given up, asking the venue"
        for event in self._events:
            if not isinstance(event, RETOLD):
                kept.append(event)
            elif lost is None:
                lost = OrderStreamLost(reason=reason, ts_ns=event.ts_ns)
                kept.append(lost)
        if lost is None or len(kept) * 2 > self._bound:
            raise InvariantBroken(
                f"{len(self._events)} events wait, mostly not order reports: nobody reads the queue"
            )
        if self._order_stream_up:
            kept.append(OrderStreamRestored(ts_ns=newcomer.ts_ns))
        self._events = kept
        self.overflows += 1
        if self.on_overflow is not None:
            self.on_overflow(reason)
