"""A Backpack venue on this machine: REST, and public and private streams on one socket.

Keys, ED25519 signatures, times, filters and a limit on requests are checked, and answers have the venue's shapes and
codes. A query finds resting orders only; what has ended is in the history.

Simpler than the venue: one account and one key pair, a published one of the documentation's vectors; perpetuals only,
quoted as the feed is; books of one level.
"""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from marketmaker.errors import OrderNotFound, Rejected
from marketmaker.loopback.backpack import shapes
from marketmaker.loopback.backpack.shapes import symbol_of
from marketmaker.loopback.backpack.tickets import Refusal, parse_ticket, refused
from marketmaker.loopback.desk import Happened, Income, Order, OwnTrade
from marketmaker.loopback.figures import price_text, qty_text
from marketmaker.loopback.limits import Window
from marketmaker.loopback.mischief import Failure
from marketmaker.loopback.sockets import Socket
from marketmaker.loopback.stage import Json, Kind, Outcome, Stage, StageSettings, compact
from marketmaker.model.instrument import Instrument
from marketmaker.model.market import Quote, Trade
from marketmaker.model.order import Side
from marketmaker.model.settings import InstrumentSettings, PaperSettings
from marketmaker.sim.feed import MarketFeed

MINUTE_MS = 60_000
INTERVALS_MS = {
    **{f"{n}m": n * MINUTE_MS for n in (1, 3, 5, 15, 30)},
    **{f"{n}h": n * 60 * MINUTE_MS for n in (1, 2, 4, 6, 8, 12)},
    "1d": 24 * 60 * MINUTE_MS,
}
API, HISTORY = "/api/v1", "/wapi/v1/history"
AHEAD_MS, WINDOW_MAX_MS = 1_000, 60_000
PAGE_MAX = 1_000
PRIVATE_TOPICS = ("account.orderUpdate", "account.positionUpdate", "account.balanceUpdate")
PUBLIC_KINDS = ("trade", "markPrice", "bookTicker", "kline")
SEED = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
PUBLIC_KEY = "ebVWLo/mVPlAeLES6KmLp5AfhTrmlb7X4OORC60ElmQ="


@dataclass(frozen=True, slots=True, kw_only=True)
class BackpackSettings(StageSettings):
    """The key pair is the seed of bytes 1 to 32. `requests_per_minute`: over everything."""

    api_key: str = PUBLIC_KEY
    api_secret: str = SEED
    requests_per_minute: int = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """`instruction` "": for everybody."""

    handle: Callable[[LoopbackBackpack, Any], Any]
    instruction: str = ""
    kind: Kind = ""


class LoopbackBackpack:
    """One account at the venue. `speed`, `history_s`: see `Book`. Raises ConfigError for a feed that holds no symbol
    it could list."""

    def __init__(
        self,
        *,
        feed: MarketFeed,
        paper: PaperSettings | None = None,
        settings: BackpackSettings | None = None,
        instruments: dict[str, InstrumentSettings] | None = None,
        speed: float = 1.0,
        history_s: float = 0.0,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings or BackpackSettings()
        self.stage = Stage(
            venue=self,
            settings=self.settings,
            feed=feed,
            paper=paper,
            instruments=instruments,
            speed=speed,
            history_s=history_s,
            now_ns=now_ns,
            first_order_id=4_228_978_330,
        )
        self.mischief = self.stage.mischief
        self.desk, self.instruments = self.stage.desk, self.stage.instruments
        self._now_ms = self.stage.now_ms
        self._asset = self.stage.quote_asset
        self._by_symbol = {symbol_of(each): each for each in self.instruments.values()}
        self._key = Ed25519PublicKey.from_public_bytes(b64decode(self.settings.api_key))
        self._requests = Window(self.settings.requests_per_minute, MINUTE_MS)
        self._candles_open: dict[str, int] = {}
        self._update = 1_345_937_430

    # -- life ----------------------------------------------------------------------------------------

    async def start(self, port: int = 0) -> None:
        """Listen on this machine; port 0 takes a free one. Raises ConfigError when it is taken."""
        await self.stage.start(port, [("GET", "/", self._socket), ("*", "/{path:.*}", self._rest)])

    async def close(self) -> None:
        await self.stage.close()

    @property
    def endpoints(self) -> dict[str, str]:
        """What a configuration writes under `endpoints` to come here."""
        return {
            "rest_url": self.stage.rest_url,
            "ws_public_url": self.stage.ws_url,
            "ws_private_url": self.stage.ws_url,
        }

    # -- REST ----------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.respond(request, lambda body: self._answer(request, body))

    def _answer(self, request: web.Request, body: str) -> Outcome:
        endpoint = ENDPOINTS.get((request.method, request.path))
        try:
            self._at_the_door()
            if endpoint is None:
                raise Refusal("RESOURCE_NOT_FOUND", "Not Found", status=404)
            params = parse_params(request, body)
            if endpoint.instruction:
                self._check(request, endpoint.instruction, params)
        except Refusal as error:
            return refusal(error)
        if not endpoint.instruction:
            return self._do(endpoint, params)
        rows = params if isinstance(params, list) else [params]
        return self.stage.perform(
            lambda: self._do(endpoint, params),
            self,
            kind=endpoint.kind,
            path=request.path,
            reduce_only=all(row.get("reduceOnly") is True for row in rows),
        )

    def _at_the_door(self) -> None:
        now_ms = self._now_ms()
        if self.stage.banned_until_ms(now_ms) or self.mischief.strikes("rate_limit"):
            raise TOO_MANY
        if self.mischief.maintenance:
            raise Refusal("MAINTENANCE", "The exchange is under maintenance", status=503)
        if not self._requests.holds(1, now_ms):
            raise TOO_MANY
        self._requests.take(1, now_ms)

    def _check(self, request: web.Request, instruction: str, params: Any) -> None:
        headers = request.headers
        sent, window = headers.get("X-Timestamp", ""), headers.get("X-Window", "5000")
        rows = params if isinstance(params, list) else [params]
        text = "&".join(signed_text(instruction, row) for row in rows)
        self._check_signature(
            headers.get("X-API-Key", ""), headers.get("X-Signature", ""), text, sent, window
        )

    def _check_signature(self, key: str, sign: str, text: str, sent: str, window: str) -> None:
        if key != self.settings.api_key:
            raise Refusal("UNAUTHORIZED", "Invalid API key", status=401)
        if not self.mischief.ip_allowed:
            raise Refusal("FORBIDDEN", "IP address is not allowed", status=403)
        if not (sent.isdigit() and window.isdigit() and int(window) <= WINDOW_MAX_MS):
            raise Refusal("INVALID_CLIENT_REQUEST", "Invalid timestamp or window")
        now_ms = self._now_ms()
        if not int(sent) - AHEAD_MS <= now_ms <= int(sent) + int(window):
            raise Refusal(
                "TIMESTAMP_OUT_OF_RANGE",
                "Timestamp for this request is outside of the recvWindow.",
            )
        try:
            told = f"{text}&timestamp={sent}&window={window}".encode()
            self._key.verify(b64decode(sign, validate=True), told)
        except (InvalidSignature, ValueError):
            raise Refusal("INVALID_CLIENT_REQUEST", "Invalid signature") from None

    def _do(self, endpoint: Endpoint, params: Any) -> Outcome:
        try:
            return Outcome(body=endpoint.handle(self, params))
        except Refusal as error:
            return refusal(error)

    # -- refusals in the venue's words (see stage.Refusals) ------------------------------------------

    def failed(self, failure: Failure) -> Outcome:
        return refusal(Refusal(str(failure.code), failure.message, status=failure.status))

    def may_not_trade(self) -> Outcome:
        return refusal(Refusal("FORBIDDEN", "API key may not trade", status=403))

    def overloaded(self) -> Outcome:
        return refusal(Refusal("PRECONDITION_FAILED", "Engine is busy, not processed", status=503))

    def unknown(self) -> Outcome:
        text = "Unknown error, please check your request or try again later."
        return refusal(Refusal("SERVER_ERROR", text, status=503))

    # -- the account (see desk.Teller) ---------------------------------------------------------------

    def on_order(self, order: Order, happened: Happened, trade: OwnTrade | None) -> None:
        row = shapes.build_order_event(order, happened, trade)
        self.stage.tell(("account.orderUpdate", row))

    def on_position(self, symbol: str) -> None:
        exchange = self.stage.book.exchange
        row = shapes.build_position_event(
            self.desk.holding(symbol),
            exchange.position(symbol).liquidation_price,
            self._now_ms() * 1_000,
        )
        self.stage.tell(("account.positionUpdate", row))

    def on_funding(self, income: Income) -> None:
        """Told by nothing but the history."""

    def send_private(self, event: tuple[str, Json]) -> None:
        topic, row = event
        for stream in (topic, f"{topic}.{row['s']}"):
            self.stage.sockets.publish(stream, compact({"data": row, "stream": stream}))

    # -- the market (see stage.Venue) ----------------------------------------------------------------

    def _publish(self, stream: str, row: Json) -> None:
        self.stage.publish(stream, {"data": row, "stream": stream})

    def on_trade(
        self, symbol: str, trade: Trade, number: int, happened_ms: int, now_ms: int
    ) -> None:
        instrument = self.instruments[symbol]
        row = {
            "e": "trade",
            "E": str(now_ms * 1_000),
            "T": str(happened_ms * 1_000),
            "s": symbol_of(instrument),
            "p": price_text(instrument, trade.price_ticks),
            "q": qty_text(instrument, trade.qty_lots),
            "m": trade.aggressor is Side.SELL,
            "t": number,
            "a": "5121860761",
            "b": "5121861755",
        }
        self._publish(f"trade.{symbol_of(instrument)}", row)

    def on_quote(self, symbol: str, quote: Quote, happened_ms: int, now_ms: int) -> None:
        instrument = self.instruments[symbol]
        self._update += 1
        row = {
            "e": "bookTicker",
            "E": str(now_ms * 1_000),
            "T": str(happened_ms * 1_000),
            "s": symbol_of(instrument),
            "u": self._update,
            "b": price_text(instrument, quote.bid_ticks),
            "B": qty_text(instrument, quote.bid_lots),
            "a": price_text(instrument, quote.ask_ticks),
            "A": qty_text(instrument, quote.ask_lots),
        }
        self._publish(f"bookTicker.{symbol_of(instrument)}", row)

    def on_second(self, now_ms: int) -> None:
        streams = self.stage.sockets.streams()
        self._candles_open = {
            stream: open_ms for stream, open_ms in self._candles_open.items() if stream in streams
        }
        for stream in streams:
            kind, _, rest = stream.partition(".")
            if kind == "markPrice" and rest in self._by_symbol:
                self._tell_mark(stream, self._by_symbol[rest], now_ms)
            elif kind == "kline":
                interval, _, symbol = rest.partition(".")
                if symbol in self._by_symbol and interval in INTERVALS_MS:
                    self._tell_candle(stream, self._by_symbol[symbol], interval, now_ms)

    def _tell_mark(self, stream: str, instrument: Instrument, now_ms: int) -> None:
        mark = shapes.trimmed(self.desk.mark(instrument.name))
        row = {
            "e": "markPrice",
            "E": now_ms * 1_000,
            "s": symbol_of(instrument),
            "p": mark,
            "f": shapes.trimmed(self.stage.paper.funding_rate),
            "i": mark,
            "n": self.stage.next_funding_ms(now_ms) * 1_000,
        }
        self._publish(stream, row)

    def _tell_candle(self, stream: str, instrument: Instrument, interval: str, now_ms: int) -> None:
        """The bar that has just ended, then the newest as it is."""
        length_ms = INTERVALS_MS[interval]
        open_ms = now_ms - now_ms % length_ms
        told_ms = self._candles_open.get(stream, open_ms)
        self._candles_open[stream] = open_ms
        for start_ms in dict.fromkeys((told_ms, open_ms)):
            bar = self.stage.bars[instrument.name].at(start_ms, length_ms)
            if bar is not None:
                row = shapes.build_bar(
                    bar,
                    instrument,
                    length_ms=length_ms,
                    closed=start_ms < open_ms,
                    now_us=now_ms * 1_000,
                )
                self._publish(stream, row)

    # -- the socket ----------------------------------------------------------------------------------

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        return await self.stage.sockets.serve(
            request, route="all", combined=False, opened=lambda socket: None, heard=self._heard
        )

    def _heard(self, socket: Socket, text: str) -> None:
        try:
            message = json.loads(text)
            method, topics = str(message["method"]), [str(each) for each in message["params"]]
            if method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
                raise ValueError("method")
        except (ValueError, KeyError, TypeError, AttributeError):
            self._complain(socket, 4002, "Invalid request")
            return
        try:
            if any(topic.startswith("account.") for topic in topics):
                self._log_in(message.get("signature"))
        except Refusal as error:
            self._complain(socket, 4003, error.message)
            return
        if not all(map(self._is_known, topics)):
            self._complain(socket, 4006, "Invalid stream")
            return
        for topic in topics:
            if method == "SUBSCRIBE":
                lost = self.mischief.strikes("lose_subscriptions")
                self.stage.sockets.join(socket, topic, heard=not lost)
            else:
                self.stage.sockets.leave(socket, topic)

    def _log_in(self, signature: Any) -> None:
        """Raises Refusal."""
        if not (isinstance(signature, list) and len(signature) == 4):
            raise Refusal("UNAUTHORIZED", "signature is missing", status=401)
        key, sign, sent, window = (str(each) for each in signature)
        self._check_signature(key, sign, "instruction=subscribe", sent, window)

    def _is_known(self, topic: str) -> bool:
        if topic.startswith("account."):
            name, _, symbol = topic.removeprefix("account.").partition(".")
            known = f"account.{name}" in PRIVATE_TOPICS
            return known and (not symbol or symbol in self._by_symbol)
        kind, _, rest = topic.partition(".")
        return kind in PUBLIC_KINDS and rest.rpartition(".")[2] in self._by_symbol

    def _complain(self, socket: Socket, code: int, text: str) -> None:
        socket.send(compact({"id": None, "error": {"code": code, "message": text}}))

    # -- endpoints: the market -----------------------------------------------------------------------

    def _named(self, params: Json) -> Instrument:
        found = self._by_symbol.get(str(params.get("symbol", "")))
        if found is None:
            raise Refusal("INVALID_SYMBOL", "Invalid symbol")
        return found

    def _chosen(self, params: Json) -> list[Instrument]:
        return [self._named(params)] if params.get("symbol") else list(self.instruments.values())

    def _get_time(self, params: Json) -> Any:
        return self._now_ms()

    def _get_markets(self, params: Json) -> Any:
        return [shapes.build_market(each) for each in self.instruments.values()]

    def _get_securities(self, params: Json) -> Any:
        """Tokenized shares, of which there are none here."""
        return []

    def _get_marks(self, params: Json) -> Any:
        return [
            {
                "symbol": symbol_of(each),
                "markPrice": shapes.trimmed(self.desk.mark(each.name)),
                "indexPrice": shapes.trimmed(self.desk.mark(each.name)),
                "fundingRate": shapes.trimmed(self.stage.paper.funding_rate),
                "nextFundingTimestamp": self.stage.next_funding_ms(self._now_ms()),
            }
            for each in self._chosen(params)
        ]

    def _get_candles(self, params: Json) -> Any:
        instrument = self._named(params)
        length_ms = INTERVALS_MS.get(str(params.get("interval", "")))
        if length_ms is None or not str(params.get("startTime", "")).isdigit():
            raise Refusal("INVALID_CLIENT_REQUEST", "interval or startTime is invalid")
        start_ms = int(params["startTime"]) * 1_000
        return [
            shapes.build_candle(bar, instrument, length_ms)
            for bar in self.stage.bars[instrument.name].series(length_ms)
            if bar.open_ms >= start_ms
        ]

    # -- endpoints: orders ---------------------------------------------------------------------------

    def _place(self, params: Any) -> Any:
        try:
            market = self.desk.market(self._named(params))
            return shapes.build_order(self.desk.place(parse_ticket(params, market)))
        except Rejected as error:
            raise refused(error) from error

    def _place_many(self, params: Any) -> Any:
        if not isinstance(params, list) or not params:
            raise Refusal("INVALID_CLIENT_REQUEST", "a list of orders is expected")
        results = []
        for row in params:
            try:
                results.append({"operation": "Ok", **self._place(row)})
            except Refusal as error:
                results.append({"operation": "Err", "code": error.code, "message": error.message})
        return results

    def _find(self, params: Json) -> Order | None:
        """By exactly one of `orderId` and `clientId`."""
        instrument = self._named(params)
        number, client_id = params.get("orderId"), params.get("clientId")
        if (number is None) == (client_id is None):
            raise Refusal("INVALID_CLIENT_REQUEST", "exactly one of orderId and clientId is wanted")
        if client_id is not None:
            return self.desk.by_client_id(instrument.name, str(client_id))
        digits = str(number)
        order = self.desk.by_order_id(int(digits)) if digits.isdigit() else None
        return order if order is not None and order.instrument is instrument else None

    def _cancel(self, params: Json) -> Any:
        try:
            return shapes.build_order(self.desk.cancel(self._find(params)))
        except OrderNotFound as error:
            raise refused(error) from error

    def _cancel_all(self, params: Json) -> Any:
        name = self._named(params).name
        return [shapes.build_order(order) for order in self.desk.cancel_all(name)]

    def _get_order(self, params: Json) -> Any:
        order = self._find(params)
        if order is None or not order.open:
            raise Refusal("RESOURCE_NOT_FOUND", "Not Found", status=404)
        return shapes.build_order(order)

    def _get_orders(self, params: Json) -> Any:
        return [
            shapes.build_order(order)
            for each in self._chosen(params)
            for order in self.desk.open_orders(each.name)
        ]

    def _get_history(self, params: Json) -> Any:
        """Newest first, whatever is asked."""
        names = {each.name: None for each in self._chosen(params)}
        orders = [order for order in self.desk.all_orders() if order.instrument.name in names]
        if params.get("orderId"):
            orders = [order for order in orders if str(order.order_id) == params["orderId"]]
        return page([shapes.build_history(order) for order in reversed(orders)], params)

    def _get_fills(self, params: Json) -> Any:
        names = {each.name: None for each in self._chosen(params)}
        first = int(params.get("from") or 0)
        trades = [
            trade
            for trade in self.desk.trades
            if trade.order.instrument.name in names and trade.time_ms >= first
        ]
        if params.get("orderId"):
            trades = [each for each in trades if str(each.order.order_id) == params["orderId"]]
        if params.get("sortDirection") != "Asc":
            trades.reverse()
        return page([shapes.build_fill(trade) for trade in trades], params)

    # -- endpoints: the account ----------------------------------------------------------------------

    def _get_positions(self, params: Json) -> Any:
        exchange = self.stage.book.exchange
        return [
            shapes.build_position(
                self.desk.holding(each.name), exchange.position(each.name).liquidation_price
            )
            for each in self._chosen(params)
            if self.desk.holding(each.name).lots
        ]

    def _get_collateral(self, params: Json) -> Any:
        return shapes.build_collateral(self.stage.book.exchange.account, self._asset)

    def _get_capital(self, params: Json) -> Any:
        return shapes.build_capital(self.stage.book.exchange.account, self._asset)

    def _get_account(self, params: Json) -> Any:
        instrument = next(iter(self.instruments.values()))
        return shapes.build_account(self.stage.book.exchange.account, instrument)

    def _get_funding(self, params: Json) -> Any:
        """Newest first."""
        rows = [
            shapes.build_funding(
                income, self.instruments[income.symbol], self.stage.paper.funding_rate
            )
            for income in reversed(self.desk.income)
            if income.kind == "funding"
        ]
        return page(rows, params)


TOO_MANY = Refusal("TOO_MANY_REQUESTS", "You have exceeded the rate limit", status=429)


def refusal(error: Refusal) -> Outcome:
    return Outcome(body={"code": error.code, "message": error.message}, status=error.status)


def parse_params(request: web.Request, body: str) -> Any:
    """The query, or the JSON of the body. Raises Refusal."""
    if not body:
        return dict(request.query)
    try:
        params = json.loads(body)
    except ValueError:
        raise Refusal("INVALID_CLIENT_REQUEST", "body is not JSON") from None
    rows = params if isinstance(params, list) else [params]
    if not all(isinstance(row, dict) for row in rows):
        raise Refusal("INVALID_CLIENT_REQUEST", "body is not an object")
    return params


def signed_text(instruction: str, params: Json) -> str:
    words = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in sorted(params.items())
    }
    return "&".join([f"instruction={instruction}", *(f"{k}={v}" for k, v in words.items())])


def page(rows: list[Json], params: Json) -> list[Json]:
    first, limit = str(params.get("offset") or 0), str(params.get("limit") or 100)
    if not (first.isdigit() and limit.isdigit() and 0 < int(limit) <= PAGE_MAX):
        raise Refusal("INVALID_CLIENT_REQUEST", "limit or offset is invalid")
    return rows[int(first) : int(first) + int(limit)]


Handle = Callable[[LoopbackBackpack, Any], Any]


def public(handle: Handle) -> Endpoint:
    return Endpoint(handle=handle)


def signed(handle: Handle, instruction: str, kind: Kind = "") -> Endpoint:
    return Endpoint(handle=handle, instruction=instruction, kind=kind)


ENDPOINTS: dict[tuple[str, str], Endpoint] = {
    ("GET", f"{API}/time"): public(LoopbackBackpack._get_time),
    ("GET", f"{API}/markets"): public(LoopbackBackpack._get_markets),
    ("GET", f"{API}/securities"): public(LoopbackBackpack._get_securities),
    ("GET", f"{API}/markPrices"): public(LoopbackBackpack._get_marks),
    ("GET", f"{API}/klines"): public(LoopbackBackpack._get_candles),
    ("POST", f"{API}/order"): signed(LoopbackBackpack._place, "orderExecute", "place"),
    ("POST", f"{API}/orders"): signed(LoopbackBackpack._place_many, "orderExecute", "place"),
    ("DELETE", f"{API}/order"): signed(LoopbackBackpack._cancel, "orderCancel", "cancel"),
    ("DELETE", f"{API}/orders"): signed(LoopbackBackpack._cancel_all, "orderCancelAll", "cancel"),
    ("GET", f"{API}/order"): signed(LoopbackBackpack._get_order, "orderQuery"),
    ("GET", f"{API}/orders"): signed(LoopbackBackpack._get_orders, "orderQueryAll"),
    ("GET", f"{API}/position"): signed(LoopbackBackpack._get_positions, "positionQuery"),
    ("GET", f"{API}/capital"): signed(LoopbackBackpack._get_capital, "balanceQuery"),
    ("GET", f"{API}/capital/collateral"): signed(
        LoopbackBackpack._get_collateral, "collateralQuery"
    ),
    ("GET", f"{API}/account"): signed(LoopbackBackpack._get_account, "accountQuery"),
    ("GET", f"{HISTORY}/orders"): signed(LoopbackBackpack._get_history, "orderHistoryQueryAll"),
    ("GET", f"{HISTORY}/fills"): signed(LoopbackBackpack._get_fills, "fillHistoryQueryAll"),
    ("GET", f"{HISTORY}/funding"): signed(LoopbackBackpack._get_funding, "fundingHistoryQueryAll"),
}


def make(
    *,
    feed: MarketFeed,
    paper: PaperSettings | None = None,
    speed: float = 1.0,
    history_s: float = 0.0,
    instruments: dict[str, InstrumentSettings] | None = None,
    **settings: Any,
) -> LoopbackBackpack:
    """`settings`: of `BackpackSettings`, the others as they are."""
    return LoopbackBackpack(
        feed=feed,
        paper=paper,
        settings=BackpackSettings(**settings),
        instruments=instruments,
        speed=speed,
        history_s=history_s,
    )
