"""`hurting.py FOLDER DEED ERRNO STEP`: one deed, whose calls that change a file fail from one on, for each in turn.

Says a line of JSON for each: a `Hurt`. The fault goes away when the deed has failed; then it is asked for again.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gallery.local.gallery import LocalGallery
from tests.gallery.local.faults import tracing, world
from tests.gallery.local.faults.dying import DEEDS, WORLD, in_a_fresh_process, judged, made_ready
from tests.gallery.local.faults.tracing import Call
from tests.gallery.local.faults.world import Deed

# A full disk lets everything be but what needs room; one that cannot be written at all, nothing.
_SPARES = {errno.ENOSPC: {"fsync", "fdatasync", "ftruncate", "unlink", "unlinkat"}, errno.EIO: {"unlink", "unlinkat"}}


@dataclass(frozen=True, slots=True)
class Hurt:
    """`said`: the error's class, "" if the deed was done; `during`: what a reader saw while the fault lasted, "before"
    or "after" the deed; `wrong`: what was wrong when it had gone."""

    at: str
    said: str
    message: str
    during: str
    wrong: list[str]


def seen(gallery: LocalGallery, deed: Deed) -> str:
    found = world.observed(gallery)
    if wrong := world.consistency(gallery, found):
        return f"{wrong}"
    return {True: "before", False: "after" if found == deed.after(WORLD) else f"{found}"}[found == WORLD]


def hurt(folder: Path, deed: Deed, at: int, number: int) -> Hurt | None:
    """None when the deed has no such call."""
    ear, mouth = os.pipe()
    first = ""

    def work() -> None:
        gallery = LocalGallery(folder, erase_timeout_s=0)
        world.consistency(gallery, WORLD)
        tracing.begin()
        said = message = again = ""
        try:
            deed.do(gallery)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            said, message = type(error).__name__, str(error)
        during = seen(gallery, deed)
        os.write(mouth, json.dumps([said, message, during]).encode() + b"\n")  # from here on the fault is gone
        try:
            if during == "before":
                deed.do(gallery)
            gallery.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            again = f"loss: when the fault had gone: {error!r}"
        os.write(mouth, json.dumps(again).encode())

    def meddle(call: Call) -> int | None:
        nonlocal first
        if call.number < at or call.name in _SPARES.get(number, ()) or select.select([ear], [], [], 0)[0]:
            return None
        first = first or f"{call.name} {Path(call.file).name}"
        return number

    tracing.traced(work, folder, meddle)
    os.close(mouth)
    with os.fdopen(ear) as told:
        said, message, during = json.loads(told.readline())
        again = json.loads(told.readline())
    if not first:
        return None
    _, wrong = in_a_fresh_process(lambda: judged(folder, deed, WORLD, acknowledged=True))
    return Hurt(first, said, message, during, [*wrong, *([again] if again else [])])


def every_call(folder: Path, deed: Deed, number: int, step: int) -> Iterator[Hurt]:
    whole, copy = made_ready(folder / "whole"), folder / "copy"
    for at in range(1, 1000, step):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        result = hurt(copy, deed, at, number)
        if result is None:
            return
        yield result


def main(folder: Path, deed: str, number: str, step: str) -> None:
    for result in every_call(folder, DEEDS[deed], getattr(errno, number), int(step)):
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
