"""What the local GitHub holds: repositories, releases, and who sees them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, TypeAlias

from fetcher.demo.github_accounts import GithubAccounts
from fetcher.demo.github_models import Asset, GithubUser, Release, Repository, stamp

__all__ = ["CURRENT_VERSION", "GithubState"]

When: TypeAlias = datetime | str | None
CURRENT_VERSION: Final = "2022-11-28"


class GithubState(GithubAccounts):
    """Repositories and users, the rules that are in force, and what was counted.

    All settings may be changed at any time, those of `GithubAccounts` too. Wherever a `repo` is
    asked for, its name will do. `versions` of the API are served, `retired_versions` answer 410,
    `deprecation` are headers that warn ahead. `web_url` is what ``html_url`` and
    ``browser_download_url`` begin with.

    GraphQL: a query of more than `graphql_slow_above` root fields takes too long (see
    `graphql_timeout_status` and `graphql_timeout_points`), one of more than
    `graphql_resources_above` is answered in part. `redirects_assets` of False serves an asset's
    bytes at the API itself, as GitHub may; a link to them is good for `asset_link_seconds`.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__(now)
        self.versions = {CURRENT_VERSION, "2026-03-10"}
        self.retired_versions: set[str] = set()
        self.deprecation: Mapping[str, str] = {}
        self.weak_etags = True
        self.listed_at_most = 10_000
        self.web_url = "https://github.com"
        self.graphql_slow_above: int | None = None
        self.graphql_timeout_status = 502
        self.graphql_timeout_points = 10
        self.graphql_resources_above: int | None = None
        self.redirects_assets = True
        self.asset_link_seconds = 300
        self._repositories: dict[int, Repository] = {}
        self._names: dict[str, int] = {}
        self._old_names: dict[str, int] = {}
        self._last_id = 1_000_000

    # --- repositories -----------------------------------------------------------------------

    def add_repository(
        self,
        full_name: str,
        id: int | None = None,  # noqa: A002 - GitHub's own word
        *,
        private: bool = False,
        archived: bool = False,
        description: str | None = None,
        created_at: When = None,
    ) -> Repository:
        """A new repository; it may take a name that another one had before."""
        if full_name.lower() in self._names:
            raise ValueError(f"{full_name} exists")
        repo = Repository(
            id=self._next_id() if id is None else id,
            full_name=full_name,
            created_at=self._when(created_at),
            private=private,
            archived=archived,
            description=description,
        )
        self._repositories[repo.id] = repo
        self._names[full_name.lower()] = repo.id
        self._old_names.pop(full_name.lower(), None)
        return repo

    def repository(self, wanted: Repository | str | int) -> Repository:
        """A repository by itself, its present name in any case, or its id; else `KeyError`."""
        if isinstance(wanted, Repository):
            return wanted
        id_ = self._names[wanted.lower()] if isinstance(wanted, str) else wanted
        return self._repositories[id_]

    def repositories(self) -> list[Repository]:
        """All of them."""
        return list(self._repositories.values())

    def formerly(self, full_name: str) -> Repository | None:
        """The repository that had this name before and now has another one."""
        id_ = self._old_names.get(full_name.lower())
        return None if id_ is None else self._repositories.get(id_)

    def rename(self, repo: Repository | str, new: str) -> Repository:
        """From now on the old name redirects to ``/repositories/ID``."""
        repo = self.repository(repo)
        old = repo.full_name.lower()
        if new.lower() != old and new.lower() in self._names:
            raise ValueError(f"{new} exists")
        del self._names[old]
        self._old_names[old] = repo.id
        repo.full_name = new
        self._names[new.lower()] = repo.id
        self._old_names.pop(new.lower(), None)
        return repo

    def delete_repository(self, repo: Repository | str) -> None:
        """Its name and id are unknown from now on."""
        repo = self.repository(repo)
        del self._repositories[repo.id], self._names[repo.full_name.lower()]

    def block(self, repo: Repository | str, reason: str | None = "dmca") -> None:
        """Answers 451 from now on; a reason of None lifts it."""
        self.repository(repo).blocked = reason

    def forbid(
        self,
        repo: Repository | str,
        message: str | None = "Resource not accessible by personal access token",
    ) -> None:
        """Answers 403 for want of permission from now on; None lifts it."""
        self.repository(repo).forbidden = message

    # --- releases and tags ------------------------------------------------------------------

    def add_release(
        self,
        repo: Repository | str,
        tag: str,
        *,
        id: int | None = None,  # noqa: A002 - GitHub's own word
        name: str | None = "",
        body: str | None = "",
        draft: bool = False,
        prerelease: bool = False,
        immutable: bool = False,
        created_at: When = None,
        published_at: When = None,
        updated_at: When = None,
        author: str = "octocat",
        target_commitish: str = "main",
        assets: Iterable[Mapping[str, Any] | str] = (),
    ) -> Release:
        """A new release, and its tag unless it is a draft.

        `created_at` is the commit's date (the default: when it was published), `assets` are
        names or mappings with the fields of `Asset`; one with `content` needs neither size nor
        digest.
        """
        repo = self.repository(repo)
        published = None if draft else self._when(published_at)
        created = self._when(created_at) if created_at is not None else published or self._when()
        release = Release(
            id=self._next_id() if id is None else id,
            tag=tag,
            name=name,
            body=body,
            draft=draft,
            prerelease=prerelease,
            immutable=immutable,
            created_at=created,
            published_at=published,
            updated_at=self._when(updated_at) if updated_at is not None else published or created,
            author=author,
            target_commitish=target_commitish,
        )
        for each in assets:
            release.assets.append(self._asset(release, each))
        repo.releases.append(release)
        if not draft:
            self.add_tag(repo, tag)
        return release

    def edit_release(
        self, repo: Repository | str, release: Release | str | int, **changes: object
    ) -> Release:
        """Changes fields of `Release`; ``draft=False`` publishes it."""
        repo = self.repository(repo)
        found = repo.release(release)
        known = {each.name for each in fields(Release)}
        for name, value in changes.items():
            if name not in known:
                raise TypeError(f"a release has no {name}")
            if name in ("tag", "assets", "immutable"):
                _mutable(found)
            setattr(found, name, stamp(value) if isinstance(value, datetime) else value)
        if "updated_at" not in changes:
            found.updated_at = self._when()
        if not found.draft:
            found.published_at = found.published_at or self._when()
            self.add_tag(repo, found.tag)
        return found

    def delete_release(self, repo: Repository | str, release: Release | str | int) -> None:
        """The release goes, its tag stays, as with GitHub."""
        repo = self.repository(repo)
        repo.releases.remove(repo.release(release))

    def add_asset(
        self, repo: Repository | str, release: Release | str | int, asset: Mapping[str, Any] | str
    ) -> Asset:
        """One more file; an immutable release takes none."""
        found = _mutable(self.repository(repo).release(release))
        found.assets.append(self._asset(found, asset))
        found.updated_at = self._when()
        return found.assets[-1]

    def replace_asset(
        self,
        repo: Repository | str,
        release: Release | str | int,
        name: str,
        content: bytes = b"replaced",
        **more: object,
    ) -> Asset:
        """Another file under the same name: with another id, size, digest and date."""
        found = _mutable(self.repository(repo).release(release))
        found.assets = [each for each in found.assets if each.name != name]
        now = self._when()
        asset = {"name": name, "content": content, "created_at": now, "updated_at": now, **more}
        return self.add_asset(repo, found, asset)

    def bump_downloads(self, repo: Repository | str, by: int = 1) -> None:
        """Somebody downloaded every asset: the counters and the ETag change, no date does."""
        for release in self.repository(repo).releases:
            for asset in release.assets:
                asset.download_count += by

    def add_tag(
        self,
        repo: Repository | str,
        name: str,
        commit: str | None = None,
        *,
        annotated: bool | None = None,
    ) -> None:
        """A tag; without `commit` one is made up, or the tag stays as it is.

        An `annotated` tag is a Git object of its own, which only GraphQL tells apart.
        """
        repo = self.repository(repo)
        made_up = hashlib.sha1(f"{repo.id}@{name}".encode(), usedforsecurity=False).hexdigest()
        if commit is not None or name not in repo.tags:
            repo.tags[name] = commit or made_up
        if annotated is not None:
            (repo.annotated.add if annotated else repo.annotated.discard)(name)

    def delete_tag(self, repo: Repository | str, name: str) -> None:
        """The tag goes."""
        repo = self.repository(repo)
        del repo.tags[name]
        repo.annotated.discard(name)

    def populate(
        self, repositories: int = 5000, releases: int = 3, *, assets: int = 2, owner: str = "acme"
    ) -> list[str]:
        """Many repositories ``acme/project-00000`` …, and their names."""
        names = [f"{owner}/project-{n:05d}" for n in range(repositories)]
        for name in names:
            repo = self.add_repository(name, created_at="2020-01-01T00:00:00Z")
            for n in range(releases):
                tag = f"v1.{n}.0"
                self.add_release(
                    repo,
                    tag,
                    name=f"Release {n}",
                    body="What's Changed\r\n* everything\r\n" * 8,
                    published_at=f"2024-{1 + n // 28 % 12:02d}-{1 + n % 28:02d}T12:00:00Z",
                    assets=[
                        {"name": f"project-{tag}-{k}.tar.gz", "size": 1000 + k}
                        for k in range(assets)
                    ],
                )
        return names

    # --- who sees what ----------------------------------------------------------------------

    def sees(self, user: GithubUser | None, repo: Repository, *, push: bool = False) -> bool:
        """Whether the user may push to the repository, or (without `push`) see it at all."""
        if not push and not repo.private:
            return True
        names = set() if user is None else user.push if push else user.push | user.pull
        found = (self._names.get(name.lower(), self._old_names.get(name.lower())) for name in names)
        return repo.id in found

    def _asset(self, release: Release, given: Mapping[str, Any] | str) -> Asset:
        asked: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"name": given}
        content: bytes | None = asked.get("content")
        if content is None and not {"size", "digest"} & set(asked):
            content = f"the bytes of {asked['name']} in {release.tag}\n".encode()
        when = release.published_at or release.created_at
        digest = None if content is None else f"sha256:{hashlib.sha256(content).hexdigest()}"
        made_up = hashlib.sha256(f"{release.id}/{asked['name']}".encode()).hexdigest()
        return Asset(
            **{
                "id": self._next_id(),
                "content_type": "application/octet-stream",
                "size": 0 if content is None else len(content),
                "digest": digest or f"sha256:{made_up}",
                "created_at": when,
                "updated_at": when,
                "uploader": release.author,
                **asked,
                "content": content,
            }
        )

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _when(self, when: When = None) -> str:
        if isinstance(when, str):
            return when
        return stamp(self.now() if when is None else when)


def _mutable(release: Release) -> Release:
    """Tag and files of an immutable release are locked; its text is not.

    https://docs.github.com/en/code-security/concepts/supply-chain-security/immutable-releases
    """
    if release.immutable and not release.draft:
        raise ValueError(f"{release.tag} is immutable")
    return release
