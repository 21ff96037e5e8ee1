"""Weights without a graph: which architecture they are of, told by names and shapes, and the network they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.architectures.dialects import DIALECTS, EXPECTED, Arrays, Dialect
from engines.architectures.table import ARCHITECTURES, Architecture
from engines.architectures.weights import given_weights
from engines.base import ModelError
from engines.families import Size
from engines.models import require_onnx

if TYPE_CHECKING:
    from engines.families.preprocessing import Preprocessing
    from engines.families.upstream import Upstream
    from engines.weight_files import WeightFile

NAMED = 3
"""How many names an error gives before it counts."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How well arrays fill an architecture for one size: what it needs, and what is wrong with them, by name."""

    name: str
    size: Size
    dimension: int
    needs: Mapping[str, tuple[int, ...]]
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    misshapen: tuple[str, ...]

    @property
    def faults(self) -> float:
        """Their share of all names, from 0 to 1."""
        wrong = len(self.missing) + len(self.unknown) + len(self.misshapen)
        return wrong / (len(self.needs) + len(self.unknown))


def pour(weights: WeightFile) -> Upstream:
    """The network that these weights are of, with its family and what it expects of its caller.

    `size` is None where the same weights do for every size. The arrays are not written to. Raises ModelError, naming
    the architecture that comes nearest, for weights that are missing, unknown, of another shape or not finite;
    RuntimeMissingError where `onnx` is not installed.
    """
    require_onnx()
    from engines.architectures.layers import Layers
    from engines.families.upstream import Upstream

    arrays, spoken = translated(weights.arrays)
    if not arrays:
        raise ModelError(f"{weights.path} has no weights of a network in it")
    best = nearest(arrays, flat=weights.flat)
    if best.faults:
        raise ModelError(f"{weights.path} {_complaint(best, arrays, flat=weights.flat)}")
    _require_finite(weights, arrays)
    row = ARCHITECTURES[best.name]
    shaped = {name: arrays[name].reshape(shape) for name, shape in best.needs.items()}
    model = Layers(given_weights(shaped), best.dimension).model(best.size, row.add_layers)
    return Upstream(model, None if row.any_size else best.size, row.family, _expected(row, spoken))


def translated(arrays: Arrays) -> tuple[Arrays, list[Dialect]]:
    """The arrays under the names of our architectures, and the dialects they were in."""
    spoken = []
    for dialect in DIALECTS:
        ours = dialect(arrays)
        if ours is not None:
            arrays = ours
            spoken.append(dialect)
    return arrays, spoken


def nearest(arrays: Arrays, *, flat: bool = False) -> Fit:
    """The architecture, in one of the sizes that its weights tell apart, with the smallest share of faults."""
    fits = (
        _fit(name, size, arrays, flat=flat) for name, row in ARCHITECTURES.items() for size in (row.size, *row.also)
    )
    return min(fits, key=lambda fit: fit.faults)


@lru_cache(maxsize=128)
def needs(name: str, size: Size, dimension: int) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the parameters of an architecture."""
    from engines.architectures.layers import Needs

    return MappingProxyType(Needs(dimension).of(size, ARCHITECTURES[name].add_layers))


def _fit(name: str, size: Size, arrays: Arrays, *, flat: bool) -> Fit:
    row = ARCHITECTURES[name]
    vector = arrays.get(row.vector)
    dimension = vector.size if vector is not None and vector.size else row.dimension
    needed = needs(name, size, dimension)
    return Fit(
        *(name, size, dimension, needed),
        missing=tuple(each for each in needed if each not in arrays),
        unknown=tuple(each for each in arrays if each not in needed),
        misshapen=tuple(
            each for each, shape in needed.items() if each in arrays and not _has_shape(arrays[each], shape, flat=flat)
        ),
    )


def _has_shape(values: NDArray[Any], shape: tuple[int, ...], *, flat: bool) -> bool:
    return values.size == prod(shape) if flat else values.shape == shape


def _complaint(fit: Fit, arrays: Arrays, *, flat: bool) -> str:
    known = ", ".join(ARCHITECTURES)
    if fit.faults == 1:
        return f"has weights of no known architecture ({_some(map(repr, arrays))}): known are {known}"

    def shapes(name: str) -> str:
        shape = fit.needs[name]
        if flat:
            return f"{name!r} has {arrays[name].size} numbers, not {prod(shape)} {shape}"
        return f"{name!r} has the shape {arrays[name].shape}, not {shape}"

    wrong = [
        f"lacks {_some(map(repr, fit.missing))}" if fit.missing else "",
        f"has {_some(map(repr, fit.unknown))}, which that has not" if fit.unknown else "",
        f"{_some(map(shapes, fit.misshapen))}" if fit.misshapen else "",
    ]
    return f"comes nearest to {fit.name} but {'; '.join(filter(None, wrong))}. Known are {known}"


def _some(words: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    every = list(words)
    more = len(every) - NAMED
    return ", ".join(every[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _require_finite(weights: WeightFile, arrays: Arrays) -> None:
    with np.errstate(over="ignore"):
        broken = [
            name
            for name, values in arrays.items()
            if values.dtype.kind != "f" or not np.isfinite(values.astype(np.float32, copy=False)).all()
        ]
    if broken:
        raise ModelError(
            f"{weights.path} has other than finite floating-point numbers in {_some(map(repr, broken))}: "
            "save it as float32 and undamaged"
        )


def _expected(row: Architecture, spoken: Iterable[Dialect]) -> Preprocessing:
    from engines.families.preprocessing import Preprocessing

    for dialect in spoken:
        if dialect in EXPECTED:
            return Preprocessing(*EXPECTED[dialect])
    return row.expected
