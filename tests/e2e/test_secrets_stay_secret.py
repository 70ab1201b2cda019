"""Every secret of a run is looked for in everything the run leaves behind: none is found.

The exchange quotes them in every error it can, services break with them in their messages, the channels of alerts fail.
"""

from __future__ import annotations

import base64
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from marketmaker import vault
from tests.support.daemon import Daemon, Ended, problems_of_books
from tests.support.receivers import Receiver
from tests.support.service_manager import ServiceManager

pytest.importorskip("apprise")
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SECRETS = {
    "api_key": "kQ7zXv1mWp4tLs9d",
    "api_secret": 'sB5"nRy8/Jc2+Gh6=',
    "passphrase": "pass phrase üä 价格",
    "vault key": vault.new_key(),
    "telegram": "987654321:AAtelegramTokenZxCvBnM",
    "mail": "mailPassw0rdXyZ",
    "webhook": "hookTokenQwErTy12",
    "heartbeat": "beatTokenAsDfGh34",
    "heartbeat not quoting": "beatTokenZxCvBn56",
    "http": "httpTokenPoIuYt78LkJhGf",
}


WORD = re.compile(r'"[a-z.]+"')
PATIENCE_S = {"/events": 2.0, "/control/flatten": 3.0}
"""How long an answer is listened to that does not end: here the exchange takes no order alone."""


def forms(secret: str) -> Iterator[bytes]:
    """As it is, and as it would stand in JSON, in a `repr`, in an address, in base64."""
    yield secret.encode()
    yield json.dumps(secret)[1:-1].encode()
    yield repr(secret)[1:-1].encode()
    yield quote(secret, safe="").encode()
    yield base64.b64encode(secret.encode()).rstrip(b"=")


def found_in(content: bytes, where: str) -> list[str]:
    return [
        f"{name} in {where}"
        for name, secret in SECRETS.items()
        if any(form in content for form in forms(secret))
    ]


def found_under(folder: Path) -> list[str]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_socket()]
    return [
        line
        for file in files
        for line in found_in(file.read_bytes(), str(file.relative_to(folder)))
    ]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Takes the heartbeat, refuses Telegram."""
    folder = tmp_path_factory.mktemp("receiver")
    listening = Receiver(folder, lambda host: "taken" if host == "127.0.0.1" else "401")
    yield listening
    listening.close()


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def config(folder: Path) -> Path:
    """Beside, not in, the folder of the run: the vault, its key, and a file with the addresses."""
    held = folder.parent / f"{folder.name}-held"
    held.mkdir()
    (held / "vault.key").write_text(SECRETS["vault key"])
    (held / "vault.key").chmod(0o600)
    account = vault.Account(
        exchange="paper",
        name="main",
        credentials={name: SECRETS[name] for name in ("api_key", "api_secret", "passphrase")},
        added_ns=1,
    )
    vault.create_vault(str(held / "keys.vault"), SECRETS["vault key"]).add(account)
    text = f"""
mode: paper
account: main
key_vault: {{path: {held}/keys.vault, unlock: '${{file:{held}/vault.key}}'}}
log_level: debug
journal: {folder}/journal.jsonl
state_dir: {folder}/state
ledger: sqlite:///{folder}/ledger.db
symbols:
  - name: ETHUSDT
    grid: {{price_interval: 3, order_amount: 60}}
alerts:
  channels:
  - {{name: phone, url: "${{TELEGRAM}}"}}
  - {{name: mail, url: "${{MAIL}}"}}
  - {{name: hook, url: "${{HOOK}}"}}
  rules:
  - {{severity: info, group: 0}}
  heartbeat: {{url: "${{BEAT}}", url_not_quoting: "${{BEAT2}}", interval: 1}}
http: {{listen: 127.0.0.1:{free_port()}, token: "${{HTTP_TOKEN}}"}}
"""
    file = held / "config.yaml"
    file.write_text(text)
    return file


def variables(port: int) -> dict[str, str]:
    return {
        "TELEGRAM": f"tgram://{SECRETS['telegram']}/1234",
        "MAIL": f"mailto://bot:{SECRETS['mail']}@127.0.0.1:1?from=a@b.com&to=a@b.com&mode=insecure&smtp=127.0.0.1",
        "HOOK": f"json://127.0.0.1:1/{SECRETS['webhook']}",
        "BEAT": f"http://127.0.0.1:{port}/{SECRETS['heartbeat']}",
        "HTTP_TOKEN": SECRETS["http"],
        "BEAT2": f"http://127.0.0.1:1/{SECRETS['heartbeat not quoting']}",
    }


def run(folder: Path, receiver: Receiver, leak: str, *options: str, notify: str = "") -> Daemon:
    return Daemon(
        folder,
        config(folder),
        options,
        env={
            **variables(receiver.port),
            **receiver.environment(),
            "LEAK": leak,
            "NOTIFY_SOCKET": notify,
        },
        command=("-m", "tests.support.leaky_daemon"),
    ).start()


def ended(daemon: Daemon) -> Ended:
    try:
        return daemon.finish()
    finally:
        daemon.kill()


def everything_served(port: int) -> Iterator[tuple[str, bytes]]:
    """(request, head and body of the answer) of every route of the description, without and with the token."""
    description = json.loads(served(port, "GET", "/openapi.json", "")[1].split(b"\r\n\r\n", 1)[1])
    requests = [
        (method.upper(), path) for path, each in description["paths"].items() for method in each
    ]
    assert len(requests) > 12
    # What gives everything back comes last: nothing would be there to be shown.
    requests.sort(key=lambda each: "flatten" in each[1])
    for method, path in requests:
        for token in ("", SECRETS["http"]):
            query = "?symbol=ETHUSDT" if path == "/history" else ""
            yield served(port, method, path + query, token)
    for path in ("/no/such/page", "/control/pause?x=" + quote(SECRETS["api_key"])):
        yield served(port, "GET", path, SECRETS["http"])


def served(port: int, method: str, path: str, token: str) -> tuple[str, bytes]:
    """As it comes off the wire until the server closes, or for as long as `PATIENCE_S` says."""
    body = b"{}" if method == "POST" else b""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        deadline_s = time.monotonic() + PATIENCE_S.get(path, 30.0)
        try:
            while (left_s := deadline_s - time.monotonic()) > 0:
                connection.settimeout(left_s)
                data = connection.recv(1 << 16)
                if not data:
                    break
                answer += data
        except TimeoutError:
            pass
    return f"{method} {path} {'with' if token else 'without'} token", answer


def test_an_exchange_that_quotes_our_secrets_cannot_make_us_tell_them(
    tmp_path: Path, receiver: Receiver
) -> None:
    """Logs at DEBUG, journal, ledger, state, summary, every answer over HTTP, every status to systemd."""
    folder = tmp_path / "run"
    folder.mkdir()
    manager = ServiceManager(tmp_path)
    daemon = run(folder, receiver, "refusals", notify=str(manager.path))
    try:
        manager.wait_for("READY=1", 60)
        text = (tmp_path / "run-held" / "config.yaml").read_text()
        port = int(text.partition("127.0.0.1:")[2].split(",")[0])
        until(lambda: b"key=***" in served(port, "GET", "/news", SECRETS["http"])[1])
        answers = dict(everything_served(port))
        out = folder / "run.out"
        until(
            lambda: {'"alert.failed"', '"heartbeat.failed"'} <= set(WORD.findall(out.read_text()))
        )
        daemon.send(signal.SIGTERM)
        done = ended(daemon)
    finally:
        daemon.kill()
        manager.close()
    assert problems_of_books(done) == []
    statuses = {request: answer[9:12] for request, answer in answers.items()}
    assert statuses["GET /status with token"] == b"200"
    assert statuses["POST /control/pause with token"] == b"200"
    assert statuses["POST /control/pause without token"] == b"401"
    # What is masked was there to be masked, in each place.
    assert b"key=*** secret=***" in answers["GET /news with token"]
    assert "bad request: key=*** secret=*** '***'" in done.out + done.err
    assert "key=*** secret=***" in (folder / "run.jsonl").read_text()
    assert {"ledger.db", "run.jsonl", "state"} <= {file.name for file in folder.iterdir()}

    told = "".join(text for _, text in manager.heard).encode()
    shown = [line for where, answer in answers.items() for line in found_in(answer, where)]
    assert shown + found_in(told, "systemd") + found_under(folder) == []


@pytest.mark.parametrize("leak", ["service", "start"])
def test_what_breaks_with_a_secret_in_its_message_does_not_tell_it(
    leak: str, tmp_path: Path, receiver: Receiver
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    done = ended(run(folder, receiver, leak))
    written = {file.name for file in folder.rglob("*")}
    assert done.code == 1
    assert "RuntimeError: bad request: key=***" in done.out + done.err
    assert done.summary is not None and "key=***" in done.summary["exit_reason"]
    assert any(name.startswith("crash-") for name in written), written
    assert found_under(folder) == []


def test_the_search_finds_what_is_not_masked(tmp_path: Path) -> None:
    for name, secret in SECRETS.items():
        (tmp_path / "file").write_text(json.dumps({"x": f"a{secret}b"}))
        assert found_under(tmp_path) == [f"{name} in file"]


# --- core files

CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


def cores_fall_here() -> bool:
    try:
        pattern = CORE_PATTERN.read_text().strip()
    except OSError:
        return False
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    return "/" not in pattern and not pattern.startswith("|") and hard != 0


def allow_cores() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def core_files(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.name.startswith("core")]


needs_cores = pytest.mark.skipif(
    not cores_fall_here(), reason="core files do not fall into the working directory here"
)


@needs_cores
def test_without_the_ban_a_core_file_holds_the_secret(tmp_path: Path) -> None:
    """What the next test guards against is real."""
    secret = SECRETS["api_secret"]
    program = "import os, sys; held = os.environ['HELD'] + '!'; print('x', flush=True); os.abort()"
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "HELD": secret},
        preexec_fn=allow_cores,
        capture_output=True,
        timeout=60,
        check=False,
    )
    (core,) = core_files(tmp_path)
    assert secret.encode() in core.read_bytes()
    core.unlink()


@pytest.fixture(scope="module")
def trading(
    receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon with secrets, in a folder of its own, which could leave a core file if it did not say no."""
    folder = tmp_path_factory.mktemp("core") / "run"
    folder.mkdir()
    root = Path(__file__).resolve().parents[2]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "marketmaker", "run", str(config(folder))],
            cwd=folder,
            env={
                **os.environ,
                **variables(receiver.port),
                **receiver.environment(),
                "PYTHONPATH": str(root),
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=allow_cores,  # noqa: PLW1509  (one system call)
        )
    until(lambda: process.poll() is not None or b'"app.started"' in (folder / "out").read_bytes())
    assert process.poll() is None, (folder / "out").read_text()
    yield process
    process.kill()
    process.wait()


def test_a_debugger_without_privileges_gets_no_core(
    trading: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """`gcore` as the same user, without the right to trace everybody, which only root has."""
    gcore, setpriv = shutil.which("gcore"), shutil.which("setpriv")
    if gcore is None or setpriv is None:
        pytest.skip("gcore or setpriv is not installed")
    weaker = [setpriv, "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    if os.geteuid() != 0:
        weaker = []
    target = tmp_path / "core"
    listed = Path(f"/proc/{trading.pid}/task/{trading.pid}/children")
    until(lambda: len(listed.read_text().split()) == 2)  # one serves HTTP, one sends alerts
    children = listed.read_text().split()
    for pid in (str(trading.pid), *children):
        done = subprocess.run(
            [*weaker, gcore, "-o", str(target), pid],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode != 0
        assert "not permitted" in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_cores
def test_a_daemon_that_crashes_leaves_no_core(trading: subprocess.Popen[bytes]) -> None:
    folder = Path(os.readlink(f"/proc/{trading.pid}/cwd"))
    limits = Path(f"/proc/{trading.pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    trading.send_signal(signal.SIGABRT)
    assert trading.wait(60) == -signal.SIGABRT
    assert core_files(folder) == []
    assert found_under(folder) == []
