"""A Bybit v5 venue on this machine: REST, the public and private streams, and order entry on the trade socket.

Keys, signatures, times, filters and order counts are checked, and answers have the venue's shapes and codes. Post-only
orders that would take are taken in and then ended by the order topic, as there; order and execution are two topics.

Simpler than the venue: one account and one key; linear perpetuals only; one leverage for the account; one-way mode only
(hedge mode can be shown, not traded in); books of one level; the ticker always tells everything.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiohttp import web

from marketmaker.errors import OrderNotFound, Rejected, VenueError
from marketmaker.loopback.bybit import shapes
from marketmaker.loopback.bybit.shapes import order_id_text, order_number
from marketmaker.loopback.bybit.tickets import Refusal, parse_amendment, parse_ticket, refused
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import price_text, qty_text
from marketmaker.loopback.limits import Window, same
from marketmaker.loopback.mischief import Failure
from marketmaker.loopback.sockets import Socket
from marketmaker.loopback.stage import Json, Kind, Outcome, Stage, StageSettings, compact
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.feed import MarketFeed

MINUTE_MS = 60_000
INTERVALS_MS = {
    **{str(minutes): minutes * MINUTE_MS for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": 24 * 60 * MINUTE_MS,
}
BATCH_MAX = 20
WEEK_MS = 7 * 24 * 60 * MINUTE_MS
PRIVATE_TOPICS = ("order", "execution", "position", "wallet")
PUBLIC_TOPICS = ("publicTrade", "tickers", "orderbook", "kline")
CONN_ID = "cejreaspqfh3sjdnldmg-p"
FIRST_ORDER_ID = 0xFD4300AE_7847_404E_B947_B46980A40000


@dataclass(frozen=True, slots=True, kw_only=True)
class BybitSettings(StageSettings):
    """`orders_per_s`: placements, and apart from them cancels; those of batches are counted apart once more."""

    orders_per_s: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`handle` gives the `result`, or (`result`, `retExtInfo`) for a batch."""

    handle: Callable[[LoopbackBybit, Any], Any]
    signed: bool = False
    kind: Kind = ""
    batch: bool = False


class LoopbackBybit:
    """One account at the venue. `speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol
    it could list."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        settings: BybitSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings or BybitSettings()
        self.stage = Stage(
            venue=self,
            settings=self.settings,
            feed=feed,
            paper=paper,
            instruments=instruments,
            speed=speed,
            history_s=history_s,
            now_ns=now_ns,
            ids_reusable=False,
            post_only_by_stream=True,
            first_order_id=FIRST_ORDER_ID,
        )
        self.mischief = self.stage.mischief
        self.desk, self.instruments = self.stage.desk, self.stage.instruments
        self._now_ms = self.stage.now_ms
        self._asset = self.stage.quote_asset
        self._windows: dict[tuple[str, bool], Window] = {}
        self._candles_open: dict[str, int] = {}
        self._sequence = 48_211_340

    # -- life ----------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        """Listen on this machine; port 0 takes a free one. Raises ConfigError when it is taken."""
        await self.stage.start(
            port,
            [
                ("GET", "/v5/public/linear", self._stream("public")),
                ("GET", "/v5/private", self._stream("private")),
                ("GET", "/v5/trade", self._stream("trade")),
                ("*", "/{path:.*}", self._rest),
            ],
        )

    async def close(self) -> None:
        await self.stage.close()

    @property
    def endpoints(self) -> dict[str, str]:
        """What a configuration writes under `endpoints` to come here."""
        base = f"{self.stage.ws_url}/v5"
        return {
            "rest_url": self.stage.rest_url,
            "ws_public_url": f"{base}/public/linear",
            "ws_private_url": f"{base}/private",
            "ws_order_url": f"{base}/trade",
        }

    # -- REST ----------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.respond(request, lambda body: self._answer(request, body))

    def _answer(self, request: web.Request, body: str) -> Outcome:
        endpoint = ENDPOINTS.get((request.method, request.path))
        try:
            self._at_the_door()
            if endpoint is None:
                raise Refusal(10404, f"Invalid path {request.path}", status=404)
            if endpoint.signed:
                self._check(request, body)
            params = self._parse(request, body)
        except Refusal as error:
            return self._refusal(error)
        if not endpoint.signed:
            return self._do(endpoint, params)
        outcome = self._perform(endpoint, params, request.path)
        if endpoint.kind:
            outcome.headers.update(self._usage(endpoint))
        return outcome

    def _at_the_door(self) -> None:
        if self.stage.banned_until_ms(self._now_ms()):
            raise Refusal(0, "access too frequent", status=403)
        if self.mischief.maintenance:
            raise Refusal(10016, "Internal server error. Service is restarting", status=503)
        if self.mischief.strikes("rate_limit"):
            raise TOO_MANY

    def _check(self, request: web.Request, body: str) -> None:
        headers, now_ms = request.headers, self._now_ms()
        key, sent = headers.get("X-BAPI-API-KEY", ""), headers.get("X-BAPI-TIMESTAMP", "")
        window = headers.get("X-BAPI-RECV-WINDOW", "5000")
        self._check_key(key)
        self._check_time(sent, window, now_ms)
        query = request.raw_path.partition("?")[2]
        text = f"{sent}{key}{window}{query if request.method == 'GET' else body}"
        if not same(self._signature(text), headers.get("X-BAPI-SIGN", "")):
            raise Refusal(10004, "error sign! please check your signature generation algorithm.")

    def _check_key(self, key: str) -> None:
        if not same(key, self.settings.api_key):
            raise Refusal(10003, "API key is invalid.")
        if not self.mischief.ip_allowed:
            raise Refusal(10010, "Unmatched IP, please check your API key's bound IP addresses.")

    def _check_time(self, sent: str, window: str, now_ms: int) -> None:
        if not (sent.isdigit() and window.isdigit()):
            raise Refusal(10001, "params error: timestamp invalid")
        if not now_ms - int(window) <= int(sent) < now_ms + 1_000:
            raise Refusal(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{sent}],server_timestamp[{now_ms}],recv_window[{window}]",
            )

    def _signature(self, text: str) -> str:
        secret = self.settings.api_secret.encode()
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()

    def _parse(self, request: web.Request, body: str) -> Json:
        if request.method == "GET":
            return dict(request.query)
        try:
            params = json.loads(body or "{}")
        except ValueError:
            raise Refusal(10001, "params error: body is not JSON") from None
        if not isinstance(params, dict):
            raise Refusal(10001, "params error: body is not an object")
        return params

    def _refusal(self, error: Refusal) -> Outcome:
        if error.status == 403:
            return Outcome(body=error.message, status=403)
        body = {
            "retCode": error.code,
            "retMsg": error.message,
            "result": {},
            "retExtInfo": {},
            "time": self._now_ms(),
        }
        return Outcome(body=body, status=error.status)

    def _perform(self, endpoint: Endpoint, params: Json, path: str) -> Outcome:
        rows = params.get("request") if endpoint.batch else [params]
        orders = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return self.stage.perform(
            lambda: self._do(endpoint, params),
            self,
            kind=endpoint.kind,
            path=path,
            reduce_only=bool(orders) and all(row.get("reduceOnly") is True for row in orders),
            allowed=lambda: self._counted(endpoint, len(orders)),
        )

    def _do(self, endpoint: Endpoint, params: Json) -> Outcome:
        try:
            result = endpoint.handle(self, params)
        except Refusal as error:
            return self._refusal(error)
        extra: Json = {}
        if endpoint.batch:
            result, extra = result
        body = {
            "retCode": 0,
            "retMsg": "OK",
            "result": result,
            "retExtInfo": extra,
            "time": self._now_ms(),
        }
        return Outcome(body=body)

    def _window(self, endpoint: Endpoint) -> Window:
        key = (endpoint.kind, endpoint.batch)
        return self._windows.setdefault(key, Window(self.settings.orders_per_s, 1_000))

    def _counted(self, endpoint: Endpoint, orders: int) -> Outcome | None:
        """None, or the refusal when the second's window is full."""
        if not endpoint.kind:
            return None
        window, now_ms = self._window(endpoint), self._now_ms()
        if not window.holds(orders, now_ms):
            return self._refusal(TOO_MANY)
        window.take(orders, now_ms)
        return None

    def _usage(self, endpoint: Endpoint) -> dict[str, str]:
        window, now_ms = self._window(endpoint), self._now_ms()
        return {
            "X-Bapi-Limit": str(window.limit),
            "X-Bapi-Limit-Status": str(max(0, window.limit - window.look(now_ms))),
            "X-Bapi-Limit-Reset-Timestamp": str(now_ms + window.left_ms(now_ms)),
        }

    # -- refusals in the venue's words (see stage.Refusals) ------------------------------------------

    def failed(self, failure: Failure) -> Outcome:
        return self._refusal(Refusal(failure.code, failure.message, status=failure.status))

    def may_not_trade(self) -> Outcome:
        text = "Permission denied, please check your API key permissions."
        return self._refusal(Refusal(10005, text))

    def overloaded(self) -> Outcome:
        return self._refusal(TOO_MANY)

    def unknown(self) -> Outcome:
        return self._refusal(Refusal(10000, "Server Timeout"))

    # -- the account (see desk.Teller) ---------------------------------------------------------------

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None:
        if trade is not None:
            self.stage.tell(("execution", shapes.build_execution(trade, happened)))
        self.stage.tell(("order", shapes.build_order_event(order)))

    def on_position(self, symbol: str) -> None:
        self.stage.tell(("position", {**self._position(symbol, event=True), "category": "linear"}))

    def on_funding(self, income: Income) -> None:
        holding = self.desk.holding(income.symbol)
        self.stage.tell(("execution", shapes.build_funding(income, holding)))

    def send_private(self, event: tuple[str, Json]) -> None:
        topic, row = event
        self._sequence += 1
        message = {
            "topic": topic,
            "id": f"1003076014fb7eedb-{self._sequence}",
            "creationTime": self._now_ms(),
            "data": [row],
        }
        self.stage.sockets.publish(topic, compact(message))

    def _position(self, symbol: str, *, event: bool = False) -> Json:
        exchange = self.stage.book.exchange
        return shapes.build_position(
            exchange.market(symbol).holding,
            exchange.account,
            exchange.position(symbol).liquidation_price,
            event=event,
            now_ms=self.desk.updated_ms.get(symbol, 0) or self._now_ms(),
        )

    # -- the market (see stage.Venue) ----------------------------------------------------------------

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None:
        instrument = self.instruments[symbol]
        row = {
            "T": happened_ms,
            "s": symbol,
            "S": shapes.SIDE_WORDS[trade.aggressor],
            "v": qty_text(instrument, trade.qty_lots),
            "p": price_text(instrument, trade.price_ticks),
            "L": "ZeroPlusTick",
            "i": order_id_text(number),
            "BT": False,
            "seq": number,
        }
        topic = f"publicTrade.{symbol}"
        self.stage.publish(topic, {"topic": topic, "type": "snapshot", "ts": now_ms, "data": [row]})

    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        self._sequence += 1

        def level(ticks: int, lots: int) -> list[list[str]]:
            if not lots:
                return []
            return [[price_text(instrument, ticks), qty_text(instrument, lots)]]

        topic = f"orderbook.1.{symbol}"
        data = {
            "s": symbol,
            "b": level(quote.bid_ticks, quote.bid_lots),
            "a": level(quote.ask_ticks, quote.ask_lots),
            "u": self._sequence,
            "seq": self._sequence,
        }
        self.stage.publish(
            topic,
            {"topic": topic, "ts": now_ms, "type": "snapshot", "data": data, "cts": happened_ms},
        )

    def on_second(self, now_ms: int) -> None:
        streams = self.stage.sockets.streams()
        self._candles_open = {
            stream: open_ms for stream, open_ms in self._candles_open.items() if stream in streams
        }
        for stream in streams:
            kind, _, rest = stream.partition(".")
            if kind == "tickers" and rest in self.instruments:
                self._tell_ticker(stream, rest, now_ms)
            elif kind == "kline":
                interval, _, symbol = rest.partition(".")
                if symbol in self.instruments and interval in INTERVALS_MS:
                    self._tell_candle(stream, symbol, interval, now_ms)

    def _ticker(self, symbol: str) -> Json:
        instrument, now_ms = self.instruments[symbol], self._now_ms()
        matcher = self.desk.market(instrument).matcher
        mark = shapes.trimmed(self.desk.mark(symbol))
        return {
            "symbol": symbol,
            "lastPrice": price_text(instrument, matcher.last_ticks or matcher.bid_ticks),
            "markPrice": mark,
            "indexPrice": mark,
            "openInterest": "0",
            "openInterestValue": "0",
            "fundingIntervalHour": "8",
            "nextFundingTime": str(self.stage.next_funding_ms(now_ms)),
            "fundingRate": shapes.trimmed(self.stage.paper.funding_rate),
            "bid1Price": price_text(instrument, matcher.bid_ticks),
            "bid1Size": qty_text(instrument, matcher.bid_lots),
            "ask1Price": price_text(instrument, matcher.ask_ticks),
            "ask1Size": qty_text(instrument, matcher.ask_lots),
        }

    def _tell_ticker(self, topic: str, symbol: str, now_ms: int) -> None:
        message = {"topic": topic, "type": "snapshot", "data": self._ticker(symbol), "cs": now_ms}
        self.stage.publish(topic, {**message, "ts": now_ms})

    def _tell_candle(self, stream: str, symbol: str, interval: str, now_ms: int) -> None:
        """The bar that has just ended, then the newest as it is."""
        length_ms = INTERVALS_MS[interval]
        open_ms = now_ms - now_ms % length_ms
        told_ms = self._candles_open.get(stream, open_ms)
        self._candles_open[stream] = open_ms
        for start_ms in dict.fromkeys((told_ms, open_ms)):
            bar = self.stage.bars[symbol].at(start_ms, length_ms)
            if bar is None:
                continue
            row = shapes.build_bar(
                bar,
                self.instruments[symbol],
                interval,
                length_ms=length_ms,
                closed=start_ms < open_ms,
                now_ms=now_ms,
            )
            message = {"topic": stream, "data": [row], "ts": now_ms, "type": "snapshot"}
            self.stage.publish(stream, message)

    # -- sockets -------------------------------------------------------------------------------------

    def _stream(self, route: str) -> Callable[[web.Request], Any]:
        heard = self._heard_order if route == "trade" else self._heard

        async def serve(request: web.Request) -> web.StreamResponse:
            return await self.stage.sockets.serve(
                request, route=route, combined=False, opened=lambda socket: None, heard=heard
            )

        return serve

    def _log_in(self, args: Any) -> Refusal | None:
        """Why not, or None."""
        if not (isinstance(args, list) and len(args) == 3 and str(args[1]).isdigit()):
            return Refusal(10001, "Params Error")
        key, expires, sign = str(args[0]), int(args[1]), str(args[2])
        try:
            self._check_key(key)
        except Refusal as error:
            return error
        if expires <= self._now_ms():
            return Refusal(10002, "Params Error: expired")
        if not same(self._signature(f"GET/realtime{expires}"), sign):
            return Refusal(10004, "Params Error: sign")
        return None

    def _heard(self, socket: Socket, text: str) -> None:
        try:
            message = json.loads(text)
            op, args = message["op"], message.get("args", [])
        except (ValueError, KeyError, TypeError, AttributeError):
            self._say(socket, "", success=False, ret_msg="Params Error")
            return
        number = str(message.get("req_id", ""))
        match op:
            case "ping" if socket.route == "private":
                reply = {"req_id": number, "op": "pong", "args": [str(self._now_ms())]}
                socket.send(compact({**reply, "conn_id": CONN_ID}))
            case "ping":
                self._say(socket, "ping", number, success=True, ret_msg="pong")
            case "auth":
                refusal = self._log_in(args)
                socket.state["user"] = refusal is None
                said = refusal.message if refusal else ""
                self._say(socket, "auth", number, success=refusal is None, ret_msg=said)
            case "subscribe" | "unsubscribe" if isinstance(args, list):
                self._subscribe(socket, op, number, [str(arg) for arg in args])
            case _:
                self._say(socket, str(op), number, success=False, ret_msg="Invalid op")

    def _say(self, socket: Socket, op: str, number: str = "", **fields: Any) -> None:
        named = {"req_id": number} if number else {}
        socket.send(compact({**fields, "conn_id": CONN_ID, **named, "op": op}))

    def _subscribe(self, socket: Socket, op: str, number: str, topics: list[str]) -> None:
        for topic in topics:
            if not self._is_known(socket, topic):
                # The venue does not name the request it refuses.
                self._say(socket, op, success=False, ret_msg=f"Invalid topic: {topic}")
                return
        for topic in topics:
            if op == "subscribe":
                lost = self.mischief.strikes("lose_subscriptions")
                self.stage.sockets.join(socket, topic, heard=not lost)
            else:
                self.stage.sockets.leave(socket, topic)
        self._say(socket, op, number, success=True, ret_msg="")

    def _is_known(self, socket: Socket, topic: str) -> bool:
        if socket.route == "private":
            return bool(socket.state.get("user")) and topic in PRIVATE_TOPICS
        kind, _, rest = topic.partition(".")
        return kind in PUBLIC_TOPICS and rest.rpartition(".")[2] in self.instruments

    def _heard_order(self, socket: Socket, text: str) -> None:
        try:
            message = json.loads(text)
            op, args = str(message["op"]), message.get("args", [])
        except (ValueError, KeyError, TypeError, AttributeError):
            socket.send(compact({"retCode": 10001, "retMsg": "Params Error", "op": ""}))
            return
        number = str(message.get("reqId", ""))
        if op == "ping":
            socket.send(compact({"retCode": 0, "retMsg": "OK", "op": "pong", "connId": CONN_ID}))
            return
        if op == "auth":
            refusal = self._log_in(args)
            socket.state["user"] = refusal is None
            code, said = (refusal.code, refusal.message) if refusal else (0, "OK")
            socket.send(compact({"retCode": code, "retMsg": said, "op": "auth", "connId": CONN_ID}))
            return
        self.stage.served.append(("WS", op))
        outcome = self._answer_order(socket, op, args, message.get("header"))
        if outcome.cut or outcome.mute:
            return
        self.stage.later(outcome.wait_s, socket.send, compact(self._reply(number, op, outcome)))

    def _answer_order(self, socket: Socket, op: str, args: Any, header: Any) -> Outcome:
        endpoint = OPERATIONS.get(op)
        try:
            if not socket.state.get("user"):
                raise Refusal(10004, "Request not authorized")
            if endpoint is None or not (isinstance(args, list) and args):
                raise Refusal(10001, "Params Error")
            given = header if isinstance(header, dict) else {}
            self._at_the_door()
            self._check_time(
                str(given.get("X-BAPI-TIMESTAMP", "")),
                str(given.get("X-BAPI-RECV-WINDOW", "5000")),
                self._now_ms(),
            )
        except Refusal as error:
            return self._refusal(error)
        return self._perform(endpoint, args[0], op)

    def _reply(self, number: str, op: str, outcome: Outcome) -> Json:
        body = outcome.body
        if not isinstance(body, dict):
            body = {"retCode": 10403, "retMsg": "Exceeded IP rate limit", "result": {}}
        endpoint = OPERATIONS.get(op)
        usage = self._usage(endpoint) if endpoint is not None else {}
        return {
            "reqId": number,
            "retCode": body["retCode"],
            "retMsg": body["retMsg"],
            "op": op,
            "data": body["result"],
            "retExtInfo": body.get("retExtInfo", {}),
            "header": {**usage, "Timenow": str(self._now_ms())},
            "connId": CONN_ID,
        }

    # -- endpoints: the market -----------------------------------------------------------------------

    def _named(self, params: Json) -> Instrument:
        if params.get("category", "linear") != "linear":
            raise Refusal(10001, "Illegal category")
        found = self.instruments.get(str(params.get("symbol", "")))
        if found is None:
            raise Refusal(10001, "params error: symbol invalid")
        return found

    def _chosen(self, params: Json) -> list[Instrument]:
        """The one asked for, or all; none of another category."""
        if params.get("category", "linear") != "linear":
            return []
        return [self._named(params)] if params.get("symbol") else list(self.instruments.values())

    def _get_time(self, params: Json) -> Any:
        nanos = self._now_ms() * 1_000_000
        return {"timeSecond": str(nanos // 1_000_000_000), "timeNano": str(nanos)}

    def _get_instruments(self, params: Json) -> Any:
        rows = [shapes.build_instrument(each) for each in self._chosen(params)]
        return {"category": params.get("category", "linear"), **page(rows, params, 500, 1_000)}

    def _get_tickers(self, params: Json) -> Any:
        rows = [self._ticker(each.name) for each in self._chosen(params)]
        return {"category": params.get("category", "linear"), "list": rows}

    def _get_candles(self, params: Json) -> Any:
        """Newest first."""
        instrument = self._named(params)
        length_ms = INTERVALS_MS.get(str(params.get("interval", "")))
        if length_ms is None:
            raise Refusal(10001, "params error: interval invalid")
        bars = self.stage.bars[instrument.name].series(length_ms)
        start, end = params.get("start"), params.get("end")
        rows = [
            shapes.build_candle(bar, instrument)
            for bar in bars
            if (not start or bar.open_ms >= int(start)) and (not end or bar.open_ms <= int(end))
        ]
        limit = limit_of(params, 200, 1_000)
        return {"category": "linear", "symbol": instrument.name, "list": rows[::-1][:limit]}

    # -- endpoints: orders ---------------------------------------------------------------------------

    def _place(self, params: Json) -> Any:
        try:
            market = self.desk.market(self._named(params))
            ticket = parse_ticket(params, market, hedge_mode=self.mischief.hedge_mode)
            order = self.desk.place(ticket)
        except Rejected as error:
            raise refused(error) from error
        return {
            "orderId": order_id_text(order.order_id),
            "orderLinkId": str(params.get("orderLinkId") or ""),
        }

    def _cancel(self, params: Json) -> Any:
        try:
            order = self.desk.cancel(self._find(params))
        except OrderNotFound as error:
            raise refused(error) from error
        return {"orderId": order_id_text(order.order_id), "orderLinkId": shapes.own_id(order)}

    def _amend(self, params: Json) -> Any:
        order = self._find(params)
        if order is None or not order.open:
            raise Refusal(110001, "order not exists or too late to replace")
        try:
            self.desk.amend(
                order, *parse_amendment(params, order, self.desk.market(order.instrument))
            )
        except VenueError as error:
            raise refused(error) from error
        return {"orderId": order_id_text(order.order_id), "orderLinkId": shapes.own_id(order)}

    def _find(self, params: Json) -> Order | None:
        """By `orderId`, which wins, or `orderLinkId`."""
        instrument = self._named(params)
        if params.get("orderId"):
            number = order_number(str(params["orderId"]))
            order = None if number is None else self.desk.by_order_id(number)
            return order if order is not None and order.instrument is instrument else None
        if not params.get("orderLinkId"):
            raise Refusal(10001, "params error: orderId or orderLinkId is required")
        return self.desk.by_client_id(instrument.name, str(params["orderLinkId"]))

    def _many(self, params: Json, work: Callable[[Json], Any]) -> Any:
        """(`result`, `retExtInfo`): one order's failure is its own."""
        rows = params.get("request")
        if not isinstance(rows, list) or not rows or len(rows) > BATCH_MAX:
            raise Refusal(10001, "params error: request invalid")
        results, codes = [], []
        for row in rows:
            asked = {"category": params.get("category"), **row} if isinstance(row, dict) else {}
            named = {"category": "linear", "symbol": asked.get("symbol", "")}
            try:
                done = work(asked)
                results.append({**named, **done, "createAt": str(self._now_ms())})
                codes.append({"code": 0, "msg": "OK"})
            except Refusal as error:
                link_id = str(asked.get("orderLinkId") or "")
                results.append({**named, "orderId": "", "orderLinkId": link_id, "createAt": ""})
                codes.append({"code": error.code, "msg": error.message})
        return {"list": results}, {"list": codes}

    def _place_many(self, params: Json) -> Any:
        return self._many(params, self._place)

    def _cancel_many(self, params: Json) -> Any:
        return self._many(params, self._cancel)

    def _amend_many(self, params: Json) -> Any:
        return self._many(params, self._amend)

    def _cancel_all(self, params: Json) -> Any:
        names = [self._named(params).name] if params.get("symbol") else list(self.instruments)
        gone = [order for name in names for order in self.desk.cancel_all(name)]
        rows = [
            {"orderId": order_id_text(order.order_id), "orderLinkId": shapes.own_id(order)}
            for order in gone
        ]
        return {"list": rows, "success": "1"}

    def _orders(self, params: Json, wanted: Callable[[Order], bool]) -> Any:
        """Newest first."""
        names = {each.name: None for each in self._chosen(params)}
        if params.get("orderId") or params.get("orderLinkId"):
            found = self._find(params)
            orders = [found] if found is not None else []
        else:
            orders = [each for each in self.desk.all_orders() if each.instrument.name in names]
            orders = [each for each in orders if wanted(each)]
        rows = [shapes.build_order(each) for each in reversed(orders)]
        return {"category": "linear", **page(rows, params, 20, 50)}

    def _get_orders(self, params: Json) -> Any:
        return self._orders(params, lambda order: order.open)

    def _get_history(self, params: Json) -> Any:
        return self._orders(params, lambda order: not order.open)

    def _get_executions(self, params: Json) -> Any:
        """Newest first, within a week."""
        names = {each.name: None for each in self._chosen(params)}
        rows = [
            shapes.build_execution(trade)
            for trade in self.desk.trades
            if trade.order.instrument.name in names
        ]
        rows += [
            shapes.build_funding(income, self.desk.holding(income.symbol))
            for income in self.desk.income
            if income.kind == "funding" and income.symbol in names
        ]
        start, end = params.get("startTime"), params.get("endTime")
        if start and end and int(end) - int(start) > WEEK_MS:
            raise Refusal(
                10001, "The time range between startTime and endTime cannot exceed 7 days"
            )
        rows = [
            row
            for row in rows
            if (not start or int(row["execTime"]) >= int(start))
            and (not end or int(row["execTime"]) <= int(end))
            and params.get("execType") in (None, row["execType"])
        ]
        rows.sort(key=lambda row: int(row["execTime"]), reverse=True)
        return {"category": "linear", **page(rows, params, 50, 100)}

    # -- endpoints: the account ----------------------------------------------------------------------

    def _get_wallet(self, params: Json) -> Any:
        if params.get("accountType") not in ("UNIFIED", "CONTRACT"):
            raise Refusal(10001, "accountType only support UNIFIED.")
        return {"list": [shapes.build_wallet(self.stage.book.exchange.account, self._asset)]}

    def _get_account(self, params: Json) -> Any:
        return {
            "marginMode": "REGULAR_MARGIN",
            "updatedTime": "1697078946000",
            "unifiedMarginStatus": 4,
            "dcpStatus": "OFF",
            "timeWindow": 10,
            "smpGroup": 0,
        }

    def _get_positions(self, params: Json) -> Any:
        rows = []
        for instrument in self._chosen(params):
            if params.get("symbol") or self.desk.holding(instrument.name).lots:
                row = self._position(instrument.name)
                if self.mischief.hedge_mode:
                    flat = {**row, "side": "", "size": "0"}
                    rows += [{**flat, "positionIdx": 1}, {**flat, "positionIdx": 2}]
                else:
                    rows.append(row)
        return {"category": "linear", **page(rows, params, 20, 200)}

    def _set_leverage(self, params: Json) -> Any:
        self._named(params)
        wanted = Decimal(str(params.get("buyLeverage", "0")))
        if wanted == self.stage.book.exchange.account.leverage:
            raise Refusal(110043, "Set leverage has not been modified.")
        self.stage.book.exchange.account.leverage = wanted
        return {}

    def _switch_mode(self, params: Json) -> Any:
        hedge = params.get("mode") == 3
        if hedge == self.mischief.hedge_mode:
            raise Refusal(110025, "Position mode has not been modified.")
        self.mischief.hedge_mode = hedge
        return {}

    def _get_fees(self, params: Json) -> Any:
        rows = [
            {
                "symbol": each.name,
                "takerFeeRate": f"{each.taker_fee:f}",
                "makerFeeRate": f"{each.maker_fee:f}",
                "baseCoin": "",
            }
            for each in self._chosen(params)
        ]
        return {"list": rows}

    def _get_key(self, params: Json) -> Any:
        wallet = ["AccountTransfer"] + (["Withdraw"] if self.mischief.may_withdraw else [])
        return {
            "id": "1",
            "note": "loopback",
            "readOnly": 0 if self.mischief.may_trade else 1,
            "permissions": {"ContractTrade": ["Order", "Position"], "Wallet": wallet},
            "ips": ["*"],
            "unified": 1,
            "uta": 1,
        }


TOO_MANY = Refusal(10006, "Too many visits. Exceeded the API Rate Limit.")


def limit_of(params: Json, default: int, most: int) -> int:
    text = str(params.get("limit") or default)
    if not text.isdigit() or int(text) == 0:
        raise Refusal(10001, "params error: limit invalid")
    return min(int(text), most)


def page(rows: list[Any], params: Json, default: int, most: int) -> Json:
    """A page and the cursor of the next: where it begins, in the venue's dress."""
    cursor = str(params.get("cursor") or "0%3A0")
    first, limit = int(cursor.partition("%3A")[0]), limit_of(params, default, most)
    more = first + limit < len(rows)
    return {
        "list": rows[first : first + limit],
        "nextPageCursor": f"{first + limit}%3A0" if more else "",
    }


Handle = Callable[[LoopbackBybit, Any], Any]


def public(handle: Handle) -> Endpoint:
    return Endpoint(handle=handle)


def signed(handle: Handle, kind: Kind = "", *, batch: bool = False) -> Endpoint:
    return Endpoint(handle=handle, signed=True, kind=kind, batch=batch)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/v5/market/time"): public(LoopbackBybit._get_time),
    ("GET", "/v5/market/instruments-info"): public(LoopbackBybit._get_instruments),
    ("GET", "/v5/market/tickers"): public(LoopbackBybit._get_tickers),
    ("GET", "/v5/market/kline"): public(LoopbackBybit._get_candles),
    ("GET", "/v5/account/wallet-balance"): signed(LoopbackBybit._get_wallet),
    ("GET", "/v5/account/info"): signed(LoopbackBybit._get_account),
    ("GET", "/v5/account/fee-rate"): signed(LoopbackBybit._get_fees),
    ("GET", "/v5/user/query-api"): signed(LoopbackBybit._get_key),
    ("GET", "/v5/position/list"): signed(LoopbackBybit._get_positions),
    ("POST", "/v5/position/set-leverage"): signed(LoopbackBybit._set_leverage),
    ("POST", "/v5/position/switch-mode"): signed(LoopbackBybit._switch_mode),
    ("POST", "/v5/order/create"): signed(LoopbackBybit._place, "place"),
    ("POST", "/v5/order/create-batch"): signed(LoopbackBybit._place_many, "place", batch=True),
    ("POST", "/v5/order/cancel"): signed(LoopbackBybit._cancel, "cancel"),
    ("POST", "/v5/order/cancel-batch"): signed(LoopbackBybit._cancel_many, "cancel", batch=True),
    ("POST", "/v5/order/cancel-all"): signed(LoopbackBybit._cancel_all, "cancel"),
    ("POST", "/v5/order/amend"): signed(LoopbackBybit._amend, "place"),
    ("POST", "/v5/order/amend-batch"): signed(LoopbackBybit._amend_many, "place", batch=True),
    ("GET", "/v5/order/realtime"): signed(LoopbackBybit._get_orders),
    ("GET", "/v5/order/history"): signed(LoopbackBybit._get_history),
    ("GET", "/v5/execution/list"): signed(LoopbackBybit._get_executions),
}
OPERATIONS: dict[str, Endpoint] = {
    "order.create": signed(LoopbackBybit._place, "place"),
    "order.create-batch": signed(LoopbackBybit._place_many, "place", batch=True),
    "order.cancel": signed(LoopbackBybit._cancel, "cancel"),
    "order.cancel-batch": signed(LoopbackBybit._cancel_many, "cancel", batch=True),
    "order.amend": signed(LoopbackBybit._amend, "place"),
    "order.amend-batch": signed(LoopbackBybit._amend_many, "place", batch=True),
}


def make(
    *,
    feed: MarketFeed,
    paper: PaperSettings | None = None,
    speed: float = 1.0,
    history_s: float = 0.0,
    instruments: dict[str, InstrumentSettings] | None = None,
    **settings: Any,
) -> LoopbackBybit:
    """`settings`: of `BybitSettings`, the others as they are."""
    return LoopbackBybit(
        feed=feed,
        paper=paper,
        settings=BybitSettings(**settings),
        instruments=instruments,
        speed=speed,
        history_s=history_s,
    )
