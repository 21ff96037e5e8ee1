"""What the pickle of a PyTorch state dict may name, and the plain values that stand for it: data about tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engines.base import ModelError
from engines.weight_files.dtypes import BFLOAT16, MAX_AXES

SAVE = "save the state dict alone: torch.save(model.state_dict(), ...)"


@dataclass(frozen=True, slots=True)
class Storage:
    """`count` numbers of the dtype `code`, kept outside the pickle under `key`."""

    code: str
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A part of a storage; offset and strides count numbers. Nothing of it is checked but the types."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Global:
    """A name a pickle may use: a kind of storage, or else something that makes a plain value of its arguments."""

    name: str
    code: str = ""
    make: Callable[[tuple[Any, ...]], Any] | None = None


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    match arguments:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides), *_) if (
            len(shape) == len(strides) <= MAX_AXES
        ):
            if all(type(number) is int for number in shape + strides):
                return Tensor(storage, offset, shape, strides)
    raise ModelError("is damaged: it has a tensor without a storage, shape and strides")


def _parameter(arguments: tuple[Any, ...]) -> Tensor:
    if not arguments or not isinstance(arguments[0], Tensor):
        raise ModelError("is damaged: it has a parameter without a tensor")
    return arguments[0]


def _size(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(arguments) != 1 or not isinstance(arguments[0], tuple):
        raise ModelError("is damaged: it has a torch.Size that is not of numbers")
    return arguments[0]


def _dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Python 2 pickles an OrderedDict as a list of pairs, 3 fills it later. The list is used up: else one list could be
    named a thousand times, for as many dicts of its length."""
    made: dict[Any, Any] = {}
    pairs = arguments[0] if arguments and isinstance(arguments[0], list) else []
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ModelError("is damaged: it has an OrderedDict that is not of pairs")
        made[key_of(pair[0])] = pair[1]
    pairs.clear()
    return made


def key_of(key: object) -> str | int:
    """Only what hashes in no time: a tuple of tuples may be as deep as the file is long."""
    if isinstance(key, str) or (isinstance(key, int) and abs(key) < 2**63):
        return key
    raise ModelError(f"has a dict with a key that is a {type(key).__name__}: {SAVE}")


STORAGES = {
    **{"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": BFLOAT16},
    **{"LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1"},
    **{"ByteStorage": "u1", "BoolStorage": "?"},
}
MAKERS = {
    "collections.OrderedDict": _dict,
    "torch.Size": _size,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.nn.parameter.Parameter": _parameter,
}
GLOBALS = {
    **{f"torch.{name}": Global(name, code=code) for name, code in STORAGES.items()},
    **{name: Global(name, make=make) for name, make in MAKERS.items()},
}
