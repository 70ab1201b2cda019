"""`marketmaker doctor`: what it says of a machine, a configuration and a key, and how it exits."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marketmaker import compiled, doctor
from marketmaker.config import load_configuration
from tests.support.daemon import run_command
from tests.support.live import CREDENTIALS, VenueProcess, live_configuration
from tests.support.receivers import Receiver

PAPER = """
mode: paper
symbols:
  - name: ETHUSDT
    grid: {price_interval: 2, order_amount: 60}
"""


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    path.chmod(mode)
    return path


def findings(path: Path, *, offline: bool = False) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for each in doctor.examine(str(path), offline=offline):
        assert each.state in {"ok", "note", "problem"}
        assert each.advice or each.state != "problem"
        found.setdefault(each.check, []).append((each.state, doctor.told(each)))
    return found


def problems(path: Path) -> list[str]:
    return [
        text
        for rows in findings(path, offline=True).values()
        for state, text in rows
        if state == "problem"
    ]


def test_a_compiled_core_that_is_missing_or_of_other_sources_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    monkeypatch.setattr(compiled, "BUILD", tmp_path)
    manifest = {"python": sysconfig.get_config_var("EXT_SUFFIX"), "sources": compiled.hashes()}

    def told() -> tuple[str, str]:
        found = doctor.look_at_core()
        return found.state, doctor.told(found)

    plain = "run takes plain Python, not the compiled core"
    assert told() == ("note", f"{plain}: {tmp_path}: no compiled core; run `make compile`")
    (tmp_path / compiled.MANIFEST).write_text(json.dumps({**manifest, "sources": {}}))
    assert told() == (
        "note",
        f"{plain}: {tmp_path}: made from other sources; run `make compile` again",
    )
    (tmp_path / compiled.MANIFEST).write_text(json.dumps(manifest))
    assert told() == ("ok", f"run takes the compiled core of {tmp_path}")


def test_a_fit_machine_has_no_problem(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    text = f"{PAPER}state_dir: {folder}\njournal: {tmp_path}/j.jsonl\nledger: sqlite:///{tmp_path}/l.db\n"
    path = write(tmp_path, text)
    assert problems(path) == []
    found = findings(path)
    assert set(found) >= {"versions", "config", "permissions", "disk", "limits", "memory", "clock"}
    assert ("ok", "nothing is to be reached") in found["network"]
    assert any("ledger: sqlalchemy" in text for _, text in found["versions"])
    assert not folder.exists(), "it must change nothing"


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (PAPER, 0o606, "anybody may change it; chmod o-w it"),
        (
            PAPER + "credentials: {api_key: longenoughkey}\n",
            0o644,
            "holds secrets and others may read it (mode 0644); chmod 600 it",
        ),
        (PAPER + "journal: /nowhere/at/all/j.jsonl\n", 0o600, "journal: "),
        (PAPER + "state_dir: HERE/config.yaml\n", 0o600, "is not a directory; name another"),
        (PAPER + "state_dir: HERE/open\n", 0o600, "anybody may write to "),
    ],
)
def test_what_is_wrong_with_files_is_said_with_what_to_do(
    text: str, mode: int, says: str, tmp_path: Path
) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    path = write(tmp_path, text.replace("HERE", str(tmp_path)), mode)
    (line,) = problems(path)
    assert says in line
    assert "longenoughkey" not in line


def test_what_is_short_on_the_machine_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, PAPER)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage._replace(free=5 << 20))
    monkeypatch.setattr(doctor, "available_memory", lambda: 40 << 20)
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda _: (64, 64))
    said = "\n".join(problems(path))
    assert "only 5 MiB are free" in said
    assert "only 40 MiB are available" in said
    assert "only 64 files may be open" in said


def test_a_package_that_is_missing_or_old_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, f"{PAPER}ledger: sqlite:///{tmp_path}/l.db\n")
    monkeypatch.setattr(doctor, "installed", lambda _: "1.4.0")
    (line,) = problems(path)
    assert (
        "sqlalchemy 1.4.0 is older than 2.0.36; pip install --upgrade 'marketmaker[ledger]'" in line
    )
    monkeypatch.setattr(doctor, "installed", lambda _: None)
    (line,) = problems(path)
    assert line == "not installed: sqlalchemy; pip install 'marketmaker[ledger]'"


def test_servers_that_do_not_answer_are_told_apart(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path)
    silent = socket.create_server(("127.0.0.1", 0))
    try:
        ok, refused, stranger, nobody = (
            doctor.reach("heartbeat", url)
            for url in (
                f"http://127.0.0.1:{receiver.port}/x",
                "http://127.0.0.1:1/x",
                f"https://127.0.0.1:{receiver.port}/x",
                "https://no-such-host.invalid/x",
            )
        )
    finally:
        receiver.close()
        silent.close()
    assert ok.state == "ok" and "answers in" in ok.what
    assert refused.state == "problem" and "Connection refused" in refused.what
    assert stranger.state == "problem"
    assert nobody.state == "problem" and "look at the name and at DNS" in nobody.advice


def test_a_wrong_configuration_is_told_line_by_line_and_exits_2(tmp_path: Path) -> None:
    path = write(tmp_path, PAPER + "colour: red\nshape: round\n")
    done = run_command("doctor", str(path), "--json")
    assert done.returncode == 2
    answer = json.loads(done.stdout)
    wrong = [each["what"] for each in answer["findings"] if each["check"] == "config"]
    assert answer["ok"] is False and len(wrong) == 2
    assert all("config.yaml:" in line and "unknown key" in line for line in wrong)


def test_a_fit_configuration_exits_0_and_a_problem_1(tmp_path: Path) -> None:
    path = write(tmp_path, PAPER)
    done = run_command("doctor", str(path))
    assert done.returncode == 0, done.stdout
    assert "no mistakes found" in done.stdout
    path.chmod(0o666)
    done = run_command("doctor", str(path), "--offline")
    assert done.returncode == 1
    assert "problem  permissions" in done.stdout


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    pytest.importorskip("picows")
    with VenueProcess("binance", tmp_path_factory.mktemp("venue")) as running:
        yield running


@pytest.mark.e2e
def test_the_venue_is_reached_and_the_key_is_tried(venue: VenueProcess, tmp_path: Path) -> None:
    path = live_configuration(venue, tmp_path)
    found = findings(path)
    reached = [text for state, text in found["network"] if state == "ok"]
    names = {"rest_url", "ws_public_url", "ws_private_url", "ws_order_url"}
    assert names <= {text.partition(":")[0] for text in reached}, found["network"]
    assert any(state == "ok" and "ms off the venue's" in text for state, text in found["clock"])
    assert [state for state, _ in found["keys"]] in (["ok"], ["note"])
    assert found["account"][0][0] == "ok"


@pytest.mark.e2e
def test_a_key_that_is_not_taken_is_a_problem_and_is_not_told(
    venue: VenueProcess, tmp_path: Path
) -> None:
    path = live_configuration(venue, tmp_path)
    text = path.read_text().replace(CREDENTIALS["api_secret"], "another-secret")
    path.write_text(text)
    done = run_command("doctor", str(path), "--json")
    assert done.returncode == 1
    rows: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    (row,) = [each for each in rows if each["check"] == "keys"]
    assert row["state"] == "problem" and row["advice"].startswith("look at the key")
    for secret in ("another-secret", CREDENTIALS["api_key"]):
        assert secret not in done.stdout + done.stderr


def test_it_needs_no_right_to_write(tmp_path: Path) -> None:
    """Reading the configuration leaves its time of change alone, and no file beside it."""
    path = write(tmp_path, PAPER)
    before = os.stat(path).st_mtime_ns
    load_configuration(str(path))
    findings(path, offline=True)
    assert os.stat(path).st_mtime_ns == before
    assert [each.name for each in tmp_path.iterdir()] == ["config.yaml"]
