"""One account at Gate: what waits for the venue, and what hears it."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

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
from marketmaker.adapters.gate.build import (
    PRIVATE,
    Signer,
    build_cancel,
    build_order,
    build_place,
    build_subscribe,
)
from marketmaker.adapters.gate.parse import (
    decimal_of,
    is_tradable,
    name_of,
    parse_answer_error,
    parse_bar,
    parse_bar_name,
    parse_contract,
    parse_error,
    parse_fill,
    parse_order,
    parse_position,
    parse_trade_report,
    price_of,
    text_of,
)
from marketmaker.adapters.gate.tables import (
    API,
    CANCEL_BATCH,
    CANDLES_MAX,
    CONTROL_GAP_S,
    FIRST_MESSAGE_S,
    FUTURES,
    INTERVALS,
    OLDER_NS,
    ORDER_BURST,
    ORDERS_PER_S,
    PLACE_BATCH,
    REQUEST_LIFETIME_S,
    ROWS_PER_PAGE,
    SWITCH_LEAST_S,
    VENUE,
    Endpoints,
)
from marketmaker.adapters.gate.wire import (
    ContractRow,
    Failure,
    Frame,
    OrderRow,
    Reply,
    Trades,
    UserTrade,
    read_account,
    read_bars,
    read_batch_row,
    read_book,
    read_cancels,
    read_changes,
    read_contract,
    read_contracts,
    read_frame,
    read_items,
    read_order,
    read_orders,
    read_position,
    read_positions,
    read_reply,
    read_server_time,
    read_tickers,
    read_trades,
    read_user_trades,
)
from marketmaker.adapters.http import Answer
from marketmaker.adapters.logins import Logins
from marketmaker.adapters.memory import remember
from marketmaker.adapters.order_socket import Requests, Sent
from marketmaker.adapters.parsing import (
    NOTHING,
    NS_PER_S,
    malformed,
    parse_ms,
    parse_seconds_text,
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
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import Credentials

LOGIN = "login"
Outcomes = list[OrderReport | VenueError]
Cancelled = list[OrderReport | VenueError | None]
Params = dict[str, object]


class Gate:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s`: after how long without a word from us the venue cancels every order of a contract whose order stream is
    in use; 0 leaves the switch alone. `on_usage(used, limit)` hears how many order requests the venue has counted in its
    window. `malformed` keeps the last frames that broke the contract.
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
        self._timeout_s = timeout_s
        self._now_ns = clock.now_ns
        self._ids = TextForm(bot_tag, "t-")
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._user = ""
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._services: list[asyncio.Task[None]] = []
        self._rows: dict[str, ContractRow] = {}
        self._contracts: dict[str, Contract] = {}
        self._told: OrderedDict[str, OrderReport] = OrderedDict()
        self._traded: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._numbers: OrderedDict[ClientOrderId, str] = OrderedDict()
        self._price_feeds, self._candle_feeds = PriceFeeds(), CandleFeeds()
        self._order_feeds = OrderFeeds(self._read_funding, clock=self._clock)
        self._rest = Rest(
            endpoints.rest_url,
            venue=VENUE,
            clock=self._clock,
            tasks=self._tasks,
            sign=self._signer.request,
            judge=self._judge,
            keyed=self._keyed,
            server_time=self._server_time,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            timeout_s=timeout_s,
        )
        self._logins = Logins(
            lambda: self._signer.login(self._clock.now_ms(), number=LOGIN), heed=self._rest.heed
        )
        self._requests = Requests(
            venue=VENUE, timeout_s=timeout_s, refused=self._rest.quiet.refusal
        )
        within_s = max(dead_man_s, SWITCH_LEAST_S) if dead_man_s else 0.0
        self._switch = DeadMansSwitch(self._arm, after_s=within_s, tasks=self._tasks)
        self._price_topics, self._candle_topics = self._topics(), self._topics()
        self._private_topics = self._topics()
        self._private_topics.wanted.update(dict.fromkeys(PRIVATE))

        sessions = Sessions(VENUE, rng=rng, timing=timing, dial=dial)
        public = endpoints.ws_public_url
        self._prices = sessions.make(
            "prices",
            public,
            topics=self._price_topics,
            feeds=self._price_feeds,
            on_message=self._hear_price,
        )
        self._candles = sessions.make(
            "candles",
            public,
            topics=self._candle_topics,
            feeds=self._candle_feeds,
            on_message=self._hear_candle,
        )
        self._private = sessions.make(
            "order stream",
            endpoints.ws_private_url,
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

    def _topics(self) -> Subscriptions:
        def build(verb: Verb, names: Sequence[str], number: int) -> bytes:
            return build_subscribe(
                verb,
                names,
                number,
                signer=self._signer,
                user=self._user,
                ms=self._clock.now_ms(),
            )

        return Subscriptions(
            build,
            first_message_s=lambda topic: FIRST_MESSAGE_S.get(topic.partition(" ")[0]),
            most=1,
            gap_s=CONTROL_GAP_S,
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
            cancel_batch=CANCEL_BATCH,
            cancel_all=True,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=ORDERS_PER_S,
            order_burst=ORDER_BURST,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )

    @property
    def client_order_ids(self) -> TextForm:
        return self._ids

    def take_turns(self, turn: Turn) -> None:
        share_turn(turn, self._prices, self._private, self._entry)

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Clock and instruments; with a key also the account's number and the order socket, warm when it is needed."""
        await self._rest.open()
        await self._rest.measure_clock()
        rows = read_contracts(await self._rest.get(f"{FUTURES}/contracts", operation="instruments"))
        self._rows = {name_of(row): row for row in rows}
        if self._keyed:
            body = await self._rest.signed("GET", f"{FUTURES}/accounts", operation="account")
            self._user = str(read_account(body).user)
            services = (self._entry.hold(), self._rest.keep_time(), self._order_feeds.funding.run())
            self._services = [self._tasks.own(service) for service in services]

    async def close(self) -> None:
        """Switches the dead-man's switch off, then lets go of everything."""
        await self._switch.close(self._timeout_s / 2)
        await self._tasks.end()
        await self._rest.close()

    # -- questions -----------------------------------------------------------------------------------

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = (each for each, row in self._rows.items() if is_tradable(row))
            standing = f"status {row.status}" if row else ""
            raise not_tradable(VENUE, name, known, standing)
        contract = parse_contract(row)
        self._contracts[row.name] = contract
        return contract.instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        account = read_account(
            await self._rest.signed("GET", f"{FUTURES}/accounts", operation="account")
        )
        position = read_position(await self._position(instrument))
        leverage = decimal_of(position.leverage) or decimal_of(position.cross_leverage_limit)
        return AccountState(
            equity=decimal_of(account.total) + decimal_of(account.unrealised_pnl),
            available=decimal_of(account.available),
            leverage=leverage or Decimal(1),
            hedge_mode=account.in_dual_mode,
            can_withdraw=None,
            clock_offset_ns=self._clock.offset_ns,
        )

    async def _position(self, instrument: Instrument) -> bytes:
        path = f"{FUTURES}/positions/{self._contract(instrument).symbol}"
        return await self._rest.signed("GET", path, operation="position")

    async def fetch_position(self, instrument: Instrument) -> Position:
        contract = self._contract(instrument)
        position = parse_position(
            read_position(await self._position(instrument)), contract, mark=None
        )
        if position.mark_price:
            return position
        row = await self._contract_row(contract)
        return Position(
            qty_lots=position.qty_lots,
            entry_price=position.entry_price,
            mark_price=decimal_of(row.mark_price),
            liquidation_price=position.liquidation_price,
        )

    async def _contract_row(self, contract: Contract) -> ContractRow:
        path = f"{FUTURES}/contracts/{contract.symbol}"
        return read_contract(await self._rest.get(path, operation="contract"))

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        """Page by page; an order that moves from one page to the next is told once."""
        contract, offset = self._contract(instrument), 0
        found: dict[int, OrderRow] = {}
        while True:
            params: Params = {
                "contract": contract.symbol,
                "status": "open",
                "limit": ROWS_PER_PAGE,
                "offset": offset,
            }
            page = read_orders(
                await self._rest.signed("GET", f"{FUTURES}/orders", params, operation="open_orders")
            )
            found.update({row.id: row for row in page})
            if len(page) < ROWS_PER_PAGE:
                return [self._report(row, contract) for _, row in sorted(found.items())]
            offset += ROWS_PER_PAGE

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        path = f"{FUTURES}/orders/{self._named(client_order_id)}"
        body = await self._rest.signed("GET", path, operation="order")
        report = self._report(read_order(body), self._contract(instrument))
        if report.client_order_id != client_order_id:
            raise OrderNotFound("that text is another order's", venue=VENUE, operation="order")
        return report

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        contract, offset = self._contract(instrument), 0
        rows: dict[str, UserTrade] = {}
        while True:
            params: Params = {
                "contract": contract.symbol,
                "from": since_ns // NS_PER_S,
                "to": self._clock.now_ms() // 1_000 + 1,
                "limit": ROWS_PER_PAGE,
                "offset": offset,
            }
            path = f"{FUTURES}/my_trades_timerange"
            page = read_user_trades(await self._rest.signed("GET", path, params, operation="fills"))
            rows.update({text_of(row.id): row for row in page})
            if len(page) < ROWS_PER_PAGE:
                break
            offset += ROWS_PER_PAGE
        fills = [parse_fill(row, contract, self._ids) for row in rows.values()]
        return sorted(
            (fill for fill in fills if fill.ts_venue_ns >= since_ns),
            key=lambda fill: (fill.ts_venue_ns, len(fill.trade_id), fill.trade_id),
        )

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """At most 2,000; none of a symbol or an interval the venue does not have."""
        row = self._rows.get(symbol)
        if row is None or interval_s not in INTERVALS:
            return []
        params: Params = {
            "contract": row.name,
            "interval": INTERVALS[interval_s],
            "limit": min(limit, CANDLES_MAX),
        }
        bars = read_bars(
            await self._rest.get(f"{FUTURES}/candlesticks", params, operation="candles")
        )
        face, venue_ns = decimal_of(row.quanto_multiplier), self._clock.now_ns()
        candles = [parse_bar(bar, symbol, interval_s, face, venue_ns) for bar in bars]
        return sorted(candles, key=lambda candle: candle.open_ts_ns)

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return decimal_of((await self._contract_row(self._contract(instrument))).funding_rate)

    def _contract(self, instrument: Instrument) -> Contract:
        row = self._rows[instrument.name]
        if row.name not in self._contracts:
            self._contracts[row.name] = parse_contract(row)
        return self._contracts[row.name]

    def _report(self, row: OrderRow, contract: Contract) -> OrderReport:
        """Remembered: a trade does not say how large its order is, nor an id which number it has."""
        report = parse_order(row, contract, self._ids)
        remember(self._told, report.venue_order_id, report)
        if report.client_order_id is not None:
            remember(self._numbers, report.client_order_id, report.venue_order_id)
        return report

    def _named(self, client_order_id: ClientOrderId) -> str:
        """The venue's number where it is known, else the text."""
        return self._numbers.get(client_order_id) or self._ids.encode(client_order_id)

    async def _server_time(self) -> int:
        body = await self._rest.get(f"{API}/spot/time", operation="time")
        return parse_ms(read_server_time(body).server_time)

    # -- orders --------------------------------------------------------------------------------------

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Awaitable[Outcomes]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._place_by_rest(instrument, orders))
        contract, ms = self._contract(instrument), self._clock.now_ms()
        ids = [self._ids.encode(order.client_order_id) for order in orders]
        return self._requests.send(
            contract,
            "place",
            link,
            len(orders),
            lambda first, last, number: build_place(
                orders[first:last], contract, ids[first:last], number=number, ms=ms
            ),
            most=PLACE_BATCH,
        )

    def cancel(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Awaitable[Cancelled]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._cancel_by_rest(instrument, orders))
        ms, names = self._clock.now_ms(), self._names_of(orders)
        return self._requests.send(
            self._contract(instrument),
            "cancel",
            link,
            len(orders),
            lambda first, last, number: build_cancel(names[first:last], number=number, ms=ms),
            most=CANCEL_BATCH,
        )

    def _names_of(self, orders: Sequence[OrderRef]) -> list[str]:
        return [order.venue_order_id or self._named(order.client_order_id) for order in orders]

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every order of the contract, foreign ones too."""
        params: Params = {"contract": self._contract(instrument).symbol}
        await self._rest.signed("DELETE", f"{FUTURES}/orders", params, operation="cancel_all")

    def _hear_reply(self, link: Link, message: bytes) -> None:
        try:
            reply = read_reply(message)
            if reply.request_id == LOGIN:
                errors = reply.data.errs
                self._logins.answered(
                    link, None if errors is None else parse_error(errors, "login", status=401)
                )
            elif not reply.ack:
                self._note_usage(
                    text_of(reply.header.x_gate_ratelimit_limit),
                    text_of(reply.header.x_gate_ratelimit_requests_remain),
                )
                sent = self._requests.answered(reply.request_id)
                if sent is not None:
                    self._land(sent, reply)
                elif not reply.request_id and read_frame(message).channel == "":
                    raise malformed("a reply to nothing")
        except MalformedMessage as error:
            self.malformed.keep(error, message)

    def _land(self, sent: Sent, reply: Reply) -> None:
        """Raises MalformedMessage, after the orders were told so."""
        operation, count = sent.flight.operation, sent.last - sent.first
        if reply.data.errs is not None:
            status = int(reply.header.status[:3]) if reply.header.status.isdecimal() else 400
            failure = parse_error(reply.data.errs, operation, status=status)
            self._rest.heed(failure)
            sent.land_all(failure)
            return
        try:
            result = bytes(reply.data.result)
            if operation == "place":
                sent.land(self._placed(result, count, sent.flight.contract))
            elif count == 1:
                sent.land([self._report(read_order(result), sent.flight.contract)])
            else:
                sent.land(self._cancelled(result, count))
        except MalformedMessage as error:
            sent.land_all(error)
            raise

    def _placed(self, result: bytes, count: int, contract: Contract) -> Outcomes:
        if count == 1:
            return [self._report(read_order(result), contract)]
        items = read_items(result)
        if len(items) != count:
            raise malformed(f"{len(items)} answers to {count} orders")
        outcomes: Outcomes = []
        for item in items:
            row = read_batch_row(bytes(item))
            if row.succeeded:
                outcomes.append(self._report(read_order(bytes(item)), contract))
            else:
                failure = Failure(label=row.label, message=row.message, detail=row.detail)
                error = parse_error(failure, "place")
                self._rest.heed(error)
                outcomes.append(error)
        return outcomes

    def _cancelled(self, result: bytes, count: int) -> Cancelled:
        """In the order in which they were asked for; the order itself comes by stream."""
        rows = read_cancels(result)
        if len(rows) != count:
            raise malformed(f"{len(rows)} answers to {count} orders")
        return [
            None
            if row.succeeded
            else OrderNotFound(row.message or "not cancelled", venue=VENUE, operation="cancel")
            for row in rows
        ]

    async def _place_by_rest(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Outcomes:
        contract = self._contract(instrument)
        rows = [
            build_order(order, contract, self._ids.encode(order.client_order_id))
            for order in orders
        ]
        outcomes: Outcomes = []
        for start in range(0, len(rows), PLACE_BATCH):
            share = rows[start : start + PLACE_BATCH]
            path, params = ("batch_orders", share) if len(share) > 1 else ("orders", share[0])
            try:
                body = await self._rest.signed(
                    "POST", f"{FUTURES}/{path}", params, operation="place"
                )
                outcomes += self._placed(body, len(share), contract)
            except VenueError as error:
                outcomes += [error] * len(share)
        return outcomes

    async def _cancel_by_rest(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Cancelled:
        contract, names = self._contract(instrument), self._names_of(orders)
        outcomes: Cancelled = []
        for start in range(0, len(names), CANCEL_BATCH):
            share = names[start : start + CANCEL_BATCH]
            try:
                if len(share) == 1:
                    path = f"{FUTURES}/orders/{share[0]}"
                    body = await self._rest.signed("DELETE", path, operation="cancel")
                    outcomes.append(self._report(read_order(body), contract))
                else:
                    path = f"{FUTURES}/batch_cancel_orders"
                    body = await self._rest.signed("POST", path, share, operation="cancel")
                    outcomes += self._cancelled(body, len(share))
            except VenueError as error:
                outcomes += [error] * len(share)
        return outcomes

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        names = [
            f"{channel} {contract.symbol}" for channel in ("futures.trades", "futures.tickers")
        ]
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
            symbol: f"futures.candlesticks {interval} {self._rows[symbol].name}"
            for symbol in symbols
            if symbol in self._rows
        }
        await self._candle_feeds.follow(
            names, interval_s, listener, session=self._candles, topics=self._candle_topics
        )

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        """Also keeps the dead-man's switch of the contract armed."""
        if not self._keyed:
            raise no_key(VENUE, "orders")
        contract = self._contract(instrument)
        with self._order_feeds.joined(contract.symbol, contract, listener):
            if self._private.up:
                listener.stream_up()
            mine = (self._private.hold(), self._switch.keep_armed(contract.symbol))
            await hold_until_one_fails([self._tasks.own(each) for each in mine], self._services)

    def _hear_control(self, topics: Subscriptions, session: Session, frame: Frame) -> None:
        """What is not data. Raises MalformedMessage for what is unknown."""
        match frame.event:
            case "subscribe" | "unsubscribe" if frame.id is not None:
                refusal = ""
                if frame.error is not None:
                    refusal = (
                        f"subscription refused: {frame.error.code} {frame.error.message[:200]}"
                    )
                topics.answered(frame.id, refusal)
            case "upgrade":
                session.rotate()
            case "" if frame.channel == "futures.pong":
                pass
            case _:
                raise malformed(f"unknown event {frame.event[:40]!r} of {frame.channel[:40]!r}")

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            trades = self._trades_of(link, message, ts_local_ns)
            if trades is None or not trades.result:
                return
            last = max(trades.result, key=lambda trade: trade.create_time_ms)
            feed = self._price_feeds.of.get(last.contract)
            if feed is None:
                return
            price, ts_venue_ns = price_of(last.price, feed.contract), parse_ms(last.create_time_ms)
            if price <= 0:
                raise malformed("a trade without a price")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._price_topics.heard(link, f"futures.trades {last.contract}")
        if 0 < feed.last_ns - ts_venue_ns < OLDER_NS:
            return
        feed.last_ns = ts_venue_ns
        for listener in feed.listeners:
            listener.on_price(price, ts_venue_ns, ts_local_ns)

    def _trades_of(self, link: Link, message: bytes, ts_local_ns: int) -> Trades | None:
        """The trades that the message tells of; anything else is heard here."""
        if b'"futures.trades"' in message[:120] and b'"update"' in message[:120]:
            return read_trades(message)
        frame = read_frame(message)
        if frame.event not in ("update", "all"):
            self._hear_control(self._price_topics, self._prices, frame)
            return None
        match frame.channel:
            case "futures.trades":
                return read_trades(message)
            case "futures.tickers":
                self._hear_marks(link, frame, ts_local_ns)
            case channel:
                raise malformed(f"unknown channel {channel[:40]!r}")
        return None

    def _hear_marks(self, link: Link, frame: Frame, ts_local_ns: int) -> None:
        for row in read_tickers(bytes(frame.result)):
            feed = self._price_feeds.of.get(row.contract)
            if feed is None:
                continue
            text = text_of(row.mark_price)
            price, ts_venue_ns = feed.contract.price.near(text), parse_ms(frame.time_ms)
            if price <= 0:
                raise malformed("a mark price of nothing")
            feed.mark = decimal_of(row.mark_price)
            self._price_topics.heard(link, f"futures.tickers {row.contract}")
            feed.confirm(price, ts_venue_ns, ts_local_ns)

    def _hear_candle(self, link: Link, message: bytes) -> None:
        try:
            frame = read_frame(message)
            if frame.event not in ("update", "all"):
                self._hear_control(self._candle_topics, self._candles, frame)
                return
            if frame.channel != "futures.candlesticks":
                raise malformed(f"unknown channel {frame.channel[:40]!r}")
            told = [
                (bar.n, candle)
                for bar in read_bars(bytes(frame.result))
                if (candle := self._candle(bar)) is not None
            ]
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        for name, candle in told:
            interval, _, contract = name.partition("_")
            self._candle_topics.heard(link, f"futures.candlesticks {interval} {contract}")
            self._candle_feeds.hear(candle)

    def _candle(self, bar: Any) -> Candle | None:
        interval_s, symbol = parse_bar_name(bar.n)
        name = symbol.replace("_", "")
        row = self._rows.get(name)
        if row is None:
            return None
        face = decimal_of(row.quanto_multiplier)
        return parse_bar(bar, name, interval_s, face, self._clock.now_ns())

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        try:
            frame = read_frame(message)
            if frame.event not in ("update", "all") or frame.result == NOTHING:
                self._hear_control(self._private_topics, self._private, frame)
                return
            data = bytes(frame.result)
            match frame.channel:
                case "futures.orders":
                    self._hear_orders(data, ts_local_ns)
                case "futures.usertrades":
                    self._hear_trades(data, ts_local_ns)
                case "futures.positions":
                    self._hear_positions(data, ts_local_ns)
                case "futures.balances":
                    for change in read_changes(data):
                        if change.type == "fund":
                            self._order_feeds.funding.paid(parse_ms(change.time_ms))
                case channel:
                    raise malformed(f"unknown channel {channel[:40]!r}")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            self._order_feeds.doubt(error)

    def _hear_orders(self, data: bytes, ts_local_ns: int) -> None:
        told = [
            (row.contract, self._report(row, contract))
            for row in read_orders(data)
            if (contract := self._order_feeds.contract_of(row.contract)) is not None
        ]
        for symbol, report in told:
            self._order_feeds.on_order(symbol, report, ts_local_ns)

    def _hear_trades(self, data: bytes, ts_local_ns: int) -> None:
        told = [
            (row.contract, parse_fill(row, contract, self._ids))
            for row in read_user_trades(data)
            if (contract := self._order_feeds.contract_of(row.contract)) is not None
        ]
        for symbol, fill in told:
            trades = self._traded.get(fill.venue_order_id, {})
            trades[fill.trade_id] = fill.qty_lots
            remember(self._traded, fill.venue_order_id, trades)
            known = self._told.get(fill.venue_order_id)
            report = parse_trade_report(fill, known, sum(trades.values()))
            self._order_feeds.on_order(symbol, report, ts_local_ns)

    def _hear_positions(self, data: bytes, ts_local_ns: int) -> None:
        told = []
        for row in read_positions(data):
            contract = self._order_feeds.contract_of(row.contract)
            if contract is not None and row.mode == "single":
                feed = self._price_feeds.of.get(row.contract)
                mark = feed.mark if feed else None
                told.append((row.contract, parse_position(row, contract, mark)))
        for symbol, position in told:
            self._order_feeds.on_position(symbol, position, ts_local_ns)

    # -- housekeeping --------------------------------------------------------------------------------

    async def _arm(self, symbol: str, after_s: float) -> None:
        params = {"timeout": round(after_s), "contract": symbol}
        path = f"{FUTURES}/countdown_cancel_all"
        await self._rest.signed("POST", path, params, operation="dead_man")

    async def _read_funding(self, since_ns: int) -> list[Payment]:
        found: list[Payment] = []
        offset = 0
        while True:
            params: Params = {
                "type": "fund",
                "from": since_ns // NS_PER_S,
                "limit": ROWS_PER_PAGE,
                "offset": offset,
            }
            path = f"{FUTURES}/account_book"
            rows = read_book(await self._rest.signed("GET", path, params, operation="funding"))
            for row in rows:
                seconds = text_of(row.time)
                found.append(
                    Payment(
                        payment_id=f"{row.contract}-{seconds}",
                        symbol=row.contract,
                        amount=decimal_of(row.change),
                        ts_venue_ns=parse_seconds_text(seconds),
                    )
                )
            if len(rows) < ROWS_PER_PAGE:
                return sorted(found, key=lambda payment: payment.ts_venue_ns)
            offset += ROWS_PER_PAGE

    def _judge(self, answer: Answer, operation: str) -> VenueError | None:
        headers = answer.headers
        if operation in ("place", "cancel"):
            self._note_usage(
                headers.get("X-Gate-RateLimit-Limit", ""),
                headers.get("X-Gate-RateLimit-Requests-Remain", ""),
            )
        reset, retry_after_s = headers.get("X-Gate-RateLimit-Reset-Timestamp", ""), None
        if reset.isdecimal() and len(reset) <= 11:
            retry_after_s = max(0.0, int(reset) - self._clock.now_ms() / 1_000)
        return parse_answer_error(answer, operation, retry_after_s)

    def _note_usage(self, limit: str, left: str) -> None:
        if limit.isdecimal() and left.isdecimal() and (most := int(limit[:9])):
            self.on_usage(max(0, most - int(left[:9])), most)


def make(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    **parts: Any,
) -> Gate:
    """`LIVE`, `DEMO` or endpoints of your own; `parts`: see `Gate`."""
    return Gate(credentials, endpoints, bot_tag, clock, rng, **parts)
