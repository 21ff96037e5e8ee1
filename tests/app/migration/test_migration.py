"""Collections carried from one gallery to another: all of them, with their terms, from a source that may be in use."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.migration import Holding, holding, migrate, refuse_unfit
from gallery.local.gallery import LocalGallery
from gallery.types import (
    CollectionExistsError,
    CollectionNotFoundError,
    IdentityExistsError,
    InvalidNameError,
    ModelMismatchError,
    Terms,
)
from tests.app.migration.people import DIMENSION, EMBEDDER, enroll, face, quiet


def test_all_goes_over_and_both_are_compared(source: LocalGallery, target: LocalGallery) -> None:
    heard: list[tuple[str, int, int]] = []
    done = migrate(source, target, "people", on_progress=lambda *told: heard.append(told))
    assert (done.identities, done.faces, done.skipped, done.same) == (150, 300, 0, True)
    assert done.source == done.target == done.sent
    assert (done.source.identities, done.source.faces) == (150, 300)
    assert list(target.export("people")) == list(source.export("people"))
    assert target.check() == []
    assert [told for told in heard if told[1] == 450] == [
        (doing, 450, 450) for doing in ("copying", "reading the source", "reading the target")
    ]


def test_again_changes_nothing_and_brings_what_is_new(source: LocalGallery, target: LocalGallery) -> None:
    migrate(source, target, "people", on_progress=quiet)
    enroll(source, 150)
    done = migrate(source, target, "people", on_progress=quiet)
    assert (done.identities, done.faces, done.skipped, done.same) == (1, 2, 300, True)


def test_terms_and_embedder_travel(source: LocalGallery, target: LocalGallery) -> None:
    terms = Terms("mean", max_identities=5, max_faces=3, ttl_s=86_400.0)
    source.create_collection("strict", "another embedder", 4, terms)
    migrate(source, target, "strict", on_progress=quiet)
    made = target.collection("strict")
    assert (made.embedder, made.dimension) == ("another embedder", 4)
    assert Terms(made.scoring, made.max_identities, made.max_faces, made.ttl_s) == terms


def test_a_collection_goes_over_under_another_name(source: LocalGallery, target: LocalGallery) -> None:
    done = migrate(source, target, "people", into="copy", on_progress=quiet)
    assert (done.collection, done.into, done.same) == ("people", "copy", True)
    assert [found.name for found in target.collections()] == ["copy"]


@pytest.mark.parametrize(
    ("embedder", "dimension", "terms", "refusal"),
    [
        ("other", DIMENSION, Terms(), ModelMismatchError),
        (EMBEDDER, 9, Terms(), ModelMismatchError),
        (EMBEDDER, DIMENSION, Terms("mean"), CollectionExistsError),
        (EMBEDDER, DIMENSION, Terms(max_identities=1000), CollectionExistsError),
        (EMBEDDER, DIMENSION, Terms(max_faces=1000), CollectionExistsError),
        (EMBEDDER, DIMENSION, Terms(ttl_s=60), CollectionExistsError),
    ],
)
def test_a_target_that_does_not_fit_is_refused_before_anything_is_written(
    source: LocalGallery, target: LocalGallery, embedder: str, dimension: int, terms: Terms, refusal: type[Exception]
) -> None:
    source.create_collection("a", EMBEDDER, DIMENSION)
    target.create_collection("people", embedder, dimension, terms)
    with pytest.raises(refusal, match="people"):
        refuse_unfit(source, target, ["a", "people"])
    with pytest.raises(refusal):
        migrate(source, target, "people", on_progress=quiet)
    assert [(found.name, found.identities) for found in target.collections()] == [("people", 0)]


def test_what_is_not_there_or_has_no_name_is_refused(source: LocalGallery, target: LocalGallery) -> None:
    with pytest.raises(CollectionNotFoundError, match="nobodies"):
        migrate(source, target, "nobodies", on_progress=quiet)
    with pytest.raises(InvalidNameError):
        migrate(source, target, "people", into="a/b", on_progress=quiet)
    assert target.collections() == []


def test_somebody_else_of_the_same_name_is_not_mixed_up(source: LocalGallery, target: LocalGallery) -> None:
    target.create_collection("people", EMBEDDER, DIMENSION)
    target.enroll("people", "person 3", [face(999)], embedder=EMBEDDER)
    with pytest.raises(IdentityExistsError, match="person 3"):
        migrate(source, target, "people", on_progress=quiet)
    assert len(target.identity("people", "person 3").faces) == 1


def test_what_the_target_has_too_much_is_found(source: LocalGallery, target: LocalGallery) -> None:
    migrate(source, target, "people", on_progress=quiet)
    source.delete_identity("people", "person 7")
    done = migrate(source, target, "people", on_progress=quiet)
    assert not done.same
    assert (
        "149 identities with 298 faces against 150 identities with 300 faces (among them person 7); the target"
        in done.difference()
    )


def during(source: LocalGallery, change: Callable[[], object], at: int = 220) -> Callable[[str, int, int], None]:
    def on_progress(doing: str, done: int, of: int) -> None:
        if (doing, done) == ("copying", at):
            change()

    return on_progress


def test_the_source_may_be_in_use(source: LocalGallery, target: LocalGallery) -> None:
    """What is erased or enrolled before its turn is seen."""

    def change() -> None:
        source.delete_identity("people", "person 149")
        enroll(source, 200)

    done = migrate(source, target, "people", on_progress=during(source, change))
    assert done.same
    assert (done.target.identities, done.target.faces) == (150, 300)


def test_what_changes_behind_the_copy_is_told_and_fetched_by_another_run(
    source: LocalGallery, target: LocalGallery
) -> None:
    def late_face() -> None:
        source.enroll("people", "person 0", [face(5000)], embedder=EMBEDDER)

    done = migrate(source, target, "people", on_progress=during(source, late_face))
    assert not done.same
    assert done.target == done.sent
    assert "the source changed meanwhile: migrate again" in done.difference()
    assert migrate(source, target, "people", on_progress=quiet).same


def test_what_is_erased_behind_the_copy_stays_at_the_target_and_is_told(
    source: LocalGallery, target: LocalGallery
) -> None:
    done = migrate(
        source, target, "people", on_progress=during(source, lambda: source.delete_identity("people", "person 0"))
    )
    assert not done.same
    again = migrate(source, target, "people", on_progress=quiet)
    assert not again.same
    target.delete_identity("people", "person 0")
    assert migrate(source, target, "people", on_progress=quiet).same


def test_a_holding_is_the_same_in_whichever_order(source: LocalGallery, target: LocalGallery) -> None:
    target.create_collection("people", EMBEDDER, DIMENSION)
    records = list(source.export("people"))
    blocks = [records[at : at + 3] for at in range(1, 451, 3)]
    backwards = [record for block in reversed(blocks) for record in block]
    target.import_records([records[0], *backwards, records[-1]], embedder=EMBEDDER)
    assert holding(target, "people") == holding(source, "people")
    assert holding(source, "people") == Holding(150, 300, records[-1]["digest"])
