"""The whole daemon against a paper exchange that misbehaves, on virtual time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketmaker.app import Application
from marketmaker.core import readings
from marketmaker.core.slot import SlotState
from marketmaker.errors import (
    AuthenticationRefused,
    ConfigError,
    InvariantBroken,
    OutcomeUnknown,
    Overloaded,
    RateLimited,
)
from marketmaker.model.event import Event, Gate, GateOpened, GateShut
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import NewOrder, Side
from marketmaker.model.settings import (
    Credentials,
    ExecutionSettings,
    GridSide,
    PositionPolicy,
    SymbolSettings,
)
from marketmaker.sim.synthetic import SyntheticFeed
from marketmaker.sim.venue import PaperExchange
from tests.support.application import (
    CHEAP,
    Market,
    Run,
    View,
    as_another_bot,
    make_application,
    make_exchange,
    make_grid,
    make_settings,
    problems_of,
    quiet_exchange,
    running,
    trade_by_hand,
    with_grid,
)
from tests.support.paper import START_NS, loop_now_ns, make_order, on_virtual_time

ETH = SymbolSettings(name="ETHUSDT", grid=make_grid("0.5"))
BTC = SymbolSettings(name="BTCUSDT", grid=make_grid("8", "300"))
BUSY = make_settings(ETH)
TWO = make_settings(ETH, BTC)


# A day without trouble


@pytest.mark.parametrize("side", list(GridSide))
@on_virtual_time
async def test_quiet_trading_on_any_side_ends_with_equal_books(side: GridSide) -> None:
    settings = with_grid(TWO, side=side)
    exchange = make_exchange(settings)
    async with running(settings, exchange) as run:
        await asyncio.sleep(600)
    assert problems_of(run.report) == []
    assert sum(run.totals(s.name).fills for s in settings.symbols) == exchange.stats().fills > 20


# The order stream


@on_virtual_time
async def test_what_fills_while_the_order_stream_is_down_is_booked_and_nothing_is_placed() -> None:
    exchange = make_exchange(BUSY)
    async with running(BUSY, exchange) as run:
        await run.until_quoting()
        await asyncio.sleep(120)
        exchange.drop_order_stream()
        await asyncio.sleep(0.1)
        placed, fills, booked = (
            run.app.executor.placed,
            exchange.stats().fills,
            run.totals().fills,
        )
        await run.until(lambda: exchange.stats().fills >= fills + 3, within_s=600)
        await asyncio.sleep(60)
        assert run.app.executor.placed == placed
        assert readings.not_quoting(run.symbol().manager)[0] == "order stream is not live"
        exchange.restore_order_stream()
        await run.until(lambda: run.app.executor.placed > placed)
        await asyncio.sleep(5)
        assert run.totals().fills >= booked + 3
        assert run.totals().fills == exchange.stats().fills
    assert problems_of(run.report) == []


@on_virtual_time
async def test_a_stream_that_comes_and_goes_all_the_time_loses_nothing() -> None:
    exchange = make_exchange(BUSY)
    async with running(BUSY, exchange) as run:
        await run.until_quoting()
        for place in range(60):
            exchange.drop_order_stream()
            await asyncio.sleep(0.003 * (place % 7))
            exchange.restore_order_stream()
            await asyncio.sleep(7 + place % 5)
        await asyncio.sleep(60)
        assert run.totals().fills == exchange.stats().fills > 20
    assert problems_of(run.report) == []


# Limits


class Boastful(View):
    """Promises far more orders a second than the exchange takes."""

    @property
    def capabilities(self) -> Any:
        return replace(self.inner.capabilities, orders_per_s=1000.0, order_burst=1000)


@on_virtual_time
async def test_running_into_the_venues_rate_limit_loses_no_order() -> None:
    settings = replace(
        BUSY,
        paper=replace(CHEAP, orders_per_s=2, order_burst=12),
        execution=ExecutionSettings(orders_per_s=500, burst=500),
    )
    exchange = make_exchange(settings)
    async with running(settings, Boastful(exchange)) as run:
        await run.until_quoting()
        await asyncio.sleep(600)
        assert exchange.stats().limited > 0
        manager = run.symbol().manager
        await run.until(
            lambda: manager.open_orders == exchange.open_order_count("ETHUSDT") > 0, within_s=1200
        )
    assert problems_of(run.report) == []
    assert run.totals().fills == exchange.stats().fills > 5


@on_virtual_time
async def test_a_budget_of_one_order_a_second_delays_orders_and_loses_none() -> None:
    """The last cancels are paid from it too, so the stop is given the time they take."""
    settings = replace(
        TWO, execution=ExecutionSettings(orders_per_s=1, burst=5), shutdown_timeout_s=120.0
    )
    exchange = make_exchange(settings)
    async with running(settings, exchange) as run:
        await asyncio.sleep(900)
        assert exchange.stats().limited == 0
    assert problems_of(run.report) == []
    assert run.stopped_after_s < settings.shutdown_timeout_s


@on_virtual_time
async def test_margin_that_runs_out_stops_buying_until_it_is_back() -> None:
    settings = replace(
        make_settings(SymbolSettings(name="ETHUSDT", grid=make_grid("5", "100"))),
        paper=replace(CHEAP, balance=Decimal(300)),
    )
    exchange = quiet_exchange(settings)
    market = Market(exchange)
    async with running(settings, exchange) as run:
        await run.until_built()
        market.go("3000")
        await run.until_quoting()
        for price in range(2999, 2960, -1):
            market.go(str(price))
            await asyncio.sleep(0.3)
        manager = run.symbol().manager
        await run.until(
            lambda: "insufficient margin: entries wait" in readings.not_quoting(manager)
        )
        await asyncio.sleep(1)
        sides = {slot.order.side for slot in manager.live.values() if slot.order is not None}
        assert sides == {Side.SELL}
        sells = run.totals().sells
        for price in range(2960, 3000):
            market.go(str(price))
            await asyncio.sleep(0.5)
        assert run.totals().sells > sells
        await run.until(lambda: not readings.not_quoting(manager), within_s=60)
        sides = {slot.order.side for slot in manager.live.values() if slot.order is not None}
        assert Side.BUY in sides
    assert problems_of(run.report) == []


@on_virtual_time
async def test_a_liquidation_leaves_the_daemon_alive_and_its_slots_as_empty_as_the_account() -> (
    None
):
    settings = replace(
        make_settings(SymbolSettings(name="ETHUSDT", grid=make_grid("5", "100", buy_window=30))),
        paper=replace(CHEAP, balance=Decimal(400), leverage=Decimal(10)),
        reconcile_interval_s=20.0,
    )
    exchange = quiet_exchange(settings)
    market = Market(exchange)
    async with running(settings, exchange) as run:
        await run.until_built()
        market.go("3000")
        await run.until_quoting()
        price = 3000
        while not exchange.stats().liquidations and price > 1500:
            price -= 5
            market.go(str(price))
            await asyncio.sleep(0.1)
        assert exchange.stats().liquidations == 1
        position = await exchange.fetch_position(market.instrument)
        assert position.qty_lots == 0 or exchange.stats().fills
        manager = run.symbol().manager

        async def at_venue() -> int:
            return (await exchange.fetch_position(market.instrument)).qty_lots

        for _ in range(120):
            market.go(str(price))
            await asyncio.sleep(1)
        assert manager.books.inventory_lots == await at_venue()
        assert not run.task.done()
        assert run.report is None
    assert run.report is not None
    assert run.report.reading is not None
    assert run.report.exit_code == 0
    (row,) = run.report.reading.symbols
    assert row.totals.inventory_lots == row.end.qty_lots
    assert run.report.reading.open_orders == 0


# The price feed


class Mutable(View):
    """While `muted`, no price comes, though the stream claims to be up."""

    muted = False

    async def stream_prices(self, instrument: Instrument, listener: Any) -> None:
        outer = self

        class Ear(View):
            def on_price(self, *args: Any) -> None:
                if not outer.muted:
                    self.inner.on_price(*args)

            def on_confirming_price(self, *args: Any) -> None:
                if not outer.muted:
                    self.inner.on_confirming_price(*args)

        await self.inner.stream_prices(instrument, Ear(listener))


@on_virtual_time
async def test_a_silent_feed_takes_the_entries_off_leaves_the_exits_and_both_come_back() -> None:
    exchange = make_exchange(BUSY)
    adapter = Mutable(exchange)
    async with running(BUSY, adapter) as run:
        await run.until_quoting()
        manager = run.symbol().manager
        await run.until(lambda: manager.books.inventory_lots > 0, within_s=600)
        await asyncio.sleep(1)
        adapter.muted = True
        await asyncio.sleep(8)
        assert Gate.FEED in manager.gates
        orders = [slot.order for slot in manager.live.values() if slot.order is not None]
        assert {order.is_exit for order in orders} == {True}
        adapter.muted = False
        await run.until(lambda: Gate.FEED not in manager.gates)
        await run.until(lambda: any(s.order and not s.order.is_exit for s in manager.live.values()))
    assert problems_of(run.report) == []


# Somebody else


@on_virtual_time
async def test_a_trade_by_hand_is_adopted_after_two_readings_and_offered() -> None:
    settings = replace(BUSY, reconcile_interval_s=30.0)
    exchange = quiet_exchange(settings)
    market = Market(exchange)
    async with running(settings, exchange) as run:
        await run.until_built()
        market.go("3000")
        await run.until_quoting()
        manager = run.symbol().manager
        await run.until(lambda: manager.position_settled)
        await asyncio.sleep(1)
        taken = run.symbol().reconciler.taken
        report = trade_by_hand(exchange, "ETHUSDT", Side.BUY, 300_100, 50)
        assert report.filled_lots == 50
        await run.until(
            lambda: run.symbol().reconciler.taken == taken + 1, within_s=40, step_s=0.01
        )
        await asyncio.sleep(0.1)
        assert manager.books.inventory_lots == 0
        await run.until(lambda: manager.books.inventory_lots == 50, within_s=40)
        assert run.symbol().reconciler.taken == taken + 2
        await run.until(
            lambda: (
                sum(
                    s.order.leaves_lots
                    for s in manager.live.values()
                    if s.order and s.order.is_exit
                )
                == 50
            )
        )
    assert run.report is not None
    assert run.report.reading is not None
    assert run.report.exit_code == 0
    (row,) = run.report.reading.symbols
    assert row.totals.inventory_lots == row.end.qty_lots == 50
    assert run.report.reading.open_orders == 0


@on_virtual_time
async def test_orders_of_somebody_else_are_left_alone() -> None:
    exchange = quiet_exchange(BUSY)
    market = Market(exchange)
    async with running(BUSY, exchange) as run:
        await run.until_built()
        market.go("3000")
        await run.until_quoting()
        foreign = make_order(Side.BUY, 200_000, 100, sequence=5)
        with as_another_bot(exchange, "zzz"):
            exchange._exchange.place("ETHUSDT", foreign, loop_now_ns())
        await asyncio.sleep(200)
        count = exchange.open_order_count("ETHUSDT")
        assert count == run.symbol().manager.open_orders + 1
    assert problems_of(run.report) == []
    assert exchange.open_order_count("ETHUSDT") == 1


@on_virtual_time
async def test_a_position_of_the_owners_own_does_not_keep_the_summary_from_being_read() -> None:
    settings = with_grid(
        replace(BUSY, reconcile_interval_s=10.0), on_position_difference=PositionPolicy.IGNORE
    )
    exchange = quiet_exchange(settings)
    market = Market(exchange)
    async with running(settings, exchange) as run:
        await run.until_built()
        market.go("3000")
        await run.until_quoting()
        trade_by_hand(exchange, "ETHUSDT", Side.BUY, 300_100, 50)
        await asyncio.sleep(60)
        assert run.totals().inventory_lots == 0
    assert run.report is not None
    assert run.report.reading is not None
    (row,) = run.report.reading.symbols
    assert (row.totals.inventory_lots, row.end.qty_lots) == (0, 50)
    assert run.report.reading.open_orders == 0


# One symbol's trouble


def break_core(run: Run, name: str) -> None:
    def decide(event: Event) -> Any:
        raise InvariantBroken("broken on purpose")

    run.symbol(name).engine._decide = decide


@on_virtual_time
async def test_one_symbols_failure_takes_its_orders_off_and_leaves_the_other_trading() -> None:
    exchange = make_exchange(TWO)
    async with running(TWO, exchange) as run:
        await run.until_quoting("ETHUSDT")
        await run.until_quoting("BTCUSDT")
        await asyncio.sleep(30)
        break_core(run, "ETHUSDT")
        await run.until(lambda: bool(run.symbol("ETHUSDT").failed))
        await run.until(lambda: exchange.open_order_count("ETHUSDT") == 0, within_s=5)
        placed = run.totals("BTCUSDT").orders_placed
        await asyncio.sleep(600)
        assert run.totals("BTCUSDT").orders_placed > placed
        assert exchange.open_order_count("ETHUSDT") == 0
        assert not run.task.done()
    assert run.report is not None
    assert run.report.exit_code == 1
    assert run.report.reading is not None
    assert run.report.reading.open_orders == 0
    assert [row.name for row in run.report.reading.symbols] == ["ETHUSDT", "BTCUSDT"]


@on_virtual_time
async def test_a_failed_symbols_waiting_orders_are_never_sent() -> None:
    """Orders behind a tight budget, and one on its way, when the core breaks."""
    settings = replace(TWO, execution=ExecutionSettings(orders_per_s=1, burst=3))
    exchange = make_exchange(settings)
    async with running(settings, exchange) as run:
        await run.until_quoting("ETHUSDT")
        assert run.app.executor.waiting > 0
        break_core(run, "ETHUSDT")
        await run.until(lambda: bool(run.symbol("ETHUSDT").failed))
        await run.until(lambda: exchange.open_order_count("ETHUSDT") == 0, within_s=10)
        for _ in range(120):
            await asyncio.sleep(1)
            assert exchange.open_order_count("ETHUSDT") == 0
    assert run.report is not None
    assert run.report.reading is not None
    assert run.report.reading.open_orders == 0


@on_virtual_time
async def test_when_every_symbol_has_failed_the_process_ends_with_nothing_open() -> None:
    exchange = make_exchange(TWO)
    run = Run(make_application(TWO, exchange))
    await run.until_quoting("ETHUSDT")
    await asyncio.sleep(10)
    break_core(run, "ETHUSDT")
    break_core(run, "BTCUSDT")
    report = await asyncio.wait_for(run.task, 60)
    assert report.exit_code == 1
    assert "broken on purpose" in report.exit_reason
    assert report.reading is not None
    assert report.reading.open_orders == 0


class SlowAbout(View):
    """Every reading of one instrument takes five minutes."""

    name_of_slow = "ETHUSDT"
    slow = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not name.startswith("fetch_"):
            return method

        async def call(instrument: Any, *args: Any) -> Any:
            if self.slow and getattr(instrument, "name", "") == self.name_of_slow:
                await asyncio.sleep(300)
            return await method(instrument, *args)

        return call


@on_virtual_time
async def test_slow_answers_about_one_symbol_do_not_stall_the_other() -> None:
    exchange = make_exchange(TWO)
    adapter = SlowAbout(exchange)
    async with running(TWO, adapter) as run:
        await run.until_built("BTCUSDT")
        adapter.slow = True
        await run.until_quoting("BTCUSDT")
        placed, taken = run.totals("BTCUSDT").orders_placed, run.symbol("BTCUSDT").reconciler.taken
        await asyncio.sleep(600)
        assert run.totals("BTCUSDT").orders_placed > placed + 10
        assert run.symbol("BTCUSDT").reconciler.taken >= taken + 9
        assert run.totals("ETHUSDT").orders_placed == 0
        report = await run.stop()
    assert run.stopped_after_s <= TWO.shutdown_timeout_s
    assert report.exit_code == 1
    assert any(line.startswith("ETHUSDT: open orders") for line in report.unconfirmed)
    assert not any("BTCUSDT" in line for line in report.unconfirmed)
    assert exchange.open_order_count("BTCUSDT") == 0


# The end


@pytest.mark.parametrize("ms", range(0, 40, 2))
@on_virtual_time
async def test_a_stop_at_any_moment_around_the_first_orders_leaves_nothing_open(ms: int) -> None:
    """The first placements leave, are accepted and are heard of within these milliseconds."""
    exchange = make_exchange(TWO)
    async with running(TWO, exchange) as run:
        await run.until_built("BTCUSDT")
        await run.until(lambda: run.symbol().reconciler.taken > 0, step_s=0.0005)
        await asyncio.sleep(ms / 1000)
        await run.stop("SIGTERM")
        executor = run.app.executor
    assert problems_of(run.report) == []
    assert executor.placed == 0 or executor.last_place_sent_ns <= executor.last_cancel_sent_ns
    assert exchange.stats().accepted == executor.placed


async def until_placements_hang(run: Run, exchange: PaperExchange) -> None:
    """New orders have reached the venue, and nobody will answer for them."""
    exchange.hang_placements = True
    placed = run.app.executor.placed
    await run.until(lambda: run.app.executor.placed > placed, within_s=600, step_s=0.001)


@on_virtual_time
async def test_stopping_while_placements_hang_is_confirmed_by_the_order_stream() -> None:
    exchange = make_exchange(BUSY)
    async with running(BUSY, exchange) as run:
        await run.until_quoting()
        await asyncio.sleep(30)
        await until_placements_hang(run, exchange)
        await run.stop("SIGTERM")
    assert run.stopped_after_s < 1
    assert problems_of(run.report) == []


@on_virtual_time
async def test_stopping_while_placements_hang_and_no_stream_tells_of_them_asks_for_each() -> None:
    """Their requests run out before the shutdown timeout does, so that each can be asked for by its id."""
    exchange = make_exchange(BUSY)
    async with running(BUSY, exchange) as run:
        await run.until_quoting()
        await asyncio.sleep(30)
        await until_placements_hang(run, exchange)
        exchange.drop_order_stream()
        await run.stop("SIGTERM")
    assert BUSY.execution.request_timeout_s - 1 < run.stopped_after_s <= BUSY.shutdown_timeout_s
    assert problems_of(run.report) == []


@on_virtual_time
async def test_stopping_while_placements_hang_is_done_in_time_and_names_what_is_not_confirmed() -> (
    None
):
    settings = replace(BUSY, shutdown_timeout_s=5.0)
    exchange = make_exchange(settings)
    async with running(settings, exchange) as run:
        await run.until_quoting()
        await asyncio.sleep(30)
        await until_placements_hang(run, exchange)
        exchange.drop_order_stream()
        pending = [
            slot.order.client_order_id.sequence
            for slot in run.symbol().manager.live.values()
            if slot.state is SlotState.PENDING and slot.order is not None
        ]
        report = await run.stop("SIGTERM")
    assert pending
    assert run.stopped_after_s <= settings.shutdown_timeout_s
    assert report.exit_code == 1
    (line,) = report.unconfirmed
    assert "placement without an answer" in line
    assert all(str(sequence) in line for sequence in pending)
    assert report.reading is not None
    assert report.reading.open_orders == 0


class Limbo(View):
    """From `lost` on, placements arrive a minute late and are never answered."""

    lost = False

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Any:
        if not self.lost:
            return self.inner.place(instrument, orders)

        async def late() -> Any:
            await asyncio.sleep(60)
            return await self.inner.place(instrument, orders)

        return late()


@on_virtual_time
async def test_a_placement_that_nobody_can_find_is_named_and_the_exit_code_is_1() -> None:
    settings = replace(BUSY, shutdown_timeout_s=5.0)
    exchange = make_exchange(settings)
    adapter = Limbo(exchange)
    async with running(settings, adapter) as run:
        await run.until_quoting()
        await asyncio.sleep(30)
        adapter.lost = True
        placed = run.app.executor.placed
        await run.until(lambda: run.app.executor.placed > placed, within_s=600)
        report = await run.stop("SIGTERM")
    assert run.stopped_after_s <= settings.shutdown_timeout_s
    assert report.exit_code == 1
    assert any("placement without an answer" in line for line in report.unconfirmed)


class Dead(View):
    """From `dead` on, nothing is ever answered."""

    dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if not (name.startswith("fetch_") or name in {"place", "cancel"}):
            return method

        async def never() -> Any:
            await asyncio.Event().wait()

        return lambda *args: never() if self.dead else method(*args)


@pytest.mark.parametrize("shutdown_timeout_s", [1.0, 5.0, 20.0, 60.0])
@on_virtual_time
async def test_stopping_while_the_venue_answers_nothing_is_done_in_time(
    shutdown_timeout_s: float,
) -> None:
    settings = replace(
        make_settings(
            SymbolSettings(name="ETHUSDT", grid=make_grid("30")),
            SymbolSettings(name="BTCUSDT", grid=make_grid("600", "300")),
        ),
        shutdown_timeout_s=shutdown_timeout_s,
    )
    exchange = make_exchange(settings)
    adapter = Dead(exchange)
    async with running(settings, adapter) as run:
        await run.until_quoting("ETHUSDT")
        await run.until_quoting("BTCUSDT")
        adapter.dead = True
        report = await run.stop("SIGTERM")
    assert run.stopped_after_s <= shutdown_timeout_s
    assert report.exit_code == 1
    for name in ("ETHUSDT", "BTCUSDT"):
        assert any(line.startswith(f"{name}: open orders could") for line in report.unconfirmed)
        assert any(line.startswith(name) and "known end" in line for line in report.unconfirmed)


@on_virtual_time
async def test_stopping_while_the_venue_does_not_even_let_us_start_is_done_in_time() -> None:
    exchange = make_exchange(TWO)
    adapter = Dead(exchange)
    adapter.dead = True
    async with running(TWO, adapter) as run:
        await asyncio.sleep(1)
        report = await run.stop("SIGTERM")
    assert run.stopped_after_s <= TWO.shutdown_timeout_s
    assert report.exit_reason == "SIGTERM"
    assert exchange.stats().accepted == 0
    assert report.unconfirmed


@on_virtual_time
async def test_a_stop_before_the_start_sends_nothing_and_still_asks_the_venue() -> None:
    exchange = make_exchange(TWO)
    run = Run(make_application(TWO, exchange))
    report = await run.stop("SIGTERM")
    assert problems_of(report) == []
    assert exchange.stats().accepted == 0
    assert report.reading is not None


@on_virtual_time
async def test_a_core_that_breaks_while_stopping_leaves_nothing_open_and_the_exit_code_is_1() -> (
    None
):
    exchange = make_exchange(TWO)
    async with running(TWO, exchange) as run:
        await run.until_quoting("ETHUSDT")
        await run.until_quoting("BTCUSDT")
        await asyncio.sleep(5)
        run.app.stop("SIGTERM")
        break_core(run, "ETHUSDT")
        report = await run.stop()
    assert run.stopped_after_s <= TWO.shutdown_timeout_s
    assert report.exit_code == 1
    assert report.reading is not None
    assert report.reading.open_orders == 0
    assert run.totals("BTCUSDT").open_orders == 0


class Breaking(View):
    """A recording with a bad row in the middle."""

    def events(self, instruments: Any) -> Any:
        for place, event in enumerate(self.inner.events(instruments)):
            if place == 5_000:
                raise ConfigError("recording.csv:5001: price is not a number")
            yield event


@on_virtual_time
async def test_a_feed_that_breaks_in_the_middle_ends_the_run_with_its_reason() -> None:
    feed = Breaking(SyntheticFeed(7, ("ETHUSDT",), START_NS))
    exchange = make_exchange(BUSY, feed)  # type: ignore[arg-type]
    run = Run(make_application(BUSY, exchange))
    report = await asyncio.wait_for(run.task, 10_000)
    assert report.exit_code == 1
    assert "recording.csv:5001" in report.exit_reason


class Troubled(View):
    """Raises what `script` holds for a method, one after the other; then it answers."""

    def __init__(self, inner: Any, **script: list[Exception]) -> None:
        super().__init__(inner)
        self.script = script

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in self.script:
            return method

        async def call(*args: Any) -> Any:
            if self.script[name]:
                raise self.script[name].pop(0)
            return await method(*args)

        return call


@on_virtual_time
async def test_trouble_that_may_pass_does_not_end_the_start_and_is_said() -> None:
    """A bad gateway, a ban and an overload, at every question the start asks."""
    lost = OutcomeUnknown("502 bad gateway", venue="paper")
    ban = RateLimited("banned", retry_after_s=40.0, banned=True, venue="paper")
    adapter = Troubled(
        make_exchange(BUSY),
        connect=[lost, lost],
        fetch_instrument=[lost],
        fetch_account=[ban],
        fetch_position=[Overloaded("busy", venue="paper")],
    )
    app = make_application(BUSY, adapter)
    messages = heard_by_service_manager(app)
    run = Run(app)
    began_s = asyncio.get_running_loop().time()
    await run.until_quoting()
    assert asyncio.get_running_loop().time() - began_s > 1 + 2 + 1 + 40 + 1
    said = [line for line in messages if line.startswith("STATUS=starting: ")]
    assert len(said) == 5
    assert "502 bad gateway; asked again in 1 s" in said[0]
    assert "banned; asked again in 40 s" in said[3]
    assert problems_of(await run.stop()) == []


@on_virtual_time
async def test_a_key_that_is_refused_ends_the_start_at_once() -> None:
    refused = AuthenticationRefused("no such key", venue="paper")
    run = Run(make_application(BUSY, Troubled(make_exchange(BUSY), connect=[refused])))
    with pytest.raises(AuthenticationRefused, match="no such key"):
        await run.task


@on_virtual_time
async def test_a_second_instance_with_the_same_account_and_tag_refuses_to_start() -> None:
    """Neither has a state directory: the account and the tag are enough."""
    key = Credentials(api_key=f"key-of-{os.getpid()}-{loop_now_ns()}", api_secret="s")
    settings = replace(BUSY, credentials=key)
    exchange = make_exchange(settings)
    async with running(settings, exchange) as first:
        await first.until_quoting()
        accepted = exchange.stats().accepted
        second = Run(make_application(settings, Lasting(exchange)))
        with pytest.raises(
            ConfigError, match=rf"bot_tag 'mm1' .* is running \(pid {os.getpid()}\)"
        ):
            await second.task
        assert exchange.stats().accepted == accepted
        other = Run(make_application(replace(settings, bot_tag="mm2"), make_exchange(settings)))
        await other.until_quoting()
        await other.stop()
    async with running(settings, make_exchange(settings)) as third:
        await third.until_quoting()


# The service manager


def heard_by_service_manager(app: Application) -> list[str]:
    """From here on, what it is told; asks to be fed every second."""
    messages: list[str] = []
    app.notifier._send = messages.append  # type: ignore[method-assign]
    app.notifier.watchdog_interval_s = 0.5
    return messages


def fed(messages: list[str]) -> int:
    return messages.count("WATCHDOG=1")


@on_virtual_time
async def test_the_watchdog_starves_when_prices_stop_but_not_in_a_deliberate_pause() -> None:
    exchange = make_exchange(BUSY)
    adapter = Mutable(exchange)
    app = make_application(BUSY, adapter)
    messages = heard_by_service_manager(app)
    run = Run(app)
    await run.until(lambda: fed(messages) >= 3)
    adapter.muted = True
    await asyncio.sleep(BUSY.price_monitor.stale_after_s + 3)
    count = fed(messages)
    await asyncio.sleep(30)
    assert fed(messages) == count
    run.symbol().channel.queue.put(
        GateShut(gate=Gate.PAUSED, reason="by hand", ts_ns=loop_now_ns())
    )
    await asyncio.sleep(10)
    assert fed(messages) >= count + 15
    run.symbol().channel.queue.put(GateOpened(gate=Gate.PAUSED, ts_ns=loop_now_ns()))
    await asyncio.sleep(1)
    count = fed(messages)
    adapter.muted = False
    await run.until(lambda: fed(messages) > count + 3)
    assert problems_of(await run.stop()) == []


@on_virtual_time
async def test_the_watchdog_starves_when_one_symbol_no_longer_decides() -> None:
    exchange = make_exchange(TWO)
    app = make_application(TWO, exchange)
    messages = heard_by_service_manager(app)
    run = Run(app)
    await run.until(lambda: fed(messages) >= 3)

    run.symbol("BTCUSDT").channel.queue.release()
    await asyncio.sleep(5)
    count = fed(messages)
    await asyncio.sleep(30)
    assert fed(messages) == count
    report = await run.stop()
    assert run.stopped_after_s <= TWO.shutdown_timeout_s
    assert report.reading is not None
    assert report.reading.open_orders == 0


@on_virtual_time
async def test_ready_is_not_said_before_the_first_snapshot() -> None:
    adapter = SlowAbout(make_exchange(BUSY))
    app = make_application(BUSY, adapter)
    messages = heard_by_service_manager(app)
    run = Run(app)
    await run.until_built()
    adapter.slow = True
    await asyncio.sleep(250)
    assert "READY=1" not in messages
    adapter.slow = False
    await run.until(lambda: "READY=1" in messages, within_s=400)
    assert run.symbol().manager.snapshot_seen
    await run.stop()


@pytest.mark.parametrize(
    "nothing_to_quote",
    [{"trigger_price": Decimal(10)}, {"price_bounds": (Decimal(10), Decimal(20))}],
    ids=["trigger", "bounds"],
)
@on_virtual_time
async def test_ready_is_said_when_there_is_nothing_to_quote(nothing_to_quote: Any) -> None:
    settings = with_grid(BUSY, **nothing_to_quote)
    app = make_application(settings, make_exchange(settings))
    messages = heard_by_service_manager(app)
    run = Run(app)
    await run.until(lambda: "READY=1" in messages, within_s=20)
    await run.until(lambda: fed(messages) > 3)
    report = await run.stop()
    assert problems_of(report) == []
    assert run.totals().orders_placed == 0


# Restart


class Lasting(View):
    """The exchange outlives those who trade there."""

    connected = False

    async def connect(self) -> None:
        if not self.connected:
            self.connected = True
            await self.inner.connect()

    async def close(self) -> None:
        pass


@on_virtual_time
async def test_a_restart_keeps_levels_inventory_and_cost_and_reuses_no_id(tmp_path: Path) -> None:
    settings = replace(
        make_settings(SymbolSettings(name="ETHUSDT", grid=make_grid("2"))),
        state_dir=str(tmp_path / "state"),
    )
    exchange = quiet_exchange(settings)
    venue = Lasting(exchange)
    market = Market(exchange)
    ids: list[set[int]] = []
    async with running(settings, venue) as first:
        await first.until_built()
        market.go("3000")
        await first.until_quoting()
        await market.walk([str(price) for price in range(2999, 2989, -1)])
        await asyncio.sleep(1)
        held = readings.memory(first.symbol().manager)
        ids.append(
            {o.client_order_id.sequence for o in first.symbol().manager.ended_orders.values()}
        )
    assert problems_of(first.report) == []
    assert held is not None
    assert len(held.holdings) >= 4
    market.go("2987")
    await asyncio.sleep(30)
    async with running(settings, venue) as second:
        await second.until_quoting()
        manager = second.symbol().manager
        again = readings.memory(manager)
        assert again is not None
        assert again.anchor_ticks == held.anchor_ticks == 300_000
        assert again.holdings == held.holdings
        realised = manager.books.realised
        assert realised == 0
        await market.walk([str(price) for price in range(2988, 3005)])
        await asyncio.sleep(1)
        lots = sum(holding.qty_lots for holding in held.holdings)
        gained = sum(holding.qty_lots * 200 for holding in held.holdings)
        assert manager.books.inventory_lots == 0
        assert lots > 0
        assert manager.books.realised == gained
        ids.append(
            {o.client_order_id.sequence for o in manager.ended_orders.values()} | set(manager.live)
        )
    assert problems_of(second.report) == []
    assert not ids[0] & ids[1]


@on_virtual_time
async def test_a_restart_keeps_the_anchor_even_when_nothing_was_ever_filled(tmp_path: Path) -> None:
    settings = replace(BUSY, state_dir=str(tmp_path / "state"))
    exchange = quiet_exchange(settings)
    venue, market = Lasting(exchange), Market(exchange)
    async with running(settings, venue) as first:
        await first.until_built()
        market.go("3000.10")
        await first.until_quoting()
        await asyncio.sleep(2)
    market.go("3017.33")
    async with running(settings, venue) as second:
        await second.until_quoting()
        assert second.symbol().manager.anchor == 300_010


@on_virtual_time
async def test_adopted_inventory_survives_a_restart(tmp_path: Path) -> None:
    settings = replace(BUSY, state_dir=str(tmp_path / "state"), reconcile_interval_s=10.0)
    exchange = quiet_exchange(settings)
    venue, market = Lasting(exchange), Market(exchange)
    async with running(settings, venue) as first:
        await first.until_built()
        market.go("3000")
        await first.until_quoting()
        trade_by_hand(exchange, "ETHUSDT", Side.BUY, 300_100, 50)
        await asyncio.sleep(40)
        held = readings.memory(first.symbol().manager)
        assert held is not None
        assert sum(holding.qty_lots for holding in held.holdings) == 50
    async with running(settings, venue) as second:
        await second.until_quoting()
        again = readings.memory(second.symbol().manager)
        assert again is not None
        assert again.holdings == held.holdings
        assert second.symbol().manager.position_settled


@on_virtual_time
async def test_a_restart_without_its_memory_takes_the_position_in_and_sells_it() -> None:
    exchange = quiet_exchange(BUSY)
    venue, market = Lasting(exchange), Market(exchange)
    async with running(BUSY, venue) as first:
        await first.until_built()
        market.go("3000")
        await first.until_quoting()
        await market.walk(["2999.40", "2998.90", "2998.40", "2998.00"])
        await asyncio.sleep(1)
        held = first.totals().inventory_lots
        assert held > 0
    async with running(BUSY, venue) as second:
        await second.until_quoting()
        await second.until(lambda: second.totals().inventory_lots == held)
        await second.until(
            lambda: any(s.order and s.order.is_exit for s in second.symbol().manager.live.values())
        )
    assert problems_of(second.report) == []


@on_virtual_time
async def test_a_killed_run_is_recovered_by_the_next(tmp_path: Path) -> None:
    """Nothing is cancelled, nothing is saved at the end: as after kill -9."""
    settings = replace(BUSY, state_dir=str(tmp_path / "state"))
    exchange = make_exchange(settings)
    venue = Lasting(exchange)
    first = Run(make_application(settings, venue))
    await first.until_quoting()
    await asyncio.sleep(300)
    open_before = exchange.open_order_count("ETHUSDT")
    assert open_before > 0
    first.app.keeper._save = lambda *_: ""  # type: ignore[method-assign]
    first.task.cancel()
    await asyncio.gather(first.task, return_exceptions=True)
    assert exchange.open_order_count("ETHUSDT") == open_before
    await asyncio.sleep(120)
    async with running(settings, venue) as second:
        await second.until_quoting()
        await asyncio.sleep(120)
        manager = second.symbol().manager
        await second.until(lambda: manager.open_orders == exchange.open_order_count("ETHUSDT"))
        position = await exchange.fetch_position(second.symbol().instrument)
        assert manager.books.inventory_lots == position.qty_lots
    assert second.report is not None
    assert second.report.reading is not None
    assert second.report.reading.open_orders == 0
    assert second.report.exit_code == 0


# The disk


@on_virtual_time
async def test_a_full_disk_under_the_journal_shuts_the_entries_out_until_there_is_room(
    tmp_path: Path,
) -> None:
    settings = replace(BUSY, journal=str(tmp_path / "journal.jsonl"))
    exchange = make_exchange(settings)
    full = False

    def write(fd: int, data: bytes | bytearray) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return os.write(fd, data)

    app = make_application(settings, exchange)
    app.journal._write = write
    run = Run(app)
    await run.until_quoting()
    manager = run.symbol().manager
    await run.until(lambda: manager.books.inventory_lots > 0, within_s=600)
    full = True
    await run.until(lambda: Gate.DISK in manager.gates, within_s=60)
    await asyncio.sleep(1)
    orders = [slot.order for slot in manager.live.values() if slot.order is not None]
    assert all(order.is_exit for order in orders)
    assert any("No space left" in why for why in readings.not_quoting(manager))
    full = False
    await run.until(lambda: Gate.DISK not in manager.gates)
    await run.until(lambda: any(s.order and not s.order.is_exit for s in manager.live.values()))
    assert problems_of(await run.stop()) == []


@on_virtual_time
async def test_a_state_directory_that_refuses_shuts_the_entries_out_until_it_does_not(
    tmp_path: Path,
) -> None:
    settings = replace(BUSY, state_dir=str(tmp_path / "state"))
    exchange = make_exchange(settings)
    async with running(settings, exchange) as run:
        await run.until_quoting()
        manager = run.symbol().manager
        in_the_way = f"{run.app.store.path('ETHUSDT')}.new"
        os.mkdir(in_the_way)
        await run.until(lambda: Gate.DISK in manager.gates, within_s=900)
        await asyncio.sleep(1)
        orders = [slot.order for slot in manager.live.values() if slot.order is not None]
        assert all(order.is_exit for order in orders)
        os.rmdir(in_the_way)
        await run.until(lambda: Gate.DISK not in manager.gates)
    assert problems_of(run.report) == []


@on_virtual_time
async def test_a_disk_that_is_still_full_at_the_end_makes_the_exit_code_1(tmp_path: Path) -> None:
    settings = replace(BUSY, state_dir=str(tmp_path / "state"))
    exchange = make_exchange(settings)
    run = Run(make_application(settings, exchange))
    await run.until_quoting()
    os.mkdir(f"{run.app.store.path('ETHUSDT')}.new")
    await run.until(lambda: Gate.DISK in run.symbol().manager.gates, within_s=900)
    report = await run.stop()
    assert report.exit_code == 1
    assert any("state" in line for line in report.unconfirmed)
