"""Ranges of numeric options, written in their annotations, such as `steps: Count = 100`."""

import dataclasses
import math
from typing import Annotated, Any

from rnn_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Range:
    """The valid values of a number; NaN and infinity never are.

    Attributes:
      at_least: smallest valid value, or None.
      above: largest value that is too small, or None.
      at_most: largest valid value, or None.
      below: smallest value that is too large, or None.
    """

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def violated(self, value: float) -> str | None:
        """The bound that `value` violates, in words, or None."""
        if self.at_least is not None and not value >= self.at_least:
            return f"at least {self.at_least}"
        if self.above is not None and not self.above < value < math.inf:
            return f"above {self.above}"
        if self.at_most is not None and not value <= self.at_most:
            return f"at most {self.at_most:,}"
        if self.below is not None and not value < self.below:
            return f"below {self.below:,}"
        return None if math.isfinite(value) else "finite"


Count = Annotated[int, Range(at_least=1)]
Size = Annotated[int, Range(at_least=1, at_most=10**6)]
Natural = Annotated[int, Range(at_least=0)]
Finite = Annotated[float, Range()]
Positive = Annotated[float, Range(above=0)]
NonNegative = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, below=1)]


def check_ranges(config: Any) -> None:
    """Raise InputError, naming the flag, unless every field of a dataclass is in its range."""
    for field in dataclasses.fields(config):
        for note in getattr(field.type, "__metadata__", ()):
            value = getattr(config, field.name)
            expected = note.violated(value) if isinstance(note, Range) else None
            if expected:
                raise InputError(f"{flag(field.name)} must be {expected}, got {value}.")


def flag(name: str) -> str:
    """The flag of the field `name` of a config."""
    return f"--{name.replace('_', '-')}"
