"""Questions to lines that were damaged, and to those about everybody."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from app.audit.query import Question, answers
from app.audit.trail import Trail
from tests.app.audit.trails import damaged, edited, written

AT = "2026-11-21T18:00:00.000000+00:00"
NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
EVENING = datetime(2026, 11, 21, 20, tzinfo=timezone.utc)


def asked(folder: Path, record: dict[str, Any], **question: Any) -> bool:
    """Whether the record, alone in an audit, is an answer."""
    Trail(folder).append([record], sync=False)
    return bool([*answers(folder, Question(**question))])


@pytest.mark.parametrize("at", ["yesterday", None, 17, "2026-11-21T18:00:00"])
def test_a_line_whose_time_cannot_be_told_is_shown(tmp_path: Path, at: Any) -> None:
    """It was not written so: who asks is to see it, and not to be left with a traceback."""
    assert asked(tmp_path, {"deed": "erase", "at": at, "subjects": ["a"]}, subject="a", since=NOON, until=EVENING)


@pytest.mark.parametrize("subjects", [None, 17, {"a": 1}, "a"])
def test_subjects_that_are_none_are_nobody(tmp_path: Path, subjects: Any) -> None:
    assert not asked(tmp_path, {"deed": "erase", "at": AT, "subjects": subjects}, subject="a")


@pytest.mark.parametrize(
    ("deed", "is_answer"), [("encrypt", True), ("decrypt", True), ("rekey", True), ("import", False), ("erase", False)]
)
def test_what_was_done_to_the_whole_gallery_concerns_every_collection(
    tmp_path: Path, deed: str, is_answer: bool
) -> None:
    record = {"deed": deed, "at": AT, "collection": None}
    assert asked(tmp_path, record, subject="a", collection="people") == is_answer


def test_an_edited_line_is_shown_as_one(tmp_path: Path) -> None:
    written(tmp_path, 3)
    damaged(tmp_path, edited, 1)
    assert [line.get("edited", False) for line in answers(tmp_path, Question())] == [False, True, False]
