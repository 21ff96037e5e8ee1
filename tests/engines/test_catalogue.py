"""The catalogue: complete, consistent, and what the document says."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from engines.base import ModelError
from engines.catalogue import OFFERS, PACKS, Offer, models_called, packs_of
from engines.families import FAMILIES
from engines.models import SAFE_NAME, SHIPPED, ModelStore

DOCUMENT = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
SHA256 = re.compile(r"[0-9a-f]{64}")
BOTH = [pytest.param(offer, id=name) for name, offer in OFFERS.items()]


@pytest.mark.parametrize("offer", BOTH)
def test_an_offer_is_complete(offer: Offer) -> None:
    assert SAFE_NAME.fullmatch(offer.name)
    assert FAMILIES[offer.family].task == offer.task
    assert offer.licence.text
    assert offer.files
    for file in offer.files:
        assert SHA256.fullmatch(file.sha256)
        assert file.bytes > 0
        assert file.found_in
        for place in file.found_in:
            assert SHA256.fullmatch(place.sha256)
            assert all(urlsplit(url).scheme == "https" and url.endswith(f"/{place.name}") for url in place.urls)
            assert place.urls
            assert (place.name == file.name) == (place.sha256 == file.sha256)
            if place.name == file.name:
                assert place.bytes == file.bytes
            else:
                assert place.name.endswith(".zip")


@pytest.mark.parametrize("offer", BOTH)
def test_what_is_not_for_commercial_use_has_to_be_accepted(offer: Offer) -> None:
    assert offer.licence.commercial_use != bool(offer.licence.accept)
    assert urlsplit(offer.licence.url).scheme == "https"


@pytest.mark.parametrize("offer", BOTH)
def test_thresholds_that_nobody_measured_promise_no_far(offer: Offer) -> None:
    if offer.thresholds is not None:
        assert offer.task == "embedder"
        assert offer.thresholds.verify_far is None
        assert offer.thresholds.table == ()
        assert offer.thresholds.note


def test_a_pack_is_a_detector_and_an_embedder_from_one_place() -> None:
    shipped = {spec.name: spec.task for spec in ModelStore(SHIPPED).list()}
    tasks = shipped | {name: offer.task for name, offer in OFFERS.items()}
    for pack in PACKS.values():
        assert [tasks[name] for name in pack.models] == ["detector", "embedder"]
    assert set(PACKS["default"].models) == set(shipped)
    assert not set(shipped) & set(OFFERS)
    for name in ("buffalo_s", "buffalo_m", "buffalo_l"):
        places = [set(file.found_in) for model in PACKS[name].models for file in OFFERS[model].files]
        (together,) = set.intersection(*places)
        assert together.name == f"{name}.zip"


def test_a_name_is_a_pack_or_a_model() -> None:
    assert models_called("yunet+sface") == ("yunet_2023mar", "sface_2021dec")
    assert models_called("w600k_r50") == ("w600k_r50",)
    assert packs_of("w600k_r50") == ["buffalo_m", "buffalo_l"]
    assert not set(PACKS) & set(OFFERS)
    with pytest.raises(ModelError, match=r"buffalo_x.*packs are default, yunet\+sface.*det_10g"):
        models_called("buffalo_x")


def row_of(offer: Offer) -> str:
    """The offer's line of the table in docs/models.md."""
    packs = ", ".join(f"`{pack}`" for pack in packs_of(offer.name))
    files = "<br>".join(f"`{file.name}`, {file.bytes:,} bytes, `{file.sha256}`" for file in offer.files)
    commercial = "yes" if offer.licence.commercial_use else "**no**"
    thresholds = "none" if offer.thresholds is None else f"{offer.thresholds.verify}, FAR not published"
    cosine = thresholds if offer.task == "embedder" else ""
    return (
        f"| `{offer.name}` | {packs} | {offer.task}, `{offer.family}` | {offer.licence.text} | {commercial} | "
        f"{cosine} | {files} |"
    )


def test_the_document_has_the_catalogue() -> None:
    lines = DOCUMENT.splitlines()
    missing = [row for row in map(row_of, OFFERS.values()) if row not in lines]
    assert not missing, "docs/models.md lacks\n" + "\n".join(missing)
    for pack in PACKS.values():
        assert f"`{pack.name}`" in DOCUMENT
    for place in {place for offer in OFFERS.values() for file in offer.files for place in file.found_in}:
        if place.name.endswith(".zip"):
            assert f"| `{place.name}` | {place.bytes:,} | `{place.sha256}` |" in lines
    for accept in {offer.licence.accept for offer in OFFERS.values()} - {""}:
        assert f"--accept-licence {accept}" in DOCUMENT
