"""The public side of one symbol at the embedded exchange: prices and candles on their way to those who listen."""

from __future__ import annotations

from marketmaker.adapters.protocol import PriceListener
from marketmaker.model.instrument import Ticks
from marketmaker.model.market import Candle, Quote, Trade
from marketmaker.sim.agenda import Agenda
from marketmaker.sim.candles import CandleSeries
from marketmaker.sim.exchange import Exchange
from marketmaker.sim.market import Market


class Tape:
    """Takes the market's events to the exchange and tells what they did to the price.

    The price is the last trade's; until the first trade, the middle of the quote rounded down to the tick. Listeners
    hear every change, and once a second that it was confirmed by trades at the same price. Without latency they are
    called at once. With it a price waits on the agenda, and several of one instant travel as the newest of them.
    """

    __slots__ = (
        "_agenda",
        "_exchange",
        "_latency_ns",
        "_on_its_way",
        "_price_ts_ns",
        "_repeated",
        "_series",
        "_shift_ns",
        "_traded",
        "listeners",
        "market",
        "price_ticks",
        "quotes",
        "trades",
    )

    def __init__(
        self, *, market: Market, exchange: Exchange, agenda: Agenda, latency_ns: int, shift_ns: int
    ) -> None:
        self.market = market
        self.listeners: list[PriceListener] = []
        self.price_ticks: int | None = None
        self.trades = 0
        self.quotes = 0
        self._exchange = exchange
        self._agenda = agenda
        self._latency_ns = latency_ns
        self._shift_ns = shift_ns
        self._series: list[tuple[int, CandleSeries]] = []
        self._traded = False
        self._repeated = False
        self._price_ts_ns = 0
        self._on_its_way = [0, 0, 0]

    def apply(self, event: Trade | Quote, now_ns: int) -> None:
        if isinstance(event, Trade):
            price = event.price_ticks
            self.trades += 1
            self._exchange.trade(self.market, price, event.qty_lots, now_ns)
            for _, series in self._series:
                series.trade(price, event.qty_lots, now_ns)
            self._traded = True
        else:
            self.quotes += 1
            bid = (event.bid_ticks, event.bid_lots)
            ask = (event.ask_ticks, event.ask_lots)
            self._exchange.quote(self.market, bid, ask, now_ns)
            if self._traded or not (event.bid_lots and event.ask_lots):
                return
            price = Ticks((event.bid_ticks + event.ask_ticks) // 2)
        self._price_ts_ns = event.ts_venue_ns + self._shift_ns
        if price == self.price_ticks:
            self._repeated = True
        else:
            self.price_ticks = price
            self._send_price(now_ns)

    def second(self, now_ns: int) -> None:
        """Once a second: confirm the price, tell the mark, send and close candles."""
        if self._repeated:
            self._send_price(now_ns)
        mark2 = self.market.holding.mark2
        if mark2 and self.listeners:
            self._agenda.add(now_ns + self._latency_ns, self._confirm, mark2 // 2, now_ns)
        for _, series in self._series:
            if series.end_ns is not None and now_ns >= series.end_ns:
                self._send_candle(series, series.close_bar(), now_ns)
            elif series.listeners and (candle := series.take_change()):
                self._send_candle(series, candle, now_ns)

    def series(self, interval_s: int) -> CandleSeries:
        """Begins with the first time it is asked for."""
        for known_s, series in self._series:
            if known_s == interval_s:
                return series
        series = CandleSeries(self.market.instrument, interval_s)
        self._series.append((interval_s, series))
        return series

    def greet(self, listener: PriceListener) -> None:
        """The price as it is, for one who has just come."""
        if self.price_ticks is not None:
            listener.on_price(Ticks(self.price_ticks), self._price_ts_ns, self._agenda.now_ns())

    def _send_price(self, now_ns: int) -> None:
        self._repeated = False
        if not self.listeners or self.price_ticks is None:
            return
        if self._latency_ns == 0:
            self._deliver([now_ns, self.price_ticks, self._price_ts_ns])
            return
        due_ns = now_ns + self._latency_ns
        if self._on_its_way[0] == due_ns:
            self._on_its_way[1:] = (self.price_ticks, self._price_ts_ns)
            return
        self._on_its_way = [due_ns, self.price_ticks, self._price_ts_ns]
        self._agenda.add(due_ns, self._deliver, self._on_its_way)

    def _deliver(self, price: list[int]) -> None:
        """`price`: due time, ticks, when it was made. It may change until it is due."""
        _, ticks, ts_venue_ns = price
        ts_local_ns = self._agenda.now_ns()
        for listener in self.listeners:
            listener.on_price(Ticks(ticks), ts_venue_ns, ts_local_ns)

    def _confirm(self, mark_ticks: int, ts_venue_ns: int) -> None:
        ts_local_ns = self._agenda.now_ns()
        for listener in self.listeners:
            listener.on_confirming_price(Ticks(mark_ticks), ts_venue_ns, ts_local_ns)

    def _send_candle(self, series: CandleSeries, candle: Candle, now_ns: int) -> None:
        if series.listeners:
            self._agenda.add(now_ns + self._latency_ns, _tell_candle, series, candle)


def _tell_candle(series: CandleSeries, candle: Candle) -> None:
    for listener in series.listeners:
        listener.on_candle(candle)
