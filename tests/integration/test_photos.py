"""Real photos through the running service: everybody enrolled is recognised, and nobody else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.running import Client, Running

ENROLLED = {"obama": "obama.jpg", "biden": "biden.jpg", "rose": "rose_img1.jpg"}
# photo: (fewest faces, most faces, who of the enrolled is on it)
SEEN = {
    "obama2.jpg": (1, 1, {"obama"}),
    "32bit.png": (1, 1, {"obama"}),
    "obama_partial_face.jpg": (1, 1, {"obama"}),
    "biden2.jpg": (1, 1, {"biden"}),
    "two_people.jpg": (2, 2, {"obama", "biden"}),
    "obama_and_biden.jpg": (2, 3, {"obama", "biden"}),
    "rose_img2.jpg": (1, 1, {"rose"}),
    "kit_with_rose.jpg": (2, 2, {"rose"}),
    "deepface_couple.jpg": (2, 2, set()),
    "deepface_selfie-many-people.jpg": (6, 7, set()),
    "deepface_img12.jpg": (1, 1, set()),
    "deepface_img25.jpg": (1, 1, set()),
    "deepface_img51.jpg": (1, 1, set()),
    "deepface_img62.jpg": (1, 3, set()),
}


@pytest.fixture(scope="module")
def photos(shared: Path) -> Path:
    return shared / "photos"


@pytest.fixture(scope="module")
def collection(service: Running, photos: Path) -> str:
    with service.client() as client:
        client.post("/collections", {"name": "photos"})
        for identity, photo in ENROLLED.items():
            answer = client.enroll(identity, (photos / photo).read_bytes(), collection="photos")
            assert answer.status in (200, 201), answer.body
    return "photos"


@pytest.mark.parametrize("photo", SEEN)
def test_who_is_on_the_photo(client: Client, photos: Path, collection: str, photo: str) -> None:
    fewest, most, who = SEEN[photo]
    path = f"/recognize?collection={collection}"
    answer = client.ask("POST", path, (photos / photo).read_bytes(), content_type="image/*")
    assert answer.status == 200, answer.body
    faces = answer.json["faces"]
    named = [face["identity"] for face in faces if face["identity"] is not None]
    assert sorted(named) == sorted(who)
    assert fewest <= len(faces) <= most
