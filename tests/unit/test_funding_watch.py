"""A funding payment that would cost too much keeps entries out; one that cannot be read changes nothing."""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketmaker.errors import OutcomeUnknown
from marketmaker.model.event import Event, GateOpened, GateShut
from marketmaker.model.instrument import Instrument
from marketmaker.model.settings import GridSide
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.funding_watch import FundingWatch, funding_cost
from marketmaker.runtime.send_line import Channel
from tests.support.toy_venue import ETH


class Clock:
    def now_ns(self) -> int:
        return 1


class RateSource:
    """Answers the listed rates in turn; None stands for an answer that never came."""

    def __init__(self, *rates: str | None) -> None:
        self.rates = list(rates)

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        rate = self.rates.pop(0)
        if rate is None:
            raise OutcomeUnknown("timeout")
        return Decimal(rate)


def watch_of(side: GridSide, queue: EventQueue) -> FundingWatch:
    return FundingWatch(
        Channel(name="ETHUSDT", instrument=ETH, queue=queue),
        RateSource(),  # type: ignore[arg-type]
        Clock(),
        side=side,
        ceiling=Decimal("0.001"),
        interval_s=10,
    )


def drain(queue: EventQueue) -> list[Event]:
    events: list[Event] = []
    while (event := queue.poll()) is not None:
        events.append(event)
    return events


def test_a_rate_above_the_ceiling_shuts_the_gate_once_and_a_lower_one_opens_it_once() -> None:
    queue = EventQueue()
    watch = watch_of(GridSide.LONG, queue)
    for rate in ("0.0005", "0.0011", "0.002", "0.001", "0.0001"):
        watch.hear(Decimal(rate))
    shut, opened = drain(queue)
    assert isinstance(shut, GateShut)
    assert "0.0011" in shut.reason
    assert "0.001" in shut.reason
    assert isinstance(opened, GateOpened)


@pytest.mark.parametrize(
    ("side", "rate", "cost"),
    [
        (GridSide.LONG, "0.002", "0.002"),
        (GridSide.LONG, "-0.002", "-0.002"),
        (GridSide.SHORT, "0.002", "-0.002"),
        (GridSide.SHORT, "-0.002", "0.002"),
        (GridSide.NEUTRAL, "-0.002", "0.002"),
    ],
)
def test_only_what_this_side_would_pay_counts(side: GridSide, rate: str, cost: str) -> None:
    assert funding_cost(Decimal(rate), side) == Decimal(cost)


async def test_a_rate_that_cannot_be_read_leaves_the_gate_as_it_is() -> None:
    queue = EventQueue()
    watch = watch_of(GridSide.LONG, queue)
    source = RateSource("0.005", None, "0.005", "0.0")
    watch._adapter = source  # type: ignore[assignment]
    watch._interval_s = 0
    with pytest.raises(IndexError):
        await watch.run()
    assert [type(event) for event in drain(queue)] == [GateShut, GateOpened]
