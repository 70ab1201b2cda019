"""Bybit's tables: addresses, limits, error codes, and its words for ours."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import EndReason, OrderStatus, Side

VENUE = "bybit"
CATEGORY = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    rest_url: str = "https://api.bybit.com"
    ws_public_url: str = "wss://stream.bybit.com/v5/public/linear"
    ws_private_url: str = "wss://stream.bybit.com/v5/private"
    ws_order_url: str = "wss://stream.bybit.com/v5/trade"


LIVE = Endpoints()
DEMO = Endpoints(
    rest_url="https://api-testnet.bybit.com",
    ws_public_url="wss://stream-testnet.bybit.com/v5/public/linear",
    ws_private_url="wss://stream-testnet.bybit.com/v5/private",
    ws_order_url="wss://stream-testnet.bybit.com/v5/trade",
)

BATCH = 10
ORDERS_PER_S, ORDER_BURST = 7.0, 3
"""The default tier takes 10 a second of each kind: no second can see more than these two together."""
RECV_WINDOW_MS = 5000
AUTH_AHEAD_MS = 10_000
REQUEST_LIFETIME_S = 10.0
INSTRUMENTS_PER_PAGE, ORDERS_PER_PAGE, FILLS_PER_PAGE, CANDLES_MAX = 1000, 50, 100, 1000
WEEK_MS = 7 * 86_400_000 - 1
HISTORY_MS = 90 * 86_400_000
"""How far back executions are looked for, a week in each request."""
HEARTBEAT_S = 20.0
CONTROL_GAP_S = 0.05
FIRST_MESSAGE_S = {"publicTrade": 120.0, "tickers": 10.0, "kline": 60.0}
OLDER_NS = 10_000_000_000
"""A trade this little older than the last one is the same news by another socket."""
MAKER_FEE, TAKER_FEE = Decimal("0.0002"), Decimal("0.00055")
"""The public rates, used when there is no key to ask for our own with."""
BAN_S, RATE_PAUSE_S = 600.0, 1.0
PRIVATE_TOPICS = ("order", "execution", "position")

INTERVALS = {
    60: "1", 180: "3", 300: "5", 900: "15", 1800: "30", 3600: "60", 7200: "120", 14400: "240",
    21600: "360", 43200: "720", 86400: "D",
}  # fmt: skip
SECONDS = {name: seconds for seconds, name in INTERVALS.items()}

ERRORS: dict[type[VenueError], tuple[int, ...]] = {
    PostOnlyWouldCross: (110103,),
    RateLimited: (10006,),
    OutcomeUnknown: (429, 10000, 10016, 10019, 10403, 10429, 20003, 20006, 110079),
    InsufficientMargin: (110004, 110007, 110012, 110044, 110045),
    OrderNotFound: (110001, 110008, 110010),
    DuplicateClientOrderId: (10014, 110072),
    FilterViolation: (30208, 30209, 110003, 110094, 110120, 110121),
    ReduceOnlyRefused: (110017,),
    ClockSkew: (10002,),
    AuthenticationRefused: (10003, 10004, 10005, 10007, 10010, 33004),
    Rejected: (10001, 10029, 110020, 110025, 110043, 110074),
}
ERROR_OF_CODE = {code: kind for kind, codes in ERRORS.items() for code in codes}
WRONG_MODE = "position idx not match position mode"
HEDGE_MODE = "the account is in hedge mode; switch it to one-way mode (Position mode) with no open order or position"

SIDES = {"Buy": Side.BUY, "Sell": Side.SELL}
SIDE_WORDS = {side: word for word, side in SIDES.items()}
STATUSES = {
    "New": OrderStatus.OPEN,
    "Created": OrderStatus.OPEN,
    "Untriggered": OrderStatus.OPEN,
    "Triggered": OrderStatus.OPEN,
    "PartiallyFilled": OrderStatus.OPEN,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Deactivated": OrderStatus.CANCELLED,
    "PartiallyFilledCanceled": OrderStatus.CANCELLED,
    "Rejected": OrderStatus.REJECTED,
}
POST_ONLY_REASON = "EC_PostOnlyWillTakeLiquidity"
CANCEL_TYPES = {
    "CancelBySmp": EndReason.SELF_TRADE,
    "CancelByReduceOnly": EndReason.REDUCE_ONLY,
    "CancelByPrepareLiq": EndReason.LIQUIDATION,
    "CancelAllBeforeLiq": EndReason.LIQUIDATION,
    "CancelByPrepareAdl": EndReason.LIQUIDATION,
    "CancelAllBeforeAdl": EndReason.LIQUIDATION,
}
TRADES = ("Trade", "AdlTrade", "BustTrade", "Settle", "Delivery")
"""Types of executions that move the position."""
FUNDING = "Funding"
