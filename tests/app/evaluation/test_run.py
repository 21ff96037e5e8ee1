"""A run gives what the service gives, photo by photo, whatever the photos are like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.build import open_service
from app.errors import LandmarksMissingError
from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.run import Embedded, Method, Run, open_run
from app.pipeline import Pipeline
from app.schemas import DetectOptions, EmbedOptions
from app.settings import Settings
from engines.models import SHIPPED, ModelStore
from tests.app.evaluation.run_photos import SAMPLES, blank, encoded, photos, sample
from tests.boxes_only import write_boxes_only

LARGEST = Method(face="largest")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with open_run(Settings(data_dir=tmp_path_factory.mktemp("data")), cache=None) as opened:
        yield opened


def assert_same(one: Embedded, other: Embedded) -> None:
    for field in fields(Embedded):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)


def test_a_photo_gives_what_the_service_gives(run: Run, tmp_path: Path, group: bytes) -> None:
    given = [*photos(2), Photo("group", None, group), Photo("on disk", None, SAMPLES / "astronaut.jpg")]
    result = run.embed(given, LARGEST)
    with open_service(Settings(data_dir=tmp_path)) as service:
        answers = [service.embed(photo.read(), EmbedOptions(max_faces=1))["faces"] for photo in given]
        counts = [len(service.detect(photo.read(), DetectOptions())["faces"]) for photo in given]
    embeddings = np.array([faces[0]["embedding"] for faces in answers], np.float32)
    np.testing.assert_array_equal(result.embeddings, embeddings)
    assert counts == result.faces.tolist() == [1, 1, 2, 1]
    assert result.found.all()
    assert result.unreadable == ()
    np.testing.assert_allclose(result.scores, [faces[0]["score"] for faces in answers], atol=1e-3)
    box = answers[2][0]["box"]
    corners = [box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]]
    np.testing.assert_allclose(result.boxes[2], corners, atol=0.1)
    kinds = [getattr(result, field.name).dtype for field in fields(Embedded)[:-1]]
    assert kinds == [np.float32, np.bool_, np.intp, np.float32, np.float32]


def test_detections_are_the_services_best_first(run: Run, tmp_path: Path, group: bytes) -> None:
    [few, none, nothing] = run.detect(
        [Photo("group", None, group), blank(), Photo("no picture", None, b"x")], min_score=0.3
    )
    assert few is not None
    assert none is not None
    assert nothing is None
    assert (len(few), len(none)) == (2, 0)
    assert few.scores[0] >= few.scores[1] >= 0.3
    with open_service(Settings(data_dir=tmp_path)) as service:
        faces = service.detect(group, DetectOptions(min_score=0.3))["faces"]
    np.testing.assert_allclose(few.boxes[:, 0], [face["box"]["x"] for face in faces], atol=0.1)


def test_the_central_face_may_be_another_than_the_largest(run: Run) -> None:
    canvas = np.full((400, 900, 3), 60, np.uint8)
    canvas[:400, :400] = cv2.resize(sample("astronaut"), (400, 400))
    canvas[80:280, 420:620] = cv2.resize(sample("grace_hopper")[:512], (200, 200))
    photo = Photo("two", None, encoded(canvas))
    central, largest = (run.embed([photo], method) for method in (Method(), LARGEST))
    assert central.faces.tolist() == largest.faces.tolist() == [2]
    assert central.boxes[0, 0] > 420
    assert largest.boxes[0, 2] < 400
    alone = run.embed(photos(2), Method()).embeddings
    assert (alone @ central.embeddings[0]).argmax() == 1
    assert (alone @ largest.embeddings[0]).argmax() == 0


def test_flip_adds_the_mirrored_crop(run: Run) -> None:
    [photo] = photos(1)
    crop = run.crop(photo, Method())
    assert crop is not None
    assert crop.shape == (112, 112, 3)
    mirrored = np.ascontiguousarray(crop[:, ::-1])
    ready = [Photo(name, None, encoded(each)) for name, each in (("as it is", crop), ("mirrored", mirrored))]
    straight, turned = run.embed(ready, Method(aligned=True)).embeddings
    np.testing.assert_array_equal(run.embed([photo], Method()).embeddings[0], straight)
    both = (straight + turned) / np.linalg.norm(straight + turned)
    assert straight @ both < 0.9999
    np.testing.assert_allclose(run.embed([photo], Method(flip=True)).embeddings[0], both, atol=1e-6)
    np.testing.assert_allclose(run.embed(ready, Method(flip=True, aligned=True)).embeddings, [both, both], atol=1e-6)


def test_ready_crops_are_not_detected(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was detected")

    monkeypatch.setattr(Pipeline, "detect", refuse)
    crop = sample("astronaut")[60:172, 170:282]
    result = run.embed([Photo("ready", "somebody", encoded(crop))], Method(aligned=True))
    assert (result.found.tolist(), result.faces.tolist(), result.scores.tolist()) == ([True], [1], [1.0])
    assert result.boxes.tolist() == [[0, 0, 112, 112]]
    shown = run.crop(Photo("ready", None, encoded(crop)), Method(aligned=True))
    np.testing.assert_array_equal(shown, crop)


def test_a_crop_of_another_size_is_refused(run: Run) -> None:
    odd = Photo("odd one", None, encoded(np.zeros((160, 150, 3), np.uint8)))
    with pytest.raises(EvaluationError, match=r"odd one is 160x150, but .* 112x112"):
        run.embed([odd], Method(aligned=True))
    with pytest.raises(EvaluationError, match="160x150"):
        run.crop(odd, Method(aligned=True))


def test_what_cannot_be_read_is_named_and_ends_nothing(run: Run, tmp_path: Path, astronaut: bytes) -> None:
    good, other = photos(2)
    bad = [
        Photo("gone", None, tmp_path / "gone.jpg"),
        Photo("folder", None, tmp_path),
        Photo("empty", None, b""),
        Photo("text", None, b"no picture at all"),
        Photo("cut short", None, encoded(sample("astronaut"))[:5000]),
    ]
    whole = run.embed([bad[0], good, *bad[1:], blank(), other], Method())
    assert whole.unreadable == ("gone", "folder", "empty", "text", "cut short")
    assert whole.found.tolist() == [False, True, False, False, False, False, False, True]
    assert whole.faces.tolist() == [0, 1, 0, 0, 0, 0, 0, 1]
    assert not whole.embeddings[~whole.found].any()
    assert np.isnan(whole.boxes[~whole.found]).all()
    assert np.isnan(whole.scores[~whole.found]).all()
    np.testing.assert_array_equal(whole.embeddings[[1, 7]], run.embed([good, other], Method()).embeddings)
    assert run.embed(bad, Method(aligned=True)).unreadable == whole.unreadable
    assert [run.crop(photo, Method()) for photo in (*bad, blank())] == [None] * 6
    with open_run(Settings(data_dir=tmp_path, max_image_pixels=1000), cache=None) as strict:
        assert strict.embed([good, blank()], Method()).unreadable == (good.name, "blank")


def test_scores_below_the_least_are_no_faces(run: Run) -> None:
    given = photos(2)
    assert not run.embed(given, Method(min_score=1.0)).found.any()
    assert_same(run.embed(given, Method(min_score=0.5)), run.embed(given, Method()))


def test_progress_rises_to_the_number_of_photos(run: Run) -> None:
    told: list[tuple[str, int, int]] = []
    run.embed(photos(3), Method(), progress=lambda *step: told.append(step))
    assert told == [("Embedding", done, 3) for done in range(4)]


def test_no_photos_give_empty_arrays(run: Run) -> None:
    result = run.embed([], Method())
    assert (result.embeddings.shape, result.boxes.shape, result.found.shape) == ((0, 256), (0, 4), (0,))
    assert run.detect([], min_score=0.5) == []


def test_a_photo_that_fails_ends_the_run_at_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def fail(*given: object) -> None:
        seen.append(given)
        raise RuntimeError("the network is gone")

    monkeypatch.setattr(Pipeline, "detect", fail)
    given = [Photo(str(number), None, photo.source) for number, photo in enumerate(photos(40)[20:] * 20)]
    with pytest.raises(RuntimeError, match="gone"):
        run.embed(given, Method(min_score=0.43))
    assert len(seen) < 200


def test_the_numbers_do_not_depend_on_threads_or_batches(tmp_path: Path) -> None:
    given = [*photos(7), blank()]
    results = []
    for threads, at_once in ((1, 1), (7, 1), (5, 3)):
        settings = Settings(data_dir=tmp_path, pipeline_threads=threads, concurrency=at_once, threads_per_run=at_once)
        with open_run(settings, cache=None) as opened:
            results.append(opened.embed(given, Method(flip=True)))
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])


def test_settings_for_few_requests_do_not_refuse_photos(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, concurrency=1, pipeline_threads=8, max_pending=1, max_images=1)
    with open_run(settings, cache=None) as opened:
        assert opened.embed(photos(8), Method()).found.all()


def test_a_detector_without_landmarks_is_refused_before_anything_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_boxes_only(ModelStore(SHIPPED, tmp_path / "models"))
    with open_run(Settings(data_dir=tmp_path, detector="boxes_only"), cache=None) as opened:
        [found] = opened.detect(photos(1), min_score=0.5)
        assert found is not None
        assert found.landmarks.shape == (1, 0, 2)
        monkeypatch.delattr(Pipeline, "detect")
        with pytest.raises(LandmarksMissingError, match="FACESERVE_DETECTOR"):
            opened.embed([blank()], Method())


def test_it_says_what_runs(run: Run) -> None:
    assert (run.detector.name, run.embedder.name) == ("retinaface_mnet025", "mobilefacenet_256")
    assert run.runtime["runtime"] == "onnxruntime"
    assert {"version", "device", "precision", "why"} <= set(run.runtime)
