"""Ends of identities as clients write them, and what becomes of them inside."""

from __future__ import annotations

import math
import time
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.enrolment import _end
from app.moments import moment_json
from app.routes.collections import terms_of
from app.routes.gallery import _fingerprint
from app.schemas import EnrollOptions, IdentityChange, NewCollection
from app.sdk import FaceClient
from app.service import FaceService
from app.wire import Asked
from gallery.names import LAST_MOMENT
from gallery.types import Terms


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1_795_285_353.5, "2026-11-21T18:22:33.500Z"),
        (LAST_MOMENT, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_moment_is_told_in_utc(seconds: float | None, told: str | None) -> None:
    assert moment_json(seconds) == told


@given(
    st.datetimes(datetime(2100, 1, 1), datetime(9998, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
)
def test_whatever_the_offset_it_is_that_moment(local: datetime, offset_min: int) -> None:
    moment = local.replace(tzinfo=timezone(timedelta(minutes=offset_min)))
    end = _end(EnrollOptions(identity="alice", expires_at=moment.isoformat()))
    assert end is not None
    told = moment_json(end)
    assert told is not None
    assert abs(datetime.fromisoformat(told.replace("Z", "+00:00")) - moment) < timedelta(milliseconds=2)


def test_a_lifetime_counts_from_the_enrolment() -> None:
    options = EnrollOptions(identity="alice", ttl_s=60)
    before = time.time()
    end = _end(options)
    assert end is not None
    assert before + 60 <= end <= time.time() + 60
    assert _end(EnrollOptions(identity="alice")) is None


def test_of_a_change_null_is_never_and_silence_is_nothing() -> None:
    assert IdentityChange(expires_at=None).is_to_expire
    assert not IdentityChange(identity="bob").is_to_expire
    with pytest.raises(ValidationError, match="expires_at"):
        IdentityChange()


def test_a_collections_terms() -> None:
    assert terms_of(NewCollection(name="guests", ttl_s=60)) == Terms(ttl_s=60)


def test_a_request_without_an_end_has_the_fingerprint_it_had_before_there_were_ends() -> None:
    """Sent again after an update with the same Idempotency-Key, it is still the same request."""
    plain = _fingerprint(Asked(EnrollOptions(identity="alice"), [b"picture"], single=True))
    assert plain == "d054776a326cc1ab04f082dd851575689c1bed3af0fbd77322cb25150e911dbe"
    ends = [{"ttl_s": 60}, {"ttl_s": 61}, {"expires_at": "2099-01-01T00:00:00Z"}]
    asked = [Asked(EnrollOptions(identity="alice", **end), [b"picture"], single=True) for end in ends]  # type: ignore[arg-type]
    assert len({plain, *map(_fingerprint, asked)}) == 4


def test_the_library_takes_dates_and_lifetimes(service: FaceService, astronaut: bytes) -> None:
    service.new_collection("ends")
    faces = FaceClient(service)
    moment = datetime(2099, 1, 1, tzinfo=timezone.utc)
    faces.enroll(astronaut, identity="eileen", collection="ends", expires_at=moment)
    assert service.gallery.identity("ends", "eileen").expires_at == moment.timestamp()
    faces.enroll(astronaut, identity="eileen", collection="ends", ttl_s=3600)
    assert service.gallery.identity("ends", "eileen").expires_at == pytest.approx(time.time() + 3600, abs=600)
    service.gallery.update_identity("ends", "eileen", expires_at=math.inf)
    assert service.gallery.identity("ends", "eileen").expires_at is None
