"""FaceNet's crops and preprocessing; the rest is arcface's and tested there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import ModelError
from engines.importing import Expected, import_model
from engines.models import ModelStore

Array = NDArray[Any]
Write = Callable[..., Path]
Run = Callable[[Path, Array], dict[str, Array]]


def bare(run: Run, source: Path, crops: Array, mean: float, std: float) -> Array:
    planar = (crops[..., ::-1].astype(np.float32) - mean) / std
    (vectors,) = run(source, np.ascontiguousarray(planar.transpose(0, 3, 1, 2))).values()
    return vectors


@pytest.mark.parametrize(("scaling", "mean", "std"), [(False, 127.5, 128), (True, 0, 1)])
def test_without_options_a_network_takes_what_facenet_pytorch_feeds(
    tmp_path: Path, tiny_embedder: Write, run: Run, scaling: bool, mean: float, std: float
) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=(160, 160), scaling=scaling)
    spec = import_model(source, family="facenet", into=ModelStore(tmp_path))
    assert (spec.task, spec.sizes, spec.channels) == ("embedder", ((160, 160),), "rgb")
    crops = np.random.default_rng(0).integers(0, 256, (3, 160, 160, 3), np.uint8)
    vectors = bare(run, source, crops, mean, std)
    found = run(spec.files[0].path, crops)
    np.testing.assert_allclose(found["norms"], np.linalg.norm(vectors, axis=1), rtol=1e-4)
    np.testing.assert_allclose(found["embeddings"] * found["norms"][:, None], vectors, rtol=1e-3, atol=1e-3)


def test_it_is_fed_boxes_and_the_note_says_what_pixels(tmp_path: Path, tiny_embedder: Write) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=(160, 160), ending="l2")
    spec = import_model(source, into=ModelStore(tmp_path))
    assert (spec.family, spec.crop, spec.margin_px) == ("facenet", "box", 0)
    assert spec.note.startswith("Norms are 1")
    assert spec.note.endswith("RGB, (x − 127.5) / 128, the same for every image.")
    other = import_model(source, into=ModelStore(tmp_path), name="other", expected=Expected(std=[127.5], margin_px=32))
    assert (other.margin_px, "facenet-pytorch" in other.note) == (32, False)


def test_another_margin_is_another_model_to_a_gallery(tmp_path: Path, tiny_embedder: Write) -> None:
    source, store = tiny_embedder(tmp_path / "up.onnx", size=(160, 160)), ModelStore(tmp_path)
    digests = {
        import_model(
            source, into=store, family="facenet", name=f"margin_{margin}", expected=Expected(margin_px=margin)
        ).digest
        for margin in (0, 16, 32)
    }
    assert len(digests) == 3
    assert all(store.verify(f"margin_{margin}") for margin in (0, 16, 32))


@pytest.mark.parametrize("margin", [-1, 160])
def test_a_margin_that_leaves_nothing_is_refused(tmp_path: Path, tiny_embedder: Write, margin: int) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=(160, 160))
    with pytest.raises(ModelError, match="less than the crop"):
        import_model(source, into=ModelStore(tmp_path), family="facenet", expected=Expected(margin_px=margin))


def test_other_sizes_are_refused(tmp_path: Path, tiny_embedder: Write) -> None:
    source = tiny_embedder(tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="160x160"):
        import_model(source, family="facenet", into=ModelStore(tmp_path))
