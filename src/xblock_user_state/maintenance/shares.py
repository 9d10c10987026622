"""Shares of all learners: a part of several, or a sample. Both follow from a learner's id alone.

The text of the id has a CRC-32. Its remainder by the number of parts names the part, and its place among all values
the sample. So a learner is in the same part, and in the same sample, in each run and on each machine; and a sample of a
part is a part of the sample.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

_VALUES = 1 << 32


@dataclass(frozen=True)
class Share:
    """The learners of one of some parts, counted from 1, and of these a percentage."""

    part: int = 1
    parts: int = 1
    percent: float = 100

    def has(self, student_id: Any) -> bool:
        """Tell whether the learner with this id is in the share."""
        number = zlib.crc32(str(student_id).encode())
        # The quotient does not depend on the remainder, so parts have samples of one size.
        return number % self.parts == self.part - 1 and number // self.parts < self._bound

    @property
    def is_all(self) -> bool:
        """Tell whether it is all learners."""
        return self == ALL_LEARNERS

    @property
    def _bound(self) -> float:
        return _VALUES / self.parts * self.percent / 100

    def __str__(self) -> str:
        part = "" if self.parts == 1 else f"part {self.part}/{self.parts}"
        sample = "" if self.percent == 100 else f"a sample of {self.percent:g}%"
        return ", ".join(filter(None, (part, sample))) or "all learners"


ALL_LEARNERS = Share()


def share_of(part: str | None, sample: str | None) -> Share:
    """Return the share that ``2/8`` and ``1%`` name. Raises ``ValueError``."""
    number, parts, percent = 1, 1, 100.0
    if part is not None:
        found = re.fullmatch(r"(\d+)/(\d+)", part)
        number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
        if not 1 <= number <= parts:
            raise ValueError(f"{part!r} is not a part, such as 2/8")
    if sample is not None:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)%", sample)
        percent = float(found[1]) if found else 0
        if not 0 < percent <= 100:
            raise ValueError(f"{sample!r} is not a sample, such as 1%")
    return Share(number, parts, percent)
