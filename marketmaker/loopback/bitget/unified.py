"""The unified account of Bitget (API v3): what it is asked, what it answers, what its topics tell, orders by socket."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from marketmaker.errors import OrderNotFound, Rejected, VenueError
from marketmaker.loopback.bitget.market import chosen, named
from marketmaker.loopback.bitget.side import (
    BATCH_MAX,
    PRODUCT,
    Endpoint,
    Handle,
    Side,
    between,
    cancel_reason,
    named_by,
    own_id,
    page,
    status_of,
    trimmed,
)
from marketmaker.loopback.bitget.tickets import (
    Refusal,
    Said,
    known,
    parse_lots,
    parse_price,
    parse_ticket,
    refuse,
    refused,
)
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import (
    margins,
    money_text,
    price_text,
    qty_text,
    unrealised,
    wallet,
)
from marketmaker.loopback.stage import Json, Kind
from marketmaker.sim.account import HALF

if TYPE_CHECKING:
    from marketmaker.loopback.bitget.venue import LoopbackBitget

POSITION_MODE = "one_way_mode"
WIRE_PRODUCT = PRODUCT.lower()
SWITCH_S = range(5, 61)
UID = "1111111111"


# -- shapes ------------------------------------------------------------------------------------------


def order_row(order: Order) -> Json:
    instrument = order.instrument
    return {
        "orderId": str(order.order_id),
        "clientOid": own_id(order),
        "category": PRODUCT,
        "symbol": instrument.name,
        "orderType": "market" if order.market else "limit",
        "side": order.side.name.lower(),
        "price": "" if order.market else price_text(instrument, order.price_ticks),
        "qty": qty_text(instrument, order.qty_lots),
        "amount": "0",
        "cumExecQty": qty_text(instrument, order.filled_lots),
        "cumExecValue": f"{order.quanta * instrument.quantum:f}",
        "avgPrice": trimmed(order.average()) if order.filled_lots else "0",
        "timeInForce": order.extra.get("force", "gtc"),
        "orderStatus": status_of(order),
        "posSide": "",
        "holdMode": POSITION_MODE,
        "delegateType": "normal",
        "reduceOnly": "YES" if order.reduce_only else "NO",
        "marginMode": "crossed",
        "stpMode": order.extra.get("stpMode", "none"),
        "feeDetail": [{"feeCoin": instrument.quote, "fee": money_text(order.fees)}],
        "cancelReason": cancel_reason(order),
        "execType": "normal",
        "createdTime": str(order.time_ms),
        "updatedTime": str(order.update_ms),
    }


def order_event(order: Order) -> Json:
    row = order_row(order)
    row |= {
        "category": WIRE_PRODUCT,
        "reduceOnly": row["reduceOnly"].lower(),
        "marginCoin": order.instrument.quote,
        "tradeSide": "",
        "holdSide": "",
        "totalProfit": "0",
        "leverage": "20",
    }
    del row["posSide"], row["execType"]
    return row


def fill_row(trade: OwnTrade) -> Json:
    fill, order, instrument = trade.fill, trade.order, trade.order.instrument
    return {
        "execId": str(trade.number),
        "execLinkId": str(trade.number),
        "orderId": str(order.order_id),
        "clientOid": own_id(order),
        "category": PRODUCT,
        "symbol": instrument.name,
        "orderType": "market" if order.market else "limit",
        "side": fill.side.name.lower(),
        "execPrice": price_text(instrument, fill.price_ticks),
        "execQty": qty_text(instrument, fill.qty_lots),
        "execValue": f"{instrument.notional(fill.price_ticks, fill.qty_lots):f}",
        "tradeScope": "maker" if fill.is_maker else "taker",
        "tradeSide": "",
        "feeDetail": [{"feeCoin": instrument.quote, "fee": money_text(fill.fee)}],
        "createdTime": str(trade.time_ms),
        "updatedTime": str(trade.time_ms),
        "execPnl": money_text(trade.pnl),
        "isRPI": "no",
    }


def fill_event(trade: OwnTrade) -> Json:
    row = {**fill_row(trade), "category": WIRE_PRODUCT, "holdSide": ""}
    return {**row, "execTime": row.pop("createdTime")}


def position_row(venue: LoopbackBitget, symbol: str) -> Json:
    exchange = venue.stage.book.exchange
    holding, account = exchange.market(symbol).holding, exchange.account
    instrument, lots = holding.instrument, holding.lots
    liquidation = exchange.position(symbol).liquidation_price
    total, at = qty_text(instrument, abs(lots)), str(venue.desk.updated_ms.get(symbol, 0))
    return {
        "category": PRODUCT,
        "symbol": symbol,
        "marginCoin": instrument.quote,
        "holdMode": POSITION_MODE,
        "posSide": "long" if lots >= 0 else "short",
        "marginMode": "crossed",
        "positionBalance": money_text(margins(holding, account.leverage)[0]),
        "available": total,
        "frozen": "0",
        "total": total,
        "leverage": trimmed(account.leverage),
        "curRealisedPnl": "0",
        "avgPrice": trimmed(holding.entry_ticks * instrument.tick_size),
        "positionStatus": "normal" if lots else "ended",
        "unrealisedPnl": money_text(unrealised(holding)),
        "liquidationPrice": "0" if liquidation is None else f"{liquidation:.8f}",
        "mmr": trimmed(account.maintenance_margin),
        "profitRate": "",
        "markPrice": trimmed(Decimal(holding.mark2) * HALF * instrument.tick_size),
        "breakEvenPrice": "",
        "totalFunding": "0",
        "openFeeTotal": "",
        "closeFeeTotal": "",
        "createdTime": at,
        "updatedTime": at,
    }


def position_rows(venue: LoopbackBitget, symbol: str) -> tuple[str, list[Json]]:
    row = position_row(venue, symbol)
    row |= {"size": row.pop("total"), "liqPrice": row.pop("liquidationPrice")}
    return "position", [row]


def order_events(
    order: Order, happened: Happened, trade: OwnTrade | None
) -> list[tuple[str, Json]]:
    events = [("order", order_event(order))]
    return [*events, ("fill", fill_event(trade))] if trade is not None else events


def reduces(row: Json) -> bool:
    return str(row.get("reduceOnly", "")).lower() == "yes"


UNIFIED = Side(
    account="unified",
    channels=("order", "fill", "position", "account"),
    order_events=order_events,
    position_rows=position_rows,
    reduces=reduces,
)


def record_row(income: Income, asset: str) -> Json:
    way = "IN" if income.amount >= 0 else "OUT"
    return {
        "category": PRODUCT,
        "id": str(income.number),
        "symbol": income.symbol,
        "coin": asset,
        "type": f"CONTRACT_MAIN_SETTLE_FEE_USER_{way}",
        "amount": money_text(income.amount),
        "fee": "0",
        "balance": "",
        "ts": str(income.time_ms),
    }


# -- orders ------------------------------------------------------------------------------------------


def said(row: Json) -> Said:
    return Said(
        side=str(row.get("side", "")),
        qty=row.get("qty"),
        price=row.get("price"),
        kind=str(row.get("orderType", "")),
        force=str(row.get("timeInForce") or ""),
        client_id=str(row.get("clientOid") or ""),
        reduce_only=reduces(row),
        stp_mode=str(row.get("stpMode") or "none"),
        hedged=bool(row.get("posSide")),
    )


def place_one(venue: LoopbackBitget, row: Json) -> Json:
    instrument = named(venue, row)
    ticket = parse_ticket(
        said(row),
        venue.desk.market(instrument),
        len(venue.desk.open_orders()),
        hedge_mode=venue.mischief.hedge_mode,
        account="unified",
    )
    try:
        order = venue.desk.place(ticket)
    except Rejected as error:
        raise refused(error, "unified") from error
    return named_by(order)


def cancel_one(venue: LoopbackBitget, row: Json) -> Json:
    try:
        order = venue.desk.cancel(find(venue, row))
    except OrderNotFound as error:
        raise refused(error, "unified") from error
    return named_by(order)


def find(venue: LoopbackBitget, row: Json) -> Order | None:
    """By `orderId` or `clientOid`, of whatever symbol."""
    if str(row.get("orderId") or "").isdigit():
        return venue.desk.by_order_id(int(row["orderId"]))
    if not row.get("clientOid"):
        raise refuse("parameter", "unified")
    found = [venue.desk.by_client_id(symbol, str(row["clientOid"])) for symbol in venue.instruments]
    return next((order for order in found if order is not None), None)


def many(venue: LoopbackBitget, rows: Any, work: Handle) -> Any:
    """One order's failure is its own."""
    if not isinstance(rows, list) or not rows or len(rows) > BATCH_MAX:
        raise refuse("parameter", "unified")
    answers: list[Json] = []
    for row in rows:
        asked = row if isinstance(row, dict) else {}
        try:
            answers.append(work(venue, asked))
        except Refusal as error:
            client_id = str(asked.get("clientOid") or "")
            number = str(asked.get("orderId") or "")
            answers.append(
                {"orderId": number, "clientOid": client_id, "code": error.code, "msg": error.text}
            )
    return answers


def place_in_batch(venue: LoopbackBitget, row: Json) -> Json:
    """A batch knows neither reduce-only nor self-trade prevention."""
    return place_one(venue, {**row, "reduceOnly": "no", "stpMode": "none"})


def place_many(venue: LoopbackBitget, params: Any) -> Any:
    return many(venue, params, place_in_batch)


def cancel_many(venue: LoopbackBitget, params: Any) -> Any:
    return many(venue, params, cancel_one)


def cancel_all(venue: LoopbackBitget, params: Json) -> Any:
    gone = [order for each in chosen(venue, params) for order in venue.desk.cancel_all(each.name)]
    rows = [named_by(order) for order in gone]
    return {"list": rows}


def modify(venue: LoopbackBitget, params: Json) -> Any:
    """Keeps its number, and goes to the end of the queue."""
    order = find(venue, params)
    if order is None or not order.open:
        raise refuse("not there", "unified")
    market = venue.desk.market(order.instrument)
    price, qty = order.price_ticks, order.qty_lots
    if params.get("price"):
        price = known(parse_price(params["price"], market, order.side), "unified")
    if params.get("qty"):
        qty = known(parse_lots(params["qty"], order.instrument), "unified")
    try:
        venue.desk.amend(order, price, qty)
    except VenueError as error:
        raise refused(error, "unified") from error
    return named_by(order)


def get_order(venue: LoopbackBitget, params: Json) -> Any:
    order = find(venue, params)
    if order is None:
        raise refuse("not there", "unified")
    return order_row(order)


def orders_of(venue: LoopbackBitget, params: Json, *, closed: bool) -> Any:
    names = {each.name for each in chosen(venue, params)}
    orders = venue.desk.all_orders() if closed else venue.desk.open_orders()
    rows = [
        order_row(order)
        for order in orders
        if order.instrument.name in names and order.open is not closed
    ]
    rows, last = page(between(rows, params, "createdTime"), "orderId", params, "cursor")
    return {"list": rows, "cursor": last or None}


def get_open_orders(venue: LoopbackBitget, params: Json) -> Any:
    return orders_of(venue, params, closed=False)


def get_history(venue: LoopbackBitget, params: Json) -> Any:
    return orders_of(venue, params, closed=True)


def get_fills(venue: LoopbackBitget, params: Json) -> Any:
    names = {each.name for each in chosen(venue, params)}
    rows = [
        fill_row(trade)
        for trade in venue.desk.trades
        if trade.order.instrument.name in names
        and params.get("orderId") in (None, str(trade.order.order_id))
    ]
    rows, last = page(between(rows, params, "createdTime"), "execId", params, "cursor")
    return {"list": rows, "cursor": last or None}


def set_switch(venue: LoopbackBitget, params: Json) -> Any:
    text = str(params.get("countdown", ""))
    if not text.isdigit() or (int(text) and int(text) not in SWITCH_S):
        raise refuse("parameter", "unified")
    venue.stage.set_switch("account", int(text), venue.desk.cancel_all)
    return "success"


# -- the account -------------------------------------------------------------------------------------


def get_settings(venue: LoopbackBitget, params: Json) -> Any:
    leverage = trimmed(venue.stage.book.exchange.account.leverage)
    return {
        "uid": UID,
        "accountMode": "unified",
        "assetMode": "multi_assets",
        "accountLevel": "advanced",
        "holdMode": "hedge_mode" if venue.mischief.hedge_mode else POSITION_MODE,
        "stpMode": "none",
        "symbolConfigList": [
            {"category": PRODUCT, "symbol": name, "marginMode": "crossed", "leverage": leverage}
            for name in venue.instruments
        ],
        "coinConfigList": [],
    }


def get_assets(venue: LoopbackBitget, params: Json) -> Any:
    account = venue.stage.book.exchange.account
    equity, free = account.equity(), account.available()
    return {
        "accountEquity": money_text(equity),
        "usdtEquity": money_text(equity),
        "btcEquity": "0",
        "unrealisedPnl": money_text(equity - wallet(account)),
        "usdtUnrealisedPnl": money_text(equity - wallet(account)),
        "effEquity": money_text(equity),
        "mmr": "0",
        "imr": money_text(equity - free),
        "mgnRatio": "0",
        "positionMgnRatio": "0",
        "assets": [
            {
                "coin": venue.asset,
                "equity": money_text(equity),
                "usdValue": money_text(equity),
                "balance": money_text(wallet(account)),
                "available": money_text(free),
                "debt": "0",
                "locked": money_text(equity - free),
            }
        ],
    }


def get_positions(venue: LoopbackBitget, params: Json) -> Any:
    rows = [
        position_row(venue, each.name)
        for each in chosen(venue, params)
        if venue.desk.holding(each.name).lots
    ]
    return {"list": rows}


def get_fees(venue: LoopbackBitget, params: Json) -> Any:
    instrument = named(venue, params)
    return {
        "makerFeeRate": f"{instrument.maker_fee:f}",
        "takerFeeRate": f"{instrument.taker_fee:f}",
    }


def get_records(venue: LoopbackBitget, params: Json) -> Any:
    rows = [
        record_row(income, venue.asset)
        for income in venue.desk.income
        if income.kind == "funding" and params.get("category") in (None, PRODUCT)
    ]
    rows, last = page(between(rows, params, "ts"), "id", params, "cursor")
    return {"list": rows, "cursor": last or None}


def set_leverage(venue: LoopbackBitget, params: Json) -> Any:
    named(venue, params)
    text = str(params.get("leverage", ""))
    if not text.isdigit() or not 1 <= int(text) <= 125:
        raise refuse("parameter", "unified")
    venue.stage.book.exchange.account.leverage = Decimal(text)
    return "success"


def set_hold_mode(venue: LoopbackBitget, params: Json) -> Any:
    if params.get("holdMode") not in (POSITION_MODE, "hedge_mode"):
        raise refuse("parameter", "unified")
    held = any(venue.desk.holding(name).lots for name in venue.instruments)
    if venue.desk.open_orders() or held:
        raise Refusal("25001", "The position mode cannot be changed with positions or orders")
    venue.mischief.hedge_mode = params["holdMode"] == "hedge_mode"
    return "success"


def listed(params: Any) -> list[Json]:
    return [row for row in params if isinstance(row, dict)] if isinstance(params, list) else []


def signed(handle: Handle, kind: Kind = "", **more: Any) -> Endpoint:
    return Endpoint(handle=handle, signed=True, kind=kind, **more)


V3 = "/api/v3"
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", f"{V3}/account/settings"): signed(get_settings),
    ("GET", f"{V3}/account/assets"): signed(get_assets),
    ("GET", f"{V3}/account/fee-rate"): signed(get_fees),
    ("GET", f"{V3}/account/financial-records"): signed(get_records),
    ("POST", f"{V3}/account/set-leverage"): signed(set_leverage),
    ("POST", f"{V3}/account/set-hold-mode"): signed(set_hold_mode),
    ("GET", f"{V3}/position/current-position"): signed(get_positions),
    ("POST", f"{V3}/trade/place-order"): signed(place_one, "place"),
    ("POST", f"{V3}/trade/place-batch"): signed(place_many, "place", rows=listed),
    ("POST", f"{V3}/trade/modify-order"): signed(modify, "place"),
    ("POST", f"{V3}/trade/cancel-order"): signed(cancel_one, "cancel"),
    ("POST", f"{V3}/trade/cancel-batch"): signed(cancel_many, "cancel", rows=listed),
    ("POST", f"{V3}/trade/cancel-symbol-order"): signed(cancel_all, "cancel"),
    ("POST", f"{V3}/trade/countdown-cancel-all"): signed(set_switch),
    ("GET", f"{V3}/trade/order-info"): signed(get_order),
    ("GET", f"{V3}/trade/unfilled-orders"): signed(get_open_orders),
    ("GET", f"{V3}/trade/history-orders"): signed(get_history),
    ("GET", f"{V3}/trade/fills"): signed(get_fills),
}
OPERATIONS: dict[str, Endpoint] = {
    "place-order": signed(place_one, "place"),
    "batch-place": signed(place_many, "place", rows=listed),
    "cancel-order": signed(cancel_one, "cancel"),
    "batch-cancel": signed(cancel_many, "cancel", rows=listed),
}
