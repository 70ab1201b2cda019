"""How soon an order follows the trade that calls for it: the daemon beside the floor and beside others, in one run.

    python benchmarks/live.py [--rounds N] [--ticks N] [--clients floor,daemon,ccxt] [--only closed,paced,...]

Every client trades on `marketmaker.loopback.stopwatch`, a process of its own, which takes the time from the first byte of
a trade to the last of the order. The daemon is `marketmaker run` with journal, state, ledger and risk monitor on; `floor`
is the least that Python can do (`live_floor.py`), `ccxt` is ccxt.pro watching trades and its orders and creating orders
with its limiter off (`live_ccxt.py`), `ccxt-blind` the same without hearing what becomes of them, `nautilus` nautilus_trader when NAUTILUS_PYTHON names an interpreter that has it
(`live_nautilus.py`). `daemon` runs the compiled core where `make compile` built one, as `marketmaker run` does; then
`plain` is the same on plain Python. Clients take turns within a round, and a ratio is the median over
rounds of a client's figure over the floor's in the same round, so that a busy machine disturbs all alike. With the right
to, venue and clients run ahead of everything else (`--no-priority` leaves that).

    closed   one symbol, the next tick follows the order at once: what the software costs
    paced    one symbol, a tick per 20 ms: waking up is in it
    one      one symbol of 40 levels, 1,000 ticks/s, each one calling for an order
    many     10 symbols of 40 levels, as many ticks in all
    burst    10 symbols of 40 levels, 10,000 ticks/s for 5 s, one in a hundred of a symbol's calling for an order
    quiet    one symbol at 10,000 ticks/s, hardly any calling for one: CPU per tick
    stop     200 orders open, SIGTERM: when the last cancel has come
    parts    one order encoded and signed: the daemon's way, and ccxt's; a trade inside the quiet band, frame to done
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from marketmaker.compiled import BUILD, VARIABLE, check_build  # noqa: E402
from marketmaker.errors import ConfigError  # noqa: E402
from marketmaker.loopback.stopwatch import configuration, environment  # noqa: E402

TEN = ",".join(f"M{number}USDT" for number in range(10))
Scenario = dict[str, Any]
SCENARIOS: dict[str, Scenario] = {
    "closed": {"ticks": 2000},
    "paced": {"ticks": 400, "warm-up": 50, "pace": 20_000},
    "one": {"ticks": 4000, "pace": 1000, "levels": 40},
    "many": {"ticks": 4000, "pace": 1000, "symbols": TEN, "levels": 40},
    "burst": {"ticks": 50_000, "pace": 100, "symbols": TEN, "levels": 40, "move-every": 100},
    "quiet": {"ticks": 50_000, "pace": 100, "move-every": 5000},
}
ALONE = ("one", "many", "burst", "quiet")
"""What only the daemon plays: a floor for a grid of many symbols would have to be a grid."""


def command(client: str, port: int, directory: str, scenario: Scenario) -> list[str]:
    levels = scenario.get("levels", 3)
    symbols = scenario.get("symbols", "ETHUSDT").split(",")
    offset = str((levels - 1) * 100)
    match client:
        case "daemon" | "plain":
            path = Path(directory) / "config.yaml"
            path.write_text(
                configuration(port=port, symbols=symbols, levels=levels, directory=directory)
            )
            return [sys.executable, "-m", "marketmaker", "run", str(path)]
        case "ccxt" | "ccxt-blind":
            script = [str(HERE / "live_ccxt.py"), str(port), symbols[0], offset]
            return [sys.executable, *script, *(["blind"] if client == "ccxt-blind" else [])]
        case "nautilus":
            python = os.environ["NAUTILUS_PYTHON"]
            return [python, str(HERE / "live_nautilus.py"), str(port), symbols[0], offset]
    return [sys.executable, str(HERE / f"live_{client}.py"), str(port), symbols[0], offset]


def environment_of(client: str) -> dict[str, str]:
    env = {**os.environ, **environment()}
    env.pop(VARIABLE, None)
    if client == "plain":
        env[VARIABLE] = "0"
    return env


def built() -> bool:
    try:
        check_build(BUILD)
    except ConfigError as error:
        print(f"the daemon runs plain Python: {error}", file=sys.stderr)
        return False
    return True


def ahead(priority: bool) -> list[str]:
    """The prefix of a command that runs ahead of others, where that may be done."""
    prefix = ["chrt", "-r", "1"]
    if not priority or shutil.which("chrt") is None:
        return []
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if allowed else []


class Venue:
    """The stopwatch's process. `lines` are what it says."""

    def __init__(self, prefix: list[str], scenario: Scenario, **more: Any) -> None:
        argv = [*prefix, sys.executable, "-m", "marketmaker.loopback.stopwatch"]
        for name, value in {**scenario, **more}.items():
            argv += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent
        )
        self.port = int(self.expect("READY").split()[0])

    def expect(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            head, _, rest = line.partition(" ")
            if head.strip() == word:
                return rest
        raise RuntimeError(f"the venue ended without {word}")

    def say(self, text: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def play(client: str, scenario: Scenario, prefix: list[str]) -> dict[str, Any]:
    """One run of one client."""
    venue = Venue(prefix, scenario, **{"max-seconds": 90})
    with tempfile.TemporaryDirectory() as directory:
        started = None
        try:
            argv = [*prefix, *command(client, venue.port, directory, scenario)]
            with open(Path(directory) / "log", "wb") as log:
                started = subprocess.Popen(
                    argv,
                    stdout=log,
                    stderr=log,
                    env=environment_of(client),
                    cwd=HERE.parent,
                )
            venue.say(started.pid)
            result: dict[str, Any] = json.loads(venue.expect("RESULT"))
            return result
        finally:
            if started is not None:
                started.kill()
                started.wait()
            venue.end()


def play_stop(prefix: list[str]) -> dict[str, Any]:
    """200 orders of ten symbols are open; SIGTERM; the venue says when the last cancel was there."""
    scenario = {"symbols": TEN, "levels": 21}
    venue = Venue(prefix, scenario, hold=True, **{"max-seconds": 90})
    with tempfile.TemporaryDirectory() as directory:
        started = None
        try:
            argv = [*prefix, *command("daemon", venue.port, directory, scenario)]
            with open(Path(directory) / "log", "wb") as log:
                started = subprocess.Popen(
                    argv,
                    stdout=log,
                    stderr=log,
                    env=environment_of("daemon"),
                    cwd=HERE.parent,
                )
            venue.say(started.pid)
            venue.expect("STEADY")
            venue.say("mark")
            venue.expect("MARKED")
            started.send_signal(signal.SIGTERM)
            code = started.wait(30)
            venue.say("end")
            result: dict[str, Any] = json.loads(venue.expect("RESULT"))
            return {**result, "exit_code": code}
        finally:
            if started is not None and started.poll() is None:
                started.kill()
                started.wait()
            venue.end()


def median(rows: list[dict[str, Any]], figure: Callable[[dict[str, Any]], float]) -> float:
    return statistics.median(map(figure, rows)) if rows else float("nan")


def compare(
    name: str, clients: list[str], rounds: int, scenario: Scenario, prefix: list[str]
) -> None:
    """Rounds in which every client plays once; the table's ratios are against the floor of the same round."""
    played: dict[str, list[dict[str, Any]]] = {client: [] for client in clients}
    for number in range(rounds):
        turn = number % len(clients)
        for client in clients[turn:] + clients[:turn]:
            played[client].append(play(client, scenario, prefix))
            faults = played[client][-1]["faults"]
            if faults:
                print(f"  {client}: {faults}", file=sys.stderr)
    figures: dict[str, Callable[[dict[str, Any]], float]] = {
        "p50": lambda row: row["lat_us"].get("p50", float("nan")),
        "p99": lambda row: row["lat_us"].get("p99", float("nan")),
        "cpu": lambda row: row["cpu_us_per_order"],
    }
    print(f"\n{name}, {rounds} rounds of {scenario['ticks']} ticks; us, and x the floor's")
    print(
        f"  {'client':<10}{'p50':>8}{'x':>7}{'p99':>9}{'x':>7}{'CPU/order':>11}{'x':>7}{'RSS MiB':>9}"
    )
    floors = played.get("floor", [])
    for client, rows in played.items():
        cells = f"  {client:<10}"
        for key, figure in figures.items():
            ratios = [figure(row) / figure(floor) for row, floor in zip(rows, floors, strict=False)]
            ratio = statistics.median(ratios) if ratios else float("nan")
            width = 11 if key == "cpu" else 9 if key == "p99" else 8
            cells += f"{median(rows, figure):>{width}.0f}{ratio:>7.2f}"
        print(cells + f"{median(rows, lambda row: row['rss_mib']):>9.0f}")


def alone(name: str, rounds: int, scenario: Scenario, prefix: list[str]) -> None:
    rows = [play("daemon", scenario, prefix) for _ in range(rounds)]
    latency = {
        key: median(rows, lambda row, k=key: row["lat_us"].get(k, float("nan")))
        for key in ("p50", "p90", "p99")
    }  # type: ignore[misc]
    print(
        f"\n{name}, {rounds} rounds: ticks/s {median(rows, lambda row: row['ticks_per_s']):.0f}, "
        f"p50 {latency['p50']:.0f}, p90 {latency['p90']:.0f}, p99 {latency['p99']:.0f} us; "
        f"CPU per tick {median(rows, lambda row: row['cpu_us_per_tick']):.1f} us; "
        f"orders unanswered {median(rows, lambda row: row['unanswered']):.0f}; "
        f"RSS {median(rows, lambda row: row['rss_mib']):.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The daemon's way from a trade to its order.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--ticks", type=int, help="measured ticks of a run, instead of each scenario's"
    )
    parser.add_argument("--clients", default="floor,daemon,plain,ccxt,ccxt-blind,nautilus")
    parser.add_argument("--only", default="closed,paced,one,many,burst,quiet,stop,parts")
    parser.add_argument("--no-priority", action="store_true")
    args = parser.parse_args()
    prefix = ahead(not args.no_priority)
    clients = args.clients.split(",")
    if importlib.util.find_spec("ccxt") is None:
        clients = [client for client in clients if not client.startswith("ccxt")]
    if not built() and "plain" in clients:
        clients.remove("plain")
    if "NAUTILUS_PYTHON" not in os.environ and "nautilus" in clients:
        clients.remove("nautilus")
    for name in args.only.split(","):
        if name == "stop":
            rows = [play_stop(prefix) for _ in range(args.rounds)]
            print(
                f"\nstop, {args.rounds} rounds: cancels {rows[0]['cancels']}, the last "
                f"{median(rows, lambda row: row['cancelled_within_ms'] or float('nan')):.1f} ms after SIGTERM; "
                f"exit codes {sorted({row['exit_code'] for row in rows})}"
            )
        elif name == "parts":
            for part in ("live_sign.py", "live_quiet.py"):
                env = {**os.environ, VARIABLE: "1"} if built() else None
                subprocess.run([*prefix, sys.executable, str(HERE / part)], check=True, env=env)
        else:
            scenario = dict(SCENARIOS[name])
            if args.ticks:
                scenario["ticks"] = args.ticks
            if name in ALONE:
                alone(name, args.rounds, scenario, prefix)
            else:
                compare(name, clients, args.rounds, scenario, prefix)


if __name__ == "__main__":
    main()
