"""Which orders are given up when there are too many."""

from __future__ import annotations

from marketmaker.core.cleaning import orders_to_give_up
from marketmaker.core.slot import LiveOrder, Slot, SlotState
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import ClientOrderId, Side


def slot(index: int, *, state: SlotState = SlotState.LOCKED, side: Side | None = None) -> Slot:
    """Level `index` of a grid of 100 ticks around 10,000, buys below and sells above."""
    chosen = side or (Side.BUY if index < 0 else Side.SELL)
    order = LiveOrder(
        client_order_id=ClientOrderId(index, chosen, 1_000 + index),
        side=chosen,
        is_exit=chosen is Side.SELL,
        post_only=True,
        price_ticks=Ticks(10_000 + 100 * index),
        qty_lots=Lots(10),
        ts_sent_ns=1,
    )
    return Slot(index=index, sign=1, state=state, order=order)


def given_up(slots: list[Slot], *, threshold: int = 6, batch: int = 2) -> list[int]:
    chosen = orders_to_give_up(slots, price_ticks=10_000, threshold=threshold, batch=batch)
    return [each.index for each in chosen]


def test_nothing_is_given_up_below_the_threshold() -> None:
    slots = [slot(k) for k in (-3, -2, -1, 1, 2)]
    assert given_up(slots, threshold=6) == []
    assert given_up(slots, threshold=5) != []


def test_the_larger_side_gives_up_its_furthest_first() -> None:
    assert given_up([slot(k) for k in (-4, -3, -2, -1, 1, 9)]) == [-4, -3]
    assert given_up([slot(k) for k in (-9, -1, 1, 2, 3, 4)]) == [4, 3]


def test_equal_sides_share_the_batch() -> None:
    slots = [slot(k) for k in (-3, -2, -1, 1, 2, 3)]
    assert given_up(slots, batch=2) == [-3, 3]
    assert given_up(slots, batch=3) == [-3, -2, 3]


def test_a_partly_filled_order_is_never_given_up() -> None:
    slots = [slot(k) for k in (-4, -3, -2, -1, 1, 2)]
    assert slots[0].order is not None
    slots[0].order.booked_lots = 1
    assert given_up(slots) == [-3, -2]


def test_an_unanswered_order_is_left_alone() -> None:
    slots = [slot(-4, state=SlotState.PENDING), *(slot(k) for k in (-3, -2, -1, 1, 2))]
    assert given_up(slots) == [-3, -2]


def test_an_order_already_being_cancelled_is_left_alone() -> None:
    slots = [slot(k) for k in (-4, -3, -2, -1, 1, 2)]
    assert slots[0].order is not None
    slots[0].order.cancel_asked_ns = 5
    assert given_up(slots) == [-3, -2]


def test_slots_without_an_order_do_not_count() -> None:
    slots = [slot(k) for k in (-3, -2, -1, 1, 2)] + [Slot(index=7, sign=1)]
    assert given_up(slots, threshold=6) == []


def test_of_two_equally_far_the_lower_level_goes_first() -> None:
    slots = [slot(k, side=Side.BUY) for k in (2, -2, 1, -1, 0)]
    assert given_up(slots, threshold=5, batch=3) == [-2, 2, -1]


def test_no_more_than_the_batch_goes() -> None:
    slots = [slot(k, side=Side.BUY) for k in range(-20, 0)]
    assert len(given_up(slots, batch=10)) == 10
