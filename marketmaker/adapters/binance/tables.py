"""Binance's tables: addresses, limits, error codes, and its words for ours."""

from __future__ import annotations

import re
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
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import EndReason, OrderStatus, Side

VENUE = "binance"
MS_PER_DAY = 86_400_000


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
NAMES_PER_SUBSCRIBE = 200
CONTROL_GAP_S = 0.12
"""At most ten control messages a second on a socket."""
PRICE_STREAMS = ("aggTrade", "markPrice@1s")
FIRST_MESSAGE_S = {"aggTrade": 120.0, "markPrice@1s": 10.0, "kline": 60.0}
OLDER_NS = 10_000_000_000
"""A trade this little older than the last one is the same news by another socket."""
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
ADVICE = {
    -1022: "api_secret does not belong to api_key: copy both again",
    -2014: "api_key has another form than this venue's keys: copy it again",
    -2015: "the key is not known here, its list of addresses leaves out this one, or it may not trade futures; a key"
    " of the testnet works with testnet: true only",
}
"""What the operator can do where the venue's own words do not say it."""
MAY_NOT_TRADE = "the account may not trade futures: open them in the venue's settings"
KEY_MAY_NOT_TRADE = "this API key may only read: allow it futures in the venue's API management"
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
