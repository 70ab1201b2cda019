"""What Binance's JSON looks like: only the fields that are read, and a reader for each shape."""

from __future__ import annotations

import msgspec

from marketmaker.adapters.parsing import NOTHING, reader


class AggTrade(msgspec.Struct, gc=False):
    s: str
    p: str
    T: int


class RawTrade(msgspec.Struct, gc=False):
    s: str
    p: str
    q: str
    T: int
    X: str = "MARKET"


class BookTicker(msgspec.Struct, gc=False):
    s: str
    b: str
    a: str
    T: int


class MarkPrice(msgspec.Struct, gc=False):
    s: str
    p: str
    E: int


class KlineBar(msgspec.Struct, gc=False):
    t: int
    i: str
    o: str
    h: str
    l: str  # noqa: E741 (the venue's name)
    c: str
    v: str
    x: bool


class Kline(msgspec.Struct, gc=False):
    s: str
    k: KlineBar


class OrderEvent(msgspec.Struct, gc=False):
    s: str
    c: str
    S: str
    x: str
    X: str
    i: int
    p: str
    q: str
    z: str
    T: int
    f: str = ""
    l: str = "0"  # noqa: E741
    L: str = "0"
    t: int = 0
    m: bool = False
    R: bool = False
    n: str | None = None
    N: str | None = None
    er: str | None = None


class OrderTradeUpdate(msgspec.Struct, gc=False):
    o: OrderEvent


class PositionEvent(msgspec.Struct, gc=False):
    s: str
    pa: str
    ep: str
    up: str
    ps: str


class AccountChange(msgspec.Struct, gc=False):
    m: str
    P: list[PositionEvent] = []


class AccountUpdate(msgspec.Struct, gc=False):
    T: int
    a: AccountChange


class Kind(msgspec.Struct, gc=False):
    """What every frame of a stream may hold: an event's name, or the answer to a control message."""

    e: str | None = None
    id: int | str | None = None
    error: msgspec.Raw = NOTHING


class Envelope(msgspec.Struct, gc=False):
    data: msgspec.Raw


class ErrorBody(msgspec.Struct, gc=False):
    code: int = 0
    msg: str = ""


class OrderRow(msgspec.Struct, gc=False):
    orderId: int
    clientOrderId: str
    side: str
    status: str
    price: str
    origQty: str
    executedQty: str
    timeInForce: str = ""
    reduceOnly: bool = False
    updateTime: int = 0


class Usage(msgspec.Struct, gc=False):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int
    count: int = 0


class Reply(msgspec.Struct, gc=False):
    """Answer to a request over the WebSocket API."""

    status: int
    id: str | None = None
    result: msgspec.Raw = NOTHING
    error: ErrorBody | None = None
    rateLimits: list[Usage] = []


class TradeRow(msgspec.Struct, gc=False):
    id: int
    orderId: int
    side: str
    price: str
    qty: str
    commission: str
    commissionAsset: str
    maker: bool
    time: int


class PositionRow(msgspec.Struct, gc=False):
    symbol: str
    positionSide: str
    positionAmt: str
    entryPrice: str
    markPrice: str
    liquidationPrice: str = "0"


class BalanceRow(msgspec.Struct, gc=False):
    asset: str
    balance: str
    crossUnPnl: str
    availableBalance: str


class ConfigRow(msgspec.Struct, gc=False):
    symbol: str
    leverage: int


class AccountConfig(msgspec.Struct, gc=False):
    dualSidePosition: bool
    canTrade: bool = True


class KeyRestrictions(msgspec.Struct, gc=False):
    enableWithdrawals: bool
    enableFutures: bool = True


class PremiumIndex(msgspec.Struct, gc=False):
    markPrice: str
    lastFundingRate: str


class Commission(msgspec.Struct, gc=False):
    makerCommissionRate: str
    takerCommissionRate: str


class IncomeRow(msgspec.Struct, gc=False):
    symbol: str
    income: str
    asset: str
    time: int
    tranId: int


class KlineRow(msgspec.Struct, gc=False, array_like=True):
    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_ms: int


class ServerTime(msgspec.Struct, gc=False):
    serverTime: int


class ListenKey(msgspec.Struct, gc=False):
    listenKey: str


class Filter(msgspec.Struct, gc=False):
    filterType: str
    tickSize: str = "0"
    stepSize: str = "0"
    minQty: str = "0"
    maxQty: str = "0"
    notional: str = "0"


class SymbolRow(msgspec.Struct, gc=False):
    symbol: str
    status: str
    contractType: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter]


class ExchangeInfo(msgspec.Struct, gc=False):
    rateLimits: list[Usage]
    symbols: list[SymbolRow]


read_kind, read_envelope = reader(Kind), reader(Envelope)
read_agg_trade, read_raw_trade = reader(AggTrade), reader(RawTrade)
read_book_ticker, read_mark_price = reader(BookTicker), reader(MarkPrice)
read_kline, read_reply, read_error = reader(Kline), reader(Reply), reader(ErrorBody)
read_order_update, read_account_update = reader(OrderTradeUpdate), reader(AccountUpdate)
read_order, read_orders, read_items = (
    reader(OrderRow),
    reader(list[OrderRow]),
    reader(list[msgspec.Raw]),
)
read_trades, read_positions, read_balances = (
    reader(list[TradeRow]),
    reader(list[PositionRow]),
    reader(list[BalanceRow]),
)
read_key_restrictions = reader(KeyRestrictions)
read_symbol_config, read_account_config = reader(list[ConfigRow]), reader(AccountConfig)
read_premium_index, read_commission = reader(PremiumIndex), reader(Commission)
read_income, read_server_time, read_listen_key = (
    reader(list[IncomeRow]),
    reader(ServerTime),
    reader(ListenKey),
)
read_exchange_info, read_klines = reader(ExchangeInfo), reader(list[KlineRow])
