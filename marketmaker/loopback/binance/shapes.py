"""What Binance USD-M futures sends, byte for byte in shape: built from our values, pure.

Numbers travel as text with the steps' decimals, money with eight; ids and times as integers. Field sets are those of
the venue's documentation as of September 2026: acknowledgements have no `avgPrice` and `cumQuote`, queries do.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

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
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import EndReason, OrderStatus, Side
from marketmaker.sim.account import HALF, Account, Holding

Json = dict[str, Any]

ONBOARD_MS = 1_569_398_400_000
DELIVERY_MS = 4_133_404_800_000
PRICE_BAND = Decimal("0.05")
MAX_QTY = {"BTC": Decimal(1000)}
MAX_QTY_OTHERS = Decimal(1_000_000)
MAX_PRICE = Decimal(10_000_000)
MAX_OPEN_ORDERS = 200
MAX_NOTIONAL = "1000000"
PRICE_DECIMALS_MIN = 2
ZERO = Decimal(0)
ENDINGS = {
    EndReason.REQUESTED: "CANCELED",
    EndReason.LIQUIDATION: "CANCELED",
    EndReason.SELF_TRADE: "EXPIRED_IN_MATCH",
}
"""Every other end is EXPIRED."""
EXECUTIONS = {"new": "NEW", "fill": "TRADE", "amend": "AMENDMENT", "liquidation": "CALCULATED"}
INCOME_KINDS = {"fee": "COMMISSION", "pnl": "REALIZED_PNL", "funding": "FUNDING_FEE"}


class WireError(Exception):
    """An answer that says no. `code` None: an answer without a code, as the 503s have."""

    def __init__(
        self, code: int | None, message: str, status: int = 400, retry_after_s: int = 0
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s

    def body(self) -> Json:
        if self.code is None:
            return {"msg": self.message}
        return {"code": self.code, "msg": self.message}


def price_of(order: Order) -> str:
    return "0" if order.market else price_text(order.instrument, order.price_ticks)


def kind_of(order: Order) -> str:
    return "MARKET" if order.market else "LIMIT"


def status_of(order: Order) -> str:
    match order.status:
        case OrderStatus.OPEN:
            return "PARTIALLY_FILLED" if order.filled_lots else "NEW"
        case OrderStatus.FILLED:
            return "FILLED"
    return ENDINGS.get(order.end_reason, "EXPIRED") if order.end_reason else "EXPIRED"


def time_in_force_of(order: Order) -> str:
    return order.extra.get("timeInForce", "GTC")


def self_trade_of(order: Order) -> str:
    return order.extra.get("selfTradePreventionMode", "NONE")


def price_decimals(instrument: Instrument) -> int:
    """`pricePrecision`: not the tick's, as at the venue, where it may be finer."""
    return max(decimals(instrument.tick_size), PRICE_DECIMALS_MIN)


def max_qty(instrument: Instrument) -> Decimal:
    return MAX_QTY.get(instrument.base, MAX_QTY_OTHERS)


# -- instruments -------------------------------------------------------------------------------------


def build_exchange_info(
    instruments: dict[str, Instrument], limits: list[Json], now_ms: int, status: str
) -> Json:
    quotes = dict.fromkeys(instrument.quote for instrument in instruments.values())
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": limits,
        "exchangeFilters": [],
        "assets": [
            {"asset": quote, "marginAvailable": True, "autoAssetExchange": "-100"}
            for quote in quotes
        ],
        "symbols": [build_symbol(instrument, status) for instrument in instruments.values()],
    }


def build_symbol(instrument: Instrument, status: str) -> Json:
    step = f"{instrument.lot_size:f}"
    lot = {
        "stepSize": step,
        "maxQty": f"{max_qty(instrument):f}",
        "minQty": qty_text(instrument, instrument.min_qty),
    }
    return {
        "symbol": instrument.name,
        "pair": instrument.name,
        "contractType": "PERPETUAL",
        "deliveryDate": DELIVERY_MS,
        "onboardDate": ONBOARD_MS,
        "status": status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "marginAsset": instrument.quote,
        "pricePrecision": price_decimals(instrument),
        "quantityPrecision": decimals(instrument.lot_size),
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012000",
        "marketTakeBound": "0.05",
        "filters": [
            {
                "minPrice": f"{instrument.tick_size:f}",
                "maxPrice": f"{MAX_PRICE:f}",
                "filterType": "PRICE_FILTER",
                "tickSize": f"{instrument.tick_size:f}",
            },
            {**lot, "filterType": "LOT_SIZE"},
            {**lot, "filterType": "MARKET_LOT_SIZE"},
            {"limit": MAX_OPEN_ORDERS, "filterType": "MAX_NUM_ORDERS"},
            {"limit": 10, "filterType": "MAX_NUM_ALGO_ORDERS"},
            {"notional": f"{instrument.min_notional:f}", "filterType": "MIN_NOTIONAL"},
            {
                "multiplierDown": f"{1 - PRICE_BAND:.4f}",
                "multiplierUp": f"{1 + PRICE_BAND:.4f}",
                "multiplierDecimal": "4",
                "filterType": "PERCENT_PRICE",
            },
        ],
        "orderTypes": ["LIMIT", "MARKET"],
        "timeInForce": ["GTC", "IOC", "GTX"],
    }


# -- orders ------------------------------------------------------------------------------------------


def build_ack(order: Order, *, as_accepted: bool = False) -> Json:
    """The answer to a placement or a cancel. `as_accepted`: of the moment before it met the market."""
    zero = qty_text(order.instrument, 0)
    done = zero if as_accepted else qty_text(order.instrument, order.filled_lots)
    return {
        "clientOrderId": order.client_id,
        "cumQty": done,
        "executedQty": done,
        "orderId": order.order_id,
        "origQty": qty_text(order.instrument, order.qty_lots),
        "price": price_of(order),
        "reduceOnly": order.reduce_only,
        "side": order.side.name,
        "positionSide": "BOTH",
        "status": "NEW" if as_accepted else status_of(order),
        "stopPrice": "0.00",
        "closePosition": False,
        "symbol": order.instrument.name,
        "timeInForce": time_in_force_of(order),
        "type": kind_of(order),
        "origType": kind_of(order),
        "updateTime": order.update_ms,
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "priceMatch": "NONE",
        "selfTradePreventionMode": self_trade_of(order),
        "goodTillDate": 0,
    }


def build_modified(order: Order) -> Json:
    body = build_ack(order)
    body["pair"] = order.instrument.name
    if modify_id := order.extra.get("modifyId"):
        body["modifyId"] = int(modify_id)
    return body


def build_query(order: Order) -> Json:
    body = build_ack(order)
    del body["cumQty"]
    body["avgPrice"] = f"{order.average():.5f}"
    body["cumQuote"] = f"{order.quanta * order.instrument.quantum:f}" if order.quanta else "0"
    body["time"] = order.time_ms
    return body


def build_own_trade(trade: OwnTrade) -> Json:
    """A row of userTrades."""
    order, fill, instrument = trade.order, trade.fill, trade.order.instrument
    quote = f"{instrument.notional(fill.price_ticks, fill.qty_lots):f}"
    return {
        "buyer": fill.side is Side.BUY,
        "commission": money_text(fill.fee),
        "commissionAsset": instrument.quote,
        "id": trade.number,
        "maker": fill.is_maker,
        "orderId": order.order_id,
        "price": price_text(instrument, fill.price_ticks),
        "qty": qty_text(instrument, fill.qty_lots),
        "quoteQty": quote,
        "baseQty": qty_text(instrument, fill.qty_lots),
        "marginAsset": instrument.quote,
        "realizedPnl": money_text(trade.pnl),
        "side": fill.side.name,
        "positionSide": "BOTH",
        "symbol": instrument.name,
        "pair": instrument.name,
        "time": trade.time_ms,
    }


def build_income(income: Income, asset: str) -> Json:
    kind = INCOME_KINDS[income.kind]
    trade_id = str(income.trade.number) if income.trade else ""
    return {
        "symbol": income.symbol,
        "incomeType": kind,
        "income": money_text(income.amount),
        "asset": asset,
        "info": trade_id or kind,
        "time": income.time_ms,
        "tranId": income.number,
        "tradeId": trade_id,
    }


# -- the private stream ------------------------------------------------------------------------------


def build_order_event(
    order: Order, holding: Holding, happened: Happened, trade: OwnTrade | None
) -> Json:
    instrument, now_ms = order.instrument, order.update_ms
    fill, pnl = (trade.fill, trade.pnl) if trade else (None, ZERO)
    status = status_of(order)
    body: Json = {
        "s": instrument.name,
        "c": order.client_id,
        "S": order.side.name,
        "o": kind_of(order),
        "f": time_in_force_of(order),
        "q": qty_text(instrument, order.qty_lots),
        "p": price_of(order),
        "ap": f"{order.average():f}" if order.filled_lots else "0",
        "sp": "0",
        "x": execution_of(happened, status),
        "X": status,
        "i": order.order_id,
        "l": qty_text(instrument, fill.qty_lots) if fill else "0",
        "z": qty_text(instrument, order.filled_lots) if order.filled_lots else "0",
        "L": price_text(instrument, fill.price_ticks) if fill else "0",
        "n": money_text(fill.fee) if fill else "0",
        "N": instrument.quote,
        "T": now_ms,
        "t": trade.number if trade else 0,
        "b": f"{holding.buying * instrument.quantum:f}",
        "a": f"{holding.selling * instrument.quantum:f}",
        "m": fill.is_maker if fill else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": kind_of(order),
        "ps": "BOTH",
        "cp": False,
        "rp": money_text(pnl) if pnl else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": self_trade_of(order),
        "pm": "NONE",
        "gtd": 0,
        "er": "4" if status == "EXPIRED_IN_MATCH" else "0",
    }
    if modify_id := order.extra.get("modifyId"):
        body["M"] = modify_id
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def execution_of(happened: Happened, status: str) -> str:
    if happened == "end":
        return "CANCELED" if status == "CANCELED" else "EXPIRED"
    return EXECUTIONS[happened]


def build_trade_lite(order: Order, trade: OwnTrade) -> Json:
    instrument, fill, now_ms = order.instrument, trade.fill, order.update_ms
    return {
        "e": "TRADE_LITE",
        "E": now_ms,
        "T": now_ms,
        "s": instrument.name,
        "q": qty_text(instrument, order.qty_lots),
        "p": price_of(order),
        "m": fill.is_maker,
        "c": order.client_id,
        "S": order.side.name,
        "L": price_text(instrument, fill.price_ticks),
        "l": qty_text(instrument, fill.qty_lots),
        "t": trade.number,
        "i": order.order_id,
    }


def build_account_update(
    *,
    reason: str,
    asset: str,
    wallet: Decimal,
    change: Decimal = ZERO,
    positions: list[Json],
    now_ms: int,
) -> Json:
    body: Json = {
        "m": reason,
        "B": [
            {
                "a": asset,
                "wb": money_text(wallet),
                "cw": money_text(wallet),
                "bc": money_text(change) if change else "0",
            }
        ],
        "P": positions,
    }
    return {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": body}


def build_position_event(holding: Holding) -> Json:
    instrument = holding.instrument
    return {
        "s": instrument.name,
        "pa": qty_text(instrument, holding.lots),
        "ep": entry_text(holding),
        "bep": entry_text(holding),
        "cr": "0",
        "up": money_text(unrealised(holding)),
        "mt": "cross",
        "iw": "0",
        "ps": "BOTH",
    }


# -- the account -------------------------------------------------------------------------------------


def entry_text(holding: Holding) -> str:
    if not holding.lots:
        return "0.0"
    entry = holding.entry_ticks * holding.instrument.tick_size
    return f"{entry:.{price_decimals(holding.instrument) + 4}f}"


def build_position(
    holding: Holding, account: Account, liquidation: Decimal | None, update_ms: int
) -> Json:
    """A row of `/fapi/v3/positionRisk`."""
    instrument = holding.instrument
    of_position, of_orders = margins(holding, account.leverage)
    mark = Decimal(holding.mark2) * HALF * instrument.tick_size
    return {
        "symbol": instrument.name,
        "positionSide": "BOTH",
        "positionAmt": qty_text(instrument, holding.lots),
        "entryPrice": entry_text(holding),
        "breakEvenPrice": entry_text(holding),
        "markPrice": money_text(mark),
        "unRealizedProfit": money_text(unrealised(holding)),
        "liquidationPrice": "0" if liquidation is None else f"{liquidation:.8f}",
        "isolatedMargin": "0",
        "notional": money_text(holding.notional()) if holding.lots else "0",
        "marginAsset": instrument.quote,
        "isolatedWallet": "0",
        "initialMargin": money_text(of_position + of_orders),
        "maintMargin": money_text(abs(holding.notional()) * account.maintenance_margin),
        "positionInitialMargin": money_text(of_position),
        "openOrderInitialMargin": money_text(of_orders),
        "adl": 2 if holding.lots else 0,
        "bidNotional": f"{holding.buying * instrument.quantum:f}",
        "askNotional": f"{holding.selling * instrument.quantum:f}",
        "updateTime": update_ms,
    }


def build_balance(account: Account, asset: str, now_ms: int) -> list[Json]:
    free = money_text(account.available())
    total = wallet(account)
    return [
        {
            "accountAlias": "loop",
            "asset": asset,
            "balance": money_text(total),
            "crossWalletBalance": money_text(total),
            "crossUnPnl": money_text(account.equity() - total),
            "availableBalance": free,
            "maxWithdrawAmount": free,
            "marginAvailable": True,
            "updateTime": now_ms,
        }
    ]


def build_account(account: Account, asset: str, positions: list[Json], now_ms: int) -> Json:
    """`/fapi/v3/account`; `positions` are rows of positionRisk."""
    total = wallet(account)
    pnl = account.equity() - total
    parts = [margins(holding, account.leverage) for holding in account.holdings.values()]
    of_positions = sum((each[0] for each in parts), ZERO)
    of_orders = sum((each[1] for each in parts), ZERO)
    maintenance = account.maintenance()
    free = money_text(account.available())
    shown = {
        "walletBalance": money_text(total),
        "unrealizedProfit": money_text(pnl),
        "marginBalance": money_text(account.equity()),
        "maintMargin": money_text(maintenance),
        "initialMargin": money_text(of_positions + of_orders),
        "positionInitialMargin": money_text(of_positions),
        "openOrderInitialMargin": money_text(of_orders),
        "crossWalletBalance": money_text(total),
        "crossUnPnl": money_text(pnl),
        "availableBalance": free,
        "maxWithdrawAmount": free,
    }
    return {
        "totalInitialMargin": shown["initialMargin"],
        "totalMaintMargin": shown["maintMargin"],
        "totalWalletBalance": shown["walletBalance"],
        "totalUnrealizedProfit": shown["unrealizedProfit"],
        "totalMarginBalance": shown["marginBalance"],
        "totalPositionInitialMargin": shown["positionInitialMargin"],
        "totalOpenOrderInitialMargin": shown["openOrderInitialMargin"],
        "totalCrossWalletBalance": shown["crossWalletBalance"],
        "totalCrossUnPnl": shown["crossUnPnl"],
        "availableBalance": free,
        "maxWithdrawAmount": free,
        "assets": [{"asset": asset, **shown, "updateTime": now_ms}],
        "positions": [
            {
                "symbol": row["symbol"],
                "positionSide": row["positionSide"],
                "positionAmt": row["positionAmt"],
                "unrealizedProfit": row["unRealizedProfit"],
                "isolatedMargin": row["isolatedMargin"],
                "notional": row["notional"],
                "isolatedWallet": row["isolatedWallet"],
                "initialMargin": row["initialMargin"],
                "maintMargin": row["maintMargin"],
                "updateTime": row["updateTime"],
            }
            for row in positions
        ],
    }


# -- the market --------------------------------------------------------------------------------------


def build_candle(bar: Bar, instrument: Instrument, interval_ms: int) -> list[Any]:
    return [
        bar.open_ms,
        price_text(instrument, bar.open),
        price_text(instrument, bar.high),
        price_text(instrument, bar.low),
        price_text(instrument, bar.close),
        qty_text(instrument, bar.lots),
        bar.open_ms + interval_ms - 1,
        f"{bar.quanta * instrument.quantum:f}",
        bar.trades,
        qty_text(instrument, bar.taker_lots),
        f"{bar.taker_quanta * instrument.quantum:f}",
        "0",
    ]


def build_candle_event(
    bar: Bar,
    instrument: Instrument,
    interval: str,
    *,
    interval_ms: int,
    closed: bool,
    now_ms: int,
) -> Json:
    return {
        "e": "kline",
        "E": now_ms,
        "s": instrument.name,
        "k": {
            "t": bar.open_ms,
            "T": bar.open_ms + interval_ms - 1,
            "s": instrument.name,
            "i": interval,
            "f": bar.first_id,
            "L": bar.last_id,
            "o": price_text(instrument, bar.open),
            "c": price_text(instrument, bar.close),
            "h": price_text(instrument, bar.high),
            "l": price_text(instrument, bar.low),
            "v": qty_text(instrument, bar.lots),
            "n": bar.trades,
            "x": closed,
            "q": f"{bar.quanta * instrument.quantum:f}",
            "V": qty_text(instrument, bar.taker_lots),
            "Q": f"{bar.taker_quanta * instrument.quantum:f}",
            "B": "0",
        },
    }
