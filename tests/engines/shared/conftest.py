"""Lines of calls that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.engines.shared.line import Line

if TYPE_CHECKING:
    from tests.engines.conftest import InBackground, RowEngine


@pytest.fixture
def line(row_engine: type[RowEngine], in_background: InBackground) -> Iterator[Callable[..., Line]]:
    made: list[Line] = []

    def make(**options: Any) -> Line:
        made.append(Line(row_engine, in_background, **options))
        return made[-1]

    yield make
    for each in made:  # lets every thread go, whatever became of the test
        each.gate.release(1000)
        each.server.close()
        each.channel.close()
