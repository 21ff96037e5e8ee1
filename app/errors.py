"""One table: what went wrong -> what the client reads (RFC 9457 problem+json)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.audit.errors import AuditUnavailableError, UnrecordedError
from app.images import ImageTooLargeError, InvalidImageError, UnsupportedImageError
from engines import base as engines
from gallery import types as gallery


class ServiceError(Exception):
    """A refusal of the service itself. `errors` lists the fields at fault, `retry_after_s` when to come back."""

    def __init__(self, detail: str, *, errors: Sequence[dict[str, Any]] = (), retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.errors = list(errors)
        self.retry_after_s = retry_after_s


class InvalidRequestError(ServiceError): ...


class BodyTooLargeError(ServiceError): ...


class UnsupportedBodyError(ServiceError): ...


class BodyTimeoutError(ServiceError): ...


class DeadlineError(ServiceError): ...


class OverloadedError(ServiceError): ...


class NotReadyError(ServiceError): ...


class UnauthorizedError(ServiceError): ...


class RouteNotFoundError(ServiceError): ...


class MethodNotAllowedError(ServiceError):
    """`allowed` is for the Allow header."""

    def __init__(self, detail: str, *, allowed: str) -> None:
        super().__init__(detail)
        self.allowed = allowed


class FaceNotDetectedError(ServiceError): ...


class MultipleFacesError(ServiceError): ...


class LowQualityError(ServiceError): ...


class LandmarksMissingError(ServiceError): ...


@dataclass(frozen=True, slots=True)
class Kind:
    """How one family of errors looks on the wire. `told`: its messages are for clients, and name nothing internal."""

    status: int
    code: str
    title: str
    told: bool = True


KINDS: dict[type[Exception], Kind] = {
    InvalidRequestError: Kind(422, "invalid_request", "The request is not valid"),
    InvalidImageError: Kind(422, "invalid_image", "The image cannot be read"),
    UnsupportedImageError: Kind(415, "unsupported_media_type", "This image format is not accepted"),
    UnsupportedBodyError: Kind(415, "unsupported_media_type", "This content type is not accepted"),
    BodyTooLargeError: Kind(413, "body_too_large", "The body is too large"),
    ImageTooLargeError: Kind(413, "image_too_large", "The image has too many pixels"),
    FaceNotDetectedError: Kind(422, "face_not_found", "No face was found"),
    MultipleFacesError: Kind(422, "multiple_faces", "More than one face was found"),
    LowQualityError: Kind(422, "low_quality", "The face is not good enough"),
    LandmarksMissingError: Kind(409, "landmarks_missing", "The detector finds no landmarks"),
    UnauthorizedError: Kind(401, "unauthorized", "A valid key is needed"),
    RouteNotFoundError: Kind(404, "not_found", "There is no such route"),
    MethodNotAllowedError: Kind(405, "method_not_allowed", "The route does not take this method"),
    BodyTimeoutError: Kind(408, "timeout", "The body did not arrive in time"),
    DeadlineError: Kind(504, "timeout", "The answer was not ready in time"),
    OverloadedError: Kind(503, "overloaded", "The service is busy"),
    NotReadyError: Kind(503, "not_ready", "The service is not ready"),
    gallery.CollectionNotFoundError: Kind(404, "collection_not_found", "There is no such collection"),
    gallery.CollectionExistsError: Kind(409, "collection_exists", "The collection exists"),
    gallery.CollectionFullError: Kind(409, "collection_full", "The collection is full"),
    gallery.IdentityFullError: Kind(409, "identity_full", "The identity has as many faces as it may"),
    gallery.ModelMismatchError: Kind(409, "model_mismatch", "The collection was made by another embedder"),
    gallery.ReembedRefusedError: Kind(409, "reembed_refused", "The embeddings cannot be made anew"),
    gallery.NotOfferedError: Kind(422, "not_offered", "This kind of gallery does not offer it"),
    gallery.IdentityNotFoundError: Kind(404, "identity_not_found", "There is no such identity"),
    gallery.IdentityExistsError: Kind(409, "identity_exists", "The name is taken"),
    gallery.FaceNotFoundError: Kind(404, "face_id_not_found", "There is no such face"),
    gallery.InvalidNameError: Kind(422, "invalid_request", "The name is not valid"),
    gallery.InvalidCursorError: Kind(422, "invalid_request", "The cursor is not valid"),
    gallery.InvalidFilterError: Kind(422, "invalid_request", "The filter is not valid"),
    gallery.InvalidEmbeddingError: Kind(422, "invalid_request", "The embedding is not valid"),
    gallery.InvalidRecordError: Kind(422, "invalid_request", "The record cannot be imported"),
    gallery.IdempotencyConflictError: Kind(409, "idempotency_conflict", "The key was used with another body"),
    gallery.GalleryBusyError: Kind(503, "overloaded", "The gallery is busy", told=False),
    gallery.EraseIncompleteError: Kind(503, "erase_incomplete", "The erasure is not finished"),
    gallery.StorageFullError: Kind(507, "storage_full", "The gallery's disk is full", told=False),
    UnrecordedError: Kind(503, "audit_unwritten", "It may have been done, but was not recorded"),
    AuditUnavailableError: Kind(503, "audit_unavailable", "The audit cannot be written"),
    gallery.StorageError: Kind(503, "not_ready", "The gallery cannot be read or written", told=False),
    gallery.KeyRefusedError: Kind(503, "not_ready", "The gallery cannot be read or written", told=False),
    engines.EngineBusyError: Kind(503, "overloaded", "The service is busy"),
    engines.DeviceMemoryError: Kind(503, "overloaded", "The service is busy", told=False),
    engines.DeviceError: Kind(503, "not_ready", "The engines have failed", told=False),
    engines.DeviceLostError: Kind(503, "not_ready", "The engines have failed", told=False),
    engines.EngineClosedError: Kind(503, "not_ready", "The service is shutting down"),
}
INTERNAL = Kind(500, "internal", "The service failed", told=False)
DEFAULT_RETRY_AFTER_S = 1


def kind_of(error: Exception) -> Kind:
    """The row of the nearest class; INTERNAL when the table does not know the error."""
    return next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), INTERNAL)


def problem(error: Exception, *, request_id: str, instance: str) -> dict[str, Any]:
    """The problem object of `error`. Of an error that is not for clients nothing but the request's id is told."""
    kind = kind_of(error)
    untold = f"Try again later; if it stays, ask whoever runs this service to look up request {request_id}."
    answer: dict[str, Any] = {
        "type": f"urn:faceserve:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(error) if kind.told else untold,
        "instance": instance,
        "code": kind.code,
        "request_id": request_id,
    }
    if isinstance(error, ServiceError) and error.errors:
        answer["errors"] = error.errors
    return answer


def retry_after_s(error: Exception) -> int | None:
    """Seconds for the Retry-After header: every 503 has one."""
    if isinstance(error, ServiceError) and error.retry_after_s is not None:
        return error.retry_after_s
    return DEFAULT_RETRY_AFTER_S if kind_of(error).status == 503 else None
