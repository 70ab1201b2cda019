"""`marketmaker check CONFIG`: what a configuration says, or what is wrong with it."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol

from marketmaker import logs
from marketmaker.cli.table import aligned
from marketmaker.config import Configuration, advice, load_configuration, paper_instruments
from marketmaker.errors import ConfigError
from marketmaker.ledger.url import shown
from marketmaker.model.settings import HttpSettings, Settings, SymbolSettings, without_secrets
from marketmaker.venues import venue_of

HIDDEN = "***"


class Online(Protocol):
    """Asks the venue itself; gives the exit code."""

    def __call__(self, configuration: Configuration, *, as_json: bool) -> int: ...


def no_venue(configuration: Configuration, *, as_json: bool) -> int:
    raise ConfigError("--online is not possible here")


def add_parser(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], online: Online = no_venue
) -> None:
    parser = subparsers.add_parser(
        "check",
        help="check a configuration and show what was understood",
        description="Check a configuration and show what was understood. Without --online it connects to nothing; with"
        " it the exchange is asked what the daemon asks before its first order: account, limits, clock, latency, a"
        " price. No order is ever sent.",
        epilog="example: marketmaker check config.yaml --online",
    )
    parser.add_argument("config", metavar="CONFIG", help="YAML file")
    parser.add_argument("--json", action="store_true", help="print the settings as JSON")
    parser.add_argument(
        "--online",
        action="store_true",
        help="ask the configured exchange, too: safety check, clock and latency",
    )
    parser.set_defaults(run=lambda args: run(args, online))


def run(args: argparse.Namespace, online: Online = no_venue) -> int:
    """Raises ConfigError, one line per problem."""
    configuration = load_configuration(args.config)
    check_addresses(configuration.settings)
    if args.online:
        logs.register_secrets(configuration.secrets)
        return online(configuration, as_json=args.json)
    if args.json:
        answer = {
            "ok": True,
            "file": configuration.name,
            "warnings": list(advice(configuration)),
            "settings": as_json(configuration.settings),
        }
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(report(configuration)))
    return 0


def check_addresses(settings: Settings) -> None:
    """Whether the addresses of alerts are understood; nothing is sent. Raises ConfigError."""
    if not settings.alerts.channels:
        return
    from marketmaker.cli.alerts import senders

    for _ in senders(settings, ""):
        pass


def report(configuration: Configuration) -> Iterator[str]:
    settings = configuration.settings
    yield f"{configuration.name}: no mistakes found"
    yield ""
    yield from aligned(list(overview(settings)))
    yield ""
    yield from aligned([GRID_HEADINGS, *(grid_row(symbol) for symbol in settings.symbols)])
    if settings.mode == "paper":
        yield ""
        yield from aligned(list(instrument_rows(settings)))
    if unanchored := [symbol.name for symbol in settings.symbols if symbol.grid.anchor is None]:
        yield ""
        yield (
            f"{', '.join(unanchored)}: no anchor is set, so order sizes and profit after fees "
            "are checked when the first price is known"
        )
    if warnings := list(advice(configuration)):
        yield ""
        yield from warnings


def overview(settings: Settings) -> Iterator[tuple[str, str]]:
    yield "mode", settings.mode
    yield "exchange", f"{settings.exchange} ({venue_name(settings.exchange)})"
    yield "bot_tag", settings.bot_tag
    held = [
        f"{field.name}={HIDDEN}"
        for field in dataclasses.fields(settings.credentials)
        if getattr(settings.credentials, field.name)
    ]
    source = f" (account {settings.account} of the vault)" if settings.account else ""
    yield "credentials", (", ".join(held) or "none") + source
    if settings.mode == "paper":
        paper = settings.paper
        yield (
            "paper",
            f"feed {paper.feed}, balance {words(paper.balance)}, leverage {words(paper.leverage)}, "
            f"fill {paper.fill}",
        )
    yield (
        "risk gate",
        f"{', '.join(settings.risk.monitor_symbols)}; "
        f"{settings.risk.recovery_threshold} must recover"
        if settings.risk.enabled
        else "off",
    )
    yield "http", http_words(settings.http)
    yield "journal", settings.journal or "none"
    yield "state_dir", settings.state_dir or "none"


def venue_name(exchange: str) -> str:
    venue = venue_of(exchange)
    return exchange if venue is None else venue.name


def http_words(http: HttpSettings) -> str:
    if http.listen is None:
        return "none"
    host, port = http.listen
    token = HIDDEN if http.token else "one of each start, in a file of this user's"
    return f"{host} port {port}, token {token}"


GRID_HEADINGS = (
    "symbol",
    "side",
    "interval",
    "order_amount",
    "buy/sell window",
    "max_open_orders",
    "anchor",
    "post_only",
    "limits",
)


def grid_row(symbol: SymbolSettings) -> tuple[str, ...]:
    grid = symbol.grid
    if grid.interval_pct is not None:
        interval = f"{words(grid.interval_pct * 100)} %"
    else:
        interval = words(grid.price_interval)
    limits = [
        f"{name} {words(value)}"
        for name in ("price_bounds", "trigger_price", "take_profit", "stop_loss", "max_position")
        if (value := getattr(grid, name)) is not None
    ]
    return (
        symbol.name,
        grid.side.value,
        interval,
        words(grid.order_amount),
        f"{grid.buy_window}/{grid.sell_window}",
        str(grid.max_open_orders),
        "first price" if grid.anchor is None else words(grid.anchor),
        grid.post_only.value,
        ", ".join(limits) or "none",
    )


def instrument_rows(settings: Settings) -> Iterator[tuple[str, ...]]:
    yield "paper instrument", "tick", "lot", "min_qty", "min_notional", "maker_fee", "taker_fee"
    for name, instrument in paper_instruments(settings).items():
        figures = (
            instrument.tick_size,
            instrument.lot_size,
            instrument.base_qty(instrument.min_qty),
            instrument.min_notional,
            instrument.maker_fee,
            instrument.taker_fee,
        )
        yield (name, *(words(figure) for figure in figures))


def words(value: Any) -> str:
    match value:
        case Decimal():
            text = format(value, "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        case tuple():
            return " to ".join(words(part) for part in value)
        case _:
            return str(value)


def as_json(settings: Settings) -> dict[str, Any]:
    """Settings as plain JSON values: exact numbers as text, secrets as *** or ""."""
    credentials = {
        field.name: HIDDEN if getattr(settings.credentials, field.name) else ""
        for field in dataclasses.fields(settings.credentials)
    }
    return {
        **json_value(without_secrets(settings)),
        "credentials": credentials,
        "ledger": shown(settings.ledger) if settings.ledger else "",
    }


def json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            field.name: json_value(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    match value:
        case Enum():
            return value.value
        case Decimal():
            return words(value)
        case tuple():
            return [json_value(part) for part in value]
        case _:
            return value
