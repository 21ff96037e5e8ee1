"""Where the files of a model come from: the net, or a folder that somebody filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engines.base import ModelError, RuntimeMissingError
from engines.catalogue import Download, UpstreamFile
from engines.downloads.archive import extract
from engines.downloads.checks import require_bytes

if TYPE_CHECKING:
    from engines.downloads.fetch import Patience, Progress


class Source(Protocol):
    """What `pull` takes files from."""

    def obtain(self, file: UpstreamFile, place: Download, folder: Path, unpacked: Path) -> Path:
        """Where the file lies, its bytes checked. `place` is the download it is, or lies in; downloads go into
        `folder`, what is taken out of an archive into `unpacked`, which is emptied later. Raises ModelError."""


@dataclass(frozen=True, slots=True)
class FromNet:
    """Downloads, with the addresses' folders `mirrors` tried first; see `fetch`."""

    mirrors: Sequence[str] = ()
    patience: Patience | None = None
    progress: Progress = lambda name, done, total: None

    def obtain(self, file: UpstreamFile, place: Download, folder: Path, unpacked: Path) -> Path:
        """The file from `place`, downloaded unless it lies there; RuntimeMissingError without the package for it."""
        try:
            from engines.downloads.fetch import Patience, fetch
        except ImportError as error:
            raise RuntimeMissingError(
                "downloading needs the extra `convert`: pip install 'faceserve[convert]'"
            ) from error
        patience = self.patience or Patience()
        path = fetch(place, folder, mirrors=self.mirrors, patience=patience, progress=self.progress)
        return path if place.name == file.name else extract(path, file, unpacked)


@dataclass(frozen=True, slots=True)
class FromFolder:
    """No network: the folder has the files by name, or an archive that they lie in. They stay there."""

    path: Path

    def obtain(self, file: UpstreamFile, place: Download, folder: Path, unpacked: Path) -> Path:
        """The file, or what it lies in, from the folder."""
        if (found := self.path / file.name).is_file():
            require_bytes(found, file)
            return found
        for archive in file.found_in:
            if (found := self.path / archive.name).is_file():
                require_bytes(found, archive)
                return extract(found, file, unpacked)
        names = dict.fromkeys([file.name, *(archive.name for archive in file.found_in)])
        raise ModelError(f"{self.path} has no {' or '.join(names)}")
