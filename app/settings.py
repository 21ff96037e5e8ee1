"""Every setting, declared once. Read from the environment (`FACESERVE_*`); never leaves this package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """The service's settings; nonsense is refused at start. The field descriptions are the README's table."""

    model_config = SettingsConfigDict(env_prefix="FACESERVE_", extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=256, description="worker processes, each with its own engines")
    data_dir: Path = Field(Path("data"), description="where the gallery and imported models live")

    detector: str = Field("retinaface_mnet025", description="detector's name in the model store")
    embedder: str = Field("mobilefacenet_256", description="embedder's name in the model store")
    runtime: str = Field("onnxruntime", description="runtime that loads the models")
    device: str = Field("cpu", pattern=r"^(cpu|cuda:\d+)$", description="`cpu` or `cuda:N`; absent means no start")
    concurrency: int = Field(
        default_factory=lambda earlier: max(1, CORES // earlier["workers"]),
        ge=1,
        le=1024,
        description="engine runs at once in a worker, on a CPU (default: cores / workers)",
    )
    threads_per_run: int = Field(1, ge=1, le=1024, description="CPU threads of one engine run")
    small_scale: bool = Field(True, description="detect at the small scale too, for faces that fill the frame")
    min_score: float = Field(0.5, ge=0, le=1, description="detection score below which a face is dropped, by default")

    max_body_bytes: int = Field(10 * 2**20, ge=1024, description="largest request body")
    max_image_pixels: int = Field(40_000_000, ge=1, description="largest image, read from its header before decoding")
    max_images: int = Field(20, ge=1, le=1000, description="most images a request")
    pipeline_threads: int = Field(
        default_factory=lambda earlier: 2 * earlier["concurrency"],
        ge=1,
        le=1024,
        description="images a worker has in hand at once (default: 2 × concurrency)",
    )
    max_pending: int = Field(64, ge=1, description="requests admitted at once to a worker; more are answered 503")
    request_timeout_s: float = Field(30, gt=0, description="deadline of a request once its body is read (504)")
    body_timeout_s: float = Field(15, gt=0, description="time a client has to send its body (408)")

    api_key: SecretStr | None = Field(None, min_length=1, description="key that clients must send; unset: none asked")
    allow_anonymous: bool = Field(False, description="allow a non-loopback address without a key")
    keep_crops: bool = Field(False, description="keep aligned crops of enrolled faces (PNG, in the database)")
    idempotency_ttl_h: float = Field(24, gt=0, description="how long an `Idempotency-Key` is remembered")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="log level")

    @model_validator(mode="after")
    def _refuse_open_door(self) -> Settings:
        if self.host not in LOOPBACK and self.api_key is None and not self.allow_anonymous:
            raise ValueError(
                f"listening on {self.host} without a key lets anyone in: set FACESERVE_API_KEY, or "
                "FACESERVE_ALLOW_ANONYMOUS=true if something else guards the door"
            )
        return self
