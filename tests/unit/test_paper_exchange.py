"""What is particular to the embedded exchange: its latencies, its feed, its kinds of time, its test switches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
import uvloop

from marketmaker.errors import ConfigError, NotSent, OutcomeUnknown, Rejected, StreamBroken
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import OrderReport, OrderStatus, Side
from marketmaker.model.settings import PaperSettings
from marketmaker.sim.loop import NS_PER_S, VirtualTimeLoop
from marketmaker.sim.order_limit import OrderLimit
from tests.support.paper import (
    START_NS,
    HeardCandles,
    HeardOrders,
    HeardPrices,
    QuietFeed,
    ScriptedFeed,
    listening,
    loop_now_ns,
    make_instrument,
    make_order,
    make_paper,
    make_quote,
    make_trade,
    on_virtual_time,
)

BUY, SELL = Side.BUY, Side.SELL
MS = 1_000_000
ETH = make_instrument("ETHUSDT")


def walk(count: int, step_ns: int = 300 * MS) -> ScriptedFeed:
    """Trades that swing around 300,000 ticks."""
    return ScriptedFeed(
        ("ETHUSDT", make_trade(300_000 + (n * 37) % 101 - 50, 10, START_NS + n * step_ns))
        for n in range(count)
    )


@on_virtual_time
async def test_an_order_takes_its_latency_there_and_back_and_its_report_the_streams() -> None:
    venue = make_paper(settings=PaperSettings(order_latency_ms=7.0, stream_latency_ms=3.0))
    await venue.connect()
    orders = HeardOrders()
    async with listening(venue.stream_orders(ETH, orders)):
        sent_ns = loop_now_ns()
        (report,) = await venue.place(ETH, [make_order(BUY, 100_000, 100)])
        assert loop_now_ns() == sent_ns + 14 * MS
        assert isinstance(report, OrderReport)
        assert report.ts_venue_ns == sent_ns + 7 * MS
        assert orders.times == [sent_ns + 10 * MS]
    await venue.close()


@on_virtual_time
async def test_an_order_meets_only_what_happens_after_it_has_arrived() -> None:
    """Sent at 0, there at 5 ms: the trade at 4 ms is missed, the one at 6 ms fills it."""
    for first_ms, filled in ((4, 0), (6, 100)):
        venue = make_paper(settings=PaperSettings(order_latency_ms=5.0, fill="touch"))
        await venue.connect()
        placed = venue.place(ETH, [make_order(BUY, 300_000, 100)])
        await asyncio.sleep(first_ms / 1000)
        venue.push("ETHUSDT", make_trade(300_000, 1))
        await placed
        report = await venue.fetch_order(ETH, make_order(BUY, 1, 1).client_order_id)
        assert report.filled_lots == filled
        await venue.close()


@on_virtual_time
async def test_requests_arrive_in_the_order_in_which_they_were_sent() -> None:
    venue = make_paper()
    await venue.connect()
    order = make_order(BUY, 100_000, 100)
    placed = venue.place(ETH, [order])
    cancelled = venue.cancel_all(ETH)
    again = venue.place(ETH, [order])
    assert isinstance((await placed)[0], OrderReport)
    assert [report.status for report in await cancelled] == [OrderStatus.CANCELLED]
    assert isinstance((await again)[0], OrderReport)
    assert venue.open_order_count("ETHUSDT") == 1
    await venue.close()


@on_virtual_time
async def test_prices_of_one_instant_travel_as_the_newest_of_them() -> None:
    feed = ScriptedFeed(
        ("ETHUSDT", make_trade(price, 1, START_NS + at_ms * MS))
        for at_ms, price in ((0, 1), (900, 10), (900, 11), (900, 12), (901, 13), (950, 14))
    )
    venue = make_paper(feed=feed, settings=PaperSettings(stream_latency_ms=2.0))
    await venue.connect()
    prices = HeardPrices()
    async with listening(venue.stream_prices(ETH, prices)):
        await venue.finished.wait()
    assert [
        (ticks, made - START_NS, seen - START_NS) for ticks, made, seen in prices.prices[1:]
    ] == [
        (12, 900 * MS, 902 * MS),
        (13, 901 * MS, 903 * MS),
        (14, 950 * MS, 952 * MS),
    ]
    await venue.close()


@on_virtual_time
async def test_without_stream_latency_prices_are_told_in_the_moment_they_are_made() -> None:
    venue = make_paper(feed=walk(50), settings=PaperSettings(stream_latency_ms=0.0))
    await venue.connect()
    prices = HeardPrices()
    async with listening(venue.stream_prices(ETH, prices)):
        await venue.finished.wait()
    assert len(prices.prices) == 50
    assert all(made == seen for _, made, seen in prices.prices[1:])
    await venue.close()


@on_virtual_time
async def test_without_trades_the_price_is_the_mid_rounded_down_and_the_first_trade_ends_that() -> (
    None
):
    venue = make_paper()
    await venue.connect()
    prices = HeardPrices()
    async with listening(venue.stream_prices(ETH, prices)):
        for event in (make_quote(100, 103), make_trade(90), make_quote(200, 203)):
            venue.push("ETHUSDT", event)
            await asyncio.sleep(0.01)
    assert [ticks for ticks, _, _ in prices.prices] == [101, 90]
    await venue.close()


@on_virtual_time
async def test_trades_at_an_unchanged_price_are_told_once_a_second() -> None:
    venue = make_paper(
        feed=ScriptedFeed(
            ("ETHUSDT", make_trade(100, 1, START_NS + n * 10 * MS)) for n in range(1000)
        )
    )
    await venue.connect()
    prices = HeardPrices()
    async with listening(venue.stream_prices(ETH, prices)):
        await venue.finished.wait()
    assert 9 <= len(prices.prices) <= 11
    await venue.close()


def story(feed: ScriptedFeed) -> list[object]:
    """Everything a small trader hears on virtual time."""
    heard: list[object] = []

    @on_virtual_time
    async def body() -> None:
        venue = make_paper(feed=feed)
        await venue.connect()
        orders, prices, candles = HeardOrders(), HeardPrices(), HeardCandles()
        async with listening(
            venue.stream_orders(ETH, orders),
            venue.stream_prices(ETH, prices),
            venue.stream_candles(["ETHUSDT"], 1, candles),
        ):
            for n in range(1, 40):
                side = BUY if n % 2 else SELL
                order = make_order(side, 300_000 - side * (n % 7), 10 + n, sequence=n)
                await venue.place(ETH, [order])
                await asyncio.sleep(0.05 * (n % 5))
            await venue.finished.wait()
        heard.extend((orders.log, orders.times, prices.prices, candles.candles, venue.stats()))
        await venue.close()

    body()
    return heard


def test_the_same_feed_and_the_same_requests_are_heard_the_same_to_the_nanosecond() -> None:
    first, second = story(walk(200)), story(walk(200))
    assert first == second
    assert len(first[0]) > 40  # type: ignore[arg-type]


async def replay(
    count: int, step_ns: int, now_ns_of: str
) -> tuple[int, list[tuple[int, int, int]]]:
    clock = loop_now_ns if now_ns_of == "virtual" else time.time_ns
    venue = make_paper(
        feed=walk(count, step_ns), settings=PaperSettings(stream_latency_ms=0.0), now_ns=clock
    )
    began_ns = clock()
    await venue.connect()
    prices = HeardPrices()
    async with listening(venue.stream_prices(ETH, prices)):
        (outcome,) = await venue.place(ETH, [make_order(BUY, 100_000, 100)])
        assert isinstance(outcome, OrderReport)
        await venue.finished.wait()
        await venue.cancel_all(ETH)
    await venue.close()
    assert venue.stats().trades == count
    return began_ns, prices.prices


@pytest.mark.parametrize("loop", ["uvloop", "virtual at speed"])
def test_the_same_venue_runs_in_real_time_and_at_a_speed_with_its_feed_shifted_to_now(
    loop: str,
) -> None:
    """The feed begins in 2023; its trades are heard from `connect` on, one step apart."""
    step_ns = 5 * MS
    if loop == "uvloop":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            began_ns, prices = runner.run(replay(30, step_ns, "real"))
    else:
        new_loop = lambda: VirtualTimeLoop(START_NS + 10**18, speed=20.0)  # noqa: E731
        with asyncio.Runner(loop_factory=new_loop) as runner:
            began_ns, prices = runner.run(replay(200, step_ns, "virtual"))
    made = [made_ns for _, made_ns, _ in prices]
    assert made[0] >= began_ns
    assert all((later - earlier) % step_ns == 0 for earlier, later in pairwise(made))
    assert all(made_ns <= seen_ns for _, made_ns, seen_ns in prices)


@on_virtual_time
async def test_when_the_feed_has_ended_the_exchange_stays_open() -> None:
    venue = make_paper(feed=walk(10))
    await venue.connect()
    order = make_order(BUY, 100_000, 100)
    await venue.place(ETH, [order])
    await venue.finished.wait()
    ended_ns = loop_now_ns()
    assert len(await venue.fetch_open_orders(ETH)) == 1
    assert len(await venue.cancel_all(ETH)) == 1
    assert venue.open_order_count("ETHUSDT") == 0
    assert loop_now_ns() < ended_ns + NS_PER_S
    prices = HeardPrices()
    async with listening(venue.stream_prices(ETH, prices)):
        await asyncio.sleep(100)
    assert prices.confirming == [], "a market at rest confirms nothing"
    await venue.close()


@on_virtual_time
async def test_candles_of_symbols_nobody_trades_come_from_the_feed_and_unknown_ones_stay_silent() -> (
    None
):
    start_ns = START_NS // (60 * NS_PER_S) * 60 * NS_PER_S
    feed = ScriptedFeed(
        (symbol, make_trade(100 + n, 1, start_ns + n * NS_PER_S))
        for n in range(200)
        for symbol in ("BTCUSDT", "NOSUCHCOIN", "ETHUSDT")
    )
    venue = make_paper(feed=feed)
    await venue.connect()
    candles = HeardCandles()
    names = ["BTCUSDT", "NOSUCHCOIN", "DOGEUSDT"]
    async with listening(venue.stream_candles(names, 60, candles)):
        await venue.finished.wait()
    assert {candle.symbol for candle in candles.candles} == {"BTCUSDT"}
    assert await venue.fetch_candles("NOSUCHCOIN", 60, 10) == []
    bars = [candle.open_ts_ns for candle in candles.candles if candle.closed]
    assert bars == sorted(set(bars))
    closed = [candle for candle in candles.candles if candle.closed]
    assert closed[1].volume == pytest.approx(60 * 0.001)
    await venue.close()


@on_virtual_time
async def test_bars_without_trades_are_flat_and_follow_without_a_gap() -> None:
    venue = make_paper()
    await venue.connect()
    candles = HeardCandles()
    async with listening(venue.stream_candles(["ETHUSDT"], 5, candles)):
        venue.push("ETHUSDT", make_trade(500, 7))
        await asyncio.sleep(30)
    closed = [candle for candle in candles.candles if candle.closed]
    starts = [candle.open_ts_ns for candle in closed]
    assert starts == [starts[0] + n * 5 * NS_PER_S for n in range(len(starts))]
    assert len(closed) >= 5
    assert [candle.volume > 0 for candle in closed] == [True] + [False] * (len(closed) - 1)
    assert {candle.close for candle in closed} == {5.0}
    await venue.close()


@on_virtual_time
async def test_a_trade_on_the_very_second_a_bar_ends_belongs_to_the_next_bar() -> None:
    venue = make_paper()
    await venue.connect()
    candles = HeardCandles()
    async with listening(venue.stream_candles(["ETHUSDT"], 60, candles)):
        venue.push("ETHUSDT", make_trade(500, 1))
        bar_ns = 60 * NS_PER_S
        await asyncio.sleep((bar_ns - loop_now_ns() % bar_ns) / NS_PER_S)
        assert loop_now_ns() % bar_ns == 0
        venue.push("ETHUSDT", make_trade(600, 1))
        await asyncio.sleep(61)
    assert [candle.close for candle in candles.candles if candle.closed] == [5.0, 6.0]
    await venue.close()


@on_virtual_time
async def test_a_hanging_placement_is_accepted_but_never_answered() -> None:
    venue = make_paper()
    await venue.connect()
    venue.hang_placements = True
    order = make_order(BUY, 100_000, 100)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3600):
            await venue.place(ETH, [order])
    assert (await venue.fetch_order(ETH, order.client_order_id)).status is OrderStatus.OPEN
    venue.hang_placements = False
    assert len(await venue.cancel_all(ETH)) == 1
    await venue.close()


@on_virtual_time
async def test_closing_leaves_what_was_asked_unknown_and_what_comes_later_unsent() -> None:
    venue = make_paper()
    with pytest.raises(NotSent):
        await venue.fetch_account(ETH)
    await venue.connect()
    stream = asyncio.create_task(venue.stream_prices(ETH, HeardPrices()))
    await asyncio.sleep(1)
    asked = venue.place(ETH, [make_order(BUY, 100_000, 100)])
    await venue.close()
    with pytest.raises(OutcomeUnknown):
        await asked
    with pytest.raises(NotSent):
        await venue.place(ETH, [make_order(BUY, 100_000, 100)])
    with pytest.raises(StreamBroken):
        await stream


class BrokenFeed:
    """Breaks at its n-th event."""

    start_ns = START_NS
    symbols = ("ETHUSDT",)

    def __init__(self, at: int) -> None:
        self._at = at

    def events(self, instruments: dict[str, Instrument]) -> Iterator[tuple[str, Trade | Quote]]:
        for n in range(self._at):
            yield "ETHUSDT", make_trade(100, 1, START_NS + n * NS_PER_S)
        raise ConfigError("trades.csv row 3: not a number")


@on_virtual_time
async def test_a_feed_that_cannot_be_read_fails_at_connect() -> None:
    venue = make_paper(feed=BrokenFeed(0))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="row 3"):
        await venue.connect()


@on_virtual_time
async def test_a_feed_that_breaks_later_ends_the_streams_with_its_error() -> None:
    venue = make_paper(feed=BrokenFeed(3))  # type: ignore[arg-type]
    await venue.connect()
    with pytest.raises(ConfigError, match="row 3"):
        await venue.stream_orders(ETH, HeardOrders())
    assert venue.finished.is_set()


@on_virtual_time
async def test_more_orders_than_a_batch_holds_are_refused_together() -> None:
    venue = make_paper()
    await venue.connect()
    orders = [make_order(BUY, 100_000, 100, sequence=n) for n in range(21)]
    with pytest.raises(Rejected, match="21 orders in one request, at most 20"):
        await venue.place(ETH, orders)
    assert venue.open_order_count("ETHUSDT") == 0
    await venue.close()


@on_virtual_time
async def test_every_fill_is_found_when_they_do_not_fit_on_one_page() -> None:
    venue = make_paper(settings=PaperSettings(fill="touch", orders_per_s=1e6, order_burst=10**6))
    await venue.connect()
    for n in range(1100):
        side = BUY if n % 2 else SELL
        venue.push("ETHUSDT", make_quote(299_999, 300_001))
        await venue.place(
            ETH, [make_order(side, 300_000 + 5 * side, 7, sequence=n, post_only=False)]
        )
    fills = await venue.fetch_fills(ETH, 0)
    assert [int(fill.trade_id) for fill in fills] == list(range(1, 1101))
    await venue.close()


@on_virtual_time
async def test_order_events_under_way_when_the_stream_is_cut_are_lost_even_if_it_returns_at_once() -> (
    None
):
    venue = make_paper(settings=PaperSettings(order_latency_ms=5.0, stream_latency_ms=50.0))
    await venue.connect()
    orders = HeardOrders()
    async with listening(venue.stream_orders(ETH, orders)):
        await venue.place(ETH, [make_order(BUY, 100_000, 100)])
        venue.drop_order_stream("cut")
        venue.drop_order_stream("cut twice")
        venue.restore_order_stream()
        venue.restore_order_stream()
        await asyncio.sleep(1)
        assert orders.reports == []
        assert (orders.ups, orders.downs) == (2, ["cut"])
    await venue.close()


@on_virtual_time
async def test_a_listener_that_comes_while_the_stream_is_cut_waits_for_its_return() -> None:
    venue = make_paper(feed=QuietFeed("ETHUSDT"))
    await venue.connect()
    venue.drop_order_stream()
    orders = HeardOrders()
    async with listening(venue.stream_orders(ETH, orders)):
        assert orders.ups == 0
        venue.restore_order_stream()
        assert orders.ups == 1
    await venue.close()


def test_the_order_limit_lets_a_burst_through_and_then_its_rate() -> None:
    limit = OrderLimit(per_s=10.0, burst=3)
    now = 10**18
    assert [limit.wait_ns(1, now) for _ in range(4)] == [0, 0, 0, 100 * MS]
    assert limit.wait_ns(2, now) == 200 * MS, "a refused request takes nothing"
    assert limit.wait_ns(1, now + 100 * MS) == 0
    assert limit.wait_ns(5, now + 10 * NS_PER_S) == 0, "more than a burst is counted as a burst"
