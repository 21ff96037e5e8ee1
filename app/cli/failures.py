"""What can go wrong, as plain lines for the terminal."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

FOLLOWS_FROM_ANOTHER = "default_factory_not_called"
"""pydantic's word for a default that could not be worked out because another value is wrong."""


def expected() -> tuple[type[Exception], ...]:
    """The errors that are an answer; any other is a fault of the program and keeps its traceback."""
    from app.errors import ServiceError
    from app.evaluation.photos import EvaluationError
    from app.images import ImageError
    from engines.base import EngineError
    from gallery.types import GalleryError

    return (ValidationError, ServiceError, ImageError, EngineError, EvaluationError, GalleryError, OSError)


def refusals() -> tuple[type[Exception], ...]:
    """The errors that concern one picture and leave the next one untouched."""
    from app.errors import FaceNotDetectedError, LowQualityError, MultipleFacesError
    from app.images import ImageError
    from gallery.types import CollectionFullError, GalleryBusyError, IdentityFullError, InvalidNameError

    return (
        ImageError,
        FaceNotDetectedError,
        MultipleFacesError,
        LowQualityError,
        InvalidNameError,
        CollectionFullError,
        IdentityFullError,
        GalleryBusyError,
        OSError,
    )


def code_of(error: Exception) -> str:
    """The code that the service's table gives the error; `unreadable` for a file that cannot be opened."""
    from app.errors import kind_of

    return "unreadable" if isinstance(error, OSError) else kind_of(error).code


def explain(error: Exception) -> list[str]:
    """The error in lines that say what was given and how to mend it."""
    if isinstance(error, ValidationError):
        prefix = "FACESERVE_" if error.title == "Settings" else ""
        faults = [fault for fault in error.errors(include_url=False) if fault["type"] != FOLLOWS_FROM_ANOTHER]
        return [_field_line(prefix, fault) for fault in faults]
    if isinstance(error, OSError) and error.strerror:
        return [f"{error.filename}: {error.strerror}" if error.filename else error.strerror]
    return [str(error)]


def exit_code(error: Exception) -> int:
    """2 where the command was given something wrong, as for a wrong flag; else 1."""
    return 2 if isinstance(error, ValidationError) else 1


def _field_line(prefix: str, fault: Any) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    name = ".".join(map(str, fault["loc"]))
    given = "" if "key" in name or name == "gallery" else f"; given: {fault['input']!r}"
    return f"{prefix + name.upper() if prefix else name}: {message}{given}"
