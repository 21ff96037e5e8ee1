"""What the service can do with pictures, without HTTP: bytes and options in, the route's JSON out.

One image a call. Every method may be called from any thread.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app import enrolment, images, transfer
from app.annotate import annotated
from app.defaults import Defaults, plausible
from app.describe import Description, Pair
from app.errors import FaceNotDetectedError, InvalidRequestError, kind_of
from app.naming import Naming, unit_embeddings
from app.pipeline import Embeddings, Pipeline, largest
from app.present import (
    FRACTION_DIGITS,
    SCORE_DIGITS,
    Json,
    Stopwatch,
    asked_json,
    crops_base64,
    decision_json,
    faces_json,
    match_json,
    named_json,
    quality_json,
    threshold_json,
)
from app.schemas import (
    AnnotateOptions,
    DetectOptions,
    EmbedOptions,
    EnrollOptions,
    FaceOptions,
    RecognizeOptions,
    SearchRequest,
    VerifyOptions,
)
from engines.base import Image
from engines.crops import Crops
from engines.detector import Detections
from gallery.gallery import Gallery
from gallery.types import GalleryError, Match, NewFace, Terms

log = logging.getLogger("faceserve")


class FaceService:
    """Pipeline and gallery behind the routes, the command line and the library. Owns neither (see `app/build.py`)."""

    def __init__(
        self, pipeline: Pipeline, gallery: Gallery, about: Description, pair: Pair, defaults: Defaults
    ) -> None:
        self._pipeline = pipeline
        self.gallery = gallery
        self.about = about
        self._defaults = defaults
        self._embedder = pair.embedder
        self._embedders = about.embedders
        self._naming = Naming(gallery, about.embedders)
        self._names = {"detector": pair.detector.name, "embedder": pair.embedder.name}

    @property
    def dimension(self) -> int:
        """D, the length of an embedding."""
        return self._pipeline.dimension

    @property
    def fault(self) -> str | None:
        """Why no picture can be worked on any more, or None: then the process is to be replaced."""
        return self._pipeline.fault

    def detect(self, data: bytes, options: DetectOptions) -> Json:
        """The faces of one image. None is no error: `faces` is empty."""
        watch = Stopwatch()
        image, faces = self._seen(data, options, watch)
        crops = self._crops_if_shown(image, faces, options, watch)
        return self._answer(image, self._shown(image, faces, crops, options), watch)

    def recognize(self, data: bytes, options: RecognizeOptions) -> Json:
        """Every face of one image, named from the collection; below the threshold a face is nobody."""
        watch = Stopwatch()
        image, faces = self._seen(data, options, watch)
        if options.face_selection == "largest":
            faces = largest(faces)
        crops, embeddings = self._embedded(image, faces, watch)
        with watch.step("search"):
            line, searched = self._naming.search(options, embeddings, options.top_k)
        shown = self._shown(image, faces, crops, options)
        for face, found in zip(shown, searched, strict=True):
            face.update(named_json(found, options.min_margin))
        return asked_json(options) | threshold_json(line) | self._answer(image, shown, watch)

    def embed(self, data: bytes, options: EmbedOptions) -> Json:
        """The embeddings of the faces of one image, or of one ready crop (`aligned`)."""
        watch = Stopwatch()
        if options.aligned:
            image, shown, crops = self._ready_crop(data, watch)
        else:
            image, faces = self._seen(data, options, watch)
            with watch.step("align"):
                crops = self._pipeline.crops(image, faces)
            shown = self._shown(image, faces, crops, options)
        with watch.step("embed"):
            embeddings, norms = self._pipeline.embed(crops)
        for face, embedding, norm in zip(shown, embeddings, norms.tolist(), strict=True):
            face["embedding"] = _encoded(embedding) if options.encoding == "base64" else embedding.tolist()
            face["norm"] = round(norm, SCORE_DIGITS)
        return self._answer(image, shown, watch)

    def verify(self, data: bytes, reference: bytes | None, options: VerifyOptions) -> Json:
        """Whether the largest faces of two images are one person's, or that of an image and an identity.

        Raises FaceNotDetectedError when an image shows no face.
        """
        watch = Stopwatch()
        seen = [self._largest_face(data, "image", options, watch)]
        if reference is not None:
            seen.append(self._largest_face(reference, "reference", options, watch))
        with watch.step("align"):
            crops = np.concatenate([self._pipeline.crops(image, face) for image, face in seen])
        with watch.step("embed"):
            embeddings, _ = self._pipeline.embed(crops)
        face_id = None
        with watch.step("search"):
            if reference is not None:
                similarity = float(np.clip(embeddings[0] @ embeddings[1], -1, 1))
            else:
                similarity, face_id = self._naming.similarity(options.collection, str(options.identity), embeddings[0])
        line = self._naming.line_for_verify(options.threshold)
        shown = [faces_json(face, image, normalized=False, landmarks=True)[0] for image, face in seen]
        return threshold_json(line) | {
            "match": similarity >= line.threshold,
            "similarity": round(similarity, FRACTION_DIGITS),
            "model": self._names,
            "face": shown[0],
            "reference": shown[1] if len(shown) > 1 else None,
            "face_id": face_id,
            "timings_ms": watch.read_ms(),
        }

    def annotate(self, data: bytes, options: AnnotateOptions) -> tuple[bytes, str]:
        """The image with boxes, landmarks and names drawn on it, and its media type."""
        watch = Stopwatch()
        image, faces = self._seen(data, options, watch)
        matches: list[list[Match]] | None = None
        if options.recognize:
            _, embeddings = self._embedded(image, faces, watch)
            searched = self._naming.search(options, embeddings, 1)[1]
            matches = [[found.named] if found.named else [] for found in searched]
        return annotated(image, faces, matches, options.format)

    def prepare(self, data: bytes, options: EnrollOptions) -> NewFace:
        """The one face of an image, ready to enrol.

        Raises FaceNotDetectedError, MultipleFacesError, LowQualityError, or an image error.
        """
        image, faces = self._seen(data, options, Stopwatch())
        enrolment.refuse_unless_one(len(faces))
        crops = self._pipeline.crops(image, faces)
        quality = self._pipeline.qualities(crops, faces)[0]
        enrolment.refuse_low_quality(quality, float(faces.scores[0]), options.quality_filter)
        embeddings, _ = self._pipeline.embed(crops)
        return enrolment.new_face(data, embeddings[0], quality, crops[0] if self._defaults.keep_crops else None)

    def enroll(
        self,
        prepared: Sequence[NewFace | Exception],
        options: EnrollOptions,
        *,
        request_id: str,
        idempotency: tuple[str, str] | None = None,
    ) -> bytes:
        """Enrols what `prepare` gave, in order, and returns the JSON answer; the exceptions among them are `rejected`.

        With `idempotency` (key, fingerprint of the request) the answer is kept and given again. Raises the first
        exception when nothing is left to enrol, and the gallery's errors.
        """
        request = enrolment.Request(prepared, options, self._embedder.digest, request_id)
        asked = self._defaults.warn_similar if options.warn_similar is None else options.warn_similar
        with self._embedders.naming():
            return enrolment.enroll(self.gallery, request, idempotency, self._naming.lookalikes if asked else None)

    def recall(self, options: EnrollOptions, key: str, fingerprint: str) -> bytes | None:
        """The earlier answer to this Idempotency-Key, if any; IdempotencyConflictError for another body."""
        return self.gallery.recall(options.collection, key, fingerprint)

    def search(self, request: SearchRequest) -> Json:
        """Identities for ready embeddings; they are brought to unit length first."""
        embeddings = unit_embeddings(request.embeddings, self._pipeline.dimension)
        line, searched = self._naming.search(request, embeddings, request.top_k)
        results = [[match_json(match) for match in found.matches] for found in searched]
        decided = {} if request.min_margin is None else {"decisions": [decision_json(found) for found in searched]}
        return asked_json(request) | {"results": results} | decided | threshold_json(line)

    def collections(self) -> list[Json]:
        """Every collection, with its embedder and whether that is the one loaded."""
        return [self._embedders.described(collection) for collection in self.gallery.collections()]

    def collection(self, name: str) -> Json:
        """One of them; CollectionNotFoundError."""
        return self._embedders.described(self.gallery.collection(name))

    def new_collection(self, name: str, terms: Terms | None = None) -> Json:
        """A new collection, bound to the embedder that is loaded."""
        digest, dimension = self._embedder.digest, self._pipeline.dimension
        created = self.gallery.create_collection(name, digest, dimension, terms or Terms())
        return self._embedders.described(created)

    def export(self, collection: str) -> Iterator[bytes]:
        """The collection as NDJSON, a line at a time."""
        return transfer.export_lines(self.gallery, collection)

    def import_lines(self, lines: Iterable[bytes], collection: str | None = None) -> Json:
        """Reads what `export` wrote; what is there already is skipped, so it may be repeated. Returns counts."""
        with self._embedders.naming():
            return transfer.import_lines(self.gallery, lines, self._embedder.digest, collection)

    def reasons_not_ready(self) -> list[str]:
        """Empty when every request can be answered; the engines were warmed before this object was made."""
        if self.fault:  # what it is the log says
            return ["The engines have failed, and this worker is being replaced"]
        if not self._pipeline.serving:
            return ["The engines are being started again"]
        try:
            self.gallery.ready()
        except GalleryError as error:
            log.error("the gallery is not ready: %s", error)
            return [kind_of(error).title]  # whoever asks may have no key, and the message names files
        return []

    def _seen(self, data: bytes, options: FaceOptions, watch: Stopwatch) -> tuple[Image, Detections]:
        with watch.step("decode"):
            image = images.decode(data, max_pixels=self._defaults.max_pixels)
        with watch.step("detect"):
            return image, plausible(self._pipeline.detect(image, self._defaults.choice(options)))

    def _embedded(self, image: Image, faces: Detections, watch: Stopwatch) -> tuple[Crops, Embeddings]:
        with watch.step("align"):
            crops = self._pipeline.crops(image, faces)
        with watch.step("embed"):
            return crops, self._pipeline.embed(crops)[0]

    def _crops_if_shown(
        self, image: Image, faces: Detections, options: DetectOptions, watch: Stopwatch
    ) -> Crops | None:
        if not {"quality", "crop"} & set(options.return_):
            return None
        with watch.step("align"):
            return self._pipeline.crops(image, faces)

    def _shown(self, image: Image, faces: Detections, crops: Crops | None, options: DetectOptions) -> list[Json]:
        wanted = set(options.return_)
        shown = faces_json(faces, image, normalized=options.normalized, landmarks="landmarks" in wanted)
        if crops is not None and "quality" in wanted:
            for face, quality in zip(shown, self._pipeline.qualities(crops, faces), strict=True):
                face["quality"] = quality_json(quality)
        if crops is not None and "crop" in wanted:
            for face, crop in zip(shown, crops_base64(crops), strict=True):
                face["crop"] = crop
        return shown

    def _ready_crop(self, data: bytes, watch: Stopwatch) -> tuple[Image, list[Json], Crops]:
        with watch.step("decode"):
            image = images.decode(data, max_pixels=self._defaults.max_pixels)
        height, width = self._pipeline.crop_size
        if image.shape[:2] != (height, width):
            raise InvalidRequestError(
                f"an aligned crop is {width} × {height} pixels, this image {image.shape[1]} × {image.shape[0]}"
            )
        return image, [{}], image[np.newaxis]

    def _largest_face(
        self, data: bytes, which: str, options: FaceOptions, watch: Stopwatch
    ) -> tuple[Image, Detections]:
        image, faces = self._seen(data, options, watch)
        if not len(faces):
            raise FaceNotDetectedError(f"no face was found in `{which}`")
        return image, largest(faces)

    def _answer(self, image: Image, faces: list[Json], watch: Stopwatch) -> Json:
        size = {"width": image.shape[1], "height": image.shape[0]}
        return {"model": self._names, "image": size, "faces": faces, "timings_ms": watch.read_ms()}


def _encoded(embedding: NDArray[np.float32]) -> str:
    return base64.b64encode(embedding.astype("<f4").tobytes()).decode()
