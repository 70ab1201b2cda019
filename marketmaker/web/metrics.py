"""One reading as Prometheus text. Names and units follow Prometheus' own rules; `promtool check metrics` agrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

View = dict[str, Any]
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
STATES = ("quoting", "waiting", "paused", "ended", "failed")
GATES = ("open", "shut", "off")
PARTS = ("grid", "inventory", "fees", "funding", "total")


def exposition(view: View, age_s: float, *, healthy: bool) -> bytes:
    """`age_s`: how old the reading is; `healthy` is said with that in mind."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(OneReading(view, age_s, healthy=healthy))
    return generate_latest(registry)


class OneReading:
    """Implements prometheus_client's collector."""

    def __init__(self, view: View, age_s: float, *, healthy: bool) -> None:
        self._view = view
        self._age_s = age_s
        self._healthy = healthy

    def collect(self) -> Iterator[Metric]:
        yield from whole(self._view, self._age_s, self._healthy)
        yield from budget(self._view["budget"])
        yield from risk(self._view["risk"])
        yield from latency(self._view["latency"])
        rows = self._view["symbols"]
        yield from trading(rows)
        yield from money(rows)
        yield from streams(rows)


def gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"marketmaker_{name}", what, value=value)


def counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"marketmaker_{name}", what, value=value)


def by_symbol(
    kind: type[GaugeMetricFamily] | type[CounterMetricFamily],
    name: str,
    what: str,
    rows: list[View],
    *path: str,
) -> Metric:
    """One sample per symbol: what stands at `path` of its row; none where it is absent."""
    family = kind(f"marketmaker_{name}", what, labels=["symbol"])
    for row in rows:
        value: Any = row
        for step in path:
            value = value.get(step)
        if value is not None:
            family.add_metric([row["symbol"]], float(value))
    return family


def whole(view: View, age_s: float, healthy: bool) -> Iterator[Metric]:
    yield InfoMetricFamily(
        "marketmaker_build",
        "What is running.",
        value={name: view[name] for name in ("version", "mode", "venue", "bot_tag")},
    )
    yield gauge("healthy", "1 while every symbol quotes or is kept from it on purpose.", healthy)
    yield gauge("ready", "1 once every symbol has looked at the venue.", view["ready"])
    yield gauge("quoting", "1 while at least one symbol quotes.", view["quoting"])
    yield gauge(
        "start_time_seconds",
        "When the process began to trade, Unix time.",
        view["started_ms"] / 1000,
    )
    yield gauge("reading_age_seconds", "How old this reading is.", age_s)
    equity = view.get("equity")
    if equity is None:
        return
    yield gauge(
        "equity", "Equity by our books at the last prices, quote currency.", float(equity["now"])
    )
    if "venue" in equity:
        yield gauge(
            "equity_venue", "Equity as the venue last said, quote currency.", float(equity["venue"])
        )
        yield gauge(
            "equity_residual",
            "Change of the venue's equity that the books cannot explain, quote currency.",
            float(equity["residual"]),
        )
        yield gauge("equity_reading_age_seconds", "How old the venue's equity is.", equity["age_s"])


def budget(row: View) -> Iterator[Metric]:
    yield gauge("rate_budget_left", "Order messages that may leave now.", row["left"])
    yield gauge(
        "rate_budget_burst", "Order messages that may leave at once after a pause.", row["burst"]
    )
    yield gauge("rate_budget_waiting", "Orders held back for want of budget.", row["waiting"])
    yield gauge(
        "rate_pause_seconds", "How long the account is still to be left alone.", row["paused_s"]
    )
    sent = CounterMetricFamily(
        "marketmaker_order_messages",
        "Orders handed to the venue, repeats included.",
        labels=["kind"],
    )
    sent.add_metric(["place"], row["sent_places"])
    sent.add_metric(["cancel"], row["sent_cancels"])
    yield sent
    yield counter("order_retries", "Order messages that were tried again.", row["retries"])
    yield counter("order_outcomes_unknown", "Requests whose outcome was not told.", row["unknown"])
    refusals = CounterMetricFamily(
        "marketmaker_order_refusals", "Placements refused, by reason.", labels=["reason"]
    )
    for reason, count in row["refusals"]:
        refusals.add_metric([reason], count)
    yield refusals


def risk(row: View) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "marketmaker_risk_gate", "1 for the state the candle gate is in.", labels=["state"]
    )
    for name in GATES:
        state.add_metric([name], row["state"] == name)
    yield state
    yield gauge(
        "risk_limit_reached", "1 while a limit of the account is reached.", bool(row["limit"])
    )
    for key, name, what in (
        ("volume_ratio", "volume_ratio", "Volume of the newest candle over its average."),
        ("deviation", "deviation_ratio", "Close of the newest candle over its average, less 1."),
        ("panics", "panic", "1 while the market panics."),
    ):
        family = GaugeMetricFamily(f"marketmaker_risk_market_{name}", what, labels=["market"])
        for market in row["markets"]:
            if not market["no_data"]:
                family.add_metric([market["symbol"]], float(market[key]))
        yield family
    silent = GaugeMetricFamily(
        "marketmaker_risk_market_has_data", "1 while candles of the market come.", labels=["market"]
    )
    for market in row["markets"]:
        silent.add_metric([market["symbol"]], not market["no_data"])
    yield silent


def latency(row: View) -> Iterator[Metric]:
    family = HistogramMetricFamily(
        "marketmaker_tick_to_order_seconds",
        "From hearing a price to handing over the orders it caused.",
    )
    buckets, total = [], 0
    for bound, count in zip(row["bounds_s"], row["counts"], strict=False):
        total += count
        buckets.append((f"{bound:.9g}", float(total)))
    total += sum(row["counts"][len(row["bounds_s"]) :])
    buckets.append(("+Inf", float(total)))
    family.add_metric([], buckets=buckets, sum_value=row["sum_s"])
    yield family


def trading(rows: list[View]) -> Iterator[Metric]:
    yield by_symbol(CounterMetricFamily, "ticks", "Prices heard.", rows, "counters", "ticks")
    orders = CounterMetricFamily(
        "marketmaker_orders", "Orders by what became of them.", labels=["symbol", "outcome"]
    )
    for row in rows:
        for outcome in ("placed", "filled", "cancelled", "rejected"):
            orders.add_metric([row["symbol"], outcome], row["counters"][f"orders_{outcome}"])
    yield orders
    fills = CounterMetricFamily("marketmaker_fills", "Trades of ours.", labels=["symbol", "side"])
    for row in rows:
        for side, key in (("buy", "buys"), ("sell", "sells")):
            fills.add_metric([row["symbol"], side], row["counters"][key])
    yield fills
    yield by_symbol(
        CounterMetricFamily,
        "maker_fills",
        "Trades of ours that made.",
        rows,
        "counters",
        "maker_fills",
    )
    resting = GaugeMetricFamily(
        "marketmaker_open_orders", "Orders that are or may be open.", labels=["symbol", "side"]
    )
    for row in rows:
        resting.add_metric([row["symbol"], "buy"], row["bids"])
        resting.add_metric([row["symbol"], "sell"], row["asks"])
    yield resting
    state = GaugeMetricFamily(
        "marketmaker_symbol_state", "1 for the state the symbol is in.", labels=["symbol", "state"]
    )
    for row in rows:
        for name in STATES:
            state.add_metric([row["symbol"], name], row["state"] == name)
    yield state
    yield by_symbol(
        CounterMetricFamily, "quoting_seconds", "How long orders rested.", rows, "quoting_s"
    )
    silent = CounterMetricFamily(
        "marketmaker_not_quoting_seconds",
        "How long nothing was quoted, by the first reason.",
        labels=["symbol", "reason"],
    )
    for row in rows:
        for reason, seconds in row["not_quoting_s"]:
            silent.add_metric([row["symbol"], reason], seconds)
    yield silent


def money(rows: list[View]) -> Iterator[Metric]:
    yield by_symbol(
        GaugeMetricFamily, "price", "Last believed price, quote currency.", rows, "price"
    )
    yield by_symbol(
        GaugeMetricFamily,
        "position",
        "Inventory of the slots, base units, long positive.",
        rows,
        "position",
    )
    yield by_symbol(
        GaugeMetricFamily,
        "inventory_value",
        "Inventory at the last price, quote currency.",
        rows,
        "position_value",
    )
    yield by_symbol(
        GaugeMetricFamily, "held_slots", "Slots that hold inventory.", rows, "held_slots"
    )
    split = GaugeMetricFamily(
        "marketmaker_pnl",
        "Profit and loss since the start, quote currency; fees count as paid.",
        labels=["symbol", "part"],
    )
    for row in rows:
        for part in PARTS:
            split.add_metric([row["symbol"], part], float(row["pnl"][part]))
    yield split


def streams(rows: list[View]) -> Iterator[Metric]:
    for kind, name, what, key in (
        (GaugeMetricFamily, "price_age_seconds", "Since a price was last believed.", "price_age_s"),
        (
            CounterMetricFamily,
            "price_stream_disconnects",
            "How often the price stream was lost.",
            "price_disconnects",
        ),
        (
            CounterMetricFamily,
            "order_stream_disconnects",
            "How often the order stream was lost.",
            "order_disconnects",
        ),
        (
            GaugeMetricFamily,
            "order_stream_up",
            "1 while the order stream is live.",
            "order_stream_up",
        ),
        (
            GaugeMetricFamily,
            "snapshot_age_seconds",
            "Since orders and position were read.",
            "snapshot_age_s",
        ),
        (
            CounterMetricFamily,
            "snapshots",
            "How often orders and position were read.",
            "snapshots_taken",
        ),
        (
            CounterMetricFamily,
            "snapshot_failures",
            "How often they could not be.",
            "snapshots_failed",
        ),
        (
            CounterMetricFamily,
            "reconcile_differences",
            "Positions that differed from the slots twice in a row.",
            "position_differences",
        ),
        (GaugeMetricFamily, "queue_depth", "Events that wait for the engine.", "queue_depth"),
        (GaugeMetricFamily, "queue_depth_max", "Most events that ever waited.", "queue_depth_max"),
        (
            CounterMetricFamily,
            "queue_overflows",
            "How often the queue was full.",
            "queue_overflows",
        ),
    ):
        yield by_symbol(kind, name, what, rows, "streams", key)
