"""Telling of which family a network is, from what can be seen of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from onnx import ModelProto

from engines.base import ModelError
from engines.families import FAMILIES, Size
from engines.families.static import Shapes, outputs_of, specialise
from engines.families.upstream import Upstream
from engines.families.vectors import vectors

SIZES_TRIED = ((640, 640), (112, 112), (160, 160), (48, 48), (24, 24))
"""What a network without a size of its own is looked at with: the first that it works at."""


@dataclass(frozen=True, slots=True)
class Look:
    """What can be seen of a network whose family is not known: its `body` as `static.specialise` gives it for `size`,
    and what that gives for one image, shapes by name in the file's order. `free` tells that it takes other sizes."""

    size: Size
    free: bool
    body: ModelProto
    outputs: Shapes


def look_at(upstream: Upstream, sizes: Sequence[Size] = SIZES_TRIED) -> Look:
    """A look at one network, at its own size or else the first of `sizes` that it works at; ModelError when it works at
    none."""
    *others, last = [upstream.size] if upstream.size else sizes
    for size in others:
        with suppress(ModelError):
            return _look(upstream, size)
    return _look(upstream, last)


def _look(upstream: Upstream, size: Size) -> Look:
    body = specialise(upstream.model, size)
    return Look(size, upstream.size is None, body, outputs_of(body))


def recognise(networks: Sequence[Upstream]) -> str:
    """The family of these networks, one a file; ModelError saying why where none or several come into question."""
    told = {network.family for network in networks if network.family}
    if len(told) == 1 and all(network.family for network in networks):
        return told.pop()
    looks = [look_at(network) for network in networks]
    found = [name for name, row in FAMILIES.items() if row.converter().recognises(looks)]
    if len(found) == 1:
        return found[0]
    seen = "; ".join(_seen(look) for look in looks)
    if not found:
        raise ModelError(f"of which family this is cannot be told ({seen}): {_advice(looks)}")
    raise ModelError(f"this may be {' or '.join(found)} ({seen}), which expect different pixels: say which it is")


def _advice(looks: Sequence[Look]) -> str:
    if len(looks) == 1 and len(vectors(looks[0].outputs)) == 1:
        return (
            "it makes a vector of a face, but a file does not show which pixels it expects. Say what it was trained "
            "with, as in --family arcface --channels rgb --mean 127.5 --std 127.5 (three values each for ImageNet's)"
        )
    return f"say it, one of {', '.join(FAMILIES)}"


def _seen(look: Look) -> str:
    height, width = look.size
    return f"{height}x{width} in, {', '.join(_outputs(look))} out"


def _outputs(look: Look) -> Iterator[str]:
    for name, shape in look.outputs.items():
        yield f"{name.removeprefix('body/')} {'x'.join('?' if n is None else str(n) for n in shape)}"
