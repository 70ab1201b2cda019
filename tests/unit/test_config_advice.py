"""What `check` warns of though it is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marketmaker.__main__ import main
from marketmaker.config import advice, configuration_from_text

TEXT = """\
mode: paper
grid:
  price_interval: 2
  order_amount: 300
  buy_window: {window}
  sell_window: {window}
  max_open_orders: {most}
symbols:
  - name: ETHUSDT
  - name: BTCUSDT
execution:
  orders_per_s: {rate}
  burst: 10
shutdown_timeout: 30
"""


def written(*, window: int = 15, most: int = 100, rate: str = "1") -> str:
    return TEXT.format(window=window, most=most, rate=rate)


def told(text: str) -> list[str]:
    return list(advice(configuration_from_text(text, name="slow.yaml", environ={})))


def test_a_budget_that_cannot_cancel_the_grid_in_time_is_told_with_its_line() -> None:
    """Two symbols of 30 orders; ten go at once, and fifty at one a second take longer than 30 s."""
    (line,) = told(written())
    assert line.startswith("slow.yaml:12: warning: up to 60 orders may rest")
    assert "takes 50 s at 1 orders/s" in line and "shutdown_timeout 30" in line


@pytest.mark.parametrize(
    "enough",
    [
        pytest.param(written(rate="2"), id="twice as fast"),
        pytest.param(written(window=10), id="ten levels: 40 orders, 30 s"),
        pytest.param(written(window=15, most=20), id="never more than 20 orders of a symbol"),
    ],
)
def test_a_budget_that_can_is_not_worth_a_word(enough: str) -> None:
    assert told(enough) == []


def test_check_shows_the_warning_and_still_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(written())
    assert main(["check", str(path)]) == 0
    assert capsys.readouterr().out.count("warning: up to 60 orders may rest") == 1
    assert main(["check", str(path), "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out)["warnings"]
    assert ":12: warning:" in line
