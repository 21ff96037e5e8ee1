"""The network families that can be imported: one row and one file each.

A family's module is a `Converter`. It is imported only when a network of the family is, because it needs `onnx`, which
serving does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol

from engines.base import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

    from engines.families.preprocessing import Preprocessing
    from engines.families.recognition import Look
    from engines.families.upstream import Upstream

Task = Literal["detector", "embedder"]
Size = tuple[int, int]
"""(height, width) in pixels."""
Crop = Literal["template", "box"]
"""How a face is cut out for an embedder: warped so that its landmarks lie on the five-point template, or as its box
with a margin, stretched to the crop's size."""


@dataclass(frozen=True, slots=True)
class Converted:
    """A canonical network for one size. `note` is what its users should know beyond what they were told.

    `landmarks` is false for a detector that finds none.
    """

    model: ModelProto
    dimension: int | None = None
    note: str = ""
    landmarks: bool = True


class Converter(Protocol):
    """What a family's module offers. `body` is a network as `static.specialise` gives it; `convert` rewrites it."""

    def recognises(self, looks: Sequence[Look]) -> bool:
        """Whether files that look like this are of the family, and could hardly be of another."""

    def networks(self, given: Sequence[Upstream], asked: Sequence[Size], usual: Sequence[Size]) -> dict[Size, Upstream]:
        """Which of the networks `given`, one a file, becomes the canonical graph of each size.

        `asked` are the sizes somebody wants, none for the network's own or, where it has none, the `usual` ones.
        Raises ModelError for files too many or too few. `upstream.one_network` does for a family of one file.
        """

    def require_size(self, size: Size) -> None:
        """Raises ModelError for a size that no network of the family takes."""

    def default_preprocessing(self, body: ModelProto) -> Preprocessing:
        """What a network of the family usually expects of its caller."""

    def convert(self, body: ModelProto, size: Size, expected: Preprocessing) -> Converted:
        """The canonical network; ModelError when `body` is not of the family."""


@dataclass(frozen=True, slots=True)
class Batches:
    """How many rows a network runs at once where that is a matter of the family: `plan` is MIN:OPT:MAX of its plans,
    `cpu` the most rows on a CPU."""

    plan: str
    cpu: int


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table.

    `sizes` are written when the network has no size of its own and none is asked for. A `cascade` is a detector of
    several networks (see `engines.cascade`). `min_score` is the score from which its detections are usually faces;
    `crop` is how an embedder of the family was trained to see faces. `batches` are those of the files of these sizes;
    the others' are the settings' and the runtime's.
    """

    task: Task
    module: str
    sizes: tuple[Size, ...]
    landmark_order: tuple[str, ...] = ()
    cascade: bool = False
    min_score: float = 0.5
    crop: Crop = "template"
    batches: Mapping[Size, Batches] = field(default_factory=dict)

    def converter(self) -> Converter:
        """The family's module, imported now."""
        module: Converter = import_module(self.module)
        return module


FIVE_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
"""Left and right as the viewer sees them."""

FAMILIES = {
    "retinaface": Family("detector", "engines.families.retinaface", ((640, 640), (192, 192)), FIVE_POINTS),
    "scrfd": Family("detector", "engines.families.scrfd", ((640, 640), (192, 192)), FIVE_POINTS),
    "yunet": Family("detector", "engines.families.yunet", ((640, 640),), FIVE_POINTS, min_score=0.7),
    "mtcnn": Family(
        *("detector", "engines.families.mtcnn", ((640, 640), (640, 480), (480, 640)), FIVE_POINTS),
        cascade=True,
        min_score=0.7,
        batches={(24, 24): Batches("1:512:4096", cpu=32), (48, 48): Batches("1:32:256", cpu=8)},
    ),
    "arcface": Family("embedder", "engines.families.arcface", ((112, 112),)),
    "sface": Family("embedder", "engines.families.sface", ((112, 112),)),
    "facenet": Family("embedder", "engines.families.facenet", ((160, 160),), crop="box"),
}


def family_called(name: str) -> Family:
    """The family called `name`; ModelError naming the known ones."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise ModelError(f"unknown family {name!r}: known are {', '.join(sorted(FAMILIES))}") from None
