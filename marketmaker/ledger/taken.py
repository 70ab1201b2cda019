"""What is taken for the ledger, and the values it becomes.

Taking happens while events are handled, so it only keeps hold of what was decided and of the function that makes a row of
it; the making follows when a batch is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from marketmaker.model.action import RecordFill, RecordOrderEnd
from marketmaker.model.equity import EquityReading, SymbolReading
from marketmaker.model.event import FundingBooked
from marketmaker.model.instrument import Instrument, Lots
from marketmaker.model.order import ClientOrderId, Fill, NewOrder

Values = dict[str, Any]

ENDED = ("venue_order_id", "filled", "ended", "detail", "ts_accepted_ns", "ts_ended_ns")
"""What the end of an order adds to its row."""


class Taken(NamedTuple):
    """One row to be: its kind, which names the statement, its number in the book, and `make(*subject)`, its values."""

    kind: str
    number: int
    make: Callable[..., Values]
    subject: tuple[Any, ...]

    def values(self, book_id: int) -> Values:
        values = self.make(*self.subject)
        values["book_id"] = book_id
        if self.kind != "instrument":
            values["number"] = self.number
        return values


class Sorting:
    """Rows of a kind together, in their order. An order that was placed and ended among them is one row."""

    def __init__(self) -> None:
        self._found: dict[str, list[Taken]] = {}
        self._placed: dict[tuple[str, ClientOrderId], int] = {}

    def add(self, few: Iterable[Taken]) -> None:
        found, placed = self._found, self._placed
        for taken in few:
            kind = taken.kind
            rows = found.setdefault(kind, [])
            if kind == "placed":
                placed[order_key(*taken.subject)] = len(rows)
            elif kind == "ended":
                place = placed.pop(order_key(*taken.subject), None)
                if place is not None:
                    begun = found["placed"][place]
                    whole = (*begun.subject, taken.subject[1])
                    found["placed"][place] = begun._replace(subject=whole)
                    continue
            rows.append(taken)

    def by_kind(self) -> list[tuple[str, list[Taken]]]:
        return [(kind, rows) for kind, rows in self._found.items() if rows]


def order_key(
    instrument: Instrument, order: NewOrder | RecordOrderEnd, *_: object
) -> tuple[str, ClientOrderId]:
    return (instrument.name, order.client_order_id)


def placed_values(
    instrument: Instrument,
    order: NewOrder,
    reason: str,
    ts_ns: int,
    end: RecordOrderEnd | None = None,
) -> Values:
    """`end`: what became of it, where that is known already."""
    slot, side, sequence = order.client_order_id
    values = {
        "instrument": instrument.name,
        "slot": slot,
        "side": int(side),
        "sequence": sequence,
        "venue_order_id": "",
        "price": instrument.price(order.price_ticks),
        "qty": instrument.base_qty(order.qty_lots),
        "filled": instrument.base_qty(Lots(0)),
        "closing": order.reduce_only,
        "reason": reason,
        "ended": "",
        "detail": "",
        "ts_sent_ns": ts_ns,
        "ts_accepted_ns": 0,
        "ts_ended_ns": 0,
    }
    if end is not None:
        ended = ended_values(instrument, end)
        for name in ENDED:
            values[name] = ended[name]
    return values


def ended_values(instrument: Instrument, order: RecordOrderEnd) -> Values:
    slot, side, sequence = order.client_order_id
    return {
        "instrument": instrument.name,
        "slot": slot,
        "side": int(side),
        "sequence": sequence,
        "venue_order_id": order.venue_order_id,
        "price": instrument.price(order.price_ticks),
        "qty": instrument.base_qty(order.qty_lots),
        "filled": instrument.base_qty(order.filled_lots),
        "closing": None,
        "reason": "",
        "ended": order.end.value if order.end is not None else "filled",
        "detail": order.detail,
        "ts_sent_ns": order.ts_sent_ns,
        "ts_accepted_ns": order.ts_accepted_ns,
        "ts_ended_ns": order.ts_ended_ns,
    }


def trade_values(instrument: Instrument, fill: Fill, name: ClientOrderId) -> Values:
    return {
        "instrument": instrument.name,
        "trade_id": fill.trade_id,
        "slot": name.slot,
        "side": int(fill.side),
        "sequence": name.sequence,
        "venue_order_id": fill.venue_order_id,
        "price": instrument.price(fill.price_ticks),
        "qty": instrument.base_qty(fill.qty_lots),
        "fee": fill.fee,
        "is_maker": fill.is_maker,
        "ts_venue_ns": fill.ts_venue_ns,
    }


def booking_values(instrument: Instrument, fill: RecordFill, trade_id: str) -> Values:
    name = fill.client_order_id
    return {
        "instrument": instrument.name,
        "slot": name.slot,
        "side": int(fill.side),
        "sequence": name.sequence,
        "trade_id": trade_id,
        "price": instrument.price(fill.price_ticks),
        "qty": instrument.base_qty(fill.qty_lots),
        "realised": instrument.money(fill.realised),
        "ts_venue_ns": fill.ts_venue_ns,
    }


def instrument_values(instrument: Instrument) -> Values:
    return {
        "instrument": instrument.name,
        "base": instrument.base,
        "quote": instrument.quote,
        "tick_size": instrument.tick_size,
        "lot_size": instrument.lot_size,
        "multiplier": instrument.multiplier,
    }


def funding_values(instrument: Instrument, payment: FundingBooked) -> Values:
    return {
        "instrument": instrument.name,
        "payment_id": payment.payment_id,
        "amount": payment.amount,
        "ts_ns": payment.ts_ns,
    }


def equity_values(reading: EquityReading) -> Values:
    return {
        "ts_ns": reading.ts_ns,
        "equity": reading.equity,
        "available": reading.available,
        "residual": reading.residual,
        "ts_started_ns": reading.opening_ts_ns,
    }


def position_values(row: SymbolReading, ts_ns: int) -> Values:
    return {
        "ts_ns": ts_ns,
        "instrument": row.instrument.name,
        "position": row.instrument.base_qty(row.position.qty_lots),
        "inventory": row.instrument.base_qty(row.totals.inventory_lots),
        "inventory_cost": row.instrument.money(row.totals.inventory_cost),
        "mark_price": row.position.mark_price,
    }


def quoting_values(
    instrument: str, since_ns: int, until_ns: int, state: tuple[bool, bool, str]
) -> Values:
    bids, asks, why = state
    return {
        "instrument": instrument,
        "ts_from_ns": since_ns,
        "ts_to_ns": until_ns,
        "bids": bids,
        "asks": asks,
        "why": why,
    }


def gap_values(rows_lost: int) -> Values:
    return {"rows_lost": rows_lost}
