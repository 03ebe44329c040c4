"""The line of every key."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.config.places import Keys, dotted, locate

SAMPLE = r"""
# a comment with "quotes" = [and brackets
top = 1
[a]  # [b]
x = "] # no comment"
"y.z" = 'it'
dotted . inner.'deep one' = 1979-05-27 07:32:00
[a.b]
many = '''
line [ "two" ]
three ' '' '''
list = [
  "one", # first
  [2,
   3],
  { k = "}", l = [ # why
    4 ] },
]
[[c]]
n = 1
[c.sub]
m = 2
[[c]]
n = 3
[[c.inner]]
o = 4
[[c.inner]]
o = 5
""".lstrip()


def test_every_kind_of_key_has_its_line() -> None:
    tomllib.loads(SAMPLE)
    lines = locate(SAMPLE)
    assert {dotted(keys): line for keys, line in lines.items()} == {
        "top": 2,
        "a": 3,
        "a.x": 4,
        "a.'y.z'": 5,
        "a.dotted": 6,
        "a.dotted.inner": 6,
        "a.dotted.inner.'deep one'": 6,
        "a.b": 7,
        "a.b.many": 8,
        "a.b.list": 11,
        "a.b.list[0]": 12,
        "a.b.list[1]": 13,
        "a.b.list[1][0]": 13,
        "a.b.list[1][1]": 14,
        "a.b.list[2]": 15,
        "a.b.list[2].k": 15,
        "a.b.list[2].l": 15,
        "a.b.list[2].l[0]": 16,
        "c": 18,
        "c[0]": 18,
        "c[0].n": 19,
        "c[0].sub": 20,
        "c[0].sub.m": 21,
        "c[1]": 22,
        "c[1].n": 23,
        "c[1].inner": 24,
        "c[1].inner[0]": 24,
        "c[1].inner[0].o": 25,
        "c[1].inner[1]": 26,
        "c[1].inner[1].o": 27,
    }


def places(value: object, above: Keys = ()) -> set[Keys]:
    found: set[Keys] = {above} if above else set()
    if isinstance(value, dict):
        for key, each in value.items():
            found |= places(each, (*above, key))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            found |= places(each, (*above, index))
    return found


BLANKS = st.sampled_from(["", " ", "\t "])
BREAKS = st.sampled_from(["", " ", "\n", "\r\n", " # ] } \" '\n", "\n\n"])
KEYS = st.sampled_from(["a", "b-c", "1", '"q.r"', "'s]'", '"t\\""', '"é"'])
SCALARS = st.sampled_from(
    [
        "1",
        "-1.5e3",
        "true",
        "inf",
        "1979-05-27",
        "1979-05-27 07:32:00",
        "07:32:00",
        '""',
        "''",
        '"# [{\\" \\\\"',
        "'# ]} \\'",
        '""" a " "" \n ] # """',
        '"""x""""',
        "'''y'''''",
        "'''\n'''",
        '""""""',
        '"""\\\n  z"""',
    ]
)


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    parts = draw(st.lists(inner, max_size=4))
    text = "".join(draw(BREAKS) + part + draw(BREAKS) + "," for part in parts)
    return f"[{text if draw(st.booleans()) else text[:-1]}{draw(BREAKS)}]"


@st.composite
def tables(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    names = draw(st.lists(KEYS, unique=True, max_size=3))
    pairs = [f"{draw(BLANKS)}{name}{draw(BLANKS)}={draw(BLANKS)}{draw(inner)}" for name in names]
    return "{" + ",".join(pairs) + draw(BLANKS) + "}"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | tables(inner), max_leaves=8)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for number in range(draw(st.integers(0, 4))):
        head = draw(
            st.sampled_from(["", f"[t{number}]", "[[list]]", f"[[list]]\n[list.u{number}]"])
        )
        if not head and number:
            continue
        lines.append(draw(BLANKS) + head + draw(st.sampled_from(["", " # why"])))
        lines += [
            f"{draw(BLANKS)}{name}{draw(BLANKS)}={draw(BLANKS)}{draw(VALUES)}"
            for name in draw(st.lists(KEYS, unique=True, max_size=3))
        ]
    return draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join(lines)


@given(documents())
def test_the_locator_finds_what_tomllib_reads(text: str) -> None:
    """Every table, key and element has a line, nothing else has, and lines never go back."""
    lines = locate(text)
    assert set(lines) == places(tomllib.loads(text))
    assert list(lines.values()) == sorted(lines.values())


def test_a_long_file_is_located_quickly() -> None:
    text = "a = [\n" + '  "github:a/b", # why\n' * 20_000 + "]\n"
    assert locate(text)["a", 19_999] == 20_001


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "\r\n"])
def test_nothing_has_no_lines(text: str) -> None:
    assert locate(text) == {}
