"""The load generator, against a server that is slow to the point of being awkward."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from itertools import repeat

import pytest

from app.bench.client import answer_length, drive, http_request, image_request


class Echo(socketserver.StreamRequestHandler):
    """Answers each request with the status its path names, in two pieces."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            path = line.split()[1].decode()
            length = 0
            while (header := self.rfile.readline()) != b"\r\n":
                name, _, value = header.decode().partition(":")
                length = int(value) if name == "content-length" else length
            body = self.rfile.read(length)
            with self.server.lock:  # type: ignore[attr-defined]
                self.server.seen.append((path, body))  # type: ignore[attr-defined]
            if path == "/hang-up":
                return
            self.wfile.write(f"HTTP/1.1 {path[1:]} Some Reason\r\nContent-Le".encode())
            self.wfile.flush()
            self.wfile.write(b"ngth: 5\r\n\r\nhello")


class EchoServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.lock = threading.Lock()
        self.seen: list[tuple[str, bytes]] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    with EchoServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_every_request_is_sent_once_and_answered(echo: EchoServer) -> None:
    shared = iter([http_request("POST", "/200", f"{number}".encode()) for number in range(50)])
    done = drive(echo.port, [shared] * 7)
    assert sorted(int(body) for _, body in echo.seen) == list(range(50))
    assert done.statuses == {200: 50}
    assert len(done.latencies_ms) == 50
    assert all(0 < latency <= 1e3 * done.seconds for latency in done.latencies_ms)


def test_lanes_keep_their_order(echo: EchoServer) -> None:
    lanes = [[http_request("POST", "/200", f"{lane}-{turn}".encode()) for turn in range(10)] for lane in range(3)]
    drive(echo.port, lanes)
    for lane in range(3):
        own = [body.decode() for _, body in echo.seen if body.startswith(f"{lane}-".encode())]
        assert own == [f"{lane}-{turn}" for turn in range(10)]


def test_bodies_larger_than_the_socket_buffers_arrive_whole(echo: EchoServer) -> None:
    body = bytes(range(256)) * 40_000
    drive(echo.port, [[http_request("POST", "/200", body)]] * 2)
    assert [found == body for _, found in echo.seen] == [True, True]


def test_statuses_are_counted(echo: EchoServer) -> None:
    lane = [http_request("GET", "/200"), http_request("GET", "/503"), http_request("GET", "/200")]
    assert drive(echo.port, [lane]).statuses == {200: 2, 503: 1}


def test_one_of_so_many_answers_is_kept_whole(echo: EchoServer) -> None:
    requests = [http_request("GET", "/503"), *[http_request("GET", "/200")] * 6]
    done = drive(echo.port, [requests], keep_every=3)
    assert [(sent.index, sent.status) for sent, _ in done.kept] == [(0, 503), (3, 200), (6, 200)]
    assert all(sent in done.sent for sent, _ in done.kept)
    assert {answer[9:12] + answer[-5:] for _, answer in done.kept} == {b"503hello", b"200hello"}
    assert drive(echo.port, [requests]).kept == []


def test_a_server_that_hangs_up_is_an_error(echo: EchoServer) -> None:
    with pytest.raises(ConnectionError, match="closed a connection"):
        drive(echo.port, [repeat(http_request("GET", "/hang-up"), 1)])


def test_image_request_is_json() -> None:
    head, _, body = image_request("/detect", b"BM", min_score=0.25).partition(b"\r\n\r\n")
    assert head.startswith(b"POST /detect HTTP/1.1\r\n")
    assert json.loads(body) == {"image": "Qk0=", "min_score": 0.25}
    assert f"content-length: {len(body)}".encode() in head


def test_length_of_an_answer() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 12\r\n\r\n"
    assert answer_length(bytearray(answer[:-1])) == 0
    assert answer_length(bytearray(answer + b"hel")) == len(answer) + 12
    with pytest.raises(ValueError, match="without content-length"):
        answer_length(bytearray(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"))
