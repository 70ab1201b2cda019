"""Ours into Bitget's, whichever the account, and the signatures. Pure: the time comes in as an argument."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from marketmaker.adapters.bitget.tables import PRODUCT
from marketmaker.adapters.rest import Request, build_query
from marketmaker.adapters.signing import SigningKey
from marketmaker.adapters.subscriptions import Verb
from marketmaker.model.order import NewOrder, TimeInForce
from marketmaker.model.settings import Credentials


class Signer:
    """HMAC-SHA256 in base64, over a key state made once. Shows nothing of its secret."""

    def __init__(self, credentials: Credentials) -> None:
        self._key = credentials.api_key
        self._passphrase = credentials.passphrase
        self._secret = SigningKey(credentials.api_secret)

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, text: str) -> str:
        return b64encode(self._secret.sign(text)).decode()

    def request(self, method: str, path: str, params: Any, ms: int) -> Request:
        """A GET carries its parameters in the address, sorted by name, and signs them as they read before they are
        percent-encoded; a POST carries JSON and signs it as it is sent."""
        query, body = "", ""
        if method == "GET":
            query = build_query(dict(sorted(params.items())))
        else:
            body = msgspec.json.encode(params).decode()
        target = f"{path}?{unquote(query)}" if query else path
        headers = {
            "ACCESS-KEY": self._key,
            "ACCESS-SIGN": self.sign(f"{ms}{method}{target}{body}"),
            "ACCESS-TIMESTAMP": str(ms),
            "ACCESS-PASSPHRASE": self._passphrase,
        }
        return Request(query=query, body=body.encode(), headers=headers)

    def login(self, ms: int) -> bytes:
        """The first message on a private socket; its time is in seconds."""
        time = str(ms // 1_000)
        arg = {
            "apiKey": self._key,
            "passphrase": self._passphrase,
            "timestamp": time,
            "sign": self.sign(f"{time}GET/user/verify"),
        }
        return msgspec.json.encode({"op": "login", "args": [arg]})


def build_force(order: NewOrder) -> str:
    if order.time_in_force is TimeInForce.IOC:
        return "ioc"
    return "post_only" if order.post_only else "gtc"


def build_topic(channel: str, symbol: str) -> str:
    """How a public subscription is called here: `trade ETHUSDT`."""
    return f"{channel} {symbol}"


def build_subscribe(verb: Verb, topics: Sequence[str], number: int) -> bytes:
    """`{"op":"subscribe","args":[{"instType":"USDT-FUTURES","channel":"trade","instId":"ETHUSDT"}]}`. A topic of one
    word is a unified account's: `{"instType":"UTA","topic":"order"}`."""
    args: list[dict[str, str]] = []
    for topic in topics:
        channel, _, symbol = topic.partition(" ")
        if symbol:
            args.append({"instType": PRODUCT, "channel": channel, "instId": symbol})
        else:
            args.append({"instType": "UTA", "topic": channel})
    return msgspec.json.encode({"op": verb, "args": args})
