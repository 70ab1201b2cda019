"""The daemon is light: what `run` needs on paper loads no exchange library and no number cruncher."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "ccxt",
    "aiohttp",
    "prometheus_client",
    "swagger_ui_bundle",
    "websockets",
    "pyarrow",
    "numpy",
    "pandas",
    "sqlalchemy",
    "hypothesis",
    "pytest",
)
PEAK_MB_MAX = 60
PROBE = f"""
import importlib, json, sys

module, *arguments = sys.argv[1:]
loaded = importlib.import_module(module)
code = 0
if arguments:
    sys.argv[1:] = arguments
    try:
        code = loaded.main()
    except SystemExit as stop:
        code = stop.code
peak = None
if sys.platform == "linux":
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    peak = int(line.split()[1]) / 1024
print(json.dumps([code or 0, sorted(set(sys.modules) & set({HEAVY!r})), peak]), file=sys.stderr)
"""
ONE_SYMBOL = """
mode: paper
symbols:
  - name: ETHUSDT
    grid:
      price_interval: 2
      order_amount: 60
"""


def probe(*arguments: str) -> tuple[int, list[str], float]:
    """(exit code, heavy packages in memory, peak MiB) of a fresh interpreter that imported the module named first
    and, when more is given, called its `main` with that. The peak is 0 where the system does not tell."""
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    code, loaded, peak = json.loads(answer.stderr.splitlines()[-1])
    return code, loaded, peak or 0


@pytest.mark.parametrize("module", ["marketmaker.__main__", "marketmaker.app"])
def test_importing_the_daemon_loads_nothing_heavy(module: str) -> None:
    _, loaded, peak = probe(module)
    assert loaded == []
    assert peak < PEAK_MB_MAX


@pytest.mark.e2e
def test_running_one_symbol_on_paper_loads_nothing_heavy(tmp_path: Path) -> None:
    config, summary = tmp_path / "config.yaml", tmp_path / "summary.json"
    config.write_text(ONE_SYMBOL)
    code, loaded, peak = probe(
        "marketmaker.__main__",
        *("run", str(config), "--speed", "max", "--duration", "600", "--summary", str(summary)),
    )
    assert code == 0
    assert loaded == []
    assert peak < PEAK_MB_MAX
    assert json.loads(summary.read_text())["symbols"][0]["orders_placed"] > 0


@pytest.mark.e2e
def test_serving_http_loads_nothing_heavy_into_the_process_that_trades(tmp_path: Path) -> None:
    config, summary = tmp_path / "config.yaml", tmp_path / "summary.json"
    config.write_text(ONE_SYMBOL)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    code, loaded, peak = probe(
        "marketmaker.__main__",
        *("run", str(config), "--http", f"127.0.0.1:{port}"),
        *("--duration", "3", "--summary", str(summary)),
    )
    assert code == 0
    assert loaded == []
    assert peak < PEAK_MB_MAX
    assert json.loads(summary.read_text())["symbols"][0]["orders_placed"] > 0


@pytest.mark.parametrize("module", ["pyarrow", "numpy"])
def test_the_probe_sees_what_is_loaded(module: str) -> None:
    pytest.importorskip(module)
    _, loaded, peak = probe(module)
    assert module in loaded
    assert sys.platform != "linux" or peak > 1
