"""Equity along the whole run, walked once in pieces: every row counts, a few thousand points are kept for plots.

Between two fills neither cash nor inventory changes, so equity is a straight function of the price there. A row's
equity is what is held after its fills, at its price; a bar's worst equity is at the extreme that is against what is
held. All of it is float: for statistics and plots. What must be exact is in the core's books.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marketmaker.backtest.arrays import PIECE_ROWS, MarketData
from marketmaker.backtest.drive import Bench

POINTS = 2_000
Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steps:
    """Cash and inventory after each thing that changed them: `place` is the row from which on it holds.

    Index 0 is before everything. Cash in quote currency, `parts` too: (grid, fees, funding) so far.
    """

    place: Whole
    lots: Whole
    cash: Floats
    grid: Floats
    fees: Floats
    funding: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The deepest drawdown: from the peak's time to the trough's, and when the peak was reached again (None: never).
    `price_ticks` and `lots` at the trough."""

    depth: float
    share: float
    peak_ns: int
    trough_ns: int
    recovered_ns: int | None
    equity: float
    price_ticks: int
    lots: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Curve:
    """At up to 2,000 points, each the last row of equally many: time, price (and its extremes among those rows), lots
    held, equity (and its lowest), the deepest drawdown, and the parts of the PnL so far, all money in quote currency.

    `in_market` is the share of time with inventory, `exposure_mean` and `exposure_max` the value of it.
    """

    ts_ns: Whole
    price_ticks: Whole
    low_ticks: Whole
    high_ticks: Whole
    lots: Whole
    equity: Floats
    equity_low: Floats
    drawdown: Floats
    grid: Floats
    fees: Floats
    funding: Floats
    worst: Worst
    in_market: float
    exposure_mean: float
    exposure_max: float
    exposure_max_ns: int


def steps_of(bench: Bench, balance: float) -> Steps:
    data, fills, instrument = bench.data, bench.fills, bench.instrument
    quantum = float(instrument.quantum)
    closed = bench.liquidated
    when = [
        np.array(fills.ts_ns, np.int64),
        np.array([fill.ts_venue_ns for fill in closed], np.int64),
    ]
    side = [np.array(fills.side, np.int64), np.array([int(fill.side) for fill in closed], np.int64)]
    lots = [
        np.array(fills.qty_lots, np.int64),
        np.array([fill.qty_lots for fill in closed], np.int64),
    ]
    price = [
        np.array(fills.price_ticks, np.int64),
        np.array([fill.price_ticks for fill in closed], np.int64),
    ]
    maker = [np.array(fills.is_maker, np.bool_), np.zeros(len(closed), np.bool_)]
    signed = np.concatenate(side) * np.concatenate(lots)
    value = signed * np.concatenate(price) * quantum
    rates = (float(instrument.maker_fee), float(instrument.taker_fee))
    fee = abs(value) * np.where(np.concatenate(maker), *rates)
    made = np.concatenate([np.array(fills.realised, np.int64) * quantum, np.zeros(len(closed))])
    paid_ns = np.array([moment for moment, _ in bench.payments], np.int64)
    paid = np.array([amount for _, amount in bench.payments], np.float64)
    nothing = np.zeros(len(paid))
    ts_ns = np.concatenate([*when, paid_ns])
    order = np.argsort(ts_ns, kind="stable")
    place = np.searchsorted(data.ts_ns, ts_ns[order], side="left")

    def total(*parts: NDArray[np.generic], start: float = 0.0) -> Floats:
        changes = np.concatenate(parts).astype(np.float64)[order]
        return np.asarray(np.concatenate([[start], start + np.cumsum(changes)]))

    return Steps(
        place=np.concatenate([[0], np.minimum(place, len(data) - 1)]),
        lots=total(signed, nothing).astype(np.int64),
        cash=total(-value - fee, paid, start=balance),
        grid=total(made, nothing),
        fees=total(-fee, nothing),
        funding=total(np.zeros(len(fee)), paid),
    )


def equity_at(data: MarketData, steps: Steps, places: Whole, quantum: float) -> Floats:
    done = np.searchsorted(steps.place, places, side="right") - 1
    price = np.asarray(data.price[places], np.float64)
    return np.asarray(steps.cash[done] + steps.lots[done] * price * quantum)


def walk(bench: Bench, steps: Steps, *, points: int = POINTS) -> Curve:
    """Every row once; memory does not grow with the data."""
    data, quantum = bench.data, float(bench.instrument.quantum)
    rows = len(data)
    stride = -(-rows // points)
    gathered: list[tuple[Floats, ...]] = []
    peak, peak_place = float("-inf"), 0
    worst = (0.0, 0, 0, 0.0)
    held_ns = exposed = highest = 0.0
    highest_place = 0
    size = max(PIECE_ROWS // stride, 1) * stride
    for start in range(0, rows, size):
        stop = min(start + size, rows)
        price, low, high = _piece(data, start, stop)
        done = _done(steps.place, start, stop)
        lots = steps.lots[done].astype(np.float64)
        cash = steps.cash[done]
        equity = cash + lots * price * quantum
        adverse = cash + np.where(lots > 0, lots * low, lots * high) * quantum
        peaks = np.maximum(np.maximum.accumulate(equity), peak)
        falls = peaks - adverse
        deepest = int(falls.argmax())
        if falls[deepest] > worst[0]:
            before = np.flatnonzero(equity[: deepest + 1] >= peaks[deepest])
            at = start + int(before[0]) if len(before) else peak_place
            worst = (float(falls[deepest]), at, start + deepest, float(peaks[deepest]))
        if peaks[-1] > peak:
            peak, peak_place = float(peaks[-1]), start + int(equity.argmax())
        lasting = np.diff(data.ts_ns[start : stop + 1].astype(np.float64))
        value = abs(lots) * price * quantum
        held_ns += float(lasting[value[: len(lasting)] > 0].sum())
        exposed += float((lasting * value[: len(lasting)]).sum())
        if value.max() > highest:
            highest, highest_place = float(value.max()), start + int(value.argmax())
        firsts = np.arange(0, stop - start, stride)
        gathered.append(
            (
                np.minimum.reduceat(low, firsts),
                np.maximum.reduceat(high, firsts),
                np.minimum.reduceat(adverse, firsts),
                np.maximum.reduceat(falls, firsts),
            )
        )
    kept = [np.concatenate(parts) for parts in zip(*gathered, strict=True)]
    ends = np.minimum(np.arange(stride, rows + stride, stride), rows) - 1
    done = np.searchsorted(steps.place, ends, side="right") - 1
    span_ns = max(int(data.ts_ns[-1]) - int(data.ts_ns[0]), 1)
    return Curve(
        ts_ns=data.ts_ns[ends],
        price_ticks=data.price[ends].astype(np.int64),
        low_ticks=kept[0].astype(np.int64),
        high_ticks=kept[1].astype(np.int64),
        lots=steps.lots[done],
        equity=equity_at(data, steps, ends, quantum),
        equity_low=kept[2],
        drawdown=kept[3],
        grid=steps.grid[done],
        fees=steps.fees[done],
        funding=steps.funding[done],
        worst=_worst(data, steps, worst, quantum),
        in_market=held_ns / span_ns,
        exposure_mean=exposed / span_ns,
        exposure_max=highest,
        exposure_max_ns=int(data.ts_ns[highest_place]),
    )


def _piece(data: MarketData, start: int, stop: int) -> tuple[Floats, Floats, Floats]:
    """Price, lowest, highest. A frame's bounds say where orders may rest, not what was traded: its price alone counts."""
    price = data.price[start:stop].astype(np.float64)
    if data.kind != "bars":
        return price, price, price
    return price, data.low[start:stop].astype(np.float64), data.high[start:stop].astype(np.float64)


def _done(place: Whole, start: int, stop: int) -> Whole:
    """How many steps are behind each row of a piece."""
    first, last = np.searchsorted(place, [start, stop - 1], side="right").tolist()
    edges = np.concatenate([[start], place[first:last], [stop]])
    return np.repeat(np.arange(first - 1, last), np.diff(edges))


def _worst(
    data: MarketData, steps: Steps, found: tuple[float, int, int, float], quantum: float
) -> Worst:
    depth, peak_place, place, peak = found
    lots = int(steps.lots[np.searchsorted(steps.place, place, side="right") - 1])
    return Worst(
        depth=depth,
        share=depth / peak if peak > 0 else 0.0,
        peak_ns=int(data.ts_ns[peak_place]),
        trough_ns=int(data.ts_ns[place]),
        recovered_ns=_recovered(data, steps, place, peak, quantum) if depth else None,
        equity=peak - depth,
        price_ticks=int(data.price[place]),
        lots=lots,
    )


def _recovered(
    data: MarketData, steps: Steps, place: int, peak: float, quantum: float
) -> int | None:
    for rows in _pieces(place, len(data)):
        back = np.flatnonzero(equity_at(data, steps, rows, quantum) >= peak)
        if len(back):
            return int(data.ts_ns[rows[back[0]]])
    return None


def _pieces(start: int, stop: int) -> Iterator[Whole]:
    for first in range(start, stop, PIECE_ROWS):
        yield np.arange(first, min(first + PIECE_ROWS, stop))
