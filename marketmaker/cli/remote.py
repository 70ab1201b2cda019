"""Asks a running daemon over HTTP: where it listens, what its token is, and what it answers."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from marketmaker.config import load_http
from marketmaker.errors import ConfigError, MarketMakerError
from marketmaker.token_file import read_token

DEFAULT = ("127.0.0.1", 8420)
TOKEN_VARIABLE = "MARKETMAKER_TOKEN"
TIMEOUT_S = 120.0
"""Longer than the daemon takes to say that it could not do something in time."""
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class NoAnswer(MarketMakerError):
    """The daemon cannot be reached, or refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    host: str
    port: int
    token: str
    tls: bool = False
    prefix: str = ""

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.prefix}"

    def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON. Raises NoAnswer."""
        import http.client

        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        connection = kind(self.host, self.port, timeout=TIMEOUT_S)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        text = None
        if body is not None:
            text = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, self.prefix + path, text, headers)
            response = connection.getresponse()
            found = json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(
                f"nothing answers at {self.address} ({error}); is the daemon running, and with "
                "http.listen or --http?"
            ) from None
        except ValueError:
            raise NoAnswer(
                f"{self.address} does not answer as marketmaker does; is it the right address?"
            ) from None
        finally:
            connection.close()
        if not isinstance(found, dict):
            raise NoAnswer(f"{self.address} does not answer as marketmaker does")
        return response.status, found

    def get(self, path: str) -> dict[str, Any]:
        """Raises NoAnswer for a refusal as well."""
        return self._accepted(*self.ask("GET", path))

    def act(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        if not self.token:
            raise NoAnswer(
                f"acting needs the token: set {TOKEN_VARIABLE}, or be the user that runs the daemon"
            )
        return self._accepted(*self.ask("POST", f"/control/{what}", body))

    def _accepted(self, status: int, found: dict[str, Any]) -> dict[str, Any]:
        if status != 200:
            raise NoAnswer(f"{self.address}: {found.get('error', f'status {status}')}")
        return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?",
        help="YAML file of the daemon; without it http://127.0.0.1:8420 is asked",
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help=f"ask here instead of http.listen; the token is taken from {TOKEN_VARIABLE}",
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def add_symbols(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--symbol",
        metavar="NAME",
        action="append",
        default=[],
        help="only this one; may be given several times",
    )


def remote_of(args: argparse.Namespace) -> Remote:
    """Raises ConfigError for an address or a file that is not understood."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if args.url:
        parts = urlsplit(args.url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"--url {args.url}: is not an address; write http://127.0.0.1:8420")
        tls = parts.scheme == "https"
        port = port or (443 if tls else 80)
        return Remote(
            host=parts.hostname,
            port=port,
            token=token or read_token(port),
            tls=tls,
            prefix=parts.path.rstrip("/"),
        )
    listen = DEFAULT
    if args.config:
        settings = load_http(args.config)
        listen = settings.listen or DEFAULT
        token = token or settings.token
    host, port = listen
    return Remote(host=ANYWHERE.get(host, host), port=port, token=token or read_token(port))


def print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False)
    print()
