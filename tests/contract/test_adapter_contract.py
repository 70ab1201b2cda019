"""What every adapter promises, whichever venue is behind it.

A maker opens a `Bench`: an adapter whose venue's market the test can move, with one flat account, all streams up and
everything heard written down. A new venue adds its maker to `MAKERS` and must pass every test, or skip by capability.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmaker.adapters.protocol import Adapter
from marketmaker.errors import (
    ConfigError,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    VenueError,
)
from marketmaker.model.instrument import Instrument
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import PaperSettings
from marketmaker.sim.loop import NS_PER_S
from tests.support.paper import (
    HeardCandles,
    HeardOrders,
    HeardPrices,
    listening,
    loop_now_ns,
    make_order,
    make_paper,
    make_quote,
    make_trade,
    on_virtual_time,
)

BUY, SELL = Side.BUY, Side.SELL
OPEN, FILLED, CANCELLED = OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED
MID = 300_000
"""Ticks around which a bench's market stands: bid one below, ask one above."""


@dataclass
class Bench:
    """`trade` and `quote` move the market; `drop` and `restore` cut and mend the private stream."""

    adapter: Adapter
    instrument: Instrument
    orders: HeardOrders
    prices: HeardPrices
    candles: HeardCandles
    trade: Callable[[int, int], None]
    quote: Callable[[int, int, int, int], None]
    drop: Callable[[], None]
    restore: Callable[[], None]

    async def settle(self) -> None:
        """Long enough for everything under way to arrive."""
        await asyncio.sleep(0.5)

    async def place(self, *orders: NewOrder) -> Sequence[OrderReport | VenueError]:
        outcomes = await self.adapter.place(self.instrument, orders)
        await self.settle()
        return outcomes

    async def accept(self, order: NewOrder) -> OrderReport:
        (outcome,) = await self.place(order)
        assert isinstance(outcome, OrderReport), outcome
        return outcome

    async def refuse(self, order: NewOrder) -> VenueError:
        """The refusal of an order that must have left no trace."""
        (outcome,) = await self.place(order)
        assert isinstance(outcome, VenueError), outcome
        assert await self.adapter.fetch_open_orders(self.instrument) == []
        with pytest.raises(OrderNotFound):
            await self.adapter.fetch_order(self.instrument, order.client_order_id)
        return outcome

    async def cancel(self, *orders: NewOrder) -> Sequence[OrderReport | VenueError | None]:
        refs = [OrderRef(client_order_id=o.client_order_id, venue_order_id="") for o in orders]
        outcomes = await self.adapter.cancel(self.instrument, refs)
        await self.settle()
        return outcomes

    async def go_long(self, lots: int, sequence: int = 900) -> None:
        order = make_order(BUY, MID + 1, lots, sequence=sequence, post_only=False)
        report = await self.accept(order)
        assert report.status is FILLED


Maker = Callable[[PaperSettings], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def paper(wanted: PaperSettings) -> AsyncIterator[Bench]:
    venue = make_paper("ETHUSDT", settings=wanted)
    await venue.connect()
    instrument = await venue.fetch_instrument("ETHUSDT")
    orders, prices, candles = HeardOrders(), HeardPrices(), HeardCandles()

    def trade(price_ticks: int, qty_lots: int) -> None:
        venue.push("ETHUSDT", make_trade(price_ticks, qty_lots, loop_now_ns()))

    def quote(bid: int, bid_lots: int, ask: int, ask_lots: int) -> None:
        venue.push("ETHUSDT", make_quote(bid, ask, bid_lots, ask_lots, loop_now_ns()))

    quote(MID - 1, 10**6, MID + 1, 10**6)
    async with listening(
        venue.stream_orders(instrument, orders),
        venue.stream_prices(instrument, prices),
        venue.stream_candles(["ETHUSDT"], 60, candles),
    ):
        yield Bench(
            adapter=venue,
            instrument=instrument,
            orders=orders,
            prices=prices,
            candles=candles,
            trade=trade,
            quote=quote,
            drop=venue.drop_order_stream,
            restore=venue.restore_order_stream,
        )
    await venue.close()


MAKERS: dict[str, Maker] = {"paper": paper}


@pytest.fixture(params=MAKERS)
def maker(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]


def paper_settings(**changes: Any) -> PaperSettings:
    return PaperSettings(
        **{"fill": "queue", "orders_per_s": 1000.0, "order_burst": 1000, **changes}
    )


ROOMY = paper_settings()


# -- orders ------------------------------------------------------------------------------------------


@on_virtual_time
async def test_every_stream_says_once_that_it_is_up(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        assert (bench.orders.ups, bench.prices.ups, bench.candles.ups) == (1, 1, 1)
        assert not (bench.orders.downs or bench.prices.downs or bench.candles.downs)


@on_virtual_time
async def test_a_client_id_comes_back_in_every_place_a_report_is_given(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        largest = bench.adapter.client_order_ids.max_slot
        for number, slot in enumerate((0, -1, largest, -largest), start=1):
            order = make_order(BUY, MID - 100, 100, slot=slot, sequence=number)
            answer = await bench.accept(order)
            (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
            asked = await bench.adapter.fetch_order(bench.instrument, order.client_order_id)
            heard = bench.orders.reports[-1]
            for report in (answer, listed, asked, heard):
                assert report.client_order_id == order.client_order_id
            assert await bench.cancel(order)


@on_virtual_time
async def test_an_accepted_order_is_acknowledged_by_answer_stream_and_snapshot_alike(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        order = make_order(BUY, MID - 100, 100)
        answer = await bench.accept(order)
        (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
        (heard,) = bench.orders.reports
        for report in (answer, listed, heard):
            assert report.venue_order_id == answer.venue_order_id != ""
            assert (report.side, report.price_ticks, report.qty_lots) == (BUY, MID - 100, 100)
            assert (report.status, report.filled_lots) == (OPEN, 0)
            assert report.fill is None


@on_virtual_time
async def test_a_post_only_order_that_would_take_is_refused(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        for order in (make_order(BUY, MID + 1, 100), make_order(SELL, MID - 1, 100)):
            assert isinstance(await bench.refuse(order), PostOnlyWouldCross)
        assert bench.orders.reports == []
        await bench.accept(make_order(BUY, MID, 100))


@on_virtual_time
async def test_a_plain_order_that_crosses_takes_at_the_opposite_best(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        await bench.accept(make_order(BUY, MID + 500, 100, post_only=False))
        (fill,) = await bench.adapter.fetch_fills(bench.instrument, 0)
        assert (fill.price_ticks, fill.qty_lots, fill.is_maker) == (MID + 1, 100, False)
        assert fill.fee == bench.instrument.notional(fill.price_ticks, fill.qty_lots) * (
            bench.instrument.taker_fee
        )


@on_virtual_time
async def test_what_an_immediate_order_cannot_get_is_cancelled(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        bench.quote(MID - 1, 10, MID + 1, 30)
        order = make_order(BUY, MID + 1, 100, post_only=False, time_in_force=TimeInForce.IOC)
        answer = await bench.accept(order)
        assert (answer.status, answer.filled_lots) == (CANCELLED, 30)
        assert answer.end_reason is EndReason.IOC
        assert bench.orders.life(order) == [(OPEN, 0), (OPEN, 30), (CANCELLED, 30)]


@on_virtual_time
async def test_a_fill_is_told_once_by_stream_and_once_by_the_list_of_fills(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        order = make_order(BUY, MID - 100, 100)
        placed = await bench.accept(order)
        before = loop_now_ns()
        bench.trade(MID - 101, 5)
        await bench.settle()
        told = [report.fill for report in bench.orders.reports if report.fill]
        listed = list(await bench.adapter.fetch_fills(bench.instrument, 0))
        assert told == listed
        (fill,) = listed
        assert fill.client_order_id == order.client_order_id
        assert fill.venue_order_id == placed.venue_order_id
        assert (fill.side, fill.price_ticks, fill.qty_lots) == (BUY, MID - 100, 100)
        assert fill.is_maker
        assert fill.fee == bench.instrument.notional(fill.price_ticks, fill.qty_lots) * (
            bench.instrument.maker_fee
        )
        assert fill.ts_venue_ns >= before
        assert list(await bench.adapter.fetch_fills(bench.instrument, fill.ts_venue_ns)) == [fill]
        assert list(await bench.adapter.fetch_fills(bench.instrument, fill.ts_venue_ns + 1)) == []


@on_virtual_time
async def test_an_orders_life_is_told_in_order_with_cumulative_quantities(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        order = make_order(BUY, MID, 100)
        await bench.accept(order)
        for lots in (30, 50, 20):
            bench.trade(MID, lots)
            await bench.settle()
        assert bench.orders.life(order) == [(OPEN, 0), (OPEN, 30), (OPEN, 80), (FILLED, 100)]
        fills = [report.fill.qty_lots for report in bench.orders.reports if report.fill]
        assert fills == [30, 50, 20]
        times = [report.ts_venue_ns for report in bench.orders.reports]
        assert times == sorted(times)


@on_virtual_time
async def test_cancelling_a_partly_filled_order_keeps_what_was_filled(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        order = make_order(BUY, MID, 100)
        await bench.accept(order)
        bench.trade(MID, 40)
        await bench.settle()
        (answer,) = await bench.cancel(order)
        assert answer is None or isinstance(answer, OrderReport)
        asked = await bench.adapter.fetch_order(bench.instrument, order.client_order_id)
        heard = bench.orders.reports[-1]
        for report in (asked, heard):
            assert (report.status, report.filled_lots) == (CANCELLED, 40)
            assert report.end_reason is EndReason.REQUESTED
            assert report.fill is None
        assert await bench.adapter.fetch_open_orders(bench.instrument) == []


@on_virtual_time
async def test_cancelling_what_the_venue_does_not_have_open_is_order_not_found(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        known = make_order(BUY, MID - 100, 100, sequence=1)
        unknown = make_order(BUY, MID - 200, 100, sequence=2)
        await bench.accept(known)
        good, bad = await bench.cancel(known, unknown)
        assert not isinstance(good, VenueError)
        assert isinstance(bad, OrderNotFound)
        (again,) = await bench.cancel(known)
        assert isinstance(again, OrderNotFound)
        with pytest.raises(OrderNotFound):
            await bench.adapter.fetch_order(bench.instrument, unknown.client_order_id)


@on_virtual_time
async def test_a_client_id_in_use_is_refused_and_the_first_order_untouched(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        first = make_order(BUY, MID - 100, 100, sequence=1)
        second = make_order(BUY, MID - 200, 200, sequence=1)
        placed = await bench.accept(first)
        (refused,) = await bench.place(second)
        assert isinstance(refused, DuplicateClientOrderId)
        (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
        assert (listed.venue_order_id, listed.qty_lots) == (placed.venue_order_id, 100)


@on_virtual_time
async def test_one_bad_order_in_a_batch_fails_alone_and_outcomes_keep_their_order(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        if bench.adapter.capabilities.place_batch < 3:
            pytest.skip("no batches")
        orders = [
            make_order(BUY, price, 100, sequence=number)
            for number, price in enumerate((MID - 100, MID + 50, MID - 200), start=1)
        ]
        first, bad, last = await bench.place(*orders)
        assert isinstance(first, OrderReport)
        assert first.client_order_id == orders[0].client_order_id
        assert isinstance(bad, PostOnlyWouldCross)
        assert isinstance(last, OrderReport)
        assert last.client_order_id == orders[2].client_order_id
        listed = await bench.adapter.fetch_open_orders(bench.instrument)
        assert [report.price_ticks for report in listed] == [MID - 100, MID - 200]


@on_virtual_time
async def test_reduce_only_is_refused_without_a_position_to_reduce(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        order = make_order(SELL, MID + 100, 100, reduce_only=True)
        assert isinstance(await bench.refuse(order), ReduceOnlyRefused)
        await bench.go_long(100)
        assert (await bench.accept(order)).reduce_only
        more = make_order(SELL, MID + 200, 1, sequence=2, reduce_only=True)
        (refused,) = await bench.place(more)
        assert isinstance(refused, ReduceOnlyRefused)


@on_virtual_time
async def test_reduce_only_orders_the_position_no_longer_covers_are_ended_by_the_venue(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        await bench.go_long(100)
        reducing = make_order(SELL, MID + 100, 100, sequence=2, reduce_only=True)
        await bench.accept(reducing)
        await bench.accept(make_order(SELL, MID - 1, 60, sequence=3, post_only=False))
        assert bench.orders.life(reducing) == [(OPEN, 0), (CANCELLED, 0)]
        (ended,) = [r for r in bench.orders.reports if r.status is CANCELLED]
        assert ended.end_reason is EndReason.REDUCE_ONLY


@on_virtual_time
async def test_an_order_that_would_trade_with_our_own_does_not_stand(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        resting = make_order(SELL, MID, 100, sequence=1)
        await bench.accept(resting)
        (outcome,) = await bench.place(make_order(BUY, MID, 100, sequence=2))
        if isinstance(outcome, OrderReport):
            assert (outcome.status, outcome.end_reason) == (CANCELLED, EndReason.SELF_TRADE)
        (left,) = await bench.adapter.fetch_open_orders(bench.instrument)
        assert left.client_order_id == resting.client_order_id
        assert list(await bench.adapter.fetch_fills(bench.instrument, 0)) == []


@on_virtual_time
async def test_an_order_beyond_the_free_margin_is_refused(maker: Maker) -> None:
    async with maker(paper_settings(balance=Decimal(100), leverage=Decimal(2))) as bench:
        error = await bench.refuse(make_order(BUY, 200_000, 101))
        assert isinstance(error, InsufficientMargin)
        await bench.accept(make_order(BUY, 200_000, 100, sequence=2))
        account = await bench.adapter.fetch_account(bench.instrument)
        assert account.equity == 100
        assert account.available == 0


@on_virtual_time
async def test_an_order_below_the_minimum_notional_is_refused_with_the_figures(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        error = await bench.refuse(make_order(BUY, MID - 1000, 6))
        assert isinstance(error, FilterViolation)
        assert "17.94" in str(error)
        assert f"{bench.instrument.min_notional:f}" in str(error)
        await bench.go_long(6 * 2)
        await bench.accept(make_order(SELL, MID + 100, 1, sequence=2, reduce_only=True))


@on_virtual_time
async def test_too_many_orders_are_refused_with_the_time_after_which_they_pass(
    maker: Maker,
) -> None:
    async with maker(paper_settings(orders_per_s=10.0, order_burst=5)) as bench:
        orders = [make_order(BUY, MID - 100 - n, 100, sequence=n) for n in range(1, 9)]
        outcomes = await asyncio.gather(
            *(bench.adapter.place(bench.instrument, [order]) for order in orders)
        )
        refused = [outcome for (outcome,) in outcomes if isinstance(outcome, RateLimited)]
        assert [isinstance(outcome, OrderReport) for (outcome,) in outcomes] == [True] * 5 + [
            False
        ] * 3
        assert len(refused) == 3
        wait_s = refused[0].retry_after_s
        assert wait_s is not None
        assert 0 < wait_s <= 0.1
        await asyncio.sleep(wait_s)
        (late,) = await bench.adapter.place(bench.instrument, orders[5:6])
        assert isinstance(late, OrderReport)


# -- streams and snapshots ---------------------------------------------------------------------------


@on_virtual_time
async def test_what_was_missed_while_the_stream_was_down_is_in_the_next_snapshot(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        filled = make_order(BUY, MID - 100, 100, sequence=1)
        standing = make_order(BUY, MID - 5000, 100, sequence=2)
        await bench.place(filled, standing)
        heard_before = len(bench.orders.log)
        bench.drop()
        await bench.settle()
        assert len(bench.orders.downs) == 1
        bench.trade(MID - 101, 5)
        await bench.settle()
        bench.restore()
        await bench.settle()
        assert bench.orders.ups == 2
        assert len(bench.orders.log) == heard_before, "events in the gap are lost to the stream"
        (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
        assert listed.client_order_id == standing.client_order_id
        (fill,) = await bench.adapter.fetch_fills(bench.instrument, 0)
        assert fill.client_order_id == filled.client_order_id
        assert (await bench.adapter.fetch_position(bench.instrument)).qty_lots == 100
        asked = await bench.adapter.fetch_order(bench.instrument, filled.client_order_id)
        assert (asked.status, asked.filled_lots) == (FILLED, 100)
        assert await bench.cancel(standing)
        assert bench.orders.reports[-1].status is CANCELLED, "the stream is heard again"


@on_virtual_time
async def test_every_price_change_is_told_and_a_second_opinion_comes_by_itself(
    maker: Maker,
) -> None:
    async with maker(ROOMY) as bench:
        bench.prices.prices.clear()
        for price in (MID + 5, MID + 6, MID + 6, MID - 3):
            bench.trade(price, 1)
            await asyncio.sleep(0.01)
        await bench.settle()
        heard = [price for price, _, _ in bench.prices.prices]
        assert [p for n, p in enumerate(heard) if n == 0 or heard[n - 1] != p] == [
            MID + 5,
            MID + 6,
            MID - 3,
        ]
        assert all(venue_ns <= local_ns for _, venue_ns, local_ns in bench.prices.prices)
        if bench.adapter.capabilities.confirming_price:
            before = len(bench.prices.confirming)
            await asyncio.sleep(10)
            assert len(bench.prices.confirming) >= before + 9
            assert bench.prices.confirming[-1][0] == MID


@on_virtual_time
async def test_a_candle_closes_once_with_the_trades_of_its_time(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        bar_s = 60
        bar_ns = bar_s * NS_PER_S
        await asyncio.sleep((bar_ns - loop_now_ns() % bar_ns) / NS_PER_S + 1)
        start_ns = loop_now_ns() // bar_ns * bar_ns
        for price, lots in ((MID, 100), (MID + 50, 200), (MID - 50, 300), (MID + 10, 400)):
            bench.trade(price, lots)
            await asyncio.sleep(5)
        await asyncio.sleep(bar_s)
        mine = [candle for candle in bench.candles.candles if candle.open_ts_ns == start_ns]
        assert [candle.closed for candle in mine] == [False] * (len(mine) - 1) + [True]
        closed = mine[-1]
        assert (closed.symbol, closed.interval_s) == ("ETHUSDT", bar_s)
        assert (closed.open, closed.high, closed.low, closed.close, closed.volume) == pytest.approx(
            (3000.0, 3000.5, 2999.5, 3000.1, 1.0)
        )
        fetched = await bench.adapter.fetch_candles("ETHUSDT", bar_s, 5)
        assert closed in fetched
        opens = [candle.open_ts_ns for candle in fetched]
        assert opens == sorted(opens)
        assert [candle.closed for candle in fetched[:-1]] == [True] * (len(fetched) - 1)
        assert len(await bench.adapter.fetch_candles("ETHUSDT", bar_s, 1)) == 1


@on_virtual_time
async def test_the_position_is_told_after_a_fill_and_can_be_asked_for(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        await bench.go_long(100)
        heard = bench.orders.positions[-1]
        asked = await bench.adapter.fetch_position(bench.instrument)
        assert heard == asked
        assert asked.qty_lots == 100
        assert asked.entry_price == bench.instrument.price(
            bench.instrument.ceil_ticks(Decimal("3000.01"))
        )
        assert asked.mark_price == Decimal(3000)
        assert isinstance(bench.orders.log[-1], type(heard)), "after the fill, not before it"


@on_virtual_time
async def test_an_instrument_that_does_not_exist_is_a_configuration_error(maker: Maker) -> None:
    async with maker(ROOMY) as bench:
        with pytest.raises(ConfigError, match="ETHUSDT"):
            await bench.adapter.fetch_instrument("ETHUSD")


# -- money -------------------------------------------------------------------------------------------


@on_virtual_time
async def test_funding_is_told_with_its_sign_longs_pay_when_the_rate_is_positive(
    maker: Maker,
) -> None:
    wanted = paper_settings(funding_rate=Decimal("0.001"), funding_interval_s=3600.0)
    async with maker(wanted) as bench:
        assert await bench.adapter.fetch_funding_rate(bench.instrument) == Decimal("0.001")
        await bench.go_long(1000)
        before = (await bench.adapter.fetch_account(bench.instrument)).equity
        await asyncio.sleep(3600)
        ((payment_id, amount),) = bench.orders.funding
        assert payment_id
        assert amount == Decimal(-3)
        after = (await bench.adapter.fetch_account(bench.instrument)).equity
        assert after == before - 3
        await asyncio.sleep(3600)
        assert len({payment for payment, _ in bench.orders.funding}) == 2


@on_virtual_time
async def test_an_account_short_of_margin_is_liquidated_its_orders_first(maker: Maker) -> None:
    async with maker(paper_settings(balance=Decimal(100), leverage=Decimal(20))) as bench:
        await bench.go_long(500)
        standing = make_order(BUY, 100_000, 100, sequence=2)
        await bench.accept(standing)
        bench.quote(250_000, 1, 250_002, 1)
        await bench.settle()
        assert (await bench.adapter.fetch_position(bench.instrument)).qty_lots == 0
        assert await bench.adapter.fetch_open_orders(bench.instrument) == []
        ended, closing = bench.orders.reports[-2:]
        assert ended.client_order_id == standing.client_order_id
        assert ended.end_reason is EndReason.LIQUIDATION
        assert closing.fill is not None
        assert (closing.fill.side, closing.fill.qty_lots) == (SELL, 500)
        assert closing.client_order_id is None


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "cancel", "trade", "quote", "wait"]),
        st.integers(-20, 20),
        st.integers(1, 400),
    ),
    min_size=20,
    max_size=60,
)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40)
@given(steps=steps, fill=st.sampled_from(["cross", "touch", "queue"]))
def test_equity_is_exactly_the_deposit_plus_everything_that_was_told(
    name: str, steps: list[tuple[str, int, int]], fill: str
) -> None:
    """Deposit, fills, fees and funding as told, and the position at the mark: nothing else, to the last digit."""
    wanted = paper_settings(
        fill=fill,
        balance=Decimal(1000),
        leverage=Decimal(20),
        funding_interval_s=60.0,
        maker_fee=Decimal("-0.00013"),
        taker_fee=Decimal("0.00047"),
    )

    @on_virtual_time
    async def story() -> None:
        async with MAKERS[name](wanted) as bench:
            await _follow(bench, steps)
            await bench.settle()
            fills = await bench.adapter.fetch_fills(bench.instrument, 0)
            position = await bench.adapter.fetch_position(bench.instrument)
            account = await bench.adapter.fetch_account(bench.instrument)
            assert fills == [report.fill for report in bench.orders.reports if report.fill]
            assert Fraction(account.equity) == _recomputed(
                bench, wanted, fills, position.mark_price
            )
            assert position.qty_lots == sum(fill.side * fill.qty_lots for fill in fills)
            _check_lives(bench.orders.reports)

    story()


async def _follow(bench: Bench, steps: list[tuple[str, int, int]]) -> None:
    sent: list[NewOrder] = []
    for number, (what, offset, lots) in enumerate(steps, start=1):
        match what:
            case "buy" | "sell":
                side = BUY if what == "buy" else SELL
                sent.append(
                    make_order(
                        side,
                        MID + offset * 100,
                        lots,
                        sequence=number,
                        post_only=lots % 2 == 0,
                        reduce_only=lots % 5 == 0,
                    )
                )
                await bench.adapter.place(bench.instrument, sent[-1:])
            case "cancel" if sent:
                refs = [
                    OrderRef(
                        client_order_id=sent[offset % len(sent)].client_order_id, venue_order_id=""
                    )
                ]
                await bench.adapter.cancel(bench.instrument, refs)
            case "trade":
                bench.trade(MID + offset * 100, lots)
            case "quote":
                bench.quote(MID + offset * 100, lots, MID + offset * 100 + 1 + lots % 3, lots)
            case _:
                await asyncio.sleep(lots)


def _recomputed(
    bench: Bench, wanted: PaperSettings, fills: Sequence[Fill], mark_price: Decimal
) -> Fraction:
    cash, lots = Fraction(wanted.balance), 0
    for fill in fills:
        notional = Fraction(bench.instrument.notional(fill.price_ticks, fill.qty_lots))
        cash -= fill.side * notional + Fraction(fill.fee)
        lots += fill.side * fill.qty_lots
    cash += sum(Fraction(amount) for _, amount in bench.orders.funding)
    return cash + lots * Fraction(bench.instrument.base_per_lot) * Fraction(mark_price)


def _check_lives(reports: list[OrderReport]) -> None:
    """Each order of ours: one acknowledgement, growing fills that add up, at most one end, nothing after it."""
    lives: dict[ClientOrderId, list[OrderReport]] = {}
    for report in reports:
        if report.client_order_id is not None:
            lives.setdefault(report.client_order_id, []).append(report)
    for life in lives.values():
        assert (life[0].status, life[0].filled_lots) == (OPEN, 0)
        assert all(report.status is OPEN for report in life[:-1])
        filled = 0
        for report in life:
            filled += report.fill.qty_lots if report.fill else 0
            assert report.filled_lots == filled <= report.qty_lots
        assert (life[-1].status is FILLED) == (filled == life[-1].qty_lots)
