"""The service without HTTP, on real pictures with the shipped pair."""

from __future__ import annotations

import base64
from pathlib import Path

import cv2
import numpy as np
import orjson
import pytest

from app import answers
from app.build import open_service
from app.errors import FaceNotDetectedError, InvalidRequestError, LowQualityError, MultipleFacesError
from app.images import InvalidImageError, decode
from app.schemas import (
    AnnotateOptions,
    DetectOptions,
    EmbedOptions,
    EnrollOptions,
    QualityFilter,
    RecognizeOptions,
    SearchRequest,
    VerifyOptions,
)
from app.service import FaceService
from app.settings import Settings
from gallery.types import CollectionNotFoundError, IdentityNotFoundError, ModelMismatchError

EMPTY = cv2.imencode(".png", np.full((200, 300, 3), 90, np.uint8))[1].tobytes()


def answer_of(service: FaceService, picture: bytes, identity: str, collection: str = "default") -> answers.EnrollAnswer:
    options = EnrollOptions(identity=identity, collection=collection)
    line = service.enroll([service.prepare(picture, options)], options, request_id="r")
    return answers.EnrollAnswer.model_validate_json(line)


@pytest.fixture(scope="module")
def known(service: FaceService, astronaut: bytes, hopper: bytes) -> str:
    service.new_collection("known")
    answer_of(service, astronaut, "eileen", "known")
    answer_of(service, hopper, "grace", "known")
    return "known"


def test_detect_finds_the_one_face_where_it_is(service: FaceService, astronaut: bytes) -> None:
    found = service.detect(astronaut, DetectOptions())
    image = decode(astronaut, max_pixels=10**8)
    assert found["image"] == {"width": image.shape[1], "height": image.shape[0]}
    [face] = found["faces"]
    box, eyes = face["box"], face["landmarks"][:2]
    assert face["landmarks"][0]["name"] == "left_eye"
    for point in face["landmarks"]:
        assert box["x"] < point["x"] < box["x"] + box["w"]
        assert box["y"] < point["y"] < box["y"] + box["h"]
    assert eyes[0]["x"] < eyes[1]["x"]


def test_normalized_is_the_same_box_over_the_image_size(service: FaceService, group: bytes) -> None:
    pixels = service.detect(group, DetectOptions())
    shares = service.detect(group, DetectOptions(normalized=True))
    width, height = pixels["image"]["width"], pixels["image"]["height"]
    for face, share in zip(pixels["faces"], shares["faces"], strict=True):
        assert share["box"]["x"] * width == pytest.approx(face["box"]["x"], abs=0.01)
        assert share["box"]["h"] * height == pytest.approx(face["box"]["h"], abs=0.01)


def test_return_says_what_each_face_carries(service: FaceService, astronaut: bytes) -> None:
    [bare] = service.detect(astronaut, DetectOptions.model_validate({"return": []}))["faces"]
    assert bare.keys() == {"box", "score"}
    wanted = DetectOptions.model_validate({"return": ["quality", "crop", "landmarks"]})
    [face] = service.detect(astronaut, wanted)["faces"]
    crop = decode(base64.b64decode(face["crop"]), max_pixels=10**6)
    assert crop.shape == (112, 112, 3)
    assert abs(face["quality"]["roll"]) < 20
    answers.DetectedFace.model_validate(face)


def test_max_faces_keeps_the_largest(service: FaceService, group: bytes) -> None:
    both = service.detect(group, DetectOptions())["faces"]
    assert len(both) == 2
    [one] = service.detect(group, DetectOptions(max_faces=1))["faces"]
    assert one == max(both, key=lambda face: face["box"]["w"] * face["box"]["h"])
    smaller = min(min(face["box"]["w"], face["box"]["h"]) for face in both)
    assert len(service.detect(group, DetectOptions(min_face_px=int(smaller) + 2))["faces"]) == 1


def test_no_face_is_no_error(service: FaceService, known: str) -> None:
    assert service.detect(EMPTY, DetectOptions())["faces"] == []
    assert service.recognize(EMPTY, RecognizeOptions(collection=known))["faces"] == []
    assert service.embed(EMPTY, EmbedOptions())["faces"] == []


def test_everybody_in_the_group_is_recognised(service: FaceService, known: str, group: bytes) -> None:
    answer = service.recognize(group, RecognizeOptions(collection=known, top_k=2))
    answers.RecognizeAnswer.model_validate({"request_id": "r"} | orjson.loads(orjson.dumps(with_queue(answer))))
    assert {face["identity"] for face in answer["faces"]} == {"eileen", "grace"}
    for face in answer["faces"]:
        assert face["matches"][0]["similarity"] == face["similarity"] >= answer["threshold"]


def with_queue(answer: dict[str, object]) -> dict[str, object]:
    timings = answer["timings_ms"]
    assert isinstance(timings, dict)
    return answer | {"timings_ms": {"queue": 0.0} | timings}


def test_below_the_threshold_a_face_is_nobody(service: FaceService, known: str, group: bytes) -> None:
    answer = service.recognize(group, RecognizeOptions(collection=known, threshold=0.999))
    assert [(face["identity"], face["matches"]) for face in answer["faces"]] == [(None, []), (None, [])]
    assert answer["threshold"] == 0.999


def test_only_the_largest_face_is_searched_when_asked(service: FaceService, known: str, group: bytes) -> None:
    answer = service.recognize(group, RecognizeOptions(collection=known, face_selection="largest"))
    assert len(answer["faces"]) == 1


def test_embedding_encodings_agree(service: FaceService, astronaut: bytes) -> None:
    [listed] = service.embed(astronaut, EmbedOptions())["faces"]
    [packed] = service.embed(astronaut, EmbedOptions(encoding="base64"))["faces"]
    np.testing.assert_array_equal(
        np.frombuffer(base64.b64decode(packed["embedding"]), "<f4"), np.float32(listed["embedding"])
    )
    assert np.linalg.norm(listed["embedding"]) == pytest.approx(1, abs=1e-5)


def test_a_ready_crop_embeds_like_its_photo(service: FaceService, astronaut: bytes) -> None:
    [face] = service.embed(astronaut, EmbedOptions.model_validate({"return": ["crop"]}))["faces"]
    [again] = service.embed(base64.b64decode(face["crop"]), EmbedOptions(aligned=True))["faces"]
    assert np.dot(face["embedding"], again["embedding"]) == pytest.approx(1, abs=1e-5)
    with pytest.raises(InvalidRequestError, match="112 × 112"):
        service.embed(astronaut, EmbedOptions(aligned=True))


def test_search_finds_by_ready_embedding_of_any_length(service: FaceService, known: str, astronaut: bytes) -> None:
    [face] = service.embed(astronaut, EmbedOptions())["faces"]
    scaled = [7 * value for value in face["embedding"]]
    [[match]] = service.search(SearchRequest(embeddings=[scaled], collection=known))["results"]
    assert match["identity"] == "eileen"
    assert match["similarity"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("embedding", [[1.0, 2.0], [0.0] * 256, "AAAA", "AAAAAAA="])
def test_search_refuses_what_is_no_embedding(service: FaceService, known: str, embedding: list[float] | str) -> None:
    with pytest.raises(InvalidRequestError, match=r"embeddings\[0\]"):
        service.search(SearchRequest(embeddings=[embedding], collection=known))


def test_verify_two_images(service: FaceService, astronaut: bytes, hopper: bytes, group: bytes) -> None:
    same = service.verify(astronaut, cv2_mirrored(astronaut), VerifyOptions())
    assert same["match"]
    assert same["similarity"] > 0.6
    other = service.verify(astronaut, hopper, VerifyOptions())
    assert not other["match"]
    assert other["similarity"] < other["threshold"]
    with pytest.raises(FaceNotDetectedError, match="reference"):
        service.verify(astronaut, EMPTY, VerifyOptions())
    answers.VerifyAnswer.model_validate({"request_id": "r"} | orjson.loads(orjson.dumps(with_queue(other))))


def cv2_mirrored(picture: bytes) -> bytes:
    return cv2.imencode(".jpg", decode(picture, max_pixels=10**8)[:, ::-1])[1].tobytes()


def test_verify_an_image_and_an_identity(service: FaceService, known: str, hopper: bytes) -> None:
    assert service.verify(hopper, None, VerifyOptions(identity="grace", collection=known))["match"]
    assert not service.verify(hopper, None, VerifyOptions(identity="eileen", collection=known))["match"]
    with pytest.raises(IdentityNotFoundError):
        service.verify(hopper, None, VerifyOptions(identity="nobody", collection=known))


def test_enrolment_wants_exactly_one_face(service: FaceService, group: bytes) -> None:
    options = EnrollOptions(identity="x")
    with pytest.raises(FaceNotDetectedError):
        service.prepare(EMPTY, options)
    with pytest.raises(MultipleFacesError, match="2 faces"):
        service.prepare(group, options)
    service.prepare(group, EnrollOptions(identity="x", max_faces=1))


def test_quality_filter_names_what_is_missed(service: FaceService, astronaut: bytes) -> None:
    strict = EnrollOptions(identity="x", quality_filter=QualityFilter(min_size_px=5000, min_score=0.0))
    with pytest.raises(LowQualityError, match=r"size_px .* < 5000"):
        service.prepare(astronaut, strict)


def test_a_missed_limit_is_named_for_programs_too(service: FaceService, astronaut: bytes) -> None:
    [face] = service.detect(astronaut, DetectOptions.model_validate({"return": ["quality"]}))["faces"]
    sharp, score = face["quality"]["sharpness"], face["score"]
    assert abs(face["quality"]["roll"]) > 0.01
    strict = QualityFilter(min_sharpness=min(1, sharp + 0.01), min_detection_score=score - 0.01, max_roll=0)
    with pytest.raises(LowQualityError, match=r"sharpness .* < .*, \|roll\| .* > 0") as refusal:
        service.prepare(astronaut, EnrollOptions(identity="x", quality_filter=strict))
    assert [one["field"] for one in refusal.value.errors] == [
        "quality_filter.min_sharpness",
        "quality_filter.max_roll",
    ]
    with pytest.raises(LowQualityError, match=r"^[^,]*detection_score .* < 1$"):
        service.prepare(astronaut, EnrollOptions(identity="x", quality_filter=QualityFilter(min_detection_score=1)))
    passing = QualityFilter(min_sharpness=sharp - 0.01, min_detection_score=score - 0.01, max_roll=20, max_yaw=90)
    service.prepare(astronaut, EnrollOptions(identity="x", quality_filter=passing))


def test_the_same_picture_again_is_a_duplicate(service: FaceService, astronaut: bytes) -> None:
    service.new_collection("twice")
    first = answer_of(service, astronaut, "eileen", "twice")
    again = answer_of(service, astronaut, "eileen", "twice")
    assert (first.created, again.created) == (True, False)
    assert again.duplicate_of == first.face_ids[0]
    assert again.face_ids == []
    assert service.gallery.collection("twice").faces == 1


def test_of_several_images_the_good_ones_are_enrolled(service: FaceService, astronaut: bytes) -> None:
    options = EnrollOptions(identity="several")
    broken = InvalidImageError("broken")
    answer = answers.EnrollAnswer.model_validate_json(
        service.enroll([broken, service.prepare(astronaut, options)], options, request_id="r")
    )
    assert [item.model_dump(exclude_none=True) for item in answer.rejected] == [
        {"index": 0, "code": "invalid_image", "detail": "broken"}
    ]
    assert [face.index for face in answer.faces] == [1]
    with pytest.raises(InvalidImageError):
        service.enroll([broken, broken], options, request_id="r")


def test_a_failure_nobody_foresaw_is_not_reported_as_a_rejection(service: FaceService, astronaut: bytes) -> None:
    options = EnrollOptions(identity="unforeseen")
    with pytest.raises(ZeroDivisionError):
        service.enroll([service.prepare(astronaut, options), ZeroDivisionError()], options, request_id="r")


def test_another_embedders_collection_is_refused(service: FaceService, astronaut: bytes) -> None:
    service.gallery.create_collection("foreign", "0" * 64, 256)
    with pytest.raises(ModelMismatchError):
        service.recognize(astronaut, RecognizeOptions(collection="foreign"))
    with pytest.raises(ModelMismatchError):
        answer_of(service, astronaut, "eileen", "foreign")


def test_an_unknown_collection_is_refused_even_without_a_face(service: FaceService) -> None:
    with pytest.raises(CollectionNotFoundError):
        service.recognize(EMPTY, RecognizeOptions(collection="nowhere"))


def test_export_and_import_carry_everything(service: FaceService, known: str, group: bytes, tmp_path: Path) -> None:
    lines = list(service.export(known))
    with open_service(Settings(data_dir=tmp_path)) as other:
        other.import_lines(lines)
        found = other.recognize(group, RecognizeOptions(collection=known))
        assert {face["identity"] for face in found["faces"]} == {"eileen", "grace"}
        with pytest.raises(InvalidRequestError, match="line 1 "):
            other.import_lines([b"nonsense"])


def test_annotate_draws_on_a_copy(service: FaceService, known: str, group: bytes) -> None:
    jpeg, media = service.annotate(group, AnnotateOptions(collection=known))
    assert media == "image/jpeg"
    png, media = service.annotate(group, AnnotateOptions(recognize=False, format="png"))
    assert media == "image/png"
    plain, drawn = decode(group, max_pixels=10**8), decode(png, max_pixels=10**8)
    assert drawn.shape == plain.shape == decode(jpeg, max_pixels=10**8).shape
    touched = (drawn != plain).any(axis=2).mean()
    assert 0.001 < touched < 0.2


def test_crops_are_kept_only_when_told_to(service: FaceService, astronaut: bytes, tmp_path: Path) -> None:
    assert service.prepare(astronaut, EnrollOptions(identity="x")).crop_png is None
    with open_service(Settings(data_dir=tmp_path, keep_crops=True)) as keeping:
        crop = keeping.prepare(astronaut, EnrollOptions(identity="x")).crop_png
        assert crop is not None
        assert decode(crop, max_pixels=10**6).shape == (112, 112, 3)


def test_what_runs_is_told(service: FaceService) -> None:
    info = service.about.info()
    assert set(info["engines"]) == {"detector_640x640", "detector_192x192", "embedder"}
    assert all(engine["device"] == "cpu" for engine in info["engines"].values())
    assert (info["runtime"]["chosen"], info["runtime"]["device"]) == ("onnxruntime", "cpu")
    assert info["runtime"]["why"]
    assert {model["name"] for model in service.about.models() if model["loaded"]} == {
        "retinaface_mnet025",
        "mobilefacenet_256",
    }
    assert service.reasons_not_ready() == []


def test_why_it_is_not_ready_is_told_without_the_name_of_a_file(tmp_path: Path) -> None:
    with open_service(Settings(data_dir=tmp_path)) as closed:
        closed.gallery.close()
        [reason] = closed.reasons_not_ready()
    assert reason == "The gallery cannot be read or written"
    assert str(tmp_path) not in reason
