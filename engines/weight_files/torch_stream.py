"""`torch.save` before PyTorch 1.6: five pickles (magic number, version, system, the value, storage keys), then the
storages, each after its count of numbers as int64. All are little-endian, whatever the system was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from engines.base import ModelError
from engines.weight_files import pickles
from engines.weight_files.admitted import SAVE, Storage
from engines.weight_files.dtypes import decode, itemsize
from engines.weight_files.source import Source
from engines.weight_files.state_dict import arrays_of

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
COUNT_BYTES = 8


def read(source: Source) -> dict[str, NDArray[Any]]:
    """The arrays of the state dict; see `weight_files.read`."""
    head = source.peek(0, min(source.size, pickles.MAX_BYTES))
    magic = pickles.load(head)
    if not isinstance(magic.value, int) or magic.value != MAGIC:
        raise ModelError(f"is a pickle, but none that torch.save writes: {SAVE}")
    version = pickles.load(head, magic.end)
    if not isinstance(version.value, int) or version.value != VERSION:
        raise ModelError(f"is of a version of torch.save that is not known: {SAVE}")
    system = pickles.load(head, version.end)
    checkpoint = pickles.load(head, system.end)
    keys = pickles.load(head, checkpoint.end)
    places = _places(source, keys, checkpoint.storages)
    read_before: dict[str, NDArray[Any]] = {}

    def numbers_of(storage: Storage) -> NDArray[Any]:
        if storage.key not in read_before:
            data = source.take(places[storage.key], storage.count * itemsize(storage.code))
            read_before[storage.key] = decode(data, storage.code)
        return read_before[storage.key]

    return arrays_of(checkpoint.value, numbers_of)


def _places(source: Source, keys: pickles.Pickled, storages: Mapping[str, Storage]) -> dict[str, int]:
    """Where each storage's numbers start."""
    if not isinstance(keys.value, list) or not all(isinstance(key, str) for key in keys.value):
        raise ModelError("is damaged: its list of storages is none")
    if set(keys.value) != set(storages) or len(keys.value) != len(storages):
        raise ModelError("is damaged: it refers to other storages than it has")
    places, at = {}, keys.end
    for key in keys.value:
        count = int.from_bytes(source.peek(at, COUNT_BYTES), "little")
        if count != storages[key].count:
            raise ModelError(f"is damaged: its storage {key[:40]!r} is of another size than its tensors say")
        places[key] = at + COUNT_BYTES
        at = places[key] + count * itemsize(storages[key].code)
    if at != source.size:
        raise ModelError("is damaged or cut short: its storages do not end where it does")
    return places
