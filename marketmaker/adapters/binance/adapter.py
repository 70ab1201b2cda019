"""One account at Binance: what waits for the venue, and what hears it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from marketmaker.adapters.binance.build import (
    Signer,
    build_cancel,
    build_order_params,
    build_place,
    build_subscribe,
    kind_of,
)
from marketmaker.adapters.binance.parse import (
    is_tradable,
    parse_answer_error,
    parse_book_ticker,
    parse_error,
    parse_instrument,
    parse_kline,
    parse_kline_row,
    parse_limits,
    parse_order,
    parse_order_event,
    parse_position,
    parse_position_event,
    parse_trade_row,
    unwrap,
)
from marketmaker.adapters.binance.tables import (
    BATCH_PATH,
    CANCEL_BATCH,
    CANDLES_MAX,
    CONTROL_GAP_S,
    FIRST_MESSAGE_S,
    HISTORY_MS,
    INCOME_PER_PAGE,
    INTERVALS,
    KEY_MAY_NOT_TRADE,
    LISTEN_KEY_LAPSED,
    LISTEN_KEY_RENEWAL_S,
    MAKER_FEE,
    MAY_NOT_TRADE,
    NAMES_PER_SUBSCRIBE,
    NOT_READ,
    OLDER_NS,
    ORDER_PATH,
    ORDERS_PER_10S,
    ORDERS_PER_MIN,
    ORDERS_PER_PAGE,
    PLACE_BATCH,
    PRICE_STREAMS,
    REQUEST_LIFETIME_S,
    TAKER_FEE,
    TRADES_PER_PAGE,
    VENUE,
    WINDOW_MS,
    Endpoints,
)
from marketmaker.adapters.binance.wire import (
    AccountUpdate,
    AggTrade,
    IncomeRow,
    Kind,
    OrderEvent,
    OrderRow,
    PremiumIndex,
    RawTrade,
    Reply,
    SymbolRow,
    TradeRow,
    Usage,
    read_account_config,
    read_account_update,
    read_agg_trade,
    read_balances,
    read_book_ticker,
    read_commission,
    read_error,
    read_exchange_info,
    read_income,
    read_items,
    read_key_restrictions,
    read_kind,
    read_kline,
    read_klines,
    read_listen_key,
    read_mark_price,
    read_order,
    read_order_update,
    read_orders,
    read_positions,
    read_premium_index,
    read_raw_trade,
    read_reply,
    read_server_time,
    read_symbol_config,
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
from marketmaker.adapters.http import Answer
from marketmaker.adapters.order_socket import Requests
from marketmaker.adapters.owners import Owners, Row
from marketmaker.adapters.parsing import (
    MS_MAX,
    NOTHING,
    NS_PER_MS,
    malformed,
    parse_decimal,
    parse_ms,
)
from marketmaker.adapters.protocol import (
    CandleListener,
    Capabilities,
    OrderListener,
    PriceListener,
    Turn,
)
from marketmaker.adapters.rest import Rest, build_json, no_key
from marketmaker.adapters.sessions import Sessions
from marketmaker.adapters.subscriptions import Subscriptions
from marketmaker.adapters.tasks import Tasks
from marketmaker.adapters.venue_clock import Clock, VenueClock
from marketmaker.adapters.websocket import Dial, Link, Timing, share_turn
from marketmaker.errors import (
    AuthenticationRefused,
    ConfigError,
    MalformedMessage,
    Rejected,
    VenueError,
)
from marketmaker.model.account import AccountState, Position
from marketmaker.model.client_order_id import TextForm
from marketmaker.model.instrument import Instrument, Lots, Ticks
from marketmaker.model.market import Candle
from marketmaker.model.order import ClientOrderId, Fill, NewOrder, OrderRef, OrderReport
from marketmaker.model.settings import Credentials

Outcomes = list[OrderReport | VenueError]


class Binance:
    """One account. Implements `adapters.protocol.Adapter`; without an API key only what is public works.

    `dead_man_s`: after how long without a word from us the venue cancels every order of a symbol whose order stream
    is in use; 0 leaves the switch alone. `on_usage(used, limit)` hears how many order messages the venue has counted
    in one of its windows. `malformed` keeps the last frames that broke the contract; `used_weight` is the request
    weight of the running minute as the venue last told it.
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
        self.used_weight = 0
        self._endpoints = endpoints
        self._timeout_s = timeout_s
        self._now_ns = clock.now_ns
        self._ids = TextForm(bot_tag)
        self._keyed = bool(credentials.api_key)
        self._signer = Signer(credentials)
        self._clock = VenueClock(clock)
        self._tasks = Tasks()
        self._services: list[asyncio.Task[None]] = []
        self._limits = {"10S": ORDERS_PER_10S, "1M": ORDERS_PER_MIN}
        self._rows: dict[str, SymbolRow] = {}
        self._contracts: dict[str, Contract] = {}
        self._price_feeds, self._candle_feeds = PriceFeeds(), CandleFeeds()
        self._order_feeds = OrderFeeds(self._read_income, clock=self._clock)
        self._feed_of = self._price_feeds.of.get
        self._owners = Owners(VENUE)

        def rest(url: str) -> Rest:
            return Rest(
                url,
                venue=VENUE,
                clock=self._clock,
                tasks=self._tasks,
                sign=self._signer.request,
                judge=self._judge,
                keyed=self._keyed,
                server_time=self._server_time,
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    **({"X-MBX-APIKEY": credentials.api_key} if self._keyed else {}),
                },
                timeout_s=timeout_s,
            )

        self._rest = rest(endpoints.rest_url)
        self._key_rest = rest(endpoints.key_url) if endpoints.key_url else None
        self._requests = Requests(
            venue=VENUE, timeout_s=timeout_s, refused=self._rest.quiet.refusal
        )
        self._switch = DeadMansSwitch(self._arm, after_s=dead_man_s, tasks=self._tasks)

        def topics() -> Subscriptions:
            return Subscriptions(
                build_subscribe,
                first_message_s=lambda name: FIRST_MESSAGE_S[kind_of(name)],
                most=NAMES_PER_SUBSCRIBE,
                gap_s=CONTROL_GAP_S,
            )

        sessions = Sessions(VENUE, rng=rng, timing=timing, dial=dial)
        self._price_topics, self._candle_topics = topics(), topics()
        self._prices = sessions.make(
            "prices",
            self._market_url,
            topics=self._price_topics,
            feeds=self._price_feeds,
            on_message=self._hear_price,
        )
        self._candles = sessions.make(
            "candles",
            self._market_url,
            topics=self._candle_topics,
            feeds=self._candle_feeds,
            on_message=self._hear_candle,
        )
        self._private = sessions.make(
            "order stream",
            self._private_url,
            feeds=self._order_feeds,
            on_message=self._hear_private,
        )
        self._entry = sessions.make(
            "order entry",
            self._order_url,
            on_message=self._hear_reply,
            on_gone=self._requests.gone,
        )

    @property
    def name(self) -> str:
        return VENUE

    @property
    def capabilities(self) -> Capabilities:
        """The order rate keeps both of the venue's windows, ten seconds and a minute, even right after a burst."""
        short, long = self._limits["10S"], self._limits["1M"]
        burst = max(1, min(short, long) // 3)
        return Capabilities(
            post_only=True,
            reduce_only=True,
            place_batch=PLACE_BATCH,
            cancel_batch=CANCEL_BATCH,
            cancel_all=True,
            query_by_client_id=True,
            confirming_price=True,
            orders_per_s=max(1.0, min((short - burst) / 10, (long - burst) / 60)),
            order_burst=burst,
            request_lifetime_s=REQUEST_LIFETIME_S,
        )

    @property
    def client_order_ids(self) -> TextForm:
        return self._ids

    def take_turns(self, turn: Turn) -> None:
        share_turn(turn, self._prices, self._private, self._entry)

    # -- life ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Clock, instruments, limits; with a key also the order socket, so that it is warm when it is needed."""
        await self._rest.open()
        if self._key_rest is not None:
            await self._key_rest.open()
        await self._rest.measure_clock()
        body = await self._rest.get("/fapi/v1/exchangeInfo", operation="instruments")
        info = read_exchange_info(body)
        self._rows = {row.symbol: row for row in info.symbols}
        self._limits.update(parse_limits(info.rateLimits))
        if self._keyed:
            services = (self._entry.hold(), self._keep_house(), self._order_feeds.funding.run())
            self._services = [self._tasks.own(service) for service in services]

    async def close(self) -> None:
        """Switches the dead-man's switch off, then lets go of everything."""
        await self._switch.close(self._timeout_s / 2)
        await self._tasks.end()
        for rest in (self._rest, self._key_rest):
            if rest is not None:
                await rest.close()

    # -- questions -----------------------------------------------------------------------------------

    async def fetch_instrument(self, name: str) -> Instrument:
        row = self._rows.get(name)
        if row is None or not is_tradable(row):
            known = (each.symbol for each in self._rows.values() if is_tradable(each))
            standing = f"status {row.status}, {row.contractType}" if row else ""
            raise not_tradable(VENUE, name, known, standing)
        maker, taker = MAKER_FEE, TAKER_FEE
        if self._keyed:
            body = await self._rest.signed(
                "GET", "/fapi/v1/commissionRate", {"symbol": name}, operation="fees"
            )
            rates = read_commission(body)
            maker = parse_decimal(rates.makerCommissionRate)
            taker = parse_decimal(rates.takerCommissionRate)
        instrument = parse_instrument(row, maker, taker)
        self._contracts[name] = Contract(instrument)
        return instrument

    async def fetch_account(self, instrument: Instrument) -> AccountState:
        ask = partial(self._rest.signed, "GET", operation="account")
        balances = read_balances(await ask("/fapi/v3/balance"))
        mode = read_account_config(await ask("/fapi/v1/accountConfig"))
        if not mode.canTrade:
            raise AuthenticationRefused(MAY_NOT_TRADE, venue=VENUE, operation="account")
        symbols = read_symbol_config(
            await ask("/fapi/v1/symbolConfig", {"symbol": instrument.name})
        )
        leverage = next((row.leverage for row in symbols if row.symbol == instrument.name), None)
        if leverage is None:
            raise malformed(f"no leverage of {instrument.name}")
        row = next((row for row in balances if row.asset == instrument.quote), None)
        equity = available = Decimal(0)
        if row is not None:
            equity = parse_decimal(row.balance) + parse_decimal(row.crossUnPnl)
            available = parse_decimal(row.availableBalance)
        return AccountState(
            equity=equity,
            available=available,
            leverage=Decimal(leverage),
            hedge_mode=mode.dualSidePosition,
            can_withdraw=await self._can_withdraw(),
            clock_offset_ns=self._clock.offset_ns,
        )

    async def _can_withdraw(self) -> bool | None:
        if self._key_rest is None:
            return None
        try:
            body = await self._key_rest.signed(
                "GET", "/sapi/v1/account/apiRestrictions", operation="key"
            )
            allowed = read_key_restrictions(body)
        except VenueError:
            return None
        if not allowed.enableFutures:
            raise AuthenticationRefused(KEY_MAY_NOT_TRADE, venue=VENUE, operation="key")
        return allowed.enableWithdrawals

    async def fetch_position(self, instrument: Instrument) -> Position:
        body = await self._rest.signed(
            "GET", "/fapi/v3/positionRisk", {"symbol": instrument.name}, operation="position"
        )
        position = parse_position(read_positions(body), self._contract(instrument))
        if position is not None:
            return position
        mark = parse_decimal((await self._premium_index(instrument)).markPrice)
        return Position(qty_lots=Lots(0), entry_price=Decimal(0), mark_price=mark)

    async def fetch_open_orders(self, instrument: Instrument) -> list[OrderReport]:
        """All of them: the venue has no pages here."""
        body = await self._rest.signed(
            "GET", "/fapi/v1/openOrders", {"symbol": instrument.name}, operation="open_orders"
        )
        return [self._report(row, self._contract(instrument)) for row in read_orders(body)]

    async def fetch_order(
        self, instrument: Instrument, client_order_id: ClientOrderId
    ) -> OrderReport:
        wire_id = self._ids.encode(client_order_id)
        params = {"symbol": instrument.name, "origClientOrderId": wire_id}
        body = await self._rest.signed("GET", ORDER_PATH, params, operation="order")
        return self._report(read_order(body), self._contract(instrument))

    async def fetch_fills(self, instrument: Instrument, since_ns: int) -> list[Fill]:
        """In windows of seven days until one holds trades, then by trade id to the end."""
        contract = self._contract(instrument)
        now_ms = self._clock.now_ms()
        start_ms = max(since_ns // NS_PER_MS, now_ms - HISTORY_MS)
        rows: list[TradeRow] = []
        while start_ms <= now_ms and not rows:
            end_ms = start_ms + WINDOW_MS
            rows = await self._trades(instrument, {"startTime": start_ms, "endTime": end_ms})
            start_ms = end_ms + 1
        page = rows
        while rows and (len(page) == TRADES_PER_PAGE or start_ms <= now_ms):
            page = await self._trades(instrument, {"fromId": rows[-1].id + 1})
            rows += page
            if len(page) < TRADES_PER_PAGE:
                break
        await self._learn_owners(instrument.name, rows)
        fills = [parse_trade_row(row, contract, self._owners.of(str(row.orderId))) for row in rows]
        return [fill for fill in fills if fill.ts_venue_ns >= since_ns]

    async def fetch_candles(self, symbol: str, interval_s: int, limit: int) -> list[Candle]:
        """At most 1,500; none of a symbol or an interval the venue does not have."""
        if symbol not in self._rows or interval_s not in INTERVALS:
            return []
        params = {
            "symbol": symbol,
            "interval": INTERVALS[interval_s],
            "limit": min(limit, CANDLES_MAX),
        }
        rows = read_klines(await self._rest.get("/fapi/v1/klines", params, operation="candles"))
        venue_ns = self._clock.now_ns()
        return [parse_kline_row(row, symbol, interval_s, venue_ns) for row in rows]

    async def fetch_funding_rate(self, instrument: Instrument) -> Decimal:
        return parse_decimal((await self._premium_index(instrument)).lastFundingRate)

    async def _premium_index(self, instrument: Instrument) -> PremiumIndex:
        params = {"symbol": instrument.name}
        return read_premium_index(
            await self._rest.get("/fapi/v1/premiumIndex", params, operation="premium_index")
        )

    async def _trades(self, instrument: Instrument, where: dict[str, int]) -> list[TradeRow]:
        params = {"symbol": instrument.name, **where, "limit": TRADES_PER_PAGE}
        rows = read_trades(
            await self._rest.signed("GET", "/fapi/v1/userTrades", params, operation="fills")
        )
        return sorted(rows, key=lambda row: row.id)

    async def _learn_owners(self, symbol: str, rows: Iterable[TradeRow]) -> None:
        """Whose the orders are that this process has not met."""
        ask_rest = partial(self._rest.signed, "GET", operation="fills")

        def owner(row: OrderRow) -> Row:
            return str(row.orderId), self._ids.decode(row.clientOrderId)

        async def ask(order_id: str) -> Row:
            body = await ask_rest(ORDER_PATH, {"symbol": symbol, "orderId": order_id})
            return order_id, owner(read_order(body))[1]

        async def ask_many(order_ids: Sequence[str]) -> list[Row]:
            oldest = min(map(int, order_ids))
            params = {"symbol": symbol, "orderId": oldest, "limit": ORDERS_PER_PAGE}
            body = await ask_rest("/fapi/v1/allOrders", params)
            return [owner(row) for row in read_orders(body)]

        await self._owners.learn(
            [(str(row.orderId), parse_ms(row.time)) for row in rows],
            now_ns=self._clock.now_ns(),
            ask=ask,
            ask_many=ask_many,
        )

    def _report(self, row: OrderRow, contract: Contract) -> OrderReport:
        report = parse_order(row, contract, self._ids)
        self._owners.remember(report.venue_order_id, report.client_order_id)
        return report

    def _contract(self, instrument: Instrument) -> Contract:
        return self._contracts.get(instrument.name) or self._contracts.setdefault(
            instrument.name, Contract(instrument)
        )

    async def _server_time(self) -> int:
        body = await self._rest.get("/fapi/v1/time", operation="time")
        return parse_ms(read_server_time(body).serverTime)

    # -- orders --------------------------------------------------------------------------------------

    def place(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Awaitable[Outcomes]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._place_by_rest(instrument, orders))
        contract, signer, ms = self._contract(instrument), self._signer, self._clock.now_ms()
        encode = self._ids.encode
        return self._requests.send(
            contract,
            "place",
            link,
            len(orders),
            lambda index, _, number: build_place(
                orders[index],
                contract,
                encode(orders[index].client_order_id),
                request=number,
                ms=ms,
                signer=signer,
            ),
        )

    def cancel(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Awaitable[Outcomes]:
        link = self._entry.link
        if link is None:
            return self._tasks.own(self._cancel_by_rest(instrument, orders))
        signer, ms, symbol = self._signer, self._clock.now_ms(), instrument.name
        encode = self._ids.encode
        return self._requests.send(
            self._contract(instrument),
            "cancel",
            link,
            len(orders),
            lambda index, _, number: build_cancel(
                symbol,
                encode(orders[index].client_order_id),
                request=number,
                ms=ms,
                signer=signer,
            ),
        )

    async def cancel_all(self, instrument: Instrument) -> None:
        """Every order of the instrument, foreign ones too."""
        params = {"symbol": instrument.name}
        await self._rest.signed("DELETE", "/fapi/v1/allOpenOrders", params, operation="cancel_all")

    def _hear_reply(self, link: Link, message: bytes) -> None:
        try:
            reply = read_reply(message)
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        for usage in reply.rateLimits:
            self._note_usage(usage)
        sent = self._requests.answered(reply.id or "")
        if sent is not None:
            flight = sent.flight
            sent.land([self._outcome(reply, flight.operation, flight.contract, message)])
        elif reply.id is None:
            self.malformed.keep(malformed("a reply to nothing"), message)

    def _outcome(
        self, reply: Reply, operation: str, contract: Contract, message: bytes
    ) -> OrderReport | VenueError:
        if reply.error is not None:
            error = parse_error(
                reply.error.code,
                reply.error.msg,
                operation,
                status=reply.status,
                now_ns=self._clock.now_ns(),
            )
            self._rest.heed(error)
            return error
        try:
            if reply.status != 200 or reply.result == NOTHING:
                raise malformed(f"a reply of status {reply.status} without a result")
            return self._report(read_order(bytes(reply.result)), contract)
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return error

    async def _place_by_rest(self, instrument: Instrument, orders: Sequence[NewOrder]) -> Outcomes:
        contract = self._contract(instrument)
        rows = [
            build_order_params(order, contract, self._ids.encode(order.client_order_id))
            for order in orders
        ]
        if len(rows) == 1:
            path, params = ORDER_PATH, [rows[0]]
        else:
            chunks = (rows[n : n + PLACE_BATCH] for n in range(0, len(rows), PLACE_BATCH))
            path, params = BATCH_PATH, [{"batchOrders": build_json(chunk)} for chunk in chunks]
        return await self._by_rest(
            "POST",
            path,
            params,
            operation="place",
            contract=contract,
            count=len(rows),
            size=PLACE_BATCH,
        )

    async def _cancel_by_rest(self, instrument: Instrument, orders: Sequence[OrderRef]) -> Outcomes:
        ids = [self._ids.encode(order.client_order_id) for order in orders]
        symbol = {"symbol": instrument.name}
        if len(ids) == 1:
            path, params = ORDER_PATH, [{**symbol, "origClientOrderId": ids[0]}]
        else:
            chunks = (ids[n : n + CANCEL_BATCH] for n in range(0, len(ids), CANCEL_BATCH))
            path = BATCH_PATH
            params = [{**symbol, "origClientOrderIdList": build_json(chunk)} for chunk in chunks]
        return await self._by_rest(
            "DELETE",
            path,
            params,
            operation="cancel",
            contract=self._contract(instrument),
            count=len(ids),
            size=CANCEL_BATCH,
        )

    async def _by_rest(
        self,
        method: str,
        path: str,
        requests: Sequence[Mapping[str, object]],
        *,
        operation: str,
        contract: Contract,
        count: int,
        size: int,
    ) -> Outcomes:
        """One outcome for each of `count` orders, `size` of them in each request; one request's failure is its own."""
        outcomes: Outcomes = []
        for request in requests:
            share = min(size, count - len(outcomes))
            try:
                body = await self._rest.signed(method, path, request, operation=operation)
                items = read_items(body) if path == BATCH_PATH else [msgspec.Raw(body)]
                if len(items) != share:
                    raise malformed(f"{len(items)} answers to {share} orders")
                outcomes += [self._item(bytes(item), operation, contract) for item in items]
            except VenueError as error:
                outcomes += [error] * share
        return outcomes

    def _item(self, text: bytes, operation: str, contract: Contract) -> OrderReport | VenueError:
        try:
            refusal = read_error(text)
            if refusal.code:
                return parse_error(refusal.code, refusal.msg, operation)
            return self._report(read_order(text), contract)
        except MalformedMessage as error:
            self.malformed.keep(error, text)
            return error

    # -- streams -------------------------------------------------------------------------------------

    async def stream_prices(self, instrument: Instrument, listener: PriceListener) -> None:
        contract = self._contract(instrument)
        names = [f"{instrument.name.lower()}@{kind}" for kind in PRICE_STREAMS]
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
        """Also keeps the dead-man's switch of the instrument armed."""
        if not self._keyed:
            raise no_key(VENUE, "orders")
        symbol = instrument.name
        contract = self._contracts[symbol] = self._contract(instrument)
        with self._order_feeds.joined(symbol, contract, listener):
            if self._private.up:
                listener.stream_up()
            mine = (self._private.hold(), self._switch.keep_armed(symbol))
            await hold_until_one_fails([self._tasks.own(each) for each in mine], self._services)

    async def _market_url(self) -> str:
        base = self._endpoints.ws_market_url or f"{self._endpoints.ws_public_url}/market"
        return f"{base.rstrip('/')}/ws"

    async def _order_url(self) -> str:
        return self._endpoints.ws_order_url

    async def _private_url(self) -> str:
        body = await self._rest.keyed("POST", "/fapi/v1/listenKey", operation="listen_key")
        key, base = quote(read_listen_key(body).listenKey, safe=""), self._endpoints.ws_private_url
        if "{listen_key}" in base:
            return base.replace("{listen_key}", key)
        return f"{base.rstrip('/')}/ws?listenKey={key}"

    def _hear_price(self, link: Link, message: bytes) -> None:
        """The hot path: a trade becomes three integers and a call."""
        ts_local_ns = self._now_ns()
        try:
            if message.startswith(b'{"e":"aggTrade"'):
                trade: AggTrade | RawTrade | None = read_agg_trade(message)
            else:
                trade = self._hear_other(link, unwrap(message), ts_local_ns)
            if trade is None:
                return
            feed = self._feed_of(trade.s)
            if feed is None:
                return
            price = Ticks(feed.contract.price.parse(trade.p))
            ms = trade.T
            if price <= 0 or not 0 <= ms < MS_MAX:
                raise malformed("a trade without a price or a time")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        if link.silent:
            link.silent.pop(f"{trade.s.lower()}@aggTrade", None)
        ts_venue_ns = ms * NS_PER_MS
        if 0 < feed.last_ns - ts_venue_ns < OLDER_NS:
            return
        feed.last_ns = ts_venue_ns
        for listener in feed.listeners:
            listener.on_price(price, ts_venue_ns, ts_local_ns)

    def _hear_other(
        self, link: Link, message: bytes, ts_local_ns: int
    ) -> AggTrade | RawTrade | None:
        """Everything that is not a plain aggregate trade; returns the trade where it is one after all."""
        kind = read_kind(message)
        match kind.e:
            case "aggTrade":
                return read_agg_trade(message)
            case "trade":
                # Trades of the insurance fund and empty ones are no prices.
                raw = read_raw_trade(message)
                return raw if raw.X == "MARKET" and raw.q.strip("0.") else None
            case "markPriceUpdate":
                mark = read_mark_price(message)
                feed = self._price_feeds.of.get(mark.s)
                if feed is not None:
                    price, ts_venue_ns = feed.contract.price.near(mark.p), parse_ms(mark.E)
                    if price <= 0:
                        raise malformed("a mark price of nothing")
                    feed.mark = parse_decimal(mark.p)
                    self._price_topics.heard(link, f"{mark.s.lower()}@markPrice@1s")
                    feed.confirm(price, ts_venue_ns, ts_local_ns)
            case "bookTicker":
                book = read_book_ticker(message)
                feed = self._price_feeds.of.get(book.s)
                if feed is not None:
                    price = parse_book_ticker(book, feed.contract.price)
                    feed.confirm(price, parse_ms(book.T), ts_local_ns)
            case None if kind.id is not None:
                hear_answer(self._price_topics, kind)
            case _ if kind.e not in NOT_READ:
                raise malformed(f"unknown event {str(kind.e)[:40]!r}")
        return None

    def _hear_candle(self, link: Link, message: bytes) -> None:
        try:
            message = unwrap(message)
            kind = read_kind(message)
            match kind.e:
                case "kline":
                    candle = parse_kline(read_kline(message))
                case None if kind.id is not None:
                    hear_answer(self._candle_topics, kind)
                    return
                case _:
                    raise malformed(f"unknown event {str(kind.e)[:40]!r}")
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            return
        self._candle_topics.heard(link, kline_name(candle.symbol, candle.interval_s))
        self._candle_feeds.hear(candle)

    def _hear_private(self, link: Link, message: bytes) -> None:
        ts_local_ns = self._now_ns()
        try:
            if message.startswith(b'{"e":"ORDER_TRADE_UPDATE"'):
                self._hear_order(read_order_update(message).o, ts_local_ns)
                return
            message = unwrap(message)
            kind = read_kind(message).e
            match kind:
                case "ORDER_TRADE_UPDATE":
                    self._hear_order(read_order_update(message).o, ts_local_ns)
                case "ACCOUNT_UPDATE":
                    self._hear_account(read_account_update(message), ts_local_ns)
                case "listenKeyExpired":
                    self._private.fail(link, "the listen key has lapsed")
                case _ if kind not in NOT_READ:
                    self.malformed.keep(malformed(f"unknown event {str(kind)[:40]!r}"), message)
        except MalformedMessage as error:
            self.malformed.keep(error, message)
            self._order_feeds.doubt(error)

    def _hear_order(self, event: OrderEvent, ts_local_ns: int) -> None:
        contract = self._contracts.get(event.s)
        if event.s not in self._order_feeds.of or contract is None:
            return
        report = parse_order_event(event, contract, self._ids)
        self._owners.remember(report.venue_order_id, report.client_order_id)
        self._order_feeds.on_order(event.s, report, ts_local_ns)

    def _hear_account(self, update: AccountUpdate, ts_local_ns: int) -> None:
        ts_venue_ns, told = parse_ms(update.T), []
        for event in update.a.P:
            contract = self._contracts.get(event.s)
            if event.s in self._order_feeds.of and contract is not None and event.ps == "BOTH":
                feed = self._price_feeds.of.get(event.s)
                mark = feed.mark if feed else None
                told.append((event.s, parse_position_event(event, contract, mark)))
        if update.a.m == "FUNDING_FEE":
            self._order_feeds.funding.paid(ts_venue_ns)
        for symbol, position in told:
            self._order_feeds.on_position(symbol, position, ts_local_ns)

    # -- housekeeping --------------------------------------------------------------------------------

    async def _keep_house(self) -> None:
        """Every half hour: the listen key lives on, the clock is measured."""
        while True:
            await asyncio.sleep(LISTEN_KEY_RENEWAL_S)
            with suppress(VenueError):
                await self._rest.measure_clock()
            link = self._private.link
            if link is None:
                continue
            try:
                await self._rest.keyed("PUT", "/fapi/v1/listenKey", operation="listen_key")
            except Rejected as error:
                if error.code == LISTEN_KEY_LAPSED:
                    self._private.fail(link, "the listen key has lapsed")
            except VenueError:
                self._private.rotate()

    async def _arm(self, symbol: str, after_s: float) -> None:
        params = {"symbol": symbol, "countdownTime": round(after_s * 1000)}
        await self._rest.signed("POST", "/fapi/v1/countdownCancelAll", params, operation="dead_man")

    async def _read_income(self, since_ns: int) -> list[Payment]:
        start_ms, found = since_ns // NS_PER_MS, []
        while True:
            params = {
                "incomeType": "FUNDING_FEE",
                "startTime": start_ms,
                "limit": INCOME_PER_PAGE,
            }
            body = await self._rest.signed("GET", "/fapi/v1/income", params, operation="funding")
            rows = read_income(body)
            found += [payment for row in rows if (payment := self._payment(row)) is not None]
            if len(rows) < INCOME_PER_PAGE or rows[-1].time <= start_ms:
                return found
            start_ms = rows[-1].time

    def _payment(self, row: IncomeRow) -> Payment | None:
        """None for one in another asset than the instrument's quote currency."""
        contract = self._contracts.get(row.symbol)
        amount, ts_venue_ns = parse_decimal(row.income), parse_ms(row.time)
        if contract is not None and row.asset != contract.instrument.quote:
            return None
        return Payment(
            payment_id=str(row.tranId), symbol=row.symbol, amount=amount, ts_venue_ns=ts_venue_ns
        )

    def _judge(self, answer: Answer, operation: str) -> VenueError | None:
        weight = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if weight.isdecimal():
            self.used_weight = int(weight[:9])
        for window in ("10S", "1M"):
            count = answer.headers.get(f"X-MBX-ORDER-COUNT-{window}", "")
            if count.isdecimal():
                self.on_usage(int(count[:9]), self._limits[window])
        return parse_answer_error(answer, operation, self._clock.now_ns())

    def _note_usage(self, usage: Usage) -> None:
        if usage.rateLimitType == "ORDERS":
            self.on_usage(usage.count, usage.limit)
        elif usage.rateLimitType == "REQUEST_WEIGHT":
            self.used_weight = usage.count


def kline_name(symbol: str, interval_s: int) -> str:
    return f"{symbol.lower()}@kline_{INTERVALS[interval_s]}"


def hear_answer(topics: Subscriptions, answer: Kind) -> None:
    """The answer to a control message."""
    if isinstance(answer.id, int):
        text = bytes(answer.error)[:200].decode("utf-8", "replace")
        refused = answer.error != NOTHING
        topics.answered(answer.id, f"subscription refused: {text}" if refused else "")


def make(
    credentials: Credentials,
    endpoints: Endpoints,
    bot_tag: str,
    clock: Clock,
    rng: random.Random,
    **parts: Any,
) -> Binance:
    """`LIVE`, `DEMO` or endpoints of your own; `parts`: see `Binance`."""
    return Binance(credentials, endpoints, bot_tag, clock, rng, **parts)
