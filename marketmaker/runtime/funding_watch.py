"""Keeps entries out of a symbol whose next funding payment would cost more than the operator allows."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import structlog

from marketmaker.adapters.protocol import Adapter
from marketmaker.errors import VenueError
from marketmaker.model.event import Gate, GateOpened, GateShut
from marketmaker.model.settings import GridSide
from marketmaker.runtime import log_events
from marketmaker.runtime.clock import Clock
from marketmaker.runtime.send_line import Channel

REQUEST_TIMEOUT_S = 30.0


class FundingWatch:
    """`ceiling` is a fraction of notional per payment, on what this side of the market would pay.

    A rate that cannot be read changes nothing: the gate stays as it is until the next reading.
    """

    def __init__(
        self,
        channel: Channel,
        adapter: Adapter,
        clock: Clock,
        *,
        side: GridSide,
        ceiling: Decimal,
        interval_s: float,
    ) -> None:
        self._channel = channel
        self._adapter = adapter
        self._clock = clock
        self._side = side
        self._ceiling = ceiling
        self._interval_s = interval_s
        self._shut = False
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger().bind(
            service="funding_watch", instrument=channel.name
        )

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    rate = await self._adapter.fetch_funding_rate(self._channel.instrument)
            except (VenueError, TimeoutError) as error:
                self._log.warning(log_events.FUNDING_FAILED, error=str(error) or "no answer")
            else:
                self.hear(rate)
            await asyncio.sleep(self._interval_s)

    def hear(self, rate: Decimal) -> None:
        cost = funding_cost(rate, self._side)
        if (cost > self._ceiling) == self._shut:
            return
        self._shut = not self._shut
        now_ns = self._clock.now_ns()
        if not self._shut:
            self._log.info(log_events.FUNDING_ACCEPTED, rate=f"{rate:f}")
            self._channel.queue.put(GateOpened(gate=Gate.FUNDING, ts_ns=now_ns))
            return
        reason = f"next funding costs {cost:f} of notional, max_funding_rate is {self._ceiling:f}"
        self._log.warning(log_events.FUNDING_TOO_HIGH, rate=f"{rate:f}", reason=reason)
        self._channel.queue.put(GateShut(gate=Gate.FUNDING, reason=reason, ts_ns=now_ns))


def funding_cost(rate: Decimal, side: GridSide) -> Decimal:
    """What a grid of this side would pay, as a fraction of notional; a neutral one the worse of both."""
    if side is GridSide.NEUTRAL:
        return abs(rate)
    return rate if side is GridSide.LONG else -rate
