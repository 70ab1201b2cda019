"""What Backpack sends, as JSON values: decimal text, times in ms, microseconds or text by endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from marketmaker.loopback.bars import Bar
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import margins, money_text, price_text, qty_text, unrealised
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import EndReason, OrderStatus, Side
from marketmaker.sim.account import HALF, Account, Holding

SIDE_WORDS = {Side.BUY: "Bid", Side.SELL: "Ask"}
EXPIRY_WORDS = {
    EndReason.POST_ONLY: "PostOnlyTaker",
    EndReason.SELF_TRADE: "SelfTradePrevention",
    EndReason.REDUCE_ONLY: "ReduceOnlyNotReduced",
    EndReason.INSUFFICIENT_MARGIN: "InsufficientMargin",
    EndReason.IOC: "ImmediateOrCancel",
    EndReason.LIQUIDATION: "Liquidation",
}
EVENTS: dict[Happened, str] = {
    "new": "orderAccepted",
    "fill": "orderFill",
    "amend": "orderModified",
    "liquidation": "orderFill",
}


def symbol_of(instrument: Instrument) -> str:
    """ETHUSDT is `ETH_USDT_PERP`."""
    return f"{instrument.base}_{instrument.quote}_PERP"


def trimmed(value: Decimal) -> str:
    return f"{value.normalize():f}"


def utc_text(ms: int, *, separator: str = "T") -> str:
    """`2025-07-27T17:39:00.092`"""
    seconds, rest = divmod(ms, 1_000)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{when:%Y-%m-%d}{separator}{when:%H:%M:%S}" + (f".{rest:03d}" if rest else "")


def build_market(instrument: Instrument) -> Json:
    return {
        "symbol": symbol_of(instrument),
        "baseSymbol": instrument.base,
        "quoteSymbol": instrument.quote,
        "marketType": "PERP",
        "createdAt": "2025-01-21T06:34:54.691858",
        "orderBookState": "Open",
        "visible": True,
        "fundingInterval": 28_800_000,
        "filters": {
            "price": {
                "tickSize": trimmed(instrument.tick_size),
                "minPrice": trimmed(instrument.tick_size),
                "maxPrice": None,
                "minMultiplier": "0.75",
                "maxMultiplier": "1.25",
            },
            "quantity": {
                "minQuantity": trimmed(instrument.lot_size * instrument.min_qty),
                "stepSize": trimmed(instrument.lot_size),
                "maxQuantity": None,
            },
        },
    }


def build_candle(bar: Bar, instrument: Instrument, length_ms: int) -> Json:
    return {
        "start": utc_text(bar.open_ms, separator=" "),
        "end": utc_text(bar.open_ms + length_ms, separator=" "),
        "open": price_text(instrument, bar.open),
        "high": price_text(instrument, bar.high),
        "low": price_text(instrument, bar.low),
        "close": price_text(instrument, bar.close),
        "volume": qty_text(instrument, bar.lots),
        "quoteVolume": f"{bar.quanta * instrument.quantum:f}",
        "trades": str(bar.trades),
    }


def build_bar(
    bar: Bar, instrument: Instrument, *, length_ms: int, closed: bool, now_us: int
) -> Json:
    row = build_candle(bar, instrument, length_ms)
    return {
        "e": "kline",
        "E": str(now_us),
        "s": symbol_of(instrument),
        "t": utc_text(bar.open_ms),
        "T": utc_text(bar.open_ms + length_ms),
        "o": row["open"],
        "h": row["high"],
        "l": row["low"],
        "c": row["close"],
        "v": row["volume"],
        "n": bar.trades,
        "X": closed,
    }


# -- orders ------------------------------------------------------------------------------------------


def client_id_of(order: Order) -> int | None:
    return int(order.client_id) if order.client_id.isdigit() else None


def status_of(order: Order) -> str:
    match order.status:
        case OrderStatus.OPEN:
            return "PartiallyFilled" if order.filled_lots else "New"
        case OrderStatus.FILLED:
            return "Filled"
        case _:
            return "Cancelled" if order.end_reason in (None, EndReason.REQUESTED) else "Expired"


def build_order(order: Order) -> Json:
    instrument = order.instrument
    return {
        "clientId": client_id_of(order),
        "createdAt": order.time_ms,
        "executedQuantity": qty_text(instrument, order.filled_lots),
        "executedQuoteQuantity": f"{order.quanta * instrument.quantum:f}",
        "id": str(order.order_id),
        "orderType": "Market" if order.market else "Limit",
        "postOnly": order.post_only,
        "price": price_text(instrument, order.price_ticks),
        "quantity": qty_text(instrument, order.qty_lots),
        "reduceOnly": order.reduce_only,
        "relatedOrderId": None,
        "selfTradePrevention": "RejectTaker",
        "side": SIDE_WORDS[order.side],
        "status": status_of(order),
        "strategyId": None,
        "symbol": symbol_of(instrument),
        "timeInForce": order.extra.get("timeInForce", "GTC"),
    }


def build_history(order: Order) -> Json:
    row = build_order(order)
    expired = row["status"] == "Expired" and order.end_reason is not None
    reason = EXPIRY_WORDS.get(order.end_reason, "Unknown") if expired and order.end_reason else None
    return {**row, "createdAt": utc_text(order.time_ms), "expiryReason": reason}


def build_order_event(order: Order, happened: Happened, trade: OwnTrade | None) -> Json:
    instrument, status = order.instrument, status_of(order)
    name = EVENTS.get(happened) or ("orderCancelled" if status == "Cancelled" else "orderExpired")
    row: Json = {
        "e": name,
        "E": str(order.update_ms * 1_000 + 3),
        "s": symbol_of(instrument),
        "c": client_id_of(order),
        "S": SIDE_WORDS[order.side],
        "o": "MARKET" if order.market else "LIMIT",
        "f": order.extra.get("timeInForce", "GTC"),
        "q": qty_text(instrument, order.qty_lots),
        "p": price_text(instrument, order.price_ticks),
        "X": status,
        "i": str(order.order_id),
        "t": trade.number if trade else None,
        "z": qty_text(instrument, order.filled_lots),
        "Z": f"{order.quanta * instrument.quantum:f}",
        "V": "RejectTaker",
        "T": str(order.update_ms * 1_000),
        "O": "LIQUIDATION_AUTOCLOSE" if happened == "liquidation" else "USER",
        "r": order.reduce_only,
        "y": order.post_only,
    }
    if trade is not None:
        row |= {
            "l": qty_text(instrument, trade.fill.qty_lots),
            "L": price_text(instrument, trade.fill.price_ticks),
            "m": trade.fill.is_maker,
            "n": money_text(trade.fill.fee),
            "N": instrument.quote,
            "T": str(trade.time_ms * 1_000),
        }
    if name == "orderExpired" and order.end_reason is not None:
        row["R"] = EXPIRY_WORDS.get(order.end_reason, "Unknown")
    return row


def build_fill(trade: OwnTrade) -> Json:
    order, fill, instrument = trade.order, trade.fill, trade.order.instrument
    client_id = client_id_of(order)
    return {
        "clientId": None if client_id is None else str(client_id),
        "fee": money_text(fill.fee),
        "feeSymbol": instrument.quote,
        "isMaker": fill.is_maker,
        "orderId": str(order.order_id),
        "price": price_text(instrument, fill.price_ticks),
        "quantity": qty_text(instrument, fill.qty_lots),
        "side": SIDE_WORDS[fill.side],
        "symbol": symbol_of(instrument),
        "systemOrderType": None,
        "timestamp": utc_text(trade.time_ms),
        "tradeId": trade.number,
    }


# -- the account -------------------------------------------------------------------------------------


def entry_text(holding: Holding) -> str:
    return trimmed(holding.entry_ticks * holding.instrument.tick_size) if holding.lots else "0"


def mark_of(holding: Holding) -> Decimal:
    return Decimal(holding.mark2) * HALF * holding.instrument.tick_size


def signed_qty(holding: Holding) -> str:
    return qty_text(holding.instrument, holding.lots)


def build_position(holding: Holding, liquidation: Decimal | None) -> Json:
    return {
        "symbol": symbol_of(holding.instrument),
        "netQuantity": signed_qty(holding),
        "netExposureQuantity": qty_text(holding.instrument, abs(holding.lots)),
        "netExposureNotional": money_text(abs(holding.notional())),
        "netCost": "0",
        "entryPrice": entry_text(holding),
        "breakEvenPrice": entry_text(holding),
        "markPrice": trimmed(mark_of(holding)),
        "estLiquidationPrice": "0" if liquidation is None else f"{liquidation:.8f}",
        "pnlRealized": "0",
        "pnlUnrealized": money_text(unrealised(holding)),
        "cumulativeFundingPayment": "0",
        "imf": "0.02",
        "mmf": "0.0125",
        "positionId": "28563667732",
        "subaccountId": 0,
        "userId": 1,
    }


def build_position_event(holding: Holding, liquidation: Decimal | None, now_us: int) -> Json:
    return {
        "e": "positionAdjusted" if holding.lots else "positionClosed",
        "E": str(now_us),
        "T": str(now_us),
        "s": symbol_of(holding.instrument),
        "q": signed_qty(holding),
        "Q": qty_text(holding.instrument, abs(holding.lots)),
        "B": entry_text(holding),
        "b": entry_text(holding),
        "M": trimmed(mark_of(holding)),
        "P": money_text(unrealised(holding)),
        "p": "0",
        "n": money_text(abs(holding.notional())),
        "f": "0.02",
        "m": "0.0125",
        "l": "0" if liquidation is None else f"{liquidation:.8f}",
        "i": 28_563_667_732,
    }


def build_collateral(account: Account, asset: str) -> Json:
    equity, free = account.equity(), account.available()
    held = (margins(each, account.leverage) for each in account.holdings.values())
    locked = sum((position + orders for position, orders in held), Decimal(0))
    return {
        "assetsValue": money_text(equity),
        "borrowLiability": "0",
        "collateral": [{"symbol": asset, "totalQuantity": money_text(equity)}],
        "imf": "0.02",
        "mmf": "0.0125",
        "liabilitiesValue": "0",
        "marginFraction": None,
        "netEquity": money_text(equity),
        "netEquityAvailable": money_text(free),
        "netEquityLocked": money_text(locked),
        "unsettledEquity": "0",
    }


def build_capital(account: Account, asset: str) -> Json:
    free = account.available()
    locked = account.equity() - free
    row = {"available": money_text(free), "locked": money_text(locked), "staked": "0"}
    return {asset: row}


def build_account(account: Account, instrument: Instrument) -> Json:
    return {
        "autoLend": False,
        "futuresMakerFee": trimmed(instrument.maker_fee * 10_000),
        "futuresTakerFee": trimmed(instrument.taker_fee * 10_000),
        "leverageLimit": trimmed(account.leverage),
        "limitOrders": 0,
        "liquidating": False,
        "positionLimit": "10000000",
        "spotMakerFee": "8",
        "spotTakerFee": "10",
        "triggerOrders": 0,
    }


def build_funding(income: Income, instrument: Instrument, rate: Decimal) -> Json:
    return {
        "fundingRate": trimmed(rate),
        "intervalEndTimestamp": utc_text(income.time_ms),
        "quantity": money_text(income.amount),
        "subaccountId": 0,
        "symbol": symbol_of(instrument),
        "userId": 1,
    }
