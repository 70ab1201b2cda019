"""`marketmaker init [PATH]`: a first configuration, commented, that works as it is."""

from __future__ import annotations

import argparse
import os

from marketmaker.config.example import first_configuration
from marketmaker.config.yaml_source import shown_name
from marketmaker.errors import ConfigError


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "init",
        help="write a commented configuration to start from",
        description="Write a commented configuration for the embedded paper exchange. It passes `marketmaker check`.",
        epilog="example: marketmaker init config.yaml --symbol BTCUSDT",
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        default="config.yaml",
        help="file to write (default: config.yaml)",
    )
    parser.add_argument("--symbol", default="ETHUSDT", help="what to trade (default: ETHUSDT)")
    parser.add_argument("--force", action="store_true", help="overwrite the file if it is there")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError; nothing is written then."""
    text = first_configuration(args.symbol.upper(), args.path)
    where = shown_name(args.path)
    try:
        with open(args.path, "w" if args.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if os.path.isfile(args.path):
            raise ConfigError(
                f"{where}: is already there; name another file or add --force to overwrite it"
            ) from None
        raise ConfigError(f"{where}: is not a file; name a file to write") from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "input/output error"
        raise ConfigError(
            f"{where}: cannot be written ({reason}); name a file in a directory you may write to"
        ) from None
    print(f"wrote {where}; next: marketmaker run {where}")
    return 0
