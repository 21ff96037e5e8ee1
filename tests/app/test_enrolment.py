"""The answer to an enrolment: whom it warns of, and what of it is kept for a repeated request."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from app import answers, enrolment
from app.build import open_service
from app.schemas import EnrollOptions
from app.service import FaceService
from app.settings import Settings
from gallery.types import Enrolment, Match, NewFace, StorageError
from tests.app.test_service import cv2_mirrored


def enrol(
    service: FaceService, picture: bytes, identity: str, key: tuple[str, str] | None = None, **options: Any
) -> answers.EnrollAnswer:
    asked = EnrollOptions(identity=identity, **options)
    line = service.enroll([service.prepare(picture, asked)], asked, request_id="r", idempotency=key)
    return answers.EnrollAnswer.model_validate_json(line)


def warned_of(answer: answers.EnrollAnswer) -> list[str] | None:
    return None if answer.warnings is None else [warning.identity for warning in answer.warnings]


def test_the_same_face_under_another_name_is_a_warning_not_a_refusal(
    service: FaceService, astronaut: bytes, hopper: bytes
) -> None:
    service.new_collection("twins")
    assert warned_of(enrol(service, astronaut, "eileen", collection="twins")) == []
    assert warned_of(enrol(service, hopper, "grace", collection="twins")) == []
    answer = enrol(service, cv2_mirrored(astronaut), "Collins", collection="twins")
    assert (answer.created, warned_of(answer)) == (True, ["eileen"])
    assert answer.warnings is not None
    assert answer.warnings[0].code == "similar_identity"
    assert 0.5 < answer.warnings[0].similarity <= 1
    assert warned_of(enrol(service, cv2_mirrored(astronaut), "Collins", collection="twins")) == ["eileen"]
    assert warned_of(enrol(service, hopper, "Collins", collection="twins", warn_similar=False)) is None
    assert service.gallery.collection("twins").faces == 4


def test_a_repeated_request_names_nobody_else(service: FaceService, astronaut: bytes) -> None:
    """The kept answer goes with its own identity: who is erased must not stay in another's."""
    service.new_collection("repeated")
    enrol(service, astronaut, "a name to be erased", collection="repeated")
    options = EnrollOptions(identity="second", collection="repeated")
    key = ("key", "fingerprint")
    first = enrol(service, cv2_mirrored(astronaut), "second", key, collection="repeated")
    assert warned_of(first) == ["a name to be erased"]
    kept = service.recall(options, *key)
    assert kept is not None
    assert b"to be erased" not in kept
    again = enrol(service, cv2_mirrored(astronaut), "second", key, collection="repeated")
    assert again.model_dump_json() == answers.EnrollAnswer.model_validate_json(kept).model_dump_json()
    assert again == first.model_copy(update={"warnings": None})


def test_the_setting_turns_it_off_and_a_request_on(tmp_path_factory: pytest.TempPathFactory, astronaut: bytes) -> None:
    with open_service(Settings(data_dir=tmp_path_factory.mktemp("quiet"), warn_similar=False)) as quiet:
        enrol(quiet, astronaut, "eileen")
        assert warned_of(enrol(quiet, cv2_mirrored(astronaut), "Collins")) is None
        assert warned_of(enrol(quiet, cv2_mirrored(astronaut), "Collins", warn_similar=True)) == ["eileen"]


@pytest.mark.parametrize("key", [None, ("key", "fingerprint")])
def test_what_is_enrolled_is_answered_so_even_if_nobody_can_look(
    service: FaceService, astronaut: bytes, caplog: pytest.LogCaptureFixture, key: tuple[str, str] | None
) -> None:
    def fails(collection: str, done: Enrolment, faces: Sequence[NewFace]) -> list[Match] | None:
        raise StorageError("the disk is on fire")

    name = f"unlooked{bool(key)}"
    service.new_collection(name)
    options = EnrollOptions(identity="eileen", collection=name)
    digest = service.gallery.collection(name).embedder
    request = enrolment.Request([service.prepare(astronaut, options)], options, digest, "the request")
    with caplog.at_level(logging.WARNING):
        answer = orjson.loads(enrolment.enroll(service.gallery, request, key, fails))
    assert (answer["created"], answer["warnings"]) == (True, None)
    assert "request the request was enrolled, but not compared" in caplog.text
    assert service.gallery.collection(name).faces == 1
