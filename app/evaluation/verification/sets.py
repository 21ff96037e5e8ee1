"""What a verification run works on: its pairs, and the photos that its tables are made of and checked on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.verification import folders, generated, lfw, packs
from app.evaluation.verification.pairs import Pairs
from app.evaluation.wording import Json

PACK = ".bin"


@dataclass(frozen=True, slots=True)
class Files:
    """The files and folders that were named; see `faceserve eval verification --help`."""

    images: Path | None
    pairs: Path | None
    choose_on: Path | None
    people: Path | None
    check_people: Path | None

    @property
    def packed(self) -> bool:
        """Whether the pairs lie in a pack of crops."""
        return self.pairs is not None and self.pairs.suffix == PACK

    def check(self) -> None:
        """Raises EvaluationError for files that do not go together."""
        if not self.packed and self.images is None:
            raise EvaluationError("where are the photos? give --images DIR, or --pairs FILE.bin for a pack of crops")
        others = {"--images": self.images, "--choose-on": self.choose_on, "--people": self.people}
        given = [flag for flag, path in (others | {"--check-people": self.check_people}).items() if path]
        if self.packed and given:
            raise EvaluationError(f"a pack has its photos in it and names no people: leave out {', '.join(given)}")

    def as_json(self) -> Json:
        """Their names, without the folders they lie in; null for what was not given."""
        return {
            "images": None if self.images is None else self.images.resolve().name,
            "pairs": "generated" if self.pairs is None else self.pairs.name,
            "choose_on": None if self.choose_on is None else self.choose_on.name,
            "people": None if self.people is None else self.people.name,
            "check_people": None if self.check_people is None else self.check_people.name,
        }


@dataclass(frozen=True, slots=True)
class Sets:
    """`table` and `check` are the photos whose impostor pairs make the FAR table and try it; None for none of their
    own. `choose_on` are pairs on which a threshold is chosen."""

    pairs: Pairs
    table: tuple[Photo, ...] | None = None
    check: tuple[Photo, ...] | None = None
    choose_on: Pairs | None = None

    def photos(self) -> Iterator[tuple[Photo, ...]]:
        """All photos, set by set."""
        yield self.pairs.photos
        for photos in (self.table, self.check, None if self.choose_on is None else self.choose_on.photos):
            if photos is not None:
                yield photos


def read_sets(files: Files) -> Sets:
    """Raises EvaluationError for files that do not go together or make no sense, OSError for those not there."""
    files.check()
    if files.pairs is not None and files.packed:
        return Sets(packs.read_pack(files.pairs))
    images = files.images
    assert images is not None
    everyone = None
    if files.pairs is None:
        everyone = folders.read_folder(images)
        pairs = generated.pairs_of(everyone)
    else:
        pairs = lfw.read_pairs(files.pairs, images)
    return Sets(
        pairs,
        everyone if files.people is None else lfw.read_people(files.people, images),
        None if files.check_people is None else lfw.read_people(files.check_people, images),
        None if files.choose_on is None else lfw.read_pairs(files.choose_on, images),
    )
