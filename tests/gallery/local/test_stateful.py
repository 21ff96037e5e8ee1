"""Any order of calls, through two handles as of two workers, against a dictionary."""

from __future__ import annotations

import hashlib
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.local.index import flat as index_module
from gallery.types import (
    FaceNotFoundError,
    IdentityExistsError,
    IdentityNotFoundError,
    ModelMismatchError,
    NewFace,
    Scoring,
    Target,
    Terms,
)

HANDLES = st.integers(0, 1)
NAMES = st.sampled_from(["alice", "bob", "carol", "dave", "Zoë"])
NUMBERS = st.integers(0, 12)
LIVES = st.sampled_from([None, None, None, 5.0, 20.0, math.inf])


def vector(number: int, epoch: int) -> NDArray[np.float32]:
    """What the embedder of that epoch makes of face `number`: 8 or 7 numbers."""
    row = np.random.default_rng([number, epoch]).standard_normal(8 - epoch % 2).astype(np.float32)
    return np.divide(row, np.linalg.norm(row), dtype=np.float32)


def digest(epoch: int) -> str:
    return f"digest of embedder {epoch}"


class Person:
    """What the model knows: face id -> number, and the rest."""

    def __init__(self) -> None:
        self.faces: dict[str, int] = {}
        self.metadata: dict[str, int] = {}
        self.end: float | None = None


class GalleryMachine(RuleBasedStateMachine):
    scoring: Scoring = "max"

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(index_module, "SEGMENT_ROWS", 3)
        self.now = 1_800_000_000.0
        self.patch.setattr(time, "time", lambda: self.now)
        self.handles = [self.opened(), self.opened()]
        self.epoch = 0
        self.handles[0].create_collection("people", self.embedder, 8, terms=Terms(self.scoring))
        self.people: dict[str, Person] = {}

    @property
    def embedder(self) -> str:
        return digest(self.epoch)

    def vector(self, number: int) -> NDArray[np.float32]:
        return vector(number, self.epoch)

    def opened(self) -> LocalGallery:
        return LocalGallery(self.folder, keep_changes=4)  # so short that a handle often falls behind it

    def teardown(self) -> None:
        for handle in self.handles:
            assert handle.check() == []
            handle.close()
        self.patch.undo()
        shutil.rmtree(self.folder)

    def score(self, person: Person, query: NDArray[np.float32]) -> float:
        """How similar the query is to somebody with faces."""
        faces = [self.vector(face) for face in person.faces.values()]
        if self.scoring == "max":
            return max(float(face @ query) for face in faces)
        total = np.sum(faces, axis=0, dtype=np.float64)
        return float(total @ query / np.linalg.norm(total))

    @rule(handle=HANDLES, name=NAMES, numbers=st.lists(NUMBERS, min_size=1, max_size=3), life_s=LIVES)
    def enroll(self, handle: int, name: str, numbers: list[int], life_s: float | None) -> None:
        faces = [
            NewFace(self.vector(number), hashlib.sha256(b"%d" % number).hexdigest(), {}, b"%d" % number)
            for number in numbers
        ]
        end = None if life_s is None else self.now + life_s
        done = self.handles[handle].enroll("people", name, faces, embedder=self.embedder, expires_at=end)
        assert done.created == (name not in self.people)
        person = self.people.setdefault(name, Person())
        person.end = person.end if end is None else None if end == math.inf else end
        for number, face in zip(numbers, done.faces, strict=True):
            known = [face_id for face_id, other in person.faces.items() if other == number]
            assert face.duplicate_of == (known[0] if known else None)
            person.faces[face.face_id] = number

    @rule(handle=HANDLES, name=NAMES, new_name=NAMES)
    def rename(self, handle: int, name: str, new_name: str) -> None:
        if name not in self.people:
            with pytest.raises(IdentityNotFoundError):
                self.handles[handle].update_identity("people", name, new_name=new_name)
        elif new_name in self.people and new_name != name:
            with pytest.raises(IdentityExistsError):
                self.handles[handle].update_identity("people", name, new_name=new_name)
        else:
            self.handles[handle].update_identity("people", name, new_name=new_name)
            self.people[new_name] = self.people.pop(name)

    @rule(handle=HANDLES, name=NAMES, number=NUMBERS)
    def describe(self, handle: int, name: str, number: int) -> None:
        if name in self.people:
            self.people[name].metadata = {"number": number}
            self.handles[handle].update_identity("people", name, metadata={"number": number})

    @rule(handle=HANDLES, name=NAMES, life_s=LIVES)
    def limit(self, handle: int, name: str, life_s: float | None) -> None:
        if name in self.people and life_s is not None:
            end = self.now + life_s
            self.people[name].end = None if end == math.inf else end
            told = self.handles[handle].update_identity("people", name, expires_at=end)
            assert told.expires_at == self.people[name].end

    @rule(seconds=st.sampled_from([1.0, 5.0, 15.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.people = {
            name: person for name, person in self.people.items() if person.end is None or person.end > self.now
        }

    @rule(handle=HANDLES, name=NAMES)
    def delete_identity(self, handle: int, name: str) -> None:
        if name in self.people:
            assert self.handles[handle].delete_identity("people", name) == len(self.people.pop(name).faces)
        else:
            with pytest.raises(IdentityNotFoundError):
                self.handles[handle].delete_identity("people", name)

    @rule(handle=HANDLES, name=NAMES, which=st.integers(0, 5))
    def delete_face(self, handle: int, name: str, which: int) -> None:
        faces = sorted(self.people[name].faces) if name in self.people else []
        if faces:
            face_id = faces[which % len(faces)]
            del self.people[name].faces[face_id]
            self.handles[handle].delete_face("people", name, face_id)

    @rule(handle=HANDLES)
    def reembed(self, handle: int) -> None:
        new = self.epoch + 1

        def embed(pngs: Sequence[bytes]) -> NDArray[np.float32]:
            return np.stack([vector(int(png), new) for png in pngs])

        target = Target(digest(new), 8 - new % 2, embed, batch=2)
        self.handles[handle].reembed("people", target, made_by=self.embedder)
        self.epoch = new
        with pytest.raises(ModelMismatchError):
            self.handles[1 - handle].reembed("people", target, made_by=digest(new - 1))

    @rule(handle=HANDLES)
    def reopen(self, handle: int) -> None:
        self.handles[handle].close()
        self.handles[handle] = self.opened()

    @rule(
        handle=HANDLES,
        number=st.integers(0, 20),
        top_k=st.integers(1, 6),
        threshold=st.sampled_from([-1.0, 0.2, 0.999]),
    )
    def search(self, handle: int, number: int, top_k: int, threshold: float) -> None:
        query = self.vector(number)
        best = {name: self.score(person, query) for name, person in self.people.items() if person.faces}
        expected = sorted((similarity for similarity in best.values() if similarity >= threshold), reverse=True)
        found = self.handles[handle].search(
            "people", query[np.newaxis], embedder=self.embedder, top_k=top_k, threshold=threshold
        )[0]
        assert [match.similarity for match in found] == pytest.approx(expected[:top_k], abs=1e-5)
        assert len({match.identity for match in found}) == len(found)
        for match in found:
            person = self.people[match.identity]
            assert match.metadata == person.metadata
            assert self.score(person, query) == pytest.approx(match.similarity, abs=1e-5)
            nearest = max(float(self.vector(face) @ query) for face in person.faces.values())
            assert float(self.vector(person.faces[match.face_id]) @ query) == pytest.approx(nearest, abs=1e-5)

    @rule(handle=HANDLES, name=NAMES, number=NUMBERS)
    def compare(self, handle: int, name: str, number: int) -> None:
        if name not in self.people:
            with pytest.raises(IdentityNotFoundError):
                self.handles[handle].similarity("people", name, self.vector(number), embedder=self.embedder)
        elif not self.people[name].faces:
            with pytest.raises(FaceNotFoundError):
                self.handles[handle].similarity("people", name, self.vector(number), embedder=self.embedder)
        else:
            similarity, face_id = self.handles[handle].similarity(
                "people", name, self.vector(number), embedder=self.embedder
            )
            assert similarity == pytest.approx(self.score(self.people[name], self.vector(number)), abs=1e-5)
            assert face_id in self.people[name].faces

    @rule(handle=HANDLES)
    def check(self, handle: int) -> None:
        assert self.handles[handle].check() == []

    @invariant()
    def both_list_the_same(self) -> None:
        for handle in self.handles:
            listed = {identity.name: identity for identity in handle.identities("people").identities}
            assert set(listed) == set(self.people)
            for name, person in self.people.items():
                assert {face.face_id for face in listed[name].faces} == set(person.faces)
                assert listed[name].metadata == person.metadata
                assert listed[name].expires_at == person.end
            counts = handle.collection("people")
            assert counts.identities == len(self.people)
            assert counts.faces == sum(len(person.faces) for person in self.people.values())


GalleryMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestGallery = GalleryMachine.TestCase


class MeanMachine(GalleryMachine):
    scoring = "mean"


MeanMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestGalleryOfMeans = MeanMachine.TestCase
