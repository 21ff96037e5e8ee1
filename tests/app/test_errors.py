"""The table of errors: each has a row, and what a row says is fit for clients."""

from __future__ import annotations

import pytest

from app.errors import KINDS, kind_of, problem, retry_after_s
from engines import base
from gallery import types
from gallery.types import GalleryBusyError, GalleryError, StorageError

INTERNAL_ENGINE_ERRORS = {base.RuntimeMissingError, base.ModelError, base.PlanError, base.CancelledError}
"""At start, or when nobody listens any more: never an answer."""


@pytest.mark.parametrize("module", [types, base])
def test_every_error_of_the_layers_below_has_a_row(module: object) -> None:
    defined = {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, (GalleryError, base.EngineError))
    } - {GalleryError, base.EngineError}
    assert defined - set(KINDS) - INTERNAL_ENGINE_ERRORS == set()


@pytest.mark.parametrize(
    "error",
    [
        StorageError("/srv/faces/gallery.db: disk I/O error"),
        GalleryBusyError("/srv/x"),
        base.DeviceMemoryError("secret"),
        base.DeviceLostError("secret"),
        KeyError("secret"),
    ],
)
def test_what_names_files_or_code_is_not_told(error: Exception) -> None:
    told = problem(error, request_id="abc", instance="/detect")
    assert "/srv" not in str(told)
    assert "secret" not in str(told)
    assert "abc" in told["detail"]


def test_an_unknown_error_is_a_500_and_a_503_says_when_to_come_back() -> None:
    assert kind_of(ZeroDivisionError()).status == 500
    assert retry_after_s(ZeroDivisionError()) is None
    assert retry_after_s(base.EngineBusyError("full")) == 1
    assert (kind_of(base.DeviceLostError()).code, retry_after_s(base.DeviceLostError())) == ("not_ready", 1)
    assert retry_after_s(types.IdentityNotFoundError("alice")) is None
