"""One photo -> its faces, its crop or its embedding: from the cache, or else worked out as the service does it."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from app import images
from app.build import Batched
from app.defaults import plausible
from app.evaluation.cache import Cache
from app.evaluation.keys import Keys
from app.evaluation.method import Method, chosen, joined, with_mirrored
from app.evaluation.photos import EvaluationError, Photo
from app.evaluation.rows import NO_FACE, Face, pack_detections, pack_face, unpack_detections, unpack_face
from app.pipeline import FaceChoice
from engines.base import Image
from engines.crops import Crops
from engines.detector import Detections

_NOBODY = Detections(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty((0, 0, 2), np.float32))


class Steps:
    """What is done with a photo. Every method may be called from any thread; the arrays it returns are the caller's."""

    def __init__(self, batched: Batched, keys: Keys, cache: Cache) -> None:
        """Owns none of them."""
        self._pipeline, self._defaults = batched.pipeline, batched.defaults
        self._keys = keys
        self._cache = cache

    def require_crops(self) -> None:
        """Raises LandmarksMissingError where no face that the detector finds can be cut out for the embedder."""
        self._pipeline.crops(np.zeros((1, 1, 3), np.uint8), _NOBODY)

    def detections(self, photo: Photo, min_score: float) -> Detections | None:
        """All faces of the photo that can be aligned, best first; None for a photo that cannot be read or decoded."""
        picture = self._read(photo)
        return None if picture is None else self._detections(picture, min_score)

    def face(self, photo: Photo, method: Method) -> Face | None:
        """The chosen face with its embedding, `rows.NO_FACE` where none is found; None for a photo that cannot be read
        or decoded. EvaluationError for an aligned photo that is no crop of the embedder's."""
        picture = self._read(photo)
        if picture is None:
            return None
        key = self._key(method)
        kept = self._cache.get(picture.digest, key)
        if kept is None:
            face = self._ready(picture, method) if method.aligned else self._found(picture, method)
            if face is None:
                return None
            kept = pack_face(face)
            self._cache.put(picture.digest, key, kept)
        return unpack_face(kept)

    def crop(self, photo: Photo, method: Method) -> Image | None:
        """What `face` embeds, (h, w, 3) uint8 BGR; None for a photo without a face, or that cannot be read or decoded.

        Raises what `face` raises.
        """
        picture = self._read(photo)
        if picture is None or picture.image is None:
            return None
        if method.aligned:
            crops = self._whole(picture, picture.image)
        else:
            faces = self._detections(picture, self._min_score(method))
            if not faces:
                return None
            _, crops = self._cut(picture.image, faces, method)
        crop: Image = crops[0]
        return crop

    def _read(self, photo: Photo) -> _Picture | None:
        try:
            return _Picture(photo, self._defaults.max_pixels)
        except OSError:
            return None

    def _key(self, method: Method) -> bytes:
        if method.aligned:
            return self._keys.ready_crop(flip=method.flip)
        return self._keys.face(method.face, self._min_score(method), flip=method.flip)

    def _min_score(self, method: Method) -> float:
        return self._defaults.min_score if method.min_score is None else method.min_score

    def _detections(self, picture: _Picture, min_score: float) -> Detections | None:
        key = self._keys.detections(min_score)
        kept = self._cache.get(picture.digest, key)
        if kept is None:
            image, found = picture.image, None
            if image is not None:
                choice = FaceChoice(min_score=min_score, small_scale=self._defaults.small_scale)
                found = plausible(self._pipeline.detect(image, choice))
            kept = pack_detections(found)
            self._cache.put(picture.digest, key, kept)
        return unpack_detections(kept)

    def _found(self, picture: _Picture, method: Method) -> Face | None:
        faces = self._detections(picture, self._min_score(method))
        if faces is None or not len(faces):
            return None if faces is None else NO_FACE
        if picture.image is None:
            return None
        one, crops = self._cut(picture.image, faces, method)
        return Face(self._embedding(crops, method), one.boxes[0], float(one.scores[0]), len(faces))

    def _ready(self, picture: _Picture, method: Method) -> Face | None:
        if picture.image is None:
            return None
        crops = self._whole(picture, picture.image)
        height, width = crops.shape[1:3]
        return Face(self._embedding(crops, method), np.array([0, 0, width, height], np.float32), 1.0, 1)

    def _whole(self, picture: _Picture, image: Image) -> Crops:
        if image.shape[:2] != self._pipeline.crop_size:
            (height, width), (wanted_height, wanted_width) = image.shape[:2], self._pipeline.crop_size
            raise EvaluationError(
                f"{picture.name} is {height}x{width}, but the embedder takes aligned crops of {wanted_height}x"
                f"{wanted_width} (height x width): evaluate photos, or an embedder of that size"
            )
        return image[np.newaxis]

    def _cut(self, image: Image, faces: Detections, method: Method) -> tuple[Detections, Crops]:
        one = chosen(faces, method.face, (image.shape[0], image.shape[1]))
        return one, self._pipeline.crops(image, one)

    def _embedding(self, crops: Crops, method: Method) -> NDArray[np.float32]:
        embeddings, _ = self._pipeline.embed(with_mirrored(crops) if method.flip else crops)
        embedding: NDArray[np.float32] = (joined(embeddings) if method.flip else embeddings)[0]
        return embedding


class _Picture:
    """The bytes of a photo, and what is worked out of them once it is asked for. One thread's alone."""

    def __init__(self, photo: Photo, max_pixels: int) -> None:
        """Raises OSError for a file that cannot be read."""
        self.name = photo.name
        self._data, self._max_pixels = photo.read(), max_pixels
        self.digest = sha256(self._data).digest()
        self._decoded: tuple[Image | None] | None = None

    @property
    def image(self) -> Image | None:
        """The picture; None where it cannot be decoded, or is too large."""
        if self._decoded is None:
            try:
                self._decoded = (images.decode(self._data, max_pixels=self._max_pixels),)
            except images.ImageError:
                self._decoded = (None,)
        return self._decoded[0]
