"""Every command, with a secret in every setting: none comes out, whatever goes well or wrong."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.canary.conftest import REPOSITORY, Machine, commands
from tests.canary.planted import PLANTED, secret_keys

NAMES = {name for name, _ in commands()}
# It serves until it is told to stop: tests/canary/test_daemon.py. And one has settings of its own.
ELSEWHERE = {("run",), ("demo",)}

TARGETS = (
    f"github:{REPOSITORY}",
    "github:stellarcarbon/sorocarbon",
    "ncbi:nuccore/NC_003355.1,NC_010316.1",
    "ncbi:nuccore?txid1169032[Organism:exp]",
    "ncbi:taxonomy/1169032",
)


def test_every_secret_of_the_settings_is_planted() -> None:
    """A new one must be planted as well, for the tests beside this one to look for it."""
    assert secret_keys() == set(PLANTED)


async def test_no_command_tells_a_secret(machine: Machine) -> None:
    """All of them, each where all is well."""
    run = machine.run
    await run("fetch", *TARGETS, "--log-format", "json")
    await run("fetch", *TARGETS, "--force", "--no-store", "--log-format", "console")
    await run("watch", "add", TARGETS[0], "NC_043170.1")
    reading = (
        ("check",),
        ("plan",),
        ("status", "--format", "json"),
        ("watch", "list"),
        ("list",),
        ("show", TARGETS[0]),
        ("diff", "NC_003355.1", "NC_010316.1"),
        ("changes",),
        ("export", "-o", "copy.ndjson"),
    )
    await asyncio.gather(*(run(*words) for words in reading))
    await run("watch", "remove", "NC_043170.1")
    files = str(machine.folder / "files")
    await run("download", REPOSITORY, "--to", files, codes=(0, 1), FETCHER_HTTP__PROXY="")
    await run("import", "copy.ndjson", "--store", f"sqlite:///{machine.folder}/second.db")
    await run("forget", TARGETS[2], "--purge")
    machine.look_at_what_is_left()
    assert machine.ran >= NAMES - ELSEWHERE, "a command is not tried here"
    assert not machine.leaks, "\n".join(machine.leaks)
    asked = str([(each.headers, each.form) for each in machine.upstream.log])
    for secret in ("github.token", "github.accounts.0.token", "ncbi.api_key"):
        assert machine.canaries.values[secret] in asked, f"{secret} was not even used"
    assert "access_tokens" in str(machine.upstream.log)
    assert "Proxy-Authorization" in asked


@pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)
async def test_no_bad_setting_is_repeated(machine: Machine) -> None:
    """By any command: unknown keys, wrong kinds of values, a secret where its file should be."""
    new = machine.canaries.new
    machine.write(
        {
            "github": {
                "api_url": f"{new('blank')} x",
                "tokn": new("unknown"),
                "token": [new("list")],
                "webhook_secret": 5,
            },
            "ncbi": {"accounts": new("no table")},
            "api": {"token_file": new("as a path"), "tokens": [{"tken": new("in a list")}]},
            "http": {"proxy": f"http://me:{new('bad address')}@[h"},
            "store": {"url": f"mongodb://me:{new('@')}@{new('@@')}@h/x"},
        },
    )
    environment = {
        "FETCHER_GITHUB__WEBHOOK_SECRET_OLD": f'{{"token": "{new("JSON in place of text")}"}}',
        "FETCHER_GITHUB__ACCOUNTS": f'[{{"token": "{new("JSON that breaks off")}"',
        "FETCHER_API": f'{{"tokens": "{new("JSON of another shape")}"}}',
        "FETCHER_GITHUB__TOKENS": new("unknown variable"),
        "NCBI_API_KEY_FILE": new("as a path of the environment"),
    }
    calls = [
        machine.run(*name, *_least(command), codes=(2,), **environment)
        for name, command in commands()
        if name != ("demo",)
    ]
    await asyncio.gather(*calls)
    wrong = f"mongodb://me:{new('--store')}@{new('--store, too')}@h/x"
    await machine.run("list", "--store", wrong, codes=(2,))
    assert not machine.leaks, "\n".join(machine.leaks)


@pytest.mark.parametrize("store_url", ["mongodb"], indirect=True)
async def test_no_store_that_fails_is_told_of_with_its_password(machine: Machine) -> None:
    """By any command: nobody there, and one that lets nobody in."""
    closed = f"mongodb://me:{_in_url(machine, 'closed')}@127.0.0.1:1/x?serverSelectionTimeoutMS=50"
    machine.settings["store"]["url"] = closed
    machine.write()
    (machine.folder / "empty").touch()
    calls = [
        machine.run(*name, *_least(command), codes=(1, 2, 3), FETCHER_API__LISTEN="")
        for name, command in commands()
        if name != ("demo",)
    ]
    await asyncio.gather(*calls)
    server = machine.store.partition("://")[2]
    for words in (("fetch", "a/b"), ("status",), ("check",)):
        url = f"mongodb://me:{_in_url(machine, words[0])}@{server}?authSource=admin"
        await machine.run(*words, "--store", url, codes=(1, 3))
    assert not machine.leaks, "\n".join(machine.leaks)


def _in_url(machine: Machine, name: str) -> str:
    return quote(machine.canaries.new(name), safe="")


def _least(command: Any) -> list[str]:
    """The fewest arguments that a command takes."""
    known = {"targets": REPOSITORY, "target": REPOSITORY, "key": "x:1", "first": "A.1"}
    return [
        known.get(parameter.name, "empty")
        for parameter in command.params
        if parameter.param_type_name == "argument" and (parameter.required or parameter.nargs != 1)
    ]
