"""Lengths that a named axis may have, for targets that must know them at export (Core ML, not ONNX)."""

from __future__ import annotations

from dataclasses import dataclass

from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Lengths

MOST_BUCKETS = 128  # Core ML's limit for enumerated shapes
LONGEST_BUCKET = 16384  # more would need gigabytes in one pass; longer input runs in chunks


@dataclass(frozen=True)
class Span:
    """Every length from `low` to `high`."""

    low: int
    high: int

    @property
    def smallest(self) -> int:
        return self.low

    @property
    def lengths(self) -> Lengths:
        """These lengths as the manifest holds them."""
        return Lengths(self.low, self.high)


@dataclass(frozen=True)
class Buckets:
    """Only these lengths, smallest first; whole numbers from 1 to 16384, else ConfigError."""

    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in self.sizes)
        if not whole or list(self.sizes) != sorted(set(self.sizes)) or not self.sizes:
            raise ConfigError(
                "buckets", got=str(list(self.sizes)), expected="ascending whole numbers above 0"
            )
        if len(self.sizes) > MOST_BUCKETS:
            raise ConfigError(
                "buckets",
                got=f"{len(self.sizes)} of them",
                expected=f"at most {MOST_BUCKETS}, Core ML's limit",
            )
        if self.sizes[-1] > LONGEST_BUCKET:
            raise ConfigError(
                "buckets",
                got=str(self.sizes[-1]),
                expected=f"at most {LONGEST_BUCKET}",
                cause="one pass would need gigabytes; longer input runs in chunks",
            )

    @property
    def smallest(self) -> int:
        return self.sizes[0]

    @property
    def lengths(self) -> Lengths:
        """These lengths as the manifest holds them."""
        return Lengths(self.sizes[0], self.sizes[-1], self.sizes)


Axis = Span | Buckets
