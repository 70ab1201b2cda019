"""Requests over an order socket: each goes out before its caller goes on, and ends in one outcome, whatever happens.

A `Flight` is what was asked for together: one outcome for each of its orders. A request carries one order, or as many
as the venue takes in a frame. What is on its way when the socket ends, or has no answer in time, has an unknown fate;
what the socket would not take was never sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.websocket import Link
from marketmaker.errors import NotSent, OutcomeUnknown, VenueError
from marketmaker.model.order import OrderReport


@dataclass(slots=True, eq=False)
class Flight:
    """Requests that are answered together. `about`: the orders, for venues whose answers do not repeat them."""

    contract: Contract
    operation: str
    future: asyncio.Future[list[Any]]
    outcomes: list[Any]
    open: int
    about: Sequence[Any] = ()

    def land(self, index: int, outcome: OrderReport | VenueError | None) -> None:
        """None: accepted, the result comes by stream."""
        if self.outcomes[index] is not IN_THE_AIR:
            return
        self.outcomes[index] = outcome
        self.open -= 1
        if self.open == 0 and not self.future.done():
            self.future.set_result(self.outcomes)


IN_THE_AIR: Final = object()


@dataclass(slots=True, eq=False)
class Sent:
    """One request on its way: it carries the flight's orders `first` up to `last`, which is not its own. `deadline_s`: by
    the loop's clock, after which no answer is waited for."""

    link: Link
    flight: Flight
    first: int
    last: int
    deadline_s: float

    def land(self, outcomes: Sequence[OrderReport | VenueError | None]) -> None:
        """One outcome for each order. A venue that answers fewer has left the rest unknown."""
        for index, outcome in zip(range(self.first, self.last), outcomes, strict=False):
            self.flight.land(index, outcome)
        if len(outcomes) < self.last - self.first:
            self.land_all(OutcomeUnknown("the answer does not speak of this order"))

    def land_all(self, outcome: VenueError) -> None:
        for index in range(self.first, self.last):
            self.flight.land(index, outcome)


class Requests:
    """What is on its way over the order socket. `refused(operation)`: why nothing may be sent just now, or None."""

    def __init__(
        self,
        *,
        venue: str,
        timeout_s: float,
        refused: Callable[[str], VenueError | None],
    ) -> None:
        self._venue = venue
        self._timeout_s = timeout_s
        self._refused = refused
        self._in_flight: dict[str, Sent] = {}
        self._last_number = 0
        self._timer: asyncio.TimerHandle | None = None

    def send(
        self,
        contract: Contract,
        operation: str,
        link: Link,
        count: int,
        build: Callable[[int, int, int], bytes],
        *,
        most: int = 1,
        about: Sequence[Any] = (),
    ) -> asyncio.Future[list[Any]]:
        """`build(first, last, number)`: the request with this number for the orders `first` up to `last`, at most
        `most` of them; the venue's answer names the number in decimal."""
        loop = asyncio.get_running_loop()
        flight = Flight(
            contract, operation, loop.create_future(), [IN_THE_AIR] * count, count, about
        )
        if count == 0:
            flight.future.set_result([])
            return flight.future
        if (refusal := self._refused(operation)) is not None:
            for index in range(count):
                flight.land(index, refusal)
            return flight.future
        deadline_s = loop.time() + self._timeout_s
        for first in range(0, count, most):
            last = min(first + most, count)
            self._last_number = number = self._last_number + 1
            key = str(number)
            sent = self._in_flight[key] = Sent(link, flight, first, last, deadline_s)
            try:
                link.send(build(first, last, number))
            except NotSent as error:
                del self._in_flight[key]
                sent.land_all(NotSent(error.message, venue=self._venue, operation=operation))
        if self._timer is None and self._in_flight:
            self._timer = loop.call_at(deadline_s, self._expire)
        return flight.future

    def answered(self, number: str) -> Sent | None:
        """The request that this answer belongs to; None for one that is not on its way (any more)."""
        return self._in_flight.pop(number, None)

    def gone(self, link: Link, reason: str) -> None:
        """The socket has ended."""
        self._lose(lambda sent: sent.link is link, reason)

    def _expire(self) -> None:
        """One timer watches over the oldest, which has the earliest deadline."""
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._in_flight:
            oldest = next(iter(self._in_flight.values()))
            if oldest.deadline_s > loop.time():
                self._timer = loop.call_at(oldest.deadline_s, self._expire)
                return
            flight = oldest.flight
            self._lose(lambda sent, flight=flight: sent.flight is flight, "no answer in time")  # type: ignore[misc]

    def _lose(self, hit: Callable[[Sent], bool], reason: str) -> None:
        """Nobody knows what became of these requests."""
        for key in [key for key, sent in self._in_flight.items() if hit(sent)]:
            sent = self._in_flight.pop(key)
            sent.land_all(
                OutcomeUnknown(reason, venue=self._venue, operation=sent.flight.operation)
            )
