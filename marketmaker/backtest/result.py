"""What a backtest amounted to: figures as exact decimals, fills and equity in columns, JSON and a table for people.

PnL split, in quote currency, exact; `total` is equity at the end less the balance at the beginning:

    grid       made by round trips: exits against what their inventory cost, before fees
    inventory  what is still held, at the last price, against what it cost
    fees       paid, hence negative
    funding    received > 0
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TextIO

import numpy as np

from marketmaker.backtest.arrays import Gap, find_gaps
from marketmaker.backtest.drive import Bench, FillLog
from marketmaker.core import readings
from marketmaker.model.instrument import Instrument
from marketmaker.model.status import GridTotals

EQUITY_POINTS = 2_000
NS_PER_S = 1_000_000_000
GAPS_SHOWN = 3


class Progress:
    """Rewrites one line of `out` now and then; called with the number of events gone by."""

    def __init__(self, out: TextIO, rows: int) -> None:
        self._out = out
        self._rows = rows
        self._shown = 0

    def __call__(self, place: int) -> None:
        percent = 100 * (place + 1) // self._rows
        if percent > self._shown:
            self._shown = percent
            self._out.write(f"\r{percent:3d} % of {self._rows:,} events")
            if percent == 100:
                self._out.write("\r\x1b[K")
            self._out.flush()


@dataclass(frozen=True, slots=True, kw_only=True)
class PnL:
    grid: Decimal
    inventory: Decimal
    fees: Decimal
    funding: Decimal

    @property
    def total(self) -> Decimal:
        return self.grid + self.inventory + self.fees + self.funding


@dataclass(frozen=True, slots=True, kw_only=True)
class EquityCurve:
    """At up to 2,000 evenly spaced moments. `lots` signed; `equity` in quote currency, float: for plots only."""

    ts_ns: list[int]
    price_ticks: list[int]
    lots: list[int]
    equity: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`residual`: what the books cannot explain of the account's equity; 0. `max_drawdown` of the curve's points."""

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
    max_drawdown: float
    fills: FillLog
    curve: EquityCurve
    gaps: tuple[Gap, ...]
    remarks: tuple[str, ...]


def read_result(
    bench: Bench,
    *,
    balance: Decimal,
    fill_model: str,
    latency_ns: int = 0,
    remarks: tuple[str, ...] = (),
) -> Result:
    """Of a bench whose data has been driven to its end."""
    totals, instrument, data = readings.totals(bench.manager), bench.instrument, bench.data
    price = totals.price_ticks or 0
    value = instrument.notional(price, totals.inventory_lots)  # type: ignore[arg-type]
    pnl = PnL(
        grid=instrument.money(totals.realised),
        inventory=value - instrument.money(totals.inventory_cost),
        fees=-totals.fees,
        funding=totals.funding,
    )
    curve = equity_curve(bench, float(balance))
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
        max_drawdown=max_drawdown(curve),
        fills=fills,
        curve=curve,
        gaps=tuple(find_gaps(data)),
        remarks=remarks,
    )


def equity_curve(bench: Bench, balance: float) -> EquityCurve:
    data, fills, instrument = bench.data, bench.fills, bench.instrument
    places = np.unique(
        np.linspace(0, len(data) - 1, min(EQUITY_POINTS, len(data))).round().astype(np.int64)
    )
    ts_ns = data.ts_ns[places]
    price = np.asarray(data.price[places], np.float64)
    quantum = float(instrument.quantum)
    side = np.array(fills.side, np.int64)
    signed = side * np.array(fills.qty_lots, np.int64)
    value = signed * np.array(fills.price_ticks, np.int64)
    rate = np.where(
        np.array(fills.is_maker, np.bool_), float(instrument.maker_fee), float(instrument.taker_fee)
    )
    paid = (value + abs(value) * rate) * quantum
    done = np.searchsorted(np.array(fills.ts_ns, np.int64), ts_ns, side="right")
    lots = np.concatenate([[0], np.cumsum(signed)])[done]
    cash = balance - np.concatenate([[0.0], np.cumsum(paid)])[done]
    if bench.payments:
        when, amounts = zip(*bench.payments, strict=True)
        got = np.concatenate([[0.0], np.cumsum(amounts)])
        cash = cash + got[np.searchsorted(np.array(when, np.int64), ts_ns, side="right")]
    equity = cash + lots * price * quantum
    return EquityCurve(
        ts_ns=ts_ns.tolist(),
        price_ticks=data.price[places].tolist(),
        lots=lots.tolist(),
        equity=equity.tolist(),
    )


def max_drawdown(curve: EquityCurve) -> float:
    """The largest fall from a peak, in quote currency."""
    equity = np.array(curve.equity)
    return float((np.maximum.accumulate(equity) - equity).max()) if len(equity) else 0.0


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
            "total": plain(pnl.total),
        },
        "equity_start": plain(result.balance),
        "equity_end": plain(result.equity_end),
        "equity_residual": plain(result.residual),
        "max_drawdown": round(result.max_drawdown, 6),
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


def series_json(result: Result) -> dict[str, Any]:
    """Fills and equity in columns, for whoever draws them. Prices in ticks, quantities in lots, times in Unix ns."""
    fills, curve = result.fills, result.curve
    return {
        "tick_size": plain(result.instrument.tick_size),
        "lot_size": plain(result.instrument.base_per_lot),
        "fills": {name: getattr(fills, name).tolist() for name in fills.__slots__},
        "equity": {
            "ts_ns": curve.ts_ns,
            "price_ticks": curve.price_ticks,
            "lots": curve.lots,
            "equity": curve.equity,
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
    for label in ("grid", "inventory", "fees", "funding", "total"):
        yield f"PnL {label}", f"{getattr(pnl, label):+,.4f} {quote}"
    yield "equity", f"{plain(result.balance)} -> {result.equity_end:,.4f} {quote}"
    yield "drawdown", f"{result.max_drawdown:,.4f} {quote}"
    if result.counts["liquidations"]:
        yield "liquidations", str(result.counts["liquidations"])


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


def moment(ts_ns: int) -> str:
    """UTC, to the second."""
    return str(np.datetime64(ts_ns // NS_PER_S, "s")) + "Z"


def plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_text(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2)
