"""`faceserve gallery reembed`: a collection carried over to another embedder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.sdk import open_pipeline
from engines.models import SHIPPED, ModelStore
from tests.pixels import write_pixels

Faceserve = Callable[..., Any]
OLD = "mobilefacenet_256"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """A data folder: the astronaut in `default` with a crop kept, Grace Hopper in `bare` without, a second embedder."""
    folder = tmp_path_factory.mktemp("filled")
    with open_pipeline(data_dir=folder, keep_crops=True) as faces:
        faces.enroll((samples / "astronaut.jpg").read_bytes(), identity="astronaut")
        faces.service.new_collection("bare")
    with open_pipeline(data_dir=folder) as faces:
        faces.enroll((samples / "grace_hopper.jpg").read_bytes(), identity="grace_hopper", collection="bare")
    write_pixels(ModelStore(SHIPPED, folder / "models"), "pixels", size=(112, 96))
    return folder


@pytest.fixture
def enrolled(faceserve: Faceserve, filled: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Faceserve:
    """`faceserve` on a copy of that folder, with the second embedder set."""
    shutil.copytree(filled, tmp_path / "data")
    monkeypatch.setenv("FACESERVE_EMBEDDER", "pixels")
    return faceserve


def test_a_collection_is_carried_over_without_any_detector(
    enrolled: Faceserve, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = samples / "astronaut.jpg"
    refused = enrolled("recognize", photo)
    assert (refused.code, refused.out) == (1, "")
    assert "collection 'default' was made with embedder mobilefacenet_256, loaded is pixels" in refused.err
    about = {"collection": "default", "embedder": "pixels", "was": OLD, "faces": 1, "dropped": 0}
    assert enrolled("gallery", "reembed", "--dry-run").lines == [about | {"reembedded": False, "why": "dry run"}]
    assert enrolled("recognize", photo).code == 1
    with monkeypatch.context() as patch:
        patch.setenv("FACESERVE_DETECTOR", "not_there")
        done = enrolled("gallery", "reembed", "--batch", 1)
    assert (done.code, done.lines) == (0, [about | {"reembedded": True}])
    assert [face["identity"] for face in enrolled("recognize", photo).lines[0]["faces"]] == ["astronaut"]
    (again,) = enrolled("gallery", "reembed").lines
    assert (again["reembedded"], again["why"]) == (False, "it is of this embedder already")


def test_all_of_them_what_is_refused_is_told_and_the_others_are_done(enrolled: Faceserve) -> None:
    done = enrolled("gallery", "reembed", "--all")
    assert done.code == 1
    assert "1 of 1 faces in collection 'bare' have no crop" in done.err
    assert "grace_hopper" in done.err
    assert [(line["collection"], line["reembedded"]) for line in done.lines] == [("default", True)]
    done = enrolled("gallery", "reembed", "--all", "--drop-without-crop")
    assert done.code == 0
    assert [(line["collection"], line.get("dropped"), line["reembedded"]) for line in done.lines] == [
        ("bare", 1, True),
        ("default", None, False),
    ]
    assert [line["faces"] for line in enrolled("gallery", "list", "--collection", "bare").lines] == [0]


def test_an_embedder_of_the_pictures_own_is_needed_where_crops_do_not_do(
    enrolled: Faceserve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pixels(ModelStore(SHIPPED, tmp_path / "data" / "models"), "boxes", cell=28, crop="box", margin_px=14)
    monkeypatch.setenv("FACESERVE_EMBEDDER", "boxes")
    done = enrolled("gallery", "reembed")
    assert (done.code, done.out) == (1, "")
    assert "enrol anew from the pictures" in done.err


@pytest.mark.parametrize(
    ("settings", "said"), [({"FACESERVE_EMBEDDER": "retinaface_mnet025"}, "not a embedder"), ({}, "no collection")]
)
def test_what_cannot_be(
    enrolled: Faceserve, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    done = enrolled("gallery", "reembed", "--collection", "nobody")
    assert (done.code, done.out) == (1, "")
    assert said in done.err


def test_without_a_gallery_none_is_made(faceserve: Faceserve, tmp_path: Path) -> None:
    assert faceserve("gallery", "reembed").code == 2
    assert not (tmp_path / "data").exists()


def test_an_import_says_whose_embeddings_they_are(enrolled: Faceserve, tmp_path: Path) -> None:
    assert enrolled("gallery", "export", "--out", tmp_path / "faces.ndjson").code == 0
    done = enrolled("gallery", "import", tmp_path / "faces.ndjson", "--collection", "there")
    assert done.code == 1
    assert "the export was made with embedder mobilefacenet_256, loaded is pixels" in done.err
