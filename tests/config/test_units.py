"""Durations, sizes and addresses as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.config import mask_url, parse_duration, parse_size
from fetcher.config.units import check_http_url, check_store_url, is_loopback, parse_listen
from fetcher.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1.0),
        ("90s", 90.0),
        ("15m", 900.0),
        ("6h", 21_600.0),
        ("1d", 86_400.0),
        ("1h30m", 5_400.0),
        ("1d12h", 129_600.0),
        ("1.5h", 5_400.0),
        ("250ms", 0.25),
        ("1s250ms", 1.25),
        ("0s", 0.0),
        (" 30s ", 30.0),
    ],
)
def test_a_duration_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "30",
        "-1s",
        "1w",
        "1H",
        "30m1h",
        "1h1h",
        "1 h",
        "1e3s",
        "٣s",
        "soon",
        "99999999999d",
    ],
)
def test_what_is_no_duration_is_bad_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@given(st.integers(0, 30), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_the_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    expected = days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    assert parse_duration(f"{days}d{hours}h{minutes}m{seconds}s") == expected


@pytest.mark.parametrize(
    ("text", "size"),
    [("256MiB", 2**28), ("1GiB", 2**30), ("64kB", 64_000), ("1.5 MB", 1_500_000), ("42", 42)],
)
def test_a_size_is_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1 mib", "1TB2", "1e9", "9999999GiB"])
def test_what_is_no_size_is_bad_usage(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("mongodb://h:27017/fetcher", "mongodb://h:27017/fetcher"),
        ("mongodb://u@h/fetcher", "mongodb://u@h/fetcher"),
        ("mongodb://u:SECRET@h/f?replicaSet=rs0", "mongodb://u:***@h/f?replicaSet=rs0"),
        ("mongodb://u:SEC@RE/T?@h/f", "mongodb://u:***@h/f"),
        ("mongodb://h/f?a=1&tlsCertificateKeyFilePassword=SECRET&b=2",
         "mongodb://h/f?a=1&tlsCertificateKeyFilePassword=***&b=2"),
        ("mongodb:u:SECRET@h", "***"),
    ],
)  # fmt: skip
def test_a_masked_address_shows_no_password(url: str, masked: str) -> None:
    assert mask_url(url) == masked


@given(st.text(min_size=1).filter(lambda text: "SECRET" not in text))
def test_no_password_gets_past_the_mask(around: str) -> None:
    """Percent-encoded or not, whatever stands between the first colon and the last @."""
    assert "SECRET" not in mask_url(f"mongodb://u:{around}SECRET{around}@h/f")


@pytest.mark.parametrize("url", ["https://a/b/", "http://a:1", "https://[::1]:8/x", "https://a//"])
def test_an_upstream_is_http_without_its_last_slash(url: str) -> None:
    assert check_http_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.org",
        "ftp://a",
        "https://",
        "https://u:p@a",
        "https://a?b",
        "https://a#b",
        "https://a b",
        "https://a\nb",
        "https://a:x",
        "https://[a",
        "https://a?",
    ],
)
def test_no_other_upstream_will_do(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|must hold"):
        check_http_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////a.db",
        "mongodb://a,b:1/f?replicaSet=r",
        "mongodb+srv://u:p%40@h/f",
        "mongodb://[::1]:27017/f",
    ],
)
def test_known_stores(url: str) -> None:
    assert check_store_url(url) == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no address"),
        ("fetcher.db", "no address"),
        ("postgres://h/f", "unknown store 'postgres'"),
        ("sqlite://host/f", "names a host"),
        ("sqlite:///", "names no file"),
        ("sqlite:///a/", "names no file"),
        ("sqlite:///:memory:", "keeps nothing"),
        ("sqlite:///a.db?mode=ro", "options"),
        ("mongodb://", "no server"),
        ("mongodb:///f", "no server"),
        ("mongodb://a,,b/f", "no server"),
        ("mongodb://u:p@q@h/f", "percent-encoded"),
        ("mongodb://u:p/q@h/f", "percent-encoded"),
        ("mongodb://u:p:q@h/f", "percent-encoded"),
        ("mongodb://@h/f", "percent-encoded"),
    ],
)
def test_unusable_stores(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_store_url(url)


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080), True),
        ("127.9.9.9:0", ("127.9.9.9", 0), True),
        ("[::1]:8080", ("::1", 8080), True),
        ("localhost:1", ("localhost", 1), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),
        (":80", ("", 80), False),
        ("[::]:80", ("::", 80), False),
        ("fetcher.example.org:80", ("fetcher.example.org", 80), False),
    ],
)
def test_addresses_to_listen_on(text: str, address: tuple[str, int], loopback: bool) -> None:
    assert parse_listen(text) == address
    assert is_loopback(address[0]) is loopback


@pytest.mark.parametrize(
    "text", ["8080", "::1:8080", "a:65536", "a:b", "a b:1", "http://a:1", "a:"]
)
def test_no_other_address_will_do(text: str) -> None:
    with pytest.raises(ValueError, match="no address to listen on"):
        parse_listen(text)
