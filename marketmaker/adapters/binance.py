"""Binance USD-M perpetual futures, one-way position mode.

Pages: the vendor's derivatives documentation (REST `/fapi/v1` to `/fapi/v3`, WebSocket streams on the three routes of
March 2026, WebSocket API `ws-fapi/v1`), its Python SDK's example payloads, and issue threads; gathered September 2026.

How orders travel. Over the WebSocket API: each order is one frame, handed to the socket before `place` returns, and
one reply. That API has no batches, so several orders are several frames. While its socket is away REST takes over,
with `batchOrders` (5 placements or 10 cancels in a request); `Capabilities` states these two figures.

Measured on a busy machine (six runnable processes on two cores, best of seven): a trade from frame to `on_price` 2.7 us;
a placement with its id, encoded and signed, 12 us. msgspec decodes just the fields named here in 0.45 us, where slicing
them out of the bytes by hand took 1.3 us; prices become ticks from their decimal text without a Decimal.

Oddities, each met below
- A stream subscribed on the wrong route, or misspelt, is acknowledged and stays silent: see `FIRST_MESSAGE_S`.
- Post-only refusal is -5022 in the answer, and no event follows; the older form, an EXPIRED event of a GTX order with
  nothing filled, is understood too.
- Acks of places and cancels carry no average price. A plain limit order is asked for RESULT, so that its answer tells
  what it took at once; a post-only order is not, its ack comes sooner.
- Trades of our account carry no client id: it is joined by order id, asking for orders this process has not met.
- A funding event of a cross position names no symbol: what was paid is read from the income history.
- Only the spot host tells whether the API key may withdraw (`canWithdraw` of the account is another matter); without
  `key_url`, or when it does not answer, `can_withdraw` is None.
- Equity is the wallet and the unrealised profit of cross positions in the quote asset; isolated profit is not in it.
- A fee paid in another asset (BNB) is stated as the fee the instrument's rate would have been.
- The dead-man's switch (`countdownCancelAll`) is per symbol and cancels every order of the symbol, foreign ones too.
- 503 means two things: "Service Unavailable." (not executed) and everything else it says (fate unknown).

Unverified: whether the demo host has the three routes (its addresses below use none); the meaning of `er` (expire
reason) in order events; whether a 429 of the WebSocket API carries a time to wait in a field rather than in its text.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import re
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.http import Answer, HttpClient
from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
)
from marketmaker.adapters.websocket import Dial, Link, Session, Timing
from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    ConfigError,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    MalformedMessage,
    NotSent,
    OrderNotFound,
    OutcomeUnknown,
    Overloaded,
    PositionModeMismatch,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    StreamBroken,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import Credentials

VENUE = "binance"
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
MS_PER_DAY = 86_400_000

# -- tables ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """`ws_market_url` "": the /market route of `ws_public_url`. In `ws_private_url` the text `{listen_key}` stands
    for the key; without it the address ends in `/ws?listenKey=` and the key. `key_url`: where to ask what the API key
    may do, "" not to ask.
    """

    rest_url: str = "https://fapi.binance.com"
    ws_public_url: str = "wss://fstream.binance.com"
    ws_market_url: str = ""
    ws_private_url: str = "wss://fstream.binance.com/private"
    ws_order_url: str = "wss://ws-fapi.binance.com/ws-fapi/v1"
    key_url: str = ""


LIVE = Endpoints(key_url="https://api.binance.com")
DEMO = Endpoints(
    rest_url="https://demo-fapi.binance.com",
    ws_public_url="wss://fstream.binancefuture.com",
    ws_market_url="wss://fstream.binancefuture.com",
    ws_private_url="wss://fstream.binancefuture.com/ws/{listen_key}",
    ws_order_url="wss://testnet.binancefuture.com/ws-fapi/v1",
)

ORDER_PATH, BATCH_PATH = "/fapi/v1/order", "/fapi/v1/batchOrders"
PLACE_BATCH, CANCEL_BATCH = 5, 10
ORDERS_PER_10S, ORDERS_PER_MIN = 300, 1200
RECV_WINDOW_MS = 5000
REQUEST_LIFETIME_S = 10.0
"""The receive window, the second a timestamp may lie ahead, and time for a query to find what was accepted."""
TRADES_PER_PAGE, ORDERS_PER_PAGE, CANDLES_MAX, INCOME_PER_PAGE = 1000, 1000, 1500, 1000
WINDOW_MS, HISTORY_MS = 7 * MS_PER_DAY - 1, 180 * MS_PER_DAY
LISTEN_KEY_RENEWAL_S = 1800.0
CLOCK_SAMPLES = 5
NAMES_PER_SUBSCRIBE = 200
CONTROL_GAP_S = 0.12
"""At most ten control messages a second on a socket."""
PRICE_STREAMS = ("aggTrade", "markPrice@1s")
FIRST_MESSAGE_S = {"aggTrade": 120.0, "markPrice@1s": 10.0, "kline": 60.0}
OLDER_MS = 10_000
"""A trade this little older than the last one is the same news by another socket."""
FUNDING_RETRIES_S = (0.0, 2.0, 5.0, 15.0, 60.0)
FUNDING_OVERLAP_MS = 60_000
MALFORMED_KEPT, FRAME_KEPT = 100, 2000
ORDERS_REMEMBERED = 20_000
YOUNG_MS = 60_000
MAKER_FEE, TAKER_FEE = Decimal("0.0002"), Decimal("0.0005")
"""The public rates, used when there is no key to ask for our own with."""

INTERVALS = {
    60: "1m", 180: "3m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1h", 7200: "2h", 14400: "4h",
    21600: "6h", 28800: "8h", 43200: "12h", 86400: "1d",
}  # fmt: skip
SECONDS = {name: seconds for seconds, name in INTERVALS.items()}

ERRORS: dict[type[VenueError], tuple[int, ...]] = {
    PostOnlyWouldCross: (-5022,),
    RateLimited: (-1003, -1015),
    OutcomeUnknown: (-1000, -1001, -1006, -1007),
    Overloaded: (-1008,),
    InsufficientMargin: (-2018, -2019, -2027, -2028),
    OrderNotFound: (-2011, -2013),
    DuplicateClientOrderId: (-4116,),
    FilterViolation: (
        *(-1013, -1111, -4001, -4002, -4003, -4004, -4005, -4013, -4014, -4016, -4023, -4024),
        *(-4131, -4164),
    ),
    ClockSkew: (-1021, -5028),
    AuthenticationRefused: (-1022, -2014, -2015),
    ReduceOnlyRefused: (-2022, -4118),
    PositionModeMismatch: (-4061,),
    # The order itself is refused, or its symbol; -1125 is a listen key that has lapsed.
    Rejected: (
        *(-1121, -1125, -2010, -2025, -4046, -4059, -4067, -4068, -4120, -4140, -4141),
        *(-4400, -5026, -5027),
    ),
}
ERROR_OF_CODE = {code: kind for kind, codes in ERRORS.items() for code in codes}
LISTEN_KEY_LAPSED = "-1125"
HEDGE_MODE = "the account is in hedge mode; switch it to one-way mode (Preferences, Position Mode) with no open order or position"
BANNED_UNTIL = re.compile(r"until (\d{13})\b")
FIREWALL_PAUSE_S = 30.0

SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
STATUSES = {
    "NEW": OrderStatus.OPEN,
    "PARTIALLY_FILLED": OrderStatus.OPEN,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "EXPIRED_IN_MATCH": OrderStatus.CANCELLED,
    "REJECTED": OrderStatus.REJECTED,
    # Bookkeeping of liquidations, on orders that are never ours.
    "NEW_INSURANCE": OrderStatus.FILLED,
    "NEW_ADL": OrderStatus.FILLED,
}
FILLING = ("TRADE", "CALCULATED")
EXECUTIONS = (*FILLING, "NEW", "CANCELED", "EXPIRED", "AMENDMENT", "REJECTED")
EXPIRE_REASONS = {
    "1": EndReason.SELF_TRADE,
    "2": EndReason.IOC,
    "3": EndReason.SELF_TRADE,
    "4": EndReason.REDUCE_ONLY,
    "5": EndReason.LIQUIDATION,
}
NOT_READ = frozenset(
    {
        *("depthUpdate", "TRADE_LITE", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL", "ALGO_UPDATE"),
        *("STRATEGY_UPDATE", "GRID_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"),
    }
)
"""Events with a known name that say nothing to a grid."""

# -- what the wire looks like: only the fields that are read -----------------------------------------


NOTHING = msgspec.Raw(b"null")


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


class KeyRestrictions(msgspec.Struct, gc=False):
    enableWithdrawals: bool


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


S = TypeVar("S")
T = TypeVar("T")


def reader(kind: type[S]) -> Callable[[bytes], S]:
    """A function from JSON text to a `kind`. Raises MalformedMessage for anything else, and nothing but that."""
    decode = msgspec.json.Decoder(kind).decode

    def read(text: bytes) -> S:
        try:
            return decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise malformed(f"not a {kind.__name__}: {error}") from None

    return read


def malformed(message: str) -> MalformedMessage:
    return MalformedMessage(message, venue=VENUE)


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

# -- from the wire -----------------------------------------------------------------------------------

PLAIN = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?", re.ASCII)
DIGITS_MAX = 32
MS_MAX = 1 << 43


class Steps:
    """Whole steps from and to the venue's decimal text, for one step size."""

    def __init__(self, step: Decimal) -> None:
        exponent = int(step.normalize().as_tuple().exponent)
        self.decimals = max(0, -exponent)
        self._units = int(step.scaleb(self.decimals))
        self._scale = 10**self.decimals

    def parse(self, text: str) -> int:
        """`"3010.21"` at a step of 0.01 is 301021. Raises MalformedMessage for anything off the step or below zero."""
        whole, _, part = text.partition(".")
        if len(part) != self.decimals:
            part = part.rstrip("0").ljust(self.decimals, "0")
        digits = whole + part
        if (
            len(part) != self.decimals
            or len(digits) > DIGITS_MAX
            or not (whole and digits.isascii() and digits.isdigit())
        ):
            raise malformed(f"{text[:40]!r} is not a number on the step")
        units = int(digits)
        if self._units == 1:
            return units
        steps, rest = divmod(units, self._units)
        if rest:
            raise malformed(f"{text[:40]!r} is off the step")
        return steps

    def near(self, text: str) -> int:
        """The nearest step to a number that need not be on one."""
        step = Decimal(self._units).scaleb(-self.decimals)
        return round(parse_decimal(text) / step)

    def format(self, steps: int) -> str:
        units = steps * self._units
        if not self.decimals:
            return str(units)
        whole, part = divmod(units, self._scale)
        return f"{whole}.{part:0{self.decimals}d}"


def parse_decimal(text: str) -> Decimal:
    """Raises MalformedMessage for what is not a plain number (`NaN`, `1e999`, thousands of digits)."""
    if not PLAIN.fullmatch(text):
        raise malformed(f"{text[:40]!r} is not a number")
    return Decimal(text)


def parse_figure(text: str) -> float:
    """For statistics only. Raises MalformedMessage for less than nothing."""
    if text.startswith("-"):
        raise malformed(f"{text[:40]!r} is below zero")
    return float(parse_decimal(text))


def parse_ms(ms: int) -> int:
    """Unix ns."""
    if not 0 <= ms < MS_MAX:
        raise malformed(f"{ms} is not a time")
    return ms * NS_PER_MS


def parse_one_of(table: Mapping[str, T], text: str, what: str) -> T:
    try:
        return table[text]
    except KeyError:
        raise malformed(f"unknown {what} {text[:40]!r}") from None


def unwrap(message: bytes) -> bytes:
    """`{"stream":"ethusdt@aggTrade","data":{...}}` gives its data; anything else is returned as it is."""
    return bytes(read_envelope(message).data) if message.startswith(b'{"stream"') else message


def parse_book_ticker(event: BookTicker, steps: Steps) -> int:
    """`{"e":"bookTicker","s":"BNBUSDT","b":"25.35","B":"31.21","a":"25.36","A":"40.66","T":..}`: the mid, in ticks,
    rounded down. A side without orders has price 0, and then there is no mid."""
    bid, ask = steps.parse(event.b), steps.parse(event.a)
    if not (bid and ask):
        raise malformed("one side of the book is empty")
    return (bid + ask) // 2


def parse_kline(event: Kline) -> Candle:
    """`{"e":"kline","s":"BTCUSDT","k":{"t":1638747660000,"i":"1m","o":"0.0010","c":"0.0020",..,"x":false}}`"""
    bar = event.k
    return Candle(
        symbol=event.s,
        interval_s=parse_one_of(SECONDS, bar.i, "interval"),
        open_ts_ns=parse_ms(bar.t),
        open=parse_figure(bar.o),
        high=parse_figure(bar.h),
        low=parse_figure(bar.l),
        close=parse_figure(bar.c),
        volume=parse_figure(bar.v),
        closed=bar.x,
    )


def parse_kline_row(row: KlineRow, symbol: str, interval_s: int, venue_ns: int) -> Candle:
    """`[1499040000000,"0.01634790","0.80000000","0.01575800","0.01577100","148976.11427815",1499644799999,..]`"""
    return Candle(
        symbol=symbol,
        interval_s=interval_s,
        open_ts_ns=parse_ms(row.open_ms),
        open=parse_figure(row.open),
        high=parse_figure(row.high),
        low=parse_figure(row.low),
        close=parse_figure(row.close),
        volume=parse_figure(row.volume),
        closed=parse_ms(row.close_ms) < venue_ns,
    )


def parse_end(
    status: str, time_in_force: str, *, filled: bool, reduce_only: bool, expire_reason: str = ""
) -> EndReason | None:
    """Why an order ended unfilled, None while it lives or when it was filled."""
    if status == "CANCELED":
        return EndReason.REQUESTED
    if status == "EXPIRED_IN_MATCH":
        return EndReason.SELF_TRADE
    if status == "REJECTED":
        return EndReason.VENUE
    if status != "EXPIRED":
        return None
    if expire_reason in EXPIRE_REASONS:
        return EXPIRE_REASONS[expire_reason]
    if time_in_force == "GTX" and not filled and not reduce_only:
        return EndReason.POST_ONLY
    if time_in_force in ("IOC", "FOK"):
        return EndReason.IOC
    return EndReason.REDUCE_ONLY if reduce_only else EndReason.EXPIRED


def parse_fee(
    fee: str, asset: str, notional: Decimal, maker: bool, instrument: Instrument
) -> Decimal:
    """In quote currency, paid > 0. See the oddity about other assets."""
    if asset == instrument.quote:
        return parse_decimal(fee)
    return notional * (instrument.maker_fee if maker else instrument.taker_fee)


def parse_order_event(event: OrderEvent, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"e":"ORDER_TRADE_UPDATE","o":{"s":"ETHUSDT","c":"g1-b-0001","S":"BUY","f":"GTX","q":"0.010","p":"3000.00",
    "x":"TRADE","X":"PARTIALLY_FILLED","i":8389765900000000101,"l":"0.004","z":"0.004","L":"3000.00","n":"0.0024",
    "N":"USDT","T":1767225605000,"t":6310000900,"m":true,"R":false,..}}`"""
    if event.x not in EXECUTIONS:
        raise malformed(f"unknown execution type {event.x[:40]!r}")
    status = parse_one_of(STATUSES, event.X, "order status")
    side = parse_one_of(SIDES, event.S, "side")
    client_order_id = ids.decode(event.c)
    ts_venue_ns = parse_ms(event.T)
    instrument = contract.instrument
    qty, filled = contract.qty.parse(event.q), contract.qty.parse(event.z)
    traded = contract.qty.parse(event.l)
    if filled > qty or (client_order_id is not None and client_order_id.side is not side):
        raise malformed("order event contradicts itself")
    fill = None
    if event.x in FILLING and traded:
        price = Ticks(contract.price.parse(event.L))
        fill = Fill(
            trade_id=str(event.t),
            client_order_id=client_order_id,
            venue_order_id=str(event.i),
            side=side,
            price_ticks=price,
            qty_lots=Lots(traded),
            fee=parse_fee(
                event.n or "0",
                event.N or instrument.quote,
                instrument.notional(price, Lots(traded)),
                event.m,
                instrument,
            ),
            is_maker=event.m,
            ts_venue_ns=ts_venue_ns,
        )
    return OrderReport(
        client_order_id=client_order_id,
        venue_order_id=str(event.i),
        side=side,
        price_ticks=Ticks(contract.price.parse(event.p)),
        qty_lots=Lots(qty),
        filled_lots=Lots(filled),
        status=status,
        reduce_only=event.R,
        fill=fill,
        end_reason=parse_end(
            event.X, event.f, filled=filled > 0, reduce_only=event.R, expire_reason=event.er or ""
        ),
        ts_venue_ns=ts_venue_ns,
    )


def parse_order(row: OrderRow, contract: Contract, ids: TextForm) -> OrderReport:
    """`{"clientOrderId":"g1-b-0001","executedQty":"0.000","orderId":8389765900000000101,"origQty":"0.010",
    "price":"3000.00","reduceOnly":false,"side":"BUY","status":"NEW","timeInForce":"GTX","updateTime":..}`:
    the one shape of acks, queries and lists."""
    filled = contract.qty.parse(row.executedQty)
    return OrderReport(
        client_order_id=ids.decode(row.clientOrderId),
        venue_order_id=str(row.orderId),
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=Ticks(contract.price.parse(row.price)),
        qty_lots=Lots(contract.qty.parse(row.origQty)),
        filled_lots=Lots(filled),
        status=parse_one_of(STATUSES, row.status, "order status"),
        reduce_only=row.reduceOnly,
        end_reason=parse_end(
            row.status, row.timeInForce, filled=filled > 0, reduce_only=row.reduceOnly
        ),
        ts_venue_ns=parse_ms(row.updateTime),
    )


def parse_trade_row(
    row: TradeRow, contract: Contract, client_order_id: ClientOrderId | None
) -> Fill:
    """`{"id":82357626,"orderId":831238666,"side":"SELL","price":"2778.35","qty":"0.005","commission":"0.00555670",
    "commissionAsset":"USDT","time":1645930322371,"maker":false,..}`"""
    price, qty = Ticks(contract.price.parse(row.price)), Lots(contract.qty.parse(row.qty))
    instrument = contract.instrument
    return Fill(
        trade_id=str(row.id),
        client_order_id=client_order_id,
        venue_order_id=str(row.orderId),
        side=parse_one_of(SIDES, row.side, "side"),
        price_ticks=price,
        qty_lots=qty,
        fee=parse_fee(
            row.commission,
            row.commissionAsset,
            instrument.notional(price, qty),
            row.maker,
            instrument,
        ),
        is_maker=row.maker,
        ts_venue_ns=parse_ms(row.time),
    )


def parse_signed_lots(text: str, steps: Steps) -> Lots:
    return Lots(-steps.parse(text[1:]) if text.startswith("-") else steps.parse(text))


def parse_position(rows: Iterable[PositionRow], contract: Contract) -> Position | None:
    """`[{"symbol":"ADAUSDT","positionSide":"BOTH","positionAmt":"30","entryPrice":"0.385","markPrice":"0.41047590",
    "liquidationPrice":"0",..}]`; None when the symbol is not in it, which is how a flat one without orders shows."""
    found = None
    for row in rows:
        if row.symbol != contract.instrument.name:
            continue
        lots = parse_signed_lots(row.positionAmt, contract.qty)
        if row.positionSide != "BOTH":
            if lots:
                raise PositionModeMismatch(HEDGE_MODE, venue=VENUE)
            continue
        liquidation = parse_decimal(row.liquidationPrice)
        found = Position(
            qty_lots=lots,
            entry_price=parse_decimal(row.entryPrice) if lots else Decimal(0),
            mark_price=parse_decimal(row.markPrice),
            liquidation_price=liquidation if liquidation > 0 else None,
        )
    return found


def parse_position_event(
    event: PositionEvent, contract: Contract, mark: Decimal | None
) -> Position:
    """`{"s":"ETHUSDT","pa":"0.004","ep":"3000.00","up":"0.04","ps":"BOTH",..}`; without a `mark` price of another
    source it is the one that the unrealised profit `up` speaks of."""
    lots = parse_signed_lots(event.pa, contract.qty)
    entry, profit = parse_decimal(event.ep), parse_decimal(event.up)
    if mark is None:
        mark = entry + profit / contract.instrument.base_qty(lots) if lots else entry
    return Position(qty_lots=lots, entry_price=entry if lots else Decimal(0), mark_price=mark)


def parse_instrument(row: SymbolRow, maker_fee: Decimal, taker_fee: Decimal) -> Instrument:
    """From `filters`; `pricePrecision` and `quantityPrecision` are not increments."""
    filters = {each.filterType: each for each in row.filters}
    missing = {"PRICE_FILTER", "LOT_SIZE", "MIN_NOTIONAL"} - filters.keys()
    if missing:
        raise malformed(f"{row.symbol} has no {', '.join(sorted(missing))}")
    lot = filters["LOT_SIZE"]
    step, least, most = (parse_decimal(text) for text in (lot.stepSize, lot.minQty, lot.maxQty))
    if step <= 0:
        raise malformed(f"{row.symbol}: step size {step}")
    return Instrument(
        venue=VENUE,
        name=row.symbol,
        base=row.baseAsset,
        quote=row.quoteAsset,
        tick_size=parse_decimal(filters["PRICE_FILTER"].tickSize),
        lot_size=step,
        min_qty=Lots(max(1, -int(-least // step))),
        max_qty=Lots(int(most // step)) if most > 0 else None,
        min_notional=parse_decimal(filters["MIN_NOTIONAL"].notional),
        maker_fee=maker_fee,
        taker_fee=taker_fee,
    )


def is_tradable(row: SymbolRow) -> bool:
    return row.contractType == "PERPETUAL" and row.status == "TRADING"


def parse_limits(rates: Iterable[Usage]) -> dict[str, int]:
    """`{"10S": 300, "1M": 1200}` from the ORDERS rows, named as the usage headers name them; also `"weight"`."""
    limits = {}
    for rate in rates:
        if rate.rateLimitType == "ORDERS":
            limits[f"{rate.intervalNum}{rate.interval[:1]}"] = rate.limit
        elif rate.rateLimitType == "REQUEST_WEIGHT":
            limits["weight"] = rate.limit
    return limits


def parse_error(
    code: int,
    message: str,
    operation: str,
    *,
    status: int = 400,
    retry_after_s: float | None = None,
    now_ns: int = 0,
) -> VenueError:
    """The table above, then the HTTP status for what has no code of its own.

    `{"code":-2019,"msg":"Margin is insufficient."}`; code 0 stands for none.
    """
    kind = ERROR_OF_CODE.get(code)
    if kind is None:
        kind = _by_status(status, message)
    text = HEDGE_MODE if kind is PositionModeMismatch else message[:300]
    label = str(code) if code else str(status)
    if kind is not RateLimited:
        return kind(text, venue=VENUE, operation=operation, code=label)
    banned_until = BANNED_UNTIL.search(message)
    if retry_after_s is None and banned_until and now_ns:
        retry_after_s = max(0.0, (int(banned_until[1]) * NS_PER_MS - now_ns) / NS_PER_S)
    if retry_after_s is None and status == 403:
        retry_after_s = FIREWALL_PAUSE_S
    return RateLimited(
        text,
        retry_after_s=retry_after_s,
        banned=status == 418 or banned_until is not None,
        venue=VENUE,
        operation=operation,
        code=label,
    )


def _by_status(status: int, message: str) -> type[VenueError]:
    match status:
        case 401:
            return AuthenticationRefused
        case 403 | 418 | 429:
            return RateLimited
        case 503 if message.lower().startswith("service unavailable"):
            return Overloaded
        case 408:
            return OutcomeUnknown
        case _ if 400 <= status < 500:
            return Rejected
        case _:
            return OutcomeUnknown


def parse_answer_error(answer: Answer, operation: str, now_ns: int) -> VenueError | None:
    """None for a good answer. One without a readable body goes by its status alone."""
    if 200 <= answer.status < 300:
        return None
    try:
        body = read_error(answer.body)
    except MalformedMessage:
        body = ErrorBody(msg=answer.body[:200].decode("ascii", "replace"))
    header = answer.headers.get("Retry-After", "")
    return parse_error(
        body.code,
        body.msg,
        operation,
        status=answer.status,
        retry_after_s=float(header) if PLAIN.fullmatch(header) else None,
        now_ns=now_ns,
    )


# -- to the wire -------------------------------------------------------------------------------------


class Signer:
    """HMAC-SHA256 in lower-case hex, over a key state made once. Shows nothing of its secret."""

    def __init__(self, credentials: Credentials) -> None:
        self.api_key = credentials.api_key
        self._state = hmac.new(credentials.api_secret.encode(), digestmod="sha256")
        self._ws_state = self._state.copy()
        self._ws_state.update(f"apiKey={credentials.api_key}&".encode())

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, text: str) -> str:
        state = self._state.copy()
        state.update(text.encode())
        return state.hexdigest()

    def sign_ws(self, rest: str) -> str:
        """`rest`: everything after `apiKey=...&`, which sorts first."""
        state = self._ws_state.copy()
        state.update(rest.encode())
        return state.hexdigest()

    def query(self, params: str, timestamp_ms: int) -> str:
        """A signed query; `params` is percent-encoded and may be empty."""
        lead = f"{params}&" if params else ""
        text = f"{lead}recvWindow={RECV_WINDOW_MS}&timestamp={timestamp_ms}"
        return f"{text}&signature={self.sign(text)}"


class Contract:
    """What one instrument needs at the wire: its steps, and the parts of its orders that never change."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.price = Steps(instrument.tick_size)
        self.qty = Steps(instrument.lot_size)
        self._templates: dict[tuple[Side, str, bool], tuple[str, str, str, str]] = {}

    def template(self, side: Side, tif: str, reduce_only: bool) -> tuple[str, str, str, str]:
        """(sign before the price, sign after the quantity, JSON before the price, JSON after the quantity)."""
        key = (side, tif, reduce_only)
        if key not in self._templates:
            symbol = self.instrument.name
            result = "" if tif == "GTX" else "&newOrderRespType=RESULT"
            reduce = "&reduceOnly=true" if reduce_only else ""
            tail = f"&recvWindow={RECV_WINDOW_MS}{reduce}&side={side.name}&symbol={symbol}"
            self._templates[key] = (
                f"{result}&price=",
                f"{tail}&timeInForce={tif}&timestamp=",
                '"' + (',"newOrderRespType":"RESULT"' if result else "") + ',"price":"',
                f'","recvWindow":{RECV_WINDOW_MS}'
                + (',"reduceOnly":"true"' if reduce_only else "")
                + f',"side":"{side.name}","symbol":"{symbol}","timeInForce":"{tif}","timestamp":',
            )
        return self._templates[key]


def build_time_in_force(order: NewOrder) -> str:
    if order.time_in_force is TimeInForce.IOC:
        return "IOC"
    return "GTX" if order.post_only else "GTC"


def build_place(
    order: NewOrder, contract: Contract, client_id: str, *, request: int, ms: int, signer: Signer
) -> bytes:
    """`order.place` over the WebSocket API. Signed are all parameters, sorted by name, not percent-encoded."""
    sign_a, sign_b, json_a, json_b = contract.template(
        order.side, build_time_in_force(order), order.reduce_only
    )
    price = contract.price.format(order.price_ticks)
    qty = contract.qty.format(order.qty_lots)
    signature = signer.sign_ws(
        f"newClientOrderId={client_id}{sign_a}{price}&quantity={qty}{sign_b}{ms}&type=LIMIT"
    )
    return (
        f'{{"id":"{request}","method":"order.place","params":{{"apiKey":"{signer.api_key}"'
        f',"newClientOrderId":"{client_id}{json_a}{price}","quantity":"{qty}{json_b}{ms}'
        f',"type":"LIMIT","signature":"{signature}"}}}}'
    ).encode()


def build_cancel(symbol: str, client_id: str, *, request: int, ms: int, signer: Signer) -> bytes:
    """`order.cancel` over the WebSocket API."""
    signature = signer.sign_ws(
        f"origClientOrderId={client_id}&recvWindow={RECV_WINDOW_MS}&symbol={symbol}&timestamp={ms}"
    )
    return (
        f'{{"id":"{request}","method":"order.cancel","params":{{"apiKey":"{signer.api_key}"'
        f',"origClientOrderId":"{client_id}","recvWindow":{RECV_WINDOW_MS},"symbol":"{symbol}"'
        f',"timestamp":{ms},"signature":"{signature}"}}}}'
    ).encode()


def build_order_params(order: NewOrder, contract: Contract, client_id: str) -> dict[str, str]:
    """One placement over REST, in the order in which it is sent."""
    tif = build_time_in_force(order)
    params = {
        "symbol": contract.instrument.name,
        "side": order.side.name,
        "type": "LIMIT",
        "timeInForce": tif,
        "quantity": contract.qty.format(order.qty_lots),
        "price": contract.price.format(order.price_ticks),
        "newClientOrderId": client_id,
    }
    if order.reduce_only:
        params["reduceOnly"] = "true"
    if tif != "GTX":
        params["newOrderRespType"] = "RESULT"
    return params


def build_query(params: Mapping[str, object]) -> str:
    return "&".join(f"{name}={quote(str(value), safe='')}" for name, value in params.items())


def build_json(value: object) -> str:
    """Compact, as `batchOrders` and the id lists are sent."""
    return msgspec.json.encode(value).decode()


def build_subscribe(method: str, names: Sequence[str], request_id: int) -> bytes:
    return msgspec.json.encode({"method": method, "params": names, "id": request_id})


# -- the adapter -------------------------------------------------------------------------------------


class Clock(Protocol):
    def now_ns(self) -> int: ...


@dataclass(slots=True, eq=False)
class PriceFeed:
    """Who listens to one symbol's prices. `last_ms` is the venue time of the last trade passed on."""

    contract: Contract
    listeners: list[PriceListener] = field(default_factory=list)
    last_ms: int = 0
    mark: Decimal | None = None

    def confirm(self, price: int, ts_venue_ns: int, ts_local_ns: int) -> None:
        for listener in self.listeners:
            listener.on_confirming_price(Ticks(price), ts_venue_ns, ts_local_ns)


@dataclass(slots=True, eq=False)
class Flight:
    """Requests on their way over the order socket that are answered together."""

    contract: Contract
    operation: str
    future: asyncio.Future[list[Any]]
    outcomes: list[Any]
    open: int
    timer: asyncio.TimerHandle | None = None

    def land(self, index: int, outcome: OrderReport | VenueError) -> None:
        if self.outcomes[index] is not None:
            return
        self.outcomes[index] = outcome
        self.open -= 1
        if self.open == 0:
            if self.timer is not None:
                self.timer.cancel()
            if not self.future.done():
                self.future.set_result(self.outcomes)


class Topics:
    """What a market session is subscribed to. Names are `ethusdt@aggTrade`; `kind_of(name)` keys FIRST_MESSAGE_S."""

    def __init__(self) -> None:
        self.wanted: dict[str, None] = {}
        self._acks: dict[int, dict[str, asyncio.Future[None]]] = {}
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._last_id = 0
        self._next_s = 0.0

    async def subscribe(self, session: Session, link: Link) -> None:
        """Until everything wanted is acknowledged on this link. Raises StreamBroken or NotSent."""
        acks = self._acks.setdefault(link.number, {})
        while self._missing(acks) or not all(acks[name].done() for name in self.wanted):
            if self._missing(acks):
                await self._wait_turn()
                self._ask(session, link, acks)
            waiting = {acks[name] for name in self.wanted if name in acks}
            _, late = await asyncio.wait(waiting, timeout=session.timing.ready_s)
            if late:
                raise StreamBroken("no answer to a subscription")
        for name in self.wanted:
            acks[name].result()

    def unsubscribe(self, session: Session, names: Sequence[str]) -> None:
        for name in names:
            self.wanted.pop(name, None)
        link = session.link
        if link is None or not names:
            return
        for name in names:
            self._acks.get(link.number, {}).pop(name, None)
            link.silent.pop(name, None)
        self._last_id += 1
        with suppress(NotSent):
            link.send(build_subscribe("UNSUBSCRIBE", names, self._last_id))

    def hear_answer(self, answer: Kind) -> None:
        waiting = self._asked.pop(answer.id, None) if isinstance(answer.id, int) else None
        if waiting is None or waiting.done():
            return
        if answer.error == NOTHING:
            waiting.set_result(None)
        else:
            text = bytes(answer.error)[:200].decode("utf-8", "replace")
            waiting.set_exception(StreamBroken(f"subscription refused: {text}"))
            waiting.exception()

    def forget(self, link: Link) -> None:
        for ack in self._acks.pop(link.number, {}).values():
            if not ack.done():
                ack.set_exception(StreamBroken("the socket closed before it answered"))
                ack.exception()

    def _missing(self, acks: Mapping[str, object]) -> list[str]:
        return [name for name in self.wanted if name not in acks]

    async def _wait_turn(self) -> None:
        now_s = asyncio.get_running_loop().time()
        turn_s = max(now_s, self._next_s)
        self._next_s = turn_s + CONTROL_GAP_S
        if turn_s > now_s:
            await asyncio.sleep(turn_s - now_s)

    def _ask(self, session: Session, link: Link, acks: dict[str, asyncio.Future[None]]) -> None:
        names = self._missing(acks)[:NAMES_PER_SUBSCRIBE]
        if not names:
            return
        self._last_id += 1
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link.send(build_subscribe("SUBSCRIBE", names, self._last_id))
        self._asked[self._last_id] = answer
        acks.update(dict.fromkeys(names, answer))
        for name in names:
            session.expect(link, (name,), FIRST_MESSAGE_S[kind_of(name)])


def kind_of(name: str) -> str:
    kind = name.partition("@")[2]
    return "kline" if kind.startswith("kline") else kind


class Binance:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s`: after how long without a word from us the venue cancels every order of a symbol whose order stream
    is in use; 0 leaves the switch alone. `on_usage(used, limit)` hears how many order messages the venue has counted
    in one of its windows. `malformed` keeps the last frames that broke the contract, cut to 2,000 bytes; `used_weight`
    is the request weight of the running minute as the venue last told it.
    """

    def __init__(
        self,
        credentials: Credentials,
        endpoints: Endpoints,
        bot_tag: str,
        clock: Clock,
        rng: random.Random,
        *,
        dead_man_s: float = 120.0,
        timeout_s: float = 10.0,
        timing: Timing | None = None,
        dial: Dial | None = None,
    ) -> None:
        self.on_usage: Callable[[int, int], None] = lambda used, limit: None
        self.malformed: deque[tuple[str, bytes]] = deque(maxlen=MALFORMED_KEPT)
        self.malformed_count = 0
        self.used_weight = 0
        self._endpoints = endpoints
        self._ids = TextForm(bot_tag)
        self._now_ns = clock.now_ns
        self._dead_man_s = dead_man_s
        self._timeout_s = timeout_s
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._http = self._client(endpoints.rest_url, credentials)
        self._key_http = self._client(endpoints.key_url, credentials) if endpoints.key_url else None
        self._offset_ns = 0
        self._measuring: asyncio.Task[None] | None = None
        self._quiet_until_ns = 0
        self._limits = {"10S": ORDERS_PER_10S, "1M": ORDERS_PER_MIN}
        self._rows: dict[str, SymbolRow] = {}
        self._contracts: dict[str, Contract] = {}
        self._price_feeds: dict[str, PriceFeed] = {}
        self._candle_feeds: dict[tuple[str, int], list[CandleListener]] = {}
        self._order_feeds: dict[str, list[OrderListener]] = {}
        self._price_topics, self._candle_topics = Topics(), Topics()
        self._in_flight: dict[str, tuple[Link, Flight, int]] = {}
        self._last_request = 0
        self._owners: OrderedDict[str, ClientOrderId | None] = OrderedDict()
        self._armed: dict[str, None] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._services: list[asyncio.Task[None]] = []
        self._closing = False
        self._books_ms = 0
        self._funding_due = asyncio.Event()
        self._funding_paid = False
        self._funding_since_ms = 0
        self._funding_seen: OrderedDict[int, None] = OrderedDict()

        def session(name: str, **parts: Any) -> Session:
            return Session(
                f"{VENUE} {name}", backoff=Backoff(rng), timing=timing, dial=dial, **parts
            )

        self._prices = session(
            "prices",
            url=self._market_url,
            greet=self._greet_prices,
            on_message=self._hear_price,
            on_up=lambda: self._tell_prices(lambda listener: listener.stream_up()),
            on_down=lambda why: self._tell_prices(lambda listener: listener.stream_down(why)),
            on_gone=lambda link, _: self._price_topics.forget(link),
        )
        self._candles = session(
            "candles",
            url=self._market_url,
            greet=self._greet_candles,
            on_message=self._hear_candle,
            on_up=lambda: self._tell_candles(lambda listener: listener.stream_up()),
            on_down=lambda why: self._tell_candles(lambda listener: listener.stream_down(why)),
            on_gone=lambda link, _: self._candle_topics.forget(link),
        )
        self._private = session(
            "order stream",
            url=self._private_url,
            greet=_nothing_to_say,
            on_message=self._hear_private,
            on_up=self._private_up,
            on_down=self._private_down,
        )
        self._entry = session(
            "order entry",
            url=self._order_url,
            greet=_nothing_to_say,
            on_message=self._hear_reply,
            on_up=lambda: None,
            on_down=lambda why: None,
            on_gone=self._entry_gone,
        )

    def _client(self, url: str, credentials: Credentials) -> HttpClient:
        return HttpClient(
            url,
            venue=VENUE,
            judge=self._judge,
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                **({"X-MBX-APIKEY": credentials.api_key} if self._keyed else {}),
            },
            timeout_s=self._timeout_s,
        )

    @property
    def name(self) -> str:
        return VENUE

    @property
    def capabilities(self) -> Capabilities:
        """The order rate keeps both of the venue's windows, ten seconds and a minute, even right after a burst."""
        short, long = self._limits["10S"], self._limits["1M"]
        burst = max(1, min(short, long) // 3)
        return Capabilities(
            post_only=True,
            reduce_only=True,
            place_batch=PLACE_BATCH,
            cancel_batch=CANCEL_BATCH,
            cancel_all=True,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=max(1.0, min((short - burst) / 10, (long - burst) / 60)),
            order_burst=burst,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )

    @property
    def client_order_ids(self) -> TextForm:
        return self._ids

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Clock, instruments, limits; with a key also the order socket, so that it is warm when it is needed."""
        await self._http.open()
        if self._key_http is not None:
            await self._key_http.open()
        await self._measure_clock()
        info = read_exchange_info(await self._get("/fapi/v1/exchangeInfo", operation="instruments"))
        self._rows = {row.symbol: row for row in info.symbols}
        self._limits.update(parse_limits(info.rateLimits))
        if self._keyed:
            services = (self._entry.hold(), self._keep_house(), self._book_funding())
            self._services = [self._own(service) for service in services]

    async def close(self) -> None:
        """Switches the dead-man's switch off, then lets go of everything."""
        self._closing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_s / 2):
                await asyncio.gather(*(self._disarm(symbol) for symbol in list(self._armed)))
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for client in (self._http, self._key_http):
            if client is not None:
                await client.close()

    # -- questions -----------------------------------------------------------------------------------

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = [each.symbol for each in self._rows.values() if is_tradable(each)]
            near = ", ".join(get_close_matches(name.upper(), known, n=3, cutoff=0.5))
            raise ConfigError(
                f"{VENUE} has no tradable perpetual {name!r}"
                + (f" (status {row.status}, {row.contractType})" if row else "")
                + (f"; near it: {near}" if near else "")
            )
        maker, taker = MAKER_FEE, TAKER_FEE
        if self._keyed:
            body = await self._signed(
                "GET", "/fapi/v1/commissionRate", {"symbol": name}, operation="fees"
            )
            rates = read_commission(body)
            maker = parse_decimal(rates.makerCommissionRate)
            taker = parse_decimal(rates.takerCommissionRate)
        instrument = parse_instrument(row, maker, taker)
        self._contracts[name] = Contract(instrument)
        return instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        balances = read_balances(await self._signed("GET", "/fapi/v3/balance", operation="account"))
        mode = read_account_config(
            await self._signed("GET", "/fapi/v1/accountConfig", operation="account")
        )
        symbols = read_symbol_config(
            await self._signed(
                "GET", "/fapi/v1/symbolConfig", {"symbol": instrument.name}, operation="account"
            )
        )
        leverage = next((row.leverage for row in symbols if row.symbol == instrument.name), None)
        if leverage is None:
            raise malformed(f"no leverage of {instrument.name}")
        row = next((row for row in balances if row.asset == instrument.quote), None)
        equity = available = Decimal(0)
        if row is not None:
            equity = parse_decimal(row.balance) + parse_decimal(row.crossUnPnl)
            available = parse_decimal(row.availableBalance)
        return AccountState(
            equity=equity,
            available=available,
            leverage=Decimal(leverage),
            hedge_mode=mode.dualSidePosition,
            can_withdraw=await self._can_withdraw(),
            clock_offset_ns=self._offset_ns,
        )

    async def _can_withdraw(self) -> bool | None:
        if self._key_http is None:
            return None
        query = self._signer.query("", self._venue_ms())
        try:
            body = await self._key_http.request(
                "GET", "/sapi/v1/account/apiRestrictions", query, operation="key"
            )
            return read_key_restrictions(body).enableWithdrawals
        except VenueError:
            return None

    async def fetch_position(self, instrument: Instrument) -> Position:
        body = await self._signed(
            "GET", "/fapi/v3/positionRisk", {"symbol": instrument.name}, operation="position"
        )
        position = parse_position(read_positions(body), self._contract(instrument))
        if position is not None:
            return position
        mark = parse_decimal((await self._premium_index(instrument)).markPrice)
        return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        """All of them: the venue has no pages here."""
        body = await self._signed(
            "GET", "/fapi/v1/openOrders", {"symbol": instrument.name}, operation="open_orders"
        )
        return [self._report(row, self._contract(instrument)) for row in read_orders(body)]

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        wire_id = self._ids.encode(client_order_id)
        params = {"symbol": instrument.name, "origClientOrderId": wire_id}
        body = await self._signed("GET", "/fapi/v1/order", params, operation="order")
        return self._report(read_order(body), self._contract(instrument))

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        """In windows of seven days until one holds trades, then by trade id to the end."""
        contract = self._contract(instrument)
        now_ms = self._venue_ms()
        start_ms = max(since_ns // NS_PER_MS, now_ms - HISTORY_MS)
        rows: list[TradeRow] = []
        while start_ms <= now_ms and not rows:
            end_ms = start_ms + WINDOW_MS
            rows = await self._trades(instrument, {"startTime": start_ms, "endTime": end_ms})
            start_ms = end_ms + 1
        page = rows
        while rows and (len(page) == TRADES_PER_PAGE or start_ms <= now_ms):
            page = await self._trades(instrument, {"fromId": rows[-1].id + 1})
            rows += page
            if len(page) < TRADES_PER_PAGE:
                break
        await self._learn_owners(instrument.name, rows)
        fills = [parse_trade_row(row, contract, self._owners.get(str(row.orderId))) for row in rows]
        return [fill for fill in fills if fill.ts_venue_ns >= since_ns]

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """At most 1,500; none of a symbol or an interval the venue does not have."""
        if symbol not in self._rows or interval_s not in INTERVALS:
            return []
        query = build_query(
            {"symbol": symbol, "interval": INTERVALS[interval_s], "limit": min(limit, CANDLES_MAX)}
        )
        rows = read_klines(await self._get("/fapi/v1/klines", query, operation="candles"))
        venue_ns = self._now_ns() + self._offset_ns
        return [parse_kline_row(row, symbol, interval_s, venue_ns) for row in rows]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return parse_decimal((await self._premium_index(instrument)).lastFundingRate)

    async def _premium_index(self, instrument: Instrument) -> PremiumIndex:
        query = build_query({"symbol": instrument.name})
        return read_premium_index(
            await self._get("/fapi/v1/premiumIndex", query, operation="premium_index")
        )

    async def _trades(self, instrument: Instrument, where: dict[str, int]) -> list[TradeRow]:
        params = {"symbol": instrument.name, **where, "limit": TRADES_PER_PAGE}
        rows = read_trades(
            await self._signed("GET", "/fapi/v1/userTrades", params, operation="fills")
        )
        return sorted(rows, key=lambda row: row.id)

    async def _learn_owners(self, symbol: str, rows: Iterable[TradeRow]) -> None:
        """Whose the orders are that this process has not met: the list from the oldest on, then one by one.

        A trade can be told before its order can be asked for: while it is young that is no answer.
        """
        orders = {str(row.orderId): (row.orderId, row.time) for row in rows}
        unknown = [number for key, (number, _) in orders.items() if key not in self._owners]
        if len(unknown) > PLACE_BATCH:
            params = {"symbol": symbol, "orderId": min(unknown), "limit": ORDERS_PER_PAGE}
            body = await self._signed("GET", "/fapi/v1/allOrders", params, operation="fills")
            for row in read_orders(body):
                self._remember(str(row.orderId), self._ids.decode(row.clientOrderId))
        for number in unknown:
            if str(number) in self._owners:
                continue
            params = {"symbol": symbol, "orderId": number}
            try:
                body = await self._signed("GET", "/fapi/v1/order", params, operation="fills")
            except OrderNotFound as error:
                if self._venue_ms() - orders[str(number)][1] < YOUNG_MS:
                    raise OutcomeUnknown(
                        "a trade of an order that cannot be asked for yet",
                        venue=VENUE,
                        operation="fills",
                    ) from error
                self._remember(str(number), None)
            else:
                self._remember(str(number), self._ids.decode(read_order(body).clientOrderId))

    def _remember(self, venue_order_id: str, owner: ClientOrderId | None) -> None:
        self._owners[venue_order_id] = owner
        if len(self._owners) > ORDERS_REMEMBERED:
            self._owners.popitem(last=False)

    def _report(self, row: OrderRow, contract: Contract) -> OrderReport:
        report = parse_order(row, contract, self._ids)
        self._remember(report.venue_order_id, report.client_order_id)
        return report

    def _contract(self, instrument: Instrument) -> Contract:
        return self._contracts.get(instrument.name) or self._contracts.setdefault(
            instrument.name, Contract(instrument)
        )

    # -- orders --------------------------------------------------------------------------------------

    def place(
        self, instrument: Instrument, orders: Sequence[NewOrder]
    ) -> Awaitable[list[OrderReport | VenueError]]:
        link = self._entry.link
        if link is None:
            return self._own(self._place_by_rest(instrument, orders))
        contract, signer, ms = self._contract(instrument), self._signer, self._venue_ms()
        encode = self._ids.encode
        return self._send(
            contract,
            "place",
            link,
            len(orders),
            lambda index, request: build_place(
                orders[index],
                contract,
                encode(orders[index].client_order_id),
                request=request,
                ms=ms,
                signer=signer,
            ),
        )

    def cancel(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Awaitable[list[OrderReport | VenueError]]:
        link = self._entry.link
        if link is None:
            return self._own(self._cancel_by_rest(instrument, orders))
        signer, ms, symbol = self._signer, self._venue_ms(), instrument.name
        encode = self._ids.encode
        return self._send(
            self._contract(instrument),
            "cancel",
            link,
            len(orders),
            lambda index, request: build_cancel(
                symbol,
                encode(orders[index].client_order_id),
                request=request,
                ms=ms,
                signer=signer,
            ),
        )

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every order of the instrument, foreign ones too."""
        params = {"symbol": instrument.name}
        await self._signed("DELETE", "/fapi/v1/allOpenOrders", params, operation="cancel_all")

    def _send(
        self,
        contract: Contract,
        operation: str,
        link: Link,
        count: int,
        build: Callable[[int, int], bytes],
    ) -> asyncio.Future[list[Any]]:
        loop = asyncio.get_running_loop()
        flight = Flight(contract, operation, loop.create_future(), [None] * count, count)
        if count == 0:
            flight.future.set_result([])
            return flight.future
        flight.timer = loop.call_later(self._timeout_s, self._expire, flight)
        if (limited := self._limited(operation)) is not None:
            for index in range(count):
                flight.land(index, limited)
            return flight.future
        for index in range(count):
            self._last_request = request = self._last_request + 1
            self._in_flight[str(request)] = (link, flight, index)
            try:
                link.send(build(index, request))
            except NotSent as error:
                del self._in_flight[str(request)]
                flight.land(index, NotSent(error.message, venue=VENUE, operation=operation))
        return flight.future

    def _expire(self, flight: Flight) -> None:
        self._lose(lambda _, each: each is flight, "no answer in time")

    def _entry_gone(self, link: Link, reason: str) -> None:
        self._lose(lambda each, _: each is link, reason)

    def _lose(self, hit: Callable[[Link, Flight], bool], reason: str) -> None:
        """Nobody knows what became of these requests."""
        lost = [key for key, (link, flight, _) in self._in_flight.items() if hit(link, flight)]
        for key in lost:
            _, flight, index = self._in_flight.pop(key)
            flight.land(index, OutcomeUnknown(reason, venue=VENUE, operation=flight.operation))

    def _hear_reply(self, link: Link, message: bytes) -> None:
        try:
            reply = read_reply(message)
        except MalformedMessage as error:
            self._keep(error, message)
            return
        for usage in reply.rateLimits:
            self._note_usage(usage)
        found = self._in_flight.pop(reply.id or "", None)
        if found is None:
            if reply.id is None:
                self._keep(malformed("a reply to nothing"), message)
            return
        _, flight, index = found
        flight.land(index, self._outcome(reply, flight, message))

    def _outcome(self, reply: Reply, flight: Flight, message: bytes) -> OrderReport | VenueError:
        if reply.error is not None:
            error = parse_error(
                reply.error.code,
                reply.error.msg,
                flight.operation,
                status=reply.status,
                now_ns=self._now_ns() + self._offset_ns,
            )
            self._heed(error)
            return error
        try:
            if reply.status != 200 or reply.result == NOTHING:
                raise malformed(f"a reply of status {reply.status} without a result")
            return self._report(read_order(bytes(reply.result)), flight.contract)
        except MalformedMessage as error:
            self._keep(error, message)
            return error

    async def _place_by_rest(
        self, instrument: Instrument, orders: Sequence[NewOrder]
    ) -> list[OrderReport | VenueError]:
        contract = self._contract(instrument)
        rows = [
            build_order_params(order, contract, self._ids.encode(order.client_order_id))
            for order in orders
        ]
        if len(rows) == 1:
            path, params = ORDER_PATH, [rows[0]]
        else:
            chunks = (rows[n : n + PLACE_BATCH] for n in range(0, len(rows), PLACE_BATCH))
            path, params = BATCH_PATH, [{"batchOrders": build_json(chunk)} for chunk in chunks]
        return await self._by_rest(
            "POST",
            path,
            params,
            operation="place",
            contract=contract,
            count=len(rows),
            size=PLACE_BATCH,
        )

    async def _cancel_by_rest(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> list[OrderReport | VenueError]:
        ids = [self._ids.encode(order.client_order_id) for order in orders]
        symbol = {"symbol": instrument.name}
        if len(ids) == 1:
            path, params = ORDER_PATH, [{**symbol, "origClientOrderId": ids[0]}]
        else:
            chunks = (ids[n : n + CANCEL_BATCH] for n in range(0, len(ids), CANCEL_BATCH))
            path = BATCH_PATH
            params = [{**symbol, "origClientOrderIdList": build_json(chunk)} for chunk in chunks]
        contract = self._contract(instrument)
        return await self._by_rest(
            "DELETE",
            path,
            params,
            operation="cancel",
            contract=contract,
            count=len(ids),
            size=CANCEL_BATCH,
        )

    async def _by_rest(
        self,
        method: str,
        path: str,
        requests: Sequence[Mapping[str, object]],
        *,
        operation: str,
        contract: Contract,
        count: int,
        size: int,
    ) -> list[OrderReport | VenueError]:
        """One outcome for each of `count` orders, `size` of them in each request; one request's failure is its own."""
        outcomes: list[OrderReport | VenueError] = []
        for request in requests:
            share = min(size, count - len(outcomes))
            try:
                body = await self._signed(method, path, request, operation=operation)
                items = read_items(body) if path == BATCH_PATH else [msgspec.Raw(body)]
                if len(items) != share:
                    raise malformed(f"{len(items)} answers to {share} orders")
                outcomes += [self._item(bytes(item), operation, contract) for item in items]
            except VenueError as error:
                outcomes += [error] * share
        return outcomes

    def _item(self, text: bytes, operation: str, contract: Contract) -> OrderReport | VenueError:
        try:
            refusal = read_error(text)
            if refusal.code:
                return parse_error(refusal.code, refusal.msg, operation)
            return self._report(read_order(text), contract)
        except MalformedMessage as error:
            self._keep(error, text)
            return error

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        symbol = instrument.name
        feed = self._price_feeds.setdefault(symbol, PriceFeed(self._contract(instrument)))
        names = [f"{symbol.lower()}@{kind}" for kind in PRICE_STREAMS]
        feed.listeners.append(listener)
        try:
            await self._stream(self._prices, self._price_topics, names, listener)
        finally:
            feed.listeners.remove(listener)
            if not feed.listeners:
                del self._price_feeds[symbol]
                self._price_topics.unsubscribe(self._prices, names)

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        """Symbols the venue does not have stay silent. Raises ConfigError for an interval it does not have."""
        if interval_s not in INTERVALS:
            raise ConfigError(f"{VENUE} has no candles of {interval_s} s")
        keys = [(symbol, interval_s) for symbol in symbols if symbol in self._rows]
        names = [f"{symbol.lower()}@kline_{INTERVALS[interval_s]}" for symbol, _ in keys]
        for key in keys:
            self._candle_feeds.setdefault(key, []).append(listener)
        try:
            await self._stream(self._candles, self._candle_topics, names, listener)
        finally:
            gone = []
            for key, name in zip(keys, names, strict=True):
                self._candle_feeds[key].remove(listener)
                if not self._candle_feeds[key]:
                    del self._candle_feeds[key]
                    gone.append(name)
            self._candle_topics.unsubscribe(self._candles, gone)

    async def _stream(
        self,
        session: Session,
        topics: Topics,
        names: Sequence[str],
        listener: PriceListener | CandleListener,
    ) -> None:
        topics.wanted.update(dict.fromkeys(names))
        link, ups = session.link, session.ups
        if link is not None:
            try:
                await topics.subscribe(session, link)
            except (StreamBroken, NotSent) as error:
                session.fail(link, error.message)
            if session.up and session.ups == ups:
                listener.stream_up()
        await session.hold()

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        """Also keeps the dead-man's switch of the instrument armed."""
        if not self._keyed:
            raise AuthenticationRefused("no API key is configured", venue=VENUE, operation="orders")
        symbol = instrument.name
        self._contracts[symbol] = self._contract(instrument)
        self._books_ms = self._books_ms or self._venue_ms()
        listeners = self._order_feeds.setdefault(symbol, [])
        listeners.append(listener)
        if self._private.up:
            listener.stream_up()
        held = self._own(self._private.hold())
        armed = self._own(self._keep_armed(symbol))
        try:
            done, _ = await asyncio.wait(
                {held, armed, *self._services}, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            held.cancel()
            armed.cancel()
            listeners.remove(listener)
            if not listeners:
                self._order_feeds.pop(symbol, None)

    async def _greet_prices(self, link: Link) -> None:
        await self._price_topics.subscribe(self._prices, link)

    async def _greet_candles(self, link: Link) -> None:
        await self._candle_topics.subscribe(self._candles, link)

    async def _market_url(self) -> str:
        base = self._endpoints.ws_market_url or f"{self._endpoints.ws_public_url}/market"
        return f"{base.rstrip('/')}/ws"

    async def _order_url(self) -> str:
        return self._endpoints.ws_order_url

    async def _private_url(self) -> str:
        body = await self._http.request("POST", "/fapi/v1/listenKey", operation="listen_key")
        key, base = quote(read_listen_key(body).listenKey, safe=""), self._endpoints.ws_private_url
        if "{listen_key}" in base:
            return base.replace("{listen_key}", key)
        return f"{base.rstrip('/')}/ws?listenKey={key}"

    def _tell_prices(self, tell: Callable[[PriceListener], None]) -> None:
        for feed in list(self._price_feeds.values()):
            for listener in feed.listeners:
                tell(listener)

    def _tell_candles(self, tell: Callable[[CandleListener], None]) -> None:
        everyone = [each for listeners in self._candle_feeds.values() for each in listeners]
        for listener in {id(each): each for each in everyone}.values():
            tell(listener)

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            if message.startswith(b'{"e":"aggTrade"'):
                trade: AggTrade | RawTrade | None = read_agg_trade(message)
            else:
                trade = self._hear_other(link, unwrap(message), ts_local_ns)
            if trade is None:
                return
            feed = self._price_feeds.get(trade.s)
            if feed is None:
                return
            price = Ticks(feed.contract.price.parse(trade.p))
            ms = trade.T
            if price <= 0 or not 0 <= ms < MS_MAX:
                raise malformed("a trade without a price or a time")
        except MalformedMessage as error:
            self._keep(error, message)
            return
        if link.silent:
            link.silent.pop(f"{trade.s.lower()}@aggTrade", None)
        if 0 < feed.last_ms - ms < OLDER_MS:
            return
        feed.last_ms = ms
        for listener in feed.listeners:
            listener.on_price(price, ms * NS_PER_MS, ts_local_ns)

    def _hear_other(
        self, link: Link, message: bytes, ts_local_ns: int
    ) -> AggTrade | RawTrade | None:
        """Everything that is not a plain aggregate trade; returns the trade where it is one after all."""
        kind = read_kind(message)
        match kind.e:
            case "aggTrade":
                return read_agg_trade(message)
            case "trade":
                # Trades of the insurance fund and empty ones are no prices.
                raw = read_raw_trade(message)
                return raw if raw.X == "MARKET" and raw.q.strip("0.") else None
            case "markPriceUpdate":
                mark = read_mark_price(message)
                feed = self._price_feeds.get(mark.s)
                if feed is not None:
                    price, ts_venue_ns = feed.contract.price.near(mark.p), parse_ms(mark.E)
                    if price <= 0:
                        raise malformed("a mark price of nothing")
                    feed.mark = parse_decimal(mark.p)
                    link.silent.pop(f"{mark.s.lower()}@markPrice@1s", None)
                    feed.confirm(price, ts_venue_ns, ts_local_ns)
            case "bookTicker":
                book = read_book_ticker(message)
                feed = self._price_feeds.get(book.s)
                if feed is not None:
                    price = parse_book_ticker(book, feed.contract.price)
                    feed.confirm(price, parse_ms(book.T), ts_local_ns)
            case None if kind.id is not None:
                self._price_topics.hear_answer(kind)
            case _ if kind.e not in NOT_READ:
                raise malformed(f"unknown event {str(kind.e)[:40]!r}")
        return None

    def _hear_candle(self, link: Link, message: bytes) -> None:
        try:
            message = unwrap(message)
            kind = read_kind(message)
            match kind.e:
                case "kline":
                    candle = parse_kline(read_kline(message))
                case None if kind.id is not None:
                    self._candle_topics.hear_answer(kind)
                    return
                case _:
                    raise malformed(f"unknown event {str(kind.e)[:40]!r}")
        except MalformedMessage as error:
            self._keep(error, message)
            return
        name = f"{candle.symbol.lower()}@kline_{INTERVALS[candle.interval_s]}"
        link.silent.pop(name, None)
        for listener in self._candle_feeds.get((candle.symbol, candle.interval_s), ()):
            listener.on_candle(candle)

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        try:
            message = unwrap(message)
            kind = read_kind(message).e
            match kind:
                case "ORDER_TRADE_UPDATE":
                    self._hear_order(read_order_update(message).o, ts_local_ns)
                case "ACCOUNT_UPDATE":
                    self._hear_account(read_account_update(message), ts_local_ns)
                case "listenKeyExpired":
                    self._private.fail(link, "the listen key has lapsed")
                case _ if kind not in NOT_READ:
                    self._keep(malformed(f"unknown event {str(kind)[:40]!r}"), message)
        except MalformedMessage as error:
            self._keep(error, message)
            self._private_down(f"unreadable: {error.message}")
            self._private_up()

    def _hear_order(self, event: OrderEvent, ts_local_ns: int) -> None:
        listeners, contract = self._order_feeds.get(event.s), self._contracts.get(event.s)
        if not listeners or contract is None:
            return
        report = parse_order_event(event, contract, self._ids)
        self._remember(report.venue_order_id, report.client_order_id)
        for listener in listeners:
            listener.on_order(report, ts_local_ns)

    def _hear_account(self, update: AccountUpdate, ts_local_ns: int) -> None:
        ts_venue_ns, told = parse_ms(update.T), []
        for event in update.a.P:
            listeners, contract = self._order_feeds.get(event.s), self._contracts.get(event.s)
            if listeners and contract is not None and event.ps == "BOTH":
                feed = self._price_feeds.get(event.s)
                mark = feed.mark if feed else None
                told.append((listeners, parse_position_event(event, contract, mark)))
        if update.a.m == "FUNDING_FEE":
            paid_ms = ts_venue_ns // NS_PER_MS
            self._funding_since_ms = min(self._funding_since_ms or paid_ms, paid_ms)
            self._funding_paid = True
            self._funding_due.set()
        for listeners, position in told:
            for listener in listeners:
                listener.on_position(position, ts_local_ns)

    def _private_up(self) -> None:
        if self._funding_since_ms:
            self._funding_due.set()
        for listeners in list(self._order_feeds.values()):
            for listener in listeners:
                listener.stream_up()

    def _private_down(self, reason: str) -> None:
        # A payment that falls into the gap is looked for from here on.
        self._funding_since_ms = self._funding_since_ms or self._venue_ms()
        for listeners in list(self._order_feeds.values()):
            for listener in listeners:
                listener.stream_down(reason)

    # -- housekeeping --------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Every half hour: the listen key lives on, the clock is measured."""
        while True:
            await asyncio.sleep(LISTEN_KEY_RENEWAL_S)
            with suppress(VenueError):
                await self._measure_clock()
            link = self._private.link
            if link is None:
                continue
            try:
                await self._http.request("PUT", "/fapi/v1/listenKey", operation="listen_key")
            except Rejected as error:
                if error.code == LISTEN_KEY_LAPSED:
                    self._private.fail(link, "the listen key has lapsed")
            except VenueError:
                self._private.rotate()

    async def _keep_armed(self, symbol: str) -> None:
        """Three chances to re-arm before the switch goes off."""
        if self._dead_man_s <= 0:
            await asyncio.Event().wait()
        try:
            while True:
                with suppress(VenueError):
                    await self._arm(symbol, self._dead_man_s)
                await asyncio.sleep(self._dead_man_s / 4)
        finally:
            if symbol in self._armed and not self._closing:
                self._own(self._disarm(symbol))

    async def _disarm(self, symbol: str) -> None:
        with suppress(VenueError):
            await self._arm(symbol, 0.0)

    async def _arm(self, symbol: str, after_s: float) -> None:
        params = {"symbol": symbol, "countdownTime": round(after_s * 1000)}
        if after_s:
            self._armed[symbol] = None
        await self._signed("POST", "/fapi/v1/countdownCancelAll", params, operation="dead_man")
        if not after_s:
            self._armed.pop(symbol, None)

    async def _book_funding(self) -> None:
        """Reads what was paid: after an event as often as it takes until the history shows it, after a gap once."""
        while True:
            await self._funding_due.wait()
            self._funding_due.clear()
            expected, self._funding_paid = self._funding_paid, False
            for delay_s in FUNDING_RETRIES_S:
                await asyncio.sleep(delay_s)
                with suppress(VenueError):
                    found = await self._read_income()
                    if found or not expected:
                        self._funding_since_ms = 0
                        break

    async def _read_income(self) -> bool:
        """Whether there was anything new."""
        start_ms, found = max(self._funding_since_ms - FUNDING_OVERLAP_MS, self._books_ms), False
        while True:
            params = {
                "incomeType": "FUNDING_FEE",
                "startTime": start_ms,
                "limit": INCOME_PER_PAGE,
            }
            body = await self._signed("GET", "/fapi/v1/income", params, operation="funding")
            rows = read_income(body)
            for row in rows:
                found |= self._hear_income(row)
            if len(rows) < INCOME_PER_PAGE or rows[-1].time <= start_ms:
                return found
            start_ms = rows[-1].time

    def _hear_income(self, row: IncomeRow) -> bool:
        if row.tranId in self._funding_seen:
            return False
        amount, ts_venue_ns = parse_decimal(row.income), parse_ms(row.time)
        self._funding_seen[row.tranId] = None
        if len(self._funding_seen) > ORDERS_REMEMBERED:
            self._funding_seen.popitem(last=False)
        contract = self._contracts.get(row.symbol)
        if contract is not None and row.asset == contract.instrument.quote:
            for listener in self._order_feeds.get(row.symbol, ()):
                listener.on_funding(str(row.tranId), amount, ts_venue_ns, self._now_ns())
        return True

    async def _measure_clock(self) -> None:
        """Offset = venue - ours, by the quickest of several readings: it leaves the least room for error."""
        best: tuple[int, int] | None = None
        for _ in range(CLOCK_SAMPLES):
            before_ns = self._now_ns()
            body = await self._get("/fapi/v1/time", operation="time")
            after_ns = self._now_ns()
            venue_ns = parse_ms(read_server_time(body).serverTime) + NS_PER_MS // 2
            sample = (after_ns - before_ns, venue_ns - (before_ns + after_ns) // 2)
            best = min(best or sample, sample)
        assert best is not None
        self._offset_ns = best[1]

    def _venue_ms(self) -> int:
        return (self._now_ns() + self._offset_ns) // NS_PER_MS

    async def _get(self, path: str, query: str = "", *, operation: str) -> bytes:
        if (limited := self._limited(operation)) is not None:
            raise limited
        return await self._http.request("GET", path, query, operation=operation)

    async def _signed(
        self, method: str, path: str, params: Mapping[str, object] | None = None, *, operation: str
    ) -> bytes:
        if not self._keyed:
            raise AuthenticationRefused(
                "no API key is configured", venue=VENUE, operation=operation
            )
        if (limited := self._limited(operation)) is not None:
            raise limited
        query = self._signer.query(build_query(params or {}), self._venue_ms())
        return await self._http.request(method, path, query, operation=operation)

    def _judge(self, answer: Answer, operation: str) -> VenueError | None:
        weight = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if weight.isdecimal():
            self.used_weight = int(weight[:9])
        for window, limit in (("10S", self._limits["10S"]), ("1M", self._limits["1M"])):
            count = answer.headers.get(f"X-MBX-ORDER-COUNT-{window}", "")
            if count.isdecimal():
                self.on_usage(int(count[:9]), limit)
        error = parse_answer_error(answer, operation, self._now_ns() + self._offset_ns)
        if error is not None:
            self._heed(error)
        return error

    def _note_usage(self, usage: Usage) -> None:
        if usage.rateLimitType == "ORDERS":
            self.on_usage(usage.count, usage.limit)
        elif usage.rateLimitType == "REQUEST_WEIGHT":
            self.used_weight = usage.count

    def _heed(self, error: VenueError) -> None:
        """A limit with a time stops every request until then; a wrong clock is measured again."""
        if isinstance(error, RateLimited) and error.retry_after_s is not None:
            until_ns = self._now_ns() + round(min(error.retry_after_s, 4 * 86400) * NS_PER_S)
            self._quiet_until_ns = max(self._quiet_until_ns, until_ns)
        if isinstance(error, ClockSkew) and (self._measuring is None or self._measuring.done()):
            self._measuring = self._own(self._measure_again())

    async def _measure_again(self) -> None:
        with suppress(VenueError):
            await self._measure_clock()

    def _limited(self, operation: str) -> RateLimited | None:
        """The venue asked for quiet: to go on asking would make it worse."""
        left_s = (self._quiet_until_ns - self._now_ns()) / NS_PER_S
        if left_s <= 0:
            return None
        return RateLimited(
            "keeping quiet as the venue asked",
            retry_after_s=left_s,
            venue=VENUE,
            operation=operation,
        )

    def _keep(self, error: Exception, frame: bytes) -> None:
        self.malformed_count += 1
        self.malformed.append((str(error), frame[:FRAME_KEPT]))

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task


async def _nothing_to_say(link: Link) -> None:
    """The address was the greeting."""


def make_binance(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
) -> Binance:
    """`LIVE`, `DEMO` or endpoints of your own."""
    return Binance(credentials, endpoints, bot_tag, clock, rng)
