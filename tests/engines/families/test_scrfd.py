"""The canonical SCRFD against its slow twin, and the upstream layouts it can be imported from."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.base import ModelError
from engines.importing import import_model
from engines.models import ModelStore
from tests.engines.families import twins
from tests.engines.families.networks import STRIDES, imported_as, noise, run, write_scrfd

Array = NDArray[Any]


imported = partial(imported_as, "scrfd")


def bare(source: Path, images: Array) -> list[dict[tuple[int, int], list[Array]]]:
    """What the upstream network gives for each image, alone."""
    planar = ((images[..., ::-1].astype(np.float32) - 127.5) / 128).transpose(0, 3, 1, 2)
    return [twins.parts_of(run(source, np.ascontiguousarray(row[None]))) for row in planar]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**16),
    size=st.tuples(st.sampled_from([32, 64, 96]), st.sampled_from([64, 96, 160])),
    kinds=st.permutations([1, 4, 10]),
    per_cell=st.integers(1, 2),
    batch=st.booleans(),
    rows=st.integers(1, 3),
)
def test_any_network_agrees_with_the_twin(
    tmp_path: Path, assert_same_faces: Callable[..., None],
    seed: int, size: tuple[int, int], kinds: list[int], per_cell: int, batch: bool, rows: int,
) -> None:  # fmt: skip
    source = write_scrfd(tmp_path / "up.onnx", seed=seed, kinds=kinds, per_cell=per_cell, batch=batch)
    images = noise(seed, rows, *size, 3)
    found = run(imported(source, tmp_path, size).files[0].path, images)
    for row, parts in enumerate(bare(source, images)):
        assert_same_faces(found, row, twins.scrfd(parts, *size, per_cell))


@pytest.mark.parametrize(
    "export",
    [
        {"shape": (1, 3, 64, 96)},
        {"shape": (1, 3, 64, 96), "opset": 17},
        {"shape": ("n", 3, "h", "w"), "batch": True},
        {"shape": ("n", 3, 64, 96), "batch": True, "opset": 13},
    ],
)
def test_fixed_and_newer_exports_take_batches(
    tmp_path: Path, assert_same_faces: Callable[..., None], export: dict[str, Any]
) -> None:
    source = write_scrfd(tmp_path / "up.onnx", **export)
    images = noise(1, 3, 64, 96, 3)
    found = run(imported(source, tmp_path, (64, 96)).files[0].path, images)
    for row, parts in enumerate(bare(source, images)):
        assert_same_faces(found, row, twins.scrfd(parts, 64, 96))


def test_raw_scores_get_their_sigmoid(tmp_path: Path) -> None:
    found = [
        run(
            imported(write_scrfd(tmp_path / "up.onnx", sigmoid=sigmoid), tmp_path, (64, 64)).files[0].path,
            noise(2, 1, 64, 64, 3),
        )
        for sigmoid in (True, False)
    ]
    np.testing.assert_allclose(found[0]["scores"], found[1]["scores"], atol=1e-6)
    np.testing.assert_allclose(found[0]["boxes"][0, 0], found[1]["boxes"][0, 0], atol=1e-4)


def test_scores_of_two_kinds_are_refused(tmp_path: Path) -> None:
    model = onnx.load(write_scrfd(tmp_path / "up.onnx"))
    next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Identity"
    onnx.save(model, tmp_path / "up.onnx")
    with pytest.raises(ModelError, match="export all alike"):
        imported(tmp_path / "up.onnx", tmp_path / "store", (64, 64))


def test_a_network_without_landmarks_makes_a_detector_without(tmp_path: Path) -> None:
    source = write_scrfd(tmp_path / "up.onnx", kinds=(4, 1))
    spec = imported(source, tmp_path, (64, 64))
    assert spec.landmark_order == ()
    images = noise(3, 2, 64, 64, 3)
    found = run(spec.files[0].path, images)
    assert sorted(found) == ["boxes", "scores"]
    for row, parts in enumerate(bare(source, images)):
        score, box, _ = twins.scrfd(parts, 64, 64)[0]
        assert found["scores"][row, 0] == pytest.approx(score, abs=1e-6)
        np.testing.assert_allclose(found["boxes"][row, 0], box, atol=1e-4)


@pytest.mark.parametrize("kinds", [(1, 10), (1, 4, 8), (1, 4, 10, 10)])
def test_other_layouts_are_refused(tmp_path: Path, kinds: tuple[int, ...]) -> None:
    source = write_scrfd(tmp_path / "up.onnx", kinds=kinds)
    with pytest.raises(ModelError, match="SCRFD has scores"):
        import_model(source, family="scrfd", into=ModelStore(tmp_path), sizes=[(64, 64)])


def test_the_published_network_agrees_with_its_twin_on_a_photo(
    shared: Path, tmp_path: Path, samples: Path, on_canvas: Callable[[Path, int, int], Array],
    assert_same_faces: Callable[..., None],
) -> None:  # fmt: skip
    source = shared / "models/upstream/scrfd_2.5g_bnkps.onnx"
    image = on_canvas(samples / "group.jpg", 320, 320)
    images = np.stack([np.zeros_like(image), image])
    found = run(imported(source, tmp_path, (320, 320)).files[0].path, images)
    (parts,) = bare(source, images[1:])
    assert sorted(parts) == sorted(
        ((320 // stride) ** 2 * 2, width) for stride in STRIDES for width in (1, 4, 10)
    )  # fmt: skip
    expected = twins.scrfd(parts, 320, 320)
    assert (found["scores"][1, :2] > 0.7).all()
    assert_same_faces(found, 1, expected)
