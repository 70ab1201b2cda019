"""One POST of JSON with what the standard library has, waiting for the answer."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from marketmaker import __version__

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 1 << 16


def post(url: str, payload: dict[str, Any]) -> tuple[str, bytes]:
    """("", the answer's body) when it was taken with a 2xx, else (what went wrong, b""). Waits for the network."""
    try:
        request = urllib.request.Request(
            url,
            data=json.dumps(payload).encode(),
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"marketmaker/{__version__}",
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return "", answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return f"HTTP {error.code}", b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        return f"{urlsplit(url).hostname}: {reason}", b""
