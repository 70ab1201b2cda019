"""What Gate's JSON looks like: only the fields that are read.

`Figure` is a number or text as it was written: what is a number on the socket is text over REST.
"""

from __future__ import annotations

import msgspec

from marketmaker.adapters.parsing import NOTHING, reader

Figure = msgspec.Raw
ZERO = msgspec.Raw(b"0")


class Failure(msgspec.Struct, gc=False):
    label: str = ""
    message: str = ""
    detail: str = ""


class SubscribeError(msgspec.Struct, gc=False):
    code: int = 0
    message: str = ""


class Frame(msgspec.Struct, gc=False):
    """A message of a stream."""

    channel: str = ""
    event: str = ""
    id: int | None = None
    time_ms: int = 0
    result: msgspec.Raw = NOTHING
    error: SubscribeError | None = None


class Trade(msgspec.Struct, gc=False):
    contract: str
    price: Figure
    create_time_ms: int


class Trades(msgspec.Struct, gc=False):
    channel: str
    event: str
    result: list[Trade]


class Ticker(msgspec.Struct, gc=False):
    contract: str
    mark_price: Figure


class Bar(msgspec.Struct, gc=False):
    t: int
    o: Figure
    h: Figure
    l: Figure  # noqa: E741  (the venue's name)
    c: Figure
    v: Figure
    n: str = ""


class OrderRow(msgspec.Struct, gc=False):
    id: int
    contract: str
    size: Figure
    left: Figure
    price: Figure
    status: str
    text: str = ""
    tif: str = ""
    finish_as: str = ""
    is_reduce_only: bool = False
    create_time: Figure = ZERO
    update_time: Figure = ZERO
    finish_time: Figure = ZERO
    create_time_ms: int = 0
    finish_time_ms: int = 0


class BatchRow(msgspec.Struct, gc=False):
    """One order of a batch: whether it succeeded, and why not; the order's own fields are read as an `OrderRow`."""

    succeeded: bool = True
    label: str = ""
    message: str = ""
    detail: str = ""


class UserTrade(msgspec.Struct, gc=False):
    id: Figure
    contract: str
    order_id: Figure
    size: Figure
    price: Figure
    role: str
    text: str = ""
    fee: Figure = ZERO
    point_fee: Figure = ZERO
    create_time: Figure = ZERO
    create_time_ms: int = 0


class PositionRow(msgspec.Struct, gc=False):
    """`mark_price` is not in events."""

    contract: str
    size: Figure
    entry_price: Figure
    mode: str = "single"
    mark_price: Figure = ZERO
    liq_price: Figure = ZERO
    leverage: Figure = ZERO
    cross_leverage_limit: Figure = ZERO


class BalanceChange(msgspec.Struct, gc=False):
    type: str
    time_ms: int


class Account(msgspec.Struct, gc=False):
    user: int
    total: Figure
    unrealised_pnl: Figure
    available: Figure
    in_dual_mode: bool = False
    cross_available: Figure = ZERO


class ContractRow(msgspec.Struct, gc=False):
    name: str
    quanto_multiplier: Figure
    order_price_round: Figure
    order_size_min: Figure
    order_size_max: Figure
    maker_fee_rate: Figure
    taker_fee_rate: Figure
    mark_price: Figure = ZERO
    funding_rate: Figure = ZERO
    in_delisting: bool = False
    status: str = "trading"
    type: str = "direct"


class BookRow(msgspec.Struct, gc=False):
    """A line of the account book."""

    time: Figure
    change: Figure
    contract: str = ""


class ServerTime(msgspec.Struct, gc=False):
    server_time: int


class ReplyHeader(msgspec.Struct, gc=False):
    status: str = "200"
    x_gate_ratelimit_requests_remain: Figure = ZERO
    x_gate_ratelimit_limit: Figure = ZERO


class ReplyData(msgspec.Struct, gc=False):
    result: msgspec.Raw = NOTHING
    errs: Failure | None = None


class Reply(msgspec.Struct, gc=False):
    """Answer of the order socket; `ack`: only an echo, the answer follows."""

    request_id: str = ""
    ack: bool = False
    header: ReplyHeader = msgspec.field(default_factory=ReplyHeader)
    data: ReplyData = msgspec.field(default_factory=ReplyData)


class CancelRow(msgspec.Struct, gc=False):
    id: Figure
    succeeded: bool
    message: str = ""


read_frame, read_reply, read_failure = reader(Frame), reader(Reply), reader(Failure)
read_trades, read_tickers, read_bars = reader(Trades), reader(list[Ticker]), reader(list[Bar])
read_order, read_orders = reader(OrderRow), reader(list[OrderRow])
read_batch_row, read_items = reader(BatchRow), reader(list[msgspec.Raw])
read_user_trades, read_positions = reader(list[UserTrade]), reader(list[PositionRow])
read_position, read_changes = reader(PositionRow), reader(list[BalanceChange])
read_account, read_contracts = reader(Account), reader(list[ContractRow])
read_contract, read_book = reader(ContractRow), reader(list[BookRow])
read_server_time, read_cancels = reader(ServerTime), reader(list[CancelRow])
