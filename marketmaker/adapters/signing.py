"""HMAC (RFC 2104) for whoever signs every order: what depends on the key alone is worked out once.

`hmac` of the standard library goes through three functions in Python for each text, a microsecond and a half more.
"""

from __future__ import annotations

import hashlib

INNER, OUTER = 0x36, 0x5C


class SigningKey:
    """`lead`: what every text begins with. Shows nothing of its secret."""

    def __init__(self, secret: str, *, digestmod: str = "sha256", lead: str = "") -> None:
        key = secret.encode()
        size = hashlib.new(digestmod).block_size
        if len(key) > size:
            key = hashlib.new(digestmod, key).digest()
        key = key.ljust(size, b"\0")
        self._inner = hashlib.new(digestmod, bytes(byte ^ INNER for byte in key))
        self._inner.update(lead.encode())
        self._outer = hashlib.new(digestmod, bytes(byte ^ OUTER for byte in key))

    def __repr__(self) -> str:
        return "SigningKey(***)"

    def sign(self, text: str) -> bytes:
        """32 bytes, of sha512 64."""
        inner = self._inner.copy()
        inner.update(text.encode())
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()
