"""A collection of another embedder: the service runs, and says what is the matter and what to do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from app.build import model_store, open_service
from app.embedders import Embedders
from app.schemas import (
    AnnotateOptions,
    DetectOptions,
    EmbedOptions,
    EnrollOptions,
    RecognizeOptions,
    SearchRequest,
    VerifyOptions,
)
from app.service import FaceService
from app.settings import Settings
from gallery.types import ModelMismatchError
from tests.pixels import write_pixels

SHIPPED = "mobilefacenet_256"


def enroll(service: FaceService, picture: bytes, **options: Any) -> bytes:
    chosen = EnrollOptions(identity="eileen", **options)
    return service.enroll([service.prepare(picture, chosen)], chosen, request_id="r")


def test_the_service_runs_and_what_needs_the_embeddings_is_refused(
    tmp_path: Path, astronaut: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(data_dir=tmp_path)
    write_pixels(model_store(settings))
    with open_service(settings) as service:
        enroll(service, astronaut)
        exported = list(service.export("default"))
    assert caplog.messages == []
    other = Settings(data_dir=tmp_path, embedder="pixels")
    with caplog.at_level(logging.WARNING, "faceserve"), open_service(other) as service:
        [warning] = caplog.messages
        anew = "FACESERVE_EMBEDDER=pixels faceserve gallery reembed --all"
        for part in ("embedder loaded is pixels", f"default with {SHIPPED}", anew, f"FACESERVE_EMBEDDER={SHIPPED}"):
            assert part in warning
        refuses(service, astronaut)
        with pytest.raises(ModelMismatchError, match=f"export was made with embedder {SHIPPED}, loaded is pixels"):
            service.import_lines(exported, "elsewhere")
        works(service, astronaut)
        [about] = service.collections()
        assert (about["embedder_name"], about["fits"]) == (SHIPPED, False)
        assert service.new_collection("mine")["fits"]
        enroll(service, astronaut, collection="mine")
        [face] = service.recognize(astronaut, RecognizeOptions(collection="mine"))["faces"]
        assert face["identity"] == "eileen"


def refuses(service: FaceService, picture: bytes) -> None:
    dimension = service.dimension
    said = (
        rf"^collection 'default' was made with embedder {SHIPPED}, loaded is pixels. Make .* reembed --collection "
        rf"default`\), or use another collection, or start with FACESERVE_EMBEDDER={SHIPPED}$"
    )
    for ask in (
        lambda: service.recognize(picture, RecognizeOptions()),
        lambda: service.annotate(picture, AnnotateOptions()),
        lambda: service.verify(picture, None, VerifyOptions(identity="eileen")),
        lambda: service.search(SearchRequest(embeddings=[[1.0] * dimension])),
        lambda: enroll(service, picture),
    ):
        with pytest.raises(ModelMismatchError, match=said):
            ask()


def works(service: FaceService, picture: bytes) -> None:
    assert len(service.detect(picture, DetectOptions())["faces"]) == 1
    assert len(service.embed(picture, EmbedOptions())["faces"][0]["embedding"]) == service.dimension
    assert service.verify(picture, picture, VerifyOptions())["match"]
    assert service.annotate(picture, AnnotateOptions(recognize=False))[0]
    assert service.gallery.identity("default", "eileen").faces


def test_an_embedder_that_is_gone_goes_by_its_digest(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    store = model_store(settings)
    embedders = Embedders(store, store.get(SHIPPED))
    pixels = write_pixels(store)
    assert embedders.called(pixels.digest) == "pixels"
    store.remove("pixels")
    assert embedders.called(pixels.digest) == pixels.digest[:12]
    (tmp_path / "models" / "damaged").mkdir()
    (tmp_path / "models" / "damaged" / "model.json").write_text("{")
    assert embedders.called(pixels.digest) == pixels.digest[:12]
    said = f"{pixels.digest[:12]}, loaded .* or import that embedder again"
    with pytest.raises(ModelMismatchError, match=said), embedders.naming():
        raise ModelMismatchError("", collection="c", made_by=pixels.digest, asked=embedders.loaded.digest)


def test_models_tell_all_there_is_to_know(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    write_pixels(model_store(settings), size=(160, 160), crop="box", margin_px=32)
    with open_service(settings) as service:
        models = {model["name"]: model for model in service.about.models()}
    detector, embedder, boxes = models["retinaface_mnet025"], models[SHIPPED], models["pixels"]
    assert [model["loaded"] for model in (detector, embedder, boxes)] == [True, True, False]
    assert (detector["min_score"], len(detector["landmark_order"]), detector["crop"]) == (0.5, 5, None)
    assert (embedder["crop"], embedder["margin_px"], embedder["min_score"]) == ("template", 0, None)
    assert (boxes["crop"], boxes["margin_px"], boxes["urls"]) == ("box", 32, ["https://example.org/pixels.onnx"])
    assert (boxes["licence"], boxes["commercial_use"], boxes["thresholds"]["verify"]) == ("none", True, 0.999)
