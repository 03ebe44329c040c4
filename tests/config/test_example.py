"""config.example.toml has every key with its default, and nothing else."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from fetcher.config.places import Keys, dotted
from fetcher.config.schema import every_key, model_at
from tests.config.conftest import Folder

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
# "#key = …" and "#[[table]]" are settings that are off; prose has a blank behind the "#".
FULL = re.sub(r"(?m)^#(?=\S)", "", TEXT)


def leaves(value: object, above: Keys = ()) -> Iterator[tuple[Keys, object]]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*above, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for each in value:
            yield from leaves(each, (*above, 0))
    else:
        yield above, value


def test_it_loads_as_it_is_and_sets_only_defaults(folder: Folder) -> None:
    loaded = folder.load(TEXT)
    default = folder.load("")
    assert loaded == default


def test_every_key_stands_in_it_and_nothing_else() -> None:
    documented = {dotted(keys) for keys, _ in leaves(tomllib.loads(FULL))}
    assert documented == {dotted(keys) for keys, _ in every_key()}


@pytest.mark.parametrize(
    ("keys", "default"),
    [pytest.param(keys, default, id=dotted(keys)) for keys, default in every_key()],
)
def test_every_default_is_the_one_in_the_code(keys: Keys, default: object) -> None:
    """Off are exactly the keys of arrays and the KEY_file of secrets, which have no default."""
    written = dict(leaves(tomllib.loads(TEXT)))
    if 0 in keys or str(keys[-1]).endswith("_file"):
        assert keys not in written
        return
    model = model_at(keys[:-1])
    assert model is not None
    value = model.model_validate({keys[-1]: written[keys]})
    assert getattr(value, str(keys[-1])) == default


def test_every_key_has_its_line_of_comment() -> None:
    lines = TEXT.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"#?[a-z_]+ = ", line):
            assert lines[number - 1].startswith("# "), f"line {number + 1} says nothing"
    assert max(map(len, lines)) <= 100


def test_all_of_it_loads_when_nothing_is_off(folder: Folder) -> None:
    """Every setting that is off is a working example, too."""
    data = tomllib.loads(FULL)
    named = [value for keys, value in leaves(data) if str(keys[-1]).endswith("_file")]
    for number, name in enumerate(TypeAdapter(list[str]).validate_python(named)):
        folder.write(f"secret{number}\n", name)
    folder.write("sqlite:///other.db\n", "store-url.txt")
    folder.write("http://u:p@proxy:3128\n", "proxy.txt")
    folder.write("virtool/virtool\n", "repositories.txt")
    text = re.sub(r'(?m)^(url = "sqlite|proxy = )', r"#\1", FULL)
    loaded = folder.load(text)
    assert len(loaded.github.all_accounts) == 5
    assert len(loaded.ncbi.all_accounts) == 3
    assert len(loaded.watches) == 2
