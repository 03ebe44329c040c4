"""Collects mistakes with their places, and puts pydantic's findings into sentences."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from fetcher.config.layers import DELIMITER, PREFIX, Layer, Spot, holds
from fetcher.config.places import Keys, dotted
from fetcher.config.schema import every_key, known_keys, model_at
from fetcher.config.settings import Settings
from fetcher.errors import Mistake

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Findings", "sentence", "unknown_key", "unknown_variable"]


class Findings:
    """All mistakes so far; `layers` stand in their precedence, the strongest first."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._found: list[tuple[int, int, Mistake]] = []
        self._bad: set[Keys] = set()

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """Each once, by source and in the order of the file."""
        found = sorted(self._found, key=lambda each: each[:2])
        return tuple(dict.fromkeys(mistake for _, _, mistake in found))

    def add(self, keys: Keys, message: str, layer: Layer | None = None) -> None:
        """A mistake at a key, which no further rule need look at."""
        layer = layer or self.layer_of(keys)
        spot = self._spot(layer, keys)
        text = message if spot.says_key or not keys else f"{dotted(keys)}: {message}"
        self.add_elsewhere(keys, Mistake(spot.text, text), layer)

    def add_elsewhere(self, keys: Keys, mistake: Mistake, layer: Layer | None = None) -> None:
        """A mistake that brings its own place, such as the line of a file that a key names."""
        layer = layer or self.layer_of(keys)
        rank = self._layers.index(layer) if layer in self._layers else len(self._layers)
        self._found.append((rank, self._spot(layer, keys).order, mistake))
        self._bad.add(keys)

    def mark(self, keys: Keys) -> None:
        """Says that a key is wrong for a reason that was added at another one."""
        self._bad.add(keys)

    def is_bad(self, *places: Keys, but: Keys | None = None) -> bool:
        """Whether a mistake was found at, in or around one of these places (`but` one of them)."""
        return any(
            keys[: len(bad)] == bad or bad[: len(keys)] == keys
            for keys in places
            for bad in self._bad - {but}
        )

    def layer_of(self, keys: Keys) -> Layer | None:
        """The source of the value, or of the nearest table around it."""
        for end in range(len(keys), 0, -1):
            for layer in self._layers:
                if holds(layer.tree, keys[:end]) or keys[:end] in layer.spots:
                    return layer
        return None

    def is_set(self, keys: Keys) -> bool:
        """Whether a value was written down anywhere, rather than left at its default."""
        return any(holds(layer.tree, keys) for layer in self._layers)

    @staticmethod
    def _spot(layer: Layer | None, keys: Keys) -> Spot:
        return layer.spot(keys) if layer is not None else Spot("settings")


def sentence(error: "ErrorDetails", *, is_environment: bool) -> str:
    """One finding of pydantic, for people; it never repeats a value."""
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(context["error"])
        case "bool_type":
            return "must be true or false"
        case "int_type" | "int_from_float":
            return "must be a whole number"
        case "float_type" | "finite_number":
            return "must be a number"
        case "string_type" | "string_unicode":
            return "must be text"
        case "tuple_type":
            return "must be a list" + (", written as JSON" if is_environment else "")
        case "model_type" | "model_attributes_type":
            return "must be a table" + (", written as JSON" if is_environment else "")
        case "greater_than_equal":
            return f"must be at least {context['ge']:g}"
        case _:
            return error["msg"].removeprefix("Input ")


def unknown_key(keys: Keys, *, is_environment: bool) -> str:
    """The sentence about a key that does not exist, with the one that may have been meant."""
    *above, name = keys
    model = model_at(tuple(above))
    siblings = known_keys(model) if model is not None else ()
    meant = list(_namesakes(str(name)))
    if len(meant) != 1:
        meant = [(*above, near) for near in get_close_matches(str(name), siblings, n=1)]
    if meant:
        return f"is no setting; did you mean {_written(meant[0], is_environment)}?"
    return f"is no setting; known here: {', '.join(siblings)}" if siblings else "is no setting"


def _namesakes(name: str) -> Iterator[Keys]:
    """Keys of other tables that have this name, or would have it joined with their table's."""
    for keys, _ in every_key():
        if name in (keys[-1], "_".join(map(str, keys)), dotted(keys)):
            yield keys


def unknown_variable(name: str) -> str | None:
    """The sentence about a ``FETCHER_…`` variable that sets nothing; None if it may be another's.

    Kubernetes gives each container ``FETCHER_PORT``, ``FETCHER_SERVICE_HOST`` and the like for a
    service of the name fetcher, so a name without the double underscore is refused only where it
    comes close to a setting:
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    tail = name[len(PREFIX) :].lower()
    first, delimiter, rest = tail.partition(DELIMITER)
    if delimiter:
        near = get_close_matches(first, list(Settings.model_fields), n=1)
        if near:
            hint = _written((near[0], *rest.split(DELIMITER)), True)
            return f"is no setting; did you mean {hint}?"
        return "is no setting"
    for keys, _ in every_key():
        if 0 not in keys and tail == "_".join(map(str, keys)):
            return f"is no setting; did you mean {_written(keys, True)}?"
    near = get_close_matches(tail, ["watch", "config"], n=1, cutoff=0.8)
    return f"is no setting; did you mean {PREFIX}{near[0].upper()}?" if near else None


def _written(keys: Keys, is_environment: bool) -> str:
    if is_environment and not any(isinstance(key, int) for key in keys):
        return PREFIX + DELIMITER.join(map(str, keys)).upper()
    return dotted(tuple(key for key in keys if not isinstance(key, int)))
