"""Ours into Gate's, and the signatures. Pure: the time comes in as an argument."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.rest import Request, build_query
from marketmaker.adapters.signing import SigningKey
from marketmaker.adapters.subscriptions import Verb
from marketmaker.model.order import NewOrder, TimeInForce
from marketmaker.model.settings import Credentials

PRIVATE = ("futures.orders", "futures.usertrades", "futures.positions", "futures.balances")
OF_THE_ACCOUNT = "futures.balances"
"""The private channel that is not of a contract."""


class Signer:
    """HMAC-SHA512 in lower-case hex, over a key state made once. Shows nothing of its secret."""

    def __init__(self, credentials: Credentials) -> None:
        self._key = credentials.api_key
        self._secret = SigningKey(credentials.api_secret, digestmod="sha512")

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, text: str) -> str:
        return self._secret.sign(text).hex()

    def request(self, method: str, path: str, params: Any, ms: int) -> Request:
        """A GET or DELETE carries its parameters in the address, anything else as JSON."""
        query, body = "", b""
        if method in ("GET", "DELETE"):
            query = build_query(params)
        elif params:
            body = msgspec.json.encode(params)
        seconds, digest = ms // 1_000, hashlib.sha512(body).hexdigest()
        text = f"{method}\n{path}\n{unquote(query)}\n{digest}\n{seconds}"
        headers = {"KEY": self._key, "Timestamp": str(seconds), "SIGN": self.sign(text)}
        return Request(query=query, body=body, headers=headers)

    def channel(self, channel: str, event: str, seconds: int) -> dict[str, str]:
        """What a private subscription carries."""
        sign = self.sign(f"channel={channel}&event={event}&time={seconds}")
        return {"method": "api_key", "KEY": self._key, "SIGN": sign}

    def login(self, ms: int, *, number: str) -> bytes:
        """The first message on an order socket; it signs the empty text that it sends as parameters."""
        seconds = ms // 1_000
        payload = {
            "req_id": number,
            "api_key": self._key,
            "signature": self.sign(f"api\nfutures.login\n\n{seconds}"),
            "timestamp": str(seconds),
        }
        message = {"time": seconds, "channel": "futures.login", "event": "api", "payload": payload}
        return msgspec.json.encode(message)


def build_time_in_force(order: NewOrder) -> str:
    if order.time_in_force is TimeInForce.IOC:
        return "ioc"
    return "poc" if order.post_only else "gtc"


def build_order(order: NewOrder, contract: Contract, client_id: str) -> dict[str, Any]:
    return {
        "contract": contract.symbol,
        "size": order.side * order.qty_lots,
        "price": contract.price.format(order.price_ticks),
        "tif": build_time_in_force(order),
        "text": client_id,
        **({"reduce_only": True} if order.reduce_only else {}),
    }


def build_request(channel: str, param: Any, *, number: int, ms: int) -> bytes:
    """`{"time":1681195484,"channel":"futures.order_place","event":"api","payload":{"req_id":"7","req_param":{..}}}`"""
    payload = {"req_id": str(number), "req_param": param}
    message = {"time": ms // 1_000, "channel": channel, "event": "api", "payload": payload}
    return msgspec.json.encode(message)


def build_place(
    orders: Sequence[NewOrder],
    contract: Contract,
    client_ids: Sequence[str],
    *,
    number: int,
    ms: int,
) -> bytes:
    rows = [
        build_order(order, contract, client_id)
        for order, client_id in zip(orders, client_ids, strict=True)
    ]
    if len(rows) == 1:
        return build_request("futures.order_place", rows[0], number=number, ms=ms)
    return build_request("futures.order_batch_place", rows, number=number, ms=ms)


def build_cancel(names: Sequence[str], *, number: int, ms: int) -> bytes:
    """`names`: the venue's number of each order, or its text while that is not known."""
    if len(names) == 1:
        param = {"order_id": names[0]}
        return build_request("futures.order_cancel", param, number=number, ms=ms)
    return build_request("futures.order_cancel_ids", names, number=number, ms=ms)


def build_subscribe(
    verb: Verb, topics: Sequence[str], number: int, *, signer: Signer, user: str, ms: int
) -> bytes:
    """One topic at a time: `futures.trades ETH_USDT`, `futures.candlesticks 1m ETH_USDT`, `futures.orders`."""
    channel, *payload = topics[0].split(" ")
    seconds = ms // 1_000
    message: dict[str, Any] = {"time": seconds, "id": number, "channel": channel, "event": verb}
    if channel in PRIVATE:
        payload = [user] if channel == OF_THE_ACCOUNT else [user, "!all"]
        message["auth"] = signer.channel(channel, verb, seconds)
    return msgspec.json.encode({**message, "payload": payload})
