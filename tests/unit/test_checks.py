"""The observer of the simulation: each rule is silent about what is right and speaks up at what is wrong."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from marketmaker.errors import (
    InsufficientMargin,
    NotSent,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    VenueError,
)
from marketmaker.model.instrument import Instrument, Lots, Quanta, Ticks
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import GridSettings, Settings, SymbolSettings
from marketmaker.model.status import GridTotals, SlotStatus
from marketmaker.sim.checks import Observer, Violation

NS = 1_000_000_000
ETH = Instrument(
    venue="toy",
    name="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick_size=Decimal("0.01"),
    lot_size=Decimal("0.001"),
    min_notional=Decimal(5),
    maker_fee=Decimal("0.0002"),
    taker_fee=Decimal("0.0005"),
)
ANCHOR = 300_000
INTERVAL = 100


class Bench:
    """An observer of a running daemon: streams up, snapshot taken, a price told. `now` is in seconds."""

    def __init__(self, **grid: object) -> None:
        settings = GridSettings(
            price_interval=Decimal(1), order_amount=Decimal(60), max_open_orders=4, **grid
        )  # type: ignore[arg-type]
        self.found: list[Violation] = []
        self.now = 1.0
        self.sequence = 0
        self.trade_id = 0
        self.observer = Observer(
            Settings(
                mode="paper",
                exchange="paper",
                bot_tag="sim",
                symbols=(SymbolSettings(name="ETHUSDT", grid=settings),),
            ),
            ETH,
            began_ns=0,
            burst=5,
            orders_per_s=10.0,
            request_lifetime_s=5.0,
            loose_clock=False,
            fail=self.found.append,
        )
        self.begin()

    @property
    def ns(self) -> int:
        return round(self.now * NS)

    @property
    def rule(self) -> str:
        return self.found[0].rule if self.found else ""

    def begin(self) -> None:
        see = self.observer
        see.process_began(remembers=True, same_levels=True, now_ns=self.ns)
        see.order_stream_up(self.ns)
        see.told_open_orders((), self.ns, self.ns)
        see.told_fills((), self.ns)
        see.price_stream_up(self.ns)
        see.told_price(ANCHOR, self.ns)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.observer.told_price(ANCHOR, self.ns)

    def order(self, slot: int, side: Side = Side.BUY, **changes: object) -> NewOrder:
        self.sequence += 1
        exits = side is Side.SELL
        chosen: dict[str, object] = {
            "client_order_id": ClientOrderId(slot, side, self.sequence),
            "side": side,
            "price_ticks": Ticks(ANCHOR + (slot + exits) * INTERVAL),
            "qty_lots": Lots(20),
            "post_only": True,
            "reduce_only": exits,
        }
        return NewOrder(**{**chosen, **changes})  # type: ignore[arg-type]

    def place(self, order: NewOrder) -> NewOrder:
        self.observer.placing((order,), self.ns)
        return order

    def report(self, order: NewOrder, **changes: object) -> OrderReport:
        chosen = OrderReport(
            client_order_id=order.client_order_id,
            venue_order_id=f"v{order.client_order_id.sequence}",
            side=order.side,
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots,
            filled_lots=Lots(0),
            status=OrderStatus.OPEN,
            reduce_only=order.reduce_only,
        )
        return replace(chosen, **changes)  # type: ignore[arg-type]

    def accept(self, order: NewOrder) -> NewOrder:
        self.observer.happened(self.report(order), self.ns)
        self.observer.told(self.report(order), self.ns)
        return order

    def fill(self, order: NewOrder, *, told: bool = True, maker: bool = True) -> OrderReport:
        self.trade_id += 1
        fill = Fill(
            trade_id=str(self.trade_id),
            client_order_id=order.client_order_id,
            venue_order_id="v",
            side=order.side,
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots,
            fee=Decimal("0.01"),
            is_maker=maker,
            ts_venue_ns=self.ns,
        )
        report = self.report(
            order, status=OrderStatus.FILLED, filled_lots=order.qty_lots, fill=fill
        )
        self.observer.happened(report, self.ns)
        if told:
            self.observer.told(report, self.ns)
        return report

    def refuse(self, order: NewOrder, error: VenueError) -> None:
        self.observer.place_answered(order, error, self.ns)


def test_an_ordinary_life_of_orders_is_no_news() -> None:
    bench = Bench()
    buy = bench.accept(bench.place(bench.order(-1)))
    bench.wait(1)
    bench.fill(buy)
    bench.fill(bench.accept(bench.place(bench.order(-1, Side.SELL))))
    bench.wait(1)
    bench.place(bench.order(-1))
    assert bench.found == []


def test_nothing_may_be_placed_before_a_snapshot_asked_for_after_the_stream_came_up() -> None:
    bench = Bench()
    bench.observer.order_stream_up(bench.ns)
    bench.observer.told_open_orders((), bench.ns - 1, bench.ns)
    bench.observer.told_fills((), bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == "snapshot"


def test_a_reading_that_failed_half_way_is_no_snapshot() -> None:
    bench = Bench()
    bench.observer.order_stream_up(bench.ns)
    bench.observer.told_open_orders((), bench.ns, bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == "snapshot"


def test_an_order_that_only_a_failed_reading_listed_does_not_make_its_slot_busy() -> None:
    """Seed 236: it had ended before a whole reading was taken."""
    bench = Bench()
    left = bench.report(bench.order(-1))
    bench.begin()
    bench.observer.told_open_orders((left,), bench.ns, bench.ns)
    bench.observer.told_open_orders((), bench.ns, bench.ns)
    bench.observer.told_fills((), bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == ""
    bench.begin()
    bench.observer.told_open_orders((left,), bench.ns, bench.ns)
    bench.observer.told_fills((), bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == "busy"


def test_nothing_may_be_placed_while_the_order_stream_is_down() -> None:
    bench = Bench()
    bench.observer.order_stream_down(bench.ns)
    bench.wait(0.1)
    bench.place(bench.order(-1))
    assert bench.rule == "stream"


def test_nothing_may_be_placed_after_the_stop() -> None:
    bench = Bench()
    bench.observer.stop_asked(bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == ""
    bench.wait(0.1)
    bench.place(bench.order(-2))
    assert bench.rule == "stopped"


def test_an_entry_needs_a_fresh_price_and_an_exit_does_not() -> None:
    bench = Bench()
    bench.now += 10
    bench.place(bench.order(-1, Side.SELL))
    assert bench.rule == ""
    bench.place(bench.order(-2))
    assert bench.rule == "stale"


def test_an_entry_needs_a_price_stream_that_is_up() -> None:
    bench = Bench()
    bench.observer.price_stream_down(bench.ns)
    bench.now += 0.1
    bench.place(bench.order(-1))
    assert bench.rule == "stale"


@pytest.mark.parametrize(
    "error", [OutcomeUnknown("timed out"), None], ids=["unknown outcome", "no answer"]
)
def test_a_slot_is_busy_until_the_end_of_its_order_is_told(error: VenueError | None) -> None:
    bench = Bench()
    first = bench.place(bench.order(-1))
    if error is not None:
        bench.refuse(first, error)
    bench.wait(30)
    bench.place(bench.order(-1))
    assert bench.rule == "busy"


def test_a_slot_is_free_once_its_order_was_asked_for_in_vain_for_long_enough() -> None:
    bench = Bench()
    first = bench.place(bench.order(-1))
    for _ in range(2):
        bench.wait(3)
        bench.observer.told_missing(first.client_order_id, bench.ns, bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == ""


def test_a_slot_is_not_free_when_its_order_was_missed_only_once() -> None:
    bench = Bench()
    first = bench.place(bench.order(-1))
    bench.wait(6)
    bench.observer.told_missing(first.client_order_id, bench.ns, bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == "busy"


def test_an_id_names_one_order_over_all_restarts() -> None:
    bench = Bench()
    order = bench.place(bench.order(-1))
    bench.wait(10)
    bench.begin()
    bench.place(order)
    assert bench.rule == "fresh-id"


def test_the_same_order_may_be_sent_again_after_an_answer_that_allows_it() -> None:
    bench = Bench()
    order = bench.place(bench.order(-1))
    bench.refuse(order, NotSent("no connection"))
    bench.wait(1)
    bench.place(order)
    assert bench.rule == ""
    bench.refuse(order, OutcomeUnknown("timed out"))
    bench.place(order)
    assert bench.rule == "resend"


def test_orders_lie_on_their_levels_and_levels_survive_restarts() -> None:
    bench = Bench()
    bench.place(bench.order(-1))
    bench.wait(1)
    bench.begin()
    bench.place(bench.order(-2, price_ticks=Ticks(ANCHOR - 2 * INTERVAL + 1)))
    assert bench.rule == "level"


@pytest.mark.parametrize("lots", [1, 21])
def test_an_entry_is_worth_what_the_operator_chose(lots: int) -> None:
    bench = Bench()
    bench.place(bench.order(-1, qty_lots=Lots(lots)))
    assert bench.rule == "size"


def test_exits_are_reduce_only() -> None:
    bench = Bench()
    bench.place(bench.order(-1, Side.SELL, reduce_only=False))
    assert bench.rule == "reduce-only"


def test_an_order_may_take_only_after_three_rejections() -> None:
    bench = Bench()
    for _ in range(3):
        bench.refuse(bench.place(bench.order(-1)), PostOnlyWouldCross("would take"))
        bench.wait(1)
    bench.place(bench.order(-1, post_only=False))
    assert bench.rule == ""
    bench.place(bench.order(-2, post_only=False))
    assert bench.rule == "degraded"


def test_there_are_never_more_orders_than_max_open_orders() -> None:
    bench = Bench()
    for slot in range(-4, 0):
        bench.accept(bench.place(bench.order(slot)))
        bench.wait(1)
    assert bench.rule == ""
    bench.place(bench.order(-5))
    assert bench.rule == "count"


def test_the_budget_is_counted_over_placements_and_cancels() -> None:
    bench = Bench()
    order = bench.place(bench.order(-1))
    ref = OrderRef(client_order_id=order.client_order_id, venue_order_id="")
    for _ in range(4):
        bench.observer.cancelling((ref,), bench.ns)
    assert bench.rule == ""
    bench.observer.cancelling((ref,), bench.ns)
    assert bench.rule == "budget"


def test_nothing_is_sent_while_a_rate_limit_runs() -> None:
    bench = Bench()
    bench.refuse(bench.place(bench.order(-1)), RateLimited("slow down", retry_after_s=2.0))
    bench.wait(1.9)
    bench.place(bench.order(-2))
    assert bench.rule == "pause"


def test_a_refused_slot_waits() -> None:
    bench = Bench()
    bench.refuse(bench.place(bench.order(-1)), PostOnlyWouldCross("would take"))
    bench.wait(0.1)
    bench.place(bench.order(-1))
    assert bench.rule == "patience"


def test_no_entry_follows_a_refusal_for_want_of_margin() -> None:
    bench = Bench()
    bench.refuse(bench.place(bench.order(-1)), InsufficientMargin("none left"))
    bench.wait(5)
    bench.place(bench.order(-2, Side.SELL))
    assert bench.rule == ""
    bench.place(bench.order(-3))
    assert bench.rule == "margin"


def test_an_order_of_somebody_else_is_never_cancelled() -> None:
    bench = Bench()
    bench.observer.cancel_arrived(None, bench.ns)
    assert bench.rule == "foreign"
    strange = Bench()
    ref = OrderRef(client_order_id=ClientOrderId(1, Side.BUY, 77), venue_order_id="v77")
    strange.observer.cancelling((ref,), strange.ns)
    assert strange.rule == "foreign"


def test_an_order_is_not_cancelled_over_and_over() -> None:
    bench = Bench()
    order = bench.accept(bench.place(bench.order(-1)))
    ref = OrderRef(client_order_id=order.client_order_id, venue_order_id="v1")
    for _ in range(151):
        bench.wait(1)
        bench.observer.cancelling((ref,), bench.ns)
    assert bench.rule == "cancel-storm"


def test_one_order_is_live_in_a_slot_at_the_venue() -> None:
    bench = Bench()
    bench.observer.happened(bench.report(bench.order(-1)), bench.ns)
    bench.observer.happened(bench.report(bench.order(-2)), bench.ns)
    assert bench.rule == ""
    bench.observer.happened(bench.report(bench.order(-1)), bench.ns)
    assert bench.rule == "one-live"


def test_position_and_entries_stay_within_max_position() -> None:
    bench = Bench(max_position=Decimal("0.05"))
    bench.fill(bench.accept(bench.place(bench.order(-1))))
    bench.accept(bench.place(bench.order(-2)))
    assert bench.rule == ""
    bench.accept(bench.place(bench.order(-3)))
    assert bench.rule == "exposure"


def test_a_reduce_only_order_never_makes_the_position_larger() -> None:
    bench = Bench()
    bench.fill(bench.accept(bench.place(bench.order(-1, Side.SELL))))
    assert bench.rule == "reduces"


def test_a_post_only_order_never_takes() -> None:
    bench = Bench()
    bench.fill(bench.accept(bench.place(bench.order(-1))), maker=False)
    assert bench.rule == "maker"


def books(**changes: object) -> GridTotals:
    """After one entry of 20 lots at slot -1."""
    chosen: dict[str, object] = {
        "price_ticks": Ticks(ANCHOR),
        "open_orders": 0,
        "held_slots": 1,
        "inventory_lots": Lots(20),
        "inventory_cost": Quanta(20 * (ANCHOR - INTERVAL)),
        "adopted_lots": Lots(0),
        "adopted_cost": Quanta(0),
        "realised": Quanta(0),
        "fees": Decimal("0.01"),
        "funding": Decimal(0),
        "orders_placed": 1,
        "orders_cancelled": 0,
        "orders_rejected": 0,
        "fills": 1,
        "buys": 1,
        "sells": 0,
        "maker_fills": 1,
        "not_quoting": (),
    }
    return GridTotals(**{**chosen, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, ""),
        ({"inventory_lots": Lots(19)}, "position"),
        ({"fees": Decimal("0.02")}, "trades"),
        ({"fees": Decimal(0)}, "trades"),
        ({"adopted_lots": Lots(20)}, "trades"),
        ({"realised": Quanta(1)}, "trades"),
    ],
)
def test_books_agree_with_what_was_traded(changes: dict[str, object], rule: str) -> None:
    bench = Bench()
    bench.fill(bench.accept(bench.place(bench.order(-1))))
    bench.observer.check_books(books(**changes), 0, bench.ns)
    assert bench.rule == rule


def test_slots_follow_the_position_only_where_somebody_else_traded() -> None:
    bench = Bench()
    bench.observer.check_repairs(0, 0, bench.ns)
    assert bench.rule == ""
    bench.observer.check_repairs(1, 0, bench.ns)
    assert bench.rule == "repaired"
    other = Bench()
    report = other.fill(other.order(-1), told=False)
    other.observer.happened(replace(report, client_order_id=None), other.ns)
    other.observer.check_repairs(1, 5, other.ns)
    assert other.rule == ""


def test_no_entry_follows_one_that_left_inventory_to_sell() -> None:
    bench = Bench()
    bench.fill(bench.accept(bench.place(bench.order(-1))))
    bench.wait(1)
    bench.place(bench.order(-1))
    assert bench.rule == "holds"


def test_no_entry_is_placed_while_the_disk_refuses() -> None:
    bench = Bench()
    bench.observer.disk_answered(refused=True, now_ns=bench.ns)
    bench.wait(1)
    bench.place(bench.order(-1, Side.SELL))
    assert bench.rule == ""
    bench.place(bench.order(-2))
    assert bench.rule == "disk"


def test_a_disk_that_took_a_write_again_keeps_nothing_out() -> None:
    bench = Bench()
    bench.observer.disk_answered(refused=True, now_ns=bench.ns)
    bench.wait(1)
    bench.observer.disk_answered(refused=False, now_ns=bench.ns)
    bench.place(bench.order(-1))
    assert bench.rule == ""


def test_a_process_that_began_on_a_wrong_clock_places_nothing() -> None:
    bench = Bench()
    bench.observer.clock_off_s = lambda: -3.0
    bench.begin()
    bench.place(bench.order(-1))
    assert bench.rule == "clock"


def test_the_grid_closes_only_beyond_its_stop_loss_and_enters_no_more() -> None:
    closing = {"time_in_force": TimeInForce.IOC, "post_only": False}
    early = Bench(stop_loss=Decimal(2990))
    early.place(early.order(-1, Side.SELL, **closing))
    assert early.rule == "ended"
    bench = Bench(stop_loss=Decimal(2990))
    bench.observer.told_price(ANCHOR - 1_000, bench.ns)
    bench.place(bench.order(-1, Side.SELL, **closing))
    assert bench.rule == ""
    bench.wait(1)
    bench.place(bench.order(-3))
    assert bench.rule == "ended"


def test_an_entry_left_behind_by_the_price_makes_a_grid_less_than_whole() -> None:
    bench = Bench(buy_window=1)
    bench.accept(bench.place(bench.order(-3)))
    bench.accept(bench.place(bench.order(0)))
    slots = [
        SlotStatus(
            slot=slot,
            price_ticks=Ticks(ANCHOR + slot * INTERVAL),
            state="locked",
            side=Side.BUY,
            order_price_ticks=Ticks(ANCHOR + slot * INTERVAL),
            order_leaves_lots=Lots(20),
            order_filled_lots=Lots(0),
            order_sent_ns=0,
            held_lots=Lots(0),
            why="",
        )
        for slot in (-3, 0)
    ]
    assert "outside the window" in bench.observer.why_not_whole(ANCHOR + 30, slots, 0)


def test_a_residual_is_reported_unless_somebody_else_traded() -> None:
    bench = Bench()
    bench.observer.check_equity(Decimal("0.01"), 0, books(), bench.ns)
    assert bench.rule == "equity"


def test_the_daemon_knows_every_open_order() -> None:
    bench = Bench()
    bench.accept(bench.place(bench.order(-1)))
    bench.observer.check_known(0, bench.ns)
    assert bench.rule == "orders"


def test_a_grid_without_its_entries_is_not_whole() -> None:
    bench = Bench(buy_window=2)
    bench.accept(bench.place(bench.order(-1)))
    assert "level -2 has no entry" not in bench.observer.why_not_whole(ANCHOR, (), 0)
    assert bench.observer.why_not_whole(ANCHOR, (), 0) == "the daemon has 0 orders of 1"


def test_a_restart_that_changes_nothing_sends_nothing() -> None:
    bench = Bench()
    bench.observer.expect_silence = True
    bench.place(bench.order(-1))
    assert bench.rule == "silent"


def test_what_a_stop_leaves_open_is_named() -> None:
    bench = Bench()
    bench.accept(bench.place(bench.order(-1)))
    bench.observer.check_left(("could not be confirmed",), bench.ns, faults_over=False)
    assert bench.rule == ""
    bench.observer.check_left((), bench.ns, faults_over=False)
    assert bench.rule == "left"


def test_a_post_only_rejection_by_stream_counts_like_one_by_answer() -> None:
    bench = Bench()
    order = bench.accept(bench.place(bench.order(-1)))
    ended = bench.report(order, status=OrderStatus.REJECTED, end_reason=EndReason.POST_ONLY)
    bench.observer.told(ended, bench.ns)
    bench.wait(0.1)
    bench.place(bench.order(-1))
    assert bench.rule == "patience"
