"""Several callers' feeds in one run of an engine, and each caller's own outputs out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, Gathering, Tensors

RunEach = Callable[[Sequence[Tensors]], list[dict[str, NDArray[Any]]]]


def run_each_of(engine: Engine) -> RunEach:
    """A function that runs several callers' feeds at once: the engine's own `run_each`, or else one run of all rows.

    Each caller's outputs are its own arrays.
    """
    return engine.run_each if isinstance(engine, Gathering) else partial(_run_joined, engine)


def _run_joined(engine: Engine, calls: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
    return _split(engine.run(_join(calls)), calls)


def _join(calls: Sequence[Tensors]) -> Tensors:
    if len(calls) == 1:
        return calls[0]
    return {name: np.concatenate([feeds[name] for feeds in calls]) for name in calls[0]}


def _split(outputs: dict[str, NDArray[Any]], calls: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
    """Each call's rows, copied: a view would keep the whole batch alive and share memory between callers."""
    if len(calls) == 1:
        return [outputs]
    answers, start = [], 0
    for feeds in calls:
        end = start + len(next(iter(feeds.values())))
        answers.append({name: array[start:end].copy() for name, array in outputs.items()})
        start = end
    return answers
