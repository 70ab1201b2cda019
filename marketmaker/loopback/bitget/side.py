"""What the two generations of accounts differ in, and what their shapes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from marketmaker.loopback.bitget.tickets import Account, Refusal
from marketmaker.loopback.desk import Happened, Order, OwnTrade
from marketmaker.loopback.stage import Json, Kind
from marketmaker.model.order import OrderStatus

if TYPE_CHECKING:
    from marketmaker.loopback.bitget.venue import LoopbackBitget

PRODUCT = "USDT-FUTURES"
PAGE_MAX = 100
BATCH_MAX = 20
WEEK_MS = 7 * 86_400_000
Handle = Callable[["LoopbackBitget", Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`rows`: of its parameters those that are orders."""

    handle: Handle
    signed: bool = False
    kind: Kind = ""
    rows: Callable[[Any], list[Json]] = lambda params: [params]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """`channels`: the private ones. `order_events`, `position_rows`: what they tell, by channel."""

    account: Account
    channels: tuple[str, ...]
    order_events: Callable[[Order, Happened, OwnTrade | None], list[tuple[str, Json]]]
    position_rows: Callable[[LoopbackBitget, str], tuple[str, list[Json]]]
    reduces: Callable[[Json], bool]


def trimmed(value: Decimal) -> str:
    return f"{value.normalize():f}"


def own_id(order: Order) -> str:
    """What the client named it, else the number that the venue gives."""
    made = order.client_id.startswith(("web_", "autoclose-"))
    return str(order.order_id + 1) if made else order.client_id


def named_by(order: Order) -> Json:
    """What is answered for an order that was taken, changed or cancelled."""
    return {"orderId": str(order.order_id), "clientOid": own_id(order)}


def status_of(order: Order) -> str:
    match order.status:
        case OrderStatus.OPEN:
            return "partially_filled" if order.filled_lots else "live"
        case OrderStatus.FILLED:
            return "filled"
        case _:
            return "canceled"


def cancel_reason(order: Order) -> str:
    return "normal_cancel" if order.status is OrderStatus.CANCELLED else ""


def limit_of(params: Json, default: int, most: int) -> int:
    text = str(params.get("limit") or default)
    if not text.isdigit() or int(text) == 0:
        raise Refusal("40020", "Parameter limit error")
    return min(int(text), most)


def between(rows: list[Json], params: Json, key: str) -> list[Json]:
    """From `startTime` to `endTime`, both in ms. Raises Refusal for more than the venue looks at."""
    start, end = params.get("startTime"), params.get("endTime")
    if start and end and int(end) - int(start) > WEEK_MS:
        raise Refusal("40020", "The time range cannot exceed 7 days")
    return [
        row
        for row in rows
        if (not start or int(row[key]) >= int(start)) and (not end or int(row[key]) <= int(end))
    ]


def page(rows: list[Json], key: str, params: Json, older: str) -> tuple[list[Json], str]:
    """Newest first, those below the id that `older` names; and the last id of them."""
    below = str(params.get(older) or "")
    rows = sorted(rows, key=lambda row: int(row[key]), reverse=True)
    rows = [row for row in rows if not below.isdigit() or int(row[key]) < int(below)]
    rows = rows[: limit_of(params, PAGE_MAX, PAGE_MAX)]
    return rows, rows[-1][key] if rows else ""
