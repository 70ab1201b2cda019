"""One account at Backpack: what waits for the venue, and what hears it."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

from marketmaker.adapters.backpack.build import Signer, build_order, build_subscribe
from marketmaker.adapters.backpack.parse import (
    is_perpetual,
    is_tradable,
    name_of,
    parse_answer_error,
    parse_bar,
    parse_candle,
    parse_contract,
    parse_error,
    parse_fill,
    parse_micros,
    parse_order,
    parse_order_event,
    parse_position,
    parse_position_event,
    parse_utc,
)
from marketmaker.adapters.backpack.tables import (
    API,
    BASIS_POINT,
    CONTROL_GAP_S,
    FIRST_MESSAGE_S,
    FUNDING_POLL_S,
    HISTORY,
    INTERVALS,
    MAKER_FEE,
    OLDER_NS,
    ORDER_BURST,
    ORDERS_PER_S,
    PLACE_BATCH,
    PRIVATE_TOPICS,
    RECENT_ORDERS,
    REQUEST_LIFETIME_S,
    ROWS_PER_PAGE,
    SECONDS,
    TAKER_FEE,
    VENUE,
    Endpoints,
)
from marketmaker.adapters.backpack.wire import (
    Failure,
    FillRow,
    MarketRow,
    MarkRow,
    OrderRow,
    Trade,
    read_account,
    read_bar,
    read_batch_row,
    read_candles,
    read_collateral,
    read_fills,
    read_frame,
    read_funding,
    read_items,
    read_mark,
    read_markets,
    read_marks,
    read_order,
    read_order_event,
    read_orders,
    read_position_event,
    read_positions,
    read_time,
    read_trade,
)
from marketmaker.adapters.contract import Contract, not_tradable
from marketmaker.adapters.feeds import (
    CandleFeeds,
    OrderFeeds,
    PriceFeeds,
    hold_until_one_fails,
)
from marketmaker.adapters.frames import Malformed
from marketmaker.adapters.funding import Payment
from marketmaker.adapters.http import Answer
from marketmaker.adapters.memory import remember
from marketmaker.adapters.owners import Owners, Row
from marketmaker.adapters.parsing import (
    NOTHING,
    NS_PER_MS,
    malformed,
    parse_decimal,
    parse_ms,
    parse_one_of,
)
from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
    Turn,
)
from marketmaker.adapters.rest import Rest, no_key
from marketmaker.adapters.sessions import Sessions
from marketmaker.adapters.subscriptions import Subscriptions, Verb
from marketmaker.adapters.tasks import Tasks
from marketmaker.adapters.venue_clock import Clock, VenueClock
from marketmaker.adapters.websocket import Dial, Link, Session, Timing, share_turn
from marketmaker.errors import ConfigError, MalformedMessage, OrderNotFound, VenueError
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import IntegerForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import Credentials

Outcomes = list[OrderReport | VenueError]
Cancelled = list[OrderReport | VenueError | None]
Params = dict[str, Any]


class Backpack:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s` is taken for the sake of the others and means nothing here; `on_usage` is never called: this venue tells
    no usage. `malformed` keeps the last frames that broke the contract.
    """

    def __init__(
        self,
        credentials: Credentials,
        endpoints: Endpoints,
        bot_tag: str,
        clock: Clock,
        rng: random.Random,
        *,
        dead_man_s: float = 120.0,
        timeout_s: float = 10.0,
        timing: Timing | None = None,
        dial: Dial | None = None,
    ) -> None:
        self.on_usage: Callable[[int, int], None] = lambda used, limit: None
        self.malformed = Malformed(VENUE)
        self._now_ns = clock.now_ns
        self._ids = IntegerForm(bot_tag, 32)
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._services: list[asyncio.Task[None]] = []
        self._rows: dict[str, MarketRow] = {}
        self._names: dict[str, str] = {}
        self._contracts: dict[str, Contract] = {}
        self._told: OrderedDict[str, OrderReport] = OrderedDict()
        self._numbers: OrderedDict[ClientOrderId, str] = OrderedDict()
        self._owners = Owners(VENUE)
        self._price_feeds, self._candle_feeds = PriceFeeds(), CandleFeeds()
        self._order_feeds = OrderFeeds(self._read_funding, clock=self._clock, poll_s=FUNDING_POLL_S)
        self._rest = Rest(
            endpoints.rest_url,
            venue=VENUE,
            clock=self._clock,
            tasks=self._tasks,
            sign=self._signer.request,
            judge=self._judge,
            keyed=self._keyed,
            server_time=self._server_time,
            headers={"Content-Type": "application/json; charset=utf-8"},
            timeout_s=timeout_s,
        )
        self._price_topics, self._candle_topics = self._topics(), self._topics()
        self._private_topics = self._topics()
        self._private_topics.wanted.update(dict.fromkeys(PRIVATE_TOPICS))

        sessions = Sessions(VENUE, rng=rng, timing=timing, dial=dial)
        self._prices = sessions.make(
            "prices",
            endpoints.ws_public_url,
            topics=self._price_topics,
            feeds=self._price_feeds,
            on_message=self._hear_price,
        )
        self._candles = sessions.make(
            "candles",
            endpoints.ws_public_url,
            topics=self._candle_topics,
            feeds=self._candle_feeds,
            on_message=self._hear_candle,
        )
        self._private = sessions.make(
            "order stream",
            endpoints.ws_private_url or endpoints.ws_public_url,
            topics=self._private_topics,
            feeds=self._order_feeds,
            on_message=self._hear_private,
        )

    def _topics(self) -> Subscriptions:
        def build(verb: Verb, names: Sequence[str], number: int) -> bytes:
            ms = self._clock.now_ms()
            return build_subscribe(verb, names, number, signer=self._signer, ms=ms)

        return Subscriptions(
            build,
            first_message_s=lambda topic: FIRST_MESSAGE_S.get(topic.partition(".")[0]),
            gap_s=CONTROL_GAP_S,
            acknowledged=False,
        )

    @property
    def name(self) -> str:
        return VENUE

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            post_only=True,
            reduce_only=True,
            place_batch=PLACE_BATCH,
            cancel_batch=1,
            cancel_all=True,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=ORDERS_PER_S,
            order_burst=ORDER_BURST,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )

    @property
    def client_order_ids(self) -> IntegerForm:
        return self._ids

    def take_turns(self, turn: Turn) -> None:
        share_turn(turn, self._prices, self._private)

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Clock and instruments."""
        await self._rest.open()
        await self._rest.measure_clock()
        rows = read_markets(await self._rest.get(f"{API}/markets", operation="instruments"))
        self._rows = {name_of(row): row for row in rows if is_perpetual(row)}
        self._names = {row.symbol: name for name, row in self._rows.items()}
        if self._keyed:
            services = (self._rest.keep_time(), self._order_feeds.funding.run())
            self._services = [self._tasks.own(service) for service in services]

    async def close(self) -> None:
        await self._tasks.end()
        await self._rest.close()

    # -- questions -----------------------------------------------------------------------------------

    async def _ask(self, path: str, params: Params | None = None, *, operation: str) -> bytes:
        return await self._rest.signed("GET", path, params, operation=operation)

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = (each for each, row in self._rows.items() if is_tradable(row))
            standing = f"state {row.orderBookState}" if row else ""
            raise not_tradable(VENUE, name, known, standing)
        maker, taker = MAKER_FEE, TAKER_FEE
        if self._keyed:
            account = read_account(await self._ask(f"{API}/account", operation="fees"))
            maker = parse_decimal(account.futuresMakerFee) * BASIS_POINT
            taker = parse_decimal(account.futuresTakerFee) * BASIS_POINT
        contract = parse_contract(row, maker, taker)
        self._contracts[row.symbol] = contract
        return contract.instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        collateral = read_collateral(
            await self._ask(f"{API}/capital/collateral", operation="account")
        )
        account = read_account(await self._ask(f"{API}/account", operation="account"))
        return AccountState(
            equity=parse_decimal(collateral.netEquity),
            available=parse_decimal(collateral.netEquityAvailable),
            leverage=parse_decimal(account.leverageLimit),
            hedge_mode=False,
            can_withdraw=None,
            clock_offset_ns=self._clock.offset_ns,
        )

    async def fetch_position(self, instrument: Instrument) -> Position:
        """The venue may answer that it knows no position of a symbol that is flat."""
        contract = self._contract(instrument)
        try:
            body = await self._ask(
                f"{API}/position", {"symbol": contract.symbol}, operation="position"
            )
            position = parse_position(read_positions(body), contract)
        except OrderNotFound:
            position = None
        if position is not None:
            return position
        mark = parse_decimal((await self._mark(contract)).markPrice)
        return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)

    async def _mark(self, contract: Contract) -> MarkRow:
        params = {"symbol": contract.symbol}
        rows = read_marks(await self._rest.get(f"{API}/markPrices", params, operation="mark_price"))
        row = next((row for row in rows if row.symbol == contract.symbol), None)
        if row is None:
            raise malformed(f"no mark price of {contract.symbol}")
        return row

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        contract = self._contract(instrument)
        params = {"symbol": contract.symbol, "marketType": "PERP"}
        rows = read_orders(await self._ask(f"{API}/orders", params, operation="open_orders"))
        return [self._report(row, contract) for row in rows if row.symbol == contract.symbol]

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        """Among the resting ones, then by its number in the history, then among the recent ones."""
        contract = self._contract(instrument)
        wire_id = int(self._ids.encode(client_order_id))
        params = {"symbol": contract.symbol, "clientId": wire_id}
        with suppress(OrderNotFound):
            body = await self._ask(f"{API}/order", params, operation="order")
            return self._report(read_order(body), contract)
        where: Params = {"symbol": contract.symbol, "limit": RECENT_ORDERS}
        number = self._numbers.get(client_order_id)
        if number is not None:
            where["orderId"] = number
        rows = read_orders(await self._ask(f"{HISTORY}/orders", where, operation="order"))
        for row in rows:
            if row.id == number or row.clientId == wire_id:
                return self._report(row, contract)
        raise OrderNotFound("no such order", venue=VENUE, operation="order")

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        contract, offset = self._contract(instrument), 0
        rows: dict[int, FillRow] = {}
        while True:
            params: Params = {
                "symbol": contract.symbol,
                "from": since_ns // NS_PER_MS,
                "limit": ROWS_PER_PAGE,
                "offset": offset,
                "sortDirection": "Asc",
            }
            page = read_fills(await self._ask(f"{HISTORY}/fills", params, operation="fills"))
            rows.update({row.tradeId: row for row in page})
            if len(page) < ROWS_PER_PAGE:
                break
            offset += ROWS_PER_PAGE
        await self._learn_owners(contract, rows.values())
        fills = []
        for _, row in sorted(rows.items()):
            if row.clientId is None and (owner := self._owners.of(row.orderId)) is not None:
                row.clientId = self._ids.encode(owner)
            fills.append(parse_fill(row, contract, self._ids))
        return [fill for fill in fills if fill.ts_venue_ns >= since_ns]

    async def _learn_owners(self, contract: Contract, rows: Iterable[FillRow]) -> None:
        """Whose the orders are of which the history tells no client id."""

        async def ask(order_id: str) -> Row:
            params: Params = {"symbol": contract.symbol, "orderId": order_id}
            found = read_orders(await self._ask(f"{HISTORY}/orders", params, operation="fills"))
            if not found:
                raise OrderNotFound("no such order", venue=VENUE, operation="fills")
            return order_id, self._report(found[0], contract).client_order_id

        await self._owners.learn(
            [(row.orderId, parse_utc(row.timestamp)) for row in rows if row.clientId is None],
            now_ns=self._clock.now_ns(),
            ask=ask,
        )

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """None of a symbol or an interval the venue does not have."""
        row = self._rows.get(symbol)
        if row is None or interval_s not in INTERVALS:
            return []
        venue_ns = self._clock.now_ns()
        params: Params = {
            "symbol": row.symbol,
            "interval": INTERVALS[interval_s],
            "startTime": venue_ns // 1_000_000_000 - limit * interval_s,
        }
        candles = read_candles(await self._rest.get(f"{API}/klines", params, operation="candles"))
        told = [parse_candle(each, symbol, interval_s, venue_ns) for each in candles]
        return sorted(told, key=lambda candle: candle.open_ts_ns)[-limit:]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return parse_decimal((await self._mark(self._contract(instrument))).fundingRate)

    def _contract(self, instrument: Instrument) -> Contract:
        row = self._rows[instrument.name]
        if row.symbol not in self._contracts:
            fees = instrument.maker_fee, instrument.taker_fee
            self._contracts[row.symbol] = parse_contract(row, *fees)
        return self._contracts[row.symbol]

    def _report(self, row: OrderRow, contract: Contract) -> OrderReport:
        return self._remember(parse_order(row, contract, self._ids))

    def _remember(self, report: OrderReport) -> OrderReport:
        """Events leave out what they think is known, and only the venue's number finds an order that has ended."""
        remember(self._told, report.venue_order_id, report)
        self._owners.remember(report.venue_order_id, report.client_order_id)
        if report.client_order_id is not None:
            remember(self._numbers, report.client_order_id, report.venue_order_id)
        return report

    async def _server_time(self) -> int:
        return parse_ms(read_time(await self._rest.get(f"{API}/time", operation="time")))

    # -- orders --------------------------------------------------------------------------------------

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Awaitable[Outcomes]:
        return self._tasks.own(self._place(self._contract(instrument), orders))

    async def _place(self, contract: Contract, orders: Sequence[NewOrder]) -> Outcomes:
        rows = [
            build_order(order, contract, self._ids.encode(order.client_order_id))
            for order in orders
        ]
        outcomes: Outcomes = []
        for start in range(0, len(rows), PLACE_BATCH):
            share = rows[start : start + PLACE_BATCH]
            try:
                outcomes += await self._place_share(contract, share)
            except VenueError as error:
                outcomes += [error] * len(share)
        return outcomes

    async def _place_share(self, contract: Contract, rows: Sequence[Params]) -> Outcomes:
        if len(rows) == 1:
            body = await self._rest.signed("POST", f"{API}/order", rows[0], operation="place")
            return [self._report(read_order(body), contract)]
        body = await self._rest.signed("POST", f"{API}/orders", list(rows), operation="place")
        items = read_items(body)
        if len(items) != len(rows):
            raise malformed(f"{len(items)} answers to {len(rows)} orders")
        outcomes: Outcomes = []
        for item in items:
            row = read_batch_row(bytes(item))
            if row.operation == "Ok":
                outcomes.append(self._report(read_order(bytes(item)), contract))
            else:
                error = parse_error(Failure(code=row.code, message=row.message), "place")
                self._rest.heed(error)
                outcomes.append(error)
        return outcomes

    def cancel(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Awaitable[Cancelled]:
        return self._tasks.own(self._cancel(self._contract(instrument), orders))

    async def _cancel(self, contract: Contract, orders: Sequence[OrderRef]) -> Cancelled:
        return list(await asyncio.gather(*(self._cancel_one(contract, each) for each in orders)))

    async def _cancel_one(self, contract: Contract, order: OrderRef) -> OrderReport | VenueError:
        params: Params = {"symbol": contract.symbol}
        number = order.venue_order_id or self._numbers.get(order.client_order_id)
        if number:
            params["orderId"] = number
        else:
            params["clientId"] = int(self._ids.encode(order.client_order_id))
        try:
            body = await self._rest.signed("DELETE", f"{API}/order", params, operation="cancel")
            return self._report(read_order(body), contract)
        except VenueError as error:
            return error

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every resting limit order of the instrument, foreign ones too."""
        params = {"symbol": self._contract(instrument).symbol}
        await self._rest.signed("DELETE", f"{API}/orders", params, operation="cancel_all")

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        names = [f"trade.{contract.symbol}", f"markPrice.{contract.symbol}"]
        await self._price_feeds.follow(
            contract, names, listener, session=self._prices, topics=self._price_topics
        )

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        """Symbols the venue does not have stay silent. Raises ConfigError for an interval it does not have."""
        if interval_s not in INTERVALS:
            raise ConfigError(f"{VENUE} has no candles of {interval_s} s")
        interval = INTERVALS[interval_s]
        names = {
            symbol: f"kline.{interval}.{self._rows[symbol].symbol}"
            for symbol in symbols
            if symbol in self._rows
        }
        await self._candle_feeds.follow(
            names, interval_s, listener, session=self._candles, topics=self._candle_topics
        )

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        if not self._keyed:
            raise no_key(VENUE, "orders")
        contract = self._contract(instrument)
        with self._order_feeds.joined(contract.symbol, contract, listener):
            if self._private.up:
                listener.stream_up()
            mine = [self._tasks.own(self._private.hold())]
            await hold_until_one_fails(mine, self._services)

    def _refused(self, session: Session, link: Link, error: bytes) -> None:
        """The only answer to a subscription there is."""
        text = error[:200].decode("utf-8", "replace")
        session.fail(link, f"subscription refused: {text}")

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            trade = self._trade_of(link, message, ts_local_ns)
            feed = None if trade is None else self._price_feeds.of.get(trade.s)
            if trade is None or feed is None:
                return
            price, ts_venue_ns = Ticks(feed.contract.price.parse(trade.p)), parse_micros(trade.T)
            if price <= 0:
                raise malformed("a trade without a price")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._price_topics.heard(link, f"trade.{trade.s}")
        if 0 < feed.last_ns - ts_venue_ns < OLDER_NS:
            return
        feed.last_ns = ts_venue_ns
        for listener in feed.listeners:
            listener.on_price(price, ts_venue_ns, ts_local_ns)

    def _trade_of(self, link: Link, message: bytes, ts_local_ns: int) -> Trade | None:
        """The trade that the message tells of; anything else is heard here."""
        frame = read_frame(message)
        if frame.error != NOTHING:
            self._refused(self._prices, link, bytes(frame.error))
            return None
        match frame.stream.partition(".")[0]:
            case "trade":
                return read_trade(message).data
            case "markPrice":
                mark = read_mark(bytes(frame.data))
                feed = self._price_feeds.of.get(mark.s)
                if feed is not None:
                    price, ts_venue_ns = feed.contract.price.near(mark.p), parse_micros(mark.E)
                    if price <= 0:
                        raise malformed("a mark price of nothing")
                    feed.mark = parse_decimal(mark.p)
                    self._price_topics.heard(link, f"markPrice.{mark.s}")
                    feed.confirm(price, ts_venue_ns, ts_local_ns)
            case kind:
                raise malformed(f"unknown stream {kind[:40]!r}")
        return None

    def _hear_candle(self, link: Link, message: bytes) -> None:
        try:
            frame = read_frame(message)
            if frame.error != NOTHING:
                self._refused(self._candles, link, bytes(frame.error))
                return
            kind, _, rest = frame.stream.partition(".")
            interval, _, symbol = rest.partition(".")
            if kind != "kline":
                raise malformed(f"unknown stream {frame.stream[:40]!r}")
            name, interval_s = self._names.get(symbol), parse_one_of(SECONDS, interval, "interval")
            if name is None:
                return
            candle = parse_bar(read_bar(bytes(frame.data)), name, interval_s)
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._candle_topics.heard(link, frame.stream)
        self._candle_feeds.hear(candle)

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        try:
            frame = read_frame(message)
            if frame.error != NOTHING:
                self._refused(self._private, link, bytes(frame.error))
                return
            data = bytes(frame.data)
            if frame.stream.startswith("account.orderUpdate"):
                self._hear_order(data, ts_local_ns)
            elif frame.stream.startswith("account.positionUpdate"):
                self._hear_position(data, ts_local_ns)
            else:
                raise malformed(f"unknown stream {frame.stream[:40]!r}")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            self._order_feeds.doubt(error)

    def _hear_order(self, data: bytes, ts_local_ns: int) -> None:
        event = read_order_event(data)
        contract = self._order_feeds.contract_of(event.s)
        if contract is None:
            return
        report = parse_order_event(event, contract, self._ids, self._told.get(event.i))
        self._remember(report)
        self._order_feeds.on_order(event.s, report, ts_local_ns)

    def _hear_position(self, data: bytes, ts_local_ns: int) -> None:
        event = read_position_event(data)
        contract = self._order_feeds.contract_of(event.s)
        if contract is not None:
            position = parse_position_event(event, contract)
            self._order_feeds.on_position(event.s, position, ts_local_ns)

    # -- housekeeping --------------------------------------------------------------------------------

    async def _read_funding(self, since_ns: int) -> list[Payment]:
        """The newest first, so far as they are not older than that."""
        found: list[Payment] = []
        offset = 0
        while True:
            params: Params = {"limit": ROWS_PER_PAGE, "offset": offset}
            rows = read_funding(await self._ask(f"{HISTORY}/funding", params, operation="funding"))
            for row in rows:
                ts_venue_ns = parse_utc(row.intervalEndTimestamp)
                if ts_venue_ns >= since_ns:
                    found.append(
                        Payment(
                            payment_id=f"{row.symbol}-{row.intervalEndTimestamp}",
                            symbol=row.symbol,
                            amount=parse_decimal(row.quantity),
                            ts_venue_ns=ts_venue_ns,
                        )
                    )
            if len(rows) < ROWS_PER_PAGE or len(found) < offset + len(rows):
                return found[::-1]
            offset += ROWS_PER_PAGE

    def _judge(self, answer: Answer, operation: str) -> VenueError | None:
        return parse_answer_error(answer, operation)


def make(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    **parts: Any,
) -> Backpack:
    """`LIVE`, or endpoints of your own; `parts`: see `Backpack`."""
    return Backpack(credentials, endpoints, bot_tag, clock, rng, **parts)
