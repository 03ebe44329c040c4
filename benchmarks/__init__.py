"""Scripts that measure; run one with ``python benchmarks/NAME.py``."""
