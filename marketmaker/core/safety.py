"""The check before the first order: each rule that fails says its figure and what would pass."""

from __future__ import annotations

from decimal import Decimal

from marketmaker.model.account import AccountState
from marketmaker.model.settings import GridSettings, SafetySettings

NS_PER_S = 1_000_000_000


def account_problems(
    account: AccountState, grid: GridSettings, safety: SafetySettings, *, name: str
) -> list[str]:
    """Why an account may not trade the grid of symbol `name`, [] when it may.

    An existing position makes no difference: it is adopted, not an excuse to skip the check.
    """
    problems: list[str] = []
    if account.hedge_mode:
        problems.append(
            f"{name}: the account is in hedge mode; switch its position mode to one-way"
        )
    if account.leverage > safety.max_leverage:
        problems.append(
            f"{name}: leverage is {account.leverage:f}, above safety.max_leverage "
            f"{safety.max_leverage:f}; lower the leverage at the venue"
        )
    affordable = account.equity * account.leverage / grid.order_amount
    if affordable < safety.min_positions:
        needed = grid.order_amount * safety.min_positions
        problems.append(
            f"{name}: equity {account.equity:f} times leverage {account.leverage:f} pays for "
            f"{int(affordable)} orders of {grid.order_amount:f}, safety.min_positions is "
            f"{safety.min_positions}; equity times leverage must reach {needed:f}, or order_amount at most "
            f"{account.equity * account.leverage / safety.min_positions:.2f}"
        )
    offset_s = Decimal(account.clock_offset_ns) / NS_PER_S
    if abs(offset_s) > Decimal(str(safety.max_clock_offset_s)):
        problems.append(
            f"{name}: the venue's clock is {offset_s:+.3f} s from ours, at most "
            f"{safety.max_clock_offset_s} s may be; synchronise this machine's clock"
        )
    if account.can_withdraw and not safety.allow_withdrawal_keys:
        problems.append(
            f"{name}: the API key may withdraw; make one that may only trade, or set "
            "safety.allow_withdrawal_keys"
        )
    return problems
