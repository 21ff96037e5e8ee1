"""A collection carried over to another embedder while others enrol, erase, rename, export, import, or fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gallery.local.gallery import LocalGallery
from gallery.types import (
    ModelMismatchError,
    ReembedRefusedError,
)
from tests.gallery.local.crops import NEW, OLD, embedded, target, vector
from tests.gallery.local.people import FACES, enroll, found, peopled, requires

Embed = Callable[[Sequence[bytes]], NDArray[np.float32]]


@pytest.fixture
def gallery(folder: Path) -> Iterator[LocalGallery]:
    with peopled(folder) as opened:
        yield opened


def meanwhile(act: Callable[[int], None]) -> tuple[list[int], Embed]:
    """An `embed` that first lets something happen, with the number of the call; and how many crops each call had."""
    calls: list[int] = []

    def embed(pngs: Sequence[bytes]) -> NDArray[np.float32]:
        calls.append(len(pngs))
        act(len(calls))
        return embedded(pngs)

    return calls, embed


def test_who_is_enrolled_renamed_or_erased_meanwhile(gallery: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:

        def act(call: int) -> None:
            if call <= 5:
                enroll(other, 100 + call)
                requires(other, OLD, [100 + call, 8])
            if call == 1:
                other.delete_identity("people", "person 2")  # its crop is being embedded
            if call == 2:
                other.delete_identity("people", "person 1")  # its embedding has been kept
                other.update_identity("people", "person 3", new_name="Person Three")

        _, embed = meanwhile(act)
        assert gallery.reembed("people", replace(target(), embed=embed), made_by=OLD).faces == FACES - 2 + 5
        assert found(other, 3, NEW) == ["Person Three"]
        requires(other, NEW, [0, *range(4, 10), *range(101, 106)])


def test_the_last_transaction_takes_in_who_came_in_the_last_moment(
    gallery: LocalGallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gallery.local.reembed import Reembedding

    gather, late = Reembedding._gather, iter([*range(200, 206), None, 206, None])

    def gather_and_then(self: Reembedding) -> None:
        gather(self)
        for number in iter(lambda: next(late), None):
            assert number is not None
            enroll(other, number)

    monkeypatch.setattr(Reembedding, "_gather", gather_and_then)
    with LocalGallery(folder) as other:
        assert gallery.reembed("people", target(), made_by=OLD).faces == FACES + 7
        requires(other, NEW, [*range(FACES), *range(200, 207)])


def test_a_face_without_a_crop_that_comes_meanwhile_is_refused_at_the_end(gallery: LocalGallery) -> None:
    def act(call: int) -> None:
        if call == 3:
            enroll(gallery, 50, with_crop=False)

    calls, embed = meanwhile(act)
    with pytest.raises(ReembedRefusedError, match="person 50"):
        gallery.reembed("people", replace(target(), embed=embed), made_by=OLD)
    requires(gallery, OLD, [*range(FACES), 50])
    assert gallery.reembed("people", replace(target(), embed=embed), made_by=OLD, drop_without_crop=True).dropped == 1
    assert calls == [4, 4, 2]  # all was kept from the first time


def test_one_that_fails_goes_on_where_it_was(gallery: LocalGallery, folder: Path) -> None:
    def fail(call: int) -> None:
        if call == 2:
            raise RuntimeError("the GPU is gone")

    calls, embed = meanwhile(fail)
    with pytest.raises(RuntimeError, match="GPU"):
        gallery.reembed("people", replace(target(), embed=embed), made_by=OLD)
    requires(gallery, OLD, range(FACES))
    with LocalGallery(folder) as other:
        other.reembed("people", replace(target(), embed=embed), made_by=OLD)
        assert calls == [4, 4, 4, 2]
        requires(gallery, NEW, range(FACES))


def test_nothing_of_a_person_erased_is_left_of_what_was_gathered(gallery: LocalGallery, folder: Path) -> None:
    def stop(call: int) -> None:
        if call == 3:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        gallery.reembed("people", replace(target(), embed=meanwhile(stop)[1]), made_by=OLD)
    for number in range(8):
        assert any(vector(number, NEW).tobytes() in path.read_bytes() for path in folder.iterdir())
        gallery.delete_identity("people", f"person {number}")
        for gone in (vector(number, NEW), vector(number, OLD)):
            assert not any(gone.tobytes() in path.read_bytes() for path in folder.iterdir())


def test_the_first_of_two_to_different_embedders_wins(gallery: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:

        def act(call: int) -> None:
            if call == 2:
                other.reembed("people", replace(target(), embedder="third"), made_by=OLD)

        with pytest.raises(ModelMismatchError, match="third"):
            gallery.reembed("people", replace(target(), embed=meanwhile(act)[1]), made_by=OLD)
        assert gallery.collection("people").embedder == "third"
        with pytest.raises(ModelMismatchError, match="third"):
            gallery.reembed("people", target(), made_by=OLD)


def test_two_to_the_same_embedder_share_the_work(gallery: LocalGallery, folder: Path) -> None:
    with LocalGallery(folder) as other:

        def act(call: int) -> None:
            if call == 2:
                other.reembed("people", target(), made_by=OLD)

        with pytest.raises(ModelMismatchError):  # it is done, by the other
            gallery.reembed("people", replace(target(), embed=meanwhile(act)[1]), made_by=OLD)
        requires(gallery, NEW, range(FACES))


def test_an_export_or_import_under_way_mixes_nothing(gallery: LocalGallery) -> None:
    records = gallery.export("people")
    before = [next(records) for _ in range(3)]

    def halfway() -> Iterator[dict[str, object]]:
        yield before[0]
        for number in range(400):
            if number == 205:
                gallery.reembed("people", target(), made_by=OLD)
            yield {**before[1], "id": f"{number:032x}", "identity": f"new {number}"}

    with pytest.raises(ModelMismatchError):
        gallery.import_records(halfway(), embedder=OLD)
    with pytest.raises(ModelMismatchError):
        before.extend(records)
    assert not [record for record in before if record["type"] == "end"]
    assert gallery.collection("people").identities == FACES + 200
    requires(gallery, NEW, range(FACES))


def test_an_index_that_is_being_read_meanwhile_is_read_again(
    gallery: LocalGallery, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gallery.local import projection

    monkeypatch.setattr(projection, "_LOAD_ROWS", 3)
    add, pages = projection.Projection._add, iter(range(10**6))

    def add_and_then(self: projection.Projection, rows: list[projection._Row]) -> None:
        add(self, rows)
        if next(pages) == 1:
            gallery.reembed("people", target(), made_by=OLD)

    monkeypatch.setattr(projection.Projection, "_add", add_and_then)
    with LocalGallery(folder) as other:
        assert other.check() == []
        requires(other, NEW, range(FACES))
        assert next(pages) > 4
