"""Readings over time, one point per step: the last half hour finely, the last day coarsely."""

from __future__ import annotations

from collections import deque
from typing import Any

FIELDS = ("price", "position", "grid", "inventory", "fees", "funding", "total", "equity")
SPANS = {"30m": (1.0, 1800), "24h": (60.0, 1440)}
"""Seconds between two points, and how many are kept."""
MS = 1000


class Series:
    def __init__(self, step_s: float, kept: int) -> None:
        self.step_s = step_s
        self.points: deque[tuple[Any, ...]] = deque(maxlen=kept)

    def add(self, point: tuple[Any, ...]) -> None:
        """The newest point of a step stands for it."""
        if self.points and point[0] // (self.step_s * MS) == self.points[-1][0] // (
            self.step_s * MS
        ):
            self.points[-1] = point
        else:
            self.points.append(point)


class History:
    def __init__(self) -> None:
        self._series: dict[str, dict[str, Series]] = {}

    def hear(self, view: dict[str, Any]) -> None:
        equity = float(view["equity"]["now"]) if "equity" in view else 0.0
        for row in view["symbols"]:
            if "price" not in row:
                continue
            pnl = row["pnl"]
            point = (
                view["time_ms"],
                float(row["price"]),
                float(row["position"]),
                *(float(pnl[name]) for name in ("grid", "inventory", "fees", "funding", "total")),
                equity,
            )
            mine = self._series.setdefault(
                row["symbol"], {span: Series(*shape) for span, shape in SPANS.items()}
            )
            for series in mine.values():
                series.add(point)

    def read(self, symbol: str, span: str) -> dict[str, Any]:
        """As `HistoryView`; without points for a symbol that has none yet."""
        step_s, _ = SPANS[span]
        series = self._series.get(symbol, {}).get(span)
        columns = list(zip(*series.points, strict=True)) if series and series.points else []
        named = dict(zip(("time_ms", *FIELDS), columns, strict=False)) if columns else {}
        return {
            "symbol": symbol,
            "step_s": step_s,
            **{name: list(named.get(name, ())) for name in ("time_ms", *FIELDS)},
        }
