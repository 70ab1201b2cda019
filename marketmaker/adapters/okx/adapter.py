"""One account at OKX: what waits for the venue, and what hears it."""

from __future__ import annotations

import asyncio
import random
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
from marketmaker.adapters.http import Answer
from marketmaker.adapters.logins import Logins
from marketmaker.adapters.okx.build import (
    Signer,
    build_cancel,
    build_order_params,
    build_place,
    build_subscribe,
    build_topic,
)
from marketmaker.adapters.okx.parse import (
    is_linear,
    is_tradable,
    name_of,
    parse_answer_error,
    parse_candle,
    parse_candle_channel,
    parse_contract,
    parse_equity,
    parse_error,
    parse_fill,
    parse_order,
    parse_placed,
    parse_position,
)
from marketmaker.adapters.okx.tables import (
    ARM_GAP_NS,
    BATCH,
    CANDLES_MAX,
    CONTROL_GAP_S,
    FIRST_MESSAGE_S,
    HEARTBEAT_S,
    INTERVALS,
    MAKER_FEE,
    OLDER_NS,
    ORDER_BURST,
    ORDERS_PER_S,
    PRIVATE_TOPICS,
    RECENT_FILLS_MS,
    RECONNECT_SOON,
    REQUEST_LIFETIME_S,
    ROWS_PER_PAGE,
    SPOT_ONLY,
    SWITCH_LEAST_S,
    SWITCH_MOST_S,
    TAKER_FEE,
    VENUE,
    Endpoints,
)
from marketmaker.adapters.okx.wire import (
    Ack,
    FillRow,
    Frame,
    InstrumentRow,
    MarkPrice,
    OrderRow,
    Trades,
    read_acks,
    read_balances,
    read_bills,
    read_candles,
    read_changes,
    read_configs,
    read_envelope,
    read_fees,
    read_fills,
    read_frame,
    read_funding_rates,
    read_instruments,
    read_leverages,
    read_marks,
    read_orders,
    read_positions,
    read_times,
    read_trades,
)
from marketmaker.adapters.order_socket import Requests, Sent
from marketmaker.adapters.parsing import (
    NS_PER_MS,
    is_number,
    malformed,
    parse_decimal,
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
    OutcomeUnknown,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import Credentials

PONG = b"pong"
Outcomes = list[OrderReport | VenueError]
Cancelled = list[OrderReport | VenueError | None]


class Okx:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s`: after how long without a word from us the venue cancels every order that carries our tag; 0 leaves
    the switch alone. `malformed` keeps the last frames that broke the contract. `on_usage` is never called: this venue
    tells no usage.
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
        self._endpoints = endpoints
        self._timeout_s = timeout_s
        self._now_ns = clock.now_ns
        self._tag = bot_tag
        self._ids = TextForm(bot_tag)
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._services: list[asyncio.Task[None]] = []
        self._rows: dict[str, InstrumentRow] = {}
        self._names: dict[str, str] = {}
        self._contracts: dict[str, Contract] = {}
        self._price_feeds, self._candle_feeds = PriceFeeds(), CandleFeeds()
        self._order_feeds = OrderFeeds(self._read_bills, clock=self._clock)
        self._armed_ns = 0
        self._rest = Rest(
            endpoints.rest_url,
            venue=VENUE,
            clock=self._clock,
            tasks=self._tasks,
            sign=self._signer.request,
            judge=self._judge,
            keyed=self._keyed,
            server_time=self._server_time,
            headers={
                "Content-Type": "application/json",
                **({"x-simulated-trading": "1"} if endpoints.simulated == "1" else {}),
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
        self._private_topics.wanted.update(dict.fromkeys(PRIVATE_TOPICS))

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
            endpoints.ws_business_url,
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
            cancel_all=False,
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
        params: dict[str, object] = {"instType": "SWAP"}
        rows = read_instruments(
            await self._public("/api/v5/public/instruments", params, operation="instruments")
        )
        self._rows = {name_of(row): row for row in rows if is_linear(row)}
        self._names = {row.instId: name for name, row in self._rows.items()}
        if self._keyed:
            services = (self._entry.hold(), self._rest.keep_time(), self._order_feeds.funding.run())
            self._services = [self._tasks.own(service) for service in services]

    async def close(self) -> None:
        """Switches the dead-man's switch off, then lets go of everything."""
        await self._switch.close(self._timeout_s / 2)
        await self._tasks.end()
        await self._rest.close()

    # -- questions -----------------------------------------------------------------------------------

    async def _public(
        self, path: str, params: dict[str, object] | None = None, *, operation: str
    ) -> bytes:
        return data_of(await self._rest.get(path, params, operation=operation))

    async def _ask(
        self, path: str, params: dict[str, object] | None = None, *, operation: str
    ) -> bytes:
        return data_of(await self._rest.signed("GET", path, params, operation=operation))

    async def _tell(self, path: str, params: Any, *, operation: str) -> bytes:
        return data_of(await self._rest.signed("POST", path, params, operation=operation))

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = (each for each, row in self._rows.items() if is_tradable(row))
            standing = f"state {row.state}" if row else ""
            raise not_tradable(VENUE, name, known, standing)
        maker, taker = MAKER_FEE, TAKER_FEE
        if self._keyed:
            params: dict[str, object] = {"instType": "SWAP", "instFamily": row.instFamily}
            rates = read_fees(
                await self._ask("/api/v5/account/trade-fee", params, operation="fees")
            )
            if rates:
                maker = -parse_decimal(rates[0].makerU or rates[0].maker)
                taker = -parse_decimal(rates[0].takerU or rates[0].taker)
        contract = parse_contract(row, maker, taker)
        self._contracts[row.instId] = contract
        return contract.instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        """Raises ConfigError for an account that cannot trade swaps at all."""
        config = first(
            read_configs(await self._ask("/api/v5/account/config", operation="account")), "config"
        )
        if config.acctLv == SPOT_ONLY:
            raise ConfigError(
                f"{VENUE}: the account is in spot mode and cannot trade swaps; switch it to futures mode (Settings,"
                " Account mode)"
            )
        contract = self._contract(instrument)
        levers = read_leverages(
            await self._ask(
                "/api/v5/account/leverage-info",
                {"instId": contract.symbol, "mgnMode": "cross"},
                operation="account",
            )
        )
        ccy: dict[str, object] = {"ccy": instrument.quote}
        balances = read_balances(
            await self._ask("/api/v5/account/balance", ccy, operation="account")
        )
        details = [detail for balance in balances for detail in balance.details]
        equity, available = parse_equity(details, instrument.quote)
        return AccountState(
            equity=equity,
            available=available,
            leverage=max(
                (parse_decimal(row.lever) for row in levers if row.lever), default=Decimal(1)
            ),
            hedge_mode=config.posMode != "net_mode",
            can_withdraw="withdraw" in config.perm.split(",") if config.perm else None,
            clock_offset_ns=self._clock.offset_ns,
        )

    async def fetch_position(self, instrument: Instrument) -> Position:
        contract = self._contract(instrument)
        params: dict[str, object] = {"instType": "SWAP", "instId": contract.symbol}
        rows = read_positions(
            await self._ask("/api/v5/account/positions", params, operation="position")
        )
        position = parse_position(rows, contract)
        if position is not None:
            return position
        marks = read_marks(
            await self._public("/api/v5/public/mark-price", params, operation="mark_price")
        )
        mark = parse_decimal(first(marks, "mark price").markPx)
        return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        contract = self._contract(instrument)
        params: dict[str, object] = {
            "instType": "SWAP",
            "instId": contract.symbol,
            "limit": ROWS_PER_PAGE,
        }
        rows: list[OrderRow] = []
        while True:
            page = read_orders(
                await self._ask(
                    "/api/v5/trade/orders-pending", dict(params), operation="open_orders"
                )
            )
            rows += page
            if len(page) < ROWS_PER_PAGE:
                break
            params["after"] = page[-1].ordId
        return [parse_order(row, contract, self._ids) for row in reversed(rows)]

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        contract = self._contract(instrument)
        params: dict[str, object] = {
            "instId": contract.symbol,
            "clOrdId": self._ids.encode(client_order_id),
        }
        rows = read_orders(await self._ask("/api/v5/trade/order", params, operation="order"))
        if not rows:
            raise OrderNotFound("no such order", venue=VENUE, operation="order")
        return parse_order(rows[0], contract, self._ids)

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        """Newest first from the venue, page by page; oldest first from here."""
        contract, since_ms = self._contract(instrument), since_ns // NS_PER_MS
        recent = self._clock.now_ms() - since_ms < RECENT_FILLS_MS
        path = "/api/v5/trade/fills" if recent else "/api/v5/trade/fills-history"
        params: dict[str, object] = {
            "instType": "SWAP",
            "instId": contract.symbol,
            "begin": since_ms,
            "limit": ROWS_PER_PAGE,
        }
        rows: list[FillRow] = []
        while True:
            page = read_fills(await self._ask(path, dict(params), operation="fills"))
            rows += page
            if len(page) < ROWS_PER_PAGE:
                break
            params["after"] = page[-1].billId
        fills = [parse_fill(row, contract, self._ids) for row in reversed(rows)]
        return [fill for fill in fills if fill.ts_venue_ns >= since_ns]

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """At most 300; none of a symbol or an interval the venue does not have."""
        row = self._rows.get(symbol)
        if row is None or interval_s not in INTERVALS:
            return []
        params: dict[str, object] = {
            "instId": row.instId,
            "bar": INTERVALS[interval_s],
            "limit": min(limit, CANDLES_MAX),
        }
        candles = read_candles(
            await self._public("/api/v5/market/candles", params, operation="candles")
        )
        return [parse_candle(each, symbol, interval_s) for each in reversed(candles)]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        params: dict[str, object] = {"instId": self._contract(instrument).symbol}
        rates = read_funding_rates(
            await self._public("/api/v5/public/funding-rate", params, operation="funding_rate")
        )
        return parse_decimal(first(rates, "funding rate").fundingRate)

    def _contract(self, instrument: Instrument) -> Contract:
        row = self._rows[instrument.name]
        if row.instId not in self._contracts:
            fees = instrument.maker_fee, instrument.taker_fee
            self._contracts[row.instId] = parse_contract(row, *fees)
        return self._contracts[row.instId]

    async def _server_time(self) -> int:
        times = read_times(await self._public("/api/v5/public/time", operation="time"))
        return parse_ms_text(first(times, "time").ts)

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
                orders[first:last], contract, ids[first:last], tag=self._tag, number=number, ms=ms
            ),
            most=BATCH,
            about=orders,
        )

    def cancel(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Awaitable[Cancelled]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._cancel_by_rest(instrument, orders))
        contract = self._contract(instrument)
        ids = [self._ids.encode(order.client_order_id) for order in orders]
        return self._requests.send(
            contract,
            "cancel",
            link,
            len(orders),
            lambda first, last, number: build_cancel(contract, ids[first:last], number=number),
            most=BATCH,
            about=orders,
        )

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every order of ours of the instrument; this venue has no request for it."""
        ours = [
            OrderRef(client_order_id=report.client_order_id, venue_order_id=report.venue_order_id)
            for report in await self.fetch_open_orders(instrument)
            if report.client_order_id is not None
        ]
        await self._cancel_by_rest(instrument, ours)

    def _hear_reply(self, link: Link, message: bytes) -> None:
        if message == PONG:
            return
        try:
            frame = read_frame(message)
            if self._hear_event(link, frame) or not frame.op:
                return
            sent = self._requests.answered(frame.id)
            if sent is None:
                return
            sent.land(self._outcomes(sent, frame))
        except MalformedMessage as error:
            self.malformed.keep(error, message)

    def _outcomes(self, sent: Sent, frame: Frame) -> Cancelled:
        """One for each order of the request; what the venue says of the whole request holds for each."""
        operation, asked = sent.flight.operation, sent.flight.about[sent.first : sent.last]
        try:
            acks = read_acks(bytes(frame.data))
        except MalformedMessage as error:
            return [error] * len(asked)
        if not acks:
            failure = parse_error(frame.code, frame.msg, operation)
            self._rest.heed(failure)
            return [failure] * len(asked)
        return self._of_acks(acks, asked, operation)

    def _of_acks(
        self, acks: Sequence[Ack], asked: Sequence[NewOrder | OrderRef], operation: str
    ) -> Cancelled:
        """Row by row, as long as each speaks of the order in its place; of any other nothing is known."""
        outcomes: Cancelled = []
        for place, order in enumerate(asked):
            ack = acks[place] if place < len(acks) else None
            if ack is None or ack.clOrdId not in ("", self._ids.encode(order.client_order_id)):
                silent = "the answer does not speak of this order"
                outcomes.append(OutcomeUnknown(silent, venue=VENUE, operation=operation))
                continue
            outcome = self._of_ack(ack, order, operation)
            if isinstance(outcome, VenueError):
                self._rest.heed(outcome)
            outcomes.append(outcome)
        return outcomes

    def _of_ack(
        self, ack: Ack, order: NewOrder | OrderRef, operation: str
    ) -> OrderReport | VenueError | None:
        try:
            if isinstance(order, NewOrder):
                return parse_placed(ack, order, operation)
            return None if ack.sCode == "0" else parse_error(ack.sCode, ack.sMsg, operation)
        except MalformedMessage as error:
            return error

    async def _place_by_rest(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Outcomes:
        contract = self._contract(instrument)
        rows = [
            build_order_params(order, contract, self._ids.encode(order.client_order_id), self._tag)
            for order in orders
        ]
        outcomes = await self._by_rest("order", "batch-orders", rows, orders, operation="place")
        return [each for each in outcomes if each is not None]

    async def _cancel_by_rest(
        self, instrument: Instrument, orders: Sequence[OrderRef]
    ) -> Cancelled:
        symbol = self._contract(instrument).symbol
        rows = [
            {"instId": symbol, "clOrdId": self._ids.encode(order.client_order_id)}
            for order in orders
        ]
        return await self._by_rest(
            "cancel-order", "cancel-batch-orders", rows, orders, operation="cancel"
        )

    async def _by_rest(
        self,
        one: str,
        many: str,
        rows: Sequence[dict[str, Any]],
        orders: Sequence[NewOrder | OrderRef],
        *,
        operation: str,
    ) -> Cancelled:
        """One outcome for each order; one request's failure is its own."""
        outcomes: Cancelled = []
        for start in range(0, len(rows), BATCH):
            share, asked = rows[start : start + BATCH], orders[start : start + BATCH]
            path, params = (one, share[0]) if len(share) == 1 else (many, share)
            try:
                body = await self._tell(f"/api/v5/trade/{path}", params, operation=operation)
                outcomes += self._of_acks(read_acks(body), asked, operation)
            except VenueError as error:
                outcomes += [error] * len(share)
        return outcomes

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        names = [build_topic(channel, contract.symbol) for channel in ("trades", "mark-price")]
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
            symbol: build_topic(f"candle{interval}", self._rows[symbol].instId)
            for symbol in symbols
            if symbol in self._rows
        }
        await self._candle_feeds.follow(
            names, interval_s, listener, session=self._candles, topics=self._candle_topics
        )

    async def stream_orders(self, instrument: Instrument, listener: OrderListener) -> None:
        """Also keeps the dead-man's switch armed."""
        if not self._keyed:
            raise no_key(VENUE, "orders")
        contract = self._contract(instrument)
        with self._order_feeds.joined(contract.symbol, contract, listener):
            if self._private.up:
                listener.stream_up()
            mine = (self._private.hold(), self._switch.keep_armed(contract.symbol))
            await hold_until_one_fails([self._tasks.own(each) for each in mine], self._services)

    def _hear_event(self, link: Link, frame: Frame) -> bool:
        """Whether it was news of the login."""
        if frame.event not in ("login", "error") or not self._logins.awaited(link):
            return False
        good = frame.event == "login" and frame.code == "0"
        self._logins.answered(
            link, None if good else parse_error(frame.code, frame.msg, "login", status=401)
        )
        return True

    def _hear_control(self, topics: Subscriptions, session: Session, frame: Frame) -> None:
        """What is not data. Raises MalformedMessage for what is unknown."""
        match frame.event:
            case "subscribe" | "unsubscribe" if is_number(frame.id):
                topics.answered(int(frame.id))
            case "error" if is_number(frame.id):
                topics.answered(
                    int(frame.id), f"subscription refused: {frame.code} {frame.msg[:200]}"
                )
            case "notice":
                if frame.code == RECONNECT_SOON:
                    session.rotate()
            case "error":
                raise malformed(f"refused: {frame.code} {frame.msg[:200]}")
            case "channel-conn-count" | "channel-conn-count-error" | "subscribe" | "unsubscribe":
                pass
            case _:
                raise malformed(f"unknown event {frame.event[:40]!r}")

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            if message.startswith(b'{"arg":{"channel":"trades"'):
                trades: Trades | None = read_trades(message)
            else:
                trades = self._hear_other(link, message, ts_local_ns)
            if trades is None or not trades.data:
                return
            feed = self._price_feeds.of.get(trades.arg.instId)
            if feed is None:
                return
            last = trades.data[-1]
            price, ts_venue_ns = Ticks(feed.contract.price.parse(last.px)), parse_ms_text(last.ts)
            if price <= 0:
                raise malformed("a trade without a price")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        if link.silent:
            link.silent.pop(f"trades {trades.arg.instId}", None)
        if 0 < feed.last_ns - ts_venue_ns < OLDER_NS:
            return
        feed.last_ns = ts_venue_ns
        for listener in feed.listeners:
            listener.on_price(price, ts_venue_ns, ts_local_ns)

    def _hear_other(self, link: Link, message: bytes, ts_local_ns: int) -> Trades | None:
        """Everything that does not begin as trades do; returns them where they are some after all."""
        if message == PONG:
            return None
        frame = read_frame(message)
        if frame.event or frame.arg is None:
            self._hear_control(self._price_topics, self._prices, frame)
            return None
        match frame.arg.channel:
            case "trades":
                return read_trades(message)
            case "mark-price":
                for row in read_marks(bytes(frame.data)):
                    self._hear_mark(link, row, ts_local_ns)
                return None
            case channel:
                raise malformed(f"unknown channel {channel[:40]!r}")

    def _hear_mark(self, link: Link, row: MarkPrice, ts_local_ns: int) -> None:
        feed = self._price_feeds.of.get(row.instId)
        if feed is None:
            return
        price, ts_venue_ns = feed.contract.price.near(row.markPx), parse_ms_text(row.ts)
        if price <= 0:
            raise malformed("a mark price of nothing")
        feed.mark = parse_decimal(row.markPx)
        self._price_topics.heard(link, f"mark-price {row.instId}")
        feed.confirm(price, ts_venue_ns, ts_local_ns)

    def _hear_candle(self, link: Link, message: bytes) -> None:
        if message == PONG:
            return
        try:
            frame = read_frame(message)
            if frame.event or frame.arg is None:
                self._hear_control(self._candle_topics, self._candles, frame)
                return
            arg = frame.arg
            interval_s, name = parse_candle_channel(arg.channel), self._names.get(arg.instId)
            if name is None:
                return
            candles = [
                parse_candle(row, name, interval_s) for row in read_candles(bytes(frame.data))
            ]
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._candle_topics.heard(link, build_topic(arg.channel, arg.instId))
        for candle in candles:
            self._candle_feeds.hear(candle)

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        if message == PONG:
            return
        try:
            frame = read_frame(message)
            if frame.event or frame.arg is None:
                if not self._hear_event(link, frame):
                    self._hear_control(self._private_topics, self._private, frame)
                return
            match frame.arg.channel:
                case "orders":
                    self._hear_orders(bytes(frame.data), ts_local_ns)
                case "positions":
                    self._hear_positions(bytes(frame.data), ts_local_ns)
                case "balance_and_position":
                    for change in read_changes(bytes(frame.data)):
                        if change.eventType == "funding_fee":
                            self._order_feeds.funding.paid(parse_ms_text(change.pTime))
                case "account":
                    pass
                case channel:
                    raise malformed(f"unknown channel {channel[:40]!r}")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            self._order_feeds.doubt(error)

    def _hear_orders(self, data: bytes, ts_local_ns: int) -> None:
        reports = [
            (row.instId, parse_order(row, contract, self._ids))
            for row in read_orders(data)
            if (contract := self._order_feeds.contract_of(row.instId)) is not None
        ]
        for symbol, report in reports:
            self._order_feeds.on_order(symbol, report, ts_local_ns)

    def _hear_positions(self, data: bytes, ts_local_ns: int) -> None:
        rows = read_positions(data)
        for symbol in dict.fromkeys(row.instId for row in rows):
            contract = self._order_feeds.contract_of(symbol)
            if contract is None:
                continue
            position = parse_position([row for row in rows if row.posSide == "net"], contract)
            if position is not None:
                self._order_feeds.on_position(symbol, position, ts_local_ns)

    # -- housekeeping --------------------------------------------------------------------------------

    async def _arm(self, symbol: str, after_s: float) -> None:
        """One call a second at most, whatever the number of symbols that need it."""
        now_ns = self._now_ns()
        if after_s and now_ns - self._armed_ns < ARM_GAP_NS:
            return
        self._armed_ns = now_ns
        params = {"timeOut": str(round(after_s)), "tag": self._tag}
        await self._tell("/api/v5/trade/cancel-all-after", params, operation="dead_man")

    async def _read_bills(self, since_ns: int) -> list[Payment]:
        params: dict[str, object] = {
            "instType": "SWAP",
            "type": "8",
            "begin": since_ns // NS_PER_MS,
            "limit": ROWS_PER_PAGE,
        }
        found: list[Payment] = []
        while True:
            rows = read_bills(
                await self._ask("/api/v5/account/bills", dict(params), operation="funding")
            )
            for row in rows:
                contract = self._contracts.get(row.instId)
                if contract is None or row.ccy == contract.instrument.quote:
                    found.append(
                        Payment(
                            payment_id=row.billId,
                            symbol=row.instId,
                            amount=parse_decimal(row.balChg),
                            ts_venue_ns=parse_ms_text(row.ts),
                        )
                    )
            if len(rows) < ROWS_PER_PAGE:
                return found[::-1]
            params["after"] = rows[-1].billId

    def _judge(self, answer: Answer, operation: str) -> VenueError | None:
        return parse_answer_error(answer, operation)


def topics() -> Subscriptions:
    """Each topic is asked for by itself: an answer names the request, and so the topic."""
    return Subscriptions(
        build_subscribe, first_message_s=first_message_s, most=1, gap_s=CONTROL_GAP_S
    )


def first_message_s(topic: str) -> float | None:
    channel = topic.partition(" ")[0]
    return FIRST_MESSAGE_S.get("candle" if channel.startswith("candle") else channel)


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
) -> Okx:
    """`LIVE`, `DEMO` or endpoints of your own; `parts`: see `Okx`."""
    return Okx(credentials, endpoints, bot_tag, clock, rng, **parts)
