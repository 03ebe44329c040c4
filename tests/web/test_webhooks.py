"""Webhooks over a real loopback: what is signed counts once, all else does nothing but a count."""

import asyncio
import hmac
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fetcher.clock import SystemClock
from fetcher.errors import StoreUnavailable
from fetcher.metrics import Metrics
from fetcher.models import Clock
from fetcher.targets import Target, parse_target
from fetcher.web.access import Access
from fetcher.web.app import serve
from fetcher.web.deliveries import Memory, News, Seal, read_news
from fetcher.web.webhooks import Webhooks
from tests.clock import FakeClock
from tests.world import SILENT

# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
SECRET = "It's a Secret to Everybody"
VECTOR = b"Hello, World!"
SIGNED = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
PATH = "/v1/webhooks/github"
MIB = 2**20
# A `release` event of octokit/webhooks, as GitHub sent it.
SAMPLE = Path(__file__).parents[1] / "samples" / "github" / "webhook_release_deleted.json"
HELLO = parse_target("github:Codertocat/Hello-World")


def signature(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest()


def payload(action: str = "published", **more: Any) -> bytes:
    repository = {"id": 186853002, "full_name": HELLO.name}
    return json.dumps({"action": action, "repository": repository, **more}).encode()


class Notes:
    """A poller that writes down what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[News] = []
        self.watched = True
        self.error: Exception | None = None
        self.entered = asyncio.Event()
        self.stuck = False

    async def poll_now(self, repository_id: int, names: Sequence[Target], *, full: bool) -> bool:
        self.entered.set()
        if self.stuck:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        if self.watched:
            self.asked.append(News(repository_id, tuple(names), full))
        return self.watched


class Frozen(FakeClock):
    """Nobody's time runs out before the bell."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.bell.wait()


class Hooks:
    """The server, and GitHub's side of it."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session
        self.notes = Notes()
        self.metrics = Metrics()
        self.port = 0
        self.delivered = 0

    async def post(
        self, body: bytes, event: str | None = "release", **headers: str | None
    ) -> tuple[int, Any]:
        """Status and JSON of the answer; a header that is None is left out."""
        self.delivered += 1
        all_headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": f"72d3162e-cc78-11e3-81ab-{self.delivered:012}",
            "X-Hub-Signature-256": signature(body),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        sent = {name: value for name, value in all_headers.items() if value is not None}
        url = f"http://127.0.0.1:{self.port}{PATH}"
        async with self.session.post(url, data=io.BytesIO(body), headers=sent) as answer:
            assert answer.headers["Cache-Control"] == "no-store"
            told = json.loads(await answer.text())
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json"
                assert set(told) == {"status", "title", "detail"}
            return answer.status, told

    async def raw(
        self, head: str, body: bytes = b""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client that sends what it likes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
        await writer.drain()
        return reader, writer

    def counted(self) -> dict[tuple[str, str], int]:
        """Deliveries by event and result."""
        return {
            (sample.labels["event"], sample.labels["result"]): int(sample.value)
            for family in self.metrics.registry.collect()
            if family.name == "fetcher_webhooks"
            for sample in family.samples
            if sample.name.endswith("_total")
        }


HEAD = "\r\n".join(
    (
        "X-GitHub-Event: release",
        "X-GitHub-Delivery: 1",
        f"X-Hub-Signature-256: {SIGNED}",
        "Content-Type: application/json",
    )
)


@asynccontextmanager
async def served(clock: Clock, *secrets: str) -> AsyncIterator[Hooks]:
    class Well:
        def ready(self) -> list[str]:
            return []

    async with aiohttp.ClientSession() as session:
        hooks = Hooks(session)
        serving = serve(
            ("127.0.0.1", 0),
            Well(),
            hooks.metrics,
            access=Access(["s3cret"], FakeClock(), lambda: None),
            require_token=True,
            log=SILENT,
            webhooks=Webhooks(secrets, hooks.notes, hooks.metrics, clock),
        )
        async with serving as hooks.port:
            yield hooks


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with served(SystemClock(), SECRET) as opened:
        yield opened


async def status(reader: asyncio.StreamReader) -> int:
    line = await asyncio.wait_for(reader.readline(), 20)
    return int(line.split()[1]) if line else 0


# Signatures


async def test_the_vector(hooks: Hooks) -> None:
    """GitHub's own example, in one piece, in several, and over HTTP."""
    for pieces in ([VECTOR], [VECTOR[:1], b"", VECTOR[1:]]):
        seal = Seal([SECRET.encode()])
        for piece in pieces:
            seal.update(piece)
        assert seal.fits(SIGNED)
        assert not seal.fits(SIGNED[:-1] + "8")
    done = await hooks.post(VECTOR, "push", X_Hub_Signature_256=SIGNED)
    assert done == (202, {"result": "ignored"})
    assert (await hooks.post(VECTOR, X_Hub_Signature_256=SIGNED))[0] == 400, "signed, and no JSON"
    assert hooks.counted() == {("other", "ignored"): 1, ("release", "malformed"): 1}


@pytest.mark.parametrize(
    ("wrong", "result"),
    [
        (None, "unsigned"),
        ("", "unsigned"),
        (SIGNED[:-1], "unsigned"),
        (SIGNED + "0", "unsigned"),
        (SIGNED.upper(), "unsigned"),
        (SIGNED.removeprefix("sha256="), "unsigned"),
        ("sha1=" + 40 * "0", "unsigned"),
        ("sha256=" + 64 * "\u0664", "unsigned"),
        (f"{SIGNED},{SIGNED}", "unsigned"),
        ("sha256=" + 64 * "0", "forged"),
        (SIGNED, "forged"),
        (signature(payload(), "another secret"), "forged"),
        (signature(payload() + b" "), "forged"),
    ],
)
async def test_what_is_not_signed_does_nothing_but_a_count(
    hooks: Hooks, wrong: str | None, result: str
) -> None:
    """Missing, cut, of another kind, of another body, by another secret."""
    code, told = await hooks.post(payload(), X_Hub_Signature_256=wrong)
    assert (code, told["title"]) == (403, "Forbidden")
    assert not hooks.notes.asked
    assert hooks.counted() == {("unknown", result): 1}


async def test_two_secrets_count_while_one_is_changed() -> None:
    """Whichever signed it; a third one does not."""
    async with served(SystemClock(), "new", SECRET) as hooks:
        for secret, code in (("new", 202), (SECRET, 202), ("other", 403)):
            signed = signature(payload(), secret)
            assert (await hooks.post(payload(), X_Hub_Signature_256=signed))[0] == code


async def test_without_a_secret_it_says_how_to_set_one() -> None:
    async with served(SystemClock()) as hooks:
        code, told = await hooks.post(payload())
        assert code == 404
        assert "github.webhook_secret" in told["detail"]
        assert hooks.counted() == {("unknown", "off"): 1}
        async with hooks.session.get(f"http://127.0.0.1:{hooks.port}{PATH}") as answer:
            assert answer.status == 405


# Deliveries


async def test_a_real_delivery(hooks: Hooks) -> None:
    """As GitHub sent it."""
    body = SAMPLE.read_bytes()
    assert await hooks.post(body) == (202, {"result": "accepted"})
    assert hooks.notes.asked == [News(186853002, (HELLO,), full=True)]


async def test_a_replay_does_nothing_but_a_count(hooks: Hooks) -> None:
    """Answered well, so that GitHub is content; another delivery of the same body is another."""
    for _ in range(3):
        code, _ = await hooks.post(payload(), X_GitHub_Delivery="a-1")
        assert code == 202
    assert len(hooks.notes.asked) == 1
    await hooks.post(payload(), X_GitHub_Delivery="a-2")
    assert len(hooks.notes.asked) == 2
    assert hooks.counted() == {("release", "accepted"): 2, ("release", "replay"): 2}


async def test_a_forged_delivery_keeps_no_real_one_out(hooks: Hooks) -> None:
    """Its id is not remembered."""
    wrong = "sha256=" + 64 * "0"
    await hooks.post(payload(), X_GitHub_Delivery="a-1", X_Hub_Signature_256=wrong)
    await hooks.post(payload(), X_GitHub_Delivery="a-1")
    assert len(hooks.notes.asked) == 1


def test_the_memory_is_bounded() -> None:
    """The oldest are forgotten; what came to nothing may come again."""
    memory = Memory(3)
    assert [memory.add(each) for each in "abcadb"] == [True, True, True, False, True, False]
    assert memory.add("a"), "forgotten by now"
    memory.forget("d")
    memory.forget("never seen")
    assert memory.add("d")
    assert not Memory.can_be("a" * 65)
    assert not Memory.can_be("")


@pytest.mark.parametrize(
    ("event", "action", "full"),
    [
        ("release", "created", False),
        ("release", "published", False),
        ("release", "released", False),
        ("release", "prereleased", False),
        ("release", "edited", True),
        ("release", "deleted", True),
        ("release", "unpublished", True),
        ("release", "starred", None),
        ("repository", "renamed", True),
        ("repository", "transferred", True),
        ("repository", "deleted", True),
        ("repository", "privatized", True),
        ("repository", "publicized", True),
        ("repository", "edited", None),
        ("repository", "archived", None),
        ("push", "published", None),
        ("Release", "published", None),
    ],
)
async def test_what_each_event_asks_for(
    hooks: Hooks, event: str, action: str, full: bool | None
) -> None:
    """In full where a look at the first page would miss it; nothing where it changes nothing."""
    code, told = await hooks.post(payload(action), event)
    assert (code, told) == (202, {"result": "ignored" if full is None else "accepted"})
    wanted = [] if full is None else [News(186853002, (HELLO,), full)]
    assert hooks.notes.asked == wanted


async def test_tags_and_branches(hooks: Hooks) -> None:
    """Only tags count."""
    for event in ("create", "delete"):
        for kind in ("tag", "branch"):
            await hooks.post(payload(ref="v1", ref_type=kind), event)
    assert [each.full for each in hooks.notes.asked] == [False, False]
    assert hooks.counted()[("create", "ignored")] == 1


async def test_a_ping_is_answered(hooks: Hooks) -> None:
    """What GitHub sends when a webhook is made; it may be an organisation's."""
    assert await hooks.post(b'{"zen": "Speak like a human."}', "ping") == (200, {"result": "pong"})
    assert hooks.counted() == {("ping", "pong"): 1}


async def test_what_nobody_watches_is_ignored(hooks: Hooks) -> None:
    hooks.notes.watched = False
    assert await hooks.post(payload()) == (202, {"result": "unwatched"})
    assert hooks.counted() == {("release", "unwatched"): 1}


def test_names_before_a_rename() -> None:
    """Today's first; what cannot be one is left out."""

    def names(changes: object) -> list[str]:
        news = read_news("repository", payload("renamed", changes=changes))
        assert news is not None
        return [each.name for each in news.names]

    today = HELLO.name
    assert names({"repository": {"name": {"from": "Old"}}}) == [today, "Codertocat/Old"]
    for who in ("user", "organization"):
        moved = {"owner": {"from": {who: {"login": "Other"}}}}
        assert names(moved) == [today, "Other/Hello-World"]
    odd: list[object] = [
        None,
        [],
        {"repository": {"name": {"from": "a/b"}}},
        {"owner": {"from": "x"}},
    ]
    for changes in odd:
        assert names(changes) == [today]


# Hostile ones


def deep(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


NAMES: Sequence[object] = (None, 5, [], {}, "", "a", "a/b/c", "../..", "a/\nb", "a b/c", "\ud800/x")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"action": "published"}',
        b"\xff\xfe",
        payload().decode().encode("utf-16"),
        b"[" * 1_000_000,
        deep(200_000),
        b'{"action":"published","repository":' + deep(50_000) + b"}",
        b'{"n": ' + b"9" * 10_000 + b"}",
        payload(repository=None),
        payload(repository=["id"]),
        payload(repository={"id": 1}),
        *(
            payload(repository={"id": id_, "full_name": HELLO.name})
            for id_ in (None, "1", 1.5, True, 0, -1, 2**63, 10**300)
        ),
        *(payload(repository={"id": 1, "full_name": name}) for name in NAMES),
    ],
    ids=lambda body: f"{len(body)}:{body[:30]!r}",
)
async def test_a_body_that_makes_no_sense(hooks: Hooks, body: bytes) -> None:
    """A problem, no traceback, and nothing of it in the answer."""
    code, told = await hooks.post(body)
    assert code == 400
    assert len(told["detail"]) < 80
    assert not hooks.notes.asked
    assert hooks.counted() == {("release", "malformed"): 1}


@pytest.mark.parametrize("action", [None, 5, ["published"], {"a": 1}, "PUBLISHED", "x" * 1000])
async def test_an_odd_action_is_ignored(hooks: Hooks, action: Any) -> None:
    for event in ("release", "repository", "create"):
        assert (await hooks.post(payload(action, ref_type=action), event))[0] == 202
    assert not hooks.notes.asked


async def test_headers_that_make_no_sense(hooks: Hooks) -> None:
    """Found out before a byte of the body is read."""
    form = "application/x-www-form-urlencoded"
    assert (await hooks.post(payload(), Content_Type=form))[0] == 415
    assert (await hooks.post(payload(), Content_Encoding="gzip"))[0] == 415
    assert (await hooks.post(payload(), None))[0] == 400
    for delivery in (None, "", "a b", "x" * 65):
        assert (await hooks.post(payload(), X_GitHub_Delivery=delivery))[0] == 400
    assert not hooks.notes.asked
    assert hooks.counted() == {("unknown", "malformed"): 7}
    await hooks.post(payload(), "x" * 5000)
    await hooks.post(payload(), "release\u00e9")
    assert hooks.counted()[("other", "ignored")] == 2


async def test_a_huge_body_that_is_announced_is_not_read(hooks: Hooks) -> None:
    """The answer comes though not a byte of it was sent."""
    for length in (25 * MIB + 1, 10**15):
        reader, writer = await hooks.raw(f"{HEAD}\r\nContent-Length: {length}")
        assert await status(reader) == 413
        writer.close()
    assert hooks.counted() == {("unknown", "too_large"): 2}


async def test_a_huge_body_in_chunks_is_cut_off(hooks: Hooks) -> None:
    """It tells no length; reading ends where it is too much, and so does the connection."""
    reader, writer = await hooks.raw(f"{HEAD}\r\nTransfer-Encoding: chunked")
    chunk = b"100000\r\n" + bytes(MIB) + b"\r\n"

    async def send() -> None:
        while True:
            writer.write(chunk)
            await writer.drain()

    sending = asyncio.create_task(send())
    assert await status(reader) == 413
    with pytest.raises(ConnectionError):
        await sending
    writer.close()


async def test_the_largest_delivery_is_taken(hooks: Hooks) -> None:
    body = payload(filler="")
    body = body.replace(b'""', b'"' + b"x" * (25 * MIB - len(body)) + b'"')
    assert len(body) == 25 * MIB
    assert await hooks.post(body) == (202, {"result": "accepted"})


async def test_a_slow_body_is_not_waited_for() -> None:
    """By the clock handed in, which here runs as fast as it can."""
    async with served(FakeClock(), SECRET) as hooks:
        reader, writer = await hooks.raw(f"{HEAD}\r\nContent-Length: 100", b"{")
        assert await status(reader) == 408
        writer.close()
        assert hooks.counted() == {("unknown", "slow"): 1}


async def test_a_body_that_ends_too_early(hooks: Hooks) -> None:
    """A client that goes away, and chunks that are none: counted, and nothing more."""
    _, writer = await hooks.raw(f"{HEAD}\r\nContent-Length: 100", b"{")
    writer.close()
    reader, other = await hooks.raw(f"{HEAD}\r\nTransfer-Encoding: chunked", b"what?\r\n")
    assert await status(reader) in (0, 400)
    other.close()
    async with asyncio.timeout(10):
        while hooks.counted().get(("unknown", "malformed"), 0) < 1:
            await asyncio.sleep(0.01)
    assert set(hooks.counted()) == {("unknown", "malformed")}
    assert (await hooks.post(payload()))[0] == 202


async def test_a_flood_finds_bounded_places() -> None:
    """Slow ones fill them; unsigned ones need none; when they are gone, all goes on."""
    async with served(Frozen(), SECRET) as hooks:
        slow = [await hooks.raw(f"{HEAD}\r\nContent-Length: 9", b"{") for _ in range(64)]
        async with asyncio.timeout(20):
            while (await hooks.post(payload()))[0] != 503:
                await asyncio.sleep(0.01)
        assert (await hooks.post(payload(), X_Hub_Signature_256=None))[0] == 403
        asked = len(hooks.notes.asked)
        codes = await asyncio.gather(*(hooks.post(payload()) for _ in range(100)))
        assert {code for code, _ in codes} == {503}
        assert len(hooks.notes.asked) == asked
        assert hooks.counted()[("unknown", "busy")] >= 101
        for _, writer in slow:
            writer.close()
        async with asyncio.timeout(20):
            while (await hooks.post(payload()))[0] != 202:
                await asyncio.sleep(0.01)


async def test_bodies_share_bounded_memory() -> None:
    """Three that are nearly as large as can be fill it, until they are gone."""
    async with served(Frozen(), SECRET) as hooks:
        large = 25 * MIB - 1024
        head = f"{HEAD}\r\nContent-Length: {large}"
        slow = [await hooks.raw(head, bytes(large - 1)) for _ in range(3)]
        body = b"x" * 8192
        async with asyncio.timeout(20):
            while (await hooks.post(body, "push"))[0] != 503:
                await asyncio.sleep(0.05)
        assert (await hooks.post(payload()))[0] == 202
        for _, writer in slow:
            writer.close()
        async with asyncio.timeout(20):
            while (await hooks.post(body, "push"))[0] != 202:
                await asyncio.sleep(0.05)


async def test_a_store_that_fails_lets_it_come_again(hooks: Hooks) -> None:
    """503, which GitHub shows as failed; delivered again it is no replay."""
    hooks.notes.error = StoreUnavailable("gone", "tests")
    code, told = await hooks.post(payload(), X_GitHub_Delivery="a-1")
    assert (code, "again" in told["detail"]) == (503, True)
    hooks.notes.error = None
    assert (await hooks.post(payload(), X_GitHub_Delivery="a-1"))[0] == 202
    assert len(hooks.notes.asked) == 1
    assert hooks.counted() == {("release", "failed"): 1, ("release", "accepted"): 1}


async def test_a_store_that_hangs_is_not_waited_for() -> None:
    """GitHub waits for ten seconds and is told sooner; delivered again it is no replay."""
    clock = Frozen()
    async with served(clock, SECRET) as hooks:
        hooks.notes.stuck = True
        waiting = asyncio.create_task(hooks.post(payload(), X_GitHub_Delivery="a-1"))
        await hooks.notes.entered.wait()
        clock.bell.set()
        assert (await waiting)[0] == 503
        assert hooks.counted() == {("release", "failed"): 1}
        clock.bell.clear()
        hooks.notes.stuck = False
        assert (await hooks.post(payload(), X_GitHub_Delivery="a-1"))[0] == 202


async def test_a_bug_is_a_problem_and_can_be_delivered_again(hooks: Hooks) -> None:
    hooks.notes.error = KeyError("inside")
    code, told = await hooks.post(payload(), X_GitHub_Delivery="a-1")
    assert (code, "inside" in str(told)) == (500, False)
    hooks.notes.error = None
    assert (await hooks.post(payload(), X_GitHub_Delivery="a-1"))[0] == 202
