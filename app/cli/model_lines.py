"""Models for the terminal: what is in the store, and what the catalogue offers."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.catalogue import Offer, Pack
    from engines.models import ModelSpec


def line_of(spec: ModelSpec) -> dict[str, Any]:
    """A model of the store, in short."""
    from engines.catalogue import packs_of

    return {
        "name": spec.name,
        "installed": True,
        "task": spec.task,
        "family": spec.family,
        "packs": packs_of(spec.name),
        "sizes": [f"{height}x{width}" for height, width in spec.sizes],
        "dimension": spec.dimension,
        "size_bytes": sum(file.bytes for file in spec.files),
        "licence": spec.licence,
        "commercial_use": spec.commercial_use,
        "source": spec.source,
        "digest": spec.digest,
        "folder": str(spec.files[0].path.parent),
    }


def line_of_offer(offer: Offer) -> dict[str, Any]:
    """A model that can be pulled, in short. `size_bytes` is its files', `download_bytes` what has to be fetched."""
    from engines.catalogue import packs_of

    return {
        "name": offer.name,
        "installed": False,
        "task": offer.task,
        "family": offer.family,
        "packs": packs_of(offer.name),
        "sizes": [],
        "dimension": None,
        "size_bytes": offer.size_bytes,
        "download_bytes": sum(min(place.bytes for place in file.found_in) for file in offer.files),
        "licence": offer.licence.text,
        "commercial_use": offer.licence.commercial_use,
        "accept_licence": offer.licence.accept or None,
        "source": offer.source,
        "digest": None,
        "folder": None,
    }


def all_of(spec: ModelSpec) -> dict[str, Any]:
    """Everything known of a model of the store."""
    return line_of(spec) | {
        "note": spec.note,
        "source_sha256": spec.source_sha256,
        "urls": spec.urls,
        "channels": spec.channels,
        "landmark_order": spec.landmark_order,
        "crop": spec.crop,
        "margin_px": spec.margin_px,
        "thresholds": spec.thresholds.as_dict() if spec.thresholds else None,
        "files": [{"name": file.path.name, "sha256": file.sha256, "bytes": file.bytes} for file in spec.files],
    }


def all_of_offer(offer: Offer) -> dict[str, Any]:
    """Everything known of a model that can be pulled."""
    from engines.families import family_called

    family = family_called(offer.family)
    expected = {key: value for key, value in asdict(offer.expected).items() if value is not None}
    return line_of_offer(offer) | {
        "note": offer.note,
        "licence_url": offer.licence.url,
        "landmark_order": family.landmark_order,
        "crop": family.crop if offer.task == "embedder" else None,
        "expected": expected or "what its family usually expects",
        "thresholds": offer.thresholds.as_dict() if offer.thresholds else None,
        "files": [asdict(file) for file in offer.files],
    }


def line_of_pack(pack: Pack) -> dict[str, Any]:
    """A pack: a detector and an embedder."""
    return {"pack": pack.name, "about": pack.about, "models": pack.models}
