"""A gallery with a key: all it answers as without one, and nothing of a face readable in its files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gallery.local import schema, snapshots
from gallery.local.gallery import LocalGallery
from gallery.types import KeyRefusedError, NewFace, StorageError, Terms
from tests.gallery.local.crops import DIMENSIONS, NEW, OLD, face, target, vector
from tests.gallery.local.encryption.sealing import KEY, OTHER_KEY, files, readable

FACES = 12
Open = Callable[..., LocalGallery]


def enroll(gallery: LocalGallery, collection: str = "people") -> list[NewFace]:
    faces = [face(number) for number in range(FACES)]
    for number, new in enumerate(faces):
        gallery.enroll(collection, f"person {number // 2}", [new], embedder=OLD, metadata={"team": "a"})
    return faces


def named(gallery: LocalGallery, number: int, collection: str = "people", embedder: str = OLD) -> list[str]:
    query = vector(number, embedder)[np.newaxis]
    (found,) = gallery.search(collection, query, embedder=embedder, top_k=1, threshold=0.5)
    return [match.identity for match in found]


@pytest.fixture
def sealed(folder: Path) -> Iterator[LocalGallery]:
    with LocalGallery(folder, key=KEY) as opened:
        opened.create_collection("people", OLD, DIMENSIONS[OLD])
        yield opened


def test_answers_are_those_of_a_plain_gallery(sealed: LocalGallery, folder: Path) -> None:
    enroll(sealed)
    with LocalGallery(folder, key=KEY) as other:  # another process, as it were, which reads all from the database
        for gallery in (sealed, other):
            assert [named(gallery, number) for number in range(FACES)] == [[f"person {n // 2}"] for n in range(FACES)]
            assert gallery.check() == []
            assert gallery.similarity("people", "person 3", vector(6, OLD), embedder=OLD)[0] == pytest.approx(1)
            first = gallery.identity("people", "person 3").faces[0]
            assert gallery.crop("people", "person 3", first.face_id) == face(6).crop_png


def test_nothing_of_a_face_is_readable_in_any_file(sealed: LocalGallery, folder: Path) -> None:
    faces = enroll(sealed)
    assert readable(folder, faces) == []
    sealed.close()
    assert readable(folder, faces) == []
    assert b"person 3" in files(folder)["gallery.db"]  # names are not promised
    with LocalGallery(folder, key=KEY) as gallery:
        faces.append(face(99))
        gallery.enroll("people", "late", faces[-1:], embedder=OLD)
        assert readable(folder, faces) == []


def test_a_plain_gallery_would_be_readable(folder: Path) -> None:
    with LocalGallery(folder) as gallery:
        gallery.create_collection("people", OLD, DIMENSIONS[OLD])
        assert {what.partition(" of ")[0] for what in readable(folder, enroll(gallery))} == {
            *("first half", "second half", "crop", "crop's end")
        }


def test_means_are_sealed_too(sealed: LocalGallery, folder: Path) -> None:
    sealed.create_collection("means", OLD, DIMENSIONS[OLD], Terms(scoring="mean"))
    enroll(sealed, "means")
    means = [vector(2 * number, OLD) + vector(2 * number + 1, OLD) for number in range(FACES // 2)]
    templates = [NewFace((mean / np.linalg.norm(mean)).astype(np.float32), "00" * 32) for mean in means]
    assert readable(folder, templates) == []
    assert named(sealed, 5, "means") == ["person 2"]
    query = templates[4].embedding
    assert sealed.similarity("means", "person 4", query, embedder=OLD)[0] == pytest.approx(1, abs=1e-6)
    sealed.delete_face("means", "person 4", sealed.identity("means", "person 4").faces[0].face_id)
    assert sealed.similarity("means", "person 4", vector(9, OLD), embedder=OLD)[0] == pytest.approx(1, abs=1e-6)
    assert sealed.check() == []


def test_reembedding_seals_what_it_gathers(sealed: LocalGallery, folder: Path) -> None:
    enroll(sealed)
    survey = sealed.survey("people")
    assert (survey.crop_sizes, survey.without_crop) == ({(112, 96): FACES}, 0)
    made = [face(number, NEW) for number in range(FACES)]
    seen = list[list[str]]()
    aim = target()
    watched = type(aim)(NEW, aim.dimension, aim.embed, 4, lambda done, of: seen.append(readable(folder, made)))
    sealed.reembed("people", watched, made_by=OLD)
    assert len(seen) > 2
    assert not any(seen)
    assert readable(folder, made) == []
    assert [named(sealed, number, embedder=NEW) for number in range(FACES)] == [
        [f"person {number // 2}"] for number in range(FACES)
    ]
    assert sealed.check() == []


def test_an_export_is_in_the_clear_and_goes_into_any_gallery(sealed: LocalGallery, tmp_path: Path) -> None:
    enroll(sealed)
    with LocalGallery(tmp_path / "plain") as plain, LocalGallery(tmp_path / "other", key=OTHER_KEY) as other:
        for gallery in (plain, other):
            assert gallery.import_records(sealed.export("people"), embedder=OLD).faces == FACES
            assert named(gallery, 7) == ["person 3"]
        assert [*plain.export("people")] == [*sealed.export("people")] == [*other.export("people")]


def test_an_erased_identity_is_in_no_file(sealed: LocalGallery, folder: Path) -> None:
    enroll(sealed)
    ids = [bytes.fromhex(each.face_id) for each in sealed.identity("people", "person 1").faces]
    assert all(id_ in b"".join(files(folder).values()) for id_ in ids)
    sealed.delete_identity("people", "person 1")
    left = b"".join(files(folder).values())
    assert not [what for what in (*ids, b"person 1") if what in left]


def test_there_is_no_snapshot(sealed: LocalGallery, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gallery.local.keeper.LEAST_ROWS", 1)
    enroll(sealed)
    assert not snapshots.write(sealed._store, "people")
    assert named(sealed, 3) == ["person 1"]
    sealed.close()
    assert [name for name in files(folder) if not name.startswith("gallery.db")] == []


@pytest.mark.parametrize(
    ("made_with", "key", "remedy"),
    [
        (KEY, None, "set FACESERVE_GALLERY_KEY"),
        (KEY, OTHER_KEY, "not with this key"),
        (None, KEY, "run `faceserve gallery encrypt`"),
    ],
)
def test_another_key_is_refused_with_a_remedy(
    folder: Path, made_with: bytes | None, key: bytes | None, remedy: str
) -> None:
    with LocalGallery(folder, key=made_with) as gallery:
        gallery.create_collection("people", OLD, DIMENSIONS[OLD])
        enroll(gallery)
    before = files(folder)
    with pytest.raises(KeyRefusedError, match=remedy):
        LocalGallery(folder, key=key)
    assert files(folder) == before
    with LocalGallery(folder, key=made_with) as gallery:
        assert named(gallery, 3) == ["person 1"]


def test_an_earlier_program_takes_it_for_a_newer_version(sealed: LocalGallery, folder: Path) -> None:
    with closing(sqlite3.connect(folder / "gallery.db")) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] > 1000 > 10 * schema.VERSION


def test_an_empty_gallery_takes_a_key_and_who_had_it_open_hears_of_it(folder: Path) -> None:
    with LocalGallery(folder) as plain:
        plain.create_collection("people", OLD, DIMENSIONS[OLD])
        with LocalGallery(folder, key=KEY) as sealed:
            with pytest.raises(KeyRefusedError, match="restart"):
                enroll(plain)
            assert readable(folder, enroll(sealed)) == []


def swapped(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "gallery.db")) as connection, connection:
        connection.executescript(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMP TABLE t AS SELECT key, embedding AS e FROM faces;"
        "UPDATE faces SET embedding = (SELECT e FROM t WHERE t.key = 3 - faces.key) WHERE key IN (1, 2)",
        "CREATE TEMP TABLE t AS SELECT key, id AS i FROM faces; UPDATE faces SET id = randomblob(16) WHERE key < 3;"
        "UPDATE faces SET id = (SELECT i FROM t WHERE t.key = 3 - faces.key) WHERE key IN (1, 2)",
        "UPDATE faces SET embedding = x'' WHERE key = 1",
        "UPDATE faces SET embedding = 'text' WHERE key = 1",
        "UPDATE faces SET embedding = substr(embedding, 1, length(embedding) - 1) WHERE key = 1",
    ],
)
def test_what_was_changed_or_swapped_is_damage_and_never_another_person(
    sealed: LocalGallery, folder: Path, statement: str
) -> None:
    enroll(sealed)
    sealed.close()
    swapped(folder, statement)
    with LocalGallery(folder, key=KEY) as gallery:
        for ask in (
            lambda: named(gallery, 0),
            lambda: gallery.similarity("people", "person 0", vector(0, OLD), embedder=OLD),
            lambda: [*gallery.export("people")],
        ):
            with pytest.raises(StorageError, match="damaged"):
                ask()
        gallery.delete_identity("people", "person 0")  # which mends it
        assert named(gallery, 4) == ["person 2"]


def test_a_crop_under_another_face_is_damage(sealed: LocalGallery, folder: Path) -> None:
    enroll(sealed)
    sealed.close()
    swapped(
        folder,
        "CREATE TEMP TABLE t AS SELECT * FROM crops;"
        "UPDATE crops SET (id, png) = (SELECT id, png FROM t WHERE t.face = 3 - crops.face)"
        " WHERE face IN (1, 2)",
    )
    with LocalGallery(folder, key=KEY) as gallery:
        assert named(gallery, 0) == ["person 0"]
        for each in gallery.identity("people", "person 0").faces:
            with pytest.raises(StorageError, match="crop of face"):
                gallery.crop("people", "person 0", each.face_id)
        with pytest.raises(StorageError, match="damaged"):
            gallery.survey("people")


def test_any_byte_flipped_in_a_stored_blob_is_found(folder: Path) -> None:
    with LocalGallery(folder, key=KEY) as gallery:
        gallery.create_collection("people", OLD, DIMENSIONS[OLD])
        enroll(gallery)
        connection = sqlite3.connect(folder / "gallery.db", isolation_level=None)

        @settings(max_examples=60, deadline=None)
        @given(st.sampled_from(["faces.embedding", "crops.png"]), st.integers(0, FACES - 1), st.data())
        def flipped(where: str, number: int, data: st.DataObject) -> None:
            table, _, column = where.partition(".")
            key = "key" if table == "faces" else "face"
            [[place, blob]] = connection.execute(f"SELECT {key}, {column} FROM {table} LIMIT 1 OFFSET {number}")
            hurt = bytearray(blob)
            hurt[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (bytes(hurt), place))
            with pytest.raises(StorageError, match="does not decrypt"):
                [*gallery.export("people")]
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (blob, place))

        with closing(connection):
            flipped()
        assert len([*gallery.export("people")]) == FACES + FACES // 2 + 2
