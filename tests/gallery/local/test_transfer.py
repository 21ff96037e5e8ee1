"""Out as records, and in again."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gallery.local.gallery import LocalGallery
from gallery.types import (
    IdentityExistsError,
    IdentityNotFoundError,
    InvalidNameError,
    InvalidRecordError,
    ModelMismatchError,
    NewFace,
)

EMBEDDER = "digest-of-the-embedder"
DIMENSION = 16
Record = dict[str, Any]


def made(number: int) -> NewFace:
    row = np.random.default_rng(number).standard_normal(DIMENSION).astype(np.float32)
    picture = hashlib.sha256(b"picture %d" % number).hexdigest()
    return NewFace(row / np.linalg.norm(row), picture, {"score": 0.75})


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery with 130 identities of two faces each, one with a crop, and one identity without a face."""
    folder = tmp_path_factory.mktemp("filled") / "gallery"
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", EMBEDDER, DIMENSION)
        for number in range(130):
            face = made(1000 + number)
            crop = NewFace(face.embedding, face.source_sha256, {"score": 0.5}, b"\x89PNG" if number == 7 else None)
            about = {"number": number}
            gallery.enroll("people", f"person {number}", [made(number), crop], embedder=EMBEDDER, metadata=about)
        empty = gallery.enroll("people", "nobody", [made(9999)], embedder=EMBEDDER)
        gallery.delete_face("people", "nobody", empty.faces[0].face_id)
    return folder


@pytest.fixture
def gallery(filled: Path, folder: Path) -> Iterator[LocalGallery]:
    shutil.copytree(filled, folder)
    with LocalGallery(folder) as opened:
        yield opened


@pytest.fixture
def records(gallery: LocalGallery) -> list[Record]:
    """Its export."""
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


def test_somebody_else_of_the_same_name_is_not_mixed_up(target: LocalGallery, records: list[Record]) -> None:
    target.ensure_collection("people", EMBEDDER, 16)
    target.enroll("people", "person 5", [made(555)], embedder=EMBEDDER)
    with pytest.raises(IdentityExistsError, match="person 5"):
        target.import_records(records, embedder=EMBEDDER)
    assert len(target.identity("people", "person 5").faces) == 1
    assert target.import_records(records, embedder=EMBEDDER, collection="apart").faces == 260


def test_a_face_id_comes_in_once(target: LocalGallery, records: list[Record]) -> None:
    twin = {**records[2], "source_sha256": "ab" * 32}
    end = {"type": "end", "identities": 131, "faces": 261}
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


def test_a_wrong_digest_is_refused_and_says_that_what_came_in_stays(
    target: LocalGallery, records: list[Record]
) -> None:
    records[1] = {**records[1], "metadata": {"number": 31}}
    with pytest.raises(InvalidRecordError, match=r"record 393 .*digest.*was imported of them stays"):
        target.import_records(records, embedder=EMBEDDER)
    assert (target.collection("people").identities, target.collection("people").faces) == (131, 260)
    assert target.identity("people", "person 0").metadata == {"number": 31}


@pytest.mark.parametrize("places", [{3: 2}, {4: 1}, {2: 5, 5: 2}], ids=["a face", "an identity", "two owners"])
def test_what_the_counts_do_not_see_the_digest_does(
    target: LocalGallery, records: list[Record], places: dict[int, int]
) -> None:
    mixed = [records[places.get(place, place)] for place in range(len(records))]
    with pytest.raises(InvalidRecordError, match="digest"):
        target.import_records(mixed, embedder=EMBEDDER)


def test_an_export_from_before_digests_comes_in(target: LocalGallery, records: list[Record]) -> None:
    for record in records:
        record.pop("digest", None)
        record.pop("expires_at", None)
    assert target.import_records(records, embedder=EMBEDDER).faces == 260


def test_two_galleries_that_hold_the_same_export_the_same_digest(
    gallery: LocalGallery, target: LocalGallery, records: list[Record]
) -> None:
    middle = 1 + 3 * 60  # as another gallery might order them
    target.import_records([records[0], *records[middle:-1], *records[1:middle], records[-1]], embedder=EMBEDDER)
    theirs = list(target.export("people"))
    assert theirs != records
    assert theirs[-1] == records[-1]
    target.update_identity("people", "person 9", metadata={"number": 9.5})
    assert list(target.export("people"))[-1]["digest"] != records[-1]["digest"]


def test_what_is_missing_or_too_much_is_refused(target: LocalGallery, records: list[Record]) -> None:
    with pytest.raises(InvalidRecordError, match="empty"):
        target.import_records([], embedder=EMBEDDER)
    with pytest.raises(InvalidRecordError, match="after the end"):
        target.import_records([*records, records[1]], embedder=EMBEDDER)
    with pytest.raises(InvalidRecordError):
        target.import_records([{key: value for key, value in records[0].items() if key != "format"}], embedder=EMBEDDER)
    with pytest.raises(InvalidNameError):
        target.import_records(records, embedder=EMBEDDER, collection="a/b")


def test_an_export_holds_nobody_up(gallery: LocalGallery, records: list[Record]) -> None:
    stream = gallery.export("people")
    next(stream)
    gallery.delete_identity("people", "person 0")  # would wait for a reader of old bytes
    gallery.enroll("people", "late", [made(5)], embedder=EMBEDDER)
    rest = list(stream)
    assert "person 0" not in {record.get("identity") for record in rest}
    assert rest[-1]["identities"] == sum(record["type"] == "identity" for record in rest)


def test_somebody_erased_while_their_faces_go_out_leaves_an_export_that_comes_in(
    gallery: LocalGallery, target: LocalGallery
) -> None:
    gallery.create_collection("crowd", EMBEDDER, DIMENSION)
    gallery.enroll("crowd", "many", [made(number) for number in range(150)], embedder=EMBEDDER)
    gallery.enroll("crowd", "other", [made(999)], embedder=EMBEDDER)
    stream = gallery.export("crowd")
    begun = [next(stream) for _ in range(20)]
    gallery.delete_identity("crowd", "many")
    records = [*begun, *stream]
    assert records[-1]["faces"] == 100 + 1  # what was read in one page went out
    done = target.import_records(records, embedder=EMBEDDER)
    assert (done.identities, done.faces) == (2, 101)


def changed(records: list[Record], **changes: Any) -> list[Record]:
    """The records with `person 5` changed, and no digest, as somebody might write them."""
    end = {key: value for key, value in records[-1].items() if key != "digest"}
    return [{**record, **changes} if record.get("identity") == "person 5" else record for record in records[:-1]] + [
        end
    ]


def test_a_moment_of_expiry_goes_out_and_in(target: LocalGallery, records: list[Record]) -> None:
    target.import_records(changed(records, expires_at=4e9), embedder=EMBEDDER)
    assert target.identity("people", "person 5").expires_at == 4e9
    assert {record["expires_at"] for record in target.export("people") if record["type"] == "identity"} == {None, 4e9}


def test_somebody_who_expired_since_the_export_stays_out(target: LocalGallery, records: list[Record]) -> None:
    done = target.import_records(changed(records, expires_at=1e9), embedder=EMBEDDER)
    assert (done.identities, done.faces, done.skipped) == (130, 258, 2)
    with pytest.raises(IdentityNotFoundError):
        target.identity("people", "person 5")


def test_somebody_who_expires_amid_the_import_does_not_end_it(target: LocalGallery, records: list[Record]) -> None:
    """Batches are of 200 records: the 199th after the header is `person 66`, whose faces come with the next."""
    at = next(place for place, record in enumerate(records) if record.get("identity") == "person 66")
    assert at == 199
    del records[-1]["digest"]

    def slow() -> Iterator[Record]:
        yield from records[:at]
        soon = time.time() + 1
        yield {**records[at], "expires_at": soon}
        yield records[at + 1]
        while time.time() <= soon:
            time.sleep(0.01)
        yield from records[at + 2 :]

    done = target.import_records(slow(), embedder=EMBEDDER)
    assert done.identities >= 130  # 131, but where the first batch itself takes a second
    assert target.collection("people").identities == 130
    assert target.check() == []
