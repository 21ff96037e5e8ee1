"""The models that can be had by name, and the packs they make: where their files are and what their bytes must be.

Facts only, each from its publisher. The URLs were not reached when this was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.base import ModelError
from engines.families import Task
from engines.importing import Expected
from engines.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class Download:
    """A file on the net: all its bytes are known beforehand, by number and SHA-256 (hex)."""

    name: str
    urls: tuple[str, ...]
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class UpstreamFile:
    """A file that a model is imported from: a download of its own, or the member of that name of any of several."""

    name: str
    sha256: str
    bytes: int
    found_in: tuple[Download, ...]


@dataclass(frozen=True, slots=True)
class Licence:
    """What the weights may be used for. `accept` is what to say before they are downloaded, "" where nothing is."""

    text: str
    url: str
    commercial_use: bool
    accept: str = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that can be pulled. `expected` is what it wants of its caller where that is not its family's usual;
    `thresholds` are None where nobody recommends any."""

    name: str
    task: Task
    family: str
    files: tuple[UpstreamFile, ...]
    licence: Licence
    source: str
    note: str = ""
    thresholds: Thresholds | None = None
    expected: Expected = field(default_factory=Expected)

    @property
    def size_bytes(self) -> int:
        """The size of its own files, which may lie in larger archives."""
        return sum(file.bytes for file in self.files)


@dataclass(frozen=True, slots=True)
class Pack:
    """A detector and an embedder that belong together; `about` is for people who choose."""

    name: str
    models: tuple[str, ...]
    about: str


# Numbers and sums: the Git LFS pointers of this commit.
_OPENCV_ZOO = "https://github.com/opencv/opencv_zoo"
_OPENCV_ZOO_FILES = f"{_OPENCV_ZOO}/raw/966be4cb6eefc2a4f586ed0581bf4bbaa2533070/models"


def _plain(name: str, urls: Sequence[str], sha256: str, size: int) -> UpstreamFile:
    return UpstreamFile(name, sha256, size, (Download(name, tuple(urls), sha256, size),))


_YUNET = Offer(
    name="yunet_2023mar",
    task="detector",
    family="yunet",
    files=(
        _plain(
            "face_detection_yunet_2023mar.onnx",
            [
                f"{_OPENCV_ZOO_FILES}/face_detection_yunet/face_detection_yunet_2023mar.onnx",
                "https://huggingface.co/opencv/face_detection_yunet/resolve/main/face_detection_yunet_2023mar.onnx",
            ],
            "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
            232_589,
        ),
    ),
    licence=Licence("MIT", f"{_OPENCV_ZOO}/blob/main/models/face_detection_yunet/LICENSE", commercial_use=True),
    source=f"{_OPENCV_ZOO}/tree/main/models/face_detection_yunet",
)

_SFACE = Offer(
    name="sface_2021dec",
    task="embedder",
    family="sface",
    files=(
        _plain(
            "face_recognition_sface_2021dec.onnx",
            [
                f"{_OPENCV_ZOO_FILES}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
                "https://huggingface.co/opencv/face_recognition_sface/resolve/main/face_recognition_sface_2021dec.onnx",
            ],
            "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
            38_696_353,
        ),
    ),
    licence=Licence(
        "Apache-2.0", f"{_OPENCV_ZOO}/blob/main/models/face_recognition_sface/LICENSE", commercial_use=True
    ),
    source=f"{_OPENCV_ZOO}/tree/main/models/face_recognition_sface",
    # docs.opencv.org/4.x/d0/dd4/tutorial_dnn_face.html: cosine 0.363 for LFW.
    thresholds=Thresholds(
        verify=0.363,
        verify_far=None,
        recognize=0.363,
        note="OpenCV's cosine for pairs of LFW, its FAR not published; for 1:N it only stands in",
    ),
)

# Sums: insightface_server/models/packages.py, commit 575ffbc. Sizes, and the sum of buffalo_s.zip, which that lacks: as
# several public projects pin them, all alike.
_INSIGHTFACE = "https://github.com/deepinsight/insightface"
_NON_COMMERCIAL = Licence(
    "InsightFace: non-commercial research only",
    f"{_INSIGHTFACE}/blob/master/README.md#license",
    commercial_use=False,
    accept="insightface-non-commercial",
)


def _archive(pack: str, sha256: str, size: int) -> Download:
    urls = tuple(f"{_INSIGHTFACE}/releases/download/{tag}/{pack}.zip" for tag in ("v0.7", "model-zoo"))
    return Download(f"{pack}.zip", urls, sha256, size)


_BUFFALO_S = _archive("buffalo_s", "d85a87f503f691807cd8bb97128bdf7a0660326cd9cd02657127fa978bab8b5e", 127_607_557)
_BUFFALO_M = _archive("buffalo_m", "d98264bd8f2dc75cbc2ddce2a14e636e02bb857b3051c234b737bf3b614edca9", 275_951_529)
_BUFFALO_L = _archive("buffalo_l", "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f", 288_621_354)


def _insightface(name: str, sha256: str, size: int, *archives: Download) -> Offer:
    is_detector = name.startswith("det_")
    return Offer(
        name=name,
        task="detector" if is_detector else "embedder",
        family="scrfd" if is_detector else "arcface",
        files=(UpstreamFile(f"{name}.onnx", sha256, size, archives),),
        licence=_NON_COMMERCIAL,
        source=f"{_INSIGHTFACE}/releases/tag/v0.7",
        note="" if is_detector else "InsightFace publishes no threshold for it: measure one before relying on it.",
    )


OFFERS = {
    offer.name: offer
    for offer in (
        _YUNET,
        _SFACE,
        _insightface(
            "det_500m", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a", 2_524_817, _BUFFALO_S
        ),
        _insightface(
            "det_2.5g", "041f73f47371333d1d17a6fee6c8ab4e6aecabefe398ff32cca4e2d5eaee0af9", 3_292_009, _BUFFALO_M
        ),
        _insightface(
            "det_10g", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91", 16_923_827, _BUFFALO_L
        ),
        _insightface(
            "w600k_mbf", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f", 13_616_099, _BUFFALO_S
        ),
        _insightface(
            *("w600k_r50", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43", 174_383_860),
            *(_BUFFALO_M, _BUFFALO_L),
        ),
    )
}

PACKS = {
    pack.name: pack
    for pack in (
        Pack("default", ("retinaface_mnet025", "mobilefacenet_256"), "comes with the source: nothing to pull"),
        Pack("yunet+sface", ("yunet_2023mar", "sface_2021dec"), "OpenCV Zoo's pair, free for commercial use"),
        Pack("buffalo_s", ("det_500m", "w600k_mbf"), "InsightFace's small pair"),
        Pack("buffalo_m", ("det_2.5g", "w600k_r50"), "InsightFace's large embedder with a light detector"),
        Pack("buffalo_l", ("det_10g", "w600k_r50"), "InsightFace's large pair"),
    )
}


def models_called(name: str) -> tuple[str, ...]:
    """The models of the pack `name`, or the model itself; ModelError naming what there is."""
    if name in PACKS:
        return PACKS[name].models
    if name in OFFERS:
        return (name,)
    raise ModelError(
        f"{name!r} is not in the catalogue: packs are {', '.join(PACKS)}; models are {', '.join(OFFERS)}. "
        "Other files come in with `faceserve models import`"
    )


def packs_of(name: str) -> list[str]:
    """The packs that the model `name` is in."""
    return [pack.name for pack in PACKS.values() if name in pack.models]
