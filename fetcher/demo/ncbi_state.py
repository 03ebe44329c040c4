"""What the local NCBI holds: records with all their versions, taxa, saved searches, limits."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

from fetcher.demo.flat import Header, insert_comment, mutated, read_header, redated
from fetcher.demo.limits import SlidingWindow
from fetcher.demo.ncbi_taxonomy import Taxon
from fetcher.demo.synthetic import synthetic_genbank

__all__ = ["Entry", "NcbiState", "Status"]

Status: TypeAlias = Literal["live", "replaced", "suppressed", "withdrawn"]
Database: TypeAlias = dict[str, list["Entry"]]

_WORD: Final = re.compile(r"[a-z0-9_.]+")


@dataclass
class Entry:
    """One version of one record; `flat` ends with the ``//`` line.

    `brief`, where there is one, is what ``rettype=gb`` gives instead (a chromosome without its
    features). What is not `searchable` is found by its accession only. A withdrawn record that
    is not `fetchable` is as good as unknown.
    """

    uid: int
    flat: bytes = field(repr=False)
    header: Header
    mdat: date
    status: Status = "live"
    replaced_by: str | None = None
    searchable: bool = True
    fetchable: bool = True
    brief: bytes | None = field(default=None, repr=False)

    @property
    def accession_version(self) -> str:
        """``NC_003355.1``."""
        return f"{self.header.accession}.{self.header.version}"

    @cached_property
    def words(self) -> frozenset[str]:
        """The words that a search over all fields finds it by."""
        head = self.header
        text = " ".join((head.definition, head.organism, *head.lineage, head.keywords))
        names = (head.accession, self.accession_version, *head.secondary)
        return frozenset(_WORD.findall(text.lower())) | {name.lower() for name in names}


class NcbiState:
    """Records, keys and the rules that are in force; all settings may be changed at any time.

    `api_keys` are the known keys and their requests a second. `violations` are the times at
    which more than the limit had arrived within a second. `limit_status` is 429, or 200 as it
    has been seen too; without `enforce` violations are only noted. `blocked` switches the block
    page on. `taxa` are the known ones by taxid, `busiest` the most requests in any second,
    `today` the day that changes bear.

    `reach` is how far a search or a kept result can be paged, `fetch_at_most` and
    `summary_at_most` how many records one call may ask for. `urlencoded_errors` encodes the
    "F a i l e d" texts; with `inline_errors` an id that can be none leaves its error among the
    records, instead of refusing them all; `raw_newlines` breaks the JSON of search errors.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.today: Callable[[], date] = self._today
        self.databases: dict[str, Database] = {"nuccore": {}, "protein": {}}
        self.taxa: dict[int, Taxon] = {}
        self.genomes: dict[str, dict[str, Any]] = {}
        self.projects: dict[int, dict[str, Any]] = {}
        self.reports_at_most = 1_000
        self.api_keys: dict[str, int] = {}
        self.limit_without_key = 3
        self.limit_status = 429
        self.retry_after: int | None = 1
        self.enforce = True
        self.blocked = False
        self.blocked_status = 403
        self.reach = 10_000
        self.fetch_at_most = 9_999
        self.summary_at_most = 500
        self.urlencoded_errors = False
        self.inline_errors = False
        self.raw_newlines = True
        self.violations: list[float] = []
        self.busiest: int = 0
        self._uids: dict[str, dict[int, Entry]] = {"nuccore": {}, "protein": {}}
        self._owners: dict[str, dict[str, str]] = {"nuccore": {}, "protein": {}}
        self._last_uid = 1_700_000_000
        self._history: dict[str, list[tuple[str, tuple[Entry, ...]]]] = {}
        self._environments = 0
        self._windows: dict[str, SlidingWindow] = {}

    # --- records ----------------------------------------------------------------------------

    def add(
        self,
        database: str,
        flat: str | bytes,
        uid: int | None = None,
        mdat: date | None = None,
        status: Status = "live",
        replaced_by: str | None = None,
        *,
        searchable: bool = True,
        brief: str | bytes | None = None,
    ) -> Entry:
        """A record, or another version of one; `mdat` is the date in LOCUS unless given."""
        data = _text(flat).rstrip() + b"\n"
        header = read_header(data)
        if uid is None:
            self._last_uid += 1
        entry = Entry(
            uid=self._last_uid if uid is None else uid,
            flat=data,
            header=header,
            mdat=_day(mdat) if mdat is not None else header.updated,
            status=status,
            replaced_by=replaced_by,
            searchable=searchable,
            brief=None if brief is None else _text(brief).rstrip() + b"\n",
        )
        versions = self.databases[database].setdefault(header.accession.upper(), [])
        versions[:] = [each for each in versions if each.header.version != header.version]
        versions.append(entry)
        versions.sort(key=lambda each: each.header.version)
        self._uids[database][entry.uid] = entry
        for name in header.secondary:
            self._owners[database][name.upper()] = header.accession.upper()
        return entry

    def get(self, accession: str, database: str = "nuccore") -> Entry:
        """The record by accession, with or without version; else `KeyError`."""
        found = self.find(database, accession)
        if found is None:
            raise KeyError(accession)
        return found

    def find(self, database: str, name: str) -> Entry | None:
        """The record that a UID, an accession.version or an accession stands for.

        Without a version it is the newest one. A secondary accession stands for the record that
        owns it, unless a live record has that name.
        """
        if name.isdecimal():
            return self._uids[database].get(int(name))
        accession, _, version = name.upper().partition(".")
        versions = self.databases[database].get(accession, [])
        if version:
            return next((each for each in versions if str(each.header.version) == version), None)
        owner = self._owners[database].get(accession)
        if owner is not None and not (versions and versions[-1].status == "live"):
            versions = self.databases[database].get(owner, versions)
        return versions[-1] if versions else None

    def current(self, database: str) -> list[Entry]:
        """The records that a search goes over: live ones in their newest version, newest first."""
        found = (
            versions[-1]
            for versions in self.databases[database].values()
            if versions and versions[-1].status == "live" and versions[-1].searchable
        )
        return sorted(found, key=lambda each: each.uid, reverse=True)

    def remove(self, accession: str, database: str = "nuccore") -> None:
        """The record with all its versions was never there."""
        for entry in self.databases[database].pop(accession.upper().partition(".")[0]):
            del self._uids[database][entry.uid]

    def bump(self, accession: str, database: str = "nuccore") -> Entry:
        """A new version with another sequence and today's date; the old one says so."""
        old, today = self.get(accession, database), self.today()
        version = old.header.version + 1
        new = self.add(database, mutated(old.flat, version, today))
        self._replaced(old, new.accession_version)
        return new

    def edit(self, accession: str, old: str, new: str, database: str = "nuccore") -> Entry:
        """The same version with another annotation (`old` becomes `new`) and today's date."""
        entry, today = self.get(accession, database), self.today()
        if old.encode() not in entry.flat:
            raise ValueError(f"{accession} has no {old!r}")
        entry.flat = redated(entry.flat.replace(old.encode(), new.encode()), today)
        entry.header = read_header(entry.flat)
        entry.mdat = today
        entry.__dict__.pop("words", None)
        return entry

    def suppress(self, accession: str, database: str = "nuccore") -> Entry:
        """No search finds it any more; by its accession it can still be got."""
        return self._ended(accession, database, "suppressed")

    def withdraw(
        self, accession: str, database: str = "nuccore", *, fetchable: bool = False
    ) -> Entry:
        """It is gone: no search finds it, and only its summary can still be got."""
        entry = self._ended(accession, database, "withdrawn")
        entry.fetchable = fetchable
        return entry

    def replace(self, accession: str, by: str, database: str = "nuccore") -> Entry:
        """Another record stands in its place; asked for by its version it still comes."""
        new = self.get(by, database)
        entry = self._ended(accession, database, "replaced")
        self._replaced(entry, new.accession_version)
        self._owners[database][entry.header.accession.upper()] = new.header.accession.upper()
        return entry

    def populate(
        self,
        records: int = 10_000,
        *,
        length: int = 600,
        database: str = "nuccore",
        prefix: str = "ZZ",
        organism: str = "Synthetic mottle virus",
        taxid: int = 12242,
        days: Sequence[str] = ("01-JAN-2024",),
    ) -> list[str]:
        """Many records ``ZZ000001.1`` …, dated `days` in turn, and their accession.versions."""
        molecule = "AA" if database == "protein" else "ss-RNA"
        return [
            self.add(
                database,
                synthetic_genbank(
                    f"{prefix}{n + 1:06d}",
                    length=length,
                    organism=organism,
                    taxid=taxid,
                    molecule=molecule,
                    date=days[n % len(days)],
                ),
            ).accession_version
            for n in range(records)
        ]

    def add_taxon(self, taxon: Taxon) -> None:
        """A taxon, or another state of one; the taxids that became it are none any more."""
        self.taxa[taxon.taxid] = taxon
        for merged in taxon.merged:
            self.taxa[merged] = taxon

    def lineage(self, taxid: int) -> list[Taxon]:
        """The taxon and those above it, as far as they are known."""
        found: list[Taxon] = []
        while (taxon := self.taxa.get(taxid)) is not None and taxon not in found:
            found.append(taxon)
            taxid = taxon.parent
        return found

    def add_genome(self, report: Mapping[str, Any]) -> None:
        """A genome report, or another state of one."""
        self.genomes[report["accession"]] = dict(report)

    def genomes_of(self, name: str, *, every: bool) -> list[dict[str, Any]]:
        """The report of one version; without a version those that are current, or `every` one."""
        if "." in name:
            found = [self.genomes[name]] if name in self.genomes else []
        else:
            found = [each for key, each in self.genomes.items() if key.partition(".")[0] == name]
        return [
            each for each in found if every or each["assembly_info"]["assembly_status"] == "current"
        ]

    def add_project(self, accession: str, **fields: object) -> None:
        """A BioProject's summary; its UID is the number of its accession."""
        uid = int("".join(c for c in accession if c.isdecimal()))
        self.projects[uid] = {"project_acc": accession, **fields}

    # --- the history server -----------------------------------------------------------------

    def remember(
        self, database: str, entries: Iterable[Entry], webenv: str = ""
    ) -> tuple[str, str]:
        """Keeps a result; gives WebEnv and query key."""
        if webenv not in self._history:
            self._environments += 1
            webenv = f"MCID_66198254cf40a865a7{self._environments:06x}"
        saved = self._history.setdefault(webenv, [])
        saved.append((database, tuple(entries)))
        return webenv, str(len(saved))

    def recall(self, database: str, webenv: str, query_key: str) -> Sequence[Entry] | None:
        """A result that was kept; None where it is unknown or has expired."""
        saved = self._history.get(webenv, [])
        at = int(query_key) - 1 if query_key.isdecimal() else -1
        if not 0 <= at < len(saved) or saved[at][0] != database:
            return None
        return saved[at][1]

    def expire_history(self, webenv: str | None = None) -> None:
        """The history server forgets one result, or all."""
        if webenv is None:
            self._history.clear()
        else:
            self._history.pop(webenv, None)

    # --- limits -----------------------------------------------------------------------------

    def arrive(self, who: str, limit: int, now: float) -> tuple[int, bool]:
        """Counts a request: how many came within a second with this one, and if it is too many.

        https://www.ncbi.nlm.nih.gov/books/NBK25497/
        """
        window = self._windows.setdefault(who, SlidingWindow(limit, 1.0))
        count = window.count(now) + 1
        self.busiest = max(self.busiest, count)
        if count > limit:
            self.violations.append(now)
            if self.enforce:
                return count, True
        window.spend(now)
        return count, False

    def forget_limits(self) -> None:
        """Nobody has asked anything yet."""
        self._windows.clear()

    def _ended(self, accession: str, database: str, status: Status) -> Entry:
        entry = self.get(accession, database)
        entry.status, entry.mdat = status, self.today()
        return entry

    def _replaced(self, old: Entry, by: str) -> None:
        today = self.today()
        old.status, old.replaced_by = "replaced", by
        # So it stands on top of the flat files of replaced records.
        warning = f"[WARNING] On {today:%b %d, %Y} this sequence was replaced by\n{by}."
        old.flat = insert_comment(old.flat, warning)

    def _today(self) -> date:
        return datetime.fromtimestamp(self.now(), UTC).date()


def _text(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _day(day: date) -> date:
    return day.date() if isinstance(day, datetime) else day
