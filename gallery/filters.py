"""Which identities a search looks at, by their metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gallery.types import InvalidFilterError, Metadata

Scalar = str | int | float | bool | None
MAX_KEYS, MAX_VALUES, MAX_CHARACTERS = 16, 100, 1000
MAX_NUMBER = 2**53
"""Beyond it a double cannot tell whole numbers apart."""


@dataclass(frozen=True, slots=True)
class Filter:
    """For each key of the metadata's top level the values it may have. All keys must agree, one value of each does.

    Equality is JSON's: `1` is `1.0` but neither `true` nor `"1"`; null is a null that is there, not a missing key;
    lists and objects in metadata equal nothing.
    """

    wanted: tuple[tuple[str, tuple[Scalar, ...]], ...]

    @classmethod
    def of(cls, asked: Mapping[str, Scalar | Sequence[Scalar]]) -> Filter:
        """From key -> value, or key -> list of values. Raises InvalidFilterError."""
        if not 1 <= len(asked) <= MAX_KEYS:
            raise InvalidFilterError(f"a filter has 1 to {MAX_KEYS} keys, not {len(asked)}: leave it out to search all")
        return cls(tuple(sorted((_text(key), _values(key, value)) for key, value in asked.items())))

    def passes(self, metadata: Metadata) -> bool:
        """Whether an identity with that metadata is looked at."""
        return all(
            key in metadata and any(_equal(metadata[key], value) for value in values) for key, values in self.wanted
        )


def _equal(held: object, value: Scalar) -> bool:
    if isinstance(held, bool) or isinstance(value, bool) or held is None or value is None:
        return held is value
    if isinstance(held, str) or isinstance(value, str):
        return type(held) is type(value) and held == value
    return isinstance(held, int | float) and held == value


def _values(key: str, asked: Scalar | Sequence[Scalar]) -> tuple[Scalar, ...]:
    values: tuple[Any, ...] = tuple(asked) if isinstance(asked, list | tuple) else (asked,)
    if not 1 <= len(values) <= MAX_VALUES:
        raise InvalidFilterError(f"filter key {key[:40]!r} has {len(values)} values, expected 1 to {MAX_VALUES}")
    return tuple(_scalar(key, value) for value in values)


def _scalar(key: str, value: Any) -> Scalar:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) <= MAX_NUMBER:
        return value
    raise InvalidFilterError(f"filter key {key[:40]!r}: expected text, a number of up to 2^53, true, false or null")


def _text(text: str) -> str:
    if len(text) > MAX_CHARACTERS or any(one == "\0" or "\ud800" <= one <= "\udfff" for one in text):
        raise InvalidFilterError(
            f"filter text {text[:40]!r}: expected at most {MAX_CHARACTERS} characters, without NUL and lone surrogates"
        )
    return text
