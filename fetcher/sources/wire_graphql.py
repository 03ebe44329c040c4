"""GitHub's GraphQL documents and shapes: queries out, releases, tags and fingerprints in.

https://docs.github.com/en/graphql/reference/objects#release
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from fetcher.errors import Evidence, Malformed
from fetcher.models import Record
from fetcher.sources.wire_github import (
    Address,
    FullName,
    Login,
    Name,
    Number,
    Repository,
    Size,
    Text,
    Time,
    WireTag,
    release_content,
    tag_record,
)

__all__ = [
    "ASSETS",
    "OPTIONAL",
    "RELEASES",
    "TAGS",
    "WINDOW",
    "GraphAssets",
    "GraphRelease",
    "GraphRepository",
    "Page",
    "Wanted",
    "assets_document",
    "check_document",
    "fingerprint",
    "graph_record",
    "graph_tag",
    "last_update",
    "page_document",
    "parse_assets",
    "parse_repository",
]

T = TypeVar("T")

WINDOW: Final = 10
"""Newest releases that a fingerprint looks at: a hundred repositories cost one point."""
RELEASES: Final = 30
"""Releases on a page, each with its assets: 31 requests by GitHub's count, a third of a point."""
ASSETS: Final = 100
TAGS: Final = 100

OPTIONAL: Final = ("immutable", "digest")
"""Fields that older servers do not have."""

_IDENTITY: Final = "databaseId nameWithOwner isPrivate isArchived latestRelease { databaseId }"
_NEWEST: Final = "orderBy: {field: CREATED_AT, direction: DESC}"
_ASSET: Final = "name contentType size digest downloadUrl createdAt updatedAt"
_RELEASE: Final = (
    "id databaseId tagName name description isDraft isPrerelease immutable author { login } "
    "createdAt publishedAt updatedAt url "
    f"releaseAssets(first: {ASSETS}) "
    f"{{ pageInfo {{ hasNextPage endCursor }} nodes {{ {_ASSET} }} }}"
)
# An annotated tag may point to a tag.
_TAG: Final = "name target { oid ... on Tag { target { oid ... on Tag { target { oid } } } } }"
_BY_DATE: Final = 'refPrefix: "refs/tags/", orderBy: {field: TAG_COMMIT_DATE, direction: DESC}'


class _Graph(BaseModel):
    """Fields in GitHub's spelling there, in ours here."""

    model_config = ConfigDict(alias_generator=to_camel)


class Page(_Graph):
    """Whether there is more, and from where on."""

    has_next_page: bool = False
    end_cursor: Text | None = None


class _Asset(_Graph):
    name: Name
    content_type: Name
    size: Size
    digest: Name | None = None
    download_url: Address
    created_at: Time
    updated_at: Time


class GraphAssets(_Graph):
    """A page of assets."""

    page_info: Page = Page()
    nodes: list[_Asset] = []


class _Id(_Graph):
    database_id: Number


class GraphRelease(_Graph):
    """A release with its first assets."""

    id: Text
    database_id: Number
    tag_name: Name
    name: Name | None = None
    description: Text | None = None
    is_draft: bool
    is_prerelease: bool
    immutable: bool = False
    author: Login | None = None
    created_at: Time
    published_at: Time | None = None
    updated_at: Time
    url: Address
    release_assets: GraphAssets = GraphAssets()


class _Object(_Graph):
    oid: Name
    target: "_Object | None" = None


class GraphTag(_Graph):
    """A tag, annotated or not."""

    name: Name
    target: _Object | None = None


class _Releases(_Graph):
    total_count: Number
    page_info: Page = Page()
    nodes: list[GraphRelease] = []


class _Mark(_Graph):
    database_id: Number
    updated_at: Time


class _Marks(_Graph):
    total_count: Number
    nodes: list[_Mark] = []


class _Tags(_Graph):
    total_count: Number
    page_info: Page = Page()
    nodes: list[GraphTag] = []


class GraphRepository(_Graph):
    """What an alias answered: whichever of the lists was asked for."""

    database_id: Number
    name_with_owner: FullName
    is_private: bool
    is_archived: bool
    latest_release: _Id | None = None
    marks: _Marks | None = None
    releases: _Releases | None = None
    tags: _Tags | None = None

    def repository(self) -> Repository:
        """Its identity."""
        return Repository(
            id=self.database_id,
            full_name=self.name_with_owner,
            private=self.is_private,
            archived=self.is_archived,
        )


_REPOSITORY: Final = TypeAdapter(GraphRepository)
_ASSETS: Final = TypeAdapter(GraphAssets)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of one repository: of its releases or (`tags`) of its tags, `after` a cursor."""

    name: str
    after: str | None = None
    tags: bool = False


def check_document(
    names: Sequence[str], with_tags: Collection[int]
) -> tuple[str, Mapping[str, object]]:
    """The fingerprints of repositories, r0 and on; and of the tags of those by place."""
    marks = (
        f"marks: releases(first: {WINDOW}, {_NEWEST}) "
        "{ totalCount nodes { databaseId updatedAt } }"
    )
    tags = (
        f"tags: refs(first: {WINDOW}, {_BY_DATE}) "
        "{ totalCount nodes { name target { oid } } }"
    )
    bodies = [
        "...Check" + (" ...Tags" if place in with_tags else "") for place in range(len(names))
    ]
    fragments = f"fragment Check on Repository {{ {_IDENTITY} {marks} }}"
    if with_tags:
        fragments += f" fragment Tags on Repository {{ {tags} }}"
    return _document(names, bodies, fragments, {})


def page_document(
    wanted: Sequence[Wanted], without: Collection[str] = ()
) -> tuple[str, Mapping[str, object]]:
    """A page of each, r0 and on, `without` fields that the server does not know."""
    fields = _without(_RELEASE, without)
    fragments = [f"fragment R on Release {{ {fields} }}"] if not all(w.tags for w in wanted) else []
    if any(each.tags for each in wanted):
        fragments.append(f"fragment T on Ref {{ {_TAG} }}")
    bodies, variables = [], {}
    for place, each in enumerate(wanted):
        after = ""
        if each.after is not None:
            after, variables[f"a{place}"] = f", after: $a{place}", each.after
        listed = (
            f"tags: refs(first: {TAGS}, {_BY_DATE}{after}) "
            "{ totalCount pageInfo { hasNextPage endCursor } nodes { ...T } }"
            if each.tags
            else f"releases(first: {RELEASES}, {_NEWEST}{after}) "
            "{ totalCount pageInfo { hasNextPage endCursor } nodes { ...R } }"
        )
        bodies.append(f"{_IDENTITY} {listed}")
    return _document([each.name for each in wanted], bodies, " ".join(fragments), variables)


def assets_document(without: Collection[str] = ()) -> str:
    """More assets of the release $id, behind $after."""
    return (
        "query($id: ID!, $after: String) { node(id: $id) { ... on Release { "
        f"releaseAssets(first: {ASSETS}, after: $after) {{ pageInfo {{ hasNextPage endCursor }} "
        f"nodes {{ {_without(_ASSET, without)} }} }} }} }} }}"
    )


def parse_repository(answer: object, evidence: Evidence) -> GraphRepository:
    """Raises `Malformed` for anything that is no repository."""
    return _parse(_REPOSITORY, answer, evidence)


def parse_assets(answer: object, evidence: Evidence) -> GraphAssets:
    """Raises `Malformed` for anything that is no list of assets."""
    return _parse(_ASSETS, answer, evidence)


def fingerprint(found: GraphRepository) -> str:
    """What tells a changed repository from an unchanged one, from a check or a first page."""
    listed = found.releases or found.marks
    total = listed.total_count if listed is not None else 0
    nodes = listed.nodes[:WINDOW] if listed is not None else ()
    newest = [[each.database_id, _zulu(each)] for each in nodes]
    tags: object = None
    if not total and found.tags is not None:
        oids = [[tag.name, tag.target and tag.target.oid] for tag in found.tags.nodes[:WINDOW]]
        tags = [found.tags.total_count, oids]
    latest = found.latest_release.database_id if found.latest_release is not None else None
    text = json.dumps([total, latest, newest, tags])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def last_update(found: GraphRepository) -> float:
    """When the newest releases of a page were last updated, in epoch seconds."""
    nodes = found.releases.nodes[:WINDOW] if found.releases is not None else ()
    return max((each.updated_at.timestamp() for each in nodes), default=0.0)


def graph_record(wire: GraphRelease, repository: Repository, api_url: str) -> Record:
    """The record of a release; the same content, and digest, as REST gives."""
    assets = sorted(wire.release_assets.nodes, key=lambda asset: asset.name)
    told = [
        {
            "name": asset.name,
            "content_type": asset.content_type,
            "size": asset.size,
            "digest": asset.digest,
            "download_url": asset.download_url,
            "created_at": asset.created_at,
            "updated_at": asset.updated_at,
        }
        for asset in assets
    ]
    return release_content(
        repository,
        release_id=wire.database_id,
        tag=wire.tag_name,
        name=wire.name,
        body=wire.description,
        draft=wire.is_draft,
        prerelease=wire.is_prerelease,
        immutable=wire.immutable,
        author=wire.author.login if wire.author is not None else None,
        html_url=wire.url,
        created_at=wire.created_at,
        published_at=wire.published_at,
        updated_at=wire.updated_at,
        assets=told,
        told=None,
        source_url=f"{api_url}/repos/{repository.full_name}/releases/{wire.database_id}",
    )


def graph_tag(wire: GraphTag, repository: Repository, api_url: str) -> Record | None:
    """The record of a tag; None for one that leads to no commit."""
    commit = wire.target
    while commit is not None and commit.target is not None:
        commit = commit.target
    if commit is None:
        return None
    url = f"{api_url}/repos/{repository.full_name}/tags"
    return tag_record(WireTag.of(wire.name, commit.oid), repository, url)


def _document(
    names: Sequence[str], bodies: Sequence[str], fragments: str, more: Mapping[str, str]
) -> tuple[str, Mapping[str, object]]:
    variables: dict[str, object] = dict(more)
    parts = []
    for place, (name, body) in enumerate(zip(names, bodies, strict=True)):
        owner, _, repository = name.partition("/")
        variables |= {f"o{place}": owner, f"n{place}": repository}
        parts.append(f"r{place}: repository(owner: $o{place}, name: $n{place}) {{ {body} }}")
    declared = ", ".join(f"${name}: String!" for name in variables)
    return f"query({declared}) {{ {' '.join(parts)} }} {fragments}", variables


def _without(fields: str, without: Collection[str]) -> str:
    return " ".join(word for word in fields.split() if word not in without)


def _zulu(release: GraphRelease | _Mark) -> str:
    """A time as GitHub writes it."""
    return release.updated_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(shape: TypeAdapter[T], answer: object, evidence: Evidence) -> T:
    try:
        return shape.validate_python(answer)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        text = f"GitHub's answer makes no sense at {place or 'its root'}: {first['msg']}"
        raise Malformed(text, evidence) from error
