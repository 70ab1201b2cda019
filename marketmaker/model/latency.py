"""How long it took from hearing a price to handing an order to the network: a histogram that only grows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """`counts[i]` samples took at most `bounds_s[i]` and more than the bound before; the last count, one more than there
    are bounds, is of those above all bounds. `sum_s` adds up all samples."""

    bounds_s: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    sum_s: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile_s(self, share: float) -> float | None:
        """The bound at or below which `share` of the samples lie; None without samples or beyond the last bound."""
        wanted, seen = share * self.count, 0
        for bound, count in zip(self.bounds_s, self.counts, strict=False):
            seen += count
            if seen and seen >= wanted:
                return bound
        return None
