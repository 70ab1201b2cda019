"""`trials.jsonl`: every finished trial, one line each, written the moment it is done and never rewritten.

    {"sweep":1,"made_from":{...}}                          what the sweep depends on; another one is not resumed
    {"trial":17,"params":{...},"parts":[{...},...]}        what each part of the data gave
    {"trial":18,"params":{...},"refused":"..."}            could not be tried, and why

A last line that was cut off by a crash is left out, and its trial is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from marketmaker.errors import ConfigError
from marketmaker.sweep.space import Params

FORMAT = 1
NAME = "trials.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one part of the data gave. Money in quote currency; `drawdown` too, `share` of its peak."""

    pnl: float
    drawdown: float
    share: float
    fills: int
    round_trips: int
    turnover: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """`refused`: why it could not be tried, "" when it was."""

    number: int
    params: Params
    parts: tuple[Part, ...]
    refused: str = ""


class Store:
    """Opens or creates the file. `done`: trials that were finished before."""

    def __init__(self, folder: Path, made_from: Mapping[str, Any], *, resume: bool) -> None:
        """Raises ConfigError when there is a sweep already and `resume` was not said, or it is another one."""
        self.path = folder / NAME
        self.done: dict[int, Trial] = {}
        fresh = json.loads(json.dumps(made_from))
        whole = 0
        if self.path.exists() and self.path.stat().st_size:
            if not resume:
                raise ConfigError(
                    f"{self.path}: holds a sweep; add --resume to go on with it, or name another --out"
                )
            whole = self._read(fresh)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("r+b" if whole else "wb")
        except OSError as error:
            raise ConfigError(
                f"{self.path}: {error.strerror}; name a directory that may be written to"
            ) from error
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write({"sweep": FORMAT, "made_from": fresh})

    def add(self, trial: Trial) -> None:
        self.done[trial.number] = trial
        line: dict[str, Any] = {"trial": trial.number, "params": trial.params}
        if trial.refused:
            line["refused"] = trial.refused
        else:
            line["parts"] = [asdict(part) for part in trial.parts]
        self._write(line)

    def close(self) -> None:
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _read(self, made_from: dict[str, Any]) -> int:
        """How many bytes of the file are whole lines."""
        lines = self.path.read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            try:
                self._take(json.loads(line), number, made_from)
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"{self.path}:{number}: not a line of a sweep ({error}); name another --out"
                ) from error
        return sum(len(line) + 1 for line in lines)

    def _take(self, found: dict[str, Any], number: int, made_from: dict[str, Any]) -> None:
        if number == 1:
            was = found["made_from"]
            other = next((key for key in made_from if was.get(key) != made_from[key]), None)
            if found["sweep"] != FORMAT or other is not None:
                raise ConfigError(
                    f"{self.path}: belongs to a sweep with another {other or 'format'}; give what it was begun with, "
                    "or name another --out"
                )
            return
        self.done[found["trial"]] = Trial(
            number=found["trial"],
            params=found["params"],
            parts=tuple(Part(**part) for part in found.get("parts", ())),
            refused=found.get("refused", ""),
        )
