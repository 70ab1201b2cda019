"""What Backpack's JSON looks like: only the fields that are read."""

from __future__ import annotations

import msgspec

from marketmaker.adapters.parsing import NOTHING, reader

Micros = int | str
"""Microseconds, as a number in some messages and as text in others."""


class Frame(msgspec.Struct, gc=False):
    stream: str = ""
    data: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


class Trade(msgspec.Struct, gc=False):
    s: str
    p: str
    T: Micros


class TradeFrame(msgspec.Struct, gc=False):
    data: Trade


class MarkPrice(msgspec.Struct, gc=False):
    s: str
    p: str
    E: Micros


class Bar(msgspec.Struct, gc=False):
    s: str
    t: str
    o: str
    h: str
    l: str  # noqa: E741  (the venue's name)
    c: str
    v: str
    X: bool


class OrderEvent(msgspec.Struct, gc=False):
    e: str
    s: str
    S: str
    X: str
    i: str
    T: Micros
    c: int | None = None
    q: str | None = None
    p: str | None = None
    z: str | None = None
    l: str | None = None  # noqa: E741  (the venue's name)
    L: str | None = None
    t: int | None = None
    m: bool = False
    n: str | None = None
    N: str | None = None
    R: str | None = None
    r: bool | None = None


class PositionEvent(msgspec.Struct, gc=False):
    s: str
    q: str
    B: str
    M: str
    l: str = "0"  # noqa: E741  (the venue's name)


class OrderRow(msgspec.Struct, gc=False):
    id: str
    symbol: str
    side: str
    status: str
    createdAt: int | str
    clientId: int | None = None
    price: str | None = None
    quantity: str | None = None
    executedQuantity: str | None = "0"
    reduceOnly: bool | None = None
    expiryReason: str | None = None


class BatchRow(msgspec.Struct, gc=False):
    operation: str
    code: str = ""
    message: str = ""


class FillRow(msgspec.Struct, gc=False):
    tradeId: int
    orderId: str
    symbol: str
    side: str
    price: str
    quantity: str
    fee: str
    feeSymbol: str
    isMaker: bool
    timestamp: str
    clientId: str | int | None = None


class PositionRow(msgspec.Struct, gc=False):
    symbol: str
    netQuantity: str
    entryPrice: str
    markPrice: str
    estLiquidationPrice: str = "0"


class Collateral(msgspec.Struct, gc=False):
    netEquity: str
    netEquityAvailable: str


class Account(msgspec.Struct, gc=False):
    leverageLimit: str
    futuresMakerFee: str
    futuresTakerFee: str


class PriceFilter(msgspec.Struct, gc=False):
    tickSize: str


class QuantityFilter(msgspec.Struct, gc=False):
    minQuantity: str
    stepSize: str
    maxQuantity: str | None = None


class Filters(msgspec.Struct, gc=False):
    price: PriceFilter
    quantity: QuantityFilter


class MarketRow(msgspec.Struct, gc=False):
    symbol: str
    baseSymbol: str
    quoteSymbol: str
    marketType: str
    filters: Filters
    orderBookState: str = "Open"
    visible: bool = True


class MarkRow(msgspec.Struct, gc=False):
    symbol: str
    markPrice: str
    fundingRate: str


class FundingRow(msgspec.Struct, gc=False):
    symbol: str
    quantity: str
    intervalEndTimestamp: str


class CandleRow(msgspec.Struct, gc=False):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str


class Failure(msgspec.Struct, gc=False):
    code: str = ""
    message: str = ""


read_frame, read_failure = reader(Frame), reader(Failure)
read_trade, read_mark, read_bar = reader(TradeFrame), reader(MarkPrice), reader(Bar)
read_order_event, read_position_event = reader(OrderEvent), reader(PositionEvent)
read_order, read_orders = reader(OrderRow), reader(list[OrderRow])
read_batch_row, read_items = reader(BatchRow), reader(list[msgspec.Raw])
read_fills, read_positions = reader(list[FillRow]), reader(list[PositionRow])
read_collateral, read_account = reader(Collateral), reader(Account)
read_markets, read_marks = reader(list[MarketRow]), reader(list[MarkRow])
read_funding, read_candles = reader(list[FundingRow]), reader(list[CandleRow])
read_time = reader(int)
