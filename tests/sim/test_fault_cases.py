"""What broke the systems this one grew from: each case by itself, on the simulated venue, driven by hand.

Every rule of `sim.checks` watches all the while, and `staged` fails when one is broken; a test says what must be true
besides. Random meetings of these and other faults are what `test_simulation` and `marketmaker simulate` are for.

There is no hedge mode, so F18 (the leg that should take the risk away fails) strikes the orders that close a position. F20
(a client without a token, a page from elsewhere) needs real sockets and is in `tests/web/test_http.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from marketmaker.core import readings
from marketmaker.errors import ConfigError
from marketmaker.model.action import RaiseAlert, Severity
from marketmaker.model.event import Gate, GateShut
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Side
from marketmaker.model.settings import InstrumentSettings, RiskSettings
from marketmaker.sim.faults import Fault
from marketmaker.sim.loop import NS_PER_S
from tests.support.paper import on_virtual_time
from tests.support.stage import Stage, stage_settings, staged


def why(stage: Stage) -> str:
    return " ".join(readings.not_quoting(stage.manager))


# Orders whose fate is unknown


@on_virtual_time
async def test_f1_a_placement_whose_answer_is_lost_is_asked_for_by_its_id_and_never_doubled() -> (
    None
):
    """The venue has accepted all four, nobody says so: not the answer, not the order stream."""
    async with staged(stage_settings()) as stage:
        stage.go("3000.5")
        process = stage.begin()
        await stage.until(lambda: process.app.symbols and stage.symbol.manager.stream_up)
        with stage.rate(Fault.ANSWER_LOST), stage.episode(Fault.STREAM_SILENT):
            await stage.until(lambda: stage.entries() == 3)
            await stage.until(lambda: stage.asked("ask order") > 0, within_s=15)
            await asyncio.sleep(20)
            assert stage.observer.placed == stage.entries() == 3
        await stage.check_quiet()
        assert stage.observer.placed == 3


@on_virtual_time
async def test_f1_a_placement_that_never_arrived_is_placed_again_only_when_that_is_sure() -> None:
    async with staged(stage_settings()) as stage:
        stage.go("3000.5")
        stage.begin()
        with stage.rate(Fault.REQUEST_LOST):
            await stage.until(lambda: stage.observer.placed == 3)
        began_s = stage.loop.time()
        await stage.until(lambda: stage.observer.placed > 3)
        assert stage.loop.time() - began_s > 5  # a request as old as that would be refused
        assert stage.asked("ask order") >= 2
        await stage.check_quiet()


# What the order stream says, and does not say


@on_virtual_time
async def test_f2_updates_repeated_late_or_before_the_answer_change_nothing_twice(
    tmp_path: Path,
) -> None:
    async with staged(stage_settings(tmp_path)) as stage:
        with stage.rate(
            Fault.REPORT_REPEATED, Fault.REPORT_REORDERED, Fault.REPORT_DELAYED, Fault.LATE_ANSWER
        ):
            await stage.quoting()
            await stage.walk(2998, 2996, 2994, 2997, 2999, 2995, 3001, pause_s=1.5)
            await asyncio.sleep(10)
        await stage.check_quiet()
        assert stage.holdings() == stage.traded()
        stage.check_end(await stage.stop())
        assert sorted(stage.ledger_ids()) == sorted(stage.trade_ids())


@on_virtual_time
async def test_f3_a_partial_fill_that_was_never_told_is_taken_from_the_last_word() -> None:
    """Seven lots fill in silence; then the order leaves the window and its cancel answers with the sum."""
    async with staged(stage_settings()) as stage:
        await stage.quoting()
        with stage.episode(Fault.STREAM_SILENT):
            stage.hit(-1, 7)
            await asyncio.sleep(0.2)
            assert stage.position == 7
            assert stage.holdings() == {}
            stage.go(3012)
            await stage.until(lambda: stage.holdings() == {-1: 7}, within_s=1)
        await stage.check_quiet()
        assert stage.holdings() == stage.traded()


@on_virtual_time
async def test_f4_a_fill_between_a_cancel_and_its_answer_counts_once(tmp_path: Path) -> None:
    async with staged(stage_settings(tmp_path)) as stage:
        process = await stage.quoting()

        def hit_what_is_being_cancelled() -> None:
            stage.go("2996.5")
            stage.go("3008.5")

        process.line.after_send = hit_what_is_being_cancelled
        stage.go("3008.5")
        await stage.until(lambda: stage.position > 0)
        await stage.check_quiet()
        assert stage.holdings() == stage.traded()
        totals = readings.totals(stage.manager)
        assert totals.fills == len(stage.observer.trades)
        stage.check_end(await stage.stop())
        assert sorted(stage.ledger_ids()) == sorted(stage.trade_ids())


@pytest.mark.parametrize("trouble", [Fault.STREAM_DOWN, Fault.STREAM_SILENT])
@on_virtual_time
async def test_f5_what_fills_while_the_order_stream_is_gone_for_a_minute_is_not_lost(
    trouble: Fault,
) -> None:
    async with staged(stage_settings()) as stage:
        await stage.quoting()
        placed = stage.observer.placed
        with stage.episode(trouble):
            await stage.walk(2998, 2996, pause_s=1)
            assert stage.position > 0
            await asyncio.sleep(58)
            if trouble is Fault.STREAM_DOWN:
                assert stage.observer.placed == placed
                assert why(stage).startswith("order stream is not live")
            else:  # it claims to be up: readings find out
                assert stage.holdings() == stage.traded()
        await stage.check_quiet()
        assert stage.holdings() == stage.traded()
        assert stage.exits() == len(stage.holdings())


@on_virtual_time
async def test_f6_no_entry_rests_on_a_half_open_price_stream_and_exits_stay() -> None:
    async with staged(stage_settings()) as stage:
        await stage.quoting()
        await stage.walk(2998, 2996)
        await stage.check_quiet()
        exits = stage.exits()
        assert exits > 0
        with stage.episode(Fault.PRICE_SILENT):
            await stage.until(lambda: stage.entries() == 0, within_s=8)
            await asyncio.sleep(20)
            assert (stage.entries(), stage.exits()) == (0, exits)
            assert "feed" in why(stage)
        await stage.check_quiet()
        assert stage.entries() > 0


# The ends of a process


@pytest.mark.parametrize("order_request", range(1, 5))
@on_virtual_time
async def test_f7_a_stop_while_placing_leaves_nothing_open_and_sends_nothing_after(
    order_request: int,
) -> None:
    """SIGTERM in the very moment in which the n-th request is handed over, answers late, requests slow."""
    async with staged(stage_settings(), batch=1) as stage:
        stage.go("3000.5")
        process = stage.begin()
        left = order_request

        def count_down() -> None:
            nonlocal left
            left -= 1
            if left:
                process.line.after_send = count_down
            else:
                stage.observer.stop_asked(stage.venue.now_ns())
                process.app.stop("SIGTERM")

        process.line.after_send = count_down
        with stage.rate(Fault.LATE_ANSWER, Fault.SLOW_REQUEST):
            report = await process.task
        stage.process = None
        assert not stage.observer.open
        assert (report.exit_code, report.unconfirmed) == (0, ())
        await asyncio.sleep(10)
        assert not stage.observer.open


@pytest.mark.parametrize("disk", ["kept", "lost"])
@on_virtual_time
async def test_f8_a_killed_process_comes_back_to_its_orders_levels_and_cost(
    disk: str, tmp_path: Path
) -> None:
    """Nothing happened in between, so there is nothing to do; then it sells what it had, at a profit it knows."""
    async with staged(stage_settings(tmp_path / "a")) as stage:
        await stage.quoting()
        await stage.walk(2998, 2996, 2994, "2996.6")
        await stage.check_quiet()
        held, anchor = stage.holdings(), stage.manager.anchor
        cost = stage.manager.books.inventory_cost
        assert len(held) >= 2
        await asyncio.sleep(1.5)
        await stage.kill()
        await asyncio.sleep(3)
        if disk == "lost":
            stage.settings = stage_settings(tmp_path / "b")
        orders = stage.orders()
        stage.begin()
        await asyncio.sleep(20)
        assert stage.orders() == orders
        await stage.check_quiet()
        assert (stage.holdings(), stage.manager.anchor) == (held, anchor)
        assert stage.manager.books.inventory_cost == cost
        await stage.walk(2998, 3000, 3002, 3004)
        await stage.check_quiet()
        assert stage.holdings() == {}
        lots = sum(held.values())
        assert stage.manager.books.realised == 200 * lots
        stage.check_end(await stage.stop())


# Readings that lie


@on_virtual_time
async def test_f9_an_endpoint_that_answers_empty_or_not_at_all_destroys_nothing() -> None:
    async with staged(stage_settings(reconcile_interval_s=5.0)) as stage:
        await stage.quoting()
        await stage.walk(2998, 2996)
        await stage.check_quiet()
        held, orders = stage.holdings(), stage.orders()
        with stage.rate(Fault.SNAPSHOT_EMPTY):
            await asyncio.sleep(60)
        assert (stage.holdings(), stage.orders()) == (held, orders)
        with stage.rate(Fault.SNAPSHOT_ERROR):
            await asyncio.sleep(60)
        assert (stage.holdings(), stage.orders()) == (held, orders)
        await stage.check_quiet()


@on_virtual_time
async def test_f10_a_position_closed_by_hand_is_noticed_without_a_storm_of_retries() -> None:
    async with staged(stage_settings()) as stage:
        await stage.quoting()
        await stage.walk(2998, 2996, 2994, 2997)
        await stage.check_quiet()
        assert len(stage.holdings()) >= 2
        orders = stage.orders()
        stage.venue.close_position()
        assert stage.position == 0
        await stage.until(lambda: stage.holdings() == {}, within_s=25)
        await asyncio.sleep(60)
        await stage.check_quiet()
        assert stage.position == 0
        assert stage.orders() - orders < 15


@on_virtual_time
async def test_f11_foreign_orders_and_a_second_bot_are_never_touched_and_never_booked(
    tmp_path: Path,
) -> None:
    async with staged(stage_settings(tmp_path)) as stage:
        await stage.quoting()
        for side, price in ((Side.BUY, 299_850), (Side.BUY, 290_000), (Side.SELL, 310_000)):
            stage.venue.place_foreign(side, price, 50)
        others = [o for o in stage.venue.market.open_orders.values() if o.client_order_id is None]
        assert len(others) == 3
        await stage.walk(2998, 3003, 3001)  # one of theirs fills beside one of ours
        await asyncio.sleep(1.5)
        await stage.kill()
        await asyncio.sleep(2)
        stage.begin()
        await asyncio.sleep(30)
        stage.check_end(await stage.stop())
        left = [o for o in stage.venue.market.open_orders.values() if o.client_order_id is None]
        assert len(left) == 2
        assert len(stage.observer.foreign_trades) == 1
        assert sorted(stage.ledger_ids()) == sorted(stage.trade_ids())


@pytest.mark.parametrize("trouble", [Fault.OVERLOADED, Fault.ANSWER_LOST, Fault.REQUEST_LOST])
@on_virtual_time
async def test_f12_a_cancel_that_is_refused_or_unanswered_counts_as_open_until_it_is_known(
    trouble: Fault,
) -> None:
    async with staged(stage_settings()) as stage:
        await stage.quoting()
        count = stage.entries()
        gate = GateShut(gate=Gate.PAUSED, reason="by hand", ts_ns=stage.venue.now_ns())
        with stage.rate(trouble), stage.episode(Fault.STREAM_SILENT):
            stage.symbol.channel.queue.put(gate)
            await asyncio.sleep(7)
            if trouble is not Fault.ANSWER_LOST:
                assert stage.manager.open_orders == stage.entries() == count
            assert stage.manager.open_orders >= stage.entries()
        await stage.until(lambda: stage.manager.open_orders == 0, within_s=40)
        assert stage.entries() == 0
        assert stage.observer.placed == count


# Gates and exits


class TwoMarkets:
    """Candles of two watched symbols, told by hand; of the second, nothing."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.listener: Any = None

    def wire(self) -> None:
        line = self.stage.running.line

        async def stream(symbols: Sequence[str], interval_s: int, listener: Any) -> None:
            self.listener = listener
            listener.stream_up()
            await asyncio.Event().wait()

        async def fetch(symbol: str, interval_s: int, limit: int) -> list[Candle]:
            if symbol == "BTCUSDT":
                return []
            now_ns = self.stage.venue.now_ns() // (60 * NS_PER_S) * 60 * NS_PER_S
            return [self.candle(now_ns - 60 * NS_PER_S * n, 3000.0, 10.0) for n in range(22, 0, -1)]

        line.stream_candles = stream  # type: ignore[method-assign]
        line.fetch_candles = fetch  # type: ignore[method-assign,assignment]

    def candle(self, begins_ns: int, price: float, volume: float, *, closed: bool = True) -> Candle:
        return Candle(
            symbol="ETHUSDT",
            interval_s=60,
            open_ts_ns=begins_ns,
            open=3000.0,
            high=3000.0,
            low=price,
            close=price,
            volume=volume,
            closed=closed,
        )

    def tell(self, price: float, volume: float, *, closed: bool = False) -> None:
        now_ns = self.stage.venue.now_ns() // (60 * NS_PER_S) * 60 * NS_PER_S
        self.listener.on_candle(self.candle(now_ns, price, volume, closed=closed))


@on_virtual_time
async def test_f13_a_crash_candle_keeps_entries_out_for_its_time_though_one_market_has_no_data() -> (
    None
):
    risk = RiskSettings(
        monitor_symbols=("ETHUSDT", "BTCUSDT"), recovery_threshold=1, min_hold_s=120.0
    )
    async with staged(stage_settings(risk=risk)) as stage:
        markets = TwoMarkets(stage)
        alerts: list[str] = []
        stage.go("3000.5")
        process = stage.begin()
        alert = process.app._alert

        def heard(raised: RaiseAlert) -> None:
            alerts.append(raised.message)
            alert(raised)

        process.app._alert = heard  # type: ignore[method-assign]
        markets.wire()
        await stage.until_whole()
        await stage.walk(2998, 2996)
        await stage.check_quiet()
        exits = stage.exits()
        assert exits > 0
        await asyncio.sleep(130)
        assert any("BTCUSDT" in message for message in alerts)
        markets.tell(2900.0, 100.0)
        await stage.until(lambda: stage.entries() == 0, within_s=3)
        shut_s = stage.loop.time()
        assert "risk" in why(stage)
        for _ in range(9):
            markets.tell(3001.0, 10.0)  # calm again at once: not believed before its time
            await asyncio.sleep(10)
            assert (stage.entries(), stage.exits()) == (0, exits)
        for _ in range(40):
            if stage.entries():
                break
            await asyncio.sleep(10)
            markets.tell(3001.0, 10.0, closed=True)
        assert stage.entries() > 0
        assert stage.loop.time() - shut_s >= 120


@pytest.mark.parametrize("gate", [Gate.RISK, Gate.PAUSED])
@on_virtual_time
async def test_f14_a_stop_loss_closes_while_a_gate_is_shut_and_nothing_is_bought_again(
    gate: Gate,
) -> None:
    async with staged(stage_settings(grid={"stop_loss": Decimal(2990)})) as stage:
        await stage.quoting()
        await stage.walk(2998, 2996, 2994)
        await stage.check_quiet()
        assert stage.position > 0
        shut = GateShut(gate=gate, reason="panic", ts_ns=stage.venue.now_ns())
        stage.symbol.channel.queue.put(shut)
        await stage.until(lambda: stage.entries() == 0)
        await stage.walk(2992, 2990, 2988, pause_s=1)
        await stage.until(lambda: stage.position == 0)
        assert not stage.observer.open
        placed = stage.observer.placed
        await stage.walk(2995, 2999, 3003, 2993, pause_s=5)
        assert stage.observer.placed == placed
        assert stage.holdings() == {}


@pytest.mark.parametrize("trouble", ["refused", "empty book", "half filled"])
@on_virtual_time
async def test_f18_a_closing_leg_that_fails_is_told_and_tried_until_flat_and_nothing_is_added(
    trouble: str,
) -> None:
    settings = stage_settings(grid={"stop_loss": Decimal(2990)})
    settings = replace(settings, paper=replace(settings.paper, fill="queue"))
    async with staged(settings) as stage:
        alerts: list[str] = []
        await stage.quoting()
        alert = stage.manager.alert

        def heard(severity: Severity, topic: str, message: str) -> None:
            alerts.append(topic)
            alert(severity, topic, message)

        stage.manager.alert = heard  # type: ignore[method-assign]
        await stage.walk(2998, 2996, 2994)
        await stage.check_quiet()
        held = stage.position
        assert held > 8
        stage.shown_lots = {"refused": 1000, "empty book": 0, "half filled": held // 2}[trouble]
        with ExitStack() as refusing:
            if trouble == "refused":
                refusing.enter_context(stage.rate(Fault.REDUCE_ONLY_REFUSED))
            stage.go(2989)
            await stage.until(lambda: "grid.closing" in alerts)
            most = stage.position
            assert most >= held
            if trouble == "half filled":
                await stage.until(lambda: 0 < stage.position <= most - held // 2)
                stage.shown_lots = 0
            await stage.until(lambda: not {"grid.not_closed", "exit.refused"}.isdisjoint(alerts))
            assert 0 < stage.position <= most
            assert not stage.entries()
        placed = stage.observer.placed
        stage.shown_lots = 1000
        await stage.until(lambda: stage.position == 0)
        await stage.until(lambda: "grid.closed" in alerts)
        assert stage.observer.placed <= placed + 2
        assert stage.holdings() == {}
        stage.check_end(await stage.stop())


# Numbers


@pytest.mark.parametrize(
    ("grid", "instrument", "said"),
    [
        ({"order_amount": Decimal("0.5")}, {}, "order_amount"),
        ({"order_amount": Decimal(4)}, {}, "order_amount"),
        ({"price_interval": Decimal("0.001")}, {}, "price_interval"),
        ({"order_amount": Decimal(10)}, {"lot_size": Decimal(1), "tick_size": Decimal("0.01")}, ""),
    ],
)
@on_virtual_time
async def test_f15_what_cannot_be_an_order_is_refused_before_anything_is_sent(
    grid: dict[str, Any], instrument: dict[str, Any], said: str
) -> None:
    """A quantity of nought lots, a value under the minimum, levels closer than a tick, a lot too large."""
    settings = stage_settings(grid=grid)
    symbol = replace(
        settings.symbols[0],
        instrument=InstrumentSettings(min_notional=Decimal(5), **instrument),
    )
    async with staged(replace(settings, symbols=(symbol,))) as stage:
        stage.go("3000.5")
        process = stage.begin()
        with pytest.raises(ConfigError, match=said or "set"):
            await process.task
        stage.process = None
        assert stage.orders() == 0


@pytest.mark.parametrize(
    ("tick", "lot", "multiplier", "amount", "interval", "price"),
    [
        ("0.0000001", "1000", "1", "60", "0.0000013", "0.0003141"),
        ("0.05", "1", "0.01", "130", "2.15", "3000.05"),
        ("0.5", "0.00001", "1", "60", "7.5", "61234.5"),
    ],
)
@on_virtual_time
async def test_f15_odd_ticks_lots_and_multipliers_trade_to_the_last_digit(
    tick: str, lot: str, multiplier: str, amount: str, interval: str, price: str, tmp_path: Path
) -> None:
    settings = stage_settings(
        tmp_path, grid={"order_amount": Decimal(amount), "price_interval": Decimal(interval)}
    )
    steps = InstrumentSettings(
        tick_size=Decimal(tick), lot_size=Decimal(lot), min_notional=Decimal(5)
    )
    symbol = replace(settings.symbols[0], instrument=steps)
    settings = replace(settings, symbols=(symbol,))
    async with staged(settings, multiplier=Decimal(multiplier)) as stage:
        await stage.quoting(price)
        step = Decimal(interval)
        for move in (-1, -2, -3, -1, 1, 2):
            stage.go(Decimal(price) + move * step)
            await asyncio.sleep(1)
        await stage.check_quiet()
        assert len(stage.observer.trades) >= 4
        assert stage.holdings() == stage.traded()
        stage.check_end(await stage.stop())
        assert sorted(stage.ledger_ids()) == sorted(stage.trade_ids())


# A venue that is slow, busy or shut


@on_virtual_time
async def test_f16_one_question_that_hangs_for_five_minutes_holds_up_nothing_else() -> None:
    async with staged(stage_settings()) as stage:
        process = await stage.quoting()
        fetch = process.line.fetch_position

        async def hanging(instrument: Any) -> Any:
            await asyncio.sleep(300)
            return await fetch(instrument)

        process.line.fetch_position = hanging  # type: ignore[method-assign]
        await asyncio.sleep(20)
        placed, cancelled = stage.observer.placed, stage.observer.cancelled
        await stage.walk(2998, 2996, 3001, 3007, 3001, 2997, pause_s=5)
        assert stage.observer.placed > placed + 3
        assert stage.observer.cancelled > cancelled
        assert stage.holdings() == stage.traded()
        process.line.fetch_position = fetch  # type: ignore[method-assign]
        stage.check_end(await stage.stop())


@pytest.mark.parametrize("trouble", [Fault.BAN, Fault.MAINTENANCE, Fault.RATE_LIMIT])
@on_virtual_time
async def test_f17_a_limit_a_ban_or_maintenance_is_waited_out_by_everybody(trouble: Fault) -> None:
    async with staged(stage_settings()) as stage:
        process = await stage.quoting()
        before = len(process.line.calls)
        if trouble is Fault.RATE_LIMIT:
            with stage.rate(trouble):
                await stage.walk(2998, 2996, pause_s=1)
                await asyncio.sleep(30)
        else:
            stage.venue._ban_told = True
            stage.venue._ban_ends_ns = stage.venue.now_ns() + 40 * NS_PER_S
            with stage.episode(trouble):
                await stage.walk(2998, 2996, pause_s=1)
                await asyncio.sleep(38)
        calls = process.line.calls[before:]
        assert len(calls) < {Fault.BAN: 12, Fault.MAINTENANCE: 60, Fault.RATE_LIMIT: 90}[trouble]
        await stage.check_quiet()
        assert stage.holdings() == stage.traded()


# A process that is late


@on_virtual_time
async def test_f19_after_a_burst_the_newest_price_counts_and_no_fill_is_dropped() -> None:
    """Ten thousand prices and every fill among them while the process stands still for three seconds."""
    async with staged(stage_settings()) as stage:
        process = await stage.quoting()
        process.app.notifier._send = lambda _: None  # type: ignore[method-assign]
        for step in range(10_000):
            stage.go(Decimal(2999) - Decimal(step % 400) / 100)
        stage.go("2995.2")
        since_ns = stage.loop.now_ns
        stage.loop.stall(3.0)
        stage.observer.stalled(since_ns, stage.loop.now_ns)
        await asyncio.sleep(2)
        assert stage.manager.price == 299_520
        await stage.check_quiet()
        assert stage.holdings() == stage.traded() != {}


# The disk


@pytest.mark.parametrize("part", ["state", "ledger"])
@on_virtual_time
async def test_f21_a_full_disk_keeps_new_risk_out_is_said_and_loses_nothing(
    part: str, tmp_path: Path
) -> None:
    async with staged(stage_settings(tmp_path)) as stage:
        process = await stage.quoting()
        await stage.walk(2998, 2996)
        await stage.check_quiet()
        exits = stage.exits()
        full = OSError(28, "No space left on device")
        bookkeeper = process.app.bookkeeper
        assert bookkeeper is not None
        ledger = bookkeeper.ledger
        commit = ledger._commit

        def refuse(*_: Any, **__: Any) -> int:
            raise full

        if part == "state":
            process.store.refusing = full
        else:
            ledger._commit = refuse  # type: ignore[method-assign]
        await stage.walk(2997, 2998)
        await stage.until(lambda: stage.entries() == 0, within_s=15)
        assert "disk" in why(stage)
        assert "No space left" in why(stage)
        assert stage.exits() >= exits - 1
        await stage.walk(2999, 3001)  # inventory is sold all the same
        assert stage.position < 40
        process.store.refusing = None
        ledger._commit = commit  # type: ignore[method-assign]
        await stage.check_quiet()
        assert stage.entries() > 0
        held = stage.holdings()
        await asyncio.sleep(1.5)
        await stage.kill()
        await asyncio.sleep(1)
        stage.begin()
        await stage.check_quiet()
        assert stage.holdings() == held == stage.traded()
        stage.check_end(await stage.stop())
        assert sorted(stage.ledger_ids()) == sorted(stage.trade_ids())


# The clock


@on_virtual_time
async def test_f22_a_clock_that_is_wrong_at_the_start_is_refused_with_the_figure() -> None:
    async with staged(stage_settings()) as stage:
        stage.clock.jump(-5 * NS_PER_S)
        stage.go("3000.5")
        process = stage.begin()
        with pytest.raises(ConfigError, match=r"clock is \+5\.000 s from ours"):
            await process.task
        stage.process = None
        assert stage.orders() == 0


@pytest.mark.parametrize("seconds", [-5, 5])
@on_virtual_time
async def test_f22_a_clock_that_jumps_while_trading_doubles_and_loses_nothing(seconds: int) -> None:
    async with staged(stage_settings()) as stage:
        await stage.quoting()
        await stage.walk(2998, 2996)
        stage.clock.jump(seconds * NS_PER_S)
        with stage.rate(Fault.CLOCK_REFUSED):
            await stage.walk(2994, 2997, 2999, pause_s=1)
        await asyncio.sleep(20)
        await stage.check_quiet()
        assert stage.holdings() == stage.traded()
        names = [name for name in stage.observer.used if isinstance(name, ClientOrderId)]
        assert len(names) == len(set(names))
        await stage.stop()
        assert not stage.observer.open
