"""Crops in, embeddings out: chunks, shapes, and people told apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.base import EngineClosedError, Image, ModelError
from engines.embedder import Embedder
from engines.geometry.align import align
from engines.onnxruntime import OnnxRuntimeEngine
from engines.single_shot import SingleShotDetector
from tests.engines.rows import RowEngine


def _crops(samples: Path, detector: SingleShotDetector, name: str) -> list[Image]:
    image = np.asarray(cv2.imread(str(samples / name)), np.uint8)
    return [align(image, landmarks) for landmarks in detector.detect(image).landmarks]


def test_it_says_what_it_takes_and_gives(embedder: Embedder) -> None:
    assert (embedder.height, embedder.width, embedder.dimension) == (112, 112, 256)


def test_no_crops_no_embeddings(embedder: Embedder) -> None:
    embeddings, norms = embedder.embed(np.empty((0, 112, 112, 3), np.uint8))
    assert embeddings.shape == (0, 256)
    assert norms.shape == (0,)
    assert embeddings.dtype == norms.dtype == np.float32


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_chunks_do_not_show(weights: Path, count: int) -> None:
    path = weights / "mobilefacenet_256" / "112x112.onnx"
    crops = np.random.default_rng(count).integers(0, 255, (count, 112, 112, 3), np.uint8)
    whole, chunked = (Embedder(OnnxRuntimeEngine(path, max_batch_size=size)) for size in (8, 3))
    embeddings, norms = chunked.embed(crops)
    expected_embeddings, expected_norms = whole.embed(crops)
    assert embeddings.shape == (count, 256)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert (np.sum(embeddings * expected_embeddings, axis=1) > 0.9999).all()
    np.testing.assert_allclose(norms, expected_norms, rtol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours(weights: Path) -> None:
    """Nor on its place: alone, among others, turned round, and beside crops that are black or white."""
    random = np.random.default_rng(3)
    crops = random.integers(0, 255, (5, 112, 112, 3), np.uint8)
    chunked = Embedder(OnnxRuntimeEngine(weights / "mobilefacenet_256" / "112x112.onnx", max_batch_size=2))
    embeddings, norms = chunked.embed(crops)
    for order in ([4, 3, 2, 1, 0], [2], [0, 0, 0]):
        again, lengths = chunked.embed(crops[order])
        np.testing.assert_allclose(again, embeddings[order], atol=1e-5)
        np.testing.assert_allclose(lengths, norms[order], rtol=1e-4)
    plain = np.stack([np.zeros_like(crops[0]), crops[1], np.full_like(crops[0], 255)])
    np.testing.assert_allclose(chunked.embed(plain)[0][1], embeddings[1], atol=1e-5)


def test_crops_of_another_size_are_refused(embedder: Embedder) -> None:
    with pytest.raises(ValueError, match="112, 112, 3"):
        embedder.embed(np.zeros((1, 96, 96, 3), np.uint8))


def test_one_person_is_near_and_another_far(samples: Path, detector: SingleShotDetector, embedder: Embedder) -> None:
    (collins,), (hopper,) = (_crops(samples, detector, name) for name in ("astronaut.jpg", "grace_hopper.jpg"))
    group = _crops(samples, detector, "group.jpg")
    assert len(group) == 2
    embeddings, _ = embedder.embed(np.stack([collins, hopper, *group]))
    similarity = np.sort(embeddings[:2] @ embeddings[2:].T, axis=1)
    assert abs(float(embeddings[0] @ embeddings[1])) < 0.25
    assert (similarity[:, 0] < 0.25).all()
    assert (similarity[:, 1] > 0.5).all()


def test_another_network_is_refused(weights: Path) -> None:
    with pytest.raises(ModelError, match=r"crops \(N, h, w, 3\)"):
        Embedder(RowEngine())
    with pytest.raises(ModelError, match=r"crops \(N, h, w, 3\)"):
        Embedder(OnnxRuntimeEngine(weights / "retinaface_mnet025" / "192x192.onnx"))


def test_closing_closes_the_engine(weights: Path) -> None:
    engine = OnnxRuntimeEngine(weights / "mobilefacenet_256" / "112x112.onnx")
    Embedder(engine).close()
    with pytest.raises(EngineClosedError):
        engine.run({"crops": np.zeros((1, 112, 112, 3), np.uint8)})
