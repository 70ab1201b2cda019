"""An OKX v5 venue on this machine: REST, the public, business and private sockets, order entry on the private one.

Keys, signatures, passphrases, times, filters and order counts are checked, and answers have the venue's shapes and
codes. Post-only orders that would take are acknowledged and then ended by the orders channel, as there.

Simpler than the venue: one account and one key; linear swaps only; cross margin, one leverage for the account; net
mode only (long/short mode can be shown, not traded in); books of one level.
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
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from aiohttp import web

from marketmaker.errors import OrderNotFound, Rejected, VenueError
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import price_text, wallet
from marketmaker.loopback.limits import Window, same
from marketmaker.loopback.mischief import Failure
from marketmaker.loopback.okx import shapes
from marketmaker.loopback.okx.shapes import inst_id_of
from marketmaker.loopback.okx.tickets import Refusal, parse_amendment, parse_ticket, refused
from marketmaker.loopback.sockets import Socket
from marketmaker.loopback.stage import Json, Kind, Outcome, Stage, StageSettings, compact
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import EndReason
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.feed import MarketFeed

MINUTE_MS = 60_000
INTERVALS_MS = {
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}H": n * 60 * MINUTE_MS for n in (1, 2, 4)},
    **{f"{n}H{utc}": n * 60 * MINUTE_MS for n in (6, 12) for utc in ("", "utc")},
    **{f"1D{utc}": 24 * 60 * MINUTE_MS for utc in ("", "utc")},
}
SKEW_MS = 30_000
BATCH_MAX = 20
PAGE_MAX = 100
SWITCH_S = range(10, 121)
PRIVATE_CHANNELS = ("orders", "positions", "account", "balance_and_position")
PUBLIC_CHANNELS = ("trades", "bbo-tbt", "mark-price", "tickers", "funding-rate")
CONN_ID = "a4d3ae55"


@dataclass(frozen=True, slots=True, kw_only=True)
class OkxSettings(StageSettings):
    """`orders_per_2s`: placements, and apart from them cancels, of one instrument."""

    orders_per_2s: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    handle: Callable[[LoopbackOkx, Any], list[Any]]
    signed: bool = False
    kind: Kind = ""


class LoopbackOkx:
    """One account at the venue. `speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol
    it could list."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        settings: OkxSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings or OkxSettings()
        self.stage = Stage(
            venue=self,
            settings=self.settings,
            feed=feed,
            paper=paper,
            instruments=instruments,
            speed=speed,
            history_s=history_s,
            now_ns=now_ns,
            post_only_by_stream=True,
            first_order_id=2_497_956_918_703_120_384,
        )
        self.mischief = self.stage.mischief
        self.desk, self.instruments = self.stage.desk, self.stage.instruments
        self._now_ms = self.stage.now_ms
        self._asset = self.stage.quote_asset
        self._by_inst_id = {inst_id_of(each): each for each in self.instruments.values()}
        self._codes = {
            name: shapes.FIRST_INSTRUMENT_CODE + place
            for place, name in enumerate(self.instruments)
        }
        self._by_code = {code: self.instruments[name] for name, code in self._codes.items()}
        self._windows: dict[tuple[str, str], Window] = {}
        self._private_args: dict[str, Json] = {}
        self._candles_open: dict[str, int] = {}
        self._sequence = 31_415_926

    # -- life ----------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        """Listen on this machine; port 0 takes a free one. Raises ConfigError when it is taken."""
        await self.stage.start(
            port,
            [
                ("GET", "/ws/v5/{route:public|business|private}", self._socket),
                ("*", "/{path:.*}", self._rest),
            ],
        )

    async def close(self) -> None:
        await self.stage.close()

    @property
    def endpoints(self) -> dict[str, str]:
        """What a configuration writes under `endpoints` to come here."""
        base = f"{self.stage.ws_url}/ws/v5"
        return {
            "rest_url": self.stage.rest_url,
            "ws_public_url": f"{base}/public",
            "ws_business_url": f"{base}/business",
            "ws_private_url": f"{base}/private",
            "ws_order_url": f"{base}/private",
        }

    # -- REST ----------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.respond(request, lambda body: self._answer(request, body))

    def _answer(self, request: web.Request, body: str) -> Outcome:
        endpoint = ENDPOINTS.get((request.method, request.path))
        try:
            self._at_the_door()
            if endpoint is None:
                raise Refusal(50000, f"Invalid path {request.path}", status=404)
            if endpoint.signed:
                self._check(request, body)
            params = parse_params(request, body)
        except Refusal as error:
            return refusal(error)
        if not endpoint.signed:
            return self._do(endpoint, params)
        reduce_only = isinstance(params, dict) and params.get("reduceOnly") in (True, "true")
        return self.stage.perform(
            lambda: self._do(endpoint, params),
            self,
            kind=endpoint.kind,
            path=request.path,
            reduce_only=reduce_only,
            allowed=lambda: self._counted(endpoint.kind, params),
        )

    def _at_the_door(self) -> None:
        if self.stage.banned_until_ms(self._now_ms()) or self.mischief.strikes("rate_limit"):
            raise TOO_MANY
        if self.mischief.maintenance:
            raise Refusal(50001, "Service temporarily unavailable. Try again later.", status=503)

    def _check(self, request: web.Request, body: str) -> None:
        headers, settings = request.headers, self.settings
        if not same(headers.get("OK-ACCESS-KEY", ""), settings.api_key):
            raise Refusal(50111, "Invalid OK-ACCESS-KEY", status=401)
        if not self.mischief.ip_allowed:
            raise Refusal(50110, "Your IP is not included in your API key's IP list.", status=401)
        given = headers.get("OK-ACCESS-TIMESTAMP", "")
        try:
            sent = datetime.strptime(given, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        except ValueError:
            raise Refusal(50112, "Invalid OK-ACCESS-TIMESTAMP", status=401) from None
        if abs(self._now_ms() - sent.timestamp() * 1_000) > SKEW_MS:
            raise Refusal(50102, "Timestamp request expired.", status=401)
        if headers.get("OK-ACCESS-PASSPHRASE", "") != settings.passphrase:
            raise Refusal(50105, "OK-ACCESS-PASSPHRASE incorrect", status=401)
        text = f"{given}{request.method}{request.raw_path}{body}"
        if not same(self._signature(text), headers.get("OK-ACCESS-SIGN", "")):
            raise Refusal(50113, "Invalid Sign", status=401)

    def _signature(self, text: str) -> str:
        secret = self.settings.api_secret.encode()
        return base64.b64encode(hmac.new(secret, text.encode(), hashlib.sha256).digest()).decode()

    def _do(self, endpoint: Endpoint, params: Any) -> Outcome:
        try:
            rows = endpoint.handle(self, params)
        except Refusal as error:
            return refusal(error)
        return Outcome(body=envelope(rows))

    def _counted(self, kind: Kind, params: Any) -> Outcome | None:
        """None, or the refusal when the instrument's window of two seconds is full."""
        if not kind:
            return None
        for row in params if isinstance(params, list) else [params]:
            name = str(row.get("instId") or row.get("instIdCode"))
            window = self._windows.setdefault(
                (kind, name), Window(self.settings.orders_per_2s, 2_000)
            )
            if not window.holds(1, self._now_ms()):
                return refusal(TOO_MANY)
            window.take(1, self._now_ms())
        return None

    # -- refusals in the venue's words (see stage.Refusals) ------------------------------------------

    def failed(self, failure: Failure) -> Outcome:
        return refusal(Refusal(failure.code, failure.message, status=failure.status))

    def may_not_trade(self) -> Outcome:
        text = "This API key doesn't have permission to use this function"
        return refusal(Refusal(50120, text, status=401))

    def overloaded(self) -> Outcome:
        return refusal(Refusal(50013, "Systems are busy. Please try again later.", status=429))

    def unknown(self) -> Outcome:
        text = (
            "API endpoint request timeout (does not mean that the request was successful or failed)"
        )
        return refusal(Refusal(50004, text))

    # -- the account (see desk.Teller) ---------------------------------------------------------------

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None:
        self.stage.tell(("orders", shapes.build_order_event(order, happened, trade)))

    def on_position(self, symbol: str) -> None:
        self.stage.tell(("positions", self._position(symbol)))

    def on_funding(self, income: Income) -> None:
        cash = wallet(self.stage.book.exchange.account)
        self.stage.tell(
            ("balance_and_position", shapes.build_funding_event(income, self._asset, cash))
        )

    def send_private(self, event: tuple[str, Json]) -> None:
        """To each subscription under its own `arg`, as it was asked for."""
        channel, row = event
        for stream in self.stage.sockets.streams():
            arg = self._private_args.get(stream)
            if arg is not None and arg["channel"] == channel and is_about(arg, row):
                said = {"arg": {**arg, "uid": shapes.UID}, "data": [row]}
                self.stage.sockets.publish(stream, compact(said))

    def _position(self, symbol: str) -> Json:
        exchange = self.stage.book.exchange
        return shapes.build_position(
            exchange.market(symbol).holding,
            exchange.account,
            exchange.position(symbol).liquidation_price,
            self.desk.updated_ms.get(symbol, 0) or self._now_ms(),
        )

    # -- the market (see stage.Venue) ----------------------------------------------------------------

    def _publish(self, channel: str, instrument: Instrument, row: Any) -> None:
        inst_id = inst_id_of(instrument)
        message = {"arg": {"channel": channel, "instId": inst_id}, "data": [row]}
        self.stage.publish(f"{channel} {inst_id}", message)

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None:
        instrument = self.instruments[symbol]
        self._sequence += 1
        row = {
            "instId": inst_id_of(instrument),
            "tradeId": str(number),
            "px": price_text(instrument, trade.price_ticks),
            "sz": shapes.contracts_text(trade.qty_lots),
            "side": trade.aggressor.name.lower(),
            "ts": str(happened_ms),
            "count": "1",
            "seqId": self._sequence,
        }
        self._publish("trades", instrument, row)

    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        self._sequence += 1

        def level(ticks: int, lots: int) -> list[list[str]]:
            if not lots:
                return []
            return [[price_text(instrument, ticks), shapes.contracts_text(lots), "0", "1"]]

        row = {
            "asks": level(quote.ask_ticks, quote.ask_lots),
            "bids": level(quote.bid_ticks, quote.bid_lots),
            "ts": str(happened_ms),
            "seqId": self._sequence,
        }
        self._publish("bbo-tbt", instrument, row)

    def on_second(self, now_ms: int) -> None:
        streams = self.stage.sockets.streams()
        self._candles_open = {
            stream: open_ms for stream, open_ms in self._candles_open.items() if stream in streams
        }
        for stream in streams:
            channel, _, inst_id = stream.partition(" ")
            instrument = self._by_inst_id.get(inst_id)
            if instrument is None:
                continue
            if channel == "mark-price":
                self._publish(channel, instrument, self._mark(instrument, now_ms))
            elif channel == "funding-rate":
                self._publish(channel, instrument, self._funding(instrument))
            elif channel == "tickers":
                self._publish(channel, instrument, self._ticker(instrument))
            elif channel.removeprefix("candle") in INTERVALS_MS:
                self._tell_candle(stream, channel, instrument, now_ms)

    def _tell_candle(self, stream: str, channel: str, instrument: Instrument, now_ms: int) -> None:
        """The bar that has just ended, then the newest as it is."""
        length_ms = INTERVALS_MS[channel.removeprefix("candle")]
        open_ms = now_ms - now_ms % length_ms
        told_ms = self._candles_open.get(stream, open_ms)
        self._candles_open[stream] = open_ms
        for start_ms in dict.fromkeys((told_ms, open_ms)):
            bar = self.stage.bars[instrument.name].at(start_ms, length_ms)
            if bar is not None:
                row = shapes.build_candle(bar, instrument, closed=start_ms < open_ms)
                self._publish(channel, instrument, row)

    def _mark(self, instrument: Instrument, now_ms: int) -> Json:
        return {
            "instType": "SWAP",
            "instId": inst_id_of(instrument),
            "markPx": shapes.trimmed(self.desk.mark(instrument.name)),
            "ts": str(now_ms),
        }

    def _funding(self, instrument: Instrument) -> Json:
        now_ms = self._now_ms()
        every_ms = round(self.stage.paper.funding_interval_s * 1_000)
        next_ms = self.stage.next_funding_ms(now_ms)
        return {
            "instId": inst_id_of(instrument),
            "instType": "SWAP",
            "fundingRate": shapes.trimmed(self.stage.paper.funding_rate),
            "fundingTime": str(next_ms),
            "nextFundingTime": str(next_ms + every_ms),
            "ts": str(now_ms),
        }

    def _ticker(self, instrument: Instrument) -> Json:
        matcher = self.desk.market(instrument).matcher
        return {
            "instType": "SWAP",
            "instId": inst_id_of(instrument),
            "last": price_text(instrument, matcher.last_ticks or matcher.bid_ticks),
            "lastSz": "1",
            "askPx": price_text(instrument, matcher.ask_ticks),
            "askSz": shapes.contracts_text(matcher.ask_lots),
            "bidPx": price_text(instrument, matcher.bid_ticks),
            "bidSz": shapes.contracts_text(matcher.bid_lots),
            "ts": str(self._now_ms()),
        }

    # -- sockets -------------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.sockets.serve(
            request,
            route=request.match_info["route"],
            combined=False,
            opened=lambda socket: None,
            heard=self._heard,
        )

    def _heard(self, socket: Socket, text: str) -> None:
        if text == "ping":
            if not self.mischief.hushes("pong"):
                socket.send("pong")
            return
        number = ""
        try:
            message = json.loads(text)
            number, verb, args = str(message.get("id", "")), message["op"], message["args"]
            if not isinstance(args, list) or not all(isinstance(arg, dict) for arg in args):
                raise TypeError("args")
        except (ValueError, KeyError, TypeError, AttributeError):
            self._event(socket, number, "error", code="60012", msg=f"Invalid request: {text[:200]}")
            return
        match verb:
            case "login":
                self._log_in(socket, args[0] if args else {})
            case "subscribe" | "unsubscribe":
                for arg in args:
                    self._subscribe(socket, number, verb, arg)
            case _ if verb in OPERATIONS:
                self._heard_order(socket, number, verb, args, message)
            case _:
                self._event(socket, number, "error", code="60012", msg=f"Invalid op: {verb}")

    def _event(self, socket: Socket, number: str, event: str, **fields: Any) -> None:
        lead = {"id": number} if number else {}
        socket.send(compact({**lead, "event": event, **fields, "connId": CONN_ID}))

    def _log_in(self, socket: Socket, arg: Json) -> None:
        settings = self.settings
        given = str(arg.get("timestamp", ""))
        code, text = "0", ""
        if not same(str(arg.get("apiKey", "")), settings.api_key):
            code, text = "60005", "Invalid apiKey"
        elif not self.mischief.ip_allowed:
            code, text = "60009", "Login failed."
        elif arg.get("passphrase") != settings.passphrase:
            code, text = "60024", "Wrong passphrase"
        elif not re.fullmatch(r"\d{10}(\.\d+)?", given):
            code, text = "60004", "Invalid timestamp"
        elif abs(self._now_ms() / 1_000 - float(given)) > SKEW_MS / 1_000:
            code, text = "60006", "Timestamp request expired"
        elif self._signature(f"{given}GET/users/self/verify") != arg.get("sign"):
            code, text = "60007", "Invalid sign"
        if code == "0":
            socket.state["user"] = True
        self._event(socket, "", "login" if code == "0" else "error", code=code, msg=text)

    def _subscribe(self, socket: Socket, number: str, verb: str, arg: Json) -> None:
        channel, inst_id = str(arg.get("channel", "")), str(arg.get("instId", ""))
        private = channel in PRIVATE_CHANNELS
        known = inst_id in self._by_inst_id
        candle = channel.removeprefix("candle") in INTERVALS_MS and channel.startswith("candle")
        code = ""
        if private and socket.route == "private":
            if not socket.state.get("user"):
                code, text = "60011", "Please log in"
        elif (candle and socket.route == "business") or (
            channel in PUBLIC_CHANNELS and socket.route == "public"
        ):
            if not known:
                code, text = (
                    "60018",
                    f"Wrong URL or channel:{channel},instId:{inst_id} doesn't exist.",
                )
        elif private or candle or channel in PUBLIC_CHANNELS:
            code, text = "60028", "The current operation is not supported by this URL."
        else:
            code, text = "60018", f"Wrong URL or channel:{channel} doesn't exist."
        if code:
            self._event(socket, number, "error", code=code, msg=text)
            return
        stream = compact(arg) if private else f"{channel} {inst_id}"
        if private:
            self._private_args[stream] = arg
        if verb == "subscribe":
            lost = self.mischief.strikes("lose_subscriptions")
            self.stage.sockets.join(socket, stream, heard=not lost)
        else:
            self.stage.sockets.leave(socket, stream)
        self._event(socket, number, verb, arg=arg)
        if verb == "subscribe" and channel == "positions":
            for symbol in self.instruments:
                if self.desk.holding(symbol).lots:
                    self.send_private(("positions", self._position(symbol)))

    def _heard_order(
        self, socket: Socket, number: str, verb: str, args: list[Json], message: Json
    ) -> None:
        endpoint = OPERATIONS[verb]
        self.stage.served.append(("WS", verb))
        if not socket.state.get("user") or socket.route != "private":
            self._event(socket, number, "error", code="60011", msg="Please log in")
            return
        for arg in args:
            if "instIdCode" not in arg:
                reply = {
                    "id": number,
                    "op": verb,
                    "data": [],
                    "code": "60013",
                    "msg": "Invalid args",
                }
                socket.send(compact(reply))
                return
        params: Any = args if verb.startswith("batch") else args[0]
        until = str(message.get("expTime") or "")
        if until.isdigit() and int(until) < self._now_ms():
            outcome = refusal(Refusal(51149, "Order timed out. Please try again later."))
        else:
            outcome = self._do_over_socket(endpoint, params)
        if outcome.cut or outcome.mute:
            return
        body = outcome.body
        reply = {
            "id": number,
            "op": verb,
            "data": body.get("data", []),
            "code": body["code"],
            "msg": body["msg"],
            "inTime": str(self._now_ms() * 1_000),
            "outTime": str(self._now_ms() * 1_000 + 900),
        }
        self.stage.later(outcome.wait_s, socket.send, compact(reply))

    def _do_over_socket(self, endpoint: Endpoint, params: Any) -> Outcome:
        try:
            self._at_the_door()
        except Refusal as error:
            return refusal(error)
        rows = params if isinstance(params, list) else [params]
        return self.stage.perform(
            lambda: self._do(endpoint, params),
            self,
            kind=endpoint.kind,
            path="",
            reduce_only=all(row.get("reduceOnly") in (True, "true") for row in rows),
            allowed=lambda: self._counted(endpoint.kind, params),
        )

    # -- endpoints: the market -----------------------------------------------------------------------

    def _named(self, params: Json) -> Instrument:
        found = self._by_inst_id.get(str(params.get("instId", "")))
        if found is None and str(params.get("instIdCode", "")).isdigit():
            found = self._by_code.get(int(params["instIdCode"]))
        if found is None:
            raise Refusal(51001, "Instrument ID, Instrument ID code or Spread ID doesn't exist.")
        return found

    def _chosen(self, params: Json) -> list[Instrument]:
        """The one asked for, or all; none of another kind than swaps."""
        if params.get("instType", "SWAP") not in ("SWAP", "ANY"):
            return []
        return [self._named(params)] if params.get("instId") else list(self.instruments.values())

    def _get_time(self, params: Json) -> list[Any]:
        return [{"ts": str(self._now_ms())}]

    def _get_instruments(self, params: Json) -> list[Any]:
        return [
            shapes.build_instrument(each, self._codes[each.name]) for each in self._chosen(params)
        ]

    def _get_marks(self, params: Json) -> list[Any]:
        return [self._mark(each, self._now_ms()) for each in self._chosen(params)]

    def _get_tickers(self, params: Json) -> list[Any]:
        return [self._ticker(each) for each in self._chosen(params)]

    def _get_funding_rate(self, params: Json) -> list[Any]:
        return [self._funding(self._named(params))]

    def _get_price_limit(self, params: Json) -> list[Any]:
        instrument = self._named(params)
        mark = self.desk.mark(instrument.name)
        return [
            {
                "instType": "SWAP",
                "instId": inst_id_of(instrument),
                "buyLmt": shapes.trimmed(mark * Decimal("1.05")),
                "sellLmt": shapes.trimmed(mark * Decimal("0.95")),
                "ts": str(self._now_ms()),
                "enabled": True,
            }
        ]

    def _get_candles(self, params: Json) -> list[Any]:
        """Newest first; `after` is older than, `before` newer than a time."""
        instrument, now_ms = self._named(params), self._now_ms()
        length_ms = INTERVALS_MS.get(str(params.get("bar", "1m")))
        if length_ms is None:
            raise Refusal(51000, "Parameter bar error")
        bars = self.stage.bars[instrument.name].series(length_ms)
        rows = [
            shapes.build_candle(bar, instrument, closed=bar.open_ms + length_ms <= now_ms)
            for bar in bars
        ]
        after, before = params.get("after"), params.get("before")
        rows = [
            row
            for row in rows
            if (not after or int(row[0]) < int(after)) and (not before or int(row[0]) > int(before))
        ]
        return rows[::-1][: limit_of(params, 100, 300)]

    # -- endpoints: orders ---------------------------------------------------------------------------

    def _place_one(self, row: Json) -> Json:
        now_ms, client_id = self._now_ms(), str(row.get("clOrdId") or "")
        tag = str(row.get("tag") or "")
        try:
            market = self.desk.market(self._named(row))
            ticket = parse_ticket(row, market, hedge_mode=self.mischief.hedge_mode)
            order = self.desk.place(ticket)
        except Rejected as error:
            return refused_row(refused(error), client_id, tag, now_ms)
        except Refusal as error:
            return refused_row(error, client_id, tag, now_ms)
        return shapes.build_ack(
            now_ms=now_ms, order=order, client_id=client_id, tag=tag, text="Order placed"
        )

    def _cancel_one(self, row: Json) -> Json:
        now_ms, client_id = self._now_ms(), str(row.get("clOrdId") or "")
        try:
            order = self.desk.cancel(self._find(row))
        except OrderNotFound as error:
            return refused_row(refused(error), client_id, "", now_ms)
        except Refusal as error:
            return refused_row(error, client_id, "", now_ms)
        return shapes.build_ack(now_ms=now_ms, order=order, client_id=client_id, text="")

    def _amend_one(self, row: Json) -> Json:
        now_ms, client_id = self._now_ms(), str(row.get("clOrdId") or "")
        order = None
        try:
            order = self._find(row)
            if order is None or not order.open:
                raise Refusal(51503, "Order modification failed as the order does not exist.")
            market = self.desk.market(order.instrument)
            self.desk.amend(order, *parse_amendment(row, order, market))
        except VenueError as error:
            return refused_row(refused(error), client_id, "", now_ms)
        except Refusal as error:
            return refused_row(error, client_id, "", now_ms)
        return shapes.build_ack(now_ms=now_ms, order=order, client_id=client_id, text="")

    def _find(self, row: Json) -> Order | None:
        """By `ordId` or `clOrdId`."""
        instrument = self._named(row)
        if str(row.get("ordId") or "").isdigit():
            order = self.desk.by_order_id(int(row["ordId"]))
            return order if order is not None and order.instrument is instrument else None
        if not row.get("clOrdId"):
            raise Refusal(51000, "Either parameter ordId or clOrdId is required")
        return self.desk.by_client_id(instrument.name, str(row["clOrdId"]))

    def _place(self, params: Json) -> list[Any]:
        return [self._place_one(params)]

    def _place_many(self, params: Any) -> list[Any]:
        return [self._place_one(row) for row in batch(params)]

    def _cancel(self, params: Json) -> list[Any]:
        return [self._cancel_one(params)]

    def _cancel_many(self, params: Any) -> list[Any]:
        return [self._cancel_one(row) for row in batch(params)]

    def _amend(self, params: Json) -> list[Any]:
        return [self._amend_one(params)]

    def _amend_many(self, params: Any) -> list[Any]:
        return [self._amend_one(row) for row in batch(params)]

    def _get_order(self, params: Json) -> list[Any]:
        order = self._find(params)
        if order is None:
            raise Refusal(51603, "Order does not exist")
        return [shapes.build_order(order)]

    def _get_open_orders(self, params: Json) -> list[Any]:
        names = [each.name for each in self._chosen(params)]
        rows = [shapes.build_order(each) for name in names for each in self.desk.open_orders(name)]
        return page(rows, "ordId", params)

    def _get_history(self, params: Json) -> list[Any]:
        names = [each.name for each in self._chosen(params)]
        orders = [each for name in names for each in self.desk.all_orders(name) if not each.open]
        return page([shapes.build_order(each) for each in orders], "ordId", params)

    def _get_fills(self, params: Json) -> list[Any]:
        names = {each.name: None for each in self._chosen(params)}
        rows = [
            shapes.build_fill(trade, 1_763_912_345_678_000_000 + trade.number)
            for trade in self.desk.trades
            if trade.order.instrument.name in names
        ]
        if params.get("ordId"):
            rows = [row for row in rows if row["ordId"] == params["ordId"]]
        return page(between(rows, params), "billId", params)

    def _set_switch(self, params: Json) -> list[Any]:
        seconds = str(params.get("timeOut", ""))
        if not seconds.isdigit() or (int(seconds) and int(seconds) not in SWITCH_S):
            raise Refusal(51000, "Parameter timeOut error")
        tag, after_s = str(params.get("tag") or ""), int(seconds)
        self.stage.set_switch(tag, after_s, self._cancel_tagged, tag)
        now_ms = self._now_ms()
        at = str(now_ms + after_s * 1_000) if after_s else "0"
        return [{"triggerTime": at, "tag": tag, "ts": str(now_ms)}]

    def _cancel_tagged(self, tag: str) -> None:
        for order in self.desk.open_orders():
            if not tag or order.extra.get("tag") == tag:
                order.ending = EndReason.EXPIRED
                self.desk.cancel(order)

    # -- endpoints: the account ----------------------------------------------------------------------

    def _get_balance(self, params: Json) -> list[Any]:
        account = self.stage.book.exchange.account
        return [shapes.build_balance(account, self._asset, self._now_ms())]

    def _get_positions(self, params: Json) -> list[Any]:
        return [
            self._position(each.name)
            for each in self._chosen(params)
            if self.desk.holding(each.name).lots
        ]

    def _get_config(self, params: Json) -> list[Any]:
        powers = ["read_only"]
        powers += ["trade"] if self.mischief.may_trade else []
        powers += ["withdraw"] if self.mischief.may_withdraw else []
        return [
            {
                "uid": shapes.UID,
                "mainUid": shapes.UID,
                "acctLv": "2",
                "acctStpMode": "cancel_maker",
                "posMode": "long_short_mode" if self.mischief.hedge_mode else "net_mode",
                "perm": ",".join(powers),
                "label": "loopback",
                "ip": "",
            }
        ]

    def _set_position_mode(self, params: Json) -> list[Any]:
        if params.get("posMode") not in ("net_mode", "long_short_mode"):
            raise Refusal(51000, "Parameter posMode error")
        if self.desk.open_orders() or any(
            self.desk.holding(name).lots for name in self.instruments
        ):
            raise Refusal(
                59000, "Settings failed. Close any open positions and orders before modifying."
            )
        self.mischief.hedge_mode = params["posMode"] == "long_short_mode"
        return [{"posMode": params["posMode"]}]

    def _leverage_row(self, instrument: Instrument) -> Json:
        return {
            "instId": inst_id_of(instrument),
            "mgnMode": "cross",
            "posSide": "net",
            "lever": shapes.trimmed(self.stage.book.exchange.account.leverage),
        }

    def _get_leverage(self, params: Json) -> list[Any]:
        return [self._leverage_row(self._named(params))]

    def _set_leverage(self, params: Json) -> list[Any]:
        row = self._leverage_row(self._named(params))
        if not str(params.get("lever", "")).isdigit():
            raise Refusal(51000, "Parameter lever error")
        self.stage.book.exchange.account.leverage = Decimal(str(params["lever"]))
        return [{**row, "lever": str(params["lever"])}]

    def _get_fees(self, params: Json) -> list[Any]:
        instrument = next(iter(self.instruments.values()))
        maker, taker = -instrument.maker_fee, -instrument.taker_fee
        return [
            {
                "category": "1",
                "instType": "SWAP",
                "level": "Lv1",
                "maker": f"{maker:f}",
                "taker": f"{taker:f}",
                "makerU": f"{maker:f}",
                "takerU": f"{taker:f}",
                "ts": str(self._now_ms()),
            }
        ]

    def _get_bills(self, params: Json) -> list[Any]:
        rows = [
            shapes.build_bill(income, self.instruments[income.symbol], self._asset)
            for income in self.desk.income
            if income.kind == "funding" and params.get("type") in (None, "8")
        ]
        return page(between(rows, params), "billId", params)

    def _get_nothing(self, params: Json) -> list[Any]:
        """Of what this venue does not have: other kinds of instruments, currencies to move."""
        return []


TOO_MANY = Refusal(
    50011,
    "Rate limit reached. Please refer to API documentation and throttle requests accordingly.",
    status=429,
)


def refusal(error: Refusal) -> Outcome:
    return Outcome(body={"code": error.code, "msg": error.text, "data": []}, status=error.status)


def envelope(rows: list[Any]) -> Json:
    """`code` 1: all orders failed, 2: some did."""
    failed = [row for row in rows if isinstance(row, dict) and row.get("sCode", "0") != "0"]
    if not failed:
        return {"code": "0", "msg": "", "data": rows}
    if len(failed) == len(rows):
        return {"code": "1", "msg": "All operations failed", "data": rows}
    return {"code": "2", "msg": "Bulk operation partially succeeded.", "data": rows}


def refused_row(error: Refusal, client_id: str, tag: str, now_ms: int) -> Json:
    return shapes.build_ack(
        now_ms=now_ms, order=None, client_id=client_id, tag=tag, code=error.code, text=error.text
    )


def is_about(arg: Json, row: Json) -> bool:
    """Whether this row belongs to what was subscribed to: a kind of instruments, a family, or one of them."""
    if arg.get("instType", "ANY") not in ("ANY", "SWAP"):
        return False
    inst_id = str(row.get("instId", ""))
    return (not arg.get("instId") or arg["instId"] == inst_id) and (
        not arg.get("instFamily") or inst_id.startswith(f"{arg['instFamily']}-")
    )


def parse_params(request: web.Request, body: str) -> Any:
    """Of a GET the query, of a POST its JSON. Raises Refusal."""
    if request.method == "GET":
        return dict(request.query)
    try:
        params = json.loads(body or "{}")
    except ValueError:
        raise Refusal(50002, "JSON syntax error", status=400) from None
    rows = params if isinstance(params, list) else [params]
    if not all(isinstance(row, dict) for row in rows):
        raise Refusal(50002, "JSON syntax error", status=400)
    return params


def batch(params: Any) -> list[Json]:
    if not isinstance(params, list) or not params:
        raise Refusal(50014, "Parameter batch can not be empty.")
    if len(params) > BATCH_MAX:
        raise Refusal(51000, "Parameter batch error")
    return params


def limit_of(params: Json, default: int, most: int) -> int:
    text = str(params.get("limit") or default)
    if not text.isdigit() or int(text) == 0:
        raise Refusal(51000, "Parameter limit error")
    return min(int(text), most)


def between(rows: list[Json], params: Json) -> list[Json]:
    """From `begin` to `end`, both times in ms."""
    begin, end = params.get("begin"), params.get("end")
    return [
        row
        for row in rows
        if (not begin or int(row["ts"]) >= int(begin)) and (not end or int(row["ts"]) <= int(end))
    ]


def page(rows: list[Json], key: str, params: Json) -> list[Json]:
    """Newest first; `after` is older than, `before` newer than the row of that id."""
    after, before = params.get("after"), params.get("before")
    rows = sorted(rows, key=lambda row: int(row[key]), reverse=True)
    rows = [
        row
        for row in rows
        if (not after or int(row[key]) < int(after)) and (not before or int(row[key]) > int(before))
    ]
    return rows[: limit_of(params, PAGE_MAX, PAGE_MAX)]


V5 = "/api/v5"
Handle = Callable[[LoopbackOkx, Any], list[Any]]


def public(handle: Handle) -> Endpoint:
    return Endpoint(handle=handle)


def signed(handle: Handle, kind: Kind = "") -> Endpoint:
    return Endpoint(handle=handle, signed=True, kind=kind)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", f"{V5}/public/time"): public(LoopbackOkx._get_time),
    ("GET", f"{V5}/public/instruments"): public(LoopbackOkx._get_instruments),
    ("GET", f"{V5}/public/mark-price"): public(LoopbackOkx._get_marks),
    ("GET", f"{V5}/public/funding-rate"): public(LoopbackOkx._get_funding_rate),
    ("GET", f"{V5}/public/price-limit"): public(LoopbackOkx._get_price_limit),
    ("GET", f"{V5}/market/ticker"): public(LoopbackOkx._get_tickers),
    ("GET", f"{V5}/market/tickers"): public(LoopbackOkx._get_tickers),
    ("GET", f"{V5}/market/candles"): public(LoopbackOkx._get_candles),
    ("GET", f"{V5}/market/history-candles"): public(LoopbackOkx._get_candles),
    ("GET", f"{V5}/asset/currencies"): signed(LoopbackOkx._get_nothing),
    ("GET", f"{V5}/account/balance"): signed(LoopbackOkx._get_balance),
    ("GET", f"{V5}/account/positions"): signed(LoopbackOkx._get_positions),
    ("GET", f"{V5}/account/config"): signed(LoopbackOkx._get_config),
    ("GET", f"{V5}/account/instruments"): signed(LoopbackOkx._get_instruments),
    ("GET", f"{V5}/account/leverage-info"): signed(LoopbackOkx._get_leverage),
    ("GET", f"{V5}/account/trade-fee"): signed(LoopbackOkx._get_fees),
    ("GET", f"{V5}/account/bills"): signed(LoopbackOkx._get_bills),
    ("GET", f"{V5}/account/bills-archive"): signed(LoopbackOkx._get_bills),
    ("POST", f"{V5}/account/set-position-mode"): signed(LoopbackOkx._set_position_mode),
    ("POST", f"{V5}/account/set-leverage"): signed(LoopbackOkx._set_leverage),
    ("POST", f"{V5}/trade/order"): signed(LoopbackOkx._place, "place"),
    ("POST", f"{V5}/trade/batch-orders"): signed(LoopbackOkx._place_many, "place"),
    ("POST", f"{V5}/trade/cancel-order"): signed(LoopbackOkx._cancel, "cancel"),
    ("POST", f"{V5}/trade/cancel-batch-orders"): signed(LoopbackOkx._cancel_many, "cancel"),
    ("POST", f"{V5}/trade/amend-order"): signed(LoopbackOkx._amend, "place"),
    ("POST", f"{V5}/trade/amend-batch-orders"): signed(LoopbackOkx._amend_many, "place"),
    ("POST", f"{V5}/trade/cancel-all-after"): signed(LoopbackOkx._set_switch),
    ("GET", f"{V5}/trade/order"): signed(LoopbackOkx._get_order),
    ("GET", f"{V5}/trade/orders-pending"): signed(LoopbackOkx._get_open_orders),
    ("GET", f"{V5}/trade/orders-history"): signed(LoopbackOkx._get_history),
    ("GET", f"{V5}/trade/orders-history-archive"): signed(LoopbackOkx._get_history),
    ("GET", f"{V5}/trade/fills"): signed(LoopbackOkx._get_fills),
    ("GET", f"{V5}/trade/fills-history"): signed(LoopbackOkx._get_fills),
}
OPERATIONS: dict[str, Endpoint] = {
    "order": signed(LoopbackOkx._place, "place"),
    "batch-orders": signed(LoopbackOkx._place_many, "place"),
    "cancel-order": signed(LoopbackOkx._cancel, "cancel"),
    "batch-cancel-orders": signed(LoopbackOkx._cancel_many, "cancel"),
    "amend-order": signed(LoopbackOkx._amend, "place"),
    "batch-amend-orders": signed(LoopbackOkx._amend_many, "place"),
}


def make(
    *,
    feed: MarketFeed,
    paper: PaperSettings | None = None,
    speed: float = 1.0,
    history_s: float = 0.0,
    instruments: dict[str, InstrumentSettings] | None = None,
    **settings: Any,
) -> LoopbackOkx:
    """`settings`: of `OkxSettings`, the others as they are."""
    return LoopbackOkx(
        feed=feed,
        paper=paper,
        settings=OkxSettings(**settings),
        instruments=instruments,
        speed=speed,
        history_s=history_s,
    )
