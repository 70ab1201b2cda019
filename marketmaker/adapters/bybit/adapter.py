"""One account at Bybit: what waits for the venue, and what hears it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

from marketmaker.adapters.bybit.build import (
    Signer,
    build_batch,
    build_cancel,
    build_cancels,
    build_order,
    build_place,
    build_subscribe,
)
from marketmaker.adapters.bybit.parse import (
    is_tradable,
    parse_answer_error,
    parse_bar,
    parse_candle,
    parse_codes,
    parse_error,
    parse_execution,
    parse_fill,
    parse_instrument,
    parse_order,
    parse_placed,
    parse_position,
)
from marketmaker.adapters.bybit.tables import (
    BATCH,
    CANDLES_MAX,
    CATEGORY,
    CONTROL_GAP_S,
    FILLS_PER_PAGE,
    FIRST_MESSAGE_S,
    FUNDING,
    HEARTBEAT_S,
    HISTORY_MS,
    INSTRUMENTS_PER_PAGE,
    INTERVALS,
    MAKER_FEE,
    OLDER_NS,
    ORDER_BURST,
    ORDERS_PER_PAGE,
    ORDERS_PER_S,
    PRIVATE_TOPICS,
    REQUEST_LIFETIME_S,
    TAKER_FEE,
    TRADES,
    VENUE,
    WEEK_MS,
    Endpoints,
)
from marketmaker.adapters.bybit.wire import (
    Envelope,
    Execution,
    Frame,
    Ids,
    InstrumentRow,
    PositionRow,
    Reply,
    RestTicker,
    Trades,
    read_bars,
    read_candles,
    read_envelope,
    read_executions,
    read_fee_rates,
    read_frame,
    read_id_list,
    read_ids,
    read_instruments,
    read_key_info,
    read_orders,
    read_page,
    read_positions,
    read_reply,
    read_rest_tickers,
    read_server_time,
    read_ticker,
    read_trades,
    read_wallets,
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
from marketmaker.adapters.logins import Logins
from marketmaker.adapters.order_socket import Requests, Sent
from marketmaker.adapters.parsing import (
    NS_PER_MS,
    is_number,
    malformed,
    parse_decimal,
    parse_ms,
    parse_ms_text,
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
from marketmaker.adapters.subscriptions import Subscriptions
from marketmaker.adapters.tasks import Tasks
from marketmaker.adapters.venue_clock import Clock, VenueClock
from marketmaker.adapters.websocket import Dial, Link, Session, Timing, share_turn
from marketmaker.errors import (
    ConfigError,
    MalformedMessage,
    OrderNotFound,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import Credentials

PING = b'{"op":"ping"}'
Outcomes = list[OrderReport | VenueError]
Cancelled = list[OrderReport | VenueError | None]
Params = dict[str, object]


class Bybit:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s` is taken for the sake of the others and means nothing here. `malformed` keeps the last frames that broke
    the contract. `on_usage(used, limit)` hears how many order messages of this second the venue has counted.
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
        self._ids = TextForm(bot_tag)
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._services: list[asyncio.Task[None]] = []
        self._rows: dict[str, InstrumentRow] = {}
        self._contracts: dict[str, Contract] = {}
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
            headers={"Content-Type": "application/json"},
            timeout_s=timeout_s,
        )
        self._logins = Logins(lambda: self._signer.auth(self._clock.now_ms()), heed=self._rest.heed)
        self._requests = Requests(
            venue=VENUE, timeout_s=timeout_s, refused=self._rest.quiet.refusal
        )
        self._price_topics, self._candle_topics, self._private_topics = topics(), topics(), topics()
        self._private_topics.wanted.update(dict.fromkeys(PRIVATE_TOPICS))

        sessions = Sessions(
            VENUE, rng=rng, timing=timing or Timing(heartbeat_s=HEARTBEAT_S), dial=dial, ping=PING
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
            endpoints.ws_private_url,
            greet=self._logins.log_in,
            topics=self._private_topics,
            feeds=self._order_feeds,
            on_message=self._hear_private,
        )
        self._entry = sessions.make(
            "order entry",
            endpoints.ws_order_url,
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
        return self._ids

    def take_turns(self, turn: Turn) -> None:
        share_turn(turn, self._prices, self._private, self._entry)

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Clock and instruments; with a key also the order socket, so that it is warm when it is needed."""
        await self._rest.open()
        await self._rest.measure_clock()
        params: Params = {"category": CATEGORY, "limit": INSTRUMENTS_PER_PAGE}
        async for rows in self._pages(
            "/v5/market/instruments-info", params, operation="instruments", public=True
        ):
            self._rows.update({row.symbol: row for row in read_instruments(rows)})
        if self._keyed:
            services = (self._entry.hold(), self._rest.keep_time(), self._order_feeds.funding.run())
            self._services = [self._tasks.own(service) for service in services]

    async def close(self) -> None:
        await self._tasks.end()
        await self._rest.close()

    # -- questions -----------------------------------------------------------------------------------

    async def _public(self, path: str, params: Params | None = None, *, operation: str) -> bytes:
        return bytes(read_envelope(await self._rest.get(path, params, operation=operation)).result)

    async def _ask(self, path: str, params: Params | None = None, *, operation: str) -> bytes:
        body = await self._rest.signed("GET", path, params, operation=operation)
        return bytes(read_envelope(body).result)

    async def _rows_of(
        self, path: str, params: Params, *, operation: str, public: bool = False
    ) -> bytes:
        ask = self._public if public else self._ask
        return bytes(read_page(await ask(path, params, operation=operation)).rows)

    async def _pages(
        self, path: str, params: Params, *, operation: str, public: bool = False
    ) -> AsyncIterator[bytes]:
        """The rows of each page, to the last."""
        ask = self._public if public else self._ask
        asked = dict(params)
        while True:
            page = read_page(await ask(path, asked, operation=operation))
            rows = bytes(page.rows)
            yield rows
            if not page.nextPageCursor or rows == b"[]":
                return
            asked["cursor"] = page.nextPageCursor

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = (each for each, row in self._rows.items() if is_tradable(row))
            standing = f"status {row.status}, {row.contractType}" if row else ""
            raise not_tradable(VENUE, name, known, standing)
        maker, taker = MAKER_FEE, TAKER_FEE
        if self._keyed:
            params: Params = {"category": CATEGORY, "symbol": name}
            rates = read_fee_rates(
                await self._rows_of("/v5/account/fee-rate", params, operation="fees")
            )
            for rate in rates:
                if rate.symbol == name:
                    maker, taker = (
                        parse_decimal(rate.makerFeeRate),
                        parse_decimal(rate.takerFeeRate),
                    )
        instrument = parse_instrument(row, maker, taker)
        self._contracts[name] = Contract(instrument)
        return instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        wallet: Params = {"accountType": "UNIFIED", "coin": instrument.quote}
        wallets = read_wallets(
            await self._rows_of("/v5/account/wallet-balance", wallet, operation="account")
        )
        equity = available = Decimal(0)
        for row in wallets:
            for coin in row.coin:
                if coin.coin == instrument.quote:
                    equity = parse_decimal(coin.equity or "0")
            available = parse_decimal(row.totalAvailableBalance or "0")
        rows = await self._position_rows(instrument)
        levers = [parse_decimal(row.leverage) for row in rows if row.leverage]
        return AccountState(
            equity=equity,
            available=available,
            leverage=max(levers, default=Decimal(1)),
            hedge_mode=any(row.positionIdx != 0 for row in rows),
            can_withdraw=await self._can_withdraw(),
            clock_offset_ns=self._clock.offset_ns,
        )

    async def _can_withdraw(self) -> bool | None:
        try:
            body = await self._ask("/v5/user/query-api", operation="key")
            return "Withdraw" in read_key_info(body).permissions.Wallet
        except VenueError:
            return None

    async def _position_rows(self, instrument: Instrument) -> list[PositionRow]:
        params: Params = {"category": CATEGORY, "symbol": instrument.name}
        return read_positions(
            await self._rows_of("/v5/position/list", params, operation="position")
        )

    async def fetch_position(self, instrument: Instrument) -> Position:
        contract = self._contract(instrument)
        position = parse_position(await self._position_rows(instrument), contract)
        if position is not None and position.mark_price:
            return position
        mark = parse_decimal((await self._ticker(instrument)).markPrice)
        return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        contract = self._contract(instrument)
        params: Params = {
            "category": CATEGORY,
            "symbol": instrument.name,
            "openOnly": 0,
            "limit": ORDERS_PER_PAGE,
        }
        found: dict[str, OrderReport] = {}
        async for rows in self._pages("/v5/order/realtime", params, operation="open_orders"):
            for row in read_orders(rows):
                found[row.orderId] = parse_order(row, contract, self._ids)
        return list(found.values())[::-1]

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        """Among the open and lately ended ones, then in the history."""
        contract = self._contract(instrument)
        params: Params = {
            "category": CATEGORY,
            "symbol": instrument.name,
            "orderLinkId": self._ids.encode(client_order_id),
        }
        for path in ("/v5/order/realtime", "/v5/order/history"):
            rows = read_orders(await self._rows_of(path, params, operation="order"))
            if rows:
                return parse_order(rows[0], contract, self._ids)
        raise OrderNotFound("no such order", venue=VENUE, operation="order")

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        contract = self._contract(instrument)
        rows = await self._executions(since_ns // NS_PER_MS, {"symbol": instrument.name})
        fills = [
            parse_fill(row, contract, self._ids)
            for row in rows
            if row.execType in TRADES and row.symbol == instrument.name
        ]
        return sorted(
            (fill for fill in fills if fill.ts_venue_ns >= since_ns),
            key=lambda fill: fill.ts_venue_ns,
        )

    async def _executions(self, since_ms: int, where: Params) -> list[Execution]:
        """Of every kind, each once, oldest window first; within a window as the venue has them reversed."""
        found: dict[str, Execution] = {}
        now_ms = self._clock.now_ms()
        start_ms = max(since_ms, now_ms - HISTORY_MS)
        while start_ms <= now_ms:
            end_ms = start_ms + WEEK_MS
            params: Params = {
                "category": CATEGORY,
                **where,
                "startTime": start_ms,
                "endTime": end_ms,
                "limit": FILLS_PER_PAGE,
            }
            window: list[Execution] = []
            async for rows in self._pages("/v5/execution/list", params, operation="fills"):
                window += read_executions(rows)
            found.update({row.execId: row for row in reversed(window)})
            start_ms = end_ms + 1
        return list(found.values())

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """At most 1,000; none of a symbol or an interval the venue does not have."""
        if symbol not in self._rows or interval_s not in INTERVALS:
            return []
        params: Params = {
            "category": CATEGORY,
            "symbol": symbol,
            "interval": INTERVALS[interval_s],
            "limit": min(limit, CANDLES_MAX),
        }
        rows = read_candles(
            await self._rows_of("/v5/market/kline", params, operation="candles", public=True)
        )
        venue_ns = self._clock.now_ns()
        return [parse_candle(row, symbol, interval_s, venue_ns) for row in reversed(rows)]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return parse_decimal((await self._ticker(instrument)).fundingRate or "0")

    async def _ticker(self, instrument: Instrument) -> RestTicker:
        params: Params = {"category": CATEGORY, "symbol": instrument.name}
        rows = read_rest_tickers(
            await self._rows_of("/v5/market/tickers", params, operation="ticker", public=True)
        )
        if not rows:
            raise malformed(f"no ticker of {instrument.name}")
        return rows[0]

    def _contract(self, instrument: Instrument) -> Contract:
        return self._contracts.get(instrument.name) or self._contracts.setdefault(
            instrument.name, Contract(instrument)
        )

    async def _server_time(self) -> int:
        """In ns, told to the ms as those of other venues are."""
        nanos = read_server_time(await self._public("/v5/market/time", operation="time")).timeNano
        if not (nanos.isdigit() and len(nanos) == 19):
            raise malformed(f"{nanos[:40]!r} is not a time")
        return int(nanos) // NS_PER_MS * NS_PER_MS

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
            most=BATCH,
            about=orders,
        )

    def cancel(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Awaitable[Cancelled]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._cancel_by_rest(instrument, orders))
        contract, ms = self._contract(instrument), self._clock.now_ms()
        ids = [self._ids.encode(order.client_order_id) for order in orders]
        return self._requests.send(
            contract,
            "cancel",
            link,
            len(orders),
            lambda first, last, number: build_cancels(
                contract, ids[first:last], number=number, ms=ms
            ),
            most=BATCH,
            about=orders,
        )

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every order of the instrument, foreign ones too."""
        params: Params = {"category": CATEGORY, "symbol": instrument.name}
        await self._rest.signed("POST", "/v5/order/cancel-all", params, operation="cancel_all")

    def _hear_reply(self, link: Link, message: bytes) -> None:
        try:
            reply = read_reply(message)
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        if reply.op == "auth":
            self._logged_in(
                link, "" if reply.retCode in (0, 20001) else reply.retMsg, reply.retCode
            )
            return
        self._note_usage(reply.header.limit, reply.header.left)
        sent = self._requests.answered(reply.reqId)
        if sent is not None:
            try:
                sent.land(self._outcomes(sent, reply))
            except MalformedMessage as error:
                self.malformed.keep(error, message)
                sent.land_all(error)
        elif reply.op != "pong" and not reply.reqId:
            self.malformed.keep(malformed("a reply to nothing"), message)

    def _outcomes(self, sent: Sent, reply: Reply) -> Cancelled:
        operation, asked = sent.flight.operation, sent.flight.about[sent.first : sent.last]
        if reply.retCode:
            error = parse_error(reply.retCode, reply.retMsg, operation)
            self._rest.heed(error)
            return [error] * len(asked)
        return self._of_ids(bytes(reply.data), bytes(reply.retExtInfo), asked, operation)

    def _of_ids(
        self, data: bytes, codes: bytes, asked: Sequence[NewOrder | OrderRef], operation: str
    ) -> Cancelled:
        """In the order in which they were asked for. Raises MalformedMessage."""
        rows = [read_ids(data)] if len(asked) == 1 else read_id_list(data).rows
        told = parse_codes(codes, len(asked))
        if len(rows) != len(asked):
            raise malformed(f"{len(rows)} answers to {len(asked)} orders")
        outcomes: Cancelled = []
        for place, (row, order) in enumerate(zip(rows, asked, strict=True)):
            code = told[place] if told else None
            if code is not None and code.code:
                error = parse_error(code.code, code.msg, operation)
                self._rest.heed(error)
                outcomes.append(error)
            else:
                outcomes.append(self._accepted(row, order))
        return outcomes

    def _accepted(self, row: Ids, order: NewOrder | OrderRef) -> OrderReport | None:
        return parse_placed(row, order) if isinstance(order, NewOrder) else None

    async def _place_by_rest(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Outcomes:
        contract = self._contract(instrument)
        single = len(orders) == 1
        rows = [
            build_order(order, contract, self._ids.encode(order.client_order_id), category=single)
            for order in orders
        ]
        outcomes = await self._by_rest("create", rows, orders, operation="place")
        return [each for each in outcomes if each is not None]

    async def _cancel_by_rest(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Cancelled:
        contract, single = self._contract(instrument), len(orders) == 1
        rows = [
            build_cancel(contract, self._ids.encode(order.client_order_id), category=single)
            for order in orders
        ]
        return await self._by_rest("cancel", rows, orders, operation="cancel")

    async def _by_rest(
        self,
        verb: str,
        rows: Sequence[dict[str, Any]],
        orders: Sequence[NewOrder | OrderRef],
        *,
        operation: str,
    ) -> Cancelled:
        """One outcome for each order; one request's failure is its own."""
        outcomes: Cancelled = []
        for start in range(0, len(rows), BATCH):
            share, asked = rows[start : start + BATCH], orders[start : start + BATCH]
            path, params = f"/v5/order/{verb}-batch", build_batch(share)
            if len(rows) == 1:
                path, params = f"/v5/order/{verb}", share[0]
            try:
                body = await self._rest.signed("POST", path, params, operation=operation)
                outcomes += self._of_answer(read_envelope(body), asked, operation, len(rows) == 1)
            except VenueError as error:
                outcomes += [error] * len(share)
        return outcomes

    def _of_answer(
        self,
        answer: Envelope,
        asked: Sequence[NewOrder | OrderRef],
        operation: str,
        single: bool,
    ) -> Cancelled:
        data = bytes(answer.result)
        if len(asked) == 1 and not single:
            data = bytes(read_page(data).rows)[1:-1]
        return self._of_ids(data, bytes(answer.retExtInfo), asked, operation)

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        names = [f"publicTrade.{contract.symbol}", f"tickers.{contract.symbol}"]
        await self._price_feeds.follow(
            contract, names, listener, session=self._prices, topics=self._price_topics
        )

    async def stream_candles(
        self, symbols: Sequence[str], interval_s: int, listener: CandleListener
    ) -> None:
        """Symbols the venue does not have stay silent. Raises ConfigError for an interval it does not have."""
        if interval_s not in INTERVALS:
            raise ConfigError(f"{VENUE} has no candles of {interval_s} s")
        names = {
            symbol: kline_name(symbol, interval_s) for symbol in symbols if symbol in self._rows
        }
        await self._candle_feeds.follow(
            names, interval_s, listener, session=self._candles, topics=self._candle_topics
        )

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        if not self._keyed:
            raise no_key(VENUE, "orders")
        with self._order_feeds.joined(instrument.name, self._contract(instrument), listener):
            if self._private.up:
                listener.stream_up()
            await hold_until_one_fails([self._tasks.own(self._private.hold())], self._services)

    def _logged_in(self, link: Link, refusal: str, code: int = 0) -> None:
        failure = parse_error(code, refusal, "login", status=401) if refusal else None
        self._logins.answered(link, failure)

    def _hear_control(
        self, topics: Subscriptions, session: Session, link: Link, frame: Frame
    ) -> None:
        """What is not data. Raises MalformedMessage for what is unknown."""
        refusal = "" if frame.success else f"refused: {frame.ret_msg[:200] or 'no reason given'}"
        match frame.op:
            case "subscribe" | "unsubscribe" if is_number(frame.req_id):
                topics.answered(int(frame.req_id), refusal)
            case "subscribe" | "unsubscribe":
                if refusal:
                    session.fail(link, f"subscription {refusal}")
            case "auth":
                self._logged_in(link, refusal)
            case "ping" | "pong":
                pass
            case _:
                raise malformed(f"unknown operation {frame.op[:40]!r}")

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            if message.startswith(b'{"topic":"publicTrade.'):
                trades: Trades | None = read_trades(message)
            else:
                trades = self._hear_other(link, message, ts_local_ns)
            if trades is None or not trades.data:
                return
            last = trades.data[-1]
            feed = self._price_feeds.of.get(last.s)
            if feed is None:
                return
            price, ts_venue_ns = Ticks(feed.contract.price.parse(last.p)), parse_ms(last.T)
            if price <= 0:
                raise malformed("a trade without a price")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        if link.silent:
            link.silent.pop(f"publicTrade.{last.s}", None)
        if 0 < feed.last_ns - ts_venue_ns < OLDER_NS:
            return
        feed.last_ns = ts_venue_ns
        for listener in feed.listeners:
            listener.on_price(price, ts_venue_ns, ts_local_ns)

    def _hear_other(self, link: Link, message: bytes, ts_local_ns: int) -> Trades | None:
        """Everything that does not begin as trades do; returns them where they are some after all."""
        frame = read_frame(message)
        kind, _, symbol = frame.topic.partition(".")
        match kind:
            case "":
                self._hear_control(self._price_topics, self._prices, link, frame)
            case "publicTrade":
                return read_trades(message)
            case "tickers":
                self._price_topics.heard(link, f"tickers.{symbol}")
                self._hear_mark(message, ts_local_ns)
            case _:
                raise malformed(f"unknown topic {frame.topic[:40]!r}")
        return None

    def _hear_mark(self, message: bytes, ts_local_ns: int) -> None:
        event = read_ticker(message)
        feed = self._price_feeds.of.get(event.data.symbol)
        if feed is None or not event.data.markPrice:
            return
        price, ts_venue_ns = feed.contract.price.near(event.data.markPrice), parse_ms(event.ts)
        if price <= 0:
            raise malformed("a mark price of nothing")
        feed.mark = parse_decimal(event.data.markPrice)
        feed.confirm(price, ts_venue_ns, ts_local_ns)

    def _hear_candle(self, link: Link, message: bytes) -> None:
        try:
            frame = read_frame(message)
            if not frame.topic:
                self._hear_control(self._candle_topics, self._candles, link, frame)
                return
            kind, _, rest = frame.topic.partition(".")
            symbol = rest.partition(".")[2]
            if kind != "kline":
                raise malformed(f"unknown topic {frame.topic[:40]!r}")
            candles = [parse_bar(bar, symbol) for bar in read_bars(bytes(frame.data))]
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._candle_topics.heard(link, frame.topic)
        for candle in candles:
            self._candle_feeds.hear(candle)

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        try:
            frame = read_frame(message)
            data = bytes(frame.data)
            match frame.topic:
                case "":
                    self._hear_control(self._private_topics, self._private, link, frame)
                case "order":
                    self._hear_orders(data, ts_local_ns)
                case "execution":
                    self._hear_executions(data, ts_local_ns)
                case "position":
                    self._hear_positions(data, ts_local_ns)
                case "wallet":
                    pass
                case topic:
                    raise malformed(f"unknown topic {topic[:40]!r}")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            self._order_feeds.doubt(error)

    def _hear_orders(self, data: bytes, ts_local_ns: int) -> None:
        reports = [
            (row.symbol, parse_order(row, contract, self._ids))
            for row in read_orders(data)
            if (contract := self._order_feeds.contract_of(row.symbol)) is not None
        ]
        for symbol, report in reports:
            self._order_feeds.on_order(symbol, report, ts_local_ns)

    def _hear_executions(self, data: bytes, ts_local_ns: int) -> None:
        rows = read_executions(data)
        payments = [payment_of(row) for row in rows if row.execType == FUNDING]
        reports = [
            (row.symbol, parse_execution(row, contract, self._ids))
            for row in rows
            if row.execType in TRADES
            and (contract := self._order_feeds.contract_of(row.symbol)) is not None
        ]
        for symbol, report in reports:
            self._order_feeds.on_order(symbol, report, ts_local_ns)
        for payment in payments:
            self._order_feeds.funding.hear(payment)

    def _hear_positions(self, data: bytes, ts_local_ns: int) -> None:
        rows = [row for row in read_positions(data) if row.positionIdx == 0]
        told = [
            (row.symbol, parse_position([row], contract))
            for row in rows
            if (contract := self._order_feeds.contract_of(row.symbol)) is not None
        ]
        for symbol, position in told:
            if position is not None:
                self._order_feeds.on_position(symbol, position, ts_local_ns)

    # -- housekeeping --------------------------------------------------------------------------------

    async def _read_funding(self, since_ns: int) -> list[Payment]:
        rows = await self._executions(since_ns // NS_PER_MS, {"execType": FUNDING})
        return [payment_of(row) for row in rows if row.execType == FUNDING]

    def _judge(self, answer: Answer, operation: str) -> VenueError | None:
        if operation in ("place", "cancel"):
            headers = answer.headers
            self._note_usage(
                headers.get("X-Bapi-Limit", ""), headers.get("X-Bapi-Limit-Status", "")
            )
        return parse_answer_error(answer, operation)

    def _note_usage(self, limit: str, left: str) -> None:
        if limit.isdecimal() and left.isdecimal():
            most = int(limit[:9])
            self.on_usage(max(0, most - int(left[:9])), most)


def payment_of(row: Execution) -> Payment:
    """What is paid for a position is its fee."""
    return Payment(
        payment_id=row.execId,
        symbol=row.symbol,
        amount=-parse_decimal(row.execFee or "0"),
        ts_venue_ns=parse_ms_text(row.execTime),
    )


def topics() -> Subscriptions:
    return Subscriptions(
        build_subscribe,
        first_message_s=lambda topic: FIRST_MESSAGE_S.get(topic.partition(".")[0]),
        most=10,
        gap_s=CONTROL_GAP_S,
    )


def kline_name(symbol: str, interval_s: int) -> str:
    return f"kline.{INTERVALS[interval_s]}.{symbol}"


def make(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    **parts: Any,
) -> Bybit:
    """`LIVE`, `DEMO` or endpoints of your own; `parts`: see `Bybit`."""
    return Bybit(credentials, endpoints, bot_tag, clock, rng, **parts)
