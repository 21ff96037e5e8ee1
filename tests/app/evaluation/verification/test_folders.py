"""One sub-folder a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.evaluation.photos import EvaluationError
from app.evaluation.verification.folders import read_folder


def test_photos_are_of_the_sub_folder_they_lie_in(tmp_path: Path) -> None:
    for name in (
        "bob/2.jpg",
        "bob/1.jpg",
        "ann/deep/x.png",
        "ann/.hidden",
        ".git/y.jpg",
        "ann/.thumbs/z.jpg",
        "top.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    photos = read_folder(tmp_path)
    assert [(photo.name, photo.person) for photo in photos] == [
        *(("ann/deep/x.png", "ann"), ("bob/1.jpg", "bob"), ("bob/2.jpg", "bob")),
    ]
    assert photos[1].source == tmp_path / "bob" / "1.jpg"


def test_a_folder_without_sub_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    with pytest.raises(EvaluationError, match="a sub-folder for each person"):
        read_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_folder(tmp_path / "nowhere")
