"""The HTML report opens in a real browser: every plot is drawn, nothing is wrong, and it asks nobody for anything."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("numpy")
pytest.importorskip("plotly")

from marketmaker.__main__ import main
from marketmaker.backtest import html
from tests.support.browser import opened
from tests.support.recordings import trade_columns, write_parquet

GRID = """
mode: paper
symbols:
  - name: XRPUSDT
    grid: {price_interval: 0.002, order_amount: 50, buy_window: 5}
"""
DRAWN = """() => Object.fromEntries(["timeline", "levels", "periods", "gains", "holding"].map(id => [id, {
    traces: document.querySelectorAll(`#${id} .trace`).length,
    bars: document.querySelectorAll(`#${id} .barlayer .point path`).length,
    lines: document.querySelectorAll(`#${id} .scatterlayer .js-line`).length,
    marks: document.querySelectorAll(`#${id} .scatterlayer .points path`).length,
    wide: document.getElementById(id).getBoundingClientRect().width}]))"""


def walk_prices(count: int, seed: int) -> list[float]:
    chance, price, prices = random.Random(seed), 14_000, []
    for _ in range(count):
        price += chance.choice((-7, -3, -1, 0, 1, 3, 7))
        prices.append(price / 10_000)
    return prices


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    config = folder / "config.yaml"
    config.write_text(GRID)
    times = [
        1_700_000_000_000 + 1_000 * place + 3_600_000 * (place > 6_000) for place in range(12_000)
    ]
    columns = trade_columns(walk_prices(12_000, 3), ts_ms=times)
    data = write_parquet(folder / "xrpusdt.parquet", columns)
    assert (
        main(["backtest", str(config), "--data", str(data), "--no-cache", "--out", str(folder)])
        == 0
    )
    return folder / "report.html"


@pytest.mark.parametrize(
    ("width", "scheme", "page_color"),
    [(1360, "light", "rgb(255, 255, 255)"), (400, "dark", "rgb(20, 25, 31)")],
)
def test_every_plot_is_drawn_and_no_request_leaves(
    report: Path, width: int, scheme: str, page_color: str
) -> None:
    with opened(
        report.as_uri(), viewport={"width": width, "height": 900}, color_scheme=scheme
    ) as found:
        found.page.wait_for_function("document.querySelector('#holding .barlayer .point')")
        drawn = found.page.evaluate(DRAWN)
        assert found.errors == []
        assert found.requests == [report.as_uri()]
        assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == page_color
        assert found.page.evaluate("document.documentElement.scrollWidth") == width
    assert drawn["timeline"]["lines"] >= 9
    assert drawn["timeline"]["marks"] > 50
    for name in ("levels", "periods", "gains", "holding"):
        assert drawn[name]["bars"] > 3, name
    assert all(each["wide"] > 300 for each in drawn.values())


def test_the_page_forbids_requests(report: Path, tmp_path: Path) -> None:
    """The check above can fail: a page that asks for something is heard, and its own policy stops it."""
    page = tmp_path / "asking.html"
    text = report.read_text()
    page.write_text(text.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>', 1))
    with opened(page.as_uri()) as found:
        assert any("Content Security Policy" in error for error in found.errors)


def test_a_page_is_a_few_hundred_kilobytes_beside_plotly(report: Path) -> None:
    beside = report.stat().st_size - len(html.plotly_js().encode())
    assert 20_000 < beside < 600_000


def test_names_in_the_data_cannot_break_out_of_the_page() -> None:
    assert html.table([("<b>", "</script>")]) == (
        "<tr><td>&lt;b&gt;</td><td>&lt;/script&gt;</td></tr>"
    )
