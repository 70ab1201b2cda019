"""The least that Python can do between a trade and an order: the price is cut out of the frame, an order one fixed
distance below it is signed, and the bytes go to the kernel in the frame's own callback. Nothing is parsed, kept,
checked or written down. picows on uvloop for the trades, a plain socket for the orders.

    python benchmarks/live_floor.py PORT SYMBOL OFFSET_TICKS
"""

from __future__ import annotations

import asyncio
import base64
import gc
import hmac
import os
import signal
import socket
import sys
import time

import picows
import uvloop

PORT, SYMBOL, OFFSET = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
KEY, SECRET = "stopwatch-key", b"stopwatch-secret"
QUERY = (
    f"apiKey={KEY}&newClientOrderId=f%d&price=%d.%02d&quantity=0.010&recvWindow=5000&side=BUY"
    f"&symbol={SYMBOL}&timeInForce=GTX&timestamp=%d&type=LIMIT"
).encode()
ORDER = (
    f'{{"id":"%d","method":"order.place","params":{{"apiKey":"{KEY}","newClientOrderId":"f%d","price":"%d.%02d",'
    f'"quantity":"0.010","recvWindow":5000,"side":"BUY","symbol":"{SYMBOL}","timeInForce":"GTX","timestamp":%d,'
    '"type":"LIMIT","signature":"%b"}}'
).encode()
TEXT, UNMASKED = b"\x81\xfe", b"\0\0\0\0"


class Trades(picows.WSListener):
    def __init__(self, order_socket: socket.socket) -> None:
        self.send = order_socket.send
        self.number = 0

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type != picows.WSMsgType.TEXT:
            return
        text = frame.get_payload_as_bytes()
        start = text.find(b'"p":"') + 5
        if start < 5:
            return
        whole, part = divmod(
            int(text[start : text.find(b'"', start)].replace(b".", b"")) - OFFSET, 100
        )
        self.number = number = self.number + 1
        ms = time.time_ns() // 1_000_000
        signature = hmac.digest(SECRET, QUERY % (number, whole, part, ms), "sha256").hex().encode()
        order = ORDER % (number, number, whole, part, ms, signature)
        self.send(TEXT + len(order).to_bytes(2, "big") + UNMASKED + order)


def open_order_socket() -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", PORT))
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /ws-fapi/v1 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(4096)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


async def main() -> None:
    loop = asyncio.get_running_loop()
    sock = open_order_socket()
    ended = asyncio.Event()

    def drain() -> None:
        if not sock.recv(65536):
            loop.remove_reader(sock)
            ended.set()

    loop.add_reader(sock, drain)
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await picows.ws_connect(
        lambda: Trades(sock), f"ws://127.0.0.1:{PORT}/market/ws/{SYMBOL.lower()}@aggTrade"
    )
    gc.collect()
    gc.freeze()
    await ended.wait()


uvloop.run(main())
