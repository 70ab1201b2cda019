"""One hash over journals, books and accounts of seeded backtests, by the core that this process runs.

python -m tests.support.journal_digest
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from random import Random

from marketmaker import compiled
from marketmaker.backtest.drive import drive
from marketmaker.backtest.skip import skip_ahead
from marketmaker.model.settings import GridSettings, GridSide, PaperSettings, PostOnlyPolicy
from tests.support.backtests import Lines, make_bench, outcome, trades

SEEDS = 24


def digest() -> str:
    """Both drivers over walks with crashes; every side, fill rule and post-only policy, with margin that runs out."""
    total = hashlib.sha256()
    for seed in range(SEEDS):
        random = Random(seed)
        price, prices = 14_000, []
        for _ in range(600):
            price = max(50, price + random.choice((-9, -3, -1, 1, 3, 9, -9, 9)))
            price = max(50, price + random.choice((-300, 300)) * (random.random() < 0.01))
            prices.append(price)
        data = trades(prices, qty=random.choice((40, 10**6)))
        grid = GridSettings(
            side=list(GridSide)[seed % 3],
            price_interval=Decimal("0.001"),
            order_amount=Decimal(random.choice((20, 400))),
            buy_window=random.randint(1, 6),
            sell_window=random.randint(1, 6),
            max_open_orders=random.randint(8, 14),
            post_only=random.choice(list(PostOnlyPolicy)),
        )
        paper = PaperSettings(
            fill=("cross", "touch", "queue")[seed % 3],
            balance=Decimal(random.choice((100, 10_000))),
            funding_interval_s=60.0,
        )
        for driver in (drive, lambda bench: skip_ahead(bench, bench.data.index())):
            lines = Lines()
            bench = make_bench(data, grid, paper, journal=lines, latency_ns=seed % 2 * 5_000_000)
            driver(bench)
            found = outcome(bench, lines)
            total.update(repr((lines.lines, found.totals, found.wallet, found.equity)).encode())
            total.update(repr((found.counts, found.payments, found.alerts)).encode())
    return total.hexdigest()


if __name__ == "__main__":
    print(compiled.in_use(), digest())
