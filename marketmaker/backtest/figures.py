"""The figures traders compare runs by, from a curve and the fills. Float, for reading; the books are exact elsewhere.

return     of a period: change of equity by equity at its start; the period is a day, an hour or a minute, the
           longest of which the run holds 30; periods without a single event are left out
Sharpe     mean return by its standard deviation, times the square root of periods in a year; no risk-free rate
Sortino    the same with the root mean square of the losses alone
Calmar     PnL by balance and year, by the deepest drawdown as a share of its peak
round trip an exit with its part of the entries it closed, after both fees
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from marketmaker.backtest.curve import Curve, Floats, Steps, Whole, equity_at
from marketmaker.backtest.drive import FILL_COLUMNS, Bench

NS_PER_S = 1_000_000_000
YEAR_S = 365 * 86_400
PERIODS_S = (86_400, 3_600, 60)
FEWEST_PERIODS = 30
MOST_PERIODS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundTrips:
    """`net` in quote currency each; `held_s` from the oldest lot closed to the exit; both in time order of exits."""

    ts_ns: list[int]
    net: list[float]
    held_s: list[float]
    value: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """None where a figure has no meaning: no loss, no variation, no round trip. Money in quote currency, times in s.

    `pnl_per_volume_bp`: PnL by turnover. Shares are fractions.
    """

    period_s: int
    periods: int
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    annual_return: float
    profit_factor: float | None
    max_drawdown: float
    max_drawdown_share: float
    turnover: float
    turnover_per_day: float
    pnl_per_volume_bp: float | None
    maker_share: float | None
    in_market: float
    exposure_mean: float
    exposure_max: float
    round_trips: int
    winners_share: float | None
    round_trip_mean: float | None
    round_trip_best: float | None
    round_trip_worst: float | None
    round_trip_mean_bp: float | None
    held_median_s: float | None
    held_p90_s: float | None
    held_longest_s: float | None
    fills_per_day: float

    def as_json(self) -> dict[str, Any]:
        """Rounded to seven significant digits."""
        return {
            name: float(f"{value:.7g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def round_trips(bench: Bench) -> RoundTrips:
    """First in, first out within a slot, as the grid does. An exit's gain is the core's; only times and the entry's
    fee are looked up here."""
    quantum = float(bench.instrument.quantum)
    rates = (float(bench.instrument.taker_fee), float(bench.instrument.maker_fee))
    open_lots: dict[int, list[list[float]]] = defaultdict(list)
    found = RoundTrips(ts_ns=[], net=[], held_s=[], value=[])
    fills = bench.fills
    for ts_ns, price, lots, side, slot, realised, maker in zip(
        *(getattr(fills, name).tolist() for name in FILL_COLUMNS), strict=True
    ):
        fee = price * lots * quantum * rates[maker]
        queue = open_lots[slot]
        if not queue or queue[0][0] == side:
            queue.append([side, lots, fee / lots, ts_ns])
            continue
        left, since_ns = lots, queue[0][3]
        while left and queue:
            oldest = queue[0]
            closed = min(left, oldest[1])
            fee += closed * oldest[2]
            oldest[1] -= closed
            left -= closed
            if not oldest[1]:
                queue.pop(0)
        found.ts_ns.append(ts_ns)
        found.net.append(realised * quantum - fee)
        found.held_s.append((ts_ns - since_ns) / NS_PER_S)
        found.value.append(price * lots * quantum)
    return found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Periods:
    """When each period with an event ended, and equity then; first what there was at the beginning."""

    length_s: int
    ends_ns: Whole
    equity: Floats


def periods(bench: Bench, steps: Steps) -> Periods:
    data = bench.data
    first, last = int(data.ts_ns[0]), int(data.ts_ns[-1])
    span_s = (last - first) / NS_PER_S
    period_s = next((each for each in PERIODS_S if span_s / each >= FEWEST_PERIODS), PERIODS_S[-1])
    while span_s / period_s > MOST_PERIODS:
        period_s *= 2
    step_ns = period_s * NS_PER_S
    marks = np.arange(first // step_ns * step_ns, last + step_ns, step_ns, dtype=np.int64)
    places = np.searchsorted(data.ts_ns, marks, side="right") - 1
    kept = np.flatnonzero(np.diff(places) > 0) + 1
    start = np.concatenate([[0], places[kept]])
    equity = equity_at(data, steps, start, float(bench.instrument.quantum))
    equity[0] = steps.cash[0]
    ends_ns = np.concatenate([[first], marks[kept]])
    return Periods(length_s=period_s, ends_ns=ends_ns, equity=equity)


def measure(
    bench: Bench, steps: Steps, curve: Curve, trips: RoundTrips, returns: Periods
) -> Figures:
    data = bench.data
    balance = float(steps.cash[0])
    span_s = max((int(data.ts_ns[-1]) - int(data.ts_ns[0])) / NS_PER_S, 1e-9)
    end = len(data) - 1
    pnl = (
        float(equity_at(data, steps, np.array([end]), float(bench.instrument.quantum))[0]) - balance
    )
    sharpe, sortino = ratios(returns.equity, returns.length_s)
    annual = pnl / balance * YEAR_S / span_s
    worst = curve.worst
    fills = bench.fills
    turnover = float(
        (np.array(fills.price_ticks, np.float64) * np.array(fills.qty_lots, np.float64)).sum()
    ) * float(bench.instrument.quantum)
    count, net = len(fills), np.array(trips.net)
    gains, losses = float(net[net > 0].sum()), float(-net[net < 0].sum())
    held = np.sort(np.array(trips.held_s))
    some = len(net) > 0
    return Figures(
        period_s=returns.length_s,
        periods=len(returns.equity) - 1,
        sharpe=sharpe,
        sortino=sortino,
        calmar=annual / worst.share if worst.share > 0 else None,
        annual_return=annual,
        profit_factor=gains / losses if losses else None,
        max_drawdown=worst.depth,
        max_drawdown_share=worst.share,
        turnover=turnover,
        turnover_per_day=turnover / span_s * 86_400,
        pnl_per_volume_bp=pnl / turnover * 10_000 if turnover else None,
        maker_share=sum(fills.is_maker) / count if count else None,
        in_market=curve.in_market,
        exposure_mean=curve.exposure_mean,
        exposure_max=curve.exposure_max,
        round_trips=len(net),
        winners_share=float((net > 0).mean()) if some else None,
        round_trip_mean=float(net.mean()) if some else None,
        round_trip_best=float(net.max()) if some else None,
        round_trip_worst=float(net.min()) if some else None,
        round_trip_mean_bp=float(net.sum()) / sum(trips.value) * 10_000 if some else None,
        held_median_s=percentile(held, 50) if some else None,
        held_p90_s=percentile(held, 90) if some else None,
        held_longest_s=float(held[-1]) if some else None,
        fills_per_day=count / span_s * 86_400,
    )


def percentile(ordered: Floats, percent: float) -> float:
    """Of at least one value, between two where it lies between them, as `np.percentile` has it; that one loads all of
    numpy's masked arrays first, which would be a twentieth of a short run."""
    place = (len(ordered) - 1) * (percent / 100)
    below = math.floor(place)
    low, high = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    share = place - below
    return high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share


def ratios(equity: Floats, period_s: int) -> tuple[float | None, float | None]:
    """Sharpe and Sortino, annualised."""
    if len(equity) < 3 or (equity <= 0).any():
        return None, None
    returns = np.diff(equity) / equity[:-1]
    yearly = math.sqrt(YEAR_S / period_s)
    mean, spread = float(returns.mean()), float(returns.std(ddof=1))
    downside = math.sqrt(float((np.minimum(returns, 0) ** 2).mean()))
    return (
        mean / spread * yearly if spread > 0 else None,
        mean / downside * yearly if downside > 0 else None,
    )
