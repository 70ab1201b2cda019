"""Skip-ahead and the reference driver agree to the last bit, whatever the market and the configuration."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numpy")

from marketmaker.backtest.arrays import (
    MarketData,
    between,
    from_bars,
    from_events,
    from_trades,
)
from marketmaker.backtest.drive import drive
from marketmaker.backtest.skip import skip_ahead
from marketmaker.model.instrument import Lots, Ticks
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side
from marketmaker.model.settings import (
    GridSettings,
    GridSide,
    PaperSettings,
    PostOnlyPolicy,
    Spacing,
    WindowFrom,
)
from tests.support.backtests import (
    START_NS,
    XRP,
    Lines,
    Outcome,
    assert_same,
    both,
    make_bench,
    outcome,
)

START = 14_000
MS = 1_000_000


def grid_of(draw: Any) -> GridSettings:
    geometric = draw(st.booleans())
    interval = draw(st.sampled_from(["0.0003", "0.001", "0.0035", "0.01"]))
    window = draw(st.integers(1, 8))
    side = draw(st.sampled_from(GridSide))
    near, far = Decimal("1.38"), Decimal("1.42")
    low, high = (far, near) if side is GridSide.SHORT else (near, far)
    return GridSettings(
        side=side,
        spacing=Spacing.GEOMETRIC if geometric else Spacing.ARITHMETIC,
        price_interval=None if geometric else Decimal(interval),
        interval_pct=Decimal("0.0008") if geometric else None,
        order_amount=Decimal(draw(st.sampled_from([20, 50, 400]))),
        buy_window=window,
        sell_window=draw(st.integers(1, 8)),
        max_open_orders=window + draw(st.integers(1, 10)),
        cleanup_batch_size=draw(st.integers(1, 3)),
        place_distance=draw(st.sampled_from([Decimal(0), Decimal("0.1"), Decimal("0.5")])),
        window_from=draw(st.sampled_from(WindowFrom)),
        post_only=draw(st.sampled_from(PostOnlyPolicy)),
        max_position=draw(st.sampled_from([None, None, Decimal(300)])),
        stop_loss=draw(st.sampled_from([None, None, low])),
        take_profit=draw(st.sampled_from([None, None, high])),
        trigger_price=draw(st.sampled_from([None, None, Decimal("1.399")])),
    )


def paper_of(draw: Any) -> PaperSettings:
    """A balance of 100 runs out of margin, and at ten times leverage is liquidated in a crash."""
    return PaperSettings(
        fill=draw(st.sampled_from(["cross", "touch", "queue"])),
        balance=Decimal(draw(st.sampled_from([100, 1_000, 100_000]))),
        leverage=Decimal(draw(st.sampled_from([2, 10]))),
        funding_rate=Decimal(draw(st.sampled_from(["0.0001", "-0.01"]))),
        funding_interval_s=draw(st.sampled_from([20.0, 28_800.0])),
    )


def walk(random: Random, size: int, wild: bool) -> list[int]:
    """Small steps and long stands; if `wild`, gaps and crashes now and then."""
    prices, price = [], START
    for _ in range(size):
        chance = random.random()
        if wild and chance < 0.01:
            price += random.choice((-400, -90, 90, 300))
        elif chance < 0.6:
            price += random.choice((-9, -3, -1, -1, 1, 1, 3, 9))
        price = max(price, 50)
        prices.append(price)
    return prices


def times(random: Random, size: int) -> list[int]:
    """Several events in one instant, mostly milliseconds, sometimes minutes."""
    now, out = START_NS, []
    for _ in range(size):
        now += random.choice((0, 1, MS, 300 * MS, 300 * MS, 2_000 * MS, 11_000 * MS))
        out.append(now)
    return out


def trades_of(random: Random, size: int, wild: bool) -> MarketData:
    lots = [random.choice((1, 40, 300, 5_000)) for _ in range(size)]
    return from_trades("XRPUSDT", times(random, size), walk(random, size, wild), lots)


def frames_of(random: Random, size: int, wild: bool) -> MarketData:
    """Quotes round the walk, one-sided now and then, and trades at their edges."""
    events: list[Trade | Quote] = []
    for ts_ns, price in zip(times(random, size), walk(random, size, wild), strict=True):
        if random.random() < 0.5:
            lots = [random.choice((0, 5, 60, 900)) if random.random() < 0.1 else 300, 300]
            random.shuffle(lots)
            events.append(
                Quote(
                    bid_ticks=Ticks(price - random.choice((1, 2, 6))),
                    bid_lots=Lots(lots[0]),
                    ask_ticks=Ticks(price + random.choice((0, 1, 6))),
                    ask_lots=Lots(lots[1]),
                    ts_venue_ns=ts_ns,
                    ts_local_ns=ts_ns,
                )
            )
        else:
            events.append(
                Trade(
                    price_ticks=Ticks(price),
                    qty_lots=Lots(random.choice((1, 40, 300))),
                    aggressor=Side.BUY,
                    ts_venue_ns=ts_ns,
                    ts_local_ns=ts_ns,
                )
            )
    return from_events("XRPUSDT", events)


def bars_of(random: Random, size: int, wild: bool) -> MarketData:
    close = walk(random, size, wild)
    low = [price - random.choice((0, 0, 2, 30)) for price in close]
    high = [price + random.choice((0, 0, 2, 30)) for price in close]
    ends = [START_NS + 60_000 * MS * (place + 1) for place in range(size)]
    return from_bars(
        "XRPUSDT",
        close_ns=ends,
        low=low,
        high=high,
        close=close,
        qty=[1_000] * size,
        bar_ns=60_000 * MS,
    )


BARS = 100
"""In an hour and a half of them as much falls due, and is played, as in thousands of the other markets' events."""
MARKETS = {"trades": trades_of, "frames": frames_of, "bars": bars_of}


@pytest.mark.parametrize("kind", MARKETS)
@given(data=st.data(), seed=st.integers(0, 10**6), wild=st.booleans())
@settings(max_examples=30, deadline=None)
def test_both_drivers_leave_the_same_fills_books_and_journal(
    kind: str, data: st.DataObject, seed: int, wild: bool
) -> None:
    """The reference doubts every quiet band, so this also shows that the bands tell the truth."""
    compare_drivers(kind, data, seed, wild, size=BARS if kind == "bars" else 250)


@pytest.mark.long
@pytest.mark.parametrize("kind", MARKETS)
@given(data=st.data(), seed=st.integers(0, 10**6), wild=st.booleans())
@settings(max_examples=200, deadline=None)
def test_both_drivers_agree_in_many_more_markets(
    kind: str, data: st.DataObject, seed: int, wild: bool
) -> None:
    """Two to three minutes: pytest -m long -k many_more_markets."""
    compare_drivers(kind, data, seed, wild, size=BARS if kind == "bars" else 400)


def compare_drivers(kind: str, data: st.DataObject, seed: int, wild: bool, *, size: int) -> None:
    grid, paper = grid_of(data.draw), paper_of(data.draw)
    latency_ns = data.draw(st.sampled_from([0, 0, 1, 5 * MS, 2_500 * MS]))
    market = MARKETS[kind](Random(seed), size, wild)
    assert_same(*both(market, grid, paper, latency_ns=latency_ns))


@pytest.mark.parametrize("kind", ["trades", "bars"])
@given(data=st.data(), seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 119), max_size=4))
@settings(max_examples=15, deadline=None)
def test_a_market_may_be_driven_stretch_by_stretch(
    kind: str, data: st.DataObject, seed: int, cuts: list[int]
) -> None:
    """Wherever it is cut, and by either driver, the outcome is that of the whole."""
    grid, paper = grid_of(data.draw), paper_of(data.draw)
    latency_ns = data.draw(st.sampled_from([0, 5 * MS, 2_500 * MS]))
    market = MARKETS[kind](Random(seed), 120, wild=True)
    edges = [0, *sorted(set(cuts)), len(market)]
    stretches = [
        between(
            market,
            int(market.ts_ns[first]),
            None if last == len(market) else int(market.ts_ns[last]),
        )
        for first, last in pairwise(edges)
        if market.ts_ns[first] < market.ts_ns[min(last, len(market) - 1)] or last == len(market)
    ]
    whole = both(market, grid, paper, doubting=False, latency_ns=latency_ns)
    for number, driver in enumerate((drive, lambda bench: skip_ahead(bench, bench.data.index()))):
        lines = Lines()
        bench = make_bench(stretches[0], grid, paper, journal=lines, latency_ns=latency_ns)
        for stretch in stretches:
            bench.go_on(stretch)
            driver(bench)
        assert_same(whole[number], outcome(bench, lines))


def test_the_markets_here_reach_what_they_are_meant_to_reach() -> None:
    """Fills, liquidations, funding, refusals and cleaning all happen in the kind of run that is compared."""
    seen: dict[str, int] = {}
    for seed in range(6):
        random = Random(seed)
        market = trades_of(random, 1_500, wild=True)
        outcome = run_small(market, fill=random.choice(["cross", "touch", "queue"]))
        for name, count in outcome.counts.items():
            seen[name] = seen.get(name, 0) + count
        seen["alerts"] = seen.get("alerts", 0) + sum(outcome.alerts.values())
    assert all(seen.values()), seen


def run_small(market: MarketData, fill: str) -> Outcome:
    grid = GridSettings(
        price_interval=Decimal("0.001"),
        order_amount=Decimal(50),
        buy_window=6,
        sell_window=6,
        max_open_orders=9,
    )
    paper = PaperSettings(
        fill=fill, balance=Decimal(100), leverage=Decimal(10), funding_interval_s=60.0
    )
    reference, skipped = both(market, grid, paper)
    assert_same(reference, skipped)
    return skipped


@pytest.mark.parametrize("side", [GridSide.LONG, GridSide.SHORT])
def test_an_account_runs_out_of_margin_at_the_same_trade(side: GridSide) -> None:
    """Levels lie far apart and nothing more may be opened, so between two of them only the margin ends the quiet."""
    grid = GridSettings(
        side=side,
        price_interval=Decimal("0.05"),
        order_amount=Decimal(400),
        buy_window=4,
        sell_window=4,
        max_position=Decimal(620),
    )
    paper = PaperSettings(
        fill="touch", balance=Decimal(100), leverage=Decimal(10), funding_rate=Decimal(0)
    )
    prices = [START - side_of(side) * 7 * step for step in range(500)]
    market = from_trades(
        "XRPUSDT",
        [START_NS + step * 1_000 * MS for step in range(500)],
        prices,
        [10**6] * 500,
    )
    reference, skipped = both(market, grid, paper)
    assert_same(reference, skipped)
    assert skipped.counts["liquidations"] == 1


def side_of(side: GridSide) -> int:
    return -1 if side is GridSide.SHORT else 1


def test_events_that_can_do_nothing_are_not_played() -> None:
    """A price that stands between two levels for 10,000 trades wakes nobody."""
    prices = [START, START - 3, *([START - 4, START - 5] * 5_000), START - 10, START]
    market = from_trades(
        "XRPUSDT",
        [START_NS + place * MS for place in range(len(prices))],
        prices,
        [10**9] * len(prices),
    )
    woken: list[int] = []
    outcomes = both(market, on_benches=lambda one, other: woken.extend((one.woken, other.woken)))
    assert_same(*outcomes)
    assert woken[0] == len(prices) and woken[1] <= 6
    assert len(outcomes[1].fills) == 2 and XRP.tick_size * 10 == Decimal("0.001")
