"""How long to wait before a request is tried again."""

from collections.abc import Callable

__all__ = ["Uniform", "backoff"]

Uniform = Callable[[float, float], float]
"""A random number between two bounds, such as `random.uniform`."""


def backoff(
    attempt: int,
    uniform: Uniform,
    *,
    base: float = 1.0,
    cap: float = 60.0,
    asked: float | None = None,
) -> float:
    """Seconds before try `attempt` + 1 (the first try is 1), with full jitter.

    Never shorter than what the server `asked` for; then the jitter comes on top, so that not
    all who were told the same come back at once.
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    ceiling = min(cap, base * 2.0 ** min(attempt - 1, 32))
    if asked is not None:
        return max(0.0, asked) + uniform(0.0, min(base, ceiling))
    return uniform(0.0, ceiling)
