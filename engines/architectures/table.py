"""The table of architectures: one row a network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from engines.families import Size

if TYPE_CHECKING:
    from engines.architectures.layers import AddLayers
    from engines.families.preprocessing import Channels, Preprocessing, Triple

HALF: Triple = (127.5, 127.5, 127.5)
TALL = ((112, 96),)
IRESNET, MOBILE = "engines.architectures.iresnet", "engines.architectures.mobilefacenet"
IRSE = "engines.architectures.irse"
MTCNN = "engines.architectures.mtcnn"
CLASSIC = "engines.architectures.mobilefacenet_classic"
RETINAFACE, INCEPTION = "engines.architectures.retinaface", "engines.architectures.inception"


@dataclass(frozen=True, slots=True)
class Architecture:
    """A row of the table. `function` of the file `module` adds the layers; it is imported when a network is built.

    `family` is what to import the graph as, `size` its usual (height, width) in pixels; `also` are sizes that it can
    be trained for instead, which its weights' shapes tell apart. `any_size` says that the same weights do for every
    size. `reach` is about how far from zero its float32 input goes: (x − mean) / std in the order `channels`.
    `vector` is a parameter as long as the embedding, which is `dimension` unless the weights say otherwise.
    """

    family: str
    size: Size
    reach: float
    module: str
    function: str
    any_size: bool = False
    also: tuple[Size, ...] = ()
    channels: Channels = "rgb"
    mean: Triple = HALF
    std: Triple = HALF
    vector: str = ""
    dimension: int = 512

    @property
    def expected(self) -> Preprocessing:
        """What a network of this architecture expects of its caller."""
        from engines.families.preprocessing import Preprocessing

        return Preprocessing(self.channels, self.mean, self.std)

    @property
    def add_layers(self) -> AddLayers:
        """The function, imported now."""
        function: AddLayers = getattr(import_module(self.module), self.function)
        return function


def _retinaface(function: str) -> Architecture:
    return Architecture(
        *("retinaface", (640, 640), 128, RETINAFACE, function),
        any_size=True,
        channels="bgr",
        mean=(104.0, 117.0, 123.0),
        std=(1.0, 1.0, 1.0),
    )


def _mtcnn(function: str, side: int) -> Architecture:
    return Architecture(
        *("mtcnn", (side, side), 1, MTCNN, function), any_size=function == "pnet", std=(128.0, 128.0, 128.0)
    )


def _iresnet(function: str) -> Architecture:
    return Architecture("arcface", (112, 112), 1, IRESNET, function, also=TALL, vector="features.bias")


def _mbf(function: str) -> Architecture:
    return Architecture("arcface", (112, 112), 1, MOBILE, function, also=TALL, vector="features.layers.3.bias")


def _irse(function: str) -> Architecture:
    """Trained on images whose channels are in OpenCV's order."""
    row = ("arcface", (112, 112), 1, IRSE, function)
    return Architecture(*row, also=TALL, channels="bgr", vector="output_layer.4.running_mean")


ARCHITECTURES = {
    "retinaface_mnet025": _retinaface("mnet025"),
    "retinaface_r50": _retinaface("r50"),
    "mtcnn_pnet": _mtcnn("pnet", 12),
    "mtcnn_rnet": _mtcnn("rnet", 24),
    "mtcnn_onet": _mtcnn("onet", 48),
    "arcface_r18": _iresnet("r18"),
    "arcface_r34": _iresnet("r34"),
    "arcface_r50": _iresnet("r50"),
    "arcface_r100": _iresnet("r100"),
    "arcface_r200": _iresnet("r200"),
    "arcface_ir50": _irse("ir50"),
    "arcface_ir_se50": _irse("ir_se50"),
    "adaface_r18": _irse("adaface_r18"),
    "adaface_r50": _irse("adaface_r50"),
    "adaface_r100": _irse("adaface_r100"),
    "mobilefacenet_512": _mbf("mobilefacenet"),
    "mobilefacenet_large": _mbf("large"),
    "mobilefacenet_narrow": _mbf("narrow"),
    # github.com/TreB1eN/InsightFace_Pytorch, whose training images had their channels in OpenCV's order
    "mobilefacenet_classic": Architecture(
        *("arcface", (112, 112), 1, CLASSIC, "classic"), also=TALL, channels="bgr", vector="bn.bias"
    ),
    # github.com/foamliu/MobileFaceNet, ImageNet's mean and deviation
    "mobilefacenet_relu6": Architecture(
        *("arcface", (112, 112), 2, CLASSIC, "relu6"),
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
        vector="bn.bias",
        dimension=128,
    ),
    "facenet": Architecture(
        *("facenet", (160, 160), 1, INCEPTION, "inception_resnet_v1"), std=(128.0, 128.0, 128.0), vector="last_bn.bias"
    ),
}
