"""The library gives the routes' JSON and frees what it opened."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.answers import DetectAnswer, EmbedAnswer, EnrollAnswer, RecognizeAnswer, SearchAnswer, VerifyAnswer
from app.sdk import open_pipeline
from engines.base import EngineClosedError


def test_base64_text_in_the_routes_json_out(tmp_path: Path, astronaut: bytes, hopper: bytes, group: bytes) -> None:
    text = base64.b64encode(astronaut).decode()
    with open_pipeline(data_dir=tmp_path) as faces:
        DetectAnswer.model_validate(faces.detect(text))
        EmbedAnswer.model_validate(faces.embed(text))
        assert EnrollAnswer.model_validate(faces.enroll(text, identity="eileen")).created
        VerifyAnswer.model_validate(faces.verify(text, hopper))
        answer = RecognizeAnswer.model_validate(faces.recognize(f"data:image/jpeg;base64,{text}"))
        assert [face.identity for face in answer.faces] == ["eileen"]
        assert faces.annotate(group).startswith(b"\xff\xd8")
    with pytest.raises(EngineClosedError):
        faces.detect(text)


def test_an_option_that_does_not_exist_is_refused(tmp_path: Path, astronaut: bytes) -> None:
    with open_pipeline(data_dir=tmp_path) as faces, pytest.raises(ValidationError, match="treshold"):
        faces.recognize(astronaut, treshold=0.4)


def test_the_library_searches_as_the_routes_do(tmp_path: Path, astronaut: bytes, hopper: bytes) -> None:
    with open_pipeline(data_dir=tmp_path) as faces:
        faces.enroll(astronaut, identity="eileen", metadata={"agency": "NASA"})
        faces.enroll(hopper, identity="grace", metadata={"agency": "Navy"})
        [face] = faces.embed(astronaut, encoding="base64")["faces"]
        asked = {"top_k": 2, "threshold": -1, "min_margin": 0.1}
        everybody = SearchAnswer.model_validate(faces.search([face["embedding"]], **asked))
        assert [match.identity for match in everybody.results[0]] == ["eileen", "grace"]
        assert everybody.decisions is not None
        assert (everybody.decisions[0].identity, everybody.decisions[0].ambiguous) == ("eileen", False)
        some = SearchAnswer.model_validate(faces.search([face["embedding"]], filter={"agency": "Navy"}, **asked))
        assert [match.identity for match in some.results[0]] == ["grace"]
        recognized = RecognizeAnswer.model_validate(faces.recognize(astronaut, filter={"agency": ["Navy", "Army"]}))
        assert recognized.faces[0].identity is None
