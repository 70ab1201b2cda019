"""What OKX's JSON looks like: only the fields that are read. Numbers are text, and "" is no value."""

from __future__ import annotations

import msgspec

from marketmaker.adapters.parsing import NOTHING, reader


class Arg(msgspec.Struct, gc=False):
    channel: str = ""
    instId: str = ""


class Frame(msgspec.Struct, gc=False):
    """A message of any socket: data of a channel (`arg`), an event, or the answer to an order request (`op`)."""

    arg: Arg | None = None
    data: msgspec.Raw = NOTHING
    event: str = ""
    op: str = ""
    id: str = ""
    code: str = ""
    msg: str = ""


class Trade(msgspec.Struct, gc=False):
    px: str
    ts: str


class Trades(msgspec.Struct, gc=False):
    arg: Arg
    data: list[Trade]


class MarkPrice(msgspec.Struct, gc=False):
    instId: str
    markPx: str
    ts: str


class OrderRow(msgspec.Struct, gc=False):
    """An order as the orders channel, a query and a list show it; a list has no fill fee."""

    instId: str
    ordId: str
    side: str
    sz: str
    state: str
    uTime: str
    clOrdId: str = ""
    px: str = ""
    accFillSz: str = "0"
    ordType: str = ""
    cancelSource: str = ""
    reduceOnly: str = "false"
    tradeId: str = ""
    fillSz: str = ""
    fillPx: str = ""
    fillTime: str = ""
    fillFee: str = ""
    fillFeeCcy: str = ""
    execType: str = ""


class Ack(msgspec.Struct, gc=False):
    """What became of one order of a request."""

    sCode: str
    ordId: str = ""
    clOrdId: str = ""
    sMsg: str = ""
    ts: str = ""


class FillRow(msgspec.Struct, gc=False):
    instId: str
    tradeId: str
    ordId: str
    side: str
    fillSz: str
    fillPx: str
    fee: str
    feeCcy: str
    ts: str
    billId: str
    execType: str
    clOrdId: str = ""
    fillTime: str = ""


class PositionRow(msgspec.Struct, gc=False):
    instId: str
    posSide: str
    pos: str
    avgPx: str
    markPx: str = ""
    liqPx: str = ""
    mgnMode: str = "cross"


class BalanceChange(msgspec.Struct, gc=False):
    pTime: str
    eventType: str


class Detail(msgspec.Struct, gc=False):
    ccy: str
    eq: str
    availEq: str = ""
    availBal: str = ""


class Balance(msgspec.Struct, gc=False):
    details: list[Detail]


class Config(msgspec.Struct, gc=False):
    acctLv: str
    posMode: str
    perm: str = ""


class Leverage(msgspec.Struct, gc=False):
    lever: str


class Fees(msgspec.Struct, gc=False):
    maker: str = ""
    taker: str = ""
    makerU: str = ""
    takerU: str = ""


class InstrumentRow(msgspec.Struct, gc=False):
    instId: str
    instFamily: str
    ctType: str
    ctVal: str
    ctMult: str
    ctValCcy: str
    settleCcy: str
    tickSz: str
    lotSz: str
    minSz: str
    state: str
    maxLmtSz: str = ""
    instIdCode: int = 0


class FundingRate(msgspec.Struct, gc=False):
    fundingRate: str


class Bill(msgspec.Struct, gc=False):
    billId: str
    instId: str
    ccy: str
    balChg: str
    ts: str


class Time(msgspec.Struct, gc=False):
    ts: str


class Candle(msgspec.Struct, gc=False, array_like=True):
    ts: str
    open: str
    high: str
    low: str
    close: str
    contracts: str
    base_volume: str
    quote_volume: str
    confirm: str


class Envelope(msgspec.Struct, gc=False):
    """Around every answer over REST."""

    code: str
    msg: str = ""
    data: msgspec.Raw = NOTHING


read_frame, read_trades = reader(Frame), reader(Trades)
read_marks, read_changes = reader(list[MarkPrice]), reader(list[BalanceChange])
read_orders, read_acks, read_fills = (
    reader(list[OrderRow]),
    reader(list[Ack]),
    reader(list[FillRow]),
)
read_positions, read_balances = reader(list[PositionRow]), reader(list[Balance])
read_configs, read_leverages, read_fees = (
    reader(list[Config]),
    reader(list[Leverage]),
    reader(list[Fees]),
)
read_instruments, read_funding_rates = reader(list[InstrumentRow]), reader(list[FundingRate])
read_bills, read_times, read_candles = (
    reader(list[Bill]),
    reader(list[Time]),
    reader(list[Candle]),
)
read_envelope = reader(Envelope)
