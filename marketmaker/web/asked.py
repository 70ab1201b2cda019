"""What comes in: the body and the query of a request, checked against the table of routes."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from marketmaker.web.openapi import SYMBOL_PATTERN
from marketmaker.web.replies import JSON, Problem
from marketmaker.web.routes import Query, Route

LONGEST_BODY = 64 << 10
OK_SYMBOL = re.compile(SYMBOL_PATTERN, re.ASCII)


async def read_body(request: web.BaseRequest) -> dict[str, Any]:
    """The JSON object that was sent, {} for nothing."""
    if (request.content_length or 0) > LONGEST_BODY:
        raise Problem(413, f"a body has at most {LONGEST_BODY} bytes")
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise Problem(413, f"a body has at most {LONGEST_BODY} bytes")
    if not body:
        return {}
    if request.content_type != JSON:
        raise Problem(415, f"send {JSON}")
    try:
        found = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON") from None
    if not isinstance(found, dict):
        raise Problem(400, "the body is not a JSON object")
    return found


def only(wanted: dict[str, Any], name: str, default: object) -> object:
    """The one member that may be there."""
    unknown = [key for key in wanted if key != name]
    if unknown:
        raise Problem(400, f"only {name} may be sent")
    return wanted.get(name, default)


def parse_query(route: Route, request: web.BaseRequest) -> dict[str, str]:
    known = {query.name: query for query in route.query}
    found: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise Problem(400, f"unknown parameter; known here: {', '.join(known)}")
        if name in found:
            raise Problem(400, f"{name} is given twice")
        found[name] = checked(known[name], value)
    for query in route.query:
        if query.required and query.name not in found:
            raise Problem(400, f"{query.name} is missing: {query.what}")
    return found


def checked(query: Query, value: str) -> str:
    if query.choices:
        if value not in query.choices:
            raise Problem(400, f"{query.name} is one of {', '.join(query.choices)}")
    elif query.least is not None and query.most is not None:
        number = value.isascii() and value.isdigit() and len(value) < 20
        if not number or not query.least <= int(value) <= query.most:
            raise Problem(400, f"{query.name} is a whole number from {query.least}")
    elif not OK_SYMBOL.match(value):
        raise Problem(400, f"{query.name} is a name such as ETHUSDT")
    return value
