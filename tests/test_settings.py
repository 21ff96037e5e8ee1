"""Settings: read from the environment, nonsense refused at start, the door shut unless someone opens it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.cli.failures import explain
from app.settings import Settings


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FACESERVE_{name.upper()}", raising=False)


def test_defaults_are_a_service_for_this_machine_alone() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.data_dir == Path("data")
    assert (settings.runtime, settings.device) == ("auto", "auto")
    assert settings.api_key is None


def test_the_environment_is_read_and_a_keyword_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_PORT", "9000")
    monkeypatch.setenv("FACESERVE_DATA_DIR", "/srv/faces")
    monkeypatch.setenv("FACESERVE_SMALL_SCALE", "false")
    settings = Settings(port=9001)
    assert settings.port == 9001
    assert settings.data_dir == Path("/srv/faces")
    assert settings.small_scale is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("PORT", "-1"),
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("RUNTIME", "abacus"),
        ("DEVICE", "gpu"),
        ("DEVICE", "cuda:"),
        ("DEVICE", "cuda:x"),
        ("PRECISION", "int8"),
        ("BATCH", "8"),
        ("BATCH", "0:8:32"),
        ("BATCH", "1:33:32"),
        ("BATCH", "2:1:32"),
        ("CONTEXTS", "0"),
        ("ENGINE_PROCESSES", "-1"),
        ("MIN_SCORE", "1.5"),
        ("MIN_SCORE", "nan"),
        ("MAX_IMAGES", "0"),
        ("MAX_BODY_BYTES", "10 MiB"),
        ("REQUEST_TIMEOUT_S", "0"),
        ("REQUEST_TIMEOUT_S", "-3"),
        ("ALLOW_ANONYMOUS", "perhaps"),
        ("LOG_LEVEL", "loud"),
        ("INDEX", "Flat"),
        ("INDEX", "PCA64,IVF1024,Flat"),
        ("INDEX", "IVF64,Flat:nprobe=65"),
        ("API_KEY", ""),
        ("GALLERY_KEY", "correct horse battery staple"),
        ("GALLERY_OLD_KEY", "00" * 32),
    ],
)
def test_nonsense_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"FACESERVE_{name}", value)
    with pytest.raises(ValidationError) as refusal:
        Settings()
    lines = explain(refusal.value)
    assert len(lines) == 1
    assert lines[0].startswith(f"FACESERVE_{name}: ")
    assert (repr(value) in lines[0]) is not name.endswith("KEY")


def test_every_fault_gets_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_PORT", "x")
    monkeypatch.setenv("FACESERVE_WORKERS", "x")
    with pytest.raises(ValidationError) as refusal:
        Settings()
    assert [line.partition(":")[0] for line in explain(refusal.value)] == ["FACESERVE_PORT", "FACESERVE_WORKERS"]


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_devices(device: str) -> None:
    assert Settings(device=device).device == device


def test_tensorrt_needs_a_gpu() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(runtime="tensorrt", device="cpu")
    (line,) = explain(refusal.value)
    assert "FACESERVE_DEVICE" in line
    assert "FACESERVE_RUNTIME" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_loopback_address_needs_no_key(host: str) -> None:
    assert Settings(host=host).api_key is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "faces.example.org", ""])
def test_any_other_address_needs_a_key_or_a_word(host: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(host=host)
    (line,) = explain(refusal.value)
    assert "FACESERVE_API_KEY" in line
    assert "FACESERVE_ALLOW_ANONYMOUS=true" in line
    assert Settings(host=host, api_key="k").host == host
    assert Settings(host=host, allow_anonymous=True).host == host


def test_the_key_is_not_shown() -> None:
    settings = Settings(api_key="s3cret-key")
    assert "s3cret-key" not in repr(settings) + str(settings) + settings.model_dump_json()


def test_a_refused_key_is_not_shown_either() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(api_key=["s3cret-key"])
    assert "s3cret-key" not in " ".join(explain(refusal.value))


def test_settings_do_not_change_once_made() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_says_what_it_is(name: str) -> None:
    assert Settings.model_fields[name].description


def test_engine_processes_without_a_worker_each_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACESERVE_ENGINE_PROCESSES", "2")
    with pytest.raises(ValidationError, match=r"2 engine processes for 1 workers.*FACESERVE_WORKERS"):
        Settings()
    monkeypatch.setenv("FACESERVE_WORKERS", "2")
    assert Settings().engine_processes == 2


def test_an_index_is_said_in_full() -> None:
    assert Settings().index == "exact"
    assert Settings(index="IVF1024,SQ8").index == "IVF1024,SQ8:nprobe=16"
