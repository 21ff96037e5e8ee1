"""What an engine process tells its workers arrives as it was meant."""

from __future__ import annotations

import pytest

from engines import base
from engines.base import ModelError
from engines.shared.messages import pack_error, unpack_error

KINDS = [kind for kind in vars(base).values() if isinstance(kind, type) and issubclass(kind, base.EngineError)]


@pytest.mark.parametrize("kind", [*KINDS, ValueError])
def test_errors_travel_as_what_they_are(kind: type[Exception]) -> None:
    error = unpack_error(pack_error(kind("a message of more than one word: ä")))
    assert type(error) is kind
    assert str(error) == "a message of more than one word: ä"


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), UnicodeDecodeError("ascii", b"\xff", 0, 1, "what")])
def test_an_error_from_elsewhere_is_named(error: Exception) -> None:
    travelled = unpack_error(pack_error(error))
    assert type(travelled) is base.EngineError
    assert str(travelled) == f"{type(error).__name__}: {error}"


def test_a_long_error_is_cut() -> None:
    assert 1000 < len(str(unpack_error(pack_error(ModelError("ö" * 10**6))))) < 10_000
