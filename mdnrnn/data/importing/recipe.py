"""What is done to drawings on their way into a corpus: shape, selection, labels, division into splits."""

from __future__ import annotations

import bisect
import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from mdnrnn.data import formats
from mdnrnn.data.corpus import SPLITS
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.errors import InputError

DEFAULT_SPLIT = "0.9,0.05,0.05"
_ROUNDED_BOX = 16.0
_LONGEST_LIST = 64 << 20
_LONG = 500
"""Rows from which a stream is divided by time: there may be no other."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to drawings on their way into a corpus, in this order."""

    format: str | None = None
    """Take all files for this format, in folders those with its ending; by default each is recognized."""
    jump: float | None = None
    """End strokes where the next point is farther than this, and begin others there; single points between such jumps,
    slips of a sensor, go."""
    box: float | None = None
    """Move each drawing to 0 and scale it so that its longer side is this long, 255 say."""
    resample: float | None = None
    """Put points at equal distances along each stroke, at most this far apart."""
    simplify: float | None = None
    """Keep the points that Ramer, Douglas and Peucker keep at this tolerance; Quick, Draw! uses 2 in a box of 255."""
    grid: float | None = None
    """Round places to multiples of this; by default 1 in a box of 16 or more, a 1024th of the screen for MicroJam's
    touches as they are, else not at all. 0: not at all."""
    min_points: int = 1
    """Leave out drawings of fewer steps."""
    max_points: int | None = None
    """Leave out drawings of more steps."""
    with_text: bool = False
    """Leave out drawings that do not say what is written in them."""
    labels: Literal["auto", "record", "folder", "file", "none"] = "auto"
    """Where classes come from: the records; the names of folders or of files; auto: the records, and where they have
    none, the folder, or the file if it holds many drawings, provided that there are several."""
    split: str | None = None
    """Shares of train, valid, test, such as 0.9,0.05,0.05, the default. A drawing's place follows from its key, or
    from its points, so it stays there when data are added. By default splits that the files have are kept, and
    folders and files called train, valid or test are splits. Streams of 500 rows or more are divided by time: train,
    then valid, then test. Or lists of keys, a line each (of IAM-OnDB: forms),
    train=trainset.txt,valid=testset_v.txt,test=testset_t.txt: what is in none of them is left out."""
    limit: int | None = None
    """Stop after so many drawings."""
    skip_bad: bool = False
    """Leave out files that cannot be read, and count them, instead of stopping at the first."""

    def __post_init__(self) -> None:
        for name in ("jump", "box", "resample", "simplify", "limit", "max_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected more than 0")
        if self.grid is not None and not 0 <= self.grid < float("inf"):
            raise InputError(f"--grid is {self.grid}; expected 0 or more")
        if self.format is not None:
            formats.find_format(self.format)
        if not self.lists():
            self.shares()

    def lists(self) -> dict[str, str]:
        """The split of every key that is listed; none where shares are given."""
        return _listed(self.split) if self.split and "=" in self.split else {}

    def shares(self) -> tuple[float, ...]:
        """Of train, valid and test, summing to 1."""
        try:
            shares = tuple(float(part) for part in (self.split or DEFAULT_SPLIT).split(","))
        except ValueError:
            shares = ()
        if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise InputError(
                f"--split is {self.split}; expected three shares that sum to 1, such as {DEFAULT_SPLIT}, or lists of "
                "keys, train=FILE,valid=FILE,test=FILE"
            )
        return shares

    def rounding(self, usual: float) -> float:
        """The grid that places are rounded to, `usual` that of the format; 0: none."""
        if self.grid is not None:
            return self.grid
        if self.box is not None:
            return 1.0 if self.box >= _ROUNDED_BOX else 0.0
        return usual

    @property
    def reshapes(self) -> bool:
        """Whether points come out where none was."""
        return bool(self.box or self.resample or self.simplify or self.grid)


def _in_time(drawings: DrawingBatch, recipe: Recipe) -> DrawingBatch:
    """Streams as parts, one after the other, for train, valid and test: of those which are long and in no split yet."""
    bounds = np.cumsum((0, *recipe.shares()))
    parts: list[tuple[list[np.ndarray], Record]] = []
    for i, record in enumerate(drawings.records):
        (rows,) = drawings.polylines(i)
        record = record if recipe.split is None else record._replace(split=None)
        if len(rows) < _LONG or record.split in SPLITS:
            parts.append(([rows], record))
            continue
        cuts = np.rint(bounds * len(rows)).astype(int)
        parts += [
            ([rows[first:last]], record._replace(split=split))
            for split, (first, last) in zip(SPLITS, pairwise(cuts.tolist()), strict=True)
            if last > first
        ]
    return DrawingBatch.from_polylines(parts, drawings.dropped, drawings.repaired)


def _listed(split: str) -> dict[str, str]:
    """The split of every key in files given as train=FILE,valid=FILE,test=FILE, any number of them."""
    stamps = []
    for part in split.split(","):
        name, _, path = part.partition("=")
        if name not in SPLITS or not path:
            raise InputError(f"--split has {part!r}; expected train=FILE, valid=FILE or test=FILE")
        try:
            stamp = Path(path).stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a list of keys") from error
        if stamp.st_size > _LONGEST_LIST:
            raise InputError(f"{path} has {stamp.st_size} bytes; expected a list of keys, {_LONGEST_LIST} at most")
        stamps.append((name, path, stamp.st_mtime_ns, stamp.st_size))
    return _read_lists(tuple(stamps))


@lru_cache(maxsize=4)
def _read_lists(stamps: tuple[tuple[str, str, int, int], ...]) -> dict[str, str]:
    """The split of every key in files (split, path, and by what a change shows): read once for all that is imported."""
    found: dict[str, str] = {}
    for name, path, *_ in stamps:
        try:
            lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); expected a list of keys") from error
        for key in filter(None, map(str.strip, lines)):
            if found.setdefault(key, name) != name:
                raise InputError(f"{key!r} is listed for {found[key]} and for {name}; expected it in one split")
    if not found:
        raise InputError(f"{', '.join(path for _, path, *_ in stamps)} list nothing; expected keys, a line each")
    return found


def _listed_alone(drawings: DrawingBatch, lists: dict[str, str]) -> DrawingBatch:
    """The drawings whose keys are listed, each record with its split."""
    splits = [lists.get(record.key or "") for record in drawings.records]
    drops = [
        Remark("in no list", f"{record.location}: {record.key or 'no key'} is in no list of --split", malformed=False)
        for record, split in zip(drawings.records, splits, strict=True)
        if split is None
    ]
    records = [record._replace(split=split) for record, split in zip(drawings.records, splits, strict=True)]
    return replace(drawings, records=records).select(np.array([split is not None for split in splits], bool), drops)


def reshaped(drawings: DrawingBatch, recipe: Recipe, grid: float) -> DrawingBatch:
    """Boxed, resampled, simplified and rounded, as the recipe has it; `grid` is what its format is rounded to."""
    if recipe.jump:
        drawings = drawings.split_at_jumps(recipe.jump)
    if recipe.box:
        drawings = drawings.fit_to_box(recipe.box)
    if recipe.resample:
        drawings = drawings.resample(recipe.resample)
    if recipe.simplify:
        drawings = drawings.simplify(recipe.simplify)
    if rounding := recipe.rounding(grid):
        drawings = drawings.round_to_grid(rounding)
    return drawings


def divided(drawings: DrawingBatch, recipe: Recipe, folder: str | None = None, stream: bool = False) -> DrawingBatch:
    """The same, each record with its split: its own, or that of its `folder`, else by what the drawing is before
    anything is done to it; long streams by time."""
    if lists := recipe.lists():
        return _listed_alone(drawings, lists)
    if stream and (recipe.split is not None or folder is None):
        drawings = _in_time(drawings, recipe)
    ends, sizes = drawings.point_counts.cumsum(), drawings.point_counts
    bounds = np.cumsum(recipe.shares())[:-1].tolist()
    records = []
    for i, record in enumerate(drawings.records):
        if recipe.split is None and record.split is None and folder is not None:
            record = record._replace(split=folder)
        if (recipe.split is not None and not stream) or record.split not in SPLITS:
            key = (record.key or "").encode(errors="surrogatepass")
            if record.key is None:
                points = drawings.points[ends[i] - sizes[i] : ends[i]]
                key = (points - points[0]).tobytes()
            place = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
            record = record._replace(split=SPLITS[bisect.bisect_right(bounds, place)])
        records.append(record)
    return replace(drawings, records=records)
