"""The synthetic market: repeatable, quick to start, lively, and now and then falling as one."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice, pairwise, takewhile
from pathlib import Path

import pytest

from marketmaker.backtest.data import open_feed
from marketmaker.errors import ConfigError
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side
from marketmaker.sim.synthetic import Regime, SyntheticFeed, weather
from tests.support.recordings import START_NS, instrument

NS_PER_S = 1_000_000_000
INSTRUMENTS = {
    name: instrument(name, tick, lot)
    for name, tick, lot in (
        ("BTCUSDT", "0.1", "0.001"),
        ("ETHUSDT", "0.01", "0.001"),
        ("SOLUSDT", "0.01", "0.01"),
        ("XRPUSDT", "0.0001", "0.1"),
        ("DOGEUSDT", "0.00001", "1"),
    )
}
SYMBOLS = tuple(INSTRUMENTS)
GOLDEN = "61d7b51eaec969ab2f3dd7ab9d514b7bb85d2c853d56f4805f72aff3e84ceb12"

Event = tuple[str, Trade | Quote]


def events(
    seed: int,
    seconds: float,
    symbols: tuple[str, ...] = SYMBOLS,
    instruments: dict[str, Instrument] = INSTRUMENTS,
) -> Iterator[Event]:
    feed = SyntheticFeed(seed, symbols, START_NS)
    end_ns = START_NS + int(seconds * NS_PER_S)
    return takewhile(lambda item: item[1].ts_local_ns < end_ns, feed.events(instruments))


def digest(items: Iterator[Event]) -> str:
    return hashlib.sha256("\n".join(map(repr, items)).encode()).hexdigest()


def test_a_seed_gives_the_same_events_each_time_and_another_seed_others() -> None:
    feed = SyntheticFeed(5, SYMBOLS, START_NS)
    once = list(islice(feed.events(INSTRUMENTS), 2_000))
    assert once == list(islice(feed.events(INSTRUMENTS), 2_000))
    assert once != list(islice(SyntheticFeed(6, SYMBOLS, START_NS).events(INSTRUMENTS), 2_000))


def test_the_first_three_hours_of_seed_1_are_what_they_have_always_been() -> None:
    """Crash included. Hashes randomised differently per process, and other machines, must not change a byte."""
    assert digest(events(1, 3 * 3_600, ("BTCUSDT", "XRPUSDT"))) == GOLDEN


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_the_market_does_not_depend_on_the_hash_seed(hash_seed: str) -> None:
    script = (
        "from itertools import islice; from tests.unit.test_synthetic import *;"
        "print(digest(islice(events(1, 9e9), 3000)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == digest(islice(events(1, 9e9), 3_000))


def test_a_symbols_market_is_the_same_whichever_others_are_asked_for() -> None:
    together = [event for symbol, event in events(3, 3_600) if symbol == "ETHUSDT"]
    alone = [event for _, event in events(3, 3_600, ("ETHUSDT",))]
    assert together == alone


def test_every_symbol_shows_a_quote_and_a_trade_within_50_ms() -> None:
    feed = SyntheticFeed(1, SYMBOLS, START_NS)
    assert next(feed.events(INSTRUMENTS))[1].ts_local_ns == feed.start_ns == START_NS
    shown = {(symbol, type(event)) for symbol, event in events(1, 0.05)}
    assert shown == {(symbol, kind) for symbol in SYMBOLS for kind in (Quote, Trade)}


@pytest.mark.parametrize("seed", [1, 2])
def test_events_are_in_time_order_and_trades_print_at_the_bid_or_the_ask(seed: int) -> None:
    last_ns = START_NS
    quotes: dict[str, Quote] = {}
    for symbol, event in events(seed, 1_800):
        assert event.ts_local_ns == event.ts_venue_ns >= last_ns
        last_ns = event.ts_local_ns
        if isinstance(event, Quote):
            assert 1 <= event.ask_ticks - event.bid_ticks <= 3
            assert min(event.bid_lots, event.ask_lots) >= 1
            quotes[symbol] = event
        else:
            quote = quotes[symbol]
            bought = event.aggressor is Side.BUY
            assert event.price_ticks == (quote.ask_ticks if bought else quote.bid_ticks)
            assert event.qty_lots >= 1


def test_a_symbol_has_about_four_events_a_second_both_ways() -> None:
    counts: dict[str, int] = defaultdict(int)
    buys = trades = 0
    for symbol, event in events(4, 7_200):
        counts[symbol] += 1
        if isinstance(event, Trade):
            trades += 1
            buys += event.aggressor is Side.BUY
    assert all(3.5 < count / 7_200 < 4.5 for count in counts.values())
    assert 0.45 < buys / trades < 0.55
    assert 0.4 < trades / sum(counts.values()) < 0.6


def test_most_markets_fall_015_percent_below_their_first_price_within_a_minute() -> None:
    """So that a grid of 0.15 % anchored at the first price buys while its owner still looks."""
    falls = []
    for seed in range(1, 11):
        seen: dict[str, list[int]] = defaultdict(list)
        for symbol, event in events(seed, 60):
            if isinstance(event, Trade):
                seen[symbol].append(event.price_ticks)
        falls += [min(prices) / prices[0] < 1 - 0.0015 for prices in seen.values()]
    assert sum(falls) / len(falls) > 0.75


def test_a_grid_of_02_percent_is_crossed_several_times_in_every_ten_minutes() -> None:
    for symbol in SYMBOLS:
        moves = [0] * 6
        level: int | None = None
        for _, event in events(2, 3_600, (symbol,)):
            if isinstance(event, Trade):
                level = level or event.price_ticks
                if abs(event.price_ticks / level - 1) >= 0.002:
                    level = event.price_ticks
                    moves[(event.ts_local_ns - START_NS) // (600 * NS_PER_S)] += 1
        assert min(moves) >= 5


def test_prices_move_about_a_twenty_fifth_of_a_percent_per_root_second() -> None:
    """Mean square of returns per second: 0.02 to 0.06 % as a deviation."""
    total = 0.0
    seconds = 0.0
    last: tuple[int, int] | None = None
    for _, event in events(8, 3_600, ("BTCUSDT",)):
        if isinstance(event, Quote):
            if last is not None:
                total += (event.bid_ticks / last[0] - 1) ** 2
                seconds += (event.ts_local_ns - last[1]) / NS_PER_S
            last = event.bid_ticks, event.ts_local_ns
    assert 0.0002 < (total / seconds) ** 0.5 < 0.0006


def test_the_weather_crashes_every_20_to_80_minutes_and_always_recovers() -> None:
    stretches = list(islice(weather(1, 0), 500))
    began = [s for s, t in pairwise(stretches) if t.regime is Regime.CRASH]
    ends = [s.end_ns / (60 * NS_PER_S) for s in began]
    assert all(20 <= b - a <= 90 for a, b in pairwise(ends))
    assert 20 <= ends[0] <= 80
    for before, after in pairwise(stretches):
        assert (before.regime is Regime.CRASH) == (after.regime is Regime.RECOVERY)
    assert {stretch.regime for stretch in stretches} == set(Regime)
    assert stretches != list(islice(weather(2, 0), 500))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_crash_makes_every_symbol_panic_in_the_same_minute_and_most_recover(seed: int) -> None:
    """By the risk monitor's own rule, with a 20-minute window and three times the volume."""
    crash = next(s for s in weather(seed, START_NS) if s.regime is Regime.CRASH)
    minutes = (crash.end_ns - START_NS) // (60 * NS_PER_S) + 20
    closes: dict[str, list[int]] = {symbol: [0] * minutes for symbol in SYMBOLS}
    volumes: dict[str, list[int]] = {symbol: [0] * minutes for symbol in SYMBOLS}
    for symbol, event in events(seed, minutes * 60):
        if isinstance(event, Trade):
            minute = (event.ts_local_ns - START_NS) // (60 * NS_PER_S)
            closes[symbol][minute] = event.price_ticks
            volumes[symbol][minute] += event.qty_lots

    def mean(values: list[int], minute: int) -> float:
        return sum(values[minute - 20 : minute]) / 20

    def panics(symbol: str, minute: int) -> bool:
        low = closes[symbol][minute] < mean(closes[symbol], minute)
        return low and volumes[symbol][minute] > 3 * mean(volumes[symbol], minute)

    def recovered(symbol: str, minute: int) -> bool:
        high = closes[symbol][minute] > mean(closes[symbol], minute)
        return high and volumes[symbol][minute] < 3 * mean(volumes[symbol], minute)

    panic = [m for m in range(20, minutes) if all(panics(symbol, m) for symbol in SYMBOLS)]
    assert panic
    before_ns = START_NS + panic[0] * 60 * NS_PER_S
    assert before_ns < crash.end_ns
    after = range(panic[-1] + 1, minutes)
    assert any(sum(recovered(symbol, m) for symbol in SYMBOLS) >= 3 for m in after)


def test_a_price_of_a_few_ticks_never_falls_to_nothing() -> None:
    """A tick of 50 on a price of 100 would leave two ticks: the market starts at 100 ticks and stays up."""
    coarse = {"ODDUSDT": instrument("ODDUSDT", "50", "1")}
    for _, event in events(1, 6 * 3_600, ("ODDUSDT",), coarse):
        lowest = event.price_ticks if isinstance(event, Trade) else event.bid_ticks
        assert lowest >= 8


def test_prices_begin_at_the_built_in_the_given_or_the_common_start() -> None:
    instruments = {**INSTRUMENTS, "ODDUSDT": instrument("ODDUSDT")}
    feed = SyntheticFeed(1, ("BTCUSDT", "ETHUSDT", "ODDUSDT"), 0, {"ETHUSDT": Decimal(2_500)})
    first = dict(islice(feed.events(instruments), 3))
    for symbol, start in (("BTCUSDT", 60_000), ("ETHUSDT", 2_500), ("ODDUSDT", 100)):
        quote = first[symbol]
        assert isinstance(quote, Quote)
        assert abs(instruments[symbol].price(quote.bid_ticks) - start) <= 3 * (
            instruments[symbol].tick_size
        )


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "Infinity"])
def test_a_start_price_that_is_not_positive_is_refused(price: str) -> None:
    with pytest.raises(ConfigError, match="start price of ETHUSDT must be positive"):
        SyntheticFeed(1, ("ETHUSDT",), 0, {"ETHUSDT": Decimal(price)})


def test_the_feed_text_names_the_seed() -> None:
    for text, seed in (("synthetic", 1), ("synthetic:7", 7), ("synthetic:-3", -3)):
        feed = open_feed(text, ("ETHUSDT",), START_NS)
        assert isinstance(feed, SyntheticFeed)
        assert (feed.seed, feed.symbols, feed.start_ns) == (seed, ("ETHUSDT",), START_NS)
        assert feed.describe() == f"synthetic market, seed {seed}, ETHUSDT"


@pytest.mark.parametrize("text", ["synthetic:", "synthetic:x", "synthetic:1.5"])
def test_a_seed_that_is_no_whole_number_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number"):
        open_feed(text, ("ETHUSDT",), START_NS)
