"""What a process booked, and what is told of the same orders to the next one: everything once, whatever tells it.

Found by the simulation: a quantity booked from a query, without its trade, was booked again from the trade after a
crash (seed 280), or from an earlier trade of its order (seed 712); a position left to the owner was taken from the
slots by the next process (seed 285).
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from marketmaker.core import readings
from marketmaker.model.event import OrderStreamRestored, PriceChanged
from marketmaker.model.instrument import Ticks
from marketmaker.model.order import EndReason, OrderStatus, Side
from marketmaker.model.settings import PositionPolicy
from marketmaker.model.status import GridMemory
from tests.support.toy_venue import ToyOrder, ToyVenue, grid_settings, make_manager

PRICE = 250_000


def running(**changes: object) -> ToyVenue:
    venue = ToyVenue(make_manager(grid_settings(**changes)))
    venue.start(PRICE)
    venue.accept_all()
    return venue


def memory_of(venue: ToyVenue) -> GridMemory:
    memory = readings.memory(venue.manager)
    assert memory is not None
    return memory


def restart(venue: ToyVenue, memory: GridMemory | None, **changes: object) -> None:
    """Kill, and start again with what was kept; the stream is up, nothing has been asked yet."""
    venue.unsent.clear()
    venue.cancels.clear()
    venue.queries.clear()
    first = venue.manager.next_sequence + 1_000
    venue.manager = make_manager(grid_settings(**changes), first_sequence=first, memory=memory)
    venue.pass_time(1)
    price = PriceChanged(price_ticks=Ticks(PRICE), ts_venue_ns=0, ts_ns=venue.now_ns)
    venue.tell(price)
    venue.tell(OrderStreamRestored(ts_ns=venue.now_ns))


def settle(venue: ToyVenue) -> None:
    """Readings until nothing changes any more, everything asked for done."""
    for _ in range(4):
        venue.pass_time(3)
        venue.snapshot()
        venue.calm()


def agree(venue: ToyVenue) -> None:
    manager = venue.manager
    assert manager.books.inventory_lots + manager.repair.foreign_lots == venue.position


def best_bid(venue: ToyVenue) -> ToyOrder:
    return venue.open(Side.BUY)[-1]


@pytest.mark.parametrize("lots", [7, 20], ids=["part of it", "all of it"])
def test_a_quantity_booked_without_its_trade_is_not_booked_again_from_the_trade(lots: int) -> None:
    venue = running(on_position_difference=PositionPolicy.IGNORE)
    toy = best_bid(venue)
    untold = venue.trade(toy, lots)
    venue.deliver(venue.report(toy))
    assert venue.manager.books.inventory_lots == lots and untold.fill is not None
    restart(venue, memory_of(venue), on_position_difference=PositionPolicy.IGNORE)
    settle(venue)
    assert venue.manager.books.inventory_lots == lots
    assert venue.manager.repair.foreign_lots == 0
    assert not venue.manager.untold


@pytest.mark.parametrize("ended", [False, True], ids=["still open", "over by then"])
def test_an_order_met_by_its_last_trade_alone_is_not_booked_again_from_the_earlier_one(
    ended: bool,
) -> None:
    """Seed 712: the process after a crash heard of an order first by a trade, with all that had filled before; it was
    killed before the earlier trade was told, and the one after it took that for new."""
    venue = running(on_position_difference=PositionPolicy.IGNORE)
    toy = best_bid(venue)
    memory = memory_of(venue)
    venue.trade(toy, 12)
    restart(venue, memory, on_position_difference=PositionPolicy.IGNORE)
    venue.deliver(venue.trade(toy, 5))
    if ended:
        venue.end(toy, EndReason.VENUE)
    assert venue.manager.books.inventory_lots == 17
    restart(venue, memory_of(venue), on_position_difference=PositionPolicy.IGNORE)
    settle(venue)
    assert venue.manager.books.inventory_lots == 17 == venue.position
    assert venue.manager.repair.foreign_lots == 0


def test_the_price_of_a_trade_told_only_after_the_restart_is_the_one_that_counts() -> None:
    venue = running()
    toy = best_bid(venue)
    venue.trade(toy, 20, price=int(toy.order.price_ticks) - 5)
    venue.deliver(venue.report(toy))
    restart(venue, memory_of(venue))
    venue.snapshot()
    books = venue.manager.books
    assert books.inventory_cost == 20 * (toy.order.price_ticks - 5)
    assert books.inventory_cost - books.adopted_cost - books.realised == 0


@pytest.mark.parametrize("remembered", [0, 1, 2], ids="{} fills remembered".format)
def test_an_open_order_keeps_what_was_booked_on_it_over_restarts(remembered: int) -> None:
    venue = running()
    toy = best_bid(venue)
    memory = memory_of(venue)
    for number in range(2):
        venue.deliver(venue.trade(toy, 4))
        memory = memory_of(venue) if number < remembered else memory
    restart(venue, memory)
    venue.snapshot()
    agree(venue)
    venue.fill(toy, 5)
    agree(venue)
    restart(venue, memory_of(venue))
    settle(venue)
    agree(venue)
    assert toy.status is OrderStatus.OPEN and toy.filled == 13
    venue.fill(toy)
    settle(venue)
    agree(venue)
    assert venue.manager.repair.foreign_lots == 0


def test_a_trade_that_was_never_told_is_found_by_the_next_process_however_many_came_after_it() -> (
    None
):
    """Seed 1008: no reading had come through for two minutes; the next process looked back one from the last trade."""
    venue = running(on_position_difference=PositionPolicy.IGNORE)
    silent, heard = venue.open(Side.BUY)[-2:]
    venue.trade(silent, 20)
    venue.pass_time(120)
    venue.fill(heard)
    memory = memory_of(venue)
    assert memory.booked_ns < silent.fills[0].ts_venue_ns
    restart(venue, memory, on_position_difference=PositionPolicy.IGNORE)
    settle(venue)
    agree(venue)
    assert venue.manager.books.inventory_lots == 40 and venue.manager.repair.foreign_lots == 0


def test_a_restart_before_the_first_reading_forgets_nothing() -> None:
    venue = running()
    toy = best_bid(venue)
    venue.deliver(venue.trade(toy, 4))
    for _ in range(3):
        restart(venue, memory_of(venue))
    venue.snapshot()
    agree(venue)


def test_a_part_that_fills_before_the_first_reading_is_booked() -> None:
    venue = running()
    toy = best_bid(venue)
    restart(venue, memory_of(venue))
    venue.fill(toy, 6)
    agree(venue)
    venue.snapshot()
    agree(venue)
    assert venue.manager.slots[toy.order.client_order_id.slot].order is not None


def test_a_trade_between_the_list_of_orders_and_the_list_of_trades_is_booked_once() -> None:
    venue = running()
    toy = best_bid(venue)
    venue.deliver(venue.trade(toy, 4))
    restart(venue, memory_of(venue))
    stale = venue.report(toy)
    late = venue.trade(toy, 3)
    report, venue.report = venue.report, lambda *_: stale  # type: ignore[method-assign,assignment]
    listed, hidden = [toy], [each for each in venue.open() if each is not toy]
    for each in hidden:
        each.status = OrderStatus.CANCELLED
    venue.snapshot()
    venue.report = report  # type: ignore[method-assign]
    venue.deliver(late)
    assert listed and venue.manager.books.inventory_lots == 7 == venue.position


def test_an_entry_that_tops_up_dust_is_kept_over_a_restart() -> None:
    """Seed 135 of five minutes: it was cancelled and placed again."""
    venue = running()
    toy = best_bid(venue)
    venue.fill(toy, 1)
    venue.end(toy, EndReason.EXPIRED)
    venue.wait(1)
    venue.calm()
    memory = memory_of(venue)
    assert [held.qty_lots for held in memory.holdings] == [1]
    open_before = [each.order.client_order_id for each in venue.open()]
    assert any(name.slot == toy.order.client_order_id.slot for name in open_before)
    restart(venue, memory)
    settle(venue)
    assert [each.order.client_order_id for each in venue.open()] == open_before


def test_without_memory_the_position_holds_what_open_orders_filled_before() -> None:
    venue = running()
    toy = best_bid(venue)
    venue.deliver(venue.trade(toy, 4))
    restart(venue, None)
    settle(venue)
    agree(venue)
    restart(venue, memory_of(venue))
    settle(venue)
    agree(venue)
    venue.deliver(venue.trade(best_bid(venue), 3))
    agree(venue)


def test_a_position_left_to_the_owner_is_still_his_after_a_restart() -> None:
    venue = running()
    venue.fill(best_bid(venue))
    venue.position -= 50
    settle(venue)
    assert venue.manager.repair.foreign_lots == -30
    restart(venue, memory_of(venue))
    settle(venue)
    assert venue.manager.repair.foreign_lots == -30
    assert venue.manager.books.inventory_lots == 0
    venue.position += 40
    settle(venue)
    assert venue.manager.repair.foreign_lots == 0
    assert venue.manager.books.inventory_lots == 10
    assert venue.manager.books.inventory_cost == 10 * Decimal(2500) / Decimal("0.01")
