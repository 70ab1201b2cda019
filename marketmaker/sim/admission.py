"""What the embedded exchange refuses at the door. Nothing has changed when one of these raises."""

from __future__ import annotations

from marketmaker.errors import (
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    PostOnlyWouldCross,
    ReduceOnlyRefused,
)
from marketmaker.model.order import NewOrder
from marketmaker.sim.account import Account
from marketmaker.sim.instruments import VENUE
from marketmaker.sim.market import Market
from marketmaker.sim.matching import BUY


def check_order(market: Market, account: Account, new: NewOrder, wire_id: str) -> None:
    """Raises the Rejected that says why this order may not come in."""
    if wire_id in market.open_orders:
        raise DuplicateClientOrderId(
            f"order {wire_id} is open already", venue=VENUE, operation="place"
        )
    check_filters(market, new)
    if new.reduce_only:
        check_reduces(market, new)
    elif not account.affords(market.holding, new.side, new.price_ticks * new.qty_lots):
        raise InsufficientMargin(
            f"{market.instrument.notional(new.price_ticks, new.qty_lots):f} at leverage"
            f" {account.leverage:f} does not fit into {account.available().normalize():f} free",
            venue=VENUE,
            operation="place",
        )
    if new.post_only and market.matcher.takes(new.side, new.price_ticks):
        raise PostOnlyWouldCross(
            f"post-only {new.side.name.lower()} at"
            f" {market.instrument.price(new.price_ticks):f} would take",
            venue=VENUE,
            operation="place",
            code="POST_ONLY",
        )


def check_filters(market: Market, new: NewOrder) -> None:
    instrument = market.instrument
    price, qty = new.price_ticks, new.qty_lots
    if price <= 0:
        why = f"price {instrument.price(price):f} is not above 0"
    elif qty < instrument.min_qty:
        why = (
            f"quantity {qty * instrument.lot_size:f} is below the minimum"
            f" {instrument.min_qty * instrument.lot_size:f}"
        )
    elif instrument.max_qty is not None and qty > instrument.max_qty:
        why = (
            f"quantity {qty * instrument.lot_size:f} is above the maximum"
            f" {instrument.max_qty * instrument.lot_size:f}"
        )
    elif price * qty < market.min_quanta and not new.reduce_only:
        value = instrument.notional(price, qty)
        why = f"notional {value:f} is below the minimum {instrument.min_notional:f}"
    else:
        return
    raise FilterViolation(why, venue=VENUE, operation="place")


def check_reduces(market: Market, new: NewOrder) -> None:
    reducible = max(0, -market.holding.lots if new.side is BUY else market.holding.lots)
    asked = market.reducing(new.side) + new.qty_lots
    if asked > reducible:
        raise ReduceOnlyRefused(
            f"open reduce-only {new.side.name.lower()} orders would come to {asked} lots,"
            f" the position leaves {reducible} to reduce",
            venue=VENUE,
            operation="place",
            code="REDUCE_ONLY",
        )
