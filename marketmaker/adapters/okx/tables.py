"""OKX's tables: addresses, limits, error codes, and its words for ours."""

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
    Overloaded,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import EndReason, OrderStatus, Side

VENUE = "okx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """`ws_business_url`: where candles live. `ws_order_url` "": that of `ws_private_url`. `simulated`: "1" for demo
    trading, sent as a header."""

    rest_url: str = "https://www.okx.com"
    ws_public_url: str = "wss://ws.okx.com:8443/ws/v5/public"
    ws_business_url: str = "wss://ws.okx.com:8443/ws/v5/business"
    ws_private_url: str = "wss://ws.okx.com:8443/ws/v5/private"
    ws_order_url: str = ""
    simulated: str = ""


LIVE = Endpoints()
DEMO = Endpoints(
    ws_public_url="wss://wspap.okx.com:8443/ws/v5/public",
    ws_business_url="wss://wspap.okx.com:8443/ws/v5/business",
    ws_private_url="wss://wspap.okx.com:8443/ws/v5/private",
    simulated="1",
)

BATCH = 20
ORDERS_PER_S, ORDER_BURST = 20.0, 20
"""Keeps the 60 orders in 2 s of an instrument whatever the other side of the limit's window held."""
EXPIRE_AFTER_MS = 5_000
REQUEST_LIFETIME_S = 10.0
"""`expTime`, the offset of the clocks, and time for a query to find what was accepted."""
ROWS_PER_PAGE, CANDLES_MAX = 100, 300
RECENT_FILLS_MS = 3 * 86_400_000 - 3_600_000
SWITCH_LEAST_S, SWITCH_MOST_S = 10, 120
ARM_GAP_NS = 1_500_000_000
HEARTBEAT_S = 20.0
CONTROL_GAP_S = 0.05
FIRST_MESSAGE_S = {"trades": 120.0, "mark-price": 10.0, "candle": 60.0}
OLDER_NS = 10_000_000_000
"""A trade this little older than the last one is the same news by another socket."""
MAKER_FEE, TAKER_FEE = Decimal("0.0002"), Decimal("0.0005")
"""The public rates, used when there is no key to ask for our own with."""
RATE_PAUSE_S = 2.0
SPOT_ONLY = "1"
PRIVATE_TOPICS = ("orders", "positions", "balance_and_position")

INTERVALS = {
    60: "1m", 180: "3m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1H", 7200: "2H", 14400: "4H",
    21600: "6Hutc", 43200: "12Hutc", 86400: "1Dutc",
}  # fmt: skip
SECONDS = {name: seconds for seconds, name in INTERVALS.items()}

ERRORS: dict[type[VenueError], tuple[int, ...]] = {
    PostOnlyWouldCross: (51511,),
    RateLimited: (50011, 50061, 60014),
    Overloaded: (50001, 50013),
    OutcomeUnknown: (50004, 50026, 51054, 51149),
    InsufficientMargin: (51004, 51008),
    OrderNotFound: (51400, 51401, 51402, 51410, 51503, 51509, 51510, 51603),
    DuplicateClientOrderId: (51016,),
    FilterViolation: (51006, 51020, 51116, 51121, 51137, 51138, 51202),
    ReduceOnlyRefused: (51112, 51148, 51169, 51170, 51205, 51206),
    ClockSkew: (50102, 60004, 60006),
    AuthenticationRefused: (
        *(50101, 50103, 50104, 50105, 50106, 50107, 50108, 50109, 50110, 50111, 50112, 50113),
        *(50119, 50120, 60005, 60007, 60009, 60011, 60024, 60032),
    ),
    Rejected: (
        *(50014, 50015, 51000, 51001, 51002, 51019, 51025, 51039, 51102, 51174, 51513),
        *(59000, 59107, 60012, 60013, 60018, 60028),
    ),
}
ERROR_OF_CODE = {str(code): kind for kind, codes in ERRORS.items() for code in codes}
SOME_FAILED = ("1", "2")
"""Of a request's `code`: what was wrong stands with each order."""
POSITION_SIDE = "posside"
HEDGE_MODE = "the account is in long/short mode; switch it to net mode (Settings, Position mode) with no open order or position"
RECONNECT_SOON = "64008"

SIDES = {"buy": Side.BUY, "sell": Side.SELL}
STATES = {
    "live": OrderStatus.OPEN,
    "partially_filled": OrderStatus.OPEN,
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "mmp_canceled": OrderStatus.CANCELLED,
}
CANCEL_SOURCES = {
    "": EndReason.REQUESTED,
    "1": EndReason.REQUESTED,
    "3": EndReason.LIQUIDATION,
    "6": EndReason.LIQUIDATION,
    "20": EndReason.EXPIRED,
    "22": EndReason.REDUCE_ONLY,
    "23": EndReason.REDUCE_ONLY,
    "31": EndReason.POST_ONLY,
    "32": EndReason.SELF_TRADE,
}
"""Any other is the venue's own reason (15: the price lies beyond the limit)."""
TAKING = ("ioc", "fok", "market", "optimal_limit_ioc")
EXECUTION = {"M": True, "T": False}
"""Whether the fill was a maker's."""
