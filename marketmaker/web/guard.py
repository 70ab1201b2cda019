"""Who may ask. Four questions, each with its own refusal, before anything is looked up or done.

Host      a name that is ours, an address in digits, or localhost. A page that had its own name point at this machine
          (DNS rebinding) sends that name.
Origin    where a browser says which page asks, it is one of ours. Sec-Fetch-Site is heard as well.
token     for what acts, always; for what reads, unless both ends are on this machine and nothing forwards.
body      is checked by whoever reads it.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from marketmaker.web.routes import Access

LOCAL_NAME = "localhost"
FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP")
NAMES_KEPT = 256
FROM_ELSEWHERE = frozenset({"cross-site", "same-site"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    status: int
    error: str


class Guard:
    """`origins`: scheme and host of pages that may ask although they were not served here."""

    def __init__(self, *, token: str, origins: tuple[str, ...]) -> None:
        self._token = token.encode()
        self._origins = frozenset(origins)
        self._names = frozenset(urlsplit(origin).netloc for origin in origins)

    def refuse(
        self, access: Access, headers: Mapping[str, str], peer: str | None
    ) -> Refused | None:
        """None: it may be answered. `peer` is the other end's address, None where it has none."""
        host = headers.get("Host", "").lower()
        if not self._is_ours(host):
            return Refused(
                status=421, error="this name is not served here; list it in http.origins"
            )
        origin = headers.get("Origin", "").lower()
        if origin and origin not in self._origins and urlsplit(origin).netloc != host:
            return Refused(status=403, error="a page from elsewhere may not ask")
        elsewhere = headers.get("Sec-Fetch-Site", "") in FROM_ELSEWHERE
        if elsewhere and access is not Access.PUBLIC and origin not in self._origins:
            return Refused(status=403, error="a page from elsewhere may not ask")
        if access is Access.PUBLIC or self._has_token(headers):
            return None
        if access is Access.READ and "Authorization" not in headers:
            forwarded = any(name in headers for name in FORWARDING)
            if not forwarded and is_local(bare(host)) and peer is not None and is_local(peer):
                return None
        return Refused(status=401, error="the token is missing or wrong: Authorization: Bearer ...")

    def _is_ours(self, host: str) -> bool:
        name = bare(host)
        return host in self._names or name == LOCAL_NAME or is_address(name)

    def _has_token(self, headers: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            given.strip().encode("utf-8", "surrogateescape"), self._token
        )


def bare(host: str) -> str:
    """Without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


@lru_cache(maxsize=NAMES_KEPT)
def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=NAMES_KEPT)
def is_local(name: str) -> bool:
    return name == LOCAL_NAME or (is_address(name) and ipaddress.ip_address(name).is_loopback)
