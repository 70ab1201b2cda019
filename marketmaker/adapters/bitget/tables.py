"""Bitget's tables: addresses, limits, error codes, and its words for ours."""

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
    PositionModeMismatch,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import OrderStatus, Side

VENUE = "bitget"
PRODUCT = "USDT-FUTURES"
COIN = "USDT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """`ws_private_url`, `ws_order_url`: of a unified account; an order address of "" is that of `ws_private_url`.
    `ws_classic_url`: the private socket of a classic account. `simulated`: "1" for demo trading, sent as a header."""

    rest_url: str = "https://api.bitget.com"
    ws_public_url: str = "wss://ws.bitget.com/v2/ws/public"
    ws_private_url: str = "wss://ws.bitget.com/v3/ws/private"
    ws_order_url: str = ""
    ws_classic_url: str = "wss://ws.bitget.com/v2/ws/private"
    simulated: str = ""


LIVE = Endpoints()
DEMO = Endpoints(
    ws_public_url="wss://wspap.bitget.com/v2/ws/public",
    ws_private_url="wss://wspap.bitget.com/v3/ws/private",
    ws_classic_url="wss://wspap.bitget.com/v2/ws/private",
    simulated="1",
)

BATCH = 20
ORDERS_PER_S, ORDER_BURST = 7.0, 3
"""Placements, and apart from them cancels, are limited to 10 a second: no second can see more than these two together."""
REQUEST_LIFETIME_S = 10.0
ROWS_PER_PAGE, CANDLES_MAX = 100, 1000
WEEK_MS = 7 * 86_400_000 - 1
HISTORY_MS = 90 * 86_400_000
"""How far back own trades are looked for, a week in each request."""
SWITCH_LEAST_S, SWITCH_MOST_S = 5.0, 60.0
ARM_GAP_NS = 1_500_000_000
HEARTBEAT_S = 25.0
CONTROL_GAP_S = 0.12
"""A socket that sends more than 10 messages a second is closed."""
FIRST_MESSAGE_S = {"trade": 120.0, "ticker": 10.0, "candle": 60.0}
OLDER_NS = 10_000_000_000
"""A trade this little older than the last one is the same news by another socket."""
REFUSED_WITHIN_NS = 2_000_000_000
"""A post-only order that ends unfilled this soon, and not by us, would have taken."""
MAKER_FEE, TAKER_FEE = Decimal("0.0002"), Decimal("0.0006")
"""The public rates, used where neither the account nor the instrument says any."""
RATE_PAUSE_S = 1.0
FUNDING_POLL_S = 600.0
DEFAULT_LEVERAGE = Decimal(20)
"""Of a symbol that a unified account has never set its leverage for."""

INTERVALS = {
    60: "1m", 180: "3m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1H", 14400: "4H",
    21600: "6Hutc", 43200: "12Hutc", 86400: "1Dutc",
}  # fmt: skip
SECONDS = {name: seconds for seconds, name in INTERVALS.items()}

GOOD = ("00000", "0")
"""`code` over REST and over WebSocket."""
ERRORS: dict[type[VenueError], tuple[int, ...]] = {
    RateLimited: (429, 1001, 30006, 30007, 25004),
    OutcomeUnknown: (
        *(40010, 40910, 40015, 40200, 45001),
        *(25000, 25001, 25003),
    ),
    Overloaded: (40308, 40309, 43115, 25101),
    InsufficientMargin: (40754, 40762, 43012, 40711, 40712, 40798, 25202, 25203, 25228, 25231),
    OrderNotFound: (
        *(40109, 40768, 43001, 43025, 45057, 22001, 80011, 31007),
        *(25204, 24056),
    ),
    DuplicateClientOrderId: (40708, 40786, 43118, 45034, 50060, 25212),
    FilterViolation: (
        *(40808, 40815, 40816, 43028, 45035, 45115, 25205, 25206, 25244),
        *(43027, 43042, 45110, 45111, 45112, 45113, 25207, 25208, 25610, 25611),
    ),
    ReduceOnlyRefused: (22002, 45003, 45005, 45006, 25601),
    PositionModeMismatch: (40774,),
    ClockSkew: (40004, 40005, 40008, 40911, 30013, 30014),
    AuthenticationRefused: (
        *(40001, 40002, 40003, 40006, 40009, 40011, 40012, 40014, 40018, 40036, 40037, 40038),
        *(40085, 25620, 30002, 30004, 30005, 30011, 30012, 30015),
    ),
    Rejected: (
        *(40761, 43005, 45118, 25230, 40017, 40019, 40020, 40034, 40305, 400172, 25200),
        *(30001, 30003, 30016),
    ),
}
ERROR_OF_CODE = {str(code): kind for kind, codes in ERRORS.items() for code in codes}
PARAMETERS, ABOUT_MODE = ("400172", "25200"), ("position opening type", "posside")
"""A unified account refuses an order of the wrong position mode as one with a wrong parameter."""
HEDGE_MODE = "the account is in hedge mode; switch it to one-way mode (Position mode) with no open order or position"

SIDES = {"buy": Side.BUY, "sell": Side.SELL}
HOLD_SIDES = {"long": Side.BUY, "short": Side.SELL}
STATUSES = {
    "init": OrderStatus.OPEN,
    "new": OrderStatus.OPEN,
    "live": OrderStatus.OPEN,
    "partially_filled": OrderStatus.OPEN,
    "filled": OrderStatus.FILLED,
    "canceled": OrderStatus.CANCELLED,
    "cancelled": OrderStatus.CANCELLED,
}
TAKING = ("ioc", "fok")
ASKED_FOR = ("", "normal_cancel")
"""Reasons that say no more than that the order was cancelled."""
ROLES = {"maker": True, "taker": False, "M": True, "T": False}
"""Whether the fill was a maker's."""
YES = ("yes", "YES")
HEDGE = "hedge_mode"
FUNDING_TYPES = ("CONTRACT_MAIN_SETTLE_FEE_USER_IN", "CONTRACT_MAIN_SETTLE_FEE_USER_OUT")
