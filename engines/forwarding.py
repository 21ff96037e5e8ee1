"""An engine around another one: what it does not do differently, the inner one does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from engines.base import Engine, Tensors, TensorSpec


class Forwarding:
    """The inner `engine` as it is, for subclasses to change; see `engines.base.Engine` for what each part means.

    Who owns the inner engine is the subclass's to say. What the inner one offers besides (`Gathering`) is not offered.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._engine.outputs

    @property
    def max_batch_size(self) -> int:
        return self._engine.max_batch_size

    @property
    def concurrency(self) -> int:
        return self._engine.concurrency

    @property
    def description(self) -> Mapping[str, str]:
        return self._engine.description

    @property
    def fault(self) -> str | None:
        return self._engine.fault

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        return self._engine.run(feeds)

    def close(self) -> None:
        self._engine.close()
