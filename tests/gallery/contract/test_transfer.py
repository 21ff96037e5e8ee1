"""Out as records and in again, from every kind of gallery into a folder and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gallery.gallery import Gallery
from gallery.local.gallery import LocalGallery
from gallery.types import IdentityExistsError, InvalidNameError, InvalidRecordError, ModelMismatchError
from tests.gallery.contract.conftest import EMBEDDER, face, names, vector

Record = dict[str, Any]
PEOPLE = 130


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """An export of 130 identities with two faces each, one with a crop, and one identity without a face."""
    with LocalGallery(tmp_path_factory.mktemp("source")) as source:
        source.create_collection("people", EMBEDDER, 16)
        for number in range(PEOPLE):
            crop = b"\x89PNG" * 40_000 if number == 7 else None
            new = [face(number), face(1000 + number, crop)]
            source.enroll("people", f"person {number}", new, embedder=EMBEDDER, metadata={"number": number})
        source.update_identity("people", "person 5", new_name="Zo\u00eb", expires_at=4e9)
        empty = source.enroll("people", "nobody", [face(9999)], embedder=EMBEDDER)
        source.delete_face("people", "nobody", empty.faces[0].face_id)
        return [json.loads(json.dumps(record)) for record in source.export("people")]


@pytest.fixture
def records(exported: list[Record]) -> list[Record]:
    """Which the test may change."""
    return [dict(record) for record in exported]


def by_identity(records: list[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records[1:-1]:
        if record["type"] == "identity":
            found[record["id"]] = own = []
        own.append(record)
    return found


def test_what_goes_in_comes_out_the_same(gallery: Gallery, people: str, records: list[Record]) -> None:
    done = gallery.import_records(iter(records), embedder=EMBEDDER, collection=people)
    assert (done.collection, done.identities, done.faces, done.skipped) == (people, PEOPLE + 1, 2 * PEOPLE, 0)
    out = [json.loads(json.dumps(record)) for record in gallery.export(people)]
    assert out[-1] == records[-1]  # counts and digest
    assert by_identity(out) == by_identity(records)
    assert gallery.identity(people, "Zo\u00eb").expires_at == 4e9
    assert names(gallery, people, vector(5)) == ["Zo\u00eb"]
    assert gallery.crop(people, "person 7", gallery.identity(people, "person 7").faces[1].face_id) is not None
    again = gallery.import_records(records, embedder=EMBEDDER, collection=people)
    assert (again.identities, again.faces, again.skipped) == (0, 0, 2 * PEOPLE)
    assert gallery.check() == []


def test_what_was_enrolled_goes_into_a_folder_and_back(gallery: Gallery, people: str, tmp_path: Path) -> None:
    for number in range(7):
        gallery.enroll(people, f"p {number}", [face(number), face(100 + number, b"\x89PNG")], embedder=EMBEDDER)
    gallery.update_identity(people, "p 1", new_name="one", metadata={"a": [1, None]})
    gallery.enroll(people, "p 1", [face(50)], embedder=EMBEDDER)
    out = list(gallery.export(people))
    with LocalGallery(tmp_path / "folder") as folder:
        folder.import_records(out, embedder=EMBEDDER, collection="there")
        back = list(folder.export("there"))
    assert back[-1] == out[-1]
    gallery.import_records(back, embedder=EMBEDDER, collection=f"{people}.back")
    assert list(gallery.export(f"{people}.back"))[-1] == out[-1]
    assert list(gallery.export(f"{people}.back"))[1:] == out[1:]


def test_an_import_cut_short_says_so_and_goes_on_when_run_again(
    gallery: Gallery, people: str, records: list[Record]
) -> None:
    with pytest.raises(InvalidRecordError, match="cut short"):
        gallery.import_records(records[:301], embedder=EMBEDDER, collection=people)

    def failing() -> Iterator[Record]:
        yield from records[:350]
        raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        gallery.import_records(failing(), embedder=EMBEDDER, collection=people)
    done = gallery.import_records(records, embedder=EMBEDDER, collection=people)
    assert done.skipped > 0
    assert done.faces + done.skipped == 2 * PEOPLE
    assert list(gallery.export(people))[-1] == records[-1]


def test_the_renamed_are_known_and_others_of_the_name_are_not_mixed_up(
    gallery: Gallery, people: str, records: list[Record]
) -> None:
    gallery.import_records(records, embedder=EMBEDDER, collection=people)
    gallery.update_identity(people, "person 3", new_name="Person Three")
    done = gallery.import_records(records, embedder=EMBEDDER, collection=people)
    assert (done.identities, done.faces) == (0, 0)
    assert len(gallery.identity(people, "Person Three").faces) == 2
    gallery.delete_identity(people, "person 9")
    gallery.enroll(people, "person 9", [face(555)], embedder=EMBEDDER)
    with pytest.raises(IdentityExistsError, match="person 9"):
        gallery.import_records(records, embedder=EMBEDDER, collection=people)
    assert len(gallery.identity(people, "person 9").faces) == 1


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (0, {"format": "something else"}),
        (0, {"dimension": "many"}),
        (1, {"type": "riddle"}),
        (1, {"identity": "a/b"}),
        (1, {"id": "../../etc"}),
        (2, {"embedding": "AAAA"}),
        (2, {"face_id": "ab"}),
        (-1, {"faces": 259}),
        (-1, {"digest": "0" * 64}),
    ],
)
def test_a_malformed_record_is_named(
    gallery: Gallery, people: str, records: list[Record], line: int, change: Record
) -> None:
    place = line % len(records) + 1
    records[line] = {**records[line], **change}
    with pytest.raises(InvalidRecordError, match=f"record {place} "):
        gallery.import_records(records, embedder=EMBEDDER, collection=people)


def test_what_does_not_belong_is_refused(gallery: Gallery, people: str, records: list[Record]) -> None:
    with pytest.raises(InvalidRecordError, match="empty"):
        gallery.import_records([], embedder=EMBEDDER)
    with pytest.raises(InvalidRecordError, match="after the end"):
        gallery.import_records([*records, records[1]], embedder=EMBEDDER, collection=people)
    with pytest.raises(InvalidNameError):
        gallery.import_records(records, embedder=EMBEDDER, collection="a/b")
    with pytest.raises(ModelMismatchError, match="the export holds"):
        gallery.import_records(records, embedder="other", collection=f"{people}.other")
    assert f"{people}.other" not in {found.name for found in gallery.collections()}


def test_an_export_goes_on_beside_changes(gallery: Gallery, people: str, records: list[Record]) -> None:
    gallery.import_records(records, embedder=EMBEDDER, collection=people)
    stream = gallery.export(people)
    next(stream)
    gallery.delete_identity(people, "person 0")
    gallery.enroll(people, "late", [face(5)], embedder=EMBEDDER)
    rest = list(stream)
    assert "person 0" not in {record.get("identity") for record in rest}
    assert rest[-1]["identities"] == sum(record["type"] == "identity" for record in rest)
