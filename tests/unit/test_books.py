"""The books: exact whatever is told, in whatever order and however often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core.books import Books
from marketmaker.core.slot import LiveOrder, Slot
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import ClientOrderId, Fill, Side

BOTH = pytest.mark.parametrize("sign", [1, -1], ids=["long", "short"])


def make_order(
    slot: Slot, *, is_exit: bool = False, price: int = 100, qty: int = 20, sequence: int = 1
) -> LiveOrder:
    side = Side(-slot.sign if is_exit else slot.sign)
    return LiveOrder(
        client_order_id=ClientOrderId(slot.index, side, sequence),
        side=side,
        is_exit=is_exit,
        post_only=True,
        price_ticks=Ticks(price),
        qty_lots=Lots(qty),
        ts_sent_ns=1,
    )


def trade(
    order: LiveOrder, number: int, lots: int, price: int | None = None, fee: str = "0.1"
) -> Fill:
    return Fill(
        trade_id=f"t{number}",
        client_order_id=order.client_order_id,
        venue_order_id="v",
        side=order.side,
        price_ticks=Ticks(price or order.price_ticks),
        qty_lots=Lots(lots),
        fee=Decimal(fee),
        is_maker=True,
        ts_venue_ns=7,
    )


@BOTH
def test_an_entry_fill_becomes_inventory_at_its_own_price(sign: int) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    order = make_order(slot)
    record = books.book(slot, order, 5, trade(order, 1, 5, price=99), 7)
    assert (slot.held_lots, slot.cost) == (5, 495)
    assert (books.inventory_lots, books.inventory_cost) == (5 * sign, 495 * sign)
    assert record is not None
    assert (record.trade_id, record.qty_lots, record.price_ticks) == ("t1", 5, 99)
    assert (record.realised, record.fee, record.ts_venue_ns) == (0, Decimal("0.1"), 7)


@BOTH
def test_an_exit_realises_the_difference_to_its_share_of_the_cost(sign: int) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    books.book(slot, entry := make_order(slot), 20, trade(entry, 1, 20), 7)
    order = make_order(slot, is_exit=True, price=110)
    record = books.book(slot, order, 5, trade(order, 2, 5), 8)
    assert record is not None
    assert record.realised == books.realised == sign * 5 * 10
    assert (slot.held_lots, slot.cost) == (15, 1_500)
    books.book(slot, order, 20, trade(order, 3, 15), 9)
    assert books.realised == sign * 20 * 10
    assert (slot.held_lots, slot.cost, books.inventory_lots, books.inventory_cost) == (0, 0, 0, 0)


def test_the_cost_of_a_last_share_takes_every_quantum_that_is_left() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    books.adopt(slot, 3, 100)
    order = make_order(slot, is_exit=True, qty=3)
    for cumulative in (1, 2, 3):
        books.book(slot, order, cumulative, None, 7)
    assert (slot.held_lots, slot.cost) == (0, 0)
    assert books.realised == 300 - 100


def test_the_same_trade_told_twice_is_booked_once() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    order = make_order(slot)
    fill = trade(order, 1, 5)
    assert books.book(slot, order, 5, fill, 7) is not None
    assert books.book(slot, order, 5, fill, 7) is None
    assert (slot.held_lots, books.fees, books.fills) == (5, Decimal("0.1"), 1)


def test_a_smaller_cumulative_quantity_heard_late_changes_nothing() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    order = make_order(slot)
    books.book(slot, order, 12, None, 7)
    assert books.book(slot, order, 5, None, 8) is None
    assert slot.held_lots == 12


def test_a_cumulative_quantity_is_trusted_over_the_trades_heard_so_far() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    order = make_order(slot)
    books.book(slot, order, 12, trade(order, 1, 5, price=99), 7)
    assert (slot.held_lots, slot.cost) == (12, 5 * 99 + 7 * 100)


def test_trades_known_by_id_count_when_the_cumulative_quantity_lags() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    order = make_order(slot)
    books.book(slot, order, 0, trade(order, 1, 5), 7)
    books.book(slot, order, 5, trade(order, 2, 4), 7)
    assert slot.held_lots == 9


@BOTH
def test_a_quantity_without_its_trade_costs_the_limit_price_until_the_trade_is_known(
    sign: int,
) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    order = make_order(slot)
    books.book(slot, order, 20, None, 7)
    assert slot.cost == 2_000
    books.book(slot, order, 20, trade(order, 1, 12, price=98), 7)
    assert slot.cost == 2_000
    record = books.book(slot, order, 20, trade(order, 2, 8, price=97), 7)
    assert slot.cost == 12 * 98 + 8 * 97
    assert books.inventory_cost == sign * slot.cost
    assert record is not None
    assert (record.qty_lots, record.realised) == (0, 0)
    assert books.fees == Decimal("0.2")


@BOTH
def test_an_exits_true_price_corrects_what_was_realised(sign: int) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    books.adopt(slot, 20, 2_000)
    order = make_order(slot, is_exit=True, price=110)
    books.book(slot, order, 20, None, 7)
    assert books.realised == sign * 200
    record = books.book(slot, order, 20, trade(order, 1, 20, price=111), 7)
    assert books.realised == sign * 220
    assert record is not None
    assert record.realised == sign * 20
    assert slot.cost == 0


@BOTH
def test_an_entrys_true_price_known_after_it_was_given_back_corrects_what_was_realised(
    sign: int,
) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    entry = make_order(slot)
    books.book(slot, entry, 20, None, 7)
    leave = make_order(slot, is_exit=True, price=110)
    books.book(slot, leave, 20, trade(leave, 1, 20), 7)
    books.book(slot, entry, 20, trade(entry, 2, 20, price=99), 7)
    assert books.realised == sign * 20 * 11
    assert (slot.held_lots, slot.cost, books.inventory_cost) == (0, 0, 0)


@BOTH
def test_selling_more_than_is_held_leaves_a_debt_the_next_entry_pays(sign: int) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    books.adopt(slot, 5, 500)
    order = make_order(slot, is_exit=True, price=110)
    books.book(slot, order, 8, trade(order, 1, 8), 7)
    assert (slot.held_lots, slot.cost) == (-3, -330)
    assert (books.inventory_lots, books.inventory_cost) == (-3 * sign, -330 * sign)
    assert books.realised == sign * 50
    entry = make_order(slot, sequence=2)
    books.book(slot, entry, 20, trade(entry, 2, 20), 8)
    assert (slot.held_lots, slot.cost) == (17, 1_700)
    assert books.realised == sign * (50 + 30)
    assert (books.inventory_lots, books.inventory_cost) == (17 * sign, 1_700 * sign)


def test_a_debt_paid_to_the_last_lot_leaves_no_cost_behind() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    books.adopt(slot, -3, -330)
    entry = make_order(slot)
    books.book(slot, entry, 3, trade(entry, 1, 3), 7)
    assert (slot.held_lots, slot.cost) == (0, 0)
    assert books.realised == 30


def test_selling_from_a_debt_deepens_it_and_realises_nothing() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    books.adopt(slot, -2, -200)
    order = make_order(slot, is_exit=True, price=110)
    books.book(slot, order, 3, trade(order, 1, 3), 7)
    assert (slot.held_lots, slot.cost, books.realised) == (-5, -530, 0)


def test_carrying_moves_lots_and_cost_and_no_totals() -> None:
    books, source, target = Books(), Slot(index=1, sign=1), Slot(index=2, sign=1)
    books.adopt(source, 1, 100)
    books.adopt(target, 20, 2_020)
    books.carry(source, target)
    assert (source.held_lots, source.cost) == (0, 0)
    assert (target.held_lots, target.cost) == (21, 2_120)
    assert (books.inventory_lots, books.inventory_cost) == (21, 2_120)


@BOTH
def test_a_debt_paid_from_another_slot_realises_what_was_sold_and_leaves_the_lots_as_they_were(
    sign: int,
) -> None:
    books, debtor, holder = Books(), Slot(index=1, sign=sign), Slot(index=2, sign=sign)
    books.adopt(debtor, -3, -330)
    books.adopt(holder, 7, 701)
    books.pay_debt(debtor, holder)
    assert (debtor.held_lots, debtor.cost) == (0, 0)
    assert (holder.held_lots, holder.cost) == (4, 401)
    assert books.realised == sign * 30
    assert (books.inventory_lots, books.inventory_cost) == (4 * sign, 401 * sign)


@BOTH
def test_a_debt_larger_than_what_another_slot_holds_is_paid_in_part(sign: int) -> None:
    books, debtor, holder = Books(), Slot(index=1, sign=sign), Slot(index=2, sign=sign)
    books.adopt(debtor, -7, -771)
    books.adopt(holder, 3, 301)
    books.pay_debt(debtor, holder)
    assert (debtor.held_lots, debtor.cost) == (-4, -441)
    assert (holder.held_lots, holder.cost) == (0, 0)
    assert books.realised == sign * 29
    assert (books.inventory_lots, books.inventory_cost) == (-4 * sign, -441 * sign)


@BOTH
def test_adopted_inventory_is_told_apart_from_traded_inventory(sign: int) -> None:
    books, slot = Books(), Slot(index=1, sign=sign)
    books.adopt(slot, 5, 500)
    books.adopt(slot, -2, -200)
    assert (slot.held_lots, slot.cost) == (3, 300)
    assert (books.adopted_lots, books.adopted_cost) == (3 * sign, 300 * sign)
    assert (books.inventory_lots, books.inventory_cost) == (3 * sign, 300 * sign)


def test_fills_are_counted_by_side_and_liquidity() -> None:
    books, slot = Books(), Slot(index=1, sign=1)
    entry, leave = make_order(slot), make_order(slot, is_exit=True, sequence=2)
    books.book(slot, entry, 20, trade(entry, 1, 20), 7)
    books.book(slot, leave, 5, trade(leave, 2, 5), 7)
    books.book(slot, leave, 9, None, 7)
    assert (books.fills, books.buys, books.sells, books.maker_fills) == (2, 1, 1, 2)
    books.book(slot, leave, 9, trade(leave, 3, 4), 7)
    assert (books.fills, books.buys, books.sells, books.maker_fills) == (3, 1, 2, 3)


# --- any sequence of tellings ---


@dataclass
class Told:
    """One order's true trades, told with repeats, out of order, with and without the trade."""

    order: LiveOrder
    slot: Slot
    trades: list[Fill]
    tellings: list[tuple[int, Fill | None]] = field(default_factory=list)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Slot], list[Told], list[int]]:
    """Slots of both directions, orders with trades at any price, and in which order orders speak."""
    slots = [Slot(index=k, sign=draw(st.sampled_from([1, -1]))) for k in range(3)]
    orders = []
    for sequence in range(draw(st.integers(1, 6))):
        slot = draw(st.sampled_from(slots))
        sizes = draw(st.lists(st.integers(1, 9), max_size=4))
        order = make_order(
            slot,
            is_exit=draw(st.booleans()),
            price=draw(st.integers(50, 150)),
            qty=sum(sizes) + draw(st.integers(1, 5)),
            sequence=sequence,
        )
        trades = [
            trade(order, 100 * sequence + n, lots, draw(st.integers(40, 160)))
            for n, lots in enumerate(sizes)
        ]
        told = Told(order, slot, trades)
        running = 0
        for fill in trades:
            running += fill.qty_lots
            told.tellings.append((running, draw(st.sampled_from([fill, None]))))
        told.tellings += [(running, fill) for fill in trades]
        told.tellings = draw(st.permutations(told.tellings))
        told.tellings += draw(st.lists(st.sampled_from(told.tellings or [(0, None)]), max_size=3))
        orders.append(told)
    speakers = [n for n, told in enumerate(orders) for _ in told.tellings]
    return slots, orders, draw(st.permutations(speakers))


def tell_all(books: Books, orders: list[Told], speakers: list[int]) -> Iterator[None]:
    mouths = [iter(told.tellings) for told in orders]
    for speaker in speakers:
        cumulative, fill = next(mouths[speaker])
        told = orders[speaker]
        books.book(told.slot, told.order, cumulative, fill, 7)
        yield


@given(stories(), st.integers(-5, 5), st.integers(-500, 500))
def test_cash_paid_is_inventory_cost_less_adopted_less_realised_after_every_telling(
    story: tuple[list[Slot], list[Told], list[int]], lots: int, cost: int
) -> None:
    slots, orders, speakers = story
    books = Books()
    books.adopt(slots[0], lots, cost)
    for _ in tell_all(books, orders, speakers):
        paid = sum(told.order.side * told.order.booked_value for told in orders)
        assert paid == books.inventory_cost - books.adopted_cost - books.realised
        assert books.inventory_lots == sum(slot.sign * slot.held_lots for slot in slots)
        assert books.inventory_cost == sum(slot.sign * slot.cost for slot in slots)


@given(stories())
def test_once_every_trade_is_known_only_the_true_trades_count(
    story: tuple[list[Slot], list[Told], list[int]],
) -> None:
    _, orders, speakers = story
    books = Books()
    for _ in tell_all(books, orders, speakers):
        pass
    trades = [fill for told in orders for fill in told.trades]
    assert books.inventory_lots == sum(fill.side * fill.qty_lots for fill in trades)
    assert books.inventory_cost - books.realised == sum(
        fill.side * fill.qty_lots * fill.price_ticks for fill in trades
    )
    assert books.fees == sum((fill.fee for fill in trades), Decimal(0))


@given(stories())
def test_a_booked_quantity_never_shrinks_and_never_exceeds_the_truth(
    story: tuple[list[Slot], list[Told], list[int]],
) -> None:
    _, orders, speakers = story
    before = [0] * len(orders)
    for _ in tell_all(Books(), orders, speakers):
        now = [told.order.booked_lots for told in orders]
        assert all(earlier <= later for earlier, later in zip(before, now, strict=True))
        before = now
    assert before == [sum(fill.qty_lots for fill in told.trades) for told in orders]


@given(stories())
def test_records_add_up_to_the_totals(story: tuple[list[Slot], list[Told], list[int]]) -> None:
    _, orders, speakers = story
    books, records = Books(), []
    mouths = [iter(told.tellings) for told in orders]
    for speaker in speakers:
        told = orders[speaker]
        cumulative, fill = next(mouths[speaker])
        record = books.book(told.slot, told.order, cumulative, fill, 7)
        if record is not None:
            records.append(record)
    assert sum(record.realised for record in records) == books.realised
    assert sum((record.fee for record in records), Decimal(0)) == books.fees
    assert sum(record.side * record.qty_lots for record in records) == books.inventory_lots
    ids = [record.trade_id for record in records if record.trade_id]
    assert len(ids) == len(set(ids))
