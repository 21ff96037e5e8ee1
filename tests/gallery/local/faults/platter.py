"""What a disk would hold had the power failed: of each file, what was last synced."""

from __future__ import annotations

from pathlib import Path

from tests.gallery.local.faults.tracing import Call


class Platter:
    """The strictest disk: nothing is on it before its fsync, neither a file's bytes nor a folder's entries.

    A file's first sync puts its entry there too, as every journaling file system does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._synced: dict[int, bytes] = {}
        self._entries: dict[Path, int] = {}
        for path in self._files():
            self._sync(path)

    def done(self, call: Call) -> None:
        """Told of each call that succeeded."""
        if call.name not in ("fsync", "fdatasync", "msync"):
            return
        path = Path(call.file)
        if path.is_dir():
            self._entries = {each: inode for each, inode in self._entries.items() if each.parent != path}
            self._entries |= {each: each.stat().st_ino for each in path.iterdir() if each.is_file()}
        elif path.is_file():
            self._sync(path)

    def cut(self) -> None:
        """Makes the folder what it would be when the power comes back."""
        for path in self._files():
            path.unlink()
        for path, inode in self._entries.items():
            if not path.name.endswith("-shm"):  # SQLite makes it anew when nobody has the database open
                path.write_bytes(self._synced.get(inode, b""))

    def _files(self) -> list[Path]:
        return [path for path in self._folder.rglob("*") if path.is_file()]

    def _sync(self, path: Path) -> None:
        self._synced[path.stat().st_ino] = path.read_bytes()
        self._entries[path] = path.stat().st_ino
