"""What Bybit's JSON looks like: only the fields that are read. Numbers are text, and "" is no value."""

from __future__ import annotations

import msgspec

from marketmaker.adapters.parsing import NOTHING, reader


class Frame(msgspec.Struct, gc=False):
    """A message of a public or private socket: data of a topic, or the answer to an operation."""

    topic: str = ""
    data: msgspec.Raw = NOTHING
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


class Trade(msgspec.Struct, gc=False):
    T: int
    s: str
    p: str


class Trades(msgspec.Struct, gc=False):
    topic: str
    data: list[Trade]


class Ticker(msgspec.Struct, gc=False):
    symbol: str
    markPrice: str = ""


class TickerFrame(msgspec.Struct, gc=False):
    topic: str
    ts: int
    data: Ticker


class Bar(msgspec.Struct, gc=False):
    start: int
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    confirm: bool


class OrderRow(msgspec.Struct, gc=False):
    orderId: str
    symbol: str
    side: str
    price: str
    qty: str
    orderStatus: str
    cumExecQty: str
    updatedTime: str
    orderLinkId: str = ""
    timeInForce: str = ""
    orderType: str = "Limit"
    cancelType: str = ""
    rejectReason: str = ""
    reduceOnly: bool = False


class Execution(msgspec.Struct, gc=False):
    symbol: str
    orderId: str
    execId: str
    execPrice: str
    execQty: str
    execFee: str
    execTime: str
    side: str
    execType: str = "Trade"
    orderLinkId: str = ""
    orderPrice: str = "0"
    orderQty: str = "0"
    leavesQty: str = "0"
    feeCurrency: str = ""
    isMaker: bool = False


class PositionRow(msgspec.Struct, gc=False):
    """`avgPrice` in answers, `entryPrice` in events."""

    symbol: str
    side: str
    size: str
    positionIdx: int = 0
    avgPrice: str = ""
    entryPrice: str = ""
    markPrice: str = ""
    liqPrice: str = ""
    leverage: str = ""


class Ids(msgspec.Struct, gc=False):
    orderId: str = ""
    orderLinkId: str = ""


class Code(msgspec.Struct, gc=False):
    code: int
    msg: str = ""


class Codes(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: list[Code] = []


class IdList(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: list[Ids] = []


class Limits(
    msgspec.Struct,
    gc=False,
    frozen=True,
    rename={"limit": "X-Bapi-Limit", "left": "X-Bapi-Limit-Status"},
):
    limit: str = ""
    left: str = ""


class Reply(msgspec.Struct, gc=False):
    """Answer of the trade socket."""

    op: str = ""
    retCode: int = 0
    retMsg: str = ""
    reqId: str = ""
    data: msgspec.Raw = NOTHING
    retExtInfo: msgspec.Raw = NOTHING
    header: Limits = Limits()


class Envelope(msgspec.Struct, gc=False):
    """Around every answer over REST."""

    retCode: int
    retMsg: str = ""
    result: msgspec.Raw = NOTHING
    retExtInfo: msgspec.Raw = NOTHING


class Page(msgspec.Struct, gc=False, rename={"rows": "list"}):
    rows: msgspec.Raw = NOTHING
    nextPageCursor: str = ""


class Coin(msgspec.Struct, gc=False):
    coin: str
    equity: str = "0"


class Wallet(msgspec.Struct, gc=False):
    coin: list[Coin]
    totalAvailableBalance: str = ""


class FeeRate(msgspec.Struct, gc=False):
    symbol: str
    takerFeeRate: str
    makerFeeRate: str


class PriceFilter(msgspec.Struct, gc=False):
    tickSize: str


class LotFilter(msgspec.Struct, gc=False):
    qtyStep: str
    minOrderQty: str
    maxOrderQty: str = ""
    postOnlyMaxOrderQty: str = ""
    minNotionalValue: str = ""


class InstrumentRow(msgspec.Struct, gc=False):
    symbol: str
    contractType: str
    status: str
    baseCoin: str
    quoteCoin: str
    settleCoin: str
    priceFilter: PriceFilter
    lotSizeFilter: LotFilter


class RestTicker(msgspec.Struct, gc=False):
    symbol: str
    markPrice: str
    fundingRate: str = "0"


class ServerTime(msgspec.Struct, gc=False):
    timeNano: str


class Permissions(msgspec.Struct, gc=False):
    Wallet: list[str] = []


class KeyInfo(msgspec.Struct, gc=False):
    permissions: Permissions


class Candle(msgspec.Struct, gc=False, array_like=True):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    turnover: str


read_frame, read_reply = reader(Frame), reader(Reply)
read_trades, read_ticker, read_bars = reader(Trades), reader(TickerFrame), reader(list[Bar])
read_orders, read_executions = reader(list[OrderRow]), reader(list[Execution])
read_positions = reader(list[PositionRow])
read_ids, read_id_list, read_codes = reader(Ids), reader(IdList), reader(Codes)
read_envelope, read_page = reader(Envelope), reader(Page)
read_wallets, read_fee_rates = reader(list[Wallet]), reader(list[FeeRate])
read_instruments, read_rest_tickers = reader(list[InstrumentRow]), reader(list[RestTicker])
read_server_time, read_key_info = reader(ServerTime), reader(KeyInfo)
read_candles = reader(list[Candle])
