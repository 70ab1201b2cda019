"""Our books against one reading of the venue: what differs, and what a reading cannot tell."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.core.reconcile import Differences, compare, settled_before
from marketmaker.core.slot import LiveOrder, Slot, SlotState
from marketmaker.model.account import Position, VenueSnapshot
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import ClientOrderId, OrderReport, OrderStatus, Side

ASKED = 1_000


def slot_with_order(index: int, sequence: int, *, changed_ns: int = 0) -> Slot:
    order = LiveOrder(
        client_order_id=ClientOrderId(index, Side.BUY, sequence),
        side=Side.BUY,
        is_exit=False,
        post_only=True,
        price_ticks=Ticks(100),
        qty_lots=Lots(10),
        ts_sent_ns=0,
        ts_changed_ns=changed_ns,
    )
    return Slot(index=index, sign=1, state=SlotState.LOCKED, order=order)


def report(name: ClientOrderId | None) -> OrderReport:
    return OrderReport(
        client_order_id=name,
        venue_order_id="v",
        side=Side.BUY,
        price_ticks=Ticks(100),
        qty_lots=Lots(10),
        filled_lots=Lots(0),
        status=OrderStatus.OPEN,
    )


def differences(
    *names: ClientOrderId | None,
    slots: tuple[Slot, ...] = (),
    position: int = 0,
    inventory: int = 0,
    last_fill_ns: int = 0,
) -> Differences:
    snapshot = VenueSnapshot(
        open_orders=tuple(report(name) for name in names),
        position=Position(qty_lots=Lots(position), entry_price=Decimal(0), mark_price=Decimal(0)),
        fills=(),
        ts_asked_ns=ASKED,
        ts_answered_ns=ASKED + 10,
    )
    live = {slot.order.client_order_id.sequence: slot for slot in slots if slot.order is not None}
    return compare(snapshot, live, inventory_lots=inventory, last_fill_ns=last_fill_ns)


def test_a_listed_order_is_known_by_its_whole_id() -> None:
    slot = slot_with_order(-1, 7)
    found = differences(ClientOrderId(-1, Side.BUY, 7), slots=(slot,))
    assert [known[0] for known in found.known] == [slot]
    assert found.missing == found.strange == []


def test_an_order_with_our_tag_we_do_not_have_is_strange() -> None:
    found = differences(ClientOrderId(-1, Side.BUY, 7))
    assert [each.client_order_id for each in found.strange] == [ClientOrderId(-1, Side.BUY, 7)]


def test_the_same_sequence_for_another_slot_or_side_is_strange_and_ours_is_missing() -> None:
    slot = slot_with_order(-1, 7)
    found = differences(ClientOrderId(-2, Side.BUY, 7), slots=(slot,))
    assert len(found.strange) == 1
    assert found.missing == [slot]


def test_a_number_whose_slot_has_no_order_any_more_is_strange() -> None:
    slot = slot_with_order(-1, 7)
    empty = Slot(index=-1, sign=1)
    snapshot = VenueSnapshot(
        open_orders=(report(slot.order.client_order_id if slot.order else None),),
        position=Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=Decimal(0)),
        fills=(),
        ts_asked_ns=ASKED,
        ts_answered_ns=ASKED,
    )
    found = compare(snapshot, {7: empty}, inventory_lots=0, last_fill_ns=0)
    assert len(found.strange) == 1
    assert found.missing == []


def test_foreign_orders_are_counted_and_nothing_else() -> None:
    found = differences(None, None)
    assert found.foreign_orders == 2
    assert found.known == found.strange == found.missing == []


def test_an_unlisted_order_is_missing_only_if_nothing_happened_to_it_since_the_reading() -> None:
    before, same, after = (
        slot_with_order(-k, k, changed_ns=ns) for k, ns in ((1, 999), (2, 1_000), (3, 1_001))
    )
    assert differences(slots=(before, same, after)).missing == [before]


def test_a_position_differs_by_venue_less_slots() -> None:
    assert differences(position=5, inventory=3).position == 2
    assert differences(position=-5, inventory=3).position == -8
    assert differences(position=3, inventory=3).position == 0


def test_a_position_read_while_fills_arrived_tells_nothing() -> None:
    assert differences(position=5, last_fill_ns=ASKED).position is None
    assert differences(position=5, last_fill_ns=ASKED - 1).position == 5


def test_no_order_has_not_settled() -> None:
    assert not settled_before(None, ASKED)
