"""A server of files on this machine that can be told to misbehave."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from engines.catalogue import Download

CONTENT = bytes(range(256)) * 40
Answer = Callable[["Request", bytes], None]


class Request(BaseHTTPRequestHandler):
    """One request. The server's `answers` are given in turn, one a request; after them it behaves."""

    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        answer = server.answers.pop(0) if server.answers else behave
        answer(self, server.files.get(self.path.rpartition("/")[2], b""))

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class FileServer(ThreadingHTTPServer):
    """Serves `files` by name, whatever folder is asked for; `asked` are the paths and ranges of the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.files: dict[str, bytes] = {"tiny.bin": CONTENT}
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str | None]] = []
        self.stopped = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def download(self, name: str = "tiny.bin", *urls: str) -> Download:
        """The file as a catalogue has it, from this server unless other addresses are given."""
        content = self.files[name]
        return Download(name, urls or (f"{self.address}/{name}",), hashlib.sha256(content).hexdigest(), len(content))


def behave(request: Request, content: bytes) -> None:
    asked = request.headers.get("Range")
    if not asked:
        request.head(200, len(content))
        request.wfile.write(content)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    request.head(206, len(content) - start, Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")
    request.wfile.write(content[start:])


def breaks_off(after: int, *, silently: bool = False) -> Answer:
    """Promises all and ends after so many bytes; `silently` keeps the connection and says nothing more."""

    def answer(request: Request, content: bytes) -> None:
        start = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        whole = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        request.head(206 if start else 200, len(content) - start, **whole)
        request.wfile.write(content[start : start + after])
        request.wfile.flush()
        if silently:
            request.server.stopped.wait()

    return answer


def says(status: int, **headers: str) -> Answer:
    return lambda request, content: request.head(status, 0, **headers)


def ignores_range(request: Request, content: bytes) -> None:
    request.head(200, len(content))
    request.wfile.write(content)


def sends(content: bytes, *, length: int | None = None) -> Answer:
    """Another file, perhaps under a length that is not its own; without any length where that is None."""

    def answer(request: Request, _: bytes) -> None:
        request.head(200, length)
        request.wfile.write(content)

    return answer


def hangs(request: Request, content: bytes) -> None:
    request.server.stopped.wait()


@contextmanager
def serving() -> Iterator[FileServer]:
    """A server that runs until the block ends."""
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
