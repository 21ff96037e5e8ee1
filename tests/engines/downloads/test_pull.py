"""Pulling: by name from the net or a folder into the store, whole or not at all."""

from __future__ import annotations

import io
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from engines.base import ModelError, RuntimeMissingError
from engines.catalogue import OFFERS, Licence, Offer, UpstreamFile
from engines.downloads.fetch import Patience
from engines.downloads.pull import Pulled, pull
from engines.downloads.sources import FromFolder, FromNet
from engines.importing import Expected
from engines.models import SHIPPED, ModelStore
from engines.thresholds import Thresholds
from tests.engines.downloads.file_server import FileServer, Request, behave, says
from tests.engines.downloads.tiny import network, upstream

FREE = Licence("MIT", "https://example.org/licence", commercial_use=True)
RESEARCH = Licence("research only", "https://example.org/licence", commercial_use=False, accept="example-research")


def offer(name: str, file: UpstreamFile, licence: Licence = FREE) -> Offer:
    return Offer(name, "embedder", "arcface", (file,), licence, "https://example.org")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(SHIPPED, tmp_path / "models")


@pytest.fixture
def offers(files: FileServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Offer]:
    """`plain`, a file of its own; `one` in a.zip and b.zip, `two` only in b.zip, under another licence."""
    plain, one, two = network(0), network(1), network(2)
    files.files["plain.onnx"] = plain
    for archive, members in (("a.zip", {"one.onnx": one}), ("b.zip", {"one.onnx": one, "dir/two.onnx": two})):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as opened:
            for name, content in members.items():
                opened.writestr(name, content)
        files.files[archive] = packed.getvalue()
    a, b = files.download("a.zip"), files.download("b.zip")
    known = {
        "plain": offer("plain", upstream("plain.onnx", plain, files.download("plain.onnx"))),
        "one": offer("one", upstream("one.onnx", one, a, b)),
        "two": offer("two", upstream("two.onnx", two, b), RESEARCH),
    }
    for name, each in known.items():
        monkeypatch.setitem(OFFERS, name, each)
    return known


@pytest.fixture
def net() -> FromNet:
    return FromNet(patience=Patience(retries=1, backoff_s=0, timeout_s=10))


def asked(files: FileServer) -> list[str]:
    return [path for path, _ in files.asked]


def test_a_model_comes_in_with_what_the_catalogue_knows(
    offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    thresholds = Thresholds(0.3, None, 0.4, note="of the catalogue")
    OFFERS["plain"] = replace(
        offers["plain"], thresholds=thresholds, note="A note.", expected=Expected("bgr", (0.0,), (1.0,))
    )
    (pulled,) = pull(["plain"], net, into=store, folder=folder)
    assert pulled == Pulled(store.verify("plain"), fresh=True)
    spec = pulled.spec
    assert (spec.licence, spec.commercial_use, spec.thresholds) == ("MIT", True, thresholds)
    assert (spec.channels, spec.source) == ("bgr", "https://example.org")
    assert spec.note.startswith("A note.")
    assert spec.urls == offers["plain"].files[0].found_in[0].urls
    assert spec.source_sha256 == offers["plain"].files[0].sha256
    assert list(folder.iterdir()) == []


def test_an_archive_is_fetched_once_and_the_best_one_is_taken(
    files: FileServer, offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    assert offers
    pulled = list(pull(["one", "two"], net, into=store, folder=folder, accepted=["example-research"]))
    assert [(each.spec.name, each.fresh) for each in pulled] == [("one", True), ("two", True)]
    assert asked(files) == ["/b.zip"]
    assert list(pull(["one"], net, into=store, folder=folder)) == [replace(pulled[0], fresh=False)]
    assert asked(files) == ["/b.zip"]
    list(pull(["one"], net, into=store, folder=folder, replace=True, keep=True))
    assert asked(files) == ["/b.zip", "/a.zip"]
    assert [path.name for path in folder.iterdir()] == ["a.zip"]
    list(pull(["one"], net, into=store, folder=folder, replace=True))
    assert asked(files) == ["/b.zip", "/a.zip"]


def test_what_ships_needs_no_net(store: ModelStore, folder: Path, net: FromNet) -> None:
    (pulled,) = pull(["mobilefacenet_256"], net, into=store, folder=folder)
    assert not pulled.fresh


def test_a_licence_has_to_be_accepted_by_name(
    files: FileServer, offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    assert offers
    for accepted in ([], ["yes"]):
        with pytest.raises(ModelError, match=r"research only.*--accept-licence example-research"):
            list(pull(["one", "two"], net, into=store, folder=folder, accepted=accepted))
    assert files.asked == []
    assert not store.folders[-1].exists()


@pytest.mark.parametrize("content", ["one.onnx", "a.zip", "b.zip"])
def test_from_a_folder(
    files: FileServer, offers: dict[str, Offer], store: ModelStore, folder: Path, tmp_path: Path, content: str
) -> None:
    filled = tmp_path / "filled"
    filled.mkdir()
    source = FromFolder(filled)
    with pytest.raises(ModelError, match=r"has no one\.onnx or a\.zip or b\.zip"):
        list(pull(["one"], source, into=store, folder=folder))
    (filled / content).write_bytes(files.files[content] if content in files.files else network(1))
    list(pull(["one"], source, into=store, folder=folder))
    assert store.verify("one").source_sha256 == offers["one"].files[0].sha256
    assert files.asked == []
    assert [path.name for path in filled.iterdir()] == [content]
    assert list(folder.iterdir()) == []


def test_from_a_folder_the_bytes_are_checked_too(
    offers: dict[str, Offer], store: ModelStore, folder: Path, tmp_path: Path
) -> None:
    assert offers
    (tmp_path / "plain.onnx").write_bytes(network(7))
    with pytest.raises(ModelError, match=r"plain\.onnx has SHA-256"):
        list(pull(["plain"], FromFolder(tmp_path), into=store, folder=folder))
    (tmp_path / "plain.onnx").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"plain\.onnx has 1 bytes"):
        list(pull(["plain"], FromFolder(tmp_path), into=store, folder=folder))
    assert not store.folders[-1].exists()


def test_what_cannot_be_imported_leaves_the_store_alone_and_the_download_there(
    files: FileServer, offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    files.files["plain.onnx"] = b"right bytes, but no network"
    OFFERS["plain"] = offer("plain", upstream("plain.onnx", files.files["plain.onnx"], files.download("plain.onnx")))
    with pytest.raises(ModelError, match=r"plain\.onnx"):
        list(pull(["one", "plain"], net, into=store, folder=folder))
    assert [path.name for path in store.folders[-1].iterdir()] == ["one"]
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip", "plain.onnx"]


def test_a_failed_download_leaves_nothing_in_the_store(
    files: FileServer, offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    assert offers
    files.answers = [says(404)]
    with pytest.raises(ModelError, match="answered 404"):
        list(pull(["plain"], net, into=store, folder=folder))
    assert not store.folders[-1].exists()


def test_another_model_of_that_name_stays_unless_replaced(
    offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    list(pull(["plain"], net, into=store, folder=folder))
    OFFERS["plain"] = replace(offers["one"], name="plain")
    with pytest.raises(ModelError, match="another model 'plain' already"):
        list(pull(["plain"], net, into=store, folder=folder))
    (pulled,) = pull(["plain"], net, into=store, folder=folder, replace=True)
    assert pulled.spec.source_sha256 == offers["one"].files[0].sha256


def test_two_pulls_at_once_fetch_once(
    files: FileServer, offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    assert offers
    begun, waiting = threading.Event(), threading.Event()

    def once_another_waits(request: Request, content: bytes) -> None:
        begun.set()
        assert waiting.wait(20)
        behave(request, content)

    files.answers = [once_another_waits]
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        waiting.set()

    def run() -> list[Pulled]:
        return list(pull(["plain"], net, into=store, folder=folder, tell=tell))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run)
        assert begun.wait(20)
        second = pool.submit(run)
        both = [*first.result(20), *second.result(20)]
    assert [pulled.fresh for pulled in both] == [True, False]
    assert asked(files) == ["/plain.onnx"]
    assert told == ["waiting for another pull of plain.onnx"]
    assert list(folder.iterdir()) == []


def test_what_a_killed_pull_unpacked_goes(
    offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet
) -> None:
    assert offers
    (folder / "a.zip.unpacked").mkdir()
    (folder / "a.zip.unpacked" / "one.onnx").write_bytes(b"half")
    list(pull(["one"], net, into=store, folder=folder))
    assert list(folder.iterdir()) == []


def test_without_onnx_nothing_is_fetched(
    files: FileServer,
    offers: dict[str, Offer],
    store: ModelStore,
    folder: Path,
    net: FromNet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert offers
    monkeypatch.setattr("engines.models.find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        list(pull(["plain"], net, into=store, folder=folder))
    assert files.asked == []


def test_without_urllib3_it_says_what_to_install(
    offers: dict[str, Offer], store: ModelStore, folder: Path, net: FromNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert offers
    monkeypatch.setitem(sys.modules, "engines.downloads.fetch", None)
    with pytest.raises(RuntimeMissingError, match=r"faceserve\[convert\]"):
        list(pull(["plain"], net, into=store, folder=folder))
