"""What a gallery ought to hold, deeds that change it, and three checkers: loss, consistency, leak."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gallery.local import erase, snapshots
from gallery.local.encryption import encrypting
from gallery.local.gallery import LocalGallery
from gallery.types import CollectionNotFoundError, NewFace

EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16


@dataclass(frozen=True, slots=True)
class Person:
    """The numbers of the faces, ascending, and what the metadata say."""

    faces: tuple[int, ...]
    note: str


World = Mapping[str, Person]


@dataclass(frozen=True, slots=True)
class Deed:
    """One call to a gallery, and what it makes of a world."""

    name: str
    do: Callable[[LocalGallery], object]
    after: Callable[[World], World]


@cache
def vector(number: int) -> NDArray[np.float32]:
    row = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
    return np.divide(row, np.linalg.norm(row), dtype=np.float32)


def picture(number: int) -> str:
    return hashlib.sha256(b"picture %d" % number).hexdigest()


_NUMBERS = {picture(number): number for number in range(4096)}


@cache
def crop(number: int) -> bytes:
    """Some fit into a page, some do not."""
    return random.Random(number).randbytes(9000 if number % 3 == 0 else 300)


def face(number: int) -> NewFace:
    return NewFace(vector(number), picture(number), {"score": 0.75}, crop(number))


def enrols(name: str, *numbers: int, note: str) -> Deed:
    def do(gallery: LocalGallery) -> None:
        gallery.enroll("people", name, [face(each) for each in numbers], embedder=EMBEDDER, metadata={"note": note})

    def after(world: World) -> World:
        faces = {*numbers, *(world[name].faces if name in world else ())}
        return {**world, name: Person(tuple(sorted(faces)), note)}

    return Deed("enrol", do, after)


def erases(name: str) -> Deed:
    return Deed(
        "erase",
        lambda gallery: gallery.delete_identity("people", name),
        lambda world: {each: person for each, person in world.items() if each != name},
    )


def erases_face(name: str, number: int) -> Deed:
    def do(gallery: LocalGallery) -> None:
        (found,) = (
            each.face_id for each in gallery.identity("people", name).faces if each.source_sha256 == picture(number)
        )
        gallery.delete_face("people", name, found)

    def after(world: World) -> World:
        left = tuple(each for each in world[name].faces if each != number)
        return {**world, name: Person(left, world[name].note)}

    return Deed("erase face", do, after)


def erases_all() -> Deed:
    return Deed("erase collection", lambda gallery: gallery.delete_collection("people"), lambda world: {})


def expires(name: str) -> Deed:
    """Its time has come; what `sweeper.py` would do is done here, in a thread that can be held."""

    def do(gallery: LocalGallery) -> None:
        gallery._store.on_expiry = lambda moment: None
        if name in observed(gallery):
            gallery.update_identity("people", name, expires_at=1.0)
        erase.fulfil(gallery._store, 5)

    return Deed("expire", do, erases(name).after)


def encrypts(key: bytes) -> Deed:
    """Beside the gallery that has it open, as `faceserve gallery encrypt` does it."""
    return Deed("encrypt", lambda gallery: encrypting.encrypt(gallery._store.path.parent, key), lambda world: world)


def snapshot() -> Deed:
    return Deed("snapshot", lambda gallery: snapshots.write(gallery._store, "people"), lambda world: world)


def observed(gallery: LocalGallery) -> dict[str, Person]:
    """Who is in the gallery, as it lists them."""
    found: dict[str, Person] = {}
    cursor = None
    try:
        while True:
            page = gallery.identities("people", cursor=cursor)
            for identity in page.identities:
                faces = sorted(_NUMBERS[each.source_sha256] for each in identity.faces)
                found[identity.name] = Person(tuple(faces), identity.metadata["note"])
            if (cursor := page.cursor) is None:
                return found
    except CollectionNotFoundError:
        return {}


def loss(found: World, before: World, after: World, *, acknowledged: bool) -> list[str]:
    """Whom the gallery does not have as it should. Of a deed that was not acknowledged, all or nothing has happened."""
    wrong = []
    for name in sorted({*found, *before, *after}):
        allowed = [after.get(name)] if acknowledged else [before.get(name), after.get(name)]
        if found.get(name) not in allowed:
            wrong.append(f"loss: {name} is {found.get(name)}, not {' or '.join(map(str, allowed))}")
    if not acknowledged and found not in (before, after) and not wrong:
        wrong.append("loss: half of what was done is there")
    return wrong


def consistency(gallery: LocalGallery, found: World) -> list[str]:
    """Where the index differs from the database, a face is not found as its person, or a crop is another's."""
    wrong = [f"consistency: {each}" for each in gallery.check()]
    owners = [(number, name) for name, person in found.items() for number in person.faces]
    if not owners:
        return wrong
    queries = np.stack([vector(number) for number, _ in owners])
    answers = gallery.search("people", queries, embedder=EMBEDDER, top_k=2, threshold=0.999)
    for (number, name), matches in zip(owners, answers, strict=True):
        told = [(match.identity, match.metadata["note"]) for match in matches]
        if told != [(name, found[name].note)]:
            wrong.append(f"consistency: face {number} of {name} is {told}")
        elif gallery.crop("people", name, matches[0].face_id) != crop(number):
            wrong.append(f"consistency: face {number} of {name} has another crop")
    return wrong


def leak(folder: Path, before: World, after: World) -> list[str]:
    """What of the people and faces that are in `before` and not in `after` is in a file still."""
    kept = {number for person in after.values() for number in person.faces}
    secrets: dict[str, bytes] = {}
    for name, person in before.items():
        if name not in after:
            secrets |= {f"the name {name}": name.encode(), f"the note {person.note}": person.note.encode()}
        for number in {*person.faces} - kept:
            embedding = vector(number).tobytes()
            secrets |= {
                f"picture {number}'s digest": bytes.fromhex(picture(number)),
                f"the first half of embedding {number}": embedding[: len(embedding) // 2],
                f"the second half of embedding {number}": embedding[len(embedding) // 2 :],
                f"crop {number}": crop(number)[:64],
                f"crop {number}'s end": crop(number)[-64:],
            }
    if not secrets:
        return []
    # The -shm file holds page numbers only.
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".db-shm"}
    return [
        f"leak: {what} is in {name}" for what, secret in secrets.items() for name, it in files.items() if secret in it
    ]
