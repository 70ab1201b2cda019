"""The check before the first order refuses with the figure that failed and what would pass."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from marketmaker.core.safety import account_problems
from marketmaker.model.account import AccountState
from marketmaker.model.settings import SafetySettings
from tests.support.toy_venue import grid_settings

SOUND = AccountState(
    equity=Decimal(1_000),
    available=Decimal(1_000),
    leverage=Decimal(5),
    hedge_mode=False,
    can_withdraw=False,
    clock_offset_ns=0,
)
GRID = grid_settings(order_amount=Decimal(50))


def problems(account: AccountState, safety: SafetySettings | None = None) -> list[str]:
    return account_problems(account, GRID, safety or SafetySettings(), name="ETHUSDT")


def test_an_account_at_every_limit_passes() -> None:
    at_limits = replace(SOUND, leverage=Decimal(10), equity=Decimal(500), clock_offset_ns=10**9)
    assert problems(at_limits) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hedge_mode": True}, ["hedge mode", "one-way"]),
        ({"leverage": Decimal("10.5")}, ["10.5", "max_leverage 10", "lower the leverage"]),
        (
            {"equity": Decimal("999.99")},
            ["999.99", "99 orders of 50", "min_positions is 100", "reach 5000", "at most 50.00"],
        ),
        ({"clock_offset_ns": 1_000_000_001}, ["+1.000 s", "at most 1.0 s", "synchronise"]),
        ({"clock_offset_ns": -2_500_000_000}, ["-2.500 s"]),
        ({"can_withdraw": True}, ["may withdraw", "allow_withdrawal_keys"]),
    ],
)
def test_each_rule_refuses_with_its_figure_and_what_would_pass(
    changes: dict[str, object], words: list[str]
) -> None:
    (problem,) = problems(replace(SOUND, **changes))  # type: ignore[arg-type]
    assert problem.startswith("ETHUSDT: ")
    assert "\n" not in problem
    for word in words:
        assert word in problem


def test_a_venue_that_does_not_tell_of_withdrawal_rights_is_not_refused() -> None:
    assert problems(replace(SOUND, can_withdraw=None)) == []


def test_withdrawal_keys_pass_when_the_operator_allows_them() -> None:
    allowed = SafetySettings(allow_withdrawal_keys=True)
    assert problems(replace(SOUND, can_withdraw=True), allowed) == []


def test_every_failed_rule_is_named() -> None:
    bad = replace(SOUND, hedge_mode=True, leverage=Decimal(50), equity=Decimal(1))
    assert len(problems(bad)) == 3
