"""The requests, as clients send them. Responses are in `app/answers.py`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)

from app.moments import RFC_3339
from gallery.names import LAST_MOMENT
from gallery.types import MAX_TTL_S

Extra = Literal["landmarks", "quality", "crop"]
Similarity = Annotated[FiniteFloat, Field(ge=-1, le=1)]
Probability = Annotated[FiniteFloat, Field(ge=0, le=1)]
Base64 = Annotated[str, Field(description="base64, with or without a `data:` prefix", examples=[])]
METADATA_BYTES = 16_384
FilterValue = StrictStr | StrictBool | StrictInt | FiniteFloat | None
MetadataFilter = dict[str, FilterValue | Annotated[list[FilterValue], Field(min_length=1, max_length=100)]]


class Options(BaseModel):
    """What a request may say besides its images; also multipart fields, and query parameters of a raw body."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, ser_json_inf_nan="null")


class FaceOptions(Options):
    """Which faces of an image count, and what is said of them."""

    min_score: Probability | None = Field(None, description="drop faces with a lower detection score")
    max_faces: int | None = Field(None, ge=1, le=1000, description="keep the largest n faces")
    min_face_px: int = Field(0, ge=0, description="drop faces whose shorter side is smaller")
    small_scale: bool | None = Field(None, description="detect at the small scale too (faces that fill the frame)")


class DetectOptions(FaceOptions):
    normalized: bool = Field(False, description="coordinates as fractions of the image's width and height")
    return_: tuple[Extra, ...] = Field(("landmarks",), alias="return", description="what each face carries")


class NamingOptions(Options):
    """Among whom a face is searched, and when somebody is named."""

    collection: str = Field("default", description="the collection to search")
    threshold: Similarity | None = Field(None, description="cosine below which a face is nobody (default: by FAR)")
    filter: MetadataFilter | None = Field(
        None,
        min_length=1,
        max_length=16,
        description="search only identities whose metadata has these values under these keys of its top level; a list "
        "means any of its values",
        examples=[{"department": "sales"}, {"department": ["sales", "support"], "active": True}],
    )
    min_margin: FiniteFloat | None = Field(
        None, ge=0, le=2, description="name the best identity only if its cosine beats the second's by this much"
    )


class RecognizeOptions(DetectOptions, NamingOptions):
    top_k: int = Field(1, ge=1, le=100, description="most identities a face")
    face_selection: Literal["all", "largest"] = Field("all", description="which faces to recognise")


class EmbedOptions(DetectOptions):
    encoding: Literal["list", "base64"] = Field("list", description="base64: little-endian float32")
    aligned: bool = Field(False, description="the images are ready crops of the embedder's size: do not detect")


class VerifyOptions(FaceOptions):
    identity: str | None = Field(None, description="compare the image with this identity")
    collection: str = Field("default", description="the identity's collection")
    threshold: Similarity | None = Field(None, description="cosine from which it is a match (default: the model's)")


class AnnotateOptions(FaceOptions, NamingOptions):
    recognize: bool = Field(True, description="write names, from `collection`")
    format: Literal["jpeg", "png"] = Field("jpeg", description="the answer's format")


class QualityFilter(Options):
    """Least quality of a face to enrol; what misses it is refused as `low_quality`, every limit missed in `errors`."""

    min_score: Probability = Field(0.0, description="quality's score: the worst of the traits below, but for roll")
    min_detection_score: Probability = Field(0.0, description="the detector's score")
    min_sharpness: Probability = 0.0
    min_size_px: int = Field(0, ge=0, description="the box's shorter side")
    max_yaw: float = Field(180, ge=0, le=180, description="degrees, either way")
    max_pitch: float = Field(180, ge=0, le=180, description="degrees, either way")
    max_roll: float = Field(180, ge=0, le=180, description="degrees, either way")


def _within_limit(metadata: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(str(metadata)) > METADATA_BYTES:
        raise ValueError(f"metadata is larger than {METADATA_BYTES} characters")
    return metadata


Metadata = Annotated[dict[str, JsonValue], AfterValidator(_within_limit)]


def _as_rfc_3339(given: object) -> object:
    # pydantic would take a bare number for a moment too, and guess its unit.
    if isinstance(given, datetime) or (isinstance(given, str) and RFC_3339.fullmatch(given)):
        return given
    raise ValueError("expected RFC 3339 with an offset, such as 2030-01-31T18:00:00+01:00")


def _to_come(moment: datetime) -> datetime:
    if moment <= datetime.now(timezone.utc):
        raise ValueError("that is past: give a moment to come")
    if moment.timestamp() > LAST_MOMENT:
        raise ValueError("that is after the year 9999: leave it out, or give null for never")
    return moment


Moment = Annotated[AwareDatetime, BeforeValidator(_as_rfc_3339), AfterValidator(_to_come)]
Span = Annotated[FiniteFloat, Field(gt=0, le=MAX_TTL_S)]


class EnrollOptions(FaceOptions):
    identity: str = Field(description="1 to 200 printable characters without `/`", examples=["alice"])
    collection: str = Field("default", description="the collection to enrol into")
    metadata: Metadata | None = Field(None, description="kept with the identity, returned with its matches")
    quality_filter: QualityFilter | None = Field(None, description="refuse faces below this quality")
    warn_similar: bool | None = Field(
        None, description="name others whose faces are as similar as one person's (default: the service's setting)"
    )
    expires_at: Moment | None = Field(
        None, description="when the identity is erased (default: as it was, or after the collection's `ttl_s`)"
    )
    ttl_s: Span | None = Field(None, description="erase the identity after so many seconds; instead of `expires_at`")

    @model_validator(mode="after")
    def _one_end(self) -> EnrollOptions:
        if self.expires_at is not None and self.ttl_s is not None:
            raise ValueError("give either `expires_at` or `ttl_s`")
        return self


class ImageField(BaseModel):
    image: Base64


class ImagesField(BaseModel):
    """One image, or a list of them answered one by one and in order."""

    image: Base64 | None = None
    images: list[Base64] | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> ImagesField:
        if (self.image is None) == (self.images is None):
            raise ValueError("give either `image` or `images`")
        return self


class DetectRequest(ImagesField, DetectOptions): ...


class RecognizeRequest(ImagesField, RecognizeOptions): ...


class EmbedRequest(ImagesField, EmbedOptions): ...


class VerifyRequest(ImageField, VerifyOptions):
    reference: Base64 | None = Field(None, description="the other image (or give `identity`)")

    @model_validator(mode="after")
    def _one_of_both(self) -> VerifyRequest:
        if (self.reference is None) == (self.identity is None):
            raise ValueError("give either `reference` or `identity`")
        return self


class AnnotateRequest(ImageField, AnnotateOptions): ...


class EnrollRequest(ImagesField, EnrollOptions): ...


class SearchRequest(NamingOptions):
    """`POST /gallery:search`: ready embeddings, each as a list or as base64 of little-endian float32."""

    embeddings: list[list[FiniteFloat] | Base64] = Field(min_length=1, max_length=1000)
    top_k: int = Field(1, ge=1, le=100, description="most identities an embedding")


class IdentityChange(Options):
    """`PATCH /gallery/{identity}`: a new name, new metadata, when it expires."""

    identity: str | None = None
    metadata: Metadata | None = None
    expires_at: Moment | None = Field(None, description="when the identity is erased; null: never, left out: as it was")

    @property
    def is_to_expire(self) -> bool:
        """Whether something was said of it, be it null."""
        return "expires_at" in self.model_fields_set

    @model_validator(mode="after")
    def _something(self) -> IdentityChange:
        if self.identity is None and self.metadata is None and not self.is_to_expire:
            raise ValueError("give `identity` (the new name), `metadata`, `expires_at`, or several of them")
        return self


class NewCollection(Options):
    name: str = Field(description="letters, digits, `_`, `.`, `-`; 1 to 64", examples=["visitors"])
    scoring: Literal["max", "mean"] = Field(
        "max", description="similarity to an identity: to the best of its faces, or to their mean; for good"
    )
    max_identities: int | None = Field(None, ge=1, description="one more is refused as `collection_full`")
    max_faces: int | None = Field(None, ge=1, description="of an identity; one more is refused as `identity_full`")
    ttl_s: Span | None = Field(
        None,
        description="erase an identity so many seconds after its last new face, unless its enrolment says when",
    )


OptionsT = TypeVar("OptionsT", bound=Options)
