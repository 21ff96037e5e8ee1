"""Which kept crops do for another embedder, and how they are cut for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from app.embedders import Embedders
from app.present import crop_png
from app.reembedding import Cut, plan, target
from engines.base import Image
from engines.crops import cropper_for
from engines.detector import Detections
from engines.embedder import Embedder
from engines.load import load_engine
from engines.models import SHIPPED, ModelSpec, ModelStore
from gallery.local.gallery import LocalGallery
from gallery.types import NewFace, ReembedRefusedError
from tests.pixels import write_pixels


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(SHIPPED, tmp_path / "models")


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[LocalGallery]:
    with LocalGallery(tmp_path / "gallery") as opened:
        yield opened


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def keep(gallery: LocalGallery, made_by: str, *pngs: bytes | None) -> None:
    """A collection `people` of that embedder's digest with a face for each crop, or for none."""
    gallery.create_collection("people", made_by, 2)
    for number, png in enumerate(pngs):
        new = NewFace(np.array([1, 0], np.float32), hashlib.sha256(b"%d" % number).hexdigest(), {}, png)
        gallery.enroll("people", f"person {number}", [new], embedder=made_by)


def test_the_middle_of_a_wide_crop_is_the_narrow_crop(samples: Path) -> None:
    picture = cv2.imread(str(samples / "astronaut.jpg"))
    assert picture is not None
    landmarks = np.array([[[200, 110], [247, 108], [227, 140], [205, 160], [243, 158]]], np.float32)
    faces = Detections(np.array([[180, 60, 270, 190]], np.float32), np.array([0.9], np.float32), landmarks)

    def cut(width: int) -> NDArray[np.uint8]:
        spec = ModelStore(SHIPPED).get("mobilefacenet_256")
        cropper = cropper_for(spec)
        return type(cropper)("template", (112, width)).cut(np.asarray(picture, np.uint8), faces)

    narrow = Cut("template", (112, 96)).apply([crop_png(cut(112)[0])])
    np.testing.assert_allclose(narrow.astype(int), cut(96), atol=1)


def test_equal_crops_are_left_alone_and_kept_in_order() -> None:
    images = [noise(112, 112, seed) for seed in range(3)]
    crops = Cut("box", (112, 112)).apply([crop_png(image) for image in images])
    np.testing.assert_array_equal(crops, images)


@pytest.mark.parametrize("png", [b"", b"\x89PNG\r\n\x1a\n", crop_png(noise(112, 113)), crop_png(noise(112, 80))])
def test_a_crop_that_is_broken_or_of_another_size_is_refused(png: bytes) -> None:
    with pytest.raises(ReembedRefusedError, match="broken"):
        Cut("template", (112, 96)).apply([png])


def test_whether_they_do(store: ModelStore, gallery: LocalGallery) -> None:
    aligned = write_pixels(store, "aligned")
    narrow = write_pixels(store, "narrow", size=(112, 96))
    large = write_pixels(store, "large", size=(160, 160))
    boxes = write_pixels(store, "boxes", size=(160, 160), cell=32, crop="box", margin_px=32)
    tight = write_pixels(store, "tight", size=(160, 160), cell=40, crop="box", margin_px=16)
    same = write_pixels(store, "same", size=(160, 160), cell=20, crop="box", margin_px=32)
    pngs = {spec.name: crop_png(noise(*spec.sizes[0])) for spec in (aligned, narrow, large, boxes, tight)}

    def reason(kept: ModelSpec, asked: ModelSpec) -> str:
        keep(gallery, kept.digest, pngs[kept.name])
        try:
            plan(gallery, "people", Embedders(store, asked))
        except ReembedRefusedError as error:
            return str(error)
        finally:
            gallery.delete_collection("people")
        return ""

    assert reason(aligned, aligned) == reason(aligned, narrow) == reason(boxes, same) == ""
    assert "1 crops of collection 'people' are 112 × 112 px, and embedder large takes 160 × 160" in reason(
        aligned, large
    )
    assert "are 112 × 96 px" in reason(narrow, aligned)
    assert "are 160 × 160 px" in reason(large, aligned)
    assert "faces aligned by landmarks, and embedder boxes takes boxes" in reason(large, boxes)
    assert "boxes of faces, and embedder large takes faces aligned" in reason(boxes, large)
    assert "a margin of 32 px, and embedder tight takes one of 16" in reason(boxes, tight)


def test_what_crops_show_must_be_told_where_their_embedder_is_gone(store: ModelStore, gallery: LocalGallery) -> None:
    embedders = Embedders(store, write_pixels(store))
    keep(gallery, "f" * 64, crop_png(noise(112, 112)))
    with pytest.raises(ReembedRefusedError, match=r"no more \(ffffffffffff\): import that again, or say `--crops"):
        plan(gallery, "people", embedders)
    with pytest.raises(ReembedRefusedError, match="boxes of faces"):
        plan(gallery, "people", embedders, told="box")
    assert plan(gallery, "people", embedders, told="template")[1] == Cut("template", (112, 112))
    keep_known = ModelStore(SHIPPED).get("mobilefacenet_256").digest
    gallery.delete_collection("people")
    keep(gallery, keep_known, crop_png(noise(112, 112)))
    with pytest.raises(ReembedRefusedError, match="leave out `--crops box`"):
        plan(gallery, "people", embedders, told="box")


def test_faces_without_crops_are_counted_and_named(store: ModelStore, gallery: LocalGallery) -> None:
    embedders = Embedders(store, write_pixels(store, crop="box"))
    keep(gallery, ModelStore(SHIPPED).get("mobilefacenet_256").digest, None, None)
    with pytest.raises(ReembedRefusedError, match=r"2 of 2 faces .*person 0, person 1.*--drop-without-crop"):
        plan(gallery, "people", embedders)
    survey, cut = plan(gallery, "people", embedders, drop=True)
    assert survey.without_crop == 2
    with pytest.raises(ReembedRefusedError):  # one that is kept meanwhile is of the other kind
        cut.apply([crop_png(noise(112, 112))])


def test_the_new_embeddings_are_those_of_the_crops(store: ModelStore, gallery: LocalGallery) -> None:
    spec = write_pixels(store, size=(112, 96))
    images = [noise(112, 112, seed) for seed in range(5)]
    keep(gallery, ModelStore(SHIPPED).get("mobilefacenet_256").digest, *map(crop_png, images))
    survey, cut = plan(gallery, "people", Embedders(store, spec))
    embedder = Embedder(load_engine(spec.files[0].path))
    try:
        aim = target(embedder, spec, cut, 2, lambda done, of: None)
        gallery.reembed("people", aim, made_by=survey.collection.embedder)
        expected = embedder.embed(np.stack(images)[:, :, 8:104])[0]
    finally:
        embedder.close()
    for number, embedding in enumerate(expected):
        found = gallery.search("people", embedding[np.newaxis], embedder=spec.digest, top_k=1, threshold=0.9999)
        assert [match.identity for match in found[0]] == [f"person {number}"]
