"""Every setting, declared once. Read from the environment (`FACESERVE_*`); never leaves this package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.keys import UNNAMED, check_keys, parse_keys
from engines.plan_key import Precision, Profile
from gallery.local.encryption.keys import parsed
from gallery.local.index.recipe import EXACT, Recipe
from gallery.milvus.address import parse as parse_address

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseSettings):
    """The service's settings; nonsense is refused at start. The field descriptions are the README's table."""

    model_config = SettingsConfigDict(env_prefix="FACESERVE_", extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on")
    workers: int = Field(1, ge=1, le=256, description="worker processes, each with its own engines")
    engine_processes: int = Field(
        0, ge=0, le=64, description="processes that own the engines and their GPUs for all workers (0: each its own)"
    )
    data_dir: Path = Field(Path("data"), description="where the gallery and imported models live")

    detector: str = Field("retinaface_mnet025", description="detector's name in the model store")
    embedder: str = Field("mobilefacenet_256", description="embedder's name in the model store")
    runtime: Literal["auto", "onnxruntime", "tensorrt"] = Field(
        "auto", description="runtime of the models; `auto`: TensorRT where its packages, a GPU and plans are there"
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda|cuda:\d+)$",
        description="`auto`, `cpu`, `cuda` (the GPUs, shared out over the workers) or `cuda:N`; absent means no start",
    )
    precision: Precision = Field("fp16", description="precision of the plans (TensorRT)")
    batch: str = Field(
        "1:8:32",
        description="batch sizes of the plans: least, tuned for, most; MTCNN's R-Net and O-Net have their own "
        "(TensorRT)",
    )
    contexts: int = Field(2, ge=1, le=64, description="engine runs at once in a worker (TensorRT)")
    auto_build: bool = Field(False, description="build missing plans at start, which takes minutes (TensorRT)")
    plans_dir: Path | None = Field(None, description="where plans are kept (default: data folder / `plans`)")
    concurrency: int = Field(
        default_factory=lambda earlier: max(1, CORES // earlier["workers"]),
        ge=1,
        le=1024,
        description="engine runs at once in a worker, on a CPU (default: cores / workers)",
    )
    threads_per_run: int = Field(1, ge=1, le=1024, description="CPU threads of one engine run")
    small_scale: bool = Field(True, description="detect at the small scale too, for faces that fill the frame")
    min_score: float | None = Field(
        None, ge=0, le=1, description="detection score below which a face is dropped (default: the detector's family's)"
    )

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
    api_keys: Annotated[dict[str, SecretStr] | None, NoDecode] = Field(
        None, description="keys with names for the audit: `NAME:KEY,NAME:KEY` or a JSON object"
    )
    audit: Literal["off", "changes", "all"] = Field(
        "off", description="record who changed the gallery or exported it (`changes`), or searched it too (`all`)"
    )
    allow_anonymous: bool = Field(False, description="allow a non-loopback address without a key")
    gallery: SecretStr | None = Field(
        None,
        description="a gallery elsewhere than in the data folder: `milvus://[user:password@]host[:port][/database]`, "
        "`milvus+tls://…`, or `milvus:///folder/file.db` (milvus-lite)",
    )
    gallery_key: SecretStr | None = Field(
        None,
        description="key that embeddings and crops are encrypted with: 32 random bytes in base64 or hexadecimal, as "
        "`faceserve gallery key` prints; unset: not encrypted",
    )
    gallery_old_key: SecretStr | None = Field(
        None,
        description="the key before it, which opens the gallery too until `faceserve gallery rekey` has changed it",
    )
    index: str = Field(
        EXACT,
        description="`exact`, or an approximate index of FAISS's for large collections: `IVF1024,SQ8:nprobe=16`, "
        "`HNSW32:efSearch=64`; see `faceserve gallery tune`",
    )
    keep_crops: bool = Field(False, description="keep aligned crops of enrolled faces (PNG, in the database)")
    warn_similar: bool = Field(
        True, description="warn when a face that is enrolled is as similar to somebody else's as one person's"
    )
    idempotency_ttl_h: float = Field(24, gt=0, description="how long an `Idempotency-Key` is remembered")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="log level")

    @field_validator("index")
    @classmethod
    def _refuse_what_is_no_index(cls, index: str) -> str:
        recipe = Recipe.parse(index)
        return EXACT if recipe is None else str(recipe)

    @field_validator("batch")
    @classmethod
    def _refuse_what_is_no_profile(cls, batch: str) -> str:
        return str(Profile.parse(batch))

    @field_validator("api_keys", mode="before")
    @classmethod
    def _read_keys(cls, given: Any) -> Any:
        if given is None:
            return None
        keys = parse_keys(given) if isinstance(given, str) else given
        return {name: key if isinstance(key, SecretStr) else SecretStr(key) for name, key in keys.items()}

    @model_validator(mode="after")
    def _refuse_keys_that_nobody_could_tell_apart(self) -> Settings:
        if self.api_key is not None and UNNAMED in (self.api_keys or {}):
            raise ValueError(f"FACESERVE_API_KEY is the key called {UNNAMED}: take that name out of FACESERVE_API_KEYS")
        check_keys(self.named_keys)
        return self

    @property
    def named_keys(self) -> dict[str, str]:
        """The keys that are let in, by their names; none where none is asked."""
        unnamed = {} if self.api_key is None else {UNNAMED: self.api_key}
        return {name: key.get_secret_value() for name, key in (unnamed | (self.api_keys or {})).items()}

    @property
    def gallery_place(self) -> str:
        """Where the gallery is: its URL, password and all, or the data folder."""
        return str(self.data_dir) if self.gallery is None else self.gallery.get_secret_value()

    @field_validator("gallery")
    @classmethod
    def _refuse_what_is_no_address(cls, gallery: SecretStr | None) -> SecretStr | None:
        if gallery is not None:
            parse_address(gallery.get_secret_value())
        return gallery

    @model_validator(mode="after")
    def _refuse_what_a_gallery_elsewhere_does_not_offer(self) -> Settings:
        if self.gallery is None:
            return self
        if self.index != EXACT or self.gallery_key is not None:
            raise ValueError(
                "a gallery in Milvus is indexed and encrypted by Milvus: unset FACESERVE_INDEX and "
                "FACESERVE_GALLERY_KEY, or FACESERVE_GALLERY"
            )
        if self.workers > 1 and parse_address(self.gallery.get_secret_value()).file is not None:
            raise ValueError(
                f"a file of milvus-lite serves one process, not {self.workers}: set FACESERVE_WORKERS=1, or name a "
                "Milvus server"
            )
        return self

    @field_validator("gallery_key", "gallery_old_key")
    @classmethod
    def _refuse_what_is_no_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None:
            parsed(key.get_secret_value())
        return key

    @model_validator(mode="after")
    def _refuse_tensorrt_on_a_cpu(self) -> Settings:
        if self.runtime == "tensorrt" and self.device == "cpu":
            raise ValueError(
                "TensorRT runs on GPUs only: set FACESERVE_DEVICE to `cuda` or `cuda:N`, or FACESERVE_RUNTIME to "
                "`onnxruntime`"
            )
        return self

    @model_validator(mode="after")
    def _refuse_engines_for_nobody(self) -> Settings:
        if self.engine_processes > self.workers:
            raise ValueError(
                f"{self.engine_processes} engine processes for {self.workers} workers: each engine process needs a "
                "worker or more, set FACESERVE_WORKERS"
            )
        return self

    @model_validator(mode="after")
    def _refuse_open_door(self) -> Settings:
        if self.host not in LOOPBACK and not self.named_keys and not self.allow_anonymous:
            raise ValueError(
                f"listening on {self.host} without a key lets anyone in: set FACESERVE_API_KEY or "
                "FACESERVE_API_KEYS, or FACESERVE_ALLOW_ANONYMOUS=true if something else guards the door"
            )
        return self
