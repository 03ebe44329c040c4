"""Where settings come from, which wins, and what people read about their mistakes."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fetcher.config import Settings, load_settings
from fetcher.errors import SettingsError
from tests.config.conftest import Folder


def test_without_anything_the_defaults_of_the_contract_hold(folder: Folder) -> None:
    loaded = folder.load()
    assert loaded.source is None
    assert loaded.watches == ()
    assert loaded.store.url == f"sqlite:///{folder.path}/fetcher.db"
    assert loaded.github.api_url == "https://api.github.com"
    assert loaded.github.reconcile == 86_400
    assert loaded.ncbi.eutils_url == "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
    assert loaded.ncbi.datasets_url == "https://api.ncbi.nlm.nih.gov/datasets/v2"
    assert (loaded.ncbi.email, loaded.ncbi.tool) == ("you@example.org", "fetcher")
    http = loaded.http
    assert (http.connect_timeout, http.read_timeout, http.total_timeout) == (10, 30, 300)
    assert (http.max_body, http.max_attempts, http.proxy) == (2**28, 5, "")
    service = loaded.service
    assert (service.lease, service.drain) == (30, 20)
    assert (service.min_interval, service.max_interval) == (60, 604_800)
    assert loaded.api.address == ("127.0.0.1", 8080)
    assert not loaded.api.require_token
    assert not loaded.api.public
    secrets = (loaded.github.token, loaded.github.webhook_secret, loaded.ncbi.api_key)
    assert (*secrets, loaded.api.token) == (None,) * 4


def test_the_file_is_looked_for_in_three_places(folder: Folder) -> None:
    """--config wins over FETCHER_CONFIG, and that over ./fetcher.toml."""
    folder.write('ncbi.tool = "here"')
    named = folder.write('ncbi.tool = "named"', "etc/named.toml")
    asked = folder.write('ncbi.tool = "asked"', "asked.toml")
    environ = {"FETCHER_CONFIG": "etc/named.toml"}
    assert folder.load().ncbi.tool == "here"
    assert folder.load(environ={"FETCHER_CONFIG": ""}).ncbi.tool == "here"
    by_name = folder.load(environ=environ)
    assert (by_name.ncbi.tool, by_name.source) == ("named", named)
    by_option = folder.load(environ=environ, config=Path("asked.toml"))
    assert (by_option.ncbi.tool, by_option.source) == ("asked", asked)


def test_a_file_that_was_named_must_be_there(folder: Folder) -> None:
    assert folder.mistakes(config=Path("no.toml")) == [
        "no.toml: cannot be read: No such file or directory (named by --config)"
    ]
    assert folder.mistakes(environ={"FETCHER_CONFIG": "etc/no.toml"}) == [
        "etc/no.toml: cannot be read: No such file or directory (named by FETCHER_CONFIG)"
    ]
    (folder.path / "fetcher.toml").symlink_to("nowhere")
    assert folder.mistakes() == ["fetcher.toml: cannot be read: No such file or directory"]


def test_a_folder_is_no_file(folder: Folder) -> None:
    (folder.path / "fetcher.toml").mkdir()
    assert folder.mistakes() == ["fetcher.toml: cannot be read: Is a directory"]


def test_a_file_without_permission(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("").chmod(0)
    if os.geteuid() == 0:  # root reads everything
        monkeypatch.setattr(Path, "open", _denied)
    assert folder.mistakes() == ["fetcher.toml: cannot be read: Permission denied"]


def _denied(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        (b"[ncbi]\ntool = 'caf\xe9'\n", "fetcher.toml:2: holds a byte that is no UTF-8"),
        (b"[ncbi]\r\n\r\ntool = 'a\0'\r\n",
         "fetcher.toml:3: holds a NUL byte: this is no text file"),
        ("[ncbi]\n".encode("utf-16"), "fetcher.toml:1: holds a NUL byte: this is no text file"),
        (b"[ncbi]\ntool = \n", "fetcher.toml:2:8: is no valid TOML: invalid value"),
        (b"[ncbi]\ntool", ("fetcher.toml:2:5: is no valid TOML: expected '=' after a key"
                          " in a key/value pair")),
        (b"a = 1\na = 2\n", "fetcher.toml:2:6: is no valid TOML: cannot overwrite a value"),
        (b"a = " + b"[" * 5_000, "fetcher.toml: is nested too deeply"),
        (b"a = " + b"9" * 5_000, "fetcher.toml: holds a number beyond all bounds"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_parsed(folder: Folder, data: bytes, mistake: str) -> None:
    (folder.path / "fetcher.toml").write_bytes(data)
    assert folder.mistakes() == [mistake]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(folder: Folder) -> None:
    (folder.path / "fetcher.toml").write_bytes(b"\xef\xbb\xbf[ncbi]\r\ntool = 'x'\r\nn = 1\r\n")
    assert [each.split(": ")[0] for each in folder.mistakes()] == ["fetcher.toml:3"]


def test_command_line_over_environment_over_file_over_conventional(folder: Folder) -> None:
    text = '[github]\ntoken = "file"\n[ncbi]\ntool = "file"\nemail = "file@a.org"\n'
    environ = {
        "GITHUB_TOKEN": "conventional",
        "NCBI_EMAIL": "conventional@a.org",
        "NCBI_API_KEY": "conventional",
        "FETCHER_NCBI__TOOL": "environment",
        "FETCHER_NCBI__EMAIL": "environment@a.org",
    }
    loaded = folder.load(text, environ, {"ncbi.tool": "option"})
    assert loaded.ncbi.tool == "option"
    assert loaded.ncbi.email == "environment@a.org"
    assert loaded.github.token is not None
    assert loaded.github.token.get_secret_value() == "file"
    assert loaded.ncbi.api_key is not None
    assert loaded.ncbi.api_key.get_secret_value() == "conventional"


def test_conventional_names_fill_what_a_copied_example_leaves_at_its_default(
    folder: Folder,
) -> None:
    text = '[github]\ntoken = ""\n[ncbi]\nemail = "you@example.org"\napi_key = ""\n'
    environ = {"GITHUB_TOKEN": "t", "NCBI_EMAIL": "me@a.org", "NCBI_API_KEY": "k"}
    loaded = folder.load(text, environ)
    assert loaded.github.token is not None
    assert loaded.ncbi.email == "me@a.org"
    assert loaded.ncbi.all_accounts[0].rate == 10


def test_a_token_that_is_around_joins_no_list_of_accounts(folder: Folder) -> None:
    text = '[[github.accounts]]\nname = "a"\ntoken = "x"\n'
    loaded = folder.load(text, {"GITHUB_TOKEN": "y"})
    assert [account.name for account in loaded.github.all_accounts] == ["a"]


def test_every_kind_of_value_comes_from_the_environment(folder: Folder) -> None:
    loaded = folder.load(
        environ={
            "FETCHER_SERVICE__LEASE": "45s",
            "FETCHER_HTTP__MAX_ATTEMPTS": "7",
            "FETCHER_HTTP__MAX_BODY": "1024",
            "FETCHER_API__PUBLIC": "true",
            "FETCHER_NCBI__REQUESTS_PER_SECOND": "2.5",
            "fetcher_api__listen": "",
            "FETCHER_GITHUB__ACCOUNTS": '[{"name": "a", "token": "t"}]',
            "FETCHER_WATCH": '[{"targets": ["a/b"], "every": "1h"}]',
            "FETCHER_NCBI": '{"tool": "whole-table"}',
        }
    )
    assert loaded.service.lease == 45
    assert loaded.http.max_attempts == 7
    assert loaded.http.max_body == 1024
    assert loaded.api.public
    assert loaded.api.address is None
    assert loaded.ncbi.requests_per_second == 2.5
    assert loaded.ncbi.tool == "whole-table"
    assert loaded.github.all_accounts[0].name == "a"
    assert [(watch.targets[0].key, watch.every) for watch in loaded.watches] == [
        ("github:a/b", 3600)
    ]


@given(st.integers(1, 10**6), st.integers(1, 10**6))
@settings(max_examples=20)
def test_the_environment_wins_over_the_file(here: int, there: int) -> None:
    name = "FETCHER_HTTP__MAX_ATTEMPTS"
    loaded = load_settings(None, {name: str(here)}, Path("/nonexistent"), {})
    assert loaded.http.max_attempts == here
    loaded = load_settings(
        None, {name: str(here)}, Path("/nonexistent"), {"http.max_attempts": there}
    )
    assert loaded.http.max_attempts == there


def test_the_process_environment_is_not_looked_at(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCHER_NCBI__TOOL", "global")
    monkeypatch.setenv("GITHUB_TOKEN", "global")
    loaded = folder.load()
    assert loaded.ncbi.tool == "fetcher"
    assert loaded.github.token is None
    assert Settings().ncbi.tool == "fetcher"


def test_three_mistakes_at_once(folder: Folder) -> None:
    """And more, each with its place, in the order of the file."""
    text = """\
[store]
url = "postgres://h"
[http]
max_attempts = 0
surprise = 1
[service]
leese = "30s"
[[watch]]
targets = [
  "a/b",
  "a/b/c",
]
"""
    environ = {"FETCHER_SERVICE__DRAIN": "-1s", "FETCHER_GITHUB__TOKNE": "x"}
    assert folder.mistakes(text, environ, {"ncbi.tool": "a b"}) == [
        "command line: ncbi.tool: must have no blanks",
        "FETCHER_SERVICE__DRAIN: '-1s' is no duration; write 30s, 15m, 6h, 1d or 1h30m",
        "FETCHER_GITHUB__TOKNE: is no setting; did you mean FETCHER_GITHUB__TOKEN?",
        (
            "fetcher.toml:2: store.url: unknown store 'postgres'; known are sqlite, mongodb, "
            "mongodb+srv"
        ),
        "fetcher.toml:4: http.max_attempts: must be at least 1",
        (
            "fetcher.toml:5: http.surprise: is no setting; known here: connect_timeout, "
            "read_timeout, total_timeout, max_body, max_attempts, proxy, proxy_file"
        ),
        "fetcher.toml:7: service.leese: is no setting; did you mean service.lease?",
        (
            "fetcher.toml:11: watch[0].targets[1]: 'a/b/c' is no target: a repository is written "
            "github:OWNER/REPO"
        ),
    ]


@pytest.mark.parametrize(
    ("line", "mistake"),
    [
        ("ncbi = 1", "ncbi: must be a table"),
        ("ncbi = [1]", "ncbi: must be a table"),
        ("ncbi.tool = 1", "ncbi.tool: must be text"),
        ('ncbi.tool = ""', None),
        ("ncbi.requests_per_second = true", "ncbi.requests_per_second: must be a number"),
        ("ncbi.requests_per_second = nan", "ncbi.requests_per_second: must be a number"),
        ("ncbi.requests_per_second = inf", "ncbi.requests_per_second: must be a number"),
        ('ncbi.requests_per_second = "3"', "ncbi.requests_per_second: must be a number"),
        ("ncbi.requests_per_second = -1", "ncbi.requests_per_second: must be at least 0"),
        ("ncbi.requests_per_second = 7", None),
        ('ncbi.email = "me"', "ncbi.email: is no e-mail address"),
        ('ncbi.email = ""', None),
        ("http.max_attempts = 1.5", "http.max_attempts: must be a whole number"),
        ("http.max_attempts = true", "http.max_attempts: must be a whole number"),
        ("http.max_body = 0", "http.max_body: must be at least 1 byte"),
        ("http.max_body = 1024", None),
        ("http.max_body = true",
         'http.max_body: must be a text such as "256MiB", or a number of bytes'),
        ("http.max_body = -1",
         'http.max_body: must be a text such as "256MiB", or a number of bytes'),
        ('http.read_timeout = "0s"', "http.read_timeout: must be at least 0.001s"),
        ("http.read_timeout = 30", 'http.read_timeout: must be a text such as "30s"'),
        ("http.read_timeout = 1979-05-27", 'http.read_timeout: must be a text such as "30s"'),
        ('http.read_timeout = "30"',
         "http.read_timeout: 30 needs a unit; write 30s, 15m, 6h, 1d or 1h30m"),
        ('http.proxy = "socks5://a"',
         "http.proxy: is no address; write http://HOST or https://HOST:PORT"),
        ('http.proxy = "http://u:p@a:3128"', None),
        ('service.lease = "999ms"', "service.lease: must be at least 1s"),
        ('service.drain = "0s"', None),
        ('service.min_interval = "0s"', "service.min_interval: must be at least 1s"),
        ('github.reconcile = "0s"', None),
        ('github.api_url = "api.github.com"',
         ("github.api_url: is no address; write http://HOST or "
         "https://HOST:PORT")),
        ("github.accounts = 1", "github.accounts: must be a list"),
        ("github.accounts = [1]", "github.accounts[0]: must be a table"),
        ("github.accounts = {}", "github.accounts: must be a list"),
        ("api.require_token = 1", "api.require_token: must be true or false"),
        ('api.public = "true"', "api.public: must be true or false"),
        ('api.listen = "8080"', ("api.listen: '8080' is no address to listen on; write "
                                "127.0.0.1:8080, [::1]:8080, or nothing to turn it off")),
        ("watch = 1", "watch: must be a list"),
        ("watch = ['a/b']", "watch[0]: must be a table"),
        ("watches = []", "watches: is no setting; did you mean watch?"),
        ('lease = "1s"', "lease: is no setting; did you mean service.lease?"),
        ("github_token = ''", "github_token: is no setting; did you mean github.token?"),
        ("'' = 1", "'': is no setting; known here: store, github, ncbi, http, service, api, watch"),
        ("_env_file = '/etc/passwd'", ("_env_file: is no setting; known here: store, github, "
                                      "ncbi, http, service, api, watch")),
        ("Github.token = 'x'", "Github: is no setting; did you mean github?"),
        ("source = 'x'", "source: is no setting; did you mean store?"),
    ],
)  # fmt: skip
def test_a_single_value(folder: Folder, line: str, mistake: str | None) -> None:
    """Wrong types, impossible values, unknown keys: one sentence each, and no jargon."""
    text = f"# first line\n{line}\n"
    if mistake is None:
        folder.load(text)
    else:
        assert folder.mistakes(text) == [f"fetcher.toml:2: {mistake}"]


@pytest.mark.parametrize(
    ("name", "value", "mistake"),
    [
        ("FETCHER_HTTP__MAX_ATTEMPTS", "many", "must be a whole number"),
        ("FETCHER_API__PUBLIC", "maybe", "must be true or false"),
        ("FETCHER_WATCH", "a/b", "FETCHER_WATCH: must be a list, written as JSON"),
        ("FETCHER_WATCH", "[" * 9_999, "FETCHER_WATCH: must be a list, written as JSON"),
        ("FETCHER_WATCH", '[{"targets": ["a/b", "a b"]}]',
         "watch[0].targets[1]: 'a b' is no target: 'a b' cannot be an accession or UID"),
        ("FETCHER_WATCH__0__EVERY", "1h", "watch: must be a list, written as JSON"),
        ("FETCHER_HTTP", "x", "must be a table, written as JSON"),
        ("FETCHER_SREVICE__LEASE", "1s", "is no setting; did you mean FETCHER_SERVICE__LEASE?"),
        ("FETCHER_NOTHING__OF__OURS", "1s", "is no setting"),
        ("FETCHER_GITHUB_TOKEN", "x", "is no setting; did you mean FETCHER_GITHUB__TOKEN?"),
        ("FETCHER_WATCHES", "[]", "is no setting; did you mean FETCHER_WATCH?"),
        ("FETCHER_CONFG", "x", "is no setting; did you mean FETCHER_CONFIG?"),
        ("FETCHER_GITHUB__TOKEN__X", "x", "github.token: must be text"),
        ("FETCHER_GITHUB__", "x", "FETCHER_GITHUB__"),
        ("FETCHER_NCBI__TOOL", "\udcff", "must have no blanks"),
    ],
)  # fmt: skip
def test_a_variable_that_is_wrong(folder: Folder, name: str, value: str, mistake: str) -> None:
    found = folder.mistakes(environ={name: value})
    assert len(found) == 1
    assert found[0].startswith(name)
    assert mistake in found[0]


def test_what_kubernetes_sets_for_a_service_named_fetcher_is_not_ours(folder: Folder) -> None:
    names = ["SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR"]
    folder.load(environ={f"FETCHER_{name}": "tcp://10.0.0.1:8080" for name in names})


def test_relative_paths_belong_to_where_they_are_written(folder: Folder) -> None:
    folder.write("token-of-file", "etc/token.txt")
    folder.write("key-of-cwd", "key.txt")
    folder.write("a/b\n", "etc/list.txt")
    config = folder.write(
        '[store]\nurl = "sqlite:///data/x.db"\n[github]\ntoken_file = "token.txt"\n'
        '[[watch]]\nfrom_file = "list.txt"\n',
        "etc/fetcher.toml",
    )
    loaded = folder.load(config=config, environ={"NCBI_API_KEY_FILE": "key.txt"})
    assert loaded.store.url == f"sqlite:///{folder.path}/etc/data/x.db"
    assert loaded.github.token is not None
    assert loaded.github.token.get_secret_value() == "token-of-file"
    assert loaded.ncbi.api_key is not None
    assert loaded.ncbi.api_key.get_secret_value() == "key-of-cwd"
    assert [target.key for target in loaded.watches[0].targets] == ["github:a/b"]
    url = "sqlite:///y.db"
    by_environment = folder.load(config=config, environ={"FETCHER_STORE__URL": url})
    by_option = folder.load(config=config, overrides={"store.url": url})
    assert by_environment.store.url == by_option.store.url == f"sqlite:///{folder.path}/y.db"
    absolute = folder.load(config=config, overrides={"store.url": "sqlite:////abs/olute.db"})
    assert absolute.store.url == "sqlite:////abs/olute.db"


def test_an_unknown_store_on_the_command_line(folder: Folder) -> None:
    assert folder.mistakes(overrides={"store.url": "redis://h"}) == [
        "--store: unknown store 'redis'; known are sqlite, mongodb, mongodb+srv"
    ]


def test_what_is_overridden_is_changed_nowhere(folder: Folder) -> None:
    """Settings are loaded again on reload: what was handed in stays as it was."""
    folder.write("a/b", "list.txt")
    overrides = {"watch": [{"from_file": "list.txt"}]}
    before = json.dumps(overrides)
    first, second = folder.load(overrides=overrides), folder.load(overrides=overrides)
    assert json.dumps(overrides) == before
    assert first == second


def test_settings_are_frozen(folder: Folder) -> None:
    loaded = folder.load()
    with pytest.raises(ValidationError, match="frozen"):
        loaded.store = loaded.store
    with pytest.raises(ValidationError, match="frozen"):
        loaded.http.max_attempts = 3


def test_no_driver_is_imported() -> None:
    """Settings load quickly: they need pydantic and nothing that speaks to anybody."""
    code = (
        "import sys, fetcher.config\n"
        "names = {'aiohttp', 'motor', 'pymongo', 'rich', 'typer', 'aiosqlite', 'gb_io'}\n"
        "sys.exit(str(names & set(sys.modules)) if names & set(sys.modules) else 0)"
    )
    folder = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=folder)
    assert done.returncode == 0


@given(st.text(max_size=60))
@settings(max_examples=60)
def test_any_text_is_settings_or_a_settings_error(text: str) -> None:
    """Nothing but `SettingsError` comes out, whatever a value is."""
    environ = {"FETCHER_NCBI__TOOL": text, "FETCHER_GITHUB__ACCOUNTS": text}
    environ |= {"FETCHER_STORE__URL": text, "FETCHER_API__LISTEN": text}
    environ |= {"FETCHER_HTTP__PROXY": text, "FETCHER_SERVICE__LEASE": text}
    environ |= {"FETCHER_GITHUB__TOKEN_FILE": text, "FETCHER_CONFIG": ""}
    with suppress(SettingsError):
        load_settings(None, environ, Path("/nonexistent"), {"github.api_url": text})
