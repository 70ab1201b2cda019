"""`marketmaker alerts test CONFIG`: does a message reach everybody? `marketmaker alerts channels`: how addresses look."""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Iterator

from marketmaker import __version__
from marketmaker.cli.table import aligned
from marketmaker.config import load_configuration
from marketmaker.errors import ConfigError
from marketmaker.model.action import Severity
from marketmaker.model.settings import AlertSettings, Settings

TIMEOUT_S = 30.0
SUBJECT = "marketmaker: this is a test"
TEXT = (
    "If you can read this, alerts of the configuration {name} reach you here, as channel {channel}."
)
FORMS = (
    ("Telegram", "tgram://BOT_TOKEN/CHAT_ID"),
    ("Discord", "discord://WEBHOOK_ID/WEBHOOK_TOKEN"),
    ("Slack", "slack://TOKEN_A/TOKEN_B/TOKEN_C/#CHANNEL"),
    ("Feishu", "feishu://TOKEN"),
    ("Lark", "lark://TOKEN"),
    ("DingTalk", "dingtalk://SECRET@ACCESS_TOKEN/"),
    ("WeCom", "wecombot://BOT_KEY"),
    ("e-mail", "mailtos://USER:PASSWORD@HOST?to=ADDRESS"),
    ("webhook", "jsons://HOST/PATH"),
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "alerts",
        help="try the channels that alerts go to",
        description="Try the channels that alerts go to, and show how their addresses are written.",
        epilog="example: marketmaker alerts test config.yaml",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    testing = actions.add_parser(
        "test",
        help="send a message on every channel, and a heartbeat",
        epilog="example: marketmaker alerts test config.yaml --channel phone",
    )
    testing.add_argument("config", metavar="CONFIG", help="YAML file")
    testing.add_argument("--channel", metavar="NAME", help="only this one")
    testing.add_argument("--json", action="store_true", help="print as JSON")
    testing.set_defaults(run=test)
    listing = actions.add_parser(
        "channels", help="how addresses look", epilog="example: marketmaker alerts channels"
    )
    listing.set_defaults(run=channels)


def channels(_: argparse.Namespace) -> int:
    print("\n".join(aligned([("channel", "address"), *FORMS])))
    return 0


def test(args: argparse.Namespace) -> int:
    """0 when every channel took its message. Raises ConfigError."""
    from marketmaker import logs
    from marketmaker.config.yaml_source import shown_name

    configuration = load_configuration(args.config)
    logs.register_secrets(configuration.secrets)
    settings = configuration.settings
    chosen = [
        (name, send)
        for name, send in senders(settings, shown_name(args.config))
        if args.channel in {None, name}
    ]
    if not chosen:
        known = ", ".join(each.name for each in settings.alerts.channels) or "none"
        what = f"no channel {args.channel}" if args.channel else "no channel and no heartbeat"
        raise ConfigError(f"{configuration.name}: alerts: {what} is configured; known: {known}")
    rows = [(name, logs.masked(tried(send))) for name, send in chosen]
    if args.json:
        answer = [{"channel": name, "ok": not why, "why": why} for name, why in rows]
        print(json.dumps(answer, indent=2))
    else:
        for name, why in rows:
            print(f"{name}: {why or 'taken'}")
    return 1 if any(why for _, why in rows) else 0


def senders(settings: Settings, name: str) -> Iterator[tuple[str, Callable[[], str]]]:
    alerts: AlertSettings = settings.alerts
    if alerts.channels:
        try:
            from marketmaker.alerts.channels import open_channel
        except ModuleNotFoundError:
            raise ConfigError(
                "alerts need the extra: install it with pip install 'marketmaker[alerts]'"
            ) from None
    for channel in alerts.channels:
        send = open_channel(channel.name, channel.url)
        text = TEXT.format(name=name, channel=channel.name)
        yield channel.name, lambda send=send, text=text: send(SUBJECT, text, Severity.INFO)  # type: ignore[misc]
    if alerts.heartbeat.url:
        from marketmaker.alerts.post import post

        payload = {
            "quoting": False,
            "why": "this is a test",
            "symbols": [],
            "exchange": settings.exchange,
            "bot_tag": settings.bot_tag,
            "version": __version__,
        }
        yield "heartbeat", lambda: post(alerts.heartbeat.url, payload)[0]


def tried(send: Callable[[], str]) -> str:
    """What a sender answers, or that it did not."""
    answer: list[str] = []

    def run() -> None:
        try:
            answer.append(send())
        except (
            Exception
        ) as error:  # a library with a hundred services: whatever it raises is an answer
            answer.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=run, daemon=True)
    began_s = time.monotonic()
    thread.start()
    thread.join(TIMEOUT_S)
    return answer[0] if answer else f"no answer within {time.monotonic() - began_s:.0f} s"
