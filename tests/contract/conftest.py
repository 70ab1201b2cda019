"""The option that publishes what conformance found."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-conformance",
        action="store_true",
        help="write marketmaker/conformance/<id>.json from what the cards say",
    )
