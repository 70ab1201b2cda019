"""The encrypted file of exchange accounts: names and credentials, sealed as one with Fernet (AES-128-CBC, HMAC-SHA256).

    {"vault": 1, "lock": {"kind": "key"}, "sealed": "gAAAA..."}
    {"vault": 1, "lock": {"kind": "passphrase", "salt": "...", "n": 32768, "r": 8, "p": 3}, "sealed": "gAAAA..."}

What opens it is a Fernet key, or a passphrase that scrypt makes a key of (OWASP's parameters, 32 MiB of memory). The
seal is over everything, so that no account can be exchanged for another's, and not even a name can be read. The file
is replaced as a whole. Nothing here prints, logs or names a secret; `repr` shows which there are.

Source: https://github.com/fernet/spec and the OWASP password storage cheat sheet.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from marketmaker.errors import ConfigError
from marketmaker.private_files import read_private, write_private

FORMAT = 1
SCRYPT_N, SCRYPT_R, SCRYPT_P = 1 << 15, 8, 3
SCRYPT_MEMORY_MAX = 1 << 28
SALT_BYTES = 16
ACCOUNT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account at one exchange. `added_ns`: when its credentials were stored, Unix ns."""

    exchange: str
    name: str
    credentials: Mapping[str, str] = field(repr=False)
    added_ns: int


@dataclass(frozen=True, slots=True)
class Lock:
    """How a vault is locked: by a key, or by a passphrase with these scrypt parameters."""

    kind: str
    salt: bytes = b""
    n: int = SCRYPT_N
    r: int = SCRYPT_R
    p: int = SCRYPT_P


def new_key() -> str:
    return Fernet.generate_key().decode()


def lock_for(secret: str) -> Lock:
    """The lock that `secret` will open: by its form a Fernet key, or else a passphrase with a salt of its own."""
    if is_key(secret):
        return Lock("key")
    return Lock("passphrase", salt=os.urandom(SALT_BYTES))


def is_key(secret: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(secret.encode())) == 32 and len(secret) == 44
    except (binascii.Error, ValueError):
        return False


class Vault:
    """The accounts in a vault that was opened. Every change is written at once, under a lock, or not at all."""

    def __init__(self, path: str, lock: Lock, fernet: Fernet, accounts: list[Account]) -> None:
        self.path = path
        self.lock = lock
        self.accounts = accounts
        self._fernet = fernet

    def __repr__(self) -> str:
        return f"Vault({self.path!r}, {len(self.accounts)} accounts)"

    def find(self, exchange: str, name: str) -> Account:
        """Raises ConfigError, naming the accounts that are there."""
        for account in self.accounts:
            if (account.exchange, account.name) == (exchange, name):
                return account
        known = ", ".join(each.name for each in self.accounts if each.exchange == exchange)
        raise ConfigError(
            f"no account '{name}' of {exchange} in {self.path}; "
            + (f"known there: {known}" if known else f"none of {exchange} is in it")
        )

    def add(self, account: Account, *, replace: bool = False) -> None:
        """Raises ConfigError for a name that is taken, unless it is to be replaced."""
        others = [each for each in self.accounts if not same(each, account)]
        if len(others) < len(self.accounts) and not replace:
            raise ConfigError(
                f"account '{account.name}' of {account.exchange} is already in {self.path}; "
                "choose another name, or add --replace to store new credentials under this one"
            )
        self.write([*others, account])

    def rename(self, exchange: str, name: str, new_name: str) -> None:
        old = self.find(exchange, name)
        new = Account(
            exchange=exchange, name=new_name, credentials=old.credentials, added_ns=old.added_ns
        )
        if any(same(each, new) for each in self.accounts):
            raise ConfigError(f"account '{new_name}' of {exchange} is already in {self.path}")
        self.write([new if each is old else each for each in self.accounts])

    def remove(self, exchange: str, name: str) -> None:
        gone = self.find(exchange, name)
        self.write([each for each in self.accounts if each is not gone])

    def rotate(self, secret: str) -> None:
        """Locks everything with another key or passphrase."""
        lock = lock_for(secret)
        self.lock, self._fernet = lock, fernet_of(lock, secret)
        self.write(self.accounts)

    def write(self, accounts: list[Account]) -> None:
        rows = [
            {
                "exchange": account.exchange,
                "name": account.name,
                "credentials": dict(account.credentials),
                "added_ns": account.added_ns,
            }
            for account in accounts
        ]
        sealed = self._fernet.encrypt(json.dumps({"accounts": rows}).encode()).decode()
        content = json.dumps({"vault": FORMAT, "lock": lock_json(self.lock), "sealed": sealed})
        write_private(self.path, f"{content}\n".encode(), replace=True)
        self.accounts = accounts


def same(one: Account, other: Account) -> bool:
    return (one.exchange, one.name) == (other.exchange, other.name)


def create_vault(path: str, secret: str) -> Vault:
    """An empty one, not yet written. Raises ConfigError when there is one."""
    if os.path.lexists(path):
        raise ConfigError(f"{path}: is already there; it is not overwritten")
    lock = lock_for(secret)
    return Vault(path, lock, fernet_of(lock, secret), [])


def open_vault(path: str, secret: str) -> Vault:
    """Raises ConfigError: missing, open to others, not a vault, or not opened by `secret`."""
    return vault_from(read_private(path), path, secret)


def lock_kind(path: str) -> str:
    """What opens the vault: `key` or `passphrase`. Raises ConfigError."""
    return parse(read_private(path), path)[0].kind


def vault_from(content: bytes, path: str, secret: str) -> Vault:
    lock, sealed = parse(content, path)
    try:
        fernet = fernet_of(lock, secret)
        inside = json.loads(fernet.decrypt(sealed.encode()))
        accounts = [
            Account(
                exchange=row["exchange"],
                name=row["name"],
                credentials=row["credentials"],
                added_ns=row["added_ns"],
            )
            for row in inside["accounts"]
        ]
    except InvalidToken:
        raise ConfigError(
            f"{path}: this {lock.kind} does not open it; give the one it was locked with"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            f"{path}: what is inside is not understood; restore it from a backup"
        ) from None
    return Vault(path, lock, fernet, accounts)


def parse(content: bytes, path: str) -> tuple[Lock, str]:
    """The lock and what it locks. Raises ConfigError."""
    try:
        outer = json.loads(content)
        found, sealed, written = outer["vault"], str(outer["sealed"]), outer["lock"]
        lock = lock_from_json(written)
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path}: is not a vault; make one with `marketmaker keys add`") from None
    if found != FORMAT:
        raise ConfigError(f"{path}: has format {found!r}, this version reads {FORMAT}")
    return lock, sealed


def lock_json(lock: Lock) -> dict[str, Any]:
    if lock.kind == "key":
        return {"kind": "key"}
    salt = base64.b64encode(lock.salt).decode()
    return {"kind": lock.kind, "salt": salt, "n": lock.n, "r": lock.r, "p": lock.p}


def lock_from_json(written: Mapping[str, Any]) -> Lock:
    """Raises KeyError, TypeError or ValueError."""
    if written["kind"] == "key":
        return Lock("key")
    if written["kind"] != "passphrase":
        raise ValueError(written["kind"])
    n, r, p = int(written["n"]), int(written["r"]), int(written["p"])
    if not (1 < n <= 1 << 20 and 0 < r <= 32 and 0 < p <= 16 and 128 * n * r < SCRYPT_MEMORY_MAX):
        raise ValueError("scrypt parameters out of range")
    return Lock("passphrase", salt=base64.b64decode(written["salt"]), n=n, r=r, p=p)


def fernet_of(lock: Lock, secret: str) -> Fernet:
    """Raises ConfigError for a key that is none."""
    if lock.kind == "key":
        if not is_key(secret):
            raise ConfigError("what is to open the vault is not a Fernet key (44 characters)")
        return Fernet(secret.encode())
    key = hashlib.scrypt(
        secret.encode(),
        salt=lock.salt,
        n=lock.n,
        r=lock.r,
        p=lock.p,
        maxmem=SCRYPT_MEMORY_MAX,
        dklen=32,
    )
    return Fernet(base64.urlsafe_b64encode(key))
