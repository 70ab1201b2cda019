"""What every venue's market data does, whichever venue it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from marketmaker.errors import ConfigError, NotSent, OutcomeUnknown, VenueError
from marketmaker.model.market import Candle
from marketmaker.model.settings import Credentials
from tests.contract.bench import MID, Bench
from tests.contract.cards import card
from tests.contract.makers import ROOMY
from tests.support.inside import attributes
from tests.support.paper import HeardCandles, HeardPrices, listening

DATA = "data"


@card(DATA)
async def every_stream_says_once_that_it_is_up(bench: Bench) -> None:
    assert (bench.orders.ups, bench.prices.ups, bench.candles.ups) == (1, 1, 1)
    assert not (bench.orders.downs or bench.prices.downs or bench.candles.downs)


@card(DATA)
async def an_instrument_has_the_venues_exact_steps_and_fees(bench: Bench) -> None:
    instrument = bench.instrument
    assert (instrument.name, instrument.base, instrument.quote) == ("ETHUSDT", "ETH", "USDT")
    assert instrument.tick_size == Decimal("0.01")
    assert instrument.lot_size == Decimal("0.001")
    assert (instrument.maker_fee, instrument.taker_fee) == (Decimal("0.0002"), Decimal("0.0005"))
    assert instrument.min_qty >= 1


@card(DATA)
async def another_instrument_has_its_own_steps(bench: Bench) -> None:
    other = await bench.adapter.fetch_instrument("BTCUSDT")
    assert (other.base, other.tick_size) == ("BTC", Decimal("0.1"))


@card(DATA)
async def an_instrument_that_does_not_exist_is_a_configuration_error_that_names_its_neighbour(
    bench: Bench,
) -> None:
    with pytest.raises(ConfigError, match="ETHUSDT"):
        await bench.adapter.fetch_instrument("ETHUSD")


@card(DATA)
async def every_price_change_is_told_in_order(bench: Bench) -> None:
    for price in (MID + 5, MID + 6, MID - 3):
        bench.trade(price, 1)
        await asyncio.sleep(0.01)
    await bench.until(lambda: bench.prices.prices and bench.prices.prices[-1][0] == MID - 3)
    heard = [price for price, _, _ in bench.prices.prices]
    changes = [p for n, p in enumerate(heard) if n == 0 or heard[n - 1] != p]
    assert [p for p in changes if p != MID][-3:] == [MID + 5, MID + 6, MID - 3]


@card(DATA)
async def a_price_carries_the_venues_time_and_ours(bench: Bench) -> None:
    bench.trade(MID + 7, 1)
    await bench.until(lambda: any(price == MID + 7 for price, _, _ in bench.prices.prices))
    _, venue_ns, local_ns = next(each for each in bench.prices.prices if each[0] == MID + 7)
    assert 0 <= local_ns - venue_ns < 5_000_000_000


@card(DATA)
async def a_burst_of_trades_ends_at_the_last_one(bench: Bench) -> None:
    for n in range(200):
        bench.trade(MID + n, 1)
    await bench.until(lambda: bench.prices.prices and bench.prices.prices[-1][0] == MID + 199)


@card(DATA)
async def a_second_opinion_comes_by_itself(bench: Bench) -> None:
    if not bench.adapter.capabilities.confirming_price:
        pytest.skip("the venue has one price only")
    bench.quote(MID + 9, 1_000, MID + 11, 1_000)
    await bench.until(lambda: any(p == MID + 10 for p, _, _ in bench.prices.confirming))


@card(DATA)
async def two_listeners_of_one_symbol_both_hear(bench: Bench) -> None:
    second = HeardPrices()
    async with listening(bench.adapter.stream_prices(bench.instrument, second)):
        await bench.until(lambda: second.ups)
        bench.trade(MID + 3, 1)
        await bench.until(
            lambda: second.prices and bench.prices.prices and second.prices[-1][0] == MID + 3
        )
    bench.trade(MID + 4, 1)
    await bench.until(lambda: bench.prices.prices[-1][0] == MID + 4)
    assert second.prices[-1][0] == MID + 3, "who has left hears nothing more"


@card(DATA)
async def two_symbols_keep_their_prices_apart(bench: Bench) -> None:
    other, heard = await bench.adapter.fetch_instrument("BTCUSDT"), HeardPrices()
    async with listening(bench.adapter.stream_prices(other, heard)):
        await bench.until(lambda: heard.ups)
        before = len(heard.prices)
        bench.trade(MID + 2, 1)
        await bench.until(lambda: bench.prices.prices and bench.prices.prices[-1][0] == MID + 2)
        assert len(heard.prices) == before


@card(DATA)
async def a_cut_price_stream_says_down_and_comes_back(bench: Bench) -> None:
    bench.rehearsed.stage.disconnect_all()
    await bench.until(lambda: bench.prices.downs)
    await bench.until(lambda: bench.prices.ups == 2)
    bench.trade(MID + 8, 1)
    await bench.until(lambda: bench.prices.prices and bench.prices.prices[-1][0] == MID + 8)


@card(DATA)
async def a_cut_candle_stream_says_down_and_comes_back(bench: Bench) -> None:
    bench.rehearsed.stage.disconnect_all()
    await bench.until(lambda: bench.candles.downs)
    await bench.until(lambda: bench.candles.ups == 2)
    bench.candles.candles.clear()
    bench.trade(MID, 1)
    await bench.until(lambda: bench.candles.candles)


@card(DATA)
async def a_stream_that_nobody_wants_any_more_is_given_up(bench: Bench) -> None:
    other = await bench.adapter.fetch_instrument("BTCUSDT")
    stage, heard = bench.rehearsed.stage, HeardPrices()
    async with listening(bench.adapter.stream_prices(other, heard)):
        await bench.until(lambda: heard.ups)
        await bench.until(lambda: any("BTC" in each.upper() for each in stage.sockets.streams()))
    await bench.until(lambda: not any("BTC" in each.upper() for each in stage.sockets.streams()))


@card(DATA)
async def an_open_candle_is_told_with_the_trades_of_its_time(bench: Bench) -> None:
    await bench.not_at_the_turn()
    bench.trade(MID + 20, 100)

    def with_the_trade() -> list[Candle]:
        return [
            each
            for each in bench.candles.candles
            if each.high >= 3000.2 and each.volume > 0 and not each.closed
        ]

    await bench.until(with_the_trade)
    candle = with_the_trade()[-1]
    assert (candle.symbol, candle.interval_s) == ("ETHUSDT", 60)
    assert candle.open_ts_ns % 60_000_000_000 == 0
    assert candle.low <= candle.close <= candle.high


@card(DATA)
async def candles_come_oldest_first_the_last_one_open(bench: Bench) -> None:
    await bench.not_at_the_turn()
    bench.trade(MID, 1)
    await bench.calm()
    candles = await bench.adapter.fetch_candles("ETHUSDT", 60, 5)
    assert 0 < len(candles) <= 5
    opens = [candle.open_ts_ns for candle in candles]
    assert opens == sorted(set(opens))
    assert all(candle.closed for candle in candles[:-1]) and not candles[-1].closed


@card(DATA)
async def so_many_candles_as_asked_for_and_the_newest(bench: Bench) -> None:
    await bench.not_at_the_turn()
    bench.trade(MID, 1)
    await bench.calm()
    (newest,) = await bench.adapter.fetch_candles("ETHUSDT", 60, 1)
    assert newest.open_ts_ns == (await bench.adapter.fetch_candles("ETHUSDT", 60, 3))[-1].open_ts_ns


@card(DATA)
async def candles_of_an_unknown_symbol_are_none(bench: Bench) -> None:
    assert list(await bench.adapter.fetch_candles("NOSUCHUSDT", 60, 5)) == []


@card(DATA)
async def candles_of_an_interval_nobody_has_are_none_or_refused(bench: Bench) -> None:
    try:
        assert list(await bench.adapter.fetch_candles("ETHUSDT", 61, 5)) == []
    except ConfigError:
        pass


@card(DATA)
async def a_candle_stream_with_an_unknown_symbol_serves_the_others(bench: Bench) -> None:
    heard = HeardCandles()
    stream = bench.adapter.stream_candles(["NOSUCHUSDT", "ETHUSDT"], 60, heard)
    async with listening(stream):
        await bench.until(lambda: heard.ups)
        bench.trade(MID, 1)
        await bench.until(lambda: heard.candles)
        assert {candle.symbol for candle in heard.candles} == {"ETHUSDT"}


@card(DATA, paper=replace(ROOMY, funding_rate=Decimal("0.00025")))
async def the_funding_rate_is_the_venues(bench: Bench) -> None:
    assert await bench.adapter.fetch_funding_rate(bench.instrument) == Decimal("0.00025")


@card(DATA)
async def what_is_public_works_without_a_key(bench: Bench) -> None:
    async with bench.other(credentials=Credentials()) as stranger:
        await stranger.connect()
        instrument = await stranger.fetch_instrument("ETHUSDT")
        heard = HeardPrices()
        async with listening(stranger.stream_prices(instrument, heard)):
            await bench.until(lambda: heard.ups)
            bench.trade(MID + 1, 1)
            await bench.until(lambda: heard.prices)
        bench.trade(MID, 1)
        assert await stranger.fetch_candles("ETHUSDT", 60, 1)


@card(DATA)
async def the_venues_clock_is_measured_when_it_connects(bench: Bench) -> None:
    bench.mischief(clock_offset_ms=-3_000)
    async with bench.other() as stranger:
        await stranger.connect()
        account = await stranger.fetch_account(bench.instrument)
        assert -3_700_000_000 < account.clock_offset_ns < -2_300_000_000


@card(DATA)
async def an_unreadable_public_frame_is_kept_and_changes_nothing(bench: Bench) -> None:
    bench.trade(MID + 1, 1)
    await bench.until(lambda: bench.prices.prices)
    malformed = bench.rehearsed and bench.adapter.malformed  # type: ignore[attr-defined]
    before, heard = malformed.count, len(bench.prices.prices)
    for socket in list(bench.rehearsed.stage.sockets._all):
        socket.send('{"e":"aggTrade","p":"NaN","arg":{},"data":[[]]')
    await bench.until(lambda: malformed.count > before)
    assert len(bench.prices.prices) == heard
    bench.trade(MID + 2, 1)
    await bench.until(lambda: bench.prices.prices[-1:] and bench.prices.prices[-1][0] == MID + 2)


@card(DATA)
async def a_server_that_is_not_there_was_never_sent_anything(bench: Bench) -> None:
    nowhere = {"rest_url": "http://127.0.0.1:9"}
    async with bench.other(endpoints=nowhere) as stranger:
        with pytest.raises(NotSent):
            await stranger.connect()


@card(DATA, timeout_s=1.0)
async def a_server_that_does_not_answer_is_given_up_in_time(bench: Bench) -> None:
    bench.mischief(scope="any", hang_answers=1)
    with pytest.raises(OutcomeUnknown):
        async with asyncio.timeout(9):
            await bench.adapter.fetch_position(bench.instrument)


@card(DATA)
async def a_subscription_that_is_acknowledged_and_forgotten_is_not_believed(bench: Bench) -> None:
    """How long it is given is the venue's table; here only that it is being waited for."""
    other = await bench.adapter.fetch_instrument("BTCUSDT")
    bench.mischief(lose_subscriptions=10)
    heard = HeardPrices()
    async with listening(bench.adapter.stream_prices(other, heard)):

        def waited_for() -> list[str]:
            links = [s.link for s in attributes(bench.adapter).values() if hasattr(s, "link")]
            return [name for link in links if link is not None for name in link.silent]

        await bench.until(lambda: any("BTC" in name.upper() for name in waited_for()))


@card(DATA)
async def capabilities_are_figures_that_can_be_used(bench: Bench) -> None:
    figures = bench.adapter.capabilities
    assert figures.place_batch >= 1 and figures.cancel_batch >= 1
    assert figures.orders_per_s > 0 and figures.order_burst >= 1
    assert figures.request_lifetime_s > 0
    assert figures.post_only and figures.reduce_only


@card(DATA)
async def no_error_shows_what_signs_the_requests(bench: Bench) -> None:
    bench.mischief(scope="any", unknown_done=1)
    try:
        await bench.adapter.fetch_open_orders(bench.instrument)
    except VenueError as error:
        assert "loopback-secret" not in repr(error) + str(error)
        assert error.__cause__ is None or "loopback-secret" not in repr(error.__cause__)
    assert "loopback-secret" not in repr(attributes(bench.adapter))
