"""`faceserve gallery tune`: figures about a gallery, and what to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gallery.local.gallery import LocalGallery
from gallery.local.index import recipe
from gallery.types import NewFace
from tests.app.tuning.test_questions import crowd

Faceserve = Callable[..., Any]


@pytest.fixture
def peopled(faceserve: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faceserve:
    """150 people with two faces each, of an embedder nobody knows."""
    monkeypatch.setattr(recipe, "LEAST_ROWS", 100)
    rows = crowd(150, 2)
    with LocalGallery(tmp_path / "data" / "gallery") as gallery:
        gallery.create_collection("default", "unknown", 32)
        gallery.create_collection("empty", "unknown", 32)
        for number, pair in enumerate(np.split(rows.embeddings, 150)):
            faces = [NewFace(row, hashlib.sha256(row.tobytes()).hexdigest()) for row in pair]
            gallery.enroll("default", f"person {number}", faces, embedder="unknown")
    return faceserve


def test_a_report_as_json_and_markdown_and_a_line(peopled: Faceserve, tmp_path: Path) -> None:
    done = peopled(
        *("gallery", "tune", "--index", "IVF4,SQ8:nprobe=4", "--index", "IVF64,Flat", "--threshold", "0.5"),
        *("--top-k", "3", "--questions", "30", "--out", tmp_path / "report"),
    )
    assert done.code == 0, done.err
    (told,) = done.lines
    assert (told["faces"], told["identities"], told["dimension"], told["top_k"]) == (300, 150, 32, 3)
    assert told["questions"]["made"] == "left out"
    lists, many = told["indexes"]
    assert [step["setting"] for step in lists["steps"]] == [f"IVF4,SQ8:nprobe={probes}" for probes in (1, 2, 4)]
    assert lists["steps"][-1]["recall_at_k"] == 1
    assert (many["made"], many["least_rows"]) == (False, 2496)
    assert told["recommendation"]["setting"] == "exact"
    assert done.err.splitlines()[-1].startswith("stay exact: an exact search takes")
    assert json.loads((tmp_path / "report" / "tune.json").read_text()) == told
    text = (tmp_path / "report" / "tune.md").read_text("utf-8")
    assert "| `IVF4,SQ8:nprobe=4` | 100.00% | 100.00% | 100.00% (" in text
    assert "Not made: 270 rows, it wants 2,496" in text


def test_the_gallery_is_left_as_it_is(peopled: Faceserve, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "gallery"
    before = (folder / "gallery.db").read_bytes()
    assert peopled("gallery", "tune", "--index", "HNSW8", "--threshold", "0.5", "--questions", "10").code == 0
    assert (folder / "gallery.db").read_bytes() == before
    assert not [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("gallery.db")]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--index", "OPQ8,IVF4,Flat"), "transforms"),
        (("--index", "exact"), "measured against"),
        (("--collection", "empty"), "empty"),
        ((), "give --threshold"),
    ],
)
def test_what_cannot_be_measured_is_said(peopled: Faceserve, arguments: tuple[str, ...], why: str) -> None:
    done = peopled("gallery", "tune", *arguments)
    assert done.code == 2
    assert why in " ".join(done.err.replace("│", " ").split())


@pytest.mark.parametrize("arguments", [("--index", "IVF4,PQ7", "--threshold", "0.5"), ("--collection", "nobody")])
def test_what_does_not_fit_is_a_plain_line(peopled: Faceserve, arguments: tuple[str, ...]) -> None:
    done = peopled("gallery", "tune", *arguments)
    assert (done.code, len(done.err.splitlines())) == (1, 1)


def test_without_a_gallery_none_is_made(faceserve: Faceserve, tmp_path: Path) -> None:
    assert faceserve("gallery", "tune").code == 2
    assert not (tmp_path / "data").exists()
