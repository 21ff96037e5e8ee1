"""Where the line is drawn: by the client, by what was measured, or by nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.embedders import Embedders
from app.errors import InvalidRequestError
from app.margins import Candidates, weighed
from app.naming import Naming
from app.schemas import NamingOptions
from engines.models import SHIPPED, ModelStore
from engines.thresholds import Choice, FarRow, Thresholds, false_match_rate
from gallery.local.gallery import LocalGallery
from gallery.types import Match, NewFace

STORE = ModelStore(SHIPPED)
EMBEDDER = STORE.get("mobilefacenet_256")
EMPTY, QUERY = NamingOptions(collection="empty"), np.eye(1, 256, dtype=np.float32)
TABLE = Thresholds.measured([FarRow(0.1, 1e-2), FarRow(0.2, 5e-4), FarRow(0.4, 1e-4)], "a test")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[LocalGallery]:
    with LocalGallery(tmp_path) as opened:
        opened.create_collection("empty", EMBEDDER.digest, 256)
        yield opened


def naming(gallery: LocalGallery, thresholds: Thresholds | None) -> Naming:
    return Naming(gallery, Embedders(STORE, replace(EMBEDDER, thresholds=thresholds)))


def test_what_was_measured_draws_the_line(gallery: LocalGallery) -> None:
    model = naming(gallery, TABLE)
    assert model.line_for_verify(None) == Choice(0.2, 5e-4, 5e-4, None)
    line, [found] = model.search(EMPTY, QUERY, 1)
    assert (line, found) == (Choice(0.1, 1e-2, false_match_rate(1e-2, 1), None), Candidates([]))


def test_a_far_that_nobody_measured_is_not_made_up(gallery: LocalGallery) -> None:
    model = naming(gallery, Thresholds(0.3, None, 0.4))
    assert model.line_for_verify(None) == Choice(0.3, None, None, None)
    assert model.search(EMPTY, QUERY, 1)[0] == Choice(0.4, None, None, None)


@pytest.mark.parametrize("thresholds", [TABLE, None])
def test_the_clients_line_comes_first_and_promises_nothing(
    gallery: LocalGallery, thresholds: Thresholds | None
) -> None:
    model = naming(gallery, thresholds)
    assert model.line_for_verify(0.7) == Choice(0.7, None, None, None)
    assert model.search(NamingOptions(collection="empty", threshold=0.7), QUERY, 1)[0] == Choice(0.7, None, None, None)


def test_a_model_without_thresholds_says_how_to_get_some(gallery: LocalGallery) -> None:
    model = naming(gallery, None)
    said = "mobilefacenet_256 recommends no threshold: send `threshold`, .* `faceserve eval verification --save`"
    with pytest.raises(InvalidRequestError, match=said):
        model.line_for_verify(None)
    with pytest.raises(InvalidRequestError, match=said):
        model.search(EMPTY, QUERY, 1)


def face(*towards: float) -> NewFace:
    """A face whose cosines to the axes are those."""
    row = np.zeros(256, np.float32)
    row[: len(towards)] = towards
    row[255] = np.sqrt(1 - np.sum(np.square(towards)))
    return NewFace(row, sha256(row.tobytes()).hexdigest())


def enrol(gallery: LocalGallery, people: dict[str, list[NewFace]], **metadata: str) -> None:
    gallery.ensure_collection("people", EMBEDDER.digest, 256)
    for name, faces in people.items():
        gallery.enroll("people", name, faces, embedder=EMBEDDER.digest, metadata=metadata)


def test_with_a_filter_the_line_is_drawn_for_those_who_pass(gallery: LocalGallery) -> None:
    enrol(gallery, {f"p{number}": [face(0.15)] for number in range(19)}, department="support")
    enrol(gallery, {"alice": [face(0.15)]}, department="sales")
    model = naming(gallery, TABLE)
    everybody, [nobody] = model.search(NamingOptions(collection="people"), QUERY, 5)
    assert (everybody.threshold, nobody.matches) == (0.2, [])
    sales, [found] = model.search(NamingOptions(collection="people", filter={"department": "sales"}), QUERY, 5)
    assert sales == Choice(0.1, 1e-2, false_match_rate(1e-2, 1), None)
    assert [match.identity for match in found.matches] == ["alice"]


def test_the_best_is_named_only_well_ahead_of_the_second(gallery: LocalGallery) -> None:
    enrol(gallery, {"alice": [face(0.80), face(0.79)], "bob": [face(0.75)], "carol": [face(0.30)]})
    model = naming(gallery, None)

    def found(top_k: int = 1, **options: float) -> Candidates:
        asked = NamingOptions(collection="people", threshold=0.5).model_copy(update=options)
        return model.search(asked, QUERY, top_k)[1][0]

    assert found().named == found(min_margin=0.04).named == found().matches[0]
    assert (found().margin, found().ambiguous) == (None, False)
    near = found(min_margin=0.06)
    assert (near.named, near.ambiguous, [match.identity for match in near.matches]) == (None, True, ["alice"])
    assert near.margin == pytest.approx(0.05, abs=1e-6), "another face of alice's own is no second"
    assert [match.identity for match in found(top_k=3, min_margin=0.06).matches] == ["alice", "bob"]
    # The second counts below the line too; where the best is below it, there is nobody to be ahead.
    assert found(min_margin=0.06, threshold=0.77).ambiguous
    assert found(min_margin=0.06, threshold=0.9) == Candidates([])


def test_alone_nobody_is_ambiguous(gallery: LocalGallery) -> None:
    enrol(gallery, {"alice": [face(0.8), face(0.8, 0.1)]})
    _, [found] = naming(gallery, None).search(NamingOptions(collection="people", threshold=0.5, min_margin=2), QUERY, 1)
    assert (found.margin, found.ambiguous, found.named) == (None, False, found.matches[0])


@given(
    similarities=st.lists(st.floats(-1, 1), max_size=5),
    line=st.floats(-1, 1),
    top_k=st.integers(1, 5),
    least=st.floats(0, 2),
)
def test_who_is_named_is_above_the_line_and_ahead(
    similarities: list[float], line: float, top_k: int, least: float
) -> None:
    ordered = sorted(similarities, reverse=True)
    found = weighed([Match(str(n), each, "", {}) for n, each in enumerate(ordered)], line, top_k, least)
    ahead = bool(ordered) and ordered[0] >= line and (len(ordered) < 2 or ordered[0] - ordered[1] >= least)
    assert (found.named is not None) == ahead
    assert [match.similarity for match in found.matches] == [each for each in ordered if each >= line][:top_k]


def test_lookalikes_are_those_above_the_models_line(gallery: LocalGallery) -> None:
    enrol(gallery, {"alice": [face(0.9)], "bob": [face(0, 0.9)]})
    twin = [face(0.9, 0.01)]
    done = gallery.enroll("people", "new", twin, embedder=EMBEDDER.digest)
    found = naming(gallery, TABLE).lookalikes("people", done, twin)
    assert found is not None
    assert [match.identity for match in found] == ["alice"]
    assert naming(gallery, None).lookalikes("people", done, twin) is None
