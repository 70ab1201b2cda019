"""The encrypted file of accounts, and the command that keeps it."""

from __future__ import annotations

import argparse
import io
import json
import os
import stat
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketmaker import private_files, vault
from marketmaker.cli import keys
from marketmaker.config.load import load_configuration, settings_from_text
from marketmaker.errors import ConfigError
from marketmaker.venues import VENUES

KEY = vault.new_key()
PASSPHRASE = "correct horse battery"
SECRETS = ("k-Zq81mv3LpXw", "s-Yt5cQe09RhBn")
TEXT = st.text(string.printable + "äü价", min_size=1, max_size=40)
CONFIG = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 2, order_amount: 60}
"""


def account(name: str = "main", *values: str, exchange: str = "binance") -> vault.Account:
    key, secret = values or SECRETS
    return vault.Account(
        exchange=exchange,
        name=name,
        credentials={"api_key": key, "api_secret": secret},
        added_ns=7,
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt at a price that tests can pay."""
    made = vault.lock_for

    def cheap(secret: str) -> vault.Lock:
        lock = made(secret)
        return vault.Lock(lock.kind, salt=lock.salt, n=16, r=8, p=1)

    monkeypatch.setattr(vault, "lock_for", cheap)


# --- the file


@settings(max_examples=25, deadline=None)
@given(rows=st.dictionaries(TEXT, st.tuples(TEXT, TEXT), max_size=4))
def test_what_is_written_is_read_and_nothing_of_it_can_be_seen(
    rows: dict[str, tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = str(tmp_path_factory.mktemp("vault") / "keys.vault")
    made = vault.create_vault(path, KEY)
    made.write([account(name, *values) for name, values in rows.items()])
    found = vault.open_vault(path, KEY)
    assert {each.name: tuple(each.credentials.values()) for each in found.accounts} == rows
    content = Path(path).read_text()
    outer = json.loads(content)
    assert set(outer) == {"vault", "lock", "sealed"} and outer["lock"] == {"kind": "key"}
    shown = repr(found) + repr(found.accounts)
    for key, secret in rows.values():
        assert all(len(each) < 8 or each not in content + shown for each in (key, secret))


def test_a_passphrase_opens_what_it_locked_and_no_other_does(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.vault")
    vault.create_vault(path, PASSPHRASE).add(account())
    lock = json.loads(Path(path).read_text())["lock"]
    assert (lock["kind"], lock["n"], lock["r"], lock["p"]) == ("passphrase", 1 << 15, 8, 3)
    assert vault.open_vault(path, PASSPHRASE).find("binance", "main") == account()
    with pytest.raises(ConfigError, match="this passphrase does not open it"):
        vault.open_vault(path, PASSPHRASE + "x")


def test_a_changed_byte_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "keys.vault"
    vault.create_vault(str(path), KEY).write([account(), account("second")])
    whole = path.read_bytes()
    found_out = 0
    for place in range(0, len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 1
        path.write_bytes(content)
        try:
            found = vault.open_vault(str(path), KEY)
        except ConfigError as error:
            found_out += 1
            assert not any(secret in str(error) for secret in (*SECRETS, KEY))
        else:  # a blank between the members of the outer object
            assert [each.name for each in found.accounts] == ["main", "second"]
    assert found_out > 0.9 * len(whole) / 7


def test_an_attacker_cannot_ask_scrypt_for_all_memory(tmp_path: Path) -> None:
    path = tmp_path / "keys.vault"
    vault.create_vault(str(path), PASSPHRASE).write([])
    outer = json.loads(path.read_text())
    outer["lock"]["n"] = 1 << 30
    path.write_text(json.dumps(outer))
    with pytest.raises(ConfigError, match="is not a vault"):
        vault.open_vault(str(path), PASSPHRASE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is not a vault"),
        (b"\xff", "is not a vault"),
        (b"[1]", "is not a vault"),
        (b'{"vault":2,"lock":{"kind":"key"},"sealed":""}', "has format 2, this version reads 1"),
        (b'{"vault":1,"lock":{"kind":"key"},"sealed":"x"}', "this key does not open it"),
        (b'{"vault":1,"lock":{"kind":"riddle"},"sealed":"x"}', "is not a vault"),
    ],
)
def test_a_file_that_is_no_vault_is_refused_in_one_line(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys.vault"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        vault.open_vault(str(path), KEY)
    assert says in str(caught.value) and "\n" not in str(caught.value)


# --- private files


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_file_that_others_may_touch_is_refused(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        private_files.read_private(str(path))
    assert str(caught.value).startswith(f"{path}: is open to others (mode {mode:04o}); chmod 600")
    path.chmod(0o400)
    assert private_files.read_private(str(path)) == KEY.encode()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY)
    path.chmod(0o600)
    os.chown(path, 12345, 0)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        private_files.read_private(str(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is not a plain file"):
        private_files.read_private(str(tmp_path / "pipe"))


def test_a_private_file_is_replaced_as_a_whole_and_never_open_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.vault"
    old = os.umask(0)
    try:
        private_files.write_private(str(path), b"first", replace=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written \\(No space left on device\\)"):
        private_files.write_private(str(path), b"second", replace=True)
    assert path.read_bytes() == b"first"
    assert [file.name for file in tmp_path.iterdir()] == ["keys.vault"]


def test_a_key_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    with pytest.raises(ConfigError, match="is already there"):
        private_files.write_private(str(path), b"new", replace=False)
    assert path.read_text() == "old"


def test_two_processes_do_not_change_a_vault_at_once(tmp_path: Path) -> None:
    path = str(tmp_path / "keys.vault")
    with (
        private_files.alone(path),
        pytest.raises(ConfigError, match="another process"),
        private_files.alone(path),
    ):
        pass


# --- the command


class Desk:
    """`marketmaker keys` in a folder, with answers on standard input."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.vault = folder / "keys.vault"
        self.key = folder / "vault.key"
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def say(self, *arguments: str, answers: tuple[str, ...] = ()) -> str:
        """What was printed. Every secret given must be absent from it."""
        text = "".join(f"{answer}\n" for answer in answers)
        self._monkeypatch.setattr("sys.stdin", io.StringIO(text))
        parser = argparse.ArgumentParser()
        keys.add_parser(parser.add_subparsers())
        args = parser.parse_args(["keys", *arguments, "--vault", str(self.vault)])
        try:
            assert args.run(args) == 0
        except ConfigError as error:
            assert not any(answer in str(error) for answer in answers if len(answer) > 8)
            raise
        out, err = self._capsys.readouterr()
        assert not any(answer in out + err for answer in answers if len(answer) > 8)
        return str(out)

    def with_key(self, *arguments: str, answers: tuple[str, ...] = ()) -> str:
        return self.say(*arguments, "--key-file", str(self.key), answers=answers)


@pytest.fixture
def desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def test_the_first_account_makes_the_vault_and_its_key(desk: Desk) -> None:
    said = desk.with_key("add", "binance", "main", answers=SECRETS)
    assert said.startswith("stored api_key, api_secret of account main of binance in ")
    for file in (desk.vault, desk.key):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    desk.with_key("add", "binance", "second", answers=("x" * 9, "y" * 9))
    desk.with_key("add", "okx", "main", answers=(*SECRETS, "a pass phrase"))
    rows = json.loads(desk.with_key("list", "--json"))
    assert [(row["exchange"], row["name"]) for row in rows] == [
        ("binance", "main"),
        ("binance", "second"),
        ("okx", "main"),
    ]
    assert rows[2]["credentials"] == ["api_key", "api_secret", "passphrase"]
    assert "okx       main    api_key, api_secret, passphrase" in desk.with_key("list")


def test_rename_remove_and_replace(desk: Desk) -> None:
    desk.with_key("add", "binance", "main", answers=SECRETS)
    with pytest.raises(ConfigError, match=r"is already in .* --replace"):
        desk.with_key("add", "binance", "main", answers=("n" * 9, "m" * 9))
    desk.with_key("rename", "binance", "main", "old")
    desk.with_key("add", "binance", "main", answers=("n" * 9, "m" * 9))
    with pytest.raises(ConfigError, match="'old' of binance is already"):
        desk.with_key("rename", "binance", "main", "old")
    desk.with_key("add", "binance", "main", "--replace", answers=("q" * 9, "r" * 9))
    key = desk.key.read_text().strip()
    found = vault.open_vault(str(desk.vault), key)
    assert found.find("binance", "old").credentials["api_key"] == SECRETS[0]
    assert found.find("binance", "main").credentials["api_key"] == "q" * 9
    with pytest.raises(ConfigError, match="that is another name"):
        desk.with_key("remove", "binance", "old", answers=("main",))
    desk.with_key("remove", "binance", "old", answers=("old",))
    desk.with_key("remove", "binance", "main", "--yes")
    with pytest.raises(ConfigError, match=r"no account 'main' of binance .*none of binance"):
        desk.with_key("remove", "binance", "main", "--yes")


def test_what_an_exchange_may_need_is_asked_for_and_may_be_left_out(desk: Desk) -> None:
    desk.with_key("add", "ccxt:okx", "with", answers=(*SECRETS, "a pass phrase"))
    desk.with_key("add", "ccxt:kraken", "without", answers=(*SECRETS, ""))
    desk.with_key("add", "ccxt:mexc", "at-the-end", answers=SECRETS)
    held = {row["name"]: row["credentials"] for row in json.loads(desk.with_key("list", "--json"))}
    assert held == {
        "with": ["api_key", "api_secret", "passphrase"],
        "without": ["api_key", "api_secret"],
        "at-the-end": ["api_key", "api_secret"],
    }


@pytest.mark.usefixtures("quick")
def test_rotate_changes_what_opens_it(desk: Desk, tmp_path: Path) -> None:
    desk.with_key("add", "binance", "main", answers=SECRETS)
    old = desk.key.read_text().strip()
    new_file = tmp_path / "vault2.key"
    desk.with_key("rotate", "--new-key-file", str(new_file))
    with pytest.raises(ConfigError, match="this key does not open it"):
        vault.open_vault(str(desk.vault), old)
    desk.key = new_file
    desk.with_key("rotate", "--new-passphrase", answers=(PASSPHRASE,))
    with pytest.raises(ConfigError, match="is locked with a passphrase; give neither"):
        desk.with_key("list")
    assert "main" in desk.say("list", answers=(PASSPHRASE,))
    with pytest.raises(ConfigError, match="this passphrase does not open it"):
        desk.say("list", answers=("a wrong passphrase",))
    assert vault.open_vault(str(desk.vault), PASSPHRASE).find("binance", "main")


def test_the_keyring_can_hold_the_key(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[str, str], str] = {}
    import keyring

    monkeypatch.setattr(keyring, "get_password", lambda *where: kept.get(where))
    monkeypatch.setattr(
        keyring, "set_password", lambda service, name, key: kept.update({(service, name): key})
    )
    desk.say("add", "binance", "main", "--keyring", "vault", answers=SECRETS)
    assert list(kept) == [("marketmaker", "vault")]
    assert "main" in desk.say("list", "--keyring", "vault")
    text = f"account: main\nkey_vault: {{path: {desk.vault}, unlock: '${{keyring:vault}}'}}\n"
    (message,) = refused(text + CONFIG)
    assert "account: no account 'main' of paper" in message


def test_a_machine_without_a_keyring_is_told_so(desk: Desk) -> None:
    import keyring
    from keyring.backends import fail

    before = keyring.get_keyring()
    keyring.set_keyring(fail.Keyring())  # type: ignore[no-untyped-call]
    try:
        with pytest.raises(ConfigError, match=r"keyring cannot be used .* take --key-file"):
            desk.say("add", "binance", "main", "--keyring", "vault", answers=SECRETS)
    finally:
        keyring.set_keyring(before)
    assert not desk.vault.exists()


@pytest.mark.parametrize(
    ("arguments", "answers", "says"),
    [
        (("add", "nowhere", "main"), (), "'nowhere' is no exchange with credentials"),
        (("add", "paper", "main"), (), "'paper' is no exchange with credentials"),
        (("add", "binance", "a b"), (), "'a b' is not a name"),
        (("add", "binance", "main"), SECRETS[:1], "api_secret: nothing was entered"),
        (("add", "binance", "main"), ("", "x"), "api_key is empty"),
        (("add", "binance", "main"), (" padded secret ", "x"), "api_key has spaces around it"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_no_vault(
    arguments: tuple[str, ...], answers: tuple[str, ...], says: str, desk: Desk
) -> None:
    with pytest.raises(ConfigError) as caught:
        desk.with_key(*arguments, answers=answers)
    assert says in str(caught.value)
    assert not desk.vault.exists()


def test_a_short_passphrase_is_refused(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="under 12 characters"):
        desk.say("add", "binance", "main", answers=("short", *SECRETS))


def test_no_option_of_the_command_takes_a_secret() -> None:
    """Arguments can be read by every process of the machine."""
    parser = argparse.ArgumentParser()
    keys.add_parser(parser.add_subparsers())
    subparsers = [
        action.choices
        for action in parser._subparsers._group_actions[0].choices["keys"]._actions  # type: ignore[union-attr,index,call-overload]
        if isinstance(action, argparse._SubParsersAction)
    ]
    options = {
        action.dest
        for each in subparsers[0].values()
        for action in each._actions
        if action.nargs != 0
    }
    assert options == {
        *("exchange", "name", "new_name"),
        *("vault", "key_file", "keyring", "new_key_file", "new_keyring"),
    }


# --- in the configuration


def refused(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        settings_from_text(text, "mm.yaml", environ)
    return str(caught.value).splitlines()


def live(vault_path: Path, key: Path, name: str = "main") -> str:
    head = f"exchange: binance\naccount: {name}\n"
    lock = f"key_vault: {{path: '{vault_path}', unlock: '${{file:{key}}}'}}\n"
    return head + lock + CONFIG.replace("mode: paper", "mode: live")


@pytest.fixture
def known_binance(monkeypatch: pytest.MonkeyPatch) -> None:
    """The venue as one that may be traded, whatever this version offers."""
    from dataclasses import replace

    monkeypatch.setitem(VENUES, "binance", replace(VENUES["binance"], available=True))


@pytest.mark.usefixtures("known_binance")
def test_the_daemon_takes_an_account_of_the_vault(desk: Desk, tmp_path: Path) -> None:
    desk.with_key("add", "binance", "main", answers=SECRETS)
    file = tmp_path / "mm.yaml"
    file.write_text(live(desk.vault, desk.key))
    configuration = load_configuration(str(file))
    held = configuration.settings.credentials
    assert (held.api_key, held.api_secret) == SECRETS
    assert configuration.secrets == {*SECRETS, desk.key.read_text().strip()}
    shown = repr(configuration)
    assert not any(secret in shown for secret in configuration.secrets)


@pytest.mark.usefixtures("known_binance")
def test_a_vault_that_came_as_a_credential_is_opened(desk: Desk, tmp_path: Path) -> None:
    """systemd's copies belong to root and carry an access list: their mode says nothing."""
    desk.with_key("add", "binance", "main", answers=SECRETS)
    folder = tmp_path / "credentials"
    folder.mkdir()
    for source, name in ((desk.vault, "exchange_vault"), (desk.key, "vault_key")):
        (folder / name).write_bytes(source.read_bytes())
        (folder / name).chmod(0o440)
    text = live(desk.vault, desk.key)
    text = text.replace(str(desk.vault), "${credential:exchange_vault}")
    text = text.replace(f"file:{desk.key}", "credential:vault_key")
    loaded = settings_from_text(text, "mm.yaml", {"CREDENTIALS_DIRECTORY": str(folder)})
    assert (loaded.credentials.api_key, loaded.credentials.api_secret) == SECRETS
    (message,) = refused(text)
    assert "key_vault.unlock: credential vault_key is asked for but CREDENTIALS" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("account: main", "account: other"), "mm.yaml:2: account: no account 'other' of binance"),
        (("path: '", "path: '/nowhere"), "mm.yaml:3: key_vault.path: /nowhere/"),
        (("${file:", "${file:/nowhere"), "mm.yaml:3: key_vault.unlock: file /nowhere/"),
        (("'${file:KEY}'", "KEY"), "must say where the key or the passphrase is"),
        (("exchange: binance", "exchange: bybit"), "no account 'main' of bybit"),
        (("KEYVAULT", ""), "mm.yaml:1: key_vault.path: missing; account needs it"),
        (
            ("mode: live", "mode: live\ncredentials: {api_key: a, api_secret: b}"),
            "mm.yaml:2: account: names an account in the vault, and credentials are set too",
        ),
    ],
)
@pytest.mark.usefixtures("known_binance")
def test_what_keeps_an_account_from_being_read_is_said_with_its_line(
    change: tuple[str, str], says: str, desk: Desk
) -> None:
    desk.with_key("add", "binance", "main", answers=SECRETS)
    text = live(desk.vault, desk.key)
    old, new = (part.replace("KEYVAULT", text.splitlines()[2]) for part in change)
    old, new = (part.replace("KEY", str(desk.key)) for part in (old, new))
    assert old in text
    messages = refused(text.replace(old, new))
    assert says in "\n".join(messages), messages
    assert not any(secret in line for line in messages for secret in SECRETS)
    loose: Any = desk.vault
    loose.chmod(0o644)
    assert "is open to others (mode 0644)" in "\n".join(refused(text))


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_secret_file_of_the_configuration_must_be_private(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "api_key"
    file.write_text("Zk2vX9pLw4\n")
    text = f"credentials: {{api_key: '${{file:{file}}}'}}\n" + CONFIG
    file.chmod(0o600)
    assert settings_from_text(text, "mm.yaml", {}).credentials.api_key == "Zk2vX9pLw4"
    file.chmod(mode)
    (message,) = refused(text)
    assert message.startswith(f"mm.yaml:1: credentials.api_key: file {file}: is open to others")
    assert "Zk2vX9pLw4" not in message
