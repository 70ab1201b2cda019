"""One account at an exchange that ccxt knows: what waits for it, and what listens."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from marketmaker.adapters.backoff import Backoff
from marketmaker.adapters.ccxt.values import (
    Row,
    number,
    parse_candle,
    parse_error,
    parse_fill,
    parse_market,
    parse_order,
    parse_ticks,
    redirected,
    text,
    time_ns,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.feeds import OrderFeeds
from marketmaker.adapters.frames import Malformed
from marketmaker.adapters.funding import Payment
from marketmaker.adapters.owners import Owners
from marketmaker.adapters.parsing import NS_PER_MS
from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
)
from marketmaker.adapters.rest import no_key
from marketmaker.adapters.tasks import Tasks
from marketmaker.adapters.venue_clock import Clock, VenueClock
from marketmaker.errors import (
    ConfigError,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    PositionModeMismatch,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import (
    ClientOrderId,
    Fill,
    NewOrder,
    OrderRef,
    OrderReport,
    OrderStatus,
    TimeInForce,
)
from marketmaker.model.settings import Credentials

POLL_S = 1.0
CANDLE_POLL_S = 5.0
FUNDING_POLL_S = 300.0
MARKETS_S = 60.0
UP_AFTER_S = 1.0
"""A stream that has been listened to for this long over an open socket is up, though a quiet market says nothing."""
PAGE = 500
WEEK_MS = 7 * 86_400_000 - 1
HISTORY_MS = 90 * 86_400_000
ORDERS_PER_S_MAX, BURST = 10.0, 5
REQUEST_LIFETIME_S = 30.0
TRADE_RETRIES_S = (0.0, 0.2, 1.0)
SEEN_MAX = 20_000
CACHE_LOOK = 300
INTERVALS = {
    60: "1m", 180: "3m", 300: "5m", 900: "15m", 1800: "30m", 3600: "1h", 7200: "2h", 14400: "4h",
    21600: "6h", 28800: "8h", 43200: "12h", 86400: "1d",
}  # fmt: skip
NEEDED = (
    "createOrder",
    "cancelOrder",
    "fetchOpenOrders",
    "fetchMyTrades",
    "fetchBalance",
    "fetchOrder",
)
TOTAL_WITH_PROFIT = frozenset({"okx", "myokx", "okxus", "krakenfutures", "hyperliquid"})

Outcome = OrderReport | VenueError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Servers in front of ccxt's own paths, "" for ccxt's own servers. `demo`: ccxt's sandbox or demo trading."""

    rest_url: str = ""
    ws_public_url: str = ""
    demo: bool = False


LIVE, DEMO = Endpoints(), Endpoints(demo=True)


class Ccxt:
    """Implements `adapters.protocol.Adapter` for one of ccxt's exchanges; without a key only what is public works."""

    def __init__(
        self,
        credentials: Credentials,
        endpoints: Endpoints,
        bot_tag: str,
        clock: Clock,
        rng: random.Random,
        *,
        exchange: str,
        timeout_s: float = 10.0,
    ) -> None:
        self.on_usage: Callable[[int, int], None] = lambda used, limit: None
        self.malformed = Malformed(f"ccxt:{exchange}")
        self._exchange = exchange
        self._rng = rng
        self._timeout_s = timeout_s
        self._ids = TextForm(bot_tag)
        self._keyed = bool(credentials.api_key)
        self._client = open_client(exchange, credentials, endpoints, timeout_s)
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._contracts: dict[str, Contract] = {}
        self._order_feeds = OrderFeeds(self._read_funding, clock=self._clock, poll_s=FUNDING_POLL_S)
        self._owners = Owners(self.name)
        self._venue_ids: dict[ClientOrderId, str] = {}
        self._told: dict[str, tuple[OrderStatus, int]] = {}
        self._told_trades: dict[str, None] = {}
        self._listening: Counter[str] = Counter()
        self._services: list[asyncio.Task[None]] = []

    @property
    def name(self) -> str:
        return f"ccxt:{self._exchange}"

    @property
    def capabilities(self) -> Capabilities:
        has = self._client.has
        pause_ms = float(self._client.rateLimit or 100)
        return Capabilities(
            post_only=has.get("createPostOnlyOrder") is not False,
            reduce_only=has.get("createReduceOnlyOrder") is not False,
            place_batch=1,
            cancel_batch=1,
            cancel_all=False,
            query_by_client_id=True,
            confirming_price=bool(has.get("fetchOrderBook")),
            orders_per_s=max(1.0, min(ORDERS_PER_S_MAX, 1000.0 / pause_ms)),
            order_burst=BURST,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )

    @property
    def client_order_ids(self) -> TextForm:
        return self._ids

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        if self._keyed:
            missing = [name for name in NEEDED if not self._client.has.get(name)]
            if missing:
                raise ConfigError(f"{self.name} cannot be traded: ccxt has no {', '.join(missing)}")
        try:
            async with asyncio.timeout(MARKETS_S):
                await self._client.load_markets()
        except Exception as caught:
            raise parse_error(caught, self._exchange, "instruments") from None
        if self._client.has.get("fetchTime"):
            await self._clock.measure(self._server_time)
        if self._keyed and self._client.has.get("fetchFundingHistory"):
            self._services = [self._tasks.own(self._order_feeds.funding.run())]

    async def close(self) -> None:
        await self._tasks.end()
        await self._client.close()

    async def _server_time(self) -> int:
        return int(await self._ask("time", self._client.fetch_time)) * NS_PER_MS

    async def _ask(self, operation: str, method: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """What ccxt answers. Raises VenueError for whatever it raises, without its cause: that may hold the request."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await method(*args)
        except TimeoutError:
            error: VenueError = OutcomeUnknown(
                "no answer in time", venue=self.name, operation=operation
            )
        except Exception as caught:
            error = parse_error(caught, self._exchange, operation)
        raise error

    def _private(self, operation: str) -> None:
        if not self._keyed:
            raise no_key(self.name, operation)

    # -- questions -----------------------------------------------------------------------------------

    async def fetch_instrument(self, name: str) -> Instrument:
        tradable = {
            f"{row['base']}{row['quote']}": row
            for row in self._client.markets.values()
            if row.get("swap") and row.get("linear") and row.get("active") is not False
        }
        row = tradable.get(name)
        if row is None:
            near = ", ".join(get_close_matches(name.upper(), tradable, n=3, cutoff=0.5))
            raise ConfigError(
                f"{self.name} has no tradable linear perpetual {name!r}"
                + (f"; near it: {near}" if near else "")
            )
        instrument, step = parse_market(row, name, self.name)
        if self._keyed and self._client.has.get("fetchTradingFee") is True:
            with suppress(VenueError):
                fees = await self._ask("fees", self._client.fetch_trading_fee, row["symbol"])
                instrument = with_fees(instrument, fees)
        contract = Contract(instrument, step, symbol=row["symbol"])
        contract.parts["amount_step"] = step
        self._contracts[name] = contract
        return instrument

    def _contract(self, instrument: Instrument) -> Contract:
        known = self._contracts.get(instrument.name)
        if known is not None:
            return known
        market = self._market_of(instrument.name)
        if market is None:
            raise ConfigError(f"{self.name} has no tradable linear perpetual {instrument.name!r}")
        row = self._client.markets[market]
        step = instrument.lot_size / (
            number(row, "contractSize", "1") if row.get("contract") else 1
        )
        contract = Contract(instrument, step, symbol=market)
        contract.parts["amount_step"] = step
        return self._contracts.setdefault(instrument.name, contract)

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        self._private("account")
        contract, has = self._contract(instrument), self._client.has
        balance = (await self._ask("account", self._client.fetch_balance)).get(
            instrument.quote
        ) or {}
        positions = await self._positions(contract)
        profit = sum((number(row, "unrealizedPnl") for row in positions), Decimal(0))
        if self._exchange in TOTAL_WITH_PROFIT:
            profit = Decimal(0)
        hedged = False
        if has.get("fetchPositionMode"):
            mode = await self._ask("account", self._client.fetch_position_mode, contract.symbol)
            hedged = bool(mode.get("hedged"))
        leverage = next((number(row, "leverage") for row in positions if row.get("leverage")), None)
        if leverage is None and has.get("fetchLeverage"):
            row = await self._ask("account", self._client.fetch_leverage, contract.symbol)
            leverage = number(row, "longLeverage")
        return AccountState(
            equity=number(balance, "total") + profit,
            available=number(balance, "free"),
            leverage=leverage or Decimal(1),
            hedge_mode=hedged,
            can_withdraw=None,
            clock_offset_ns=self._clock.offset_ns,
        )

    async def _positions(self, contract: Contract) -> list[Row]:
        rows = await self._ask("position", self._client.fetch_positions, [contract.symbol])
        return [row for row in rows if row.get("symbol") == contract.symbol]

    async def fetch_position(self, instrument: Instrument) -> Position:
        self._private("position")
        contract = self._contract(instrument)
        held = [row for row in await self._positions(contract) if number(row, "contracts")]
        if len(held) > 1:
            raise PositionModeMismatch(
                "the account holds both sides: switch it to one-way mode", venue=self.name
            )
        if not held:
            mark = await self._mark(contract) or await self._middle(contract)
            return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)
        (row,) = held
        lots = round(number(row, "contracts") / contract.parts["amount_step"])
        liquidation = number(row, "liquidationPrice")
        mark = number(row, "markPrice") or await self._mark(contract)
        return Position(
            qty_lots=Lots(-lots if row.get("side") == "short" else lots),
            entry_price=number(row, "entryPrice"),
            mark_price=mark,
            liquidation_price=liquidation if liquidation > 0 else None,
        )

    async def _mark(self, contract: Contract) -> Decimal:
        if not self._client.has.get("fetchFundingRate"):
            return Decimal(0)
        row = await self._ask("mark", self._client.fetch_funding_rate, contract.symbol)
        return number(row, "markPrice")

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        self._private("open_orders")
        contract = self._contract(instrument)
        rows = await self._ask("open_orders", self._client.fetch_open_orders, contract.symbol)
        reports = [self._report(row, contract) for row in rows]
        return sorted(reports, key=lambda report: report.ts_venue_ns)

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        """By the exchange's id where it is known, by ours, and at last among its latest orders."""
        self._private("order")
        contract, client = self._contract(instrument), self._client
        venue_id, wire_id = self._venue_ids.get(client_order_id), self._ids.encode(client_order_id)
        try:
            if venue_id is not None:
                row = await self._ask("order", client.fetch_order, venue_id, contract.symbol)
            else:
                by_ours = {"clientOrderId": wire_id, "origClientOrderId": wire_id}
                row = await self._ask("order", client.fetch_order, None, contract.symbol, by_ours)
        except OutcomeUnknown:
            raise
        except VenueError as error:
            found = await self._among_latest(contract, wire_id)
            if found is not None:
                return found
            if isinstance(error, OrderNotFound):
                raise
            raise OrderNotFound(error.message, venue=self.name, operation="order") from None
        return self._report(row, contract)

    async def _among_latest(self, contract: Contract, wire_id: str) -> OrderReport | None:
        has, client = self._client.has, self._client
        for name, method in (
            ("fetchOpenOrders", client.fetch_open_orders),
            ("fetchOrders", client.fetch_orders),
            ("fetchClosedOrders", client.fetch_closed_orders),
        ):
            if has.get(name) is not True:
                continue
            for row in await self._ask("order", method, contract.symbol):
                if text(row, "clientOrderId") == wire_id:
                    return self._report(row, contract)
        return None

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        """Page by page, each from the time of the last trade of the one before; from weeks ago on, week by week, for
        exchanges that answer for a week at a time."""
        self._private("fills")
        contract, client = self._contract(instrument), self._client
        now_ms = self._clock.now_ms()
        since_ms = max(since_ns // NS_PER_MS, now_ms - HISTORY_MS)
        rows: dict[str, Row] = {}
        while since_ms <= now_ms:
            page = await self._ask("fills", client.fetch_my_trades, contract.symbol, since_ms, PAGE)
            rows |= {text(row, "id"): row for row in page}
            last_ms = max((int(row["timestamp"]) for row in page), default=0)
            if len(page) >= PAGE:
                since_ms = max(last_ms, since_ms + 1)
            elif since_ms + WEEK_MS > now_ms:
                break
            else:
                since_ms += WEEK_MS
        await self._owners.learn(
            [(text(row, "order"), time_ns(row)) for row in rows.values()],
            now_ns=self._clock.now_ns(),
            ask=lambda order_id: self._owner(order_id, contract),
        )
        fills = [
            parse_fill(row, contract, self._owners.of(text(row, "order"))) for row in rows.values()
        ]
        fills.sort(key=lambda fill: fill.ts_venue_ns)
        return [fill for fill in fills if fill.ts_venue_ns >= since_ns]

    async def _owner(self, order_id: str, contract: Contract) -> tuple[str, ClientOrderId | None]:
        row = await self._ask("fills", self._client.fetch_order, order_id, contract.symbol)
        return order_id, self._ids.decode(text(row, "clientOrderId"))

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        market = self._market_of(symbol)
        if market is None or interval_s not in INTERVALS:
            return []
        rows = await self._ask(
            "candles", self._client.fetch_ohlcv, market, INTERVALS[interval_s], None, limit
        )
        now_ns = self._clock.now_ns()
        return [parse_candle(row, symbol, interval_s, now_ns) for row in rows][-limit:]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        symbol = self._contract(instrument).symbol
        if not self._client.has.get("fetchFundingRate"):
            return Decimal(0)
        row = await self._ask("funding_rate", self._client.fetch_funding_rate, symbol)
        return number(row, "fundingRate")

    def _market_of(self, symbol: str) -> str | None:
        return next(
            (
                str(row["symbol"])
                for row in self._client.markets.values()
                if row.get("swap")
                and row.get("linear")
                and f"{row['base']}{row['quote']}" == symbol
            ),
            None,
        )

    def _report(self, row: Row, contract: Contract) -> OrderReport:
        report = parse_order(row, contract, self._ids)
        if report.venue_order_id:
            self._owners.remember(report.venue_order_id, report.client_order_id)
            if report.client_order_id is not None:
                self._venue_ids[report.client_order_id] = report.venue_order_id
                if len(self._venue_ids) > SEEN_MAX:
                    del self._venue_ids[next(iter(self._venue_ids))]
        return report

    # -- orders --------------------------------------------------------------------------------------

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Awaitable[list[Outcome]]:
        return self._tasks.own(self._each([self._place(instrument, order) for order in orders]))

    def cancel(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Awaitable[list[Outcome]]:
        return self._tasks.own(self._each([self._cancel(instrument, order) for order in orders]))

    async def _each(self, work: Sequence[Awaitable[OrderReport | None]]) -> list[Outcome]:
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, VenueError):
                raise outcome
        return [
            each
            for each in outcomes
            if not isinstance(each, BaseException) or isinstance(each, VenueError)
        ]

    async def _place(self, instrument: Instrument, order: NewOrder) -> OrderReport:
        self._private("place")
        contract = self._contract(instrument)
        wire_id = self._ids.encode(order.client_order_id)
        params: dict[str, object] = {"clientOrderId": wire_id}
        if order.post_only:
            params["postOnly"] = True
        if order.reduce_only:
            params["reduceOnly"] = True
        if order.time_in_force is TimeInForce.IOC:
            params["timeInForce"] = "IOC"
        row = await self._ask(
            "place",
            self._client.create_order,
            contract.symbol,
            "limit",
            order.side.name.lower(),
            float(contract.qty.format(order.qty_lots)),
            float(contract.price.format(order.price_ticks)),
            params,
        )
        venue_id = text(row, "id")
        self._owners.remember(venue_id, order.client_order_id)
        self._venue_ids[order.client_order_id] = venue_id
        if row.get("status") is None or row.get("amount") is None:
            return OrderReport(
                client_order_id=order.client_order_id,
                venue_order_id=venue_id,
                side=order.side,
                price_ticks=order.price_ticks,
                qty_lots=order.qty_lots,
                filled_lots=Lots(0),
                status=OrderStatus.OPEN,
                reduce_only=order.reduce_only,
                ts_venue_ns=time_ns(row),
            )
        report = self._report({**row, "clientOrderId": wire_id}, contract)
        if (report.qty_lots, report.price_ticks) != (order.qty_lots, order.price_ticks):
            raise MalformedMessage(
                f"asked for {order.qty_lots} lots at {order.price_ticks} ticks, the answer says otherwise",
                venue=self.name,
                operation="place",
            )
        return report

    async def _cancel(self, instrument: Instrument, order: OrderRef) -> OrderReport | None:
        self._private("cancel")
        contract = self._contract(instrument)
        venue_id = order.venue_order_id or self._venue_ids.get(order.client_order_id)
        wire_id = self._ids.encode(order.client_order_id)
        params = {} if venue_id else {"clientOrderId": wire_id, "origClientOrderId": wire_id}
        row = await self._ask(
            "cancel", self._client.cancel_order, venue_id or None, contract.symbol, params
        )
        if row.get("status") is None or row.get("amount") is None:
            return None
        return self._report(row, contract)

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        confirming = self._tasks.own(self._confirm(contract, listener))
        heard: dict[str, None] = {}
        self._listening[contract.symbol] += 1
        try:
            await self._listen(
                "watchTrades",
                lambda: self._client.watch_trades(contract.symbol),
                lambda: self._client.fetch_trades(contract.symbol, None, 50),
                lambda rows: self._hear_trades(rows, contract, listener, heard),
                listener,
                cached=lambda: (self._client.trades or {}).get(contract.symbol) or (),
                poll_s=POLL_S,
            )
        finally:
            confirming.cancel()
            self._listening[contract.symbol] -= 1
            if not self._listening[contract.symbol]:
                await self._leave("un_watch_trades", contract.symbol)

    async def _leave(self, method: str, symbol: str) -> None:
        leave = getattr(self._client, method, None)
        if leave is not None and self._client.has.get("unWatchTrades") is not False:
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await leave(symbol)

    def _hear_trades(
        self,
        rows: Sequence[Row],
        contract: Contract,
        listener: PriceListener,
        heard: dict[str, None],
    ) -> None:
        local_ns = self._clock.local_ns()
        for row in rows:
            trade_id = text(row, "id")
            if trade_id and not first_time(heard, trade_id):
                continue
            price = parse_ticks(row, "price", contract)
            if price > 0:
                listener.on_price(price, time_ns(row), local_ns)

    async def _confirm(self, contract: Contract, listener: PriceListener) -> None:
        """The middle of the best bid and offer, asked for regularly."""
        if not self.capabilities.confirming_price:
            return
        while True:
            with suppress(VenueError):
                middle = await self._middle(contract)
                if middle:
                    now_ns = self._clock.local_ns()
                    ticks = Ticks(int(middle / contract.instrument.tick_size))
                    listener.on_confirming_price(ticks, now_ns, now_ns)
            await asyncio.sleep(POLL_S)

    async def _middle(self, contract: Contract) -> Decimal:
        """Between the best bid and offer; 0 when one is missing."""
        book = await self._ask("book", self._client.fetch_order_book, contract.symbol, 5)
        bid, ask = (number({"best": best(book.get(side))}, "best") for side in ("bids", "asks"))
        return (bid + ask) / 2 if bid and ask else Decimal(0)

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        if interval_s not in INTERVALS:
            raise ConfigError(f"{self.name} has no candles of {interval_s} s")
        markets = {symbol: market for symbol in symbols if (market := self._market_of(symbol))}
        if not markets:
            await asyncio.Event().wait()
        counted = Counted(listener, len(markets))
        await asyncio.gather(
            *(
                self._listen(
                    "watchOHLCV",
                    lambda market=market: self._client.watch_ohlcv(market, INTERVALS[interval_s]),  # type: ignore[misc]
                    lambda market=market: self._client.fetch_ohlcv(
                        market, INTERVALS[interval_s], None, 2
                    ),  # type: ignore[misc]
                    Bars(symbol, interval_s, listener, self._clock.now_ns).hear,
                    counted,
                    poll_s=CANDLE_POLL_S,
                )
                for symbol, market in markets.items()
            )
        )

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        self._private("orders")
        contract = self._contract(instrument)
        with self._order_feeds.joined(instrument.name, contract, listener):
            await self._listen(
                "watchOrders",
                lambda: self._client.watch_orders(contract.symbol),
                lambda: self._changed_orders(contract),
                lambda rows: self._hear_orders(rows, contract),
                listener,
                cached=lambda: self._client.orders or (),
                poll_s=POLL_S,
            )

    async def _changed_orders(self, contract: Contract) -> list[Row]:
        """Open orders, and those that were open when they were last asked for."""
        rows: list[Row] = await self._client.fetch_open_orders(contract.symbol)
        there = {text(row, "id") for row in rows}
        for order_id, (status, _) in list(self._told.items()):
            if status is OrderStatus.OPEN and order_id not in there:
                rows.append(await self._client.fetch_order(order_id, contract.symbol))
        return rows

    async def _hear_orders(self, rows: Sequence[Row], contract: Contract) -> None:
        name = contract.instrument.name
        for row in rows:
            if row.get("symbol") not in (None, contract.symbol):
                continue
            report = self._report(row, contract)
            status, filled = self._told.get(report.venue_order_id, (None, 0))
            if filled > report.filled_lots or (status, filled) == (
                report.status,
                report.filled_lots,
            ):
                continue
            local_ns = self._clock.local_ns()
            if status is None and (report.filled_lots or report.status is not OrderStatus.OPEN):
                opened = replace_report(report, OrderStatus.OPEN, Lots(0), None)
                self._order_feeds.on_order(name, opened, local_ns)
            grown = report.filled_lots > filled
            if grown:
                filled = await self._tell_fills(report, contract, filled)
            ended = report.status not in (OrderStatus.OPEN, OrderStatus.FILLED)
            if ended or not grown or filled < report.filled_lots:
                self._order_feeds.on_order(name, report, self._clock.local_ns())
            self._told[report.venue_order_id] = (report.status, report.filled_lots)
            if len(self._told) > SEEN_MAX:
                del self._told[next(iter(self._told))]

    async def _tell_fills(self, report: OrderReport, contract: Contract, told: int) -> int:
        """The trades behind a grown quantity; those that are not listed yet are asked for again, shortly. Returns how
        much is told of now; what is missing then is told without a trade, and found when the account is compared."""
        name = contract.instrument.name
        since_ns = max(0, report.ts_venue_ns - 60_000 * NS_PER_MS)
        for delay_s in TRADE_RETRIES_S:
            await asyncio.sleep(delay_s)
            with suppress(VenueError):
                fills = await self.fetch_fills(contract.instrument, since_ns)
                for fill in fills:
                    mine = fill.venue_order_id == report.venue_order_id
                    if not mine or not first_time(self._told_trades, fill.trade_id):
                        continue
                    told += fill.qty_lots
                    whole = told >= report.qty_lots
                    status = OrderStatus.FILLED if whole else OrderStatus.OPEN
                    part = replace_report(report, status, Lots(told), fill)
                    self._order_feeds.on_order(name, part, self._clock.local_ns())
            if told >= report.filled_lots:
                break
        with suppress(VenueError):
            position = await self.fetch_position(contract.instrument)
            self._order_feeds.on_position(name, position, self._clock.local_ns())
        return told

    async def _listen(
        self,
        feature: str,
        watch: Callable[[], Awaitable[Any]],
        poll: Callable[[], Awaitable[Any]],
        hear: Callable[[Any], Any],
        listener: PriceListener | OrderListener | CandleListener | Counted,
        *,
        poll_s: float,
        cached: Callable[[], Sequence[Any]] = tuple,
    ) -> None:
        """Until cancelled: what comes is heard; what fails is said and tried again, later and later.

        ccxt wakes whoever waits with the first message and keeps what follows in a cache until the next one: so the
        cache is looked at once more when the next wait has begun, and nothing stays there unheard. A socket that is lost
        while nobody waits is opened anew without a word: so the sockets are compared with those that came up.
        """
        backoff, up = Backoff(self._rng), False
        came_up: list[Any] = []
        rows: Any = ()
        watching = bool(self._client.has.get(feature))
        while True:
            waiting: asyncio.Future[Any] = asyncio.ensure_future(watch() if watching else poll())
            try:
                if not up:
                    await self._until_connected(waiting)
                    if not waiting.done() or waiting.exception() is None:
                        up = True
                        came_up = self._sockets()
                        backoff.reset()
                        listener.stream_up()
                elif not self._are_there(came_up):
                    raise ConnectionError("a connection was lost between two messages")
                if watching:
                    await asyncio.sleep(0)
                    await self._hear(hear, rows := list(cached())[-CACHE_LOOK:])
                await self._hear(hear, rows := await waiting)
                if not watching:
                    await asyncio.sleep(poll_s)
            except MalformedMessage as error:
                self.malformed.keep(error, repr(rows)[:2000].encode())
                if up:
                    listener.stream_down(f"{self.name}: {error}")
                    up = False
            except asyncio.CancelledError:
                raise
            except Exception as caught:
                error_text = str(parse_error(caught, self._exchange, feature))
                if up:
                    up = False
                    listener.stream_down(error_text)
                await asyncio.sleep(backoff.next_s())
            finally:
                waiting.cancel()

    async def _until_connected(self, waiting: asyncio.Future[Any]) -> None:
        """Until it has an answer, or ccxt's sockets are open and have been for a moment."""
        for _ in range(round(self._timeout_s / UP_AFTER_S)):
            open_before = self._sockets_are_open()
            await asyncio.wait({waiting}, timeout=UP_AFTER_S)
            if waiting.done() or (open_before and self._sockets_are_open()):
                return

    def _sockets(self) -> list[Any]:
        by_url = getattr(self._client, "clients", None) or {}
        return [each for url, each in by_url.items() if "://" in url]

    def _are_there(self, came_up: list[Any]) -> bool:
        now = self._sockets()
        return all(any(each is other for other in now) for each in came_up)

    def _sockets_are_open(self) -> bool:
        clients = self._sockets()
        return bool(clients) and all(
            each.connected.done() and each.connected.exception() is None for each in clients
        )

    async def _hear(self, hear: Callable[[Any], Any], rows: Any) -> None:
        heard = hear(rows)
        if asyncio.iscoroutine(heard):
            await heard

    # -- funding -------------------------------------------------------------------------------------

    async def _read_funding(self, since_ns: int) -> list[Payment]:
        found = []
        for name, contract in list(self._contracts.items()):
            if name not in self._order_feeds.of:
                continue
            rows = await self._ask(
                "funding",
                self._client.fetch_funding_history,
                contract.symbol,
                since_ns // NS_PER_MS,
            )
            found += [
                Payment(
                    payment_id=text(row, "id") or str(row.get("timestamp")),
                    symbol=name,
                    amount=number(row, "amount"),
                    ts_venue_ns=time_ns(row),
                )
                for row in rows
            ]
        return found


class Counted:
    """Several streams told as one: up when all are, down with the first."""

    def __init__(self, listener: CandleListener, count: int) -> None:
        self._listener = listener
        self._count = count
        self._up = 0

    def stream_up(self) -> None:
        self._up += 1
        if self._up == self._count:
            self._listener.stream_up()

    def stream_down(self, reason: str) -> None:
        self._up -= 1
        if self._up == self._count - 1:
            self._listener.stream_down(reason)


class Bars:
    """Candles of one symbol: a bar is closed by the one that follows it."""

    def __init__(
        self, symbol: str, interval_s: int, listener: CandleListener, now_ns: Callable[[], int]
    ) -> None:
        self._symbol, self._interval_s = symbol, interval_s
        self._listener = listener
        self._now_ns = now_ns
        self._last: Candle | None = None

    def hear(self, rows: Sequence[list[Any]]) -> None:
        for row in sorted(rows, key=lambda each: each[0])[-2:]:
            candle = parse_candle(row, self._symbol, self._interval_s, self._now_ns())
            last = self._last
            if last is not None and candle.open_ts_ns < last.open_ts_ns:
                continue
            if candle != last:
                self._listener.on_candle(candle)
            self._last = candle


def first_time(seen: dict[str, None], what: str) -> bool:
    if what in seen:
        return False
    seen[what] = None
    if len(seen) > SEEN_MAX:
        del seen[next(iter(seen))]
    return True


def best(levels: Any) -> Any:
    return levels[0][0] if levels else None


def with_fees(instrument: Instrument, fees: Row) -> Instrument:
    return replace(instrument, maker_fee=number(fees, "maker"), taker_fee=number(fees, "taker"))


def replace_report(
    report: OrderReport, status: OrderStatus, filled: Lots, fill: Fill | None
) -> OrderReport:
    return replace(report, status=status, filled_lots=filled, fill=fill, end_reason=None)


def open_client(
    exchange: str, credentials: Credentials, endpoints: Endpoints, timeout_s: float
) -> Any:
    """ccxt's client, which opens its connections later. Raises ConfigError for an id that ccxt does not know."""
    import ccxt.async_support
    import ccxt.pro

    known = [*ccxt.pro.exchanges, *ccxt.async_support.exchanges]
    if exchange not in known:
        near = get_close_matches(exchange, known, n=1, cutoff=0.6)
        raise ConfigError(
            f"exchange: ccxt does not know {exchange!r}"
            + (f"; did you mean ccxt:{near[0]}?" if near else "")
        )
    module = ccxt.pro if exchange in ccxt.pro.exchanges else ccxt.async_support
    client = getattr(module, exchange)(
        {
            "apiKey": credentials.api_key,
            "secret": credentials.api_secret,
            "password": credentials.passphrase,
            "enableRateLimit": True,
            "timeout": round(timeout_s * 1000),
            "options": {"defaultType": "swap", "adjustForTimeDifference": True},
        }
    )
    client.has["fetchCurrencies"] = False
    if endpoints.demo:
        demo = getattr(client, "enable_demo_trading", None)
        try:
            (demo or client.set_sandbox_mode)(True)
        except Exception as error:
            raise ConfigError(
                f"testnet: ccxt:{exchange} has none that ccxt can reach: {error}"
            ) from None
    client.urls["api"] = redirected(client.urls["api"], endpoints.rest_url, endpoints.ws_public_url)
    return client


def make(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    *,
    exchange: str,
    timeout_s: float = 10.0,
    **_: Any,
) -> Ccxt:
    """Parts of other adapters (`timing`, `dial`, `dead_man_s`) mean nothing here."""
    return Ccxt(credentials, endpoints, bot_tag, clock, rng, exchange=exchange, timeout_s=timeout_s)
