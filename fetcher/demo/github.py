"""GitHub's REST API: who may ask, what it costs, and what is answered; queries go on to GraphQL.

https://docs.github.com/en/rest · the shapes and messages as recorded from api.github.com
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

from fetcher.demo.exchange import Answer, Call, Refused, json_answer
from fetcher.demo.github_accounts import Resource
from fetcher.demo.github_answers import (
    DOCS,
    LIMITS,
    NO_USER_AGENT,
    Row,
    block,
    exhausted,
    refusal,
    request_id,
    too_fast,
)
from fetcher.demo.github_apps import GithubApps
from fetcher.demo.github_files import GithubFiles
from fetcher.demo.github_models import GithubUser, Release, Repository
from fetcher.demo.github_shapes import Shapes
from fetcher.demo.github_state import CURRENT_VERSION, GithubState
from fetcher.demo.limits import ResettingWindow

if TYPE_CHECKING:
    from fetcher.demo.graphql import GraphqlApi

__all__ = ["GithubApi"]

T = TypeVar("T")


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
        self._files = GithubFiles(state)
        self._apps = GithubApps(state)
        self._graphql: GraphqlApi | None = None
        self._answered = 0
        self._shapes: dict[tuple[str, str], Shapes] = {}

    def answer(self, call: Call) -> Answer:
        """The answer, with what every answer of GitHub carries."""
        account = self._state.account(call)
        if not call.headers.get("User-Agent"):
            headers = {"Content-Type": "text/html; charset=utf-8"}
            return Answer(403, headers, NO_USER_AGENT.encode(), account)
        if call.path.startswith("/app/"):
            return self._apps.answer(call)
        try:
            user, bad = self._state.user(call), False
        except PermissionError:
            user, bad = None, True
        resource: Resource = "graphql" if call.path == "/graphql" else "core"
        window = self._state.budget(account, self._state.limit(user, resource), resource)
        try:
            if bad:
                raise refusal(401, "Bad credentials")
            if resource == "graphql":
                answer = self._queries().answer(call, user, account, window)
            else:
                answer = self._admitted(call, user, account, window)
        except Refused as refused:
            answer = refused.answer
        headers = {**answer.headers, **self._usual(call, window, resource)}
        return replace(answer, account=account, headers=headers)

    def _queries(self) -> "GraphqlApi":
        """GraphQL's part, made when it is first asked for: most demos do without its library."""
        if self._graphql is None:
            try:
                from fetcher.demo.graphql import GraphqlApi
            except ModuleNotFoundError as missing:
                message = f"The demo's GraphQL needs {missing.name}: the extra 'dev' brings it"
                raise refusal(501, message) from missing
            self._graphql = GraphqlApi(self._state)
        return self._graphql

    def _usual(self, call: Call, window: ResettingWindow, resource: Resource) -> Mapping[str, str]:
        self._answered += 1
        left = window.look(call.at)
        media = "github.v3" if resource == "core" else "github.v4"
        return {
            "Server": "github.com",
            "X-GitHub-Media-Type": f"{media}; format=json",
            "x-github-api-version-selected": self._version(call),
            "X-RateLimit-Limit": str(window.limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(int(window.reset_epoch)),
            "X-RateLimit-Resource": resource,
            "X-RateLimit-Used": str(window.limit - left),
            "X-GitHub-Request-Id": request_id(self._answered, call.at),
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
    ) -> Answer:
        """Checks who asks and what is left of the limits, then answers and charges."""
        state, version = self._state, self._version(call)
        if version in state.retired_versions:
            raise refusal(410, f"Version {version} of the REST API is no longer supported.")
        if version not in state.versions:
            raise refusal(400, f"{version} is not a supported version of the REST API.")
        if call.path == "/rate_limit":
            return self._rate_limit(call, user, account, window)
        if state.secondary(account, 1 if call.method in ("GET", "HEAD", "OPTIONS") else 5):
            raise too_fast(state, "core")
        if window.look(call.at) < 1:
            state.violations.append(call.at)
            raise refusal(state.limit_status, exhausted(call, user), about=LIMITS)
        if user is None and state.require_token:
            window.spend(call.at)
            raise refusal(401, "Requires authentication")
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
            raise refusal(404, "Not Found")
        match parts:
            case ["user"]:
                if user is None:
                    raise refusal(401, "Requires authentication")
                return json_answer(200, visit.shapes.user(user))
            case ["repos", owner, name, *rest]:
                return self._under(visit, self._named(visit, f"{owner}/{name}", call.path), rest)
            case ["repositories", id_, *rest] if id_.isdecimal():
                try:
                    repo = self._state.repository(int(id_))
                except KeyError:
                    raise refusal(404, "Not Found") from None
                return self._under(visit, repo, rest)
            case _:
                raise refusal(404, "Not Found")

    def _named(self, visit: _Visit, full_name: str, path: str) -> Repository:
        """The repository of that name in any case; an old name redirects to its id."""
        try:
            return self._state.repository(full_name)
        except KeyError:
            moved = self._state.formerly(full_name)
            if moved is None or not self._state.sees(visit.user, moved):
                raise refusal(404, "Not Found") from None
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
            raise refusal(404, "Not Found")
        if repo.blocked is not None:
            raise Refused(block(repo))
        if repo.forbidden is not None:
            raise refusal(403, repo.forbidden)
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
                found = _one([repo.latest_release()])
            case ["releases", "tags", *tag]:
                # A draft is not found by its tag, whoever asks.
                name = "/".join(tag)
                found = _one(each for each in releases if each.tag == name and not each.draft)
            case ["releases", id_]:
                found = _one(each for each in releases if str(each.id) == id_)
            case _:
                raise refusal(404, "Not Found")
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
            raise refusal(422, text, about="https://docs.github.com/v3/#pagination")
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

    def _rate_limit(
        self, call: Call, user: GithubUser | None, account: str, window: ResettingWindow
    ) -> Answer:
        """Asking what is left costs nothing. https://docs.github.com/en/rest/rate-limit"""
        points = self._state.budget(account, self._state.limit(user, "graphql"), "graphql")
        core, graphql = _left(call, window), _left(call, points)
        search = {"limit": 30, "remaining": 30, "used": 0, "reset": int(call.at) + 3600}
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
        if asset.state != "uploaded":
            raise refusal(404, "Not Found")
        if self._state.redirects_assets:
            return self._files.link(visit.call, asset)
        return self._files.whole(visit.call, asset)


def _left(call: Call, window: ResettingWindow) -> Row:
    left = window.look(call.at)
    return {
        "limit": window.limit,
        "used": window.limit - left,
        "remaining": left,
        "reset": int(window.reset_epoch),
    }


def _one(found: Iterable[T | None]) -> T:
    for each in found:
        if each is not None:
            return each
    raise refusal(404, "Not Found")


def _number(text: str | None, otherwise: int) -> int:
    return int(text) if text is not None and text.isdecimal() and int(text) else otherwise
