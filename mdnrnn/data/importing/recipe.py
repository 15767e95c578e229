"""Options of an import: the geometry, selection, classes and splits of the drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdnrnn.data import formats
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.importing.splits import check_split
from mdnrnn.errors import InputError

_MIN_ROUNDED_BOX = 16.0
"""Minimum box in which positions are rounded to integers by default."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Import options. The operations are applied in the order of the fields."""

    format: str | None = None
    """Format of all files; in folders only files with its extension are read. By default the format of each file is
    recognized."""
    jump: float | None = None
    """Distance between consecutive points above which a stroke is split, in raw units. Single points between two such
    jumps, which are errors of the sensor, are removed."""
    box: float | None = None
    """Longer side of each drawing after it is moved to 0 and scaled, for example 255."""
    resample: float | None = None
    """Spacing, at most, of resampled points along a stroke, in units of --box if given, else of the file."""
    simplify: float | None = None
    """Tolerance of the Ramer-Douglas-Peucker simplification, in units of --box if given, else of the file. Quick, Draw!
    uses 2 in a box of 255."""
    grid: float | None = None
    """Grid to whose multiples positions are rounded; 0: no rounding. By default 1 in a box of 16 or more, 1/1024 of the
    screen for touches of MicroJam without a box, else no rounding."""
    min_points: int = 1
    """Minimum number of steps per drawing; shorter drawings are dropped."""
    max_points: int | None = None
    """Maximum number of steps per drawing; longer drawings are dropped."""
    with_text: bool = False
    """Whether drawings without a text are dropped."""
    labels: Literal["auto", "record", "folder", "file", "none"] = "auto"
    """Source of the classes. record: the records; folder, file: the names of folders or files; none: no classes; auto:
    the records and, if none has a class, the names of the folders, or of the files if they hold many drawings, provided
    that there are several."""
    split: str | None = None
    """Shares of train, valid and test, by default 0.9,0.05,0.05; or files with one key per line (for IAM-OnDB:
    forms), train=trainset.txt,valid=testset_v.txt,test=testset_t.txt: drawings in no list are dropped. The split of a
    drawing depends only on its key or, without a key, on its points, so it does not change when data are added. By
    default the splits in the files are kept, and folders and files named train, valid or test are splits. Long
    streams (500 rows or more) are divided by time: train, then valid, then test."""
    limit: int | None = None
    """Maximum number of drawings; the first ones are kept."""
    skip_bad: bool = False
    """Whether files that cannot be read are skipped and counted. By default the first one ends the import."""

    def __post_init__(self) -> None:
        for name in ("jump", "box", "resample", "simplify", "limit", "max_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected more than 0")
        if self.grid is not None and not 0 <= self.grid < float("inf"):
            raise InputError(f"--grid is {self.grid}; expected 0 or more")
        if self.format is not None:
            formats.find_format(self.format)
        check_split(self.split)

    def effective_grid(self, default: float) -> float:
        """Return the grid to which positions are rounded; 0: no rounding.

        Args:
            default: grid of the file format.
        """
        if self.grid is not None:
            return self.grid
        if self.box is not None:
            return 1.0 if self.box >= _MIN_ROUNDED_BOX else 0.0
        return default

    @property
    def changes_positions(self) -> bool:
        """Whether points can be at positions at which the file has no point."""
        return bool(self.box or self.resample or self.simplify or self.grid)


def reshape(drawings: DrawingBatch, recipe: Recipe, default_grid: float) -> DrawingBatch:
    """Apply the recipe's geometric operations.

    Args:
        default_grid: grid of the file format.
    """
    if recipe.jump:
        drawings = drawings.split_at_jumps(recipe.jump)
    if recipe.box:
        drawings = drawings.fit_to_box(recipe.box)
    if recipe.resample:
        drawings = drawings.resample(recipe.resample)
    if recipe.simplify:
        drawings = drawings.simplify(recipe.simplify)
    if grid := recipe.effective_grid(default_grid):
        drawings = drawings.round_to_grid(grid)
    return drawings
