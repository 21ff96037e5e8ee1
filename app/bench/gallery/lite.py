"""A peer that searches through a server: milvus-lite, asked with its own client, as one would without this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

_COLLECTION = "crowd"
_PAGE_ROWS = 5_000


class MilvusLite:
    """The rows of (n, D) float32 unit embeddings in a file in `folder`, in a FLAT index by inner product. Its server
    ends with the process."""

    def __init__(self, folder: Path, embeddings: NDArray[np.float32]) -> None:
        self._client = MilvusClient(str(folder / "lite.db"))
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("number", DataType.INT64, is_primary=True)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=embeddings.shape[1])
        index = MilvusClient.prepare_index_params()
        index.add_index("embedding", index_type="FLAT", metric_type="IP")
        self._client.create_collection(_COLLECTION, schema=schema, index_params=index)
        for start in range(0, len(embeddings), _PAGE_ROWS):
            page = embeddings[start : start + _PAGE_ROWS]
            rows = [{"number": start + number, "embedding": row} for number, row in enumerate(page)]
            self._client.insert(_COLLECTION, rows)
        # Rows that are not flushed are searched twenty times as slowly.
        self._client.flush(_COLLECTION)
        self._client.release_collection(_COLLECTION)
        self._client.load_collection(_COLLECTION)
        self.search(embeddings[:1], 1)  # the first is slow

    def search(self, queries: NDArray[np.float32], top_k: int) -> list[list[int]]:
        """For each of (n, D) queries the numbers of the nearest rows."""
        found = self._client.search(_COLLECTION, data=list(queries), limit=top_k, search_params={"metric_type": "IP"})
        return [[hit["number"] for hit in hits] for hits in found]
