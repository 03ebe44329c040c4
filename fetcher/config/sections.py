"""The keys of each section, their defaults, and what a single value may be.

What one value cannot tell (one key against another) is in `fetcher.config.rules`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    StrictBool,
)

from fetcher.config.units import (
    check_http_url,
    check_proxy,
    check_store_url,
    mask_url,
    parse_duration,
    parse_every,
    parse_listen,
    parse_size,
)
from fetcher.errors import UsageError

__all__ = [
    "ANONYMOUS",
    "DEFAULT",
    "SECRET",
    "ApiSection",
    "GithubAccount",
    "GithubApp",
    "GithubEntry",
    "GithubSection",
    "HttpSection",
    "NcbiAccount",
    "NcbiEntry",
    "NcbiSection",
    "Section",
    "ServiceSection",
    "StoreSection",
    "WatchEntry",
]

ANONYMOUS: Final = "anonymous"
DEFAULT: Final = "default"
"""The name of the account that ``token`` or ``api_key`` makes."""


class _Marker:
    """Says that a field holds a secret: it is masked, and can be given as a file."""

    def __repr__(self) -> str:
        return "SECRET"


SECRET: Final = _Marker()


def _text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a text such as {example}")  # noqa: TRY004 - pydantic's border
    return value


def _duration(at_least: float) -> Callable[[object], float]:
    def read(value: object) -> float:
        try:
            seconds = parse_duration(_text(value, '"30s"'))
        except UsageError as error:
            raise ValueError(str(error)) from None
        if seconds < at_least:
            raise ValueError(f"must be at least {at_least:g}s")
        return seconds

    return read


def _every(value: object) -> float | Literal["auto"]:
    try:
        return parse_every(_text(value, '"15m" or "auto"'))
    except UsageError as error:
        raise ValueError(str(error)) from None


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        value = str(value)
    try:
        size = parse_size(_text(value, '"256MiB", or a number of bytes'))
    except UsageError as error:
        raise ValueError(str(error)) from None
    if size < 1:
        raise ValueError("must be at least 1 byte")
    return size


def _nothing(value: object) -> object:
    return None if value == "" else value


def _header(secret: SecretStr | None) -> SecretStr | None:
    """What travels in a header or a query: a stray blank or line end would break the request."""
    text = secret.get_secret_value() if secret is not None else ""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("holds a blank, a line end, or another character that it cannot have")
    return secret


def _encodable(secret: SecretStr | None) -> SecretStr | None:
    text = secret.get_secret_value() if secret is not None else ""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("holds a byte that is no UTF-8")
    return secret


def _listen(text: str) -> str:
    parse_listen(text)
    return text.strip()


def _email(text: str) -> str:
    text = text.strip()
    name, at, host = text.partition("@")
    if text and (not name or not at or not host or " " in text or not text.isprintable()):
        raise ValueError("is no e-mail address")
    return text


def _word(text: str) -> str:
    if not text.isprintable() or " " in text:
        raise ValueError("must have no blanks")
    return text


# A timeout of nothing lets nothing through; a lease or an interval below a second only spins.
_Timeout = Annotated[float, PlainValidator(_duration(0.001))]
_Interval = Annotated[float, PlainValidator(_duration(1))]
_Patience = Annotated[float, PlainValidator(_duration(0))]
_Size = Annotated[int, PlainValidator(_size)]
_Secret = Annotated[SecretStr | None, BeforeValidator(_nothing), AfterValidator(_encodable), SECRET]
_HeaderSecret = Annotated[
    SecretStr | None, BeforeValidator(_nothing), AfterValidator(_header), SECRET
]
_Url = Annotated[str, AfterValidator(check_http_url)]
_masked = PlainSerializer(mask_url, return_type=str)
_StoreUrl = Annotated[str, AfterValidator(check_store_url), _masked, SECRET]
_Proxy = Annotated[str, AfterValidator(check_proxy), _masked, SECRET]


class Section(BaseModel):
    """A table of the settings; its repr shows no secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            info = type(self).model_fields.get(name or "")
            hidden = info is not None and SECRET in info.metadata and isinstance(value, str)
            yield name, mask_url(value) if hidden else value


class StoreSection(Section):
    """``[store]``."""

    url: _StoreUrl = "sqlite:///fetcher.db"

    @property
    def shown(self) -> str:
        """The URL as it may be shown to people."""
        return mask_url(self.url)


def _identity(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class GithubApp:
    """The installation of a GitHub App; `private_key` is PEM text."""

    app_id: int
    installation_id: int
    private_key: SecretStr = field(repr=False)


@dataclass(frozen=True, slots=True)
class GithubAccount:
    """An account with a rate limit of its own: a token, an App's installation, or neither."""

    name: str
    token: SecretStr | None = None
    app: GithubApp | None = None

    @property
    def identity(self) -> str:
        """What tells accounts apart, made of the secret without showing it.

        An installation is known by its ids: they outlive its key, and two may share a key.
        """
        if self.app is not None:
            return _identity(f"app:{self.app.app_id}:{self.app.installation_id}")
        return _identity(self.token.get_secret_value()) if self.token is not None else ANONYMOUS


class GithubEntry(Section):
    """One of ``[[github.accounts]]``."""

    name: str = ""
    token: _HeaderSecret = None
    app_id: Annotated[int, Field(strict=True, ge=0)] = 0
    installation_id: Annotated[int, Field(strict=True, ge=0)] = 0
    private_key: _Secret = None

    @property
    def account(self) -> GithubAccount:
        """The account that the entry describes."""
        if self.token is not None or self.private_key is None:
            return GithubAccount(self.name, self.token)
        app = GithubApp(self.app_id, self.installation_id, self.private_key)
        return GithubAccount(self.name, None, app)


class GithubSection(Section):
    """``[github]``."""

    api_url: _Url = "https://api.github.com"
    token: _HeaderSecret = None
    webhook_secret: _Secret = None
    webhook_secret_old: _Secret = None
    reconcile: _Patience = 86_400.0
    accounts: tuple[GithubEntry, ...] = ()

    @property
    def graphql_url(self) -> str:
        """https://docs.github.com/en/enterprise-server/graphql/guides/forming-calls-with-graphql"""
        if self.api_url.endswith("/api/v3"):
            return f"{self.api_url.removesuffix('/v3')}/graphql"
        return f"{self.api_url}/graphql"

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """What deliveries may be signed with."""
        secrets = (self.webhook_secret, self.webhook_secret_old)
        return tuple(each.get_secret_value() for each in secrets if each is not None)

    @property
    def all_accounts(self) -> tuple[GithubAccount, ...]:
        """Every account, the single token's first; an anonymous one where there is none."""
        single = () if self.token is None else (GithubAccount(DEFAULT, self.token),)
        accounts = (*single, *(entry.account for entry in self.accounts))
        return accounts or (GithubAccount(ANONYMOUS),)


@dataclass(frozen=True, slots=True)
class NcbiAccount:
    """An account with a rate limit of its own; `rate` is requests a second."""

    name: str
    api_key: SecretStr | None
    rate: float

    @property
    def identity(self) -> str:
        """What tells accounts apart, made of the secret without showing it."""
        if self.api_key is None:
            return ANONYMOUS
        return _identity(self.api_key.get_secret_value())


class NcbiEntry(Section):
    """One of ``[[ncbi.accounts]]``."""

    name: str = ""
    api_key: _HeaderSecret = None


class NcbiSection(Section):
    """``[ncbi]``."""

    eutils_url: _Url = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
    datasets_url: _Url = "https://api.ncbi.nlm.nih.gov/datasets/v2"
    api_key: _HeaderSecret = None
    email: Annotated[str, AfterValidator(_email)] = "you@example.org"
    tool: Annotated[str, AfterValidator(_word)] = "fetcher"
    requests_per_second: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0.0
    reconcile: _Patience = 86_400.0
    accounts: tuple[NcbiEntry, ...] = ()

    @property
    def all_accounts(self) -> tuple[NcbiAccount, ...]:
        """Every account, the single key's first; an anonymous one where there is none."""
        # https://www.ncbi.nlm.nih.gov/books/NBK25497/: 3 requests a second, 10 with a key
        single = () if self.api_key is None else (NcbiEntry(name=DEFAULT, api_key=self.api_key),)
        with_key = self.requests_per_second or 10.0
        accounts = tuple(
            NcbiAccount(entry.name, entry.api_key, with_key) for entry in (*single, *self.accounts)
        )
        return accounts or (NcbiAccount(ANONYMOUS, None, self.requests_per_second or 3.0),)


class HttpSection(Section):
    """``[http]``: durations in seconds, `max_body` in bytes after decompression."""

    connect_timeout: _Timeout = 10.0
    read_timeout: _Timeout = 30.0
    total_timeout: _Timeout = 300.0
    max_body: _Size = 256 * 2**20
    max_attempts: Annotated[int, Field(strict=True, ge=1)] = 5
    proxy: _Proxy = ""


class ServiceSection(Section):
    """``[service]``: durations in seconds."""

    lease: _Interval = 30.0
    drain: _Patience = 20.0
    min_interval: _Interval = 60.0
    max_interval: _Interval = 604_800.0


class ApiTokenEntry(Section):
    """One of ``[[api.tokens]]``."""

    token: _HeaderSecret = None


class ApiSection(Section):
    """``[api]``."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:8080"
    token: _HeaderSecret = None
    require_token: StrictBool = False
    public: StrictBool = False
    tokens: tuple[ApiTokenEntry, ...] = ()

    @property
    def all_tokens(self) -> tuple[str, ...]:
        """Every token that counts."""
        given = (self.token, *(entry.token for entry in self.tokens))
        return tuple(each.get_secret_value() for each in given if each is not None)

    @property
    def address(self) -> tuple[str, int] | None:
        """Host (empty: every address) and port; None where the API is turned off."""
        return parse_listen(self.listen)


class WatchEntry(Section):
    """One of ``[[watch]]``, as written; `Settings.watches` has the targets."""

    targets: tuple[str, ...] = ()
    from_file: str = ""
    every: Annotated[float | Literal["auto"], PlainValidator(_every)] = "auto"
