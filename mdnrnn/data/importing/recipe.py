"""Options of an import: the geometry, selection, classes and splits of the drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mdnrnn.data import formats
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.importing.splits import check_split
from mdnrnn.errors import InputError

_MIN_ROUNDED_BOX = 16.0
"""Minimum value of `Recipe.box` for which positions are rounded to integers by default."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Import options. jump, box, resample, simplify and grid are applied in this order, after splits are assigned."""

    format: str | None = None
    """Format of all files. In folders, only files with an extension of this format are read. By default the format of
    each file is detected."""
    outlines: bool = False
    """Import the outlines of filled areas of SVG files, too. By default only elements with a stroke are imported."""
    jump: float | None = None
    """Distance between consecutive points above which a stroke is split, in raw units (the units of the file). A point
    is removed as a sensor error if it is farther than this distance from both its neighbors."""
    box: float | None = None
    """Length of the longer side of each drawing after scaling, for example 255; the minimum x and y become 0. By
    default drawings are not scaled."""
    resample: float | None = None
    """Maximum spacing of the points after resampling at equal distances along each stroke, in the units of --box if it
    is set, else in raw units. By default strokes are not resampled."""
    simplify: float | None = None
    """Tolerance of the Ramer-Douglas-Peucker simplification, in the units of --box if it is set, else in raw units.
    Quick, Draw! uses 2 in a box of 255. By default strokes are not simplified."""
    grid: float | None = None
    """Spacing of the grid to which positions are rounded; 0: no rounding. The default is 1 if --box is 16 or more, and
    0 if --box is less than 16. Without --box, the default depends on the source: 1/1024 of the screen for MicroJam
    files, the stored grid for touch performances in a corpus, and 0 for all other sources."""
    min_points: int = 1
    """Minimum number of steps per drawing; shorter drawings are dropped."""
    max_points: int | None = None
    """Maximum number of steps per drawing; longer drawings are dropped."""
    with_text: bool = False
    """Drop drawings without a text."""
    labels: Literal["auto", "record", "folder", "file", "none"] = "auto"
    """Source of the class of a drawing: record (its record in the file), folder or file (the name of its folder or
    file), none (no classes) or auto. auto uses the class in the record if there is one. Otherwise auto uses the name of
    the folder or, in formats with many drawings per file, the name of the file. If no record contains a class and all
    these names are equal, auto assigns no classes."""
    split: str | None = None
    """Shares of train, valid and test, such as 0.9,0.05,0.05; or files with one key (ID) per line, such as
    train=trainset.txt,valid=testset_v.txt,test=testset_f.txt (for IAM-OnDB: form IDs). By default, splits stored in the
    files are kept. A drawing in a folder named train, valid or test is assigned to the split of that name; in formats
    with many drawings per file, the name of the file counts, too. Exception: train is a class if the folders (or files)
    beside it are classes, as in cat, train and bus, and it has no subfolders. The remaining drawings are divided by the
    shares 0.9,0.05,0.05. With shares, a drawing is assigned by its key or, if it has no key, by its points, so its
    split does not change when data are added. A stream of 500 rows or more is cut into parts by time: train, then
    valid, then test. If --split names files with keys, drawings whose key is in none of these files are dropped."""
    limit: int | None = None
    """Maximum number of drawings; only the first drawings are kept."""
    skip_bad: bool = False
    """Skip and count files that cannot be read; by default the first such file aborts the import."""

    def __post_init__(self) -> None:
        for name in ("jump", "box", "resample", "simplify", "limit", "max_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')}: received {value}, expected more than 0")
        if self.grid is not None and not 0 <= self.grid < float("inf"):
            raise InputError(f"--grid: received {self.grid}, expected 0 or more")
        if self.format is not None:
            formats.find_format(self.format)
        check_split(self.split)

    def effective_grid(self, default: float) -> float:
        """Return the spacing of the grid to which positions are rounded; 0: no rounding.

        Args:
            default: grid spacing of the file format, used if neither `grid` nor `box` is set.
        """
        if self.grid is not None:
            return self.grid
        if self.box is not None:
            return 1.0 if self.box >= _MIN_ROUNDED_BOX else 0.0
        return default

    @property
    def changes_positions(self) -> bool:
        """Whether an option scales, resamples, simplifies or rounds the points."""
        return bool(self.box or self.resample or self.simplify or self.grid)


def reshape(drawings: DrawingBatch, recipe: Recipe, default_grid: float) -> DrawingBatch:
    """Apply the options jump, box, resample, simplify and grid of a recipe to drawings; skip options that are not set.

    Args:
        default_grid: grid spacing of the file format.
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
