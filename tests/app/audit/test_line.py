"""The chain: what was written is whole, and whatever was done to it since shows."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audit.line import ORIGIN, Link, last_link, parsed, sealed
from app.audit.trail import Trail, files_of
from app.audit.verify import verify
from tests.app.audit.trails import (
    Damage,
    cut,
    damaged,
    doubled,
    edited,
    lines_of,
    moved_to_the_end,
    removed,
    replaced,
    unreadable,
    without_mark,
    written,
)

VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.lists(st.text(), max_size=3)
NAMES = st.text(st.characters(codec="ascii", categories=["L"]), min_size=2)
RECORDS = st.dictionaries(NAMES.filter(lambda name: name not in {"prev", "digest"}), VALUES, max_size=4)


def test_a_line_by_hand() -> None:
    line, link = sealed({"deed": "erase"}, ORIGIN)
    body = '{"n":1,"deed":"erase","prev":"' + 64 * "0" + '"}'
    digest = hashlib.sha256(body.encode()).hexdigest()
    assert line.decode() == body[:-1] + ',"digest":"' + digest + '"}\n'
    assert link == Link(1, digest)
    assert json.loads(line) == {"n": 1, "deed": "erase", "prev": 64 * "0", "digest": digest}


@given(records=st.lists(RECORDS, min_size=1, max_size=5))
@settings(max_examples=40)
def test_what_is_sealed_is_read_back(records: list[dict[str, object]]) -> None:
    link, text = ORIGIN, b""
    for number, record in enumerate(records, start=1):
        before = link
        data, link = sealed(record, before)
        assert data.count(b"\n") == 1
        assert data.endswith(b"\n")
        line = parsed(data[:-1])
        assert line is not None
        assert dict(line.record) == {"n": number, **record, "prev": before.digest}
        assert (line.link, line.prev, line.intact) == (link, before.digest, True)
        text += data
    assert last_link(text) == link


@given(record=RECORDS, data=st.data())
@settings(max_examples=40)
def test_no_byte_can_be_changed_unseen(record: dict[str, object], data: st.DataObject) -> None:
    line = sealed(record, ORIGIN)[0][:-1]
    place = data.draw(st.integers(0, len(line) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))
    found = parsed(line[:place] + bytes([byte]) + line[place + 1 :])
    assert found is None or not found.intact


@given(record=RECORDS, end=st.integers(0, 400))
@settings(max_examples=40)
def test_the_beginning_of_a_line_is_none(record: dict[str, object], end: int) -> None:
    line = sealed(record, ORIGIN)[0][:-1]
    assert parsed(line[: min(end, len(line) - 1)]) is None


@given(records=st.lists(RECORDS, max_size=12), file_bytes=st.sampled_from([1, 300, 2**20]))
@settings(max_examples=30)
def test_what_is_written_is_whole_in_however_many_files(records: list[dict[str, object]], file_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trail = Trail(Path(folder), file_bytes)
        for record in records:
            trail.append([record], sync=False)
        verdict = verify(Path(folder))
        assert (verdict.breaks, verdict.lines) == ([], len(records))
        assert verdict.last is None or verdict.last.number == len(records)
        assert (
            len(files_of(Path(folder))) == (len(records) if file_bytes == 1 else min(len(records), 1))
            or file_bytes == 300
        )


@given(
    count=st.integers(4, 12),
    data=st.data(),
    damage=st.sampled_from([edited, removed, doubled, moved_to_the_end, unreadable, cut]),
)
@settings(max_examples=40)
def test_every_damage_is_seen(count: int, data: st.DataObject, damage: Damage) -> None:
    last = count - 2 if damage is moved_to_the_end else count - 1  # the last one is there already
    place = data.draw(st.integers(1, last))
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), count)
        assert verify(Path(folder)).whole
        assert not damaged(Path(folder), damage, place).whole


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edited, "000000000001.ndjson, line 3: number 3 was edited"),
        (removed, "000000000001.ndjson, line 3: numbers 3 to 3 are missing"),
        (doubled, "000000000001.ndjson, line 4: number 3 stands behind number 3: moved or doubled"),
        (cut, "numbers 3 to 6 are missing at the end: cut off, or not on the disk when the power failed"),
        (unreadable, "000000000001.ndjson, line 4: numbers 3 to 3 are missing"),
    ],
)
def test_it_is_said_where(tmp_path: Path, damage: Damage, said: str) -> None:
    written(tmp_path, 6)
    assert damaged(tmp_path, damage, 2).breaks == [said]


def forged(lines: list[bytes], place: int) -> list[bytes]:
    """Edited by somebody who knows how digests are made, but leaves the next line."""
    before = parsed(lines[place - 1][:-1])
    assert before is not None
    return replaced(lines, place, sealed({"deed": "erased", "number": place}, before.link)[0])


def forged_to_the_end(lines: list[bytes], place: int) -> list[bytes]:
    before = parsed(lines[place - 1][:-1])
    assert before is not None
    link, done = before.link, lines[:place]
    for number in range(place, len(lines)):
        line, link = sealed({"deed": "erased", "number": number}, link)
        done.append(line)
    return done


def test_a_line_with_a_digest_of_its_own_does_not_fit_the_next(tmp_path: Path) -> None:
    written(tmp_path, 6)
    (said,) = damaged(tmp_path, forged, 2).breaks
    assert said.endswith("number 4 does not follow the number 3 that is here: that one was replaced")


def test_a_chain_written_anew_does_not_fit_the_mark(tmp_path: Path) -> None:
    written(tmp_path, 6)
    assert damaged(tmp_path, forged_to_the_end, 2).breaks == ["number 6, the last, is not the one that was written"]


def test_who_writes_the_mark_anew_too_is_seen_by_an_end_kept_elsewhere_alone(tmp_path: Path) -> None:
    written(tmp_path, 6)
    end = verify(tmp_path).last
    assert end is not None
    damaged(tmp_path, forged_to_the_end, 2)
    without_mark(tmp_path)
    written(tmp_path, 1)  # makes the mark
    assert verify(tmp_path).whole
    assert verify(tmp_path, [end]).breaks == [f"number 6 is not here with the digest {end.digest}"]


def test_old_files_may_be_taken_away_and_middle_ones_may_not(tmp_path: Path) -> None:
    written(tmp_path, 5, file_bytes=1)
    files = files_of(tmp_path)
    assert [file.name for file in files] == [f"{number:012d}.ndjson" for number in range(1, 6)]
    files[0].unlink()
    assert verify(tmp_path).whole
    assert verify(tmp_path).notes == ["begins with number 2: older files were taken away"]
    files[2].unlink()
    assert verify(tmp_path).breaks == ["000000000004.ndjson, line 1: numbers 3 to 3 are missing"]


@pytest.mark.parametrize("damage", [removed, unreadable])
def test_the_first_lines_of_a_file_are_missed_by_its_name(tmp_path: Path, damage: Damage) -> None:
    """Old lines go by whole files: else who removes the first ones would leave a note alone."""
    written(tmp_path, 6)
    assert damaged(tmp_path, damage, 0).breaks == [
        "000000000001.ndjson begins with number 2: numbers 1 to 1 are missing"
    ]


def test_without_the_mark_a_cut_is_not_seen_and_that_is_said(tmp_path: Path) -> None:
    written(tmp_path, 5)
    without_mark(tmp_path)
    verdict = damaged(tmp_path, cut, 3)
    assert verdict.whole
    assert verdict.notes == ["the mark is missing: lines cut off at the end would not be noticed"]


@pytest.mark.parametrize("number", [b'"a"', b"null", b"[]", b"1e308", b"-2", b"true"])
def test_what_claims_no_number_is_no_line(number: bytes) -> None:
    """By somebody who knows how digests are made: the verification is to say so, not to end."""
    body = b'{"n":1,"n":' + number + b',"prev":"0"}'
    digest = hashlib.sha256(body).hexdigest().encode()
    assert parsed(body[:-1] + b',"digest":"' + digest + b'"}') is None


def test_no_lines_are_whole(tmp_path: Path) -> None:
    verdict = verify(tmp_path)
    assert (verdict.whole, verdict.lines, verdict.first, verdict.last) == (True, 0, None, None)
    assert lines_of(tmp_path) == []
