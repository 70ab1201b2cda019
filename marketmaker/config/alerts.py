"""The `alerts` section: addresses expanded, rules held against the channels they name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from marketmaker.config.fields import Refused
from marketmaker.config.secrets import expand_secret
from marketmaker.config.sections import Report
from marketmaker.model.settings import AlertChannel, AlertRule, AlertSettings, HeartbeatSettings

HOST_IS_NO_SECRET = frozenset({"http", "https", "json", "jsons", "form", "forms", "xml", "xmls"})
MAILS = frozenset({"mailto", "mailtos"})
LONG_ENOUGH = 8
"""A shorter part of an address is an id, a port or a word like `hooks`."""


def build_alerts(
    raw: dict[str, Any], report: Report, environ: Mapping[str, str], secrets: set[str]
) -> AlertSettings:
    channels = tuple(build_channels(raw.get("channels", ()), report, environ, secrets))
    known = [channel.name for channel in channels]
    rules = tuple(AlertRule(**rule) for rule in raw.get("rules", ()))
    for number, rule in enumerate(rules, start=1):
        for name in rule.channels:
            if name not in known and report.trusts(("channels", "name", "url")):
                report.refuse(
                    f"alerts.rules.{number}.channels",
                    f"{name} is no channel; "
                    + (f"known here: {', '.join(known)}" if known else "list it under channels"),
                )
    if rules and not channels and report.trusts(("channels", "name", "url")):
        report.refuse("alerts.rules", "there is no channel to send to; list one under channels")
    return AlertSettings(
        channels=channels,
        rules=rules,
        heartbeat=build_heartbeat(raw.get("heartbeat", {}), report, environ, secrets),
    )


def build_channels(
    raw: tuple[dict[str, Any], ...], report: Report, environ: Mapping[str, str], secrets: set[str]
) -> Iterator[AlertChannel]:
    seen: set[str] = set()
    for number, channel in enumerate(raw, start=1):
        name = channel.get("name", str(number))
        key = f"alerts.channels.{number}"
        if name in seen:
            report.refuse(f"{key}.name", f"{name} is listed twice; give each channel its own name")
            continue
        seen.add(name)
        if "url" not in channel:
            continue
        try:
            url = expand_secret(channel["url"], environ)
            secrets.update(secret_parts(url))
            if "://" not in url:
                raise Refused("is not an address; write one such as tgram://TOKEN/CHAT")
        except Refused as refused:
            report.refuse(f"{key}.url", str(refused))
            continue
        yield AlertChannel(name=name, url=url)


def build_heartbeat(
    raw: dict[str, Any], report: Report, environ: Mapping[str, str], secrets: set[str]
) -> HeartbeatSettings:
    expanded = dict(raw)
    for key in ("url", "url_not_quoting"):
        if not raw.get(key):
            continue
        try:
            expanded[key] = expand_secret(raw[key], environ)
            secrets.update(secret_parts(expanded[key]))
            check_http(expanded[key])
        except Refused as refused:
            report.refuse(f"alerts.heartbeat.{key}", str(refused))
    if expanded.get("url_not_quoting") and not expanded.get("url"):
        report.refuse(
            "alerts.heartbeat.url_not_quoting", "url is not set; set url, or remove this key"
        )
    return HeartbeatSettings(**expanded)


def check_http(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise Refused("is not an address; write http://HOST/PATH or https://HOST/PATH")


def secret_parts(url: str) -> Iterator[str]:
    """The address and whatever in it may be a token or a password, as written and as meant."""
    yield url
    scheme, _, rest = url.partition("://")
    where, _, query = rest.partition("?")
    authority, *path = where.split("/")
    user, at, host = authority.rpartition("@")
    pieces = [*path, *(value for _, value in parse_qsl(query))]
    if at:
        name, _, password = user.partition(":")
        pieces += [password] if scheme in MAILS else [name, password]
    if scheme not in HOST_IS_NO_SECRET | MAILS:
        pieces += [host, *host.split(":")]
    for piece in pieces:
        for form in (piece, unquote(piece)):
            if len(form) >= LONG_ENOUGH:
                yield form
