"""Bringing a model in: from upstream files to canonical graphs in the store."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engines.base import ModelError
from engines.families import Converted, Family, Size, family_called
from engines.manifest import ModelSpec
from engines.models import ModelStore, require_onnx, sha256_of, write_model
from engines.thresholds import Thresholds

if TYPE_CHECKING:
    from engines.families.preprocessing import Preprocessing
    from engines.families.upstream import Upstream


@dataclasses.dataclass(frozen=True, slots=True)
class Expected:
    """What a network expects of its caller, where that is not its family's usual: `(x − mean) / std` of pixels 0..255,
    one value or three, in its channel order; `margin_px` is for embedders of boxes (see `ModelSpec`)."""

    channels: Literal["bgr", "rgb"] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    margin_px: int | None = None


def import_model(
    files: Path | Sequence[Path],
    *,
    into: ModelStore,
    family: str | None = None,
    name: str | None = None,
    sizes: Sequence[Size] | None = None,
    expected: Expected = Expected(),
    licence: str = "unknown",
    commercial_use: bool | None = None,
    note: str = "",
    source: str | None = None,
    urls: Sequence[str] = (),
    thresholds: Thresholds | None = None,
    replace: bool = False,
) -> ModelSpec:
    """Rewrites upstream `files` (one, or as many as the family's models have) into canonical graphs, one for each size,
    and adds them to the store.

    The `family` is recognised where it is not given. `name` is the first file's stem unless given. `sizes` are (height,
    width); without them the network's own, else the family's. `source` says where the file came from (its name unless
    given), `urls` where it can be had.

    Raises ModelError, and leaves nothing behind, for a file that is neither plain ONNX nor weights of a known
    architecture, that is not of that family or of none that can be told, a size it does not work at, a name that is
    taken or not safe; RuntimeMissingError where a package that reading it needs is not installed.
    """
    require_onnx()
    from engines.families.recognition import recognise

    paths = [Path(files)] if isinstance(files, (str, Path)) else [Path(file) for file in files]
    given = [read(path) for path in paths]
    family = family or recognise(given)
    row = family_called(family)
    networks = row.converter().networks(given, sorted(set(sizes or ()), reverse=True), row.sizes)
    if row.task == "embedder" and len(networks) > 1:
        raise ModelError(f"an embedder has one size, {list(networks)} were asked for")
    converted, preprocessing = _converted(row, networks, expected)
    first = next(iter(converted.values()))
    spec = ModelSpec(
        name=paths[0].stem if name is None else name,
        task=row.task,
        family=family,
        files=(),
        digest="",
        dimension=first.dimension,
        licence=licence,
        commercial_use=commercial_use,
        note=" ".join(filter(None, (note, first.note))),
        source=", ".join(path.name for path in paths) if source is None else source,
        source_sha256=fingerprint([sha256_of(path) for path in paths]),
        channels=preprocessing.channels,
        landmark_order=row.landmark_order if all(each.landmarks for each in converted.values()) else (),
        thresholds=thresholds,
        crop=row.crop,
        margin_px=_margin(row, min(map(min, networks)), expected),
        urls=tuple(urls),
    )
    return write_model(spec, {size: result.model for size, result in converted.items()}, into, replace=replace)


def read(path: Path) -> Upstream:
    """The network in an upstream file; ModelError saying what is wrong with it."""
    from engines import architectures, weight_files
    from engines.families import upstream

    if (weights := weight_files.read(path)) is not None:
        return architectures.pour(weights)
    return upstream.read(path)


def _converted(
    row: Family, networks: Mapping[Size, Upstream], expected: Expected
) -> tuple[dict[Size, Converted], Preprocessing]:
    from engines.families import static

    converter = row.converter()
    for size in networks:
        converter.require_size(size)
    converted = {}
    for size, network in networks.items():
        body = static.specialise(network.model, size)
        usual = network.expected or converter.default_preprocessing(body)
        preprocessing = _preprocessing(usual, expected)
        converted[size] = converter.convert(body, size, preprocessing)
    return converted, preprocessing


def _preprocessing(usual: Preprocessing, expected: Expected) -> Preprocessing:
    return dataclasses.replace(
        usual,
        channels=expected.channels or usual.channels,
        mean=usual.mean if expected.mean is None else _per_channel("mean", expected.mean),
        std=usual.std if expected.std is None else _per_channel("std", expected.std),
    )


def _per_channel(what: str, values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) not in (1, 3) or not all(map(math.isfinite, values)) or (what == "std" and not all(values)):
        raise ModelError(f"{what} {tuple(values)}: one or three finite numbers for pixels 0..255, no std of zero")
    first, second, third = (*values, *values, *values)[:3]
    return float(first), float(second), float(third)


def _margin(row: Family, side: int, expected: Expected) -> int:
    if expected.margin_px is None:
        return 0
    if row.crop != "box" or not 0 <= expected.margin_px < side:
        raise ModelError(
            f"a margin of {expected.margin_px} px: only embedders of boxes have one, 0 to less than the crop"
        )
    return expected.margin_px


def fingerprint(sha256s: Sequence[str]) -> str:
    """One file's SHA-256 (hex), or that of all of theirs in their order: `ModelSpec.source_sha256`."""
    return sha256s[0] if len(sha256s) == 1 else hashlib.sha256("\n".join(sha256s).encode()).hexdigest()
