"""The price monitor: what may be believed is passed on, what may not shuts the FEED gate until it is settled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.model.event import Event, Gate, GateOpened, GateShut, PriceChanged
from marketmaker.model.instrument import Ticks
from marketmaker.model.settings import PriceMonitorSettings
from marketmaker.runtime.event_queue import EventQueue
from marketmaker.runtime.price_monitor import PriceMonitor
from marketmaker.sim.loop import LoopClock
from tests.support.fakes import ManualClock, drain_queue, run_virtual


class Bench:
    """A monitor with its queue and clock; `heard` reads what reached the engine, in words."""

    def __init__(self, *, confirming: bool = True, max_jump: str = "0.05") -> None:
        self.clock = ManualClock()
        self.queue = EventQueue()
        settings = PriceMonitorSettings(max_jump=Decimal(max_jump))
        self.monitor = PriceMonitor(
            settings, self.queue, self.clock, name="ETHUSDT", confirming=confirming
        )
        self.monitor.stream_up()

    def price(self, ticks: int) -> list[str]:
        now = self.clock.now_ns()
        self.monitor.on_price(Ticks(ticks), now, now)
        return self.heard()

    def confirm(self, ticks: int) -> list[str]:
        now = self.clock.now_ns()
        self.monitor.on_confirming_price(Ticks(ticks), now, now)
        return self.heard()

    def after(self, seconds: float) -> list[str]:
        self.clock.advance(seconds)
        self.monitor.check()
        return self.heard()

    def heard(self) -> list[str]:
        return [in_words(event) for event in drain_queue(self.queue)]


def in_words(event: Event) -> str:
    match event:
        case PriceChanged():
            return str(event.price_ticks)
        case GateShut(gate=Gate.FEED):
            return f"shut: {event.reason}"
        case GateOpened(gate=Gate.FEED):
            return "open"
    raise AssertionError(event)


JUMP_UP = "shut: price jumped +20.0%, waiting until it is confirmed"


def test_the_first_price_needs_no_confirmation_and_ordinary_ones_pass() -> None:
    bench = Bench()
    assert bench.price(1000) == ["1000"]
    assert bench.price(1050) == ["1050"]
    assert bench.price(998) == ["998"]
    assert (bench.monitor.ticks, bench.monitor.last_price_ticks) == (3, 998)
    assert bench.monitor.last_price_ns == bench.clock.now_ns()


def test_a_jump_is_held_back_and_said_once() -> None:
    bench = Bench()
    bench.price(1000)
    assert bench.price(1200) == [JUMP_UP]
    assert bench.price(1210) == []
    assert bench.monitor.last_price_ticks == 1000
    assert "jumped" in bench.monitor.why_shut


def test_exactly_max_jump_is_no_jump_and_one_tick_more_is() -> None:
    bench = Bench()
    bench.price(1000)
    assert bench.price(1050) == ["1050"]
    bench = Bench()
    bench.price(1000)
    assert bench.price(1051)[0].startswith("shut")


def test_one_tick_is_never_a_jump() -> None:
    bench = Bench()
    bench.price(3)
    assert bench.price(4) == ["4"]


def test_a_confirming_price_near_the_suspect_passes_it_on_before_the_gate_opens() -> None:
    bench = Bench()
    bench.price(1000)
    bench.price(1200)
    assert bench.confirm(1190) == ["1200", "open"]
    assert bench.price(1201) == ["1201"]


def test_the_newest_suspect_is_what_gets_confirmed() -> None:
    bench = Bench()
    bench.price(1000)
    bench.price(1200)
    bench.price(1220)
    assert bench.confirm(1190) == ["1220", "open"]


def test_a_confirming_price_near_the_old_one_drops_the_suspect() -> None:
    bench = Bench()
    bench.price(1000)
    bench.price(1200)
    assert bench.confirm(1001) == ["open"]
    assert bench.monitor.last_price_ticks == 1000
    assert bench.price(1002) == ["1002"]


def test_a_lagging_second_source_cannot_make_the_gate_flap() -> None:
    bench = Bench()
    bench.price(1000)
    heard = []
    for _ in range(20):
        heard += bench.price(1200) + bench.confirm(1001)
    assert heard == [JUMP_UP, "open", JUMP_UP]
    assert bench.price(1000) == ["1000", "open"]


def test_an_ordinary_price_gives_the_second_source_its_say_back() -> None:
    bench = Bench()
    bench.price(1000)
    for _ in range(3):
        assert bench.price(1200) == [JUMP_UP]
        assert bench.confirm(1001) == ["open"]
        assert bench.price(1000) == ["1000"]


def test_three_prices_near_the_old_one_settle_a_lone_outlier() -> None:
    bench = Bench()
    bench.price(1000)
    bench.price(1200)
    assert bench.price(1001) == ["1001"]
    assert bench.price(1002) == ["1002"]
    assert bench.price(1003) == ["1003", "open"]


def test_with_a_second_source_prices_alone_never_confirm_a_jump() -> None:
    bench = Bench()
    bench.price(1000)
    assert [text for _ in range(50) for text in bench.price(1200)] == [JUMP_UP]


def test_without_a_second_source_three_further_prices_confirm_a_jump() -> None:
    bench = Bench(confirming=False)
    bench.price(1000)
    assert bench.price(1200) == [JUMP_UP]
    assert bench.price(1201) == []
    assert bench.price(1202) == []
    assert bench.price(1203) == ["1203", "open"]


def test_without_a_second_source_the_three_must_be_consecutive() -> None:
    bench = Bench(confirming=False)
    bench.price(1000)
    bench.price(1200)
    bench.price(1201)
    bench.price(1202)
    bench.price(1000)
    assert bench.price(1203) == []
    assert bench.price(1204) == []
    assert bench.price(1205) == ["1205", "open"]


@pytest.mark.parametrize("ticks", [0, -5])
def test_a_price_that_cannot_be_one_is_ignored(ticks: int) -> None:
    bench = Bench()
    assert bench.price(ticks) == []
    assert bench.monitor.last_price_ticks is None


def test_a_price_goes_stale_while_the_stream_claims_to_be_up_and_a_new_one_ends_it() -> None:
    bench = Bench()
    bench.price(1000)
    assert bench.after(5.0) == []
    assert bench.after(2.2) == ["shut: price is 7.2 s old"]
    assert bench.after(5.0) == []
    assert bench.price(1001) == ["1001", "open"]


def test_no_first_price_is_stale_too() -> None:
    assert Bench().after(6.0) == ["shut: no price 6.0 s since the stream came up"]


def test_a_confirming_price_near_the_last_counts_as_fresh() -> None:
    bench = Bench()
    bench.price(1000)
    for _ in range(5):
        assert bench.after(4.0) == []
        assert bench.confirm(1040) == []
    assert bench.after(6.0) == ["shut: price is 6.0 s old"]
    assert bench.confirm(1000) == ["open"]


def test_a_confirming_price_far_from_the_last_is_not_fresh() -> None:
    bench = Bench()
    bench.price(1000)
    bench.after(4.0)
    bench.confirm(1200)
    assert bench.after(2.0) == ["shut: price is 6.0 s old"]


def test_a_stream_that_is_down_shuts_at_once_and_the_first_price_after_up_opens() -> None:
    bench = Bench()
    bench.price(1000)
    bench.monitor.stream_down("closed")
    bench.monitor.stream_down("closed again")
    assert bench.heard() == ["shut: price stream is down: closed"]
    assert bench.after(60.0) == []
    bench.monitor.stream_up()
    assert bench.heard() == []
    assert bench.price(1001) == ["1001", "open"]


def test_a_price_before_the_stream_is_up_again_opens_nothing() -> None:
    bench = Bench()
    bench.price(1000)
    bench.monitor.stream_down("closed")
    bench.heard()
    assert bench.price(1001) == ["1001"]
    bench.monitor.stream_up()
    assert bench.price(1002) == ["1002", "open"]


def test_after_an_outage_a_price_far_away_still_has_to_be_confirmed() -> None:
    bench = Bench()
    bench.price(1000)
    bench.monitor.stream_down("closed")
    bench.monitor.stream_up()
    bench.heard()
    assert bench.price(1200) == [
        "shut: price stream is down: closed; price jumped +20.0%, waiting until it is confirmed"
    ]
    assert bench.confirm(1200) == ["1200", "open"]


def test_with_an_interval_the_newest_price_is_sent_when_it_ends() -> None:
    async def main(clock: LoopClock) -> list[tuple[int, str]]:
        queue = EventQueue()
        monitor = PriceMonitor(
            PriceMonitorSettings(send_interval_ms=50), queue, clock, name="X", confirming=True
        )
        monitor.stream_up()
        start, heard = clock.now_ns(), []
        for ticks in range(1000, 1020):
            monitor.on_price(Ticks(ticks), clock.now_ns(), clock.now_ns())
            await asyncio.sleep(0.01)
            heard += [
                ((clock.now_ns() - start) // 1_000_000, in_words(e)) for e in drain_queue(queue)
            ]
        return heard

    heard = run_virtual(main)
    assert [text for _, text in heard] == ["1000", "1004", "1009", "1014", "1019"]


def test_a_held_price_goes_out_before_the_gate_shuts() -> None:
    async def main(clock: LoopClock) -> list[str]:
        queue = EventQueue()
        monitor = PriceMonitor(
            PriceMonitorSettings(send_interval_ms=50), queue, clock, name="X", confirming=True
        )
        monitor.stream_up()
        for ticks in (1000, 1001, 1002):
            monitor.on_price(Ticks(ticks), clock.now_ns(), clock.now_ns())
        monitor.stream_down("closed")
        return [in_words(event) for event in drain_queue(queue)]

    assert run_virtual(main) == ["1002", "shut: price stream is down: closed"]


def test_the_service_finds_staleness_by_itself() -> None:
    async def main(clock: LoopClock) -> list[str]:
        queue = EventQueue()
        monitor = PriceMonitor(PriceMonitorSettings(), queue, clock, name="X", confirming=True)
        monitor.stream_up()
        monitor.on_price(Ticks(1000), clock.now_ns(), clock.now_ns())
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                await monitor.run()
        return [in_words(event) for event in drain_queue(queue)]

    assert run_virtual(main) == ["1000", "shut: price is 6.2 s old"]


@given(
    st.lists(st.integers(1, 3000), max_size=60),
    st.sampled_from(["0.001", "0.05", "0.5", "2"]),
    st.booleans(),
)
def test_no_two_prices_in_a_row_that_are_passed_on_unconfirmed_are_far_apart(
    prices: list[int], max_jump: str, cheap_walk: bool
) -> None:
    """The calm band is a shortcut only: what is passed on is exactly what the jump rule lets through."""
    bench = Bench(max_jump=max_jump)
    last: int | None = None
    for number, raw in enumerate(prices):
        ticks = 1000 + raw % 80 if cheap_walk and number % 5 else raw
        passed = [text for text in bench.price(ticks) if text.isdigit()]
        near = last is None or abs(ticks - last) <= max(Decimal(1), Decimal(max_jump) * last)
        assert passed == ([str(ticks)] if near else [])
        if near:
            last = ticks
