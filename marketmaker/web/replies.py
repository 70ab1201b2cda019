"""What goes out: answers with the headers that each of them carries, and refusals."""

from __future__ import annotations

import json
from email.utils import formatdate

from aiohttp import web

JSON = "application/json"
FORBIDDEN_BY_DEFAULT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
STYLED = FORBIDDEN_BY_DEFAULT.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Server": "marketmaker",
}


class Problem(Exception):
    """A request that is answered with a refusal."""

    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


def encode(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def respond(body: bytes, content_type: str, *, status: int = 200, policy: str = "") -> web.Response:
    headers = {**SAFE_HEADERS, "Content-Type": content_type}
    if content_type.startswith("text/html"):
        headers["Content-Type"] = "text/html; charset=utf-8"
    if policy:
        headers["Content-Security-Policy"] = policy
    return web.Response(body=body, status=status, headers=headers)


def json_response(body: bytes, *, status: int = 200) -> web.Response:
    return respond(body, JSON, status=status)


def refusal(status: int, error: str, **headers: str) -> web.Response:
    response = json_response(encode({"error": error}).encode(), status=status)
    response.headers.update(headers)
    if status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="marketmaker"'
    return response


def wire(response: web.Response) -> bytes:
    """The bytes that aiohttp would send for `response` over a connection that is kept."""
    body = response.body
    assert isinstance(body, bytes)
    lines = [
        f"HTTP/1.1 {response.status} {response.reason}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
        f"Content-Length: {len(body)}",
        f"Date: {formatdate(usegmt=True)}",
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
