"""The grammar of targets: what a person writes, and the one canonical key it stands for.

=============================  =====================================================
``github:OWNER/REPO``          all releases of a repository (short: ``OWNER/REPO``)
``ncbi:nuccore/ACC``           a record by accession or UID (short: ``ACC``)
``ncbi:protein/ACC``           likewise
``ncbi:nuccore?QUERY``         every record that an Entrez query finds
``ncbi:taxonomy/TAXID``        a taxon
``ncbi:genome/GCF_…``          a genome report
``ncbi:bioproject/PRJNA…``     a summary (see `fetcher.databases`)
=============================  =====================================================
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from fetcher.databases import SUMMARY_DATABASES
from fetcher.errors import TargetError

__all__ = ["Target", "Upstream", "parse_target", "parse_targets", "split_targets"]

Upstream = Literal["github", "ncbi"]

_SEQUENCE_DATABASES = ("nuccore", "protein")
_DATABASES = (*_SEQUENCE_DATABASES, "taxonomy", "genome", *SUMMARY_DATABASES)

# https://docs.github.com/en/rest/repos/repos: logins are letters, digits and single hyphens
# (at most 39; managed users have an underscore); repository names are letters, digits, and -_.
_OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38})", re.ASCII)
_REPOSITORY = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._-]{1,100}", re.ASCII)
# Accessions go far beyond a list of known prefixes (1+5, 2+6, 2+8, 3+5, 3+7, 4+8, 6+9, XX_ + 6
# or 9, PDB's 1ABC_A, UniProt's), so whatever holds a digit and is made of their characters may
# be one: https://www.ncbi.nlm.nih.gov/genbank/acc_prefix/
_ACCESSION = re.compile(r"(?=[A-Za-z_]*[0-9])[A-Za-z0-9_]{1,32}(?:\.[0-9]{1,4})?", re.ASCII)
_GENOME = re.compile(r"GC[AF]_[0-9]{9}(?:\.[0-9]{1,3})?", re.ASCII | re.IGNORECASE)
_TAXID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
_CANONICAL = re.compile(r"([a-z]+)([/?])(.+)", re.DOTALL)
_MAX_QUERY = 8192


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """What to keep current.

    `database` is empty for GitHub. `name` is ``OWNER/REPO``, an accession, a UID, a taxid, or
    the Entrez query where `is_query` is true.

    `key` is the canonical form, in the spelling that this value holds; `fold` is the key without
    its case where the upstream has none: equal for equal targets.
    """

    upstream: Upstream
    database: str
    name: str
    is_query: bool = False
    key: str = field(init=False, repr=False, compare=False)
    fold: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Made once: they are looked up by a dozen times in each poll.
        if self.upstream == "github":
            key = f"github:{self.name}"
            fold = key.lower()
        else:
            fold = key = f"ncbi:{self.database}{'?' if self.is_query else '/'}{self.name}"
        object.__setattr__(self, "key", key)
        object.__setattr__(self, "fold", fold)

    def __hash__(self) -> int:
        return hash(self.key)

    def __str__(self) -> str:
        return self.key

    @classmethod
    def of(cls, key: str) -> "Target":
        """The target of a key that is known to be canonical, such as a stored one."""
        upstream, _, rest = key.partition(":")
        if upstream == "github":
            return cls("github", "", rest)
        if (found := _CANONICAL.fullmatch(rest)) is None:
            return parse_target(key)
        database, mark, name = found.groups()
        return cls("ncbi", database, name, mark == "?")


def split_targets(text: str) -> tuple[str, ...]:
    """The targets written in one word: ``ncbi:nuccore/A,B`` is two, all else is one."""
    text = text.strip()
    head, slash, names = text.partition("/")
    if slash and "," in names and "?" not in head and head.lower().startswith("ncbi:"):
        return tuple(f"{head}/{name.strip()}" for name in names.split(","))
    return (text,)


def parse_targets(text: str) -> tuple[Target, ...]:
    """The targets of `split_targets`, parsed, each once.

    Raises `TargetError` for a string that cannot be a target.
    """
    return tuple(dict.fromkeys(map(parse_target, split_targets(text))))


def parse_target(text: str) -> Target:
    """One target; raises `TargetError` for a string that cannot be one."""
    text = text.strip()
    if not text:
        raise TargetError(text, "it is empty")
    if not text.isprintable():
        raise TargetError(text, "it holds control characters")
    scheme, colon, rest = text.partition(":")
    if colon and "/" not in scheme and "[" not in scheme and "." not in scheme:
        match scheme.lower():
            case "github":
                return _github(text, rest)
            case "ncbi":
                return _ncbi(text, rest)
            case _:
                raise TargetError(text, f"unknown upstream {scheme!r}; write github:… or ncbi:…")
    if "/" in text:
        return _github(text, text)
    return _accession(text, "nuccore", text)


def _github(text: str, name: str) -> Target:
    parts = name.split("/")
    if len(parts) != 2:
        raise TargetError(text, "a repository is written github:OWNER/REPO")
    owner, repository = parts
    if not _OWNER.fullmatch(owner):
        raise TargetError(text, f"{owner!r} cannot be a GitHub user or organisation")
    if not _REPOSITORY.fullmatch(repository):
        raise TargetError(text, f"{repository!r} cannot be a GitHub repository name")
    return Target("github", "", f"{owner}/{repository}")


def _ncbi(text: str, rest: str) -> Target:
    cut = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=-1)
    if cut < 0:
        raise TargetError(text, "write ncbi:DATABASE/ACCESSION or ncbi:DATABASE?QUERY")
    database, separator, name = rest[:cut].lower(), rest[cut], rest[cut + 1 :]
    if database not in _DATABASES:
        known = ", ".join(_DATABASES)
        raise TargetError(text, f"unknown database {database!r}; known are {known}")
    if separator == "?":
        if database not in _SEQUENCE_DATABASES:
            raise TargetError(text, f"{database} takes no query")
        query = " ".join(name.split())
        if not query:
            raise TargetError(text, "the query is empty")
        if len(query) > _MAX_QUERY:
            raise TargetError(text[:60] + "…", f"the query is longer than {_MAX_QUERY} characters")
        return Target("ncbi", database, query, is_query=True)
    if database == "taxonomy":
        if not _TAXID.fullmatch(name):
            raise TargetError(text, f"{name!r} cannot be a taxid, which is a positive number")
        return Target("ncbi", database, name)
    if database == "genome":
        if not _GENOME.fullmatch(name):
            raise TargetError(text, f"{name!r} cannot be an assembly accession (GCF_… or GCA_…)")
        return Target("ncbi", database, name.upper())
    if (summaries := SUMMARY_DATABASES.get(database)) is not None:
        if not summaries.accession.fullmatch(name.upper()):
            example = summaries.example
            raise TargetError(text, f"{name!r} cannot be a {database} accession ({example})")
        return Target("ncbi", database, name.upper())
    return _accession(text, database, name)


def _accession(text: str, database: str, name: str) -> Target:
    if not _ACCESSION.fullmatch(name):
        raise TargetError(text, f"{name!r} cannot be an accession or UID")
    return Target("ncbi", database, name.upper())
