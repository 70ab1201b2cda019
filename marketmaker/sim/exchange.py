"""The embedded exchange without its network: orders in, market in, what happened to us out. No time, no waiting.

It joins the matching of each instrument with the one account behind them, checks orders at the door and ends them
when the account says so. Everything that happens to an order, a position or the wallet is told through `emit` in the
order in which it happened; answers to requests are returned or raised.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Final

from marketmaker.errors import ConfigError, OrderNotFound, Rejected
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import ClientOrderIdForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.order import (
    ClientOrderId,
    EndReason,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    Side,
    TimeInForce,
)
from marketmaker.model.settings import PaperSettings
from marketmaker.sim.account import Account, FundingPayment
from marketmaker.sim.admission import check_order
from marketmaker.sim.instruments import VENUE
from marketmaker.sim.market import Market, build_report
from marketmaker.sim.matching import (
    BUY,
    QUEUE,
    BookOrder,
    Execution,
    Matcher,
    parse_fill_model,
)

ENDED_KEPT: Final = 20_000
"""Ended orders of one instrument that can still be asked for, at most; the older half goes first."""
FILLS_KEPT: Final = 20_000
"""Of one instrument, at most; the older half goes first."""
SELL: Final = Side.SELL

News = OrderReport | Position | FundingPayment
Emit = Callable[[str, News, int], None]
"""Instrument name, what happened, when (Unix ns)."""


class Exchange:
    """One account. Times are the caller's: Unix ns, never going back.

    `tell_positions` False: nobody listens to positions, so none is put together after a fill, and their entry
    prices are not kept (`Account`).
    """

    def __init__(
        self,
        *,
        settings: PaperSettings,
        instruments: dict[str, Instrument],
        client_order_ids: ClientOrderIdForm,
        emit: Emit,
        tell_positions: bool = True,
    ) -> None:
        model = parse_fill_model(settings.fill)
        self.account = Account(
            balance=settings.balance,
            leverage=settings.leverage,
            maintenance_margin=settings.maintenance_margin,
            instruments=instruments,
            keep_entry_prices=tell_positions,
        )
        self.markets = {
            name: Market(instrument, Matcher(model), self.account.holdings[name])
            for name, instrument in instruments.items()
        }
        self.accepted = self.refused = self.cancelled = 0
        self.fill_count = self.liquidations = self.funding_payments = 0
        self._settings = settings
        self._encode = client_order_ids.encode
        self._decode = client_order_ids.decode
        self._emit = emit
        self._tell_positions = tell_positions
        self._last_order_id = 0
        self._last_trade_id = 0

    @property
    def counts(self) -> dict[str, int]:
        """How often each has happened."""
        return {
            "accepted": self.accepted,
            "refused": self.refused,
            "cancelled": self.cancelled,
            "fills": self.fill_count,
            "liquidations": self.liquidations,
            "funding_payments": self.funding_payments,
        }

    def market(self, name: str) -> Market:
        try:
            return self.markets[name]
        except KeyError:
            raise ConfigError(f"{VENUE}: no instrument {name}") from None

    # -- the market ----------------------------------------------------------------------------------

    def trade(self, market: Market, price_ticks: int, qty_lots: int, now_ns: int) -> None:
        """Somebody else's trade."""
        matcher = market.matcher
        hits = matcher.trade(price_ticks, qty_lots)
        if not (matcher.quoted and matcher.bid_lots and matcher.ask_lots):
            self._mark(market, 2 * price_ticks, now_ns)
        if not hits:
            return
        if matcher.model is QUEUE:
            self._book(market, hits, now_ns)
            return
        done = matcher.next_traded(price_ticks)
        if done is None:
            return
        while done is not None:
            self._book_one(market, done, now_ns)
            done = matcher.next_traded(price_ticks)
        self._after_booking(market, now_ns)

    def quote(
        self,
        market: Market,
        bid: tuple[int, int],
        ask: tuple[int, int],
        now_ns: int,
    ) -> None:
        """Best (ticks, lots) of each side; quantity 0: the side is empty."""
        hits = market.matcher.quote(*bid, *ask)
        if bid[1] and ask[1]:
            self._mark(market, bid[0] + ask[0], now_ns)
        if hits:
            self._book(market, hits, now_ns)

    def _mark(self, market: Market, mark2: int, now_ns: int) -> None:
        holding = market.holding
        holding.mark2 = mark2
        if holding.lots and not holding.safe_low < mark2 < holding.safe_high:
            self._watch_margin(now_ns)

    def pay_funding(self, now_ns: int, rate: Decimal | None = None) -> None:
        """One payment per open position, at its mark. `rate`: None takes the settings'."""
        rate = self._settings.funding_rate if rate is None else rate
        for market in self.markets.values():
            if not market.holding.lots:
                continue
            amount = self.account.pay_funding(market.holding, rate)
            self.funding_payments += 1
            payment = FundingPayment(
                payment_id=f"{market.name}-{now_ns}", amount=amount, ts_venue_ns=now_ns
            )
            self._emit(market.name, payment, now_ns)
        self._watch_margin(now_ns)

    def hit(self, name: str, order: BookOrder, qty_lots: int, now_ns: int) -> None:
        """Somebody takes 0 < `qty_lots` <= what is left of a resting order, at its price, wherever the market stands."""
        market = self.market(name)
        order.leaves_lots -= qty_lots
        if not order.leaves_lots:
            market.matcher.remove(order)
        self._book(market, (Execution(order, order.price_ticks, qty_lots, True),), now_ns)

    # -- requests ------------------------------------------------------------------------------------

    def place(self, name: str, new: NewOrder, now_ns: int) -> OrderReport:
        """Accept an order, let it take, keep the rest. Raises Rejected, and then nothing has changed."""
        market = self.market(name)
        return self._report_of(market, self.submit(market, new, now_ns), now_ns)

    def submit(self, market: Market, new: NewOrder, now_ns: int) -> str:
        """`place` for one who hears of the order through `emit` anyway; returns its id on the wire."""
        wire_id = self._encode(new.client_order_id)
        try:
            check_order(market, self.account, new, wire_id)
        except Rejected:
            self.refused += 1
            raise
        order = self._accept(market, new, wire_id, now_ns)
        if taken := market.matcher.take(order):
            self._book(market, (taken,), now_ns)
        if order.open and order.leaves_lots:
            end = market.matcher.rest(order)
            if end is not None:
                self._end(market, order, end, now_ns)
        return wire_id

    def cancel(self, name: str, ref: OrderRef, now_ns: int) -> OrderReport:
        """Raises OrderNotFound for an order that is not open."""
        market = self.market(name)
        order = self._find_open(market, ref)
        if order is None:
            raise OrderNotFound(
                f"no open order {self._encode(ref.client_order_id)}",
                venue=VENUE,
                operation="cancel",
            )
        return self._end(market, order, EndReason.REQUESTED, now_ns)

    def cancel_all(self, name: str, now_ns: int) -> list[OrderReport]:
        market = self.market(name)
        return [
            self._end(market, order, EndReason.REQUESTED, now_ns)
            for order in tuple(market.open_orders.values())
        ]

    def order(self, name: str, client_order_id: ClientOrderId, now_ns: int) -> OrderReport:
        """Open or lately ended. Raises OrderNotFound."""
        return self._report_of(self.market(name), self._encode(client_order_id), now_ns)

    def open_orders(self, name: str, now_ns: int) -> list[OrderReport]:
        return [build_report(order, now_ns) for order in self.market(name).open_orders.values()]

    def fills(self, name: str, since_ns: int, skip: int, limit: int) -> list[Fill]:
        """A page of our trades at or after `since_ns`, oldest first, without the first `skip` of them."""
        fills = self.market(name).fills
        start = bisect_left(fills, since_ns, key=lambda fill: fill.ts_venue_ns) + skip
        return fills[start : start + limit]

    def position(self, name: str) -> Position:
        return self.account.position(self.market(name).holding)

    def account_state(self) -> AccountState:
        return AccountState(
            equity=self.account.equity(),
            available=self.account.available(),
            leverage=self.account.leverage,
            hedge_mode=False,
            can_withdraw=False,
            clock_offset_ns=0,
        )

    def _accept(self, market: Market, new: NewOrder, wire_id: str, now_ns: int) -> BookOrder:
        self._last_order_id += 1
        order = BookOrder(
            wire_id=wire_id,
            client_order_id=self._decode(wire_id),
            venue_order_id=str(self._last_order_id),
            side=new.side,
            price_ticks=new.price_ticks,
            leaves_lots=new.qty_lots,
            qty_lots=new.qty_lots,
            reduce_only=new.reduce_only,
            time_in_force=new.time_in_force,
        )
        market.open_orders[wire_id] = order
        if wire_id in market.ended:
            del market.ended[wire_id]
        market.reserve(order, new.qty_lots)
        self.accepted += 1
        self._emit(market.name, build_report(order, now_ns), now_ns)
        return order

    # -- what happens to orders ----------------------------------------------------------------------

    def _book(self, market: Market, executions: Iterable[Execution], now_ns: int) -> None:
        booked = False
        for done in executions:
            booked = True
            self._book_one(market, done, now_ns)
        if booked:
            self._after_booking(market, now_ns)

    def _book_one(self, market: Market, done: Execution, now_ns: int) -> None:
        order = done.order
        market.release(order, done.qty_lots)
        fill = self._book_fill(market, done, now_ns)
        report = build_report(order, now_ns, fill=fill)
        if order.leaves_lots:
            self._emit(market.name, report, now_ns)
        else:
            self._forget(market, order, report, now_ns)
        self._trim_reduce_only(market, now_ns)

    def _after_booking(self, market: Market, now_ns: int) -> None:
        if self._tell_positions:
            self._emit(market.name, self.account.position(market.holding), now_ns)
        self._watch_margin(now_ns)

    def _book_fill(self, market: Market, done: Execution, now_ns: int) -> Fill:
        order = done.order
        fee = self.account.book_fill(
            market.holding, order.side, done.price_ticks, done.qty_lots, is_maker=done.is_maker
        )
        self._last_trade_id += 1
        self.fill_count += 1
        fill = Fill(
            trade_id=str(self._last_trade_id),
            client_order_id=order.client_order_id,
            venue_order_id=order.venue_order_id,
            side=order.side,
            price_ticks=Ticks(done.price_ticks),
            qty_lots=Lots(done.qty_lots),
            fee=fee,
            is_maker=done.is_maker,
            ts_venue_ns=now_ns,
        )
        if len(market.fills) == FILLS_KEPT:
            del market.fills[: FILLS_KEPT // 2]
        market.fills.append(fill)
        return fill

    def _end(self, market: Market, order: BookOrder, reason: EndReason, now_ns: int) -> OrderReport:
        market.matcher.remove(order)
        market.release(order, order.leaves_lots)
        self.cancelled += 1
        report = build_report(order, now_ns, end=reason)
        self._forget(market, order, report, now_ns)
        return report

    def _forget(self, market: Market, order: BookOrder, report: OrderReport, now_ns: int) -> None:
        """The order's last report: it leaves the open ones and joins the ended."""
        order.open = False
        del market.open_orders[order.wire_id]
        if len(market.ended) == ENDED_KEPT:
            market.ended = dict(list(market.ended.items())[ENDED_KEPT // 2 :])
        market.ended[order.wire_id] = report
        self._emit(market.name, report, now_ns)

    def _trim_reduce_only(self, market: Market, now_ns: int) -> None:
        """Cancel the newest reduce-only orders until the rest could not turn the position round."""
        lots = market.holding.lots
        if market.reducing_buys > max(0, -lots):
            self._trim(market, BUY, max(0, -lots), now_ns)
        if market.reducing_sells > max(0, lots):
            self._trim(market, SELL, max(0, lots), now_ns)

    def _trim(self, market: Market, side: Side, reducible: int, now_ns: int) -> None:
        for order in reversed(tuple(market.open_orders.values())):
            if order.reduce_only and order.side is side:
                self._end(market, order, EndReason.REDUCE_ONLY, now_ns)
                if market.reducing(side) <= reducible:
                    return

    def _watch_margin(self, now_ns: int) -> None:
        if self.account.is_short_of_margin():
            self._liquidate(now_ns)

    def _liquidate(self, now_ns: int) -> None:
        """Cancel every order of the account, then close every position at its mark, rounded against us."""
        self.liquidations += 1
        for market in self.markets.values():
            for order in tuple(market.open_orders.values()):
                self._end(market, order, EndReason.LIQUIDATION, now_ns)
        for market in self.markets.values():
            if market.holding.lots:
                self._close_at_mark(market, now_ns)

    def _close_at_mark(self, market: Market, now_ns: int) -> None:
        holding = market.holding
        side = Side.SELL if holding.lots > 0 else Side.BUY
        price_ticks = holding.mark2 // 2 if side is Side.SELL else -(-holding.mark2 // 2)
        qty_lots = abs(holding.lots)
        self._last_order_id += 1
        order = BookOrder(
            wire_id="",
            client_order_id=None,
            venue_order_id=str(self._last_order_id),
            side=side,
            price_ticks=price_ticks,
            leaves_lots=0,
            qty_lots=qty_lots,
            reduce_only=True,
            time_in_force=TimeInForce.IOC,
        )
        fill = self._book_fill(market, Execution(order, price_ticks, qty_lots, False), now_ns)
        self._emit(market.name, build_report(order, now_ns, fill=fill), now_ns)
        if self._tell_positions:
            self._emit(market.name, self.account.position(holding), now_ns)

    # -- looking up ----------------------------------------------------------------------------------

    def _find_open(self, market: Market, ref: OrderRef) -> BookOrder | None:
        order = market.open_orders.get(self._encode(ref.client_order_id))
        if order is None or ref.venue_order_id not in ("", order.venue_order_id):
            return None
        return order

    def _report_of(self, market: Market, wire_id: str, now_ns: int) -> OrderReport:
        order = market.open_orders.get(wire_id)
        if order is not None:
            return build_report(order, now_ns)
        report = market.ended.get(wire_id)
        if report is None:
            raise OrderNotFound(f"no order {wire_id}", venue=VENUE, operation="query")
        return report if report.fill is None else replace(report, fill=None)
