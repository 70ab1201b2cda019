"""A Bitget venue on this machine: REST and sockets of API v2 and v3, one account of either generation, order entry over
the private socket of a unified one.

Keys, signatures, passphrases, times, filters and limits are checked, and answers have the venue's shapes and codes.
Post-only orders that would take are acknowledged and then ended by the order channel, with the reason that every
cancellation has, as there. What a batch of a unified account is not known to heed, it does not heed here.

Simpler than the venue: one account and one key; USDT-M perpetuals only; cross margin, one leverage for the account;
one-way mode only (hedge mode can be shown, not traded in); books of one level; an own order that would be met goes,
whichever self-trade prevention is asked for; only a unified account can amend; no past trades on subscribing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from marketmaker.loopback.bitget import classic, market, unified
from marketmaker.loopback.bitget.classic import CLASSIC
from marketmaker.loopback.bitget.side import PRODUCT, Endpoint, Side
from marketmaker.loopback.bitget.tickets import Account, Refusal
from marketmaker.loopback.bitget.unified import OPERATIONS, UNIFIED, WIRE_PRODUCT
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.limits import Window, same
from marketmaker.loopback.mischief import Failure
from marketmaker.loopback.sockets import Socket
from marketmaker.loopback.stage import Json, Kind, Outcome, Stage, StageSettings, compact
from marketmaker.model.market import Quote, Trade
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.feed import MarketFeed

SKEW_MS = 30_000
FIRST_ORDER_ID = 1_391_500_303_017_938_001
CONN_ID = "a1b2c3"
ENDPOINTS = {**market.ENDPOINTS, **classic.ENDPOINTS, **unified.ENDPOINTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class BitgetSettings(StageSettings):
    """`account`: the generation. `orders_per_s`: requests that place, and apart from them those that cancel; batches
    apart from both."""

    account: Account = "unified"
    orders_per_s: int = 10


class LoopbackBitget:
    """One account at the venue. `speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol
    it could list."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        settings: BitgetSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings or BitgetSettings()
        self.side: Side = UNIFIED if self.settings.account == "unified" else CLASSIC
        self.candles_open: dict[str, int] = {}
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
        self.asset = self.stage.quote_asset
        self._now_ms = self.stage.now_ms
        self._windows: dict[tuple[Kind, bool], Window] = {}

    # -- life ----------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        """Listen on this machine; port 0 takes a free one. Raises ConfigError when it is taken."""
        await self.stage.start(
            port,
            [
                ("GET", "/{version:v2|v3}/ws/{route:public|private}", self._socket),
                ("*", "/{path:.*}", self._rest),
            ],
        )

    async def close(self) -> None:
        await self.stage.close()

    @property
    def endpoints(self) -> dict[str, str]:
        """What a configuration writes under `endpoints` to come here."""
        base = self.stage.ws_url
        return {
            "rest_url": self.stage.rest_url,
            "ws_public_url": f"{base}/v2/ws/public",
            "ws_private_url": f"{base}/v3/ws/private",
            "ws_order_url": f"{base}/v3/ws/private",
            "ws_classic_url": f"{base}/v2/ws/private",
        }

    # -- REST ----------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.respond(request, lambda body: self._answer(request, body))

    def _answer(self, request: web.Request, body: str) -> Outcome:
        endpoint = ENDPOINTS.get((request.method, request.path))
        try:
            self._at_the_door()
            if endpoint is None:
                raise Refusal("40404", "Request URL NOT FOUND", status=404)
            if endpoint.signed:
                self._check(request, body)
                self._check_generation(request.path)
            params = parse_params(request, body)
        except Refusal as error:
            return self._refusal(error)
        if not endpoint.signed:
            return self._do(endpoint, params)
        return self._perform(endpoint, params, request.path)

    def _at_the_door(self) -> None:
        if self.stage.banned_until_ms(self._now_ms()) or self.mischief.strikes("rate_limit"):
            raise TOO_MANY
        if self.mischief.maintenance:
            raise Refusal("40308", "The contract is being temporarily maintained", status=503)

    def _check(self, request: web.Request, body: str) -> None:
        headers, settings = request.headers, self.settings
        if not same(headers.get("ACCESS-KEY", ""), settings.api_key):
            raise Refusal("40037", "Apikey does not exist")
        if not self.mischief.ip_allowed:
            raise Refusal("40018", "Invalid IP Request")
        given = headers.get("ACCESS-TIMESTAMP", "")
        if not re.fullmatch(r"\d{13}", given):
            raise Refusal("40005", "Invalid ACCESS_TIMESTAMP")
        if abs(self._now_ms() - int(given)) > SKEW_MS:
            raise Refusal("40008", "Request timestamp expired")
        if not same(headers.get("ACCESS-PASSPHRASE", ""), settings.passphrase):
            raise Refusal("40012", "apikey/password is incorrect")
        path, _, query = request.raw_path.partition("?")
        target = f"{path}?{unquote(query)}" if query else path
        text = f"{given}{request.method}{target}{body}"
        if not same(self._signature(text), headers.get("ACCESS-SIGN", "")):
            raise Refusal("40009", "sign signature error")

    def _check_generation(self, path: str) -> None:
        of_classic = path.startswith(classic.PREFIXES)
        if of_classic and self.side is UNIFIED:
            raise Refusal(
                "40085",
                "You are in Unified Account mode, and the Classic Account API is not supported at this time",
            )
        if not of_classic and self.side is CLASSIC:
            raise Refusal("40014", "Incorrect permissions, need unified account permissions")

    def _signature(self, text: str) -> str:
        secret = self.settings.api_secret.encode()
        return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()

    def _refusal(self, error: Refusal) -> Outcome:
        return Outcome(body=self._body(error.code, error.text, None), status=error.status)

    def _body(self, code: str, text: str, data: Any) -> Json:
        return {"code": code, "msg": text, "requestTime": self._now_ms(), "data": data}

    def _perform(self, endpoint: Endpoint, params: Any, path: str) -> Outcome:
        rows = endpoint.rows(params)
        return self.stage.perform(
            lambda: self._do(endpoint, params),
            self,
            kind=endpoint.kind,
            path=path,
            reduce_only=bool(rows) and all(self.side.reduces(row) for row in rows),
            allowed=lambda: self._counted(endpoint.kind, len(rows) > 1),
        )

    def _do(self, endpoint: Endpoint, params: Any) -> Outcome:
        try:
            return Outcome(body=self._body("00000", "success", endpoint.handle(self, params)))
        except Refusal as error:
            return self._refusal(error)

    def _counted(self, kind: Kind, batch: bool) -> Outcome | None:
        """None, or the refusal when the second's window is full: of batches there are half as many."""
        if not kind:
            return None
        most = self.settings.orders_per_s
        window = self._windows.setdefault(
            (kind, batch), Window(max(1, most // 2) if batch else most, 1_000)
        )
        if not window.holds(1, self._now_ms()):
            return self._refusal(TOO_MANY)
        window.take(1, self._now_ms())
        return None

    # -- refusals in the venue's words (see stage.Refusals) ------------------------------------------

    def failed(self, failure: Failure) -> Outcome:
        return self._refusal(Refusal(str(failure.code), failure.message, status=failure.status))

    def may_not_trade(self) -> Outcome:
        return self._refusal(Refusal("40014", "Incorrect permissions"))

    def overloaded(self) -> Outcome:
        return self._refusal(Refusal("40015", "System is abnormal, please try again later"))

    def unknown(self) -> Outcome:
        code = "25000" if self.side is UNIFIED else "40010"
        return self._refusal(Refusal(code, "Request timed out"))

    # -- the account (see desk.Teller) ---------------------------------------------------------------

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None:
        for channel, row in self.side.order_events(order, happened, trade):
            self.stage.tell((channel, [row]))

    def on_position(self, symbol: str) -> None:
        self.stage.tell(self.side.position_rows(self, symbol))

    def on_funding(self, income: Income) -> None:
        """Nothing is told of it."""

    def send_private(self, event: tuple[str, list[Json]]) -> None:
        channel, rows = event
        message = {
            "action": "snapshot",
            "arg": self._private_arg(channel),
            "data": rows,
            "ts": self._now_ms(),
        }
        self.stage.sockets.publish(channel, compact(message))

    def _private_arg(self, channel: str) -> Json:
        if self.side is UNIFIED:
            return {"instType": "UTA", "topic": channel}
        name = "coin" if channel == "account" else "instId"
        return {"instType": PRODUCT, "channel": channel, name: "default"}

    # -- the market (see stage.Venue) ----------------------------------------------------------------

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None:
        market.on_trade(self, symbol, trade, number, happened_ms)

    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None:
        market.on_quote(self, symbol, quote, happened_ms, now_ms)

    def on_second(self, now_ms: int) -> None:
        streams = self.stage.sockets.streams()
        self.candles_open = {
            stream: open_ms for stream, open_ms in self.candles_open.items() if stream in streams
        }
        market.on_second(self, streams, now_ms)

    # -- sockets -------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        version, route = request.match_info["version"], request.match_info["route"]
        return await self.stage.sockets.serve(
            request,
            route=f"{version} {route}",
            combined=False,
            opened=lambda socket: None,
            heard=self._heard,
        )

    def _heard(self, socket: Socket, text: str) -> None:
        if text == "ping":
            if not self.mischief.hushes("pong"):
                socket.send("pong")
            return
        try:
            message = json.loads(text)
            verb, args = str(message["op"]), message["args"]
            if not isinstance(args, list) or not all(isinstance(arg, dict) for arg in args):
                raise TypeError("args")
        except (ValueError, KeyError, TypeError, AttributeError):
            self._say(socket, event="error", code=30003, msg="INVALID op")
            return
        match verb:
            case "login":
                self._log_in(socket, args[0] if args else {})
            case "subscribe" | "unsubscribe":
                for arg in args:
                    self._subscribe(socket, verb, arg)
            case "trade" if socket.route == "v3 private":
                self._heard_order(socket, message, args)
            case _:
                self._say(socket, event="error", code=30003, msg=f"INVALID op {verb[:40]}")

    def _say(self, socket: Socket, **fields: Any) -> None:
        socket.send(compact(fields))

    def _log_in(self, socket: Socket, arg: Json) -> None:
        settings, given = self.settings, str(arg.get("timestamp", ""))
        code, text = 0, ""
        if not same(str(arg.get("apiKey", "")), settings.api_key):
            code, text = 30011, "Invalid ACCESS_KEY"
        elif not self.mischief.ip_allowed:
            code, text = 30005, "Login failed"
        elif not same(str(arg.get("passphrase", "")), settings.passphrase):
            code, text = 30012, "Invalid ACCESS_PASSPHRASE"
        elif not re.fullmatch(r"\d{10}", given):
            code, text = 30013, "Invalid ACCESS_TIMESTAMP"
        elif abs(self._now_ms() / 1_000 - int(given)) > SKEW_MS / 1_000:
            code, text = 30014, "Request timestamp expired"
        elif not same(self._signature(f"{given}GET/user/verify"), str(arg.get("sign", ""))):
            code, text = 30015, "Invalid sign"
        socket.state["user"] = not code
        self._say(socket, event="error" if code else "login", code=code, msg=text)

    def _subscribe(self, socket: Socket, verb: str, arg: Json) -> None:
        version, _, route = socket.route.partition(" ")
        if route == "public":
            stream = market.stream_of(arg, version, self)
            code, text = 30001, f"{compact(arg)[:200]} doesn't exist"
        else:
            stream, code, text = self._private_stream(socket, version, arg)
        if stream is None:
            self._say(socket, event="error", arg=arg, code=code, msg=text)
            return
        if verb == "subscribe":
            lost = self.mischief.strikes("lose_subscriptions")
            self.stage.sockets.join(socket, stream, heard=not lost)
            self._say(socket, event="subscribe", arg=arg)
            if not lost:
                self._begin(socket, stream, route)
        else:
            self.stage.sockets.leave(socket, stream)
            self._say(socket, event="unsubscribe", arg=arg)

    def _private_stream(
        self, socket: Socket, version: str, arg: Json
    ) -> tuple[str | None, int, str]:
        """Its name, or the code and the text of the refusal."""
        name = str(arg.get("topic" if version == "v3" else "channel", ""))
        kind = "UTA" if version == "v3" else PRODUCT
        if not socket.state.get("user"):
            return None, 30004, "User needs to log in"
        if (version == "v3") is not (self.side is UNIFIED):
            return None, 40085, "The account is of the other generation"
        if name not in self.side.channels or arg.get("instType") != kind:
            return None, 30001, f"{compact(arg)[:200]} doesn't exist"
        return name, 0, ""

    def _begin(self, socket: Socket, stream: str, route: str) -> None:
        """What a new subscriber is sent first: the ticker, past candles, open positions; no orders."""
        if route == "public" and (rows := market.first_news(self, stream)):
            message = {"action": "snapshot", "arg": market.arg_of(stream), "data": rows}
            self._say(socket, **message, ts=self._now_ms())
        elif stream.startswith("position"):
            for symbol in self.instruments:
                if self.desk.holding(symbol).lots:
                    self.send_private(self.side.position_rows(self, symbol))

    def _heard_order(self, socket: Socket, message: Json, args: list[Json]) -> None:
        topic, number = str(message.get("topic", "")), str(message.get("id", ""))
        self.stage.served.append(("WS", topic))
        outcome = self._answer_order(socket, message, topic, args)
        if outcome.cut or outcome.mute:
            return
        reply = self._reply(outcome.body, args)
        about = {"id": number, "category": WIRE_PRODUCT, "topic": topic}
        text = compact({**reply, **about, "ts": str(self._now_ms()), "connId": CONN_ID})
        self.stage.later(outcome.wait_s, socket.send, text)

    def _answer_order(self, socket: Socket, message: Json, topic: str, args: list[Json]) -> Outcome:
        endpoint = OPERATIONS.get(topic)
        try:
            if not socket.state.get("user"):
                raise Refusal("30004", "User needs to log in")
            if endpoint is None or not args or message.get("category") != WIRE_PRODUCT:
                raise Refusal("30001", "Parameter does not exist")
            self._at_the_door()
        except Refusal as error:
            return self._refusal(error)
        return self._perform(endpoint, args if "batch" in topic else args[0], topic)

    def _reply(self, body: Json, args: list[Json]) -> Json:
        """A refusal of the whole request is an error event, which repeats the client ids."""
        if body["code"] == "00000":
            rows = body["data"] if isinstance(body["data"], list) else [body["data"]]
            return {"event": "trade", "args": rows, "code": "0", "msg": "success"}
        ids = [{"clientOid": str(arg.get("clientOid") or "")} for arg in args]
        return {"event": "error", "args": ids, "code": body["code"], "msg": body["msg"]}


TOO_MANY = Refusal("429", "Too many requests", status=429)


def parse_params(request: web.Request, body: str) -> Any:
    """Of a GET the query, of a POST its JSON. Raises Refusal."""
    if request.method == "GET":
        return dict(request.query)
    try:
        params = json.loads(body or "{}")
    except ValueError:
        raise Refusal("40020", "Parameter body error") from None
    rows = params if isinstance(params, list) else [params]
    if not all(isinstance(row, dict) for row in rows):
        raise Refusal("40020", "Parameter body error")
    return params


def make(
    *,
    feed: MarketFeed,
    paper: PaperSettings | None = None,
    speed: float = 1.0,
    history_s: float = 0.0,
    instruments: dict[str, InstrumentSettings] | None = None,
    **settings: Any,
) -> LoopbackBitget:
    """`settings`: of `BitgetSettings`, the others as they are."""
    return LoopbackBitget(
        feed=feed,
        paper=paper,
        settings=BitgetSettings(**settings),
        instruments=instruments,
        speed=speed,
        history_s=history_s,
    )
