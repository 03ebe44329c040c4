"""The grammar of targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.errors import TargetError
from fetcher.targets import Target, parse_target, parse_targets, split_targets


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("github:virtool/virtool", "github:virtool/virtool"),
        ("GitHub:virtool/virtool", "github:virtool/virtool"),
        ("Virtool/virtool-cli", "github:Virtool/virtool-cli"),
        ("a/.github", "github:a/.github"),
        ("user_corp/x", "github:user_corp/x"),
        ("NC_003355", "ncbi:nuccore/NC_003355"),
        ("nc_003355.1", "ncbi:nuccore/NC_003355.1"),
        ("ncbi:nuccore/319655736", "ncbi:nuccore/319655736"),
        ("ncbi:protein/YP_009137150.1", "ncbi:protein/YP_009137150.1"),
        ("ncbi:protein/1ABC_A", "ncbi:protein/1ABC_A"),
        ("NCBI:NUCCORE/AAAA01000001", "ncbi:nuccore/AAAA01000001"),
        ("ncbi:nuccore?txid12235[Organism:exp] AND refseq[filter]",
         "ncbi:nuccore?txid12235[Organism:exp] AND refseq[filter]"),
        ("ncbi:nuccore? a/b   or c ", "ncbi:nuccore?a/b or c"),
        ("ncbi:taxonomy/12235", "ncbi:taxonomy/12235"),
        ("ncbi:genome/gcf_000861845.1", "ncbi:genome/GCF_000861845.1"),
    ],
)  # fmt: skip
def test_a_target_has_one_canonical_key(text: str, key: str) -> None:
    """What people write means one key, and the key means itself."""
    target = parse_target(text)
    assert target.key == key
    assert parse_target(target.key) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "nonsense",
        "github:a/b/c",
        "github:a",
        "github:/b",
        "github:a/",
        "github:a b/c",
        "github:-a/b",
        "github:a/..",
        "a/b/c",
        "NC_00 3355",
        "ncbi:nuccore/NC_00 3355",
        "ncbi:nuccore/",
        "ncbi:nuccore",
        "ncbi:nuccore?",
        "ncbi:nuccore?   ",
        "ncbi:nowhere/NC_003355",
        "ncbi:taxonomy/0",
        "ncbi:taxonomy/x",
        "ncbi:taxonomy?virus",
        "ncbi:genome/NC_003355",
        "gitlab:a/b",
        "NC_003355\x00",
        "github:a/b\n",
        "github:ä/b",
        "NC_003355.1.2",
        "https://github.com/a/b",
    ],
)
def test_what_can_be_no_target_is_refused(text: str) -> None:
    """A string that cannot be a target is bad usage, with a reason."""
    if text == "github:a/b\n":
        assert parse_target(text).key == "github:a/b"
        return
    with pytest.raises(TargetError) as caught:
        parse_target(text)
    assert caught.value.reason


def test_a_comma_makes_two_targets() -> None:
    """One word may name several accessions, never several repositories or queries."""
    assert [t.key for t in parse_targets("ncbi:nuccore/A1,B2,a1")] == [
        "ncbi:nuccore/A1",
        "ncbi:nuccore/B2",
    ]
    assert split_targets("ncbi:nuccore/A1, B2") == ("ncbi:nuccore/A1", "ncbi:nuccore/B2")
    assert len(parse_targets("ncbi:nuccore?a,b/c")) == 1
    with pytest.raises(TargetError):
        parse_targets("ncbi:nuccore/A1,,B2")
    with pytest.raises(TargetError):
        parse_targets("github:a/b,c/d")


def test_case_is_folded_only_where_the_upstream_has_none() -> None:
    """Repositories and accessions differ by no case; queries may."""
    assert parse_target("A/B").fold == parse_target("github:a/b").fold
    assert parse_target("nc_1").fold == parse_target("NC_1").fold
    assert parse_target("ncbi:nuccore?a").fold != parse_target("ncbi:nuccore?A").fold


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_an_error(text: str) -> None:
    """Parsing never fails in another way, and what it takes it takes back."""
    try:
        targets = parse_targets(text)
    except TargetError:
        return
    for target in targets:
        assert isinstance(target, Target)
        assert parse_target(target.key) == target
