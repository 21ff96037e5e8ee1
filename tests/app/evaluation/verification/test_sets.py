"""Which files go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.evaluation.photos import EvaluationError
from app.evaluation.verification.sets import Files, read_sets

FOLDER, FILE, PACK = Path("photos"), Path("pairs.txt"), Path("lfw.bin")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (Files(None, None, None, None, None), "where are the photos"),
        (Files(None, FILE, None, None, None), "where are the photos"),
        (Files(FOLDER, PACK, None, None, None), "leave out --images"),
        (Files(None, PACK, FILE, FILE, FILE), "leave out --choose-on, --people, --check-people"),
    ],
)
def test_what_does_not_go_together_is_refused(files: Files, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        read_sets(files)


def test_files_are_told_without_their_folders(tmp_path: Path) -> None:
    told = Files(tmp_path / "lfw", tmp_path / "pairs.txt", None, tmp_path / "people.txt", None).as_json()
    assert told == {
        "images": "lfw", "pairs": "pairs.txt", "choose_on": None, "people": "people.txt", "check_people": None,
    }  # fmt: skip
