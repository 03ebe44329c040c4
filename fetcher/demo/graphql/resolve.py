"""What the schema's fields are, out of the local GitHub's repositories."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from graphql import GraphQLError, GraphQLResolveInfo

from fetcher.demo.github_models import Asset, GithubUser, Release, Repository, stamp
from fetcher.demo.github_shapes import Shapes, node_id
from fetcher.demo.github_state import GithubState
from fetcher.demo.graphql.paging import Key, Listing, failure, page

__all__ = ["Resolver"]

Row: TypeAlias = dict[str, Any]
Info: TypeAlias = GraphQLResolveInfo[Any]


@dataclass(slots=True)
class Resolver:
    """Resolves one query of one user; a `dry` run looks nothing up."""

    state: GithubState
    user: GithubUser
    shapes: Shapes
    rate_limit: Mapping[str, object]
    dry: bool = False
    _repositories: int = 0
    _known: dict[str, Callable[[], Row]] = field(default_factory=dict)

    def root(self) -> Row:
        """The query root; what can be called is, with the field's arguments."""
        return {
            "repository": self._repository,
            "node": lambda info, **given: None if self.dry else self._node(given["id"]),
            "nodes": self._nodes,
            "rateLimit": lambda info, **given: self.rate_limit,
            "viewer": lambda info: self._user(self.user.login, self.user.id),
        }

    # --- entrances --------------------------------------------------------------------------

    def _repository(self, info: Info, owner: str, name: str, **more: bool) -> Row | None:
        if self.dry:
            return None
        self._repositories += 1
        most = self.state.graphql_resources_above
        if most is not None and self._repositories > most:
            raise failure("RESOURCE_LIMITS_EXCEEDED", "Resource limits for this query exceeded.")
        full_name = f"{owner}/{name}"
        repo: Repository | None
        try:
            repo = self.state.repository(full_name)
        except KeyError:
            repo = self.state.formerly(full_name) if more["followRenames"] else None
        if repo is None or not self.state.sees(self.user, repo):
            message = f"Could not resolve to a Repository with the name '{full_name}'."
            raise failure("NOT_FOUND", message)
        self._permit(repo)
        return self._repository_shape(repo)

    def _permit(self, repo: Repository) -> None:
        if repo.blocked is not None:
            # REST's words: what GraphQL says of a repository that was taken down is not recorded.
            raise failure("FORBIDDEN", "Repository access blocked")
        if repo.forbidden is not None:
            more = {"saml_failure": True} if "SAML" in repo.forbidden else {}
            raise failure("FORBIDDEN", repo.forbidden, **more)

    def _nodes(self, info: Info, ids: list[str]) -> list[Row | GraphQLError | None]:
        if len(ids) > 100:
            message = f"You may not provide more than 100 node ids; you provided {len(ids)}."
            raise failure("ARGUMENT_LIMIT", message)
        if self.dry:
            return []
        found: list[Row | GraphQLError | None] = []
        for id_ in ids:
            try:
                found.append(self._node(id_))
            except GraphQLError as error:
                found.append(error)  # of this item alone
        return found

    def _node(self, id_: str) -> Row:
        if not self._known:
            self._known = dict(self._all())
        try:
            return self._known[id_]()
        except KeyError:
            message = f"Could not resolve to a node with the global id of '{id_}'"
            raise failure("NOT_FOUND", message) from None

    def _all(self) -> Iterator[tuple[str, Callable[[], Row]]]:
        for repo in self.state.repositories():
            if not self.state.sees(self.user, repo):
                continue
            yield node_id("R", repo.id), lambda repo=repo: self._checked(repo)  # type: ignore[misc]
            for release in self._releases(repo):
                yield (
                    node_id("RE", repo.id, release.id),
                    lambda repo=repo, release=release: self._release(repo, release),  # type: ignore[misc]
                )

    def _checked(self, repo: Repository) -> Row:
        self._permit(repo)
        return self._repository_shape(repo)

    # --- shapes -----------------------------------------------------------------------------

    def _repository_shape(self, repo: Repository) -> Row:
        latest = repo.latest_release()
        return {
            "__typename": "Repository",
            "createdAt": repo.created_at,
            "databaseId": repo.id,
            "description": repo.description,
            "id": node_id("R", repo.id),
            "isArchived": repo.archived,
            "isDisabled": False,
            "isEmpty": not (repo.tags or repo.releases),
            "isPrivate": repo.private,
            "latestRelease": None if latest is None else lambda info: self._release(repo, latest),
            "name": repo.full_name.partition("/")[2],
            "nameWithOwner": repo.full_name,
            "refs": lambda info, **given: self._refs(info, repo, given),
            "release": lambda info, **given: self._by_tag(repo, given["tagName"]),
            "releases": lambda info, **given: self._listed(info, repo, given),
            "url": self.shapes.html(repo),
        }

    def _releases(self, repo: Repository) -> list[Release]:
        push = self.state.sees(self.user, repo, push=True)
        return [each for each in repo.releases if push or not each.draft]

    def _by_tag(self, repo: Repository, tag: str) -> Row | None:
        found = (each for each in self._releases(repo) if each.tag == tag and not each.draft)
        return next((self._release(repo, each) for each in found), None)

    def _listed(self, info: Info, repo: Repository, given: Mapping[str, Any]) -> Row:
        order = given.get("orderBy") or {"field": "CREATED_AT", "direction": "ASC"}
        by_name = order["field"] == "NAME"
        items: list[tuple[Key, Release]] = [
            (((each.name or "") if by_name else each.created_at, each.id), each)
            for each in self._releases(repo)
        ]
        listing = Listing(items, falling=order["direction"] == "DESC")
        return page(info, given, listing, lambda each: self._release(repo, each))

    def _release(self, repo: Repository, release: Release) -> Row:
        commit = repo.tags.get(release.tag)
        return {
            "__typename": "Release",
            "author": lambda info: self._user(release.author),
            "createdAt": release.created_at,
            "databaseId": release.id,
            "description": release.body,
            "id": node_id("RE", repo.id, release.id),
            "immutable": release.immutable,
            "isDraft": release.draft,
            "isLatest": lambda info: release is repo.latest_release(),
            "isPrerelease": release.prerelease,
            "name": release.name,
            "publishedAt": release.published_at,
            "releaseAssets": lambda info, **given: self._assets(info, repo, release, given),
            "repository": lambda info: self._checked(repo),
            "tag": None if commit is None else lambda info: self._ref(repo, release.tag),
            "tagCommit": None if commit is None else lambda info: self._commit(repo, release.tag),
            "tagName": release.tag,
            "updatedAt": release.updated_at,
            "url": lambda info: self.shapes.release_page(repo, release),
        }

    def _assets(
        self,
        info: Info,
        repo: Repository,
        release: Release,
        given: Mapping[str, Any],
    ) -> Row:
        wanted = given.get("name")
        items: list[tuple[Key, Asset]] = [
            ((each.id,), each) for each in release.assets if wanted in (None, each.name)
        ]
        return page(info, given, Listing(items), lambda each: self._asset(repo, release, each))

    def _asset(self, repo: Repository, release: Release, asset: Asset) -> Row:
        shape = self.shapes.asset(repo, release, asset)
        return {
            "__typename": "ReleaseAsset",
            "contentType": asset.content_type,
            "createdAt": asset.created_at,
            "digest": asset.digest,
            "downloadCount": asset.download_count,
            "downloadUrl": shape["browser_download_url"],
            "id": shape["node_id"],
            "name": asset.name,
            "release": lambda info: self._release(repo, release),
            "size": asset.size,
            "updatedAt": asset.updated_at,
            "uploadedBy": lambda info: self._user(asset.uploader),
            "url": shape["url"],
        }

    def _user(self, login: str, id_: int | None = None) -> Row:
        account = self.shapes.account(login)
        return {
            "__typename": "User",
            "createdAt": stamp(0),
            "databaseId": account["id"] if id_ is None else id_,
            "id": account["node_id"],
            "login": login,
            "url": account["html_url"],
        }

    # --- Git --------------------------------------------------------------------------------

    def _refs(self, info: Info, repo: Repository, given: Mapping[str, Any]) -> Row:
        """Tags; of branches nothing is known."""
        names = repo.tags if given["refPrefix"] == "refs/tags/" else {}
        dates = {each.tag: each.created_at for each in repo.releases}
        order = given.get("orderBy") or {
            "field": "ALPHABETICAL",
            "direction": given.get("direction") or "ASC",
        }
        by_date = order["field"] == "TAG_COMMIT_DATE"
        items: list[tuple[Key, str]] = [
            ((dates.get(name, repo.created_at), name) if by_date else (name,), name)
            for name in names
            if (given.get("query") or "") in name
        ]
        listing = Listing(items, falling=order["direction"] == "DESC")
        return page(info, given, listing, lambda name: self._ref(repo, name))

    def _ref(self, repo: Repository, name: str) -> Row:
        annotated = name in repo.annotated
        return {
            "__typename": "Ref",
            "id": self._git_id("REF", repo, name),
            "name": name,
            "prefix": "refs/tags/",
            "repository": lambda info: self._checked(repo),
            "target": lambda info: self._tag(repo, name) if annotated else self._commit(repo, name),
        }

    def _tag(self, repo: Repository, name: str) -> Row:
        oid = hashlib.sha1(f"{repo.id}#{name}".encode(), usedforsecurity=False).hexdigest()
        return {
            "__typename": "Tag",
            "abbreviatedOid": oid[:7],
            "id": self._git_id("T", repo, oid),
            "message": name,
            "name": name,
            "oid": oid,
            "repository": lambda info: self._checked(repo),
            "target": lambda info: self._commit(repo, name),
        }

    def _commit(self, repo: Repository, name: str) -> Row:
        oid = repo.tags[name]
        dates = [each.created_at for each in repo.releases if each.tag == name]
        return {
            "__typename": "Commit",
            "abbreviatedOid": oid[:7],
            "committedDate": dates[0] if dates else repo.created_at,
            "id": self._git_id("C", repo, oid),
            "oid": oid,
            "repository": lambda info: self._checked(repo),
        }

    def _git_id(self, kind: str, repo: Repository, name: str) -> str:
        digest = hashlib.sha256(name.encode()).digest()
        return node_id(kind, repo.id, int.from_bytes(digest[:7], "big"))
