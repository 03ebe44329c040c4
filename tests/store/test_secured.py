"""Authentication and TLS, tried against servers that demand them; each trouble is a sentence."""

import asyncio

import pytest

from fetcher.errors import StoreUnavailable, UsageError
from fetcher.reader import Reader
from fetcher.store import open_store
from tests.clock import FakeClock
from tests.ferretdb import Servers, servers
from tests.heard import Heard, heard
from tests.store.build import batch, release, take

__all__ = ["heard", "servers"]


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://{user}:{password}@{scram}/{db}?authSource=admin",
        "mongodb://{user}:{password}@{scram_tls}/{db}?authSource=admin&tls=true&tlsCAFile={ca}",
        "mongodb://{tls}/{db}?tls=true&tlsCAFile={ca}",
        "mongodb://{mutual}/{db}?tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={client}",
        "mongodb://{renamed}/{db}?tls=true&tlsCAFile={ca}&tlsAllowInvalidHostnames=true",
    ],
)
async def test_a_store_works_behind_authentication_and_tls(servers: Servers, url: str) -> None:
    """SCRAM, a CA of one's own, a client's certificate: written, and read by a reader."""
    async with await open_store(servers.url(url), clock=FakeClock(1_900_000_000.0)) as store:
        lease = await take(store)
        await store.write(lease, [batch(release())])
        await store.publish(lease)
        await store.release(lease, {})
    async with Reader.open(servers.url(url)) as reader:
        found = await reader.record("release", "github:7:1")
        assert found is not None


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mongodb://{user}:s3cretX@{scram}/{db}?authSource=admin", "does not let this user in"),
        ("mongodb://nobody:s3cretX@{scram}/{db}", "does not let this user in"),
        ("mongodb://{scram}/{db}", "does not let this user do what is needed"),
        (
            "mongodb://{user}:s3cretX@{scram}/?authMechanism=SCRAM-SHA-1",
            "does not know the authMechanism",
        ),
    ],
)
async def test_a_user_who_is_refused_is_told_at_once(
    servers: Servers, heard: Heard, url: str, sentence: str
) -> None:
    """A wrong password is tried once, not until the time is over."""
    with pytest.raises(StoreUnavailable, match=sentence) as caught:
        await open_store(servers.url(url), clock=FakeClock())
    assert "s3cret" not in str(caught.value)
    assert len(heard.commands) <= 2, "one attempt, of at most two commands"


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("mongodb://{tls}/?tls=true&tlsCAFile={stranger}", "signed by nobody who is trusted here"),
        ("mongodb://{tls}/?tls=true", "signed by nobody who is trusted here"),
        ("mongodb://{expired}/?tls=true&tlsCAFile={ca}", "certificate has expired"),
        ("mongodb://u:s3cret@{renamed}/?tls=true&tlsCAFile={ca}", "is for another host name"),
        ("mongodb://{renamed},{expired}/?tls=true&tlsCAFile={ca}", "another host name|expired"),
        ("mongodb://{tls}/", "it wants TLS; write tls=true"),
        ("mongodb://{mutual}/", "it wants TLS; write tls=true"),
        ("mongodb://{user}:{password}@{scram}/?tls=true", "it speaks no TLS"),
        ("mongodb://{mutual}/?tls=true&tlsCAFile={ca}", "in tlsCertificateKeyFile in store.url"),
        (
            "mongodb://{mutual}/?tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={foreign}",
            "does not take this client's certificate",
        ),
    ],
)
async def test_what_is_wrong_with_tls_is_told_before_the_time_is_over(
    servers: Servers, url: str, sentence: str
) -> None:
    """Which here is ten minutes: waiting would not help, so nobody does."""
    given = servers.url(url)
    async with asyncio.timeout(60):
        with pytest.raises(StoreUnavailable, match=sentence) as caught:
            await open_store(
                f"{given}&serverSelectionTimeoutMS=600000".replace("/&", "/?"), clock=FakeClock()
            )
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("tlsCAFile={nowhere}", "nowhere.pem, which .* cannot be read: No such file"),
        ("tlsCAFile={nonsense}", "is not in PEM"),
        ("tlsCertificateKeyFile={nowhere}", "nowhere.pem, which .* cannot be read: No such file"),
        ("tlsCertificateKeyFile={ca}", "certificate, key and password do not belong together"),
    ],
)
async def test_a_file_for_tls_that_is_wrong_is_bad_usage(
    servers: Servers, option: str, sentence: str
) -> None:
    url = servers.url("mongodb://u:s3cret@{tls}/?tls=true&" + option)
    with pytest.raises(UsageError, match=sentence) as caught:
        await open_store(url, clock=FakeClock())
    assert "s3cret" not in str(caught.value)
