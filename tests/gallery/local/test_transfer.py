"""Out as records, and in again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import IdentityExistsError, InvalidNameError, InvalidRecordError, ModelMismatchError, NewFace

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]
Record = dict[str, Any]


@pytest.fixture
def records(gallery: LocalGallery, new_face: Faces) -> list[Record]:
    """An export of 130 identities with two faces each, one with a crop, and one identity without a face."""
    for number in range(130):
        face = new_face(1000 + number)
        crop = NewFace(face.embedding, face.source_sha256, {"score": 0.5}, b"\x89PNG" if number == 7 else None)
        faces = [new_face(number), crop]
        gallery.enroll("people", f"person {number}", faces, embedder=EMBEDDER, metadata={"number": number})
    empty = gallery.enroll("people", "nobody", [new_face(9999)], embedder=EMBEDDER)
    gallery.delete_face("people", "nobody", empty.faces[0].face_id)
    return [json.loads(json.dumps(record)) for record in gallery.export("people")]


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LocalGallery]:
    with LocalGallery(tmp_path / "target") as opened:
        yield opened


def test_what_goes_out_comes_in_the_same(gallery: LocalGallery, target: LocalGallery, records: list[Record]) -> None:
    done = target.import_records(iter(records), embedder=EMBEDDER)
    assert (done.collection, done.identities, done.faces, done.skipped) == ("people", 131, 260, 0)
    assert target.identities("people", limit=1000) == gallery.identities("people", limit=1000)
    assert list(target.export("people")) == records
    person = gallery.identity("people", "person 7")
    assert target.crop("people", "person 7", person.faces[1].face_id) == b"\x89PNG"
    assert target.check() == []


def test_in_again_changes_nothing(gallery: LocalGallery, records: list[Record]) -> None:
    before = gallery.identities("people", limit=1000)
    done = gallery.import_records(records, embedder=EMBEDDER)
    assert (done.identities, done.faces, done.skipped) == (0, 0, 260)
    assert gallery.identities("people", limit=1000) == before


def test_an_import_cut_short_says_so_and_goes_on_when_run_again(target: LocalGallery, records: list[Record]) -> None:
    with pytest.raises(InvalidRecordError, match="cut short"):
        target.import_records(records[:301], embedder=EMBEDDER)
    assert target.collection("people").faces > 0
    done = target.import_records(records, embedder=EMBEDDER)
    assert done.skipped > 0
    assert done.faces + done.skipped == 260
    assert list(target.export("people")) == records


def test_an_import_stopped_between_batches_goes_on(target: LocalGallery, records: list[Record]) -> None:
    def failing() -> Iterator[Record]:
        yield from records[:350]
        raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        target.import_records(failing(), embedder=EMBEDDER)
    target.import_records(records, embedder=EMBEDDER)
    assert list(target.export("people")) == records


def test_somebody_renamed_since_is_still_the_same(target: LocalGallery, records: list[Record]) -> None:
    target.import_records(records, embedder=EMBEDDER)
    target.update_identity("people", "person 3", new_name="Person Three")
    done = target.import_records(records, embedder=EMBEDDER)
    assert (done.identities, done.faces) == (0, 0)
    assert len(target.identity("people", "Person Three").faces) == 2


def test_somebody_else_of_the_same_name_is_not_mixed_up(
    target: LocalGallery, records: list[Record], new_face: Faces
) -> None:
    target.ensure_collection("people", EMBEDDER, 16)
    target.enroll("people", "person 5", [new_face(555)], embedder=EMBEDDER)
    with pytest.raises(IdentityExistsError, match="person 5"):
        target.import_records(records, embedder=EMBEDDER)
    assert len(target.identity("people", "person 5").faces) == 1
    assert target.import_records(records, embedder=EMBEDDER, collection="apart").faces == 260


def test_a_face_id_comes_in_once(target: LocalGallery, records: list[Record]) -> None:
    twin = {**records[2], "source_sha256": "ab" * 32}
    end = {**records[-1], "faces": 261}
    done = target.import_records([*records[:3], twin, *records[3:-1], end], embedder=EMBEDDER)
    assert (done.faces, done.skipped) == (260, 1)


def test_another_embedders_export_is_refused(target: LocalGallery, records: list[Record]) -> None:
    with pytest.raises(ModelMismatchError, match="the export holds"):
        target.import_records(records, embedder="other")
    assert target.collections() == []
    target.create_collection("people", "other", 16)
    with pytest.raises(ModelMismatchError):
        target.import_records(records, embedder=EMBEDDER)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (0, {"format": "something else"}),
        (0, {"dimension": "many"}),
        (1, {"type": "face"}),
        (1, {"type": "riddle"}),
        (1, {"identity": "a/b"}),
        (1, {"id": "../../etc"}),
        (1, {"metadata": 7}),
        (1, {"created_at": "yesterday"}),
        (2, {"embedding": "AAAA"}),
        (2, {"embedding": "not base64!"}),
        (2, {"embedding": None}),
        (2, {"face_id": "ab"}),
        (2, {"source_sha256": "zz" * 32}),
        (2, {"quality": [1]}),
        (2, {"crop_png": "not base64!"}),
        (-1, {"faces": 259}),
        (-1, {"identities": 132}),
    ],
)
def test_a_malformed_record_is_named(target: LocalGallery, records: list[Record], line: int, change: Record) -> None:
    place = line % len(records) + 1
    records[line] = {**records[line], **change}
    with pytest.raises(InvalidRecordError, match=f"record {place} "):
        target.import_records(records, embedder=EMBEDDER)


def test_what_is_missing_or_too_much_is_refused(target: LocalGallery, records: list[Record]) -> None:
    with pytest.raises(InvalidRecordError, match="empty"):
        target.import_records([], embedder=EMBEDDER)
    with pytest.raises(InvalidRecordError, match="after the end"):
        target.import_records([*records, records[1]], embedder=EMBEDDER)
    with pytest.raises(InvalidRecordError):
        target.import_records([{key: value for key, value in records[0].items() if key != "format"}], embedder=EMBEDDER)
    with pytest.raises(InvalidNameError):
        target.import_records(records, embedder=EMBEDDER, collection="a/b")


def test_an_export_holds_nobody_up(gallery: LocalGallery, records: list[Record], new_face: Faces) -> None:
    stream = gallery.export("people")
    next(stream)
    gallery.delete_identity("people", "person 0")  # would wait for a reader of old bytes
    gallery.enroll("people", "late", [new_face(5)], embedder=EMBEDDER)
    rest = list(stream)
    assert "person 0" not in {record.get("identity") for record in rest}
    assert rest[-1]["identities"] == sum(record["type"] == "identity" for record in rest)
