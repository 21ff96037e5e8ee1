"""`faceserve eval` on made-up people, cut from the sample photos: from the flags to the files, twice the same."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.build import model_store
from app.evaluation import flags
from app.evaluation.verification import figures, saving
from app.evaluation.verification.generated import pairs_of
from app.settings import Settings
from engines.base import Image
from tests.app.evaluation.made_up import ABOUT, crowd

pytest.importorskip("matplotlib")
Faceserve = Callable[..., Any]
PAIR = "retinaface_mnet025 + mobilefacenet_256"
LIGHTS = (0.8, 1.0, 1.2)


def read(path: Path) -> Image:
    picture = cv2.imread(str(path))
    assert picture is not None
    return cv2.resize(picture, None, fx=0.4, fy=0.4).astype(np.uint8)


def write_person(folder: Path, picture: Image, lights: tuple[float, ...] = LIGHTS) -> None:
    """Photos of one person, by the light they are in: 08.png, 10.png …"""
    folder.mkdir(parents=True)
    for light in lights:
        lit = np.clip(picture * light, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{round(10 * light):02}.png"), lit)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory, samples: Path) -> Path:
    """Two people and two made of their photos, three photos each; one without a face, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("photos") / "made up"
    eileen, grace = read(samples / "astronaut.jpg"), read(samples / "grace_hopper.jpg")
    write_person(folder / "Eileen", eileen)
    write_person(folder / "Grace", grace)
    write_person(folder / "Eileen, wide", cv2.resize(eileen, None, fx=1.6, fy=1.0).astype(np.uint8))
    write_person(folder / "Grace, wide", cv2.resize(grace, None, fx=1.6, fy=1.0).astype(np.uint8))
    write_person(folder / "wall", np.full((80, 80, 3), 128, np.uint8), (1.0,))
    (folder / "wall" / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    return folder


def told(folder: Path, name: str = "verification") -> Any:
    return json.loads((folder / f"{name}.json").read_bytes())


def test_help_of_every_part(faceserve: Faceserve) -> None:
    whole = faceserve("eval", "--help")
    assert whole.code == 0
    for part in ("verification", "identification", "detection"):
        assert part in whole.out
        done = faceserve("eval", part, "--help")
        assert done.code == 0
        assert "--replicates" in done.out


def test_verification_from_photos_to_the_report(faceserve: Faceserve, people: Path, tmp_path: Path) -> None:
    table = tmp_path / "attributes.csv"
    table.write_text("photo,light\nEileen/08.png,dim\nEileen/10,day\nGrace/10.png,day\n", "utf-8")
    done = faceserve("eval", "verification", "--images", people, "--attributes", table, "--replicates", 100)
    assert (done.code, done.err) == (0, "")
    assert PAIR in done.out
    names = ["md", "json", "roc.png", "det.png", "scores.png", "worst.png"]
    files = [f"eval/verification.{name}" if name in ("md", "json") else f"eval/verification_{name}" for name in names]
    assert re.findall(r"^written: (.*)$", done.out, re.MULTILINE) == files
    for file in files:
        assert (tmp_path / file).stat().st_size > 1000
    found = told(tmp_path / "eval")
    assert list(found) == ["machine", "models", "method", "data", "verification"]
    assert found["models"]["embedder"]["name"] == "mobilefacenet_256"
    assert found["method"] == {"face": "central", "min_score": 0.5, "flip": False, "aligned": False}
    assert found["data"]["images"] == "made up"
    figures = found["verification"]
    assert (figures["photos"], figures["people"], figures["undetected"]) == (14, 5, 2)
    assert figures["unreadable"] == ["wall/torn.jpg"]
    assert figures["thresholds"] is None
    assert {row["group"]: row["photos"] for row in figures["groups"]["light"]} == {"dim": 1, "day": 2}
    report = (tmp_path / "eval" / "verification.md").read_text("utf-8")
    assert "made up" in report
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", report):
        assert (tmp_path / "eval" / picture).is_file()
    assert str(tmp_path) not in report + json.dumps(found)


def test_again_the_figures_are_the_same_and_what_they_do_not_carry_is_not_saved(
    faceserve: Faceserve, people: Path, tmp_path: Path
) -> None:
    common = ("eval", "verification", "--images", people, "--replicates", 100)
    assert faceserve(*common, "--no-cache", "--out", "one").code == 0
    done = faceserve(*common, "--cache", "kept.sqlite3", "--out", "other", "--save")
    assert told(tmp_path / "one")["verification"] == told(tmp_path / "other")["verification"]
    assert (tmp_path / "kept.sqlite3").is_file()
    assert not (tmp_path / "data" / "evaluation.sqlite3").exists()
    assert done.code == 1
    assert "--save: no thresholds to save" in done.err
    assert not (tmp_path / "data" / "models").exists()


def test_a_pack_has_no_people_and_says_so(faceserve: Faceserve, samples: Path, tmp_path: Path) -> None:
    faces = [cv2.resize(read(samples / name)[:200], (112, 112)) for name in ("astronaut.jpg", "grace_hopper.jpg")]
    crops = [cv2.imencode(".png", face)[1].tobytes() for face in (*faces, *(cv2.flip(face, 1) for face in faces))]
    same = [True, True, False, False]
    order = [0, 2, 1, 3, 0, 1, 2, 3]
    (tmp_path / "pack.bin").write_bytes(pickle.dumps(([crops[place] for place in order], same)))
    done = faceserve("eval", "verification", "--pairs", tmp_path / "pack.bin", "--flip")
    assert done.code == 0
    found = told(tmp_path / "eval")
    assert found["models"]["detector"] is None
    assert found["verification"]["far_table"] is None
    assert found["verification"]["auc"] == {"value": 1.0, "low": None, "high": None}
    assert found["method"]["flip"]
    refused = faceserve("eval", "verification", "--pairs", tmp_path / "pack.bin", "--save")
    assert (refused.code, "a pack names no people" in refused.err) == (1, True)


def test_identification_from_photos_to_the_report(faceserve: Faceserve, people: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "known"
    for name in ("Eileen", "Grace"):
        (gallery / name).mkdir(parents=True)
        (gallery / name / "0.png").write_bytes((people / name / "10.png").read_bytes())
    done = faceserve("eval", "identification", "--gallery", gallery, "--probes", people, "--replicates", 100)
    assert (done.code, done.err) == (0, "")
    files = ["identification.md", "identification.json"]
    files += [f"identification_{name}.png" for name in ("cmc", "open_set", "worst")]
    assert re.findall(r"^written: eval/(.*)$", done.out, re.MULTILINE) == files
    found = told(tmp_path / "eval", "identification")["identification"]
    assert (found["gallery"]["enrolled"], found["probes"]["with_mate"], found["probes"]["without_mate"]) == (2, 6, 8)
    assert found["rank_1"]["value"] == 1.0
    assert found["recommended"]["with_mate"]["right"]["value"] == 1.0
    assert found["probes"]["unreadable"] == ["wall/torn.jpg"]
    assert not found["open_set"][0]["measurable"]


def test_thresholds_that_are_saved_are_those_that_serve(faceserve: Faceserve, samples: Path, tmp_path: Path) -> None:
    """A crowd that is large enough stands in for photos of 200 people; all else is as `--save` does it."""
    whole = crowd(200, 3)
    models = ABOUT["models"] | {"embedder": ABOUT["models"]["embedder"] | {"name": "mobilefacenet_256"}}
    run = ABOUT | {"models": models, "data": {"images": "crowd", "pairs": "generated", "people": None}}
    run["verification"] = figures.measure(pairs_of(whole.photos), whole.embedded, replicates=100)
    run["verification"]["thresholds"] = saving.noted(run)
    said = saving.save(run, model_store(Settings()))
    assert str(tmp_path / "data" / "models" / "mobilefacenet_256") in said
    assert "a copy of the model that comes with the package" in said
    listed = faceserve("models", "info", "mobilefacenet_256").lines[0]
    assert listed["thresholds"] == run["verification"]["thresholds"]
    assert listed["thresholds"]["note"].startswith("measured on crowd (generated): 200 people")
    assert faceserve("models", "verify", "mobilefacenet_256").code == 0
    faceserve("enroll", samples / "astronaut.jpg")
    answer = faceserve("recognize", samples / "astronaut.jpg").lines[0]
    row = next(row for row in listed["thresholds"]["table"] if row["far"] <= 0.01)
    assert (answer["threshold"], answer["far"]) == (row["threshold"], row["far"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("verification",), 1, "where are the photos? give --images DIR"),
        (("verification", "--images", "nowhere"), 2, "'nowhere'"),
        (("verification", "--images", "PEOPLE", "--save", "--flip"), 1, "leave out --flip"),
        (("verification", "--images", "PEOPLE", "--detector", "mobilefacenet_256"), 1, "not a detector"),
        (("verification", "--images", "PEOPLE", "--attributes", "BAD"), 1, "bad.csv, line 3: 1 cells, expected 2"),
        (("identification", "--gallery", "PEOPLE", "--probes", "PEOPLE"), 1, "every photo would find itself"),
        (("identification", "--gallery", "PEOPLE", "--probes", "OTHERS"), 1, "a person has the same name in both"),
    ],
)
def test_what_cannot_be_is_said(
    faceserve: Faceserve, people: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    bad, others = tmp_path / "bad.csv", tmp_path / "others"
    bad.write_text("person,hat\nEileen,yes\nGrace\n", "utf-8")
    write_person(others / "carol", read(people / "Grace" / "10.png"))
    paths = {"PEOPLE": str(people), "BAD": str(bad), "OTHERS": str(others)}
    done = faceserve("eval", *(paths.get(argument, argument) for argument in arguments))
    assert done.code == code
    assert said in done.err
    assert not (tmp_path / "eval").exists()


def test_without_the_extra_it_ends_at_once(
    faceserve: Faceserve, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flags, "PACKAGES", ("matplotlib", "no_such_package"))
    done = faceserve("eval", "verification", "--images", people)
    assert done.code == 1
    assert done.err == "faceserve: no_such_package missing; install the extra: pip install 'faceserve[eval]'\n"
    assert not (tmp_path / "eval").exists()
    assert faceserve("eval", "--help").code == 0
