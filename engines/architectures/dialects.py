"""Other names for the same parameters: what public files call them, turned into the names of our architectures.

`DIALECTS` are applied in turn, each to what the one before it left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from engines.architectures.mtcnn_keras import keras
from engines.architectures.mxnet import mxnet

if TYPE_CHECKING:
    from engines.families.preprocessing import Channels, Triple

Arrays = Mapping[str, NDArray[Any]]
Dialect = Callable[[Arrays], "Arrays | None"]
"""The same arrays under our names, rearranged where the framework keeps them otherwise; None: not this dialect."""

WRAPPERS = ("module.", "model.", "net.", "network.", "backbone.", "encoder.")
"""What training wraps around a network: DataParallel's prefix, and what an attribute for it is usually called."""
TRAINING = re.compile(
    r"(.*\.)?num_batches_tracked|(logits|head|classifier|fc_?7)[._].*|output\.(weight|bias)|weight|kernel"
)
"""Counters, and the layers that tell the people of a training set apart: no part of inference."""


def inference(arrays: Arrays) -> Arrays | None:
    """Leaves out what training alone needs."""
    kept = {name: values for name, values in arrays.items() if not TRAINING.fullmatch(name)}
    return kept if len(kept) < len(arrays) else None


def unwrapped(arrays: Arrays) -> Arrays | None:
    """Takes off a prefix that all names have, and again what then turns out to be of training alone."""
    for prefix in WRAPPERS:
        if arrays and all(name.startswith(prefix) for name in arrays):
            inner: Arrays = {name.removeprefix(prefix): values for name, values in arrays.items()}
            inner = inference(inner) or inner
            return unwrapped(inner) or inner
    return None


DIALECTS: tuple[Dialect, ...] = (inference, unwrapped, mxnet, keras)

EXPECTED: dict[Dialect, tuple[Channels, Triple, Triple]] = {
    mxnet: ("rgb", (127.5, 127.5, 127.5), (128.0, 128.0, 128.0))
}
"""Channel order, mean and std of networks in a dialect, where they are not what the architecture's row says."""
