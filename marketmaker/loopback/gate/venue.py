"""A Gate futures venue on this machine: REST, streams and order entry on one WebSocket address.

Keys, signatures, times, filters and order counts are checked, and answers have the venue's shapes and labels. A
placement over the socket is answered twice, as there: an echo, then the result.

Simpler than the venue: one account and one key; USDT contracts only; whole contracts; one cross leverage for the
account; single mode only (dual mode can be shown, not traded in); books of one level.
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
from urllib.parse import unquote

from aiohttp import web

from marketmaker.errors import OrderNotFound, Rejected, VenueError
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import price_text, wallet
from marketmaker.loopback.gate import shapes
from marketmaker.loopback.gate.shapes import contract_of
from marketmaker.loopback.gate.tickets import Refusal, parse_amendment, parse_ticket, refused
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
    **{f"{n}m": n * MINUTE_MS for n in (1, 5, 15, 30)},
    **{f"{n}h": n * 60 * MINUTE_MS for n in (1, 2, 4, 6, 8, 12)},
    "1d": 24 * 60 * MINUTE_MS,
}
API = "/api/v4"
FUTURES = f"{API}/futures/usdt"
WS_PATH = "/v4/ws/usdt"
SKEW_S = 60
PLACE_BATCH, CANCEL_BATCH, PAGE_MAX = 10, 20, 100
SWITCH_LEAST_S = 5
PRIVATE = ("futures.orders", "futures.usertrades", "futures.positions", "futures.balances")
PUBLIC = ("futures.trades", "futures.tickers", "futures.book_ticker", "futures.candlesticks")
CONN_ID = "28838ac31473dcbb"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings(StageSettings):
    """`orders_per_s`: placements and amendments, those of batches each; `cancels_per_s`: the rest."""

    orders_per_s: int = 100
    cancels_per_s: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`handle(venue, params, tail)`: `tail` is what follows the path in the address."""

    handle: Callable[[LoopbackGate, Any, str], Any]
    signed: bool = False
    kind: Kind = ""
    status: int = 200


class LoopbackGate:
    """One account at the venue. `speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol
    it could list."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        settings: GateSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings or GateSettings()
        self.stage = Stage(
            venue=self,
            settings=self.settings,
            feed=feed,
            paper=paper,
            instruments=instruments,
            speed=speed,
            history_s=history_s,
            now_ns=now_ns,
            first_order_id=58_600_521_933_131_840,
        )
        self.mischief = self.stage.mischief
        self.desk, self.instruments = self.stage.desk, self.stage.instruments
        self._now_ms = self.stage.now_ms
        self._asset = self.stage.quote_asset
        self._by_contract = {contract_of(each): each for each in self.instruments.values()}
        self._orders = Window(self.settings.orders_per_s, 1_000)
        self._cancels = Window(self.settings.cancels_per_s, 1_000)
        self._candles_open: dict[str, int] = {}
        self._update = 2_517_661_076

    # -- life ----------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        """Listen on this machine; port 0 takes a free one. Raises ConfigError when it is taken."""
        await self.stage.start(
            port, [("GET", WS_PATH, self._socket), ("*", "/{path:.*}", self._rest)]
        )

    async def close(self) -> None:
        await self.stage.close()

    @property
    def endpoints(self) -> dict[str, str]:
        """What a configuration writes under `endpoints` to come here."""
        url = f"{self.stage.ws_url}{WS_PATH}"
        return {
            "rest_url": self.stage.rest_url,
            "ws_public_url": url,
            "ws_private_url": url,
            "ws_order_url": url,
        }

    # -- REST ----------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.respond(request, lambda body: self._answer(request, body))

    def _answer(self, request: web.Request, body: str) -> Outcome:
        endpoint, tail = find_endpoint(request.method, request.path)
        try:
            self._at_the_door()
            if endpoint is None:
                raise Refusal("NOT_FOUND", f"no such path {request.path}", status=404)
            if endpoint.signed:
                self._check(request, body)
            params = parse_params(request, body)
        except Refusal as error:
            return refusal(error)
        if not endpoint.signed:
            return self._do(endpoint, params, tail)
        outcome = self._perform(endpoint, params, tail, request.path)
        if endpoint.kind:
            outcome.headers.update(self._usage(endpoint.kind))
        return outcome

    def _at_the_door(self) -> None:
        if self.stage.banned_until_ms(self._now_ms()) or self.mischief.strikes("rate_limit"):
            raise TOO_MANY
        if self.mischief.maintenance:
            raise Refusal("SERVER_ERROR", "Service is under maintenance", status=503)

    def _check(self, request: web.Request, body: str) -> None:
        headers = request.headers
        self._check_key(headers.get("KEY", ""))
        sent = headers.get("Timestamp", "")
        self._check_time(sent)
        query = unquote(request.raw_path.partition("?")[2])
        digest = hashlib.sha512(body.encode()).hexdigest()
        path = request.raw_path.partition("?")[0]
        text = f"{request.method}\n{path}\n{query}\n{digest}\n{sent}"
        self._check_sign(text, headers.get("SIGN", ""))

    def _check_key(self, key: str) -> None:
        if not same(key, self.settings.api_key):
            raise Refusal("INVALID_KEY", "Invalid key provided", status=401)
        if not self.mischief.ip_allowed:
            raise Refusal("IP_FORBIDDEN", "Request IP not in whitelist", status=403)

    def _check_time(self, sent: str) -> None:
        if not sent.isdigit() or abs(self._now_ms() / 1_000 - int(sent)) > SKEW_S:
            text = "gap between request Timestamp and server time exceeds 60"
            raise Refusal("REQUEST_EXPIRED", text, status=403)

    def _check_sign(self, text: str, given: str) -> None:
        secret = self.settings.api_secret.encode()
        right = hmac.new(secret, text.encode(), hashlib.sha512).hexdigest()
        if not same(right, given):
            raise Refusal("INVALID_SIGNATURE", "Signature mismatch", status=401)

    def _perform(self, endpoint: Endpoint, params: Any, tail: str, path: str) -> Outcome:
        rows = params if isinstance(params, list) else [params]
        orders = [row for row in rows if isinstance(row, dict)]
        return self.stage.perform(
            lambda: self._do(endpoint, params, tail),
            self,
            kind=endpoint.kind,
            path=path,
            reduce_only=bool(orders) and all(row.get("reduce_only") is True for row in orders),
            allowed=lambda: self._counted(endpoint.kind, max(1, len(rows))),
        )

    def _do(self, endpoint: Endpoint, params: Any, tail: str) -> Outcome:
        try:
            return Outcome(body=endpoint.handle(self, params, tail), status=endpoint.status)
        except Refusal as error:
            return refusal(error)

    def _window(self, kind: Kind) -> Window:
        return self._orders if kind == "place" else self._cancels

    def _counted(self, kind: Kind, count: int) -> Outcome | None:
        """None, or the refusal when the second's window is full."""
        if not kind:
            return None
        window, now_ms = self._window(kind), self._now_ms()
        if not window.holds(count, now_ms):
            return refusal(TOO_MANY)
        window.take(count, now_ms)
        return None

    def _usage(self, kind: Kind) -> dict[str, str]:
        window, now_ms = self._window(kind), self._now_ms()
        left = max(0, window.limit - window.look(now_ms))
        return {
            "X-Gate-RateLimit-Requests-Remain": str(left),
            "X-Gate-RateLimit-Limit": str(window.limit),
            "X-Gate-RateLimit-Reset-Timestamp": str(now_ms // 1_000 + 1),
        }

    # -- refusals in the venue's words (see stage.Refusals) ------------------------------------------

    def failed(self, failure: Failure) -> Outcome:
        return refusal(Refusal(str(failure.code), failure.message, status=failure.status))

    def may_not_trade(self) -> Outcome:
        return refusal(Refusal("READ_ONLY", "API key is read only", status=403))

    def overloaded(self) -> Outcome:
        return refusal(TOO_MANY)

    def unknown(self) -> Outcome:
        return refusal(Refusal("SERVER_ERROR", "Internal server error", status=500))

    # -- the account (see desk.Teller) ---------------------------------------------------------------

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None:
        if trade is not None:
            self.stage.tell(("futures.usertrades", shapes.build_trade_event(trade)))
        self.stage.tell(("futures.orders", shapes.build_order_event(order, happened)))

    def on_position(self, symbol: str) -> None:
        row = shapes.build_position_event(self._position(symbol), self._now_ms())
        self.stage.tell(("futures.positions", row))

    def on_funding(self, income: Income) -> None:
        cash = wallet(self.stage.book.exchange.account)
        self.stage.tell(("futures.balances", shapes.build_balance_event(income, self._asset, cash)))

    def send_private(self, event: tuple[str, Json]) -> None:
        channel, row = event
        self.stage.sockets.publish(channel, compact(self._update_of(channel, [row])))

    def _update_of(self, channel: str, result: Any, event: str = "update") -> Json:
        now_ms = self._now_ms()
        return {
            "time": now_ms // 1_000,
            "time_ms": now_ms,
            "channel": channel,
            "event": event,
            "result": result,
        }

    def _position(self, symbol: str) -> Json:
        exchange = self.stage.book.exchange
        return shapes.build_position(
            exchange.market(symbol).holding,
            exchange.account,
            exchange.position(symbol).liquidation_price,
            dual=self.mischief.hedge_mode,
            update_ms=self.desk.updated_ms.get(symbol, 0) or self._now_ms(),
        )

    # -- the market (see stage.Venue) ----------------------------------------------------------------

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None:
        instrument = self.instruments[symbol]
        row = {
            "size": trade.aggressor * trade.qty_lots,
            "id": number,
            "create_time": happened_ms // 1_000,
            "create_time_ms": happened_ms,
            "price": price_text(instrument, trade.price_ticks),
            "contract": contract_of(instrument),
        }
        stream = f"futures.trades {contract_of(instrument)}"
        self.stage.publish(stream, self._update_of("futures.trades", [row]))

    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        self._update += 1
        row = {
            "t": happened_ms,
            "u": self._update,
            "s": contract_of(instrument),
            "b": price_text(instrument, quote.bid_ticks),
            "B": quote.bid_lots,
            "a": price_text(instrument, quote.ask_ticks),
            "A": quote.ask_lots,
        }
        stream = f"futures.book_ticker {contract_of(instrument)}"
        self.stage.publish(stream, self._update_of("futures.book_ticker", row))

    def on_second(self, now_ms: int) -> None:
        streams = self.stage.sockets.streams()
        self._candles_open = {
            stream: open_ms for stream, open_ms in self._candles_open.items() if stream in streams
        }
        for stream in streams:
            channel, _, rest = stream.partition(" ")
            if channel == "futures.tickers" and rest in self._by_contract:
                row = self._ticker(self._by_contract[rest])
                self.stage.publish(stream, self._update_of(channel, [row]))
            elif channel == "futures.candlesticks":
                interval, _, contract = rest.partition(" ")
                if contract in self._by_contract and interval in INTERVALS_MS:
                    self._tell_candle(stream, self._by_contract[contract], interval, now_ms)

    def _ticker(self, instrument: Instrument) -> Json:
        matcher = self.desk.market(instrument).matcher
        mark = shapes.trimmed(self.desk.mark(instrument.name))
        rate = shapes.trimmed(self.stage.paper.funding_rate)
        return {
            "contract": contract_of(instrument),
            "last": price_text(instrument, matcher.last_ticks or matcher.bid_ticks),
            "funding_rate": rate,
            "funding_rate_indicative": rate,
            "mark_price": mark,
            "index_price": mark,
            "highest_bid": price_text(instrument, matcher.bid_ticks),
            "lowest_ask": price_text(instrument, matcher.ask_ticks),
        }

    def _tell_candle(self, stream: str, instrument: Instrument, interval: str, now_ms: int) -> None:
        """The bar that has just ended, then the newest as it is."""
        length_ms = INTERVALS_MS[interval]
        open_ms = now_ms - now_ms % length_ms
        told_ms = self._candles_open.get(stream, open_ms)
        self._candles_open[stream] = open_ms
        name = f"{interval}_{contract_of(instrument)}"
        rows = [
            shapes.build_candle(bar, instrument, name)
            for start_ms in dict.fromkeys((told_ms, open_ms))
            if (bar := self.stage.bars[instrument.name].at(start_ms, length_ms)) is not None
        ]
        if rows:
            self.stage.publish(stream, self._update_of("futures.candlesticks", rows))

    # -- the socket ----------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.sockets.serve(
            request,
            route="all",
            combined=False,
            opened=lambda socket: None,
            heard=self._heard,
        )

    def _heard(self, socket: Socket, text: str) -> None:
        try:
            message = json.loads(text)
            channel, event = str(message["channel"]), str(message.get("event", ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            error = {"code": 1, "message": "invalid argument"}
            socket.send(compact({**self._update_of("", None, ""), "error": error}))
            return
        match event:
            case "" if channel == "futures.ping":
                socket.send(compact(self._update_of("futures.pong", None, "")))
            case "subscribe" | "unsubscribe":
                self._subscribe(socket, channel, event, message)
            case "api":
                self._heard_order(socket, channel, message.get("payload"))
            case _:
                error = {"code": 3, "message": "unknown channel or event"}
                socket.send(compact({**self._update_of(channel, None, event), "error": error}))

    def _subscribe(self, socket: Socket, channel: str, event: str, message: Json) -> None:
        payload = [str(each) for each in message.get("payload") or []]
        answer = self._update_of(channel, {"status": "success"}, event)
        answer |= {"id": message.get("id"), "conn_id": CONN_ID, "payload": payload}
        try:
            stream = self._stream_of(channel, event, payload, message)
        except Refusal as error:
            code = 4 if error.status == 401 else 2
            answer |= {"error": {"code": code, "message": error.message}, "result": None}
            socket.send(compact(answer))
            return
        if event == "subscribe":
            lost = self.mischief.strikes("lose_subscriptions")
            self.stage.sockets.join(socket, stream, heard=not lost)
        else:
            self.stage.sockets.leave(socket, stream)
        socket.send(compact(answer))

    def _stream_of(self, channel: str, event: str, payload: list[str], message: Json) -> str:
        """Raises Refusal."""
        if channel in PRIVATE:
            given = message.get("auth") or {}
            try:
                self._check_key(str(given.get("KEY", "")))
                self._check_sign(
                    f"channel={channel}&event={event}&time={message.get('time')}",
                    str(given.get("SIGN", "")),
                )
            except Refusal as error:
                raise Refusal(error.label, error.message, status=401) from error
            if payload[:1] != [str(shapes.USER)]:
                raise Refusal("INVALID_PARAM_VALUE", "user id does not match", status=401)
            return channel
        if channel not in PUBLIC or not payload or payload[-1] not in self._by_contract:
            raise Refusal("CONTRACT_NOT_FOUND", f"unknown contract or channel {channel}")
        return " ".join([channel, *payload])

    def _heard_order(self, socket: Socket, channel: str, payload: Any) -> None:
        payload = payload if isinstance(payload, dict) else {}
        number, param = str(payload.get("req_id", "")), payload.get("req_param")
        if channel == "futures.login":
            self._log_in(socket, number, payload)
            return
        self.stage.served.append(("WS", channel))
        endpoint = OPERATIONS.get(channel)
        if endpoint is None or not socket.state.get("user"):
            label = "INVALID_PARAM_VALUE" if endpoint is None else "INVALID_KEY"
            error = Refusal(label, "not logged in or unknown channel", status=401)
            socket.send(compact(self._reply(number, channel, refusal(error))))
            return
        try:
            self._at_the_door()
        except Refusal as error:
            socket.send(compact(self._reply(number, channel, refusal(error))))
            return
        if endpoint.kind == "place":
            echo = Outcome(body={"req_id": number, "req_param": param})
            socket.send(compact({**self._reply(number, channel, echo), "ack": True}))
        outcome = self._perform(endpoint, param, "", channel)
        if outcome.cut or outcome.mute:
            return
        reply = self._reply(number, channel, outcome)
        reply["header"] |= {
            name.lower().replace("-", "_"): value
            for name, value in self._usage(endpoint.kind).items()
        }
        self.stage.later(outcome.wait_s, socket.send, compact(reply))

    def _log_in(self, socket: Socket, number: str, payload: Json) -> None:
        sent = str(payload.get("timestamp", ""))
        try:
            self._check_key(str(payload.get("api_key", "")))
            self._check_time(sent)
            text = "" if payload.get("req_param") is None else compact(payload["req_param"])
            self._check_sign(
                f"api\nfutures.login\n{text}\n{sent}", str(payload.get("signature", ""))
            )
        except Refusal as error:
            outcome = refusal(error)
        else:
            socket.state["user"] = True
            outcome = Outcome(body={"api_key": payload["api_key"], "uid": str(shapes.USER)})
        socket.send(compact(self._reply(number, "futures.login", outcome)))

    def _reply(self, number: str, channel: str, outcome: Outcome) -> Json:
        good = outcome.status < 300
        body = outcome.body
        data = {"result": body} if good else {"errs": body}
        return {
            "request_id": number,
            "ack": False,
            "header": {
                "response_time": str(self._now_ms()),
                "status": "200" if good else str(outcome.status),
                "channel": channel,
                "event": "api",
                "conn_id": CONN_ID,
            },
            "data": data,
        }

    # -- endpoints: the market -----------------------------------------------------------------------

    def _named(self, name: object) -> Instrument:
        found = self._by_contract.get(str(name or ""))
        if found is None:
            raise Refusal("CONTRACT_NOT_FOUND", f"contract {str(name)[:40]} not found")
        return found

    def _chosen(self, params: Json) -> list[Instrument]:
        if params.get("contract"):
            return [self._named(params["contract"])]
        return list(self.instruments.values())

    def _get_time(self, params: Json, tail: str) -> Any:
        return {"server_time": self._now_ms()}

    def _contract(self, instrument: Instrument) -> Json:
        return shapes.build_contract(
            instrument,
            self.desk.mark(instrument.name),
            self.stage.paper.funding_rate,
            self.stage.next_funding_ms(self._now_ms()),
        )

    def _get_contracts(self, params: Json, tail: str) -> Any:
        if tail:
            return self._contract(self._named(tail))
        return [self._contract(each) for each in self.instruments.values()]

    def _get_tickers(self, params: Json, tail: str) -> Any:
        return [self._ticker(each) for each in self._chosen(params)]

    def _get_candles(self, params: Json, tail: str) -> Any:
        instrument = self._named(params.get("contract"))
        length_ms = INTERVALS_MS.get(str(params.get("interval", "5m")))
        if length_ms is None:
            raise Refusal("INVALID_PARAM_VALUE", "invalid interval")
        first, last = params.get("from"), params.get("to")
        if params.get("limit") and (first or last):
            raise Refusal("INVALID_PARAM_VALUE", "limit conflicts with from and to")
        rows = [
            shapes.build_candle(bar, instrument)
            for bar in self.stage.bars[instrument.name].series(length_ms)
        ]
        rows = [
            row
            for row in rows
            if (not first or row["t"] >= int(first)) and (not last or row["t"] <= int(last))
        ]
        return rows[-limit_of(params, 100, 2_000) :]

    # -- endpoints: orders ---------------------------------------------------------------------------

    def _place_one(self, row: Json) -> Order:
        try:
            market = self.desk.market(self._named(row.get("contract")))
            return self.desk.place(parse_ticket(row, market, dual=self.mischief.hedge_mode))
        except Rejected as error:
            raise refused(error) from error

    def _place(self, params: Any, tail: str) -> Any:
        if not isinstance(params, dict):
            raise Refusal("INVALID_PARAM_VALUE", "invalid argument")
        return shapes.build_order(self._place_one(params))

    def _place_many(self, params: Any, tail: str) -> Any:
        """One order's failure is its own, but what is no order fails them all."""
        rows = checked_list(params, PLACE_BATCH, dict)
        results = []
        for row in rows:
            try:
                order = self._place_one(row)
            except Refusal as error:
                results.append({"succeeded": False, "label": error.label, "detail": error.message})
            else:
                results.append({"succeeded": True, **shapes.build_order(order)})
        return results

    def _find(self, name: str) -> Order:
        """By number or by text. Raises Refusal."""
        if name.isdigit():
            order = self.desk.by_order_id(int(name))
        else:
            found = (self.desk.by_client_id(each, name) for each in self.instruments)
            order = next((each for each in found if each is not None), None)
        if order is None:
            raise Refusal("ORDER_NOT_FOUND", "Order not found", status=404)
        return order

    def _cancel_one(self, name: str) -> Order:
        try:
            return self.desk.cancel(self._find(name))
        except OrderNotFound as error:
            raise Refusal("ORDER_FINISHED", "Order is finished", status=400) from error

    def _cancel(self, params: Any, tail: str) -> Any:
        name = tail or str(params.get("order_id", "") if isinstance(params, dict) else "")
        return shapes.build_order(self._cancel_one(name))

    def _cancel_many(self, params: Any, tail: str) -> Any:
        results = []
        for name in checked_list(params, CANCEL_BATCH, str):
            row = {"user_id": shapes.USER, "id": name}
            try:
                self._cancel_one(name)
            except Refusal as error:
                results.append({**row, "succeeded": False, "message": error.label})
            else:
                results.append({**row, "succeeded": True, "message": ""})
        return results

    def _cancel_all(self, params: Json, tail: str) -> Any:
        instrument = self._named(params.get("contract"))
        return [shapes.build_order(order) for order in self.desk.cancel_all(instrument.name)]

    def _amend(self, params: Any, tail: str) -> Any:
        name = tail or str(params.get("order_id", ""))
        order = self._find(name)
        try:
            self.desk.amend(
                order, *parse_amendment(params, order, self.desk.market(order.instrument))
            )
        except VenueError as error:
            raise refused(error) from error
        return shapes.build_order(order)

    def _get_orders(self, params: Json, tail: str) -> Any:
        if tail:
            return shapes.build_order(self._find(tail))
        names = {each.name: None for each in self._chosen(params)}
        wanted = params.get("status", "open") == "open"
        orders = [
            order
            for order in self.desk.all_orders()
            if order.instrument.name in names and order.open is wanted
        ]
        return page([shapes.build_order(order) for order in reversed(orders)], params)

    def _get_trades(self, params: Json, tail: str) -> Any:
        names = {each.name: None for each in self._chosen(params)}
        first, last = params.get("from"), params.get("to")
        rows = [
            shapes.build_trade(trade)
            for trade in reversed(self.desk.trades)
            if trade.order.instrument.name in names
        ]
        if params.get("order"):
            rows = [row for row in rows if row["order_id"] == str(params["order"])]
        rows = [
            row
            for row in rows
            if (not first or row["create_time"] >= int(first))
            and (not last or row["create_time"] <= int(last))
        ]
        return page(rows, params)

    def _set_switch(self, params: Any, tail: str) -> Any:
        seconds = params.get("timeout") if isinstance(params, dict) else None
        if not isinstance(seconds, int) or (seconds and seconds < SWITCH_LEAST_S):
            raise Refusal("INVALID_PARAM_VALUE", "invalid timeout")
        name = str(params.get("contract") or "")
        symbol = self._named(name).name if name else None
        self.stage.set_switch(name, seconds, self.desk.cancel_all, symbol)
        return {"triggerTime": str(self._now_ms() + seconds * 1_000 if seconds else 0)}

    # -- endpoints: the account ----------------------------------------------------------------------

    def _get_account(self, params: Json, tail: str) -> Any:
        account = self.stage.book.exchange.account
        return shapes.build_account(account, self._asset, dual=self.mischief.hedge_mode)

    def _get_positions(self, params: Json, tail: str) -> Any:
        if tail:
            return self._position(self._named(tail).name)
        held = params.get("holding") == "true"
        return [
            self._position(name)
            for name in self.instruments
            if not held or self.desk.holding(name).lots
        ]

    def _set_leverage(self, params: Any, tail: str) -> Any:
        instrument = self._named(tail.removesuffix("/leverage"))
        wanted = str(params.get("cross_leverage_limit") or params.get("leverage") or "")
        if not wanted.isdigit():
            raise Refusal("INVALID_PARAM_VALUE", "invalid leverage")
        self.stage.book.exchange.account.leverage = Decimal(wanted)
        return self._position(instrument.name)

    def _set_dual_mode(self, params: Any, tail: str) -> Any:
        self.mischief.hedge_mode = str(params.get("dual_mode")) == "true"
        return self._get_account({}, "")

    def _get_book(self, params: Json, tail: str) -> Any:
        first = params.get("from")
        rows = [
            shapes.build_book_row(income, self.instruments[income.symbol])
            for income in reversed(self.desk.income)
            if income.kind == "funding" and params.get("type") in (None, "fund")
        ]
        return page([row for row in rows if not first or row["time"] >= int(first)], params)


TOO_MANY = Refusal("TOO_MANY_REQUESTS", "Request Rate Limit Exceeded", status=429)


def refusal(error: Refusal) -> Outcome:
    return Outcome(body={"label": error.label, "message": error.message}, status=error.status)


def parse_params(request: web.Request, body: str) -> Any:
    """The query, or the JSON of the body. Raises Refusal."""
    if not body:
        return dict(request.query)
    try:
        return json.loads(body)
    except ValueError:
        raise Refusal("INVALID_REQUEST_BODY", "body is not JSON") from None


def checked_list(params: Any, most: int, kind: type) -> list[Any]:
    if (
        not isinstance(params, list)
        or not 0 < len(params) <= most
        or not all(isinstance(each, kind) for each in params)
    ):
        raise Refusal("INVALID_PARAM_VALUE", f"a list of up to {most} is expected")
    return params


def limit_of(params: Json, default: int, most: int) -> int:
    text = str(params.get("limit") or default)
    if not text.isdigit() or not 0 < int(text) <= most:
        raise Refusal("INVALID_PARAM_VALUE", "invalid limit")
    return int(text)


def page(rows: list[Json], params: Json) -> list[Json]:
    first = int(params.get("offset") or 0)
    return rows[first : first + limit_of(params, PAGE_MAX, PAGE_MAX)]


Handle = Callable[[LoopbackGate, Any, str], Any]


def public(handle: Handle) -> Endpoint:
    return Endpoint(handle=handle)


def signed(handle: Handle, kind: Kind = "", *, status: int = 200) -> Endpoint:
    return Endpoint(handle=handle, signed=True, kind=kind, status=status)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", f"{API}/spot/time"): public(LoopbackGate._get_time),
    ("GET", f"{FUTURES}/contracts"): public(LoopbackGate._get_contracts),
    ("GET", f"{FUTURES}/tickers"): public(LoopbackGate._get_tickers),
    ("GET", f"{FUTURES}/candlesticks"): public(LoopbackGate._get_candles),
    ("GET", f"{FUTURES}/accounts"): signed(LoopbackGate._get_account),
    ("GET", f"{FUTURES}/account_book"): signed(LoopbackGate._get_book),
    ("GET", f"{FUTURES}/positions"): signed(LoopbackGate._get_positions),
    ("POST", f"{FUTURES}/positions"): signed(LoopbackGate._set_leverage),
    ("POST", f"{FUTURES}/dual_mode"): signed(LoopbackGate._set_dual_mode),
    ("POST", f"{FUTURES}/orders"): signed(LoopbackGate._place, "place", status=201),
    ("POST", f"{FUTURES}/batch_orders"): signed(LoopbackGate._place_many, "place"),
    ("POST", f"{FUTURES}/batch_cancel_orders"): signed(LoopbackGate._cancel_many, "cancel"),
    ("PUT", f"{FUTURES}/orders"): signed(LoopbackGate._amend, "place"),
    ("GET", f"{FUTURES}/orders"): signed(LoopbackGate._get_orders),
    ("DELETE", f"{FUTURES}/orders"): signed(LoopbackGate._cancel, "cancel"),
    ("GET", f"{FUTURES}/my_trades"): signed(LoopbackGate._get_trades),
    ("GET", f"{FUTURES}/my_trades_timerange"): signed(LoopbackGate._get_trades),
    ("POST", f"{FUTURES}/countdown_cancel_all"): signed(LoopbackGate._set_switch),
}
CANCEL_ALL = signed(LoopbackGate._cancel_all, "cancel")
OPERATIONS: dict[str, Endpoint] = {
    "futures.order_place": signed(LoopbackGate._place, "place"),
    "futures.order_batch_place": signed(LoopbackGate._place_many, "place"),
    "futures.order_cancel": signed(LoopbackGate._cancel, "cancel"),
    "futures.order_cancel_ids": signed(LoopbackGate._cancel_many, "cancel"),
    "futures.order_cancel_cp": signed(LoopbackGate._cancel_all, "cancel"),
    "futures.order_amend": signed(LoopbackGate._amend, "place"),
}


def find_endpoint(method: str, path: str) -> tuple[Endpoint | None, str]:
    """With what follows its path: the number or text of an order, the name of a contract."""
    if (method, path) == ("DELETE", f"{FUTURES}/orders"):
        return CANCEL_ALL, ""
    if (found := ENDPOINTS.get((method, path))) is not None:
        return found, ""
    for name in ("orders", "contracts", "positions"):
        lead = f"{FUTURES}/{name}/"
        if path.startswith(lead):
            return ENDPOINTS.get((method, lead[:-1])), path.removeprefix(lead)
    return None, ""


def make(
    *,
    feed: MarketFeed,
    paper: PaperSettings | None = None,
    speed: float = 1.0,
    history_s: float = 0.0,
    instruments: dict[str, InstrumentSettings] | None = None,
    **settings: Any,
) -> LoopbackGate:
    """`settings`: of `GateSettings`, the others as they are."""
    return LoopbackGate(
        feed=feed,
        paper=paper,
        settings=GateSettings(**settings),
        instruments=instruments,
        speed=speed,
        history_s=history_s,
    )
