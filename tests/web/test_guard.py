"""Who may ask: names, pages and tokens."""

from __future__ import annotations

import pytest

from marketmaker.web.guard import Guard
from marketmaker.web.routes import Access

TOKEN = "correct-horse-battery"
HERE, THERE = "127.0.0.1", "192.0.2.7"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def status(access: Access, headers: dict[str, str], peer: str | None = HERE) -> int:
    guard = Guard(token=TOKEN, origins=("https://mm.example.org",))
    refused = guard.refuse(access, {"Host": "127.0.0.1:8420", **headers}, peer)
    return 200 if refused is None else refused.status


def test_reading_on_this_machine_needs_no_token_and_acting_does() -> None:
    assert status(Access.READ, {}) == 200
    assert status(Access.ACT, {}) == 401
    assert status(Access.ACT, BEARER) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer \udcff"},
        {"Authorization": "Bearer"},
    ],
)
def test_a_wrong_token_is_worse_than_none(headers: dict[str, str]) -> None:
    assert status(Access.ACT, headers) == 401
    assert status(Access.READ, headers) == 401


def test_from_elsewhere_reading_needs_the_token_too() -> None:
    host = {"Host": "192.0.2.1:8420"}
    assert status(Access.READ, host, THERE) == 401
    assert status(Access.READ, {**host, **BEARER}, THERE) == 200
    assert status(Access.PUBLIC, host, THERE) == 200


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Real-IP"])
def test_behind_a_proxy_reading_needs_the_token(name: str) -> None:
    assert status(Access.READ, {name: THERE}) == 401


@pytest.mark.parametrize(
    "host", ["evil.example:8420", "evil.example", "127.0.0.1.evil.example", "localhost.evil", ""]
)
@pytest.mark.parametrize("access", list(Access))
def test_a_name_that_is_not_ours_is_refused_even_with_the_token(host: str, access: Access) -> None:
    """DNS rebinding: the page's own name points at this machine, so the browser thinks it is the same origin."""
    headers = {**BEARER, "Host": host, "Origin": f"http://{host}"}
    assert status(access, headers) == 421


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1:8420", "[::1]:8420", "192.0.2.1"])
def test_an_address_or_localhost_is_ours_at_any_port(host: str) -> None:
    assert status(Access.ACT, {**BEARER, "Host": host}) == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "https://127.0.0.1:8420.x"]
)
@pytest.mark.parametrize("access", list(Access))
def test_a_page_from_elsewhere_is_refused(origin: str, access: Access) -> None:
    assert status(access, {**BEARER, "Origin": origin}) == 403


def test_our_own_page_and_a_listed_one_may_ask() -> None:
    assert status(Access.ACT, {**BEARER, "Origin": "http://127.0.0.1:8420"}) == 200
    listed = {"Host": "mm.example.org", "Origin": "https://mm.example.org"}
    assert status(Access.ACT, {**BEARER, **listed}) == 200
    assert status(Access.READ, listed) == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_request_that_a_browser_calls_foreign_is_refused(site: str) -> None:
    assert status(Access.READ, {"Sec-Fetch-Site": site}) == 403
    assert status(Access.PUBLIC, {"Sec-Fetch-Site": site}) == 200
