"""Chats, mail servers and webhooks on this machine, which keep what they are sent.

Services with fixed addresses (api.telegram.org and so on) are reached as in life, over TLS: the sender is told of a
proxy and of a certificate authority by the usual environment variables, and the proxy answers in the service's name.
"""

from __future__ import annotations

import datetime
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ANSWERS = {
    "api.telegram.org": {"ok": True, "result": {"message_id": 1}},
    "discord.com": {},
    "hooks.slack.com": "ok",
    "open.feishu.cn": {"code": 0, "msg": "success"},
    "open.larksuite.com": {"code": 0, "msg": "success"},
    "oapi.dingtalk.com": {"errcode": 0, "errmsg": "ok"},
    "qyapi.weixin.qq.com": {"errcode": 0, "errmsg": "ok"},
}
"""What each service says when it has taken a message."""


@dataclass
class Received:
    """One request, or one mail (`path` is then its recipients)."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float = field(default_factory=time.monotonic)

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode()))


class Receiver:
    """An HTTP server that is also a proxy which answers by itself, in the name of whoever is asked for.

    `mood(host)` says how a request is treated: "taken", a status to answer with ("503"), or "hang" for no answer.
    """

    def __init__(self, folder: Path, mood: Callable[[str], str] = lambda host: "taken") -> None:
        self.heard: list[Received] = []
        self.waiting = 0
        self.mood = mood
        self._folder = folder
        self._authority = Authority(folder)
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def environment(self) -> dict[str, str]:
        """Sends every name but this machine's own here."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "HTTPS_PROXY": proxy,
            "https_proxy": proxy,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(self._authority.path),
            "SSL_CERT_FILE": str(self._authority.path),
        }

    def wait_for(self, matches: Callable[[Received], bool], timeout_s: float = 60.0) -> Received:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for each in list(self.heard):
                if matches(each):
                    return each
            time.sleep(0.02)
        raise AssertionError(f"not received; heard {[(e.host, e.path) for e in self.heard]}")

    def close(self) -> None:
        self._listening.close()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        host = "127.0.0.1"
        try:
            while head := read_head(connection):
                first, headers = parse_head(head)
                method, target, _ = first.split(" ")
                if method == "CONNECT":
                    host = target.partition(":")[0]
                    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    connection = self._authority.context(host).wrap_socket(
                        connection, server_side=True
                    )
                    self._open.append(connection)
                    continue
                body = read_body(connection, headers)
                self._answer(connection, Received(host, target, headers, body))
        except (OSError, ValueError):
            pass
        finally:
            connection.close()

    def _answer(self, connection: socket.socket, request: Received) -> None:
        mood = self.mood(request.host)
        if mood == "hang":
            self.waiting += 1
            # A byte now and then: every timeout of a client that waits for the next byte is kept from firing.
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.5)
        if mood == "taken":
            self.heard.append(request)
        answer = ANSWERS.get(request.host, {})
        text = answer if isinstance(answer, str) else json.dumps(answer)
        status = "200 OK" if mood == "taken" else f"{mood} no"
        connection.sendall(
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()
        )


class MailServer:
    """As much of SMTP as it takes to receive a mail, password included."""

    def __init__(self) -> None:
        self.heard: list[Received] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as stream:
                self._serve(stream)

    def _serve(self, stream: Any) -> None:
        def say(text: str) -> None:
            stream.write(text.encode() + b"\r\n")
            stream.flush()

        recipients: list[str] = []
        say("220 here")
        while line := stream.readline():
            command = line.decode().strip()
            word = command[:4].upper()
            if word == "EHLO":
                say("250-here\r\n250 AUTH PLAIN LOGIN")
            elif word == "AUTH":
                say("235 welcome")
            elif word == "RCPT":
                recipients += re.findall(r"<(.*?)>", command)
                say("250 ok")
            elif word == "DATA":
                say("354 go on")
                content = b""
                while (more := stream.readline()) != b".\r\n":
                    content += more
                self.heard.append(Received("mail", ",".join(recipients), {}, content))
                say("250 taken")
            elif word == "QUIT":
                say("221 bye")
                return
            else:
                say("250 ok")


class Authority:
    """Makes certificates for whatever name is asked for."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "authority.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        certificate = self._sign(self._name, self._key, None)
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def context(self, host: str) -> ssl.SSLContext:
        with self._lock:
            if host not in self._contexts:
                key = ec.generate_private_key(ec.SECP256R1())
                name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
                certificate = self._sign(name, key, host)
                file = self._folder / f"{host}.pem"
                file.write_bytes(
                    key.private_bytes(
                        serialization.Encoding.PEM,
                        serialization.PrivateFormat.PKCS8,
                        serialization.NoEncryption(),
                    )
                    + certificate.public_bytes(serialization.Encoding.PEM)
                )
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(file)
                self._contexts[host] = context
            return self._contexts[host]

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())


def read_head(connection: socket.socket) -> bytes:
    """Up to the empty line, byte by byte, so that nothing of what follows is taken; b"" at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            return b""
        head += byte
    return head


def parse_head(head: bytes) -> tuple[str, dict[str, str]]:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    fields = (line.split(":", 1) for line in lines)
    return first, {name.lower(): value.strip() for name, value in fields}


def read_body(connection: socket.socket, headers: dict[str, str]) -> bytes:
    left = int(headers.get("content-length", 0))
    body = b""
    while left > len(body):
        more = connection.recv(left - len(body))
        if not more:
            raise OSError("cut off")
        body += more
    return body
