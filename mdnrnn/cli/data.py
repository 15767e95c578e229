"""`mdnrnn data list|get|info|draw|import|export`: commands for data sets."""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Iterator
from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tyro.conf import Positional, arg

from mdnrnn.cli.data_import import ImportOptions
from mdnrnn.cli.dispatch import choose, summary
from mdnrnn.cli.options import Animate, Columns, Count, DataArgument, Json, check_count, parse, print_json
from mdnrnn.data import catalog, formats
from mdnrnn.data.catalog import CATALOG, open_corpus
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.normalizer import Normalizer
from mdnrnn.errors import InputError, quantity
from mdnrnn.files.atomic import remove_leftovers
from mdnrnn.pen_events import END
from mdnrnn.render.style import Color, DrawingOptions, PictureOptions


@dataclass(frozen=True, kw_only=True)
class ListOptions:
    """List the available data sets."""

    json: Json = False

    def run(self) -> None:
        """Print the catalog."""
        if self.json:
            print_json([_entry_dict(entry) for entry in CATALOG.values()])
            return
        for entry in CATALOG.values():
            size = f", {entry.size / 1e6:.1f} MB" if entry.size else ""
            print(f"{entry.name}{size}{', on this machine' if entry.path.exists() else ''}")
            print(f"    {entry.description}\n    {entry.license}; {entry.source}")


def _entry_dict(entry: catalog.Entry) -> dict[str, Any]:
    fields = {name: getattr(entry, name) for name in ("name", "description", "size", "license", "source")}
    return {**fields, "on_this_machine": entry.path.exists()}


@dataclass(frozen=True, kw_only=True)
class GetOptions:
    """Download a data set.

    The data set is downloaded and imported once. Then all commands accept its name as DATA.
    """

    name: Annotated[str, Positional, arg(metavar="NAME")]
    """Name of a data set (see mdnrnn data list), or any Quick, Draw! category, for example quickdraw/cat."""

    def run(self) -> None:
        """Download and import the data set."""
        folder = catalog.get(self.name, _import_download)
        entry = catalog.find(self.name)
        if entry is not None:
            print(f"{self.name}: {folder}\nlicense: {entry.license}; source: {entry.source}")


def _import_download(source: Path, out: Path, entry: catalog.Entry) -> None:
    import_corpus([source], out, name=entry.name, license=entry.license, source=entry.source)


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Print the metadata and statistics of a data set."""

    data: DataArgument
    json: Json = False

    def run(self) -> None:
        """Print metadata and statistics."""
        description = describe(open_corpus(self.data))
        if self.json:
            print_json(description)
            return
        for key, value in description.items():
            is_printable = not isinstance(value, str) or value.isprintable()
            print(f"{key:24}{value if is_printable else repr(value)}")


def describe(corpus: Corpus) -> dict[str, Any]:
    """Check all data of a corpus and return its metadata and statistics."""
    corpus.check()
    lengths = corpus.lengths
    metadata = asdict(corpus.metadata)
    columns: dict[str, Any] = {}
    if corpus.text is not None:
        columns = {"characters_per_text": float(corpus.text_lengths.mean()), "alphabet": corpus.alphabet}
    if corpus.writer is not None:
        columns["writers"] = len(np.unique(corpus.writer))
    if corpus.inputs is not None:
        columns["inputs"] = corpus.inputs.shape[1]
    return {
        **metadata,
        "classes": list(metadata["classes"]),
        "splits": {name: last - first for name, (first, last) in corpus.splits.items()},
        "skipped": dict(corpus.skipped),
        "points": len(corpus.event),
        "points_per_sequence": {f"{q}%": float(np.percentile(lengths, q)) for q in (0, 5, 50, 95, 100)},
        **_motion_statistics(corpus),
        **columns,
        "fingerprint": corpus.fingerprint,
    }


def _motion_statistics(corpus: Corpus) -> dict[str, Any]:
    """Return statistics that depend on the kind of data.

    For drawings: the mean number of strokes per sequence and the scale of the offsets. For other data: the number of
    sequences that end with END and the scale of each feature.
    """
    event = np.asarray(corpus.event)
    splits = _nonempty_splits(corpus)
    scale = Normalizer.from_corpus(corpus, "train" if "train" in splits else splits[0]).scale
    if corpus.metadata.is_drawing:
        return {"strokes_per_sequence": float((event > 0).sum() / len(corpus)), "offset_scale": scale[0]}
    return {"ended": int((event == END).sum()), "scales": dict(zip(corpus.metadata.features, scale, strict=True))}


def _nonempty_splits(corpus: Corpus) -> list[str]:
    return [name for name, (first, last) in corpus.splits.items() if first < last]


@dataclass(frozen=True, kw_only=True)
class DrawOptions:
    """Save a picture of drawings from a data set, in a grid."""

    data: DataArgument
    out: Path
    """Output file; its extension selects the format: .svg .png .pdf .gif."""
    n: Count = 25
    split: Annotated[str | None, arg(metavar="SPLIT")] = None
    """Split of the drawings: train, valid or test. By default the first split that is not empty."""
    first: int | None = None
    """Index of the first drawing, from 0; the picture shows it and the drawings after it. By default the drawings are
    evenly spaced over the split."""
    label: str | None = None
    """Class of the drawings; by default all classes."""
    color: Color | Literal["time"] = "ink"
    """Line color: ink (dark), by stroke, by pen order (blue to red) or, only for touch performances, by time."""
    columns: Columns = None
    animate: Animate = False

    def run(self) -> None:
        """Save the picture."""
        from mdnrnn.render import save

        save.check_output_path(self.out, save.PICTURE_EXTENSIONS, animate=self.animate)
        check_count(self.n)
        if self.first is not None and self.first < 0:
            raise InputError(f"--first: received {self.first}, expected 0 or more")
        corpus = open_corpus(self.data)
        corpus.check()
        indices = self._select(corpus)
        labels = save.sequence_labels(corpus, indices)
        if self.color == "time":
            picture = PictureOptions(columns=self.columns, labels=labels, animate=self.animate)
            save.save_performance_picture(save.to_performances(corpus, indices), self.out, picture)
        else:
            options = DrawingOptions(color=self.color, columns=self.columns, labels=labels, animate=self.animate)
            save.save_picture([corpus.drawing(i) for i in indices], self.out, options)
        print(f"{self.out}: {quantity(len(indices), 'drawings')}")

    def _select(self, corpus: Corpus) -> list[int]:
        """Return the indices of the drawings."""
        candidates: Items[int] = corpus.indices(self.split or next(iter(_nonempty_splits(corpus)), "train"))
        if self.label is not None:
            label = np.asarray(corpus.label)[candidates[0] : candidates[-1] + 1]
            wanted = corpus.metadata.class_index(self.label)
            candidates = (candidates[0] + np.flatnonzero(label == wanted)).tolist()
            if not candidates:
                raise InputError(
                    f"--label: received {self.label!r}, but the split contains no drawing of this class; use another "
                    "class or --split"
                )
        if self.first is None:
            count = min(self.n, len(candidates))
            indices = [candidates[i * len(candidates) // count] for i in range(count)]
        else:
            indices = list(candidates[self.first : self.first + self.n])
        if not indices:
            raise InputError(
                f"--first: received {self.first}, expected less than {len(candidates)}, the number of drawings"
            )
        return indices


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Export drawings in a format that other programs can read.

    The command mdnrnn data import reads all of these formats, too.
    """

    data: DataArgument
    out: Path
    """Output path. svg: a folder with one file per sequence. microjam: the same, or one file if the path ends in .csv.
    corpus: a folder, or one file if the path ends in .npz. Other formats: one file."""
    format: Literal["corpus", "sketchrnn", "ndjson", "svg", "inkml", "microjam"]
    """Output format: corpus (a folder or an .npz, for this package), sketchrnn (.npz of Sketch-RNN), ndjson (in
    the layout of the simplified Quick, Draw! files), svg, inkml, or microjam (CSV, for touch performances)."""
    split: Annotated[str | None, arg(metavar="SPLIT")] = None
    """Split to export: train, valid or test. By default all splits."""

    def run(self) -> None:
        """Open the data set and write it."""
        if not self.out.parent.is_dir():
            raise InputError(f"{self.out}: the folder {self.out.parent} does not exist; create it, or use another path")
        remove_leftovers(self.out.parent, re.escape(self.out.name))
        if self.out.exists():
            raise InputError(f"{self.out} exists; use another path")
        corpus = open_corpus(self.data)
        corpus.check()
        corpus = corpus if self.split is None else corpus.select_split(self.split)
        formats.WRITERS[self.format](corpus, self.out)
        print(f"{self.out}: {quantity(len(corpus), 'sequences')}")


SUBCOMMANDS: dict[str, type[Any]] = {
    "list": ListOptions,
    "get": GetOptions,
    "info": InfoOptions,
    "draw": DrawOptions,
    "import": ImportOptions,
    "export": ExportOptions,
}


def main(arguments: list[str]) -> int:
    """Run a subcommand."""
    descriptions = {name: summary(options) for name, options in SUBCOMMANDS.items()}
    name = choose(
        arguments, descriptions, command="mdnrnn data", kind="subcommand", usage="usage: mdnrnn data SUBCOMMAND ..."
    )
    options = parse(SUBCOMMANDS[name], f"data {name}", arguments[1:])
    with _exit_on_sigterm():
        options.run()
    return 0


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Raise `SystemExit(143)` on SIGTERM inside the block, so that temporary files are removed, as on Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread can set signal handlers
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
