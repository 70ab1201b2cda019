"""The Binance adapter against the loopback venue, over real sockets."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal

import pytest

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.binance import Binance, Endpoints
from marketmaker.adapters.protocol import Adapter
from marketmaker.adapters.websocket import Timing
from marketmaker.errors import (
    AuthenticationRefused,
    ConfigError,
    DuplicateClientOrderId,
    OrderNotFound,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
)
from marketmaker.loopback.binance import LoopbackBinance
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import OrderRef, OrderReport, OrderStatus, Side
from marketmaker.model.settings import Credentials, PaperSettings
from marketmaker.runtime.clock import RealClock
from tests.support.loopback import PAPER, binance_venue, push_trade, until
from tests.support.paper import HeardCandles, HeardOrders, HeardPrices, listening, make_order

BUY = Side.BUY


@dataclass
class Desk:
    venue: LoopbackBinance
    adapter: Binance
    instrument: Instrument
    orders: HeardOrders
    prices: HeardPrices
    candles: HeardCandles

    def served(self, *request: str) -> int:
        return list(self.venue.served).count((request[0], request[1]))


def make_adapter(
    venue: LoopbackBinance, *, secret: str = "loopback-secret", **settings: float
) -> Binance:
    adapter = Binance(
        Credentials(api_key="loopback-key", api_secret=secret),
        Endpoints(
            rest_url=venue.rest_url,
            ws_public_url=venue.ws_url,
            ws_private_url=f"{venue.ws_url}/private",
            ws_order_url=f"{venue.ws_url}/ws-fapi/v1",
        ),
        "mm",
        RealClock(),
        random.Random(1),
        timing=Timing(settled_s=0.0),
        **settings,
    )
    for session in (adapter._prices, adapter._candles, adapter._private, adapter._entry):
        session._backoff = Backoff(random.Random(1), first_s=0.01, most_s=0.05)
    return adapter


@asynccontextmanager
async def desk(paper: PaperSettings = PAPER, **settings: float) -> AsyncIterator[Desk]:
    """An adapter with all its streams up."""
    async with binance_venue(paper=paper) as venue:
        adapter = make_adapter(venue, **settings)
        try:
            await adapter.connect()
            instrument = await adapter.fetch_instrument("ETHUSDT")
            made = Desk(venue, adapter, instrument, HeardOrders(), HeardPrices(), HeardCandles())
            async with listening(
                adapter.stream_orders(instrument, made.orders),
                adapter.stream_prices(instrument, made.prices),
                adapter.stream_candles(["ETHUSDT", "NOSUCH"], 60, made.candles),
            ):
                await until(lambda: bool(made.orders.ups and made.prices.ups and made.candles.ups))
                await until(lambda: adapter._entry.up)
                yield made
        finally:
            await adapter.close()
        assert adapter.malformed.count == 0


def refs(*sequences: int) -> list[OrderRef]:
    orders = [make_order(BUY, 299_000, 100, sequence=number) for number in sequences]
    return [OrderRef(client_order_id=o.client_order_id, venue_order_id="") for o in orders]


async def test_orders_over_the_socket_have_one_outcome_each_in_order() -> None:
    async with desk() as d:
        good, taking = (
            make_order(BUY, price, 100, sequence=n) for n, price in ((1, 299_000), (2, 301_000))
        )
        first, second, third = await d.adapter.place(d.instrument, [good, taking, good])
        assert isinstance(first, OrderReport)
        assert isinstance(second, PostOnlyWouldCross)
        assert isinstance(third, DuplicateClientOrderId)
        cancelled, unknown = await d.adapter.cancel(d.instrument, refs(1, 9))
        assert isinstance(cancelled, OrderReport)
        assert cancelled.status is OrderStatus.CANCELLED
        assert isinstance(unknown, OrderNotFound)
        assert d.served("WS", "order.place") == 3
        assert d.served("POST", "/fapi/v1/order") == 0


@pytest.mark.parametrize("count", [1, 7])
async def test_without_the_order_socket_rest_takes_over_in_batches(count: int) -> None:
    async with desk() as d:
        d.adapter._services[0].cancel()
        await until(lambda: not d.adapter._entry.up)
        orders = [make_order(BUY, 299_000 - n, 100, sequence=n) for n in range(1, count)]
        orders.append(make_order(BUY, 301_000, 100, sequence=count))
        outcomes = await d.adapter.place(d.instrument, orders)
        assert [type(each) for each in outcomes[:-1]] == [OrderReport] * (count - 1)
        assert isinstance(outcomes[-1], PostOnlyWouldCross)
        gone = await d.adapter.cancel(d.instrument, refs(*range(1, count + 1)))
        assert [type(each) for each in gone] == [OrderReport] * (count - 1) + [OrderNotFound]
        assert d.served("WS", "order.place") == 0
        assert d.served("POST", "/fapi/v1/batchOrders") == (0 if count == 1 else 2)


async def test_a_lost_answer_is_unknown_and_the_order_can_be_asked_for() -> None:
    async with desk(timeout_s=0.5) as d:
        d.venue.mischief.hang_answers = 1
        order = make_order(BUY, 299_000, 100)
        (outcome,) = await d.adapter.place(d.instrument, [order])
        assert isinstance(outcome, OutcomeUnknown)
        report = await d.adapter.fetch_order(d.instrument, order.client_order_id)
        assert report.status is OrderStatus.OPEN


async def test_an_order_in_flight_when_the_socket_goes_is_unknown_at_once() -> None:
    async with desk() as d:
        d.venue.mischief.hang_answers = 1
        answer = d.adapter.place(d.instrument, [make_order(BUY, 299_000, 100)])
        await until(lambda: d.served("WS", "order.place") == 1)
        d.venue.stage.disconnect_all()
        (outcome,) = await answer
        assert isinstance(outcome, OutcomeUnknown)
        assert outcome.message != "no answer in time", "nobody waited for the deadline"


async def test_every_stream_comes_back_after_a_cut_and_says_so() -> None:
    async with desk() as d:
        d.venue.stage.disconnect_all()
        heard: tuple[HeardOrders | HeardPrices | HeardCandles, ...] = (
            d.orders,
            d.prices,
            d.candles,
        )
        await until(lambda: all(each.ups == 2 for each in heard))
        assert all(len(each.downs) == 1 for each in heard)
        push_trade(d.venue, 300_005)
        await until(lambda: bool(d.prices.prices))
        assert d.prices.prices[0][0] == 300_005


async def test_a_lapsed_listen_key_is_replaced() -> None:
    async with desk() as d:
        d.venue.expire_listen_key()
        await until(lambda: d.orders.ups == 2)
        assert "lapsed" in d.orders.downs[0]
        await d.adapter.place(d.instrument, [make_order(BUY, 299_000, 100)])
        await until(lambda: bool(d.orders.reports))


async def test_the_dead_mans_switch_is_armed_while_orders_are_streamed_and_off_at_the_end() -> None:
    async with desk(dead_man_s=0.3) as d:
        order = make_order(BUY, 299_000, 100)
        await d.adapter.place(d.instrument, [order])
        await until(lambda: d.served("POST", "/fapi/v1/countdownCancelAll") >= 6)
        assert len(d.venue.desk.open_orders()) == 1, "re-armed in time"
        venue = d.venue
        armed = dict(d.adapter._switch.armed)
    assert armed == {"ETHUSDT": None}
    assert d.adapter._switch.armed == {}
    assert len(venue.desk.open_orders()) == 1


async def test_a_rate_limit_with_a_time_keeps_every_request_at_home() -> None:
    async with desk() as d:
        d.venue.mischief.set({"rate_limit": 1, "retry_after_s": 30})
        with pytest.raises(RateLimited) as caught:
            await d.adapter.fetch_open_orders(d.instrument)
        assert caught.value.retry_after_s == 30
        before = len(d.venue.served)
        (outcome,) = await d.adapter.place(d.instrument, [make_order(BUY, 299_000, 100)])
        assert isinstance(outcome, RateLimited)
        with pytest.raises(RateLimited):
            await d.adapter.fetch_position(d.instrument)
        assert len(d.venue.served) == before


async def test_a_clock_that_went_wrong_is_measured_again() -> None:
    async with desk() as d:
        d.venue.mischief.clock_offset_ms = 60_000
        await d.adapter.place(d.instrument, [make_order(BUY, 299_000, 100)])
        await until(lambda: abs(d.adapter._clock.offset_ns - 60_000_000_000) < 1_000_000_000)
        (outcome,) = await d.adapter.place(
            d.instrument, [make_order(BUY, 299_000, 100, sequence=2)]
        )
        assert isinstance(outcome, OrderReport)


async def test_fills_are_given_back_to_their_slots_by_a_process_that_never_saw_the_orders() -> None:
    async with desk() as d:
        orders = [make_order(BUY, 300_010, 10, sequence=n, post_only=False) for n in range(1, 9)]
        await d.adapter.place(d.instrument, orders)
        stranger = make_adapter(d.venue)
        await stranger.connect()
        instrument = await stranger.fetch_instrument("ETHUSDT")
        fills = await stranger.fetch_fills(instrument, 0)
        assert [fill.client_order_id for fill in fills] == [o.client_order_id for o in orders]
        last = fills[-1].ts_venue_ns
        assert all(f.ts_venue_ns >= last for f in await stranger.fetch_fills(instrument, last))
        assert await stranger.fetch_fills(instrument, last + 1) == []
        await stranger.close()


async def test_a_wrong_secret_is_refused_without_showing_it() -> None:
    async with binance_venue() as venue:
        adapter = make_adapter(venue, secret="wr0ng-secret")
        await adapter.connect()
        with pytest.raises(AuthenticationRefused) as caught:
            await adapter.fetch_instrument("ETHUSDT")
        assert "wr0ng" not in repr(caught.value) + str(caught.value)
        await adapter.close()


async def test_an_unknown_instrument_names_its_neighbours() -> None:
    async with desk() as d:
        with pytest.raises(ConfigError, match="ETHUSDT"):
            await d.adapter.fetch_instrument("ETHUSD")


async def test_funding_is_read_from_the_history_once_the_stream_tells_of_it() -> None:
    paper = replace(PAPER, funding_interval_s=1.0, funding_rate=Decimal("0.001"))
    async with desk(paper) as d:
        order = make_order(BUY, 300_010, 1000, post_only=False)
        await d.adapter.place(d.instrument, [order])
        await until(lambda: len(d.orders.funding) >= 2)
        payment_id, amount = d.orders.funding[0]
        assert payment_id
        assert amount == Decimal("-3.00005"), "longs pay when the rate is positive"
        ids = [each for each, _ in d.orders.funding]
        assert len(set(ids)) == len(ids)


async def test_usage_is_passed_on_as_the_venue_counts_it() -> None:
    async with desk() as d:
        heard: list[tuple[int, int]] = []
        d.adapter.on_usage = lambda used, limit: heard.append((used, limit))
        await d.adapter.place(d.instrument, [make_order(BUY, 299_000, 100)])
        assert (1, 300) in heard and (1, 1200) in heard
        assert d.adapter.used_weight > 0


def test_the_adapter_keeps_the_protocol() -> None:
    _: Callable[..., Adapter] = Binance
    assert asyncio.iscoroutinefunction(Binance.connect)
