"""The plain FastAPI service that the wire is measured against: the code of most tutorials, without a network.

Run with uvloop and httptools as ours is, without an access log as ours is.
"""

from __future__ import annotations

import base64
import sys

import cv2
import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel


class DetectRequest(BaseModel):
    image: str


class Face(BaseModel):
    x: float
    y: float
    w: float
    h: float
    score: float


class ImageSize(BaseModel):
    width: int
    height: int


class DetectResponse(BaseModel):
    image: ImageSize
    faces: list[Face]


app = FastAPI()


@app.post("/detect")
def detect(request: DetectRequest) -> DetectResponse:
    """Decodes the image; the network that would follow finds nobody."""
    image = cv2.imdecode(np.frombuffer(base64.b64decode(request.image), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise HTTPException(422, "not an image")
    return DetectResponse(image=ImageSize(width=image.shape[1], height=image.shape[0]), faces=[])


if __name__ == "__main__":
    cv2.setNumThreads(1)
    uvicorn.run(app, port=int(sys.argv[sys.argv.index("--port") + 1]), log_level="warning", access_log=False)
