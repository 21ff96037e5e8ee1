"""LFW's files: each format read, each fault named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.evaluation.photos import EvaluationError
from app.evaluation.verification.lfw import read_pairs, read_people

PAIRS = "2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nCid_X\t1\t12\nCid_X\t12\tBob\t1\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for name in ("Ann/Ann_0001.jpg", "Ann/Ann_0002.PNG", "Bob/Bob_0001.jpeg", "Cid_X/Cid_X_0001.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "Cid_X" / "Cid_X_0012.webp").touch()
    (folder / "Cid_X" / "Cid_X_0012.txt").touch()
    (folder / ".DS_Store").touch()
    return folder


def written(folder: Path, text: str) -> Path:
    file = folder / "list.txt"
    file.write_text(text, "utf-8")
    return file


def test_view_2(tmp_path: Path, images: Path) -> None:
    pairs = read_pairs(written(tmp_path, PAIRS), images)
    assert [photo.name for photo in pairs.photos] == [
        *("Ann/Ann_0001.jpg", "Ann/Ann_0002.PNG", "Bob/Bob_0001.jpeg"),
        *("Cid_X/Cid_X_0001.jpg", "Cid_X/Cid_X_0012.webp"),
    ]
    assert [photo.person for photo in pairs.photos] == ["Ann", "Ann", "Bob", "Cid_X", "Cid_X"]
    assert pairs.left.tolist() == [0, 0, 3, 4]
    assert pairs.right.tolist() == [1, 2, 4, 2]
    assert pairs.same.tolist() == [True, False, True, False]
    assert pairs.fold.tolist() == [0, 0, 1, 1]
    assert pairs.folds == 2
    assert pairs.photos[0].read() == b"Ann/Ann_0001.jpg"


@pytest.mark.parametrize("change", [lambda text: text.replace("\t", " "), lambda text: text.replace("\n", "\r\n\r\n")])
def test_blanks_and_windows_lines_are_read_too(tmp_path: Path, images: Path, change: object) -> None:
    assert callable(change)
    file = written(tmp_path, change(PAIRS))
    assert read_pairs(file, images).left.tolist() == [0, 0, 3, 4]


def test_view_1_has_one_fold(tmp_path: Path, images: Path) -> None:
    pairs = read_pairs(written(tmp_path, "1\nAnn\t1\t2\nAnn\t1\tBob\t1\n"), images)
    assert (pairs.folds, pairs.same.tolist()) == (1, [True, False])


def test_people_in_folds_and_in_one_list(tmp_path: Path, images: Path) -> None:
    folds = read_people(written(tmp_path, "2\n2\nBob\t1\nAnn\t2\n1\nCid_X\t1\n"), images)
    assert [photo.name for photo in folds] == [
        *("Ann/Ann_0001.jpg", "Ann/Ann_0002.PNG", "Bob/Bob_0001.jpeg", "Cid_X/Cid_X_0001.jpg"),
    ]
    assert read_people(written(tmp_path, "2\nAnn\t2\nBob\t1\n"), images) == folds[:3]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "ends where the number of folds"),
        ("ten\n", "line 1: expected the number of folds"),
        ("1\t1\t1\n", "line 1"),
        ("1\t1\nAnn\t1\t2\n", "ends where an impostor pair"),
        ("1\t1\nAnn\t1\tBob\t1\n", "line 2: expected a genuine pair"),
        ("1\t1\nAnn\t1\t2\nAnn\t1\t2\n", "line 3: expected an impostor pair"),
        ("1\t1\nAnn\t1\t2\nAnn\t1\tAnn\t2\n", "line 3: expected an impostor pair"),
        ("1\t1\nAnn\t0\t2\nAnn\t1\tBob\t1\n", "line 2"),
        ("1\t1\n../x\t1\t2\nAnn\t1\tBob\t1\n", "line 2: expected a name"),
        (PAIRS + "Ann\t1\t2\n", "line 6: expected the end"),
        (
            "1\t1\nAnn\t1\t3\nAnn\t4\tDan\t1\n",
            r"3 of 4 photos of list.txt are not in .*: the first is Ann/Ann_0003.jpg",
        ),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, images: Path, text: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        read_pairs(written(tmp_path, text), images)


@pytest.mark.parametrize("text", ["", "2\nAnn\t2\n", "1\nAnn\n", "1\nAnn\t2\nBob\t1\n", "1\n1\nAnn\t3\n"])
def test_people_that_make_no_sense(tmp_path: Path, images: Path, text: str) -> None:
    with pytest.raises(EvaluationError):
        read_people(written(tmp_path, text), images)


def test_no_text_and_no_images(tmp_path: Path, images: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EvaluationError, match="no text"):
        read_pairs(tmp_path / "list.txt", images)
    with pytest.raises(EvaluationError, match="is no folder"):
        read_pairs(written(tmp_path, PAIRS), tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        read_people(tmp_path / "nothing.txt", images)


def test_a_photo_comes_once_however_often_it_is_named(tmp_path: Path, images: Path) -> None:
    pairs = read_pairs(written(tmp_path, "1\t2\nAnn\t1\t2\nAnn\t2\t1\nAnn\t1\tBob\t1\nBob\t1\tAnn\t1\n"), images)
    assert len(pairs.photos) == 3
    assert np.array_equal(pairs.left, [0, 1, 0, 2])
