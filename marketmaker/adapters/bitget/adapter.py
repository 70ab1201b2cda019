"""One account at Bitget: what waits for the venue, and what hears it."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any

from marketmaker.adapters.bitget.build import Signer, build_subscribe, build_topic
from marketmaker.adapters.bitget.classic import Classic
from marketmaker.adapters.bitget.generation import Deed, Generation, Page, Question
from marketmaker.adapters.bitget.parse import (
    by_client_id,
    is_tradable,
    parse_answer_error,
    parse_candle,
    parse_candle_channel,
    parse_error,
    parse_instrument,
    parse_placed,
    parse_trade_report,
    refusal_of,
)
from marketmaker.adapters.bitget.tables import (
    ARM_GAP_NS,
    BATCH,
    CANDLES_MAX,
    CONTROL_GAP_S,
    FIRST_MESSAGE_S,
    FUNDING_POLL_S,
    GOOD,
    HEARTBEAT_S,
    HISTORY_MS,
    INTERVALS,
    OLDER_NS,
    ORDER_BURST,
    ORDERS_PER_S,
    PRODUCT,
    REQUEST_LIFETIME_S,
    ROWS_PER_PAGE,
    SWITCH_LEAST_S,
    SWITCH_MOST_S,
    VENUE,
    WEEK_MS,
    Endpoints,
)
from marketmaker.adapters.bitget.unified import (
    Unified,
    build_cancel,
    build_place,
    most_together,
)
from marketmaker.adapters.bitget.wire import (
    Ack,
    ContractRow,
    Frame,
    Ticker,
    Trade,
    read_candles,
    read_contracts,
    read_envelope,
    read_fee_rates,
    read_frame,
    read_funding_rates,
    read_server_time,
    read_tickers,
    read_trades,
)
from marketmaker.adapters.contract import Contract, not_tradable
from marketmaker.adapters.dead_man import DeadMansSwitch
from marketmaker.adapters.feeds import (
    CandleFeeds,
    OrderFeeds,
    PriceFeeds,
    hold_until_one_fails,
)
from marketmaker.adapters.frames import Malformed
from marketmaker.adapters.funding import Payment
from marketmaker.adapters.logins import Logins
from marketmaker.adapters.memory import remember
from marketmaker.adapters.order_socket import Requests, Sent
from marketmaker.adapters.owners import Owners, Row
from marketmaker.adapters.parsing import NS_PER_MS, malformed, parse_decimal, parse_ms_text
from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
    Turn,
)
from marketmaker.adapters.rest import Rest, no_key
from marketmaker.adapters.sessions import Sessions
from marketmaker.adapters.subscriptions import Subscriptions
from marketmaker.adapters.tasks import Tasks
from marketmaker.adapters.venue_clock import Clock, VenueClock
from marketmaker.adapters.websocket import Dial, Link, Session, Timing, share_turn
from marketmaker.errors import (
    ConfigError,
    MalformedMessage,
    OrderNotFound,
    OutcomeUnknown,
    Rejected,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport, Side
from marketmaker.model.settings import Credentials

PONG = b"pong"
MARKET = "/api/v2/mix/market"
Outcomes = list[OrderReport | VenueError]
Cancelled = list[OrderReport | VenueError | None]
Params = dict[str, object]


class Bitget:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s`: after how long without a word from us the venue cancels every order of a unified account, between 5
    and 60; 0 leaves the switch alone. `malformed` keeps the last frames that broke the contract. `on_usage` is never
    called: this venue tells no usage.
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
        self.ids = TextForm(bot_tag)
        self._endpoints = endpoints
        self._timeout_s = timeout_s
        self._now_ns = clock.now_ns
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._services: list[asyncio.Task[None]] = []
        self._generation: Generation = Unified()
        self._rows: dict[str, ContractRow] = {}
        self._contracts: dict[str, Contract] = {}
        self._price_feeds, self._candle_feeds = PriceFeeds(), CandleFeeds()
        self._order_feeds = OrderFeeds(
            self._read_payments, clock=self._clock, poll_s=FUNDING_POLL_S
        )
        self._owners = Owners(VENUE)
        self._told: OrderedDict[str, OrderReport] = OrderedDict()
        self._traded: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._ending: OrderedDict[ClientOrderId, None] = OrderedDict()
        self._unfinished: dict[tuple[str, int], Candle] = {}
        self._funds_ns: dict[str, int] = {}
        self._armed_ns = 0
        self._rest = Rest(
            endpoints.rest_url,
            venue=VENUE,
            clock=self._clock,
            tasks=self._tasks,
            sign=self._signer.request,
            judge=parse_answer_error,
            keyed=self._keyed,
            server_time=self._server_time,
            headers={
                "Content-Type": "application/json",
                "locale": "en-US",
                **({"PAPTRADING": "1"} if endpoints.simulated == "1" else {}),
            },
            timeout_s=timeout_s,
        )
        self._logins = Logins(
            lambda: self._signer.login(self._clock.now_ms()), heed=self._rest.heed
        )
        self._requests = Requests(
            venue=VENUE, timeout_s=timeout_s, refused=self._rest.quiet.refusal
        )
        within_s = min(max(dead_man_s, SWITCH_LEAST_S), SWITCH_MOST_S) if dead_man_s else 0.0
        self._switch = DeadMansSwitch(
            self._arm, after_s=within_s, tasks=self._tasks, account_wide=True
        )
        self._price_topics, self._candle_topics, self._private_topics = topics(), topics(), topics()

        sessions = Sessions(
            VENUE,
            rng=rng,
            timing=timing or Timing(heartbeat_s=HEARTBEAT_S),
            dial=dial,
            ping=b"ping",
        )
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
            self._private_url,
            greet=self._logins.log_in,
            topics=self._private_topics,
            feeds=self._order_feeds,
            on_message=self._hear_private,
        )
        self._entry = sessions.make(
            "order entry",
            endpoints.ws_order_url or endpoints.ws_private_url,
            greet=self._logins.log_in,
            on_message=self._hear_reply,
            on_gone=self._requests.gone,
        )

    @property
    def name(self) -> str:
        return VENUE

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            post_only=True,
            reduce_only=True,
            place_batch=BATCH,
            cancel_batch=BATCH,
            cancel_all=True,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=ORDERS_PER_S,
            order_burst=ORDER_BURST,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )

    @property
    def client_order_ids(self) -> TextForm:
        return self.ids

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Clock and instruments; with a key also which generation the account is of, and, where orders go over it, the
        order socket, so that it is warm when it is needed."""
        await self._rest.open()
        await self._rest.measure_clock()
        params: Params = {"productType": PRODUCT}
        rows = read_contracts(await self._public("contracts", params, operation="instruments"))
        self._rows = {row.symbol: row for row in rows}
        if not self._keyed:
            return
        self._generation = await self._find_generation()
        self._private_topics.wanted.update(dict.fromkeys(self._generation.topics))
        services = [self._rest.keep_time(), self._order_feeds.funding.run()]
        if self._generation.over_socket:
            services.insert(0, self._entry.hold())
        self._services = [self._tasks.own(service) for service in services]

    async def _find_generation(self) -> Generation:
        """A unified account answers for its settings; a classic one refuses, but answers for its account. Raises the
        first refusal when neither does."""
        try:
            await self._ask("/api/v3/account/settings", {}, "account")
            return Unified()
        except Rejected as error:
            refusal = error
        try:
            await self._ask("/api/v2/mix/account/accounts", {"productType": PRODUCT}, "account")
            return Classic()
        except Rejected as error:
            raise refusal from error

    def take_turns(self, turn: Turn) -> None:
        share_turn(turn, self._prices, self._private, self._entry)

    async def close(self) -> None:
        """Switches the dead-man's switch off, then lets go of everything."""
        await self._switch.close(self._timeout_s / 2)
        await self._tasks.end()
        await self._rest.close()

    # -- questions -----------------------------------------------------------------------------------

    async def _public(self, path: str, params: Params | None = None, *, operation: str) -> bytes:
        return data_of(await self._rest.get(f"{MARKET}/{path}", params, operation=operation))

    async def _ask(self, path: str, params: Params, operation: str) -> bytes:
        return data_of(await self._rest.signed("GET", path, params, operation=operation))

    async def _ask_of(self, question: Question, operation: str) -> bytes:
        return await self._ask(question.path, question.params, operation)

    async def _do(self, deed: Deed, *, operation: str) -> bytes:
        body = await self._rest.signed("POST", deed.path, deed.params, operation=operation)
        return data_of(body)

    async def _pages(
        self, question: Question, read: Callable[[bytes], Page], *, operation: str
    ) -> AsyncIterator[Sequence[Any]]:
        """The rows of each page, to the last."""
        params = dict(question.params)
        while True:
            page = read(await self._ask(question.path, params, operation))
            yield page.rows
            if len(page.rows) < ROWS_PER_PAGE or not page.cursor:
                return
            params[self._generation.cursor] = page.cursor

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = (each for each, row in self._rows.items() if is_tradable(row))
            standing = f"status {row.symbolStatus}, {row.symbolType}" if row else ""
            raise not_tradable(VENUE, name, known, standing)
        fees = None
        if self._keyed:
            rates = read_fee_rates(await self._ask_of(self._generation.fees(name), "fees"))
            fees = parse_decimal(rates.makerFeeRate), parse_decimal(rates.takerFeeRate)
        instrument = parse_instrument(row, fees)
        self._contracts[name] = Contract(instrument)
        return instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        """`can_withdraw` is None: the venue does not say what a key may."""
        standing = await self._generation.standing(self._ask, self._contract(instrument))
        return AccountState(
            equity=standing.equity,
            available=standing.available,
            leverage=standing.leverage,
            hedge_mode=standing.hedge_mode,
            can_withdraw=None,
            clock_offset_ns=self._clock.offset_ns,
        )

    async def fetch_position(self, instrument: Instrument) -> Position:
        """A flat symbol has no row: its mark price is asked for then."""
        contract = self._contract(instrument)
        data = await self._ask_of(self._generation.position(contract), "position")
        position = self._generation.parse_position(data, contract)
        if position is not None:
            return position
        params: Params = {"productType": PRODUCT, "symbol": contract.symbol}
        tickers = read_tickers(await self._public("ticker", params, operation="ticker"))
        mark = parse_decimal(first(tickers, "ticker").markPrice)
        return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        """Newest first from the venue, page by page; oldest first from here."""
        contract, generation = self._contract(instrument), self._generation
        found: dict[str, OrderReport] = {}
        question = generation.open_orders(contract)
        async for rows in self._pages(
            question, generation.read_orders_page, operation="open_orders"
        ):
            for row in rows:
                report = self._noted(generation.parse_order(row, contract, self))
                found[report.venue_order_id] = report
        return list(found.values())[::-1]

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        contract, generation = self._contract(instrument), self._generation
        question = generation.order(contract, clientOid=self.ids.encode(client_order_id))
        row = generation.read_order(await self._ask_of(question, "order"))
        return self._noted(generation.parse_order(row, contract, self))

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        """A week in each request, newest first from the venue, page by page; oldest first from here."""
        contract, generation = self._contract(instrument), self._generation
        rows: list[Any] = []
        now_ms = self._clock.now_ms()
        start_ms = max(since_ns // NS_PER_MS, now_ms - HISTORY_MS)
        while start_ms <= now_ms:
            end_ms = start_ms + WEEK_MS
            question = generation.fills(contract, start_ms, end_ms)
            window: list[Any] = []
            async for page in self._pages(question, generation.read_fills_page, operation="fills"):
                window += page
            rows += reversed(window)
            start_ms = end_ms + 1
        await self._learn_owners(contract, generation.unnamed(rows))
        fills = [generation.parse_fill(row, contract, self) for row in rows]
        return sorted(
            {fill.trade_id: fill for fill in fills if fill.ts_venue_ns >= since_ns}.values(),
            key=lambda fill: fill.ts_venue_ns,
        )

    async def _learn_owners(self, contract: Contract, traded: Sequence[tuple[str, int]]) -> None:
        """Asks whose the orders were, where the trades do not say."""

        async def ask(order_id: str) -> Row:
            question = self._generation.order(contract, orderId=order_id)
            row = self._generation.read_order(await self._ask_of(question, "order"))
            report = self._generation.parse_order(row, contract, self)
            return report.venue_order_id, report.client_order_id

        await self._owners.learn(traded, now_ns=self._clock.now_ns(), ask=ask)

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """At most 1,000; none of a symbol or an interval the venue does not have."""
        if symbol not in self._rows or interval_s not in INTERVALS:
            return []
        params: Params = {
            "symbol": symbol,
            "productType": PRODUCT,
            "granularity": INTERVALS[interval_s],
            "limit": min(limit, CANDLES_MAX),
        }
        rows = read_candles(await self._public("candles", params, operation="candles"))
        venue_ns = self._clock.now_ns()
        candles = [parse_candle(row, symbol, interval_s, venue_ns) for row in rows]
        return sorted(candles, key=lambda candle: candle.open_ts_ns)[-limit:]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        params: Params = {"symbol": instrument.name, "productType": PRODUCT}
        rates = read_funding_rates(
            await self._public("current-fund-rate", params, operation="funding_rate")
        )
        return parse_decimal(first(rates, "funding rate").fundingRate)

    def _contract(self, instrument: Instrument) -> Contract:
        return self._contracts.get(instrument.name) or self._contracts.setdefault(
            instrument.name, Contract(instrument)
        )

    async def _server_time(self) -> int:
        body = await self._rest.get("/api/v2/public/time", operation="time")
        return parse_ms_text(read_server_time(data_of(body)).serverTime)

    # -- what is remembered (see generation.Reading) -------------------------------------------------

    def asked(self, client_order_id: ClientOrderId | None) -> bool:
        return client_order_id in self._ending

    def owner(self, venue_order_id: str) -> ClientOrderId | None:
        return self._owners.of(venue_order_id)

    def takes(self, symbol: str, side: Side, price_ticks: int) -> bool:
        feed = self._price_feeds.of.get(symbol)
        if feed is None or feed.mark is None:
            return False
        return (price_ticks * feed.contract.instrument.tick_size - feed.mark) * side >= 0

    def _noted(self, report: OrderReport) -> OrderReport:
        """A trade does not say how large its order is, nor always whose."""
        if report.venue_order_id:
            remember(self._told, report.venue_order_id, report)
            self._owners.remember(report.venue_order_id, report.client_order_id)
        return report

    # -- orders --------------------------------------------------------------------------------------

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Awaitable[Outcomes]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._place_by_rest(instrument, orders))
        contract = self._contract(instrument)
        ids = [self.ids.encode(order.client_order_id) for order in orders]
        return self._requests.send(
            contract,
            "place",
            link,
            len(orders),
            lambda first, last, number: build_place(
                orders[first:last], contract, ids[first:last], number=number
            ),
            most=most_together(orders),
            about=orders,
        )

    def cancel(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Awaitable[Cancelled]:
        for order in orders:
            remember(self._ending, order.client_order_id, None)
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._cancel_by_rest(instrument, orders))
        ids = [self.ids.encode(order.client_order_id) for order in orders]
        return self._requests.send(
            self._contract(instrument),
            "cancel",
            link,
            len(orders),
            lambda first, last, number: build_cancel(ids[first:last], number=number),
            most=BATCH,
            about=orders,
        )

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every order of the instrument, foreign ones too; that there are none is no refusal."""
        deed = self._generation.cancel_all(self._contract(instrument))
        with suppress(OrderNotFound):
            await self._do(deed, operation="cancel_all")

    def _hear_reply(self, link: Link, message: bytes) -> None:
        if message == PONG:
            return
        try:
            frame = read_frame(message)
            if self._hear_login(link, frame):
                return
            sent = self._requests.answered(frame.id)
            if sent is not None:
                sent.land(self._outcomes(sent, frame))
            elif frame.event == "error":
                self._rest.heed(parse_error(frame.code, frame.msg or "", "order entry"))
            elif frame.event != "trade":
                raise malformed("a reply to nothing")
        except MalformedMessage as error:
            self.malformed.keep(error, message)

    def _outcomes(self, sent: Sent, frame: Frame) -> Cancelled:
        """One for each order of the request; what the venue says of a whole request holds for each it does not name."""
        operation, asked = sent.flight.operation, sent.flight.about[sent.first : sent.last]
        whole = None
        if str(frame.code) not in GOOD:
            whole = parse_error(frame.code, frame.msg or "", operation)
            self._rest.heed(whole)
        try:
            acks = self._generation.acks(bytes(frame.args), len(asked)) if whole is None else []
        except MalformedMessage as error:
            return [error] * len(asked)
        return self._of_acks(acks, asked, operation, whole)

    def _of_acks(
        self,
        acks: Sequence[Ack],
        asked: Sequence[NewOrder | OrderRef],
        operation: str,
        whole: VenueError | None = None,
    ) -> Cancelled:
        """By client id: neither of the generations promises an order. A single answer may leave the id out."""
        named, outcomes = by_client_id(acks), []
        lone = acks[0] if len(acks) == len(asked) == 1 and not acks[0].clientOid else None
        for order in asked:
            ack = named.get(self.ids.encode(order.client_order_id), lone)
            outcome = whole or self._of_ack(ack, order, operation)
            if isinstance(outcome, VenueError):
                self._rest.heed(outcome)
            outcomes.append(outcome)
        return outcomes

    def _of_ack(
        self, ack: Ack | None, order: NewOrder | OrderRef, operation: str
    ) -> OrderReport | VenueError | None:
        if ack is None:
            silent = "the answer does not speak of this order"
            return OutcomeUnknown(silent, venue=VENUE, operation=operation)
        if (refusal := refusal_of(ack, operation)) is not None:
            return refusal
        if not isinstance(order, NewOrder):
            return None
        report = parse_placed(ack, order)
        if report.venue_order_id and report.venue_order_id not in self._told:
            self._noted(report)
        return report

    async def _place_by_rest(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Outcomes:
        contract, most = self._contract(instrument), most_together(orders)
        outcomes = await self._by_rest(
            lambda first, last, ids: self._generation.place(orders[first:last], contract, ids),
            orders,
            most if self._generation.over_socket else BATCH,
            operation="place",
        )
        return [each for each in outcomes if each is not None]

    async def _cancel_by_rest(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Cancelled:
        contract = self._contract(instrument)
        return await self._by_rest(
            lambda first, last, ids: self._generation.cancel(contract, ids),
            orders,
            BATCH,
            operation="cancel",
        )

    async def _by_rest(
        self,
        build: Callable[[int, int, Sequence[str]], Deed],
        orders: Sequence[NewOrder | OrderRef],
        most: int,
        *,
        operation: str,
    ) -> Cancelled:
        """One outcome for each order; one request's failure is its own."""
        outcomes: Cancelled = []
        for start in range(0, len(orders), most):
            asked = orders[start : start + most]
            ids = [self.ids.encode(order.client_order_id) for order in asked]
            try:
                data = await self._do(build(start, start + most, ids), operation=operation)
                acks = self._generation.acks(data, len(asked))
                outcomes += self._of_acks(acks, asked, operation)
            except VenueError as error:
                outcomes += [error] * len(asked)
        return outcomes

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        names = [build_topic(channel, contract.symbol) for channel in ("trade", "ticker")]
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
            symbol: build_topic(f"candle{interval}", symbol)
            for symbol in symbols
            if symbol in self._rows
        }
        try:
            await self._candle_feeds.follow(
                names, interval_s, listener, session=self._candles, topics=self._candle_topics
            )
        finally:
            for symbol in names:
                if (symbol, interval_s) not in self._candle_feeds.of:
                    self._unfinished.pop((symbol, interval_s), None)

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        """Also keeps the dead-man's switch armed, where the account has one."""
        if not self._keyed:
            raise no_key(VENUE, "orders")
        contract = self._contract(instrument)
        with self._order_feeds.joined(contract.symbol, contract, listener):
            if self._private.up:
                listener.stream_up()
            mine = [self._private.hold()]
            if self._generation.switch:
                mine.append(self._switch.keep_armed(contract.symbol))
            await hold_until_one_fails([self._tasks.own(each) for each in mine], self._services)

    async def _private_url(self) -> str:
        if self._generation.over_socket:
            return self._endpoints.ws_private_url
        return self._endpoints.ws_classic_url

    def _hear_login(self, link: Link, frame: Frame) -> bool:
        """Whether it was news of the login."""
        if frame.event not in ("login", "error") or not self._logins.awaited(link):
            return False
        good = frame.event == "login" and str(frame.code) in GOOD
        self._logins.answered(
            link, None if good else parse_error(frame.code, frame.msg or "", "login", status=401)
        )
        return True

    def _hear_control(
        self, topics: Subscriptions, session: Session, link: Link, frame: Frame
    ) -> None:
        """What is not data. Raises MalformedMessage for what is unknown."""
        match frame.event:
            case "subscribe" if frame.arg is not None:
                topics.answered_topic(link, frame.arg.name)
            case "error":
                refusal = f"refused: {str(frame.code)[:20]} {(frame.msg or '')[:200]}"
                if frame.arg is None:
                    session.fail(link, f"subscription {refusal}")
                else:
                    topics.answered_topic(link, frame.arg.name, f"subscription {refusal}")
            case "unsubscribe" | "login":
                pass
            case _:
                raise malformed(f"unknown event {frame.event[:40]!r}")

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            if message.startswith(b'{"action":"') and b'"channel":"trade"' in message[:90]:
                trades = read_trades(message)
            elif (heard := self._hear_other(link, message, ts_local_ns)) is not None:
                trades = heard
            else:
                return
            feed = self._price_feeds.of.get(trades.arg.instId)
            if feed is None or not trades.data:
                return
            last, ts_venue_ns = newest(trades.data)
            price = Ticks(feed.contract.price.parse(last.price))
            if price <= 0:
                raise malformed("a trade without a price")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        if link.silent:
            link.silent.pop(f"trade {trades.arg.instId}", None)
        if 0 < feed.last_ns - ts_venue_ns < OLDER_NS:
            return
        feed.last_ns = ts_venue_ns
        for listener in feed.listeners:
            listener.on_price(price, ts_venue_ns, ts_local_ns)

    def _hear_other(self, link: Link, message: bytes, ts_local_ns: int) -> Any:
        """Everything that does not begin as trades do; returns them where they are some after all."""
        if message == PONG:
            return None
        frame = read_frame(message)
        if frame.event or frame.arg is None:
            self._hear_control(self._price_topics, self._prices, link, frame)
            return None
        match frame.arg.channel:
            case "trade":
                return read_trades(message)
            case "ticker":
                for row in read_tickers(bytes(frame.data)):
                    self._hear_ticker(link, row, ts_local_ns)
                return None
            case channel:
                raise malformed(f"unknown channel {channel[:40]!r}")

    def _hear_ticker(self, link: Link, row: Ticker, ts_local_ns: int) -> None:
        feed = self._price_feeds.of.get(row.instId)
        if feed is None:
            return
        price, ts_venue_ns = feed.contract.price.near(row.markPrice), parse_ms_text(row.ts)
        funds_ns = parse_ms_text(row.nextFundingTime) if row.nextFundingTime else 0
        if price <= 0:
            raise malformed("a mark price of nothing")
        feed.mark = parse_decimal(row.markPrice)
        self._price_topics.heard(link, f"ticker {row.instId}")
        self._expect_funding(row.instId, funds_ns)
        feed.confirm(price, ts_venue_ns, ts_local_ns)

    def _expect_funding(self, symbol: str, next_ns: int) -> None:
        """No event tells of a payment; that the time of the next one has moved on does."""
        due_ns, self._funds_ns[symbol] = self._funds_ns.get(symbol, 0), next_ns
        if 0 < due_ns < next_ns and symbol in self._order_feeds.of:
            self._order_feeds.funding.paid(due_ns)

    def _hear_candle(self, link: Link, message: bytes) -> None:
        if message == PONG:
            return
        try:
            frame = read_frame(message)
            if frame.event or frame.arg is None:
                self._hear_control(self._candle_topics, self._candles, link, frame)
                return
            arg, venue_ns = frame.arg, self._clock.now_ns()
            interval_s = parse_candle_channel(arg.channel)
            candles = [
                parse_candle(row, arg.instId, interval_s, venue_ns)
                for row in read_candles(bytes(frame.data))
            ]
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._candle_topics.heard(link, arg.name)
        for candle in candles:
            self._tell_candle(candle)

    def _tell_candle(self, candle: Candle) -> None:
        """The first of a new candle also says that the one before it is closed."""
        key = (candle.symbol, candle.interval_s)
        if key not in self._candle_feeds.of:
            return
        before = self._unfinished.get(key)
        if before is not None and before.open_ts_ns < candle.open_ts_ns:
            del self._unfinished[key]
            self._candle_feeds.hear(replace(before, closed=True))
        if not candle.closed:
            self._unfinished[key] = candle
        self._candle_feeds.hear(candle)

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        if message == PONG:
            return
        try:
            frame = read_frame(message)
            if frame.event or frame.arg is None:
                if not self._hear_login(link, frame):
                    self._hear_control(self._private_topics, self._private, link, frame)
                return
            data = bytes(frame.data)
            match frame.arg.channel or frame.arg.topic:
                case "order" | "orders":
                    self._hear_orders(data, ts_local_ns)
                case "fill":
                    self._hear_fills(data, ts_local_ns)
                case "position" | "positions":
                    self._hear_positions(data, ts_local_ns)
                case "account":
                    pass
                case channel:
                    raise malformed(f"unknown channel {channel[:40]!r}")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            self._order_feeds.doubt(error)

    def _hear_orders(self, data: bytes, ts_local_ns: int) -> None:
        for symbol, report in self._generation.hear_orders(
            data, self._order_feeds.contract_of, self
        ):
            self._order_feeds.on_order(symbol, self._noted(report), ts_local_ns)

    def _hear_fills(self, data: bytes, ts_local_ns: int) -> None:
        for symbol, fill in self._generation.hear_fills(data, self._order_feeds.contract_of, self):
            trades = self._traded.get(fill.venue_order_id, {})
            trades[fill.trade_id] = fill.qty_lots
            remember(self._traded, fill.venue_order_id, trades)
            known = self._told.get(fill.venue_order_id)
            report = parse_trade_report(fill, known, sum(trades.values()))
            self._order_feeds.on_order(symbol, report, ts_local_ns)

    def _hear_positions(self, data: bytes, ts_local_ns: int) -> None:
        for symbol, position in self._generation.hear_positions(
            data, self._order_feeds.contract_of, self._mark_of
        ):
            self._order_feeds.on_position(symbol, position, ts_local_ns)

    def _mark_of(self, symbol: str) -> str:
        """As last told; "" when it was not."""
        feed = self._price_feeds.of.get(symbol)
        return "" if feed is None or feed.mark is None else f"{feed.mark:f}"

    # -- housekeeping --------------------------------------------------------------------------------

    async def _arm(self, symbol: str, after_s: float) -> None:
        """One call a second at most, whatever the number of symbols that need it."""
        now_ns = self._now_ns()
        if after_s and now_ns - self._armed_ns < ARM_GAP_NS:
            return
        self._armed_ns = now_ns
        params = {"countdown": str(round(after_s))}
        await self._do(
            Deed(path="/api/v3/trade/countdown-cancel-all", params=params), operation="dead_man"
        )

    async def _read_payments(self, since_ns: int) -> list[Payment]:
        generation = self._generation
        found: list[Payment] = []
        question = generation.payments(since_ns // NS_PER_MS)
        async for rows in self._pages(question, generation.read_payments_page, operation="funding"):
            told = [generation.parse_payment(row) for row in rows]
            found += [payment for payment in told if payment is not None]
        return found[::-1]


def topics() -> Subscriptions:
    """An answer names the topic it is about."""
    return Subscriptions(
        build_subscribe, first_message_s=first_message_s, most=10, gap_s=CONTROL_GAP_S
    )


def first_message_s(topic: str) -> float | None:
    channel = topic.partition(" ")[0]
    return FIRST_MESSAGE_S.get("candle" if channel.startswith("candle") else channel)


def newest(trades: Sequence[Trade]) -> tuple[Trade, int]:
    """Of trades newest first, as the venue sends them, or oldest first; with its time."""
    first, first_ns = trades[0], parse_ms_text(trades[0].ts)
    last, last_ns = trades[-1], parse_ms_text(trades[-1].ts)
    return (last, last_ns) if last_ns > first_ns else (first, first_ns)


def data_of(body: bytes) -> bytes:
    """What an answer that was judged good is about."""
    return bytes(read_envelope(body).data)


def first(rows: Sequence[Any], what: str) -> Any:
    if not rows:
        raise malformed(f"an answer without a {what}")
    return rows[0]


def make(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    **parts: Any,
) -> Bitget:
    """`LIVE`, `DEMO` or endpoints of your own; `parts`: see `Bitget`."""
    return Bitget(credentials, endpoints, bot_tag, clock, rng, **parts)
