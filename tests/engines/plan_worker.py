"""Another process at work on a folder of plans: `plan_worker.py FOLDER DEED`, where DEED is one of DEEDS below."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engines.base import PlanError
from engines.plans import PlanKey, PlanStore, Profile

KEY = PlanKey("ab" * 32, "8.6.1", "NVIDIA H200", "9.0", "fp16", Profile(1, 8, 32))
LABEL = "tiny 640x640"


def say(word: str) -> None:
    print(word, flush=True)


def build(store: PlanStore) -> None:
    """As `faceserve build` does; says `waiting`, then `found` or `building`, and builds until it gets a line."""
    say("waiting")
    with store.building(KEY):
        try:
            store.find(KEY, LABEL)
            say("found")
        except PlanError:
            say("building")
            sys.stdin.readline()
            store.add(KEY, LABEL, b"made by process %d" % os.getpid(), {})


def die_in_add(store: PlanStore, files_in_place: int) -> None:
    """Is killed in the middle of `add`, when so many of its files are in place and the next is written out."""
    replace, replaced = Path.replace, 0

    def replace_or_die(self: Path, target: Path) -> Path:
        nonlocal replaced
        if replaced == files_in_place:
            os.kill(os.getpid(), signal.SIGKILL)
        replaced += 1
        return replace(self, target)

    Path.replace = replace_or_die  # type: ignore[method-assign, assignment]
    with store.building(KEY):
        store.add(KEY, LABEL, b"never whole", {})


def count(file: Path) -> None:
    """Adds one to the number in the file, a hundred times, each under the lock."""
    from engines.file_lock import file_lock

    for _ in range(100):
        with file_lock(file.with_suffix(".lock")):
            file.write_text(str(int(file.read_text()) + 1))


DEEDS = {
    "build": lambda folder: build(PlanStore(folder)),
    "die0": lambda folder: die_in_add(PlanStore(folder), 0),
    "die1": lambda folder: die_in_add(PlanStore(folder), 1),
    "count": lambda folder: count(folder / "number"),
}

if __name__ == "__main__":
    DEEDS[sys.argv[2]](Path(sys.argv[1]))
