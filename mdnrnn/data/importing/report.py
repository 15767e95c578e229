"""What an import did: what it read, kept, left out and repaired, and where the first of each kind stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import Remark
from mdnrnn.errors import DataError


@dataclass
class Report:
    """What an import did."""

    files: int = 0
    read: int = 0
    """Records."""
    kept: int = 0
    points: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    """Steps a sequence: quantile -> T."""
    splits: dict[str, int] = field(default_factory=dict)
    classes: int = 0
    dropped: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Reason -> how many, and where the first stands."""
    repaired: dict[str, tuple[int, str]] = field(default_factory=dict)
    bad_files: dict[str, tuple[int, str]] = field(default_factory=dict)
    unknown_files: tuple[int, str] = (0, "")
    """Files in folders that no format knows: how many, and the first."""

    def pass_over(self, path: Path) -> None:
        """Count a file that no format knows."""
        number, first = self.unknown_files
        self.unknown_files = (number + 1, first or _in_a_line(str(path)))

    def skip(self, error: DataError) -> None:
        """Count a file that cannot be read."""
        _count(self.bad_files, Remark("cannot be read", str(error)))

    def count(self, kept: int, drops: Iterable[Remark], mends: Iterable[Remark]) -> None:
        """Take in what became of one chunk."""
        self.kept += kept
        self.read += kept
        for remark in drops:
            self.read += 1
            _count(self.dropped, remark)
        for remark in mends:
            _count(self.repaired, remark)

    def nothing(self) -> str:
        """Why there is nothing, for a message: the first of what was left out."""
        for reason, (_, first) in {**self.bad_files, **self.dropped}.items():
            return f"; the first left out, {reason}: {first}"
        return ""


def _count(counts: dict[str, tuple[int, str]], remark: Remark) -> None:
    number, first = counts.get(remark.reason, (0, _in_a_line(remark.detail)))
    counts[remark.reason] = (number + 1, first)


def _in_a_line(text: str) -> str:
    """Names of files may have several."""
    return " ".join(text.split())


def quantiles(lengths: Counter[int]) -> dict[str, int]:
    """T below which so many of a hundred sequences lie."""
    values = np.array(sorted(lengths))
    reached = np.cumsum([lengths[value] for value in values.tolist()])
    return {f"{q}%": int(values[np.searchsorted(reached, q / 100 * reached[-1])]) for q in (0, 5, 50, 95, 100)}
