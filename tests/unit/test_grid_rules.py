"""The grid rules, one test per sentence of the specification.

The toy grid has levels every 100 ticks around its anchor of 250,000 (2,500.00), a window of five either way and orders
of 20 lots. `LONG` and `SHORT` are mirror images: `sign * 100` ticks is one level in the direction of profit.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core import readings
from marketmaker.core.slot import SlotState
from marketmaker.model.action import (
    Action,
    CancelOrder,
    PlaceOrder,
    RaiseAlert,
    RecordFill,
    RecordOrderEnd,
)
from marketmaker.model.event import FlattenRequested, FundingBooked, Refusal
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import EndReason, NewOrder, OrderStatus, Side, TimeInForce
from marketmaker.model.settings import GridSettings, GridSide, PostOnlyPolicy, Spacing, WindowFrom
from tests.support.toy_venue import ETH, ToyOrder, ToyVenue, make_manager
from tests.support.toy_venue import grid_settings as toy_settings

ANCHOR = 250_000
STEP = 100
SIDES = pytest.mark.parametrize(
    ("side", "sign"), [(GridSide.LONG, 1), (GridSide.SHORT, -1)], ids=["long", "short"]
)


def grid_settings(**changes: object) -> GridSettings:
    """The toy grid with orders of 20 lots at every level near the anchor."""
    return toy_settings(**{"order_amount": Decimal(52), **changes})


def started(
    settings: GridSettings | None = None, *, price: int = ANCHOR, instrument: Instrument = ETH
) -> ToyVenue:
    """A grid at rest at its first price, every order accepted."""
    venue = ToyVenue(make_manager(settings or grid_settings(), instrument=instrument))
    venue.start(price)
    venue.calm()
    return venue


def go(venue: ToyVenue, price: int) -> None:
    """The price moves and all it causes comes to rest."""
    venue.price(price)
    venue.calm()


def entry_side(sign: int) -> Side:
    return Side.BUY if sign > 0 else Side.SELL


def levels(*rungs: int, sign: int = 1) -> list[int]:
    """Prices of rungs counted in the direction of profit, ascending."""
    return sorted(ANCHOR + sign * STEP * rung for rung in rungs)


def entries(venue: ToyVenue, sign: int = 1) -> list[int]:
    return venue.prices(entry_side(sign))


def exits(venue: ToyVenue, sign: int = 1) -> list[int]:
    return venue.prices(entry_side(-sign))


def order_at(venue: ToyVenue, price: int, side: Side) -> ToyOrder:
    (found,) = [toy for toy in venue.open(side) if toy.order.price_ticks == price]
    return found


def fill_entry(venue: ToyVenue, rung: int, *, sign: int = 1, lots: int | None = None) -> None:
    """The price comes to a rung's level, its entry fills, and all that causes comes to rest."""
    price = ANCHOR + sign * STEP * rung
    venue.fill(order_at(venue, price, entry_side(sign)), lots)
    venue.calm()


def placed(actions: list[Action]) -> list[NewOrder]:
    return [action.order for action in actions if isinstance(action, PlaceOrder)]


def held(venue: ToyVenue) -> dict[int, int]:
    """Signed lots by slot."""
    memory = readings.memory(venue.manager)
    assert memory is not None
    return {holding.slot: holding.qty_lots for holding in memory.holdings}


def why(venue: ToyVenue, slot: int) -> str:
    (status,) = [s for s in readings.slot_statuses(venue.manager) if s.slot == slot]
    return status.why


def assert_books_hold(venue: ToyVenue) -> None:
    books = venue.manager.books
    assert books.inventory_lots == venue.position == sum(held(venue).values())
    paid = sum(
        fill.side * fill.qty_lots * fill.price_ticks
        for toy in venue.orders.values()
        for fill in toy.fills
    )
    assert paid == books.inventory_cost - books.adopted_cost - books.realised


# --- levels and anchor ---


def test_level_price_is_anchor_plus_k_intervals() -> None:
    venue = started(price=ANCHOR + 50)
    ladder = venue.manager.ladders[1]
    assert [ladder.price_of(k) for k in (-3, 0, 7)] == [249_750, 250_050, 250_750]
    assert entries(venue) == [249_650, 249_750, 249_850, 249_950]


def test_levels_of_an_interval_off_the_tick_snap_to_the_tick() -> None:
    venue = started(grid_settings(price_interval=Decimal("0.335"), buy_window=4))
    go(venue, ANCHOR + 10)
    assert entries(venue) == [249_900, 249_933, 249_967, 250_000]


def test_geometric_levels_snap_to_the_tick() -> None:
    venue = started(
        grid_settings(
            spacing=Spacing.GEOMETRIC,
            price_interval=None,
            interval_pct=Decimal("0.001"),
            buy_window=4,
        )
    )
    go(venue, ANCHOR + 30)
    assert entries(venue) == [249_251, 249_501, 249_750, 250_000]
    ladder = venue.manager.ladders[1]
    assert ladder.price_of(10) == round(ANCHOR * 1.001**10)


def test_anchor_is_the_first_price_and_survives_a_restart() -> None:
    venue = started(price=ANCHOR + 7)
    go(venue, ANCHOR + 1_234)
    memory = readings.memory(venue.manager)
    assert memory is not None
    assert memory.anchor_ticks == ANCHOR + 7
    again = ToyVenue(make_manager(memory=memory))
    again.start(ANCHOR + 1_234)
    again.calm()
    assert entries(again) == entries(venue)


def test_anchor_of_the_settings_comes_before_the_first_price() -> None:
    venue = started(grid_settings(anchor=Decimal("2499.505")), price=ANCHOR)
    assert venue.manager.anchor == 249_950
    assert entries(venue) == [249_650, 249_750, 249_850, 249_950]


def test_before_the_first_price_there_is_nothing_to_remember() -> None:
    assert readings.memory(make_manager()) is None


# --- the buy window ---


@SIDES
@pytest.mark.parametrize(
    ("offset", "nearest"), [(-49, 0), (0, 0), (49, 0), (50, 1), (99, 1), (-51, -1)]
)
def test_current_level_is_the_nearest(side: GridSide, sign: int, offset: int, nearest: int) -> None:
    venue = started(grid_settings(side=side))
    go(venue, ANCHOR + sign * offset)
    assert venue.manager.ladders[sign].nearest == nearest
    lowest_entry = min(sign * price for price in entries(venue, sign))
    assert lowest_entry == sign * ANCHOR + STEP * (nearest - 4)


@SIDES
def test_buy_window_is_n_levels_downwards_from_the_current_one(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    go(venue, ANCHOR + sign * 10)
    assert entries(venue, sign) == levels(-4, -3, -2, -1, 0, sign=sign)
    go(venue, ANCHOR + sign * 310)
    assert entries(venue, sign) == levels(-1, 0, 1, 2, 3, sign=sign)


@SIDES
def test_buy_window_may_start_at_the_first_level_that_may_be_placed(
    side: GridSide, sign: int
) -> None:
    venue = started(grid_settings(side=side, window_from=WindowFrom.BELOW))
    assert entries(venue, sign) == levels(-5, -4, -3, -2, -1, sign=sign)
    go(venue, ANCHOR + sign * 90)
    assert entries(venue, sign) == levels(-4, -3, -2, -1, 0, sign=sign)


@SIDES
@pytest.mark.parametrize(("distance", "near"), [("0.1", 10), ("0.25", 25), ("0", 1), ("0.101", 11)])
def test_no_buy_closer_than_a_tenth_of_the_interval(
    side: GridSide, sign: int, distance: str, near: int
) -> None:
    venue = started(grid_settings(side=side, place_distance=Decimal(distance)))
    go(venue, ANCHOR + sign * (near - 1))
    assert ANCHOR not in entries(venue, sign)
    go(venue, ANCHOR + sign * near)
    assert ANCHOR in entries(venue, sign)


def test_a_resting_buy_is_left_alone_when_the_price_comes_closer() -> None:
    venue = started()
    go(venue, ANCHOR + 10)
    before = venue.open(Side.BUY)
    assert venue.price(ANCHOR + 1) == []
    assert venue.open(Side.BUY) == before


@SIDES
def test_buy_only_in_free_empty_slot(side: GridSide, sign: int) -> None:
    """A slot that holds inventory, has an order or waits for an answer gets no second entry."""
    venue = ToyVenue(make_manager(grid_settings(side=side)))
    first = placed(venue.start(ANCHOR))
    assert len(first) == 4
    assert placed(venue.price(ANCHOR + sign)) == []
    assert {venue.manager.slots[-sign * k].state for k in (1, 2, 3, 4)} == {SlotState.PENDING}
    venue.calm()
    assert {venue.manager.slots[-sign * k].state for k in (1, 2, 3, 4)} == {SlotState.LOCKED}
    go(venue, ANCHOR - sign * STEP)
    fill_entry(venue, -1, sign=sign)
    go(venue, ANCHOR)
    assert levels(-1, sign=sign)[0] not in entries(venue, sign)
    assert why(venue, -sign) == ""


@SIDES
def test_a_slot_is_bought_again_after_its_inventory_was_sold(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    fill_entry(venue, -1, sign=sign)
    venue.fill(order_at(venue, ANCHOR, entry_side(-sign)))
    venue.calm()
    assert entries(venue, sign) == levels(-4, -3, -2, -1, sign=sign)
    assert venue.manager.books.realised == 20 * STEP
    assert_books_hold(venue)


# --- size ---


def test_order_size_is_amount_over_level_price_rounded_down() -> None:
    venue = started(grid_settings(order_amount=Decimal("100"), price_interval=Decimal(100)))
    assert [(toy.order.price_ticks, toy.order.qty_lots) for toy in venue.open(Side.BUY)] == [
        (210_000, 47),
        (220_000, 45),
        (230_000, 43),
        (240_000, 41),
    ]


@pytest.mark.parametrize(
    ("settings", "instrument"),
    [
        (grid_settings(min_order_value=Decimal("50.01")), ETH),
        (grid_settings(), replace(ETH, min_notional=Decimal("50.01"))),
        (grid_settings(), replace(ETH, min_qty=Lots(21))),
    ],
    ids=["min_order_value", "min_notional", "min_qty"],
)
def test_no_order_below_the_larger_of_all_minimums(
    settings: GridSettings, instrument: Instrument
) -> None:
    venue = started(settings, instrument=instrument)
    assert venue.open() == []
    assert why(venue, -1) == "order_amount is below the minimum at this level"


# --- inventory and exits ---


@SIDES
def test_filled_buy_is_offered_one_level_up_reduce_only_for_the_whole_quantity(
    side: GridSide, sign: int
) -> None:
    venue = started(grid_settings(side=side))
    venue.fill(order_at(venue, ANCHOR - sign * 200, entry_side(sign)))
    (order,) = venue.unsent
    assert order.side is entry_side(-sign)
    assert order.price_ticks == ANCHOR - sign * 100
    assert order.qty_lots == 20
    assert order.reduce_only
    assert order.client_order_id.slot == -2 * sign
    assert held(venue) == {-2 * sign: 20 * sign}


@SIDES
def test_part_filled_then_cancelled_buy_becomes_inventory(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    fill_entry(venue, -4, sign=sign, lots=7)
    assert exits(venue, sign) == []
    go(venue, ANCHOR + sign * 300)
    assert levels(-4, sign=sign)[0] not in entries(venue, sign)
    (sell,) = venue.open(entry_side(-sign))
    assert (sell.order.price_ticks, sell.order.qty_lots) == (ANCHOR - sign * 300, 7)
    assert held(venue) == {-4 * sign: 7 * sign}


def test_a_buy_the_venue_ended_half_filled_becomes_inventory() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100, Side.BUY)
    venue.fill(toy, 9)
    venue.end(toy, EndReason.EXPIRED)
    venue.wait(1)
    venue.calm()
    (sell,) = venue.open(Side.SELL)
    assert (sell.order.price_ticks, sell.order.qty_lots) == (ANCHOR, 9)


@SIDES
def test_sell_window_offers_the_nearest_inventory_only(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side, sell_window=2))
    for rung in (-1, -2, -3, -4):
        go(venue, ANCHOR + sign * STEP * rung + sign)
        fill_entry(venue, rung, sign=sign)
    assert exits(venue, sign) == levels(-2, -3, sign=sign)
    go(venue, ANCHOR - sign * 51)
    assert exits(venue, sign) == levels(0, -1, sign=sign)
    assert why(venue, -4 * sign) == "outside the sell window"


def test_sell_window_places_the_nearest_first() -> None:
    venue = started(grid_settings(sell_window=3))
    for rung in (-1, -2, -3):
        fill_entry(venue, rung)
    memory = readings.memory(venue.manager)
    again = ToyVenue(make_manager(grid_settings(sell_window=3), memory=memory), start_position=60)
    orders = placed(again.start(ANCHOR - 90))
    sells = [order.price_ticks for order in orders if order.side is Side.SELL]
    assert sells == [ANCHOR, ANCHOR - 100, ANCHOR - 200]


@SIDES
def test_small_remainder_is_topped_up_by_the_next_buy(side: GridSide, sign: int) -> None:
    """One lot is worth less than the venue's minimum: it waits in its slot, which buys again and sells both."""
    venue = started(grid_settings(side=side))
    fill_entry(venue, -1, sign=sign)
    toy = order_at(venue, ANCHOR, entry_side(-sign))
    venue.fill(toy, 19)
    venue.end(toy, EndReason.EXPIRED)
    venue.wait(1)
    venue.calm()
    assert held(venue) == {-sign: sign}
    assert levels(-1, sign=sign)[0] in entries(venue, sign)
    fill_entry(venue, -1, sign=sign)
    (sell,) = venue.open(entry_side(-sign))
    assert (sell.order.price_ticks, sell.order.qty_lots) == (ANCHOR, 21)
    assert_books_hold(venue)


def test_small_remainder_is_carried_by_a_neighbour_once_its_level_is_left() -> None:
    venue = started()
    fill_entry(venue, -3, lots=1)
    venue.end(order_at(venue, ANCHOR - 300, Side.BUY), EndReason.EXPIRED)
    fill_entry(venue, -1)
    assert held(venue) == {-3: 1, -1: 20}
    cost = venue.manager.books.inventory_cost
    go(venue, ANCHOR + 310)
    assert held(venue) == {-1: 21}
    (sell,) = venue.open(Side.SELL)
    assert (sell.order.price_ticks, sell.order.qty_lots) == (ANCHOR, 21)
    assert venue.manager.books.inventory_cost == cost
    assert_books_hold(venue)


def test_small_remainder_without_a_neighbour_is_kept_and_topped_up_on_return() -> None:
    venue = started()
    fill_entry(venue, -3, lots=1)
    go(venue, ANCHOR + 510)
    assert held(venue) == {-3: 1}
    assert venue.open(Side.SELL) == []
    go(venue, ANCHOR)
    assert ANCHOR - 300 in entries(venue)
    fill_entry(venue, -3)
    (sell,) = venue.open(Side.SELL)
    assert sell.order.qty_lots == 21


@SIDES
def test_small_remainder_never_blocks_its_level(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    toy = order_at(venue, ANCHOR - sign * 100, entry_side(sign))
    venue.fill(toy, 1)
    venue.end(toy, EndReason.EXPIRED)
    venue.calm()
    assert ANCHOR - sign * 100 not in entries(venue, sign)
    venue.wait(1)
    venue.calm()
    assert ANCHOR - sign * 100 in entries(venue, sign)


# --- windows and caps ---


@SIDES
def test_buys_out_of_the_window_are_cancelled(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    actions = venue.price(ANCHOR + sign * 210)
    assert sorted(
        venue.orders[a.order.client_order_id].order.price_ticks
        for a in actions
        if isinstance(a, CancelOrder)
    ) == levels(-3, -4, sign=sign)
    venue.calm()
    assert entries(venue, sign) == levels(-2, -1, 0, 1, 2, sign=sign)


@SIDES
def test_a_level_that_was_left_is_forgotten_also_when_the_venue_tells_of_its_order_again(
    side: GridSide, sign: int
) -> None:
    """Every venue tells of a cancel twice, in its answer and on its stream; a trend must not leave a record per level."""
    venue = started(grid_settings(side=side))
    for step in range(1, 40):
        go(venue, ANCHOR + sign * step * 100)
        for toy in list(venue.orders.values()):
            if toy.status is OrderStatus.CANCELLED:
                venue.deliver(venue.report(toy))
        venue.calm()
    assert len(venue.manager.slots) == len(venue.manager.live)
    assert_books_hold(venue)


@SIDES
def test_buys_above_the_window_rest_until_it_has_passed_them(side: GridSide, sign: int) -> None:
    """A falling price leaves buys that have not filled yet where they are: they are the next to fill."""
    venue = started(grid_settings(side=side))
    go(venue, ANCHOR - sign * 250)
    assert levels(-1, -2, sign=sign) == [
        p for p in entries(venue, sign) if sign * p > sign * (ANCHOR - sign * 250)
    ]
    go(venue, ANCHOR + sign * 810)
    assert entries(venue, sign) == levels(4, 5, 6, 7, 8, sign=sign)


@SIDES
def test_open_orders_stay_under_the_cap_buys_first(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side, max_open_orders=7, sell_window=5))
    for rung in (-1, -2, -3, -4, -5, -6):
        go(venue, ANCHOR + sign * STEP * rung + sign * 10)
        fill_entry(venue, rung, sign=sign)
        assert len(venue.open()) <= 7
    go(venue, ANCHOR - sign * 560)
    assert len(entries(venue, sign)) == 4
    assert len(exits(venue, sign)) == 3
    assert len(held(venue)) == 6


def test_a_window_larger_than_the_cap_is_cut_to_the_cap() -> None:
    venue = started(grid_settings(buy_window=9, sell_window=9, max_open_orders=3))
    go(venue, ANCHOR + 10)
    assert entries(venue) == levels(-2, -1, 0)


def test_the_next_order_in_line_is_placed_when_room_is_made() -> None:
    """While a cancel is under way its order still counts; its end makes room at once."""
    venue = started(grid_settings(buy_window=3, sell_window=3, max_open_orders=3))
    go(venue, ANCHOR + 10)
    assert placed(venue.price(ANCHOR + 110)) == []
    assert why(venue, 1) == "max_open_orders reached"
    venue.settle_cancels()
    assert [order.price_ticks for order in venue.unsent] == [ANCHOR + 100]


def test_a_full_house_sells_when_room_is_made() -> None:
    venue = started(grid_settings(buy_window=2, sell_window=2, max_open_orders=2))
    go(venue, ANCHOR + 10)
    assert entries(venue) == levels(-1, 0)
    fill_entry(venue, 0)
    assert len(venue.open()) == 2
    assert exits(venue) == levels(1)


# --- partial and repeated fills ---


@SIDES
def test_partial_fills_count_as_they_come(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side))
    toy = order_at(venue, ANCHOR - sign * 100, entry_side(sign))
    for lots, total in ((3, 3), (4, 7), (13, 20)):
        venue.fill(toy, lots)
        assert held(venue) == {-sign: sign * total}
        assert venue.manager.books.inventory_lots == sign * total
    venue.calm()
    sell = order_at(venue, ANCHOR, entry_side(-sign))
    venue.fill(sell, 5)
    assert held(venue) == {-sign: sign * 15}
    assert venue.manager.books.realised == 5 * STEP
    venue.calm()
    assert len(venue.open(entry_side(-sign))) == 1
    assert_books_hold(venue)


def test_cumulative_quantity_is_trusted_over_deltas() -> None:
    """A report that skipped a trade still says how much is filled."""
    venue = started()
    toy = order_at(venue, ANCHOR - 100, Side.BUY)
    venue.trade(toy, 6)
    second = venue.trade(toy, 5)
    venue.deliver(second)
    assert held(venue) == {-1: 11}


def test_duplicate_and_out_of_order_updates_change_nothing() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100, Side.BUY)
    opened = venue.report(toy)
    first = venue.trade(toy, 6)
    second = venue.trade(toy, 5)
    third = venue.trade(toy, 9)
    venue.deliver(second)
    venue.deliver(first)
    venue.deliver(third)
    venue.calm()
    before = (readings.totals(venue.manager), held(venue))
    assert before[0].fills == 3
    for report in (opened, first, second, third, third, opened):
        actions = venue.deliver(report)
        assert placed(actions) == []
        assert not any(isinstance(action, RecordFill | RecordOrderEnd) for action in actions)
    venue.calm()
    assert (readings.totals(venue.manager), held(venue)) == before
    assert_books_hold(venue)


def test_fill_is_booked_once_per_trade_id() -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100, Side.BUY)
    report = venue.trade(toy, 20, price=ANCHOR - 101)
    venue.deliver(replace(report, fill=None))
    venue.deliver(report)
    venue.deliver(report)
    venue.snapshot()
    venue.snapshot()
    books = venue.manager.books
    assert report.fill is not None
    assert books.fees == report.fill.fee
    assert books.inventory_lots == 20
    assert books.inventory_cost == 20 * (ANCHOR - 101)
    ids = [a.trade_id for a in venue.all_actions if isinstance(a, RecordFill) and a.trade_id]
    assert ids == ["t1"]


@given(st.permutations(range(6)), st.lists(st.integers(0, 5), max_size=4))
def test_any_order_of_the_same_reports_ends_in_the_same_books(
    order: list[int], repeats: list[int]
) -> None:
    venue = started()
    toy = order_at(venue, ANCHOR - 100, Side.BUY)
    reports = [venue.trade(toy, lots) for lots in (3, 4, 5, 1, 1, 6)]
    for number in [*order, *repeats]:
        venue.deliver(reports[number])
    assert held(venue) == {-1: 20}
    assert venue.manager.books.inventory_cost == 20 * (ANCHOR - 100)
    assert venue.manager.books.fees == sum(fill.fee for fill in toy.fills)


# --- margin lock ---


@SIDES
def test_margin_lock_stops_buying_cancels_buys_keeps_selling_and_ends(
    side: GridSide, sign: int
) -> None:
    venue = started(grid_settings(side=side))
    fill_entry(venue, -1, sign=sign)
    venue.price(ANCHOR + sign * 10)
    refused = venue.unsent.popleft()
    assert refused.side is entry_side(sign)
    actions = venue.refuse(refused, Refusal.INSUFFICIENT_MARGIN)
    assert any(isinstance(a, RaiseAlert) and a.topic == "margin.locked" for a in actions)
    venue.calm()
    assert entries(venue, sign) == []
    assert exits(venue, sign) == levels(0, sign=sign)
    assert why(venue, -2 * sign) == "insufficient margin: entries wait"
    assert readings.not_quoting(venue.manager) == ("insufficient margin: entries wait",)
    sell = order_at(venue, ANCHOR, entry_side(-sign))
    venue.fill(sell, 5)
    venue.end(sell, EndReason.EXPIRED)
    venue.wait(1)
    venue.calm()
    assert exits(venue, sign) == levels(0, sign=sign)
    venue.wait(8.9)
    venue.calm()
    assert entries(venue, sign) == []
    venue.wait(0.2)
    venue.calm()
    assert entries(venue, sign) == levels(-4, -3, -2, 0, sign=sign)


def test_an_exit_refused_for_margin_locks_nothing() -> None:
    venue = started()
    venue.fill(order_at(venue, ANCHOR - 100, Side.BUY))
    venue.refuse(venue.unsent.popleft(), Refusal.INSUFFICIENT_MARGIN)
    assert venue.manager.entries_blocked() == ""
    venue.wait(1)
    venue.calm()
    assert exits(venue) == levels(0)


def test_margin_lock_reported_by_stream_locks_as_well() -> None:
    venue = started()
    venue.end(order_at(venue, ANCHOR - 100, Side.BUY), EndReason.INSUFFICIENT_MARGIN)
    venue.calm()
    assert venue.open() == []
    assert venue.manager.orders_rejected == 1
    venue.wait(10.1)
    venue.calm()
    assert entries(venue) == levels(-4, -3, -2, -1)


# --- short and neutral ---


def test_short_is_the_mirror_image_of_long() -> None:
    """The same story told of mirrored prices gives mirrored orders, fills and profit."""
    told: dict[GridSide, list[tuple[int, int, int]]] = {}
    for side, sign in ((GridSide.LONG, 1), (GridSide.SHORT, -1)):
        venue = started(grid_settings(side=side))
        for offset in (10, -90, -190, -310, -250, 20, 140, 260, 90, -40, 333):
            venue.price(ANCHOR + sign * offset)
            venue.calm()
            for toy in sorted(venue.open(), key=lambda toy: sign * toy.order.price_ticks):
                reach = sign * (ANCHOR + sign * offset - int(toy.order.price_ticks))
                through = -reach if toy.order.side is entry_side(sign) else reach
                if through > 0:
                    venue.fill(toy)
            venue.calm()
        assert_books_hold(venue)
        told[side] = [
            (
                sign * int(a.order.side),
                sign * (int(a.order.price_ticks) - ANCHOR),
                int(a.order.reduce_only),
            )
            for a in venue.all_actions
            if isinstance(a, PlaceOrder)
        ]
    assert told[GridSide.LONG] == told[GridSide.SHORT]
    assert len(told[GridSide.LONG]) > 20


def test_neutral_quotes_buys_below_and_sells_above_the_anchor() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL, sell_window=3))
    assert venue.prices(Side.BUY) == levels(-4, -3, -2, -1)
    assert venue.prices(Side.SELL) == levels(1, 2)
    assert not any(toy.order.reduce_only for toy in venue.open())


def test_neutral_holds_both_signs_and_gives_each_back_towards_the_anchor() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL))
    venue.fill(order_at(venue, ANCHOR - 200, Side.BUY))
    venue.calm()
    venue.fill(order_at(venue, ANCHOR + 200, Side.SELL))
    venue.calm()
    assert held(venue) == {-2: 20, 2: -20}
    sells = [t for t in venue.open(Side.SELL) if t.order.client_order_id.slot == -2]
    buys = [t for t in venue.open(Side.BUY) if t.order.client_order_id.slot == 2]
    assert [t.order.price_ticks for t in sells] == [ANCHOR - 100]
    assert [t.order.price_ticks for t in buys] == [ANCHOR + 100]
    assert_books_hold(venue)


def test_neutral_exits_are_reduce_only_while_only_one_sign_is_held() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL))
    venue.fill(order_at(venue, ANCHOR - 200, Side.BUY))
    assert [order.reduce_only for order in venue.unsent] == [True]
    venue.calm()
    venue.fill(order_at(venue, ANCHOR + 200, Side.SELL))
    assert [order.reduce_only for order in venue.unsent] == [False]


def test_neutral_windows_of_a_far_price_stay_on_their_own_side_of_the_anchor() -> None:
    above = grid_settings(side=GridSide.NEUTRAL, anchor=Decimal(2500))
    venue = started(above, price=ANCHOR + 320)
    assert venue.prices(Side.BUY) == levels(-1)
    assert venue.prices(Side.SELL) == levels(4, 5, 6, 7)
    venue = started(above, price=ANCHOR + 720)
    assert venue.prices(Side.BUY) == []
    assert venue.prices(Side.SELL) == levels(8, 9, 10, 11)
    assert 0 not in venue.manager.slots


def test_neutral_anchor_level_itself_is_never_traded() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL))
    for offset in (-30, 30, 60, -60, 0):
        go(venue, ANCHOR + offset)
        assert ANCHOR not in venue.prices(Side.BUY) + venue.prices(Side.SELL)


def test_neutral_stays_under_the_cap() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL, max_open_orders=9))
    for offset in (-110, -210, -310, 110, 210, 310, 0):
        go(venue, ANCHOR + offset)
        for toy in venue.open():
            if toy.order.side * (ANCHOR + offset - int(toy.order.price_ticks)) < 0:
                venue.fill(toy)
        venue.calm()
        assert len(venue.open()) <= 9
    assert_books_hold(venue)


# --- optional limits ---


@SIDES
def test_price_bounds_limit_the_levels_that_are_bought(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side, price_bounds=(Decimal("2498.00"), Decimal("2502.00"))))
    assert entries(venue, sign) == levels(-2, -1, sign=sign)
    go(venue, ANCHOR + sign * 510)
    assert entries(venue, sign) == levels(1, 2, sign=sign)
    go(venue, ANCHOR + sign * 910)
    assert entries(venue, sign) == []


def test_price_bounds_off_the_tick_stay_inside() -> None:
    venue = started(grid_settings(price_bounds=(Decimal("2497.001"), Decimal("2498.999"))))
    assert entries(venue) == levels(-2)


def test_inventory_is_sold_outside_the_price_bounds() -> None:
    venue = started(grid_settings(price_bounds=(Decimal("2499"), Decimal("2500"))))
    go(venue, ANCHOR + 10)
    fill_entry(venue, 0)
    go(venue, ANCHOR + 90)
    assert exits(venue) == levels(1)


@SIDES
def test_trigger_price_keeps_entries_waiting_until_it_is_reached(side: GridSide, sign: int) -> None:
    trigger = Decimal(ANCHOR + sign * 300) / 100
    venue = started(grid_settings(side=side, trigger_price=trigger))
    assert venue.open() == []
    assert why(venue, -sign) == "waiting for trigger_price"
    go(venue, ANCHOR + sign * 299)
    assert venue.open() == []
    go(venue, ANCHOR + sign * 300)
    assert len(entries(venue, sign)) == 4
    go(venue, ANCHOR)
    assert ANCHOR - sign * 400 in entries(venue, sign)


def closing_story(settings: GridSettings, sign: int, end_price: int) -> ToyVenue:
    """Two entries fill, then the price reaches the end; cancels are confirmed, nothing else answered."""
    venue = started(settings)
    fill_entry(venue, -1, sign=sign)
    fill_entry(venue, -2, sign=sign)
    assert len(exits(venue, sign)) == 2
    venue.price(end_price)
    venue.settle_cancels()
    return venue


def close_by_ioc(venue: ToyVenue, lots: int | None = None) -> NewOrder:
    """The venue takes the closing order, fills some of it and ends the rest, as IOC orders do."""
    order = venue.unsent.popleft()
    toy = venue.take(order)
    wanted = order.qty_lots if lots is None else lots
    if wanted:
        venue.fill(toy, wanted)
    if toy.status is OrderStatus.OPEN:
        venue.end(toy, EndReason.IOC)
    return order


@SIDES
@pytest.mark.parametrize("limit", ["stop_loss", "take_profit"])
@pytest.mark.parametrize("policy", list(PostOnlyPolicy))
def test_stop_loss_and_take_profit_close_everything_and_never_buy_again(
    side: GridSide, sign: int, limit: str, policy: PostOnlyPolicy
) -> None:
    away = -1 if limit == "stop_loss" else 1
    end = ANCHOR + sign * away * 1_000
    settings = grid_settings(side=side, post_only=policy, **{limit: Decimal(end) / 100})
    venue = closing_story(settings, sign, end)
    assert venue.open() == []
    (order,) = venue.unsent
    assert order.qty_lots == 40
    assert order.side is entry_side(-sign)
    assert order.reduce_only
    assert not order.post_only
    assert order.time_in_force is TimeInForce.IOC
    close_by_ioc(venue)
    assert venue.position == venue.manager.books.inventory_lots == 0
    for price in (ANCHOR, end, ANCHOR - sign * 50, ANCHOR + sign * 510):
        assert placed(venue.price(price)) == []
    memory = readings.memory(venue.manager)
    assert memory is not None
    assert memory.ended.startswith(limit)
    assert_books_hold(venue)


@SIDES
def test_the_closing_price_lies_the_slippage_beyond_the_price(side: GridSide, sign: int) -> None:
    end = ANCHOR - sign * 1_000
    settings = grid_settings(
        side=side, stop_loss=Decimal(end) / 100, close_slippage=Decimal("0.01")
    )
    venue = closing_story(settings, sign, end)
    (order,) = venue.unsent
    assert order.price_ticks == end - sign * end // 100


def test_closing_tries_again_for_what_an_ioc_order_did_not_get() -> None:
    venue = closing_story(grid_settings(stop_loss=Decimal(2400)), 1, 240_000)
    close_by_ioc(venue, 15)
    assert list(venue.unsent) == []
    venue.wait(0.5)
    assert [order.qty_lots for order in venue.unsent] == [25]
    close_by_ioc(venue, 0)
    venue.wait(0.5)
    close_by_ioc(venue)
    assert venue.position == 0
    assert venue.manager.closing is False
    assert_books_hold(venue)


def test_closing_is_alerted_at_its_begin_and_at_its_end() -> None:
    venue = closing_story(grid_settings(stop_loss=Decimal(2400)), 1, 240_000)
    close_by_ioc(venue)
    topics = [a.topic for a in venue.all_actions if isinstance(a, RaiseAlert)]
    assert topics == ["grid.closing", "grid.closed"]


def test_closing_carries_remainders_too_small_to_sell_alone() -> None:
    venue = started(grid_settings(stop_loss=Decimal(2400)))
    fill_entry(venue, -3, lots=1)
    fill_entry(venue, -1)
    venue.price(240_000)
    venue.settle_cancels()
    assert [order.qty_lots for order in venue.unsent] == [21]


def test_neutral_closing_closes_both_signs() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL, stop_loss=Decimal(2400)))
    fill_entry(venue, -1)
    venue.fill(order_at(venue, ANCHOR + 300, Side.SELL))
    venue.calm()
    venue.price(240_000)
    venue.settle_cancels()
    first = close_by_ioc(venue)
    venue.wait(0.5)
    second = close_by_ioc(venue)
    assert {first.side, second.side} == {Side.BUY, Side.SELL}
    assert venue.position == 0
    assert held(venue) == {}


def test_an_entry_in_flight_when_the_stop_is_hit_is_cancelled_and_what_it_bought_is_closed() -> (
    None
):
    venue = started(grid_settings(stop_loss=Decimal(2400)))
    venue.price(ANCHOR + 10)
    late = venue.unsent.popleft()
    venue.price(240_000)
    venue.cancels.clear()
    venue.accept(late)
    toy = order_at(venue, ANCHOR, Side.BUY)
    venue.fill(toy, 4)
    venue.cancels.clear()
    for other in venue.open():
        venue.end(other, EndReason.REQUESTED)
    assert [order.qty_lots for order in venue.unsent] == [4]


def test_an_entry_refused_while_closing_does_not_stop_the_closing() -> None:
    venue = started(grid_settings(stop_loss=Decimal(2400)))
    fill_entry(venue, -1)
    venue.price(ANCHOR + 10)
    late = venue.unsent.popleft()
    venue.price(240_000)
    venue.refuse(late, Refusal.FILTER)
    venue.settle_cancels()
    assert [(order.qty_lots, order.time_in_force) for order in venue.unsent] == [
        (20, TimeInForce.IOC)
    ]


def test_a_close_interrupted_by_a_restart_goes_on() -> None:
    venue = closing_story(grid_settings(stop_loss=Decimal(2400)), 1, 240_000)
    memory = readings.memory(venue.manager)
    assert memory is not None
    again = ToyVenue(
        make_manager(grid_settings(stop_loss=Decimal(2400)), memory=memory), start_position=40
    )
    (order,) = placed(again.start(241_000))
    assert order.time_in_force is TimeInForce.IOC
    assert order.qty_lots == 40


def test_an_ended_grid_stays_ended_after_a_restart() -> None:
    venue = closing_story(grid_settings(stop_loss=Decimal(2400)), 1, 240_000)
    close_by_ioc(venue)
    memory = readings.memory(venue.manager)
    again = ToyVenue(make_manager(grid_settings(stop_loss=Decimal(2400)), memory=memory))
    assert placed(again.start(ANCHOR)) == []
    assert readings.not_quoting(again.manager) == ("stop_loss at 2400.00 reached",)


@SIDES
def test_max_position_counts_inventory_and_resting_entries(side: GridSide, sign: int) -> None:
    venue = started(grid_settings(side=side, max_position=Decimal("0.06")))
    assert entries(venue, sign) == levels(-3, -2, -1, sign=sign)
    assert why(venue, -4 * sign) == "max_position reached"
    fill_entry(venue, -1, sign=sign)
    assert entries(venue, sign) == levels(-3, -2, sign=sign)
    venue.fill(order_at(venue, ANCHOR, entry_side(-sign)))
    venue.calm()
    assert len(entries(venue, sign)) == 3


def test_max_position_lets_the_next_entry_in_as_soon_as_a_partial_sale_makes_room() -> None:
    venue = started(grid_settings(max_position=Decimal("0.045")))
    fill_entry(venue, -1)
    assert entries(venue) == levels(-2)
    sell = order_at(venue, ANCHOR, Side.SELL)
    assert placed(venue.fill(sell, 14)) == []
    assert [order.price_ticks for order in placed(venue.fill(sell, 1))] == [ANCHOR - 300]


def test_max_position_of_one_sign_does_not_count_the_other() -> None:
    venue = started(grid_settings(side=GridSide.NEUTRAL, max_position=Decimal("0.02")))
    assert venue.prices(Side.BUY) == levels(-1)
    assert venue.prices(Side.SELL) == levels(1)


def test_flatten_closes_everything_and_stays_out() -> None:
    venue = started()
    fill_entry(venue, -1)
    venue.tell(FlattenRequested(reason="operator asked", ts_ns=venue.now_ns))
    venue.settle_cancels()
    close_by_ioc(venue)
    assert venue.position == 0
    assert placed(venue.price(ANCHOR - 510)) == []
    assert readings.not_quoting(venue.manager) == ("operator asked",)
    assert venue.tell(FlattenRequested(reason="again", ts_ns=venue.now_ns)) == []
    assert venue.manager.ended == "operator asked"


def test_flatten_before_the_first_price_closes_once_one_is_known() -> None:
    venue = ToyVenue(make_manager())
    venue.tell(FlattenRequested(reason="operator asked", ts_ns=venue.now_ns))
    assert placed(venue.start(ANCHOR)) == []
    assert venue.manager.closing is False


def test_no_order_has_a_price_of_nought() -> None:
    """Even a close of a worthless thing asks for a tick."""
    venue = started(
        grid_settings(price_interval=Decimal("0.05"), min_order_value=Decimal("0.001")),
        price=20,
        instrument=replace(ETH, min_notional=Decimal("0.001")),
    )
    assert venue.prices(Side.BUY) == [5, 10, 15]
    venue.fill(order_at(venue, 15, Side.BUY), 50)
    venue.tell(FlattenRequested(reason="out", ts_ns=venue.now_ns))
    venue.settle_cancels()
    venue.price(1)
    assert [order.price_ticks for order in venue.unsent] == [19]
    close_by_ioc(venue, 0)
    venue.wait(0.5)
    assert [order.price_ticks for order in venue.unsent] == [1]


# --- money that is not a trade ---


def test_funding_is_booked_once_per_payment() -> None:
    venue = started()
    for payment, amount in (("p1", "1.5"), ("p2", "-0.25"), ("p1", "1.5")):
        event = FundingBooked(payment_id=payment, amount=Decimal(amount), ts_ns=venue.now_ns)
        assert venue.tell(event) == []
    assert readings.totals(venue.manager).funding == Decimal("1.25")


def test_funding_remembers_only_so_many_payments() -> None:
    venue = started()
    for number in range(1_001):
        event = FundingBooked(payment_id=f"p{number}", amount=Decimal(1), ts_ns=venue.now_ns)
        venue.tell(event)
    assert len(venue.manager.payments) == 1_000
    assert venue.manager.books.funding == 1_001


# --- the reasons `status` shows ---


def test_every_quoted_slot_says_what_it_has_and_every_other_why_not() -> None:
    venue = started()
    fill_entry(venue, -1)
    rows = {row.slot: row for row in readings.slot_statuses(venue.manager)}
    assert list(rows) == sorted(rows)
    assert (rows[-1].side, rows[-1].order_price_ticks, rows[-1].held_lots) == (
        Side.SELL,
        Ticks(ANCHOR),
        20,
    )
    assert (rows[-2].side, rows[-2].order_leaves_lots, rows[-2].why) == (Side.BUY, 20, "")
    assert rows[-2].price_ticks == ANCHOR - 200


def test_totals_tell_what_happened() -> None:
    venue = started()
    fill_entry(venue, -1)
    venue.fill(order_at(venue, ANCHOR, Side.SELL))
    totals = readings.totals(venue.manager)
    assert (totals.fills, totals.buys, totals.sells, totals.maker_fills) == (2, 1, 1, 2)
    assert (totals.held_slots, totals.inventory_lots, totals.realised) == (0, 0, 20 * STEP)
    assert totals.orders_placed == 6
    assert totals.open_orders == 4
    assert totals.price_ticks == ANCHOR
    assert totals.not_quoting == ()
    assert totals.fees == Decimal("0.0002") * 20 * (2 * ANCHOR - STEP) * ETH.quantum


def test_a_close_the_venue_will_not_take_is_given_up_and_alerted() -> None:
    """A remainder below the venue's minimum cannot be closed: it is kept in the books and nothing spins."""
    venue = started(grid_settings(stop_loss=Decimal(2400)))
    fill_entry(venue, -1, lots=1)
    venue.price(240_000)
    venue.settle_cancels()
    (order,) = venue.unsent
    assert order.qty_lots == 1
    venue.unsent.clear()
    actions = venue.refuse(order, Refusal.FILTER)
    assert [a.topic for a in actions if isinstance(a, RaiseAlert)] == ["order.refused"]
    assert placed(venue.wait(100)) == []
    assert venue.manager.closing is False
    assert held(venue) == {-1: 1}
