"""milvus-lite: Milvus's protocol over a local file, for tests and laptops. One process at a time has a file open."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gallery.types import StorageError

CHANNEL = {"grpc.keepalive_time_ms": 2**31 - 1}
"""How it is reached: its server hangs up on who pings it every ten seconds, as pymilvus does."""
_lock = threading.Lock()


@dataclass
class _Server:
    server: Any
    database: Any
    port: int
    users: int


_servers: dict[Path, _Server] = {}


def opened(path: Path) -> str:
    """The address to reach the file at, as pymilvus takes it; `released` gives it back. Raises StorageError."""
    path = path.resolve()
    with _lock:
        if path not in _servers:
            _servers[path] = _started(path)
        _servers[path].users += 1
        return f"http://127.0.0.1:{_servers[path].port}"


def released(path: Path) -> None:
    """The last one out closes the file."""
    path = path.resolve()
    with _lock:
        found = _servers[path]
        found.users -= 1
        if not found.users:
            del _servers[path]
            found.server.stop(grace=2).wait()
            found.database.close()


def _started(path: Path) -> _Server:
    try:
        from milvus_lite.adapter.grpc.server import start_server_in_thread
        from milvus_lite.exceptions import DataDirLockedError
    except ImportError as error:
        raise StorageError(
            f"{path} is a file of milvus-lite, which is not installed: pip install milvus-lite, or name a server"
        ) from error
    try:
        # One at a time: it writes a collection from one thread only.
        server, database, port = start_server_in_thread(str(path), max_workers=1)
        return _Server(server, database, port, users=0)
    except DataDirLockedError:
        raise StorageError(
            f"{path} is open in another process, and milvus-lite serves one: set FACESERVE_WORKERS=1, stop the other, "
            "or run a Milvus server and name its address"
        ) from None
    except OSError as error:
        raise StorageError(f"{path} could not be opened: {error.strerror or error}") from error
