"""One process per account and bot tag."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from marketmaker.errors import ConfigError
from marketmaker.model.settings import Credentials
from marketmaker.runtime import instance_lock
from marketmaker.runtime.instance_lock import InstanceLock, account_of

ROOT = Path(__file__).resolve().parents[2]
HOLDER = (
    "import sys, time; from marketmaker.runtime.instance_lock import InstanceLock;"
    "lock = InstanceLock(venue='v', account=sys.argv[1], bot_tag='mm1'); lock.acquire();"
    "print('held', flush=True); time.sleep(600)"
)


def lock_of(account: str, *, venue: str = "v", bot_tag: str = "mm1") -> InstanceLock:
    return InstanceLock(venue=venue, account=account, bot_tag=bot_tag)


@pytest.fixture(params=["socket", "file"])
def account(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(
        instance_lock, "ABSTRACT", request.param == "socket" and instance_lock.ABSTRACT
    )
    return f"test-{request.param}-{os.getpid()}"


def test_it_is_taken_once_and_free_again_after_release(account: str) -> None:
    first, second = lock_of(account), lock_of(account)
    first.acquire()
    with pytest.raises(ConfigError, match="another instance with bot_tag 'mm1'"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_other_tags_venues_and_accounts_do_not_meet(account: str) -> None:
    locks = [
        lock_of(account),
        lock_of(account, venue="w"),
        lock_of(account, bot_tag="mm2"),
        lock_of(f"{account}x"),
        lock_of(""),
        lock_of(""),
    ]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()


@pytest.mark.skipif(not instance_lock.ABSTRACT, reason="only Linux tells the pid")
def test_a_holder_is_named_and_a_killed_one_holds_nothing() -> None:
    account = f"test-killed-{os.getpid()}"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, account], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"running \(pid {holder.pid}\)"):
            lock_of(account).acquire()
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    lock = lock_of(account)
    lock.acquire()
    lock.release()


def test_an_account_is_named_without_its_key() -> None:
    name = account_of(Credentials(api_key="the-key-itself", api_secret="s"))
    assert re.fullmatch("[0-9a-f]{16}", name)
    assert name != account_of(Credentials(api_key="another-key", api_secret="s"))
    assert account_of(Credentials()) == ""
