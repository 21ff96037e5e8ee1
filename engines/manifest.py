"""What is known of a canonical model, and its two written forms: `model.json`, and each graph's own description."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.base import ModelError
from engines.families import Crop, Size, Task
from engines.thresholds import Thresholds

MANIFEST = "model.json"
FORMAT = "1"
"""Version of the canonical format; a model of another one must be imported anew."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One size's graph: where it lies, (height, width) in pixels, and what its bytes must be (SHA-256 in hex)."""

    path: Path
    size: Size
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is known of a canonical model.

    `files` and `sizes` stand largest first. `digest` is the SHA-256 of the graphs in all sizes: it stays when only the
    description changes (a threshold table, a licence), and embeddings of equal digests can be compared. `dimension` is
    an embedder's D, else None. `commercial_use` is None where it is not known. `channels` is the upstream network's
    order (a canonical one always takes BGR). `landmark_order` is empty for embedders and for detectors that find no
    landmarks; left and right are the viewer's. `crop` and `margin_px` are an embedder's: how a face is cut out for it,
    and for `box` by how many px of the crop the box is widened, half of them on either side. `urls` are where the
    upstream file can be had.
    """

    name: str
    task: Task
    family: str
    files: tuple[ModelFile, ...]
    digest: str
    dimension: int | None
    licence: str
    commercial_use: bool | None
    note: str
    source: str
    source_sha256: str
    channels: str
    landmark_order: tuple[str, ...]
    thresholds: Thresholds | None
    crop: Crop = "template"
    margin_px: int = 0
    urls: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of each file, largest first."""
        return tuple(file.size for file in self.files)


def crop_of(spec: ModelSpec) -> str:
    """How faces are cut out for an embedder, as its digest covers it: nothing for the template's crops."""
    return "" if spec.crop == "template" else f"{spec.crop} {spec.margin_px}\n"


def file_name(size: Size) -> str:
    """The name of one size's graph in its model's folder."""
    return f"{size[0]}x{size[1]}.onnx"


def description_of(spec: ModelSpec, size: Size) -> dict[str, str]:
    """What the graph for `size` says of itself in `metadata_props`; what is not known is left out."""
    known = {
        "format": FORMAT,
        "family": spec.family,
        "task": spec.task,
        "input_size": f"{size[0]}x{size[1]}",
        "dimension": str(spec.dimension or ""),
        "channels": spec.channels,
        "landmark_order": ",".join(spec.landmark_order),
        "crop": spec.crop if spec.crop != "template" else "",
        "margin_px": str(spec.margin_px or ""),
        "urls": " ".join(spec.urls),
        "licence": spec.licence,
        "commercial_use": "unknown" if spec.commercial_use is None else str(spec.commercial_use).lower(),
        "note": spec.note,
        "source": spec.source,
        "source_sha256": spec.source_sha256,
        "thresholds": _written(spec.thresholds) if spec.thresholds else "",
    }
    return {key: value for key, value in known.items() if value}


def as_described_now(said: dict[str, str]) -> dict[str, str]:
    """A graph's own description with its thresholds in the form that `description_of` gives them.

    An older form is read and means the same. Raises ModelError for thresholds that cannot be read.
    """
    if "thresholds" not in said:
        return said
    try:
        return said | {"thresholds": _written(Thresholds.from_dict(json.loads(said["thresholds"])))}
    except ValueError as error:
        raise ModelError(f"thresholds that are no JSON ({error}): {said['thresholds']}") from error


def _written(thresholds: Thresholds) -> str:
    return json.dumps(thresholds.as_dict(), sort_keys=True)


def write_manifest(spec: ModelSpec, folder: Path) -> None:
    """Writes `model.json` into the model's folder; the name is the folder's and is not repeated."""
    files = [{"size": file.size, "sha256": file.sha256, "bytes": file.bytes} for file in spec.files]
    thresholds = spec.thresholds.as_dict() if spec.thresholds else None
    entries = {"format": FORMAT} | asdict(spec) | {"files": files, "thresholds": thresholds}
    del entries["name"]
    (folder / MANIFEST).write_text(json.dumps(entries, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_manifest(folder: Path) -> ModelSpec:
    """The model in `folder`, from its manifest alone; ModelError where that is damaged or of another format."""
    try:
        entries = json.loads((folder / MANIFEST).read_text("utf-8"))
        found = entries.pop("format")
        if found != FORMAT:
            raise ModelError(f"{folder} has format {found!r}, expected {FORMAT!r}: import the model anew")
        return _spec(folder, entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / MANIFEST} is damaged ({error!r}): import the model anew") from error


def _spec(folder: Path, entries: dict[str, Any]) -> ModelSpec:
    files = [
        ModelFile(folder / file_name((height, width)), (height, width), file["sha256"], file["bytes"])
        for file in entries.pop("files")
        for height, width in [map(int, file["size"])]
    ]
    thresholds = entries.pop("thresholds")
    urls = entries.pop("urls", ())
    return ModelSpec(
        name=folder.name,
        files=tuple(files),
        thresholds=Thresholds.from_dict(thresholds) if thresholds else None,
        landmark_order=tuple(entries.pop("landmark_order")),
        urls=tuple(urls),
        **entries,
    )
