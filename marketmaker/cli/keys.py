"""`marketmaker keys add|list|rename|rotate|remove`: the encrypted file of exchange accounts.

Secrets are asked for on the terminal, unseen, or read from standard input, one a line; never taken from the command
line, where every process could read them, and never printed.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time_ns
from typing import TYPE_CHECKING

from marketmaker.cli.table import aligned
from marketmaker.config.fields import Refused
from marketmaker.config.secrets import KEYRING_SERVICE, read_keyring, read_secret_file, usable
from marketmaker.config.yaml_source import printable
from marketmaker.errors import ConfigError
from marketmaker.private_files import alone, write_private
from marketmaker.venues import IDENTIFIERS, VENUES, Venue, venue_of

if TYPE_CHECKING:
    from marketmaker.vault import Vault

DEFAULT_PATH = "keys.vault"
PASSPHRASE_MIN = 12


@dataclass(frozen=True, slots=True)
class Ask:
    """Where answers come from: the terminal, or lines of standard input when it is none."""

    def secret(self, what: str) -> str:
        return self._ask(what, getpass.getpass)

    def open(self, what: str) -> str:
        return self._ask(what, input)

    def twice(self, what: str) -> str:
        first = self.secret(what)
        if sys.stdin.isatty() and self.secret(f"{what} again") != first:
            raise ConfigError("the two are not the same; nothing was changed")
        return first

    def optional(self, what: str) -> str:
        """ "" when nothing is entered."""
        if sys.stdin.isatty():
            answer = getpass.getpass(f"{what} (empty for none): ")
        else:
            answer = sys.stdin.readline().rstrip("\r\n")
        try:
            return usable(answer, what) if answer else ""
        except Refused as refused:
            raise ConfigError(str(refused)) from None

    def _ask(self, what: str, on_terminal: Callable[[str], str]) -> str:
        try:
            if sys.stdin.isatty():
                answer = on_terminal(f"{what}: ")
            else:
                answer = sys.stdin.readline()
                if not answer:
                    raise EOFError
            return usable(answer.rstrip("\r\n"), what)
        except Refused as refused:
            raise ConfigError(str(refused)) from None
        except (EOFError, UnicodeDecodeError):
            raise ConfigError(
                f"{what}: nothing was entered; type it, or give it as a line on standard input"
            ) from None


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "keys",
        help="keep exchange accounts in an encrypted file",
        description="Keep exchange accounts, several of an exchange by name, in an encrypted file. Secrets are asked "
        "for on the terminal or read from standard input, one a line: the vault's passphrase first, if it has one.",
        epilog="example: marketmaker keys add binance main --vault keys.vault --key-file vault.key",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    adding = actions.add_parser(
        "add",
        help="store an account; the vault is made when it is not there",
        epilog="example: marketmaker keys add binance main --key-file vault.key",
    )
    names(adding)
    adding.add_argument(
        "--replace", action="store_true", help="store new credentials under a name that is taken"
    )
    listing = actions.add_parser(
        "list", help="which accounts there are", epilog="example: marketmaker keys list --json"
    )
    listing.add_argument("--json", action="store_true", help="print as JSON")
    renaming = actions.add_parser(
        "rename",
        help="give an account another name",
        epilog="example: marketmaker keys rename binance main old",
    )
    names(renaming)
    renaming.add_argument("new_name", metavar="NEW", help="its new name")
    rotating = actions.add_parser(
        "rotate",
        help="lock the vault with another key or passphrase",
        epilog="example: marketmaker keys rotate --key-file vault.key --new-key-file vault2.key",
    )
    how = rotating.add_mutually_exclusive_group(required=True)
    how.add_argument("--new-key-file", metavar="PATH", help="a key that is made and written here")
    how.add_argument("--new-keyring", metavar="NAME", help="a key that is made and kept there")
    how.add_argument("--new-passphrase", action="store_true", help="a passphrase, asked for")
    removing = actions.add_parser(
        "remove",
        help="forget an account",
        epilog="example: marketmaker keys remove binance old",
    )
    names(removing)
    removing.add_argument("--yes", action="store_true", help="do not ask")
    for action in (adding, listing, renaming, rotating, removing):
        action.add_argument(
            "--vault", metavar="PATH", default=DEFAULT_PATH, help=f"default: {DEFAULT_PATH}"
        )
        lock = action.add_mutually_exclusive_group()
        lock.add_argument("--key-file", metavar="PATH", help="what opens it: a key in this file")
        lock.add_argument(
            "--keyring", metavar="NAME", help="what opens it: a key kept in the keyring"
        )
    parser.set_defaults(run=run)


def names(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "exchange", metavar="EXCHANGE", help="its id: `marketmaker exchanges` lists them"
    )
    parser.add_argument("name", metavar="NAME", help="what you call the account")


def run(args: argparse.Namespace) -> int:
    """Raises ConfigError; nothing was changed then."""
    try:
        from marketmaker import vault  # noqa: F401
    except ModuleNotFoundError:
        raise ConfigError(
            "keys needs the extra: install it with pip install 'marketmaker[keys]'"
        ) from None
    action = {"add": add, "list": show, "rename": rename, "rotate": rotate, "remove": remove}
    try:
        return action[args.action](args, Ask())
    except KeyboardInterrupt:
        raise ConfigError("interrupted; nothing was changed") from None


def add(args: argparse.Namespace, ask: Ask) -> int:
    from marketmaker.vault import Account

    venue = known_venue(args.exchange)
    name = known_name(args.name)
    with alone(args.vault):
        vault = opened(args, ask, create=True)
        if not args.replace and any(
            (each.exchange, each.name) == (venue.id, name) for each in vault.accounts
        ):
            raise ConfigError(
                f"account '{name}' of {venue.id} is already in {args.vault}; choose another name, "
                "or add --replace to store new credentials under this one"
            )
        credentials = {
            each: (ask.open if each in IDENTIFIERS else ask.secret)(each)
            for each in venue.credentials
        }
        credentials |= {each: given for each in venue.optional if (given := ask.optional(each))}
        account = Account(exchange=venue.id, name=name, credentials=credentials, added_ns=time_ns())
        vault.add(account, replace=args.replace)
    print(
        f"stored {', '.join(credentials)} of account {name} of {venue.id} in {args.vault}; "
        f"use it with `account: {name}` in the configuration"
    )
    return 0


def show(args: argparse.Namespace, ask: Ask) -> int:
    vault = opened(args, ask)
    accounts = sorted(vault.accounts, key=lambda each: (each.exchange, each.name))
    if args.json:
        rows = [
            {
                "exchange": each.exchange,
                "name": each.name,
                "credentials": list(each.credentials),
                "added": day(each.added_ns),
            }
            for each in accounts
        ]
        print(json.dumps(rows, indent=2))
        return 0
    table = [("exchange", "name", "credentials", "added")]
    table += [
        (each.exchange, each.name, ", ".join(each.credentials), day(each.added_ns))
        for each in accounts
    ]
    print("\n".join(aligned(table)))
    return 0


def rename(args: argparse.Namespace, ask: Ask) -> int:
    new_name = known_name(args.new_name)
    with alone(args.vault):
        opened(args, ask).rename(args.exchange, args.name, new_name)
    print(f"account {args.name} of {args.exchange} is called {new_name} now")
    return 0


def rotate(args: argparse.Namespace, ask: Ask) -> int:
    from marketmaker.vault import new_key

    with alone(args.vault):
        vault = opened(args, ask)
        if args.new_passphrase:
            secret = new_passphrase(ask)
        else:
            secret = new_key()
            keep_key(secret, args.new_key_file, args.new_keyring)
        vault.rotate(secret)
    print(
        f"{args.vault} is locked anew; name what opens it under key_vault.unlock. "
        "Copies and backups of the old file still open the old way"
    )
    return 0


def remove(args: argparse.Namespace, ask: Ask) -> int:
    with alone(args.vault):
        vault = opened(args, ask)
        vault.find(args.exchange, args.name)
        if not args.yes:
            question = f"account {args.name} of {args.exchange} will be forgotten; its name again"
            if ask.open(question) != args.name:
                raise ConfigError("that is another name; nothing was changed")
        vault.remove(args.exchange, args.name)
    print(f"account {args.name} of {args.exchange} is forgotten")
    return 0


def opened(args: argparse.Namespace, ask: Ask, *, create: bool = False) -> Vault:
    """The vault. With `create`, a new one where there is none, with a key or passphrase of its own."""
    from marketmaker.vault import create_vault, lock_kind, new_key, open_vault

    new = create and not os.path.lexists(args.vault)
    if not new:
        kind = lock_kind(args.vault)
        given = "key" if args.key_file or args.keyring else "passphrase"
        if kind != given:
            way = "--key-file or --keyring" if kind == "key" else "neither --key-file nor --keyring"
            raise ConfigError(f"{args.vault}: is locked with a {kind}; give {way}")
    try:
        if args.key_file and not (new and not os.path.lexists(args.key_file)):
            secret = read_secret_file(args.key_file)
        elif args.keyring and not new:
            secret = read_keyring(args.keyring)
        elif args.key_file or args.keyring:
            secret = new_key()
            keep_key(secret, args.key_file, args.keyring)
        else:
            secret = new_passphrase(ask) if new else ask.secret("passphrase of the vault")
    except Refused as refused:
        raise ConfigError(str(refused)) from None
    return create_vault(args.vault, secret) if new else open_vault(args.vault, secret)


def new_passphrase(ask: Ask) -> str:
    passphrase = ask.twice("new passphrase of the vault")
    if len(passphrase) < PASSPHRASE_MIN:
        raise ConfigError(
            f"a passphrase of under {PASSPHRASE_MIN} characters is soon guessed; take some words"
        )
    return passphrase


def keep_key(key: str, path: str | None, name: str | None) -> None:
    """Writes a new key where it must not have been before: an older one may still open something."""
    if path:
        write_private(path, f"{key}\n".encode(), replace=False)
        return
    assert name is not None
    try:
        import keyring
        from keyring.errors import KeyringError
    except ModuleNotFoundError:
        raise ConfigError(
            "the keyring needs the extra: install it with pip install 'marketmaker[keys]'"
        ) from None
    try:
        if keyring.get_password(KEYRING_SERVICE, name) is not None:
            raise ConfigError(f"keyring entry {name} is already there; it is not overwritten")
        keyring.set_password(KEYRING_SERVICE, name, key)
    except KeyringError as error:
        raise ConfigError(
            f"the keyring cannot be used ({' '.join(str(error).split())}); take --key-file"
        ) from None


def known_venue(exchange: str) -> Venue:
    venue = venue_of(exchange)
    if venue is None or not venue.credentials:
        raise ConfigError(
            f"EXCHANGE: '{printable(exchange)}' is no exchange with credentials; "
            f"known: {', '.join(known_ids())}, ccxt:ID"
        )
    return venue


def known_ids() -> Iterator[str]:
    return (venue.id for venue in VENUES.values() if venue.credentials)


def known_name(name: str) -> str:
    from marketmaker.vault import ACCOUNT_NAME

    if not ACCOUNT_NAME.fullmatch(name):
        raise ConfigError(
            f"NAME: '{printable(name)}' is not a name; "
            "write up to 32 letters, digits, dots, dashes or underscores"
        )
    return name


def day(ts_ns: int) -> str:
    return f"{datetime.fromtimestamp(ts_ns / 1e9, UTC):%Y-%m-%d}"
