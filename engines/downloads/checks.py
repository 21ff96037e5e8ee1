"""Whether a file is the one that the catalogue means."""

from __future__ import annotations

from pathlib import Path

from engines.base import ModelError
from engines.catalogue import Download, UpstreamFile
from engines.models import sha256_of


def require_bytes(path: Path, expected: Download | UpstreamFile) -> None:
    """Raises ModelError unless the file has exactly the bytes that are expected."""
    size = path.stat().st_size
    if size != expected.bytes:
        raise ModelError(f"{path} has {size} bytes, {expected.name} must have {expected.bytes}")
    found = sha256_of(path)
    if found != expected.sha256:
        raise ModelError(f"{path} has SHA-256 {found}, {expected.name} must have {expected.sha256}")


def is_whole(path: Path, expected: Download) -> bool:
    """Whether the download lies there, right to the byte."""
    if not path.is_file():
        return False
    try:
        require_bytes(path, expected)
    except ModelError:
        return False
    return True
