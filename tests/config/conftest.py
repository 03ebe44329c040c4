"""A folder with a settings file, and what loading it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from fetcher.config import Settings, load_settings
from fetcher.errors import SettingsError

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Folder:
    """A working directory of its own; the environment is what a test hands in."""

    path: Path

    def write(self, text: str, name: str = "fetcher.toml") -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def load(
        self,
        text: str | None = None,
        environ: Mapping[str, str] = NOTHING,
        overrides: Mapping[str, object] = MappingProxyType({}),
        config: Path | None = None,
    ) -> Settings:
        if text is not None:
            self.write(text)
        return load_settings(config, environ, self.path, overrides)

    def mistakes(
        self,
        text: str | None = None,
        environ: Mapping[str, str] = NOTHING,
        overrides: Mapping[str, object] = MappingProxyType({}),
        config: Path | None = None,
    ) -> list[str]:
        with pytest.raises(SettingsError) as caught:
            self.load(text, environ, overrides, config)
        assert str(caught.value) == "\n".join(map(str, caught.value.mistakes))
        return [str(mistake) for mistake in caught.value.mistakes]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)
