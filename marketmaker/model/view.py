"""What a running daemon shows of itself, in words and numbers that stand as they are in JSON.

Prices, quantities and money are exact decimal texts, times are Unix milliseconds, durations seconds. A field that is
None is left out of the JSON. These are frozen readings: nothing that holds one can change what the daemon does.
"""

from __future__ import annotations

from dataclasses import dataclass

from marketmaker.model.latency import Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotView:
    """One slot. `side`, `order_price`, `order_qty` (what is left of it) and `age_s` are there while it has an order;
    `why` says in words why it has none, "" when it has one. `held` is signed, long > 0."""

    slot: int
    price: str
    state: str
    held: str
    why: str
    side: str | None = None
    order_price: str | None = None
    order_qty: str | None = None
    filled_qty: str | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PnlView:
    """Since the process started, in quote currency. `grid` is what exits earned and `inventory` what is held now gained
    at the last price, both before fees; `fees` were paid, `funding` was received. `total` = grid + inventory - fees +
    funding."""

    grid: str
    inventory: str
    fees: str
    funding: str
    total: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CountersView:
    """Since the process started."""

    ticks: int
    orders_placed: int
    orders_cancelled: int
    orders_rejected: int
    orders_filled: int
    fills: int
    buys: int
    sells: int
    maker_fills: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamsView:
    """`price_age_s`: since the last price that was believed. `stale_after_s`: from when on that is too old.
    `snapshot_age_s`: since the venue was last asked for orders and position."""

    price_age_s: float | None
    stale_after_s: float
    price_trouble: str
    price_disconnects: int
    order_stream_up: bool
    order_disconnects: int
    snapshot_age_s: float | None
    snapshots_taken: int
    snapshots_failed: int
    position_differences: int
    queue_depth: int
    queue_depth_max: int
    queue_overflows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolView:
    """One symbol. `state` is quoting, waiting (it should quote and cannot), paused (kept out on purpose), ended or
    failed; `reasons` says why it is not quoting, in words. `position` is what the slots hold, signed; `average_price`
    what it was bought for."""

    symbol: str
    base: str
    quote: str
    side: str
    interval: str
    tick: str
    state: str
    reasons: tuple[str, ...]
    healthy: bool
    ready: bool
    closing: bool
    bids: int
    asks: int
    held_slots: int
    position: str
    position_value: str
    quoting_s: float
    not_quoting_s: tuple[tuple[str, float], ...]
    pnl: PnlView
    counters: CountersView
    streams: StreamsView
    slots: tuple[SlotView, ...]
    price: str | None = None
    average_price: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetView:
    """Order messages: how many may leave now, of how many at once; what waits for room; how long the account is paused."""

    left: int
    burst: int
    waiting: int
    paused_s: float
    sent_places: int
    sent_cancels: int
    retries: int
    unknown: int
    refusals: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketView:
    """One market that the risk gate watches. Figures are 0 without data, and `no_data` says why there is none.
    `deviation` is close / mean close - 1, `volume_ratio` volume / mean volume of the newest candle."""

    symbol: str
    no_data: str
    close: float
    deviation: float
    volume_ratio: float
    panics: bool
    recovered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskView:
    """`state` is open, shut or off. `limit` names the account limit that is reached, "" for none."""

    state: str
    since_ms: int
    recovered: int
    needed: int
    volume_multiplier: float
    limit: str
    markets: tuple[MarketView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityView:
    """Quote currency. `now` is what the books make of it at the last prices; `venue` what the venue said `age_s` ago and
    `residual` what of it the books cannot explain."""

    opening: str
    now: str
    venue: str | None = None
    available: str | None = None
    residual: str | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonView:
    """Everything at one moment. `health` is why it is not healthy, empty while it is; `reasons` why it is not quoting."""

    version: str
    mode: str
    venue: str
    bot_tag: str
    pid: int
    time_ms: int
    started_ms: int
    phase: str
    quoting: bool
    ready: bool
    healthy: bool
    health: tuple[str, ...]
    reasons: tuple[str, ...]
    symbols: tuple[SymbolView, ...]
    budget: BudgetView
    risk: RiskView
    latency: Latency
    news_id: int
    equity: EquityView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsView:
    """Something that happened. `kind` is fill, order, alert, gate or operator; `id` counts up from 1."""

    id: int
    time_ms: int
    kind: str
    symbol: str
    severity: str
    text: str
    slot: int | None = None
    side: str | None = None
    price: str | None = None
    qty: str | None = None
    filled: str | None = None
    realised: str | None = None
    fee: str | None = None
    maker: bool | None = None
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolOutcome:
    """What became of a request for one symbol, read again from the venue. `position` is the venue's, signed."""

    symbol: str
    done: bool
    text: str
    entries_open: int
    exits_open: int
    position: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`done` when every symbol is; `seconds` is how long it took."""

    action: str
    done: bool
    text: str
    seconds: float
    symbols: tuple[SymbolOutcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """One key that differs; secrets are not shown. `refused` says why it cannot change while trading, "" if it can."""

    key: str
    old: str
    new: str
    refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderChange:
    """An order that would be sent or cancelled at once. `what` is place or cancel."""

    symbol: str
    what: str
    side: str
    price: str
    qty: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadOutcome:
    """`done`: nothing is wrong, and what can change has changed (or would). `problems` of the file, one a line."""

    applied: bool
    done: bool
    text: str
    changes: tuple[SettingChange, ...]
    orders: tuple[OrderChange, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """`status` is quoting, paused or unhealthy; `reasons` says why it is not quoting or not healthy."""

    healthy: bool
    ready: bool
    status: str
    reasons: tuple[str, ...]
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryView:
    """Points of one symbol, oldest first; every list has as many entries as `time_ms`, and is in quote currency but for
    `position` (base). `step_s` is how far they lie apart."""

    symbol: str
    step_s: float
    time_ms: tuple[int, ...]
    price: tuple[float, ...]
    position: tuple[float, ...]
    grid: tuple[float, ...]
    inventory: tuple[float, ...]
    fees: tuple[float, ...]
    funding: tuple[float, ...]
    total: tuple[float, ...]
    equity: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsList:
    news: tuple[NewsView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """Why a request was refused, in one line."""

    error: str
