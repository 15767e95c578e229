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
    """Whether to import the outlines of filled areas of SVG files, too. By default only elements with a stroke are
    imported."""
    jump: float | None = None
    """Distance between consecutive points above which a stroke is split, in raw units (the units of the file). A point
    that is farther than this distance from both of its neighbors is removed as a sensor error."""
    box: float | None = None
    """Length to which the longer side of each drawing is scaled, for example 255; the minimum x and y become 0. By
    default drawings are not scaled."""
    resample: float | None = None
    """Maximum spacing of the points after resampling at equal distances along each stroke, in the units of --box if it
    is set, else in raw units. By default strokes are not resampled."""
    simplify: float | None = None
    """Tolerance of the Ramer-Douglas-Peucker simplification, in the units of --box if it is set, else in raw units.
    Quick, Draw! uses 2 in a box of 255. By default strokes are not simplified."""
    grid: float | None = None
    """Spacing of the grid to which positions are rounded; 0: no rounding. With --box, the default is 1 if the box is 16
    or more, else 0. Without --box, the default depends on the source: 1/1024 of the screen for files of touch
    performances, the grid of the corpus for touch performances in a corpus, else 0."""
    min_points: int = 1
    """Minimum number of steps per drawing; shorter drawings are dropped."""
    max_points: int | None = None
    """Maximum number of steps per drawing; longer drawings are dropped."""
    with_text: bool = False
    """Whether to drop drawings without a text."""
    labels: Literal["auto", "record", "folder", "file", "none"] = "auto"
    """Source of the class of a drawing: record (the class stored with the drawing in the file), folder or file (names
    in the path), none (no classes) or auto. With auto, a drawing keeps its stored class. A drawing without a stored
    class gets the name of its folder or, in formats with many drawings per file, of its file. However, if no class is
    stored in any file, and all names are equal, auto assigns no classes."""
    split: str | None = None
    """Shares of train, valid and test, such as 0.9,0.05,0.05; or lists of keys (IDs), such as
    train=trainset.txt,valid=testset_v.txt,test=testset_f.txt.
    Shares: the split of a drawing follows from its key or, if it has no key, from its points. It does not change when
    data are added. A stream of 500 rows or more is cut by time: first train, then valid, then test.
    Lists: each file contains one key per line, for IAM-OnDB the form IDs. Drawings in no list are dropped.
    Default: a drawing keeps the split that is stored in its file. Otherwise, a folder named train, valid or test gives
    the split; in formats with many drawings per file, also a file of such a name. Exception: among
    classes, such as the folders cat, bus and train, train is a class, too, unless a different split name, such as test,
    is beside it, or the folder train contains folders. All remaining drawings are divided by the shares
    0.9,0.05,0.05."""
    limit: int | None = None
    """Maximum number of drawings; only the first drawings are kept."""
    skip_bad: bool = False
    """Whether to skip and count files that cannot be read. By default the first such file aborts the import."""

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
