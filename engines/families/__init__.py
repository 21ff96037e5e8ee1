"""The network families that can be imported: one row and one file each.

A family's module is a `Converter`. It is imported only when a network of the family is, because it needs `onnx`, which
serving does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol

from engines.base import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

    from engines.families.preprocessing import Preprocessing

Task = Literal["detector", "embedder"]
Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A canonical network for one size. `note` is what its users should know beyond what they were told."""

    model: ModelProto
    dimension: int | None = None
    note: str = ""


class Converter(Protocol):
    """What a family's module offers. `body` is a network as `static.specialise` gives it; `convert` rewrites it."""

    def require_size(self, size: Size) -> None:
        """Raises ModelError for a size that no network of the family takes."""

    def default_preprocessing(self, body: ModelProto) -> Preprocessing:
        """What a network of the family usually expects of its caller."""

    def convert(self, body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
        """The canonical network; ModelError when `body` is not of the family."""


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table. `sizes` are written when the network has no size of its own and none is asked for."""

    task: Task
    module: str
    sizes: tuple[Size, ...]
    landmark_order: tuple[str, ...] = ()

    def converter(self) -> Converter:
        """The family's module, imported now."""
        module: Converter = import_module(self.module)
        return module


FIVE_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Left and right as the viewer sees them."""

FAMILIES = {
    "retinaface": Family("detector", "engines.families.retinaface", ((640, 640), (192, 192)), FIVE_POINTS),
    "arcface": Family("embedder", "engines.families.arcface", ((112, 112),)),
    "facenet": Family("embedder", "engines.families.facenet", ((160, 160),)),
}


def family_called(name: str) -> Family:
    """The family called `name`; ModelError naming the known ones."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise ModelError(f"unknown family {name!r}: known are {', '.join(sorted(FAMILIES))}") from None
