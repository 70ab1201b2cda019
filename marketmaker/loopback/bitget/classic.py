"""The classic account of Bitget (API v2): what it is asked, what it answers, what its channels tell."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from marketmaker.errors import OrderNotFound, Rejected
from marketmaker.loopback.bitget.market import chosen, named
from marketmaker.loopback.bitget.side import (
    BATCH_MAX,
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
from marketmaker.loopback.bitget.tickets import Refusal, Said, parse_ticket, refuse, refused
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import margins, money_text, price_text, qty_text, unrealised
from marketmaker.loopback.stage import Json, Kind
from marketmaker.sim.account import HALF

if TYPE_CHECKING:
    from marketmaker.loopback.bitget.venue import LoopbackBitget

POSITION_MODE = "one_way_mode"


# -- shapes ------------------------------------------------------------------------------------------


def order_row(order: Order) -> Json:
    """A row of a list; a query calls its `status` `state`."""
    instrument = order.instrument
    return {
        "symbol": instrument.name,
        "size": qty_text(instrument, order.qty_lots),
        "orderId": str(order.order_id),
        "clientOid": own_id(order),
        "baseVolume": qty_text(instrument, order.filled_lots),
        "fee": money_text(-order.fees),
        "price": "" if order.market else price_text(instrument, order.price_ticks),
        "priceAvg": trimmed(order.average()) if order.filled_lots else "",
        "status": status_of(order),
        "side": order.side.name.lower(),
        "force": order.extra.get("force", "gtc"),
        "totalProfits": "0",
        "posSide": "net",
        "marginCoin": instrument.quote,
        "quoteVolume": f"{order.quanta * instrument.quantum:f}",
        "leverage": "20",
        "marginMode": "crossed",
        "reduceOnly": "YES" if order.reduce_only else "NO",
        "enterPointSource": "API",
        "tradeSide": f"{order.side.name.lower()}_single",
        "posMode": POSITION_MODE,
        "orderType": "market" if order.market else "limit",
        "orderSource": "normal",
        "cancelReason": cancel_reason(order),
        "stpMode": order.extra.get("stpMode", "none"),
        "cTime": str(order.time_ms),
        "uTime": str(order.update_ms),
    }


def order_event(order: Order, trade: OwnTrade | None) -> Json:
    instrument, row = order.instrument, order_row(order)
    kept = (
        *("clientOid", "orderId", "size", "price", "status", "side", "force", "posSide"),
        *("marginCoin", "leverage", "marginMode", "enterPointSource", "tradeSide", "posMode"),
        *("orderType", "cTime", "uTime", "stpMode", "totalProfits"),
    )
    event = {
        **{name: row[name] for name in kept},
        "instId": instrument.name,
        "accBaseVolume": row["baseVolume"],
        "reduceOnly": row["reduceOnly"].lower(),
        "feeDetail": [{"feeCoin": instrument.quote, "fee": row["fee"]}],
        "notionalUsd": f"{order.qty_lots * order.price_ticks * instrument.quantum:f}",
    }
    if row["cancelReason"]:
        event["cancelReason"] = row["cancelReason"]
    if trade is not None:
        fill = trade.fill
        event |= {
            "baseVolume": qty_text(instrument, fill.qty_lots),
            "fillPrice": price_text(instrument, fill.price_ticks),
            "fillTime": str(trade.time_ms),
            "fillFee": money_text(-fill.fee),
            "fillFeeCoin": instrument.quote,
            "fillNotionalUsd": f"{instrument.notional(fill.price_ticks, fill.qty_lots):f}",
            "priceAvg": row["priceAvg"],
            "tradeId": str(trade.number),
            "tradeScope": "M" if fill.is_maker else "T",
            "pnl": money_text(trade.pnl),
        }
    return event


def fill_row(trade: OwnTrade) -> Json:
    fill, instrument = trade.fill, trade.order.instrument
    return {
        "tradeId": str(trade.number),
        "symbol": instrument.name,
        "orderId": str(trade.order.order_id),
        "price": price_text(instrument, fill.price_ticks),
        "baseVolume": qty_text(instrument, fill.qty_lots),
        "feeDetail": [
            {
                "deduction": "no",
                "feeCoin": instrument.quote,
                "totalDeductionFee": "0",
                "totalFee": money_text(-fill.fee),
            }
        ],
        "side": fill.side.name.lower(),
        "quoteVolume": f"{instrument.notional(fill.price_ticks, fill.qty_lots):f}",
        "profit": money_text(trade.pnl),
        "enterPointSource": "api",
        "tradeSide": f"{fill.side.name.lower()}_single",
        "posMode": POSITION_MODE,
        "tradeScope": "maker" if fill.is_maker else "taker",
        "cTime": str(trade.time_ms),
        "uTime": str(trade.time_ms),
    }


def position_row(venue: LoopbackBitget, symbol: str) -> Json:
    exchange = venue.stage.book.exchange
    holding, account = exchange.market(symbol).holding, exchange.account
    instrument, lots = holding.instrument, holding.lots
    liquidation = exchange.position(symbol).liquidation_price
    total, at = qty_text(instrument, abs(lots)), str(venue.desk.updated_ms.get(symbol, 0))
    return {
        "marginCoin": instrument.quote,
        "symbol": symbol,
        "holdSide": "long" if lots >= 0 else "short",
        "openDelegateSize": "0",
        "marginSize": money_text(margins(holding, account.leverage)[0]),
        "available": total,
        "locked": "0",
        "total": total,
        "leverage": trimmed(account.leverage),
        "achievedProfits": "0",
        "openPriceAvg": trimmed(holding.entry_ticks * instrument.tick_size),
        "marginMode": "crossed",
        "posMode": POSITION_MODE,
        "unrealizedPL": money_text(unrealised(holding)),
        "liquidationPrice": "0" if liquidation is None else f"{liquidation:.8f}",
        "keepMarginRate": trimmed(account.maintenance_margin),
        "markPrice": trimmed(Decimal(holding.mark2) * HALF * instrument.tick_size),
        "marginRatio": "0",
        "cTime": at,
        "uTime": at,
    }


def position_rows(venue: LoopbackBitget, symbol: str) -> tuple[str, list[Json]]:
    """The channel tells of every open position, whichever of them changed."""
    rows = []
    for name in venue.instruments:
        if venue.desk.holding(name).lots:
            row = {**position_row(venue, name), "instId": name, "posId": "1", "frozen": "0"}
            del row["symbol"], row["markPrice"]
            rows.append(row)
    return "positions", rows


def order_events(
    order: Order, happened: Happened, trade: OwnTrade | None
) -> list[tuple[str, Json]]:
    events = [("orders", order_event(order, trade))]
    return [*events, ("fill", fill_row(trade))] if trade is not None else events


def reduces(row: Json) -> bool:
    return str(row.get("reduceOnly", "")).upper() == "YES"


CLASSIC = Side(
    account="classic",
    channels=("orders", "fill", "positions", "account"),
    order_events=order_events,
    position_rows=position_rows,
    reduces=reduces,
)


def bill_row(income: Income, asset: str) -> Json:
    return {
        "billId": str(income.number),
        "symbol": income.symbol,
        "amount": money_text(income.amount),
        "fee": "0",
        "feeByCoupon": "",
        "businessType": "contract_settle_fee",
        "coin": asset,
        "balance": "",
        "cTime": str(income.time_ms),
    }


# -- orders ------------------------------------------------------------------------------------------


def said(row: Json) -> Said:
    return Said(
        side=str(row.get("side", "")),
        qty=row.get("size"),
        price=row.get("price"),
        kind=str(row.get("orderType", "")),
        force=str(row.get("force") or "").lower(),
        client_id=str(row.get("clientOid") or ""),
        reduce_only=reduces(row),
        stp_mode=str(row.get("stpMode") or "none"),
        hedged=bool(row.get("tradeSide")),
    )


def place_one(venue: LoopbackBitget, row: Json) -> Json:
    instrument = named(venue, row)
    if row.get("marginMode") != "crossed" or row.get("marginCoin") != instrument.quote:
        raise refuse("parameter", "classic")
    ticket = parse_ticket(
        said(row),
        venue.desk.market(instrument),
        len(venue.desk.open_orders()),
        hedge_mode=venue.mischief.hedge_mode,
        account="classic",
    )
    try:
        order = venue.desk.place(ticket)
    except Rejected as error:
        raise refused(error, "classic") from error
    return named_by(order)


def cancel_one(venue: LoopbackBitget, row: Json) -> Json:
    try:
        order = venue.desk.cancel(find(venue, row))
    except OrderNotFound as error:
        raise refused(error, "classic") from error
    return named_by(order)


def find(venue: LoopbackBitget, row: Json) -> Order | None:
    """By `orderId` or `clientOid`."""
    instrument = named(venue, row)
    if str(row.get("orderId") or "").isdigit():
        order = venue.desk.by_order_id(int(row["orderId"]))
        return order if order is not None and order.instrument is instrument else None
    if not row.get("clientOid"):
        raise refuse("parameter", "classic")
    return venue.desk.by_client_id(instrument.name, str(row["clientOid"]))


def many(venue: LoopbackBitget, params: Json, rows: Any, work: Handle, *, named: bool) -> Any:
    """One order's failure is its own. `named`: failures carry their code."""
    if not isinstance(rows, list) or not rows or len(rows) > BATCH_MAX:
        raise Refusal("40306", "Batch processing orders can only process up to 20")
    done: list[Json] = []
    failed: list[Json] = []
    whole = {name: value for name, value in params.items() if not isinstance(value, list)}
    for row in rows:
        asked = {**whole, **row} if isinstance(row, dict) else {}
        try:
            done.append(work(venue, asked))
        except Refusal as error:
            failure = {
                "orderId": str(asked.get("orderId") or ""),
                "clientOid": str(asked.get("clientOid") or ""),
                "errorMsg": error.text,
            }
            failed.append({**failure, "errorCode": error.code} if named else failure)
    return {"successList": done, "failureList": failed}


def place_many(venue: LoopbackBitget, params: Json) -> Any:
    return many(venue, params, params.get("orderList"), place_one, named=True)


def cancel_many(venue: LoopbackBitget, params: Json) -> Any:
    """Without a list every order of the symbol."""
    if not params.get("orderIdList"):
        return cancel_all(venue, params)
    return many(venue, params, params["orderIdList"], cancel_one, named=False)


def cancel_all(venue: LoopbackBitget, params: Json) -> Any:
    gone = [order for each in chosen(venue, params) for order in venue.desk.cancel_all(each.name)]
    if not gone:
        raise Refusal("22001", "No order to cancel")
    rows = [named_by(order) for order in gone]
    return {"successList": rows, "failureList": []}


def get_order(venue: LoopbackBitget, params: Json) -> Any:
    order = find(venue, params)
    if order is None:
        raise refuse("not there", "classic")
    row = order_row(order)
    return {**row, "state": row.pop("status")}


def orders_of(venue: LoopbackBitget, params: Json, *, closed: bool) -> Any:
    names = {each.name for each in chosen(venue, params)}
    orders = venue.desk.all_orders() if closed else venue.desk.open_orders()
    rows = [
        order_row(order)
        for order in orders
        if order.instrument.name in names and order.open is not closed
    ]
    rows, last = page(between(rows, params, "cTime"), "orderId", params, "idLessThan")
    return {"entrustedList": rows or None, "endId": last or None}


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
    rows, last = page(between(rows, params, "cTime"), "tradeId", params, "idLessThan")
    return {"fillList": rows or None, "endId": last or None}


# -- the account -------------------------------------------------------------------------------------


def account_row(venue: LoopbackBitget) -> Json:
    account = venue.stage.book.exchange.account
    equity, free = account.equity(), account.available()
    return {
        "marginCoin": venue.asset,
        "locked": "0",
        "available": money_text(free),
        "crossedMaxAvailable": money_text(free),
        "isolatedMaxAvailable": money_text(free),
        "maxTransferOut": money_text(free),
        "accountEquity": money_text(equity),
        "usdtEquity": money_text(equity),
        "btcEquity": "0",
        "crossedRiskRate": "0",
        "crossedMarginLeverage": trimmed(account.leverage),
        "isolatedLongLever": trimmed(account.leverage),
        "isolatedShortLever": trimmed(account.leverage),
        "marginMode": "crossed",
        "posMode": "hedge_mode" if venue.mischief.hedge_mode else POSITION_MODE,
        "unrealizedPL": "",
        "coupon": "0",
    }


def get_account(venue: LoopbackBitget, params: Json) -> Any:
    named(venue, params)
    return account_row(venue)


def get_accounts(venue: LoopbackBitget, params: Json) -> Any:
    return [account_row(venue)]


def get_positions(venue: LoopbackBitget, params: Json) -> Any:
    return [
        position_row(venue, each.name)
        for each in chosen(venue, params)
        if venue.desk.holding(each.name).lots
    ]


def get_fees(venue: LoopbackBitget, params: Json) -> Any:
    instrument = named(venue, params)
    return {
        "makerFeeRate": f"{instrument.maker_fee:f}",
        "takerFeeRate": f"{instrument.taker_fee:f}",
    }


def get_bills(venue: LoopbackBitget, params: Json) -> Any:
    names = {each.name for each in chosen(venue, params)}
    rows = [
        bill_row(income, venue.asset)
        for income in venue.desk.income
        if income.kind == "funding"
        and income.symbol in names
        and params.get("businessType") in (None, "contract_settle_fee")
    ]
    rows, last = page(between(rows, params, "cTime"), "billId", params, "idLessThan")
    return {"bills": rows or None, "endId": last or None}


def set_leverage(venue: LoopbackBitget, params: Json) -> Any:
    instrument = named(venue, params)
    text = str(params.get("leverage", ""))
    if not text.isdigit() or not 1 <= int(text) <= 125:
        raise refuse("parameter", "classic")
    venue.stage.book.exchange.account.leverage = Decimal(text)
    return {
        "symbol": instrument.name,
        "marginCoin": venue.asset,
        "longLeverage": text,
        "shortLeverage": text,
        "crossMarginLeverage": text,
        "marginMode": "crossed",
    }


def set_position_mode(venue: LoopbackBitget, params: Json) -> Any:
    if params.get("posMode") not in (POSITION_MODE, "hedge_mode"):
        raise refuse("parameter", "classic")
    held = any(venue.desk.holding(name).lots for name in venue.instruments)
    if venue.desk.open_orders() or held:
        raise Refusal("40920", "The position mode cannot be changed with positions or orders")
    venue.mischief.hedge_mode = params["posMode"] == "hedge_mode"
    return {"posMode": params["posMode"]}


def rows_in(name: str) -> Any:
    def rows(params: Any) -> list[Json]:
        found = params.get(name) or []
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    return rows


def signed(handle: Handle, kind: Kind = "", **more: Any) -> Endpoint:
    return Endpoint(handle=handle, signed=True, kind=kind, **more)


ORDER, ACCOUNT, POSITION = (f"/api/v2/mix/{room}" for room in ("order", "account", "position"))
ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/api/v2/common/trade-rate"): signed(get_fees),
    ("GET", f"{ACCOUNT}/account"): signed(get_account),
    ("GET", f"{ACCOUNT}/accounts"): signed(get_accounts),
    ("GET", f"{ACCOUNT}/bill"): signed(get_bills),
    ("POST", f"{ACCOUNT}/set-leverage"): signed(set_leverage),
    ("POST", f"{ACCOUNT}/set-position-mode"): signed(set_position_mode),
    ("GET", f"{POSITION}/all-position"): signed(get_positions),
    ("GET", f"{POSITION}/single-position"): signed(get_positions),
    ("POST", f"{ORDER}/place-order"): signed(place_one, "place"),
    ("POST", f"{ORDER}/batch-place-order"): signed(place_many, "place", rows=rows_in("orderList")),
    ("POST", f"{ORDER}/cancel-order"): signed(cancel_one, "cancel"),
    ("POST", f"{ORDER}/batch-cancel-orders"): signed(cancel_many, "cancel"),
    ("POST", f"{ORDER}/cancel-all-orders"): signed(cancel_all, "cancel"),
    ("GET", f"{ORDER}/detail"): signed(get_order),
    ("GET", f"{ORDER}/orders-pending"): signed(get_open_orders),
    ("GET", f"{ORDER}/orders-history"): signed(get_history),
    ("GET", f"{ORDER}/fill-history"): signed(get_fills),
    ("GET", f"{ORDER}/fills"): signed(get_fills),
}
PREFIXES = ("/api/v2/mix/order", "/api/v2/mix/account", "/api/v2/mix/position", "/api/v2/common")
