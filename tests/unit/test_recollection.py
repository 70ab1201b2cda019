"""What a process without memory makes of the orders and trades that the venue still knows."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from marketmaker.core.lattice import build_lattice
from marketmaker.core.recollection import Remains, find_anchor, recollect
from marketmaker.model.account import Position
from marketmaker.model.client_order_id import ClientOrderId
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.order import Fill, OrderReport, OrderStatus, Side
from marketmaker.model.settings import GridSettings, GridSide, Spacing
from tests.support.fakes import START_NS, make_instrument

ETH = make_instrument()
LONG = GridSettings(price_interval=Decimal(2), order_amount=Decimal(60))
ANCHOR = Ticks(300_050)


def level(number: int, settings: GridSettings = LONG) -> Ticks:
    return build_lattice(ANCHOR, settings, ETH).level(number)


def order(
    slot: int, side: Side, *, qty: int = 20, filled: int = 0, settings: GridSettings = LONG
) -> OrderReport:
    sign = {GridSide.LONG: 1, GridSide.SHORT: -1}.get(settings.side, 1 if slot < 0 else -1)
    return OrderReport(
        client_order_id=ClientOrderId(slot, side, 1000 + abs(slot)),
        venue_order_id=f"v{slot}",
        side=side,
        price_ticks=level(slot if side == sign else slot + sign, settings),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=OrderStatus.OPEN,
    )


def fill(
    number: int, slot: int, side: Side, qty: int, price: int, *, maker: bool = True, age_s: int = 0
) -> Fill:
    return Fill(
        trade_id=f"t{number}",
        client_order_id=ClientOrderId(slot, side, 500 + number),
        venue_order_id=f"v{number}",
        side=side,
        price_ticks=Ticks(price),
        qty_lots=Lots(qty),
        fee=Decimal(0),
        is_maker=maker,
        ts_venue_ns=START_NS - age_s * 1_000_000_000 + number,
    )


def remains(position: int = 0, *orders: OrderReport, fills: tuple[Fill, ...] = ()) -> Remains:
    held = Position(qty_lots=Lots(position), entry_price=Decimal(3000), mark_price=Decimal(3000))
    return Remains(open_orders=orders, fills=fills, position=held)


def holdings(found: Any) -> dict[int, tuple[int, int]]:
    assert found is not None
    return {held.slot: (held.qty_lots, held.cost) for held in found.holdings}


def remembered(left: Remains, settings: GridSettings = LONG) -> Any:
    return recollect(left, settings, ETH, now_ns=START_NS)


def test_nothing_of_ours_is_nothing_to_remember() -> None:
    foreign = replace(order(-1, Side.BUY), client_order_id=None)
    assert remembered(remains(0)) is None
    assert remembered(remains(50, foreign)) is None


def test_open_exits_say_what_their_slots_hold_and_entries_what_they_have_filled() -> None:
    left = remains(
        25, order(-1, Side.SELL), order(-2, Side.BUY, filled=5), order(-3, Side.BUY), fills=()
    )
    found = remembered(left)
    assert found.anchor_ticks == ANCHOR
    assert holdings(found) == {-1: (20, 20 * level(-1)), -2: (5, 5 * level(-2))}
    assert found.lattice and found.triggered and not found.ended


def test_a_half_filled_exit_stands_for_what_is_left_of_it() -> None:
    found = remembered(remains(12, order(-1, Side.SELL, qty=20, filled=8)))
    assert holdings(found) == {-1: (12, 12 * level(-1))}


def test_no_more_is_remembered_than_the_position_bears_out() -> None:
    found = remembered(remains(30, order(-1, Side.SELL), order(-2, Side.SELL)))
    assert sum(lots for lots, _ in holdings(found).values()) == 20


def test_trades_that_add_up_to_the_position_tell_the_cost_of_every_slot() -> None:
    """Also of inventory that is outside the sell window, and so has no order."""
    fills = (
        fill(1, -1, Side.BUY, 20, level(-1)),
        fill(2, -2, Side.BUY, 20, level(-2) - 3, maker=False),
        fill(3, -1, Side.SELL, 15, level(0)),
    )
    found = remembered(remains(25, fills=fills))
    assert found.anchor_ticks == ANCHOR
    assert holdings(found) == {-1: (5, 5 * level(-1)), -2: (20, 20 * (level(-2) - 3))}


def test_trades_that_are_not_the_whole_story_leave_it_to_the_orders() -> None:
    bought_before = (fill(1, -1, Side.SELL, 20, level(0)), fill(2, -3, Side.BUY, 20, level(-3)))
    found = remembered(remains(20, order(-3, Side.SELL), fills=bought_before))
    assert holdings(found) == {-3: (20, 20 * level(-3))}
    found = remembered(remains(90, order(-3, Side.SELL), fills=bought_before[1:]))
    assert holdings(found) == {-3: (20, 20 * level(-3))}


def test_only_trades_of_the_overlap_are_named_as_booked() -> None:
    fills = (
        fill(1, -1, Side.BUY, 20, level(-1), age_s=3600),
        fill(2, -2, Side.BUY, 20, level(-2), age_s=30),
        fill(3, -3, Side.BUY, 20, level(-3)),
    )
    found = remembered(remains(60, fills=fills))
    assert found.recent_trades == ("t2", "t3")
    assert found.booked_ns == fills[-1].ts_venue_ns


def test_orders_of_other_levels_are_not_taken_for_ours() -> None:
    """The interval was changed and the state thrown away: most orders agree on no anchor."""
    old = [replace(order(-n, Side.BUY), price_ticks=Ticks(300_050 - 170 * n)) for n in range(1, 8)]
    assert remembered(remains(0, *old)) is None


def test_a_configured_anchor_is_not_argued_with() -> None:
    here = replace(LONG, anchor=Decimal("3000.50"))
    there = replace(LONG, anchor=Decimal("2999.00"))
    assert remembered(remains(20, order(-1, Side.SELL)), here).anchor_ticks == ANCHOR
    assert remembered(remains(20, order(-1, Side.SELL)), there) is None


def test_a_short_grid_and_both_sides_of_a_neutral_one() -> None:
    short = replace(LONG, side=GridSide.SHORT)
    found = remembered(remains(-20, order(2, Side.BUY, settings=short)), short)
    assert found.anchor_ticks == ANCHOR
    assert holdings(found) == {2: (-20, -20 * level(2))}
    neutral = replace(LONG, side=GridSide.NEUTRAL)
    bought = fill(1, -2, Side.BUY, 20, level(-2))
    sold = fill(2, 3, Side.SELL, 30, level(3))
    found = remembered(remains(-10, fills=(bought, sold)), neutral)
    assert holdings(found) == {-2: (20, 20 * level(-2)), 3: (-30, -30 * level(3))}


STEPS = st.one_of(
    st.builds(
        lambda cents: {"price_interval": Decimal(cents) / 100, "spacing": Spacing.ARITHMETIC},
        st.integers(1, 5_000),
    ),
    st.builds(
        lambda cents: {"price_interval": Decimal(cents) / 700, "spacing": Spacing.ARITHMETIC},
        st.integers(8, 5_000),
    ),
    st.builds(
        lambda parts: {"interval_pct": Decimal(parts) / 100_000, "spacing": Spacing.GEOMETRIC},
        st.integers(20, 3_000),
    ),
)


@given(
    anchor=st.integers(200_000, 400_000),
    step=STEPS,
    side=st.sampled_from(list(GridSide)),
    slots=st.sets(st.integers(-60, 60).filter(bool), min_size=4, max_size=20),
    strangers=st.integers(0, 1),
)
def test_the_anchor_is_found_again_from_any_orders_on_its_levels(
    anchor: int, step: dict[str, Any], side: GridSide, slots: set[int], strangers: int
) -> None:
    """Exactly where levels are a number of ticks apart; in a geometric grid every seen order lies on its level."""
    settings = GridSettings(side=side, order_amount=Decimal(60), **step)
    lattice = build_lattice(Ticks(anchor), settings, ETH)
    sign = {GridSide.LONG: 1, GridSide.SHORT: -1}.get(side)
    seen = []
    for slot in sorted(slots):
        way = sign or (1 if slot < 0 else -1)
        exits = slot % 2
        name = ClientOrderId(slot, Side(-way if exits else way), 1000 + slot)
        seen.append((name, lattice.level(slot + way * exits)))
    seen += [(ClientOrderId(-70, Side.BUY, 1), Ticks(123_456))] * strangers
    found = find_anchor(seen, settings, ETH)
    assert found is not None
    if settings.spacing is Spacing.ARITHMETIC:
        assert found == anchor
    again = build_lattice(found, settings, ETH)
    for name, price in seen[: len(slots)]:
        way = sign or (1 if name.slot < 0 else -1)
        assert again.level(name.slot if name.side == way else name.slot + way) == price
