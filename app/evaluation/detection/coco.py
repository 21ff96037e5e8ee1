"""COCO's annotations: one JSON file. Layout: https://cocodataset.org/#format-data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson

from app.evaluation.detection.annotations import Entry, Face
from app.evaluation.photos import EvaluationError


def read(file: Path) -> list[Entry]:
    """The photos under `images` with the boxes (x, y, width, height, counted from 0) under `annotations`; those marked
    `iscrowd` or `ignore` are ignored ones. Raises EvaluationError naming the entry that makes no sense."""
    try:
        told = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        raise EvaluationError(f"{file}, line {error.lineno}: {error.msg}; expected JSON") from None
    photos = _list(told, "images", file)
    faces = _list(told, "annotations", file)
    entries: dict[Any, Entry] = {}
    for number, each in enumerate(photos):
        _add_photo(entries, each, f"{file}, images[{number}]")
    for number, each in enumerate(faces):
        where = f"{file}, annotations[{number}]"
        _entry_of(entries, each, where).faces.append(_face(each, where))
    return list(entries.values())


def _list(told: Any, name: str, file: Path) -> list[Any]:
    found = told.get(name) if isinstance(told, dict) else None
    if not isinstance(found, list):
        raise EvaluationError(f"{file} has no list `{name}`; expected an object as COCO has it")
    return found


def _add_photo(entries: dict[Any, Entry], given: Any, where: str) -> None:
    match given:
        case {"id": int() | str() as key, "file_name": str(name)} if name and key not in entries:
            entries[key] = Entry(name, (name,))
        case _:
            raise EvaluationError(f"{where}: {_short(given)}; expected an id of its own and a file_name")


def _entry_of(entries: dict[Any, Entry], given: Any, where: str) -> Entry:
    match given:
        case {"image_id": int() | str() as key} if key in entries:
            return entries[key]
        case _:
            raise EvaluationError(f"{where}: {_short(given)}; expected the id of an image as image_id")


def _face(given: dict[str, Any], where: str) -> Face:
    match given.get("bbox"):
        case [int() | float() as x, int() | float() as y, int() | float() as width, int() | float() as height]:
            face = Face((x, y, x + width, y + height), ignored=bool(given.get("iscrowd") or given.get("ignore")))
        case _:
            face = Face((math.nan,) * 4)
    if not face.has_area or not all(map(math.isfinite, face.box)):
        raise EvaluationError(f"{where}: bbox {_short(given.get('bbox'))}; expected x, y, width and height in px")
    return face


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
