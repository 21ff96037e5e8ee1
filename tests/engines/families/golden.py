"""Known answers, and the mistakes of old that must change them: a family's network is imported, and looked at.

A test has a small network that it writes itself, so that it needs no file, and the numbers that the network gave when
it was known to be right (by a twin). `answers` computes them anew, `is_golden` compares, and `MISTAKES` are made on the
way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from engines.families import Size
from engines.importing import Expected, import_model
from engines.models import ModelStore
from tests.engines.families.networks import run

Array = NDArray[Any]
Answers = Mapping[str, Any]
"""The first values of each output, flattened."""


@dataclass(frozen=True)
class Golden:
    """An upstream file, or several, what it is imported as, and what its graphs must give for `image_of` their size.

    `usual` are the channels it expects; a tuple of answers has those of each of the model's graphs.
    """

    files: Path | tuple[Path, ...]
    family: str
    sizes: tuple[Size, ...] | None
    usual: Literal["bgr", "rgb"]
    answers: tuple[Answers, ...]
    tolerance: float = 1e-3
    expected: Expected = field(default_factory=Expected)


def image_of(size: Size) -> Array:
    """(1, h, w, 3) uint8 noise, always the same; smooth, so that layout and direction show."""
    coarse = np.random.RandomState(7).randint(0, 256, (1, *(max(1, side // 8) for side in size), 3))
    image = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    return np.pad(
        image, [(0, 0), *((0, max(0, n - have)) for n, have in zip(size, image.shape[1:3], strict=True)), (0, 0)]
    )


def answers(golden: Golden, folder: Path, spoil: Callable[[ModelProto], None] | None = None) -> list[dict[str, Array]]:
    """What each graph of the imported model gives, after `spoil` was done to it."""
    files = [golden.files] if isinstance(golden.files, Path) else list(golden.files)
    spec = import_model(
        files, into=ModelStore(folder), family=golden.family, name="golden", sizes=golden.sizes,
        expected=golden.expected, replace=True,
    )  # fmt: skip
    found = []
    for file in spec.files:
        model = onnx.load(file.path)
        if spoil is not None:
            spoil(model)
        onnx.save(model, folder / "looked_at.onnx")
        found.append(run(folder / "looked_at.onnx", image_of(file.size)))
    return found


def is_golden(found: list[dict[str, Array]], golden: Golden) -> bool:
    """Whether every graph gives its known answers."""
    return len(found) == len(golden.answers) and all(
        np.allclose(given[name].ravel()[: np.size(values)], np.ravel(values), rtol=1e-4, atol=golden.tolerance)
        for given, known in zip(found, golden.answers, strict=True)
        for name, values in known.items()
    )


def wrong_channels(golden: Golden, folder: Path) -> list[dict[str, Array]]:
    """Imported as taking the other order of channels."""
    other: Literal["bgr", "rgb"] = "rgb" if golden.usual == "bgr" else "bgr"
    return answers(replace(golden, expected=replace(golden.expected, channels=other)), folder)


def wrong_mean(golden: Golden, folder: Path) -> list[dict[str, Array]]:
    """Imported as wanting another mean taken off: 20, 40 and 60 of 255."""
    return answers(replace(golden, expected=replace(golden.expected, mean=(20, 40, 60))), folder)


def wrong_layout(golden: Golden, folder: Path) -> list[dict[str, Array]]:
    """Rows taken for columns where (h, w, 3) becomes (3, h, w)."""

    def swap_axes(model: ModelProto) -> None:
        first = next(node for node in model.graph.node if node.op_type == "Transpose")
        assert list(first.attribute[0].ints) == [0, 3, 1, 2]
        first.attribute[0].ints[:] = [0, 3, 2, 1]

    return answers(golden, folder, swap_axes)


def wrong_landmarks(*order: int) -> Callable[[Golden, Path], list[dict[str, Array]]]:
    """The landmarks of a detector in this order."""

    def change(model: ModelProto) -> None:
        node = next(node for node in model.graph.node if "landmarks" in node.output)
        node.output[:] = ["as_they_were"]
        model.graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "order"))
        model.graph.node.append(helper.make_node("Gather", ["as_they_were", "order"], ["landmarks"], axis=2))

    return lambda golden, folder: answers(golden, folder, change)


MISTAKES = {"channels": wrong_channels, "mean": wrong_mean, "layout": wrong_layout}
"""Those every family can make: each imports the network, or spoils its graph, and looks at the answers."""
LANDMARK_MISTAKES = {
    "eyes": wrong_landmarks(1, 0, 2, 3, 4),
    "mouth": wrong_landmarks(0, 1, 2, 4, 3),
    "nose": wrong_landmarks(0, 1, 3, 4, 2),
}
"""Those of detectors."""
