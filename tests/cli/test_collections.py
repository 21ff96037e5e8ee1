"""`faceserve gallery create`, `collections` and `drop`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.collections import seconds_of

Faceserve = Callable[..., Any]


def test_a_collection_is_made_on_its_terms_listed_and_dropped(faceserve: Faceserve, samples: Path) -> None:
    terms = ("--scoring", "mean", "--max-identities", 2, "--max-faces", 1, "--ttl", "30d")
    (made,) = faceserve("gallery", "create", "staff", *terms).lines
    assert (made["name"], made["dimension"], made["embedder_name"]) == ("staff", 256, "mobilefacenet_256")
    assert (made["scoring"], made["max_identities"], made["max_faces"], made["ttl_s"]) == ("mean", 2, 1, 2_592_000)
    (plain,) = faceserve("gallery", "create", "guests").lines
    assert (plain["scoring"], plain["max_identities"], plain["max_faces"], plain["ttl_s"]) == ("max", None, None, None)
    assert faceserve("enroll", samples / "astronaut.jpg", "--collection", "staff").code == 0
    listed = faceserve("gallery", "collections").lines
    found = {line["name"]: (line["identities"], line["faces"], line["fits"]) for line in listed}
    assert found["guests"] == (0, 0, True)
    assert found["staff"] == (1, 1, True)
    dropped = faceserve("gallery", "drop", "staff", "--yes")
    assert dropped.lines == [{"collection": "staff", "identities_deleted": 1, "faces_deleted": 1}]
    assert "staff" not in {line["name"] for line in faceserve("gallery", "collections").lines}


def test_drop_asks_first(faceserve: Faceserve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    faceserve("gallery", "create", "staff")
    with (tmp_path / "empty").open("w+") as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        refused = faceserve("gallery", "drop", "staff")
    assert refused.code == 1
    assert "Erase collection staff with 0 identities and 0 faces?" in refused.err
    assert [line["name"] for line in faceserve("gallery", "collections").lines] == ["staff"]


def test_what_is_there_already_or_not_there_is_a_plain_line(faceserve: Faceserve) -> None:
    faceserve("gallery", "create", "staff")
    for command, told in ((("create", "staff"), "already"), (("drop", "guests", "--yes"), "no collection 'guests'")):
        done = faceserve("gallery", *command)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
        assert told in done.err


@pytest.mark.parametrize(
    "flags",
    [
        ("--ttl", "soon"),
        ("--ttl", "0s"),
        ("--ttl", "30"),
        ("--ttl", "-1d"),
        ("--ttl", "999999999d"),
        ("--max-faces", 0),
        ("--scoring", "median"),
    ],
)
def test_terms_that_make_no_sense_are_refused(faceserve: Faceserve, tmp_path: Path, flags: tuple[Any, ...]) -> None:
    done = faceserve("gallery", "create", "staff", *flags)
    assert (done.code, done.out) == (2, "")
    assert not (tmp_path / "data").exists()


def test_without_a_gallery_none_is_made(faceserve: Faceserve, tmp_path: Path) -> None:
    assert faceserve("gallery", "collections").code == 2
    assert faceserve("gallery", "drop", "staff", "--yes").code == 2
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(("lifetime", "seconds"), [("90s", 90), ("15m", 900), ("1.5h", 5400), ("30d", 2_592_000)])
def test_lifetimes_have_units(lifetime: str, seconds: float) -> None:
    assert seconds_of(lifetime) == seconds
