"""MongoDB-speaking servers of a test's own: with authentication, and with TLS."""

import contextlib
import ipaddress
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pymongo
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Servers", "servers"]

FERRETDB = "FETCHER_TEST_FERRETDB"
PASSWORD = "s3cret/p@ss?"
QUOTED = "s3cret%2Fp%40ss%3F"


def command() -> list[str]:
    """What starts one, as `.ci/mongodb command` prints it."""
    told = os.environ.get(FERRETDB)
    if not told:
        assert not os.environ.get("CI_REQUIRES_MONGODB"), f"{FERRETDB} is not set"
        pytest.skip(f"{FERRETDB} is not set; .ci/mongodb command prints it")
    return shlex.split(told)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def ferretdb(folder: Path, port: int, *options: str) -> Iterator[None]:
    """One that listens, at least on this port, until the end."""
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        arguments = [*command(), f"--state-dir={folder}", *options]
        process = subprocess.Popen(arguments, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if _listens(port):
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Authority:
    """A CA, and what it signs: files in PEM."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            self._unsigned(name, self._key, days=1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _unsigned(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_named(name))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(now + timedelta(days=days))
        )

    def sign(self, name: str, host: str = "127.0.0.1", *, days: int = 1) -> Path:
        """A certificate for a host, and its key, in one file; it ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            known: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            known = x509.DNSName(host)
        certificate = (
            self._unsigned(name, key, days=days)
            .add_extension(x509.SubjectAlternativeName([known]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        file = self._folder / f"{name}.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return file


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Servers:
    """Where they listen, and the files with certificates."""

    folder: Path
    database: str
    user: str
    plain: int
    scram: int
    scram_tls: int
    tls: int
    expired: int
    renamed: int
    mutual: int

    def url(self, form: str) -> str:
        """Fills in ports, files and the database."""
        files = {file.stem: file for file in self.folder.glob("*.pem")}
        ports = {name: f"127.0.0.1:{getattr(self, name)}" for name in _PORTS}
        named = {"db": self.database, "user": self.user, "password": QUOTED}
        return form.format(**files, **ports, **named, nowhere=self.folder / "nowhere.pem")


_PORTS = ("plain", "scram", "scram_tls", "tls", "expired", "renamed", "mutual")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """One of each sort: open, with SCRAM, with certificates that are good, old or of another."""
    folder = tmp_path_factory.mktemp("servers")
    authority, stranger = Authority(folder, "ca"), Authority(folder, "stranger")
    good = authority.sign("good")
    authority.sign("client")
    stranger.sign("foreign")
    (folder / "nonsense.pem").write_text("nothing of the kind")
    mark = uuid4().hex[:12]
    ports = {name: free_port() for name in _PORTS}
    told = Servers(folder, f"fetcher_test_{mark}", f"user_{mark}", **ports)

    def listen(port: int, file: Path | None = None) -> tuple[str, ...]:
        address = f"127.0.0.1:{port}"
        if file is None:
            return (f"--listen-addr={address}",)
        names = ("--listen-tls-cert-file", "--listen-tls-key-file")
        return (f"--listen-tls={address}", *(f"{name}={file}" for name in names))

    with contextlib.ExitStack() as stack:

        def start(name: str, *options: str) -> None:
            stack.enter_context(ferretdb(folder / name, ports[name], *options))

        nowhere = ("--no-auth", "--listen-addr=")
        start("plain", "--no-auth", *listen(told.plain), *listen(told.tls, good))
        start("scram", *listen(told.scram), *listen(told.scram_tls, good))
        old = authority.sign("old", days=-1)
        start("expired", *nowhere, *listen(told.expired, old))
        other = authority.sign("other", "db.example.org")
        start("renamed", *nowhere, *listen(told.renamed, other))
        clients = f"--listen-tls-ca-file={authority.file}"
        start("mutual", *nowhere, clients, *listen(told.mutual, good))
        with pymongo.MongoClient[dict[str, Any]](told.url("mongodb://{plain}/")) as client:
            roles = [
                {"role": role, "db": "admin"} for role in ("readWriteAnyDatabase", "clusterAdmin")
            ]
            client.admin.command("createUser", told.user, pwd=PASSWORD, roles=roles)
            try:
                yield told
            finally:
                client.admin.command("dropUser", told.user)
                client.drop_database(told.database)
