"""A paper run asked over HTTP, and what its command line says of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from marketmaker.__main__ import main
from marketmaker.give_way import SESSION_NICE
from marketmaker.web.__main__ import PRIORITY
from marketmaker.web.routes import ROUTES, Access
from tests.support.daemon import run_command, write_config
from tests.support.web import PAPER, TOKEN, Site, serving

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ACTING = [route for route in ROUTES if route.access is Access.ACT]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("http")) as site:
        yield site


def test_every_route_answers_as_it_says(site: Site) -> None:
    for route in ROUTES:
        if route.name == "events" or route.access is Access.ACT:
            continue
        query = "?symbol=ETHUSDT" if route.name == "history" else ""
        answer = site.get(route.path + query)
        assert answer.status == 200, route
        assert answer.headers["Content-Type"].startswith(route.media)
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "aiohttp" not in str(answer.headers)


def test_what_is_asked_again_is_answered_alike(site: Site) -> None:
    """From the second time on a reading is written without aiohttp: with the same headers, and as it is then."""
    moment = {"Date", "Content-Length"}
    for path in ("/healthz", "/readyz", "/metrics", "/status"):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        told = []
        for _ in range(3):
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200 and answer.reason == "OK" and body
            assert int(answer.headers["Content-Length"]) == len(body)
            assert parsedate_to_datetime(answer.headers["Date"]).utcoffset() == timedelta(0)
            told.append([pair for pair in answer.headers.items() if pair[0] not in moment])
        connection.close()
        assert told[0] == told[1] == told[2]


def test_figures_of_a_daemon_that_hangs_grow_old(tmp_path: Path) -> None:
    """What the alert rules look at; the web process lives on."""

    def figure(name: str) -> float:
        lines = site.get("/metrics").body.decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(name + " "))

    text = PAPER + "price_monitor: {stale_after: 1}\n"
    with serving(tmp_path, text) as site:
        site.until(lambda: figure("marketmaker_healthy") == 1, "healthy")
        site.daemon.send(signal.SIGSTOP)
        try:
            site.until(lambda: figure("marketmaker_reading_age_seconds") > 3, "an old reading")
            site.until(lambda: figure("marketmaker_healthy") == 0, "that the figure says so")
            assert site.get("/healthz").status == 503
        finally:
            site.daemon.send(signal.SIGCONT)
        site.until(lambda: figure("marketmaker_healthy") == 1, "healthy again")


def deeds(site: Site) -> list[str]:
    """Everything that was ever done for an operator."""
    return [each["text"] for each in site.get("/news?kind=operator").json["news"]]


def test_without_the_token_nothing_acts(site: Site) -> None:
    assert len(ACTING) == 5
    before = deeds(site)
    for route in ACTING:
        for token in (None, "", "wrong", TOKEN[:-1]):
            assert site.ask("POST", route.path, token=token, body={}).status == 401
    site.until(lambda: site.status()["state"] == "quoting", "quoting")
    assert deeds(site) == before


def test_pages_and_names_from_elsewhere_are_refused(site: Site) -> None:
    for route in ROUTES:
        method, path = route.method, route.path
        rebound = {
            "Host": f"evil.example:{site.port}",
            "Origin": f"http://evil.example:{site.port}",
        }
        assert site.ask(method, path, token=TOKEN, headers=rebound).status == 421
        foreign = {"Origin": "https://evil.example"}
        assert site.ask(method, path, token=TOKEN, headers=foreign).status == 403


def test_f20_whoever_may_not_leaves_the_grid_as_it_was(site: Site) -> None:
    """No token, a page from elsewhere, a second token set after the first: refused, and the grid goes on quoting."""
    site.until(lambda: site.status()["state"] == "quoting", "quoting")
    before = deeds(site)
    elsewhere = {"Origin": "https://evil.example"}
    for route in ACTING:
        assert site.ask("POST", route.path, body={}).status == 401
        assert site.ask("POST", route.path, token=TOKEN, headers=elsewhere, body={}).status == 403
        assert site.ask("POST", route.path, token="another-token-of-my-own", body={}).status == 401
    for path in ("/token", "/password", "/setup", "/login", "/control/token"):
        for method in ("POST", "PUT"):
            answer = site.ask(method, path, body={"token": "another-token-of-my-own"})
            assert answer.status in (401, 404, 405)
    for path in ("/status", "/events"):
        assert site.get(path, headers=elsewhere).status == 403
    placed = site.status()["counters"]["orders_placed"]
    site.until(lambda: site.status()["counters"]["orders_placed"] > placed, "orders")
    assert site.status()["state"] == "quoting"
    assert deeds(site) == before
    assert site.ask("POST", "/control/pause", token="another-token-of-my-own").status == 401


@pytest.mark.parametrize(
    ("body", "headers", "wanted"),
    [
        ("{", {}, 400),
        ("[]", {}, 400),
        ('{"symbols": "ETHUSDT"}', {}, 400),
        ('{"symbols": ["ETHUSDT"], "more": 1}', {}, 400),
        ('{"symbols": ["NOSUCH"]}', {}, 404),
        ("{}", {"Content-Type": "text/plain"}, 415),
        ("[" * 10_000, {}, 400),
        ('{"symbols": ["' + "A" * 100_000 + '"]}', {}, 413),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_in_one_line(
    site: Site, body: str, headers: dict[str, str], wanted: int
) -> None:
    before = deeds(site)
    answer = site.ask("POST", "/control/pause", token=TOKEN, body=body, headers=headers)
    assert answer.status == wanted
    assert "\n" not in answer.json["error"]
    assert deeds(site) == before


def test_what_is_not_served_is_said(site: Site) -> None:
    assert site.get("/nothing").status == 404
    assert site.get("/static/../server.py").status == 404
    assert site.get("/static/%2e%2e/server.py").status == 404
    wrong = site.ask("DELETE", "/status")
    assert wrong.status == 405 and wrong.headers["Allow"] == "GET"


def test_status_says_why_a_slot_has_no_order(site: Site) -> None:
    slots = site.status()["slots"]
    assert all(bool(slot["why"]) != ("side" in slot) for slot in slots)
    only = site.get("/status?symbol=BTCUSDT").json["symbols"]
    assert [row["symbol"] for row in only] == ["BTCUSDT"]
    assert site.get("/status?symbol=NOSUCH").status == 404


def test_pause_resume_cancel_flatten_wait_for_their_outcome(site: Site) -> None:
    site.until(lambda: float(site.status()["position"]) > 0, "inventory")
    outcome = site.act("pause", symbols=["ETHUSDT"])
    assert outcome["done"] and outcome["symbols"][0]["entries_open"] == 0
    assert site.status()["state"] == "paused" and site.status()["bids"] == 0
    site.until(lambda: site.status("BTCUSDT")["state"] == "quoting", "that the other one quotes")
    site.until(lambda: site.get("/healthz").json["status"] == "quoting", "health that says so")
    outcome = site.act("cancel-all")
    assert outcome["done"]
    assert [
        site.status(name)["bids"] + site.status(name)["asks"] for name in ("ETHUSDT", "BTCUSDT")
    ] == [0, 0]
    site.until(lambda: site.get("/healthz").json["status"] == "paused", "health that says paused")
    outcome = site.act("flatten")
    assert outcome["done"]
    assert [float(row["position"]) for row in outcome["symbols"]] == [0, 0]
    outcome = site.act("resume")
    assert outcome["done"]
    site.until(lambda: site.status()["state"] == "quoting", "quoting again")


@dataclass
class Said:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, called inside this process."""

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        code = main(list(arguments))
        shown = capsys.readouterr()
        return Said(code, shown.out, shown.err)

    return call


def test_the_command_line_says_the_same(site: Site, command: Command) -> None:
    config = str(site.daemon.config)
    shown = command("status", config, "--slots")
    assert shown.returncode == 0, shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "ETHUSDT" in shown.stdout and "outside" in shown.stdout
    site.until(lambda: json.loads(command("status", config, "--json").stdout)["healthy"], "healthy")
    for deed, word in (
        ("pause", "no entry is open"),
        ("cancel-all", "no order is open"),
        ("flatten", "flat"),
        ("resume", "resumed"),
    ):
        done = command(deed, config, "--symbol", "ETHUSDT")
        assert done.returncode == 0, done.stderr
        assert word in done.stdout and f"{deed}: done" in done.stdout
        assert "BTCUSDT" not in done.stdout
    assert command("pause", config, "--symbol", "NOSUCH").returncode == 1
    away = command("status", "--url", "http://127.0.0.1:9")
    assert away.returncode == 1 and "nothing answers" in away.stderr
    assert TOKEN not in shown.stdout + away.stderr


def test_news_comes_with_the_reading_that_counts_it(site: Site) -> None:
    """Whoever hears of a fill finds it counted, on the stream and when asking."""
    event, counted, fills = "", 0, 0
    with urllib.request.urlopen(f"{site.url}/events", timeout=60) as stream:
        while fills < 3:
            line = stream.readline().decode()
            if line.startswith("event: "):
                event = line.split()[1]
            elif line.startswith("data: "):
                heard = json.loads(line.removeprefix("data: "))
                if event == "view":
                    counted = heard["news_id"]
                else:
                    assert heard["id"] <= counted
                    fills += heard["kind"] == "fill"
    told = site.get("/news").json["news"][-1]["id"]
    assert told <= site.get("/status").json["news_id"]


def test_reload_plans_applies_and_refuses_by_name(tmp_path: Path, command: Command) -> None:
    with serving(tmp_path) as site:
        config = site.daemon.config
        before = config.read_text()
        site.until(lambda: site.status()["bids"] > 4, "more orders than the smaller window has")
        assert "nothing differs" in command("reload", str(config), "--plan").stdout
        config.write_text(
            before.replace("order_amount: 60", "order_amount: 90, buy_window: 4").replace(
                "price_interval: 8", "price_interval: 9"
            )
        )
        plan = command("reload", str(config), "--plan", "--json")
        assert plan.returncode == 1
        outcome = json.loads(plan.stdout)
        assert [change["key"] for change in outcome["changes"] if not change["refused"]] == [
            "symbols.ETHUSDT.grid.order_amount",
            "symbols.ETHUSDT.grid.buy_window",
        ]
        (refused,) = [change for change in outcome["changes"] if change["refused"]]
        assert refused["key"] == "symbols.BTCUSDT.grid.price_interval"
        assert outcome["orders"] and {order["what"] for order in outcome["orders"]} == {"cancel"}
        site.until(lambda: site.status()["bids"] > 4, "that a plan changes nothing")
        applied = command("reload", str(config), "--apply")
        assert applied.returncode == 1 and "REFUSED" in applied.stdout
        site.until(lambda: 0 < site.status()["bids"] <= 4, "the smaller window")
        config.write_text(config.read_text().replace("order_amount: 90", "order_amount: 1"))
        wrong = command("reload", str(config), "--apply")
        assert wrong.returncode == 2 and f"{config}:" in wrong.stdout
        config.write_text(before)
        site.daemon.send(signal.SIGHUP)
        site.until(lambda: site.status()["bids"] > 4, "the old window again")
        site.daemon.send(signal.SIGTERM)
        ended = site.daemon.finish()
        assert ended.code == 0 and ended.summary is not None
        assert ended.summary["equity_residual"] == 0 and ended.summary["open_orders_left"] == 0
        assert '"SettingsChanged"' in ended.journal.read_text()
        replayed = command("replay", str(ended.journal))
        assert replayed.returncode == 0, replayed.stdout + replayed.stderr


def test_health_tells_of_a_silent_feed_although_the_process_lives(
    tmp_path: Path, command: Command
) -> None:
    """The stream stays up and says nothing more. How soon that is told, `test_health` shows on a clock of its own."""
    text = PAPER + "risk: {enabled: false}\nprice_monitor: {stale_after: 1}\n"
    stalling = ("-m", "tests.support.stalling_daemon")
    with serving(tmp_path, text, command=stalling, env={"STALL": "feed"}) as site:
        site.until(lambda: site.get("/healthz").status == 200, "healthy")
        site.daemon.send(signal.SIGUSR1)

        def tells() -> bool:
            answer = site.get("/healthz")
            return answer.status == 503 and all(
                any(
                    f"{name}: " in reason and "price is" in reason
                    for reason in answer.json["reasons"]
                )
                for name in ("ETHUSDT", "BTCUSDT")
            )

        site.until(tells, "unhealthy")
        site.until(lambda: site.status()["bids"] == 0, "entries cancelled")
        assert site.get("/healthz").json["status"] == "unhealthy"
        assert site.get("/readyz").status == 200
        assert site.daemon.process is not None and site.daemon.process.poll() is None
        assert command("status", str(site.daemon.config)).returncode == 1


def test_the_token_of_a_start_is_this_users_alone_and_goes_with_it(tmp_path: Path) -> None:
    env = {"RUNTIME_DIRECTORY": str(tmp_path)}
    with serving(tmp_path, PAPER, token="", env=env) as site:
        (kept,) = (tmp_path / "marketmaker").iterdir()
        assert kept.stat().st_mode & 0o777 == 0o600
        token = kept.read_text()
        assert site.ask("POST", "/control/pause", token=token, body={}).status == 200
        assert token not in (tmp_path / "run.out").read_text() + (tmp_path / "run.err").read_text()
        site.daemon.send(signal.SIGTERM)
        assert site.daemon.finish().code == 0
        assert not kept.exists()


def test_a_web_process_that_dies_is_started_anew_and_trading_goes_on(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        assert site.daemon.process is not None
        children = Path(f"/proc/{site.daemon.process.pid}/task/{site.daemon.process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not tell of child processes")
        (child,) = [int(text) for text in children.read_text().split()]
        environment = Path(f"/proc/{child}/environ").read_bytes()
        assert b"MARKETMAKER" not in environment and TOKEN.encode() not in environment
        autogroup = Path(f"/proc/{child}/autogroup")
        if (
            autogroup.exists()
        ):  # without it the session of the web process would weigh as much as trading
            assert autogroup.read_text().split()[-1] == str(SESSION_NICE)
        assert os.getpriority(os.PRIO_PROCESS, child) == min(
            os.getpriority(os.PRIO_PROCESS, site.daemon.process.pid) + PRIORITY, 19
        )
        placed = site.status()["counters"]["orders_placed"]
        os.kill(child, signal.SIGKILL)
        site.until(site.is_up, "a new web process")
        site.until(lambda: site.status()["counters"]["orders_placed"] > placed, "orders")
        site.daemon.send(signal.SIGTERM)
        assert site.daemon.finish().code == 0


@pytest.mark.parametrize(
    ("section", "wanted"),
    [
        ('http: {listen: "0.0.0.0:8420"}', "no token is set"),
        ('http: {listen: "[::]:8420"}', "no token is set"),
        ('http: {listen: "127.0.0.1"}', "write an address and a port"),
        ('http: {listen: "example.org:80"}', "write an address and a port"),
        ('http: {listen: "127.0.0.1:8420", token: short}', "fewer than 16"),
        ('http: {listen: "127.0.0.1:8420", token: "${NO_SUCH_VARIABLE}"}', "not set"),
        ('http: {listen: "127.0.0.1:8420", origins: [evil]}', "is not an origin"),
    ],
)
def test_a_door_that_should_not_be_open_is_refused_in_one_line(
    tmp_path: Path, command: Command, section: str, wanted: str
) -> None:
    config = write_config(tmp_path, PAPER + section + "\n")
    refused = command("check", str(config))
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1
    assert f"{config}:" in refused.stderr and wanted in refused.stderr
    assert "short" not in refused.stderr


def test_an_address_in_use_is_refused_before_the_first_order(site: Site) -> None:
    again = run_command("run", str(site.daemon.config), "--duration", "1")
    assert again.returncode == 2
    assert "http.listen" in again.stderr.splitlines()[-1]
