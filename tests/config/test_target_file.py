"""Files of targets."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.config import read_target_file
from fetcher.errors import SettingsError


def test_one_target_a_line_with_its_number() -> None:
    data = b"\xef\xbb\xbf# mine\r\n a/b \r\n\r\nNC_003355\t# why\nncbi:nuccore?x #1\nc/d#e\n"
    with pytest.raises(SettingsError, match=r"^f:6: 'c/d#e' is no target"):
        read_target_file(data, "f")
    assert read_target_file(data.replace(b"#e", b""), "f") == (
        (2, "a/b"),
        (4, "NC_003355"),
        (5, "ncbi:nuccore?x"),
        (6, "c/d"),
    )


@pytest.mark.parametrize(
    ("data", "mistakes"),
    [
        (b"", ["f: names no target: write one a line"]),
        (b"\n# only\n", ["f: names no target: write one a line"]),
        (b"a/b\ncaf\xe9\n", ["f:2: holds a byte that is no UTF-8"]),
        (b"a/b\n\na\0b\n", ["f:3: holds a NUL byte: this is no text file"]),
        ("a/b\n".encode("utf-16"), ["f:1: holds a NUL byte: this is no text file"]),
        (b"x y\na/b\nncbi:nuccore/!,?,X1\n",
         ["f:1: 'x y' is no target: 'x y' cannot be an accession or UID",
          "f:3: 'ncbi:nuccore/!' is no target: '!' cannot be an accession or UID",
          "f:3: 'ncbi:nuccore/?' is no target: '?' cannot be an accession or UID"]),
        ("a/b\u2028c/d\nx".encode(), ["f:1:", "f:2:"]),
    ],
)  # fmt: skip
def test_all_mistakes_at_once(data: bytes, mistakes: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        read_target_file(data, "f")
    found = [str(mistake) for mistake in caught.value.mistakes]
    assert len(found) == len(mistakes)
    assert all(one.startswith(start) for one, start in zip(found, mistakes, strict=True))


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_targets_or_a_settings_error(data: bytes) -> None:
    with suppress(SettingsError):
        assert read_target_file(data, "f")
