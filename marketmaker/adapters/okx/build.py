"""Ours into OKX's, and the signatures. Pure: the time comes in as an argument."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from marketmaker.adapters.contract import Contract
from marketmaker.adapters.okx.tables import EXPIRE_AFTER_MS
from marketmaker.adapters.rest import Request, build_query
from marketmaker.adapters.signing import SigningKey
from marketmaker.adapters.subscriptions import Verb
from marketmaker.model.order import NewOrder, Side, TimeInForce
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
        """A GET carries its parameters in the address, a POST as JSON; both are signed as they are sent."""
        query, body = "", ""
        if method == "GET":
            query = build_query(params)
        else:
            body = msgspec.json.encode(params).decode()
        time = build_time(ms)
        target = f"{path}?{query}" if query else path
        headers = {
            "OK-ACCESS-KEY": self._key,
            "OK-ACCESS-SIGN": self.sign(f"{time}{method}{target}{body}"),
            "OK-ACCESS-TIMESTAMP": time,
            "OK-ACCESS-PASSPHRASE": self._passphrase,
        }
        return Request(query=query, body=body.encode(), headers=headers)

    def login(self, ms: int) -> bytes:
        """The first message on a private socket."""
        time = str(ms // 1_000)
        arg = {
            "apiKey": self._key,
            "passphrase": self._passphrase,
            "timestamp": time,
            "sign": self.sign(f"{time}GET/users/self/verify"),
        }
        return msgspec.json.encode({"op": "login", "args": [arg]})


def build_time(ms: int) -> str:
    """`2026-01-01T00:00:00.000Z`"""
    seconds, rest = divmod(ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def build_order_type(order: NewOrder) -> str:
    if order.time_in_force is TimeInForce.IOC:
        return "ioc"
    return "post_only" if order.post_only else "limit"


def build_instrument(contract: Contract) -> dict[str, object]:
    """As order entry over WebSocket names it."""
    code = contract.parts.get("code")
    return {"instIdCode": code} if code else {"instId": contract.symbol}


def build_order_params(
    order: NewOrder, contract: Contract, client_id: str, tag: str
) -> dict[str, object]:
    """One placement over REST."""
    params: dict[str, object] = {
        "instId": contract.symbol,
        "tdMode": "cross",
        "side": order.side.name.lower(),
        "ordType": build_order_type(order),
        "sz": contract.qty.format(order.qty_lots),
        "px": contract.price.format(order.price_ticks),
        "clOrdId": client_id,
        "tag": tag,
    }
    if order.reduce_only:
        params["reduceOnly"] = True
    return params


def order_parts(
    contract: Contract, side: Side, kind: str, reduce_only: bool, tag: str
) -> tuple[str, str]:
    """What of an order's JSON never changes: before the quantity, and after the client id."""
    key = (side, kind, reduce_only)
    found: tuple[str, str] | None = contract.parts.get(key)
    if found is None:
        head = msgspec.json.encode(
            {**build_instrument(contract), "tdMode": "cross", "side": side.name.lower()}
        ).decode()
        tail = f'","tag":"{tag}"' + (',"reduceOnly":true}' if reduce_only else "}")
        found = contract.parts[key] = (f'{head[:-1]},"ordType":"{kind}","sz":"', tail)
    return found


def build_place(
    orders: Sequence[NewOrder],
    contract: Contract,
    client_ids: Sequence[str],
    *,
    tag: str,
    number: int,
    ms: int,
) -> bytes:
    """`order` or `batch-orders` over the private socket."""
    args = []
    for order, client_id in zip(orders, client_ids, strict=True):
        head, tail = order_parts(
            contract, order.side, build_order_type(order), order.reduce_only, tag
        )
        price = contract.price.format(order.price_ticks)
        qty = contract.qty.format(order.qty_lots)
        args.append(f'{head}{qty}","px":"{price}","clOrdId":"{client_id}{tail}')
    op = "order" if len(args) == 1 else "batch-orders"
    return (
        f'{{"id":"{number}","op":"{op}","args":[{",".join(args)}],"expTime":"{ms + EXPIRE_AFTER_MS}"}}'
    ).encode()


def build_cancel(contract: Contract, client_ids: Sequence[str], *, number: int) -> bytes:
    """`cancel-order` or `batch-cancel-orders` over the private socket."""
    args = [{**build_instrument(contract), "clOrdId": client_id} for client_id in client_ids]
    op = "cancel-order" if len(args) == 1 else "batch-cancel-orders"
    return msgspec.json.encode({"id": str(number), "op": op, "args": args})


def build_topic(channel: str, inst_id: str = "") -> str:
    """How a subscription is called here: `trades ETH-USDT-SWAP`, `orders`."""
    return f"{channel} {inst_id}".rstrip()


def build_subscribe(verb: Verb, topics: Sequence[str], number: int) -> bytes:
    """`{"id":"1","op":"subscribe","args":[{"channel":"trades","instId":"ETH-USDT-SWAP"}]}`"""
    args: list[Mapping[str, str]] = []
    for topic in topics:
        channel, _, inst_id = topic.partition(" ")
        arg = {"channel": channel}
        if inst_id:
            arg["instId"] = inst_id
        elif channel != "balance_and_position":
            arg["instType"] = "SWAP"
        args.append(arg)
    return msgspec.json.encode({"id": str(number), "op": verb, "args": args})
