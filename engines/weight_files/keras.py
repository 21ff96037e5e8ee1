"""Keras' HDF5: of weights alone, or of a whole model, whose weights are then in the group `model_weights`.

h5py reads the structure; only numbers that lie in the file as they are, in one piece, are taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from engines.base import ModelError, RuntimeMissingError
from engines.weight_files.dtypes import decode, itemsize, shaped
from engines.weight_files.source import Source

if TYPE_CHECKING:
    import h5py

WEIGHTS = "model_weights"
MAX_DEPTH = 32
KINDS = {f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)} - {"f1"}
"""Dtype codes."""


def read(source: Source) -> dict[str, NDArray[Any]]:
    """The arrays by their paths, such as `conv1/conv1/kernel:0`; see `weight_files.read`."""
    if find_spec("h5py") is None:
        raise RuntimeMissingError("reading Keras' HDF5 needs the extra `convert`: pip install 'faceserve[convert]'")
    import h5py

    try:
        with h5py.File(source.file, "r") as file:
            linked = file.get(WEIGHTS, getclass=True, getlink=True) is h5py.HardLink
            whole = linked and file.get(WEIGHTS, getclass=True) is h5py.Group
            found = dict(_datasets(file[WEIGHTS] if whole else file, "", set()))
            return {name: _numbers(source, name, dataset) for name, dataset in found.items()}
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"is damaged HDF5: {error}") from error


def _datasets(group: Any, path: str, seen: set[int]) -> Iterator[tuple[str, h5py.Dataset]]:
    """Those below `group`, whose links are not followed: one may lead round in a circle, or to another file."""
    import h5py

    for name in group:
        if group.get(name, getclass=True, getlink=True) is not h5py.HardLink:
            raise ModelError(f"has the link {path + name!r} to elsewhere: save the weights in one file, without links")
        entry = group[name]
        address = h5py.h5o.get_info(entry.id).addr
        if address in seen or path.count("/") >= MAX_DEPTH:
            raise ModelError(f"is damaged: {path + name!r} leads round in a circle")
        seen.add(address)
        if isinstance(entry, h5py.Group):
            yield from _datasets(entry, f"{path}{name}/", seen)
        elif isinstance(entry, h5py.Dataset):
            yield path + name, entry


def _numbers(source: Source, name: str, dataset: h5py.Dataset) -> NDArray[Any]:
    import h5py

    code = dataset.dtype.str[1:]
    if code not in KINDS or dataset.shape is None or dataset.id.get_type() != h5py.h5t.py_create(dataset.dtype):
        raise ModelError(f"has {name!r} of {dataset.dtype}: expected arrays of numbers")
    size = prod(dataset.shape) * itemsize(code)
    place = dataset.id.get_offset() if size else 0
    if place is None:  # it is one for what lies in this file in one piece only
        raise ModelError(f"has {name!r} compressed, in chunks, or in another file: save the weights plainly")
    return shaped(decode(source.take(place, size), code, ">" if dataset.dtype.str[0] == ">" else "<"), dataset.shape)
