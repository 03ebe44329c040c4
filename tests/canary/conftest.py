"""A machine with a secret wherever one may be, and the installed command on it."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
import typer.main

from fetcher.cli.app import app
from fetcher.demo import DemoUpstream, GithubUser, Urls
from tests.canary.echo import Echo
from tests.canary.planted import Canaries, bytes_of, files_under, settings_tree
from tests.stores import store_url

__all__ = ["REPOSITORY", "Machine", "commands", "store_url"]

COMMAND: Final = Path(sys.executable).with_name("fetcher")
REPOSITORY: Final = "Codertocat/Hello-World"


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that there is, asked of the program itself."""

    def under(group: Any, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from under(command, (*above, name))
            else:
                yield (*above, name), command

    return under(typer.main.get_command(app), ())


_OPTIONS: Final = {
    name: {option for parameter in command.params for option in parameter.opts}
    for name, command in commands()
}


def toml_of(tree: Mapping[str, Any], above: str = "") -> str:
    """As little TOML as settings need; JSON's texts and lists are TOML's, too."""
    own = [f"{k} = {json.dumps(v)}" for k, v in tree.items() if not _is_table(v)]
    text = "\n".join([f"[{above}]" if above else "", *own, ""])
    for key, value in tree.items():
        if isinstance(value, dict):
            text += toml_of(value, f"{above}{'.' if above else ''}{key}")
        elif _is_table(value):
            text += "".join(toml_of(e, f"[{above}.{key}]" if above else f"[{key}]") for e in value)
    return text


def _is_table(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and value[:1] == [{**_first(value)}])


def _first(value: list[Any]) -> Mapping[str, Any]:
    return value[0] if value and isinstance(value[0], dict) else {"": None}


@dataclass(slots=True)
class Machine:
    """A folder, settings and an environment full of secrets, and what they leaked so far."""

    folder: Path
    canaries: Canaries
    upstream: DemoUpstream
    urls: Urls
    store: str
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    leaks: list[str] = field(default_factory=list)
    ran: set[tuple[str, ...]] = field(default_factory=set)

    def write(self, settings: Mapping[str, Any] | None = None, extra: str = "") -> None:
        """The settings file, which only its owner may read."""
        path = self.folder / "fetcher.toml"
        path.touch(0o600)
        path.write_text(toml_of(settings if settings is not None else self.settings) + extra)

    def look(self, what: str, *texts: bytes | str) -> None:
        """Remembers what secrets a text has."""
        for text in texts:
            self.leaks += self.canaries.found_in(what, text)

    async def start(self, *words: str, **environment: str) -> asyncio.subprocess.Process:
        """Starts a command, with everything logged."""
        name = words[:2] if words[:2] in _OPTIONS else words[:1]
        self.ran.add(name)
        level = [] if "--log-level" not in _OPTIONS[name] else ["--log-level", "debug"]
        return await asyncio.create_subprocess_exec(
            COMMAND,
            *words,
            *level,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *words: str, codes: tuple[int, ...] = (0,), **environment: str) -> bytes:
        """Runs a command to its end and looks at all it says; gives its output."""
        process = await self.start(*words, **environment)
        out, err = await process.communicate()
        self.look(f"fetcher {' '.join(words)}: output", out)
        self.look(f"fetcher {' '.join(words)}: errors", err)
        assert process.returncode in codes, (words, process.returncode, err.decode())
        return out

    def look_at_what_is_left(self, *stores: str) -> None:
        """Stores, parts, exports, temporary files: all but where secrets belong."""
        for each in self.upstream.log:
            self.canaries.watch_authorization(each.headers)
        for token in self.upstream.github.tokens:
            if token not in self.canaries.values.values():
                self.canaries.watch(f"token {len(self.canaries.values)}", token)
        for name, data in files_under(self.folder):
            if name not in ("fetcher.toml", ".netrc"):
                self.look(f"the file {name}", data)
        for url in (self.store, *stores):
            if url.startswith("mongodb"):
                for name, data in bytes_of(url):
                    self.look(name, data)


def free_option(url: str, secret: str) -> str:
    """A MongoDB's address with a secret that a server without users does not mind."""
    if not url.startswith("mongodb"):
        return url
    return f"{url}?authMechanismProperties=AWS_SESSION_TOKEN:{quote(secret, safe='')}"


@asynccontextmanager
async def machine_at(folder: Path, store: str) -> AsyncIterator[Machine]:
    canaries = Canaries()
    settings = settings_tree(canaries)
    upstream = DemoUpstream()
    upstream.load_bundled()
    github, ncbi = upstream.github, upstream.ncbi
    for token in (settings["github"]["token"], settings["github"]["accounts"][0]["token"]):
        github.tokens[token] = GithubUser(f"user{len(github.tokens)}")
    github.add_installation(github.add_app(7, canaries.public_pem()), 70)
    ncbi.api_keys |= {
        settings["ncbi"]["api_key"]: 10,
        settings["ncbi"]["accounts"][0]["api_key"]: 10,
    }
    home = folder
    (folder / "tmp").mkdir()
    login = canaries.new("netrc")
    (home / ".netrc").touch(0o600)
    (home / ".netrc").write_text(f"default login me password {login}\n")
    async with upstream.serve() as urls:
        github.web_url = urls.web
        settings["github"]["api_url"] = urls.github
        settings["ncbi"] |= {
            "eutils_url": urls.eutils,
            "datasets_url": urls.datasets,
            "email": "tests@example.org",
        }
        # The local upstreams take requests as a proxy gets them, too.
        carrier = f"carrier:{quote(canaries.new('http.proxy'), safe='')}"
        settings["http"] = {"proxy": f"http://{carrier}@{urls.base.partition('//')[2]}"}
        settings["http"]["max_attempts"] = 2
        settings["store"] = {"url": free_option(store, canaries.new("store.url"))}
        settings["service"] = {"lease": "2s", "min_interval": "1s", "drain": "5s"}
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(folder / "tmp"),
            "LANG": "C.UTF-8",
        }
        machine = Machine(folder, canaries, upstream, urls, store, settings, environment)
        machine.write()
        yield machine
        sent = [each.headers for each in upstream.log if login in str(each.headers)]
        assert not sent, "what ~/.netrc has is nobody's business"


@pytest.fixture
async def machine(tmp_path: Path, store_url: str) -> AsyncIterator[Machine]:
    """With the local upstreams, over both stores."""
    async with machine_at(tmp_path, store_url) as opened:
        yield opened


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    """An upstream that quotes everything."""
    opened = Echo()
    async with opened.serve():
        yield opened
