"""The answers' shapes, for the OpenAPI page and the tests; routes send plain dicts of these shapes (orjson)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Box(Answer):
    x: float = Field(description="left edge, in pixels of the upright image (or a fraction, if normalized)")
    y: float
    w: float
    h: float


class Landmark(Answer):
    id: int
    name: Literal["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"] = Field(
        description="left and right as the viewer sees them"
    )
    x: float
    y: float


class Quality(Answer):
    score: float = Field(ge=0, le=1)
    sharpness: float = Field(ge=0, le=1)
    yaw: float | None = Field(description="degrees; null where the detector finds no landmarks")
    pitch: float | None
    roll: float | None
    size_px: float = Field(description="the box's shorter side")


class DetectedFace(Answer):
    box: Box
    score: float
    landmarks: list[Landmark] | None = Field(None, description="empty where the detector finds none")
    quality: Quality | None = None
    crop: str | None = Field(None, description="the crop that the embedder sees, PNG in base64")


class MatchedIdentity(Answer):
    identity: str
    similarity: float = Field(description="cosine, never a distance or a probability")
    face_id: str
    metadata: dict[str, JsonValue]


class Decision(Answer):
    """What a `min_margin` led to."""

    identity: str | None = Field(description="null: nobody of those searched, or ambiguous")
    margin: float | None = Field(description="how far the second identity is behind; null: nobody found, or no second")
    ambiguous: bool = Field(description="the second is too near for the best to be named; both may be among `matches`")


class RecognizedFace(DetectedFace):
    identity: str | None = Field(description="null: nobody of this collection, or ambiguous")
    similarity: float | None
    matches: list[MatchedIdentity]
    margin: float | None = Field(None, description="given with `min_margin`: how far the second identity is behind")
    ambiguous: bool | None = Field(None, description="given with `min_margin`: the second is nearer than that")


class EmbeddedFace(Answer):
    box: Box | None = None
    score: float | None = None
    landmarks: list[Landmark] | None = None
    quality: Quality | None = None
    crop: str | None = None
    embedding: list[float] | str
    norm: float = Field(description="the embedding's length before normalisation")


class ModelNames(Answer):
    detector: str
    embedder: str | None = None


class ImageSize(Answer):
    width: int
    height: int


class Threshold(Answer):
    """Where the line was drawn, and what it lets through."""

    threshold: float
    far: float | None = Field(description="share of impostor comparisons above it; null: not measured")
    expected_false_match_rate: float | None = Field(description="of a stranger, in a gallery of this size")
    warning: str | None = None


class Timings(Answer):
    """Steps that were not needed are left out."""

    queue: float
    decode: float
    detect: float = 0
    align: float = 0
    embed: float = 0
    search: float = 0
    total: float


class ImageAnswer(Answer):
    model: ModelNames
    image: ImageSize
    timings_ms: Timings


class DetectAnswer(ImageAnswer):
    request_id: str
    faces: list[DetectedFace]


class RecognizeAnswer(ImageAnswer, Threshold):
    request_id: str
    collection: str
    min_margin: float | None = Field(None, description="as asked for")
    faces: list[RecognizedFace]


class EmbedAnswer(ImageAnswer):
    request_id: str
    faces: list[EmbeddedFace]


class VerifyAnswer(Threshold):
    request_id: str
    match: bool
    similarity: float
    model: ModelNames
    face: DetectedFace
    reference: DetectedFace | None = Field(None, description="the other image's face; null for an identity")
    face_id: str | None = Field(None, description="the identity's nearest face")
    timings_ms: Timings


class FieldError(Answer):
    field: str
    message: str


class Rejected(Answer):
    index: int
    code: str
    detail: str
    errors: list[FieldError] | None = Field(None, description="each limit of the quality filter that was missed")


class EnrolledFace(Answer):
    index: int = Field(description="which of the images")
    face_id: str
    duplicate_of: str | None = Field(None, description="this very picture was enrolled before, as this face")


class EnrollWarning(Answer):
    """Something to look at; the enrolment is done all the same."""

    code: Literal["similar_identity"]
    identity: str = Field(description="somebody else of the collection whose faces are as similar as one person's")
    similarity: float


class EnrollAnswer(Answer):
    request_id: str
    identity: str
    collection: str
    created: bool
    face_ids: list[str]
    faces: list[EnrolledFace]
    duplicate_of: str | None = Field(None, description="set when nothing was new: the first such face")
    rejected: list[Rejected]
    warnings: list[EnrollWarning] | None = Field(
        None, description="null: not looked for, being turned off or a repeated request's earlier answer"
    )


class StoredFace(Answer):
    face_id: str
    created_at: str
    source_sha256: str
    quality: dict[str, float]
    has_crop: bool


class IdentityAnswer(Answer):
    identity: str
    collection: str
    metadata: dict[str, JsonValue]
    created_at: str
    expires_at: str | None = Field(description="when it is erased (RFC 3339); null: never")
    faces: list[StoredFace]


class IdentityPage(Answer):
    collection: str
    identities: list[IdentityAnswer]
    cursor: str | None = Field(description="pass it on for the next page; null: this was the last")


class CollectionAnswer(Answer):
    name: str
    embedder: str = Field(description="digest of the embedder that its embeddings were made with")
    embedder_name: str | None = Field(description="null: the model store has it no more")
    fits: bool = Field(description="whether that embedder is loaded; if not, what needs the embeddings answers 409")
    dimension: int
    created_at: str
    identities: int
    faces: int
    scoring: Literal["max", "mean"] = Field(
        description="similarity to the best of an identity's faces, or to their mean"
    )
    max_identities: int | None
    max_faces: int | None = Field(description="of an identity")
    ttl_s: float | None = Field(description="how long an identity lives after its last new face; null: no such end")


class CollectionList(Answer):
    collections: list[CollectionAnswer]


class SearchAnswer(Threshold):
    request_id: str
    collection: str
    results: list[list[MatchedIdentity]]
    min_margin: float | None = Field(None, description="as asked for")
    decisions: list[Decision] | None = Field(None, description="given with `min_margin`: one for each embedding")


class Problem(Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    errors: list[FieldError] | None = None


class DetectBatch(Answer):
    request_id: str
    results: list[DetectAnswer | Problem]


class RecognizeBatch(Answer):
    request_id: str
    results: list[RecognizeAnswer | Problem]


class EmbedBatch(Answer):
    request_id: str
    results: list[EmbedAnswer | Problem]


class ErasedAnswer(Answer):
    collection: str
    identity: str | None = Field(description="null: the whole collection")
    faces: int = Field(description="how many are gone")


class StatusAnswer(Answer):
    status: Literal["ok", "ready"]


class ImportAnswer(Answer):
    request_id: str
    collection: str
    identities: int = Field(description="how many are new")
    faces: int
    skipped: int = Field(description="faces that were there already")
