"""Tables of attributes: joined by photo or person, numbers cut at quartiles, nonsense refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.evaluation.groups import Attributes, read_attributes
from app.evaluation.photos import EvaluationError, Photo

ALICE, ALICE_TOO, BOB = (Photo(f"{who}/{who}_{n}.jpg", who, b"") for who, n in (("alice", 1), ("alice", 2), ("bob", 1)))
PHOTOS = (ALICE, ALICE_TOO, BOB)


def attributes(folder: Path, text: str) -> Attributes:
    file = folder / "attributes.csv"
    file.write_text(text, "utf-8")
    return read_attributes(file)


def test_by_person(tmp_path: Path) -> None:
    found = attributes(tmp_path, "person,hair,glasses\nbob,dark,\nalice,fair,yes\nstranger,red,no\n").of(PHOTOS)
    assert found == {
        "hair": {ALICE.name: "fair", ALICE_TOO.name: "fair", BOB.name: "dark"},
        "glasses": {ALICE.name: "yes", ALICE_TOO.name: "yes"},
    }


def test_by_photo_with_or_without_its_extension(tmp_path: Path) -> None:
    text = "pose,photo\nleft,alice/alice_1\nfront,alice/alice_2.jpg\n"
    found = attributes(tmp_path, "\ufeff" + text).of(PHOTOS)
    assert found == {"pose": {ALICE.name: "left", ALICE_TOO.name: "front"}}


def test_a_dot_in_a_name_is_no_extension(tmp_path: Path) -> None:
    photo = Photo("J.R._Smith/J.R._Smith_0001.jpg", None, b"")
    found = attributes(tmp_path, "photo,pose\nJ.R._Smith/J.R._Smith_0001,left\n").of([photo])
    assert found == {"pose": {photo.name: "left"}}


def test_many_numbers_are_cut_into_quartiles(tmp_path: Path) -> None:
    photos = [Photo(f"{n}.jpg", None, b"") for n in range(12)]
    rows = "".join(f"{n},{n / 10},{n % 3}\n" for n in range(12))
    found = attributes(tmp_path, "photo,sharpness,yaw\n" + rows).of(photos)
    cut = [found["sharpness"][photo.name] for photo in photos]
    assert [cut.count(name) for name in sorted(set(cut))] == [3, 3, 3, 3]
    assert cut == sorted(cut)
    assert cut[0] == "Q1: 0 to 0.275"
    assert set(found["yaw"].values()) == {"0", "1", "2"}  # few numbers are groups themselves


@given(st.lists(st.integers(-50, 50), min_size=12, max_size=60))
def test_quartiles_keep_the_order_and_lose_nobody(values: list[int]) -> None:
    photos = [Photo(str(place), None, b"") for place in range(len(values))]
    table = Attributes(Path("x.csv"), "photo", ("value",), {str(place): (str(v),) for place, v in enumerate(values)})
    found = table.of(photos)["value"]
    assert set(found) == {photo.name for photo in photos}
    if len(set(values)) > 10:
        ranked = [found[str(place)] for place in sorted(range(len(values)), key=values.__getitem__)]
        assert ranked == sorted(ranked)
        assert all(name.startswith("Q") for name in ranked)
    else:
        assert [found[str(place)] for place in range(len(values))] == [str(value) for value in values]


def test_words_among_numbers_leave_them_uncut(tmp_path: Path) -> None:
    photos = [Photo(str(n), None, b"") for n in range(13)]
    rows = "".join(f"{n},{n}\n" for n in range(12)) + "12,unknown\n"
    assert len(set(attributes(tmp_path, "photo,age\n" + rows).of(photos)["age"].values())) == 13


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1"),
        ("name,hair\nalice,fair\n", "expected `photo` or `person`"),
        ("person,photo,hair\n", "one of the two"),
        ("person\nalice\n", "at least one more"),
        ("person,hair,hair\nalice,fair,fair\n", "a name of its own"),
        ("person,hair\n", "no rows"),
        ("person,hair\nalice,fair\nbob\n", "line 3: 1 cells, expected 2"),
        ("person,hair\nalice,fair\n\nalice,dark\n", "line 4: 'alice' has a line already"),
        ("person,hair\n ,fair\n", "line 2: the column `person` is empty"),
        ('person,hair\nalice,"fa', "line 2"),
    ],
)
def test_nonsense_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=r"attributes\.csv") as refused:
        attributes(tmp_path, text)
    assert said in str(refused.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "attributes.csv"
    file.write_bytes(b"person,hair\nalice,\xff\xfe\n")
    with pytest.raises(EvaluationError, match="expected CSV in UTF-8"):
        read_attributes(file)


def test_a_table_about_others_is_refused_with_both_names(tmp_path: Path) -> None:
    found = attributes(tmp_path, "photo,hair\nalice_1.png,fair\n")
    with pytest.raises(EvaluationError, match=r"'alice_1\.png', theirs are such as 'alice/alice_1\.jpg'"):
        found.of(PHOTOS)
