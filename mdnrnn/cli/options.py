"""Options that several commands share, and a parser that converts arguments to option dataclasses."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence as Items
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import numpy as np
import tyro
from tyro.conf import FlagCreatePairsOff, Positional, arg

from mdnrnn.errors import InputError
from mdnrnn.render.style import Color, DrawingOptions

if TYPE_CHECKING:
    from mdnrnn.data.corpus import Corpus
    from mdnrnn.runs.run import Run

T = TypeVar("T")

_DATA = "Data: a catalog name (see mdnrnn data list), a file or a folder"

RunFolder = Annotated[
    Path, Positional, arg(metavar="RUN", help="Run folder, or a bundled model: doodles, handwriting or kanji.")
]
DataArgument = Annotated[str, Positional, arg(metavar="DATA", help=f"{_DATA}.")]
DataOption = Annotated[str, arg(metavar="DATA", help=f"{_DATA}.")]
OtherData = Annotated[str | None, arg(metavar="DATA", help=f"{_DATA}; by default the data of the run.")]
Count = Annotated[int, arg(aliases=["-n"], help="Number of drawings.")]
Indices = Annotated[tuple[int, ...], arg(help="Indices of the drawings in the split, from 0; by default random.")]
Seed = Annotated[int, arg(help="Random seed.")]
Temperature = Annotated[float, arg(help="Sampling temperature; lower values give more probable results.")]
Temperatures = Annotated[tuple[float, ...], arg(help="Sampling temperatures; one result per temperature.")]
DeviceOption = Annotated[
    str,
    arg(
        metavar="DEVICE",
        help="Device: auto (CUDA if it is available, else the CPU), cpu, cuda, cuda:N (the GPU with index N) or mps "
        "(the GPU of an Apple processor).",
    ),
]
LineColor = Annotated[Color, arg(help="Line color in pictures: ink (dark), by stroke, or by pen order (blue to red).")]
Columns = Annotated[int | None, arg(help="Number of columns of the picture; by default the grid is about square.")]
Animate = Annotated[bool, FlagCreatePairsOff, arg(help="Animate an .svg; a .gif is always animated.")]
Rescale = Annotated[
    bool,
    FlagCreatePairsOff,
    arg(
        help="Scale each given drawing to the size of the training drawings. Without --rescale and --no-rescale, "
        "drawings are scaled unless they are catalog data, a corpus or touch performances.",
        help_behavior_hint="",
    ),
]
NoRescale = Annotated[
    bool, FlagCreatePairsOff, arg(help="Keep the sizes of the given drawings.", help_behavior_hint="")
]
Json = Annotated[bool, FlagCreatePairsOff, arg(help="Print the results as JSON.")]

PARSER_MARKERS = (tyro.conf.DisallowNone, tyro.conf.SuppressFixed)
"""Markers of tyro for all options. Fields that an option cannot set, such as functions, are hidden."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_SPELLINGS = {"--colour": "--color", "--licence": "--license"}


def parse(options: type[T], command: str, arguments: list[str], default: T | None = None) -> T:
    """Return an instance of the dataclass `options` with the values that `arguments` contain.

    `--help` prints the help and raises `SystemExit(0)`. `--colour` and `--licence` are accepted as `--color` and
    `--license`.

    Args:
        options: dataclass with one field per option. The docstring of a field is its help text.
        command: the command, for example "data info".
        arguments: the arguments after the command.
        default: instance with the default values. By default the defaults of the dataclass.

    Raises:
        InputError: an option is unknown or missing, or has an invalid value.
    """
    settings: dict[str, Any] = {"prog": f"mdnrnn {command}", "config": PARSER_MARKERS}
    if default is not None:
        settings["default"] = default
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return tyro.cli(options, args=_replace_british(arguments), **settings)
    except SystemExit as end:
        if not end.code:
            raise
        message = _unbox(stderr.getvalue()).rstrip(".") or "invalid options"
        raise InputError(f"{message}; see mdnrnn {command} --help") from None
    except ValueError as error:  # raised by `__post_init__` of the dataclass
        raise InputError(str(error)) from error


def _replace_british(arguments: list[str]) -> list[str]:
    """Replace `--colour` and `--licence` by `--color` and `--license`."""
    split = [argument.partition("=") for argument in arguments]
    return [_SPELLINGS.get(name, name) + equals + value for name, equals, value in split]


def _unbox(text: str) -> str:
    """Return the first section of an error message of tyro in one line, without the title and the box around it."""
    sections: list[list[str]] = [[]]
    for line in _ANSI.sub("", text).splitlines()[1:]:
        content = line.strip("│ ")
        if set(content) <= set("─-╰╯"):  # a separator, the bottom of the box, or an empty line
            sections.append([])
        else:
            sections[-1].append(content)
    return next((" ".join(section) for section in sections if section), "")


def print_json(value: object) -> None:
    """Print a value as JSON to stdout."""
    print(json.dumps(value, indent=2))


def check_count(n: int) -> None:
    """Raise `InputError` if `n` is less than 1."""
    if n < 1:
        raise InputError(f"-n: received {n}, expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options that select a run and the device of its model."""

    run: RunFolder
    device: DeviceOption = "auto"

    def load(self) -> Run:
        """Load the run, with its model on the selected device."""
        from mdnrnn.runs.run import load

        return load(self.run, self.device)


@dataclass(frozen=True, kw_only=True)
class RescaleOptions(RunOptions):
    """Options that select a run, and whether given drawings are scaled."""

    rescale: Rescale = False
    no_rescale: NoRescale = False

    @property
    def rescaling(self) -> bool | None:
        """Whether given drawings are scaled; None for the default.

        Raises:
            InputError: both options are set.
        """
        if self.rescale and self.no_rescale:
            raise InputError("received both --rescale and --no-rescale; expected at most one of them")
        return self.rescale if self.rescale or self.no_rescale else None


@dataclass(frozen=True, kw_only=True)
class LatentSpaceOptions(RescaleOptions):
    """Options that select a run of a variational model and the drawings to encode."""

    data: OtherData = None
    split: Annotated[str | None, arg(metavar="SPLIT")] = None
    """Split of the drawings: train, valid or test. By default test; with --data, all drawings in file order."""
    label: str | None = None
    """Class of the drawings; by default all classes. If the data have no classes, all drawings get this class."""

    def open(self) -> tuple[Run, Corpus]:
        """Load the run and the drawings to encode."""
        from mdnrnn.tasks.latent_space import load_drawings

        run = self.load()
        return run, load_drawings(run, self.data, self.split, self.label, self.rescaling)


@dataclass(frozen=True, kw_only=True)
class LatentDrawingOptions(LatentSpaceOptions):
    """Options that select a run of a variational model, the drawings to encode and the output file."""

    out: Path
    """Output file; its extension selects the format: .svg .png .pdf .gif .npz .ndjson .inkml."""
    color: LineColor = "ink"
    animate: Animate = False

    def check(self) -> None:
        """Raise `InputError` if the output file cannot be written."""
        from mdnrnn.render.save import check_output_path

        check_output_path(self.out, animate=self.animate)

    def save(self, drawings: Corpus, columns: int, captions: Items[str] = ()) -> None:
        """Write the drawings to the output file. A picture shows them in a grid, with one caption per drawing."""
        from mdnrnn.render.save import save_drawings

        options = DrawingOptions(color=self.color, columns=columns, labels=list(captions) or None, animate=self.animate)
        save_drawings(drawings, self.out, options)


def select_indices(drawings: Corpus, indices: Items[int], n: int, seed: int) -> list[int]:
    """Return `indices` or, if it is empty, the indices of `n` random drawings in ascending order.

    If there are fewer than `n` drawings, return all their indices.
    """
    check_count(n)
    if seed < 0:
        raise InputError(f"--seed: received {seed}, expected 0 or more")
    random = np.random.default_rng(seed).choice(len(drawings), min(n, len(drawings)), replace=False)
    return list(indices) or sorted(random.tolist())
