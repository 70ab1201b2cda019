"""What Bitget's JSON looks like, whichever the account: only the fields that are read. Numbers are text, and "" is no value."""

from __future__ import annotations

import msgspec

from marketmaker.adapters.parsing import NOTHING, reader


class Arg(msgspec.Struct, gc=False):
    """What a message is about. Unified accounts say `topic` for `channel`."""

    channel: str = ""
    topic: str = ""
    instId: str = ""
    symbol: str = ""

    @property
    def name(self) -> str:
        """As a subscription is called here: `trade ETHUSDT`, `orders default`, `order`."""
        return f"{self.channel or self.topic} {self.instId or self.symbol}".rstrip()


class Frame(msgspec.Struct, gc=False):
    """A message of any socket: data (`arg`), an event, or the answer to an order request (`id`, `args`)."""

    arg: Arg | None = None
    data: msgspec.Raw = NOTHING
    event: str = ""
    code: str | int = "0"
    msg: str | None = ""
    id: str = ""
    args: msgspec.Raw = NOTHING
    ts: str | int = 0


class Trade(msgspec.Struct, gc=False):
    ts: str
    price: str


class Trades(msgspec.Struct, gc=False):
    arg: Arg
    data: list[Trade]


class Ticker(msgspec.Struct, gc=False):
    """The same over WebSocket and over REST, where its name is `symbol`."""

    ts: str
    markPrice: str
    instId: str = ""
    symbol: str = ""
    nextFundingTime: str | None = ""


class Candle(msgspec.Struct, gc=False, array_like=True):
    start: str
    open: str
    high: str
    low: str
    close: str
    base_volume: str


class Ack(msgspec.Struct, gc=False):
    """What became of one order of a request; `orderId` can be null, so orders are told apart by `clientOid`.

    A classic account writes `errorCode` and `errorMsg` for `code` and `msg`."""

    orderId: str | None = None
    clientOid: str | None = None
    code: str | int = "0"
    msg: str | None = ""
    errorCode: str | int = "0"
    errorMsg: str | None = ""


class Acks(msgspec.Struct, gc=False):
    """Of a batch of a classic account."""

    successList: list[Ack] = []
    failureList: list[Ack] = []


class FeePart(msgspec.Struct, gc=False):
    """Unified: `fee`, paid > 0. Classic: `totalFee`, paid < 0."""

    feeCoin: str | None = ""
    fee: str | None = ""
    totalFee: str | None = ""


class ContractRow(msgspec.Struct, gc=False):
    symbol: str
    baseCoin: str
    quoteCoin: str
    symbolType: str
    symbolStatus: str
    minTradeNum: str
    priceEndStep: str
    pricePlace: str
    sizeMultiplier: str
    minTradeUSDT: str | None = ""
    maxOrderQty: str | None = ""
    makerFeeRate: str | None = ""
    takerFeeRate: str | None = ""


class FeeRates(msgspec.Struct, gc=False):
    makerFeeRate: str
    takerFeeRate: str


class FundingRate(msgspec.Struct, gc=False):
    symbol: str
    fundingRate: str


class ServerTime(msgspec.Struct, gc=False):
    serverTime: str


class Envelope(msgspec.Struct, gc=False):
    """Around every answer over REST."""

    code: str | int
    msg: str | None = ""
    data: msgspec.Raw = NOTHING


read_frame, read_trades = reader(Frame), reader(Trades)
read_tickers, read_candles = reader(list[Ticker]), reader(list[Candle])
read_ack, read_ack_list, read_acks = reader(Ack), reader(list[Ack]), reader(Acks)
read_contracts, read_fee_rates = reader(list[ContractRow]), reader(FeeRates)
read_funding_rates, read_server_time = reader(list[FundingRate]), reader(ServerTime)
read_envelope = reader(Envelope)
