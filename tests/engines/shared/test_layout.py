"""Rows in the slots of a channel: as many as fit, and a plain word where none do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.base import ModelError, Tensors, TensorSpec
from engines.shared.channel import Channel
from engines.shared.client import Seat
from engines.shared.server import EngineServer


class Each:
    """An engine that joins calls itself."""

    inputs = (TensorSpec("rows", "uint8", (None, 4)),)
    outputs = (TensorSpec("sums", "float32", (None,)),)
    max_batch_size, concurrency, fault = 8, 1, None
    description: Mapping[str, str] = {}

    def run(self, feeds: Tensors) -> dict[str, NDArray[Any]]:
        raise AssertionError("it was not asked to join them")

    def run_each(self, calls: Sequence[Tensors]) -> list[dict[str, NDArray[Any]]]:
        return [{"sums": each["rows"].sum(axis=1, dtype=np.float32)} for each in calls]

    def close(self) -> None: ...


def test_an_engine_that_joins_calls_is_left_to_it() -> None:
    channel = Channel(seats=1, slots=2)
    server = EngineServer(channel, {"each": Each()})
    outputs = Seat(channel, 0).engines["each"].run({"rows": np.array([[1] * 4, [2] * 4], np.uint8)})
    assert outputs["sums"].tolist() == [4, 8]
    server.close()
    channel.close()


@pytest.mark.parametrize(
    ("shape", "slot_bytes", "told"),
    [((None, None), 4096, "no fixed size"), ((None, 5000), 4096, "take 5004 bytes"), ((None, 4096), 4096, "4096")],
)
def test_rows_that_fit_no_slot_are_refused(shape: tuple[int | None, ...], slot_bytes: int, told: str) -> None:
    engine = Each()
    engine.inputs = (TensorSpec("rows", "uint8", shape),)
    channel = Channel(seats=1, slots=1, slot_bytes=slot_bytes)
    with pytest.raises(ModelError, match=told):
        EngineServer(channel, {"each": engine})
    assert not channel.serving
    channel.close()


def test_a_call_has_as_many_rows_as_fit_a_slot() -> None:
    engine = Each()
    engine.inputs = (TensorSpec("rows", "uint8", (None, 1000)),)
    channel = Channel(seats=1, slots=1, slot_bytes=4096)
    server = EngineServer(channel, {"each": engine})
    shared = Seat(channel, 0).engines["each"]
    assert shared.max_batch_size == 3
    rows = np.arange(3000, dtype=np.uint8).reshape(3, 1000)
    np.testing.assert_array_equal(shared.run({"rows": rows})["sums"], rows.sum(axis=1, dtype=np.float32))
    server.close()
    channel.close()
