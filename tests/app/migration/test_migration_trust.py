"""Whatever a gallery holds goes over, also after a crash, in constant memory; and no damage goes unseen."""

from __future__ import annotations

import base64
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.migration import migrate
from gallery.exchange import Tally
from gallery.local.gallery import LocalGallery
from gallery.types import InvalidNameError, Terms
from tests.app.migration.people import DIMENSION, EMBEDDER, face, quiet

KILLED = Path(__file__).with_name("killed.py")
Record = dict[str, Any]
FAR_S = 4e9
"""A moment in 2096."""


@pytest.mark.parametrize("last", [1, 199, 201, 333, 450])
def test_killed_in_the_middle_and_run_again(
    source: LocalGallery, target: LocalGallery, tmp_path: Path, last: int
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(KILLED.parents[3])}
    command = [sys.executable, str(KILLED), str(tmp_path / "source"), str(tmp_path / "target"), str(last)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    there = target.collection("people").faces
    assert there < 300
    if last > 200:
        assert there > 0
    done = migrate(source, target, "people", on_progress=quiet)
    assert (done.skipped, done.faces, done.same) == (there, 300 - there, True)
    assert list(target.export("people")) == list(source.export("people"))
    assert target.check() == []


def damage(folder: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(folder / "gallery.db") as connection:
        assert connection.execute(statement, values).rowcount == 1
    connection.close()


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("identities", "metadata"),
        ("identities", "name"),
        ("identities", "created_at"),
        ("faces", "embedding"),
        ("faces", "created_at"),
        ("faces", "source_sha256"),
        ("faces", "quality"),
        ("crops", "png"),
    ],
)
def test_one_damaged_record_at_the_target_is_found(
    source: LocalGallery, target: LocalGallery, tmp_path: Path, table: str, column: str
) -> None:
    migrate(source, target, "people", on_progress=quiet)
    with sqlite3.connect(tmp_path / "target" / "gallery.db") as connection:
        key, value = connection.execute(f"SELECT max(rowid), {column} FROM {table}").fetchone()
    connection.close()
    wrong = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else value.replace("5", "6").replace("1", "2")
    assert wrong != value
    damage(tmp_path / "target", f"UPDATE {table} SET {column} = ? WHERE rowid = ?", wrong, key)
    done = migrate(source, target, "people", on_progress=quiet)
    assert (done.identities, done.faces, done.same) == (0, 0, False)
    assert done.source == done.sent != done.target
    assert f"digest {done.source.digest} against" in done.difference()
    assert "erase there" in done.difference()
    assert done.differing == ("person 149",)


names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=20).filter(
    lambda name: "/" not in name and name not in {".", ".."}
)
numbers = st.floats(allow_nan=False, allow_infinity=False)
metadata = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | numbers | st.integers(-(2**60), 2**60) | st.text(), max_size=3
)
faces = st.tuples(
    st.integers(0, 10**6), st.none() | st.binary(max_size=40), st.dictionaries(st.text(max_size=5), numbers, max_size=2)
)
people = st.dictionaries(
    names,
    st.tuples(metadata, st.none() | st.floats(FAR_S, 2 * FAR_S), st.lists(faces, min_size=1, max_size=3)),
    max_size=6,
)


@settings(max_examples=20, deadline=None)
@given(people, st.sampled_from([Terms(), Terms("mean"), Terms(max_faces=3, ttl_s=1e9)]))
def test_whatever_is_in_a_gallery_goes_over(crowd: dict[str, Any], terms: Terms) -> None:
    with tempfile.TemporaryDirectory() as folder, LocalGallery(Path(folder) / "a") as source:
        source.create_collection("people", EMBEDDER, DIMENSION, terms)
        for name, (about, expires_at, shots) in crowd.items():
            new = [replace(face(number, crop), quality=quality) for number, crop, quality in shots]
            with suppress(InvalidNameError):
                source.enroll("people", name, new, embedder=EMBEDDER, metadata=about, expires_at=expires_at)
        with LocalGallery(Path(folder) / "b") as target:
            done = migrate(source, target, "people", on_progress=quiet)
            assert done.same
            assert list(target.export("people")) == list(source.export("people"))
            assert target.identities("people") == source.identities("people")
            assert target.check() == []


def test_memory_does_not_grow_with_the_collection(source: LocalGallery, target: LocalGallery) -> None:
    def peak_bytes(name: str) -> int:
        tracemalloc.start()
        migrate(source, target, name, on_progress=quiet)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    records = list(source.export("people"))
    large = base64.b64encode(bytes(20_000)).decode()
    shots = [record | {"crop_png": large} if record["type"] == "face" else record for record in records[:-1]]
    source.import_records([*shots, end_of(shots)], embedder=EMBEDDER, collection="many")
    source.import_records([*shots[:250], end_of(shots[:250])], embedder=EMBEDDER, collection="few")
    few, many = peak_bytes("few"), peak_bytes("many")
    assert many < 1.3 * few
    assert many < 300 * len(large)


def end_of(records: list[Record]) -> Record:
    tally = Tally()
    for record in records[1:]:
        tally.add(record)
    return tally.end()
