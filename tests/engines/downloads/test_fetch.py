"""Downloads: the right bytes or a plain error, whatever the server does."""

from __future__ import annotations

import logging
import shutil
import socket
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from engines.base import ModelError
from engines.downloads.fetch import Patience, fetch
from tests.engines.downloads.file_server import (
    CONTENT,
    Answer,
    FileServer,
    Request,
    breaks_off,
    hangs,
    ignores_range,
    says,
    sends,
)


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    logging.getLogger("urllib3").setLevel(logging.ERROR)


@pytest.fixture
def hurried(request: pytest.FixtureRequest) -> bool:
    """Whether the test waits for a server that says nothing."""
    return "silent" in request.node.name


def wrong_range(request: Request, content: bytes) -> None:
    request.head(206, len(content) - 5, Content_Range=f"bytes 5-{len(content) - 1}/{len(content)}")
    request.wfile.write(content[5:])


OTHER = bytes(len(CONTENT))

ENDS_WELL: dict[str, list[Answer]] = {
    "at once": [],
    "broken off, resumed": [breaks_off(3000)],
    "broken off twice": [breaks_off(3000), breaks_off(100)],
    "broken off, range ignored": [breaks_off(3000), ignores_range],
    "broken off, another range": [breaks_off(3000), wrong_range],
    "broken off, no range": [breaks_off(3000), says(416)],
    "silent in the middle": [breaks_off(3000, silently=True)],
    "silent from the start": [hangs],
    "500, then well": [says(500)],
    "429, 503, then well": [says(429, Retry_After="3600"), says(503)],
    "closes at once": [breaks_off(0)],
    "no length": [sends(CONTENT)],
    "no length and too short": [sends(CONTENT[:-7])],
    "redirected": [says(302, Location="/elsewhere/tiny.bin")],
}


@pytest.mark.parametrize("answers", ENDS_WELL.values(), ids=ENDS_WELL)
def test_ends_with_the_right_bytes(
    files: FileServer, folder: Path, patience: Patience, hurried: bool, answers: list[Answer]
) -> None:
    files.answers = list(answers)
    path = fetch(files.download(), folder, patience=replace(patience, timeout_s=0.3) if hurried else patience)
    assert path.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [path]


ENDS_BADLY: dict[str, tuple[list[Answer], str]] = {
    "not there": ([says(404)], "answered 404"),
    "always broken": ([says(500)] * 3, "too many 500"),
    "always broken off": ([breaks_off(10)] * 3, "IncompleteRead"),
    "always silent": ([hangs] * 3, "[Tt]imed out"),
    "another file": ([sends(OTHER, length=len(OTHER))], "another file"),
    "another file without its length": ([sends(OTHER)], "another file"),
    "says longer": ([sends(CONTENT, length=len(CONTENT) + 1)], f"has {len(CONTENT) + 1} bytes"),
    "says shorter": ([sends(CONTENT, length=len(CONTENT) - 1)], f"has {len(CONTENT) - 1} bytes"),
    "is longer": ([sends(CONTENT + b"x")], "sends more than"),
    "never ends": ([sends(CONTENT * 100)], "sends more than"),
    "redirects in a circle": ([says(302, Location="/tiny.bin")] * 4, "too many redirects"),
    "redirects to a file": ([says(302, Location="file://localhost/etc/passwd")], "scheme"),
}


@pytest.mark.parametrize(("answers", "message"), ENDS_BADLY.values(), ids=ENDS_BADLY)
def test_ends_with_a_plain_error(
    files: FileServer, folder: Path, patience: Patience, hurried: bool, answers: list[Answer], message: str
) -> None:
    files.answers = list(answers)
    with pytest.raises(ModelError, match=message) as caught:
        fetch(files.download(), folder, patience=replace(patience, timeout_s=0.3) if hurried else patience)
    assert "--mirror URL, or --from FOLDER" in str(caught.value)
    assert not (folder / "tiny.bin").exists()
    assert all(path.stat().st_size <= len(CONTENT) for path in folder.iterdir())


def test_a_later_call_resumes_and_asks_only_for_the_rest(files: FileServer, folder: Path) -> None:
    files.answers = [breaks_off(3000)]
    with pytest.raises(ModelError):
        fetch(files.download(), folder, patience=Patience(retries=0, backoff_s=0, timeout_s=1))
    assert fetch(files.download(), folder).read_bytes() == CONTENT
    assert [range_ for _, range_ in files.asked] == [None, "bytes=3000-"]


@pytest.mark.parametrize("left", [b"of another file", CONTENT[:-1] + b"?", CONTENT + b"too long"])
def test_what_was_left_of_another_file_is_not_gone_on_with(files: FileServer, folder: Path, left: bytes) -> None:
    (folder / "tiny.bin.part").write_bytes(left)
    assert fetch(files.download(), folder).read_bytes() == CONTENT


def test_what_lies_there_whole_is_not_fetched(files: FileServer, folder: Path) -> None:
    (folder / "tiny.bin").write_bytes(CONTENT)
    fetch(files.download(), folder)
    assert files.asked == []
    (folder / "tiny.bin").write_bytes(OTHER)
    assert fetch(files.download(), folder).read_bytes() == CONTENT
    assert len(files.asked) == 1


def test_addresses_are_tried_in_turn(files: FileServer, folder: Path, patience: Patience) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = f"http://127.0.0.1:{unused.getsockname()[1]}/models/"
    files.answers = [says(404), breaks_off(3000), breaks_off(0), breaks_off(0)]
    wanted = files.download("tiny.bin", f"{files.address}/own/tiny.bin")
    mirrors = [down, f"{files.address}/first", f"{files.address}/second/"]
    assert fetch(wanted, folder, mirrors=mirrors, patience=patience).read_bytes() == CONTENT
    assert files.asked == [
        ("/first/tiny.bin", None),
        ("/second/tiny.bin", None),
        ("/second/tiny.bin", "bytes=3000-"),
        ("/second/tiny.bin", "bytes=3000-"),
        ("/own/tiny.bin", "bytes=3000-"),
    ]


def test_a_mirror_of_wrong_bytes_does_not_spoil_the_next(files: FileServer, folder: Path, patience: Patience) -> None:
    files.answers = [sends(OTHER[:50], length=len(OTHER))] + [breaks_off(0)] * 2
    path = fetch(files.download(), folder, mirrors=[f"{files.address}/bad"], patience=patience)
    assert path.read_bytes() == CONTENT


def test_every_address_has_its_say_in_the_error(files: FileServer, folder: Path, patience: Patience) -> None:
    files.answers = [says(404), says(403)]
    with pytest.raises(ModelError) as caught:
        fetch(files.download(), folder, mirrors=["file:///tmp", f"{files.address}/m"], patience=patience)
    assert "file:///tmp/tiny.bin: only http:// and https://" in str(caught.value)
    assert f"{files.address}/m/tiny.bin: answered 404" in str(caught.value)
    assert f"{files.address}/tiny.bin: answered 403" in str(caught.value)


def test_progress_ends_at_the_whole(files: FileServer, folder: Path) -> None:
    files.answers = [breaks_off(3000)]
    heard: list[tuple[str, int, int]] = []
    fetch(files.download(), folder, progress=lambda *told: heard.append(told), patience=Patience(backoff_s=0))
    assert heard == sorted(heard)
    assert heard[-1] == ("tiny.bin", len(CONTENT), len(CONTENT))


@pytest.mark.parametrize(("without", "through"), [("", True), ("models.example", False)])
def test_the_environments_proxy_is_used(
    files: FileServer,
    folder: Path,
    patience: Patience,
    monkeypatch: pytest.MonkeyPatch,
    without: str,
    through: bool,
) -> None:
    monkeypatch.setenv("http_proxy", files.address.replace("http://", "http://me:secret@"))
    monkeypatch.setenv("no_proxy", without)
    wanted = files.download("tiny.bin", "http://models.example/tiny.bin")
    if through:
        assert fetch(wanted, folder, patience=patience).read_bytes() == CONTENT
        assert files.asked == [("http://models.example/tiny.bin", None)]
    else:
        with pytest.raises(ModelError, match=r"models\.example"):
            fetch(wanted, folder, patience=patience)
        assert files.asked == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_certificates_are_verified(
    files: FileServer, tmp_path: Path, folder: Path, patience: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    files.socket = context.wrap_socket(files.socket, server_side=True)
    wanted = replace(files.download(), urls=(f"{files.address.replace('http', 'https')}/tiny.bin",))
    with pytest.raises(ModelError, match="certificate"):
        fetch(wanted, folder, patience=patience)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert fetch(wanted, folder, patience=patience).read_bytes() == CONTENT


def test_what_the_disk_refuses_is_no_fault_of_an_address(files: FileServer, folder: Path) -> None:
    (folder / "tiny.bin.part").mkdir()
    with pytest.raises(OSError, match=r"tiny\.bin\.part"):
        fetch(files.download(), folder)
