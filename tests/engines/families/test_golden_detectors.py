"""Known answers of a small network of each detector family, and that each mistake of old would change them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from tests.engines.families import networks
from tests.engines.families.golden import LANDMARK_MISTAKES, MISTAKES, Golden, answers, is_golden

ANSWERS = {
    "retinaface": {
        "scores": [0.9129, 0.8679],
        "boxes": [-70.2176, -42.206, 186.5163, 128.7388],
        "landmarks": [51.7685, 26.2026, 48.4155, 55.666, 0.6073, 25.435, 104.4288, 51.3734, 30.8304, 73.283],
    },
    "scrfd": {
        "scores": [0.8132, 0.689],
        "boxes": [23.3075, 11.652, 17.7227, 21.6138],
        "landmarks": [10.9272, -14.4402, -31.202, 10.8192, 27.3945, -6.8327, 27.526, 5.6957, -16.8026, 7.8884],
    },
    "yunet": {
        "scores": [0.6251, 0.6247],
        "boxes": [-14.9196, 2.7462, 16.552, 31.8779],
        "landmarks": [-25.4605, 27.7407, 21.4548, 9.3394, -21.8467, 28.8997, 3.8255, 37.7322, 26.0692, 58.4819],
    },
}
USUAL: dict[str, Literal["bgr", "rgb"]] = {"retinaface": "bgr", "scrfd": "rgb", "yunet": "bgr"}


@pytest.fixture(params=sorted(ANSWERS))
def golden(request: pytest.FixtureRequest, tmp_path: Path, tiny_detector: Callable[..., Path]) -> Golden:
    family = request.param
    writers: dict[str, Callable[..., Path]] = {
        "retinaface": tiny_detector,
        "scrfd": networks.write_scrfd,
        "yunet": networks.write_yunet,
    }
    file = writers[family](tmp_path / f"{family}.onnx", seed=2)
    return Golden(file, family, ((64, 64),), USUAL[family], (ANSWERS[family],))


def test_the_network_gives_its_known_answers(golden: Golden, tmp_path: Path) -> None:
    found = answers(golden, tmp_path)
    assert is_golden(found, golden), {name: values.ravel()[:10].round(4).tolist() for name, values in found[0].items()}


@pytest.mark.parametrize("mistake", [*MISTAKES, *LANDMARK_MISTAKES])
def test_a_mistake_changes_the_known_answers(golden: Golden, tmp_path: Path, mistake: str) -> None:
    assert not is_golden((MISTAKES | LANDMARK_MISTAKES)[mistake](golden, tmp_path), golden)
