"""What an engine process says in words, as bytes and back: the engines it has, and why a call failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from engines import base
from engines.base import Engine, EngineError, TensorSpec

_LONGEST_ERROR = 8000
_KINDS: dict[str, type[Exception]] = {"ValueError": ValueError} | {
    name: kind for name, kind in vars(base).items() if isinstance(kind, type) and issubclass(kind, EngineError)
}


@dataclass(frozen=True, slots=True)
class Offer:
    """An engine as its process describes it; `rows` is what a call may have."""

    lane: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rows: int
    description: Mapping[str, str]


def offer(engine: Engine, *, lane: int, rows: int) -> Offer:
    return Offer(lane, tuple(engine.inputs), tuple(engine.outputs), rows, dict(engine.description))


def pack_notice(about: Mapping[str, str], offers: Mapping[str, Offer]) -> bytes:
    return json.dumps({"about": dict(about), "engines": {name: asdict(each) for name, each in offers.items()}}).encode()


def unpack_notice(notice: bytes) -> tuple[dict[str, str], dict[str, Offer]]:
    told = json.loads(notice)
    return told["about"], {
        name: Offer(each["lane"], _specs(each["inputs"]), _specs(each["outputs"]), each["rows"], each["description"])
        for name, each in told["engines"].items()
    }


def pack_error(error: Exception) -> bytes:
    """Its class, if the other end knows it, and its message. Any other error becomes an EngineError that names it."""
    kind, text = type(error).__name__, str(error)
    if _KINDS.get(kind) is not type(error):
        kind, text = "EngineError", f"{kind}: {text}"
    return f"{kind} {text}".encode(errors="replace")[:_LONGEST_ERROR]


def unpack_error(data: bytes) -> Exception:
    kind, _, text = data.decode(errors="replace").partition(" ")
    return _KINDS[kind](text)


def _specs(specs: Sequence[Mapping[str, object]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(str(spec["name"]), str(spec["dtype"]), tuple(spec["shape"]))  # type: ignore[arg-type]
        for spec in specs
    )
