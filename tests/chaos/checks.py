"""What must hold of a store: at every kill, all through a storm, and after it."""

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fetcher.demo.exchange import Logged
from fetcher.documents import Document, Kind, flat_file
from fetcher.models import Stamp, TargetState
from fetcher.store import Query, WriteStore
from tests.chaos.weather import (
    ACCESSIONS,
    NCBI_RATE,
    QUERY,
    REPOSITORIES,
    Book,
    Shape,
    Weather,
    stored_shape,
)

__all__ = ["Complaints", "Follower", "Watcher", "check_cursors", "check_requests", "check_truth"]

_KINDS: Final[tuple[Kind, ...]] = ("release", "tag", "sequence")
_HISTORY: Final = 20
# An arrival and a commit are dated by the same clock, but not at the very same moment.
_BLUR: Final = 0.02


@dataclass(slots=True)
class Complaints:
    """Violations by what was violated, each with its evidence."""

    made: list[tuple[str, str]] = field(default_factory=list)
    _known: set[tuple[str, str]] = field(default_factory=set)

    def __call__(self, rule: str, evidence: str, about: str | None = None) -> None:
        """Takes one down; the same rule `about` the same thing is told once."""
        if about is not None and (rule, about) in self._known:
            return
        if about is not None:
            self._known.add((rule, about))
        self.made.append((rule, evidence))

    def __len__(self) -> int:
        return len(self.made)

    def lines(self, most: int = 20) -> list[str]:
        """For people: how many of each, then the first of them."""
        counts = Counter(rule for rule, _ in self.made)
        shown = [f"{rule}: {evidence}" for rule, evidence in self.made[:most]]
        return [*(f"  {number} x {rule}" for rule, number in counts.items()), *shown]


class Follower:
    """A reader of the feed that resumes from its position all through the storm."""

    def __init__(self, store: WriteStore, complain: Complaints) -> None:
        self._store = store
        self._complain = complain
        self._position: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, Stamp] = {}
        self.digests: dict[str, str] = {}
        self.changes = 0

    async def read(self) -> None:
        """What has changed since."""
        async for stamp, document in self._store.changes(dict(self._position)):
            before = self._position.get(stamp.account, (0, 0))
            if (stamp.token, stamp.n) <= before:
                self._complain("the feed goes forward", f"{before} was followed by {stamp}")
            self._position[stamp.account] = (stamp.token, stamp.n)
            known = self.seen.get(document["_id"])
            if known is not None and known.account == stamp.account and stamp <= known:
                text = f"{document['_id']} came at {known}, then at {stamp}"
                self._complain("a record's stamp never goes back", text)
            self.seen[document["_id"]] = stamp
            self.digests[document["_id"]] = document["digest"]
            self.changes += 1

    async def compare(self) -> None:
        """It has seen the latest state of everything, and so has who begins now."""
        last: dict[str, Stamp] = {}
        async for stamp, document in self._store.changes({}):
            id_ = document["_id"]
            if id_ in last:
                self._complain("the feed has each record once", f"{id_}: {last[id_]}, {stamp}")
            last[id_] = stamp
            if self.seen.get(id_) != stamp or self.digests.get(id_) != document["digest"]:
                text = f"{id_} is at {stamp}, and the last seen was {self.seen.get(id_)}"
                self._complain("a reader misses nothing", text)
        for kind in _KINDS:
            async for document in self._store.records(Query(kind), whole=False):
                if document["_id"] not in last:
                    text = f"{document['_id']} at {document['stamp']}"
                    self._complain("every record is in the feed", text)


@dataclass(slots=True)
class Watcher:
    """Every commit of a poll that was seen, by target."""

    commits: dict[str, dict[datetime, TargetState]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def look(self, states: Sequence[TargetState]) -> None:
        """Takes down which polls were committed."""
        for state in states:
            if state.last_attempt is not None:
                self.commits[state.id].setdefault(state.last_attempt, state)

    def times(self) -> list[float]:
        """Of all commits, in epoch seconds."""
        return sorted(at.timestamp() for each in self.commits.values() for at in each)

    def after(self, id_: str, moment: float) -> int:
        """How many polls of a target were committed after that moment."""
        return sum(at.timestamp() > moment for at in self.commits[id_])


async def states_of(store: WriteStore) -> list[TargetState]:
    """The state of every watched target."""
    return [state async for state in store.targets() if state.watch is not None]


async def check_cursors(
    store: WriteStore, weather: Weather, book: Book, complain: Complaints, *, still: bool
) -> None:
    """No cursor is ahead of its records; nor, where all stand `still`, does one hide a change.

    A cursor belongs to the listing that had its ETag. Each record must be as it was in that
    listing or in a later one. Where the upstream is today what it was then, the next poll hears
    "unchanged": then what is stored must be exactly that. A fingerprint likewise.
    """
    for state in await states_of(store):
        cursor = state.cursor or {}
        etag, id_ = cursor.get("etag"), int(state.facts.get("repository_id", 0))
        if "mark" in cursor and still:
            repository = weather.upstream.github.repository(id_)
            if state.facts["repository"] != repository.full_name:
                continue  # another name is another cursor
            stored, truth = await _releases(store, id_), weather.truth(repository)
            if await weather.mark(repository) == cursor["mark"] and stored != truth:
                text = f"{state.key}: the next check finds nothing, but"
                complain("a cursor hides no change", f"{text} {_difference(truth, stored)}")
        if etag is None:
            continue
        first = book.first(id_, etag)
        if first is None:
            complain("a cursor is an ETag that was served", f"{state.key}: {etag}")
            continue
        stored = await _releases(store, id_)
        listings = book.served[id_][first:]
        for release in {*listings[0].releases, *stored}:
            mine = stored.get(release)
            if not any(each.releases.get(release) == mine for each in listings):
                wanted = listings[0].releases.get(release)
                text = f"{state.key}: release {release} is {mine}, and was {wanted} in {etag}"
                complain("no cursor is ahead of its records", text, f"{id_}:{release}")
        truth = weather.truth(weather.upstream.github.repository(id_))
        if still and truth == listings[0].releases and stored != truth:
            text = f"{state.key}: the next poll hears 304, but {_difference(truth, stored)}"
            complain("a cursor hides no change", text, f"{id_}:{listings[0].etag}")


async def _releases(store: WriteStore, repository: int) -> dict[int, Shape]:
    """The stored releases of a repository that are not withdrawn."""
    query = Query("release", where={"repository_id": repository}, withdrawn=False)
    return {each["release_id"]: stored_shape(each) async for each in store.records(query)}


def _difference(truth: Mapping[Any, object], stored: Mapping[Any, object]) -> str:
    lacking = {key: value for key, value in truth.items() if key not in stored}
    other = {
        key: (value, stored[key])
        for key, value in truth.items()
        if key in stored and stored[key] != value
    }
    surplus = {key: value for key, value in stored.items() if key not in truth}
    return f"lacking {lacking}, other (true, stored) {other}, surplus {surplus}"


async def check_truth(store: WriteStore, weather: Weather, complain: Complaints) -> None:
    """Store and upstream agree, and every record tells its history whole."""
    for name in REPOSITORIES:
        await _check_repository(store, weather, name, complain)
    await _check_sequences(store, weather, complain)
    ids: Counter[str] = Counter()
    for kind in _KINDS:
        async for document in store.records(Query(kind)):
            ids[document["_id"]] += 1
            _check_history(document, complain)
            if kind != "release" and document["withdrawn_at"] is not None and kind == "sequence":
                complain("only what is gone is withdrawn", document["_id"])
    for id_, number in ids.items():
        if number > 1:
            complain("each record once", f"{id_} is there {number} times")
    for state in await states_of(store):
        kinds: tuple[Kind, ...] = ("sequence",)
        if state.key.startswith("github:"):
            kinds = ("release", "tag")
        count = sum(
            [await store.count(Query(kind, target=state.key, withdrawn=False)) for kind in kinds]
        )
        if count != state.records:
            complain("counts are right", f"{state.key}: {state.records} of {count}")


async def _check_repository(
    store: WriteStore, weather: Weather, name: str, complain: Complaints
) -> None:
    repository = weather.repository(name)
    key = f"github:{repository.full_name}"
    truth = weather.truth(repository)
    stored: dict[int, Shape] = {}
    async for document in store.records(Query("release", where={"repository_id": repository.id})):
        release = document["release_id"]
        gone = document["withdrawn_at"] is not None
        if gone and release in truth:
            complain("only what is gone is withdrawn", document["_id"])
        if not gone and release not in truth:
            complain("what is gone is withdrawn", document["_id"])
        if not gone:
            stored[release] = stored_shape(document)
        if not gone and document["targets"] != [key]:
            complain("targets are right", f"{document['_id']}: {document['targets']} for {key}")
        if not gone and document["repository"] != repository.full_name:
            complain("records are as upstream", f"{document['_id']} of {document['repository']}")
    if stored != truth:
        complain("records are as upstream", f"{key}: {_difference(truth, stored)}")
    tags = {} if truth else repository.tags
    query = Query("tag", target=key, withdrawn=False)
    held = {each["name"]: each["commit"] async for each in store.records(query)}
    if held != tags:
        complain("tags stand in for releases", f"{key}: {_difference(tags, held)}")


async def _check_sequences(store: WriteStore, weather: Weather, complain: Complaints) -> None:
    found = weather.found()
    wanted: dict[str, set[str]] = defaultdict(set)
    for version in found:
        wanted[version].add(f"ncbi:nuccore?{QUERY}")
    for accession in ACCESSIONS:
        if accession not in weather.gone:
            entry = weather.upstream.ncbi.get(accession)
            wanted[entry.accession_version].add(f"ncbi:nuccore/{accession}")
    for version, keys in wanted.items():
        document = await store.record("sequence", f"nuccore:{version}")
        if document is None:
            complain("records are as upstream", f"{version} is not stored")
            continue
        if flat_file(document) != weather.upstream.ncbi.get(version).flat:
            complain("records are as upstream", f"{version}: another flat file")
        if set(document["targets"]) != keys or len(document["targets"]) != len(keys):
            complain("targets are right", f"{version}: {document['targets']} for {keys}")
    async for document in store.records(Query("sequence", target=f"ncbi:nuccore?{QUERY}")):
        if document["accession_version"] not in found:
            complain("targets are right", f"{document['_id']} is found no more")


def _check_history(document: Document, complain: Complaints) -> None:
    """Revisions grow by one, and each of them differs from the one before."""
    revisions = [entry["revision"] for entry in document["history"]]
    last = document["revision"]
    if revisions != list(range(last - min(_HISTORY, last - 1) + 1, last + 1)):
        complain("histories are whole", f"{document['_id']}: {revisions} of {last}")
    state = dict(document)
    for entry in reversed(document["history"]):
        if all(state.get(name) == value for name, value in entry["fields"].items()):
            text = f"{document['_id']}: revision {entry['revision']} of {last} changes nothing"
            complain("no revision repeats the one before", text)
        state |= entry["fields"]
    times = [entry["changed_at"] for entry in document["history"]]
    if times != sorted(times):
        complain("histories are whole", f"{document['_id']}: changed at {times}")


def check_requests(
    log: Sequence[Logged],
    weather: Weather,
    watcher: Watcher,
    mended: Sequence[float],
    asleep: Sequence[tuple[float, float]],
    every: float,
    complain: Complaints,
) -> None:
    """What the upstreams saw of all processes together: no limit passed, nothing asked too soon.

    `mended` are the times at which a leader put late writes right, and so polled at once. While
    the upstreams were `asleep` (from, to) requests piled up before them: when those arrived they
    cannot tell.
    """
    for each in log:
        if each.upstream == "github" and each.status in (403, 429):
            complain("GitHub refuses nothing", f"{each.status} for {each.path} at {each.at:.3f}")
    times = sorted(each.at for each in log if each.upstream == "ncbi")
    for n, at in enumerate(times):
        within = n + 1 - bisect_right(times, at - 1.0)
        if within > NCBI_RATE and not any(a <= at and b >= at - 1.0 for a, b in asleep):
            span = [round(each - at, 3) for each in times[n + 1 - within : n + 1]]
            complain("NCBI's limit is kept", f"{within} in a second, at {at:.3f} {span}")
    asked: dict[str, list[float]] = defaultdict(list)
    for each in log:
        for name in _polled(each, weather):
            asked[name].append(each.at)
    for id_, commits in watcher.commits.items():
        requests = sorted(asked[id_])
        for moment, state in commits.items():
            begin = moment.timestamp()
            end = begin + every / 2 - _BLUR
            if state.outcome is None or not state.outcome.good:
                continue
            if any(begin - 0.1 <= at <= end for at in mended):
                continue
            at = bisect_right(requests, begin + _BLUR)
            if at < len(requests) and requests[at] < end:
                text = f"{state.key}: committed at {begin:.3f}, asked {requests[at] - begin:.3f} s"
                complain("nothing is polled too soon", f"{text} later")


def _polled(logged: Logged, weather: Weather) -> list[str]:
    """Which targets (by id) a request is the beginning of a poll of."""
    parts = logged.path.split("/")[1:]
    if logged.upstream == "github":
        if parts[-1] != "releases" or logged.query.get("page", "1") != "1":
            return []
        id_ = (
            int(parts[1]) if parts[0] == "repositories" else weather.names.get("/".join(parts[1:3]))
        )
        return [f"github:{name}" for name in REPOSITORIES if weather.names[name] == id_]
    if "esummary" in logged.path:
        return [
            f"ncbi:nuccore/{name}"
            for name in logged.params.get("id", "").split(",")
            if name in ACCESSIONS
        ]
    if "esearch" in logged.path and QUERY in logged.params.get("term", ""):
        return [f"ncbi:nuccore?{QUERY}"]
    return []


def mended_at(log: str) -> list[float]:
    """When leaders put late writes right, from what the daemons logged."""
    times = []
    for line in log.splitlines():
        if "late writes were put right" in line and line.startswith("{"):
            text = json.loads(line)["timestamp"]
            times.append(datetime.fromisoformat(text).timestamp())
    return times
