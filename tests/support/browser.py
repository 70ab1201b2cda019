"""Debian's headless Chromium for tests that open a page; tests that ask for it are skipped where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)


@dataclass(kw_only=True)
class Opened:
    """A page and what it did: console errors, uncaught exceptions, addresses it asked for."""

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(url: str, **context: Any) -> Iterator[Opened]:
    """`context`: what Playwright's `new_page` takes, such as viewport and color_scheme."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("needs chromium (apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET.split())
        try:
            page = browser.new_page(**context)
            found = Opened(page=page)
            page.on(
                "console",
                lambda line: found.errors.append(line.text) if line.type == "error" else None,
            )
            page.on("pageerror", lambda error: found.errors.append(str(error)))
            page.on("request", lambda request: found.requests.append(request.url))
            page.goto(url)
            yield found
        finally:
            browser.close()
