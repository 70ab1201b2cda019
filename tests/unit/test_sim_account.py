"""The paper account's books: exact money, fees, funding, margin, and what the exchange does when margin runs out."""

from __future__ import annotations

from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketmaker.errors import (
    ConfigError,
    InsufficientMargin,
    MarketMakerError,
    OrderNotFound,
    ReduceOnlyRefused,
    Rejected,
)
from marketmaker.model.account import Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.order import EndReason, Fill, NewOrder, OrderRef, OrderReport, Side
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.account import EXACT, Account, FundingPayment, Holding
from marketmaker.sim.exchange import Exchange, News
from marketmaker.sim.instruments import paper_instrument
from tests.support.paper import make_instrument, make_order

BUY, SELL = Side.BUY, Side.SELL
ETH = make_instrument("ETHUSDT")


def account(balance: int = 10_000, leverage: int = 5) -> tuple[Account, Holding]:
    made = Account(
        balance=Decimal(balance),
        leverage=Decimal(leverage),
        maintenance_margin=Decimal("0.005"),
        instruments={"ETHUSDT": ETH},
    )
    return made, made.holdings["ETHUSDT"]


class Desk:
    """An exchange with a counter for sequence numbers and a list of what it said."""

    def __init__(self, *names: str, fill: str = "touch", **settings: Decimal) -> None:
        self.news: list[tuple[str, News]] = []
        self.settings = PaperSettings(
            fill=fill,
            **{"balance": Decimal(10_000), **settings},  # type: ignore[arg-type]
        )
        self.exchange = Exchange(
            settings=self.settings,
            instruments={name: make_instrument(name) for name in names or ("ETHUSDT",)},
            client_order_ids=TextForm("mm"),
            emit=lambda name, news, now_ns: self.news.append((name, news)),
        )
        self.now_ns = 0
        self.sequence = 0

    def trade(self, price: int, lots: int = 10**6, name: str = "ETHUSDT") -> None:
        self.now_ns += 1
        self.exchange.trade(self.exchange.markets[name], price, lots, self.now_ns)

    def order(self, side: Side, price: int, lots: int, *, reduce_only: bool = False) -> NewOrder:
        self.sequence += 1
        return make_order(
            side, price, lots, sequence=self.sequence, post_only=False, reduce_only=reduce_only
        )

    def place(
        self,
        side: Side,
        price: int,
        lots: int,
        *,
        reduce_only: bool = False,
        name: str = "ETHUSDT",
    ) -> NewOrder:
        order = self.order(side, price, lots, reduce_only=reduce_only)
        self.exchange.place(name, order, self.now_ns)
        return order

    def ends(self) -> list[tuple[EndReason | None, int]]:
        """(reason, sequence) of every order that ended unfilled, in order."""
        return [
            (news.end_reason, news.client_order_id.sequence)
            for _, news in self.news
            if isinstance(news, OrderReport) and news.end_reason and news.client_order_id
        ]


# -- books -------------------------------------------------------------------------------------------


def test_a_round_trip_makes_the_price_difference_less_both_fees() -> None:
    books, eth = account()
    assert books.book_fill(eth, BUY, 300_000, 1000, is_maker=True) == Decimal("0.6")
    assert books.book_fill(eth, SELL, 301_000, 1000, is_maker=False) == Decimal("1.505")
    assert (eth.lots, eth.cost) == (0, 0)
    assert books.wallet == Decimal(10_000) + Decimal(10) - Decimal("2.105")
    assert books.equity() == books.wallet
    assert books.fees == Decimal("2.105")


def test_a_rebate_is_a_negative_fee_and_adds_to_the_wallet() -> None:
    rebate = InstrumentSettings(maker_fee=Decimal("-0.0001"))
    instrument = paper_instrument("ETHUSDT", rebate, PaperSettings())
    books = Account(
        balance=Decimal(100),
        leverage=Decimal(1),
        maintenance_margin=Decimal(0),
        instruments={"ETHUSDT": instrument},
    )
    fee = books.book_fill(books.holdings["ETHUSDT"], BUY, 300_000, 1, is_maker=True)
    assert fee == Decimal("-0.0003")
    assert books.wallet == Decimal("100.0003")


def test_equity_counts_the_open_position_at_the_mark_to_the_half_tick() -> None:
    books, eth = account()
    books.book_fill(eth, SELL, 300_000, 1000, is_maker=True)
    eth.mark2 = 600_001
    assert books.equity() == Decimal(10_000) - Decimal("0.6") - Decimal("0.005")


def test_the_entry_price_averages_additions_stays_through_reductions_and_restarts_on_a_turn() -> (
    None
):
    books, eth = account()

    def entry() -> Decimal:
        return books.position(eth).entry_price

    books.book_fill(eth, BUY, 300_000, 1, is_maker=True)
    books.book_fill(eth, BUY, 310_000, 3, is_maker=True)
    assert entry() == Decimal("3075")
    books.book_fill(eth, SELL, 500_000, 2, is_maker=True)
    assert entry() == Decimal("3075")
    books.book_fill(eth, SELL, 320_000, 5, is_maker=True)
    assert eth.lots == -3
    assert entry() == Decimal("3200")
    books.book_fill(eth, BUY, 1, 3, is_maker=True)
    assert eth.lots == 0
    assert entry() == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BUY, SELL]),
            st.integers(1, 10**7),
            st.integers(1, 10**6),
            st.booleans(),
            st.integers(1, 2 * 10**7),
            st.booleans(),
        ),
        min_size=3,
        max_size=30,
    )
)
def test_equity_is_exactly_cash_plus_position_value_after_any_fills_and_fundings(
    steps: list[tuple[Side, int, int, bool, int, bool]],
) -> None:
    """Recomputed as rational numbers from nothing but the list of what happened."""
    books, eth = account()
    rate = Decimal("0.000137")
    cash, lots = Fraction(10_000), 0
    quantum = Fraction(ETH.quantum)
    for side, price, qty, is_maker, mark2, funded in steps:
        books.book_fill(eth, side, price, qty, is_maker=is_maker)
        cash -= side * price * qty * quantum
        cash -= price * qty * quantum * Fraction(ETH.maker_fee if is_maker else ETH.taker_fee)
        lots += side * qty
        eth.mark2 = mark2
        if funded:
            books.pay_funding(eth, rate)
            cash -= lots * Fraction(mark2, 2) * quantum * Fraction(rate)
        assert Fraction(books.equity()) == cash + lots * Fraction(mark2, 2) * quantum


def test_money_that_would_have_to_be_rounded_is_refused() -> None:
    with pytest.raises(Inexact):
        EXACT.divide(Decimal(1), Decimal(3))


@pytest.mark.parametrize(("side", "paid"), [(BUY, Decimal("-0.3")), (SELL, Decimal("0.3"))])
def test_longs_pay_and_shorts_receive_positive_funding_on_the_mark_notional(
    side: Side, paid: Decimal
) -> None:
    desk = Desk(funding_rate=Decimal("0.0001"))
    desk.trade(300_000)
    desk.place(side, 300_000 + side, 1000)
    before = desk.exchange.account.wallet
    desk.exchange.pay_funding(77)
    assert desk.exchange.account.wallet == before + paid
    assert desk.exchange.account.funding == paid
    payment = desk.news[-1][1]
    assert payment == FundingPayment(payment_id="ETHUSDT-77", amount=paid, ts_venue_ns=77)


def test_no_position_no_funding() -> None:
    desk = Desk()
    desk.trade(300_000)
    desk.exchange.pay_funding(77)
    assert desk.news == []


# -- margin ------------------------------------------------------------------------------------------


def test_orders_are_accepted_up_to_equity_times_leverage_and_not_a_lot_further() -> None:
    desk = Desk(balance=Decimal(900), leverage=Decimal(2))
    desk.trade(300_000)
    desk.place(BUY, 200_000, 600)
    desk.place(BUY, 100_000, 600)
    with pytest.raises(InsufficientMargin, match="0 free"):
        desk.place(BUY, 100_000, 20)
    desk.exchange.account.leverage = Decimal("2.03")
    desk.place(BUY, 100_000, 20)


def test_margin_counts_the_larger_way_of_a_market_not_both() -> None:
    desk = Desk(balance=Decimal(900), leverage=Decimal(2))
    desk.trade(300_000)
    desk.place(BUY, 200_000, 900)
    desk.place(SELL, 400_000, 450)
    with pytest.raises(InsufficientMargin):
        desk.place(SELL, 400_000, 5)


def test_cancelling_and_filling_give_reserved_margin_back() -> None:
    desk = Desk(balance=Decimal(900), leverage=Decimal(2))
    desk.trade(300_000)
    order = desk.place(BUY, 200_000, 900)
    desk.exchange.cancel(
        "ETHUSDT", OrderRef(client_order_id=order.client_order_id, venue_order_id=""), 1
    )
    desk.place(BUY, 300_001, 500)
    holding = desk.exchange.markets["ETHUSDT"].holding
    assert holding.buying == holding.selling == 0


def test_an_order_that_only_reduces_is_accepted_without_free_margin() -> None:
    desk = Desk(balance=Decimal(900), leverage=Decimal(1))
    desk.trade(300_000)
    desk.place(BUY, 300_001, 290)
    desk.trade(299_000)
    desk.exchange.account.leverage = Decimal("0.1")
    desk.place(SELL, 310_000, 290)
    with pytest.raises(InsufficientMargin):
        desk.place(SELL, 310_000, 300)


def test_the_reported_liquidation_price_is_where_the_account_is_liquidated() -> None:
    desk = Desk(balance=Decimal(1000), leverage=Decimal(10))
    desk.trade(300_000)
    desk.place(BUY, 300_001, 2000)
    price = desk.exchange.position("ETHUSDT").liquidation_price
    assert price is not None
    last_safe = ETH.ceil_ticks(price)
    for ticks in (last_safe + 500, last_safe + 3, last_safe):
        desk.trade(ticks)
    assert desk.exchange.counts["liquidations"] == 0
    desk.trade(last_safe - 1)
    assert desk.exchange.counts["liquidations"] == 1


def test_a_short_is_liquidated_above_its_price_and_not_below() -> None:
    desk = Desk(balance=Decimal(1000), leverage=Decimal(10))
    desk.trade(300_000)
    desk.place(SELL, 299_999, 2000)
    price = desk.exchange.position("ETHUSDT").liquidation_price
    assert price is not None
    desk.trade(1000)
    desk.trade(ETH.floor_ticks(price))
    assert desk.exchange.counts["liquidations"] == 0
    desk.trade(ETH.floor_ticks(price) + 1)
    assert desk.exchange.counts["liquidations"] == 1


def test_liquidation_cancels_every_order_before_it_closes_every_position_at_the_mark() -> None:
    desk = Desk("ETHUSDT", "XRPUSDT", balance=Decimal(1000), leverage=Decimal(10))
    desk.trade(300_000)
    desk.trade(10_000, name="XRPUSDT")
    desk.place(BUY, 300_001, 2000)
    desk.place(SELL, 9_999, 10_000, name="XRPUSDT")
    desk.place(SELL, 310_000, 500, reduce_only=True)
    desk.place(BUY, 5_000, 100, name="XRPUSDT")
    desk.news.clear()
    desk.trade(250_001)
    reports = [news for _, news in desk.news if isinstance(news, OrderReport)]
    assert [report.end_reason for report in reports] == [EndReason.LIQUIDATION] * 2 + [None] * 2
    closes = [report.fill for report in reports[2:]]
    assert all(isinstance(fill, Fill) for fill in closes)
    assert [(f.side, f.price_ticks, f.qty_lots, f.client_order_id) for f in closes if f] == [
        (SELL, 250_001, 2000, None),
        (BUY, 10_000, 10_000, None),
    ]
    assert all(holding.lots == 0 for holding in desk.exchange.account.holdings.values())
    assert desk.exchange.open_orders("ETHUSDT", 0) == []
    positions = [news for _, news in desk.news if isinstance(news, Position)]
    assert [position.qty_lots for position in positions] == [0, 0]


def test_two_positions_that_lose_half_the_slack_each_are_liquidated() -> None:
    """Neither mark alone moves far enough; together they do."""
    desk = Desk("ETHUSDT", "XRPUSDT", balance=Decimal(1000), leverage=Decimal(10))
    desk.trade(300_000)
    desk.trade(10_000, name="XRPUSDT")
    desk.place(BUY, 300_001, 1000)
    desk.place(BUY, 10_001, 30_000, name="XRPUSDT")
    desk.trade(240_000)
    assert desk.exchange.counts["liquidations"] == 0
    desk.trade(8_000, name="XRPUSDT")
    assert desk.exchange.counts["liquidations"] == 1


def test_funding_that_eats_the_margin_liquidates() -> None:
    desk = Desk(balance=Decimal(1000), leverage=Decimal(10), funding_rate=Decimal("0.2"))
    desk.trade(300_000)
    desk.place(BUY, 300_001, 1000)
    desk.exchange.pay_funding(5)
    assert desk.exchange.counts["liquidations"] == 0
    desk.exchange.pay_funding(6)
    assert desk.exchange.counts["liquidations"] == 1


@pytest.mark.parametrize(("side", "closed_at"), [(BUY, 250_000), (SELL, 350_001)])
def test_a_mark_between_two_ticks_is_rounded_against_us_when_liquidated(
    side: Side, closed_at: int
) -> None:
    desk = Desk(balance=Decimal(1000), leverage=Decimal(10))
    desk.trade(300_000)
    desk.place(side, 300_000 + side, 2000)
    market = desk.exchange.markets["ETHUSDT"]
    low = 250_000 if side is BUY else 350_000
    desk.exchange.quote(market, (low, 5), (low + 1, 5), 9)
    assert market.fills[-1].price_ticks == closed_at
    assert market.holding.lots == 0


def test_a_query_tells_how_an_order_ended_and_not_of_a_trade() -> None:
    desk = Desk()
    desk.trade(300_000)
    order = desk.place(BUY, 300_001, 10)
    report = desk.exchange.order("ETHUSDT", order.client_order_id, 5)
    assert report.filled_lots == 10
    assert report.fill is None


@given(
    balance=st.integers(500, 3000),
    lots=st.tuples(st.integers(100, 1000), st.integers(-30_000, 30_000)),
    marks=st.lists(st.tuples(st.booleans(), st.integers(-3000, 3000)), min_size=1, max_size=40),
)
def test_the_sparing_margin_check_misses_nothing_that_a_check_on_every_mark_would_find(
    balance: int, lots: tuple[int, int], marks: list[tuple[bool, int]]
) -> None:
    desk = Desk("ETHUSDT", "XRPUSDT", balance=Decimal(balance), leverage=Decimal(1000))
    desk.trade(300_000)
    desk.trade(10_000, name="XRPUSDT")
    desk.place(BUY, 300_001, lots[0])
    if abs(lots[1]) >= 100:
        side = BUY if lots[1] > 0 else SELL
        desk.place(side, 10_000 + side, abs(lots[1]), name="XRPUSDT")
    books = desk.exchange.account
    eth, xrp = 300_000, 10_000
    for is_eth, step in marks:
        if is_eth:
            eth += 10 * step
            desk.trade(eth)
        else:
            xrp = max(1, xrp + step)
            desk.trade(xrp, name="XRPUSDT")
        assert books.equity() >= books.maintenance() or not any(
            holding.lots for holding in books.holdings.values()
        )


# -- reduce-only -------------------------------------------------------------------------------------


def test_reduce_only_needs_a_position_on_the_other_side() -> None:
    desk = Desk()
    desk.trade(300_000)
    with pytest.raises(ReduceOnlyRefused, match="0 to reduce"):
        desk.place(SELL, 310_000, 10, reduce_only=True)
    desk.place(BUY, 300_001, 10)
    with pytest.raises(ReduceOnlyRefused):
        desk.place(BUY, 290_000, 10, reduce_only=True)
    desk.place(SELL, 310_000, 10, reduce_only=True)


def test_open_reduce_only_orders_together_never_exceed_the_position() -> None:
    desk = Desk()
    desk.trade(300_000)
    desk.place(BUY, 300_001, 10)
    desk.place(SELL, 310_000, 4, reduce_only=True)
    desk.place(SELL, 311_000, 6, reduce_only=True)
    with pytest.raises(ReduceOnlyRefused, match="11 lots"):
        desk.place(SELL, 312_000, 1, reduce_only=True)
    desk.trade(310_000)
    with pytest.raises(ReduceOnlyRefused):
        desk.place(SELL, 312_000, 1, reduce_only=True)


def test_a_shrinking_position_cancels_the_newest_reduce_only_orders_that_no_longer_fit() -> None:
    desk = Desk()
    desk.trade(300_000)
    desk.place(BUY, 300_001, 10)
    kept = desk.place(SELL, 320_000, 4, reduce_only=True)
    dropped = [desk.place(SELL, price, 3, reduce_only=True) for price in (311_000, 312_000)]
    desk.place(SELL, 305_000, 10)
    desk.place(BUY, 290_000, 10)
    assert desk.ends() == []
    desk.exchange.trade(desk.exchange.markets["ETHUSDT"], 304_999, 1, 9)
    desk.place(SELL, 304_998, 7)
    assert desk.ends() == [
        (EndReason.REDUCE_ONLY, dropped[1].client_order_id.sequence),
        (EndReason.REDUCE_ONLY, dropped[0].client_order_id.sequence),
        (EndReason.REDUCE_ONLY, kept.client_order_id.sequence),
    ]


def test_one_event_that_fills_several_orders_never_reduces_beyond_flat() -> None:
    """The plain sell fills first and leaves nothing for the reduce-only one behind it."""
    desk = Desk(fill="cross")
    desk.trade(300_000)
    desk.place(BUY, 300_001, 1000)
    reducing = desk.place(SELL, 320_000, 1000, reduce_only=True)
    desk.place(SELL, 310_000, 1000)
    desk.trade(330_000)
    assert desk.exchange.markets["ETHUSDT"].holding.lots == 0
    assert desk.ends() == [(EndReason.REDUCE_ONLY, reducing.client_order_id.sequence)]


# -- the exchange as a whole -------------------------------------------------------------------------

actions = st.one_of(
    st.tuples(
        st.just("place"),
        st.sampled_from([BUY, SELL]),
        st.integers(80, 120),
        st.integers(3, 100),
        st.sampled_from([False, False, True]),
        st.sampled_from([False, False, False, True]),
    ),
    st.tuples(st.just("cancel"), st.integers(1, 40)),
    st.tuples(st.just("trade"), st.integers(80, 120), st.integers(1, 300)),
    st.tuples(
        st.just("quote"),
        st.integers(80, 119),
        st.integers(1, 5),
        st.integers(0, 99),
        st.integers(0, 99),
    ),
    st.tuples(st.just("funding")),
)


@given(
    model=st.sampled_from(["cross", "touch", "queue"]),
    steps=st.lists(actions, min_size=20, max_size=60),
    leverage=st.sampled_from([3, 20, 100]),
    balance=st.sampled_from([100, 1000]),
)
def test_the_books_hold_after_anything_that_can_happen(
    model: str, steps: list[tuple[object, ...]], leverage: int, balance: int
) -> None:
    """Equity, reserved margin, reduce-only totals and order lives, recomputed from what the exchange said."""
    desk = Desk(fill=model, balance=Decimal(balance), leverage=Decimal(leverage))
    exchange = desk.exchange
    market = exchange.markets["ETHUSDT"]
    for step in steps:
        desk.now_ns += 1
        try:
            _act(desk, step)
        except MarketMakerError as error:
            assert isinstance(error, Rejected | OrderNotFound)
        _check_books(desk)
    ended = {report.client_order_id for report in market.ended.values()}
    assert not ended & {order.client_order_id for order in market.open_orders.values()}


def _act(desk: Desk, step: tuple[object, ...]) -> None:
    market = desk.exchange.markets["ETHUSDT"]
    match step:
        case "place", Side() as side, int(price), int(lots), bool(post_only), bool(reduce_only):
            desk.sequence += 1
            order = make_order(
                side,
                price * 100,
                lots * 100,
                sequence=desk.sequence,
                post_only=post_only,
                reduce_only=reduce_only,
            )
            desk.exchange.place("ETHUSDT", order, desk.now_ns)
        case "cancel", int(nth):
            orders = list(market.open_orders.values())
            if orders:
                chosen = orders[nth % len(orders)].client_order_id
                assert chosen is not None
                ref = OrderRef(client_order_id=chosen, venue_order_id="")
                desk.exchange.cancel("ETHUSDT", ref, desk.now_ns)
        case "trade", int(price), int(lots):
            desk.exchange.trade(market, price * 100, lots * 100, desk.now_ns)
        case "quote", int(bid), int(spread), int(bid_lots), int(ask_lots):
            ask = ((bid + spread) * 100, ask_lots * 100)
            desk.exchange.quote(market, (bid * 100, bid_lots * 100), ask, desk.now_ns)
        case _:
            desk.exchange.pay_funding(desk.now_ns)


def _check_books(desk: Desk) -> None:
    market = desk.exchange.markets["ETHUSDT"]
    quantum = Fraction(market.instrument.quantum)
    cash, lots = Fraction(desk.settings.balance), 0
    for _, news in desk.news:
        match news:
            case OrderReport(fill=Fill() as fill):
                cash -= fill.side * fill.price_ticks * fill.qty_lots * quantum + Fraction(fill.fee)
                lots += fill.side * fill.qty_lots
            case FundingPayment():
                cash += Fraction(news.amount)
    holding = market.holding
    equity = cash + lots * Fraction(holding.mark2, 2) * quantum
    assert holding.lots == lots
    assert Fraction(desk.exchange.account_state().equity) == equity
    for side in (BUY, SELL):
        mine = [order for order in market.open_orders.values() if order.side is side]
        assert all(order.open and order.leaves_lots > 0 for order in mine)
        assert (holding.buying if side is BUY else holding.selling) == sum(
            order.price_ticks * order.leaves_lots for order in mine if not order.reduce_only
        )
        reducing = sum(order.leaves_lots for order in mine if order.reduce_only)
        assert market.reducing(side) == reducing <= max(0, -side * lots)


# -- instruments -------------------------------------------------------------------------------------


def test_an_unknown_instrument_names_the_ones_that_come_near() -> None:
    with pytest.raises(ConfigError, match="does not list ETHUSD: did you mean ETHUSDT") as caught:
        paper_instrument("ETHUSD", InstrumentSettings(), PaperSettings())
    assert "\n" not in str(caught.value)


def test_an_unknown_instrument_with_its_steps_given_is_listed() -> None:
    overrides = InstrumentSettings(
        tick_size=Decimal("0.5"), lot_size=Decimal("0.2"), min_qty=Decimal("0.5")
    )
    instrument = paper_instrument("PEPEUSDC", overrides, PaperSettings(maker_fee=Decimal(0)))
    assert (instrument.base, instrument.quote) == ("PEPE", "USDC")
    assert instrument.min_qty == 3
    assert instrument.maker_fee == 0


def test_the_figures_of_the_symbol_come_before_those_of_the_exchange() -> None:
    overrides = InstrumentSettings(taker_fee=Decimal("0.001"), min_notional=Decimal(0))
    instrument = paper_instrument(
        "BTCUSDT", overrides, PaperSettings(taker_fee=Decimal(1), maker_fee=Decimal("0.0001"))
    )
    assert instrument.taker_fee == Decimal("0.001")
    assert instrument.maker_fee == Decimal("0.0001")
    assert instrument.min_notional == 0
    assert instrument.tick_size == Decimal("0.1")
