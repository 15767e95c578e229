"""What the commands share that encode drawings: which run, which drawings, what to write."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from mdnrnn.data.corpus import Corpus
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.render import MOVING, Color
from mdnrnn.render import save as saving
from mdnrnn.runs.run import Run, load
from mdnrnn.tasks.latent_space import load_drawings
from mdnrnn.training.config import Device


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """A run, and drawings for it to encode."""

    run: tyro.conf.Positional[Path]
    """The run folder, of a variational model."""
    data: str | None = None
    """Other drawings than the run was trained on: a file, a folder or a catalog name."""
    split: str | None = None
    """train, valid or test; by default test, or of other data all drawings, in the order of their file."""
    label: str | None = None
    """Drawings of this class alone; where the data have no classes, the class of them all."""
    device: Device = "auto"
    """Where to compute; auto: a GPU if there is one."""

    def open(self) -> tuple[Run, Corpus]:
        """The run and the drawings."""
        run = load(self.run, choose_device(self.device))
        return run, load_drawings(run, self.data, self.split, self.label)


@dataclass(frozen=True, kw_only=True)
class DrawingsOptions(DataOptions):
    """The same, and drawings to write."""

    out: Path
    """The file to write; its ending picks the format: .svg .png .pdf .gif .npz .ndjson."""
    color: Color = "ink"
    """Of the lines in pictures: one ink, by stroke, or by order."""
    animate: tyro.conf.FlagCreatePairsOff[bool] = False
    """An SVG that draws itself."""

    def check(self) -> None:
        """An error where nothing can be written: before the work is done."""
        saving.check_out(self.out)
        if self.animate and self.out.suffix.lower() not in MOVING:
            raise InputError(f"{self.out}: its ending is {self.out.suffix!r}; to animate, expected .svg or .gif")

    def save(self, drawings: Corpus, columns: int, labels: Items[str] = ()) -> None:
        """Write drawings, in pictures as a grid."""
        saving.save_drawings(drawings, self.out, color=self.color, columns=columns, labels=labels, animate=self.animate)


def chosen(drawings: Corpus, indices: Items[int], n: int, seed: int) -> list[int]:
    """The numbers that were asked for; by default n that the seed chooses, or all if they are fewer."""
    if n < 1 or seed < 0:
        raise InputError(f"-n is {n} and the seed {seed}; expected 1 or more, and 0 or more")
    found = np.random.default_rng(seed).choice(len(drawings), min(n, len(drawings)), replace=False)
    return list(indices) or sorted(found.tolist())
