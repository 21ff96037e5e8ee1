"""The trail: lines appended by several processes at once to one chain, in files of a bounded size."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.audit.line import last_link, sealed
from app.audit.mark import Mark, load_mark, locked

FOLDER = "audit"
FILE_BYTES = 64 * 2**20
log = logging.getLogger("faceserve")


class Trail:
    """Appends to the files in `folder`, of mode 0600 like the folder's 0700; a new one when one has `file_bytes`.

    Every call opens what it needs and keeps nothing, so it may come from any thread and any process, and files that
    were moved away are missed at once. Files are named after the number of their first line. Raises OSError.
    """

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES) -> None:
        self.folder = folder
        self._file_bytes = file_bytes
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def append(self, records: Sequence[Mapping[str, Any]], *, sync: bool) -> None:
        """All of the records or none, in one write; with `sync`, on disk when this returns.

        Whoever is killed in it leaves at most the beginning of a line, which the next writer ends and verification
        tells of.
        """
        with ExitStack() as stack:
            with locked(self.folder) as lock:
                mark, torn = self._resumed(load_mark(lock) or self._lost_mark())
                if mark.size >= self._file_bytes:
                    sync_path(self.folder / mark.file)  # else a power cut could leave a hole before a line on the disk
                    mark, torn = self._resumed(Mark(mark.link, _file_after(mark), 0))
                data, link = b"\n" if torn else b"", mark.link
                for record in records:
                    line, link = sealed(record, link)
                    data += line
                handle = stack.enter_context(self._opened(mark))
                _write_whole(handle, data, mark.size)
                with suppress(OSError):  # the line is there: the next writer finds it behind the mark
                    replace(mark, link=link, size=mark.size + len(data)).save(lock)
            if sync:  # outside the lock: other writers go on, and one sync does for all lines before it
                os.fsync(handle)

    def probe(self) -> None:
        """Raises OSError where nothing could be appended because of rights, or a file system mounted read-only."""
        with locked(self.folder):
            pass

    def _resumed(self, mark: Mark) -> tuple[Mark, bool]:
        """Where to go on, and whether there lies the beginning of a line.

        Lines behind the mark were written by somebody killed before the mark was. A file that ends before the mark was
        cut: the chain goes on from the mark all the same, so that the gap shows for ever.
        """
        path = self.folder / mark.file
        try:
            size = path.stat().st_size
            if size == mark.size:
                return mark, False
            with path.open("rb") as file:
                file.seek(min(mark.size, max(size - 1, 0)))
                rest = file.read()
        except FileNotFoundError:
            if not mark.size:
                return mark, False
            log.error("the audit's file %s is gone: `faceserve audit verify` tells what is missing", path)
            return Mark(mark.link, _file_after(mark), 0), False
        torn = bool(rest) and not rest.endswith(b"\n")
        if size < mark.size:
            log.error("the audit's file %s was cut: `faceserve audit verify` tells what is missing", path)
            return replace(mark, size=size), torn
        return replace(mark, size=size, link=last_link(rest) or mark.link), torn

    def _lost_mark(self) -> Mark:
        """The beginning of the newest file, from which its lines are read again."""
        files = files_of(self.folder)
        return Mark(file=files[-1].name) if files else Mark()

    @contextmanager
    def _opened(self, mark: Mark) -> Iterator[int]:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        handle = os.open(f"{self.folder}/{mark.file}", flags, 0o600)
        try:
            if not mark.size:
                sync_path(self.folder)
            yield handle
        finally:
            os.close(handle)


def files_of(folder: Path) -> list[Path]:
    """The files of a trail, oldest first."""
    return sorted(folder.glob("*.ndjson"))


def _file_after(mark: Mark) -> str:
    return f"{mark.link.number + 1:012d}.ndjson"


def _write_whole(handle: int, data: bytes, size: int) -> None:
    """In one call; what there was no room for is taken back."""
    written = os.write(handle, data)
    if written < len(data):
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_path(path: Path) -> None:
    """What was written to the file, or which names the folder has, is on disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
