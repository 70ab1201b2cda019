"""Start here: arguments in, one command, exit code out (0 done, 1 failed, 2 bad usage or configuration).

`run` ends in good order on SIGTERM and SIGINT. It keeps that promise from its first line on: both are held back until
its event loop hears them (`launch.signals_stop`), so that none kills it in the middle of an import.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marketmaker.config import Configuration

BEGAN_S = time.perf_counter()
HELD_BACK = {signal.SIGTERM, signal.SIGINT}


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """`command` "backtest": that one alone, and what the others load is spared; it would be a third of a short run."""
    from marketmaker import __version__

    parser = argparse.ArgumentParser(
        prog="marketmaker",
        description="A grid market maker for perpetual futures.",
        epilog="example: marketmaker run config.yaml",
    )
    parser.add_argument("--version", action="version", version=f"marketmaker {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    if command == "backtest":
        from marketmaker.cli import backtest

        backtest.add_parser(subparsers, run_backtest)
    else:
        add_commands(subparsers)
    return parser


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from marketmaker.cli import (
        alerts,
        backtest,
        bench,
        check,
        control,
        doctor,
        exchanges,
        init,
        keys,
        parity,
        record,
        reload,
        replay,
        report,
        run,
        simulate,
        status,
        sweep,
        venue,
    )
    from marketmaker.sim.faults import Fault

    running = subparsers.add_parser("run", help="trade until stopped")
    run.add_arguments(running)
    running.set_defaults(run=run_daemon)
    check.add_parser(subparsers, run_online)
    record.add_parser(subparsers, run_record)
    for command in (alerts, init, exchanges, keys, reload, report, status):
        command.add_parser(subparsers)
    control.add_parsers(subparsers)
    replaying = subparsers.add_parser("replay", help="decide a journal again and compare")
    replay.add_arguments(replaying)
    replaying.set_defaults(run=replay_journal)
    doctor.add_parser(subparsers, run_doctor)
    comparing = subparsers.add_parser("parity", help="compare a run with the backtester")
    parity.add_arguments(comparing)
    comparing.set_defaults(run=run_parity)
    backtest.add_parser(subparsers, run_backtest)
    sweep.add_parser(subparsers, run_sweep)
    simulating = subparsers.add_parser(
        "simulate", help="try the whole daemon against a venue that misbehaves"
    )
    simulate.add_arguments(simulating, [fault.value for fault in Fault])
    simulating.set_defaults(run=run_simulation)
    benching = subparsers.add_parser("bench", help="time the way from a trade to its order")
    bench.add_arguments(benching)
    benching.set_defaults(run=run_bench)
    playing = subparsers.add_parser("venue", help="run a venue on this machine to rehearse against")
    venue.add_arguments(playing)
    playing.set_defaults(run=play_venue)


def run_daemon(args: argparse.Namespace) -> int:
    from marketmaker import launch

    return launch.run(args)


def run_backtest(args: argparse.Namespace) -> int:
    from marketmaker import backtesting

    return backtesting.run(args)


def run_parity(args: argparse.Namespace) -> int:
    from marketmaker import parity

    return parity.run(args)


def run_sweep(args: argparse.Namespace) -> int:
    from marketmaker.sweep import command

    return command.run(args)


def run_doctor(args: argparse.Namespace) -> int:
    from marketmaker import doctor

    return doctor.run(args)


def run_simulation(args: argparse.Namespace) -> int:
    from marketmaker import simulation

    return simulation.run(args)


def replay_journal(args: argparse.Namespace) -> int:
    from marketmaker.cli import replay
    from marketmaker.core.position_manager import PositionManager

    return replay.run_replay(
        args.journal,
        make_manager=PositionManager,
        as_json=args.json,
        out=sys.stdout,
        err=sys.stderr,
    )


def run_online(configuration: Configuration, *, as_json: bool) -> int:
    from marketmaker import online_check

    return online_check.run_online(configuration, print, as_json=as_json)


def run_record(args: argparse.Namespace) -> int:
    from marketmaker import recorder

    return recorder.run_record(args)


def run_bench(args: argparse.Namespace) -> int:
    from marketmaker.errors import ConfigError

    try:
        from marketmaker import benching
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"bench needs {error.name}: install it with pip install 'marketmaker[live,ledger]'"
        ) from error
    return benching.run(args)


def play_venue(args: argparse.Namespace) -> int:
    from marketmaker.errors import ConfigError

    try:
        from marketmaker.loopback.server import run_venue
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"venue needs {error.name}: install it with pip install 'marketmaker[live]'"
        ) from error
    return run_venue(args)


def main(arguments: list[str] | None = None) -> int:
    """`arguments` None: those of the process."""
    if arguments is None and sys.argv[1:2] == ["run"]:
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    if arguments is None and sys.argv[1:2] in (["run"], ["bench"]):
        from marketmaker import compiled

        compiled.use_if_built()
    if arguments is None and sys.argv[1:2] == ["backtest"]:
        # Looking through what is loaded is a twentieth of a short run.
        gc.set_threshold(100_000, 50, 100)
    words = sys.argv[1:] if arguments is None else arguments
    args = build_parser(words[0] if words else "").parse_args(words)
    from marketmaker.errors import ConfigError, MarketMakerError

    args.began_s = BEGAN_S
    try:
        code = args.run(args)
        assert isinstance(code, int)
        return code
    except MarketMakerError as error:
        from marketmaker import logs

        for line in logs.masked(str(error)).splitlines():
            print(f"marketmaker: {line}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1


if __name__ == "__main__":
    sys.exit(main())
