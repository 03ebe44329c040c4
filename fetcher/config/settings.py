"""All settings in one frozen value."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from fetcher.config.sections import (
    SECRET,
    ApiSection,
    GithubSection,
    HttpSection,
    NcbiSection,
    ServiceSection,
    StoreSection,
    WatchEntry,
)
from fetcher.targets import Target

__all__ = ["Settings", "Watch"]


@dataclass(frozen=True, slots=True)
class Watch:
    """Targets, each once, to be polled `every` so many seconds."""

    targets: tuple[Target, ...]
    every: float | Literal["auto"]


class Settings(BaseSettings):
    """Everything that can be configured; made by `load_settings`, which sees to the rules.

    Built directly it takes its values from the arguments and the defaults alone.
    """

    model_config = SettingsConfigDict(
        env_prefix="FETCHER_",
        env_nested_delimiter="__",
        case_sensitive=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    store: StoreSection = Field(default_factory=StoreSection)
    github: GithubSection = Field(default_factory=GithubSection)
    ncbi: NcbiSection = Field(default_factory=NcbiSection)
    http: HttpSection = Field(default_factory=HttpSection)
    service: ServiceSection = Field(default_factory=ServiceSection)
    api: ApiSection = Field(default_factory=ApiSection)
    watch: tuple[WatchEntry, ...] = ()

    _watches: tuple[Watch, ...] = PrivateAttr(default=())
    _source: Path | None = PrivateAttr(default=None)
    _exposed: tuple[Path, ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: nothing is global, so the process's environment is not read.

        `load_settings` asks pydantic-settings' own source about the environment it is given.
        """
        return (init_settings,)

    @property
    def watches(self) -> tuple[Watch, ...]:
        """The watches with their targets, those of ``from_file`` among them."""
        return self._watches

    @property
    def source(self) -> Path | None:
        """The settings file that was read; None where there was none."""
        return self._source

    @property
    def exposed(self) -> tuple[Path, ...]:
        """Files with secrets in them that every user of this machine may read."""
        return self._exposed

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret that is set, for those who must not repeat one."""
        return tuple(_secrets(self))

    def completed(
        self, watches: tuple[Watch, ...], source: Path | None, exposed: tuple[Path, ...] = ()
    ) -> "Settings":
        """The same settings with what was found out from outside of them."""
        settings = self.model_copy()
        settings._watches = watches  # noqa: SLF001 - its own
        settings._source = source  # noqa: SLF001 - its own
        settings._exposed = exposed  # noqa: SLF001 - its own
        return settings


def _secrets(table: BaseModel) -> Iterator[str]:
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, BaseModel):
                yield from _secrets(each)
            elif isinstance(each, SecretStr):
                # What has lines, as a PEM has, may be quoted by the line.
                yield from (line for line in each.get_secret_value().splitlines() if line.strip())
            elif SECRET in info.metadata and isinstance(each, str) and "@" in each:
                yield unquote(urlsplit(each).password or "")
