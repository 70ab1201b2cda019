"""What the operator chose, after checking. `config` builds these from YAML; nothing below ever sees a file.

Times are seconds unless the name says otherwise. Money is in the instrument's quote currency.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import Enum

from marketmaker.model.action import Severity

MASK = "***"


class GridSide(Enum):
    LONG = "long"
    SHORT = "short"
    NEUTRAL = "neutral"


class Spacing(Enum):
    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class PostOnlyPolicy(Enum):
    DEGRADE = "degrade"
    STRICT = "strict"
    OFF = "off"


class PositionPolicy(Enum):
    """What to do with a confirmed difference between slots and position."""

    ADOPT = "adopt"
    IGNORE = "ignore"


class WindowFrom(Enum):
    """Whether the window starts at the level nearest to the price or at the first one that may be placed."""

    NEAREST = "nearest"
    BELOW = "below"


@dataclass(frozen=True, slots=True, kw_only=True)
class GridSettings:
    """One symbol's grid. Exactly one of `price_interval` (quote) and `interval_pct` (fraction) is set.

    For `side: short` read every buy as sell and below as above. `place_distance` is a fraction of the interval.
    `max_position` in base units. None: no such limit.
    """

    side: GridSide = GridSide.LONG
    spacing: Spacing = Spacing.ARITHMETIC
    price_interval: Decimal | None = None
    interval_pct: Decimal | None = None
    order_amount: Decimal
    min_order_value: Decimal = Decimal(5)
    buy_window: int = 10
    sell_window: int = 10
    max_open_orders: int = 100
    cleanup_batch_size: int = 10
    place_distance: Decimal = Decimal("0.1")
    window_from: WindowFrom = WindowFrom.NEAREST
    anchor: Decimal | None = None
    price_bounds: tuple[Decimal, Decimal] | None = None
    trigger_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    max_position: Decimal | None = None
    post_only: PostOnlyPolicy = PostOnlyPolicy.DEGRADE
    post_only_rejects: int = 3
    margin_lock_s: float = 10.0
    retry_delay_s: float = 0.5
    refused_delay_s: float = 60.0
    query_delay_s: float = 1.0
    close_slippage: Decimal = Decimal("0.005")
    on_position_difference: PositionPolicy = PositionPolicy.ADOPT


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceMonitorSettings:
    """`max_jump` is a fraction of the last price. `send_interval_ms` 0: every change at once."""

    send_interval_ms: int = 0
    stale_after_s: float = 5.0
    max_jump: Decimal = Decimal("0.05")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSettings:
    """`cancel_reserve` is the share of the burst that only cancels may use."""

    orders_per_s: float = 25.0
    burst: int = 30
    cancel_reserve: float = 0.2
    request_timeout_s: float = 10.0
    max_retries: int = 5
    retry_delay_s: float = 0.5
    rate_limit_delay_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSettings:
    """Market-wide candle gate plus limits on the account. Fractions are of equity at start; None: no limit."""

    enabled: bool = True
    monitor_symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "DOGEUSDT")
    interval_s: int = 60
    average_window: int = 20
    volume_multiplier: float = 3.0
    recovery_threshold: int = 3
    min_hold_s: float = 120.0
    daily_loss_limit: Decimal | None = None
    max_drawdown: Decimal | None = None
    max_funding_rate: Decimal | None = None
    check_interval_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySettings:
    """The check before the first order."""

    max_leverage: Decimal = Decimal(10)
    min_positions: int = 100
    max_clock_offset_s: float = 1.0
    allow_withdrawal_keys: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSettings:
    """The embedded exchange. `fill` is cross, touch or queue. Latencies are one way, in milliseconds."""

    feed: str = "synthetic"
    balance: Decimal = Decimal(10_000)
    leverage: Decimal = Decimal(5)
    fill: str = "queue"
    order_latency_ms: float = 5.0
    stream_latency_ms: float = 2.0
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None
    maintenance_margin: Decimal = Decimal("0.005")
    funding_rate: Decimal = Decimal("0.0001")
    funding_interval_s: float = 28_800.0
    orders_per_s: float = 30.0
    order_burst: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentSettings:
    """A paper instrument the built-in table does not know, or a change to one that it does."""

    tick_size: Decimal | None = None
    lot_size: Decimal | None = None
    min_qty: Decimal | None = None
    min_notional: Decimal | None = None
    maker_fee: Decimal | None = None
    taker_fee: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSettings:
    name: str
    grid: GridSettings
    instrument: InstrumentSettings = field(default_factory=InstrumentSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Secrets never show: `repr` names only which of them are set."""

    api_key: str = ""
    api_secret: str = ""
    passphrase: str = ""

    def __repr__(self) -> str:
        given = [name for name in ("api_key", "api_secret", "passphrase") if getattr(self, name)]
        return f"Credentials({', '.join(f'{name}=***' for name in given)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyVaultSettings:
    """`path` of the encrypted file of accounts, or `${credential:NAME}`; `unlock` says where its key is, never the key."""

    path: str = ""
    unlock: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChannel:
    """Where alerts go. `url` is an apprise address: it holds tokens and passwords, so it never shows."""

    name: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """Which alerts go where: those of at least `severity` whose topic is one of `topics`, or begins with one and a dot.

    No `topics`: all of them. No `channels`: all of them. The same topic of the same symbol is told once in
    `cool_down_s`; what comes within `group_s` of the first is one message.
    """

    topics: tuple[str, ...] = ()
    severity: Severity = Severity.WARNING
    channels: tuple[str, ...] = ()
    cool_down_s: float = 300.0
    group_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatSettings:
    """Where to say regularly that we quote. `url` "": nowhere; `url_not_quoting` "": to `url` as well."""

    url: str = field(default="", repr=False)
    url_not_quoting: str = field(default="", repr=False)
    interval_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    channels: tuple[AlertChannel, ...] = ()
    rules: tuple[AlertRule, ...] = ()
    heartbeat: HeartbeatSettings = field(default_factory=HeartbeatSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """Addresses instead of the venue's own; "" leaves a venue's as it is. Not every venue has every one."""

    rest_url: str = ""
    ws_public_url: str = ""
    ws_private_url: str = ""
    ws_order_url: str = ""
    ws_market_url: str = ""
    ws_business_url: str = ""
    ws_classic_url: str = ""
    key_url: str = ""

    def given(self) -> dict[str, str]:
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: url for name, url in named.items() if url}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """`listen` is host and port, None for no HTTP at all. `token` "": one is made at every start, for this user alone.
    `origins`: pages from elsewhere that may act, beside those served here."""

    listen: tuple[str, int] | None = None
    token: str = field(default="", repr=False)
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration. `mode` is paper or live. `journal` and `state_dir` are paths, "" for none.

    `account` is a name in the key vault, "" when `credentials` stand in the configuration.
    `ledger` is a database's address, "" for none; it may hold a password, so it never shows.
    """

    mode: str
    exchange: str
    bot_tag: str
    symbols: tuple[SymbolSettings, ...]
    testnet: bool = False
    endpoints: EndpointSettings = field(default_factory=EndpointSettings)
    account: str = ""
    credentials: Credentials = field(default_factory=Credentials)
    key_vault: KeyVaultSettings = field(default_factory=KeyVaultSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    paper: PaperSettings = field(default_factory=PaperSettings)
    execution: ExecutionSettings = field(default_factory=ExecutionSettings)
    price_monitor: PriceMonitorSettings = field(default_factory=PriceMonitorSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    reconcile_interval_s: float = 60.0
    cleanup_interval_s: float = 10.0
    shutdown_timeout_s: float = 20.0
    journal: str = ""
    state_dir: str = ""
    ledger: str = field(default="", repr=False)
    log_level: str = "info"


def without_secrets(settings: Settings) -> Settings:
    """What may be shown and kept: credentials are left out, and of where alerts go only the names are left.

    `ledger` may still hold a password (`marketmaker.ledger.url.shown`).
    """
    alerts = settings.alerts
    return replace(
        settings,
        credentials=Credentials(),
        http=replace(settings.http, token=MASK if settings.http.token else ""),
        alerts=AlertSettings(
            channels=tuple(AlertChannel(name=each.name, url=MASK) for each in alerts.channels),
            rules=alerts.rules,
            heartbeat=HeartbeatSettings(
                url=MASK if alerts.heartbeat.url else "",
                url_not_quoting=MASK if alerts.heartbeat.url_not_quoting else "",
                interval_s=alerts.heartbeat.interval_s,
            ),
        ),
    )
