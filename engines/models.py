"""The model store: canonical networks on disk.

A model is a folder, `<name>/<H>x<W>.onnx` for each size beside `model.json`. The graphs describe themselves; the
manifest repeats that for readers who must not wait for `onnx` to be imported.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engines import model_folder
from engines.base import ModelError, RuntimeMissingError
from engines.families import Size
from engines.manifest import (
    MANIFEST,
    ModelFile,
    ModelSpec,
    as_described_now,
    crop_of,
    description_of,
    file_name,
    read_manifest,
    write_manifest,
)
from engines.thresholds import Thresholds

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = [
    "SHIPPED",
    "ModelFile",
    "ModelSpec",
    "ModelStore",
    "require_onnx",
    "save_thresholds",
    "sha256_of",
    "write_model",
]

SHIPPED = Path(__file__).parent / "weights"
"""The folder of the models that come with the source."""
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
Specs = list[ModelSpec]


class ModelStore:
    """Models in one or more folders; of two with the same name, the later folder's counts. New ones go into the last.

    Reads manifests only, anew each time it is asked, and imports no runtime. Any thread or process may read while
    another imports: a model appears whole or not at all.
    """

    def __init__(self, *folders: Path) -> None:
        if not folders:
            raise ModelError("a model store needs at least one folder")
        self.folders = folders

    def list(self) -> Specs:
        """All models by name; ModelError when a manifest cannot be read."""
        return [spec for _, folder in sorted(self._found().items()) if (spec := _read(folder))]

    def get(self, name: str) -> ModelSpec:
        """The model called `name`; ModelError naming the known ones."""
        found = self._found()
        if name not in found or (spec := _read(found[name])) is None:
            known = ", ".join(sorted(found.keys() - {name})) or "none"
            raise ModelError(f"no model {name!r} in {', '.join(map(str, self.folders))}: known are {known}")
        return spec

    def verify(self, name: str) -> ModelSpec:
        """The model called `name`, after comparing all its bytes with its manifest; ModelError says what differs.

        Where `onnx` is installed the graphs themselves are read too: are they canonical, and of this digest?
        """
        spec = self.get(name)
        for file in spec.files:
            found = sha256_of(file.path)
            if found != file.sha256:
                raise ModelError(f"{file.path} has SHA-256 {found}, its manifest says {file.sha256}: import it anew")
        if find_spec("onnx") is not None:
            _verify_graphs(spec)
        return spec

    @contextmanager
    def adding(self, name: str, *, replace: bool = False) -> Iterator[Path]:
        """An empty folder that becomes the model `name` when the block ends, all at once; nothing of it if it raises.

        Raises ModelError for a name that is not a plain one, or is taken and not to be replaced.
        """
        if not SAFE_NAME.fullmatch(name):
            raise ModelError(f"model name {name!r}: 1 to 64 of letters, digits, '_', '-', '.'; a letter or digit first")
        if not replace and name in self._found():
            raise ModelError(f"there is a model {name!r} already: give another name, or say that it be replaced")
        with model_folder.appearing(self.folders[-1] / name, replace=replace) as folder:
            yield folder

    def remove(self, name: str) -> None:
        """Takes the model out of the store's last folder; for readers it is there whole, or not at all.

        Raises ModelError for a model that is not there, or only in another folder: what ships stays.
        """
        folder = self._found().get(name)
        if folder is None or folder.parent != self.folders[-1]:
            self.get(name)
            raise ModelError(f"model {name!r} comes with the source: only what was imported can be removed")
        model_folder.remove(folder)

    def _found(self) -> dict[str, Path]:
        return {
            entry.name: entry
            for folder in self.folders
            if folder.is_dir()
            for entry in folder.iterdir()
            if SAFE_NAME.fullmatch(entry.name) and (entry / MANIFEST).is_file()
        }


def _read(folder: Path) -> ModelSpec | None:
    """The model in `folder`; None where it was removed since it was found there."""
    try:
        return read_manifest(folder)
    except ModelError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def require_onnx() -> None:
    """Raises RuntimeMissingError where `onnx` is not installed."""
    if find_spec("onnx") is None:
        raise RuntimeMissingError("writing a model needs the extra `convert`: pip install 'faceserve[convert]'")


def _verify_graphs(spec: ModelSpec) -> None:
    from engines import canonical, graphs

    models = {file.size: graphs.load(file.path) for file in spec.files}
    for file in spec.files:
        model = models[file.size]
        canonical.require_canonical(model, spec, file.size)
        said, expected = as_described_now(graphs.description(model)), description_of(spec, file.size)
        differing = sorted(key for key in said | expected if said.get(key) != expected.get(key))
        if differing:
            raise ModelError(f"{file.path} and its manifest do not say the same of {', '.join(differing)}")
    if (found := graphs.digest(models, crop_of(spec))) != spec.digest:
        raise ModelError(f"model {spec.name!r} has the digest {found}, its manifest says {spec.digest}")


def save_thresholds(name: str, thresholds: Thresholds, store: ModelStore) -> ModelSpec:
    """Gives a model new thresholds: manifest and files are rewritten in the store's last folder, the digest stays."""
    require_onnx()
    from engines import graphs

    spec = store.verify(name)
    models = {file.size: graphs.load(file.path) for file in spec.files}
    return write_model(dataclasses.replace(spec, thresholds=thresholds), models, store, replace=True)


def write_model(spec: ModelSpec, models: dict[Size, ModelProto], store: ModelStore, *, replace: bool) -> ModelSpec:
    """Adds a model to the store: its graphs by size, and what is known of it. The files and the digest of `spec` follow
    from the graphs. Raises ModelError for graphs that are not canonical, and what `ModelStore.adding` raises."""
    from engines import canonical, graphs

    files = []
    with store.adding(spec.name, replace=replace) as folder:
        for size, model in models.items():
            canonical.require_canonical(model, spec, size)
            graphs.describe(model, description_of(spec, size))
            path = folder / file_name(size)
            path.write_bytes(model.SerializeToString(deterministic=True))
            files.append(ModelFile(path, size, sha256_of(path), path.stat().st_size))
        write_manifest(
            dataclasses.replace(spec, files=tuple(files), digest=graphs.digest(models, crop_of(spec))), folder
        )
    return store.get(spec.name)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file in hex; ModelError when it cannot be read."""
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(2**20):
                found.update(chunk)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    return found.hexdigest()
