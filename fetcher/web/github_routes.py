"""``/v1/github``: releases and tags."""

from typing import Any

from fetcher.reader import Fresh
from fetcher.web.answers import Answer, listing, of_record
from fetcher.web.call import Absent, Call
from fetcher.web.declare import Parameter, Route, boolean, integer, text

__all__ = ["AFTER", "LIMIT", "ROUTES"]

LIMIT = Parameter("limit", integer(1, 1000), "How many items at most.", 100)
AFTER = Parameter("after", text(8192), "The `next` of the part before.")

_OWNER = Parameter("owner", text(100), "The owner, in any case, now or before a rename.")
_REPO = Parameter("repo", text(100), "The repository, likewise.")
_TAG = Parameter("tag", text(1024), "The tag; slashes may be escaped or not.")
_WITHDRAWN = Parameter("withdrawn", boolean(), "Also what GitHub has no longer.", default=False)
_REPOSITORY = "/v1/github/{owner}/{repo}"


def _name(call: Call) -> str:
    return f"{call.values['owner']}/{call.values['repo']}"


def _absent(call: Call) -> Absent:
    name = _name(call)
    return Absent(
        f"nothing is stored of the repository {name}; `fetcher watch add {name}` keeps it "
        f"current, `fetcher fetch {name}` gets it now"
    )


async def _guard(call: Call) -> bool:
    """Whether the repository is private; to those without a token it does not exist then."""
    state = await call.reader.target_state(f"github:{_name(call)}")
    private = state is not None and state.facts.get("private") is True
    if private and not call.may:
        raise _absent(call)
    return private


async def _releases(call: Call) -> Answer:
    private = await _guard(call)
    given = call.values
    page = await call.reader.releases_page(
        _name(call),
        prereleases=given["prereleases"],
        drafts=given["drafts"] and call.may,
        withdrawn=given["withdrawn"],
        limit=given["limit"],
        after=given["after"],
        private=call.may,
    )
    if page is None:
        raise _absent(call)
    return listing(page, call.request, private=private or (given["drafts"] and call.may))


def _one(call: Call, found: Fresh[Any] | None, what: str, *, private: bool) -> Answer:
    hidden = found is not None and (found["draft"] or found["private"])
    if found is None or (hidden and not call.may):
        raise Absent(f"{what} of {_name(call)} is stored")
    return of_record(found, private=private or hidden)


async def _latest(call: Call) -> Answer:
    private = await _guard(call)
    found = await call.reader.latest_release(_name(call))
    return _one(call, found, "no release that GitHub marks as the latest", private=private)


async def _newest(call: Call) -> Answer:
    private = await _guard(call)
    found = await call.reader.newest_release(_name(call))
    return _one(call, found, "no release", private=private)


async def _tagged(call: Call) -> Answer:
    private = await _guard(call)
    tag = call.values["tag"]
    found = await call.reader.release(_name(call), tag)
    return _one(call, found, f"no release with the tag {tag}", private=private)


async def _tags(call: Call) -> Answer:
    private = await _guard(call)
    given = call.values
    page = await call.reader.tags_page(
        _name(call), withdrawn=given["withdrawn"], limit=given["limit"], after=given["after"]
    )
    if page is None:
        raise _absent(call)
    return listing(page, call.request, private=private)


ROUTES = (
    Route(
        "GET",
        _REPOSITORY + "/releases",
        "listReleases",
        "The releases of a repository, newest published first",
        _releases,
        (
            _OWNER,
            _REPO,
            Parameter("prereleases", boolean(), "Prereleases, too.", default=True),
            Parameter("drafts", boolean(), "Drafts, too, for those with a token.", default=False),
            _WITHDRAWN,
            LIMIT,
            AFTER,
        ),
        {"application/json": "ReleaseList"},
        "GitHub",
        kept=True,
    ),
    Route(
        "GET",
        _REPOSITORY + "/releases/latest",
        "latestRelease",
        "The release that GitHub marks as the latest",
        _latest,
        (_OWNER, _REPO),
        {"application/json": "Release"},
        "GitHub",
        kept=True,
    ),
    Route(
        "GET",
        _REPOSITORY + "/releases/newest",
        "newestRelease",
        "The release that was published last, prereleases too",
        _newest,
        (_OWNER, _REPO),
        {"application/json": "Release"},
        "GitHub",
        kept=True,
    ),
    Route(
        "GET",
        _REPOSITORY + "/releases/tags/{tag:.+}",
        "releaseByTag",
        "The release of a tag",
        _tagged,
        (_OWNER, _REPO, _TAG),
        {"application/json": "Release"},
        "GitHub",
        kept=True,
    ),
    Route(
        "GET",
        _REPOSITORY + "/tags",
        "listTags",
        "The tags of a repository that has no release",
        _tags,
        (_OWNER, _REPO, _WITHDRAWN, LIMIT, AFTER),
        {"application/json": "TagList"},
        "GitHub",
        kept=True,
    ),
)
