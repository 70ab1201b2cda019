"""What the market does to our resting orders under each fill model, and what new orders take."""

from __future__ import annotations

from itertools import count, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.errors import ConfigError
from marketmaker.model.order import EndReason, Side, TimeInForce
from marketmaker.sim.matching import (
    BookOrder,
    Execution,
    FillModel,
    Matcher,
    parse_fill_model,
)

BUY, SELL = Side.BUY, Side.SELL
numbers = count(1)


def order(side: Side, price: int, lots: int, *, ioc: bool = False) -> BookOrder:
    number = str(next(numbers))
    return BookOrder(
        wire_id=number,
        client_order_id=None,
        venue_order_id=number,
        side=side,
        price_ticks=price,
        leaves_lots=lots,
        qty_lots=lots,
        reduce_only=False,
        time_in_force=TimeInForce.IOC if ioc else TimeInForce.GTC,
    )


def resting(matcher: Matcher, side: Side, price: int, lots: int) -> BookOrder:
    made = order(side, price, lots)
    assert matcher.rest(made) is None
    return made


def quoted(model: FillModel, bid: int = 100, ask: int = 102, lots: int = 50) -> Matcher:
    matcher = Matcher(model)
    assert list(matcher.quote(bid, lots, ask, lots)) == []
    return matcher


def fills(executions: object) -> list[tuple[BookOrder, int, int]]:
    """(order, price, quantity); every one of them must be a maker's."""
    assert not isinstance(executions, Execution)
    done = list(executions)  # type: ignore[call-overload]
    assert all(execution.is_maker for execution in done)
    return [(execution.order, execution.price_ticks, execution.qty_lots) for execution in done]


# -- cross and touch ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "at", "beyond"), [(BUY, 100, 99), (SELL, 102, 103)])
def test_cross_fills_all_at_our_price_only_when_a_trade_lies_beyond_it(
    side: Side, at: int, beyond: int
) -> None:
    matcher = Matcher(FillModel.CROSS)
    own = resting(matcher, side, at, 7)
    assert fills(matcher.trade(at, 1000)) == []
    assert fills(matcher.trade(beyond, 1)) == [(own, at, 7)]
    assert own.leaves_lots == 0
    assert fills(matcher.trade(beyond, 1)) == []


@pytest.mark.parametrize(("side", "at", "beyond"), [(BUY, 100, 99), (SELL, 102, 103)])
def test_cross_fills_all_when_the_opposite_best_lies_beyond(
    side: Side, at: int, beyond: int
) -> None:
    matcher = Matcher(FillModel.CROSS)
    own = resting(matcher, side, at, 7)
    locked = (at - 1, 5, at, 5) if side is BUY else (at, 5, at + 1, 5)
    crossed = (beyond - 1, 5, beyond, 5) if side is BUY else (beyond, 5, beyond + 1, 5)
    assert fills(matcher.quote(*locked)) == []
    assert fills(matcher.quote(*crossed)) == [(own, at, 7)]


@pytest.mark.parametrize(("side", "at", "before"), [(BUY, 100, 101), (SELL, 102, 101)])
def test_touch_fills_all_when_a_trade_reaches_our_price(side: Side, at: int, before: int) -> None:
    matcher = Matcher(FillModel.TOUCH)
    own = resting(matcher, side, at, 7)
    assert fills(matcher.trade(before, 1000)) == []
    assert fills(matcher.trade(at, 1)) == [(own, at, 7)]


@pytest.mark.parametrize("side", [BUY, SELL])
def test_touch_fills_all_when_the_opposite_best_reaches_our_price(side: Side) -> None:
    matcher = Matcher(FillModel.TOUCH)
    own = resting(matcher, side, 100, 7)
    assert fills(matcher.quote(98, 5, 102, 5)) == []
    locked = (99, 5, 100, 5) if side is BUY else (100, 5, 101, 5)
    assert fills(matcher.quote(*locked)) == [(own, 100, 7)]


def test_an_empty_opposite_side_fills_nothing_whatever_price_it_was_last_seen_at() -> None:
    matcher = Matcher(FillModel.TOUCH)
    resting(matcher, BUY, 100, 7)
    assert fills(matcher.quote(90, 5, 95, 0)) == []


@pytest.mark.parametrize(("side", "own"), [(BUY, 99), (SELL, 99)])
def test_a_crossed_quote_fills_what_either_of_its_sides_lies_beyond(side: Side, own: int) -> None:
    matcher = Matcher(FillModel.CROSS)
    order_ = resting(matcher, side, own, 7)
    assert fills(matcher.quote(100, 5, 98, 5)) == [(order_, own, 7)]


def test_the_best_price_is_filled_first_and_the_older_order_before_the_younger() -> None:
    matcher = Matcher(FillModel.CROSS)
    deep = resting(matcher, BUY, 98, 1)
    older = resting(matcher, BUY, 100, 2)
    younger = resting(matcher, BUY, 100, 3)
    assert fills(matcher.trade(97, 1)) == [(older, 100, 2), (younger, 100, 3), (deep, 98, 1)]


def test_an_order_removed_between_two_fills_of_one_event_is_not_filled() -> None:
    matcher = Matcher(FillModel.CROSS)
    resting(matcher, BUY, 100, 1)
    second = resting(matcher, BUY, 99, 1)
    filled = []
    for execution in matcher.trade(90, 1):
        filled.append(execution.order)
        matcher.remove(second)
    assert second not in filled
    assert len(filled) == 1


# -- queue -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "at"), [(BUY, 100), (SELL, 102)])
def test_trades_at_our_price_eat_the_queue_ahead_and_then_fill_us_in_part(
    side: Side, at: int
) -> None:
    matcher = quoted(FillModel.QUEUE, lots=50)
    own = resting(matcher, side, at, 10)
    assert fills(matcher.trade(at, 49)) == []
    assert fills(matcher.trade(at, 4)) == [(own, at, 3)]
    assert own.leaves_lots == 7
    assert fills(matcher.trade(at, 100)) == [(own, at, 7)]


def test_a_trade_beyond_our_price_fills_us_whatever_stands_ahead() -> None:
    matcher = quoted(FillModel.QUEUE)
    own = resting(matcher, BUY, 100, 10)
    assert fills(matcher.trade(99, 1)) == [(own, 100, 10)]


def test_an_opposite_best_beyond_our_price_fills_us_whatever_stands_ahead() -> None:
    matcher = quoted(FillModel.QUEUE)
    own = resting(matcher, BUY, 100, 10)
    assert fills(matcher.quote(98, 5, 99, 5)) == [(own, 100, 10)]


def test_a_smaller_displayed_quantity_shrinks_the_queue_and_a_larger_one_does_not_grow_it() -> None:
    matcher = quoted(FillModel.QUEUE, lots=50)
    own = resting(matcher, BUY, 100, 10)
    assert fills(matcher.quote(100, 5, 102, 50)) == []
    assert fills(matcher.quote(100, 500, 102, 50)) == []
    assert fills(matcher.trade(100, 6)) == [(own, 100, 1)]


def test_an_order_inside_the_spread_is_first_in_its_queue() -> None:
    matcher = quoted(FillModel.QUEUE)
    own = resting(matcher, BUY, 101, 10)
    assert fills(matcher.trade(101, 4)) == [(own, 101, 4)]


def test_the_queue_of_a_deeper_order_is_what_is_shown_when_the_best_comes_to_it() -> None:
    matcher = quoted(FillModel.QUEUE)
    own = resting(matcher, BUY, 98, 10)
    assert fills(matcher.trade(98, 1000)) == [], "nobody knows yet what stands ahead"
    assert fills(matcher.quote(98, 20, 99, 50)) == []
    assert fills(matcher.trade(98, 20)) == []
    assert fills(matcher.trade(98, 1)) == [(own, 98, 1)]


def test_a_deeper_order_the_best_has_dropped_below_has_nobody_ahead() -> None:
    matcher = quoted(FillModel.QUEUE)
    own = resting(matcher, BUY, 98, 10)
    assert fills(matcher.quote(97, 20, 99, 50)) == []
    assert fills(matcher.trade(98, 3)) == [(own, 98, 3)]


def test_orders_of_ours_at_one_price_share_a_trade_in_the_order_of_their_arrival() -> None:
    """30 ahead of the first; 20 more came between it and the second."""
    matcher = quoted(FillModel.QUEUE, lots=30)
    first = resting(matcher, BUY, 100, 10)
    assert fills(matcher.quote(100, 50, 102, 50)) == []
    second = resting(matcher, BUY, 100, 10)
    assert fills(matcher.trade(100, 35)) == [(first, 100, 5)]
    assert fills(matcher.trade(100, 25)) == [(first, 100, 5)]
    assert fills(matcher.trade(100, 4)) == [(second, 100, 4)]


def test_without_quotes_nothing_is_ahead_and_fills_are_limited_to_what_was_traded() -> None:
    matcher = Matcher(FillModel.QUEUE)
    own = resting(matcher, SELL, 102, 10)
    assert fills(matcher.trade(102, 3)) == [(own, 102, 3)]
    assert fills(matcher.trade(102, 30)) == [(own, 102, 7)]


def test_an_order_that_ends_between_two_fills_at_one_price_gets_nothing() -> None:
    matcher = Matcher(FillModel.QUEUE)
    first, second = (resting(matcher, BUY, 100, 5) for _ in range(2))
    filled = []
    for execution in matcher.trade(100, 10):
        filled.append(execution.order)
        matcher.remove(second)
        second.open = False
    assert filled == [first]


# -- new orders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", FillModel)
def test_with_quotes_an_order_takes_at_the_opposite_best_and_not_before_it(
    model: FillModel,
) -> None:
    matcher = quoted(model)
    assert [matcher.takes(BUY, price) for price in (101, 102, 103)] == [False, True, True]
    assert [matcher.takes(SELL, price) for price in (101, 100, 99)] == [False, True, True]


@pytest.mark.parametrize("model", FillModel)
def test_without_quotes_an_order_takes_only_beyond_the_last_price(model: FillModel) -> None:
    matcher = Matcher(model)
    assert not matcher.takes(BUY, 10**9), "no price is known"
    assert fills(matcher.trade(100, 1)) == []
    assert [matcher.takes(BUY, price) for price in (100, 101)] == [False, True]
    assert [matcher.takes(SELL, price) for price in (100, 99)] == [False, True]


def test_nothing_is_taken_from_an_empty_side() -> None:
    matcher = Matcher(FillModel.CROSS)
    assert fills(matcher.quote(100, 5, 102, 0)) == []
    assert not matcher.takes(BUY, 1000)
    assert matcher.takes(SELL, 100)


def test_taking_happens_at_the_opposite_best_as_a_taker() -> None:
    matcher = quoted(FillModel.CROSS, lots=5)
    assert matcher.take(new := order(BUY, 110, 20)) == Execution(new, 102, 20, False)
    assert matcher.take(new := order(SELL, 90, 20)) == Execution(new, 100, 20, False)


def test_under_queue_no_more_is_taken_than_is_shown_until_the_next_quote() -> None:
    matcher = quoted(FillModel.QUEUE, lots=5)
    ioc = order(BUY, 110, 20, ioc=True)
    assert matcher.take(ioc) == Execution(ioc, 102, 5, False)
    assert matcher.rest(ioc) is EndReason.IOC
    assert matcher.take(order(BUY, 110, 20)) is None
    assert fills(matcher.quote(100, 5, 102, 5)) == []
    assert matcher.take(order(BUY, 110, 3)) is not None
    assert matcher.ask_lots == 2


def test_an_immediate_order_that_meets_nobody_ends() -> None:
    matcher = quoted(FillModel.CROSS)
    ioc = order(BUY, 101, 5, ioc=True)
    assert matcher.take(ioc) is None
    assert matcher.rest(ioc) is EndReason.IOC
    assert fills(matcher.trade(1, 1)) == []


@pytest.mark.parametrize(("side", "own", "new"), [(BUY, 101, 101), (SELL, 101, 101)])
def test_an_order_that_would_meet_one_of_ours_does_not_stay(side: Side, own: int, new: int) -> None:
    matcher = quoted(FillModel.CROSS)
    resting(matcher, side.opposite, own, 5)
    incoming = order(side, new, 5)
    assert matcher.take(incoming) is None
    assert matcher.rest(incoming) is EndReason.SELF_TRADE


def test_an_order_takes_the_market_before_ours_and_ends_there() -> None:
    matcher = quoted(FillModel.QUEUE, lots=5)
    resting(matcher, SELL, 104, 5)
    incoming = order(BUY, 105, 20)
    assert matcher.take(incoming) == Execution(incoming, 102, 5, False)
    assert matcher.rest(incoming) is EndReason.SELF_TRADE


def test_an_order_takes_nothing_from_a_market_that_stands_behind_ours() -> None:
    matcher = quoted(FillModel.CROSS)
    resting(matcher, SELL, 101, 5)
    assert matcher.take(order(BUY, 105, 20)) is None


def test_a_removed_order_is_never_filled_and_removing_it_again_does_nothing() -> None:
    matcher = Matcher(FillModel.TOUCH)
    own = resting(matcher, BUY, 100, 5)
    matcher.remove(own)
    matcher.remove(own)
    assert fills(matcher.trade(1, 1)) == []


def test_a_fill_model_that_does_not_exist_is_a_configuration_error() -> None:
    assert parse_fill_model("queue") is FillModel.QUEUE
    with pytest.raises(ConfigError, match="cross, touch, queue"):
        parse_fill_model("magic")


# -- against a plain scan over all orders ------------------------------------------------------------

prices = st.integers(90, 110)
placements = st.lists(
    st.tuples(st.sampled_from([BUY, SELL]), prices, st.integers(1, 9), st.booleans()), max_size=12
)


@given(model=st.sampled_from([FillModel.CROSS, FillModel.TOUCH]), orders=placements, trade=prices)
def test_the_index_finds_exactly_the_orders_a_scan_over_all_of_them_would(
    model: FillModel, orders: list[tuple[Side, int, int, bool]], trade: int
) -> None:
    matcher = Matcher(model)
    alive: list[BookOrder] = []
    for side, price, lots, stays in orders:
        made = order(side, price, lots)
        if matcher.rest(made) is None:
            if stays:
                alive.append(made)
            else:
                matcher.remove(made)
    reach = 0 if model is FillModel.TOUCH else 1
    hit = [own for own in alive if own.price_ticks * own.side >= trade * own.side + reach]
    expected = [
        (own, own.price_ticks, own.leaves_lots)
        for side in (BUY, SELL)
        for own in sorted((o for o in hit if o.side is side), key=lambda o: -o.price_ticks * o.side)
    ]
    assert fills(matcher.trade(trade, 1)) == expected


@given(
    lots=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    shown=st.integers(0, 30),
    trades=st.lists(st.integers(1, 20), max_size=12),
)
def test_a_queue_gives_out_what_was_traded_beyond_what_stood_ahead(
    lots: list[int], shown: int, trades: list[int]
) -> None:
    """All of ours joined at once: together they get the traded total less what was ahead, the oldest first."""
    matcher = Matcher(FillModel.QUEUE)
    assert fills(matcher.quote(100, shown, 102, 5)) == []
    own = [resting(matcher, BUY, 100, qty) for qty in lots]
    for traded in trades:
        fills(matcher.trade(100, traded))
    given_out = min(sum(lots), max(0, sum(trades) - shown))
    assert sum(o.qty_lots - o.leaves_lots for o in own) == given_out
    for older, younger in pairwise(own):
        assert older.leaves_lots == 0 or younger.leaves_lots == younger.qty_lots
