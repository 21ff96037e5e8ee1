"""The load: one thread, an epoll loop, requests that were written down before the clock starts.

A core of its own sends some 15,000 requests a second of 200 kB: it does not parse JSON, does not copy bodies, reads
an answer's status and length and nothing else. So the server is the bottleneck, never this.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import orjson
import pybase64

from app.bench.processes import answer_each

QUIET_S = 120
RECEIVED_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one request. `index` is its place in the order of sending."""

    index: int
    status: int
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Drive:
    """What became of all: `seconds` from the first byte sent to the last answer's end; `kept` are whole answers."""

    seconds: float
    sent: list[Sent]
    kept: list[tuple[Sent, bytes]]

    @property
    def latencies_ms(self) -> list[float]:
        """In the order of sending."""
        return [sent.latency_ms for sent in sorted(self.sent, key=lambda sent: sent.index)]

    @property
    def statuses(self) -> dict[int, int]:
        """How many answers had which status."""
        found = [sent.status for sent in self.sent]
        return {status: found.count(status) for status in sorted(set(found))}


def http_request(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """A request as it goes over a keep-alive connection."""
    head = f"{method} {path} HTTP/1.1\r\nhost: bench\r\n"
    if body:
        head += f"content-type: {content_type}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def image_request(route: str, image: bytes, **options: Any) -> bytes:
    """A JSON request with one image in base64."""
    return http_request("POST", route, orjson.dumps({"image": pybase64.b64encode(image).decode()} | options))


def drive(port: int, lanes: Sequence[Iterable[bytes]], keep_every: int = 0) -> Drive:
    """Sends each lane's requests over a connection of its own, the next when the last is answered.

    Lanes may share one iterator: then whoever is free takes the next request. Of every `keep_every` answers one
    is kept, of 0 none. Raises ConnectionError when the server hangs up, TimeoutError when nothing moves for QUIET_S.
    """
    counter = iter(range(sys.maxsize))
    connections = [_Connection(port, iter(lane), counter, keep_every) for lane in lanes]
    selector = selectors.DefaultSelector()
    start = time.perf_counter()
    try:
        for connection in connections:
            connection.send_next(selector)
        while selector.get_map():
            events = selector.select(QUIET_S)
            if not events:
                raise TimeoutError(f"no answer within {QUIET_S} s")
            for key, _ in events:
                key.data.move(selector)
    finally:
        seconds = time.perf_counter() - start
        selector.close()
        for connection in connections:
            connection.close()
    sent = [sent for connection in connections for sent in connection.sent]
    return Drive(seconds, sent, [answer for connection in connections for answer in connection.kept])


class _Connection:
    def __init__(self, port: int, requests: Iterator[bytes], counter: Iterator[int], keep_every: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=QUIET_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._requests, self._counter, self._keep_every = requests, counter, keep_every
        self.sent: list[Sent] = []
        self.kept: list[tuple[Sent, bytes]] = []
        self._index, self._since = -1, 0.0
        self._unsent = memoryview(b"")
        self._answer = bytearray()
        self._end = 0
        self._registered = 0

    def send_next(self, selector: selectors.BaseSelector) -> None:
        request = next(self._requests, None)
        if request is None:
            if self._registered:
                selector.unregister(self._socket)
            return
        self._index, self._since = next(self._counter), time.perf_counter()
        self._unsent, self._end = memoryview(request), 0
        self._answer.clear()
        self._send(selector)

    def move(self, selector: selectors.BaseSelector) -> None:
        if self._unsent:
            self._send(selector)
        else:
            self._receive(selector)

    def _send(self, selector: selectors.BaseSelector) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        self._watch(selector, selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ)

    def _receive(self, selector: selectors.BaseSelector) -> None:
        data = self._socket.recv(RECEIVED_AT_ONCE)
        if not data:
            raise ConnectionError("the server closed a connection in the middle of an answer")
        self._answer += data
        if not self._end:
            self._end = answer_length(self._answer)
        if self._end and len(self._answer) >= self._end:
            latency_ms = 1e3 * (time.perf_counter() - self._since)
            self.sent.append(Sent(self._index, int(self._answer[9:12]), latency_ms))
            if self._keep_every and self._index % self._keep_every == 0:
                self.kept.append((self.sent[-1], bytes(self._answer)))
            self.send_next(selector)

    def _watch(self, selector: selectors.BaseSelector, event: int) -> None:
        if not self._registered:
            selector.register(self._socket, event, self)
        elif self._registered != event:
            selector.modify(self._socket, event, self)
        self._registered = event

    def close(self) -> None:
        self._socket.close()


def answer_length(received: bytearray) -> int:
    """The length of head and body of the answer that begins so; 0 while the head is not there in full.

    Raises ValueError for an answer without `content-length`.
    """
    head_end = received.find(b"\r\n\r\n")
    if head_end < 0:
        return 0
    head = bytes(received[:head_end]).lower()
    _, found, rest = head.partition(b"\r\ncontent-length:")
    if not found:
        raise ValueError(f"an answer without content-length: {head[:200]!r}")
    return head_end + 4 + int(rest.partition(b"\r\n")[0])


def main() -> None:
    """Answers `{"port", "route", "photos", "connections", "count"}` with seconds, latencies and statuses."""
    written: dict[tuple[str, str], bytes] = {}

    def answer(asked: Any) -> Any:
        for photo in asked["photos"]:
            if (asked["route"], photo) not in written:
                written[asked["route"], photo] = image_request(asked["route"], Path(photo).read_bytes())
        requests = islice(cycle(written[asked["route"], photo] for photo in asked["photos"]), asked["count"])
        done = drive(asked["port"], [requests] * asked["connections"])
        return {"seconds": done.seconds, "latencies_ms": done.latencies_ms, "statuses": done.statuses}

    answer_each(answer)


if __name__ == "__main__":
    main()
