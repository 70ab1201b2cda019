"""The description is true: whatever it allows, and much that it does not, is answered as it says."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marketmaker.web.openapi import description
from marketmaker.web.routes import ROUTES
from tests.support.web import TOKEN, serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
)
TIMEOUT_S = 300


def test_every_route_is_described_and_nothing_else() -> None:
    described = {
        (method.upper(), path) for path, item in description()["paths"].items() for method in item
    }
    assert described == {(route.method, route.path) for route in ROUTES}


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed"
)
def test_no_request_breaks_it_and_every_answer_is_as_described(tmp_path: Path) -> None:
    """Schemathesis asks every route but the endless stream, rightly and wrongly, control included."""
    with serving(tmp_path) as site:
        ran = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "run",
                f"{site.url}/openapi.json",
                *("--exclude-path", "/events", "--header", f"Authorization: Bearer {TOKEN}"),
                *("--mode", "all", "--phases", "coverage,fuzzing", "--max-examples", "2"),
                *("--seed", "1", "--generation-database", "none", "--request-timeout", "100"),
                *("--checks", ",".join(CHECKS), "--no-color"),
            ],
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr
        left_out = (
            "/events",
            "/openapi.json",
        )  # the description itself was read, and is not asked again
        assert f"Tested: {len(ROUTES) - len(left_out)}" in ran.stdout
        assert site.daemon.process is not None and site.daemon.process.poll() is None
        site.act("resume")
        site.until(lambda: site.status()["state"] == "quoting", "quoting after all that")
