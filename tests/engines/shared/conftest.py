"""Lines of calls that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.engines.shared.line import Line


@pytest.fixture
def line() -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(**options: Any) -> Line:
        made.append(Line(**options))
        return made[-1]

    yield make
    for each in made:  # lets every thread go, whatever became of the test
        each.gate.release(1000)
        each.server.close()
        each.channel.close()
