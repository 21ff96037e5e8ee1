"""`dying.py FOLDER BUILD DEED STEP`: one deed, cut short before each STEPth of its calls that change a file, in turn;
a STEP of 0 is before the first of each row of like calls on one file, and before every fourth call.
`dying.py FOLDER BUILD random ROUNDS SEED`: one gallery, a deed a round, cut short at random.
`dying.py FOLDER convict BUILD,DEED,HOW,FINDING ...`: whether a checker finds that in a broken build, a list of JSON.

Says a line of JSON for each: an `Ending`.
This process has no gallery open while it forks: what it forks is as good as a fresh process, and quick.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from gallery.local.gallery import LocalGallery
from tests.gallery.local.encryption.sealing import KEY
from tests.gallery.local.faults import tracing, world
from tests.gallery.local.faults.builds import BUILDS
from tests.gallery.local.faults.platter import Platter
from tests.gallery.local.faults.tracing import KILL, Call
from tests.gallery.local.faults.world import (
    EMBEDDER,
    Deed,
    Person,
    World,
    enrols,
    erases,
    erases_all,
    erases_face,
    expires,
)

WORLD: World = {
    "Alice Liddell": Person((1, 2, 3), "alice@example.org"),
    **{f"person {number}": Person((number,), f"note {number}") for number in range(10, 16)},
}
DEEDS = {
    "enrol": enrols("Charles Dodgson", 4, 6, note="dodgson@example.org"),
    "enrol more": enrols("Alice Liddell", 3, 4, note="mrs@example.org"),
    "erase": erases("Alice Liddell"),
    "erase face": erases_face("Alice Liddell", 3),
    "erase collection": erases_all(),
    "expire": expires("Alice Liddell"),
    "snapshot": world.snapshot(),
    "encrypt": world.encrypts(KEY),
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How one deed was cut short, and what was wrong afterwards. `ended`: it was over before."""

    at: str
    how: str
    ended: bool
    acknowledged: bool
    wrong: list[str]
    found: dict[str, Person]


def prepare(folder: Path) -> None:
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, world.DIMENSION)
        for name, person in WORLD.items():
            enrols(name, *person.faces, note=person.note).do(gallery)
        world.snapshot().do(gallery)


def cut_short(folder: Path, deed: Deed, before: World, at: int, how: str) -> Ending:
    """Ends the process that does the deed before its call number `at`, and judges what is left."""
    ear, mouth = os.pipe()
    platter, last = Platter(folder), ["the end"]

    def work() -> None:
        gallery = LocalGallery(folder)
        tracing.begin()
        try:
            deed.do(gallery)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            os.write(mouth, f"failed: {error!r}".encode())
        else:
            os.write(mouth, b"acknowledged")
        gallery.close()

    def meddle(call: Call) -> str | None:
        if call.number < at:
            return None
        last[0] = f"{call.name} {Path(call.file).name}".strip()
        return KILL

    ended = tracing.traced(work, folder, meddle, platter.done)
    os.close(mouth)
    with os.fdopen(ear) as told:
        said = told.read()
    if how == "power":
        platter.cut()
    acknowledged = said == "acknowledged"
    found, wrong = in_a_fresh_process(lambda: judged(folder, deed, before, acknowledged=acknowledged))
    if said and not acknowledged:
        wrong.append(said)
    return Ending(last[0], how, ended, acknowledged, wrong, found)


def in_a_fresh_process(ask: Callable[[], tuple[World, list[str]]]) -> tuple[dict[str, Person], list[str]]:
    ear, mouth = os.pipe()
    if not (child := os.fork()):
        try:
            found, wrong = ask()
            told = json.dumps([{name: asdict(person) for name, person in found.items()}, wrong])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            told = json.dumps([{}, [f"loss: the gallery cannot be used: {error!r}"]])
        with os.fdopen(mouth, "w") as out:
            out.write(told)
        os._exit(0)
    os.close(mouth)
    with os.fdopen(ear) as told_here:
        found_there, wrong_there = json.loads(told_here.read())
    os.waitpid(child, 0)
    return {name: Person(tuple(each["faces"]), each["note"]) for name, each in found_there.items()}, wrong_there


def judged(folder: Path, deed: Deed, before: World, *, acknowledged: bool) -> tuple[World, list[str]]:
    """Who is there after the crash, and what the three checkers say; then whether the deed can be done after all."""
    after = deed.after(before)
    wrong = world.leak(folder, before, after) if acknowledged else []
    with LocalGallery(folder) as gallery:
        found = world.observed(gallery)
        wrong += world.loss(found, before, after, acknowledged=acknowledged)
        wrong += world.consistency(gallery, found)
        if found != before:
            wrong += world.leak(folder, before, after)
        if found != after:
            deed.do(gallery)
            found = world.observed(gallery)
            wrong += world.loss(found, before, after, acknowledged=True) + world.consistency(gallery, found)
    return found, wrong + world.leak(folder, before, after)


def made_ready(folder: Path) -> Path:
    """A gallery of WORLD, closed. Looked at once in this process, so that its forks have nothing left to import."""
    prepare(folder)
    with LocalGallery(folder) as gallery:
        world.consistency(gallery, world.observed(gallery))
    gc.collect()
    gc.freeze()  # else a fork's first collection copies all that it shares with this process
    return folder


def every_call(folder: Path, deed: Deed, step: int) -> Iterator[Ending]:
    """Killed before each call; without power after each sync and each word, for in between nothing reaches the disk."""
    whole, copy = made_ready(folder / "whole"), folder / "copy"

    def ending(at: int, how: str) -> Ending:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(whole, copy)
        return cut_short(copy, deed, WORLD, at, how)

    synced, acknowledged = True, False
    for at in range(1, 1000, step) if step else turning_points(whole, copy, deed):
        killed = ending(at, "kill")
        yield killed
        if synced or killed.ended or killed.acknowledged != acknowledged:
            yield ending(at, "power")
        if killed.ended:
            return
        synced, acknowledged = "sync" in killed.at, killed.acknowledged


def turning_points(whole: Path, copy: Path, deed: Deed) -> Iterator[int]:
    """The numbers of calls that are not like the one before, and of every fourth; then of each there might be more."""
    shutil.copytree(whole, copy)
    calls: list[Call] = []
    tracing.traced(lambda: done(copy, deed), copy, calls.append)
    for at, call in enumerate(calls, 1):
        before = calls[at - 2] if at > 1 else None
        if at % 4 == 0 or before is None or (call.name, call.file) != (before.name, before.file):
            yield at
    yield from range(len(calls) + 1, 1000)


def done(folder: Path, deed: Deed) -> None:
    gallery = LocalGallery(folder)
    tracing.begin()
    deed.do(gallery)
    gallery.close()


def at_random(folder: Path, rounds: int, seed: int) -> Iterator[Ending]:
    chance, people = random.Random(seed), dict(WORLD)
    one = made_ready(folder / "one")
    for round_number in range(rounds):
        deed = any_deed(chance, people, round_number)
        ending = cut_short(one, deed, people, chance.randint(1, 75), chance.choice(("kill", "power")))
        people = ending.found
        yield ending


def any_deed(chance: random.Random, people: World, round_number: int) -> Deed:
    new, note = 100 + 3 * round_number, f"a note of round {round_number} " * chance.randint(1, 20)
    old = chance.choice([*people]) if people else "somebody"
    if len(people) < 5 or (len(people) < 40 and chance.random() < 0.5):
        name = f"newcomer {round_number:04}" if chance.random() < 0.7 else old
        return enrols(name, *range(new, new + chance.randint(1, 3)), note=note)
    if chance.random() < 0.1:
        return world.snapshot()
    if people[old].faces and chance.random() < 0.3:
        return erases_face(old, chance.choice(people[old].faces))
    return erases(old)


def convicted(folder: Path, build: str, deed: str, how: str, finding: str) -> bool:
    """Whether a checker finds something in a broken build; in a fork, which alone is broken."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    BUILDS[build]()
    endings = (ending.wrong for ending in every_call(folder, DEEDS[deed], 7) if ending.how == how)
    os._exit(not any(wrong.startswith(finding) for found in endings for wrong in found))


def main(folder: Path, build: str, what: str, count: int, seed: int = 0) -> None:
    BUILDS[build]()
    for ending in at_random(folder, count, seed) if what == "random" else every_call(folder, DEEDS[what], count):
        line = {key: value for key, value in asdict(ending).items() if key != "found"}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    if sys.argv[2] == "convict":
        cases = [case.split(",") for case in sys.argv[3:]]
        made_ready(Path(sys.argv[1]) / "ready")
        print(json.dumps([convicted(Path(sys.argv[1]) / case[0], *case) for case in cases]))
    else:
        main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], *map(int, sys.argv[4:]))
