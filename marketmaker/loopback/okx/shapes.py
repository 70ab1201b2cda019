"""What OKX sends, as JSON values: numbers are text, quantities are contracts, "" is no value."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.loopback.bars import Bar
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import margins, money_text, price_text, unrealised, wallet
from marketmaker.loopback.stage import Json
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import EndReason, OrderStatus, Side
from marketmaker.sim.account import HALF, Account, Holding

LOT_CONTRACTS = Decimal("0.01")
"""`lotSz`: a lot is this many contracts, so that a contract is a hundred lots."""
FIRST_INSTRUMENT_CODE = 10_458
UID = "44705892343619584"

CANCEL_SOURCES = {
    EndReason.REQUESTED: "1",
    EndReason.POST_ONLY: "31",
    EndReason.SELF_TRADE: "32",
    EndReason.EXPIRED: "20",
    EndReason.REDUCE_ONLY: "22",
    EndReason.LIQUIDATION: "3",
    EndReason.IOC: "",
}


def inst_id_of(instrument: Instrument) -> str:
    """ETHUSDT is `ETH-USDT-SWAP`."""
    return f"{instrument.base}-{instrument.quote}-SWAP"


def contracts_text(lots: int) -> str:
    return f"{(lots * LOT_CONTRACTS).normalize():f}"


def face_of(instrument: Instrument) -> Decimal:
    """Base units of one contract."""
    return instrument.lot_size / LOT_CONTRACTS


def trimmed(value: Decimal) -> str:
    return f"{value.normalize():f}"


def build_instrument(instrument: Instrument, code: int) -> Json:
    inst_id = inst_id_of(instrument)
    return {
        "alias": "",
        "baseCcy": "",
        "category": "1",
        "ctMult": "1",
        "ctType": "linear",
        "ctVal": trimmed(face_of(instrument)),
        "ctValCcy": instrument.base,
        "expTime": "",
        "instFamily": f"{instrument.base}-{instrument.quote}",
        "instId": inst_id,
        "instIdCode": code,
        "instType": "SWAP",
        "lever": "100",
        "listTime": "1573557408000",
        "lotSz": trimmed(LOT_CONTRACTS),
        "maxLmtAmt": "20000000",
        "maxLmtSz": "100000000",
        "maxMktAmt": "",
        "maxMktSz": "30000",
        "minSz": contracts_text(instrument.min_qty),
        "optType": "",
        "quoteCcy": "",
        "ruleType": "normal",
        "settleCcy": instrument.quote,
        "state": "live",
        "stk": "",
        "tickSz": trimmed(instrument.tick_size),
        "uly": f"{instrument.base}-{instrument.quote}",
    }


def build_candle(bar: Bar, instrument: Instrument, *, closed: bool) -> list[str]:
    return [
        str(bar.open_ms),
        *(price_text(instrument, ticks) for ticks in (bar.open, bar.high, bar.low, bar.close)),
        contracts_text(bar.lots),
        f"{bar.lots * instrument.lot_size:f}",
        f"{bar.quanta * instrument.quantum:f}",
        "1" if closed else "0",
    ]


# -- orders ------------------------------------------------------------------------------------------


def state_of(order: Order) -> str:
    match order.status:
        case OrderStatus.OPEN:
            return "partially_filled" if order.filled_lots else "live"
        case OrderStatus.FILLED:
            return "filled"
        case _:
            return "canceled"


def cancel_source_of(order: Order) -> str:
    if order.status is not OrderStatus.CANCELLED or order.end_reason is None:
        return ""
    return CANCEL_SOURCES.get(order.end_reason, "0")


def build_order(order: Order) -> Json:
    """A row of a query or a list."""
    instrument, trade = order.instrument, order.last_trade
    return {
        "accFillSz": contracts_text(order.filled_lots),
        "algoClOrdId": "",
        "algoId": "",
        "avgPx": trimmed(order.average()) if order.filled_lots else "",
        "cTime": str(order.time_ms),
        "cancelSource": cancel_source_of(order),
        "cancelSourceReason": "",
        "category": order.extra.get("category", "normal"),
        "ccy": "",
        "clOrdId": order.client_id if not order.client_id.startswith("web_") else "",
        "fee": money_text(-order.fees),
        "feeCcy": instrument.quote,
        "fillPx": price_text(instrument, trade.fill.price_ticks) if trade else "",
        "fillSz": contracts_text(trade.fill.qty_lots) if trade else "0",
        "fillTime": str(trade.time_ms) if trade else "",
        "instId": inst_id_of(instrument),
        "instType": "SWAP",
        "lever": "5",
        "ordId": str(order.order_id),
        "ordType": order.extra.get("ordType", "market" if order.market else "limit"),
        "pnl": "0",
        "posSide": "net",
        "px": "" if order.market else price_text(instrument, order.price_ticks),
        "rebate": "0",
        "rebateCcy": instrument.quote,
        "reduceOnly": "true" if order.reduce_only else "false",
        "side": order.side.name.lower(),
        "source": "",
        "state": state_of(order),
        "stpMode": "cancel_maker",
        "sz": contracts_text(order.qty_lots),
        "tag": order.extra.get("tag", ""),
        "tdMode": order.extra.get("tdMode", "cross"),
        "tgtCcy": "",
        "tradeId": str(trade.number) if trade else "",
        "uTime": str(order.update_ms),
    }


def build_order_event(order: Order, happened: Happened, trade: OwnTrade | None) -> Json:
    """A row of the orders channel: the fill it tells of is this event's, or none."""
    row = build_order(order)
    instrument = order.instrument
    row |= {
        "avgPx": row["avgPx"] or "0",
        "fillPx": price_text(instrument, trade.fill.price_ticks) if trade else "",
        "fillSz": contracts_text(trade.fill.qty_lots) if trade else "0",
        "fillTime": str(trade.time_ms) if trade else "",
        "tradeId": str(trade.number) if trade else "",
        "execType": ("M" if trade.fill.is_maker else "T") if trade else "",
        "fillFee": money_text(-trade.fill.fee) if trade else "0",
        "fillFeeCcy": instrument.quote if trade else "",
        "fillNotionalUsd": "",
        "amendResult": "0" if happened == "amend" else "",
        "amendSource": "1" if happened == "amend" else "",
        "reqId": order.extra.get("reqId", "") if happened == "amend" else "",
        "code": "0",
        "msg": "",
    }
    if happened == "liquidation":
        row["category"] = "full_liquidation"
    return row


def build_ack(
    *, now_ms: int, order: Order | None, client_id: str, tag: str = "", code: str = "0", text: str
) -> Json:
    return {
        "ordId": str(order.order_id) if order is not None else "",
        "clOrdId": client_id,
        "tag": tag,
        "ts": str(now_ms),
        "sCode": code,
        "sMsg": text,
        "subCode": "",
    }


def build_fill(trade: OwnTrade, bill: int) -> Json:
    order, fill, instrument = trade.order, trade.fill, trade.order.instrument
    return {
        "side": fill.side.name.lower(),
        "fillSz": contracts_text(fill.qty_lots),
        "fillPx": price_text(instrument, fill.price_ticks),
        "fee": money_text(-fill.fee),
        "fillPnl": money_text(trade.pnl),
        "ordId": str(order.order_id),
        "feeRate": "",
        "instType": "SWAP",
        "instId": inst_id_of(instrument),
        "clOrdId": order.client_id if not order.client_id.startswith("web_") else "",
        "posSide": "net",
        "billId": str(bill),
        "subType": "1" if fill.side is Side.BUY else "2",
        "tag": order.extra.get("tag", ""),
        "fillTime": str(trade.time_ms),
        "execType": "M" if fill.is_maker else "T",
        "tradeId": str(trade.number),
        "feeCcy": instrument.quote,
        "ts": str(trade.time_ms),
    }


# -- the account -------------------------------------------------------------------------------------


def build_position(
    holding: Holding, account: Account, liquidation: Decimal | None, update_ms: int
) -> Json:
    instrument = holding.instrument
    of_position, _ = margins(holding, account.leverage)
    mark = trimmed(Decimal(holding.mark2) * HALF * instrument.tick_size)
    entry = trimmed(holding.entry_ticks * instrument.tick_size) if holding.lots else ""
    return {
        "adl": "1",
        "availPos": "",
        "avgPx": entry,
        "bePx": entry,
        "cTime": str(update_ms),
        "ccy": instrument.quote,
        "imr": money_text(of_position),
        "instId": inst_id_of(instrument),
        "instType": "SWAP",
        "last": mark,
        "lever": trimmed(account.leverage),
        "liqPx": "" if liquidation is None else f"{liquidation:.8f}",
        "margin": "",
        "markPx": mark,
        "mgnMode": "cross",
        "mgnRatio": "",
        "mmr": money_text(abs(holding.notional()) * account.maintenance_margin),
        "notionalUsd": money_text(abs(holding.notional())),
        "pos": contracts_text(holding.lots)
        if holding.lots >= 0
        else f"-{contracts_text(-holding.lots)}",
        "posId": "1752810569801498626",
        "posSide": "net",
        "realizedPnl": "0",
        "tradeId": "",
        "uTime": str(update_ms),
        "upl": money_text(unrealised(holding)),
        "uplRatio": "",
    }


def build_balance(account: Account, asset: str, now_ms: int) -> Json:
    equity, free = account.equity(), account.available()
    profit = equity - wallet(account)
    return {
        "adjEq": "",
        "details": [
            {
                "availBal": money_text(free),
                "availEq": money_text(free),
                "cashBal": money_text(wallet(account)),
                "ccy": asset,
                "disEq": money_text(equity),
                "eq": money_text(equity),
                "eqUsd": money_text(equity),
                "frozenBal": money_text(equity - free),
                "imr": "0",
                "mmr": "0",
                "ordFrozen": "0",
                "uTime": str(now_ms),
                "upl": money_text(profit),
            }
        ],
        "imr": "",
        "mgnRatio": "",
        "mmr": "",
        "notionalUsd": "",
        "totalEq": money_text(equity),
        "uTime": str(now_ms),
    }


def build_funding_event(income: Income, asset: str, cash: Decimal) -> Json:
    return {
        "pTime": str(income.time_ms),
        "eventType": "funding_fee",
        "balData": [{"ccy": asset, "cashBal": money_text(cash), "uTime": str(income.time_ms)}],
        "posData": [],
        "trades": [],
    }


def build_bill(income: Income, instrument: Instrument, asset: str) -> Json:
    return {
        "billId": str(income.number),
        "instId": inst_id_of(instrument),
        "instType": "SWAP",
        "ccy": asset,
        "balChg": money_text(income.amount),
        "bal": "",
        "pnl": money_text(income.amount),
        "fee": "0",
        "type": "8",
        "subType": "174" if income.amount >= 0 else "173",
        "mgnMode": "cross",
        "sz": "",
        "ts": str(income.time_ms),
    }
