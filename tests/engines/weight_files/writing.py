"""Writers of the weight files that tests read, made after the formats' descriptions and without the frameworks."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
from numpy.typing import NDArray

MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": VERSION, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
KINDS = {
    **{"f8": "DoubleStorage", "f4": "FloatStorage", "f2": "HalfStorage", "bf": "BFloat16Storage", "b1": "BoolStorage"},
    **{"i8": "LongStorage", "i4": "IntStorage", "i2": "ShortStorage", "i1": "CharStorage", "u1": "ByteStorage"},
}


@dataclass(eq=False)
class Storage:
    """Numbers of one kind; `count` is what the pickle says there are, all unless given."""

    numbers: NDArray[Any]
    kind: str = ""
    count: int | None = None

    @property
    def claimed(self) -> int:
        return self.numbers.size if self.count is None else self.count

    @property
    def storage_type(self) -> object:
        return TORCH["torch"][self.kind or KINDS[self.numbers.dtype.str[1:]]]


@dataclass(eq=False)
class Tensor:
    """What torch pickles a tensor as; strides of a row-major one unless given."""

    storage: Storage
    shape: Sequence[int]
    strides: Sequence[int] | None = None
    offset: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        strides = self.strides
        if strides is None:
            strides = [int(np.prod(self.shape[i + 1 :])) for i in range(len(self.shape))]
        arguments: tuple[Any, ...] = (
            self.storage,
            self.offset,
            tuple(self.shape),
            tuple(strides),
            False,
            OrderedDict(),
        )
        return TORCH["torch._utils"]["_rebuild_tensor_v2"], arguments


class Parameter:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        return TORCH["torch._utils"]["_rebuild_parameter"], (self.tensor, True, OrderedDict())


class StateDict(OrderedDict[str, Any]):
    """One with the attribute that torch's have."""

    def __reduce__(self) -> tuple[Any, ...]:
        return OrderedDict, (), {"_metadata": OrderedDict({"": {"version": 1}})}, None, iter(self.items())


def tensor(array: NDArray[Any]) -> Tensor:
    """A tensor with a storage of its own, row by row."""
    return Tensor(Storage(np.ascontiguousarray(array).reshape(-1)), array.shape)


def _stand_in(module: str, name: str) -> object:
    return type(name, (), {"__module__": module, "__qualname__": name})


TORCH: dict[str, dict[str, Any]] = {
    "torch": {name: _stand_in("torch", name) for name in (*KINDS.values(), "ComplexFloatStorage", "Size")},
    "torch._utils": {
        name: _stand_in("torch._utils", name) for name in ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_other")
    },
}


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, protocol: int, *, legacy: bool) -> None:
        super().__init__(file, protocol)
        self.storages: dict[str, Storage] = {}
        self._keys: dict[Storage, str] = {}
        self._view: tuple[None, ...] = (None,) if legacy else ()

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Storage):
            return None
        key = self._keys.setdefault(value, str(len(self._keys)))
        self.storages[key] = value
        return ("storage", value.storage_type, key, "cpu", value.claimed, *self._view)


def pickled(value: object, protocol: int = 2, *, legacy: bool = False) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of `value`, and its storages by their keys."""
    modules = {}
    for name, contents in TORCH.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(contents)
    file = io.BytesIO()
    pickler = _Pickler(file, protocol, legacy=legacy)
    with patch.dict(sys.modules, modules):
        pickler.dump(value)
    return file.getvalue(), pickler.storages


def archive(value: object, *, protocol: int = 2, order: str | None = "little") -> bytes:
    """What torch.save has written since 1.6."""
    data, storages = pickled(value, protocol)
    sign = ">" if order == "big" else "<"
    entries = {f"data/{key}": _raw(storage, sign) for key, storage in storages.items()}
    return archive_of(data, entries | ({} if order is None else {"byteorder": order.encode()}))


def archive_of(data: bytes, entries: Mapping[str, bytes] = {}, *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """The same of a pickle and entries as they are."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in {"data.pkl": data, **entries, "version": b"3\n"}.items():
            written.writestr(f"model/{name}", content)
    return file.getvalue()


def stream(value: object, *, protocol: int = 2, little_endian: bool = True) -> bytes:
    """What torch.save wrote before 1.6."""
    data, storages = pickled(value, protocol, legacy=True)
    return stream_of(data, storages, protocol=protocol, little_endian=little_endian)


def stream_of(
    data: bytes, storages: Mapping[str, Storage] = {}, *, protocol: int = 2, little_endian: bool = True
) -> bytes:
    """The same of a pickle as it is."""
    system = SYSTEM | {"little_endian": little_endian}
    heads = [pickle.dumps(head, protocol) for head in (MAGIC, VERSION, system)]
    keys = pickle.dumps(list(storages), protocol)
    raw = [struct.pack("<q", each.numbers.size) + _raw(each, "<") for each in storages.values()]
    return b"".join([*heads, data, keys, *raw])


def _raw(storage: Storage, sign: str) -> bytes:
    return storage.numbers.astype(storage.numbers.dtype.newbyteorder(sign)).tobytes()  # type: ignore[arg-type]


def safetensors(header: object, numbers: bytes = b"") -> bytes:
    """A header, as it is or as JSON, and the numbers after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def wts(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """tensorrtx' text, as its scripts write it."""
    lines = [f"{len(arrays)}\n"]
    for name, array in arrays.items():
        numbers = [struct.pack(">f", float(number)).hex() for number in array.reshape(-1)]
        lines.append(f"{name} {array.size} " + "".join(f" {number}" for number in numbers) + "\n")
    return "".join(lines).encode()


def keras(path: Path, arrays: Mapping[str, NDArray[Any]], *, whole: bool = False) -> None:
    """Keras' HDF5 of weights alone, or of a `whole` model with its optimizer."""
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["backend"] = b"tensorflow"
        for name, array in arrays.items():
            root.create_dataset(name, data=array)
        if whole:
            file.create_dataset("optimizer_weights/iteration:0", data=np.int64(7))
