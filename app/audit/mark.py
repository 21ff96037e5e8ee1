"""The mark: how far the audit is, in the file that its writers lock."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.audit.line import ORIGIN, Link

if sys.platform != "win32":
    import fcntl

MARK = "mark"
_BYTES = 160
_SAVED = re.compile(rb"(\d+) (\w+) (\d{12,}\.ndjson) (\d+)\s*")


@dataclass(frozen=True, slots=True)
class Mark:
    """The last line, the file that it stands in, and the bytes of that file up to its end."""

    link: Link = ORIGIN
    file: str = "000000000001.ndjson"
    size: int = 0

    def save(self, handle: int) -> None:
        """In place and in one call, so that no reader sees a part of it. Not synced: after a power cut it may be
        behind the lines or ahead of them, and both show."""
        text = f"{self.link.number} {self.link.digest} {self.file} {self.size}"
        os.pwrite(handle, text.ljust(_BYTES - 1).encode() + b"\n", 0)


def load_mark(handle: int) -> Mark | None:
    """What was saved last; None if nothing was, or nothing that can be read."""
    found = _SAVED.fullmatch(os.pread(handle, _BYTES, 0))
    if found is None:
        return None
    number, digest, file, size = (each.decode() for each in found.groups())
    return Mark(Link(int(number), digest), file, int(size))


@contextmanager
def locked(folder: Path, *, shared: bool = False) -> Iterator[int]:
    """The mark's file, open, while no other thread or process has it; with `shared`, while none writes.

    Raises OSError where the folder cannot be written (or, `shared`, the file is not there).
    """
    flags = os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT
    handle = os.open(f"{folder}/{MARK}", flags | os.O_CLOEXEC, 0o600)
    try:
        # Of this opening, not of this process: threads exclude each other too, and a process that is killed frees it.
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
