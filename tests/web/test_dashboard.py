"""A real browser on a paper run: what moves, what a fill looks like, and whether the buttons keep their word."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.web import TOKEN, Site, serving

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"{CHROMIUM} is not installed"),
]
DESKTOP, PHONE = (1400, 1000), (390, 844)
WITHIN_MS = 180_000
PAUSE_TAKES_S = 1.0
PAUSES_MAX = 3
"""A machine that has other things to do may delay one pause, not each of three."""
PRICES_SEEN = 6
"""So many, at levels this narrow, fill something wherever an entry is open."""


class Look:
    """One browser on the page, and everything it complained about or asked for."""

    def __init__(self, browser: Any, site: Site, size: tuple[int, int], language: str) -> None:
        width, height = size
        self.site = site
        self.complaints: list[str] = []
        self.asked: set[str] = set()
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, locale=language
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WITHIN_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.add(request.url))
        self.page.goto(f"{site.url}/#token={TOKEN}")
        self.page.wait_for_selector('body[data-link="live"]')
        self.page.wait_for_selector("#figures .value")

    def _hear(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def text(self, selector: str) -> str:
        found: str = self.page.inner_text(selector)
        return found

    def until(self, script: str) -> None:
        """The page's own policy forbids `eval`, which the browser driver's waiting needs; so it is asked again."""
        deadline = time.monotonic() + WITHIN_MS / 1000
        while not self.page.evaluate(script):
            assert time.monotonic() < deadline, f"not in time: {script}"
            time.sleep(0.05)

    def press(self, what: str) -> None:
        self.page.click(f"#do-{what}")
        self.page.wait_for_selector("#dialog[open]")
        self.page.click("#dialog-yes")

    def close(self) -> None:
        self.context.close()
        foreign = [url for url in self.asked if not url.startswith(self.site.url + "/")]
        assert not foreign, "asked another host"
        assert not self.complaints
        assert not any(TOKEN in url.partition("#")[0] for url in self.asked)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("dashboard")) as site:
        yield site


def journal_since(path: Path, offset: int) -> list[dict[str, Any]]:
    """What was decided after the first `offset` bytes of the journal."""
    with path.open("rb") as file:
        file.seek(offset)
        lines = file.read().split(b"\n")[:-1]
    return [json.loads(line) for line in lines if line.startswith(b"{")]


def told(site: Site, kind: str, start: str) -> list[dict[str, Any]]:
    """The news of a kind that begin so."""
    news = site.get(f"/news?kind={kind}").json["news"]
    return [each for each in news if each["text"].startswith(start)]


def see_prices(site: Site, count: int = PRICES_SEEN) -> None:
    before = site.status()["counters"]["ticks"]
    site.until(lambda: site.status()["counters"]["ticks"] >= before + count, "prices")


def test_price_and_ladder_move_and_a_fill_is_marked(browser: Any, site: Site) -> None:
    look = Look(browser, site, DESKTOP, "en-GB")
    price = look.text("#figures .figure:first-child .value")
    look.until(f"document.querySelector('#figures .value').innerText !== {json.dumps(price)}")
    ladder = look.text("#slots")
    look.until(f"document.querySelector('#slots').innerText !== {json.dumps(ladder)}")
    look.until("Number(document.querySelector('#price-plot').dataset.fills) > 0")
    assert site.status()["counters"]["fills"] > 0
    drawn = look.page.evaluate(
        "() => { const c = document.querySelector('#price-plot');"
        " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 200; return n; }"
    )
    assert drawn > 500, "the plot is empty"
    assert "fill" in look.text("#news")
    look.close()


def test_pause_stops_orders_at_the_venue_within_a_second(browser: Any, site: Site) -> None:
    look = Look(browser, site, DESKTOP, "en-GB")
    look.until("document.querySelector('#standing').dataset.state === 'quoting'")
    took_s: list[float] = []
    before = len(told(site, "operator", "pause done"))
    while not took_s or (min(took_s) >= PAUSE_TAKES_S and len(took_s) < PAUSES_MAX):
        look.press("pause")
        look.page.wait_for_selector('#standing[data-state="paused"]')
        assert "operator" in look.text("#standing-reason")
        site.until(
            lambda: len(told(site, "operator", "pause done")) > before + len(took_s),
            "that the pause is done",
        )
        done = told(site, "operator", "pause done")[-1]
        shut = told(site, "gate", "paused gate shut")[-1]
        took_s.append((done["time_ms"] - shut["time_ms"]) / 1000)
        then = site.status()
        assert then["bids"] == 0
        see_prices(site)
        row = site.status()
        assert row["bids"] == 0 and row["counters"]["buys"] == then["counters"]["buys"]
        look.press("resume")
        look.until("document.querySelector('#standing').dataset.state === 'quoting'")
    assert min(took_s) < PAUSE_TAKES_S, took_s
    look.close()


def test_flatten_ends_with_no_position(browser: Any, site: Site) -> None:
    site.until(lambda: float(site.status()["position"]) > 0, "inventory")
    look = Look(browser, site, PHONE, "en-GB")
    look.press("flatten")
    look.until(
        "[...document.querySelectorAll('.toast')].some((t) => /Flatten: done/.test(t.innerText))"
    )
    look.until("document.querySelector('#standing').dataset.state === 'paused'")
    assert float(site.status()["position"]) == 0
    assert site.status()["bids"] + site.status()["asks"] == 0
    look.press("resume")
    look.until("document.querySelector('#standing').dataset.state === 'quoting'")
    look.close()


def test_a_dialog_that_is_declined_does_nothing(browser: Any, site: Site) -> None:
    look = Look(browser, site, DESKTOP, "en-GB")
    look.page.click("#do-flatten")
    look.page.wait_for_selector("#dialog[open]")
    assert "reduce-only" in look.text("#dialog")
    asked = told(site, "operator", "")
    look.page.keyboard.press("Escape")
    look.until("!document.querySelector('#dialog').open")
    see_prices(site, 1)
    assert told(site, "operator", "") == asked
    assert not any("/control/" in url for url in look.asked)
    look.close()


@pytest.mark.parametrize(("language", "word"), [("zh-CN", "正在报价"), ("en-GB", "Quoting")])
def test_it_fits_a_phone_in_both_languages(
    browser: Any, site: Site, language: str, word: str
) -> None:
    look = Look(browser, site, PHONE, language)
    look.until("document.querySelector('#standing').dataset.state === 'quoting'")
    assert look.text("#standing-title") == word
    wide = look.page.evaluate("document.documentElement.scrollWidth")
    assert wide <= PHONE[0], "it scrolls sideways"
    other = "English" if language == "zh-CN" else "中文"
    assert look.text("#language") == other
    look.page.click("#language")
    look.until(f"document.querySelector('#standing-title').innerText !== {json.dumps(word)}")
    look.close()


def test_the_interactive_description_loads_without_another_host(browser: Any, site: Site) -> None:
    look = Look(browser, site, DESKTOP, "en-GB")
    look.page.goto(f"{site.url}/docs")
    look.page.wait_for_selector(".opblock-summary-path")
    assert "/control/flatten" in look.text("#docs").replace("\u200b", "")
    look.close()
