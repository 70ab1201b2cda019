"""The service without systemd: what the unit says is started as the unit says, and heard as systemd would hear it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import ROOT, write_config
from tests.support.service_manager import (
    INSTALLED,
    WATCHDOG_S,
    ServiceManager,
    unit_settings,
)

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIG = """
mode: paper
credentials:
  api_key: ${credential:exchange_api_key}
  api_secret: ${credential:exchange_api_secret}
state_dir: state
journal: journal.jsonl
price_monitor: {stale_after: 0.5}
symbols:
  - name: ETHUSDT
    grid: {price_interval: 3, order_amount: 60}
"""
CREDENTIALS = {"exchange_api_key": "kQ7zXv1mWp4t", "exchange_api_secret": "sB5nRy8Jc2Gh"}
RELOADED = "reload.done"


class Service:
    """The unit's process: its ExecStart, in its state directory, with the variables that systemd would set and no others."""

    def __init__(self, folder: Path, *, stall: str = "") -> None:
        self.folder = folder
        self.unit = unit_settings("marketmaker.service")
        self.manager = ServiceManager(folder)
        self.state = folder / "var"
        self.state.mkdir(mode=0o700)
        held = folder / "credentials"
        held.mkdir(mode=0o700)
        for name, secret in CREDENTIALS.items():
            (held / name).write_text(secret + "\n")
            (held / name).chmod(0o440)
        self.config = write_config(folder, CONFIG)
        variables = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "CREDENTIALS_DIRECTORY": str(held),
            "STATE_DIRECTORY": str(self.state),
            "NOTIFY_SOCKET": str(self.manager.path),
            "WATCHDOG_USEC": str(int(WATCHDOG_S * 1_000_000)),
            **dict([self.unit["Service.Environment"].split("=", 1)]),
        }
        program = [sys.executable, "-m", "marketmaker"]
        if stall:
            program = [sys.executable, "-m", "tests.support.stalling_daemon"]
            variables |= {"STALL": stall}
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                self.command(program, stall=stall),
                cwd=self.state,
                env={**variables, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def command(self, program: list[str], *, stall: str) -> list[str]:
        """ExecStart with this machine's interpreter and this test's configuration."""
        first, *rest = shlex.split(self.unit["Service.ExecStart"])
        assert first == INSTALLED
        assert rest == ["run", "/etc/marketmaker/config.yaml"]
        return [*program, *([] if stall else ["run"]), str(self.config)]

    def reload(self) -> None:
        """ExecReload, as it is written."""
        command = self.unit["Service.ExecReload"].replace("$MAINPID", str(self.process.pid))
        subprocess.run(shlex.split(command), check=True, timeout=60)

    def heard(self, pattern: str) -> list[int]:
        return [at for at, text in list(self.manager.heard) if re.fullmatch(pattern, text)]

    def wait_for(self, pattern: str, *, after_ns: int = 0, timeout_s: float = 60.0) -> int:
        deadline = time.monotonic() + timeout_s
        while not (times := [at for at in self.heard(pattern) if at > after_ns]):
            assert self.process.poll() is None, self.out.read_text()
            assert time.monotonic() < deadline, self.manager.heard
            time.sleep(0.01)
        return times[0]

    def wait_until_unfed(self) -> None:
        """Until so much time has gone since the last sign of life that systemd would have ended the process."""
        deadline = time.monotonic() + 60
        while time.time_ns() - self.heard("WATCHDOG=1")[-1] < 2 * WATCHDOG_S * 1e9:
            assert time.monotonic() < deadline, "the watchdog is still fed"
            time.sleep(0.05)

    def stop(self) -> int:
        self.process.send_signal(getattr(signal, self.unit["Service.KillSignal"]))
        return self.process.wait(int(self.unit["Service.TimeoutStopSec"]))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.manager.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path)
    yield running
    running.close()


def test_a_life_of_the_service_from_ready_over_reloading_to_stopping(service: Service) -> None:
    ready_ns = service.wait_for("READY=1")
    service.wait_for("WATCHDOG=1", after_ns=ready_ns)
    assert {each.name for each in service.state.iterdir()} >= {"state", "journal.jsonl"}

    text = service.config.read_text()
    service.config.write_text(
        text.replace("price_interval: 3, order", "buy_window: 5, price_interval: 3, order")
    )
    service.reload()
    reloading_ns = service.wait_for(r"RELOADING=1\nMONOTONIC_USEC=\d+", after_ns=ready_ns)
    ready_again_ns = service.wait_for("READY=1", after_ns=reloading_ns)
    service.wait_for("WATCHDOG=1", after_ns=ready_again_ns)

    assert service.stop() == 0, service.out.read_text()
    (stopping_ns,) = service.heard("STOPPING=1")
    assert ready_again_ns < stopping_ns
    # After STOPPING nothing pretends to be alive; before, every half of the watchdog's time.
    fed = service.heard("WATCHDOG=1")
    assert all(at < stopping_ns for at in fed)
    assert len(service.heard("READY=1")) == 2
    said = service.out.read_text() + "".join(text for _, text in service.manager.heard)
    assert not any(secret in said for secret in CREDENTIALS.values())


def test_a_reload_of_a_wrong_configuration_changes_nothing_and_is_ready_again(
    service: Service,
) -> None:
    ready_ns = service.wait_for("READY=1")
    service.config.write_text(service.config.read_text() + "colour: red\n")
    service.reload()
    reloading_ns = service.wait_for(r"RELOADING=1\nMONOTONIC_USEC=\d+", after_ns=ready_ns)
    ready_again_ns = service.wait_for("READY=1", after_ns=reloading_ns)
    service.wait_for("WATCHDOG=1", after_ns=ready_again_ns)
    assert "unknown key" in service.out.read_text()
    assert service.stop() == 0


def test_a_wrong_configuration_ends_with_the_code_that_is_not_restarted(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.close()
    service.config.write_text(CONFIG + "colour: red\n")
    (tmp_path / "credentials" / "exchange_api_key").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "marketmaker", "run", str(service.config)],
        cwd=service.state,
        env={**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert str(done.returncode) in service.unit["Service.RestartPreventExitStatus"].split()
    assert "credential exchange_api_key cannot be read" in done.stderr


@pytest.mark.parametrize("stall", ["feed", "engine", "loop"])
def test_the_watchdog_is_fed_no_more_when_decisions_stop(stall: str, tmp_path: Path) -> None:
    """The process lives and would look well from outside; systemd ends it after WatchdogSec without a sign."""
    service = Service(tmp_path, stall=stall)
    try:
        ready_ns = service.wait_for("READY=1")
        service.wait_for("WATCHDOG=1", after_ns=ready_ns)
        service.process.send_signal(signal.SIGUSR1)
        service.wait_until_unfed()
        assert service.process.poll() is None
        # What systemd does next, and that it leaves no core file with the keys in it.
        service.process.send_signal(signal.SIGABRT)
        assert service.process.wait(60) == -signal.SIGABRT
        assert not [each for each in service.state.iterdir() if each.name.startswith("core")]
    finally:
        service.close()
