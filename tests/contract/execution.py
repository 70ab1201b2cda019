"""What every venue's orders do, whichever venue it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import fields, replace
from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from marketmaker.errors import (
    AuthenticationRefused,
    ClockSkew,
    DuplicateClientOrderId,
    FilterViolation,
    InsufficientMargin,
    OrderNotFound,
    OutcomeUnknown,
    Overloaded,
    PositionModeMismatch,
    PostOnlyWouldCross,
    RateLimited,
    ReduceOnlyRefused,
    Rejected,
    VenueError,
)
from marketmaker.model.order import EndReason, OrderReport, TimeInForce
from tests.contract.bench import BUY, CANCELLED, FILLED, MID, OPEN, SELL, Bench, sessions
from tests.contract.cards import card
from tests.contract.makers import CREDENTIALS, MAKERS, ROOMY
from tests.support.inside import attributes
from tests.support.paper import HeardOrders, listening

EXECUTION = "execution"


# -- one order ---------------------------------------------------------------------------------------


@card(EXECUTION)
async def a_client_id_comes_back_in_answer_stream_list_and_query(bench: Bench) -> None:
    largest = bench.adapter.client_order_ids.max_slot
    for slot in (0, -1, largest, -largest):
        order = bench.rest(slot=slot)
        answer = await bench.accept(order)
        (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
        asked = await bench.asked(order)
        for report in (answer, listed, asked, await bench.first_told(order)):
            assert report.client_order_id == order.client_order_id
        await bench.cancel(order)


@card(EXECUTION)
async def an_accepted_order_reads_the_same_in_answer_stream_list_and_query(bench: Bench) -> None:
    order = bench.rest()
    answer = await bench.accept(order)
    (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
    asked = await bench.asked(order)
    for report in (listed, asked, await bench.first_told(order)):
        assert report.venue_order_id == answer.venue_order_id != ""
        assert (report.side, report.price_ticks, report.qty_lots) == (BUY, MID - 100, 100)
        assert (report.status, report.filled_lots, report.fill) == (OPEN, 0, None)
        assert not report.reduce_only


@card(EXECUTION)
async def prices_and_quantities_travel_to_the_last_step(bench: Bench) -> None:
    wanted = [(MID - 1_000 - n, 7 + 13 * n) for n in range(1, 8)]
    orders = [bench.order(BUY, price, lots) for price, lots in wanted]
    await bench.place(*orders)
    rows = await bench.adapter.fetch_open_orders(bench.instrument)
    assert sorted((row.price_ticks, row.qty_lots) for row in rows) == sorted(wanted)


@card(EXECUTION)
async def quantities_are_base_lots_whatever_the_venue_counts_in(bench: Bench) -> None:
    await bench.go_long(250)
    position = await bench.adapter.fetch_position(bench.instrument)
    fill = (await bench.adapter.fetch_fills(bench.instrument, 0))[-1]
    assert position.qty_lots == fill.qty_lots == 250
    assert bench.instrument.base_qty(position.qty_lots) == Decimal("0.250")
    notional = bench.instrument.notional(fill.price_ticks, fill.qty_lots)
    assert notional == Decimal("3000.01") * Decimal("0.250")


@card(EXECUTION)
async def a_post_only_order_that_would_take_never_trades(bench: Bench) -> None:
    for order in (bench.order(BUY, MID + 1), bench.order(SELL, MID - 1)):
        (outcome,) = await bench.place(order)
        if isinstance(outcome, VenueError):
            assert isinstance(outcome, PostOnlyWouldCross)
        else:
            await bench.until(lambda order=order: bench.ended(order))
            ended = bench.ended(order)
            assert ended is not None and ended.end_reason is EndReason.POST_ONLY
            assert ended.filled_lots == 0
    assert await bench.listed() == []
    assert await bench.position_lots() == 0


@card(EXECUTION)
async def a_post_only_order_between_bid_and_ask_rests(bench: Bench) -> None:
    order = bench.order(BUY, MID)
    assert (await bench.accept(order)).status is OPEN
    assert await bench.listed() == [order.client_order_id]


@card(EXECUTION)
async def a_post_only_refusal_that_comes_by_the_stream_says_so(bench: Bench) -> None:
    bench.mischief(late_post_only=True)
    order = bench.order(BUY, MID + 1)
    (outcome,) = await bench.place(order)
    if isinstance(outcome, OrderReport):
        await bench.until(lambda: bench.ended(order))
        ended = bench.ended(order)
        assert ended is not None and ended.end_reason is EndReason.POST_ONLY
    else:
        assert isinstance(outcome, PostOnlyWouldCross)


@card(EXECUTION)
async def a_plain_order_that_crosses_takes_at_the_opposite_best(bench: Bench) -> None:
    order = bench.taking(BUY, 100)
    await bench.accept(order)
    await bench.until(lambda: bench.ended(order))
    fill = (await bench.adapter.fetch_fills(bench.instrument, 0))[-1]
    assert (fill.price_ticks, fill.qty_lots, fill.is_maker) == (MID + 1, 100, False)
    notional = bench.instrument.notional(fill.price_ticks, fill.qty_lots)
    assert fill.fee == notional * bench.instrument.taker_fee


@card(EXECUTION)
async def what_an_immediate_order_cannot_get_is_cancelled(bench: Bench) -> None:
    bench.quote(MID - 1, 10, MID + 1, 30)
    order = bench.order(BUY, MID + 1, post_only=False, time_in_force=TimeInForce.IOC)
    await bench.accept(order)
    await bench.until(lambda: bench.ended(order))
    ended = bench.ended(order)
    assert ended is not None
    assert (ended.status, ended.filled_lots) == (CANCELLED, 30)
    assert ended.end_reason is EndReason.IOC
    assert await bench.listed() == []


@card(EXECUTION)
async def an_orders_life_is_told_in_order_with_cumulative_quantities(bench: Bench) -> None:
    order = bench.order(BUY, MID)
    await bench.accept(order)
    for lots, filled in ((30, 30), (50, 80), (20, 100)):
        bench.trade(MID, lots)
        await bench.until(
            lambda filled=filled: [told for _, told in bench.orders.life(order)[-1:]] == [filled]
        )
    life = list(dict.fromkeys(bench.orders.life(order)))  # order and trade may be told apart
    assert life == [(OPEN, 0), (OPEN, 30), (OPEN, 80), (FILLED, 100)]
    assert [fill.qty_lots for fill in bench.fills_of(order)] == [30, 50, 20]
    times = [report.ts_venue_ns for report in bench.told_of(order)]
    assert times == sorted(times)


@card(EXECUTION)
async def a_fill_reads_the_same_by_stream_and_in_the_list(bench: Bench) -> None:
    order = bench.rest()
    placed = await bench.accept(order)
    bench.trade(MID - 101, 5)
    await bench.until(lambda: bench.ended(order))
    (told,) = bench.fills_of(order)
    listed = [
        fill
        for fill in await bench.adapter.fetch_fills(bench.instrument, 0)
        if fill.venue_order_id == placed.venue_order_id
    ]
    assert [replace(fill, ts_venue_ns=0) for fill in listed] == [replace(told, ts_venue_ns=0)]
    (fill,) = listed
    assert fill.client_order_id == order.client_order_id
    assert (fill.side, fill.price_ticks, fill.qty_lots) == (BUY, MID - 100, 100)
    assert fill.is_maker
    notional = bench.instrument.notional(fill.price_ticks, fill.qty_lots)
    assert fill.fee == notional * bench.instrument.maker_fee


@card(EXECUTION)
async def fills_are_listed_from_a_time_on(bench: Bench) -> None:
    await bench.go_long(10)
    last = (await bench.adapter.fetch_fills(bench.instrument, 0))[-1]
    again = await bench.adapter.fetch_fills(bench.instrument, last.ts_venue_ns)
    assert again[-1] == last
    assert list(await bench.adapter.fetch_fills(bench.instrument, last.ts_venue_ns + 1)) == []


@card(EXECUTION)
async def cancelling_a_partly_filled_order_keeps_what_was_filled(bench: Bench) -> None:
    order = bench.order(BUY, MID)
    await bench.accept(order)
    bench.trade(MID, 40)
    await bench.calm()
    (answer,) = await bench.cancel(order)
    assert not isinstance(answer, VenueError)
    await bench.until(lambda: bench.ended(order))
    asked = await bench.asked(order)
    for report in (asked, bench.ended(order)):
        assert report is not None
        assert (report.status, report.filled_lots) == (CANCELLED, 40)
        assert report.end_reason is EndReason.REQUESTED
    assert await bench.position_lots() == 40


@card(EXECUTION)
async def cancelling_what_was_never_there_is_order_not_found(bench: Bench) -> None:
    (outcome,) = await bench.cancel(bench.rest())
    assert isinstance(outcome, OrderNotFound)


@card(EXECUTION)
async def cancelling_what_is_filled_or_cancelled_is_order_not_found(bench: Bench) -> None:
    filled = await bench.go_long(10)
    cancelled = bench.rest()
    await bench.accept(cancelled)
    await bench.cancel(cancelled)
    for order in (filled, cancelled):
        (outcome,) = await bench.cancel(order)
        assert isinstance(outcome, OrderNotFound)


@card(EXECUTION)
async def asking_for_what_was_never_there_is_order_not_found(bench: Bench) -> None:
    with pytest.raises(OrderNotFound):
        await bench.asked(bench.rest())


@card(EXECUTION)
async def an_ended_order_can_still_be_asked_for(bench: Bench) -> None:
    filled = await bench.go_long(10)
    report = await bench.asked(filled)
    assert (report.status, report.filled_lots) == (FILLED, 10)


@card(EXECUTION)
async def a_client_id_in_use_is_refused_and_the_first_order_untouched(bench: Bench) -> None:
    first = bench.rest()
    placed = await bench.accept(first)
    second = replace(bench.rest(200, 200), client_order_id=first.client_order_id)
    assert isinstance(await bench.refuse(second), DuplicateClientOrderId)
    (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
    assert (listed.venue_order_id, listed.qty_lots) == (placed.venue_order_id, 100)


# -- several orders ----------------------------------------------------------------------------------


@card(EXECUTION)
async def one_bad_order_of_several_fails_alone_and_outcomes_keep_their_order(bench: Bench) -> None:
    orders = [bench.rest(100), bench.order(BUY, MID - 100, 10**9), bench.rest(200)]
    first, bad, last = await bench.place(*orders)
    assert isinstance(first, OrderReport) and isinstance(last, OrderReport)
    assert first.client_order_id == orders[0].client_order_id
    assert last.client_order_id == orders[2].client_order_id
    assert isinstance(bad, Rejected)
    assert await bench.listed() == [orders[0].client_order_id, orders[2].client_order_id]


@card(EXECUTION)
async def a_batch_of_the_venues_full_size_is_placed_and_cancelled_whole(bench: Bench) -> None:
    figures = bench.adapter.capabilities
    orders = [bench.rest(100 + n, 10) for n in range(figures.place_batch)]
    outcomes = await bench.place(*orders)
    assert [getattr(each, "client_order_id", each) for each in outcomes] == [
        order.client_order_id for order in orders
    ]
    for start in range(0, len(orders), figures.cancel_batch):
        gone = await bench.cancel(*orders[start : start + figures.cancel_batch])
        assert [each for each in gone if isinstance(each, VenueError)] == []
    assert await bench.listed() == []


@card(EXECUTION)
async def one_unknown_order_among_cancels_fails_alone(bench: Bench) -> None:
    known, unknown, other = bench.rest(100), bench.rest(150), bench.rest(200)
    await bench.place(known, other)
    first, bad, last = await bench.cancel(known, unknown, other)
    assert isinstance(bad, OrderNotFound)
    assert not isinstance(first, VenueError) and not isinstance(last, VenueError)
    assert await bench.listed() == []


@card(EXECUTION)
async def no_orders_at_all_are_placed_and_cancelled_without_a_word(bench: Bench) -> None:
    assert list(await bench.adapter.place(bench.instrument, [])) == []
    assert list(await bench.adapter.cancel(bench.instrument, [])) == []


@card(EXECUTION)
async def cancel_all_leaves_nothing_open(bench: Bench) -> None:
    if not bench.adapter.capabilities.cancel_all:
        pytest.skip("the venue has no cancel-all")
    await bench.place(*(bench.rest(100 + n) for n in range(5)))
    cancel_all: Any = getattr(bench.adapter, "cancel_all", None)
    if cancel_all is None:
        pytest.skip("not asked of this adapter")
    await cancel_all(bench.instrument)
    await bench.calm()
    assert await bench.listed() == []


@card(EXECUTION)
async def open_orders_over_several_pages_come_once_each(bench: Bench) -> None:
    orders = [bench.rest(100 + n, 10) for n in range(31)]
    size = bench.adapter.capabilities.place_batch
    for start in range(0, len(orders), size):
        await bench.place(*orders[start : start + size])
    assert sorted(await bench.listed()) == sorted(order.client_order_id for order in orders)


@card(EXECUTION)
async def fills_over_several_pages_come_once_each_oldest_first(bench: Bench) -> None:
    order = bench.order(BUY, MID, 200)
    placed = await bench.accept(order)
    for _ in range(17):
        bench.trade(MID, 10)
    await bench.until(lambda: bench.orders.life(order)[-1:] == [(OPEN, 170)])
    fills = await bench.adapter.fetch_fills(bench.instrument, 0)
    mine = [fill for fill in fills if fill.venue_order_id == placed.venue_order_id]
    assert [fill.qty_lots for fill in mine] == [10] * 17
    assert len({fill.trade_id for fill in fills}) == len(fills)
    times = [fill.ts_venue_ns for fill in fills]
    assert times == sorted(times)


# -- reduce-only, margin, minimums -------------------------------------------------------------------


@card(EXECUTION)
async def reduce_only_without_a_position_does_not_open_one(bench: Bench) -> None:
    order = bench.order(SELL, MID + 100, reduce_only=True)
    (outcome,) = await bench.place(order)
    assert isinstance(outcome, ReduceOnlyRefused), outcome
    assert await bench.listed() == []


@card(EXECUTION)
async def reduce_only_is_accepted_with_a_position_and_says_so_everywhere(bench: Bench) -> None:
    await bench.go_long(100)
    order = bench.order(SELL, MID + 100, reduce_only=True)
    answer = await bench.accept(order)
    (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
    heard = await bench.first_told(order)
    assert answer.reduce_only and listed.reduce_only and heard.reduce_only


@card(EXECUTION)
async def a_reduce_only_order_never_turns_the_position_round(bench: Bench) -> None:
    await bench.go_long(100)
    order = bench.order(SELL, MID - 1, 150, post_only=False, reduce_only=True)
    await bench.place(order)
    assert await bench.position_lots() in (0, 100)


@card(EXECUTION)
async def reduce_only_orders_that_no_position_covers_any_more_are_ended(bench: Bench) -> None:
    await bench.go_long(100)
    reducing = bench.order(SELL, MID + 100, reduce_only=True)
    await bench.accept(reducing)
    await bench.accept(bench.order(SELL, MID - 1, 100, post_only=False))
    await bench.until(lambda: bench.ended(reducing))
    ended = bench.ended(reducing)
    assert ended is not None
    assert (ended.status, ended.end_reason) == (CANCELLED, EndReason.REDUCE_ONLY)


@card(EXECUTION)
async def an_order_beyond_the_free_margin_is_refused(bench: Bench) -> None:
    (outcome,) = await bench.place(bench.order(BUY, MID - 1_000, 900_000))
    assert isinstance(outcome, InsufficientMargin), outcome
    assert await bench.listed() == []


@card(EXECUTION)
async def an_order_below_the_venues_minimum_is_refused(bench: Bench) -> None:
    instrument = bench.instrument
    if instrument.min_notional <= instrument.notional(MID - 100, 1) and instrument.min_qty <= 1:  # type: ignore[arg-type]
        pytest.skip("the venue takes a single lot")
    (outcome,) = await bench.place(bench.rest(100, 1))
    assert isinstance(outcome, FilterViolation), outcome
    assert await bench.listed() == []


@card(EXECUTION)
async def an_own_order_is_never_traded_with(bench: Bench) -> None:
    bench.quote(MID - 50, 10**6, MID + 50, 10**6)
    resting = bench.order(SELL, MID)
    await bench.accept(resting)
    crossing = bench.order(BUY, MID)
    await bench.place(crossing)
    assert bench.fills_of(resting) + bench.fills_of(crossing) == []
    assert await bench.position_lots() == 0


# -- position and account ----------------------------------------------------------------------------


@card(EXECUTION)
async def the_position_is_told_after_a_fill_and_can_be_asked_for(bench: Bench) -> None:
    await bench.go_long(100)
    await bench.until(lambda: [each.qty_lots for each in bench.orders.positions[-1:]] == [100])
    asked = await bench.adapter.fetch_position(bench.instrument)
    assert asked.qty_lots == 100
    assert asked.entry_price == Decimal("3000.01")
    assert asked.mark_price == Decimal(3000)


@card(EXECUTION)
async def a_short_position_is_below_zero(bench: Bench) -> None:
    await bench.accept(bench.taking(SELL, 70))
    await bench.calm()
    assert await bench.position_lots() == -70
    await bench.until(lambda: [each.qty_lots for each in bench.orders.positions[-1:]] == [-70])


@card(EXECUTION)
async def a_flat_position_is_nothing_at_a_mark_price(bench: Bench) -> None:
    position = await bench.adapter.fetch_position(bench.instrument)
    assert (position.qty_lots, position.entry_price) == (0, 0)
    assert position.mark_price == Decimal(3000)


@card(EXECUTION)
async def an_open_order_binds_margin_and_leaves_equity(bench: Bench) -> None:
    before = await bench.adapter.fetch_account(bench.instrument)
    await bench.accept(bench.rest(100, 1_000))
    after = await bench.adapter.fetch_account(bench.instrument)
    assert after.equity == before.equity
    assert after.available < before.available
    assert after.leverage == 20 and after.hedge_mode is False


@card(EXECUTION)
async def a_fee_leaves_equity_by_exactly_its_amount(bench: Bench) -> None:
    before = await bench.adapter.fetch_account(bench.instrument)
    order = bench.rest(0, 100)
    await bench.accept(order)
    bench.trade(MID, 100)
    await bench.until(lambda: bench.ended(order))
    after = await bench.adapter.fetch_account(bench.instrument)
    await bench.until(lambda: bench.fills_of(order))
    (fill,) = bench.fills_of(order)
    mark = (await bench.adapter.fetch_position(bench.instrument)).mark_price
    gained = (mark - Decimal(3000)) * bench.instrument.base_qty(fill.qty_lots)
    assert before.equity - fill.fee + gained == pytest.approx(after.equity, abs=Decimal("1e-7"))


# -- streams that break ------------------------------------------------------------------------------


@card(EXECUTION)
async def a_lost_order_stream_says_down_and_comes_back_up(bench: Bench) -> None:
    bench.drop()
    await bench.until(lambda: bench.orders.downs)
    bench.restore()
    await bench.until(lambda: bench.orders.ups == 2)
    order = bench.rest()
    await bench.accept(order)
    await bench.until(lambda: bench.orders.life(order))


@card(EXECUTION)
async def fills_missed_while_the_stream_was_down_are_in_the_next_snapshot(bench: Bench) -> None:
    filled, standing = bench.rest(100), bench.rest(5_000)
    await bench.place(filled, standing)
    bench.drop()
    bench.trade(MID - 101, 5)
    await bench.until(lambda: bench.orders.downs)
    bench.restore()
    await bench.until(lambda: bench.orders.ups == 2)
    assert await bench.listed() == [standing.client_order_id]
    fills = await bench.adapter.fetch_fills(bench.instrument, 0)
    assert fills[-1].client_order_id == filled.client_order_id
    assert await bench.position_lots() == 100
    asked = await bench.asked(filled)
    assert (asked.status, asked.filled_lots) == (FILLED, 100)


@card(EXECUTION)
async def events_before_the_answer_and_after_it_tell_the_same(bench: Bench) -> None:
    for when in ("before", "after"):
        bench.mischief(events=when)
        order = bench.taking(BUY, 100)
        (answer,) = await bench.adapter.place(bench.instrument, [order])
        assert isinstance(answer, OrderReport)
        await bench.until(lambda order=order: bench.ended(order))
        assert bench.orders.life(order)[-1] == (FILLED, 100)
        assert bench.orders.life(order)[0] == (OPEN, 0) or len(bench.orders.life(order)) == 1


@card(EXECUTION)
async def events_told_twice_carry_the_same_trade_id(bench: Bench) -> None:
    bench.mischief(duplicate_events=True)
    order = bench.taking(BUY, 100)
    await bench.accept(order)
    await bench.until(lambda: bench.fills_of(order))
    await bench.calm()
    assert len({fill.trade_id for fill in bench.fills_of(order)}) == 1


@card(EXECUTION)
async def an_event_that_was_lost_is_found_by_asking(bench: Bench) -> None:
    order = bench.order(BUY, MID)
    await bench.accept(order)
    bench.mischief(lose_events=3)
    bench.trade(MID, 100)
    await bench.calm()
    asked = await bench.asked(order)
    assert (asked.status, asked.filled_lots) == (FILLED, 100)


@card(EXECUTION)
async def an_unreadable_private_frame_is_kept_and_asks_for_a_snapshot(bench: Bench) -> None:
    stage = bench.rehearsed.stage
    before = bench.adapter.malformed.count  # type: ignore[attr-defined]
    for socket in list(stage.sockets._all):
        socket.send('{"nonsense": [1, 2')
    await bench.until(lambda: bench.adapter.malformed.count > before)  # type: ignore[attr-defined]
    await bench.until(lambda: bench.orders.ups == len(bench.orders.downs) + 1)
    order = bench.rest()
    await bench.accept(order)
    await bench.until(lambda: bench.orders.life(order))
    assert bench.orders.downs, "what the frame said may have been an order's end"


# -- requests whose fate is not known ----------------------------------------------------------------


@card(EXECUTION, timeout_s=1.0)
async def a_lost_answer_is_unknown_and_the_order_is_found_by_its_id(bench: Bench) -> None:
    bench.mischief(lose_answers=1)
    order = bench.rest()
    (outcome,) = await bench.place(order)
    assert isinstance(outcome, OutcomeUnknown), outcome
    assert (await bench.asked(order)).status is OPEN
    await bench.until(lambda: bench.orders.life(order) or bench.orders.downs)


@card(EXECUTION, timeout_s=1.0)
async def a_lost_request_is_unknown_and_the_order_is_not_there(bench: Bench) -> None:
    bench.mischief(lose_requests=1)
    order = bench.rest()
    (outcome,) = await bench.place(order)
    assert isinstance(outcome, OutcomeUnknown), outcome
    with pytest.raises(OrderNotFound):
        await bench.asked(order)


@card(EXECUTION, timeout_s=1.0)
async def an_answer_that_never_comes_is_unknown_in_time(bench: Bench) -> None:
    bench.mischief(hang_answers=1)
    order = bench.rest()
    async with asyncio.timeout(9):
        (outcome,) = await bench.adapter.place(bench.instrument, [order])
    assert isinstance(outcome, OutcomeUnknown)
    assert (await bench.asked(order)).status is OPEN


@card(EXECUTION)
async def unknown_execution_status_is_unknown_whether_it_was_done_or_not(bench: Bench) -> None:
    for name, there in (("unknown_done", True), ("unknown_not_done", False)):
        bench.mischief(**{name: 1})
        order = bench.rest()
        (outcome,) = await bench.place(order)
        assert isinstance(outcome, OutcomeUnknown), outcome
        if there:
            assert (await bench.asked(order)).status is OPEN
        else:
            with pytest.raises(OrderNotFound):
                await bench.asked(order)


@card(EXECUTION)
async def an_order_under_way_when_the_connection_goes_is_unknown(bench: Bench) -> None:
    bench.mischief(hang_answers=1)
    order = bench.rest()
    answer = asyncio.ensure_future(bench.adapter.place(bench.instrument, [order]))
    await bench.until(bench.rehearsed.stage.desk.open_orders)
    bench.drop()
    (outcome,) = await answer
    assert isinstance(outcome, OutcomeUnknown), outcome


@card(EXECUTION)
async def a_late_answer_is_still_an_answer(bench: Bench) -> None:
    bench.mischief(delay_answers_s=0.2)
    order = bench.rest()
    (outcome,) = await bench.adapter.place(bench.instrument, [order])
    assert isinstance(outcome, OrderReport)
    assert outcome.client_order_id == order.client_order_id


@card(EXECUTION)
async def without_its_order_socket_orders_go_another_way(bench: Bench) -> None:
    entry = getattr(bench.adapter, "_entry", None)
    if entry is None or entry not in sessions(bench.adapter):
        pytest.skip("orders have one way only")
    link, entry.link = entry.link, None
    try:
        good, bad = bench.rest(), bench.order(BUY, MID - 100, 10**9)
        first, second = await bench.place(good, bad)
        assert isinstance(first, OrderReport) and isinstance(second, Rejected)
        (gone,) = await bench.cancel(good)
        assert not isinstance(gone, VenueError)
    finally:
        entry.link = link


# -- limits, clocks, switches ------------------------------------------------------------------------


@card(EXECUTION, dead_man_s=0.0)
async def a_rate_limit_with_a_time_keeps_every_request_at_home(bench: Bench) -> None:
    bench.mischief(rate_limit=1, retry_after_s=30)
    with pytest.raises(RateLimited) as caught:
        await bench.adapter.fetch_open_orders(bench.instrument)
    if caught.value.retry_after_s is None:
        pytest.skip("the venue's limit names no time to wait")
    assert 0 < caught.value.retry_after_s <= 30
    served = bench.rehearsed.stage.served
    before = len(served)
    (outcome,) = await bench.adapter.place(bench.instrument, [bench.rest()])
    assert isinstance(outcome, RateLimited)
    with pytest.raises(RateLimited):
        await bench.adapter.fetch_position(bench.instrument)
    assert len(served) == before


@card(EXECUTION, dead_man_s=0.0)
async def a_ban_is_told_as_one_with_its_end(bench: Bench) -> None:
    bench.mischief(ban_s=60.0)
    with pytest.raises(RateLimited) as caught:
        await bench.adapter.fetch_position(bench.instrument)
    assert caught.value.banned
    assert caught.value.retry_after_s is None or 0 < caught.value.retry_after_s <= 61


@card(EXECUTION)
async def a_venue_that_is_too_busy_has_not_done_it(bench: Bench) -> None:
    bench.mischief(overloaded=1)
    order = bench.rest()
    error = await bench.refuse(order)
    assert isinstance(error, Overloaded), error
    assert await bench.listed() == []


@card(EXECUTION)
async def in_maintenance_nothing_is_done_and_it_is_said(bench: Bench) -> None:
    bench.mischief(maintenance=True)
    (outcome,) = await bench.place(bench.rest())
    assert isinstance(outcome, Overloaded | RateLimited | OutcomeUnknown), outcome
    bench.mischief(maintenance=False)
    assert await bench.listed() == []


@card(EXECUTION)
async def a_clock_that_went_wrong_is_measured_again(bench: Bench) -> None:
    bench.mischief(clock_offset_ms=90_000)
    await bench.adapter.place(bench.instrument, [bench.rest()])
    try:
        for _ in range(50):
            with suppress(ClockSkew):
                account = await bench.adapter.fetch_account(bench.instrument)
                if abs(account.clock_offset_ns - 90_000_000_000) < 2_000_000_000:
                    break
            await asyncio.sleep(0.05)
        else:
            pytest.skip("the venue does not mind the clock")
        await bench.accept(bench.rest(200))
    finally:
        bench.mischief(clock_offset_ms=0)
        for _ in range(50):
            with suppress(ClockSkew):
                await bench.adapter.fetch_position(bench.instrument)
                break
            await asyncio.sleep(0.05)


@card(EXECUTION, dead_man_s=1.2)
async def the_dead_mans_switch_is_kept_from_going_off(bench: Bench) -> None:
    stage = bench.rehearsed.stage
    await bench.accept(bench.rest())
    if not stage._switches:
        pytest.skip("the venue has no such switch, or it is bound to the connection")
    await asyncio.sleep(1.8)
    assert len(stage.desk.open_orders()) == 1, "re-armed in time"


@card(EXECUTION, dead_man_s=1.0)
async def the_dead_mans_switch_cancels_what_a_dead_process_leaves(bench: Bench) -> None:
    stage = bench.rehearsed.stage
    if not stage._switches:
        pytest.skip("the venue has no such switch, or it is bound to the connection")
    await bench.accept(bench.rest())
    switch: Any = getattr(bench.adapter, "_switch", None)
    switch._after_s = 3_600.0
    for task in list(bench.adapter._tasks._running):  # type: ignore[attr-defined]
        if "keep_armed" in repr(task.get_coro()):
            switch._closing = True
            task.cancel()
    await bench.until(lambda: not stage.desk.open_orders())


@card(EXECUTION, dead_man_s=30.0)
async def the_dead_mans_switch_is_off_after_an_orderly_end(bench: Bench) -> None:
    stage = bench.rehearsed.stage
    if not stage._switches:
        pytest.skip("the venue has no such switch, or it is bound to the connection")
    await bench.adapter.close()
    assert not stage._switches


@card(EXECUTION)
async def how_much_of_the_order_limit_is_used_is_passed_on(bench: Bench) -> None:
    if bench.rehearsed and not hasattr(bench.adapter, "on_usage"):
        pytest.skip("the venue does not tell")
    heard: list[tuple[int, int]] = []
    bench.adapter.on_usage = lambda used, limit: heard.append((used, limit))  # type: ignore[attr-defined]
    await bench.accept(bench.rest())
    await bench.listed()
    if not heard:
        pytest.skip("the venue does not tell")
    assert all(used >= 0 and limit > 0 for used, limit in heard)


# -- accounts that cannot trade ----------------------------------------------------------------------


@card(EXECUTION)
async def a_wrong_secret_is_refused_and_never_shown(bench: Bench) -> None:
    async with bench.other(
        credentials=replace(CREDENTIALS, api_secret="wr0ngSecret" * 4)
    ) as stranger:
        with pytest.raises(AuthenticationRefused) as caught:
            await stranger.connect()
            await stranger.fetch_account(bench.instrument)
        assert "wr0ng" not in str(caught.value) + repr(caught.value) + repr(attributes(stranger))


@card(EXECUTION)
async def a_wrong_key_is_refused(bench: Bench) -> None:
    async with bench.other(credentials=replace(CREDENTIALS, api_key="nobody")) as stranger:
        with pytest.raises(AuthenticationRefused):
            await stranger.connect()
            await stranger.fetch_account(bench.instrument)


@card(EXECUTION)
async def a_wrong_passphrase_is_refused(bench: Bench) -> None:
    from marketmaker.venues import venue_of

    known = venue_of(bench.exchange)
    if known is None or "passphrase" not in known.credentials:
        pytest.skip("the venue's keys have no passphrase")
    async with bench.other(credentials=replace(CREDENTIALS, passphrase="wr0ng")) as stranger:
        with pytest.raises(AuthenticationRefused):
            await stranger.connect()
            await stranger.fetch_account(bench.instrument)


@card(EXECUTION)
async def a_key_that_may_not_trade_is_refused_its_orders(bench: Bench) -> None:
    bench.mischief(may_trade=False)
    (outcome,) = await bench.place(bench.rest())
    assert isinstance(outcome, AuthenticationRefused), outcome


@card(EXECUTION)
async def an_address_that_is_not_allowed_is_refused(bench: Bench) -> None:
    bench.mischief(ip_allowed=False)
    with pytest.raises(AuthenticationRefused):
        await bench.adapter.fetch_position(bench.instrument)


@card(EXECUTION)
async def a_key_that_may_withdraw_is_told_where_the_venue_tells(bench: Bench) -> None:
    bench.mischief(may_withdraw=True)
    async with bench.other() as stranger:
        await stranger.connect()
        account = await stranger.fetch_account(bench.instrument)
    assert account.can_withdraw in (True, None)
    bench.mischief(may_withdraw=False)
    async with bench.other() as stranger:
        await stranger.connect()
        assert not (await stranger.fetch_account(bench.instrument)).can_withdraw


@card(EXECUTION)
async def an_account_in_hedge_mode_is_told_and_its_orders_refused(bench: Bench) -> None:
    bench.mischief(hedge_mode=True)
    async with bench.other() as stranger:
        await stranger.connect()
        instrument = await stranger.fetch_instrument(bench.instrument.name)
        try:
            account = await stranger.fetch_account(instrument)
            assert account.hedge_mode
        except PositionModeMismatch:
            pass
    (outcome,) = await bench.place(bench.rest())
    assert isinstance(outcome, PositionModeMismatch), outcome


@card(EXECUTION)
async def without_a_key_nothing_private_is_asked_of_the_venue(bench: Bench) -> None:
    from marketmaker.model.settings import Credentials

    async with bench.other(credentials=Credentials()) as stranger:
        await stranger.connect()
        instrument = await stranger.fetch_instrument(bench.instrument.name)
        for question in (stranger.fetch_account, stranger.fetch_position):
            with pytest.raises(AuthenticationRefused):
                await question(instrument)
        with pytest.raises(AuthenticationRefused):
            await stranger.stream_orders(instrument, HeardOrders())


@card(EXECUTION)
async def the_testnet_is_another_place_than_the_real_one(bench: Bench) -> None:
    import importlib

    maker = MAKERS[bench.exchange]
    if not maker.loopback:
        pytest.skip("the embedded exchange is nowhere else")
    module = importlib.import_module(f"marketmaker.adapters.{bench.exchange.partition(':')[0]}")
    if module.DEMO is None:
        pytest.skip("the venue has no testnet")
    assert module.DEMO.ws_private_url != module.LIVE.ws_private_url
    differing = [name for name in names_of(module.LIVE) if differs(module, name)]
    assert {"rest_url", "simulated"} & {*differing}, (
        "requests go to another host, or say it in a header"
    )
    async with bench.other(testnet=True) as stranger:
        await stranger.connect()
        assert (await stranger.fetch_instrument(bench.instrument.name)).name == "ETHUSDT"


def names_of(endpoints: object) -> list[str]:
    return [field.name for field in fields(endpoints)]  # type: ignore[arg-type]


def differs(module: ModuleType, name: str) -> bool:
    return bool(getattr(module.DEMO, name) != getattr(module.LIVE, name))


# -- others on the account ---------------------------------------------------------------------------


@card(EXECUTION)
async def a_process_that_never_saw_the_orders_gives_fills_back_to_them(bench: Bench) -> None:
    orders = [bench.taking(BUY, 10) for _ in range(8)]
    for order in orders:
        await bench.accept(order)
    async with bench.other() as stranger:
        await stranger.connect()
        instrument = await stranger.fetch_instrument(bench.instrument.name)
        fills = (await stranger.fetch_fills(instrument, 0))[-8:]
        assert [f.client_order_id for f in fills] == [order.client_order_id for order in orders]


@card(EXECUTION)
async def orders_of_others_are_told_without_an_id_of_ours(bench: Bench) -> None:
    async with bench.other(bot_tag="zz9") as stranger:
        await stranger.connect()
        instrument = await stranger.fetch_instrument(bench.instrument.name)
        await asyncio.sleep(0.3)
        foreign = bench.rest()
        (outcome,) = await stranger.place(instrument, [foreign])
        assert isinstance(outcome, OrderReport)
        (listed,) = await bench.adapter.fetch_open_orders(bench.instrument)
        assert listed.client_order_id is None
        await bench.until(lambda: bench.orders.reports)
        assert bench.orders.reports[-1].client_order_id is None


@card(EXECUTION)
async def two_symbols_hear_their_own_orders_only(bench: Bench) -> None:
    other = await bench.adapter.fetch_instrument("BTCUSDT")
    heard = HeardOrders()
    async with listening(bench.adapter.stream_orders(other, heard)):
        await bench.until(lambda: heard.ups)
        await bench.accept(bench.rest())
        await bench.until(lambda: bench.orders.reports)
        assert heard.reports == []


@card(
    EXECUTION,
    paper=replace(ROOMY, funding_rate=Decimal("0.001"), funding_interval_s=2.0),
)
async def funding_is_told_once_with_its_sign(bench: Bench) -> None:
    assert await bench.adapter.fetch_funding_rate(bench.instrument) == Decimal("0.001")
    await bench.go_long(1_000)
    await bench.until(lambda: len(bench.orders.funding) >= 2)
    ids = [payment_id for payment_id, _ in bench.orders.funding]
    assert len(set(ids)) == len(ids)
    assert all(amount < 0 for _, amount in bench.orders.funding), "longs pay a positive rate"
    assert bench.orders.funding[0][1] == pytest.approx(Decimal(-3), abs=Decimal("0.01"))
