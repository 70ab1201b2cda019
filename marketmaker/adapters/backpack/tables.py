"""Backpack's tables: addresses, limits, error codes, and its words for ours."""

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
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import EndReason, OrderStatus, Side

VENUE = "backpack"
API, HISTORY = "/api/v1", "/wapi/v1/history"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """`ws_private_url` "": that of `ws_public_url`. `ws_order_url` means nothing: orders go over REST."""

    rest_url: str = "https://api.backpack.exchange"
    ws_public_url: str = "wss://ws.backpack.exchange"
    ws_private_url: str = ""
    ws_order_url: str = ""


LIVE = Endpoints()
DEMO: Endpoints | None = None

PLACE_BATCH = 10
ORDERS_PER_S, ORDER_BURST = 15.0, 5
WINDOW_MS = 5_000
REQUEST_LIFETIME_S = 10.0
ROWS_PER_PAGE = 100
RECENT_ORDERS = 100
FUNDING_POLL_S = 600.0
CONTROL_GAP_S = 0.05
FIRST_MESSAGE_S = {"trade": 120.0, "markPrice": 15.0, "kline": 60.0}
OLDER_NS = 10_000_000_000
"""A trade this little older than the last one is the same news by another socket."""
RATE_PAUSE_S = 2.0
BASIS_POINT = Decimal("0.0001")
MAKER_FEE, TAKER_FEE = Decimal("0.0002"), Decimal("0.0005")
"""The public rates, used when there is no key to ask for our own with."""
PRIVATE_TOPICS = ("account.orderUpdate", "account.positionUpdate")

INTERVALS = {
    60: "1m", 180: "3m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1h", 7200: "2h", 14400: "4h",
    21600: "6h", 28800: "8h", 43200: "12h", 86400: "1d",
}  # fmt: skip
SECONDS = {name: seconds for seconds, name in INTERVALS.items()}

INSTRUCTIONS = {
    ("POST", f"{API}/order"): "orderExecute",
    ("POST", f"{API}/orders"): "orderExecute",
    ("DELETE", f"{API}/order"): "orderCancel",
    ("DELETE", f"{API}/orders"): "orderCancelAll",
    ("GET", f"{API}/order"): "orderQuery",
    ("GET", f"{API}/orders"): "orderQueryAll",
    ("GET", f"{API}/position"): "positionQuery",
    ("GET", f"{API}/capital/collateral"): "collateralQuery",
    ("GET", f"{API}/account"): "accountQuery",
    ("GET", f"{HISTORY}/fills"): "fillHistoryQueryAll",
    ("GET", f"{HISTORY}/orders"): "orderHistoryQueryAll",
    ("GET", f"{HISTORY}/funding"): "fundingHistoryQueryAll",
}
"""What each signed request is called in its signature."""

ERRORS: dict[type[VenueError], tuple[str, ...]] = {
    RateLimited: ("TOO_MANY_REQUESTS",),
    Overloaded: ("MAINTENANCE", "TRADING_PAUSED", "TOO_EARLY", "PRECONDITION_FAILED"),
    OutcomeUnknown: ("TIMEOUT", "SERVER_ERROR"),
    InsufficientMargin: (
        *("INSUFFICIENT_MARGIN", "INSUFFICIENT_FUNDS", "MAX_LEVERAGE_REACHED", "POSITION_LIMIT"),
        "ACCOUNT_LIQUIDATING",
    ),
    OrderNotFound: ("RESOURCE_NOT_FOUND",),
    DuplicateClientOrderId: ("DUPLICATE_CLIENT_ID",),
    FilterViolation: ("INVALID_PRICE", "INVALID_QUANTITY"),
    ReduceOnlyRefused: ("REDUCE_ONLY_NOT_REDUCED",),
    ClockSkew: ("TIMESTAMP_OUT_OF_RANGE",),
    AuthenticationRefused: ("UNAUTHORIZED", "INVALID_SIGNATURE", "FORBIDDEN"),
    Rejected: (
        *("INVALID_ORDER", "INVALID_CLIENT_REQUEST", "INVALID_MARKET", "INVALID_SYMBOL"),
        "ORDER_LIMIT",
    ),
}
ERROR_OF_CODE = {code: kind for kind, codes in ERRORS.items() for code in codes}
WOULD_TAKE = "immediately match"
"""Of an INVALID_ORDER: its post-only kind."""
OF_SIGNATURE, OF_WINDOW = "signature", "window"
"""Of an INVALID_CLIENT_REQUEST: what is wrong with it."""

SIDES = {"Bid": Side.BUY, "Ask": Side.SELL}
SIDE_WORDS = {side: word for word, side in SIDES.items()}
STATUSES = {
    "New": OrderStatus.OPEN,
    "TriggerPending": OrderStatus.OPEN,
    "PartiallyFilled": OrderStatus.OPEN,
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Expired": OrderStatus.CANCELLED,
    "TriggerFailed": OrderStatus.REJECTED,
}
EXPIRY_REASONS = {
    "PostOnlyTaker": EndReason.POST_ONLY,
    "PostOnlyMode": EndReason.POST_ONLY,
    "InsufficientMargin": EndReason.INSUFFICIENT_MARGIN,
    "InsufficientFunds": EndReason.INSUFFICIENT_MARGIN,
    "SelfTradePrevention": EndReason.SELF_TRADE,
    "ReduceOnlyNotReduced": EndReason.REDUCE_ONLY,
    "ImmediateOrCancel": EndReason.IOC,
    "FillOrKill": EndReason.IOC,
    "Liquidation": EndReason.LIQUIDATION,
    "NegativeEquity": EndReason.LIQUIDATION,
}
"""Any other is the venue's own reason."""
TRADABLE = ("Open", "PostOnly")
