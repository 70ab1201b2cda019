"""Every key of the configuration file: where it stands, what may be written, which setting it becomes.

Durations are seconds unless the key says otherwise (`_ms`, `price_send_interval`).
"""

from __future__ import annotations

import re

from marketmaker.config.fields import (
    Reader,
    Refused,
    boolean,
    choice,
    decimal,
    duration,
    member,
    number_choice,
    path,
    price_range,
    real,
    symbol_name,
    symbol_names,
    text,
    whole,
)
from marketmaker.config.http import HTTP
from marketmaker.config.secrets import CREDENTIAL, raw_secret
from marketmaker.config.sections import Listed, Nested, Schema, Value
from marketmaker.config.yaml_source import Items, Node, Scalar, shown
from marketmaker.model.action import Severity
from marketmaker.model.client_order_id import valid_tag
from marketmaker.model.settings import (
    GridSide,
    PositionPolicy,
    PostOnlyPolicy,
    Spacing,
    WindowFrom,
)
from marketmaker.venues import CREDENTIAL_NAMES


def bot_tag(node: Node) -> str:
    expects = "1 to 3 lower-case letters or digits, a letter first, such as mm1"
    tag = text(node, expects=expects)
    if not valid_tag(tag):
        raise Refused(f"{shown(node)} is not a bot tag; write {expects}")
    return tag


def exchange(node: Node) -> str:
    return text(node, expects="an exchange's id such as paper")


def address(*schemes: str) -> Reader:
    """An address of a venue's server, without a user or a password in it."""
    pattern = re.compile(
        rf"(?:{'|'.join(schemes)})://[A-Za-z0-9._-]+(?::[0-9]{{1,5}})?(?:/[!-~]*)?"
    )

    def read(node: Node) -> str:
        expects = f"an address that begins with {schemes[0]}://"
        url = text(node, expects=expects)
        if not pattern.fullmatch(url):
            raise Refused(f"{shown(node)} is not an address; write {expects}")
        return url

    return read


def feed(node: Node) -> str:
    """`synthetic`, `synthetic:SEED` or the path of a recording."""
    expects = "synthetic, synthetic:SEED or the path of a recording"
    name = text(node, expects=expects)
    kind, colon, seed = name.partition(":")
    if kind == "synthetic" and colon and not (seed.isascii() and seed.isdigit() and len(seed) < 19):
        raise Refused(f"{shown(node)} has no whole number as its seed; write {expects}")
    return name


LEDGER = re.compile(r"sqlite:///[^?#]+|postgres(?:ql)?(?:\+psycopg)?://[^/]*/[^/].*")


def ledger_url(node: Node) -> str:
    """A database's address, "" (in quotes) for none. It may hold a password: no message quotes it."""
    expects = "sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    if not isinstance(node, Scalar):
        raise Refused(f"is not a single value; write {expects}")
    if not node.plain and not node.text:
        return ""
    if "${" in node.text:
        raise Refused(
            f"${{...}} works only under credentials; write {expects}, the password in PGPASSFILE"
        )
    if not node.text.isprintable() or not LEDGER.fullmatch(node.text):
        raise Refused(f"is not the address of a ledger; write {expects}")
    return node.text


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
TOPIC = re.compile(r"[a-z_]+(\.[a-z_]+)*", re.ASCII)


def given_name(node: Node) -> str:
    expects = "up to 32 letters, digits, dots, dashes or underscores"
    name = text(node, expects=expects)
    if not NAME.fullmatch(name):
        raise Refused(f"{shown(node)} is not a name; write {expects}")
    return name


def account_name(node: Node) -> str:
    """A name in the vault, "" (in quotes) for none."""
    if isinstance(node, Scalar) and not node.plain and not node.text:
        return ""
    return given_name(node)


def names(node: Node) -> tuple[str, ...]:
    if not isinstance(node, Items):
        raise Refused(f"{shown(node)} is not a list; write names in brackets, [phone, mail]")
    return tuple(given_name(entry) for entry in node.nodes)


def topics(node: Node) -> tuple[str, ...]:
    expects = "topics in brackets, [risk, order.filled]"
    if not isinstance(node, Items):
        raise Refused(f"{shown(node)} is not a list; write {expects}")
    for entry in node.nodes:
        if not isinstance(entry, Scalar) or not TOPIC.fullmatch(entry.text):
            raise Refused(f"{shown(entry)} is not a topic; write {expects}")
    return tuple(entry.text for entry in node.nodes if isinstance(entry, Scalar))


def vault_path(node: Node) -> str:
    """A path, or the systemd credential that is the vault; "" (in quotes) for none."""
    if isinstance(node, Scalar) and CREDENTIAL.fullmatch(node.text):
        return node.text
    return path(node)


def reference(node: Node) -> str:
    """Where a secret is; "" (in quotes) for nowhere. The secret itself is refused, and not quoted."""
    if isinstance(node, Scalar) and not node.plain and not node.text:
        return ""
    if not isinstance(node, Scalar) or not node.text.startswith("${"):
        raise Refused(
            "must say where the key or the passphrase is; write ${file:PATH}, ${credential:NAME}, "
            "${keyring:NAME} or ${NAME}"
        )
    return node.text


DELAY = duration(at_least="0.01", at_most="3600")
PRICE = decimal(above="0")

GRID: Schema = {
    "side": Value(attribute="side", read=member(GridSide)),
    "spacing": Value(attribute="spacing", read=member(Spacing)),
    "price_interval": Value(attribute="price_interval", read=PRICE, nullable=True),
    "interval_pct": Value(
        attribute="interval_pct", read=decimal(at_least="0.000001", below="1"), nullable=True
    ),
    "order_amount": Value(attribute="order_amount", read=PRICE),
    "min_order_value": Value(attribute="min_order_value", read=decimal(at_least="0")),
    "buy_window": Value(attribute="buy_window", read=whole(at_least="1", at_most="10000")),
    "sell_window": Value(attribute="sell_window", read=whole(at_least="1", at_most="10000")),
    "max_open_orders": Value(
        attribute="max_open_orders", read=whole(at_least="2", at_most="10000")
    ),
    "cleanup_batch_size": Value(
        attribute="cleanup_batch_size", read=whole(at_least="1", at_most="1000")
    ),
    "place_distance": Value(attribute="place_distance", read=decimal(at_least="0", at_most="0.5")),
    "window_from": Value(attribute="window_from", read=member(WindowFrom)),
    "anchor": Value(attribute="anchor", read=PRICE, nullable=True),
    "price_bounds": Value(attribute="price_bounds", read=price_range, nullable=True),
    "trigger_price": Value(attribute="trigger_price", read=PRICE, nullable=True),
    "take_profit": Value(attribute="take_profit", read=PRICE, nullable=True),
    "stop_loss": Value(attribute="stop_loss", read=PRICE, nullable=True),
    "max_position": Value(attribute="max_position", read=PRICE, nullable=True),
    "post_only": Value(attribute="post_only", read=member(PostOnlyPolicy)),
    "post_only_rejects": Value(
        attribute="post_only_rejects", read=whole(at_least="1", at_most="1000")
    ),
    "margin_lock": Value(attribute="margin_lock_s", read=DELAY),
    "retry_delay": Value(attribute="retry_delay_s", read=DELAY),
    "refused_delay": Value(attribute="refused_delay_s", read=DELAY),
    "query_delay": Value(attribute="query_delay_s", read=DELAY),
    "close_slippage": Value(attribute="close_slippage", read=decimal(above="0", at_most="0.5")),
    "on_position_difference": Value(
        attribute="on_position_difference", read=member(PositionPolicy)
    ),
}

FEE = decimal(at_least="-0.01", at_most="0.05")

INSTRUMENT: Schema = {
    "tick_size": Value(attribute="tick_size", read=PRICE, nullable=True),
    "lot_size": Value(attribute="lot_size", read=PRICE, nullable=True),
    "min_qty": Value(attribute="min_qty", read=decimal(at_least="0"), nullable=True),
    "min_notional": Value(attribute="min_notional", read=decimal(at_least="0"), nullable=True),
    "maker_fee": Value(attribute="maker_fee", read=FEE, nullable=True),
    "taker_fee": Value(attribute="taker_fee", read=FEE, nullable=True),
}

SYMBOL: Schema = {
    "name": Value(
        attribute="name", read=symbol_name, required="name the instrument, such as name: ETHUSDT"
    ),
    "grid": Nested(fields=GRID),
    "instrument": Nested(fields=INSTRUMENT),
}

CREDENTIALS: Schema = {name: Value(attribute=name, read=raw_secret) for name in CREDENTIAL_NAMES}

KEY_VAULT: Schema = {
    "path": Value(attribute="path", read=vault_path, nullable=True, null=""),
    "unlock": Value(attribute="unlock", read=reference, nullable=True, null=""),
}

ALERT_CHANNEL: Schema = {
    "name": Value(
        attribute="name", read=given_name, required="name the channel, such as name: phone"
    ),
    "url": Value(
        attribute="url",
        read=raw_secret,
        required="write its address, such as url: ${credential:alerts_phone}",
    ),
}
ALERT_RULE: Schema = {
    "topics": Value(attribute="topics", read=topics),
    "severity": Value(attribute="severity", read=member(Severity)),
    "channels": Value(attribute="channels", read=names),
    "cool_down": Value(attribute="cool_down_s", read=duration(at_least="0", at_most="86400")),
    "group": Value(attribute="group_s", read=duration(at_least="0", at_most="3600")),
}
HEARTBEAT: Schema = {
    "url": Value(attribute="url", read=raw_secret, nullable=True, null=""),
    "url_not_quoting": Value(attribute="url_not_quoting", read=raw_secret, nullable=True, null=""),
    "interval": Value(attribute="interval_s", read=duration(at_least="1", at_most="3600")),
}
ALERTS: Schema = {
    "channels": Listed(
        fields=ALERT_CHANNEL,
        required="list channels, each as `- name: phone` with its url below",
        optional=True,
        secret=True,
    ),
    "rules": Listed(
        fields=ALERT_RULE,
        required="list rules, each as `- severity: warning` with its keys below",
        optional=True,
    ),
    "heartbeat": Nested(fields=HEARTBEAT, secret=True),
}

PAPER: Schema = {
    "feed": Value(attribute="feed", read=feed),
    "balance": Value(attribute="balance", read=decimal(above="0")),
    "leverage": Value(attribute="leverage", read=decimal(at_least="1", at_most="125")),
    "fill": Value(attribute="fill", read=choice("queue", "cross", "touch")),
    "order_latency_ms": Value(
        attribute="order_latency_ms",
        read=duration(at_least="0", at_most="60000", unit="milliseconds"),
    ),
    "stream_latency_ms": Value(
        attribute="stream_latency_ms",
        read=duration(at_least="0", at_most="60000", unit="milliseconds"),
    ),
    "maker_fee": Value(attribute="maker_fee", read=FEE, nullable=True),
    "taker_fee": Value(attribute="taker_fee", read=FEE, nullable=True),
    "maintenance_margin": Value(
        attribute="maintenance_margin", read=decimal(at_least="0", below="1")
    ),
    "funding_rate": Value(attribute="funding_rate", read=decimal(at_least="-0.05", at_most="0.05")),
    "funding_interval": Value(
        attribute="funding_interval_s", read=duration(at_least="60", at_most="604800")
    ),
    "orders_per_s": Value(attribute="orders_per_s", read=real(above="0", at_most="100000")),
    "order_burst": Value(attribute="order_burst", read=whole(at_least="1", at_most="100000")),
}

EXECUTION: Schema = {
    "orders_per_s": Value(attribute="orders_per_s", read=real(above="0", at_most="10000")),
    "burst": Value(attribute="burst", read=whole(at_least="1", at_most="10000")),
    "cancel_reserve": Value(attribute="cancel_reserve", read=real(at_least="0", at_most="0.9")),
    "request_timeout": Value(
        attribute="request_timeout_s", read=duration(at_least="0.1", at_most="120")
    ),
    "max_retries": Value(attribute="max_retries", read=whole(at_least="0", at_most="20")),
    "retry_delay": Value(attribute="retry_delay_s", read=DELAY),
    "rate_limit_delay": Value(attribute="rate_limit_delay_s", read=DELAY),
}

PRICE_MONITOR: Schema = {
    "price_send_interval": Value(
        attribute="send_interval_ms",
        read=whole(at_least="0", at_most="60000", unit="milliseconds"),
    ),
    "stale_after": Value(attribute="stale_after_s", read=duration(at_least="0.1", at_most="3600")),
    "max_jump": Value(attribute="max_jump", read=decimal(above="0", at_most="1")),
}

SHARE = decimal(above="0", at_most="1")

RISK: Schema = {
    "enabled": Value(attribute="enabled", read=boolean),
    "monitor_symbols": Value(attribute="monitor_symbols", read=symbol_names),
    "interval": Value(attribute="interval_s", read=number_choice(60, 180, 300)),
    "average_window": Value(attribute="average_window", read=whole(at_least="2", at_most="500")),
    "volume_multiplier": Value(attribute="volume_multiplier", read=real(above="0", at_most="1000")),
    "recovery_threshold": Value(
        attribute="recovery_threshold", read=whole(at_least="1", at_most="100")
    ),
    "min_hold": Value(attribute="min_hold_s", read=duration(at_least="1", at_most="86400")),
    "daily_loss_limit": Value(attribute="daily_loss_limit", read=SHARE, nullable=True),
    "max_drawdown": Value(attribute="max_drawdown", read=SHARE, nullable=True),
    "max_funding_rate": Value(attribute="max_funding_rate", read=SHARE, nullable=True),
    "check_interval": Value(
        attribute="check_interval_s", read=duration(at_least="0.1", at_most="3600")
    ),
}

SAFETY: Schema = {
    "max_leverage": Value(attribute="max_leverage", read=decimal(at_least="1", at_most="125")),
    "min_positions": Value(attribute="min_positions", read=whole(at_least="1", at_most="1000000")),
    "max_clock_offset": Value(
        attribute="max_clock_offset_s", read=duration(at_least="0.001", at_most="60")
    ),
    "allow_withdrawal_keys": Value(attribute="allow_withdrawal_keys", read=boolean),
}

ENDPOINTS: Schema = {
    "rest_url": Value(attribute="rest_url", read=address("https", "http"), nullable=True, null=""),
    **{
        name: Value(attribute=name, read=address("wss", "ws"), nullable=True, null="")
        for name in (
            "ws_public_url",
            "ws_private_url",
            "ws_order_url",
            "ws_market_url",
            "ws_business_url",
            "ws_classic_url",
        )
    },
    "key_url": Value(attribute="key_url", read=address("https", "http"), nullable=True, null=""),
}

ROOT: Schema = {
    "mode": Value(
        attribute="mode", read=choice("paper", "live"), required="write mode: paper or mode: live"
    ),
    "exchange": Value(attribute="exchange", read=exchange),
    "testnet": Value(attribute="testnet", read=boolean),
    "endpoints": Nested(fields=ENDPOINTS),
    "bot_tag": Value(attribute="bot_tag", read=bot_tag),
    "account": Value(attribute="account", read=account_name, nullable=True, null=""),
    "credentials": Nested(fields=CREDENTIALS, secret=True),
    "key_vault": Nested(fields=KEY_VAULT, secret=True),
    "grid": Nested(fields=GRID),
    "symbols": Listed(
        fields=SYMBOL,
        required="list at least one symbol, each as `- name: ETHUSDT` with its keys below",
    ),
    "paper": Nested(fields=PAPER),
    "execution": Nested(fields=EXECUTION),
    "price_monitor": Nested(fields=PRICE_MONITOR),
    "risk": Nested(fields=RISK),
    "safety": Nested(fields=SAFETY),
    "alerts": Nested(fields=ALERTS, secret=True),
    "http": Nested(fields=HTTP, secret=True),
    "reconcile_interval": Value(
        attribute="reconcile_interval_s", read=duration(at_least="1", at_most="3600")
    ),
    "cleanup_interval": Value(
        attribute="cleanup_interval_s", read=duration(at_least="1", at_most="3600")
    ),
    "shutdown_timeout": Value(
        attribute="shutdown_timeout_s", read=duration(at_least="1", at_most="600")
    ),
    "journal": Value(attribute="journal", read=path, nullable=True, null=""),
    "state_dir": Value(attribute="state_dir", read=path, nullable=True, null=""),
    "ledger": Value(attribute="ledger", read=ledger_url, nullable=True, null=""),
    "log_level": Value(
        attribute="log_level", read=choice("debug", "info", "warning", "error", "critical")
    ),
}

DEFAULT_EXCHANGE = "paper"
DEFAULT_BOT_TAG = "mm1"
