"""Messages between the daemon and its web process: four bytes of length, then a JSON object.

daemon to web     {"t": "hello", ...}      once: what may be asked of it, and by whom
                  {"t": "view", "view": {...}, "news": [...]}    a reading, and what happened since the last one
                  {"t": "answer", "id": 7, "body": {...}}
web to daemon     {"t": "ask", "id": 7, "do": "pause", "symbols": [...]}
                  {"t": "watched", "by": 2}    so many look at the stream now
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

LENGTH_BYTES = 4
LONGEST = 64 << 20

Message = dict[str, Any]
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def pack(message: Message) -> bytes:
    body = _encode(message).encode()
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """None at the end of the stream. Raises ValueError for what is no message."""
    try:
        length = int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big")
        if length > LONGEST:
            raise ValueError(f"a message of {length} bytes")
        message = json.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    if not isinstance(message, dict):
        raise ValueError("a message that is no object")
    return message
