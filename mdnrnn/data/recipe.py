"""What is done to drawings on their way into a corpus: shape, selection, labels, division into splits."""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mdnrnn.data import formats
from mdnrnn.data.corpus import SPLITS
from mdnrnn.data.drawings import Drawings
from mdnrnn.errors import InputError

DEFAULT_SPLIT = "0.9,0.05,0.05"
_ROUNDED_BOX = 16.0


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to drawings on their way into a corpus, in this order."""

    format: str | None = None
    """Take all files for this format, in folders those with its ending; by default each is recognised."""
    box: float | None = None
    """Move each drawing to 0 and scale it so that its longer side is this long, 255 say."""
    resample: float | None = None
    """Put points at equal distances along each stroke, at most this far apart."""
    simplify: float | None = None
    """Keep the points that Ramer, Douglas and Peucker keep at this tolerance; Quick, Draw! uses 2 in a box of 255."""
    grid: float | None = None
    """Round coordinates to multiples of this; by default 1 in a box of 16 or more, else not at all. 0: not at all."""
    min_points: int = 1
    """Leave out drawings of fewer steps."""
    max_points: int | None = None
    """Leave out drawings of more steps."""
    labels: Literal["auto", "record", "folder", "file", "none"] = "auto"
    """Where classes come from: the records; the names of folders or of files; auto: the records, and where they have
    none, the folder, or the file if it holds many drawings, provided that there are several."""
    split: str | None = None
    """Shares of train, valid, test, such as 0.9,0.05,0.05, the default. A drawing's place follows from its key, or
    from its points, so it stays there when data are added. By default splits that the files have are kept, and
    folders and files called train, valid or test are splits."""
    limit: int | None = None
    """Stop after so many drawings."""
    skip_bad: bool = False
    """Leave out files that cannot be read, and count them, instead of stopping at the first."""

    def __post_init__(self) -> None:
        for name in ("box", "resample", "simplify", "limit", "max_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected more than 0")
        if self.grid is not None and not 0 <= self.grid < float("inf"):
            raise InputError(f"--grid is {self.grid}; expected 0 or more")
        if self.format is not None:
            formats.find(self.format)
        self.shares()

    def shares(self) -> tuple[float, ...]:
        """Of train, valid and test, summing to 1."""
        try:
            shares = tuple(float(part) for part in (self.split or DEFAULT_SPLIT).split(","))
        except ValueError:
            shares = ()
        if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise InputError(f"--split is {self.split}; expected three shares that sum to 1, such as {DEFAULT_SPLIT}")
        return shares

    @property
    def rounding(self) -> float:
        """The grid that coordinates are rounded to; 0: none."""
        return self.grid if self.grid is not None else 1.0 if (self.box or 0) >= _ROUNDED_BOX else 0.0

    @property
    def reshapes(self) -> bool:
        """Whether drawings come out other than they are."""
        return bool(self.box or self.resample or self.simplify or self.rounding)


def reshaped(drawings: Drawings, recipe: Recipe) -> Drawings:
    """Boxed, resampled, simplified and rounded, as the recipe has it."""
    if recipe.box:
        drawings = drawings.boxed(recipe.box)
    if recipe.resample:
        drawings = drawings.resampled(recipe.resample)
    if recipe.simplify:
        drawings = drawings.simplified(recipe.simplify)
    if recipe.rounding:
        drawings = drawings.rounded(recipe.rounding)
    return drawings


def divided(drawings: Drawings, recipe: Recipe, folder: str | None = None) -> Drawings:
    """The same, each record with its split: its own, or that of its `folder`, else by what the drawing is before
    anything is done to it."""
    ends, sizes = drawings.sizes.cumsum(), drawings.sizes
    bounds = np.cumsum(recipe.shares())[:-1].tolist()
    records = []
    for i, record in enumerate(drawings.records):
        if recipe.split is None and record.split is None and folder is not None:
            record = record._replace(split=folder)
        if recipe.split is not None or record.split not in SPLITS:
            key = (record.key or "").encode(errors="surrogatepass")
            if record.key is None:
                points = drawings.points[ends[i] - sizes[i] : ends[i]]
                key = (points - points[0]).tobytes()
            place = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
            record = record._replace(split=SPLITS[bisect.bisect_right(bounds, place)])
        records.append(record)
    return replace(drawings, records=records)
