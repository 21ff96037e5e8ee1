"""Deeds cut short at a call to Milvus, or with somebody else's deed between two calls: every crossing, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gallery.milvus.check import differences
from gallery.milvus.connection import AwayError
from gallery.milvus.gallery import MilvusGallery
from gallery.types import Enrolment, Idempotency
from tests.gallery.contract.conftest import EMBEDDER, face, vector

FIRST = 0
"""The face, with a crop, that alice has from the start."""


@dataclass(frozen=True)
class Run:
    """One run of deeds among people and faces of its own, in a collection that other runs use too."""

    people: str
    number: int

    def name(self, name: str) -> str:
        return f"{name} {self.number}"

    def begin(self, gallery: MilvusGallery) -> None:
        self.enroll(gallery, "alice", FIRST)
        self.enroll(gallery, "carol", 9)

    def enroll(self, gallery: MilvusGallery, name: str, number: int) -> Enrolment:
        new = face(100 * self.number + number, b"\x89PNG" * 30)
        metadata = {"by": number}
        return gallery.enroll(self.people, self.name(name), [new], embedder=EMBEDDER, metadata=metadata)

    def state(self, gallery: MilvusGallery) -> str:
        """Who there is, with whose faces and crops, who is found by them, and which answer is kept."""
        end = f" {self.number}"
        everybody = gallery.identities(self.people, limit=1000).identities
        shas = {face(100 * self.number + number).source_sha256: number for number in range(10)}
        shown = sorted(
            (
                one.name.removesuffix(end),
                sorted(one.metadata.items()),
                sorted((shas[kept.source_sha256], kept.has_crop) for kept in one.faces),
            )
            for one in everybody
            if one.name.endswith(end)
        )
        queries = np.stack([vector(100 * self.number + number) for number in (0, 1, 2, 9)])
        matches = gallery.search(self.people, queries, embedder=EMBEDDER, top_k=5, threshold=0.99)
        found = [[match.identity.removesuffix(end) for match in one] for one in matches]
        kept = gallery.recall(self.people, f"key{end}", "body") is not None
        return f"{shown} {found} {kept}"


Deed = Callable[[MilvusGallery, Run], object]


def enrolled(name: str, number: int) -> Deed:
    return lambda gallery, run: run.enroll(gallery, name, number)


def enrolled_once(name: str, number: int) -> Deed:
    def work(gallery: MilvusGallery, run: Run) -> object:
        once = Idempotency(run.name("key"), "body", lambda done: done.faces[0].face_id.encode())
        new = face(100 * run.number + number)
        return gallery.enroll_once(run.people, run.name(name), [new], embedder=EMBEDDER, idempotency=once)

    return work


def renamed(name: str, new_name: str) -> Deed:
    return lambda gallery, run: gallery.update_identity(
        run.people, run.name(name), new_name=run.name(new_name), metadata={"renamed": 1}
    )


def described(name: str) -> Deed:
    return lambda gallery, run: gallery.update_identity(run.people, run.name(name), metadata={"told": 1})


def erased(name: str) -> Deed:
    return lambda gallery, run: gallery.delete_identity(run.people, run.name(name))


def face_erased(name: str) -> Deed:
    def work(gallery: MilvusGallery, run: Run) -> None:
        shown = gallery.identity(run.people, run.name(name)).faces
        gallery.delete_face(run.people, run.name(name), shown[0].face_id if shown else "gone")

    return work


def faults(gallery: MilvusGallery, people: str) -> list[str]:
    """What is wrong with the collection's rows."""
    return gallery._bindings.on(people, lambda bound: list(differences(gallery._connection, bound)))


class Between:
    """Has `deed` happen before the call number `at` (from 0) that the gallery makes to Milvus, or `late` after it."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        gallery: MilvusGallery,
        deed: Callable[[], object],
        at: int,
        *,
        late: bool,
    ) -> None:
        connection = gallery._connection
        self.calls = 0
        inner = connection._try

        def call(method: str, *arguments: Any, **named: Any) -> Any:
            number, self.calls = self.calls, self.calls + 1
            if number == at and not late:
                deed()
            try:
                return inner(method, *arguments, **named)
            finally:
                if number == at and late:
                    deed()

        monkeypatch.setattr(connection, "_try", call)
        # Side by side they would come in any order: one after the other, each place is met.
        monkeypatch.setattr(connection, "together", lambda one, other: (one(), other()))


def fail() -> None:
    raise AwayError("cut short")
