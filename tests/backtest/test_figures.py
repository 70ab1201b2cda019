"""Figures of a run against the plainest way to count them: row by row, fill by fill."""

from __future__ import annotations

import random
from decimal import Decimal

import numpy as np
import pytest

from marketmaker.backtest import curve as curves
from marketmaker.backtest import result
from marketmaker.backtest.arrays import MarketData, from_bars
from marketmaker.backtest.drive import Bench, drive
from marketmaker.backtest.figures import ratios
from tests.support.backtests import (
    SECOND_NS,
    START_NS,
    XRP,
    job_grid,
    job_paper,
    make_bench,
    trades,
)

BALANCE = Decimal(5_000)


def run(data: MarketData, fill: str = "cross", **paper: object) -> tuple[Bench, result.Result]:
    bench = make_bench(data, job_grid(20, 5), job_paper(fill, balance=BALANCE, **paper))
    drive(bench)
    return bench, result.read_result(bench, balance=BALANCE, fill_model=fill)


def wandering(count: int, seed: int) -> list[int]:
    chance, price, prices = random.Random(seed), 14_000, []
    for _ in range(count):
        price += chance.choice((-9, -4, -1, 0, 1, 4, 9))
        prices.append(price)
    return prices


def naive(bench: Bench) -> list[tuple[float, float, int]]:
    """(equity at the price, equity at the adverse extreme, lots) after each row."""
    fills, quantum = bench.fills, float(XRP.quantum)
    cash, lots, done, rows = float(BALANCE), 0, 0, []
    for place, ts_ns in enumerate(bench.data.ts_ns.tolist()):
        while done < len(fills) and fills.ts_ns[done] <= ts_ns:
            value = fills.price_ticks[done] * fills.qty_lots[done] * quantum
            cash -= fills.side[done] * value + value * float(XRP.maker_fee)
            lots += fills.side[done] * fills.qty_lots[done]
            done += 1
        price = int(bench.data.price[place])
        extreme = int(bench.data.low[place] if lots > 0 else bench.data.high[place])
        rows.append((cash + lots * price * quantum, cash + lots * extreme * quantum, lots))
    return rows


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("kind", ["trades", "bars"])
def test_drawdown_exposure_and_time_in_market_count_every_row(
    seed: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Walked in pieces of 300 rows, so that what is carried from piece to piece counts, too."""
    monkeypatch.setattr(curves, "PIECE_ROWS", 300)
    monkeypatch.setattr(curves, "POINTS", 100)
    prices = wandering(4_000, seed)
    data = trades(prices)
    if kind == "bars":
        closes = np.array(prices)
        data = from_bars(
            "XRPUSDT",
            close_ns=START_NS + np.arange(4_000) * SECOND_NS,
            low=closes - 6,
            high=closes + 4,
            close=closes,
            qty=np.full(4_000, 10**9),
            bar_ns=SECOND_NS,
        )
    bench, found = run(data)
    steps = curves.steps_of(bench, float(BALANCE))
    curve = curves.walk(bench, steps, points=100)
    rows = naive(bench)
    peak = deepest = 0.0
    for equity, adverse, _ in rows:
        peak = max(peak, equity)
        deepest = max(deepest, peak - adverse)
    assert len(bench.fills) > 100
    assert curve.worst.depth == pytest.approx(deepest)
    assert found.figures.max_drawdown == pytest.approx(deepest)
    held = sum(lots != 0 for _, _, lots in rows[:-1]) / (len(rows) - 1)
    assert curve.in_market == pytest.approx(held)
    values = [
        abs(lots) * price * float(XRP.quantum)
        for (_, _, lots), price in zip(rows, prices, strict=True)
    ]
    assert curve.exposure_max == pytest.approx(max(values))
    assert curve.exposure_mean == pytest.approx(sum(values[:-1]) / (len(values) - 1))
    assert curve.equity[-1] == pytest.approx(float(found.equity_end))
    worst = min(
        range(len(rows)), key=lambda place: -(max(r[0] for r in rows[: place + 1]) - rows[place][1])
    )
    assert curve.worst.trough_ns == bench.data.ts_ns[worst]


def test_round_trips_add_up_to_the_grid_profit_and_its_fees() -> None:
    bench, found = run(trades(wandering(6_000, 5)), "touch")
    sells = [place for place, side in enumerate(bench.fills.side) if side < 0]
    assert found.figures.round_trips == len(sells) > 50
    fee = Decimal("0.0002")
    paid = [
        XRP.notional(bench.fills.price_ticks[place], bench.fills.qty_lots[place]) * fee  # type: ignore[arg-type]
        for place in range(len(bench.fills))
    ]
    open_cost = XRP.money(found.totals.inventory_cost)
    closed_fees = sum(paid) - open_cost * fee
    assert sum(found.trips.net) == pytest.approx(float(found.pnl.grid - closed_fees))
    assert found.figures.pnl_per_volume_bp == pytest.approx(
        float(found.pnl.total / found.turnover) * 10_000
    )


def test_the_loss_of_a_liquidation_is_a_part_of_the_pnl() -> None:
    """Down by a third on ten times leverage: the books explain the account to the last digit."""
    prices = [14_000 - 10 * place for place in range(500)]
    bench = make_bench(
        trades(prices),
        job_grid(50, 5),
        job_paper("cross", balance=Decimal(300), leverage=Decimal(10)),
    )
    drive(bench)
    found = result.read_result(bench, balance=Decimal(300), fill_model="cross")
    assert found.counts["liquidations"] == 1
    assert found.pnl.liquidation < -200
    assert found.residual == 0
    assert found.curve.equity[-1] == pytest.approx(float(found.equity_end))


def test_sharpe_and_sortino_of_known_returns() -> None:
    """Returns of +2 % and -1 % in turn, a day each."""
    equity = np.array([100 * 1.02 ** -(-n // 2) * 0.99 ** (n // 2) for n in range(41)])
    sharpe, sortino = ratios(equity, 86_400)
    returns = np.array([0.02, -0.01] * 20)
    yearly = 365**0.5
    assert sharpe == pytest.approx(returns.mean() / returns.std(ddof=1) * yearly)
    assert sortino == pytest.approx(returns.mean() / (0.01**2 / 2) ** 0.5 * yearly)
    assert ratios(np.array([1.0, 1.0, 1.0]), 60) == (None, None)
    assert ratios(np.array([1.0, -1.0, 1.0]), 60) == (None, None)
