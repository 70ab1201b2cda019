"""A real Prometheus reads the figures, and its own tool finds nothing to mend in them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.support.web import free_port, serving

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(
        PROMETHEUS is None or PROMTOOL is None, reason="prometheus is not installed"
    ),
]
WITHIN_S = 90.0
WANTED = (
    "marketmaker_ticks_total",
    "marketmaker_tick_to_order_seconds_bucket",
    "marketmaker_orders_total",
    "marketmaker_fills_total",
    "marketmaker_position",
    "marketmaker_inventory_value",
    "marketmaker_pnl",
    "marketmaker_equity_residual",
    "marketmaker_rate_budget_left",
    "marketmaker_price_age_seconds",
    "marketmaker_price_stream_disconnects_total",
    "marketmaker_order_stream_disconnects_total",
    "marketmaker_queue_depth",
    "marketmaker_reconcile_differences_total",
    "marketmaker_risk_gate",
    "marketmaker_quoting_seconds_total",
    "increase(marketmaker_ticks_total[1m]) > 0",
    'up{job="marketmaker"} == 1',
    "marketmaker_healthy == 1",
    'count(marketmaker_symbol_state{state="quoting"} == 1) == 2',
)


def ask(port: int, query: str) -> list[dict[str, object]]:
    address = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
    try:
        with urllib.request.urlopen(address, timeout=WITHIN_S) as answer:
            found: list[dict[str, object]] = json.load(answer)["data"]["result"]
            return found
    except OSError:
        return []


def test_prometheus_reads_every_figure(tmp_path: Path) -> None:
    assert PROMETHEUS is not None and PROMTOOL is not None
    with serving(tmp_path) as site:
        site.until(lambda: site.status()["counters"]["fills"] > 0, "a fill")
        text = site.get("/metrics").body
        checked = subprocess.run(
            [PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False
        )
        assert checked.returncode == 0 and not checked.stdout + checked.stderr, checked.stderr
        port = free_port()
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s}\n"
            "scrape_configs:\n"
            "  - job_name: marketmaker\n"
            f"    authorization: {{credentials: {site.token}}}\n"
            f'    static_configs: [{{targets: ["127.0.0.1:{site.port}"]}}]\n'
        )
        with (tmp_path / "prometheus.log").open("wb") as log:
            running = subprocess.Popen(
                [
                    PROMETHEUS,
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + WITHIN_S
            missing = list(WANTED)
            while missing:
                assert time.monotonic() < deadline, f"Prometheus has not read {missing}"
                time.sleep(0.5)
                missing = [name for name in missing if not ask(port, name)]
        finally:
            running.terminate()
            running.wait(30)
