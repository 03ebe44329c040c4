"""Who may import whom: one direction of flow, no circles, drivers behind one door each."""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import fetcher

PACKAGE = Path(fetcher.__file__).parent

# Every room may import errors, documents, models and targets, and the standard library.
EVERYBODY = {
    "fetcher.databases",
    "fetcher.errors",
    "fetcher.documents",
    "fetcher.models",
    "fetcher.targets",
    "fetcher",
}

# Room → what else it may import: other rooms, and libraries by their top-level name. The longest
# matching room counts.
ROOMS: Mapping[str, set[str]] = {
    "fetcher": {"fetcher.reader"},
    "fetcher.errors": set(),
    "fetcher.databases": {"fetcher.databases"},
    "fetcher.documents": {"orjson", "typing_extensions"},
    "fetcher.targets": set(),
    "fetcher.models": set(),
    "fetcher.alignment": set(),
    "fetcher.clock": set(),
    "fetcher.comparison": {"fetcher.alignment"},
    "fetcher.fan": set(),
    "fetcher.shield": {"structlog"},
    "fetcher.log": {"fetcher.policy.secrecy", "structlog"},
    "fetcher.config": {"fetcher.config", "pydantic", "pydantic_settings", "pydantic_core"},
    "fetcher.policy": {"fetcher.policy"},
    "fetcher.gate": {"fetcher.policy"},
    "fetcher.redirects": {"fetcher.policy.wire", "aiohttp", "yarl"},
    "fetcher.border": {"fetcher.policy.wire", "aiohttp"},
    "fetcher.transport": {
        "fetcher.border",
        "fetcher.gate",
        "fetcher.policy",
        "fetcher.redirects",
        "aiohttp",
        "tenacity",
        "yarl",
    },
    "fetcher.sources": {
        "isal",
        "fetcher.sources",
        "fetcher.fan",
        "fetcher.gate",
        "fetcher.policy",
        "fetcher.transport",
        "pydantic",
    },
    "fetcher.sources.credentials": {
        "fetcher.gate",
        "fetcher.policy",
        "fetcher.transport",
        "jwt",
        "pydantic",
    },
    "fetcher.store": {"fetcher.store", "fetcher.policy.digest", "fetcher.shield"},
    "fetcher.store.sqlite": {"fetcher.store", "fetcher.shield", "aiosqlite"},
    "fetcher.store.sqlite_leases": {"fetcher.store", "fetcher.shield", "aiosqlite"},
    "fetcher.store.sqlite_reader": {"fetcher.store", "aiosqlite"},
    "fetcher.store.mongo": {"fetcher.store", "motor", "pymongo", "bson"},
    "fetcher.store.mongodb": {"fetcher.store", "bson", "pymongo"},
    "fetcher.cursors": {"fetcher.store.protocol"},
    "fetcher.archive": {
        "fetcher.store.protocol",
        "fetcher.store.states",
        "fetcher.store.times",
    },
    "fetcher.reader": {"fetcher.clock", "fetcher.cursors", "fetcher.store"},
    "fetcher.told": {"fetcher.gate"},
    "fetcher.virtool": {"typing_extensions"},
    "fetcher.keeper": {
        "fetcher.config",
        "fetcher.shield",
        "fetcher.store.protocol",
        "fetcher.watches",
    },
    "fetcher.assets": {"fetcher.policy"},
    "fetcher.parts": set(),
    "fetcher.download": {
        "fetcher.assets",
        "fetcher.fan",
        "fetcher.gate",
        "fetcher.leases",
        "fetcher.parts",
        "fetcher.policy",
        "fetcher.shield",
        "fetcher.transport",
    },
    "fetcher.leases": {"fetcher.shield", "fetcher.store.protocol"},
    "fetcher.aftermath": {"fetcher.policy.rhythm"},
    "fetcher.refresh": {
        "fetcher.aftermath",
        "fetcher.fan",
        "fetcher.leases",
        "fetcher.shield",
        "fetcher.store.protocol",
        "structlog",
    },
    "fetcher.accounts": {
        "fetcher.config",
        "fetcher.gate",
        "fetcher.policy",
        "fetcher.sources",
        "fetcher.transport",
    },
    "fetcher.timetable": {"fetcher.config", "fetcher.policy"},
    "fetcher.plan": {
        "fetcher.accounts",
        "fetcher.config",
        "fetcher.gate",
        "fetcher.policy",
        "fetcher.sources",
        "fetcher.store.protocol",
        "fetcher.timetable",
    },
    "fetcher.relay": {"fetcher.refresh", "fetcher.shield", "fetcher.store.protocol"},
    "fetcher.nudge": {"fetcher.shield", "fetcher.store.protocol", "structlog"},
    "fetcher.standing": {"fetcher.gate", "fetcher.policy", "structlog"},
    "fetcher.asked": {
        "fetcher.gate",
        "fetcher.refresh",
        "fetcher.shield",
        "fetcher.standing",
        "fetcher.store.protocol",
        "fetcher.timetable",
    },
    "fetcher.moves": {
        "fetcher.accounts",
        "fetcher.standing",
        "fetcher.store.protocol",
        "structlog",
    },
    "fetcher.supervise": {"structlog"},
    "fetcher.watches": {"fetcher.store.protocol"},
    "fetcher.scheduler": {
        "fetcher.asked",
        "fetcher.gate",
        "fetcher.leases",
        "fetcher.policy",
        "fetcher.refresh",
        "fetcher.shield",
        "fetcher.standing",
        "fetcher.store.protocol",
        "fetcher.timetable",
        "structlog",
    },
    "fetcher.service": {
        "fetcher.accounts",
        "fetcher.border",
        "fetcher.config",
        "fetcher.download",
        "fetcher.gate",
        "fetcher.leases",
        "fetcher.refresh",
        "fetcher.relay",
        "fetcher.shield",
        "fetcher.standing",
        "fetcher.store",
        "fetcher.timetable",
        "fetcher.transport",
        "structlog",
    },
    "fetcher.daemon": {
        "fetcher.accounts",
        "fetcher.config",
        "fetcher.gate",
        "fetcher.keeper",
        "fetcher.metrics",
        "fetcher.moves",
        "fetcher.notify",
        "fetcher.nudge",
        "fetcher.policy",
        "fetcher.reader",
        "fetcher.refresh",
        "fetcher.scheduler",
        "fetcher.service",
        "fetcher.shield",
        "fetcher.store",
        "fetcher.supervise",
        "fetcher.timetable",
        "fetcher.transport",
        "fetcher.watches",
        "fetcher.web",
        "structlog",
    },
    "fetcher.notify": set(),
    "fetcher.metrics": {"prometheus_client"},
    "fetcher.web": {
        "fetcher.web",
        "fetcher.metrics",
        "fetcher.reader",
        "fetcher.store.protocol",
        "fetcher.store.states",
        "fetcher.told",
        "aiohttp",
        "aiohttp_sse",
        "isal",
        "jinja2",
        "pydantic",
        "structlog",
    },
    "fetcher.demo": {"fetcher.demo", "aiohttp"},
    "fetcher.demo.github_apps": {"fetcher.demo", "jwt"},
    "fetcher.demo.graphql": {"fetcher.demo", "graphql"},
    "fetcher.cli": {
        "fetcher.alignment",
        "fetcher.archive",
        "fetcher.comparison",
        "fetcher.policy.capacity",
        "fetcher.accounts",
        "fetcher.assets",
        "fetcher.cli",
        "fetcher.clock",
        "fetcher.config",
        "fetcher.daemon",
        "fetcher.demo",
        "fetcher.download",
        "fetcher.gate",
        "fetcher.keeper",
        "fetcher.log",
        "fetcher.plan",
        "fetcher.reader",
        "fetcher.refresh",
        "fetcher.service",
        "fetcher.shield",
        "fetcher.standing",
        "fetcher.store",
        "fetcher.timetable",
        "fetcher.told",
        "fetcher.watches",
        "rich",
        "structlog",
        "typer",
    },
}

# The drivers, and the only modules that may import them.
DOORS: Mapping[str, tuple[str, ...]] = {
    "motor": ("fetcher.store.mongo",),
    "aiosqlite": (
        "fetcher.store.sqlite",
        "fetcher.store.sqlite_leases",
        "fetcher.store.sqlite_reader",
    ),
    "tenacity": ("fetcher.transport",),
    "aiohttp": (
        "fetcher.border",
        "fetcher.transport",
        "fetcher.redirects",
        "fetcher.demo",
        "fetcher.web",
    ),
    "jwt": ("fetcher.demo.github_apps", "fetcher.sources.credentials"),
    # In the dev extra: the demo works without it, as long as nobody asks it a query.
    "graphql": ("fetcher.demo.graphql",),
    "prometheus_client": ("fetcher.metrics",),
    "typer": ("fetcher.cli",),
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ("fetcher", *path.relative_to(PACKAGE).with_suffix("").parts)
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            # `from fetcher import documents` imports a module, not a name.
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if (PACKAGE.parent / node.module.replace(".", "/") / f"{alias.name}.py").exists()
            )


def under(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(module: str) -> str:
    return max((room for room in ROOMS if under(module, room)), key=len)


@pytest.mark.parametrize(("module", "path"), list(modules()))
def test_every_room_imports_only_what_it_may(module: str, path: Path) -> None:
    """The table above is the design; an import beyond it needs a reason there first."""
    room = room_of(module)
    assert room != "fetcher" or module == "fetcher", f"{module} stands in no room"
    allowed = ROOMS[room] | EVERYBODY
    for name in imports(path):
        top = name.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        fine = name == "fetcher" or any(under(name, each) for each in allowed if each != "fetcher")
        assert fine, f"{module} may not import {name}"


@pytest.mark.parametrize(("library", "doors"), list(DOORS.items()))
def test_a_driver_has_one_door(library: str, doors: tuple[str, ...]) -> None:
    """What wraps a library is the only place that knows it."""
    for module, path in modules():
        if any(under(name, library) for name in imports(path)):
            assert any(under(module, door) for door in doors), f"{module} imports {library}"


def test_there_is_no_circle() -> None:
    """Imports at module level form no circle."""
    graph = {
        module: {
            name
            for name in imports(path)
            if name.startswith("fetcher") and name not in (module, "fetcher")
        }
        for module, path in modules()
    }
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join((*above, module))
        if module in done:
            return
        for name in graph.get(module, ()):
            visit(name, (*above, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def test_no_room_is_a_drawer() -> None:
    """A module has one job; there is no utils, and none is far beyond a good size."""
    for module, path in modules():
        assert module.rpartition(".")[2] not in {"utils", "util", "helpers", "misc"}
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 500, f"{module} has {lines} lines"
