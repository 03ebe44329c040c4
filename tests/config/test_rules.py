"""What one key has to do with another."""

import pytest

from fetcher.config import Watch
from fetcher.targets import Target
from tests.config.conftest import Folder


def test_every_token_counts(folder: Folder) -> None:
    """The single one, and those in tables of their own, from files, too."""
    (folder.path / "t.txt").write_text("three\n", "utf-8")
    loaded = folder.load(
        '[api]\ntoken = "one"\n[[api.tokens]]\ntoken = "two"\n[[api.tokens]]\ntoken_file = "t.txt"'
    )
    assert loaded.api.all_tokens == ("one", "two", "three")


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('service.min_interval = "8d"',
         "1: service.min_interval: 8d is above service.max_interval, which is 7d"),
        ('service.max_interval = "30s"',
         "1: service.max_interval: 30s is below service.min_interval, which is 1m"),
        ('[service]\nmin_interval = "5s"\nmax_interval = "5s"', None),
        ('[[watch]]\ntargets = ["a/b"]\nevery = "59s"',
         "3: watch[0].every: 59s is below service.min_interval (1m)"),
        ('[[watch]]\ntargets = ["a/b"]\nevery = "1m"', None),
        ('[[watch]]\ntargets = ["a/b"]\nevery = "auto"', None),
        ('[[watch]]\ntargets = ["a/b"]\nevery = "often"',
         "3: watch[0].every: 'often' is no duration; write 30s, 15m, 6h, 1d or 1h30m"),
        ('[[watch]]\ntargets = ["a/b"]\nevery = 60',
         '3: watch[0].every: must be a text such as "15m" or "auto"'),
        ('[[watch]]\nevery = "1h"', "1: watch[0]: has neither targets nor from_file"),
        ("[[watch]]\ntargets = []", "1: watch[0]: has neither targets nor from_file"),
        ('[[watch]]\nfrom_file = "no.txt"',
         "2: watch[0].from_file: 'no.txt' cannot be read: No such file or directory"),
        ('[[watch]]\nfrom_file = "."', "2: watch[0].from_file: '.' cannot be read: Is a directory"),
        ('[[watch]]\nfrom_file = "a\\u0000"',
         "2: watch[0].from_file: 'a\\x00' cannot be read: it is no path"),
        ('api.listen = "0.0.0.0:80"',
         ("1: api.listen: 0.0.0.0:80 can be reached from other machines; "
         "set api.token and api.require_token = true, or api.public = true")),
        ('api.listen = ":80"',
         ("1: api.listen: :80 can be reached from other machines; "
         "set api.token and api.require_token = true, or api.public = true")),
        ('[api]\nlisten = "[::]:80"\ntoken = "t"',
         ("2: api.listen: [::]:80 can be reached from other machines; "
         "set api.token and api.require_token = true, or api.public = true")),
        ('[api]\nlisten = "[::]:80"\ntoken = "t"\nrequire_token = true', None),
        ('[api]\nlisten = "0.0.0.0:80"\npublic = true', None),
        ('[api]\nlisten = ":80"\nrequire_token = true\n[[api.tokens]]\ntoken = "t"', None),
        ("[[api.tokens]]", "1: api.tokens[0]: needs token or token_file"),
        ('[[api.tokens]]\ntoken = "t"\n[[api.tokens]]\ntoken_file = "/no.txt"',
         ("4: api.tokens[1].token_file: the file that it names cannot be read: "
         "No such file or directory")),
        ('[api]\nlisten = "[::1]:80"', None),
        ('[api]\nlisten = ""', None),
        ("api.require_token = true",
         "1: api.require_token: needs api.token or api.token_file: nobody could read"),
        ('github.token = "a b"', ("1: github.token: holds a blank, a line end, or another "
                                 "character that it cannot have")),
        ('[[github.accounts]]\ntoken = "t"', "1: github.accounts[0].name: is missing"),
        ('[[github.accounts]]\nname = "a\\n"\ntoken = "t"',
         "2: github.accounts[0].name: is no name"),
        ('[[github.accounts]]\nname = "a"',
         ("1: github.accounts[0]: needs one of token, token_file, or app_id, installation_id "
         "and private_key_file")),
        ('[[github.accounts]]\nname = "a"\napp_id = 1',
         "1: github.accounts[0]: lacks installation_id and private_key_file"),
        ('[[github.accounts]]\nname = "a"\napp_id = 1\ntoken = "t"',
         "1: github.accounts[0]: has both a token and an App's keys; leave one of the two out"),
        ('[[github.accounts]]\nname = "a"\napp_id = 1\ninstallation_id = 2\nprivate_key = "k"',
         None),
        (('[[github.accounts]]\nname = "a"\ntoken = "t"\n'
         '[[github.accounts]]\nname = "a"\ntoken = "u"'),
         "5: github.accounts[1].name: 'a' is github.accounts[0] already"),
        (('[[github.accounts]]\nname = "a"\ntoken = "t"\n'
         '[[github.accounts]]\nname = "b"\ntoken = "t"'),
         "4: github.accounts[1]: is the same account as github.accounts[0]"),
        ('[github]\ntoken = "t"\n[[github.accounts]]\nname = "default"\ntoken = "u"',
         ("4: github.accounts[0].name: 'default' is the account of github's single token or "
         "key already")),
        ('[github]\ntoken = "t"\n[[github.accounts]]\nname = "a"\ntoken = "t"',
         ("3: github.accounts[0]: is the same account as the account of github's single token "
         "or key")),
        ('[[ncbi.accounts]]\nname = "a"', "1: ncbi.accounts[0]: needs api_key or api_key_file"),
        ('[[ncbi.accounts]]\napi_key = "k"', "1: ncbi.accounts[0].name: is missing"),
        (('[[ncbi.accounts]]\nname = "a"\napi_key = "k"\n'
         '[[ncbi.accounts]]\nname = "b"\napi_key = "k"'),
         "4: ncbi.accounts[1]: is the same account as ncbi.accounts[0]"),
        ('[[ncbi.accounts]]\nname = "a"\ntoken = "k"',
         "3: ncbi.accounts[0].token: is no setting; known here: name, api_key, api_key_file"),
    ],
)  # fmt: skip
def test_a_rule(folder: Folder, text: str, mistake: str | None) -> None:
    if mistake is None:
        folder.load(text)
    else:
        assert folder.mistakes(text) == [f"fetcher.toml:{mistake}"]


def test_broken_rules_are_reported_beside_wrong_values(folder: Folder) -> None:
    """A wrong value hides no broken rule elsewhere, in the same table or list neither."""
    text = """\
[api]
listen = "0.0.0.0:1"
surprise = 1
[[github.accounts]]
name = 5
[[github.accounts]]
name = "b"
tokne = "x"
[[github.accounts]]
[[watch]]
targets = [5, "a b"]
[[watch]]
every = "1s"
"""
    assert [each.partition(": ")[0] for each in folder.mistakes(text)] == [
        f"fetcher.toml:{line}" for line in (2, 3, 4, 5, 8, 9, 9, 11, 11, 12, 13)
    ]


def test_watches_hold_their_targets_once(folder: Folder) -> None:
    folder.write("# mine\nA/B\nc/d # why\n\nncbi:nuccore/X1,X2\n", "more.txt")
    loaded = folder.load(
        '[[watch]]\ntargets = ["a/b", "github:a/b"]\nfrom_file = "more.txt"\n'
        '[[watch]]\ntargets = ["e/f"]\nevery = "1h30m"\n'
    )
    assert loaded.watches == (
        Watch(
            (
                Target("github", "", "a/b"),
                Target("github", "", "c/d"),
                Target("ncbi", "nuccore", "X1"),
                Target("ncbi", "nuccore", "X2"),
            ),
            "auto",
        ),
        Watch((Target("github", "", "e/f"),), 5400.0),
    )


def test_mistakes_of_a_target_file_have_their_own_lines(folder: Folder) -> None:
    folder.write("a/b\na/b/c\n\nx y\n", "etc/list.txt")
    config = folder.write('[[watch]]\nfrom_file = "list.txt"\nevery = "1s"', "etc/f.toml")
    assert [each.partition(": ")[0] for each in folder.mistakes(config=config)] == [
        "etc/list.txt:2",
        "etc/list.txt:4",
        str(config) + ":3",
    ]


@pytest.mark.parametrize(
    ("api_url", "graphql_url"),
    [
        ("https://api.github.com/", "https://api.github.com/graphql"),
        ("https://ghe.example.org/api/v3", "https://ghe.example.org/api/graphql"),
        ("http://127.0.0.1:1234/github", "http://127.0.0.1:1234/github/graphql"),
    ],
)
def test_where_graphql_lives(folder: Folder, api_url: str, graphql_url: str) -> None:
    assert folder.load(f'github.api_url = "{api_url}"').github.graphql_url == graphql_url


def test_accounts(folder: Folder) -> None:
    """The single token is the account default; without any there is an anonymous one."""
    nobody = folder.load()
    assert [(each.name, each.identity) for each in nobody.github.all_accounts] == [
        ("anonymous", "anonymous")
    ]
    assert [(each.name, each.identity, each.rate) for each in nobody.ncbi.all_accounts] == [
        ("anonymous", "anonymous", 3.0)
    ]
    loaded = folder.load(
        'github.token = "abc"\n'
        '[ncbi]\napi_key = "abc"\n[[ncbi.accounts]]\nname = "n"\napi_key = "def"\n'
        '[[github.accounts]]\nname = "app"\napp_id = 1\ninstallation_id = 2\nprivate_key = "k"\n'
        '[[github.accounts]]\nname = "b"\napp_id = 1\ninstallation_id = 3\nprivate_key = "k"\n'
    )
    default, app, other = loaded.github.all_accounts
    assert (default.name, default.identity) == ("default", "ba7816bf8f01")
    assert app.token is None
    assert app.app is not None
    assert (app.app.app_id, app.app.installation_id) == (1, 2)
    assert app.app.private_key.get_secret_value() == "k"
    assert len({default.identity, app.identity, other.identity}) == 3
    assert [(each.name, each.rate) for each in loaded.ncbi.all_accounts] == [
        ("default", 10.0),
        ("n", 10.0),
    ]


def test_a_rate_that_is_given_is_taken_as_it_is(folder: Folder) -> None:
    loaded = folder.load('ncbi.requests_per_second = 50\nncbi.api_key = "k"')
    assert loaded.ncbi.all_accounts[0].rate == 50
    assert folder.load("ncbi.requests_per_second = 0.5").ncbi.all_accounts[0].rate == 0.5
