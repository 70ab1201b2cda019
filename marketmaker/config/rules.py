"""What must hold between keys that are each right on their own.

A rule names the keys it compares, the one to blame first, and is asked only when none of them is in doubt already.
"""

from __future__ import annotations

import difflib
import os.path
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from math import log

from marketmaker.config.fields import plain
from marketmaker.config.sections import Report
from marketmaker.config.yaml_source import printable
from marketmaker.model.settings import (
    ExecutionSettings,
    GridSettings,
    GridSide,
    PaperSettings,
    RiskSettings,
    SafetySettings,
    Spacing,
)
from marketmaker.venues import VENUES, Venue, available_venues, venue_of

FARTHEST_LEVEL = 10**9
"""How many times the anchor, or which part of it, the outermost geometric level of a window may be."""


@dataclass(frozen=True, slots=True)
class GridRule:
    """`broken` says what is wrong and what would pass, or None."""

    keys: tuple[str, ...]
    broken: Callable[[GridSettings], str | None]


def one_interval(grid: GridSettings) -> str | None:
    if grid.price_interval is not None and grid.interval_pct is not None:
        return "price_interval and interval_pct are both set; keep one and set the other to null"
    if grid.price_interval is None and grid.interval_pct is None:
        if grid.spacing is Spacing.GEOMETRIC:
            return "missing; spacing: geometric needs interval_pct, such as interval_pct: 0.001"
        return "missing; set price_interval (quote currency), such as price_interval: 2"
    if grid.spacing is Spacing.ARITHMETIC and grid.price_interval is None:
        return "interval_pct does not fit spacing: arithmetic; set spacing: geometric, or price_interval instead"
    if grid.spacing is Spacing.GEOMETRIC and grid.interval_pct is None:
        return "price_interval does not fit spacing: geometric; set spacing: arithmetic, or interval_pct instead"
    return None


def buys_leave_room(grid: GridSettings) -> str | None:
    if grid.buy_window < grid.max_open_orders:
        return None
    return (
        f"buy_window {grid.buy_window} leaves no room for sells within max_open_orders "
        f"{grid.max_open_orders}; set it below max_open_orders"
    )


def batch_fits(grid: GridSettings) -> str | None:
    if grid.cleanup_batch_size <= grid.max_open_orders:
        return None
    return (
        f"cleanup_batch_size {grid.cleanup_batch_size} is more than max_open_orders "
        f"{grid.max_open_orders}; set {grid.max_open_orders} or less"
    )


def order_reaches_minimum(grid: GridSettings) -> str | None:
    if grid.order_amount >= grid.min_order_value:
        return None
    return (
        f"order_amount {plain(grid.order_amount)} is under min_order_value "
        f"{plain(grid.min_order_value)}; set {plain(grid.min_order_value)} or more"
    )


def levels_stay_sane(grid: GridSettings) -> str | None:
    if grid.spacing is not Spacing.GEOMETRIC or grid.interval_pct is None:
        return None
    window = max(grid.buy_window, grid.sell_window)
    ratio = 1 + float(grid.interval_pct)
    if window * log(ratio) <= log(FARTHEST_LEVEL):
        return None
    largest = Decimal(FARTHEST_LEVEL ** (1 / window) - 1).quantize(Decimal("1e-6"), ROUND_FLOOR)
    return (
        f"levels {plain(grid.interval_pct)} apart explode: level {window} is more than 10^9 times the anchor "
        f"(or less than its 10^-9th part); set interval_pct {plain(largest)} or less, "
        f"or windows of {int(log(FARTHEST_LEVEL) / log(ratio))} or less"
    )


def limits_in_order(lower: str, upper: str, side: GridSide) -> Callable[[GridSettings], str | None]:
    """`lower` must be below `upper` on that side of the market."""

    def broken(grid: GridSettings) -> str | None:
        low, high = getattr(grid, lower), getattr(grid, upper)
        if grid.side is not side or low is None or high is None or low < high:
            return None
        return (
            f"{lower} {plain(low)} is not below {upper} {plain(high)} as side: {side.value} needs; "
            f"set {lower} below {plain(high)} or {upper} above {plain(low)}"
        )

    return broken


def limits_outside_bounds(grid: GridSettings) -> str | None:
    """Between its bounds the grid works; a limit that closes it belongs outside."""
    if grid.price_bounds is None or grid.side is GridSide.NEUTRAL:
        return None
    low, high = grid.price_bounds
    long = grid.side is GridSide.LONG
    below, above = ("stop_loss", "take_profit") if long else ("take_profit", "stop_loss")
    floor, ceiling = getattr(grid, below), getattr(grid, above)
    if floor is not None and floor > low:
        return (
            f"{below} {plain(floor)} is above the low end of price_bounds, {plain(low)}; "
            f"with side: {grid.side.value} set it to {plain(low)} or less"
        )
    if ceiling is not None and ceiling < high:
        return (
            f"{above} {plain(ceiling)} is below the high end of price_bounds, {plain(high)}; "
            f"with side: {grid.side.value} set it to {plain(high)} or more"
        )
    return None


GRID_RULES = (
    GridRule(("price_interval", "interval_pct", "spacing"), one_interval),
    GridRule(("buy_window", "max_open_orders"), buys_leave_room),
    GridRule(("cleanup_batch_size", "max_open_orders"), batch_fits),
    GridRule(("order_amount", "min_order_value"), order_reaches_minimum),
    GridRule(("interval_pct", "spacing", "buy_window", "sell_window"), levels_stay_sane),
    *(
        GridRule((*keys, "side"), limits_in_order(*keys, side))
        for side, keys in (
            (GridSide.LONG, ("stop_loss", "take_profit")),
            (GridSide.LONG, ("stop_loss", "trigger_price")),
            (GridSide.LONG, ("trigger_price", "take_profit")),
            (GridSide.SHORT, ("take_profit", "stop_loss")),
            (GridSide.SHORT, ("take_profit", "trigger_price")),
            (GridSide.SHORT, ("trigger_price", "stop_loss")),
        )
    ),
    GridRule(("stop_loss", "take_profit", "price_bounds", "side"), limits_outside_bounds),
)


def grid_key(report: Report, symbol: str, *names: str) -> str:
    """Path of the first of these grid keys that is written, the symbol's own before the shared one."""
    own, shared = f"symbols.{symbol}.grid", "grid"
    return report.written(
        *(f"{place}.{name}" for name in names for place in (own, shared)), f"{own}.{names[0]}"
    )


def check_grid(grid: GridSettings, symbol: str, report: Report) -> None:
    for rule in GRID_RULES:
        if report.trusts(rule.keys) and (problem := rule.broken(grid)):
            report.refuse(grid_key(report, symbol, *rule.keys), problem)


def check_risk(risk: RiskSettings, report: Report) -> None:
    watched = len(risk.monitor_symbols)
    if not risk.enabled or not report.trusts(("enabled", "monitor_symbols", "recovery_threshold")):
        return
    if not watched:
        report.refuse(
            "risk.monitor_symbols",
            "is empty; list at least one symbol, or set enabled: false",
        )
    elif risk.recovery_threshold > watched:
        report.refuse(
            report.written("risk.recovery_threshold", "risk.monitor_symbols"),
            f"recovery_threshold {risk.recovery_threshold} is more than the {watched} monitor_symbols; "
            f"set recovery_threshold: {watched} or less, or the gate never opens again",
        )


def check_execution(execution: ExecutionSettings, report: Report) -> None:
    if not report.trusts(("burst", "cancel_reserve")):
        return
    if execution.burst * (1 - execution.cancel_reserve) < 1:
        report.refuse(
            report.written("execution.burst", "execution.cancel_reserve"),
            f"burst {execution.burst} with cancel_reserve {execution.cancel_reserve:g} leaves less than one "
            "order to place; raise burst or set cancel_reserve: 0",
        )


def check_paper(paper: PaperSettings, safety: SafetySettings, report: Report) -> None:
    if report.trusts(("feed",)):
        check_feed(paper.feed, report)
    if not report.trusts(("leverage",)):
        return
    if report.trusts(("max_leverage",)) and paper.leverage > safety.max_leverage:
        report.refuse(
            report.written("paper.leverage", "safety.max_leverage"),
            f"leverage {plain(paper.leverage)} is above safety.max_leverage {plain(safety.max_leverage)}; "
            f"set leverage: {plain(safety.max_leverage)} or less",
        )
    elif report.trusts(("maintenance_margin",)) and paper.maintenance_margin * paper.leverage >= 1:
        report.refuse(
            report.written("paper.maintenance_margin", "paper.leverage"),
            f"maintenance_margin {plain(paper.maintenance_margin)} at leverage {plain(paper.leverage)} "
            "liquidates every position at once; set it below 1 / leverage",
        )


def check_feed(feed: str, report: Report) -> None:
    if feed.partition(":")[0] == "synthetic" or os.path.isfile(feed):
        return
    what = "a directory" if os.path.isdir(feed) else "not there"
    report.refuse(
        "paper.feed",
        f"the recording {printable(feed, limit=200)} is {what}; "
        "write synthetic, synthetic:SEED or the path of a recording",
    )


def check_positions(
    grid: GridSettings, symbol: str, paper: PaperSettings, safety: SafetySettings, report: Report
) -> None:
    """The paper account must carry `min_positions` orders."""
    keys = ("order_amount", "balance", "leverage", "min_positions")
    if not report.trusts(keys):
        return
    worth = paper.balance * paper.leverage
    orders = int(worth // grid.order_amount)
    if orders >= safety.min_positions:
        return
    largest = (worth / safety.min_positions).quantize(Decimal("0.01"), ROUND_FLOOR)
    report.refuse(
        grid_key(report, symbol, "order_amount"),
        f"balance {plain(paper.balance)} x leverage {plain(paper.leverage)} pays for {orders} orders of "
        f"{plain(grid.order_amount)}, under safety.min_positions {safety.min_positions}; "
        f"set order_amount: {plain(largest)} or less",
    )


def check_exchange(
    exchange: str, mode: str | None, credentials: dict[str, str], report: Report
) -> None:
    """The venue must be known, have its credentials, and have an adapter; only the first thing amiss is told.

    `mode` None: not known. Paper trading needs no credentials, but half a set is a mistake in any mode.
    """
    venue = venue_of(exchange)
    if venue is None:
        near = difflib.get_close_matches(exchange.lower(), VENUES, n=1, cutoff=0.6)
        advice = f"did you mean {near[0]}? " if near else ""
        report.refuse(
            "exchange",
            f"'{printable(exchange)}' is not a known exchange; {advice}available: {available_venues()} "
            "(`marketmaker exchanges` lists every one)",
        )
        return
    missing = [name for name in venue.credentials if name not in credentials]
    wanted = mode == "live" or bool(credentials)
    if missing and wanted and report.trusts(venue.credentials):
        refuse_missing(venue, missing, report)
        return
    if not report.trusts(("credentials", *venue.credentials)):
        return
    if unused := [
        name
        for name in credentials
        if venue.credentials and name not in (*venue.credentials, *venue.optional)
    ]:
        report.refuse(
            f"credentials.{unused[0]}",
            f"exchange '{venue.id}' does not use it; it needs {', '.join(venue.credentials)}",
        )
    elif not venue.available:
        report.refuse(
            "exchange",
            f"exchange '{venue.id}' has no adapter in this version; available: {available_venues()}",
        )
    elif mode == "live" and venue.id == "paper":
        report.refuse(
            report.written("exchange", "mode"),
            "exchange 'paper' trades in mode: paper only; write mode: paper, or name the exchange to trade on",
        )
    elif mode == "paper" and venue.id != "paper":
        report.refuse(
            report.written("exchange", "mode"),
            f"mode: paper trades on the embedded exchange only; write exchange: paper, or mode: live for '{venue.id}'",
        )


def refuse_missing(venue: Venue, missing: list[str], report: Report) -> None:
    note = "" if venue.available else f" ({venue.id} has no adapter in this version yet)"
    variable = f"{venue.id}_{missing[0]}".upper()
    report.refuse(
        f"credentials.{missing[0]}",
        f"missing; exchange '{venue.id}' needs {', '.join(venue.credentials)}: "
        f"write {missing[0]}: ${{{variable}}}{note}",
        line=report.line_of(report.written("credentials", "exchange")),
    )
