"""Alerts of a real daemon, over real sockets, to every kind of channel; and what hung or lost ones do to it."""

from __future__ import annotations

import base64
import email
import hashlib
import hmac
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.daemon import (
    Daemon,
    Ended,
    environment,
    problems_of_books,
    run_command,
    write_config,
)
from tests.support.receivers import MailServer, Received, Receiver

pytest.importorskip("apprise")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DINGTALK_SECRET = "SECabcdef0123456"
TRADING = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 3, order_amount: 60}
"""


def channels(receiver: Receiver, mail: MailServer) -> dict[str, str]:
    return {
        "telegram": "tgram://123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghi/12345678",
        "discord": "discord://1234567890123/tokentokentoken-AbC",
        "slack": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#trading",
        "feishu": "feishu://0a1b2c3d-token-feishu",
        "lark": "lark://0a1b2c3d-token-lark",
        "dingtalk": f"dingtalk://{DINGTALK_SECRET}@tokendingtalk12345/",
        "wecom": "wecombot://1a1a1a1a-2b2b-3c3c-4d4d-5e5e5e5e5e5e",
        "mail": f"mailto://bot:mailpassword1@127.0.0.1:{mail.port}?from=bot@example.com"
        "&to=owner@example.com&mode=insecure&smtp=127.0.0.1",
        "webhook": f"json://127.0.0.1:{receiver.port}/hook",
    }


def configured(addresses: dict[str, str], *, rule: str, heartbeat: str = "", port: int = 0) -> str:
    listed = "".join(f"  - {{name: {name}, url: '{url}'}}\n" for name, url in addresses.items())
    beat = f"  heartbeat: {{url: 'http://127.0.0.1:{port}{heartbeat}', interval: 1}}\n"
    return f"{TRADING}alerts:\n  channels:\n{listed}  rules:\n  - {rule}\n" + (
        beat if heartbeat else ""
    )


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    listening = Receiver(tmp_path_factory.mktemp("receiver"))
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def mail() -> Iterator[MailServer]:
    listening = MailServer()
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def told(receiver: Receiver, mail: MailServer, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A run that tells everybody everything, until a heartbeat has said that it quotes.

    The exchange takes so long for an order that heartbeats say first that it does not.
    """
    folder = tmp_path_factory.mktemp("told")
    text = configured(
        channels(receiver, mail),
        rule="{severity: info, group: 0}",
        heartbeat="/beat",
        port=receiver.port,
    )
    text += "paper: {order_latency_ms: 150}\n"
    daemon = Daemon(folder, write_config(folder, text), env=receiver.environment()).start()
    try:
        receiver.wait_for(lambda each: each.path == "/beat" and each.json()["quoting"])
        daemon.send(signal.SIGTERM)
        return daemon.finish()
    finally:
        daemon.kill()


def mail_text(received: Received) -> str:
    message = email.message_from_bytes(received.body)
    assert message["Subject"].startswith("marketmaker mm1 (paper) on ")
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


def dingtalk_text(received: Received) -> str:
    """The signature must be right when the address is read once, as DingTalk reads it."""
    query = parse_qs(urlsplit(received.path).query)
    stamped = f"{query['timestamp'][0]}\n{DINGTALK_SECRET}".encode()
    signed = hmac.new(DINGTALK_SECRET.encode(), stamped, hashlib.sha256).digest()
    assert query["sign"] == [base64.b64encode(signed).decode()]
    assert query["access_token"] == ["tokendingtalk12345"]
    return str(received.json()["text"]["content"])


FORMATS: dict[str, tuple[str, str, Callable[[Received], str]]] = {
    "telegram": ("api.telegram.org", "/bot123456789:", lambda got: got.json()["text"]),
    "discord": (
        "discord.com",
        "/api/webhooks/1234567890123/tok",
        lambda got: got.json()["content"],
    ),
    "slack": (
        "hooks.slack.com",
        "/services/T1JJ3T3L2/A1BRTD4JD/TI",
        lambda got: got.json()["attachments"][0]["text"],
    ),
    "feishu": (
        "open.feishu.cn",
        "/open-apis/bot/v2/hook/0a1b2c3d-token-feishu",
        lambda got: got.json()["content"]["text"],
    ),
    "lark": (
        "open.larksuite.com",
        "/open-apis/bot/v2/hook/0a1b2c3d-token-lark",
        lambda got: got.json()["content"]["text"],
    ),
    "dingtalk": ("oapi.dingtalk.com", "/robot/send?access_token=", dingtalk_text),
    "wecom": (
        "qyapi.weixin.qq.com",
        "/cgi-bin/webhook/send?key=1a1a1a1a",
        lambda got: got.json()["text"]["content"],
    ),
    "webhook": ("127.0.0.1", "/hook", lambda got: got.json()["message"]),
    "mail": ("mail", "owner@example.com", mail_text),
}
"""Where each channel's message must arrive, and where its text stands in the service's own format."""


def test_the_run_itself_ends_well(told: Ended) -> None:
    assert problems_of_books(told) == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("topic", ["info app.started ETHUSDT", "info app.stopped SIGTERM"])
def test_every_channel_is_told_in_its_own_format(
    name: str, topic: str, told: Ended, receiver: Receiver, mail: MailServer
) -> None:
    assert told.code == 0
    host, path, text_of = FORMATS[name]

    def arrived(received: Received) -> bool:
        mine = received.host == host and received.path.startswith(path)
        return mine and topic in text_of(received)

    if name == "mail":
        deadline = time.monotonic() + 60
        while not any(arrived(each) for each in mail.heard):
            assert time.monotonic() < deadline, mail.heard
            time.sleep(0.05)
        return
    receiver.wait_for(arrived)


def test_the_heartbeat_says_first_why_not_and_then_that_it_quotes(
    told: Ended, receiver: Receiver
) -> None:
    assert told.code == 0
    beats: list[dict[str, Any]] = [each.json() for each in receiver.heard if each.path == "/beat"]
    good = next(each for each in beats if each["quoting"])
    assert good["why"] == ""
    assert good["symbols"] == [{"symbol": "ETHUSDT", "quoting": True, "why": ""}]
    assert beats[0]["quoting"] is False and beats[0]["why"]
    assert good["exchange"] == "paper" and good["bot_tag"] == "mm1"


def test_no_log_line_holds_a_part_of_an_address(
    told: Ended, receiver: Receiver, mail: MailServer
) -> None:
    for secret in ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "tokendingtalk", "mailpassword1", "5e5e5e5e5e5e"):
        assert secret not in told.out + told.err


def test_a_channel_that_hangs_keeps_neither_trading_nor_the_others_nor_the_end(
    tmp_path: Path,
) -> None:
    receiver = Receiver(tmp_path, lambda host: "hang" if host == "discord.com" else "taken")
    addresses = {
        "hung": "discord://1234567890123/tokentokentoken-AbC",
        "webhook": f"json://127.0.0.1:{receiver.port}/hook",
    }
    text = configured(addresses, rule="{severity: info, group: 0, cool_down: 0}")
    text = text.replace("price_interval: 3", "price_interval: 0.5")
    text += "paper: {maker_fee: 0.00001}\n"
    daemon = Daemon(tmp_path, write_config(tmp_path, text), env=receiver.environment()).start()
    try:
        receiver.wait_for(lambda each: "app.started" in each.json().get("message", ""))
        daemon.wait_until_it_trades()
        deadline = time.monotonic() + 60
        while not receiver.waiting:
            assert time.monotonic() < deadline, "the other channel does not hang"
            time.sleep(0.05)
        placed = daemon.journal.read_text().count('"PlaceOrder"')
        while daemon.journal.read_text().count('"PlaceOrder"') == placed:
            assert time.monotonic() < deadline, "it places nothing while the channel hangs"
            time.sleep(0.05)
        daemon.send(signal.SIGTERM)
        ended = daemon.finish()
        receiver.wait_for(lambda each: "app.stopped" in each.json().get("message", ""))
    finally:
        daemon.kill()
        receiver.close()
    assert problems_of_books(ended) == []


def test_a_daemon_that_is_killed_is_reported_by_its_messenger(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    text = configured(
        {"webhook": f"json://127.0.0.1:{receiver.port}/hook"}, rule="{severity: warning}"
    )
    daemon = Daemon(tmp_path, write_config(tmp_path, text), env=receiver.environment()).start()
    try:
        daemon.wait_until_it_trades()
        daemon.send(signal.SIGKILL)
        told = receiver.wait_for(lambda each: "app.died" in each.json()["message"])
    finally:
        daemon.kill()
        receiver.close()
    assert told.json()["type"] == "failure"
    assert "its orders may still be open" in told.json()["message"]


def test_an_address_that_is_not_understood_keeps_the_daemon_from_starting(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, configured({"phone": "nosuch://TOKENTOKEN/x"}, rule="{severity: error}")
    )
    for command in (("run", str(config), "--duration", "1"), ("check", str(config))):
        done = run_command(*command)
        assert done.returncode == 2
        assert "alert channel phone: its address, beginning nosuch://, is not" in done.stderr
        assert "TOKENTOKEN" not in done.stdout + done.stderr


def test_the_test_command_says_who_took_it_and_who_did_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DingTalk and WeCom refuse with HTTP 200 and a code in the answer."""
    from tests.support import receivers

    refused = {"errcode": 310000, "errmsg": "sign not match"}
    monkeypatch.setitem(receivers.ANSWERS, "oapi.dingtalk.com", refused)
    receiver = Receiver(tmp_path, lambda host: "503" if host == "discord.com" else "taken")
    mail = MailServer()
    addresses = channels(receiver, mail)
    chosen = {name: addresses[name] for name in ("dingtalk", "wecom", "discord", "webhook")}
    config = write_config(
        tmp_path,
        configured(chosen, rule="{severity: info}", heartbeat="/beat", port=receiver.port),
    )
    for name, value in environment(receiver.environment()).items():
        monkeypatch.setenv(name, value)
    done = run_command("alerts", "test", str(config), "--json")
    receiver.close()
    mail.close()
    assert done.returncode == 1, done.stderr
    answers = {each["channel"]: each for each in json.loads(done.stdout)}
    assert answers["dingtalk"]["why"] == "refused with 310000: sign not match"
    assert "503" in answers["discord"]["why"]
    assert [answers[name]["ok"] for name in ("wecom", "webhook", "heartbeat")] == [True] * 3
    assert "tokentoken" not in done.stdout + done.stderr
