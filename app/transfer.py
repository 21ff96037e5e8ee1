"""Collections as NDJSON, out and in, a line at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

import orjson

from app.errors import InvalidRequestError
from app.present import Json
from gallery.gallery import Gallery


def export_lines(gallery: Gallery, collection: str) -> Iterator[bytes]:
    """The collection's records, each a line with its end."""
    for record in gallery.export(collection):
        yield orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def import_lines(gallery: Gallery, lines: Iterable[bytes], embedder: str, collection: str | None) -> Json:
    """Feeds NDJSON lines to the gallery. Raises InvalidRequestError with the number of a line that is not JSON."""
    return asdict(gallery.import_records(_records(lines), embedder=embedder, collection=collection))


def _records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InvalidRequestError(f"line {number} is not JSON: {error}") from None
        if not isinstance(record, dict):
            raise InvalidRequestError(f"line {number} is no JSON object")
        yield record
