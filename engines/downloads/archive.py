"""Taking single members out of a ZIP archive that nobody has to trust."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from engines.base import ModelError
from engines.catalogue import UpstreamFile
from engines.downloads.checks import require_bytes

CHUNK = 2**20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)
"""What `zipfile` raises for archives that are damaged, encrypted or packed in a way it does not know."""


def extract(archive: Path, member: UpstreamFile, folder: Path) -> Path:
    """Writes the one member called so, in whatever folder of the archive it lies, to `folder`, and returns its path.

    No name from the archive is used as a path, and never more is written than the member's size in the catalogue.
    Raises ModelError for an archive without it or with two, and for one that says or holds other bytes.
    """
    target = folder / member.name
    try:
        with zipfile.ZipFile(archive) as opened:
            entry = _entry(opened, member, archive)
            with _opened(opened, entry) as packed, target.open("wb") as file:
                _copy(packed, file, member, archive)
    except _DAMAGE as error:
        raise ModelError(f"{archive} cannot be unpacked: {str(error) or type(error).__name__}") from error
    require_bytes(target, member)
    return target


def _opened(opened: zipfile.ZipFile, entry: zipfile.ZipInfo) -> IO[bytes]:
    try:
        return opened.open(entry)
    except OSError as error:  # a place before the file's beginning
        raise zipfile.BadZipFile(f"{entry.filename} is not where it should be") from error


def _entry(opened: zipfile.ZipFile, member: UpstreamFile, archive: Path) -> zipfile.ZipInfo:
    entries = [entry for entry in opened.infolist() if PurePosixPath(entry.filename).name == member.name]
    if len(entries) != 1 or entries[0].is_dir():
        raise ModelError(f"{archive} has {len(entries)} files called {member.name}: expected one")
    if entries[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError(f"{archive} has {member.name} packed in a way that is not read: only stored or deflated is")
    if entries[0].file_size != member.bytes:
        raise ModelError(
            f"{archive} says that {member.name} has {entries[0].file_size} bytes, it must have {member.bytes}"
        )
    return entries[0]


def _copy(packed: IO[bytes], file: BinaryIO, member: UpstreamFile, archive: Path) -> None:
    left = member.bytes
    while chunk := packed.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise ModelError(f"{archive} holds more for {member.name} than the {member.bytes} bytes it must have")
        file.write(chunk)
