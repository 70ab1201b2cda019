"""Every metric that the board and the rules name is one that a real daemon serves, with the labels they ask for."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import Daemon, write_config
from tests.unit.test_deploy import RULES, queries

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAME = re.compile(r"\bmarketmaker_[a-z0-9_]+")
SELECTOR = re.compile(r"\b(marketmaker_[a-z0-9_]+)\{([^}]*)\}")
FROM_PROMETHEUS = {"instance", "job", "le"}
"""Labels that the scrape itself adds, or that belong to the kind of metric."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The text of /metrics of a daemon that quotes and has read its equity."""
    folder = tmp_path_factory.mktemp("metrics")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    text = f"""
mode: paper
http: {{listen: 127.0.0.1:{port}}}
symbols:
  - name: ETHUSDT
    grid: {{price_interval: 3, order_amount: 60}}
"""
    daemon = Daemon(folder, write_config(folder, text)).start()
    try:
        deadline = time.monotonic() + 60
        content = ""
        while "marketmaker_quoting 1.0" not in content or "equity_venue" not in content:
            assert time.monotonic() < deadline, content
            time.sleep(0.2)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as it:
                    content = it.read().decode()
            except OSError:
                continue
        return content
    finally:
        daemon.kill()


def families(text: str) -> set[str]:
    """Names that may be asked for: those of the families, and of a histogram's parts."""
    found = set()
    for name, kind in re.findall(r"(?m)^# TYPE (\S+) (\S+)$", text):
        found.add(name)
        if kind == "histogram":
            found |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return found


def labels(text: str) -> dict[str, set[str]]:
    """Of every sample, by name."""
    found: dict[str, set[str]] = {}
    for name, inside in re.findall(r"(?m)^(marketmaker_[a-z0-9_]+)(?:\{(.*)\})? ", text):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=\"", inside))
    return found


def asked() -> list[str]:
    rules = [rule["expr"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]]
    return rules + queries()


def test_every_metric_that_is_asked_for_is_served(served: str) -> None:
    wanted = {name for query in asked() for name in NAME.findall(query)}
    assert len(wanted) > 35
    assert wanted - families(served) == set()


def test_no_metric_is_served_that_nobody_shows(served: str) -> None:
    """But for what is only there to be looked up by hand."""
    by_hand = {"marketmaker_ready", "marketmaker_queue_depth_max", "marketmaker_build_info"}
    wanted = {name for query in asked() for name in NAME.findall(query)}
    parts = {name for name in families(served) if re.search(r"_(bucket|sum|count|created)$", name)}
    histograms = {name.rsplit("_", 1)[0] for name in parts}
    shown = wanted | {name.removesuffix("_bucket") for name in wanted}
    left = {name for name in families(served) if name.startswith("marketmaker_")}
    assert left - shown - parts - histograms - by_hand <= {"marketmaker_snapshots_total"}


def test_every_label_that_is_asked_for_is_there(served: str) -> None:
    known = labels(served)
    for query in asked():
        for name, inside in SELECTOR.findall(query):
            wanted = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside)) - FROM_PROMETHEUS
            if name in known:
                assert wanted <= known[name], (name, wanted, known[name])


def test_promtool_takes_what_is_served(served: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=served,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
