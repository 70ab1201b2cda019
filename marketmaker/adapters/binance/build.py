"""Ours into Binance's, and the signature. Pure: the time comes in as an argument."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from marketmaker.adapters.binance.tables import RECV_WINDOW_MS
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.rest import Params, Request, build_query
from marketmaker.adapters.signing import SigningKey
from marketmaker.adapters.subscriptions import Verb
from marketmaker.model.order import NewOrder, Side, TimeInForce
from marketmaker.model.settings import Credentials


class Signer:
    """HMAC-SHA256 in lower-case hex, over a key state made once. Shows nothing of its secret."""

    def __init__(self, credentials: Credentials) -> None:
        self.api_key = credentials.api_key
        self._secret = SigningKey(credentials.api_secret)
        self._ws_secret = SigningKey(credentials.api_secret, lead=f"apiKey={credentials.api_key}&")

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, text: str) -> str:
        return self._secret.sign(text).hex()

    def sign_ws(self, rest: str) -> str:
        """`rest`: everything after `apiKey=...&`, which sorts first."""
        return self._ws_secret.sign(rest).hex()

    def query(self, params: str, timestamp_ms: int) -> str:
        """A signed query; `params` is percent-encoded and may be empty."""
        lead = f"{params}&" if params else ""
        text = f"{lead}recvWindow={RECV_WINDOW_MS}&timestamp={timestamp_ms}"
        return f"{text}&signature={self.sign(text)}"

    def request(self, method: str, path: str, params: Params, ms: int) -> Request:
        """A signed REST request; everything stands in its query."""
        return Request(query=self.query(build_query(params), ms))


Template = tuple[str, str, str, str]
"""(sign before the price, sign after the quantity, JSON before the price, JSON after the quantity)."""


def template(contract: Contract, side: Side, tif: str, reduce_only: bool) -> Template:
    """The parts of an instrument's orders that never change."""
    key = (side, tif, reduce_only)
    found: Template | None = contract.parts.get(key)
    if found is None:
        found = contract.parts[key] = _template(contract.instrument.name, side, tif, reduce_only)
    return found


def _template(symbol: str, side: Side, tif: str, reduce_only: bool) -> Template:
    result = "" if tif == "GTX" else "&newOrderRespType=RESULT"
    reduce = "&reduceOnly=true" if reduce_only else ""
    tail = f"&recvWindow={RECV_WINDOW_MS}{reduce}&side={side.name}&symbol={symbol}"
    return (
        f"{result}&price=",
        f"{tail}&timeInForce={tif}&timestamp=",
        '"' + (',"newOrderRespType":"RESULT"' if result else "") + ',"price":"',
        f'","recvWindow":{RECV_WINDOW_MS}'
        + (',"reduceOnly":"true"' if reduce_only else "")
        + f',"side":"{side.name}","symbol":"{symbol}","timeInForce":"{tif}","timestamp":',
    )


def build_time_in_force(order: NewOrder) -> str:
    if order.time_in_force is TimeInForce.IOC:
        return "IOC"
    return "GTX" if order.post_only else "GTC"


def build_place(
    order: NewOrder, contract: Contract, client_id: str, *, request: int, ms: int, signer: Signer
) -> bytes:
    """`order.place` over the WebSocket API. Signed are all parameters, sorted by name, not percent-encoded."""
    sign_a, sign_b, json_a, json_b = template(
        contract, order.side, build_time_in_force(order), order.reduce_only
    )
    price = contract.price.format(order.price_ticks)
    qty = contract.qty.format(order.qty_lots)
    signature = signer.sign_ws(
        f"newClientOrderId={client_id}{sign_a}{price}&quantity={qty}{sign_b}{ms}&type=LIMIT"
    )
    return (
        f'{{"id":"{request}","method":"order.place","params":{{"apiKey":"{signer.api_key}"'
        f',"newClientOrderId":"{client_id}{json_a}{price}","quantity":"{qty}{json_b}{ms}'
        f',"type":"LIMIT","signature":"{signature}"}}}}'
    ).encode()


def build_cancel(symbol: str, client_id: str, *, request: int, ms: int, signer: Signer) -> bytes:
    """`order.cancel` over the WebSocket API."""
    signature = signer.sign_ws(
        f"origClientOrderId={client_id}&recvWindow={RECV_WINDOW_MS}&symbol={symbol}&timestamp={ms}"
    )
    return (
        f'{{"id":"{request}","method":"order.cancel","params":{{"apiKey":"{signer.api_key}"'
        f',"origClientOrderId":"{client_id}","recvWindow":{RECV_WINDOW_MS},"symbol":"{symbol}"'
        f',"timestamp":{ms},"signature":"{signature}"}}}}'
    ).encode()


def build_order_params(order: NewOrder, contract: Contract, client_id: str) -> dict[str, str]:
    """One placement over REST, in the order in which it is sent."""
    tif = build_time_in_force(order)
    params = {
        "symbol": contract.instrument.name,
        "side": order.side.name,
        "type": "LIMIT",
        "timeInForce": tif,
        "quantity": contract.qty.format(order.qty_lots),
        "price": contract.price.format(order.price_ticks),
        "newClientOrderId": client_id,
    }
    if order.reduce_only:
        params["reduceOnly"] = "true"
    if tif != "GTX":
        params["newOrderRespType"] = "RESULT"
    return params


def build_subscribe(verb: Verb, names: Sequence[str], number: int) -> bytes:
    """`{"method":"SUBSCRIBE","params":["ethusdt@aggTrade"],"id":1}`"""
    return msgspec.json.encode({"method": verb.upper(), "params": names, "id": number})


def kind_of(name: str) -> str:
    """`ethusdt@aggTrade` is an aggTrade, `ethusdt@kline_1m` a kline."""
    kind = name.partition("@")[2]
    return "kline" if kind.startswith("kline") else kind
