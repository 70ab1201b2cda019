"""A venue with a stopwatch: as little of Binance as a client needs to quote, and how soon its orders come.

    python -m marketmaker.loopback.stopwatch --symbols ETHUSDT --levels 3 --ticks 2000 --pace closed

One process, one thread, one epoll loop over plain sockets, so that the time stamps stand beside the system calls. The
price of a symbol falls by one level (STEP) at a time, and each fall asks a grid with a buy window of `--levels` for
exactly one order: at the new lowest level, `levels - 1` steps below the price. So an order's price names the tick that
caused it, for a grid and for any other client that orders that far below every trade.

    sent      our clock just before the first byte of the tick's frame is handed to the kernel
    received  our clock once the order's whole frame is here and its price was read
    after     everything else: answer, order event, check of the signature, and the next tick in a closed loop

Nothing is filled. Orders that the price has fallen past are cancelled by the venue, as it does with the answer to the
next order, so that a client has few orders open. With `--move-every N` only every Nth tick of a symbol falls; the
others stay so near to their level that a grid has nothing to do. Fees are nil, limits far away.

Prints `READY <port>`, takes the client's process id as a line on its standard input, and prints `RESULT {...}` last:
latencies in microseconds from sent to received, CPU and memory of the client between its first and its last measured
tick. With `--hold` there are no ticks: the word `mark` on standard input starts a watch that the last cancel stops.
"""

from __future__ import annotations

import argparse
import base64
import gc
import hashlib
import hmac
import json
import os
import re
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

KEY, SECRET = "stopwatch-key", "stopwatch-secret"
LISTEN_KEY = "stopwatch-listen-key"
TICK_SIZE, LOT_SIZE = "0.01", "0.001"
STEP = 100
"""Ticks from one level to the next: 1.00."""
FIRST = 6_000_000
"""The first price, in ticks: 60000.00."""
JITTER = 9
QUIET_BEFORE_START_NS = 700_000_000
REPEAT_NS = 100_000_000
SECOND_NS = 1_000_000_000
GRACE_NS = 2 * SECOND_NS
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
UPGRADE = re.compile(rb"\r\nsec-websocket-key:\s*(\S+)", re.IGNORECASE)
now_ns = time.perf_counter_ns


def price_text(ticks: int) -> str:
    whole, part = divmod(ticks, 100)
    return f"{whole}.{part:02d}"


def price_ticks(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 100 + int((part + "00")[:2])


def frame(payload: bytes, kind: int = 1) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | kind, size)) + payload
    if size < 65536:
        return bytes((0x80 | kind, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | kind, 127)) + size.to_bytes(8, "big") + payload


def unmask(data: bytes, mask: bytes) -> bytes:
    size = len(data)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "little")
    return (int.from_bytes(data, "little") ^ key).to_bytes(size, "little")


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def ms() -> int:
    return time.time_ns() // 1_000_000


def cpu_ns(pid: int) -> int:
    """What all threads of a process have run so far."""
    total = 0
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except OSError:
        pass
    return total


def memory_mib(pid: int) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def quantile(ordered: list[float], share: float) -> float:
    place = (len(ordered) - 1) * share
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def spread(values_ns: Iterable[int]) -> dict[str, float]:
    """Count, median, percentiles and greatest, in microseconds."""
    ordered = sorted(value / 1000 for value in values_ns)
    if not ordered:
        return {"n": 0}
    marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    return {"n": len(ordered)} | {
        name: round(quantile(ordered, share), 1) for name, share in marks.items()
    }


class Peer:
    """One connection. `streams`: what it is subscribed to; `combined`: it wants the stream's name around each event."""

    __slots__ = ("buffer", "combined", "entry", "gone", "held", "number", "sock", "streams", "web")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.number = sock.fileno()
        self.buffer = b""
        self.held = b""
        self.web = self.combined = self.entry = self.gone = False
        self.streams: set[str] = set()


class Order:
    __slots__ = (
        "client_id",
        "number",
        "price",
        "qty",
        "reduce_only",
        "side",
        "status",
        "symbol",
        "tif",
    )

    def __init__(self, number: int, params: dict[str, Any]) -> None:
        self.number = number
        self.symbol: str = params.get("symbol", "")
        self.client_id: str = params.get("newClientOrderId") or f"auto{number}"
        self.side: str = params.get("side", "BUY")
        self.tif: str = params.get("timeInForce", "GTC")
        self.price: str = str(params.get("price", "0"))
        self.qty: str = str(params.get("quantity", "0"))
        self.reduce_only = str(params.get("reduceOnly", "false")).lower() == "true"
        self.status = "NEW"

    def row(self) -> dict[str, Any]:
        at = ms()
        return {
            "orderId": self.number,
            "symbol": self.symbol,
            "status": self.status,
            "clientOrderId": self.client_id,
            "price": self.price,
            "avgPrice": "0.00",
            "origQty": self.qty,
            "executedQty": "0.000",
            "cumQty": "0.000",
            "cumQuote": "0.00",
            "timeInForce": self.tif,
            "type": "LIMIT",
            "reduceOnly": self.reduce_only,
            "closePosition": False,
            "side": self.side,
            "positionSide": "BOTH",
            "stopPrice": "0",
            "workingType": "CONTRACT_PRICE",
            "priceProtect": False,
            "origType": "LIMIT",
            "priceMatch": "NONE",
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "goodTillDate": 0,
            "time": at,
            "updateTime": at,
        }

    def event(self) -> bytes:
        at = ms()
        reduce = "true" if self.reduce_only else "false"
        return (
            f'{{"e":"ORDER_TRADE_UPDATE","T":{at},"E":{at},"o":{{"s":"{self.symbol}","c":"{self.client_id}",'
            f'"S":"{self.side}","o":"LIMIT","f":"{self.tif}","q":"{self.qty}","p":"{self.price}","ap":"0","sp":"0",'
            f'"x":"{self.status}","X":"{self.status}","i":{self.number},"l":"0","z":"0","L":"0","n":"0","N":"USDT",'
            f'"T":{at},"t":0,"b":"0","a":"0","m":false,"R":{reduce},"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH",'
            '"cp":false,"rp":"0","pP":false,"si":0,"ss":0,"V":"EXPIRE_MAKER","pm":"NONE","gtd":0}}'
        ).encode()


class Market:
    """One symbol: `level` falls have happened; `sent_ns[level]` is when each was sent, `first_ns` when it was answered."""

    def __init__(self, symbol: str, levels: int) -> None:
        self.symbol = symbol
        self.stream = f"{symbol.lower()}@aggTrade"
        self.offset = (levels - 1) * STEP
        self.level = 0
        self.ticks = 0
        self.number = 1000
        self.sent_ns: dict[int, int] = {}
        self.first_ns: dict[int, int] = {}
        self.resting: deque[Order] = deque()

    @property
    def price(self) -> int:
        return FIRST - self.level * STEP

    def level_of(self, price: int) -> int:
        return (FIRST - price - self.offset) // STEP


class Venue:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.markets = {name: Market(name, options.levels) for name in options.symbols}
        self.turns = list(self.markets.values())
        self.turn = 0
        self.listener = socket.create_server(("127.0.0.1", options.port))
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.poll = select.epoll()
        self.poll.register(self.listener.fileno(), select.EPOLLIN)
        self.poll.register(sys.stdin.fileno(), select.EPOLLIN)
        self.peers: dict[int, Peer] = {}
        self.subscribers: dict[str, list[Peer]] = {}
        self.by_client_id: dict[str, Order] = {}
        self.by_number: dict[int, Order] = {}
        self.remembered: deque[Order] = deque()
        self.last_number = 8_000_000_000
        self.pid = 0
        self.began_ns = now_ns()
        self.last_order_ns = 0
        self.first_order_ns = 0
        self.last_cancel_ns = 0
        self.repeat_ns = 0
        self.next_second_ns = 0
        self.next_tick_ns = 0
        self.awaited: tuple[Market, int] | None = None
        self.started = self.over = False
        self.measured = 0
        self.moved = 0
        self.latencies: list[int] = []
        self.start_cpu = self.end_cpu = 0
        self.start_ns = self.end_ns = 0
        self.faults: dict[str, int] = {}
        self.orders = self.cancels = self.unmatched = self.twice = 0
        self.sign_state = hmac.new(SECRET.encode(), digestmod="sha256")

    # -- time ----------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        print(f"READY {self.port}", flush=True)
        end_ns = self.began_ns + round(self.options.max_seconds * SECOND_NS)
        gc.collect()
        gc.freeze()
        gc.disable()
        while not self.over:
            at = now_ns()
            if at > end_ns:
                self.fault("ran out of time")
                break
            for number, _ in self.poll.poll(self.wait_s(at)):
                if number == self.listener.fileno():
                    self.accept()
                elif number == sys.stdin.fileno():
                    self.hear_driver()
                else:
                    peer = self.peers.get(number)
                    if peer is not None:
                        self.hear(peer)
            self.pass_time()
        return self.result()

    def wait_s(self, at: int) -> float:
        due = self.next_second_ns
        if self.started and self.options.pace != "closed":
            due = min(due, self.next_tick_ns)
        elif not self.started:
            due = min(due, at + REPEAT_NS // 4)
        return max(0.0, (due - at) / SECOND_NS)

    def pass_time(self) -> None:
        at = now_ns()
        if at >= self.next_second_ns:
            self.next_second_ns = at + SECOND_NS
            self.every_second()
        if not self.started:
            self.warm_up(at)
        elif self.options.pace == "closed":
            if self.awaited is not None and at - self.next_tick_ns > SECOND_NS:
                self.fault("a tick without an order for a second")
                self.tick()
        elif at >= self.next_tick_ns:
            # Behind, or in a burst: as many as are due, so that they arrive back to back.
            gap = self.options.pace_ns
            while self.next_tick_ns <= at and not self.over:
                self.next_tick_ns += gap
                self.tick()

    def warm_up(self, at: int) -> None:
        """Says the first price again until every symbol has an order, then waits until orders have stopped coming."""
        missing = [market for market in self.turns if 0 not in market.first_ns]
        if missing:
            if at - self.repeat_ns > REPEAT_NS and self.pid:
                self.repeat_ns = at
                for market in missing:
                    market.sent_ns.setdefault(0, at)
                    self.publish_trade(market, market.price)
        elif at - self.last_order_ns > QUIET_BEFORE_START_NS:
            self.started = True
            self.next_tick_ns = at
            print("STEADY", flush=True)
            if self.options.pace == "closed":
                self.tick()

    def tick(self) -> None:
        if self.options.hold:
            return
        market = self.turns[self.turn]
        self.turn = (self.turn + 1) % len(self.turns)
        market.ticks += 1
        if market.ticks % self.options.move_every:
            price = market.price + market.ticks % JITTER
            self.measured_tick()
            self.publish_trade(market, price)
            return
        market.level += 1
        self.moved += 1
        self.measured_tick()
        if market.level > FIRST // STEP - 1000:
            self.fault("the price has fallen too far")
            self.over = True
            return
        self.awaited = (market, market.level)
        self.publish_trade(market, market.price, market.level)

    def measured_tick(self) -> None:
        self.measured += 1
        warm, total = self.options.warm_up, self.options.ticks
        if self.measured == warm:
            self.start_cpu, self.start_ns = cpu_ns(self.pid), now_ns()
            self.latencies.clear()
        elif self.measured == warm + total:
            self.end_cpu, self.end_ns = cpu_ns(self.pid), now_ns()
            self.awaited = None
            self.over = True

    # -- what the client hears -----------------------------------------------------------------------

    def publish_trade(self, market: Market, price: int, level: int | None = None) -> None:
        market.number += 1
        at, text = ms(), price_text(price)
        event = (
            f'{{"e":"aggTrade","E":{at},"s":"{market.symbol}","a":{market.number},"p":"{text}","q":"0.010",'
            f'"f":{market.number},"l":{market.number},"T":{at},"m":false}}'
        ).encode()
        sending = self.ready(market.stream, event)
        raw = f"{market.symbol.lower()}@trade"
        if raw in self.subscribers:
            trade = (
                f'{{"e":"trade","E":{at},"T":{at},"s":"{market.symbol}","t":{market.number},"p":"{text}",'
                '"q":"0.010","X":"MARKET","m":false}'
            ).encode()
            sending += self.ready(raw, trade)
        if level is not None:
            market.sent_ns[level] = now_ns()
        for peer, data in sending:
            self.send(peer, data)

    def ready(self, stream: str, event: bytes) -> list[tuple[Peer, bytes]]:
        plain = wrapped = b""
        out = []
        for peer in self.subscribers.get(stream, ()):
            if peer.combined:
                wrapped = wrapped or frame(b'{"stream":"%b","data":%b}' % (stream.encode(), event))
                out.append((peer, wrapped))
            else:
                plain = plain or frame(event)
                out.append((peer, plain))
        return out

    def publish(self, stream: str, event: bytes) -> None:
        for peer, data in self.ready(stream, event):
            self.send(peer, data)

    def every_second(self) -> None:
        """Mark prices and candles, and the news that nothing stands still."""
        at = ms()
        for stream in list(self.subscribers):
            name, _, kind = stream.partition("@")
            market = self.markets.get(name.upper())
            if market is None:
                continue
            price = price_text(market.price)
            if kind.startswith("markPrice"):
                event: dict[str, Any] = {
                    **{
                        "e": "markPriceUpdate",
                        "E": at,
                        "s": market.symbol,
                        "p": price,
                        "ap": price,
                    },
                    **{"i": price, "P": price, "r": "0.0001", "T": at + 3_600_000},
                }
            elif kind.startswith("kline_"):
                start = at // 60_000 * 60_000
                bar = {
                    **{"t": start, "T": start + 59_999, "s": market.symbol, "i": kind[6:]},
                    **{
                        "f": 1,
                        "L": 2,
                        "o": price,
                        "c": price,
                        "h": price,
                        "l": price,
                        "v": "1.000",
                    },
                    **{"n": 2, "x": False, "q": "1.0", "V": "0.5", "Q": "0.5", "B": "0"},
                }
                event = {"e": "kline", "E": at, "s": market.symbol, "k": bar}
            else:
                continue
            self.publish(stream, compact(event))

    # -- orders --------------------------------------------------------------------------------------

    def receive(self, at: int, params: dict[str, Any]) -> None:
        """The stopwatch."""
        self.orders += 1
        self.last_order_ns = at
        self.first_order_ns = self.first_order_ns or at
        market = self.markets.get(params.get("symbol", ""))
        level = market.level_of(price_ticks(str(params.get("price", "0")))) if market else -1
        sent = market.sent_ns.get(level) if market else None
        if market is None or sent is None:
            self.unmatched += self.started
        elif level in market.first_ns:
            self.twice += self.started
        else:
            market.first_ns[level] = at
            self.latencies.append(at - sent)

    def accept_order(self, params: dict[str, Any]) -> Order:
        self.last_number += 1
        order = Order(self.last_number, params)
        self.by_client_id[order.client_id] = self.by_number[order.number] = order
        self.remembered.append(order)
        if len(self.remembered) > 20_000:
            old = self.remembered.popleft()
            self.by_client_id.pop(old.client_id, None)
            self.by_number.pop(old.number, None)
        market = self.markets.get(order.symbol)
        if market is not None:
            market.resting.append(order)
        return order

    def follow_up(self, order: Order) -> None:
        """What comes after the answer: the order's event, and the end of those that the price has passed."""
        self.publish(LISTEN_KEY, order.event())
        market = self.markets.get(order.symbol)
        if market is None:
            return
        while market.resting and price_ticks(market.resting[0].price) > market.price:
            passed = market.resting.popleft()
            if passed.status == "NEW":
                passed.status = "CANCELED"
                self.publish(LISTEN_KEY, passed.event())

    def answered(self) -> None:
        """In a closed loop the next tick follows the answer."""
        if self.awaited is None or self.options.pace != "closed" or not self.started:
            return
        market, level = self.awaited
        if level in market.first_ns:
            self.awaited = None
            self.next_tick_ns = now_ns()
            self.tick()

    def check_signature(self, text: str, signature: str, timestamp: object) -> None:
        state = self.sign_state.copy()
        state.update(text.encode())
        if state.hexdigest() != signature:
            self.fault("wrong signature")
        if abs(ms() - int(str(timestamp or 0))) > 5000:
            self.fault("old timestamp")

    def cancel(self, order: Order | None) -> dict[str, Any] | None:
        self.cancels += 1
        self.last_cancel_ns = now_ns()
        if order is None or order.status != "NEW":
            return None
        order.status = "CANCELED"
        return order.row()

    def find(self, params: dict[str, Any]) -> Order | None:
        found = self.by_client_id.get(str(params.get("origClientOrderId", "")))
        return found or self.by_number.get(int(params.get("orderId") or 0))

    # -- sockets -------------------------------------------------------------------------------------

    def accept(self) -> None:
        sock, _ = self.listener.accept()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Peer(sock)
        self.peers[peer.number] = peer
        self.poll.register(peer.number, select.EPOLLIN)

    def hear_driver(self) -> None:
        line = os.read(sys.stdin.fileno(), 4096).decode()
        if not line:
            self.poll.unregister(sys.stdin.fileno())
            self.over = True
        for word in line.split():
            if word == "end":
                self.over = True
            elif word == "mark":
                self.last_cancel_ns = 0
                self.start_ns = now_ns()
                print("MARKED", flush=True)
            else:
                self.pid = int(word)

    def send(self, peer: Peer, data: bytes) -> None:
        if peer.gone:
            return
        if peer.held:
            peer.held += data
            return
        try:
            sent = peer.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.drop(peer)
            return
        if sent < len(data):
            peer.held = data[sent:]
            self.poll.modify(peer.number, select.EPOLLIN | select.EPOLLOUT)

    def drop(self, peer: Peer) -> None:
        if peer.gone:
            return
        peer.gone = True
        del self.peers[peer.number]
        self.poll.unregister(peer.number)
        peer.sock.close()
        for stream in peer.streams:
            self.subscribers[stream].remove(peer)
            if not self.subscribers[stream]:
                del self.subscribers[stream]

    def hear(self, peer: Peer) -> None:
        if peer.held:
            try:
                peer.held = peer.held[peer.sock.send(peer.held) :]
            except BlockingIOError:
                pass
            except OSError:
                self.drop(peer)
                return
            if not peer.held:
                self.poll.modify(peer.number, select.EPOLLIN)
        try:
            data = peer.sock.recv(1 << 18)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(peer)
            return
        peer.buffer += data
        while not peer.gone and (self.take_frame(peer) if peer.web else self.take_request(peer)):
            pass

    def take_frame(self, peer: Peer) -> bool:
        """Whether there was a whole one."""
        data = peer.buffer
        if len(data) < 6:
            return False
        kind, size, at = data[0] & 15, data[1] & 127, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if not data[1] & 128:
            self.fault("an unmasked frame")
            self.drop(peer)
            return False
        end = at + 4 + size
        if len(data) < end:
            return False
        mask = data[at : at + 4]
        payload = data[at + 4 : end]
        if mask != b"\0\0\0\0":
            payload = unmask(payload, mask)
        peer.buffer = data[end:]
        if kind == 1:
            message = json.loads(payload)
            if peer.entry:
                self.hear_call(peer, message)
            else:
                self.hear_control(peer, message)
        elif kind == 8:
            self.send(peer, frame(payload, 8))
            self.drop(peer)
        elif kind == 9:
            self.send(peer, frame(payload, 10))
        return True

    def hear_control(self, peer: Peer, message: dict[str, Any]) -> None:
        if message.get("method") == "SUBSCRIBE":
            for stream in message.get("params", []):
                self.subscribe(peer, stream)
        self.send(peer, frame(compact({"result": None, "id": message.get("id")})))

    def subscribe(self, peer: Peer, stream: str) -> None:
        if stream and stream not in peer.streams:
            peer.streams.add(stream)
            self.subscribers.setdefault(stream, []).append(peer)

    def hear_call(self, peer: Peer, message: dict[str, Any]) -> None:
        """The WebSocket API."""
        method, params = message["method"], message.get("params") or {}
        number = json.dumps(message.get("id")).encode()
        if method == "order.place":
            self.receive(now_ns(), params)
            order = self.accept_order(params)
            limits = b'[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":1000000,"count":1}]'
            row = compact(order.row())
            answer = b'{"id":%b,"status":200,"result":%b,"rateLimits":%b}' % (number, row, limits)
            self.send(peer, frame(answer))
            self.follow_up(order)
            signature = params.pop("signature", "")
            signed = "&".join(f"{name}={params[name]}" for name in sorted(params))
            self.check_signature(signed, signature, params.get("timestamp"))
            self.answered()
            return
        result: object = {}
        if method == "order.cancel":
            result = self.cancel(self.find(params))
        elif method == "order.status":
            found = self.find(params)
            result = found.row() if found else None
        elif method == "time":
            result = {"serverTime": ms()}
        if result is None:
            refusal = b'{"id":%b,"status":400,"error":{"code":-2011,"msg":"Unknown order sent."}}'
            self.send(peer, frame(refusal % number))
            return
        self.send(peer, frame(b'{"id":%b,"status":200,"result":%b}' % (number, compact(result))))
        if method == "order.cancel":
            order_ended = self.find(params)
            if order_ended is not None:
                self.publish(LISTEN_KEY, order_ended.event())

    def take_request(self, peer: Peer) -> bool:
        data = peer.buffer
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        head = data[: head_end + 2]
        length = LENGTH.search(head)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(data) < end:
            return False
        body = data[head_end + 4 : end].decode()
        method, target, _ = head[: head.find(b"\r\n")].decode("latin-1").split(" ", 2)
        path, _, query = target.partition("?")
        peer.buffer = data[end:]
        upgrade = UPGRADE.search(head)
        if upgrade:
            self.upgrade(peer, path, query, upgrade[1])
            return True
        text = "&".join(part for part in (query, body) if part)
        params = dict(parse_qsl(text))
        if method == "POST" and path == "/fapi/v1/order":
            self.receive(now_ns(), params)
            order = self.accept_order(params)
            self.reply(peer, 200, compact(order.row()))
            self.follow_up(order)
            signed, _, signature = text.rpartition("&signature=")
            self.check_signature(signed, signature, params.get("timestamp"))
            self.answered()
            return True
        status, answer = self.answer(method, path, params)
        self.reply(peer, status, answer if isinstance(answer, bytes) else compact(answer))
        return True

    def reply(self, peer: Peer, status: int, body: bytes) -> None:
        head = (
            b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
            b"X-MBX-USED-WEIGHT-1M: 1\r\n\r\n"
        )
        self.send(peer, head % (status, len(body)) + body)

    def upgrade(self, peer: Peer, path: str, query: str, key: bytes) -> None:
        accept = base64.b64encode(hashlib.sha1(key + ACCEPT).digest())
        head = (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n"
        )
        peer.web = True
        peer.combined = "/stream" in path
        peer.entry = "ws-fapi" in path
        self.send(peer, head % accept)
        _, _, named = path.partition("/ws/")
        streams = named.split("/")
        for name, value in parse_qsl(query):
            if name == "streams":
                streams += value.split("/")
            elif name == "listenKey":
                streams.append(value)
        for stream in streams:
            self.subscribe(peer, stream)

    # -- questions -----------------------------------------------------------------------------------

    def answer(self, method: str, path: str, params: dict[str, str]) -> tuple[int, object]:
        """Everything of REST but new orders."""
        name = re.sub(r"^/[a-z]+/v\d/", "", path)
        symbol = params.get("symbol", self.turns[0].symbol)
        asked = [
            market for market in self.turns if market.symbol == symbol or "symbol" not in params
        ]
        at = ms()
        match name:
            case "time":
                return 200, {"serverTime": at}
            case "exchangeInfo":
                return 200, self.exchange_info()
            case "listenKey":
                return 200, {"listenKey": LISTEN_KEY}
            case "commissionRate":
                fees = dict.fromkeys(("makerCommissionRate", "takerCommissionRate"), "0.0000")
                return 200, {"symbol": symbol, **fees}
            case "balance":
                money = dict.fromkeys(
                    ("balance", "crossWalletBalance", "availableBalance"), "100000000"
                )
                return 200, [{"asset": "USDT", "crossUnPnl": "0", "updateTime": at, **money}]
            case "accountConfig":
                modes = {"dualSidePosition": False, "multiAssetsMargin": False}
                return 200, {"canTrade": True, "updateTime": at, **modes}
            case "symbolConfig":
                margin = {"marginType": "CROSSED", "isAutoAddMargin": False, "leverage": 5}
                most = {"maxNotionalValue": "1000000000"}
                return 200, [{"symbol": m.symbol, **margin, **most} for m in asked]
            case "positionRisk":
                return 200, [self.position(market) for market in asked]
            case "account":
                return 200, self.account()
            case "positionSide/dual":
                return 200, {"dualSidePosition": False}
            case "premiumIndex":
                return 200, self.premium(asked[0])
            case "openOrders":
                rows = [o.row() for m in asked for o in m.resting if o.status == "NEW"]
                return 200, rows
            case "order" | "batchOrders" | "allOpenOrders" if method in ("GET", "DELETE"):
                return self.one_order(method, name, params)
            case "klines":
                return 200, self.bars(asked[0], int(params.get("limit", 500)))
            case "depth":
                price = price_text(asked[0].price)
                return 200, {
                    "lastUpdateId": 1,
                    "E": at,
                    "T": at,
                    "bids": [[price, "1"]],
                    "asks": [],
                }
            case "userTrades" | "allOrders" | "income" | "leverageBracket" | "openAlgoOrders":
                return 200, []
            case "countdownCancelAll" | "ping" | "leverage" | "marginType" | "multiAssetsMargin":
                return 200, {}
        self.fault(f"unknown request {method} {path}")
        return 404, {"code": -5000, "msg": f"Path {path}, Method {method} is invalid"}

    def one_order(self, method: str, name: str, params: dict[str, str]) -> tuple[int, object]:
        unknown = {"code": -2011, "msg": "Unknown order sent."}
        if method == "GET":
            found = self.find(params)
            return (
                (200, found.row())
                if found
                else (400, {"code": -2013, "msg": "Order does not exist."})
            )
        if name == "batchOrders":
            ids = json.loads(params.get("origClientOrderIdList", "[]"))
            rows = [self.cancel(self.by_client_id.get(each)) or unknown for each in ids]
            return 200, rows
        row = self.cancel(self.find(params))
        return (200, row) if row else (400, unknown)

    def exchange_info(self) -> dict[str, Any]:
        limits = [
            {"rateLimitType": kind, "interval": every, "intervalNum": count, "limit": 10_000_000}
            for kind, every, count in (
                ("REQUEST_WEIGHT", "MINUTE", 1),
                ("ORDERS", "MINUTE", 1),
                ("ORDERS", "SECOND", 10),
            )
        ]
        filters = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": "0.01",
                "maxPrice": "1000000",
                "tickSize": TICK_SIZE,
            },
            {"filterType": "LOT_SIZE", "minQty": LOT_SIZE, "maxQty": "10000", "stepSize": LOT_SIZE},
            {
                "filterType": "MARKET_LOT_SIZE",
                "minQty": LOT_SIZE,
                "maxQty": "1000",
                "stepSize": LOT_SIZE,
            },
            {"filterType": "MAX_NUM_ORDERS", "limit": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": 10},
            {"filterType": "MIN_NOTIONAL", "notional": "5"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": "2",
                "multiplierDown": "0.1",
                "multiplierDecimal": "4",
            },
        ]
        symbols = [
            {
                **{"symbol": name, "pair": name, "contractType": "PERPETUAL", "status": "TRADING"},
                **{
                    "deliveryDate": 4133404800000,
                    "onboardDate": 1569398400000,
                    "quoteAsset": "USDT",
                },
                **{
                    "baseAsset": name.removesuffix("USDT"),
                    "marginAsset": "USDT",
                    "filters": filters,
                },
                **{
                    "pricePrecision": 2,
                    "quantityPrecision": 3,
                    "baseAssetPrecision": 8,
                    "quotePrecision": 8,
                },
                **{
                    "maintMarginPercent": "2.5",
                    "requiredMarginPercent": "5.0",
                    "underlyingType": "COIN",
                },
                **{"underlyingSubType": [], "settlePlan": 0, "triggerProtect": "0.05"},
                **{
                    "liquidationFee": "0.015",
                    "marketTakeBound": "0.05",
                    "maxMoveOrderLimit": 10000,
                },
                "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT"],
                "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
            }
            for name in self.markets
        ]
        assets = [{"asset": "USDT", "marginAvailable": True, "autoAssetExchange": "-10000"}]
        return {
            **{
                "timezone": "UTC",
                "serverTime": ms(),
                "futuresType": "U_MARGINED",
                "exchangeFilters": [],
            },
            **{"rateLimits": limits, "assets": assets},
            "symbols": symbols,
        }

    def account(self) -> dict[str, Any]:
        sums = dict.fromkeys(
            (
                *("totalInitialMargin", "totalMaintMargin", "totalUnrealizedProfit"),
                *("totalPositionInitialMargin", "totalOpenOrderInitialMargin", "totalCrossUnPnl"),
            ),
            "0",
        )
        wealth = dict.fromkeys(
            (
                *("totalWalletBalance", "totalMarginBalance", "totalCrossWalletBalance"),
                *("availableBalance", "maxWithdrawAmount"),
            ),
            "100000000",
        )
        asset = dict.fromkeys(
            (
                *("unrealizedProfit", "maintMargin", "initialMargin", "positionInitialMargin"),
                *("openOrderInitialMargin", "crossUnPnl"),
            ),
            "0",
        ) | dict.fromkeys(
            (
                *("walletBalance", "marginBalance", "crossWalletBalance", "availableBalance"),
                "maxWithdrawAmount",
            ),
            "100000000",
        )
        return {
            **{
                "feeTier": 0,
                "canTrade": True,
                "canDeposit": True,
                "canWithdraw": True,
                "updateTime": ms(),
            },
            **{"multiAssetsMargin": False, "tradeGroupId": -1, "positions": []},
            **sums,
            **wealth,
            "assets": [{"asset": "USDT", "marginAvailable": True, "updateTime": 0, **asset}],
        }

    def position(self, market: Market) -> dict[str, Any]:
        nought = dict.fromkeys(
            (
                *("positionAmt", "entryPrice", "breakEvenPrice", "unRealizedProfit", "notional"),
                *("liquidationPrice", "isolatedMargin", "isolatedWallet", "initialMargin"),
                *("maintMargin", "positionInitialMargin", "openOrderInitialMargin", "bidNotional"),
                "askNotional",
            ),
            "0",
        )
        return {
            **{"symbol": market.symbol, "positionSide": "BOTH", "marginAsset": "USDT", "adl": 0},
            **{"updateTime": 0, "markPrice": price_text(market.price), "leverage": "5"},
            **{"marginType": "cross", "isAutoAddMargin": "false", "maxNotionalValue": "1000000000"},
            **nought,
        }

    def premium(self, market: Market) -> dict[str, Any]:
        price = price_text(market.price)
        return {
            **{"symbol": market.symbol, "markPrice": price, "indexPrice": price, "time": ms()},
            **{
                "lastFundingRate": "0.0001",
                "nextFundingTime": ms() + 3_600_000,
                "interestRate": "0",
            },
        }

    def bars(self, market: Market, count: int) -> list[list[Any]]:
        price, start = price_text(market.price), ms() // 60_000 * 60_000
        return [
            [at, price, price, price, price, "1.0", at + 59_999, "1.0", 1, "0.5", "0.5", "0"]
            for at in range(start - (count - 1) * 60_000, start + 1, 60_000)
        ]

    # -- the end -------------------------------------------------------------------------------------

    def fault(self, what: str) -> None:
        self.faults[what] = self.faults.get(what, 0) + 1

    def result(self) -> dict[str, Any]:
        asked = max(1, len(self.latencies))
        span_ns = max(1, self.end_ns - self.start_ns)
        return {
            "lat_us": spread(self.latencies),
            "moved": self.moved,
            "ticks": self.measured,
            "orders": self.orders,
            "unanswered": sum(len(each.sent_ns) - len(each.first_ns) for each in self.turns),
            "cancels": self.cancels,
            "twice": self.twice,
            "unmatched": self.unmatched,
            "cpu_us_per_order": round((self.end_cpu - self.start_cpu) / 1000 / asked, 1),
            "cpu_us_per_tick": round(
                (self.end_cpu - self.start_cpu) / 1000 / max(1, self.options.ticks), 2
            ),
            "cpu_share": round((self.end_cpu - self.start_cpu) / span_ns, 3),
            "ticks_per_s": round(self.options.ticks / span_ns * SECOND_NS),
            "rss_mib": round(memory_mib(self.pid), 1),
            "start_s": round((self.first_order_ns - self.began_ns) / SECOND_NS, 2),
            "cancelled_within_ms": round((self.last_cancel_ns - self.start_ns) / 1_000_000, 2)
            if self.last_cancel_ns
            else None,
            "faults": self.faults,
        }


CONFIGURATION = """\
mode: live
exchange: binance
bot_tag: bm1
credentials:
  api_key: ${{STOPWATCH_KEY}}
  api_secret: ${{STOPWATCH_SECRET}}
endpoints:
  rest_url: http://127.0.0.1:{port}
  ws_public_url: ws://127.0.0.1:{port}/public
  ws_market_url: ws://127.0.0.1:{port}/market
  ws_private_url: ws://127.0.0.1:{port}/private
  ws_order_url: ws://127.0.0.1:{port}/ws-fapi/v1
grid:
  price_interval: 1
  order_amount: 600
  buy_window: {levels}
  sell_window: {levels}
  max_open_orders: {most}
symbols:
{symbols}
execution:
  orders_per_s: {rate}
  burst: {rate}
risk:
  monitor_symbols: [{names}]
  recovery_threshold: 1
safety:
  min_positions: 1
journal: {directory}/journal.jsonl
state_dir: {directory}/state
ledger: sqlite:///{directory}/ledger.db
"""
"""Everything on: journal, state, ledger, risk monitor. Only the rate budget is wide, as the venue's own limits are."""


def configuration(
    *, port: int, symbols: Sequence[str], levels: int, directory: str, rate: int = 10_000
) -> str:
    """What `marketmaker run` needs to trade here; key and secret come from `environment`."""
    return CONFIGURATION.format(
        port=port,
        levels=levels,
        most=max(100, 2 * levels),
        symbols="\n".join(f"  - name: {name}" for name in symbols),
        names=", ".join(symbols),
        rate=rate,
        directory=directory,
    )


def environment() -> dict[str, str]:
    return {"STOPWATCH_KEY": KEY, "STOPWATCH_SECRET": SECRET}


def pace(text: str) -> str:
    if text != "closed" and not text.isdigit():
        raise argparse.ArgumentTypeError("must be 'closed' or microseconds from tick to tick")
    return text


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="stopwatch", description="A venue with a stopwatch.")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--symbols", type=lambda text: text.split(","), default=["ETHUSDT"])
    parser.add_argument("--levels", type=int, default=3, help="the client's buy window")
    parser.add_argument("--ticks", type=int, default=2000, help="measured ticks")
    parser.add_argument("--warm-up", type=int, default=200, help="ticks before those")
    parser.add_argument("--move-every", type=int, default=1, help="every Nth tick falls a level")
    parser.add_argument(
        "--pace", type=pace, default="closed", help="'closed': the next tick follows the answer"
    )
    parser.add_argument(
        "--hold", action="store_true", help="no ticks: wait for cancels until told to end"
    )
    parser.add_argument("--max-seconds", type=float, default=120.0)
    parsed = parser.parse_args(arguments)
    parsed.pace_ns = 0 if parsed.pace == "closed" else int(parsed.pace) * 1000
    return parsed


if __name__ == "__main__":
    print("RESULT", json.dumps(Venue(options()).run()), flush=True)
