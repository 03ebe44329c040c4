"""Secrets come from files as well, and never show."""

import json
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fetcher.config import Settings
from fetcher.errors import SettingsError
from tests.config.conftest import Folder

CANARY = "c4n4ry"

ALL = f"""\
[store]
url = "mongodb://u:{CANARY}@h/f?tlsCertificateKeyFilePassword={CANARY}"
[github]
token = "{CANARY}1"
webhook_secret = "{CANARY}"
webhook_secret_old = "{CANARY}"
[[github.accounts]]
name = "a"
token = "{CANARY}2"
[[github.accounts]]
name = "b"
app_id = 1
installation_id = 2
private_key = "{CANARY}"
[ncbi]
api_key = "{CANARY}"
[[ncbi.accounts]]
name = "a"
api_key = "{CANARY}2"
[http]
proxy = "http://u:{CANARY}@h:1"
[api]
token = "{CANARY}"
"""


def shown(settings: Settings) -> str:
    things = [settings, settings.github, settings.ncbi, settings.api, settings.store]
    things += [*settings.github.all_accounts, *settings.ncbi.all_accounts]  # type: ignore[list-item]
    texts = [text for thing in things for text in (repr(thing), str(thing), f"{thing}")]
    texts += [str(settings.model_dump()), settings.model_dump_json(), settings.store.shown]
    texts += [json.dumps(settings.model_dump(mode="json")), repr(settings.__dict__)]
    return "\n".join(texts)


def test_no_secret_shows(folder: Folder) -> None:
    """The canary is there for those who ask for it, and in no text."""
    loaded = folder.load(ALL)
    assert CANARY not in shown(loaded)
    assert loaded.store.shown == "mongodb://u:***@h/f?tlsCertificateKeyFilePassword=***"
    assert loaded.store.url.count(CANARY) == 2
    assert loaded.http.proxy == f"http://u:{CANARY}@h:1"
    assert loaded.api.token is not None
    assert loaded.api.token.get_secret_value() == CANARY
    assert all(CANARY not in account.identity for account in loaded.github.all_accounts)
    assert pickle.loads(pickle.dumps(loaded)) == loaded


@pytest.mark.parametrize(
    "number", [number for number, line in enumerate(ALL.splitlines()) if CANARY in line]
)
def test_no_secret_shows_in_a_mistake(folder: Folder, number: int) -> None:
    """Whatever is wrong about a line that holds a secret."""
    lines = ALL.splitlines()
    line = lines[number]
    key, _, value = line.partition(" = ")
    for wrong in (
        f"{key}x = {value}",
        f"{key} = [{value}]",
        f"{key} = {{ x = {value} }}",
        f'{key} = {value[:-1]} \\n"',
        f"{key} = {value[:-1]}",
        f"{key} = {value[1:-1]}",
        f'{key} = "{CANARY}"\n{key}_file = "x"',
        f'{key} = "mongodb://u:{CANARY}@x@h/{CANARY}"',
        f'{key} = "https://{CANARY}@[h"',
        f'{key} = "sqlite://{CANARY}@h"',
        line + "\nsurprise = 1",
    ):
        text = "\n".join([*lines[:number], wrong, *lines[number + 1 :]])
        assert CANARY not in said_or_shown(folder, text)


def said_or_shown(folder: Folder, text: str) -> str:
    """All texts of the settings, or of the error and of what it came from."""
    try:
        return shown(folder.load(text))
    except SettingsError as error:
        texts, seen = [], list[BaseException | None]([error])
        while (one := seen.pop()) is not None:
            texts.append("".join(traceback.format_exception_only(one)) + repr(one))
            seen.append(one.__cause__ or one.__context__)
        return "\n".join(texts)


@pytest.mark.parametrize(
    "name",
    [
        "FETCHER_GITHUB__TOKEN",
        "FETCHER_GITHUB__WEBHOOK_SECRET",
        "FETCHER_NCBI__API_KEY",
        "FETCHER_API__TOKEN",
        "GITHUB_TOKEN",
        "NCBI_API_KEY",
    ],
)
def test_a_secret_of_the_environment_comes_from_a_file_too(folder: Folder, name: str) -> None:
    folder.write(f"{CANARY}\n", "secret.txt")
    loaded = folder.load(environ={f"{name}_FILE": "secret.txt"})
    assert loaded == folder.load(environ={name: CANARY})
    assert CANARY not in shown(loaded)
    both = {name: CANARY, f"{name}_FILE": "secret.txt"}
    key = name.rpartition("__")[2].lower() if "__" in name else name.partition("_")[2].lower()
    assert folder.mistakes(environ=both) == [
        f"{name}_FILE: {key} is given as well; leave one of the two out"
    ]
    assert folder.mistakes(environ={f"{name}_FILE": "no.txt"}) == [
        (
            f"{name}_FILE: the file that it names cannot be read, looked for in {folder.path}: "
            "No such file or directory"
        )
    ]


def test_every_secret_of_the_file_comes_from_a_file_too(folder: Folder) -> None:
    """Each line that holds a secret, put into a file with a line end behind it."""
    lines = []
    for number, line in enumerate(ALL.splitlines()):
        key, _, value = line.partition(" = ")
        if CANARY in value:
            folder.write(value.strip('"') + "\r\n", f"secrets/{number}")
            line = f'{key}_file = "secrets/{number}"'
        lines.append(line)
    assert CANARY not in "\n".join(lines)
    loaded = folder.load("\n".join(lines))
    assert CANARY not in shown(loaded)
    assert loaded == folder.load(ALL)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"  \n", "is empty"),
        (b"caf\xe9", "is no UTF-8 text"),
        (b"x" * 70_000, "cannot be read: it is larger than 65536 bytes"),
        (None, "cannot be read: Is a directory"),
    ],
)
def test_a_file_that_holds_no_secret(folder: Folder, content: bytes | None, reason: str) -> None:
    path = folder.path / "secret"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert folder.mistakes('[api]\ntoken_file = "secret"') == [
        f"fetcher.toml:2: api.token_file: 'secret' {reason}"
    ]


def test_a_secret_with_a_line_end_within_is_a_mistake_of_the_line_that_names_it(
    folder: Folder,
) -> None:
    folder.write("one\ntwo\n", "secret")
    assert folder.mistakes('[api]\ntoken_file = "secret"') == [
        (
            "fetcher.toml:2: api.token: holds a blank, a line end, or another character that it "
            "cannot have"
        )
    ]


def test_a_key_that_names_no_file(folder: Folder) -> None:
    assert folder.mistakes("[api]\ntoken_file = 5") == [
        "fetcher.toml:2: api.token_file: must be text: the path of a file"
    ]
    assert folder.load('[api]\ntoken_file = ""').api.token is None


def test_a_stronger_source_wins_over_a_file_that_is_not_even_there(folder: Folder) -> None:
    loaded = folder.load('github.token_file = "no.txt"', {"FETCHER_GITHUB__TOKEN": "t"})
    assert loaded.github.token is not None
    folder.write("u", "there.txt")
    loaded = folder.load('github.token = "t"', {"FETCHER_GITHUB__TOKEN_FILE": "there.txt"})
    assert loaded.github.token is not None
    assert loaded.github.token.get_secret_value() == "u"
    loaded = folder.load('github.token = "t"', {"GITHUB_TOKEN_FILE": "no.txt"})
    assert loaded.github.token is not None


def test_the_key_of_an_app_keeps_its_lines(folder: Folder) -> None:
    folder.write("-----BEGIN\nabc\n-----END\n", "app.pem")
    text = '[[github.accounts]]\nname="a"\napp_id=1\ninstallation_id=2\n'
    loaded = folder.load(f'{text}private_key_file = "app.pem"')
    app = loaded.github.all_accounts[0].app
    assert app is not None
    assert app.private_key.get_secret_value() == "-----BEGIN\nabc\n-----END"
    assert folder.mistakes(f'{text}private_key_file = "no.pem"') == [
        (
            "fetcher.toml:5: github.accounts[0].private_key_file: the file that it names cannot "
            f"be read, looked for in {folder.path}: No such file or directory"
        )
    ]


def test_a_store_address_from_a_file_is_relative_to_the_settings(folder: Folder) -> None:
    folder.write("sqlite:///x.db\n", "etc/url.txt")
    config = folder.write('store.url_file = "url.txt"', "etc/f.toml")
    assert folder.load(config=config).store.url == f"sqlite:///{folder.path}/etc/x.db"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own may be entered by its user alone."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_files_with_secrets_that_others_may_read_are_known(open_folder: Path) -> None:
    """The settings file counts, if it says a secret; a file that nobody uses does not."""
    for name in ("token", "key", "hook", "unused"):
        (open_folder / name).write_text("s3cret")
        (open_folder / name).chmod(0o644)
    (open_folder / "key").chmod(0o640)
    folder = Folder(open_folder)
    text = '[github]\ntoken_file = "token"\nwebhook_secret = ""\n[ncbi]\napi_key_file = "key"\n'
    folder.write(text).chmod(0o644)
    assert folder.load().exposed == (open_folder / "token",)
    environ = {"FETCHER_GITHUB__TOKEN": "x", "FETCHER_GITHUB__WEBHOOK_SECRET_FILE": "hook"}
    assert folder.load(environ=environ).exposed == (open_folder / "hook",)
    file = folder.write('[github]\nwebhook_secret = "s3cret"\n')
    file.chmod(0o604)
    conventional = {"GITHUB_TOKEN_FILE": "token"}
    assert folder.load(environ=conventional).exposed == (file, open_folder / "token")
    open_folder.chmod(0o700)
    assert folder.load(environ=conventional).exposed == ()


def test_every_file_with_a_secret_is_known_where_others_may_read_it(open_folder: Path) -> None:
    """Whichever key names it, none is left out; and none is known where nobody else may read it."""
    folder = Folder(open_folder)
    lines, files = [], []
    for number, line in enumerate(ALL.splitlines()):
        key, _, value = line.partition(" = ")
        if CANARY in value:
            files.append(folder.write(value.strip('"'), f"secret{number}"))
            files[-1].chmod(0o444)
            line = f'{key}_file = "secret{number}"'
        lines.append(line)
    text = "\n".join(lines)
    assert set(folder.load(text).exposed) == set(files)
    for file in files:
        file.chmod(0o440)
    assert folder.load(text).exposed == ()


def test_an_address_without_a_password_is_no_secret(open_folder: Path) -> None:
    """As in a copy of config.example.toml; with one it is, in the file or in one of its own."""
    folder = Folder(open_folder)
    file = folder.write("sqlite:///x.db", "url")
    for url, exposed in (
        ('url = "sqlite:///x.db"', ()),
        ('url = "mongodb://h/x"', ()),
        ('url = "mongodb://u:p@h/x"', (open_folder / "fetcher.toml",)),
        ('url_file = "url"', ()),
    ):
        text = f'[store]\n{url}\n[http]\nproxy = "http://proxy:3128"\n'
        folder.write(text).chmod(0o644)
        assert folder.load().exposed == exposed, url
    file.write_text("mongodb://u:p@h/x")
    assert folder.load().exposed == (file,)


def test_a_file_that_is_not_named_after_all_is_not_looked_at(open_folder: Path) -> None:
    """An empty name leaves the secret of the settings file, which is the one to look at."""
    folder = Folder(open_folder)
    folder.write('[api]\ntoken_file = ""\ntoken = "t"\n').chmod(0o644)
    assert folder.load().exposed == (open_folder / "fetcher.toml",)
    assert folder.mistakes('[api]\ntoken = "t"\ntoken_file = 5') == [
        "fetcher.toml:3: api.token_file: must be text: the path of a file"
    ]
