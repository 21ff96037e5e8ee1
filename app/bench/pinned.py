"""`python -m app.bench.pinned CORES MODULE …`: binds itself to cores, then becomes `python -m MODULE …`.

The threads that libraries start when they are imported inherit the binding; bound later, they would not.
"""

from __future__ import annotations

import os
import sys


def cores_in(text: str) -> list[int]:
    """`0-3,8` as its numbers; ValueError for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        cores = range(int(first), int(last or first) + 1)
        if not cores:
            raise ValueError(f"{part!r} names no core")
        found += cores
    return found


if __name__ == "__main__":
    cores, *command = sys.argv[1:]
    os.sched_setaffinity(0, cores_in(cores))
    os.execv(sys.executable, [sys.executable, "-m", *command])
