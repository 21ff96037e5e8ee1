"""What is measured: one network at one input size and batch, in the order in which the time is best spent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.families import Size


@dataclass(frozen=True, slots=True)
class Row:
    """A network called `model`, for images of `size` (height, width), `batch` of them a run."""

    model: str
    size: Size
    batch: int

    @property
    def network(self) -> str:
        """The network without the batch: `retinaface_r50@640x640` (height x width)."""
        return f"{self.model}@{self.size[0]}x{self.size[1]}"


_VGA, _HD, _CROP, _FACENET = (640, 640), (960, 1280), (112, 112), (160, 160)
_PNET, _RNET, _ONET = (1500, 1500), (24, 24), (48, 48)
_DETECTOR, _EMBEDDER = (1, 8, 32), (1, 8, 32, 64, 128)
TABLE: tuple[tuple[str, Size, tuple[int, ...]], ...] = (
    # the promises' rows first, the slowest to build last
    ("retinaface_r50", _VGA, (1, 32, 8)),
    ("retinaface_mnet025", _HD, (32, 8, 1)),
    ("arcface_r50", _CROP, (128, 1, 8, 32, 64)),
    ("facenet", _FACENET, (32, 1, 8)),
    ("retinaface_mnet025", _VGA, _DETECTOR),
    ("mobilefacenet_256", _CROP, _EMBEDDER),
    # P-Net's rows are pictures, each with its whole pyramid on one canvas; R-Net's and O-Net's are crops
    ("mtcnn", _RNET, (1600, 128)),
    ("mtcnn", _ONET, (800, 128)),
    ("mtcnn", _PNET, (8, 1)),
    ("retinaface_r50", _HD, _DETECTOR),
    ("arcface_r100", _CROP, _EMBEDDER),
)
ALL = tuple(Row(model, size, batch) for model, size, batches in TABLE for batch in batches)
QUICK = (
    Row("retinaface_mnet025", _VGA, 1),
    Row("mobilefacenet_256", _CROP, 1),
    Row("mobilefacenet_256", _CROP, 8),
)
"""The pair that is shipped: nothing has to be made first."""


class UnknownRowError(Exception):
    """Nothing is called so, or nothing is left to measure. The message names what there is."""


def choose(rows: Sequence[Row], only: Iterable[str] = (), batches: Iterable[int] = ()) -> list[Row]:
    """The rows of the networks in `only` (`retinaface_r50` or `retinaface_r50@640x640`) with these batches.

    Nothing given keeps all; a batch that the table does not have is measured too. Raises UnknownRowError for a name
    that no row has.
    """
    names, sizes = list(only), list(batches)
    known = sorted({row.network for row in rows})
    for name in names:
        if not any(name in (row.model, row.network) for row in rows):
            raise UnknownRowError(f"no row is called {name!r}; the rows are {', '.join(known)}")
    kept = [row for row in rows if not names or row.model in names or row.network in names]
    if not sizes:
        return kept
    return list(dict.fromkeys(Row(row.model, row.size, batch) for row in kept for batch in sizes))
