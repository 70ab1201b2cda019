"""What a backtest amounted to: figures as exact decimals, fills and equity in columns, JSON and a table for people.

PnL split, in quote currency, exact; `total` is equity at the end less the balance at the beginning:

    grid       made by round trips: exits against what their inventory cost, before fees
    inventory  what is still held, at the last price, against what it cost
    fees       paid, hence negative
    funding    received > 0
    liquidation  what the venue's closing trades made against what was held then, their fees included
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from marketmaker.backtest.arrays import Gap, find_gaps
from marketmaker.backtest.curve import Curve, Floats, Whole, steps_of, walk
from marketmaker.backtest.drive import FILL_COLUMNS, Bench, FillLog
from marketmaker.backtest.figures import Figures, RoundTrips, measure, periods, round_trips
from marketmaker.core import readings
from marketmaker.core.position_manager import PositionManager
from marketmaker.model.instrument import Instrument, Lots, Quanta, Ticks
from marketmaker.model.status import GridTotals

MOST_LEVELS = 60
NS_PER_S = 1_000_000_000
GAPS_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PnL:
    grid: Decimal
    inventory: Decimal
    fees: Decimal
    funding: Decimal
    liquidation: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        return self.grid + self.inventory + self.fees + self.funding + self.liquidation


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`residual`: what the books cannot explain of the account's equity; 0. `levels`: prices of the grid in ticks,
    thinned out where there are many. `gave_up`: why the core ended, "" while it did not."""

    instrument: Instrument
    rows: int
    played: int
    start_ns: int
    end_ns: int
    fill_model: str
    latency_ns: int
    totals: GridTotals
    counts: dict[str, int]
    alerts: dict[str, int]
    pnl: PnL
    turnover: Decimal
    balance: Decimal
    equity_end: Decimal
    residual: Decimal
    fills: FillLog
    curve: Curve
    trips: RoundTrips
    figures: Figures
    period_ends_ns: Whole
    period_equity: Floats
    levels: tuple[int, ...]
    gave_up: str
    gaps: tuple[Gap, ...]
    remarks: tuple[str, ...]


def read_result(
    bench: Bench,
    *,
    balance: Decimal,
    fill_model: str,
    latency_ns: int = 0,
    remarks: tuple[str, ...] = (),
    gaps: tuple[Gap, ...] | None = None,
) -> Result:
    """Of a bench whose data has been driven to its end. `gaps` None: looked for."""
    totals, instrument, data = readings.totals(bench.manager), bench.instrument, bench.data
    pnl = split_pnl(bench, totals)
    steps = steps_of(bench, float(balance))
    curve = walk(bench, steps)
    trips = round_trips(bench)
    returns = periods(bench, steps)
    fills = bench.fills
    traded = sum(map(int.__mul__, fills.price_ticks, fills.qty_lots))
    equity_end = bench.exchange.account.equity()
    return Result(
        instrument=instrument,
        rows=len(data),
        played=bench.woken,
        start_ns=int(data.ts_ns[0]),
        end_ns=int(data.ts_ns[-1]),
        fill_model=fill_model,
        latency_ns=latency_ns,
        totals=totals,
        counts=dict(bench.exchange.counts),
        alerts=bench.alerts,
        pnl=pnl,
        turnover=traded * instrument.quantum,
        balance=balance,
        equity_end=equity_end,
        residual=equity_end - balance - pnl.total,
        fills=fills,
        curve=curve,
        trips=trips,
        figures=measure(bench, steps, curve, trips, returns),
        period_ends_ns=returns.ends_ns,
        period_equity=returns.equity,
        levels=levels_between(
            bench.manager, int(curve.low_ticks.min()), int(curve.high_ticks.max())
        ),
        gave_up=bench.gave_up,
        gaps=tuple(find_gaps(data)) if gaps is None else gaps,
        remarks=remarks,
    )


def split_pnl(bench: Bench, totals: GridTotals) -> PnL:
    instrument = bench.instrument
    value = instrument.notional(totals.price_ticks or Ticks(0), totals.inventory_lots)
    liquidation = Decimal(0)
    if bench.liquidated:
        received = sum(-fill.side * fill.price_ticks * fill.qty_lots for fill in bench.liquidated)
        liquidation = instrument.money(Quanta(received + totals.adopted_cost))
        liquidation -= sum((fill.fee for fill in bench.liquidated), Decimal(0))
    return PnL(
        grid=instrument.money(totals.realised),
        inventory=value - instrument.money(totals.inventory_cost),
        fees=-totals.fees,
        funding=totals.funding,
        liquidation=liquidation,
    )


def levels_between(manager: PositionManager, low: int, high: int) -> tuple[int, ...]:
    """Level prices of the grid within [low, high], every n-th where there are more than 60."""
    if not manager.ladders:
        return ()
    lattice = next(iter(manager.ladders.values())).lattice
    first, last = lattice.at_or_below(Ticks(low)), lattice.at_or_below(Ticks(high)) + 1
    step = -(-(last - first + 1) // MOST_LEVELS)
    return tuple(int(lattice.level(number)) for number in range(first, last + 1, step))


def as_json(result: Result) -> dict[str, Any]:
    """Plain JSON values; money and quantities as exact decimal strings."""
    instrument, totals = result.instrument, result.totals
    pnl = result.pnl
    return {
        "symbol": instrument.name,
        "rows": result.rows,
        "events_played": result.played,
        "start": moment(result.start_ns),
        "end": moment(result.end_ns),
        "fill": result.fill_model,
        "latency_ms": result.latency_ns / 1_000_000,
        "orders_placed": totals.orders_placed,
        "orders_cancelled": totals.orders_cancelled,
        "orders_rejected": totals.orders_rejected,
        "fills": totals.fills,
        "buys": totals.buys,
        "sells": totals.sells,
        "maker_fills": totals.maker_fills,
        "position": plain(instrument.base_qty(totals.inventory_lots)),
        "held_slots": totals.held_slots,
        "price": plain(instrument.price(totals.price_ticks)) if totals.price_ticks else None,
        "turnover": plain(result.turnover),
        "pnl": {
            "grid": plain(pnl.grid),
            "inventory": plain(pnl.inventory),
            "fees": plain(pnl.fees),
            "funding": plain(pnl.funding),
            "liquidation": plain(pnl.liquidation),
            "total": plain(pnl.total),
        },
        "equity_start": plain(result.balance),
        "equity_end": plain(result.equity_end),
        "equity_residual": plain(result.residual),
        "max_drawdown": round(result.figures.max_drawdown, 6),
        "worst_moment": worst_json(result),
        "figures": result.figures.as_json(),
        "gave_up": result.gave_up,
        "liquidations": result.counts["liquidations"],
        "funding_payments": result.counts["funding_payments"],
        "alerts": result.alerts,
        "not_quoting": list(totals.not_quoting),
        "gaps": [
            {"start": moment(gap.start_ns), "seconds": gap.length_ns / NS_PER_S}
            for gap in result.gaps
        ],
        "remarks": list(result.remarks),
    }


def worst_json(result: Result) -> dict[str, Any]:
    worst, instrument = result.curve.worst, result.instrument
    return {
        "peak": moment(worst.peak_ns),
        "trough": moment(worst.trough_ns),
        "recovered": None if worst.recovered_ns is None else moment(worst.recovered_ns),
        "drawdown": round(worst.depth, 6),
        "equity": round(worst.equity, 6),
        "price": plain(instrument.price(Ticks(worst.price_ticks))),
        "position": plain(instrument.base_qty(Lots(worst.lots))),
    }


def series_json(result: Result) -> dict[str, Any]:
    """Fills and equity in columns, for whoever draws them. Prices in ticks, quantities in lots, times in Unix ns."""
    fills, curve = result.fills, result.curve
    return {
        "tick_size": plain(result.instrument.tick_size),
        "lot_size": plain(result.instrument.base_per_lot),
        "fills": {name: getattr(fills, name).tolist() for name in FILL_COLUMNS},
        "equity": {
            name: getattr(curve, name).tolist()
            for name in ("ts_ns", "price_ticks", "lots", "equity", "drawdown")
        },
    }


def table(result: Result) -> Iterator[tuple[str, str]]:
    """Label and figure, for a terminal."""
    totals, pnl, quote = result.totals, result.pnl, result.instrument.quote
    yield "stretch", f"{moment(result.start_ns)} to {moment(result.end_ns)}"
    yield "events", f"{result.rows:,}, of which {result.played:,} could change something"
    yield "fill rule", f"{result.fill_model}, latency {result.latency_ns / 1_000_000:g} ms"
    yield (
        "orders",
        f"{totals.orders_placed:,} placed, {totals.orders_cancelled:,} cancelled, "
        f"{totals.orders_rejected:,} rejected",
    )
    yield (
        "fills",
        f"{totals.fills:,}: {totals.buys:,} buys, {totals.sells:,} sells; {totals.maker_fills:,} as maker",
    )
    held = result.instrument.base_qty(totals.inventory_lots)
    yield "position", f"{plain(held)} {result.instrument.base} in {totals.held_slots:,} slots"
    yield "turnover", f"{result.turnover:,.2f} {quote}"
    for label in ("grid", "inventory", "fees", "funding", "liquidation", "total"):
        if label != "liquidation" or result.counts["liquidations"]:
            yield f"PnL {label}", f"{getattr(pnl, label):+,.4f} {quote}"
    yield "equity", f"{plain(result.balance)} -> {result.equity_end:,.4f} {quote}"
    yield from figure_rows(result)
    if result.counts["liquidations"]:
        yield "liquidations", str(result.counts["liquidations"])
    if result.gave_up:
        yield "ended", result.gave_up


def figure_rows(result: Result) -> Iterator[tuple[str, str]]:
    found, worst, quote = result.figures, result.curve.worst, result.instrument.quote
    yield (
        "drawdown",
        f"{found.max_drawdown:,.4f} {quote} ({found.max_drawdown_share:.2%} of the peak)",
    )
    if worst.depth:
        back = "not recovered" if worst.recovered_ns is None else moment(worst.recovered_ns)
        held = result.instrument.base_qty(Lots(worst.lots))
        yield (
            "worst moment",
            f"{moment(worst.trough_ns)}: equity {worst.equity:,.2f}, {plain(held)} {result.instrument.base} "
            f"held at {plain(result.instrument.price(Ticks(worst.price_ticks)))}; recovered: {back}",
        )
    yield (
        "Sharpe, Sortino, Calmar",
        f"{shown(found.sharpe)}, {shown(found.sortino)}, {shown(found.calmar)} "
        f"(a year, from {found.periods:,} returns of {found.period_s:,} s)",
    )
    yield (
        "round trips",
        f"{found.round_trips:,}, {shown(found.winners_share, '.1%')} gain; mean "
        f"{shown(found.round_trip_mean, '+,.4f')} {quote} ({shown(found.round_trip_mean_bp)} bp); held "
        f"{span(found.held_median_s)} at the median, {span(found.held_longest_s)} at most",
    )
    lossless = found.profit_factor is None and found.round_trips
    yield "profit factor", "no losing round trip" if lossless else shown(found.profit_factor)
    yield "PnL per volume", f"{shown(found.pnl_per_volume_bp, '+.3f')} bp"
    yield "maker share", shown(found.maker_share, ".1%")
    yield "time in market", f"{found.in_market:.1%}"
    yield (
        "exposure",
        f"{found.exposure_mean:,.2f} {quote} in the mean, {found.exposure_max:,.2f} at most",
    )


def gap_lines(gaps: tuple[Gap, ...]) -> Iterator[str]:
    """What is missing in the data, and what is made of it."""
    if not gaps:
        return
    missing_s = sum(gap.length_ns for gap in gaps) / NS_PER_S
    longest = ", ".join(
        f"{gap.length_ns / NS_PER_S:,.0f} s after {moment(gap.start_ns)}"
        for gap in gaps[:GAPS_SHOWN]
    )
    yield (
        f"{len(gaps):,} gaps, {missing_s / 3600:,.1f} h together; longest: {longest}. Orders rest through a gap, funding "
        "is paid in it, and the first price after it meets them at their own prices"
    )


def shown(value: float | None, form: str = ".2f") -> str:
    return "n/a" if value is None else format(value, form)


def span(seconds: float | None) -> str:
    """As long words as one reads at a glance: 42 s, 7.5 min, 3.2 h, 12.0 d."""
    if seconds is None:
        return "n/a"
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def moment(ts_ns: int) -> str:
    """UTC, to the second."""
    return str(np.datetime64(ts_ns // NS_PER_S, "s")) + "Z"


def plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2)
