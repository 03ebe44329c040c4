"""GitHub's JSON, field by field as recorded from api.github.com in 2025.

https://docs.github.com/en/rest/releases/releases
"""

import base64
import zlib
from typing import Any
from urllib.parse import quote

from fetcher.demo.github_models import Asset, GithubUser, Release, Repository

__all__ = ["Shapes", "node_id"]


class Shapes:
    """Renders with URLs of this upstream: `api` is the API's base, `web` stands for github.com."""

    def __init__(self, api: str, web: str) -> None:
        self._api = api
        self._web = web
        self._accounts: dict[tuple[str, str], dict[str, Any]] = {}

    def html(self, repo: Repository) -> str:
        """A repository's page."""
        return f"{self._web}/{repo.full_name}"

    def account(self, login: str, kind: str = "User") -> dict[str, Any]:
        """A user, an organization or a bot, as it stands within other objects."""
        known = self._accounts.get((login, kind))
        if known is None:
            known = self._accounts[login, kind] = self._account(login, kind)
        return known

    def _account(self, login: str, kind: str) -> dict[str, Any]:
        kind = "Bot" if login.endswith("[bot]") else kind
        url = f"{self._api}/users/{quote(login, safe='')}"
        id_ = zlib.crc32(login.lower().encode()) & 0x7FFFFFF
        return {
            "login": login,
            "id": id_,
            "node_id": node_id("U", id_),
            "avatar_url": f"https://avatars.githubusercontent.com/u/{id_}?v=4",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self._web}/{quote(login.removesuffix('[bot]'))}",
            "followers_url": f"{url}/followers",
            "following_url": f"{url}/following{{/other_user}}",
            "gists_url": f"{url}/gists{{/gist_id}}",
            "starred_url": f"{url}/starred{{/owner}}{{/repo}}",
            "subscriptions_url": f"{url}/subscriptions",
            "organizations_url": f"{url}/orgs",
            "repos_url": f"{url}/repos",
            "events_url": f"{url}/events{{/privacy}}",
            "received_events_url": f"{url}/received_events",
            "type": kind,
            "user_view_type": "public",
            "site_admin": False,
        }

    def user(self, user: GithubUser) -> dict[str, Any]:
        """The answer of ``/user``."""
        more = {"name": user.login, "company": None, "public_repos": 0, "followers": 0}
        return {**self.account(user.login), "id": user.id, **more}

    def repository(self, repo: Repository, *, push: bool | None = None) -> dict[str, Any]:
        """A repository; `permissions` are there for callers with a token."""
        owner, _, name = repo.full_name.partition("/")
        url = f"{self._api}/repos/{repo.full_name}"
        html = f"{self._web}/{repo.full_name}"
        changed = max([repo.created_at, *(each.updated_at for each in repo.releases)])
        shape: dict[str, Any] = {
            "id": repo.id,
            "node_id": node_id("R", repo.id),
            "name": name,
            "full_name": repo.full_name,
            "private": repo.private,
            "owner": self.account(owner),
            "html_url": html,
            "description": repo.description,
            "fork": False,
            "url": url,
            "events_url": f"{url}/events",
            "assignees_url": f"{url}/assignees{{/user}}",
            "branches_url": f"{url}/branches{{/branch}}",
            "tags_url": f"{url}/tags",
            "git_tags_url": f"{url}/git/tags{{/sha}}",
            "commits_url": f"{url}/commits{{/sha}}",
            "contents_url": f"{url}/contents/{{+path}}",
            "archive_url": f"{url}/{{archive_format}}{{/ref}}",
            "downloads_url": f"{url}/downloads",
            "releases_url": f"{url}/releases{{/id}}",
            "deployments_url": f"{url}/deployments",
            "created_at": repo.created_at,
            "updated_at": changed,
            "pushed_at": changed,
            "git_url": f"git://github.com/{repo.full_name}.git",
            "ssh_url": f"git@github.com:{repo.full_name}.git",
            "clone_url": f"{html}.git",
            "svn_url": html,
            "homepage": None,
            "size": 147,
            "stargazers_count": 1,
            "watchers_count": 1,
            "language": None,
            "has_issues": True,
            "has_projects": True,
            "has_downloads": True,
            "has_wiki": True,
            "has_pages": False,
            "has_discussions": False,
            "forks_count": 0,
            "mirror_url": None,
            "archived": repo.archived,
            "disabled": False,
            "open_issues_count": 0,
            "license": None,
            "allow_forking": True,
            "is_template": False,
            "web_commit_signoff_required": False,
            "topics": [],
            "visibility": "private" if repo.private else "public",
            "forks": 0,
            "open_issues": 0,
            "watchers": 1,
            "default_branch": "main",
            "network_count": 0,
            "subscribers_count": 1,
        }
        if push is not None:
            shape["permissions"] = {"admin": False, "push": push, "pull": True}
        return shape

    def release_page(self, repo: Repository, release: Release) -> str:
        """Its page; a draft has no tag yet."""
        shown = f"untagged-{release.id:x}" if release.draft else quote(release.tag)
        return f"{self._web}/{repo.full_name}/releases/tag/{shown}"

    def release(self, repo: Repository, release: Release) -> dict[str, Any]:
        """A release with its assets; the order of keys is the recorded one."""
        url = f"{self._api}/repos/{repo.full_name}/releases/{release.id}"
        uploads = f"{self._api}/uploads/repos/{repo.full_name}/releases/{release.id}"
        archive = f"{self._api}/repos/{repo.full_name}"
        tag = quote(release.tag)
        return {
            "url": url,
            "assets_url": f"{url}/assets",
            "upload_url": f"{uploads}/assets{{?name,label}}",
            "html_url": self.release_page(repo, release),
            "id": release.id,
            "author": self.account(release.author),
            "node_id": node_id("RE", repo.id, release.id),
            "tag_name": release.tag,
            "target_commitish": release.target_commitish,
            "name": release.name,
            "draft": release.draft,
            "immutable": release.immutable,
            "prerelease": release.prerelease,
            "created_at": release.created_at,
            "updated_at": release.updated_at,
            "published_at": release.published_at,
            "assets": [self.asset(repo, release, each) for each in release.assets],
            "tarball_url": None if release.draft else f"{archive}/tarball/{tag}",
            "zipball_url": None if release.draft else f"{archive}/zipball/{tag}",
            "body": release.body,
        }

    def asset(self, repo: Repository, release: Release, asset: Asset) -> dict[str, Any]:
        """An asset; `digest` is null for those uploaded before June 2025."""
        download = f"{self._web}/{repo.full_name}/releases/download"
        return {
            "url": f"{self._api}/repos/{repo.full_name}/releases/assets/{asset.id}",
            "id": asset.id,
            "node_id": node_id("RA", repo.id, asset.id),
            "name": asset.name,
            "label": asset.label,
            "uploader": self.account(asset.uploader),
            "content_type": asset.content_type,
            "state": asset.state,
            "size": asset.size,
            "digest": asset.digest,
            "download_count": asset.download_count,
            "created_at": asset.created_at,
            "updated_at": asset.updated_at,
            "browser_download_url": f"{download}/{quote(release.tag)}/{quote(asset.name)}",
        }

    def tag(self, repo: Repository, name: str, commit: str) -> dict[str, Any]:
        """A tag as ``/tags`` lists it."""
        url = f"{self._api}/repos/{repo.full_name}"
        return {
            "name": name,
            "zipball_url": f"{url}/zipball/refs/tags/{quote(name)}",
            "tarball_url": f"{url}/tarball/refs/tags/{quote(name)}",
            "commit": {"sha": commit, "url": f"{url}/commits/{commit}"},
            "node_id": node_id("REF", repo.id, zlib.crc32(name.encode())),
        }


def node_id(kind: str, *ids: int) -> str:
    """The global id that GraphQL knows a thing by."""
    packed = b"".join(id_.to_bytes(8, "big").lstrip(b"\0") for id_ in ids)
    return f"{kind}_kw{base64.urlsafe_b64encode(packed).decode().rstrip('=')}"
