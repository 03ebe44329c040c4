"""A store that does not let anybody in, as commands tell of it."""

import pytest

from tests.cli.conftest import Cli
from tests.ferretdb import Servers, servers

__all__ = ["servers"]


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        (
            "mongodb://{user}:s3cretX@{scram}/{db}?authSource=admin",
            3,
            "see the name and the password",
        ),
        ("mongodb://{tls}/{db}?tls=true&tlsCAFile={stranger}", 3, "in tlsCAFile in store.url"),
        ("mongodb://{tls}/{db}?tls=true&tlsCAFile={nowhere}", 2, "cannot be read"),
    ],
)
@pytest.mark.parametrize("command", ["fetch", "list", "run", "import", "export"])
async def test_every_command_says_it_with_the_exit_code_of_a_store(
    servers: Servers, cli: Cli, command: str, url: str, code: int, sentence: str
) -> None:
    """In one line, without a traceback or a password."""
    more = {"fetch": ("NC_003355.1",), "import": ("-",)}.get(command, ())
    done = await cli(command, *more, env={"FETCHER_STORE__URL": servers.url(url)}, stdin=b"")
    assert (done.code, done.out) == (code, b"")
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert "s3cret" not in done.err
    assert len(done.err.strip().splitlines()) == 1
