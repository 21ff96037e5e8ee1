"""Models by name into the store: obtained, checked, imported with what the catalogue knows of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.base import ModelError
from engines.catalogue import OFFERS, Download, Offer, UpstreamFile
from engines.downloads.sources import Source
from engines.file_lock import file_lock, is_locked
from engines.importing import fingerprint, import_model
from engines.manifest import ModelSpec
from engines.models import ModelStore, require_onnx

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is in the store now; `fresh` unless it was before."""

    spec: ModelSpec
    fresh: bool


def pull(
    names: Sequence[str],
    source: Source,
    *,
    into: ModelStore,
    folder: Path,
    accepted: Collection[str] = (),
    replace: bool = False,
    keep: bool = False,
    tell: Tell = lambda text: None,
) -> Iterator[Pulled]:
    """Brings the models `names` into the store, one after another.

    Downloads lie in `folder` until all are imported, or for good (`keep`); an archive that several models lie in is
    fetched once. Of two pulls that need the same download one waits, and `tell` hears of it. Whatever fails, the store
    has whole models only, and the downloads stay for the next time.

    Raises ModelError for a licence that is not among the `accepted`, for a name that another model has unless it is to
    be replaced, and for files that cannot be had or are not what they should be; RuntimeMissingError without `onnx`.
    """
    offers = {name: OFFERS[name] for name in names if name in OFFERS and not _is_there(OFFERS[name], into, replace)}
    for offer in offers.values():
        _require_accepted(offer, accepted)
    if offers:
        require_onnx()
        folder.mkdir(parents=True, exist_ok=True)
    files = [file for offer in offers.values() for file in offer.files]
    places = {file: _place(file, files) for file in files}
    downloads = sorted(set(places.values()), key=lambda download: download.name)
    with ExitStack() as stack:
        for download in downloads:  # always in this order, so that no two pulls wait for each other
            stack.enter_context(_alone_with(folder / download.name, tell))
        for name in names:
            fresh = name in offers and not _is_there(offers[name], into, replace)
            if fresh:
                _import(offers[name], places, source, folder, into, replace=replace)
            yield Pulled(into.get(name), fresh)
        for download in () if keep else downloads:
            (folder / download.name).unlink(missing_ok=True)


def _is_there(offer: Offer, store: ModelStore, replace: bool) -> bool:
    """Whether the store has this model, from these files; ModelError where it has another of that name."""
    if replace or all(spec.name != offer.name for spec in store.list()):
        return False
    if store.get(offer.name).source_sha256 == fingerprint([file.sha256 for file in offer.files]):
        return True
    raise ModelError(f"there is another model {offer.name!r} already: remove it, or say --replace")


def _require_accepted(offer: Offer, accepted: Collection[str]) -> None:
    licence = offer.licence
    if licence.accept and licence.accept not in accepted:
        raise ModelError(
            f"{offer.name} comes under a licence that has to be accepted: {licence.text}. Read {licence.url}, then say "
            f"--accept-licence {licence.accept}"
        )


def _place(file: UpstreamFile, files: Sequence[UpstreamFile]) -> Download:
    """Of the downloads that the file lies in the one with most of what is wanted."""
    return max(file.found_in, key=lambda download: sum(download in other.found_in for other in files))


@contextmanager
def _alone_with(path: Path, tell: Tell) -> Iterator[None]:
    """Nobody else fetches or unpacks this download meanwhile; what is unpacked is gone at the end."""
    lock, unpacked = path.with_name(f"{path.name}.lock"), _unpacked(path)
    if is_locked(lock):
        tell(f"waiting for another pull of {path.name}")
    with file_lock(lock):
        shutil.rmtree(unpacked, ignore_errors=True)  # of a pull that was killed
        try:
            yield
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _unpacked(path: Path) -> Path:
    return path.with_name(f"{path.name}.unpacked")


def _import(
    offer: Offer,
    places: dict[UpstreamFile, Download],
    source: Source,
    folder: Path,
    store: ModelStore,
    *,
    replace: bool,
) -> None:
    paths = []
    for file in offer.files:
        unpacked = _unpacked(folder / places[file].name)
        unpacked.mkdir(exist_ok=True)
        paths.append(source.obtain(file, places[file], folder, unpacked))
    import_model(
        paths,
        into=store,
        family=offer.family,
        name=offer.name,
        expected=offer.expected,
        licence=offer.licence.text,
        commercial_use=offer.licence.commercial_use,
        note=offer.note,
        source=offer.source,
        urls=[url for file in offer.files for url in places[file].urls],
        thresholds=offer.thresholds,
        replace=replace,
    )
