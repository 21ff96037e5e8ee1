"""The ground truth of WIDER FACE's evaluation tools: MATLAB files with the faces of each subset.

Source: eval_tools.zip at https://shuoyang1213.me/WIDERFACE/.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.evaluation.photos import EvaluationError

ALL: Final = "wider_face_val.mat"
SUBSETS: Final = {"easy": "wider_easy_val.mat", "medium": "wider_medium_val.mat", "hard": "wider_hard_val.mat"}
NAMES: Final = f"{ALL} and {', '.join(SUBSETS.values())}"


@dataclass(frozen=True, slots=True, eq=False)
class TrueFaces:
    """The n faces of a photo: `boxes` (n, 4) float64 x1 y1 x2 y2 with x2 = x1 + width, and by subset which of them
    belong to it, (n,)."""

    boxes: NDArray[np.float64]
    of: dict[str, NDArray[np.bool_]]


def read_truth(folder: Path) -> dict[str, TrueFaces]:
    """By the photo's path (`event/name.jpg`). Raises EvaluationError for a file that is missing or reads otherwise, and
    where scipy is missing."""
    lists = {name: _mat(folder / SUBSETS[name])["gt_list"] for name in SUBSETS}
    whole = _mat(folder / ALL)
    try:
        return dict(_photos(whole, lists))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise EvaluationError(
            f"the files in {folder} do not go together ({error!r}); expected {NAMES} of WIDER FACE's evaluation tools"
        ) from None


def _mat(file: Path) -> dict[str, Any]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise EvaluationError("scipy is missing; install the extra: pip install 'faceserve[eval]'") from None
    if not file.is_file():
        raise EvaluationError(f"{file} is not there; expected {NAMES}")
    wanted = ("event_list", "file_list", "face_bbx_list" if file.name == ALL else "gt_list")
    try:
        found: dict[str, Any] = loadmat(file, variable_names=wanted)
    except (ValueError, NotImplementedError, TypeError, OSError) as error:
        raise EvaluationError(f"{file} is no MATLAB file ({error}); expected WIDER FACE's ground truth") from None
    missing = [name for name in wanted if name not in found]
    if missing:
        raise EvaluationError(f"{file} lacks {', '.join(missing)}; expected WIDER FACE's ground truth")
    return found


def _photos(whole: dict[str, Any], lists: dict[str, Any]) -> Iterator[tuple[str, TrueFaces]]:
    for event, name in enumerate(_cells(whole["event_list"])):
        names, boxes = _cells(_cells(whole["file_list"])[event]), _cells(_cells(whole["face_bbx_list"])[event])
        members = {subset: _cells(_cells(each)[event]) for subset, each in lists.items()}
        for place, file in enumerate(names):
            own = np.asarray(boxes[place], np.float64).reshape(-1, 4)
            chosen = {subset: _mask(rows[place], len(own)) for subset, rows in members.items()}
            corners = np.concatenate([own[:, :2], own[:, :2] + own[:, 2:]], axis=1)
            yield f"{_text(name)}/{_text(file)}.jpg", TrueFaces(corners, chosen)


def _cells(array: Any) -> list[Any]:
    """The cells of a MATLAB cell array, in order."""
    return list(np.asarray(array, object).ravel())


def _text(cell: Any) -> str:
    return str(np.asarray(cell).ravel()[0])


def _mask(numbers: Any, count: int) -> NDArray[np.bool_]:
    """Faces counted from 1 -> which of `count` they are."""
    places = np.asarray(numbers, np.intp).ravel() - 1
    if places.size and (places.min() < 0 or places.max() >= count):
        raise ValueError(f"face {places.max() + 1} of {count}")
    mask = np.zeros(count, np.bool_)
    mask[places] = True
    return mask
