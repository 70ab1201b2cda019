"""What Binance USD-M futures sends, byte for byte in shape: built from our values, pure.

Numbers travel as text with the steps' decimals, money with eight; ids and times as integers. Field sets are those of
the venue's documentation as of September 2026: acknowledgements have no `avgPrice` and `cumQuote`, queries do.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from marketmaker.loopback.bars import Bar
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import ClientOrderId, Fill, Side
from marketmaker.sim.account import HALF, Account, Holding

Json = dict[str, Any]

ONBOARD_MS = 1_569_398_400_000
DELIVERY_MS = 4_133_404_800_000
PRICE_BAND = Decimal("0.05")
MAX_QTY = {"BTC": Decimal(1000)}
MAX_QTY_OTHERS = Decimal(1_000_000)
MAX_PRICE = Decimal(10_000_000)
MAX_OPEN_ORDERS = 200
PRICE_DECIMALS_MIN = 2
ZERO = Decimal(0)


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


@dataclass(slots=True, kw_only=True, eq=False)
class Order:
    """An order as the venue remembers it. `key`: its name at the embedded exchange, which an amendment changes.

    `quanta`: price times lots of its fills. `ending`: the status it will end with, when that is not what the embedded
    exchange would say. `quiet`: what happens to it now is not told.
    """

    instrument: Instrument
    order_id: int
    client_id: str
    key: ClientOrderId
    side: Side
    kind: str
    time_in_force: str
    price_ticks: int
    qty_lots: int
    reduce_only: bool
    self_trade: str
    time_ms: int
    update_ms: int
    filled_lots: int = 0
    quanta: int = 0
    status: str = "NEW"
    ending: str = ""
    quiet: bool = False
    modify_id: int | None = None
    modified: int = 0

    @property
    def open(self) -> bool:
        return self.status in ("NEW", "PARTIALLY_FILLED")

    def price(self) -> str:
        return "0" if self.kind == "MARKET" else price_text(self.instrument, self.price_ticks)

    def average(self) -> Decimal:
        if not self.filled_lots:
            return ZERO
        return Decimal(self.quanta) / self.filled_lots * self.instrument.tick_size


def price_text(instrument: Instrument, ticks: int) -> str:
    return f"{ticks * instrument.tick_size:f}"


def qty_text(instrument: Instrument, lots: int) -> str:
    return f"{lots * instrument.lot_size:f}"


def money_text(value: Decimal) -> str:
    return f"{value:.8f}"


def decimals(step: Decimal) -> int:
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


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
        "price": order.price(),
        "reduceOnly": order.reduce_only,
        "side": order.side.name,
        "positionSide": "BOTH",
        "status": "NEW" if as_accepted else order.status,
        "stopPrice": "0.00",
        "closePosition": False,
        "symbol": order.instrument.name,
        "timeInForce": order.time_in_force,
        "type": order.kind,
        "origType": order.kind,
        "updateTime": order.update_ms,
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.self_trade,
        "goodTillDate": 0,
    }


def build_modified(order: Order) -> Json:
    body = build_ack(order)
    body["pair"] = order.instrument.name
    if order.modify_id is not None:
        body["modifyId"] = order.modify_id
    return body


def build_query(order: Order) -> Json:
    body = build_ack(order)
    del body["cumQty"]
    body["avgPrice"] = f"{order.average():.5f}"
    body["cumQuote"] = f"{order.quanta * order.instrument.quantum:f}" if order.quanta else "0"
    body["time"] = order.time_ms
    return body


def build_own_trade(order: Order, fill: Fill, now_ms: int, pnl: Decimal) -> Json:
    instrument = order.instrument
    quote = f"{instrument.notional(fill.price_ticks, fill.qty_lots):f}"
    return {
        "buyer": fill.side is Side.BUY,
        "commission": money_text(fill.fee),
        "commissionAsset": instrument.quote,
        "id": trade_number(fill.trade_id),
        "maker": fill.is_maker,
        "orderId": order.order_id,
        "price": price_text(instrument, fill.price_ticks),
        "qty": qty_text(instrument, fill.qty_lots),
        "quoteQty": quote,
        "baseQty": qty_text(instrument, fill.qty_lots),
        "marginAsset": instrument.quote,
        "realizedPnl": money_text(pnl),
        "side": fill.side.name,
        "positionSide": "BOTH",
        "symbol": instrument.name,
        "pair": instrument.name,
        "time": now_ms,
    }


def trade_number(trade_id: str) -> int:
    return 7_310_000_000 + int(trade_id)


# -- the private stream ------------------------------------------------------------------------------


def build_order_event(
    order: Order,
    holding: Holding,
    happened: str,
    now_ms: int,
    *,
    fill: Fill | None = None,
    pnl: Decimal = ZERO,
) -> Json:
    """`happened`: NEW, TRADE, CANCELED, EXPIRED, AMENDMENT or CALCULATED."""
    instrument = order.instrument
    body: Json = {
        "s": instrument.name,
        "c": order.client_id,
        "S": order.side.name,
        "o": order.kind,
        "f": order.time_in_force,
        "q": qty_text(instrument, order.qty_lots),
        "p": order.price(),
        "ap": f"{order.average():f}" if order.filled_lots else "0",
        "sp": "0",
        "x": happened,
        "X": order.status,
        "i": order.order_id,
        "l": qty_text(instrument, fill.qty_lots) if fill else "0",
        "z": qty_text(instrument, order.filled_lots) if order.filled_lots else "0",
        "L": price_text(instrument, fill.price_ticks) if fill else "0",
        "n": money_text(fill.fee) if fill else "0",
        "N": instrument.quote,
        "T": now_ms,
        "t": trade_number(fill.trade_id) if fill else 0,
        "b": f"{holding.opening[Side.BUY] * instrument.quantum:f}",
        "a": f"{holding.opening[Side.SELL] * instrument.quantum:f}",
        "m": fill.is_maker if fill else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.kind,
        "ps": "BOTH",
        "cp": False,
        "rp": money_text(pnl) if pnl else "0",
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": order.self_trade,
        "pm": "NONE",
        "gtd": 0,
        "er": "4" if order.status == "EXPIRED_IN_MATCH" else "0",
    }
    if order.modify_id is not None:
        body["M"] = str(order.modify_id)
    return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": body}


def build_trade_lite(order: Order, fill: Fill, now_ms: int) -> Json:
    instrument = order.instrument
    return {
        "e": "TRADE_LITE",
        "E": now_ms,
        "T": now_ms,
        "s": instrument.name,
        "q": qty_text(instrument, order.qty_lots),
        "p": order.price(),
        "m": fill.is_maker,
        "c": order.client_id,
        "S": order.side.name,
        "L": price_text(instrument, fill.price_ticks),
        "l": qty_text(instrument, fill.qty_lots),
        "t": trade_number(fill.trade_id),
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


def unrealised(holding: Holding) -> Decimal:
    """Against the average entry price, which is what the venue shows."""
    mark = Decimal(holding.mark2) * HALF
    return holding.lots * (mark - holding.entry_ticks) * holding.instrument.quantum


def wallet(account: Account) -> Decimal:
    """Equity less what is unrealised: what partial closes made is in it, as it is at the venue."""
    held = (holding for holding in account.holdings.values() if holding.lots)
    return account.equity() - sum((unrealised(holding) for holding in held), ZERO)


def margins(holding: Holding, leverage: Decimal) -> tuple[Decimal, Decimal]:
    """Initial margin of the position and of the open orders."""
    position = abs(holding.notional()) / leverage
    return position, holding.exposure2() * holding.half_quantum / leverage - position


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
        "bidNotional": f"{holding.opening[Side.BUY] * instrument.quantum:f}",
        "askNotional": f"{holding.opening[Side.SELL] * instrument.quantum:f}",
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
