"""Report of an import: numbers of files, drawings and points, and the reasons for drops and repairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdnrnn.data.drawings import Remark
from mdnrnn.data.formats.svg_remarks import FILLS_ONLY
from mdnrnn.errors import DataError, quantity, shorten


@dataclass
class Report:
    """Statistics of an import."""

    files: int = 0
    """Number of files read."""
    read: int = 0
    """Number of drawings read."""
    kept: int = 0
    """Number of drawings in the corpus."""
    points: int = 0
    """Number of steps in the corpus."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Percentiles of the number of steps per drawing: name of the percentile (such as "50%") -> number of steps."""
    splits: dict[str, int] = field(default_factory=dict)
    """Number of drawings per split."""
    classes: int = 0
    """Number of classes."""
    dropped: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Dropped drawings: reason -> (number of drawings, details of the first one)."""
    repaired: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Repairs of drawings: reason -> (number of repairs, details of the first one)."""
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Content, such as pressure, that is in the files but not in the corpus: kind -> (number of items, details of the
    first file)."""
    bad_files: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Files that cannot be read: reason -> (number of files, details of the first one)."""
    notices: list[str] = field(default_factory=list)
    """Notices about the drawings as a whole, for example that the same ink was imported twice."""
    unknown_files: tuple[int, str] = (0, "")
    """Number of files of unknown format that were found in folders, and path of the first one."""
    unknown_kinds: dict[str, int] = field(default_factory=dict)
    """Files of unknown format: kind of their content, such as "PNG picture" -> number of files."""

    def ignore(self, path: Path, kind: str) -> None:
        """Count a file of unknown format.

        Args:
            path: the file.
            kind: what the file seems to contain, for example "PNG picture" or "text".
        """
        number, first = self.unknown_files
        self.unknown_files = (number + 1, first or shorten(str(path)))
        self.unknown_kinds[kind] = self.unknown_kinds.get(kind, 0) + 1

    def skip(self, error: DataError) -> None:
        """Count a file that cannot be read."""
        _count(self.bad_files, Remark("cannot be read", str(error)))

    def add_drawings(
        self, kept: int, dropped: Iterable[Remark], repaired: Iterable[Remark], lost: Iterable[Remark]
    ) -> None:
        """Add the counts of one chunk.

        Args:
            kept: number of drawings that are added to the corpus.
            dropped: one remark per dropped drawing.
            repaired: one remark per repair.
            lost: remarks on content of the files that the corpus does not contain.
        """
        self.kept += kept
        self.read += kept
        for remark in dropped:
            self.read += remark.count
            _count(self.dropped, remark)
        for remark in repaired:
            _count(self.repaired, remark)
        for remark in lost:
            _count(self.lost, remark)

    def describe_first_problem(self) -> str:
        """Return a suffix for error messages that names the first unreadable file or dropped drawing; "" if none."""
        for reason, (_, first) in {**self.bad_files, **self.dropped}.items():
            return f"; the first one dropped ({reason}): {first}"
        return ""

    def describe_fills(self) -> str:
        """Return a warning about SVG files with filled elements and no stroked elements; "" if there are none."""
        number, first = self.dropped.get(FILLS_ONLY, (0, ""))
        if not number:
            return ""
        files = quantity(number, "files")
        return shorten(f"not imported: {files} with filled areas and without strokes; first: {first}")


def _count(counts: dict[str, tuple[int, str]], remark: Remark) -> None:
    number, first = counts.get(remark.reason, (0, shorten(remark.detail)))
    counts[remark.reason] = (number + remark.count, first)


def length_percentiles(lengths: Counter[int]) -> dict[str, int]:
    """Return the percentiles 0, 5, 50, 95 and 100 of the sequence length, with keys such as "50%".

    Args:
        lengths: sequence length -> number of sequences.
    """
    values = np.array(sorted(lengths))
    cumulative = np.cumsum([lengths[value] for value in values.tolist()])
    return {f"{q}%": int(values[np.searchsorted(cumulative, q / 100 * cumulative[-1])]) for q in (0, 5, 50, 95, 100)}
