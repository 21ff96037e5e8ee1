"""Alone, in a batch, or among many: the same answer, and each to the one who asked."""

from __future__ import annotations

import json
import threading
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from tests.integration.running import Client, Running, encoded

CLIENTS, ROUNDS = 16, 2
SAME_IOU, SAME_COSINE = 0.99, 0.9999


@pytest.fixture(scope="module")
def images(astronaut: bytes, hopper: bytes, group: bytes) -> list[bytes]:
    return [astronaut, hopper, group]


@pytest.fixture(scope="module")
def alone(service: Running, images: list[bytes]) -> list[list[dict[str, Any]]]:
    with service.client() as client:
        return [client.post("/embed", {"image": encoded(image)}).json["faces"] for image in images]


def iou(one: dict[str, float], other: dict[str, float]) -> float:
    width = min(one["x"] + one["w"], other["x"] + other["w"]) - max(one["x"], other["x"])
    height = min(one["y"] + one["h"], other["y"] + other["h"]) - max(one["y"], other["y"])
    both = max(width, 0) * max(height, 0)
    return both / (one["w"] * one["h"] + other["w"] * other["h"] - both)


def assert_same(faces: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert len(faces) == len(expected)
    for face, other in zip(faces, expected, strict=True):
        assert iou(face["box"], other["box"]) >= SAME_IOU
        assert float(np.dot(face["embedding"], other["embedding"])) >= SAME_COSINE


def test_the_three_images_are_not_alike(alone: list[list[dict[str, Any]]]) -> None:
    assert [len(faces) for faces in alone] == [1, 1, 2]
    assert float(np.dot(alone[0][0]["embedding"], alone[1][0]["embedding"])) < 0.5


def test_a_mixed_batch_of_eight(client: Client, images: list[bytes], alone: list[list[dict[str, Any]]]) -> None:
    order = [0, 1, 2, 2, 1, 0, 1, 2]
    results = client.post("/embed", {"images": [encoded(images[which]) for which in order]}).json["results"]
    for which, result in zip(order, results, strict=True):
        assert_same(result["faces"], alone[which])


def test_sixteen_clients_each_get_their_own(
    service: Running, images: list[bytes], alone: list[list[dict[str, Any]]]
) -> None:
    answers: dict[tuple[int, int], Any] = {}
    together = threading.Barrier(CLIENTS)

    def ask(number: int) -> None:
        with service.client() as client:
            together.wait(timeout=30)
            for turn in range(ROUNDS):
                image = images[(number + turn) % len(images)]
                name = f"client-{number}-{turn}"
                answers[number, turn] = client.ask(
                    "POST", "/embed", image, content_type="image/jpeg", x_request_id=name
                ).json

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == CLIENTS * ROUNDS
    for (number, turn), answer in answers.items():
        assert answer["request_id"] == f"client-{number}-{turn}"
        assert_same(answer["faces"], alone[(number + turn) % len(images)])


def test_the_three_media_types_give_one_answer(client: Client, group: bytes) -> None:
    options = {"min_score": "0.6", "normalized": "true", "return": "landmarks,quality"}
    as_json = client.post(
        "/detect",
        {"image": encoded(group), "min_score": 0.6, "normalized": True, "return": ["landmarks", "quality"]},
    )
    bare = client.ask("POST", f"/detect?{urlencode(options)}", group, content_type="image/jpeg")
    fields = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in options.items()
    )
    file = '--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
    form = client.ask(
        "POST",
        "/detect",
        fields.encode() + file.encode() + group + b"\r\n--b--\r\n",
        content_type="multipart/form-data; boundary=b",
    )
    assert as_json.status == bare.status == form.status == 200
    assert as_json.json["faces"] == bare.json["faces"] == form.json["faces"]
    assert len(as_json.json["faces"]) == 2
    assert json.dumps(as_json.json["faces"][0]["quality"])
