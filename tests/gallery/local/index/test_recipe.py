"""The index setting: what is understood, and what is refused and why."""

from __future__ import annotations

import faiss
import pytest

from gallery.local.index.recipe import LEAST_ROWS, Recipe, RecipeError


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("IVF1024,Flat", "IVF1024,Flat:nprobe=16"),
        ("IVF4096,SQfp16:nprobe=64", "IVF4096,SQfp16:nprobe=64"),
        ("IVF8,SQ8", "IVF8,SQ8:nprobe=8"),
        ("IVF1024,PQ32", "IVF1024,PQ32:nprobe=16"),
        ("HNSW32", "HNSW32:efSearch=64,efConstruction=80"),
        ("HNSW32,SQ8:efSearch=128", "HNSW32,SQ8:efSearch=128,efConstruction=80"),
        ("HNSW16:efConstruction=200,efSearch=32", "HNSW16:efSearch=32,efConstruction=200"),
    ],
)
def test_what_is_understood_is_said_in_full_and_reads_back(text: str, means: str) -> None:
    recipe = Recipe.parse(text)
    assert str(recipe) == means
    assert Recipe.parse(means) == recipe


def test_exact_is_no_recipe() -> None:
    assert Recipe.parse("exact") is None


@pytest.mark.parametrize("codes", ["Flat", "SQfp16", "SQ8", "SQ4", "PQ8"])
def test_all_lists_that_are_understood_give_inner_products_and_let_go_of_rows(codes: str) -> None:
    recipe = Recipe.parse(f"IVF16,{codes}")
    assert recipe
    made = faiss.index_factory(64, recipe.factory, faiss.METRIC_INNER_PRODUCT)
    assert isinstance(made, faiss.IndexIVF)
    assert made.metric_type == faiss.METRIC_INNER_PRODUCT


@pytest.mark.parametrize("codes", ["", ",Flat", ",SQfp16", ",SQ8"])
def test_all_graphs_that_are_understood_give_inner_products(codes: str) -> None:
    recipe = Recipe.parse(f"HNSW16{codes}")
    assert recipe
    made = faiss.index_factory(64, recipe.factory, faiss.METRIC_INNER_PRODUCT)
    assert isinstance(made, faiss.IndexHNSW)
    assert made.metric_type == faiss.METRIC_INNER_PRODUCT


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no index known"),
        ("banana", "no index known"),
        ("Exact", "no index known"),
        ("ivf1024,Flat", "no index known"),
        ("IVF1024", "no index known"),
        ("IVF0,Flat", "no index known"),
        ("IVF1,Flat", "expected 2 to 65536"),
        ("IVF100000,Flat", "expected 2 to 65536"),
        ("HNSW2", "expected 4 to 128"),
        ("HNSW32,PQ16", "no index known"),
        ("Flat", "exact"),
        ("SQ8", "exact"),
        ("PCA64,IVF1024,Flat", "transforms"),
        ("OPQ32,IVF1024,PQ32", "transforms"),
        ("IVF1024,PQ32x4fs", "fast-scan"),
        ("IVF1024,PQ32,RFlat", "whole rows anyway"),
        ("IDMap,HNSW32", "told apart"),
        ("IVF65536_HNSW32,Flat", "plain lists"),
        ("IMI2x8,Flat", "plain lists"),
        ("NSG32", "nobody can be added"),
        ("LSH", "cannot be removed"),
        ("IVF1024,RaBitQ", "cannot be removed"),
        ("IVF1024,Flat:nprobe=2000", "of 1024 lists"),
        ("IVF1024,Flat:nprobe=0", "takes nprobe"),
        ("IVF1024,Flat:nprobe=many", "takes nprobe"),
        ("IVF1024,Flat:efSearch=8", "takes nprobe"),
        ("IVF1024,Flat:nprobe=8,nprobe=9", "each once"),
        ("IVF1024,Flat:", None),
        ("HNSW32:efSearch=0", "takes efSearch"),
        ("HNSW32:nprobe=4", "takes efSearch"),
        ("IVF1024,Flat nprobe=8", "no index known"),
    ],
)
def test_nonsense_and_what_cannot_be_kept_is_refused(text: str, why: str | None) -> None:
    if why is None:
        assert Recipe.parse(text) == Recipe.parse(text.rstrip(":"))
        return
    with pytest.raises(RecipeError, match=why):
        Recipe.parse(text)


def test_short_codes_need_a_dimension_of_equal_parts() -> None:
    recipe = Recipe.parse("IVF1024,PQ48")
    assert recipe
    recipe.require_dimension(96)
    with pytest.raises(RecipeError, match=r"256 numbers: take PQ8, PQ16, PQ32, PQ64, PQ128"):
        recipe.require_dimension(256)


@pytest.mark.parametrize(
    ("text", "least"),
    [("IVF16,Flat", LEAST_ROWS), ("IVF1024,Flat", 39 * 1024), ("IVF64,PQ8", LEAST_ROWS), ("HNSW8", LEAST_ROWS)],
)
def test_there_must_be_rows_enough(text: str, least: int) -> None:
    recipe = Recipe.parse(text)
    assert recipe
    assert recipe.least_rows == least
