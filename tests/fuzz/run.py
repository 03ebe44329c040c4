"""``python -m tests.fuzz.run NAME [-runs=N] [FOLDER…]``: fuzzes one target, guided by coverage.

All other arguments are libFuzzer's: https://llvm.org/docs/LibFuzzer.html#options. Without a folder
it starts from the seeds, in a temporary one that stays. The name `all` runs each target in turn,
chosen by the first byte.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["fetcher"]):
    from tests.fuzz.mutate import MOST, mutated
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS

__all__: list[str] = []

SLOW: Final = 5.0
"""Seconds of work that no input of this size may cost."""
_SMALL: Final = 3_000


def _all(data: bytes) -> None:
    names = sorted(TARGETS)
    if data:
        TARGETS[names[data[0] % len(names)]](data[1:])


def _seeds(name: str) -> Iterator[bytes]:
    """Of one target; of all of them the small ones, since each gets a part of the runs."""
    if name in TARGETS:
        yield from seeds(name)
        return
    for number, each in enumerate(sorted(TARGETS)):
        yield from (bytes([number]) + seed for seed in seeds(each) if len(seed) < _SMALL)


def _mutate(data: bytes, most: int, seed: int) -> bytes:
    """JSON that stays JSON every other time, bytes else."""
    changed = mutated(data, seed) if seed % 2 else None
    found = atheris.Mutate(data, most) if changed is None else changed
    return bytes(found[: min(most, MOST)])


def _timed(fuzzed: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        begun = time.process_time()
        fuzzed(data)
        if time.process_time() - begun > SLOW:
            raise TimeoutError

    return run


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, *rest = sys.argv[1:]
    if all(each.startswith("-") for each in rest):
        folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
        for number, seed in enumerate(_seeds(name)):
            (folder / f"seed-{number}").write_bytes(seed)
        rest.append(str(folder))
    # With a mutator of our own nobody awaits libFuzzer's alarm, which would end it; see `_timed`.
    atheris.Setup(
        [sys.argv[0], *rest, "-timeout=1000000"],
        _timed(TARGETS.get(name, _all)),
        custom_mutator=_mutate,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
