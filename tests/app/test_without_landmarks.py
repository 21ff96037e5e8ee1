"""A detector that finds no landmarks: what is refused with an embedder that aligns, and works with one of boxes."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest

from app import answers
from app.build import open_service
from app.errors import LandmarksMissingError, LowQualityError, kind_of
from app.images import decode
from app.schemas import (
    AnnotateOptions,
    DetectOptions,
    EmbedOptions,
    EnrollOptions,
    QualityFilter,
    RecognizeOptions,
    VerifyOptions,
)
from app.service import FaceService
from app.settings import Settings
from engines.crops import Cropper
from engines.detector import Detections
from engines.importing import Expected, import_model
from engines.models import SHIPPED, ModelStore
from tests.boxes_only import write_boxes_only
from tests.engines.families.networks import Net

MARGIN = 20


def opened(folder: Path, embedder: str) -> Iterator[FaceService]:
    """The service with the shipped detector less its landmarks; `boxed` is a small embedder of boxes."""
    store = ModelStore(SHIPPED, folder / "models")
    write_boxes_only(store)
    net = Net(0)
    cells = net.op("Conv", "input", net.normal(4, 3, 16, 16, scale=0.2), strides=[16, 16])
    net.op("MatMul", net.op("Flatten", cells), net.normal(400, 32, scale=0.2), to="embedding")
    upstream = net.save(folder / "up.onnx", ["n", 3, 160, 160], {"embedding": ["n", 32]}, 13)
    import_model(upstream, into=store, family="facenet", name="boxed", expected=Expected(margin_px=MARGIN))
    with open_service(Settings(data_dir=folder, detector="boxes_only", embedder=embedder)) as service:
        yield service


@pytest.fixture(scope="module")
def aligning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceService]:
    yield from opened(tmp_path_factory.mktemp("aligning"), "mobilefacenet_256")


@pytest.fixture(scope="module")
def boxing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaceService]:
    yield from opened(tmp_path_factory.mktemp("boxing"), "boxed")


def enrol(service: FaceService, picture: bytes, options: EnrollOptions) -> answers.EnrollAnswer:
    line = service.enroll([service.prepare(picture, options)], options, request_id="r")
    return answers.EnrollAnswer.model_validate_json(line)


def test_detect_works_and_tells_no_landmarks(aligning: FaceService, service: FaceService, group: bytes) -> None:
    found, usual = (each.detect(group, DetectOptions())["faces"] for each in (aligning, service))
    assert [face["landmarks"] for face in found] == [[], []]
    assert [face["box"] for face in found] == [face["box"] for face in usual]
    for face in found:
        answers.DetectedFace.model_validate(face)
    picture, media = aligning.annotate(group, AnnotateOptions(recognize=False))
    assert (media, decode(picture, max_pixels=10**7).shape) == ("image/jpeg", decode(group, max_pixels=10**7).shape)


@pytest.mark.parametrize(
    "ask",
    [
        lambda service, picture: service.recognize(picture, RecognizeOptions()),
        lambda service, picture: service.embed(picture, EmbedOptions()),
        lambda service, picture: service.verify(picture, picture, VerifyOptions()),
        lambda service, picture: service.verify(picture, None, VerifyOptions(identity="alice")),
        lambda service, picture: service.annotate(picture, AnnotateOptions()),
        lambda service, picture: service.detect(picture, DetectOptions.model_validate({"return": ["quality"]})),
        lambda service, picture: service.detect(picture, DetectOptions.model_validate({"return": ["crop"]})),
        lambda service, picture: service.prepare(picture, EnrollOptions(identity="alice")),
    ],
    ids=["recognize", "embed", "verify", "verify identity", "annotate", "quality", "crop", "enrol"],
)
def test_what_needs_aligned_faces_is_refused(
    aligning: FaceService, astronaut: bytes, ask: Callable[[FaceService, bytes], object]
) -> None:
    with pytest.raises(
        LandmarksMissingError, match=r"FACESERVE_DETECTOR .*retinaface.*FACESERVE_EMBEDDER .*facenet"
    ) as e:
        ask(aligning, astronaut)
    assert (kind_of(e.value).status, kind_of(e.value).code) == (409, "landmarks_missing")


def test_a_picture_without_faces_is_refused_alike(aligning: FaceService) -> None:
    empty = cv2.imencode(".png", np.full((200, 300, 3), 90, np.uint8))[1].tobytes()
    with pytest.raises(LandmarksMissingError):
        aligning.recognize(empty, RecognizeOptions())
    assert aligning.detect(empty, DetectOptions())["faces"] == []


def test_ready_crops_are_embedded_all_the_same(aligning: FaceService, service: FaceService, astronaut: bytes) -> None:
    crop = cv2.imencode(".png", decode(astronaut, max_pixels=10**7)[60:172, 170:282])[1].tobytes()
    ours, usual = (each.embed(crop, EmbedOptions(aligned=True))["faces"][0] for each in (aligning, service))
    assert ours["embedding"] == usual["embedding"]


def test_boxes_are_recognised_without_landmarks(boxing: FaceService, astronaut: bytes, hopper: bytes) -> None:
    enrol(boxing, astronaut, EnrollOptions(identity="eileen"))
    enrol(boxing, hopper, EnrollOptions(identity="grace"))
    wanted = RecognizeOptions.model_validate({"threshold": 0.99, "return": ["landmarks", "quality", "crop"]})
    [face] = boxing.recognize(astronaut, wanted)["faces"]
    assert (face["identity"], face["landmarks"]) == ("eileen", [])
    assert {name for name, value in face["quality"].items() if value is None} == {"yaw", "pitch", "roll"}
    answers.RecognizedFace.model_validate(orjson.loads(orjson.dumps(face)))
    assert boxing.verify(hopper, None, VerifyOptions(identity="grace", threshold=0.99))["match"]
    [stored] = list(boxing.gallery.identity("default", "grace").faces)
    assert set(stored.quality) == {"score", "sharpness", "size_px"}


def test_the_crop_is_the_box_with_its_margin(boxing: FaceService, astronaut: bytes) -> None:
    image = decode(astronaut, max_pixels=10**7)
    [face] = boxing.embed(astronaut, EmbedOptions.model_validate({"return": ["crop"]}))["faces"]
    crop = decode(base64.b64decode(face["crop"]), max_pixels=10**6)
    [found] = boxing.detect(astronaut, DetectOptions())["faces"]
    x, y, w, h = (found["box"][side] for side in "xywh")
    detections = Detections(
        np.array([[x, y, x + w, y + h]], np.float32), np.ones(1, np.float32), np.empty((1, 0, 2), np.float32)
    )
    np.testing.assert_array_equal(crop, Cropper("box", (160, 160), MARGIN).cut(image, detections)[0])
    again = boxing.embed(base64.b64decode(face["crop"]), EmbedOptions(aligned=True))["faces"][0]
    np.testing.assert_allclose(again["embedding"], face["embedding"], atol=1e-6)


def test_a_pose_limit_cannot_be_kept_where_the_pose_is_not_known(boxing: FaceService, astronaut: bytes) -> None:
    def asking(**limits: float) -> EnrollOptions:
        return EnrollOptions(identity="limited", quality_filter=QualityFilter.model_validate(limits))

    with pytest.raises(LandmarksMissingError, match="leave out max_yaw, max_roll"):
        boxing.prepare(astronaut, asking(max_yaw=30, max_roll=45))
    with pytest.raises(LowQualityError, match="size_px"):
        boxing.prepare(astronaut, asking(min_size_px=5000))
    assert enrol(boxing, astronaut, asking(min_score=0.1, max_pitch=180)).created
