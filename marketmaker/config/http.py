"""The `http` section: where the daemon may be looked at, and who may tell it what to do."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from marketmaker.config.fields import Refused
from marketmaker.config.secrets import expand_secret, raw_secret
from marketmaker.config.sections import Report, Schema, Value
from marketmaker.config.yaml_source import Items, Node, Scalar, printable, shown
from marketmaker.errors import ConfigError
from marketmaker.model.settings import HttpSettings

EXPECTED_ADDRESS = "an address and a port such as 127.0.0.1:8420"
EXPECTED_ORIGIN = "scheme and host such as https://mm.example.org"
SHORTEST_TOKEN = 16
LOCAL_NAME = "localhost"


def address(node: Node) -> tuple[str, int]:
    """Host and port. The host is an IP address or localhost: what a name stands for may change."""
    found = parse_address(node.text) if isinstance(node, Scalar) else None
    if found is None:
        raise Refused(f"{shown(node)} is not an address; write {EXPECTED_ADDRESS}")
    return found


def parse_address(text: str) -> tuple[str, int] | None:
    """None for what is no address with a port."""
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if bare != LOCAL_NAME:
        try:
            ipaddress.ip_address(bare)
        except ValueError:
            return None
    return bare, int(port)


def with_address(http: HttpSettings, text: str) -> HttpSettings:
    """As if `http.listen` said so. Raises ConfigError."""
    listen = parse_address(text)
    if listen is None:
        raise ConfigError(
            f"--http: {printable(text)!r} is not an address; write {EXPECTED_ADDRESS}"
        )
    if not http.token and not is_local(listen[0]):
        raise ConfigError(f"--http: {reachable(listen[0])}")
    return replace(http, listen=listen)


def reachable(host: str) -> str:
    return (
        f"{host} can be reached from other machines and no token is set; set http.token, or "
        "listen on 127.0.0.1 and reach it through an SSH tunnel"
    )


def origins(node: Node) -> tuple[str, ...]:
    if not isinstance(node, Items):
        raise Refused(f"{shown(node)} is not a list; write [https://mm.example.org]")
    return tuple(origin(entry) for entry in node.nodes)


def origin(node: Node) -> str:
    text = node.text if isinstance(node, Scalar) else ""
    parts = urlsplit(text)
    whole = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or whole != text.rstrip("/"):
        raise Refused(f"{shown(node)} is not an origin; write {EXPECTED_ORIGIN}")
    return whole.lower()


HTTP: Schema = {
    "listen": Value(attribute="listen", read=address, nullable=True, null=None),
    "token": Value(attribute="token", read=raw_secret, nullable=True, null=""),
    "origins": Value(attribute="origins", read=origins),
}


def is_local(host: str) -> bool:
    """Whether only this machine can reach it."""
    return host == LOCAL_NAME or ipaddress.ip_address(host).is_loopback


def build_http(values: dict[str, Any], report: Report, environ: Mapping[str, str]) -> HttpSettings:
    """What is wrong goes to `report`, and what is built then is only good for finding what else is."""
    token = values.get("token", "")
    if token:
        try:
            token = expand_secret(token, environ)
        except Refused as refused:
            report.refuse("http.token", str(refused))
            token = ""
        else:
            if len(token) < SHORTEST_TOKEN:
                report.refuse(
                    "http.token",
                    f"has fewer than {SHORTEST_TOKEN} characters; make one with "
                    "`openssl rand -hex 32`",
                )
    listen = values.get("listen")
    if (
        listen is not None
        and not token
        and not is_local(listen[0])
        and report.trusts(("listen", "token"))
    ):
        report.refuse("http.listen", reachable(listen[0]))
    return HttpSettings(listen=listen, token=token, origins=values.get("origins", ()))
