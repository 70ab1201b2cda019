"""What Bybit sends, as JSON values: numbers are text, positions unsigned with a side, order ids look like UUIDs."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.loopback.bars import Bar
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import (
    decimals,
    margins,
    money_text,
    price_text,
    qty_text,
    unrealised,
    wallet,
)
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import EndReason, OrderStatus, Side
from marketmaker.sim.account import HALF, Account, Holding

SIDE_WORDS = {Side.BUY: "Buy", Side.SELL: "Sell"}
STATUS_WORDS = {
    OrderStatus.FILLED: "Filled",
    OrderStatus.CANCELLED: "Cancelled",
    OrderStatus.REJECTED: "Rejected",
}
CANCEL_TYPES = {
    EndReason.REQUESTED: "CancelByUser",
    EndReason.SELF_TRADE: "CancelBySmp",
    EndReason.REDUCE_ONLY: "CancelByReduceOnly",
    EndReason.LIQUIDATION: "CancelAllBeforeLiq",
}


def order_id_text(number: int) -> str:
    """A whole number as a UUID of the venue's look."""
    text = f"{number:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def order_number(text: str) -> int | None:
    digits = text.replace("-", "")
    try:
        return int(digits, 16) if len(digits) == 32 else None
    except ValueError:
        return None


def trimmed(value: Decimal) -> str:
    return f"{value.normalize():f}"


def build_instrument(instrument: Instrument) -> Json:
    tick, step = instrument.tick_size, instrument.lot_size
    return {
        "symbol": instrument.name,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": instrument.base,
        "quoteCoin": instrument.quote,
        "launchTime": "1615766400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": str(decimals(tick)),
        "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
        "priceFilter": {"minPrice": f"{tick:f}", "maxPrice": "199999.98", "tickSize": f"{tick:f}"},
        "lotSizeFilter": {
            "maxOrderQty": f"{step * 1_000_000:f}",
            "minOrderQty": f"{step * instrument.min_qty:f}",
            "qtyStep": f"{step:f}",
            "postOnlyMaxOrderQty": f"{step * 1_000_000:f}",
            "maxMktOrderQty": f"{step * 500_000:f}",
            "minNotionalValue": trimmed(instrument.min_notional),
        },
        "unifiedMarginTrade": True,
        "fundingInterval": 480,
        "settleCoin": instrument.quote,
        "copyTrading": "none",
        "upperFundingRate": "0.00375",
        "lowerFundingRate": "-0.00375",
        "isPreListing": False,
        "preListingInfo": None,
    }


def build_candle(bar: Bar, instrument: Instrument) -> list[str]:
    return [
        str(bar.open_ms),
        *(price_text(instrument, ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)),
        qty_text(instrument, bar.lots),
        f"{bar.quanta * instrument.quantum:f}",
    ]


def build_bar(
    bar: Bar, instrument: Instrument, interval: str, *, length_ms: int, closed: bool, now_ms: int
) -> Json:
    _, opened, high, low, close, volume, turnover = build_candle(bar, instrument)
    return {
        "start": bar.open_ms,
        "end": bar.open_ms + length_ms - 1,
        "interval": interval,
        "open": opened,
        "close": close,
        "high": high,
        "low": low,
        "volume": volume,
        "turnover": turnover,
        "confirm": closed,
        "timestamp": now_ms,
    }


# -- orders ------------------------------------------------------------------------------------------


def own_id(order: Order) -> str:
    """What the client named it; "" for one that the venue made."""
    return "" if order.client_id.startswith(("web_", "autoclose-")) else order.client_id


def build_order(order: Order) -> Json:
    instrument, closed = order.instrument, not order.open
    status = STATUS_WORDS.get(order.status) or ("PartiallyFilled" if order.filled_lots else "New")
    reason = order.end_reason
    left = 0 if closed else order.qty_lots - order.filled_lots
    cancel_type = CANCEL_TYPES.get(reason, "UNKNOWN") if reason is not None else "UNKNOWN"
    post_only_refused = reason is EndReason.POST_ONLY
    return {
        "orderId": order_id_text(order.order_id),
        "orderLinkId": own_id(order),
        "blockTradeId": "",
        "symbol": instrument.name,
        "price": "0" if order.market else price_text(instrument, order.price_ticks),
        "qty": qty_text(instrument, order.qty_lots),
        "side": SIDE_WORDS[order.side],
        "isLeverage": "",
        "positionIdx": 0,
        "orderStatus": status,
        "createType": order.extra.get("createType", "CreateByUser"),
        "cancelType": cancel_type,
        "rejectReason": "EC_PostOnlyWillTakeLiquidity" if post_only_refused else "EC_NoError",
        "avgPrice": trimmed(order.average()) if order.filled_lots else "",
        "leavesQty": qty_text(instrument, left),
        "leavesValue": f"{left * order.price_ticks * instrument.quantum:f}",
        "cumExecQty": qty_text(instrument, order.filled_lots),
        "cumExecValue": f"{order.quanta * instrument.quantum:f}",
        "cumExecFee": money_text(order.fees),
        "timeInForce": order.extra.get("timeInForce", "IOC" if order.market else "GTC"),
        "orderType": "Market" if order.market else "Limit",
        "stopOrderType": "",
        "triggerPrice": "",
        "takeProfit": "",
        "stopLoss": "",
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": False,
        "smpType": order.extra.get("smpType", "None"),
        "smpGroup": 0,
        "smpOrderId": "",
        "tpslMode": "",
        "createdTime": str(order.time_ms),
        "updatedTime": str(order.update_ms),
    }


def build_order_event(order: Order) -> Json:
    return {
        **build_order(order),
        "category": "linear",
        "closedPnl": "0",
        "feeCurrency": "",
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def build_execution(trade: OwnTrade, happened: Happened = "fill") -> Json:
    order, fill, instrument = trade.order, trade.fill, trade.order.instrument
    rate = instrument.maker_fee if fill.is_maker else instrument.taker_fee
    return {
        "category": "linear",
        "symbol": instrument.name,
        "closedSize": "0",
        "createType": order.extra.get("createType", "CreateByUser"),
        "execFee": money_text(fill.fee),
        "execId": order_id_text(trade.number),
        "execPrice": price_text(instrument, fill.price_ticks),
        "execQty": qty_text(instrument, fill.qty_lots),
        "execType": "BustTrade" if happened == "liquidation" else "Trade",
        "execValue": f"{instrument.notional(fill.price_ticks, fill.qty_lots):f}",
        "feeRate": f"{rate:f}",
        "feeCurrency": instrument.quote,
        "markPrice": "",
        "leavesQty": qty_text(instrument, order.qty_lots - order.filled_lots),
        "orderId": order_id_text(order.order_id),
        "orderLinkId": own_id(order),
        "orderPrice": "0" if order.market else price_text(instrument, order.price_ticks),
        "orderQty": qty_text(instrument, order.qty_lots),
        "orderType": "Market" if order.market else "Limit",
        "stopOrderType": "UNKNOWN",
        "side": SIDE_WORDS[fill.side],
        "execTime": str(trade.time_ms),
        "isLeverage": "0",
        "isMaker": fill.is_maker,
        "execPnl": money_text(trade.pnl),
        "seq": trade.number,
    }


def build_funding(income: Income, holding: Holding) -> Json:
    """A payment as the execution that it is here."""
    instrument = holding.instrument
    return {
        "category": "linear",
        "symbol": income.symbol,
        "execFee": money_text(-income.amount),
        "execId": order_id_text(income.number),
        "execPrice": trimmed(Decimal(holding.mark2) * HALF * instrument.tick_size),
        "execQty": qty_text(instrument, abs(holding.lots)),
        "execType": "Funding",
        "execValue": money_text(abs(holding.notional())),
        "feeRate": "",
        "feeCurrency": instrument.quote,
        "leavesQty": "0",
        "orderId": order_id_text(income.number),
        "orderLinkId": "",
        "orderPrice": "0",
        "orderQty": "0",
        "orderType": "UNKNOWN",
        "side": "Buy" if holding.lots >= 0 else "Sell",
        "execTime": str(income.time_ms),
        "isMaker": False,
        "seq": income.number,
    }


# -- the account -------------------------------------------------------------------------------------


def build_position(
    holding: Holding, account: Account, liquidation: Decimal | None, *, event: bool, now_ms: int
) -> Json:
    """`event`: the entry price has another name on the stream."""
    instrument = holding.instrument
    of_position, _ = margins(holding, account.leverage)
    entry = trimmed(holding.entry_ticks * instrument.tick_size) if holding.lots else "0"
    side = "" if not holding.lots else "Buy" if holding.lots > 0 else "Sell"
    return {
        "positionIdx": 0,
        "riskId": 1,
        "symbol": instrument.name,
        "side": side,
        "size": qty_text(instrument, abs(holding.lots)),
        "entryPrice" if event else "avgPrice": entry,
        "positionValue": money_text(abs(holding.notional())) if holding.lots else "0",
        "tradeMode": 0,
        "positionStatus": "Normal",
        "leverage": trimmed(account.leverage),
        "positionBalance": "0",
        "markPrice": trimmed(Decimal(holding.mark2) * HALF * instrument.tick_size),
        "liqPrice": "" if liquidation is None else f"{liquidation:.8f}",
        "positionIM": money_text(of_position),
        "positionMM": money_text(abs(holding.notional()) * account.maintenance_margin),
        "unrealisedPnl": money_text(unrealised(holding)),
        "curRealisedPnl": "0",
        "cumRealisedPnl": "0",
        "seq": now_ms,
        "isReduceOnly": False,
        "createdTime": str(now_ms),
        "updatedTime": str(now_ms),
    }


def build_wallet(account: Account, asset: str) -> Json:
    equity, free = account.equity(), account.available()
    cash = wallet(account)
    return {
        "accountType": "UNIFIED",
        "totalEquity": money_text(equity),
        "totalWalletBalance": money_text(cash),
        "totalMarginBalance": money_text(equity),
        "totalAvailableBalance": money_text(free),
        "totalPerpUPL": money_text(equity - cash),
        "totalInitialMargin": money_text(equity - free),
        "totalMaintenanceMargin": "0",
        "accountIMRate": "0",
        "accountMMRate": "0",
        "accountLTV": "0",
        "coin": [
            {
                "coin": asset,
                "equity": money_text(equity),
                "usdValue": money_text(equity),
                "walletBalance": money_text(cash),
                "locked": "0",
                "unrealisedPnl": money_text(equity - cash),
                "cumRealisedPnl": "0",
                "totalOrderIM": "0",
                "totalPositionIM": money_text(equity - free),
                "totalPositionMM": "0",
                "availableToWithdraw": "",
                "marginCollateral": True,
                "collateralSwitch": True,
            }
        ],
    }
