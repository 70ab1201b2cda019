"""What Gate sends, as JSON values: signed whole contracts, prices as text over REST and as numbers over WebSocket."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.loopback.bars import Bar
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import margins, money_text, price_text, unrealised, wallet
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import EndReason, OrderStatus
from marketmaker.sim.account import HALF, Account, Holding

USER = 100_000
ORDERS_LIMIT = 500

ENDINGS = {
    EndReason.REQUESTED: "cancelled",
    EndReason.IOC: "ioc",
    EndReason.POST_ONLY: "poc",
    EndReason.SELF_TRADE: "stp",
    EndReason.REDUCE_ONLY: "reduce_only",
    EndReason.LIQUIDATION: "liquidated",
}


def contract_of(instrument: Instrument) -> str:
    """ETHUSDT is `ETH_USDT`."""
    return f"{instrument.base}_{instrument.quote}"


def trimmed(value: Decimal) -> str:
    return f"{value.normalize():f}"


def as_number(text: str) -> float:
    """As the socket writes it. Prices of few digits come back as they were."""
    return float(text)


def build_contract(instrument: Instrument, mark: Decimal, rate: Decimal, next_ms: int) -> Json:
    return {
        "name": contract_of(instrument),
        "type": "direct",
        "quanto_multiplier": trimmed(instrument.lot_size),
        "order_price_deviate": "0.5",
        "maintenance_rate": "0.005",
        "mark_type": "index",
        "last_price": trimmed(mark),
        "mark_price": trimmed(mark),
        "index_price": trimmed(mark),
        "funding_rate_indicative": trimmed(rate),
        "mark_price_round": trimmed(instrument.tick_size),
        "funding_offset": 0,
        "in_delisting": False,
        "risk_limit_base": "1000000",
        "interest_rate": "0.0003",
        "order_price_round": trimmed(instrument.tick_size),
        "order_size_min": instrument.min_qty,
        "ref_rebate_rate": "0.2",
        "funding_interval": 28_800,
        "leverage_min": "1",
        "leverage_max": "100",
        "maker_fee_rate": f"{instrument.maker_fee:f}",
        "taker_fee_rate": f"{instrument.taker_fee:f}",
        "funding_rate": trimmed(rate),
        "order_size_max": 1_000_000,
        "funding_next_apply": next_ms // 1_000,
        "orders_limit": ORDERS_LIMIT,
        "enable_decimal": False,
        "status": "trading",
    }


def build_candle(bar: Bar, instrument: Instrument, name: str = "") -> Json:
    row: Json = {
        "t": bar.open_ms // 1_000,
        "v": bar.lots,
        "c": price_text(instrument, bar.close),
        "h": price_text(instrument, bar.high),
        "l": price_text(instrument, bar.low),
        "o": price_text(instrument, bar.open),
    }
    return {**row, "n": name} if name else {**row, "sum": f"{bar.quanta * instrument.quantum:f}"}


# -- orders ------------------------------------------------------------------------------------------


def own_text(order: Order) -> str:
    return "-" if order.client_id.startswith(("web_", "autoclose-")) else order.client_id


def finish_of(order: Order) -> str:
    if order.status is OrderStatus.FILLED:
        return "filled"
    reason = order.end_reason
    return ENDINGS.get(reason, "cancelled") if reason is not None else "cancelled"


def build_order(order: Order) -> Json:
    """As REST and the order socket show it."""
    instrument = order.instrument
    row: Json = {
        "id": order.order_id,
        "user": USER,
        "contract": contract_of(instrument),
        "create_time": order.time_ms / 1_000,
        "size": order.side * order.qty_lots,
        "iceberg": 0,
        "left": order.side * (order.qty_lots - order.filled_lots),
        "price": "0" if order.market else price_text(instrument, order.price_ticks),
        "fill_price": trimmed(order.average()) if order.filled_lots else "0",
        "mkfr": f"{instrument.maker_fee:f}",
        "tkfr": f"{instrument.taker_fee:f}",
        "tif": order.extra.get("tif", "ioc" if order.market else "gtc"),
        "refu": 0,
        "is_reduce_only": order.reduce_only,
        "is_close": False,
        "is_liq": order.extra.get("liq") == "yes",
        "text": own_text(order),
        "status": "open" if order.open else "finished",
        "update_time": order.update_ms / 1_000,
        "stp_id": 0,
        "stp_act": "-",
        "amend_text": "-",
        "biz_info": "-",
    }
    if not order.open:
        row |= {"finish_time": order.update_ms / 1_000, "finish_as": finish_of(order)}
    return row


def build_order_event(order: Order, happened: Happened) -> Json:
    row = build_order(order)
    as_new = {"new": "_new", "fill": "_update", "amend": "_update"}
    ended_ms = 0 if order.open else order.update_ms
    return {
        **row,
        "create_time": order.time_ms // 1_000,
        "create_time_ms": order.time_ms,
        "update_time": order.update_ms,
        "update_id": order.update_ms,
        "finish_time": ended_ms // 1_000,
        "finish_time_ms": ended_ms,
        "finish_as": as_new.get(happened, "_update") if order.open else finish_of(order),
        "price": as_number(row["price"]),
        "fill_price": as_number(row["fill_price"]),
        "mkfr": as_number(row["mkfr"]),
        "tkfr": as_number(row["tkfr"]),
        "refr": 0,
        "user": str(USER),
    }


def build_trade(trade: OwnTrade) -> Json:
    """A row of `my_trades`."""
    order, fill, instrument = trade.order, trade.fill, trade.order.instrument
    return {
        "id": trade.number,
        "create_time": trade.time_ms / 1_000,
        "contract": contract_of(instrument),
        "order_id": str(order.order_id),
        "size": fill.side * fill.qty_lots,
        "price": price_text(instrument, fill.price_ticks),
        "text": own_text(order),
        "fee": money_text(fill.fee),
        "point_fee": "0",
        "role": "maker" if fill.is_maker else "taker",
        "close_size": 0,
    }


def build_trade_event(trade: OwnTrade) -> Json:
    return {
        **build_trade(trade),
        "id": str(trade.number),
        "create_time": trade.time_ms // 1_000,
        "create_time_ms": trade.time_ms,
        "fee": as_number(money_text(trade.fill.fee)),
        "point_fee": 0,
    }


# -- the account -------------------------------------------------------------------------------------


def build_position(
    holding: Holding, account: Account, liquidation: Decimal | None, *, dual: bool, update_ms: int
) -> Json:
    instrument = holding.instrument
    of_position, _ = margins(holding, account.leverage)
    entry = trimmed(holding.entry_ticks * instrument.tick_size) if holding.lots else "0"
    return {
        "user": USER,
        "contract": contract_of(instrument),
        "size": holding.lots,
        "leverage": "0",
        "cross_leverage_limit": trimmed(account.leverage),
        "risk_limit": "1000000",
        "leverage_max": "100",
        "maintenance_rate": "0.005",
        "value": money_text(abs(holding.notional())) if holding.lots else "0",
        "margin": money_text(of_position),
        "entry_price": entry,
        "liq_price": "0" if liquidation is None else f"{liquidation:.8f}",
        "mark_price": trimmed(Decimal(holding.mark2) * HALF * instrument.tick_size),
        "unrealised_pnl": money_text(unrealised(holding)),
        "realised_pnl": "0",
        "adl_ranking": 5,
        "pending_orders": 0,
        "mode": "dual_long" if dual else "single",
        "update_time": update_ms // 1_000,
        "update_id": update_ms,
    }


def build_position_event(row: Json, now_ms: int) -> Json:
    kept = ("contract", "size", "mode", "update_id", "margin", "maintenance_rate")
    numbers = ("entry_price", "liq_price", "leverage", "cross_leverage_limit", "realised_pnl")
    return {
        **{name: row[name] for name in kept},
        **{name: as_number(str(row[name])) for name in numbers},
        "time": now_ms // 1_000,
        "time_ms": now_ms,
        "user": str(USER),
    }


def build_account(account: Account, asset: str, *, dual: bool) -> Json:
    """`total` is without what is unrealised."""
    equity, free = account.equity(), account.available()
    cash = wallet(account)
    return {
        "user": USER,
        "currency": asset,
        "total": money_text(cash),
        "unrealised_pnl": money_text(equity - cash),
        "position_margin": money_text(equity - free),
        "order_margin": "0",
        "available": money_text(free),
        "point": "0",
        "bonus": "0",
        "in_dual_mode": dual,
        "enable_evolved_classic": False,
        "history": {},
    }


def build_balance_event(income: Income, asset: str, cash: Decimal) -> Json:
    return {
        "balance": as_number(money_text(cash)),
        "change": as_number(money_text(income.amount)),
        "text": f"{income.symbol}:{income.number}",
        "time": income.time_ms // 1_000,
        "time_ms": income.time_ms,
        "type": {"funding": "fund", "fee": "fee", "pnl": "pnl"}[income.kind],
        "user": str(USER),
        "currency": asset.lower(),
    }


def build_book_row(income: Income, instrument: Instrument) -> Json:
    return {
        "time": income.time_ms / 1_000,
        "change": money_text(income.amount),
        "balance": "",
        "type": "fund",
        "text": f"{contract_of(instrument)}:{income.number}",
        "contract": contract_of(instrument),
    }
