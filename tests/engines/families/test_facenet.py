"""FaceNet's crops and preprocessing; the rest is arcface's and tested there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import ModelError
from engines.importing import import_model
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


def test_the_note_warns_of_the_crops(tmp_path: Path, tiny_embedder: Write) -> None:
    source = tiny_embedder(tmp_path / "up.onnx", size=(160, 160), ending="l2")
    spec = import_model(source, family="facenet", into=ModelStore(tmp_path))
    assert "Norms are 1" in spec.note
    assert "measure its thresholds" in spec.note


def test_other_sizes_are_refused(tmp_path: Path, tiny_embedder: Write) -> None:
    source = tiny_embedder(tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="160x160"):
        import_model(source, family="facenet", into=ModelStore(tmp_path))
