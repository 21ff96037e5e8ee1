"""Collections that score by the mean: hand-computed values, and what becomes of templates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gallery.filters import Filter
from gallery.local import templates
from gallery.local.gallery import LocalGallery
from gallery.local.store import Store
from gallery.types import (
    CollectionNotFoundError,
    FaceNotFoundError,
    InvalidNameError,
    InvalidRecordError,
    ModelMismatchError,
    NewFace,
    Target,
    Terms,
)

EMBEDDER = "digest-of-the-embedder"
Faces = Callable[[int], NewFace]


def axis(*values: float) -> NDArray[np.float32]:
    row = np.zeros(16, np.float32)
    row[: len(values)] = values
    return np.divide(row, np.linalg.norm(row), dtype=np.float32)


def face(*values: float) -> NewFace:
    row = axis(*values)
    return NewFace(row, hashlib.sha256(row.tobytes()).hexdigest(), {}, json.dumps(row.tolist()).encode())


@pytest.fixture
def means(gallery: LocalGallery) -> Iterator[LocalGallery]:
    """With the empty collection `means`."""
    assert gallery.create_collection("means", EMBEDDER, 16, terms=Terms("mean")).scoring == "mean"
    yield gallery
    assert gallery.check() == []


def found(gallery: LocalGallery, query: NDArray[np.float32], **options: Filter) -> list[tuple[str, float, str]]:
    [matches] = gallery.search("means", query[None], embedder=EMBEDDER, top_k=9, threshold=-1, **options)
    return [(match.identity, match.similarity, match.face_id) for match in matches]


def test_the_mean_decides_and_the_nearest_face_is_named(means: LocalGallery) -> None:
    alice = means.enroll("means", "alice", [face(1), face(0, 1)], embedder=EMBEDDER).faces
    means.enroll("means", "bob", [face(0.9, 0, 0.3)], embedder=EMBEDDER)
    first, second = found(means, axis(1))
    assert (first[0], second[0]) == ("bob", "alice"), "her one face is the query itself, but her mean is between"
    assert [first[1], second[1]] == pytest.approx([0.9 / np.sqrt(0.9), np.sqrt(0.5)], abs=1e-6)
    assert second[2] == alice[0].face_id
    similarity, face_id = means.similarity("means", "alice", axis(0, 1), embedder=EMBEDDER)
    assert (similarity, face_id) == (second[1], alice[1].face_id)


def test_templates_are_nobodys_faces(means: LocalGallery, folder: Path) -> None:
    means.enroll("means", "alice", [face(1), face(0, 1)], embedder=EMBEDDER)
    assert [one.name for one in means.collections()] == ["means", "people"]
    assert (means.collection("means").identities, means.collection("means").faces) == (1, 2)
    assert len(means.identity("means", "alice").faces) == 2
    assert [record["type"] for record in means.export("means")] == ["collection", "identity", "face", "face", "end"]
    with pytest.raises(InvalidNameError):
        means.collection(templates.name_of("means"))
    assert means.delete_identity("means", "alice") == 2
    assert found(means, axis(1)) == []


def test_a_template_follows_its_faces(means: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:
        done = means.enroll("means", "alice", [face(1)], embedder=EMBEDDER)
        assert found(other, axis(1))[0][1] == pytest.approx(1, abs=1e-6)
        more = means.enroll("means", "alice", [face(0, 1)], embedder=EMBEDDER)
        assert found(other, axis(1))[0][1] == pytest.approx(np.sqrt(0.5), abs=1e-6)
        means.enroll("means", "alice", [face(0, 1)], embedder=EMBEDDER)  # the same picture
        assert found(other, axis(1))[0][1] == pytest.approx(np.sqrt(0.5), abs=1e-6)
        other.delete_face("means", "alice", done.faces[0].face_id)
        [(name, similarity, face_id)] = found(means, axis(1))
        assert (name, face_id) == ("alice", more.faces[0].face_id)
        assert similarity == pytest.approx(0, abs=1e-6)
        means.delete_face("means", "alice", more.faces[0].face_id)
        assert found(other, axis(1)) == []
        with pytest.raises(FaceNotFoundError, match="no face left"):
            other.similarity("means", "alice", axis(1), embedder=EMBEDDER)


def test_filters_and_lookalikes_work_on_templates(means: LocalGallery) -> None:
    for name, team, values in (("alice", "blue", (1, 0)), ("bob", "red", (0.9, 0.1)), ("carol", "blue", (0, 1))):
        means.enroll("means", name, [face(*values)], embedder=EMBEDDER, metadata={"team": team})
    assert [name for name, _, _ in found(means, axis(1), chosen=Filter.of({"team": "blue"}))] == ["alice", "carol"]
    twin = [face(0, 1, 0.1)]
    done = means.enroll("means", "Caroline", twin, embedder=EMBEDDER)
    [match] = means.lookalikes("means", done, twin, embedder=EMBEDDER, threshold=0.9)
    assert match.identity == "carol"


def test_the_scoring_goes_out_and_comes_in(means: LocalGallery, tmp_path: Path) -> None:
    means.enroll("means", "alice", [face(1), face(0, 1)], embedder=EMBEDDER)
    records = [json.loads(json.dumps(record)) for record in means.export("means")]
    with LocalGallery(tmp_path / "target") as target:
        target.import_records(records, embedder=EMBEDDER)
        assert target.collection("means").scoring == "mean"
        assert found(target, axis(1)) == found(means, axis(1))
        assert list(target.export("means")) == records
        earlier = {key: value for key, value in records[0].items() if key != "scoring"}
        target.import_records([earlier, *records[1:]], embedder=EMBEDDER, collection="earlier")
        assert target.collection("earlier").scoring == "max"
        with pytest.raises(InvalidRecordError, match="scoring"):
            target.import_records([records[0] | {"scoring": "median"}], embedder=EMBEDDER, collection="odd")
        assert target.check() == []


def test_another_embedder_makes_the_templates_anew(means: LocalGallery, folder: Path) -> None:
    def embed(pngs: Sequence[bytes]) -> NDArray[np.float32]:
        """Seven numbers, turned round."""
        return np.stack([np.array(json.loads(png)[:7], np.float32)[::-1] for png in pngs])

    means.enroll("means", "alice", [face(1), face(0, 1)], embedder=EMBEDDER)
    means.enroll("means", "bob", [face(0, 0, 1)], embedder=EMBEDDER)
    with LocalGallery(folder) as other:
        assert [name for name, _, _ in found(other, axis(1))] == ["alice", "bob"]
        means.reembed("means", Target("new", 7, embed), made_by=EMBEDDER)
        with pytest.raises(ModelMismatchError, match="collection 'means'"):
            found(other, axis(1))
        query = np.eye(7, dtype=np.float32)[6:]
        [[match, _]] = other.search("means", query, embedder="new", top_k=9, threshold=-1)
        assert match.identity == "alice"
        assert match.similarity == pytest.approx(np.sqrt(0.5), abs=1e-6)


def test_deleted_and_made_with_the_other_scoring(means: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:
        for terms, similarity in ((Terms("mean"), np.sqrt(0.5)), (Terms("max"), 1), (Terms("mean"), np.sqrt(0.5))):
            means.delete_collection("means")
            with pytest.raises(CollectionNotFoundError, match="'means'"):
                found(other, axis(1))
            means.create_collection("means", EMBEDDER, 16, terms)
            means.enroll("means", "alice", [face(1), face(0, 1)], embedder=EMBEDDER)
            assert found(other, axis(1))[0][1] == pytest.approx(similarity, abs=1e-6)


def test_nothing_of_an_erased_face_stays_in_a_template(folder: Path) -> None:
    """Templates are written often enough here that SQLite leaves stale copies of some."""
    with LocalGallery(folder) as gallery:
        gallery.create_collection("means", EMBEDDER, 16, terms=Terms("mean"))
        rng = np.random.default_rng(0)
        for round_ in range(30):
            name, faces = f"p{round_ % 7}", [face(*rng.standard_normal(16)) for _ in range(3)]
            enrolled = [gallery.enroll("means", name, [one], embedder=EMBEDDER).faces[0].face_id for one in faces]
            hidden = "SELECT embedding FROM faces WHERE length(source_sha256) = 0"
            with gallery._store.read() as connection:
                before = {blob for (blob,) in connection.execute(hidden)}
            gallery.delete_face("means", name, enrolled[round_ % 3])
            with gallery._store.read() as connection:
                gone = before - {blob for (blob,) in connection.execute(hidden)}
            assert len(gone) == 1
            data = (folder / "gallery.db").read_bytes() + (folder / "gallery.db-wal").read_bytes()
            assert not [blob for blob in gone if blob in data]


def test_the_files_are_searched_for_the_template_of_an_erased_face(
    means: LocalGallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    needles: list[bytes] = []
    holds = Store.holds

    def listening(self: Store, asked: Sequence[bytes]) -> bool:
        needles.extend(asked)
        return holds(self, asked)

    def ids() -> list[bytes]:
        with means._store.read() as connection:
            found = connection.execute("SELECT id FROM faces WHERE length(source_sha256) = 0")
            return [id_ for (id_,) in found]

    first = means.enroll("means", "alice", [face(1)], embedder=EMBEDDER).faces[0].face_id
    before = ids()
    last = means.enroll("means", "alice", [face(0, 1)], embedder=EMBEDDER).faces[0].face_id
    assert ids() == before, "one id for all templates since the last erasure finds the stale copies of each"
    monkeypatch.setattr(Store, "holds", listening)
    for face_id in (first, last):
        gone = ids()
        means.delete_face("means", "alice", face_id)
        assert not set(ids()) & set(gone)
        assert {*gone, bytes.fromhex(face_id)} <= set(needles)
    assert ids() == []


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_the_mean_is_of_unit_length(numbers: list[int]) -> None:
    rows = np.stack([axis(*np.random.default_rng(number).standard_normal(16)) for number in numbers])
    mean = templates.mean(rows)
    assert np.linalg.norm(mean) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(mean, rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)), atol=1e-5)


def test_faces_that_cancel_out_are_the_first_of_them() -> None:
    np.testing.assert_array_equal(templates.mean(np.stack([axis(1), -axis(1)])), axis(1))
