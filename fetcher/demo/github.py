"""GitHub's REST API: who may ask, what it costs, and what is answered.

https://docs.github.com/en/rest · the shapes and messages as recorded from api.github.com
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote, unquote

from fetcher.demo.exchange import Answer, Call, Refused, json_answer
from fetcher.demo.github_models import GithubUser, Release, Repository, stamp
from fetcher.demo.github_shapes import Shapes
from fetcher.demo.github_state import CURRENT_VERSION, GithubState
from fetcher.demo.limits import ResettingWindow

__all__ = ["GithubApi"]

T = TypeVar("T")
Row: TypeAlias = dict[str, Any]

DOCS: Final = "https://docs.github.com/rest"
LIMITS: Final = f"{DOCS}/using-the-rest-api/rate-limits-for-the-rest-api"
NO_USER_AGENT: Final = (
    "Request forbidden by administrative rules. Please make sure your request has a User-Agent "
    "header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api"
    "#user-agent-required). Check https://developer.github.com for other possible causes.\r\n"
)
SECONDARY: Final = (
    "You have exceeded a secondary rate limit. Please wait a few minutes before you try again. "
    "For more on scraping GitHub and how it may affect your rights, please review our Terms of "
    "Service (https://docs.github.com/en/site-policy/github-terms/github-terms-of-service)"
)


@dataclass(frozen=True, slots=True)
class _Visit:
    """One call by somebody: what every endpoint needs."""

    call: Call
    user: GithubUser | None
    shapes: Shapes


class GithubApi:
    """Answers calls out of a `GithubState`."""

    def __init__(self, state: GithubState) -> None:
        self._state = state
        self._answered = 0
        self._shapes: dict[tuple[str, str], Shapes] = {}

    def answer(self, call: Call) -> Answer:
        """The answer, with what every answer of GitHub carries."""
        if call.path.startswith(("/web/", "/objects/")):
            return self._download(call)
        account = self._state.account(call)
        if not call.headers.get("User-Agent"):
            headers = {"Content-Type": "text/html; charset=utf-8"}
            return Answer(403, headers, NO_USER_AGENT.encode(), account)
        try:
            user, bad = self._state.user(call), False
        except PermissionError:
            user, bad = None, True
        limit = self._state.limit_anonymous if user is None else user.limit
        window = self._state.budget(account, limit)
        try:
            answer = self._admitted(call, user, account, window, bad=bad)
        except Refused as refused:
            answer = refused.answer
        return replace(
            answer, account=account, headers={**answer.headers, **self._usual(call, window)}
        )

    def _usual(self, call: Call, window: ResettingWindow) -> Mapping[str, str]:
        self._answered += 1
        left = window.look(call.at)
        return {
            "Server": "github.com",
            "X-GitHub-Media-Type": "github.v3; format=json",
            "x-github-api-version-selected": self._version(call),
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(window.reset_epoch)),
            "X-RateLimit-Resource": "core",
            "X-RateLimit-Used": str(window.limit - left),
            "X-GitHub-Request-Id": f"DE40:{self._answered:06X}:F095E:DEB0C:{int(call.at):08X}",
            **self._state.deprecation,
        }

    def _version(self, call: Call) -> str:
        return call.headers.get("X-GitHub-Api-Version", CURRENT_VERSION)

    def _admitted(
        self,
        call: Call,
        user: GithubUser | None,
        account: str,
        window: ResettingWindow,
        *,
        bad: bool,
    ) -> Answer:
        """Checks who asks and what is left of the limits, then answers and charges."""
        state, version = self._state, self._version(call)
        if bad:
            raise _refusal(401, "Bad credentials")
        if version in state.retired_versions:
            raise _refusal(410, f"Version {version} of the REST API is no longer supported.")
        if version not in state.versions:
            raise _refusal(400, f"{version} is not a supported version of the REST API.")
        if call.path == "/rate_limit":
            return self._rate_limit(call, window)
        if state.secondary(account, 1 if call.method in ("GET", "HEAD", "OPTIONS") else 5):
            after = state.secondary_retry_after
            headers = {} if after is None else {"Retry-After": str(after)}
            about = f"{LIMITS}#about-secondary-rate-limits"
            raise _refusal(state.secondary_status, SECONDARY, about=about, headers=headers)
        if window.look(call.at) < 1:
            state.violations.append(call.at)
            raise _refusal(state.limit_status, _exhausted(call, user), about=LIMITS)
        if user is None and state.require_token:
            window.spend(call.at)
            raise _refusal(401, "Requires authentication")
        try:
            answer = self._conditional(call, self._route(call, user))
        except Refused:
            window.spend(call.at)
            raise
        # "A 304 does not count, if the request was made with a correct Authorization header."
        # https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
        if not (answer.status == 304 and user is not None):
            window.spend(call.at)
        return answer

    def _conditional(self, call: Call, answer: Answer) -> Answer:
        """Gives a 200 its ETag, which differs by token, and turns it into a 304 where it may."""
        if answer.status != 200:
            return answer
        token = call.headers.get("Authorization", "").partition(" ")[2]
        links = answer.headers.get("Link", "").encode()
        digest = hashlib.sha256(b"\0".join((token.encode(), links, answer.body))).hexdigest()
        etag = f'W/"{digest}"' if self._state.weak_etags else f'"{digest}"'
        cache = {
            "Cache-Control": f"{'private' if token else 'public'}, max-age=60, s-maxage=60",
            "Vary": "Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding",
            "ETag": etag,
        }
        wanted = [each.strip() for each in call.headers.get("If-None-Match", "").split(",")]
        if any(each.removeprefix("W/") == f'"{digest}"' for each in wanted):
            return Answer(304, cache)
        return replace(answer, headers={**answer.headers, **cache})

    # --- endpoints --------------------------------------------------------------------------

    def _route(self, call: Call, user: GithubUser | None) -> Answer:
        urls = (call.base, self._state.web_url)
        visit = _Visit(call, user, self._shapes.setdefault(urls, Shapes(*urls)))
        parts = [unquote(part) for part in call.path.split("/")[1:]]
        if call.method not in ("GET", "HEAD"):
            raise _refusal(404, "Not Found")
        match parts:
            case ["user"]:
                if user is None:
                    raise _refusal(401, "Requires authentication")
                return json_answer(200, visit.shapes.user(user))
            case ["repos", owner, name, *rest]:
                return self._under(visit, self._named(visit, f"{owner}/{name}", call.path), rest)
            case ["repositories", id_, *rest] if id_.isdecimal():
                try:
                    repo = self._state.repository(int(id_))
                except KeyError:
                    raise _refusal(404, "Not Found") from None
                return self._under(visit, repo, rest)
            case _:
                raise _refusal(404, "Not Found")

    def _named(self, visit: _Visit, full_name: str, path: str) -> Repository:
        """The repository of that name in any case; an old name redirects to its id."""
        try:
            return self._state.repository(full_name)
        except KeyError:
            moved = self._state.formerly(full_name)
            if moved is None or not self._state.sees(visit.user, moved):
                raise _refusal(404, "Not Found") from None
        rest = "/".join(path.split("/")[4:])
        url = f"{visit.call.base}/repositories/{moved.id}" + (f"/{rest}" if rest else "")
        if visit.call.query:
            url += "?" + "&".join(f"{k}={quote(v)}" for k, v in visit.call.query.items())
        shape = {
            "message": "Moved Permanently",
            "url": url,
            "documentation_url": f"{DOCS}/guides/best-practices-for-using-the-rest-api"
            "#follow-redirects",
        }
        raise Refused(json_answer(301, shape, {"Location": url}))

    def _under(self, visit: _Visit, repo: Repository, rest: Sequence[str]) -> Answer:
        if not self._state.sees(visit.user, repo):
            raise _refusal(404, "Not Found")
        if repo.blocked is not None:
            raise Refused(json_answer(451, _block(repo)))
        if repo.forbidden is not None:
            raise _refusal(403, repo.forbidden)
        push = self._state.sees(visit.user, repo, push=True)
        releases = [each for each in repo.releases if push or not each.draft]
        match rest:
            case []:
                shown = push if visit.user is not None else None
                return json_answer(200, visit.shapes.repository(repo, push=shown))
            case ["releases"]:
                # By the commit's date; what was published last need not come first.
                releases.sort(key=lambda each: (each.created_at, each.id), reverse=True)
                return self._page(
                    visit, repo, "releases", releases, lambda each: visit.shapes.release(repo, each)
                )
            case ["tags"]:
                tags = sorted(repo.tags.items(), reverse=True)
                return self._page(
                    visit, repo, "tags", tags, lambda each: visit.shapes.tag(repo, *each)
                )
            case ["releases", "assets", id_]:
                return self._asset(visit, repo, releases, id_)
            case ["releases", id_, "assets"]:
                owner = _one(each for each in releases if str(each.id) == id_)
                return self._page(
                    visit,
                    repo,
                    f"releases/{id_}/assets",
                    owner.assets,
                    lambda each: visit.shapes.asset(repo, owner, each),
                )
            case ["releases", "latest"]:
                found = _latest(repo)
            case ["releases", "tags", *tag]:
                # A draft is not found by its tag, whoever asks.
                name = "/".join(tag)
                found = _one(each for each in releases if each.tag == name and not each.draft)
            case ["releases", id_]:
                found = _one(each for each in releases if str(each.id) == id_)
            case _:
                raise _refusal(404, "Not Found")
        return json_answer(200, visit.shapes.release(repo, found))

    def _page(
        self,
        visit: _Visit,
        repo: Repository,
        below: str,
        items: Sequence[T],
        shape: Callable[[T], Row],
    ) -> Answer:
        """One page of a list, with links that name the repository by id, as recorded.

        https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
        """
        query = visit.call.query
        size = min(_number(query.get("per_page"), 30), 100)
        page = _number(query.get("page"), 1)
        at_most = self._state.listed_at_most
        start = (page - 1) * size
        if start >= at_most:
            text = f"Only the first {at_most} results are available."
            raise _refusal(422, text, about="https://docs.github.com/v3/#pagination")
        last = max(1, -(-min(len(items), at_most) // size))
        links: dict[str, int] = {}
        if page > 1:
            links["prev"] = min(page - 1, last)
        if page < last:
            links |= {"next": page + 1, "last": last}
        if page > 1:
            links["first"] = 1
        url = f"{visit.call.base}/repositories/{repo.id}/{below}"
        others = "".join(f"{k}={quote(v)}&" for k, v in query.items() if k != "page")
        link = ", ".join(f'<{url}?{others}page={to}>; rel="{rel}"' for rel, to in links.items())
        shown = [shape(each) for each in items[start : min(start + size, at_most)]]
        return json_answer(200, shown, {"Link": link} if link else None)

    def _rate_limit(self, call: Call, window: ResettingWindow) -> Answer:
        """Asking what is left costs nothing. https://docs.github.com/en/rest/rate-limit"""
        left = window.look(call.at)
        core = {
            "limit": window.limit,
            "used": window.limit - left,
            "remaining": left,
            "reset": int(window.reset_epoch),
        }
        untouched = {"used": 0, "reset": int(call.at) + 3600}
        search = {"limit": 30, "remaining": 30, **untouched}
        graphql = {"limit": window.limit, "remaining": window.limit, **untouched}
        shape: Row = {"resources": {"core": core, "search": search, "graphql": graphql}}
        if self._version(call) == CURRENT_VERSION:
            shape["rate"] = core
        return json_answer(200, shape, {"Cache-Control": "no-cache"})

    # --- assets -----------------------------------------------------------------------------

    def _asset(
        self, visit: _Visit, repo: Repository, releases: Sequence[Release], id_: str
    ) -> Answer:
        """An asset's JSON, or with ``Accept: application/octet-stream`` the way to its bytes.

        https://docs.github.com/en/rest/releases/assets#get-a-release-asset
        """
        release, asset = _one(
            (each, asset) for each in releases for asset in each.assets if str(asset.id) == id_
        )
        if visit.call.headers.get("Accept") != "application/octet-stream":
            return json_answer(200, visit.shapes.asset(repo, release, asset))
        objects = self._state.objects_url or f"{visit.call.base.removesuffix('/github')}/objects"
        return Answer(302, {"Location": f"{objects}/{asset.id}/{quote(asset.name)}"})

    def _download(self, call: Call) -> Answer:
        """The bytes of assets, where a browser gets them; no API limit counts here."""
        parts = [unquote(part) for part in call.path.split("/")[1:]]
        objects = self._state.objects_url or f"{call.base.removesuffix('/github')}/objects"
        for repo in self._state.repositories():
            for release in repo.releases:
                for asset in release.assets:
                    wanted = ["releases", "download", *release.tag.split("/"), asset.name]
                    if parts == ["web", *repo.full_name.split("/"), *wanted]:
                        url = f"{objects}/{asset.id}/{quote(asset.name)}"
                        return Answer(302, {"Location": url})
                    if parts[:2] == ["objects", str(asset.id)] and asset.content is not None:
                        return _bytes(call, asset.content, asset.content_type)
        return Answer(404, {"Content-Type": "text/plain; charset=utf-8"}, b"Not Found")


def _bytes(call: Call, content: bytes, content_type: str) -> Answer:
    """The whole of it, or from where ``Range: bytes=N-`` says."""
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
    unit, _, span = call.headers.get("Range", "").partition("=")
    start = span.removesuffix("-")
    if unit == "bytes" and start.isdecimal():
        if int(start) >= len(content):
            return Answer(416, {**headers, "Content-Range": f"bytes */{len(content)}"})
        headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return Answer(206, headers, content[int(start) :], encoded=True)
    return Answer(200, headers, content, encoded=True)


def _refusal(
    status: int,
    message: str,
    *,
    about: str = DOCS,
    headers: Mapping[str, str] | None = None,
) -> Refused:
    shape = {"message": message, "documentation_url": about, "status": str(status)}
    return Refused(json_answer(status, shape, headers))


def _exhausted(call: Call, user: GithubUser | None) -> str:
    if user is not None:
        return (
            f"API rate limit exceeded for user ID {user.id}. If you reach out to GitHub Support "
            f"for help, please include the request ID and timestamp {stamp(call.at)}."
        )
    return (
        f"API rate limit exceeded for {call.remote}. (But here's the good news: Authenticated "
        "requests get a higher rate limit. Check out the documentation for more details.)"
    )


def _block(repo: Repository) -> Row:
    return {
        "message": "Repository access blocked",
        "block": {
            "reason": repo.blocked,
            "created_at": repo.created_at,
            "html_url": f"https://github.com/github/{repo.blocked}/blob/master/{repo.id}.md",
        },
    }


def _latest(repo: Repository) -> Release:
    """By the commit's date, without drafts and pre-releases, unless one is marked by hand."""
    full = [each for each in repo.releases if not (each.draft or each.prerelease)]
    marked = [each for each in full if each.id == repo.latest]
    return _one(marked or sorted(full, key=lambda each: (each.created_at, each.id), reverse=True))


def _one(found: Iterable[T]) -> T:
    for each in found:
        return each
    raise _refusal(404, "Not Found")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() and int(text) else otherwise
