"""DingTalk's and WeCom's group robots, which apprise 2.3 cannot be trusted with.

Both answer HTTP 200 to whatever they refuse and say so in `errcode` (a wrong key, a keyword that is missing, more than
20 messages a minute); apprise looks at the status alone, so that a refused alert would count as sent. It also encodes
DingTalk's signature twice, which DingTalk answers with 310000, "sign not match". Feishu and Lark are read rightly.

    dingtalk://SECRET@ACCESS_TOKEN/    SECRET@ only where the robot's security setting is a signature
    wecombot://KEY

Source: https://open.dingtalk.com/document/robots/custom-robot-access and
https://developer.work.weixin.qq.com/document/path/91770.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote, urlencode

from marketmaker.alerts.post import post

DINGTALK = "https://oapi.dingtalk.com/robot/send"
WECOM = "https://qyapi.weixin.qq.com/cgi-bin/webhook/send"
MAX_TEXT_BYTES = 2_000
"""WeCom takes 2048 bytes of text, DingTalk some more."""


def robot_of(url: str) -> Callable[[str], str] | None:
    """What sends a text to the robot at this address and answers "" or what went wrong; None for another service."""
    scheme, _, rest = url.partition("://")
    where = rest.partition("?")[0].partition("/")[0]
    secret, _, token = (unquote(part) for part in where.rpartition("@"))
    if not token:
        return None
    match scheme:
        case "dingtalk":
            return lambda text: tell_dingtalk(token, secret, text, time.time_ns() // 1_000_000)
        case "wecombot":
            return lambda text: tell_wecom(token, text)
    return None


def tell_dingtalk(token: str, secret: str, text: str, now_ms: int) -> str:
    query = {"access_token": token}
    if secret:
        query |= {"timestamp": str(now_ms), "sign": dingtalk_signature(secret, now_ms)}
    address = f"{DINGTALK}?{urlencode(query)}"
    return ask(address, {"msgtype": "text", "text": {"content": cut(text)}})


def dingtalk_signature(secret: str, now_ms: int) -> str:
    """Base64; to be encoded once for the address."""
    signed = hmac.new(secret.encode(), f"{now_ms}\n{secret}".encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


def tell_wecom(key: str, text: str) -> str:
    address = f"{WECOM}?key={quote(key, safe='')}"
    return ask(address, {"msgtype": "text", "text": {"content": cut(text)}})


def ask(address: str, payload: dict[str, Any]) -> str:
    why, answer = post(address, payload)
    if why:
        return why
    try:
        told = json.loads(answer)
        code, words = told["errcode"], told.get("errmsg", "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "the answer was not understood"
    return "" if code == 0 else f"refused with {code}: {words}"


def cut(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= MAX_TEXT_BYTES:
        return text
    return encoded[: MAX_TEXT_BYTES - 3].decode(errors="ignore") + "..."
