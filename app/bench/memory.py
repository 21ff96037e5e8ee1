"""How much memory a server's worker holds, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

from app.bench.processes import BenchError

PROC = Path("/proc")


def worker_of(server: int) -> int:
    """The process under `server` that holds the most memory: its only worker, or itself where it has none."""
    if not PROC.is_dir():
        raise BenchError("memory is read from /proc, which this system does not have: run this on Linux")
    return max(family_of(server), key=resident_bytes)


def family_of(process: int) -> list[int]:
    """`process` and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [process]
    for member in found:
        found += children.get(member, [])
    return found


def resident_bytes(process: int) -> int:
    """Its resident set; 0 for a process that ended."""
    try:
        pages = (PROC / str(process) / "statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _parent(entry: Path) -> int | None:
    try:
        after_name = (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return int(after_name[1])
