"""Another embedder for a gallery that is there: over real sockets, from the refusal to the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.models import SHIPPED, ModelStore
from tests.command import run
from tests.integration.running import LOG, Client, encoded, running
from tests.pixels import write_pixels

OLD = "mobilefacenet_256"


def collection(client: Client) -> tuple[str, bool]:
    (about,) = client.get("/collections").json["collections"]
    assert client.get("/collections/default").json == about
    return about["embedder_name"], about["fits"]


def refusals(client: Client, image: str) -> None:
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/recognize", {"image": image}),
        ("/recognize", {"images": [image, image]}),
        ("/annotate", {"image": image}),
        ("/verify", {"image": image, "identity": "eileen"}),
        ("/gallery", {"image": image, "identity": "grace"}),
        ("/gallery:search", {"embeddings": [[1.0] * 147]}),
    ]
    for path, body in asked:
        answer = client.post(path, body)
        assert (answer.status, answer.code) == (409, "model_mismatch"), path
        detail = answer.json["detail"]
        assert detail.startswith(f"collection 'default' was made with embedder {OLD}, loaded is pixels."), path
        assert "faceserve gallery reembed --collection default" in detail


def reembed(data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What `faceserve gallery reembed` says, run in this process: beside the services' own."""
    for name, value in {"FACESERVE_DATA_DIR": str(data_dir), "FACESERVE_EMBEDDER": "pixels"}.items():
        monkeypatch.setenv(name, value)
    done = run(monkeypatch, capsys, "gallery", "reembed")
    assert done.code == 0, done.err
    (answer,) = done.lines
    return answer


def test_refused_then_made_anew_then_answered(
    tmp_path: Path, astronaut: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pixels(ModelStore(SHIPPED, tmp_path / "models"))
    image = encoded(astronaut)
    with running(tmp_path, keep_crops=True) as old, old.client() as before:
        assert before.enroll("eileen", astronaut).status == 201
        exported = before.ask("POST", "/gallery:export").body
        assert collection(before) == (OLD, True)
        (tmp_path / LOG).unlink()  # the first service writes on into it, unseen
        with running(tmp_path, embedder="pixels") as new, new.client() as client:
            assert new.log.count("the embedder loaded is pixels, but collections were made with another") == 1
            refusals(client, image)
            assert collection(client) == (OLD, False)
            answer = client.ask("POST", "/gallery:import?collection=b", exported, content_type="application/x-ndjson")
            assert (answer.code, f"made with embedder {OLD}" in answer.json["detail"]) == ("model_mismatch", True)
            for path, body in (("/detect", {}), ("/embed", {}), ("/verify", {"reference": image})):
                assert client.post(path, {"image": image} | body).status == 200
            assert client.get("/gallery/eileen").json["faces"][0]["has_crop"]
            assert before.names(astronaut) == ["eileen"]

            told = reembed(tmp_path, monkeypatch, capsys)
            assert (told["was"], told["embedder"], told["faces"]) == (OLD, "pixels", 1)
            assert client.names(astronaut) == ["eileen"]
            assert client.post("/verify", {"image": image, "identity": "eileen"}).json["match"]
            assert collection(client) == ("pixels", True)
            loaded = [model["name"] for model in client.get("/models").json["models"] if model["loaded"]]
            assert sorted(loaded) == ["pixels", "retinaface_mnet025"]
            assert client.get("/info").json["models"] == {"detector": "retinaface_mnet025", "embedder": "pixels"}
            gone = before.post("/recognize", {"image": image})
            assert (gone.status, gone.code) == (409, "model_mismatch")
            assert f"was made with embedder pixels, loaded is {OLD}." in gone.json["detail"]
        assert "Traceback" not in new.log
