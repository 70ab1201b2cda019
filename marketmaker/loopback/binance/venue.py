"""A Binance USD-M futures venue on this machine: REST, market and user streams, and order entry over WebSocket, one port.

`start` gives a server at `rest_url` and `ws_url`; `mischief` is what it does wrong. Keys, signatures, times,
filters, weights and order counts are checked, and answers have the venue's shapes and codes (`binance_shapes`,
`binance_desk`). Streams live on three routes, `/public`, `/market` and `/private`, each with `/ws` and `/stream`; a
stream on a wrong route is acknowledged and stays silent. Without a route the venue serves the public one only, its
demo everything: `unrouted` chooses.

Simpler than the venue: one account and one key; leverage is one figure for the account; isolated margin can be set and
means nothing; `depth` shows the best level only; the user's own trades are not in the market's; funding has one rate.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from marketmaker.errors import OrderNotFound, Rejected
from marketmaker.loopback.binance import shapes
from marketmaker.loopback.binance.shapes import MAX_NOTIONAL, Json, WireError
from marketmaker.loopback.binance.tickets import (
    Params,
    malformed,
    need,
    parse_amendment,
    parse_ticket,
    refused,
    whole,
)
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import money_text, price_text, qty_text, wallet
from marketmaker.loopback.limits import Window
from marketmaker.loopback.mischief import Failure
from marketmaker.loopback.sockets import Socket
from marketmaker.loopback.stage import Kind, Outcome, Stage, StageSettings, compact
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.feed import MarketFeed

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
WEEK_MS = 7 * DAY_MS
INTERVALS_MS = {
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": 60 * MINUTE_MS,
    "2h": 120 * MINUTE_MS,
    "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS,
    "8h": 480 * MINUTE_MS,
    "12h": 720 * MINUTE_MS,
    "1d": DAY_MS,
}
MARKET_KINDS = (
    *("aggTrade", "kline_", "continuousKline_", "markPrice", "ticker", "miniTicker", "forceOrder"),
    "contractInfo",
)
"""Streams of the `/market` route begin so; every other one is `/public`."""
ROUTES = ("", "public", "market", "private")
CONTROL_PER_S = 10
STREAMS_MAX = 1024
BATCH_PLACE = 5
BATCH_CANCEL = 10
AGG_TRADES_KEPT = 1_000
ODD_TRADE_EVERY = 20
"""Every so many trades the `@trade` stream also sends one of price and quantity 0."""
MARK_EVERY_S = 3
LOWER_CASE = {"orderidlist": "orderIdList", "origclientorderidlist": "origClientOrderIdList"}
"""Names that clients in the field also write so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinanceSettings(StageSettings):
    """`unrouted`: what a stream path without a route serves, "public" as the venue or "all" as its demo."""

    weight_per_minute: int = 2_400
    orders_per_10s: int = 300
    orders_per_minute: int = 1_200
    listen_key_s: float = 3_600.0
    unrouted: str = "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`security`: "" for everybody, "key", or "signed". `kind`: "place", "cancel" or "" (see `Mischief.scope`).

    `orders`: what it adds to the order counts of 10 s and of a minute.
    """

    handle: Callable[[LoopbackBinance, Params], Any]
    weight: int = 1
    security: str = ""
    kind: Kind = ""
    orders: tuple[int, int] = (0, 0)


class LoopbackBinance:
    """One account at the venue. `feed` symbols without instrument figures of their own need a listing.

    `speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol it could list.
    """

    def __init__(
        self,
        *,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        settings: BinanceSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings or BinanceSettings()
        self.stage = Stage(
            venue=self,
            settings=self.settings,
            feed=feed,
            paper=paper,
            instruments=instruments,
            speed=speed,
            history_s=history_s,
            now_ns=now_ns,
        )
        self.mischief, self.served = self.stage.mischief, self.stage.served
        self.desk, self.instruments = self.stage.desk, self.stage.instruments
        self._asset = self.stage.quote_asset
        self._now_ms = self.stage.now_ms
        self._agg_trades: dict[str, deque[Json]] = {
            name: deque(maxlen=AGG_TRADES_KEPT) for name in self.instruments
        }
        self._last_update_id = 400_900_000
        self._candles_open: dict[str, int] = {}
        self._seconds = 0
        self._weight = Window(self.settings.weight_per_minute, MINUTE_MS)
        self._orders_10s = Window(self.settings.orders_per_10s, 10_000)
        self._orders_1m = Window(self.settings.orders_per_minute, MINUTE_MS)
        self._listen_key = ""
        self._listen_until_ms = 0
        self._margin_types: dict[str, str] = {}

    # -- life ----------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        """Listen on this machine; port 0 takes a free one. Raises ConfigError when it is taken."""
        routes: list[Any] = []
        for route in ROUTES:
            base = f"/{route}" if route else ""
            routes += [
                ("GET", f"{base}/ws", self._stream(route, combined=False)),
                ("GET", f"{base}/ws/{{names:.+}}", self._stream(route, combined=False)),
                ("GET", f"{base}/stream", self._stream(route, combined=True)),
            ]
        routes += [("GET", "/ws-fapi/v1", self._order_entry), ("*", "/{path:.*}", self._rest)]
        deeds = {"expire_listen_key": self.expire_listen_key}
        await self.stage.start(port, routes, deeds)

    async def close(self) -> None:
        await self.stage.close()

    @property
    def rest_url(self) -> str:
        return self.stage.rest_url

    @property
    def ws_url(self) -> str:
        """Routes and `/ws-fapi/v1` are below it."""
        return self.stage.ws_url

    @property
    def endpoints(self) -> dict[str, str]:
        """What a configuration writes under `endpoints` to come here."""
        return {
            "rest_url": self.rest_url,
            "ws_public_url": self.ws_url,
            "ws_private_url": f"{self.ws_url}/private",
            "ws_order_url": f"{self.ws_url}/ws-fapi/v1",
            "key_url": self.rest_url,
        }

    # -- for drivers and tests -----------------------------------------------------------------------

    def expire_listen_key(self) -> None:
        """Tell those who listen by it, then fall silent; the connection stays."""
        if not self._listen_key:
            return
        key, self._listen_key = self._listen_key, ""
        event = {"e": "listenKeyExpired", "E": self._now_ms(), "listenKey": key}
        self.stage.sockets.publish(key, compact(event), "listenKeyExpired")
        self.stage.sockets.drop(key)

    # -- REST ----------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        query = request.raw_path.partition("?")[2]
        key = request.headers.get("X-MBX-APIKEY", "")
        return await self.stage.respond(
            request, lambda body: self._answer(request.method, request.path, query, body, key)
        )

    def _answer(self, method: str, path: str, query: str, body: str, key: str) -> Outcome:
        endpoint = ENDPOINTS.get((method, path))
        now_ms = self._now_ms()
        try:
            self._at_the_door(now_ms)
            if endpoint is None:
                raise WireError(-5000, f"Path {path}, Method {method} is invalid", 404)
            params = parse_params(query, body)
            self._charge(weight_of(endpoint, path, params), now_ms)
            if endpoint.security:
                self._check_key(key)
            if endpoint.security == "signed":
                self._check_time(params, now_ms)
                self._check_signature(unsigned(query) + unsigned(body), params)
        except WireError as error:
            return self._refusal(error)
        outcome = self._perform(endpoint, path, params)
        outcome.headers["X-MBX-USED-WEIGHT-1M"] = str(self._weight.look(now_ms))
        if endpoint.orders != (0, 0) and outcome.status == 200:
            outcome.headers["X-MBX-ORDER-COUNT-10S"] = str(self._orders_10s.look(now_ms))
            outcome.headers["X-MBX-ORDER-COUNT-1M"] = str(self._orders_1m.look(now_ms))
        return outcome

    def _at_the_door(self, now_ms: int) -> None:
        if until_ms := self.stage.banned_until_ms(now_ms):
            raise WireError(
                -1003,
                f"Way too many requests; IP banned until {until_ms}. Please use the websocket for"
                " live updates to avoid bans.",
                418,
                retry_after_s=-(-(until_ms - now_ms) // 1_000),
            )
        if self.mischief.maintenance:
            raise UNAVAILABLE
        if self.mischief.strikes("rate_limit"):
            raise self._too_many_requests(self.mischief.retry_after_s)

    def _charge(self, weight: int, now_ms: int) -> None:
        if self._weight.holds(weight, now_ms):
            self._weight.take(weight, now_ms)
            self.stage.ban.heeded()
            return
        if self.stage.ban.warned(now_ms):
            self._at_the_door(now_ms)
        raise self._too_many_requests(-(-self._weight.left_ms(now_ms) // 1_000))

    def _too_many_requests(self, retry_after_s: int) -> WireError:
        return WireError(
            -1003,
            f"Too many requests; current limit is {self._weight.limit} requests per minute."
            " Please use the websocket for live updates to avoid polling the API.",
            429,
            retry_after_s=retry_after_s,
        )

    def _check_key(self, key: str) -> None:
        if not key:
            raise WireError(-2014, "API-key format invalid.", 401)
        if not (
            hmac.compare_digest(key.encode(), self.settings.api_key.encode())
            and self.mischief.ip_allowed
        ):
            raise WireError(-2015, "Invalid API-key, IP, or permissions for action.", 401)

    def _check_time(self, params: Params, now_ms: int) -> None:
        sent_ms = whole(params, "timestamp")
        window_ms = whole(params, "recvWindow") if params.get("recvWindow") else 5_000
        if window_ms > MINUTE_MS:
            raise WireError(-1131, "recvWindow must be less than 60000.")
        if sent_ms >= now_ms + 1_000:
            raise WireError(
                -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if now_ms - sent_ms > window_ms:
            raise WireError(-1021, "Timestamp for this request is outside of the recvWindow.")

    def _check_signature(self, text: str, params: Params) -> None:
        secret = self.settings.api_secret.encode()
        right = hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right.encode(), need(params, "signature").encode()):
            raise WireError(-1022, "Signature for this request is not valid.")

    def _refusal(self, error: WireError) -> Outcome:
        headers = {"X-MBX-USED-WEIGHT-1M": str(self._weight.look(self._now_ms()))}
        if error.retry_after_s:
            headers["Retry-After"] = str(error.retry_after_s)
        return Outcome(body=error.body(), status=error.status, headers=headers)

    def _perform(self, endpoint: Endpoint, path: str, params: Params) -> Outcome:
        if endpoint.security != "signed":
            return self._do(endpoint, params)
        return self.stage.perform(
            lambda: self._do(endpoint, params),
            self,
            kind=endpoint.kind,
            path=path,
            reduce_only=params.get("reduceOnly", "").lower() == "true",
            allowed=lambda: self._counted(endpoint.orders, self._now_ms()),
        )

    def _do(self, endpoint: Endpoint, params: Params) -> Outcome:
        try:
            return Outcome(body=endpoint.handle(self, params))
        except WireError as error:
            return self._refusal(error)

    def _counted(self, orders: tuple[int, int], now_ms: int) -> Outcome | None:
        """None, or the refusal when a window is full."""
        in_10s, in_minute = orders
        if self._orders_10s.holds(in_10s, now_ms) and self._orders_1m.holds(in_minute, now_ms):
            self._orders_10s.take(in_10s, now_ms)
            self._orders_1m.take(in_minute, now_ms)
            return None
        return self._refusal(self._too_many_orders(orders, now_ms))

    # -- refusals in the venue's words (see stage.Refusals) ------------------------------------------

    def failed(self, failure: Failure) -> Outcome:
        return Outcome(body={"code": failure.code, "msg": failure.message}, status=failure.status)

    def may_not_trade(self) -> Outcome:
        return self._refusal(
            WireError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        )

    def overloaded(self) -> Outcome:
        return self._refusal(OVERLOADED)

    def unknown(self) -> Outcome:
        return self._refusal(UNKNOWN)

    def _too_many_orders(self, orders: tuple[int, int], now_ms: int) -> WireError:
        if self._orders_10s.holds(orders[0], now_ms):
            window, name = self._orders_1m, "MINUTE"
        else:
            window, name = self._orders_10s, "TEN_SECONDS"
        return WireError(
            -1015,
            f"Too many new orders; current limit is {window.limit} orders per {name}.",
            429,
            retry_after_s=-(-window.left_ms(now_ms) // 1_000),
        )

    # -- the account (see desk.Teller) ---------------------------------------------------------------

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None:
        if happened == "fill" and trade is not None:
            self.stage.tell(shapes.build_trade_lite(order, trade))
        holding = self.desk.holding(order.instrument.name)
        self.stage.tell(shapes.build_order_event(order, holding, happened, trade))

    def on_position(self, symbol: str) -> None:
        position = shapes.build_position_event(self.desk.holding(symbol))
        self._account_changed("ORDER", Decimal(0), [position])

    def on_funding(self, income: Income) -> None:
        self._account_changed("FUNDING_FEE", income.amount, [])

    def _account_changed(self, reason: str, change: Decimal, positions: list[Json]) -> None:
        self.stage.tell(
            shapes.build_account_update(
                reason=reason,
                asset=self._asset,
                wallet=wallet(self.stage.book.exchange.account),
                change=change,
                positions=positions,
                now_ms=self._now_ms(),
            )
        )

    def send_private(self, event: Json) -> None:
        if self._listen_key:
            self.stage.sockets.publish(self._listen_key, compact(event), event["e"])

    # -- the market (see stage.Venue) ----------------------------------------------------------------

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None:
        instrument = self.instruments[symbol]
        price = price_text(instrument, trade.price_ticks)
        qty = qty_text(instrument, trade.qty_lots)
        maker_bought = trade.aggressor is Side.SELL
        row = {
            "a": number,
            "p": price,
            "q": qty,
            "nq": qty,
            "f": number,
            "l": number,
            "T": happened_ms,
            "m": maker_bought,
        }
        self._agg_trades[symbol].append(row)
        stream = symbol.lower()
        self.stage.publish(
            f"{stream}@aggTrade", {"e": "aggTrade", "E": now_ms, "s": symbol, **row, "st": 1}
        )
        raw = {
            "e": "trade",
            "E": now_ms,
            "T": happened_ms,
            "s": symbol,
            "t": number,
            "p": price,
            "q": qty,
            "X": "MARKET",
            "m": maker_bought,
        }
        self.stage.publish(f"{stream}@trade", raw)
        if number % ODD_TRADE_EVERY == 0:
            self.stage.publish(f"{stream}@trade", {**raw, "p": "0", "q": "0", "X": "NA"})

    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None:
        self._last_update_id += 1
        stream = f"{symbol.lower()}@bookTicker"
        if self.stage.sockets.wanted(stream) and quote.bid_lots and quote.ask_lots:
            instrument = self.instruments[symbol]
            self.stage.publish(
                stream,
                {
                    "e": "bookTicker",
                    "u": self._last_update_id,
                    "E": now_ms,
                    "T": happened_ms,
                    "s": symbol,
                    "ps": symbol,
                    "b": price_text(instrument, quote.bid_ticks),
                    "B": qty_text(instrument, quote.bid_lots),
                    "a": price_text(instrument, quote.ask_ticks),
                    "A": qty_text(instrument, quote.ask_lots),
                    "st": 1,
                },
            )

    def on_second(self, now_ms: int) -> None:
        self._seconds += 1
        streams = self.stage.sockets.streams()
        self._candles_open = {
            stream: open_ms for stream, open_ms in self._candles_open.items() if stream in streams
        }
        for stream in streams:
            name, _, kind = stream.partition("@")
            symbol = name.upper()
            if symbol not in self.instruments:
                continue
            if kind == "markPrice@1s" or (
                kind == "markPrice" and self._seconds % MARK_EVERY_S == 0
            ):
                self._tell_mark(stream, symbol, now_ms)
            elif kind.startswith("kline_") and kind[6:] in INTERVALS_MS:
                self._tell_candle(stream, symbol, kind[6:], now_ms)
        if self._listen_key and now_ms >= self._listen_until_ms:
            self.expire_listen_key()

    def _tell_mark(self, stream: str, symbol: str, now_ms: int) -> None:
        mark = money_text(self.desk.mark(symbol))
        self.stage.publish(
            stream,
            {
                "e": "markPriceUpdate",
                "E": now_ms,
                "s": symbol,
                "p": mark,
                "i": mark,
                "P": mark,
                "r": money_text(self.stage.paper.funding_rate),
                "ap": mark,
                "T": self.stage.next_funding_ms(now_ms),
                "st": 1,
            },
        )

    def _tell_candle(self, stream: str, symbol: str, interval: str, now_ms: int) -> None:
        """The bar that has just ended, then the newest as it is."""
        length_ms = INTERVALS_MS[interval]
        open_ms = now_ms - now_ms % length_ms
        told_ms = self._candles_open.get(stream, open_ms)
        self._candles_open[stream] = open_ms
        for start_ms in dict.fromkeys((told_ms, open_ms)):
            bar = self.stage.bars[symbol].at(start_ms, length_ms)
            if bar is not None:
                event = shapes.build_candle_event(
                    bar,
                    self.instruments[symbol],
                    interval,
                    interval_ms=length_ms,
                    closed=start_ms < open_ms,
                    now_ms=now_ms,
                )
                self.stage.publish(stream, event)

    # -- market and user streams ---------------------------------------------------------------------

    def _stream(self, route: str, *, combined: bool) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            names = request.match_info.get("names", "").split("/")
            if combined:
                names = request.query.get("streams", "").split("/")
            key = request.query.get("listenKey", "")

            def opened(socket: Socket) -> None:
                if events := request.query.get("events"):
                    socket.events = frozenset(events.split("/"))
                for name in (*names, key):
                    if name:
                        self._subscribe(socket, name)

            return await self.stage.sockets.serve(
                request, route=route, combined=combined, opened=opened, heard=self._heard
            )

        return serve

    def _subscribe(self, socket: Socket, stream: str) -> None:
        route = self._route_of(stream)
        if socket.route == "":
            heard = self.settings.unrouted == "all" or route == "public"
        else:
            heard = socket.route == route
        if self.mischief.strikes("lose_subscriptions"):
            heard = False
        self.stage.sockets.join(socket, stream, heard=heard)

    def _route_of(self, stream: str) -> str:
        if stream == self._listen_key:
            return "private"
        kind = stream[1:] if stream.startswith("!") else stream.partition("@")[2]
        return "market" if kind.startswith(MARKET_KINDS) else "public"

    def _heard(self, socket: Socket, text: str) -> None:
        """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS."""
        if socket.over_limit(CONTROL_PER_S):
            socket.cut()
            return
        number: Any = None
        try:
            message = json.loads(text)
            number = message.get("id")
            streams = message.get("params") or []
            match message["method"]:
                case "LIST_SUBSCRIPTIONS":
                    socket.send(compact({"result": list(socket.streams), "id": number}))
                    return
                case "SUBSCRIBE" if streams:
                    if len(socket.streams) + len(streams) > STREAMS_MAX:
                        raise ValueError("too many streams")
                    for stream in streams:
                        self._subscribe(socket, str(stream))
                case "UNSUBSCRIBE":
                    for stream in streams:
                        self.stage.sockets.leave(socket, str(stream))
                case _:
                    raise ValueError("unknown method or no params")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"Invalid request: {error}"
            socket.send(compact({"error": {"code": 2, "msg": message}, "id": number}))
            return
        socket.send(compact({"result": None, "id": number}))

    # -- order entry over WebSocket ------------------------------------------------------------------

    async def _order_entry(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.sockets.serve(
            request,
            route="orders",
            combined=False,
            opened=lambda socket: None,
            heard=self._heard_order,
        )

    def _heard_order(self, socket: Socket, text: str) -> None:
        number: Any = None
        try:
            message = json.loads(text)
            number, method = message["id"], str(message["method"])
            given = message.get("params") or {}
            params = {str(name): as_text(value) for name, value in given.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            error = {"code": -1000, "msg": "Invalid request."}
            socket.send(compact({"id": number, "status": 400, "error": error}))
            return
        self.served.append(("WS", method))
        outcome = self._answer_ws(method, params)
        if outcome.cut or outcome.mute:
            return
        reply = {"id": number, "status": outcome.status}
        if outcome.status == 200:
            reply["result"] = outcome.body
        else:
            reply["error"] = self._ws_error(outcome)
        reply["rateLimits"] = self._used(method)
        self.stage.later(outcome.wait_s, socket.send, compact(reply))

    def _ws_error(self, outcome: Outcome) -> Json:
        """What has no code in an HTTP body has one here, and the Retry-After header becomes a time."""
        if outcome.body == UNAVAILABLE.body():
            return OVERLOADED.body()
        error: Json = {"code": BACKEND_TIMEOUT[0], **outcome.body}
        if outcome.body == UNKNOWN.body():
            error["msg"] = BACKEND_TIMEOUT[1]
        if wait_s := outcome.headers.get("Retry-After"):
            now_ms = self._now_ms()
            error["data"] = {"serverTime": now_ms, "retryAfter": now_ms + int(wait_s) * 1_000}
        return error

    def _answer_ws(self, method: str, params: Params) -> Outcome:
        endpoint = WS_METHODS.get(method)
        now_ms = self._now_ms()
        try:
            self._at_the_door(now_ms)
            if endpoint is None:
                if method == "session.logon":
                    raise WireError(-1022, "Signature for this request is not valid.")
                raise WireError(-1020, "This operation is not supported.")
            self._charge(endpoint.weight, now_ms)
            self._check_key(params.get("apiKey", ""))
            self._check_time(params, now_ms)
            given = sorted((name, text) for name, text in params.items() if name != "signature")
            self._check_signature("&".join(f"{name}={text}" for name, text in given), params)
        except WireError as error:
            return self._refusal(error)
        return self._perform(endpoint, method, params)

    def _used(self, method: str) -> list[Json]:
        now_ms = self._now_ms()
        if method not in ("order.place", "order.modify"):
            return [{**self._limits()[0], "count": self._weight.look(now_ms)}]
        _, minute, ten_seconds = self._limits()
        return [
            {**ten_seconds, "count": self._orders_10s.look(now_ms)},
            {**minute, "count": self._orders_1m.look(now_ms)},
        ]

    # -- endpoints: the market -----------------------------------------------------------------------

    def _limits(self) -> list[Json]:
        return [
            limit_row("REQUEST_WEIGHT", "MINUTE", 1, self._weight.limit),
            limit_row("ORDERS", "MINUTE", 1, self._orders_1m.limit),
            limit_row("ORDERS", "SECOND", 10, self._orders_10s.limit),
        ]

    def _instrument(self, params: Params) -> Instrument:
        found = self.instruments.get(need(params, "symbol"))
        if found is None:
            raise WireError(-1121, "Invalid symbol.")
        return found

    def _find(self, params: Params) -> Order | None:
        """By `orderId` or `origClientOrderId`."""
        instrument = self._instrument(params)
        if params.get("orderId"):
            order = self.desk.by_order_id(whole(params, "orderId"))
            return order if order is not None and order.instrument is instrument else None
        if not params.get("origClientOrderId"):
            raise WireError(
                -1102,
                "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!",
            )
        return self.desk.by_client_id(instrument.name, params["origClientOrderId"])

    def _get_time(self, params: Params) -> Json:
        return {"serverTime": self._now_ms()}

    def _get_exchange_info(self, params: Params) -> Json:
        return shapes.build_exchange_info(
            self.instruments, self._limits(), self._now_ms(), "TRADING"
        )

    def _get_depth(self, params: Params) -> Json:
        instrument = self._instrument(params)
        matcher = self.desk.market(instrument).matcher
        now_ms = self._now_ms()

        def level(ticks: int, lots: int) -> list[list[str]]:
            if not lots:
                return []
            return [[price_text(instrument, ticks), qty_text(instrument, lots)]]

        return {
            "lastUpdateId": self._last_update_id,
            "E": now_ms,
            "T": now_ms,
            "bids": level(matcher.bid_ticks, matcher.bid_lots),
            "asks": level(matcher.ask_ticks, matcher.ask_lots),
        }

    def _get_agg_trades(self, params: Params) -> list[Json]:
        instrument = self._instrument(params)
        limit = limit_of(params, 500, 1_000)
        return list(self._agg_trades[instrument.name])[-limit:]

    def _get_klines(self, params: Params) -> list[Any]:
        instrument = self._instrument(params)
        length_ms = INTERVALS_MS.get(need(params, "interval"))
        if length_ms is None:
            raise WireError(-1120, "Invalid interval.")
        limit = limit_of(params, 500, 1_500)
        rows = [
            shapes.build_candle(bar, instrument, length_ms)
            for bar in self.stage.bars[instrument.name].series(length_ms)
        ]
        return page(rows, lambda row: int(row[0]), params, limit)

    def _get_premium_index(self, params: Params) -> Json | list[Json]:
        now_ms = self._now_ms()
        rows = []
        for symbol in self._asked(params):
            mark = money_text(self.desk.mark(symbol))
            rows.append(
                {
                    "symbol": symbol,
                    "markPrice": mark,
                    "indexPrice": mark,
                    "estimatedSettlePrice": mark,
                    "lastFundingRate": money_text(self.stage.paper.funding_rate),
                    "interestRate": "0.00010000",
                    "nextFundingTime": self.stage.next_funding_ms(now_ms),
                    "time": now_ms,
                }
            )
        return rows[0] if params.get("symbol") else rows

    def _get_funding_rate(self, params: Params) -> list[Json]:
        every_ms = round(self.stage.paper.funding_interval_s * 1_000)
        last_ms = self.stage.next_funding_ms(self._now_ms()) - every_ms
        limit = limit_of(params, 100, 1_000)
        rows = [
            {
                "symbol": symbol,
                "fundingRate": money_text(self.stage.paper.funding_rate),
                "fundingTime": last_ms - back * every_ms,
                "markPrice": money_text(self.desk.mark(symbol)),
                "rateType": "Regular",
            }
            for symbol in self._asked(params)
            for back in reversed(range(limit))
        ]
        return page(rows, lambda row: int(row["fundingTime"]), params, limit)

    def _get_book_ticker(self, params: Params) -> Json | list[Json]:
        rows = []
        for symbol in self._asked(params):
            instrument = self.instruments[symbol]
            matcher = self.desk.market(instrument).matcher
            rows.append(
                {
                    "symbol": symbol,
                    "bidPrice": price_text(instrument, matcher.bid_ticks),
                    "bidQty": qty_text(instrument, matcher.bid_lots),
                    "askPrice": price_text(instrument, matcher.ask_ticks),
                    "askQty": qty_text(instrument, matcher.ask_lots),
                    "time": self._now_ms(),
                    "lastUpdateId": self._last_update_id,
                }
            )
        return rows[0] if params.get("symbol") else rows

    def _get_price(self, params: Params) -> Json | list[Json]:
        rows = []
        for symbol in self._asked(params):
            last = self.stage.bars[symbol].last_ticks or 0
            price = price_text(self.instruments[symbol], last)
            rows.append({"symbol": symbol, "price": price, "time": self._now_ms()})
        return rows[0] if params.get("symbol") else rows

    def _asked(self, params: Params) -> list[str]:
        if params.get("symbol"):
            return [self._instrument(params).name]
        return list(self.instruments)

    # -- endpoints: orders ---------------------------------------------------------------------------

    def _place(self, params: Params) -> Json:
        market = self.desk.market(self._instrument(params))
        ticket = parse_ticket(params, market, hedge_mode=self.mischief.hedge_mode)
        try:
            order = self.desk.place(ticket)
        except Rejected as error:
            raise refused(error) from error
        result = params.get("newOrderRespType", "ACK") == "RESULT"
        return shapes.build_ack(order, as_accepted=not result)

    def _place_batch(self, params: Params) -> list[Json]:
        items = json_list(params, "batchOrders", dict)
        if not 0 < len(items) <= BATCH_PLACE:
            raise WireError(-4082, "Invalid number of batch place orders.")
        return [self._one(self._place, as_params(item)) for item in items]

    def _modify(self, params: Params) -> Json:
        order = self._find(params)
        if order is None or not order.open:
            raise WireError(-2013, "Order does not exist.")
        market = self.desk.market(order.instrument)
        price_ticks, qty_lots = parse_amendment(params, order, market)
        if modify_id := params.get("modifyId"):
            order.extra["modifyId"] = str(whole({"modifyId": modify_id}, "modifyId"))
        else:
            order.extra.pop("modifyId", None)
        try:
            return shapes.build_modified(self.desk.amend(order, price_ticks, qty_lots))
        except Rejected as error:
            raise refused(error) from error

    def _modify_batch(self, params: Params) -> list[Json]:
        items = json_list(params, "batchOrders", dict)
        if not 0 < len(items) <= BATCH_PLACE:
            raise WireError(-4082, "Invalid number of batch place orders.")
        return [self._one(self._modify, as_params(item)) for item in items]

    def _cancel(self, params: Params) -> Json:
        try:
            return shapes.build_ack(self.desk.cancel(self._find(params)))
        except OrderNotFound as error:
            raise refused(error) from error

    def _cancel_batch(self, params: Params) -> list[Json]:
        self._instrument(params)
        name = "orderIdList" if params.get("orderIdList") else "origClientOrderIdList"
        ids = json_list(params, name, (int, str))
        if not 0 < len(ids) <= BATCH_CANCEL:
            raise WireError(-1130, f"Data sent for parameter '{name}' is not valid.")
        single = "orderId" if name == "orderIdList" else "origClientOrderId"
        symbol = params["symbol"]
        return [self._one(self._cancel, {"symbol": symbol, single: str(each)}) for each in ids]

    def _one(self, work: Callable[[Params], Json], params: Params) -> Json:
        try:
            return work(params)
        except WireError as error:
            return error.body()

    def _cancel_all(self, params: Params) -> Json:
        self.desk.cancel_all(self._instrument(params).name)
        return {"code": 200, "msg": "The operation of cancel all open order is done."}

    def _get_order(self, params: Params) -> Json:
        order = self._find(params)
        if order is None:
            raise WireError(-2013, "Order does not exist.")
        return shapes.build_query(order)

    def _get_open_order(self, params: Params) -> Json:
        order = self._find(params)
        if order is None or not order.open:
            raise WireError(-2013, "Order does not exist.")
        return shapes.build_query(order)

    def _get_open_orders(self, params: Params) -> list[Json]:
        symbol = self._instrument(params).name if params.get("symbol") else None
        return [shapes.build_query(order) for order in self.desk.open_orders(symbol)]

    def _get_all_orders(self, params: Params) -> list[Json]:
        check_span(params)
        orders = self.desk.all_orders(self._instrument(params).name)
        if params.get("orderId"):
            least = whole(params, "orderId")
            orders = [order for order in orders if order.order_id >= least]
        rows = [shapes.build_query(order) for order in orders]
        return page(rows, lambda row: int(row["time"]), params, limit_of(params, 500, 1_000))

    def _get_user_trades(self, params: Params) -> list[Json]:
        check_span(params)
        symbol = self._instrument(params).name
        limit = limit_of(params, 500, 1_000)
        trades = [each for each in self.desk.trades if each.order.instrument.name == symbol]
        if params.get("orderId"):
            asked = whole(params, "orderId")
            trades = [each for each in self.desk.trades if each.order.order_id == asked]
        rows = [shapes.build_own_trade(each) for each in trades]
        if params.get("fromId"):
            if params.get("startTime") or params.get("endTime"):
                raise WireError(-1128, "Combination of optional parameters invalid.")
            least = whole(params, "fromId")
            return [row for row in rows if row["id"] >= least][:limit]
        return page(rows, lambda row: int(row["time"]), params, limit)

    def _get_income(self, params: Params) -> list[Json]:
        rows = [
            row
            for income in self.desk.income
            if (row := shapes.build_income(income, self._asset))
            and params.get("symbol") in (None, row["symbol"])
            and params.get("incomeType") in (None, row["incomeType"])
        ]
        return page(rows, lambda row: int(row["time"]), params, limit_of(params, 100, 1_000))

    def _countdown(self, params: Params) -> Json:
        instrument = self._instrument(params)
        countdown_ms = whole(params, "countdownTime")
        if countdown_ms < 0:
            raise malformed("countdownTime")
        self.stage.set_switch(
            instrument.name, countdown_ms / 1_000, self.desk.cancel_all, instrument.name
        )
        return {"symbol": instrument.name, "countdownTime": str(countdown_ms)}

    def _get_order_limits(self, params: Params) -> list[Json]:
        _, minute, ten_seconds = self._limits()
        return [ten_seconds, minute]

    # -- endpoints: the account ----------------------------------------------------------------------

    def _positions(self, names: list[str], *, every: bool) -> list[Json]:
        """`every`: also those that are flat and have no order."""
        exchange = self.stage.book.exchange
        rows = []
        for name in names:
            market = exchange.market(name)
            if every or market.holding.lots or market.open_orders:
                rows.append(
                    shapes.build_position(
                        market.holding,
                        exchange.account,
                        exchange.position(name).liquidation_price,
                        self.desk.updated_ms.get(name, 0),
                    )
                )
        return rows

    def _get_positions(self, params: Params) -> list[Json]:
        return self._positions(self._asked(params), every=False)

    def _get_positions_v2(self, params: Params) -> list[Json]:
        leverage = str(self._leverage())
        rows = self._positions(self._asked(params), every=True)
        for row in rows:
            row["leverage"] = leverage
            row["maxNotionalValue"] = MAX_NOTIONAL
            isolated = self._margin_types.get(row["symbol"]) == "ISOLATED"
            row["marginType"] = "isolated" if isolated else "cross"
            row["isAutoAddMargin"] = "false"
        return rows

    def _get_balance(self, params: Params) -> list[Json]:
        return shapes.build_balance(self.stage.book.exchange.account, self._asset, self._now_ms())

    def _get_account(self, params: Params) -> Json:
        rows = self._positions(list(self.instruments), every=False)
        return shapes.build_account(
            self.stage.book.exchange.account, self._asset, rows, self._now_ms()
        )

    def _get_account_v2(self, params: Params) -> Json:
        rows = self._positions(list(self.instruments), every=True)
        body = shapes.build_account(
            self.stage.book.exchange.account, self._asset, rows, self._now_ms()
        )
        for shown, row in zip(body["positions"], rows, strict=True):
            for name in ("entryPrice", "positionInitialMargin", "openOrderInitialMargin"):
                shown[name] = row[name]
            shown["leverage"] = str(self._leverage())
            shown["isolated"] = self._margin_types.get(row["symbol"]) == "ISOLATED"
            shown["maxNotional"] = MAX_NOTIONAL
        config = self._get_account_config(params)
        return {**config, **body}

    def _leverage(self) -> int:
        return int(self.stage.book.exchange.account.leverage)

    def _get_symbol_config(self, params: Params) -> list[Json]:
        return [
            {
                "symbol": symbol,
                "marginType": self._margin_types.get(symbol, "CROSSED"),
                "isAutoAddMargin": False,
                "leverage": self._leverage(),
                "maxNotionalValue": MAX_NOTIONAL,
            }
            for symbol in self._asked(params)
        ]

    def _get_account_config(self, params: Params) -> Json:
        return {
            "feeTier": 0,
            "canTrade": self.mischief.may_trade,
            "canDeposit": True,
            "canWithdraw": self.mischief.may_withdraw,
            "dualSidePosition": self.mischief.hedge_mode,
            "updateTime": 0,
            "multiAssetsMargin": self.mischief.multi_assets,
            "tradeGroupId": -1,
        }

    def _get_key_permissions(self, params: Params) -> Json:
        """`/sapi/v1/account/apiRestrictions`, which the venue has on another host."""
        return {
            "ipRestrict": False,
            "createTime": shapes.ONBOARD_MS,
            "enableReading": True,
            "enableWithdrawals": self.mischief.may_withdraw,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": self.mischief.may_trade,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enablePortfolioMarginTrading": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": False,
        }

    def _get_position_mode(self, params: Params) -> Json:
        return {"dualSidePosition": self.mischief.hedge_mode}

    def _set_position_mode(self, params: Params) -> Json:
        wanted = need(params, "dualSidePosition").lower() == "true"
        if wanted == self.mischief.hedge_mode:
            raise WireError(-4059, "No need to change position side.")
        self._check_idle(-4067, -4068, "Position side", list(self.instruments))
        self.mischief.hedge_mode = wanted
        return {"code": 200, "msg": "success"}

    def _get_multi_assets(self, params: Params) -> Json:
        return {"multiAssetsMargin": self.mischief.multi_assets}

    def _set_leverage(self, params: Params) -> Json:
        instrument = self._instrument(params)
        leverage = whole(params, "leverage")
        if not 1 <= leverage <= 125:
            raise WireError(-4028, f"Leverage {leverage} is not valid")
        self.stage.book.exchange.account.leverage = Decimal(leverage)
        now_ms = self._now_ms()
        self.stage.tell(
            {
                "e": "ACCOUNT_CONFIG_UPDATE",
                "E": now_ms,
                "T": now_ms,
                "ac": {"s": instrument.name, "l": leverage},
            }
        )
        return {"leverage": leverage, "maxNotionalValue": MAX_NOTIONAL, "symbol": instrument.name}

    def _set_margin_type(self, params: Params) -> Json:
        name = self._instrument(params).name
        wanted = need(params, "marginType")
        if wanted not in ("ISOLATED", "CROSSED"):
            raise malformed("marginType")
        if wanted == self._margin_types.get(name, "CROSSED"):
            raise WireError(-4046, "No need to change margin type.")
        self._check_idle(-4047, -4048, "Margin type", [name])
        self._margin_types[name] = wanted
        return {"code": 200, "msg": "success"}

    def _check_idle(
        self, orders_code: int, position_code: int, what: str, names: list[str]
    ) -> None:
        for name in names:
            market = self.stage.book.exchange.market(name)
            if market.open_orders:
                raise WireError(
                    orders_code, f"{what} cannot be changed if there exists open orders."
                )
            if market.holding.lots:
                raise WireError(
                    position_code, f"{what} cannot be changed if there exists position."
                )

    def _get_commission(self, params: Params) -> Json:
        instrument = self._instrument(params)
        return {
            "symbol": instrument.name,
            "makerCommissionRate": f"{instrument.maker_fee:f}",
            "takerCommissionRate": f"{instrument.taker_fee:f}",
            "rpiCommissionRate": f"{instrument.maker_fee:f}",
        }

    def _get_brackets(self, params: Params) -> list[Json]:
        rate = float(self.stage.paper.maintenance_margin)
        return [
            {
                "symbol": symbol,
                "brackets": [
                    {
                        "bracket": 1,
                        "initialLeverage": 125,
                        "notionalCap": 1_000_000_000,
                        "notionalFloor": 0,
                        "maintMarginRatio": rate,
                        "cum": 0.0,
                    }
                ],
            }
            for symbol in self._asked(params)
        ]

    # -- endpoints: the listen key -------------------------------------------------------------------

    def _open_listen_key(self, params: Params) -> Json:
        if not self._listen_key:
            self._listen_key = secrets.token_hex(32)
        return self._extend()

    def _extend_listen_key(self, params: Params) -> Json:
        if not self._listen_key:
            raise WireError(-1125, "This listenKey does not exist.")
        return self._extend()

    def _extend(self) -> Json:
        self._listen_until_ms = self._now_ms() + round(self.settings.listen_key_s * 1_000)
        return {"listenKey": self._listen_key}

    def _close_listen_key(self, params: Params) -> Json:
        key, self._listen_key = self._listen_key, ""
        if key:
            self.stage.sockets.drop(key)
        return {}


OVERLOADED = WireError(
    -1008,
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt."
    " Please try again.",
    503,
)
UNAVAILABLE = WireError(None, "Service Unavailable.", 503)
BACKEND_TIMEOUT = (
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
)
UNKNOWN = WireError(None, "Unknown error, please check your request or try again later.", 503)

_V = LoopbackBinance
PLACE = Endpoint(handle=_V._place, weight=0, security="signed", kind="place", orders=(1, 1))
MODIFY = Endpoint(handle=_V._modify, security="signed", kind="place", orders=(1, 1))
CANCEL = Endpoint(handle=_V._cancel, security="signed", kind="cancel")
QUERY = Endpoint(handle=_V._get_order, security="signed")


def _public(handle: Callable[[LoopbackBinance, Params], Any], weight: int = 1) -> Endpoint:
    return Endpoint(handle=handle, weight=weight)


def _signed(handle: Callable[[LoopbackBinance, Params], Any], weight: int = 1) -> Endpoint:
    return Endpoint(handle=handle, weight=weight, security="signed")


def _keyed(handle: Callable[[LoopbackBinance, Params], Any]) -> Endpoint:
    return Endpoint(handle=handle, security="key")


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", "/fapi/v1/ping"): _public(lambda venue, params: {}),
    ("GET", "/fapi/v1/time"): _public(_V._get_time),
    ("GET", "/fapi/v1/exchangeInfo"): _public(_V._get_exchange_info),
    ("GET", "/fapi/v1/depth"): _public(_V._get_depth, 2),
    ("GET", "/fapi/v1/aggTrades"): _public(_V._get_agg_trades, 20),
    ("GET", "/fapi/v1/klines"): _public(_V._get_klines),
    ("GET", "/fapi/v1/premiumIndex"): _public(_V._get_premium_index),
    ("GET", "/fapi/v1/fundingRate"): _public(_V._get_funding_rate, 0),
    ("GET", "/fapi/v1/fundingInfo"): _public(lambda venue, params: [], 0),
    ("GET", "/fapi/v1/ticker/price"): _public(_V._get_price),
    ("GET", "/fapi/v2/ticker/price"): _public(_V._get_price),
    ("GET", "/fapi/v1/ticker/bookTicker"): _public(_V._get_book_ticker, 2),
    ("POST", "/fapi/v1/order"): PLACE,
    ("PUT", "/fapi/v1/order"): MODIFY,
    ("DELETE", "/fapi/v1/order"): CANCEL,
    ("GET", "/fapi/v1/order"): QUERY,
    ("GET", "/fapi/v1/openOrder"): _signed(_V._get_open_order),
    ("GET", "/fapi/v1/openOrders"): _signed(_V._get_open_orders),
    ("GET", "/fapi/v1/allOrders"): _signed(_V._get_all_orders, 5),
    ("DELETE", "/fapi/v1/allOpenOrders"): Endpoint(
        handle=_V._cancel_all, security="signed", kind="cancel"
    ),
    ("POST", "/fapi/v1/batchOrders"): Endpoint(
        handle=_V._place_batch, weight=5, security="signed", kind="place", orders=(5, 1)
    ),
    ("PUT", "/fapi/v1/batchOrders"): Endpoint(
        handle=_V._modify_batch, weight=5, security="signed", kind="place", orders=(5, 1)
    ),
    ("DELETE", "/fapi/v1/batchOrders"): Endpoint(
        handle=_V._cancel_batch, security="signed", kind="cancel"
    ),
    ("POST", "/fapi/v1/countdownCancelAll"): _signed(_V._countdown, 10),
    ("GET", "/fapi/v1/userTrades"): _signed(_V._get_user_trades, 5),
    ("GET", "/fapi/v1/income"): _signed(_V._get_income, 30),
    ("GET", "/fapi/v1/rateLimit/order"): _signed(_V._get_order_limits),
    ("GET", "/fapi/v2/balance"): _signed(_V._get_balance, 5),
    ("GET", "/fapi/v3/balance"): _signed(_V._get_balance, 5),
    ("GET", "/fapi/v2/account"): _signed(_V._get_account_v2, 5),
    ("GET", "/fapi/v3/account"): _signed(_V._get_account, 5),
    ("GET", "/fapi/v2/positionRisk"): _signed(_V._get_positions_v2, 5),
    ("GET", "/fapi/v3/positionRisk"): _signed(_V._get_positions, 5),
    ("GET", "/fapi/v1/symbolConfig"): _signed(_V._get_symbol_config, 5),
    ("GET", "/fapi/v1/accountConfig"): _signed(_V._get_account_config, 5),
    ("GET", "/fapi/v1/positionSide/dual"): _signed(_V._get_position_mode, 30),
    ("POST", "/fapi/v1/positionSide/dual"): _signed(_V._set_position_mode),
    ("GET", "/fapi/v1/multiAssetsMargin"): _signed(_V._get_multi_assets, 30),
    ("POST", "/fapi/v1/leverage"): _signed(_V._set_leverage),
    ("POST", "/fapi/v1/marginType"): _signed(_V._set_margin_type),
    ("GET", "/fapi/v1/commissionRate"): _signed(_V._get_commission, 20),
    ("GET", "/fapi/v1/leverageBracket"): _signed(_V._get_brackets),
    ("GET", "/sapi/v1/account/apiRestrictions"): _signed(_V._get_key_permissions),
    ("POST", "/fapi/v1/listenKey"): _keyed(_V._open_listen_key),
    ("PUT", "/fapi/v1/listenKey"): _keyed(_V._extend_listen_key),
    ("DELETE", "/fapi/v1/listenKey"): _keyed(_V._close_listen_key),
}
WS_METHODS: dict[str, Endpoint] = {
    "order.place": PLACE,
    "order.modify": MODIFY,
    "order.cancel": CANCEL,
    "order.status": QUERY,
    "account.balance": _signed(_V._get_balance, 5),
    "v2/account.balance": _signed(_V._get_balance, 5),
    "account.position": _signed(_V._get_positions_v2, 5),
    "v2/account.position": _signed(_V._get_positions, 5),
}


def weight_of(endpoint: Endpoint, path: str, params: Params) -> int:
    """Some weights depend on what is asked for."""
    if path == "/fapi/v1/openOrders" and not params.get("symbol"):
        return 40
    if path == "/fapi/v1/klines":
        limit = limit_of(params, 500, 1_500)
        return 1 if limit < 100 else 2 if limit < 500 else 5 if limit <= 1_000 else 10
    return endpoint.weight


def limit_row(kind: str, interval: str, count: int, limit: int) -> Json:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def parse_params(query: str, body: str) -> Params:
    params: Params = {}
    for text in (query, body):
        for given, value in parse_qsl(text, keep_blank_values=True):
            name = LOWER_CASE.get(given, given)
            if name in params:
                raise WireError(-1101, f"Duplicate values for parameter '{name}'.")
            params[name] = value
    return params


def unsigned(text: str) -> str:
    """What was signed: the text as it was sent, without the signature."""
    return re.sub(r"&signature=[^&]*|^signature=[^&]*&?", "", text)


def as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_params(item: Any) -> Params:
    return {str(name): as_text(value) for name, value in item.items()}


def json_list(params: Params, name: str, kind: type | tuple[type, ...]) -> list[Any]:
    items: Any = None
    with suppress(ValueError):
        items = json.loads(need(params, name))
    if not isinstance(items, list) or not all(isinstance(item, kind) for item in items):
        raise WireError(-1130, f"Data sent for parameter '{name}' is not valid.")
    return items


def limit_of(params: Params, default: int, most: int) -> int:
    limit = whole(params, "limit") if params.get("limit") else default
    if limit <= 0:
        raise WireError(-1130, "Data sent for parameter 'limit' is not valid.")
    return min(limit, most)


def check_span(params: Params) -> None:
    if params.get("startTime") and params.get("endTime"):
        span_ms = whole(params, "endTime") - whole(params, "startTime")
        if span_ms > WEEK_MS:
            raise WireError(-4165, "Maximum time interval is 7 days.")
        if span_ms < 0:
            raise WireError(-4165, "Invalid time interval.")


def page(rows: list[Any], time_ms: Callable[[Any], int], params: Params, limit: int) -> list[Any]:
    """Between `startTime` and `endTime`: the first `limit` when a start is given, the last otherwise; oldest first."""
    start = params.get("startTime")
    if params.get("endTime"):
        end_ms = whole(params, "endTime")
        rows = [row for row in rows if time_ms(row) <= end_ms]
    if not start:
        return rows[-limit:]
    start_ms = whole(params, "startTime")
    return [row for row in rows if time_ms(row) >= start_ms][:limit]


def make(
    *,
    feed: MarketFeed,
    paper: PaperSettings | None = None,
    speed: float = 1.0,
    history_s: float = 0.0,
    instruments: dict[str, InstrumentSettings] | None = None,
    **settings: Any,
) -> LoopbackBinance:
    """`settings`: of `BinanceSettings`, the others as they are."""
    return LoopbackBinance(
        feed=feed,
        paper=paper,
        settings=BinanceSettings(**settings),
        instruments=instruments,
        speed=speed,
        history_s=history_s,
    )
