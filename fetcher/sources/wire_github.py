"""GitHub's wire shapes, and what becomes of them: JSON in, records out.

https://docs.github.com/en/rest/releases/releases
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from fetcher.documents import Content
from fetcher.errors import Evidence, Malformed, TargetError
from fetcher.models import Record
from fetcher.policy.digest import digest
from fetcher.policy.storable import checked_text
from fetcher.targets import parse_target

__all__ = [
    "Address",
    "FullName",
    "Limits",
    "Login",
    "Name",
    "Number",
    "Repository",
    "Size",
    "Text",
    "Time",
    "WireAsset",
    "WireRelease",
    "WireTag",
    "parse_assets",
    "parse_limits",
    "parse_release",
    "parse_releases",
    "parse_repository",
    "parse_tags",
    "release_content",
    "release_record",
    "tag_record",
]

T = TypeVar("T")


def _utc(value: datetime) -> datetime:
    """In UTC, to the millisecond: MongoDB knows none that is shorter."""
    try:
        utc = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("it is no time of years 1 to 9999") from error
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def _spelled(value: str) -> str:
    """What is stored under it must be found under it: a target, and no more than that."""
    try:
        spelled = parse_target(f"github:{value}").name == value
    except TargetError:
        spelled = False
    if not spelled:
        raise ValueError("no repository can have that name")
    return value


Time = Annotated[AwareDatetime, AfterValidator(_utc)]
# What a store can hold: an integer of BSON and SQLite, and a text that may be part of a key.
Number = Annotated[int, Field(ge=0, lt=1 << 63)]
# Recorded answers of GitHub's have assets of a negative size: no reason to refuse a release.
Size = Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)]
Name = Annotated[str, Field(max_length=1_024)]
Address = Annotated[str, Field(max_length=8_192)]
Text = Annotated[str, AfterValidator(checked_text)]
FullName = Annotated[str, AfterValidator(_spelled)]


class _Limit(BaseModel):
    limit: int
    remaining: int
    reset: Time


class _Resources(BaseModel):
    core: _Limit


class Limits(BaseModel):
    """What is left of the hour; `reset` is sent as epoch seconds."""

    resources: _Resources


class Login(BaseModel):
    """Whoever did something."""

    login: Name


class Repository(BaseModel):
    """A repository's identity: the numeric id stays, `full_name` is today's spelling."""

    id: Number
    full_name: FullName
    private: bool = False
    archived: bool = False


class WireAsset(BaseModel):
    """An asset as REST gives it."""

    id: Number
    name: Name
    label: Name | None = None
    content_type: Name
    state: Name | None = None
    size: Size
    digest: Name | None = None
    browser_download_url: Address
    created_at: Time
    updated_at: Time


class WireRelease(BaseModel):
    """A release as REST gives it; fields that older servers lack have defaults."""

    id: Number
    url: Address
    html_url: Address
    tag_name: Name
    name: Name | None = None
    body: Text | None = None
    draft: bool
    prerelease: bool
    immutable: bool = False
    author: Login | None = None
    created_at: Time
    published_at: Time | None = None
    updated_at: Time | None = None
    assets: list[WireAsset] = []


class _Commit(BaseModel):
    sha: Name


class WireTag(BaseModel):
    """A tag as REST gives it."""

    name: Name
    commit: _Commit

    @classmethod
    def of(cls, name: str, sha: str) -> "WireTag":
        """The same as told elsewhere."""
        return cls(name=name, commit=_Commit(sha=sha))


_LIMITS = TypeAdapter(Limits)
_REPOSITORY = TypeAdapter(Repository)
_RELEASE = TypeAdapter(WireRelease)
_RELEASES = TypeAdapter(list[WireRelease])
_TAGS = TypeAdapter(list[WireTag])
_ASSETS = TypeAdapter(list[WireAsset])


def parse_assets(body: bytes, evidence: Evidence) -> Sequence[WireAsset]:
    """Raises `Malformed` for anything that is no list of assets."""
    return _parse(_ASSETS, body, evidence)


def parse_limits(body: bytes, evidence: Evidence) -> Limits:
    """Raises `Malformed` for anything that tells no limits."""
    return _parse(_LIMITS, body, evidence)


def parse_repository(body: bytes, evidence: Evidence) -> Repository:
    """Raises `Malformed` for anything that is no repository."""
    return _parse(_REPOSITORY, body, evidence)


def parse_release(body: bytes, evidence: Evidence) -> WireRelease:
    """Raises `Malformed` for anything that is no release."""
    return _parse(_RELEASE, body, evidence)


def parse_releases(body: bytes, evidence: Evidence) -> Sequence[WireRelease]:
    """Raises `Malformed` for anything that is no list of releases."""
    return _parse(_RELEASES, body, evidence)


def parse_tags(body: bytes, evidence: Evidence) -> Sequence[WireTag]:
    """Raises `Malformed` for anything that is no list of tags."""
    return _parse(_TAGS, body, evidence)


def release_record(wire: WireRelease, repository: Repository) -> Record:
    """The record of a release; the order of its assets and their counters are no content."""
    assets = sorted(wire.assets, key=lambda asset: (asset.name, asset.id))
    return release_content(
        repository,
        release_id=wire.id,
        tag=wire.tag_name,
        name=wire.name,
        body=wire.body,
        draft=wire.draft,
        prerelease=wire.prerelease,
        immutable=wire.immutable,
        author=wire.author.login if wire.author is not None else None,
        html_url=wire.html_url,
        created_at=wire.created_at,
        published_at=wire.published_at,
        updated_at=wire.updated_at,
        assets=[_asset(asset) for asset in assets],
        told=[
            {**_asset(asset), "id": asset.id, "label": asset.label, "state": asset.state}
            for asset in assets
        ],
        source_url=wire.url,
    )


def release_content(
    repository: Repository,
    *,
    release_id: int,
    tag: str,
    name: str | None,
    body: str | None,
    draft: bool,
    prerelease: bool,
    immutable: bool,
    author: str | None,
    html_url: str,
    created_at: datetime,
    published_at: datetime | None,
    updated_at: datetime | None,
    assets: Sequence[Content],
    told: Sequence[Content] | None,
    source_url: str,
) -> Record:
    """The record of a release, whichever way it came; `told` are assets with all that REST tells.

    An empty text is none: the two ways tell it differently. Its author is told beside the
    content: a bot's login is "name[bot]" here and "name" there.
    """
    content = {
        "repository": repository.full_name,
        "repository_id": repository.id,
        "release_id": release_id,
        "tag": tag,
        "name": name or None,
        "body": body or None,
        "draft": draft,
        "prerelease": prerelease,
        "immutable": immutable,
        "private": repository.private,
        "html_url": html_url,
        "created_at": created_at,
        "published_at": published_at,
        "updated_at": updated_at,
        "assets": assets,
    }
    return Record(
        id=f"github:{repository.id}:{release_id}",
        kind="release",
        content=content,
        source_url=source_url,
        digest=digest(content),
        upstream_version=(0, updated_at),
        extra={"author": author, **({"assets": told} if told is not None else {})},
    )


def _asset(asset: WireAsset) -> dict[str, str | int | datetime | None]:
    return {
        "name": asset.name,
        "content_type": asset.content_type,
        "size": asset.size,
        "digest": asset.digest,
        "download_url": asset.browser_download_url,
        "created_at": asset.created_at,
        "updated_at": asset.updated_at,
    }


def tag_record(wire: WireTag, repository: Repository, source_url: str) -> Record:
    """The record of a tag."""
    content = {
        "repository": repository.full_name,
        "repository_id": repository.id,
        "name": wire.name,
        "commit": wire.commit.sha,
    }
    return Record(
        id=f"github:{repository.id}:tag:{wire.name}",
        kind="tag",
        content=content,
        source_url=source_url,
        digest=digest(content),
    )


def _parse(shape: TypeAdapter[T], body: bytes, evidence: Evidence) -> T:
    try:
        return shape.validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        where = f" at {place}" if place else ""
        raise Malformed(
            f"GitHub's answer makes no sense{where}: {first['msg']}", evidence
        ) from error
