"""Which identity a file's name gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli.pictures import find_pictures


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("name", "identity", "stripped"),
    [
        ("alice.jpg", "alice", "alice"),
        ("alice_0.jpg", "alice", "alice"),
        ("alice_17.png", "alice", "alice"),
        ("Grace Hopper.jpg", "Grace Hopper", "Grace Hopper"),
        ("mary_ann.jpg", "mary_ann", "mary_ann"),
        ("mary_ann_2.jpg", "mary_ann", "mary_ann"),
        ("qys0.jpg", "qys0", "qys"),
        ("qys12.jpg", "qys12", "qys"),
        ("qys0_3.jpg", "qys0", "qys"),
        ("007.jpg", "007", "007"),
        ("_1.jpg", "_1", "_"),
        ("dr. who.webp", "dr. who", "dr. who"),
        ("noextension", "noextension", "noextension"),
    ],
)
def test_the_file_name_is_the_identity(tmp_path: Path, name: str, identity: str, stripped: str) -> None:
    touch(tmp_path, name)
    for given_path in (tmp_path, tmp_path / name):
        assert [picture.identity for picture in find_pictures([given_path])] == [identity]
        assert [picture.identity for picture in find_pictures([given_path], strip_digits=True)] == [stripped]


def test_a_folder_inside_a_folder_names_all_its_pictures(tmp_path: Path) -> None:
    touch(tmp_path, "bob.jpg", "alice/1.jpg", "alice/holiday_2.jpg", "team/carol7/x.jpg")
    found = {str(p.path.relative_to(tmp_path)): p.identity for p in find_pictures([tmp_path], strip_digits=True)}
    assert found == {
        "bob.jpg": "bob",
        "alice/1.jpg": "alice",
        "alice/holiday_2.jpg": "alice",
        "team/carol7/x.jpg": "carol7",
    }


def test_hidden_files_and_empty_folders_are_nothing(tmp_path: Path) -> None:
    touch(tmp_path, ".DS_Store", ".cache/alice.jpg", "alice/.thumb.jpg")
    (tmp_path / "empty").mkdir()
    assert find_pictures([tmp_path]) == []


def test_the_order_is_the_given_one_then_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.jpg", "b/1.jpg", "a.jpg")
    found = find_pictures([tmp_path / "b", tmp_path / "a.jpg"])
    assert [picture.path.name for picture in found] == ["1.jpg", "2.jpg", "a.jpg"]


@given(st.from_regex(r"[a-z][a-z _]*[a-z]", fullmatch=True), st.integers(0, 9999))
def test_numbering_never_changes_who_it_is(name: str, number: int) -> None:
    one, other = find_pictures([Path(f"{name}.jpg"), Path(f"{name}_{number}.jpg")])
    assert one.identity == other.identity == name
