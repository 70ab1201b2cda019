"""What stands under deploy/ is true: rules load and fire, the board is whole, the image's recipe fits the repository."""

from __future__ import annotations

import fnmatch
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from marketmaker.__main__ import build_parser

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
BOARD = DEPLOY / "grafana" / "marketmaker.json"

promtool = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(promtool is None, reason="promtool is not installed")


def check(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    assert promtool is not None
    return subprocess.run(
        [promtool, *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


# --- Prometheus

FIRES: list[tuple[str, str, str, str]] = [
    ("MarketmakerGone", 'up{job="marketmaker"}', "1 0 0 0", "3m"),
    ("MarketmakerHangs", "marketmaker_reading_age_seconds", "1 31 91 151", "3m"),
    ("MarketmakerUnhealthy", "marketmaker_healthy", "1 0 0 0 0", "4m"),
    ("MarketmakerRestarts", "marketmaker_start_time_seconds", "1 2 3 4", "3m"),
    ("MarketmakerSymbolFailed", 'marketmaker_symbol_state{state="failed"}', "0 1", "1m"),
    ("MarketmakerPriceStale", "marketmaker_price_age_seconds", "0 40 90 150", "3m"),
    ("MarketmakerOrderStreamDown", "marketmaker_order_stream_up", "1 0 0", "2m"),
    ("MarketmakerSnapshotOld", "marketmaker_snapshot_age_seconds", "60 601", "1m"),
    ("MarketmakerPositionDiffers", "marketmaker_reconcile_differences_total", "0 0 1", "2m"),
    ("MarketmakerLimitReached", "marketmaker_risk_limit_reached", "0 1", "1m"),
    ("MarketmakerRiskGateShut", 'marketmaker_risk_gate{state="shut"}', "1x70", "65m"),
    ("MarketmakerOutcomesUnknown", "marketmaker_order_outcomes_unknown_total", "0 9 9", "2m"),
    ("MarketmakerRefusals", 'marketmaker_order_refusals_total{reason="filter"}', "0 40 40", "2m"),
    ("MarketmakerQueueOverflowed", "marketmaker_queue_overflows_total", "0 1", "1m"),
    ("MarketmakerBudgetExhausted", "marketmaker_rate_budget_waiting", "3x10", "8m"),
    (
        "MarketmakerSlow",
        'marketmaker_tick_to_order_seconds_bucket{le="+Inf"}',
        "0+60x20",
        "20m",
    ),
    ("MarketmakerEquityUnexplained", "marketmaker_equity_residual", "-2x20", "15m"),
]
"""Alert, the series it watches, what the series does minute by minute, and when the alert must be up."""
BESIDE = {
    "MarketmakerSlow": [('marketmaker_tick_to_order_seconds_bucket{le="0.1"}', "0+6x20")],
    "MarketmakerEquityUnexplained": [("marketmaker_equity_venue", "10000x20")],
}
PEACE = [
    ('up{job="marketmaker"}', "1x90"),
    ("marketmaker_reading_age_seconds", "1x90"),
    ("marketmaker_healthy", "1x90"),
    ("marketmaker_start_time_seconds", "5x90"),
    ('marketmaker_symbol_state{state="failed"}', "0x90"),
    ("marketmaker_price_age_seconds", "1x90"),
    ("marketmaker_order_stream_up", "1x90"),
    ("marketmaker_snapshot_age_seconds", "30x90"),
    ("marketmaker_reconcile_differences_total", "3x90"),
    ("marketmaker_risk_limit_reached", "0x90"),
    ('marketmaker_risk_gate{state="shut"}', "0x90"),
    ("marketmaker_order_outcomes_unknown_total", "2x90"),
    ('marketmaker_order_refusals_total{reason="post_only"}', "0+50x90"),
    ("marketmaker_queue_overflows_total", "1x90"),
    ("marketmaker_rate_budget_waiting", "0x90"),
    ('marketmaker_tick_to_order_seconds_bucket{le="0.001"}', "0+60x90"),
    ('marketmaker_tick_to_order_seconds_bucket{le="+Inf"}', "0+60x90"),
    ("marketmaker_equity_residual", "0x90"),
    ("marketmaker_equity_venue", "10000x90"),
]
"""A daemon in good health: no alert at all."""


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return list(group["rules"])


@needs_promtool
def test_promtool_takes_the_rules_and_the_example_configuration() -> None:
    for arguments in (("rules", str(RULES)), ("config", str(RULES.with_name("prometheus.yml")))):
        done = check("check", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_what_it_means_and_is_made_to_fire_below() -> None:
    for rule in rules():
        assert {"summary", "description"} <= rule["annotations"].keys()
        assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {rule["alert"] for rule in rules()} == {name for name, *_ in FIRES}


@needs_promtool
def test_each_rule_fires_when_it_should_and_none_in_peace(tmp_path: Path) -> None:
    def series(rows: list[tuple[str, str]]) -> list[dict[str, str]]:
        return [{"series": name, "values": values} for name, values in rows]

    tests: list[dict[str, Any]] = []
    for alert, name, values, when in FIRES:
        rows = [(name, values), *BESIDE.get(alert, [])]
        query = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        samples = [{"labels": "{}", "value": 1}]
        tests.append(
            {
                "interval": "1m",
                "input_series": series(rows),
                "promql_expr_test": [{"expr": query, "eval_time": when, "exp_samples": samples}],
            }
        )
    quiet = [
        {"expr": "count(ALERTS)", "eval_time": f"{minute}m", "exp_samples": []}
        for minute in (5, 30, 60, 89)
    ]
    tests.append({"interval": "1m", "input_series": series(PEACE), "promql_expr_test": quiet})
    file = tmp_path / "test.yml"
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content))
    done = check("test", "rules", str(file), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


# --- Grafana


def board() -> dict[str, Any]:
    content = json.loads(BOARD.read_text())
    assert isinstance(content, dict)
    return content


def queries() -> list[str]:
    """Every expression of the board, with its variables filled in."""
    content = board()
    found = [target["expr"] for panel in content["panels"] for target in panel.get("targets", [])]
    found += [each["expr"] for each in content["annotations"]["list"]]
    for name in ("instance", "symbol"):
        found = [query.replace(f"${name}", ".*") for query in found]
    return [query.replace("$__rate_interval", "1m") for query in found]


def test_the_board_is_laid_out_without_overlap_and_every_panel_has_a_question() -> None:
    taken: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in board()["panels"]]
    assert len(ids) == len(set(ids)) > 25
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] == "row" or panel["targets"], panel["title"]
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"


@needs_promtool
def test_every_query_of_the_board_is_promql(tmp_path: Path) -> None:
    rows = [{"record": f"board:query:{n}", "expr": query} for n, query in enumerate(queries())]
    file = tmp_path / "board.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "board", "rules": rows}]}))
    done = check("check", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


# --- the image


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "Dockerfile").read_text()
    text = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ")
    return [
        (word, " ".join(rest.split()))
        for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())
    ]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(number for number, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


def copied() -> list[str]:
    """What is taken from the repository."""
    return [
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]


def let_in(path: str) -> bool:
    """Whether the .dockerignore beside the recipe lets the path through; the last line that matches decides."""
    verdict = True
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keep = pattern.startswith("!")
        pattern = pattern.removeprefix("!")
        pieces = path.split("/")
        heads = ["/".join(pieces[: n + 1]) for n in range(len(pieces))]
        if pattern.startswith("**/"):
            hit = any(fnmatch.fnmatch(piece, pattern[3:]) for piece in pieces)
        else:
            hit = any(fnmatch.fnmatch(head, pattern) for head in heads)
        if hit:
            verdict = keep
    return verdict


def test_the_image_is_made_of_files_that_exist_and_that_are_let_in() -> None:
    sources = copied()
    assert {"deploy/requirements.lock", "marketmaker"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert let_in(source), source
    for secret in (
        ".env",
        "config.yaml",
        "deploy/secrets/api_key",
        "state/mm1.lock",
        ".git/config",
    ):
        assert not let_in(secret), secret
    assert not let_in("marketmaker/__pycache__/app.cpython-312.pyc")


@pytest.mark.slow
def test_the_files_the_image_copies_are_enough_to_build_the_package(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    for source in copied():
        if source.endswith(".lock"):
            continue
        target = tmp_path / source
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, target)
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "marketmaker/config.example.yaml" in names and "marketmaker/__main__.py" in names


def test_its_commands_are_shell_and_its_entry_point_is_ours() -> None:
    for word, rest in instructions():
        if word == "RUN":
            done = subprocess.run(["sh", "-n"], input=rest, text=True, check=False, timeout=10)
            assert done.returncode == 0, rest
    last = dict(last_stage())
    command = json.loads(last["ENTRYPOINT"]) + json.loads(last["CMD"])
    args = build_parser().parse_args(command[1:])
    assert (command[0], args.command, args.config) == (
        "marketmaker",
        "run",
        "/etc/marketmaker/config.yaml",
    )


def test_it_runs_as_nobody_in_particular_on_a_slim_base_and_stops_as_the_daemon_does() -> None:
    words = [word for word, _ in last_stage()]
    last = dict(last_stage())
    assert "-slim" in last["FROM"]
    user, group = last["USER"].split(":")
    assert int(user) > 999 and int(group) > 999
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["VOLUME"] == last["WORKDIR"]
    assert "PYTHONDONTWRITEBYTECODE=1" in last["ENV"]
    assert not any("pip install" in rest for _, rest in last_stage())


def test_every_package_of_the_image_is_pinned_with_a_hash() -> None:
    text = (DEPLOY / "requirements.lock").read_text()
    names = re.findall(r"(?m)^([a-z0-9._-]+)(?:\[[^]]*\])?==", text)
    lines = [line for line in text.splitlines() if re.match(r"[a-z]", line)]
    assert len(names) == len(lines) > 20
    assert all(line.rstrip().endswith("\\") for line in lines), "a package without a hash"
    assert {"uvloop", "apprise", "cryptography", "sqlalchemy", "aiohttp", "picows"} <= set(names)
    assert not {"pytest", "ccxt", "mypy", "distributed"} & set(names)
    developed = (ROOT / "requirements-dev.lock").read_text()
    differ = [
        line
        for line in lines
        if f"\n{line.partition(' ')[0]}" not in developed and "win32" not in line
    ]
    assert not differ, "run `make lock`: the image would not run what is tested"


def test_the_service_of_compose_may_write_and_do_nothing_it_need_not() -> None:
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["marketmaker"]
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"] == {"core": 0}
    assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
    assert (ROOT / service["build"]["dockerfile"]).is_file()
    written = [each for each in service["volumes"] if not each.endswith(":ro")]
    assert written == [f"state:{dict(last_stage())['VOLUME']}"]
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > 20
