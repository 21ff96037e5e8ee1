"""Requests that run as shown, on the docs page: a small real face, enrolled and recognised as alice."""

from __future__ import annotations

import base64
import struct
from functools import cache
from importlib import resources
from typing import Any

Json = dict[str, Any]
IDENTITY = "alice"
ALICE = {"alice": {"value": IDENTITY}}


def bodies(dimension: int) -> dict[tuple[str, str], dict[str, Json]]:
    """(method, route) -> name of the example -> JSON body. `dimension` is the loaded embedder's."""
    face = _face()
    vector = base64.b64encode(struct.pack(f"<{dimension}f", *[dimension**-0.5] * dimension)).decode()
    return {
        ("post", "/detect"): {
            "one image": {"image": face},
            "with quality": {"image": face, "min_score": 0.6, "return": ["landmarks", "quality"]},
            "several images": {"images": [face, face], "normalized": True},
        },
        ("post", "/recognize"): {
            "one image": {"image": face},
            "with options": {"image": face, "threshold": 0.35, "top_k": 3, "face_selection": "largest"},
            "among some": {"image": face, "filter": {"team": ["blue", "red"]}},
            "only if sure": {"image": face, "min_margin": 0.05},
        },
        ("post", "/embed"): {"as base64": {"image": face, "encoding": "base64"}, "as numbers": {"image": face}},
        ("post", "/verify"): {"two images": {"image": face, "reference": face}},
        ("post", "/annotate"): {"as PNG": {"image": face, "format": "png"}},
        ("post", "/gallery"): {
            "enrol": {"identity": IDENTITY, "image": face, "metadata": {"team": "blue"}},
            "only a good face": {
                "identity": IDENTITY,
                "image": face,
                "quality_filter": {"min_detection_score": 0.9, "min_sharpness": 0.2, "max_yaw": 45},
            },
            "without a look at others": {"identity": IDENTITY, "image": face, "warn_similar": False},
            "for a day": {"identity": IDENTITY, "image": face, "ttl_s": 86_400},
            "until then": {"identity": IDENTITY, "image": face, "expires_at": "2099-12-31T18:00:00+01:00"},
        },
        ("patch", "/gallery/{identity}"): {
            "new metadata": {"metadata": {"team": "red"}},
            "to stay": {"expires_at": None},
        },
        ("post", "/gallery:search"): {
            "one embedding": {"embeddings": [vector], "threshold": 0.4},
            "among some": {"embeddings": [vector], "filter": {"team": "blue"}, "top_k": 3, "min_margin": 0.05},
        },
        ("post", "/collections"): {
            "create": {"name": "visitors"},
            "by the mean": {"name": "staff", "scoring": "mean", "max_faces": 20},
            "for a month each": {"name": "guests", "ttl_s": 2_592_000},
        },
    }


@cache
def _face() -> str:
    return base64.b64encode((resources.files("app") / "samples" / "face.jpg").read_bytes()).decode()
