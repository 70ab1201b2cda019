"""Ours into Bybit's, and the signatures. Pure: the time comes in as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from marketmaker.adapters.bybit.tables import AUTH_AHEAD_MS, CATEGORY, RECV_WINDOW_MS, SIDE_WORDS
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.rest import Request, build_query
from marketmaker.adapters.signing import SigningKey
from marketmaker.adapters.subscriptions import Verb
from marketmaker.model.order import NewOrder, TimeInForce
from marketmaker.model.settings import Credentials


class Signer:
    """HMAC-SHA256 in lower-case hex, over a key state made once. Shows nothing of its secret."""

    def __init__(self, credentials: Credentials) -> None:
        self._key = credentials.api_key
        self._secret = SigningKey(credentials.api_secret)

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, text: str) -> str:
        return self._secret.sign(text).hex()

    def request(self, method: str, path: str, params: Any, ms: int) -> Request:
        """A GET carries its parameters in the address, a POST as JSON; both are signed as they are sent."""
        query, body = "", ""
        if method == "GET":
            query = build_query(params)
        else:
            body = msgspec.json.encode(params).decode()
        headers = {
            "X-BAPI-API-KEY": self._key,
            "X-BAPI-TIMESTAMP": str(ms),
            "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS),
            "X-BAPI-SIGN": self.sign(f"{ms}{self._key}{RECV_WINDOW_MS}{query}{body}"),
        }
        return Request(query=query, body=body.encode(), headers=headers)

    def auth(self, ms: int) -> bytes:
        """The first message on a private or trade socket."""
        expires = ms + AUTH_AHEAD_MS
        args = [self._key, expires, self.sign(f"GET/realtime{expires}")]
        return msgspec.json.encode({"op": "auth", "args": args})


def build_time_in_force(order: NewOrder) -> str:
    if order.time_in_force is TimeInForce.IOC:
        return "IOC"
    return "PostOnly" if order.post_only else "GTC"


def build_order(
    order: NewOrder, contract: Contract, client_id: str, *, category: bool = True
) -> dict[str, Any]:
    """One placement; those of a batch leave the category to it."""
    return {
        **({"category": CATEGORY} if category else {}),
        "symbol": contract.symbol,
        "side": SIDE_WORDS[order.side],
        "orderType": "Limit",
        "qty": contract.qty.format(order.qty_lots),
        "price": contract.price.format(order.price_ticks),
        "timeInForce": build_time_in_force(order),
        "positionIdx": 0,
        "orderLinkId": client_id,
        "reduceOnly": order.reduce_only,
    }


def build_cancel(contract: Contract, client_id: str, *, category: bool = True) -> dict[str, Any]:
    return {
        **({"category": CATEGORY} if category else {}),
        "symbol": contract.symbol,
        "orderLinkId": client_id,
    }


def build_batch(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"category": CATEGORY, "request": rows}


def build_request(op: str, arg: dict[str, Any], *, number: int, ms: int) -> bytes:
    """`{"reqId":"7","header":{"X-BAPI-TIMESTAMP":"1767225600000","X-BAPI-RECV-WINDOW":"5000"},"op":"order.create",
    "args":[{..}]}`"""
    header = {"X-BAPI-TIMESTAMP": str(ms), "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS)}
    return msgspec.json.encode({"reqId": str(number), "header": header, "op": op, "args": [arg]})


def build_place(
    orders: Sequence[NewOrder],
    contract: Contract,
    client_ids: Sequence[str],
    *,
    number: int,
    ms: int,
) -> bytes:
    """`order.create` or `order.create-batch`."""
    if len(orders) == 1:
        arg = build_order(orders[0], contract, client_ids[0])
        return build_request("order.create", arg, number=number, ms=ms)
    rows = [
        build_order(order, contract, client_id, category=False)
        for order, client_id in zip(orders, client_ids, strict=True)
    ]
    return build_request("order.create-batch", build_batch(rows), number=number, ms=ms)


def build_cancels(contract: Contract, client_ids: Sequence[str], *, number: int, ms: int) -> bytes:
    """`order.cancel` or `order.cancel-batch`."""
    if len(client_ids) == 1:
        arg = build_cancel(contract, client_ids[0])
        return build_request("order.cancel", arg, number=number, ms=ms)
    rows = [build_cancel(contract, each, category=False) for each in client_ids]
    return build_request("order.cancel-batch", build_batch(rows), number=number, ms=ms)


def build_subscribe(verb: Verb, topics: Sequence[str], number: int) -> bytes:
    """`{"req_id":"1","op":"subscribe","args":["publicTrade.ETHUSDT"]}`"""
    return msgspec.json.encode({"req_id": str(number), "op": verb, "args": topics})
