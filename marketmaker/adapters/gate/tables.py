"""Gate's tables: addresses, limits, error labels, and its words for ours."""

from __future__ import annotations

from dataclasses import dataclass

from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    OutcomeUnknown,
    PositionModeMismatch,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import EndReason

VENUE = "gate"
API = "/api/v4"
FUTURES = f"{API}/futures/usdt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """`rest_url` without the `/api/v4`. `ws_order_url` "": that of `ws_private_url`."""

    rest_url: str = "https://api.gateio.ws"
    ws_public_url: str = "wss://fx-ws.gateio.ws/v4/ws/usdt"
    ws_private_url: str = "wss://fx-ws.gateio.ws/v4/ws/usdt"
    ws_order_url: str = ""


LIVE = Endpoints()
DEMO = Endpoints(
    rest_url="https://api-testnet.gateapi.io",
    ws_public_url="wss://ws-testnet.gate.com/v4/ws/futures/usdt",
    ws_private_url="wss://ws-testnet.gate.com/v4/ws/futures/usdt",
)

PLACE_BATCH, CANCEL_BATCH = 10, 20
ORDERS_PER_S, ORDER_BURST = 50.0, 50
"""Half of the venue's 100 a second, which placements and amendments share."""
REQUEST_LIFETIME_S = 10.0
ROWS_PER_PAGE, CANDLES_MAX = 100, 2_000
SWITCH_LEAST_S = 5
CONTROL_GAP_S = 0.05
FIRST_MESSAGE_S = {
    "futures.trades": 120.0,
    "futures.tickers": 15.0,
    "futures.candlesticks": 60.0,
}
OLDER_NS = 10_000_000_000
"""A trade this little older than the last one is the same news by another socket."""
RATE_PAUSE_S = 1.0

INTERVALS = {
    60: "1m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1h", 7200: "2h", 14400: "4h",
    21600: "6h", 28800: "8h", 43200: "12h", 86400: "1d",
}  # fmt: skip
SECONDS = {name: seconds for seconds, name in INTERVALS.items()}

ERRORS: dict[type[VenueError], tuple[str, ...]] = {
    PostOnlyWouldCross: ("ORDER_POC_IMMEDIATE", "POC_FILL_IMMEDIATELY", "ORDER_POC"),
    RateLimited: ("TOO_MANY_REQUESTS", "TOO_FAST"),
    OutcomeUnknown: ("TOO_BUSY", "INTERNAL", "SERVER_ERROR"),
    InsufficientMargin: (
        *("INSUFFICIENT_AVAILABLE", "BALANCE_NOT_ENOUGH", "FUTURES_BALANCE_NOT_ENOUGH"),
        *("MARGIN_BALANCE_NOT_ENOUGH", "INITIAL_MARGIN_TOO_LOW", "LIQUIDATE_IMMEDIATELY"),
    ),
    OrderNotFound: (
        *("ORDER_NOT_FOUND", "CLIENT_ID_NOT_FOUND", "ORDER_NOT_OWNED", "ORDER_FINISHED"),
        *("ORDER_CLOSED", "ORDER_CANCELLED", "CANCEL_FAIL"),
    ),
    DuplicateClientOrderId: ("REPEATED_CREATION",),
    FilterViolation: (
        *("PRICE_TOO_DEVIATED", "PRICE_THRESHOLD_EXCEEDED", "INVALID_PRECISION"),
        *("INVALID_PARAM_VALUE", "SIZE_TOO_SMALL", "SIZE_TOO_LARGE"),
    ),
    ReduceOnlyRefused: ("INCREASE_POSITION", "POSITION_EMPTY", "POSITION_NOT_FOUND"),
    ClockSkew: ("REQUEST_EXPIRED",),
    PositionModeMismatch: ("POSITION_DUAL_MODE",),
    AuthenticationRefused: (
        *("INVALID_KEY", "INVALID_SIGNATURE", "INVALID_CREDENTIALS", "IP_FORBIDDEN"),
        *("READ_ONLY", "FORBIDDEN", "ACCOUNT_LOCKED", "MISSING_REQUIRED_HEADER"),
    ),
    Rejected: (
        *("INVALID_CLIENT_ORDER_ID", "TOO_MANY_ORDERS", "RISK_LIMIT_EXCEEDED"),
        *("CONTRACT_IN_DELISTING", "CONTRACT_NOT_FOUND", "USER_NOT_FOUND", "NO_CHANGE"),
        *("ORDER_FOK", "FOK_NOT_FILL"),
    ),
}
ERROR_OF_LABEL = {label: kind for kind, labels in ERRORS.items() for label in labels}
HEDGE_MODE = "the account is in dual mode; switch it to single mode (Position mode) with no open order or position"

ENDINGS = {
    "cancelled": EndReason.REQUESTED,
    "ioc": EndReason.IOC,
    "poc": EndReason.POST_ONLY,
    "stp": EndReason.SELF_TRADE,
    "reduce_only": EndReason.REDUCE_ONLY,
    "reduce_out": EndReason.REDUCE_ONLY,
    "position_closed": EndReason.REDUCE_ONLY,
    "liquidated": EndReason.LIQUIDATION,
    "auto_deleveraged": EndReason.LIQUIDATION,
}
"""Of `finish_as`; any other is the venue's own reason. `filled` is no reason."""
ROLES = {"maker": True, "taker": False}
