"""For every call that both make, our request is ccxt's in meaning: where it goes, what it says, how it is signed.

Both talk to the same loopback venue, which checks the signature of each, and what arrived there is compared. What is
not the same stands in a table with its reason (`tests/support/agreements`), and a difference that is not in the table
fails, as does a row that is not needed any more.
"""

from __future__ import annotations

import pytest

from marketmaker.venues import VENUES
from tests.support.agreement import Agreement, differences, unlike
from tests.support.agreements import AGREEMENTS


@pytest.mark.parametrize("agreement", AGREEMENTS.values(), ids=list(AGREEMENTS))
async def test_our_requests_are_theirs_but_for_what_the_table_says(agreement: Agreement) -> None:
    assert await unlike(agreement) == {}


def test_every_venue_that_can_be_rehearsed_is_compared() -> None:
    rehearsed = {venue.id for venue in VENUES.values() if venue.available and venue.rehearsal}
    assert rehearsed - AGREEMENTS.keys() == set()


@pytest.mark.parametrize("agreement", AGREEMENTS.values(), ids=list(AGREEMENTS))
def test_every_difference_has_its_reason(agreement: Agreement) -> None:
    reasons = [why for pair in agreement.pairs.values() for why in pair.differences.values()]
    assert all(len(why) > 20 for why in reasons)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({"px": "0.010"}, {"px": 0.01}, []),
        ({"reduceOnly": True}, {"reduceOnly": "true"}, []),
        ({"px": "1"}, {"px": "2"}, ["px"]),
        ({"px": "1"}, {}, ["px"]),
        ({}, {"px": "1"}, ["px"]),
        ({"at": 1}, {"at": 2}, []),
        ({"at": 1}, {}, ["at"]),
        ({"batchOrders": '[{"px": "1"}, {}]'}, {"batchOrders": '[{"px": 1}]'}, ["orders"]),
        ({"request": [{"px": "1"}]}, {"request": [{"px": "2"}]}, ["px"]),
    ],
)
def test_the_comparison_sees_another_value_one_too_many_and_one_that_is_missing(
    ours: dict[str, object], theirs: dict[str, object], found: list[str]
) -> None:
    seen = differences([("GET", "/a", ours)], [("GET", "/a", theirs)], frozenset({"at"}))
    assert list(seen) == found


def test_the_comparison_sees_another_path() -> None:
    seen = differences([("GET", "/a", {})], [("PUT", "/a", {}), ("GET", "/b", {})], frozenset())
    assert seen == {"only ours": "GET /a", "only theirs": "PUT /a, GET /b"}
