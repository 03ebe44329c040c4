"""GitHub's things as the local GitHub keeps them; times are written as GitHub writes them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

__all__ = ["Asset", "GithubApp", "GithubUser", "Installation", "Release", "Repository", "stamp"]


def stamp(when: datetime | float) -> str:
    """``2026-11-23T10:15:00Z``, as GitHub writes times."""
    moment = datetime.fromtimestamp(when, UTC) if isinstance(when, int | float) else when
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(slots=True)
class Asset:
    """A file of a release; times as GitHub writes them."""

    id: int
    name: str
    content_type: str
    size: int
    digest: str | None
    created_at: str
    updated_at: str
    label: str | None = ""
    state: str = "uploaded"
    download_count: int = 0
    uploader: str = "octocat"
    content: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class Release:
    """A release; `author` is a login, `published_at` None as long as it is a draft."""

    id: int
    tag: str
    name: str | None
    body: str | None
    draft: bool
    prerelease: bool
    immutable: bool
    created_at: str
    published_at: str | None
    updated_at: str
    author: str
    target_commitish: str = "main"
    assets: list[Asset] = field(default_factory=list)


@dataclass(slots=True)
class Repository:
    """A repository; its `id` stays, its `full_name` may change.

    `tags` are name to commit, `annotated` those of them that are Git objects of their own.
    `blocked` is the reason of a 451, `forbidden` the message of a 403. `latest` overrides which
    release is marked latest, by id.
    """

    id: int
    full_name: str
    created_at: str
    private: bool = False
    archived: bool = False
    description: str | None = None
    blocked: str | None = None
    forbidden: str | None = None
    latest: int | None = None
    releases: list[Release] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    annotated: set[str] = field(default_factory=set)

    def release(self, wanted: "Release | str | int") -> Release:
        """A release by itself, its tag or its id."""
        for each in self.releases:
            if each is wanted or each.tag == wanted or each.id == wanted:
                return each
        raise KeyError(wanted)

    def latest_release(self) -> Release | None:
        """By the commit's date, without drafts and pre-releases, unless one is marked by hand."""
        full = [each for each in self.releases if not (each.draft or each.prerelease)]
        marked = [each for each in full if each.id == self.latest]
        return max(marked or full, key=lambda each: (each.created_at, each.id), default=None)


@dataclass(slots=True)
class GithubUser:
    """Whom a token belongs to; all tokens of one login share `limit` requests an hour.

    `push` and `pull` name repositories (``owner/name``): who may push sees drafts, who may do
    either sees a private repository. `graphql_limit` are points an hour, apart from `limit`. A
    token past `expires_epoch` is as bad as a `revoked` one.
    """

    login: str
    limit: int = 5000
    push: set[str] = field(default_factory=set)
    pull: set[str] = field(default_factory=set)
    revoked: bool = False
    id: int = 583231
    graphql_limit: int = 5000
    expires_epoch: float | None = None


@dataclass(slots=True)
class GithubApp:
    """A GitHub App; `public_key` (PEM) is the other half of what it signs with."""

    id: int
    public_key: str
    client_id: str


@dataclass(slots=True)
class Installation:
    """An app where somebody has installed it; all its tokens share `limit` an hour.

    `repositories` are those (``owner/name``) that it sees although they are private; with
    `permissions` of ``contents: write`` it sees their drafts.
    """

    id: int
    app_id: int
    repositories: set[str] = field(default_factory=set)
    permissions: dict[str, str] = field(default_factory=dict)
    selection: str = "all"
    limit: int = 5000
    suspended: bool = False

    @property
    def login(self) -> str:
        """Whom its requests are charged to."""
        return f"installation-{self.id}"
