"""The recorded gallery: a line for each deed, which tells all but who and what it was about."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.audit.gallery import AuditedGallery
from app.audit.recorder import SUBJECTS_A_LINE, Recorder, note
from app.audit.subjects import Subjects
from app.audit.trail import Trail
from gallery.filters import Filter
from gallery.gallery import Gallery
from gallery.types import (
    CollectionNotFoundError,
    Idempotency,
    IdentityNotFoundError,
    Match,
    ReembedRefusedError,
    Target,
    Terms,
)
from tests.app.audit.conftest import Records
from tests.app.audit.trails import lines_of
from tests.gallery.local.faults.world import DIMENSION, EMBEDDER, face, vector


def promised() -> dict[str, Any]:
    return {name: each for name, each in vars(Gallery).items() if inspect.isfunction(each) and not name.startswith("_")}


def test_it_has_every_method_of_a_gallery_with_its_own_parameters() -> None:
    """Another parameter would be lost on its way to the gallery, and another method be missing."""
    assert len(promised()) > 20
    for name, method in promised().items():
        own = vars(AuditedGallery)[name]
        assert inspect.signature(own) == inspect.signature(method), name


def test_enrolments(gallery: AuditedGallery, subjects: Subjects, records: Records) -> None:
    who = subjects.digest("people", "Alice")
    gallery.enroll("people", "Alice", [face(1), face(2)], embedder=EMBEDDER, metadata={"note": "n"})
    gallery.enroll("people", "Alice", [face(1), face(3)], embedder=EMBEDDER, expires_at=math.inf)
    said = {"deed": "enroll", "collection": "people", "outcome": "ok", "subjects": [who]}
    assert records() == [
        said | {"created": True, "faces": 2, "duplicates": 0},
        said | {"created": False, "faces": 1, "duplicates": 1, "expires_at": "never"},
    ]


def test_an_enrolment_that_is_repeated_says_so(gallery: AuditedGallery, records: Records) -> None:
    for _ in range(2):
        once = Idempotency("key", "body", lambda done: done.identity.encode())
        kept = gallery.enroll_once("people", "Alice", [face(1)], embedder=EMBEDDER, idempotency=once)
        assert kept == b"Alice"
    assert gallery.recall("people", "key", "body") == b"Alice"
    first, second, recalled = records()
    assert (first["created"], first["faces"], "repeated" in first) == (True, 1, False)
    assert (second["repeated"], "faces" in second) == (True, False)
    assert (recalled["deed"], recalled["found"]) == ("recall", 1)


def test_searches(gallery: AuditedGallery, subjects: Subjects, records: Records) -> None:
    for number, name in enumerate(["Alice", "Bob"]):
        gallery.enroll("people", name, [face(number)], embedder=EMBEDDER, metadata={"team": name})
    both = np.stack([vector(1), vector(0)])
    gallery.search("people", both, embedder=EMBEDDER, top_k=1, threshold=0.5)
    gallery.search("people", both, embedder=EMBEDDER, top_k=2, threshold=lambda among: 0.9 + among / 100)
    chosen = Filter.of({"team": "Alice"})
    gallery.search("people", both, embedder=EMBEDDER, top_k=2, threshold=0.5, chosen=chosen)
    alice, bob = subjects.digest("people", "Alice"), subjects.digest("people", "Bob")
    said = {"deed": "search", "collection": "people", "outcome": "ok", "faces": 2}
    assert records()[2:] == [
        said | {"filtered": False, "threshold": 0.5, "found": 2, "subjects": [bob, alice]},
        said | {"filtered": False, "threshold": 0.92, "among": 2, "found": 2, "subjects": [bob, alice]},
        said | {"filtered": True, "threshold": 0.5, "found": 1, "subjects": [alice]},
    ]


def test_numbers_of_numpy_are_numbers(gallery: AuditedGallery, records: Records) -> None:
    """A program that uses the library may have them; a line that cannot be written would be missing."""
    gallery.enroll("people", "Alice", [face(1)], embedder=EMBEDDER, expires_at=np.float64(4e9))
    for threshold in (np.float64(0.5), lambda among: np.float64(0.5)):
        gallery.search("people", vector(1)[np.newaxis], embedder=EMBEDDER, top_k=1, threshold=threshold)
    assert [line.get("threshold", line.get("expires_at")) for line in records()] == [4e9, 0.5, 0.5]


def test_whoever_draws_the_line_may_say_what_it_stands_for(gallery: AuditedGallery, records: Records) -> None:
    """As a margin does, which looks below its line: in another thread too, for searches do each other's work."""
    for number, name in enumerate(["Alice", "Bob"]):
        gallery.enroll("people", name, [face(number)], embedder=EMBEDDER)
    bare, threads = gallery._gallery.search, ThreadPoolExecutor(1)

    def elsewhere(*asked: Any, threshold: Callable[[int], float], **rest: Any) -> list[list[Match]]:
        return bare(*asked, threshold=lambda among: threads.submit(threshold, among).result(), **rest)

    def draw(_: int) -> float:
        note(threshold=0.75)
        return -1

    note(threshold=0.1)  # for nobody
    with threads, pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery._gallery, "search", elsewhere)
        found = gallery.search("people", vector(0)[np.newaxis], embedder=EMBEDDER, top_k=2, threshold=draw)
    assert [len(each) for each in found] == [2]
    *_, line = records()
    assert (line["threshold"], line["among"], line["found"], len(line["subjects"])) == (0.75, 2, 1, 1)


def test_of_many_who_were_found_the_line_tells_the_first(gallery: AuditedGallery, records: Records) -> None:
    for number in range(SUBJECTS_A_LINE + 5):
        gallery.enroll("people", f"person {number}", [face(number)], embedder=EMBEDDER)
    gallery.search("people", vector(0)[np.newaxis], embedder=EMBEDDER, top_k=1000, threshold=-1)
    *_, line = records()
    assert (len(line["subjects"]), line["subjects_left_out"]) == (SUBJECTS_A_LINE, 5)
    assert line["found"] == SUBJECTS_A_LINE + 5


def test_looks(gallery: AuditedGallery, subjects: Subjects, records: Records) -> None:
    done = gallery.enroll("people", "Alice", [face(3)], embedder=EMBEDDER)
    gallery.enroll("people", "Alicia", [face(3)], embedder=EMBEDDER)
    gallery.lookalikes("people", done, [face(3)], embedder=EMBEDDER, threshold=0.9)
    gallery.similarity("people", "Alice", vector(1), embedder=EMBEDDER)
    (kept,) = gallery.identity("people", "Alice").faces
    gallery.identities("people")
    gallery.crop("people", "Alice", kept.face_id)
    alice, alicia = subjects.digest("people", "Alice"), subjects.digest("people", "Alicia")
    said = {"collection": "people", "outcome": "ok"}
    assert records()[2:] == [
        said | {"deed": "compare", "subjects": [alice, alicia], "threshold": 0.9, "faces": 1, "found": 1},
        said | {"deed": "verify", "subjects": [alice]},
        said | {"deed": "show", "subjects": [alice]},
        said | {"deed": "list", "identities": 2},
        said | {"deed": "crop", "subjects": [alice]},
    ]


def test_changes_and_erasures(gallery: AuditedGallery, subjects: Subjects, records: Records) -> None:
    gallery.enroll("people", "Alice", [face(1), face(2)], embedder=EMBEDDER)
    gallery.update_identity("people", "Alice", metadata={"note": "n"})
    gallery.update_identity("people", "Alice", new_name="Mrs Hargreaves")
    first, _ = gallery.identity("people", "Mrs Hargreaves").faces
    gallery.delete_face("people", "Mrs Hargreaves", first.face_id)
    gallery.delete_identity("people", "Mrs Hargreaves")
    with pytest.raises(IdentityNotFoundError):
        gallery.delete_identity("people", "Mrs Hargreaves")
    gallery.delete_collection("people")
    alice, mrs = subjects.digest("people", "Alice"), subjects.digest("people", "Mrs Hargreaves")
    said = {"collection": "people", "outcome": "ok"}
    assert [line for line in records() if line["deed"] != "show"][1:] == [
        said | {"deed": "describe", "subjects": [alice], "metadata": True},
        said | {"deed": "rename", "subjects": [alice, mrs], "metadata": False},
        said | {"deed": "erase_face", "subjects": [mrs]},
        said | {"deed": "erase", "subjects": [mrs], "faces": 1},
        said | {"deed": "erase", "subjects": [mrs], "outcome": "identity_not_found"},
        said | {"deed": "erase_collection"},
    ]


def test_collections(gallery: AuditedGallery, records: Records) -> None:
    gallery.ensure_collection("people", EMBEDDER, DIMENSION)
    gallery.ensure_collection("others", EMBEDDER, DIMENSION)
    gallery.create_collection("third", EMBEDDER, DIMENSION, Terms(max_faces=2, ttl_s=3600))
    assert gallery.collection("third").max_faces == 2
    said = {"deed": "create_collection", "outcome": "ok"}
    assert records() == [said | {"collection": "others"}, said | {"collection": "third", "ttl_s": 3600}]
    with pytest.raises(CollectionNotFoundError):
        gallery.delete_collection("fourth")
    assert records()[2:] == [{"deed": "erase_collection", "collection": "fourth", "outcome": "collection_not_found"}]


def test_out_and_in(gallery: AuditedGallery, records: Records) -> None:
    gallery.enroll("people", "Alice", [face(1), face(2)], embedder=EMBEDDER)
    exported = list(gallery.export("people"))
    gallery.import_records(exported, embedder=EMBEDDER, collection="copy")
    assert records()[1:] == [
        {"deed": "export", "collection": "people", "outcome": "begun"},
        {"deed": "export", "collection": "people", "outcome": "ok", "identities": 1, "faces": 2},
        {"deed": "import", "collection": "copy", "outcome": "begun"},
        {"deed": "import", "collection": "copy", "outcome": "ok", "identities": 1, "faces": 2, "skipped": 0},
    ]


def test_an_export_is_told_before_its_first_record_and_one_broken_off_has_no_end(
    gallery: AuditedGallery, records: Records
) -> None:
    gallery.enroll("people", "Alice", [face(1)], embedder=EMBEDDER)
    coming = gallery.export("people")
    assert len(records()) == 1
    next(coming)
    assert records()[1:] == [{"deed": "export", "collection": "people", "outcome": "begun"}]
    del coming
    assert len(records()) == 2


def test_reembedding_that_is_refused(gallery: AuditedGallery, records: Records) -> None:
    target = Target("another", DIMENSION, lambda crops: np.zeros((len(crops), DIMENSION), np.float32))
    gallery.enroll("people", "Alice", [face(1).__class__(vector(1), "a1" * 32)], embedder=EMBEDDER)
    with pytest.raises(ReembedRefusedError):
        gallery.reembed("people", target, made_by=EMBEDDER)
    said = {"deed": "reembed", "collection": "people"}
    assert records()[1:] == [said | {"outcome": "begun"}, said | {"outcome": "reembed_refused"}]


def test_at_changes_what_only_looks_is_not_recorded(
    gallery: AuditedGallery, trail: Trail, subjects: Subjects, records: Records
) -> None:
    coarse = AuditedGallery(gallery._gallery, Recorder(trail, subjects, "changes"))
    done = coarse.enroll("people", "Alice", [face(1)], embedder=EMBEDDER)
    coarse.search("people", vector(1)[np.newaxis], embedder=EMBEDDER, top_k=1, threshold=0.5)
    coarse.lookalikes("people", done, [face(1)], embedder=EMBEDDER, threshold=0.9)
    coarse.similarity("people", "Alice", vector(1), embedder=EMBEDDER)
    coarse.identity("people", "Alice")
    coarse.identities("people")
    list(coarse.export("people"))
    coarse.delete_identity("people", "Alice")
    assert [line["deed"] for line in records()] == ["enroll", "export", "export", "erase"]


def test_no_line_holds_a_name_a_note_or_an_embedding(gallery: AuditedGallery, trail: Trail, tmp_path: Path) -> None:
    gallery.enroll("people", "Alice Liddell", [face(1)], embedder=EMBEDDER, metadata={"mail": "alice@example.org"})
    gallery.search("people", vector(1)[np.newaxis], embedder=EMBEDDER, top_k=1, threshold=0.5)
    gallery.update_identity("people", "Alice Liddell", new_name="Mrs Hargreaves")
    with pytest.raises(CollectionNotFoundError):
        gallery.delete_identity("her name is Alice Liddell"[-5:], "Alice Liddell")
    with pytest.raises(Exception, match="collection"):
        gallery.identity("Alice Liddell is no collection", "Alice Liddell")
    text = b"".join(lines_of(trail.folder))
    assert len(lines_of(trail.folder)) == 5
    assert [word for word in (b"Alice", b"Liddell ", b"Hargreaves", b"example.org") if word in text] == []
    numbers = json.dumps(vector(1).tolist())[1:9].encode()
    assert numbers not in text
    assert json.loads(lines_of(trail.folder)[-1])["collection"] is None
    assert not (tmp_path / "audit" / "audit.key").exists()
