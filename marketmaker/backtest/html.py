"""One page of a result that needs nothing else: figures, plots and the library that draws them in one file.

plotly.js is written into the page, so that it opens without a network; the page itself forbids every request (its
Content-Security-Policy). Plots get a bounded number of points whatever the length of the data: 2,000 of each line
with the extremes between them, 1,500 fills of a side, 200 levels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from decimal import Decimal
from enum import Enum
from html import escape
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from marketmaker.backtest import result as words
from marketmaker.backtest.figures import percentile
from marketmaker.backtest.result import Result, moment, plain
from marketmaker.errors import ConfigError
from marketmaker.model.settings import GridSettings

MARKS_OF_A_SIDE = 1_500
LEVEL_BARS = 200
GAIN_BARS = 40
GAPS_DRAWN = 40
GAP_SHARE = 0.004
"""A gap is drawn from this share of the run on: about five pixels."""
HELD_EDGES_S = (1, 10, 60, 600, 3_600, 4 * 3_600, 86_400, 7 * 86_400)
HELD_LABELS = (
    "< 1 s",
    "< 10 s",
    "< 1 min",
    "< 10 min",
    "< 1 h",
    "< 4 h",
    "< 1 d",
    "< 7 d",
    "longer",
)
PERIOD_NAMES = {86_400: "day", 3_600: "hour", 60: "minute"}
NS_PER_MS = 1_000_000


def page(result: Result, *, grid: GridSettings, notes: Sequence[str]) -> str:
    """`notes`: what was understood and how gaps are treated, one line each. Raises ConfigError without plotly."""
    template = files("marketmaker.backtest").joinpath("page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": escape(f"{result.instrument.name}: backtest of a {grid.side.value} grid"),
        "SUBTITLE": escape(
            f"{moment(result.start_ns)} to {moment(result.end_ns)}, {result.rows:,} events, fill rule "
            f"{result.fill_model}, latency {result.latency_ns / NS_PER_MS:g} ms"
        ),
        "CARDS": "".join(cards(result)),
        "NOTES": "".join(
            f'<div class="note{kind}">{escape(text)}</div>'
            for kind, texts in ((" warn", result.remarks), ("", notes))
            for text in texts
        ),
        "TIMELINE": escape(caption(result)),
        "PERIOD": PERIOD_NAMES.get(result.figures.period_s, "period"),
        "FIGURES": table(words.table(result)),
        "GRID": table(grid_rows(grid)),
        "PLOTLY": plotly_js(),
        "DATA": json.dumps(plots(result), separators=(",", ":")).replace("</", "<\\/"),
    }
    return re.sub("@([A-Z]+)@", lambda found: parts[found[1]], template)


def plotly_js() -> str:
    """Found without importing plotly, of which only this file is needed."""
    package = find_spec("plotly")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("the page needs plotly: pip install 'marketmaker[backtest]'")
    folder = Path(package.submodule_search_locations[0])
    return (folder / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


def cards(result: Result) -> Iterator[str]:
    found, pnl, quote = result.figures, result.pnl, result.instrument.quote
    parts = [("PnL total", pnl.total), ("grid", pnl.grid), ("inventory", pnl.inventory)]
    parts += [("fees", pnl.fees), ("funding", pnl.funding)]
    if result.counts["liquidations"]:
        parts.append(("liquidation", pnl.liquidation))
    for label, amount in parts:
        yield card(f"{label}, {quote}", f"{amount:+,.2f}", signed=float(amount))
    yield card(f"drawdown ({found.max_drawdown_share:.2%})", f"{found.max_drawdown:,.2f}")
    yield card("Sharpe, a year", words.shown(found.sharpe))
    yield card("PnL per volume, bp", words.shown(found.pnl_per_volume_bp, "+.2f"))
    yield card("fills", f"{result.totals.fills:,}")
    yield card("round trips", f"{found.round_trips:,}")
    yield card("time in market", f"{found.in_market:.1%}")


def card(label: str, figure: str, *, signed: float = 0.0) -> str:
    tone = ' class="up"' if signed > 0 else ' class="down"' if signed < 0 else ""
    return f'<div class="card"><b{tone}>{escape(figure)}</b><span>{escape(label)}</span></div>'


def caption(result: Result) -> str:
    fills = len(result.fills)
    text = "Faint lines are levels of the grid"
    drawn = len(drawn_gaps(result))
    if drawn:
        text += (
            f", grey stretches the {drawn} longest gaps in the data"
            if drawn > 1
            else ", the grey stretch a gap in the data"
        )
    if fills > 2 * MARKS_OF_A_SIDE:
        text += f"; about {2 * MARKS_OF_A_SIDE:,} of {fills:,} fills are drawn, evenly chosen"
    return text + ". Drag to zoom, double-click for the whole."


def table(rows: Any) -> str:
    return "".join(
        f"<tr><td>{escape(label)}</td><td>{escape(text)}</td></tr>" for label, text in rows
    )


def grid_rows(grid: GridSettings) -> Iterator[tuple[str, str]]:
    """Every setting that is set, as the configuration has it."""
    for each in fields(grid):
        value = getattr(grid, each.name)
        if value is None:
            continue
        if isinstance(value, Enum):
            value = value.value
        elif isinstance(value, Decimal):
            value = plain(value)
        elif isinstance(value, tuple):
            value = ", ".join(map(plain, value))
        yield each.name.removesuffix("_s"), str(value)


def plots(result: Result) -> dict[str, Any]:
    curve, instrument = result.curve, result.instrument
    tick, lot = float(instrument.tick_size), float(instrument.base_per_lot)
    balance = float(result.balance)
    worst = curve.worst
    inventory = curve.equity - balance - curve.grid - curve.fees - curve.funding
    return {
        "base": instrument.base,
        "quote": instrument.quote,
        "ts_ms": (curve.ts_ns // NS_PER_MS).tolist(),
        "price": prices(curve.price_ticks, tick),
        "low": prices(curve.low_ticks, tick),
        "high": prices(curve.high_ticks, tick),
        "levels": prices(np.array(result.levels), tick),
        "gaps": drawn_gaps(result),
        "buys": marks(result, 1, tick, lot),
        "sells": marks(result, -1, tick, lot),
        "equity": short(curve.equity),
        "drawdown": short(curve.drawdown),
        "inventory": short(curve.lots * lot),
        "pnl": {
            "grid": short(curve.grid),
            "inventory": short(inventory),
            "fees": short(curve.fees),
            "funding": short(curve.funding),
        },
        "worst": [worst.trough_ns // NS_PER_MS, worst.depth] if worst.depth else None,
        "per_level": per_level(result, tick),
        "periods": per_period(result),
        "gains": gains(result),
        "holding": holding(result),
    }


def short(values: Any) -> list[float]:
    """Seven significant digits: more than a plot shows."""
    return [float(f"{value:.7g}") for value in np.asarray(values).tolist()]


def prices(ticks: Any, tick: float) -> list[float | None]:
    """0 stands for no price yet."""
    return [round(each * tick, 10) if each > 0 else None for each in np.asarray(ticks).tolist()]


def drawn_gaps(result: Result) -> list[list[int]]:
    span_ns = max(result.end_ns - result.start_ns, 1)
    return [
        [gap.start_ns // NS_PER_MS, (gap.start_ns + gap.length_ns) // NS_PER_MS]
        for gap in result.gaps[:GAPS_DRAWN]
        if gap.length_ns > GAP_SHARE * span_ns
    ]


def marks(result: Result, side: int, tick: float, lot: float) -> dict[str, list[Any]]:
    fills = result.fills
    chosen = np.flatnonzero(np.array(fills.side, np.int64) == side)
    if len(chosen) > MARKS_OF_A_SIDE:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MARKS_OF_A_SIDE).round().astype(np.int64)]
    ts_ns, ticks, lots = (
        np.array(getattr(fills, name), np.int64)[chosen]
        for name in ("ts_ns", "price_ticks", "qty_lots")
    )
    return {
        "ts_ms": (ts_ns // NS_PER_MS).tolist(),
        "price": prices(ticks, tick),
        "qty": short(lots * lot),
    }


def per_level(result: Result, tick: float) -> dict[str, list[Any]]:
    """Fills by price; neighbouring levels share a bar where there are many."""
    fills = result.fills
    ticks, side = np.array(fills.price_ticks, np.int64), np.array(fills.side, np.int64)
    # Not by np.unique, which loads numpy's masked arrays: see `percentile`.
    levels = np.array(sorted(set(ticks.tolist())), np.int64)
    if len(levels) > LEVEL_BARS:
        edges = np.linspace(ticks.min(), ticks.max() + 1, LEVEL_BARS + 1)
        at = (edges[:-1] + edges[1:]) / 2
        counts = [np.histogram(ticks[side == way], edges)[0] for way in (1, -1)]
    else:
        at = levels.astype(np.float64)
        counts = [
            np.bincount(np.searchsorted(levels, ticks[side == way]), minlength=len(levels))
            for way in (1, -1)
        ]
    return {
        "price": [round(float(each) * tick, 10) for each in at],
        "buys": counts[0].tolist(),
        "sells": counts[1].tolist(),
    }


def per_period(result: Result) -> dict[str, list[Any]]:
    """PnL of each period of the returns; several share a bar where there are more than 400."""
    ends_ns, equity = result.period_ends_ns, result.period_equity
    step = -(-max(len(ends_ns) - 1, 1) // 400)
    places = np.arange(0, len(ends_ns), step)
    if places[-1] != len(ends_ns) - 1:
        places = np.append(places, len(ends_ns) - 1)
    return {
        "ts_ms": (ends_ns[places[1:]] // NS_PER_MS).tolist(),
        "pnl": short(np.diff(equity[places])),
    }


def gains(result: Result) -> dict[str, Any]:
    """Histogram between the 1st and the 99th percentile; what lies beyond is in the outermost bars."""
    trips = result.trips
    if not trips.net:
        return {"at": [], "count": [], "width": 1}
    gain_bp = np.array(trips.net) / np.array(trips.value) * 10_000
    ordered = np.sort(gain_bp)
    low, high = percentile(ordered, 1), percentile(ordered, 99)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    count, edges = np.histogram(np.clip(gain_bp, low, high), GAIN_BARS, (low, high))
    return {
        "at": short((edges[:-1] + edges[1:]) / 2),
        "count": count.tolist(),
        "width": float(edges[1] - edges[0]) * 0.9,
    }


def holding(result: Result) -> dict[str, Any]:
    places = np.searchsorted(HELD_EDGES_S, result.trips.held_s, side="right")
    return {
        "label": list(HELD_LABELS),
        "count": np.bincount(places, minlength=len(HELD_LABELS)).tolist(),
    }
