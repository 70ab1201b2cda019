"""Ours into Backpack's, and the signatures. Pure: the time comes in as an argument."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marketmaker.adapters.backpack.tables import (
    INSTRUCTIONS,
    PRIVATE_TOPICS,
    SIDE_WORDS,
    VENUE,
    WINDOW_MS,
)
from marketmaker.adapters.contract import Contract
from marketmaker.adapters.rest import Request, build_query
from marketmaker.adapters.subscriptions import Verb
from marketmaker.errors import ConfigError
from marketmaker.model.order import NewOrder, TimeInForce
from marketmaker.model.settings import Credentials

SEED_BYTES = 32


class Signer:
    """ED25519 over the seed that the credentials hold in base64. Shows nothing of it.

    Raises ConfigError for a seed that is none, or a key that is not its public half.
    """

    def __init__(self, credentials: Credentials) -> None:
        self.public = credentials.api_key
        self._key: Ed25519PrivateKey | None = None
        if not credentials.api_key:
            return
        try:
            seed = b64decode(credentials.api_secret, validate=True)
        except ValueError:
            seed = b""
        if len(seed) != SEED_BYTES:
            raise ConfigError(
                f"credentials.api_secret: {VENUE} wants the ED25519 seed it showed, 32 bytes in base64"
            )
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        if b64encode(self._key.public_key().public_bytes_raw()).decode() != credentials.api_key:
            raise ConfigError(
                f"credentials.api_key: not the public half of api_secret; {VENUE} shows both when the key is made"
            )

    def __repr__(self) -> str:
        return "Signer(***)"

    def sign(self, text: str) -> str:
        assert self._key is not None, "signing is asked for with a key only"
        return b64encode(self._key.sign(text.encode())).decode()

    def request(self, method: str, path: str, params: Any, ms: int) -> Request:
        """A GET carries its parameters in the address, anything else as JSON."""
        instruction = INSTRUCTIONS[method, path]
        rows = params if isinstance(params, list) else [params]
        text = "&".join(build_signed(instruction, row) for row in rows)
        headers = {
            "X-API-Key": self.public,
            "X-Signature": self.sign(f"{text}&timestamp={ms}&window={WINDOW_MS}"),
            "X-Timestamp": str(ms),
            "X-Window": str(WINDOW_MS),
        }
        if method == "GET":
            return Request(query=build_query(params), headers=headers)
        return Request(body=msgspec.json.encode(params), headers=headers)

    def subscription(self, ms: int) -> list[str]:
        text = f"instruction=subscribe&timestamp={ms}&window={WINDOW_MS}"
        return [self.public, self.sign(text), str(ms), str(WINDOW_MS)]


def build_signed(instruction: str, params: dict[str, Any]) -> str:
    """`instruction=orderCancel&orderId=28&symbol=SOL_USDC_PERP`: sorted, not percent-encoded."""
    pairs = [f"{name}={build_word(value)}" for name, value in sorted(params.items())]
    return "&".join([f"instruction={instruction}", *pairs])


def build_word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def build_order(order: NewOrder, contract: Contract, client_id: str) -> dict[str, Any]:
    immediate = order.time_in_force is TimeInForce.IOC
    return {
        "symbol": contract.symbol,
        "side": SIDE_WORDS[order.side],
        "orderType": "Limit",
        "price": contract.price.format(order.price_ticks),
        "quantity": contract.qty.format(order.qty_lots),
        "timeInForce": "IOC" if immediate else "GTC",
        **({"postOnly": True} if order.post_only and not immediate else {}),
        **({"reduceOnly": True} if order.reduce_only else {}),
        "clientId": int(client_id),
    }


def build_subscribe(
    verb: Verb, topics: Sequence[str], number: int, *, signer: Signer, ms: int
) -> bytes:
    """`{"method":"SUBSCRIBE","params":["trade.SOL_USDC_PERP"]}`; private topics carry a signature."""
    message: dict[str, Any] = {"method": verb.upper(), "params": list(topics)}
    if set(topics) & set(PRIVATE_TOPICS):
        message["signature"] = signer.subscription(ms)
    return msgspec.json.encode(message)
