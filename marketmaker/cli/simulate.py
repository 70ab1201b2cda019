"""`marketmaker simulate`: its arguments, its progress and its words. What it does is in `simulation`."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from marketmaker.cli.table import aligned

NONE = "none"


def add_arguments(parser: argparse.ArgumentParser, faults: Sequence[str]) -> None:
    """`faults`: the names of every kind there is."""
    parser.description = (
        "Run the whole daemon on virtual time against a venue that misbehaves, one run per seed, and check after "
        "every step what must always hold."
    )
    parser.epilog = (
        "example: marketmaker simulate --seeds 200 --minutes 10. Kinds of faults: "
        + ", ".join(faults)
    )
    parser.add_argument("--seeds", type=count, default=50, metavar="N", help="how many; default 50")
    parser.add_argument("--start", type=int, default=0, metavar="S", help="the first; default 0")
    parser.add_argument(
        "--minutes",
        type=minutes,
        default=3.0,
        metavar="M",
        help="simulated time of each seed, at least 2; default 3",
    )
    parser.add_argument(
        "--faults",
        metavar="LIST",
        help="exactly these kinds, separated by commas, or none; default: each seed draws its own",
    )
    parser.add_argument(
        "--without", metavar="LIST", default="", help="never these kinds, separated by commas"
    )
    parser.add_argument("--jobs", type=count, default=1, metavar="J", help="processes; default 1")
    parser.add_argument(
        "--forever", action="store_true", help="go on after the last seed until interrupted"
    )
    parser.add_argument(
        "--digest",
        action="store_true",
        help="keep every journal and print one SHA-256 over all journals and requests, to compare runs",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, got {text}")
    return value


def minutes(text: str) -> float:
    value = float(text)
    if not 2 <= value <= 24 * 60:
        raise argparse.ArgumentTypeError(f"must be from 2 to 1440 minutes, got {text}")
    return value


@dataclass(kw_only=True)
class Tally:
    """What all seeds of one command added up to."""

    seeds: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    faulty_s: float = 0.0
    faulty_cpu_s: float = 0.0
    digests: list[str] = field(default_factory=list)
    struck: Counter[str] = field(default_factory=Counter)
    seeds_with: Counter[str] = field(default_factory=Counter)
    transitions: Counter[str] = field(default_factory=Counter)
    processes: int = 0
    placed: int = 0
    cancelled: int = 0
    trades: int = 0
    slowest_heal_s: float = 0.0
    violations: list[dict[str, Any]] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Simulated seconds per second of processor time."""
        return self.simulated_s / self.cpu_s if self.cpu_s else 0.0

    @property
    def faulty_speed(self) -> float:
        """The same, counted only while faults strike."""
        return self.faulty_s / self.faulty_cpu_s if self.faulty_cpu_s else 0.0

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.digests).encode()).hexdigest() if self.digests else ""

    def add(
        self,
        *,
        simulated_s: float,
        cpu_s: float,
        faulty_s: float,
        faulty_cpu_s: float,
        digest: str,
        struck: dict[str, int],
        transitions: dict[str, int],
        processes: int,
        placed: int,
        cancelled: int,
        trades: int,
        healed_s: float,
    ) -> None:
        self.seeds += 1
        self.simulated_s += simulated_s
        self.cpu_s += cpu_s
        self.faulty_s += faulty_s
        self.faulty_cpu_s += faulty_cpu_s
        if digest:
            self.digests.append(digest)
        self.struck.update(struck)
        self.seeds_with.update(struck.keys())
        self.transitions.update(transitions)
        self.processes += processes
        self.placed += placed
        self.cancelled += cancelled
        self.trades += trades
        self.slowest_heal_s = max(self.slowest_heal_s, healed_s)


def progress(tally: Tally, wanted: int, wall_s: float) -> str:
    """One line for a terminal."""
    done = min(1.0, tally.seeds / wanted)
    bar = "#" * round(20 * done)
    return (
        f"[{bar:<20}] {tally.seeds}/{wanted} seeds, {tally.simulated_s / 3600:.1f} simulated hours, "
        f"{tally.speed:.0f}x real time per core, {len(tally.violations)} violations, {wall_s:.0f} s"
    )


def as_json(tally: Tally) -> str:
    return json.dumps(
        {
            "seeds": tally.seeds,
            "simulated_s": round(tally.simulated_s, 3),
            "speed_per_core": round(tally.speed, 1),
            "speed_per_core_while_faults_are_on": round(tally.faulty_speed, 1),
            "digest": tally.digest,
            "processes": tally.processes,
            "orders_placed": tally.placed,
            "orders_cancelled": tally.cancelled,
            "trades": tally.trades,
            "slowest_heal_s": round(tally.slowest_heal_s, 1),
            "faults": {
                name: {"struck": tally.struck[name], "seeds": tally.seeds_with[name]}
                for name in sorted(tally.struck)
            },
            "transitions": dict(sorted(tally.transitions.items())),
            "violations": tally.violations,
        },
        indent=2,
    )


def print_result(
    tally: Tally, faults: Sequence[str], pairs: Mapping[str, str], out: TextIO
) -> None:
    """`pairs`: every (state, heard) there is, as `transitions` names them, and what comes of it, "" where it cannot be
    asked."""
    rows = [("fault", "struck", "seeds")]
    rows += [(name, str(tally.struck[name]), str(tally.seeds_with[name])) for name in faults]
    print_rows(rows, out)
    asked = {pair: then for pair, then in pairs.items() if then}
    rows = [("slot transition", "then", "times")]
    rows += [(pair, then, str(tally.transitions[pair])) for pair, then in asked.items()]
    print_rows(rows, out)
    least = min(faults, key=lambda name: tally.struck[name])
    rarest = min(asked, key=lambda pair: tally.transitions[pair])
    never = sum(tally.transitions[pair] for pair in pairs.keys() - asked.keys())
    print(
        f"rarest fault: {least}, {tally.struck[least]} times; rarest of {len(asked)} slot transitions: {rarest}, "
        f"{tally.transitions[rarest]} times; {len(pairs) - len(asked)} that must not be: {never} times",
        file=out,
    )
    print(
        f"{tally.seeds} seeds, {tally.simulated_s / 3600:.2f} simulated hours at {tally.speed:.0f} times real "
        f"time per core, {tally.faulty_speed:.0f} while faults are on; {tally.processes} processes, "
        f"{tally.placed} orders placed, {tally.cancelled} cancelled, {tally.trades} trades; whole again after "
        f"{tally.slowest_heal_s:.1f} s at most",
        file=out,
    )
    if tally.digest:
        print(f"journals and requests: {tally.digest}", file=out)
    print(f"{len(tally.violations) or 'no'} violations", file=out)


def print_rows(rows: Sequence[Sequence[str]], out: TextIO) -> None:
    for line in aligned(rows):
        print(line, file=out)
    print(file=out)


def print_violation(found: dict[str, Any], out: TextIO) -> None:
    print(f"seed {found['seed']} breaks `{found['rule']}` at {found['at_s']:.6f} s:", file=out)
    print(f"  {found['what']}", file=out)
    print("what happened before:", file=out)
    for line in found["trace"]:
        print(f"  {line}", file=out)
    print(f"again: {found['command']}", file=out)
    print(file=out)
