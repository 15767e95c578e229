"""Cut files into chunks of complete records, and convert each chunk into a block of sequences."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data import formats
from mdnrnn.data.drawings import MAX_POINTS, DrawingBatch, Record, Remark
from mdnrnn.data.formats import ndjson
from mdnrnn.data.formats.decompression import close_archives
from mdnrnn.data.formats.format import Format, StepLayout, single_chunk
from mdnrnn.data.importing.builder import Block, narrow_integers
from mdnrnn.data.importing.contents import SourceFile, check_known_files, list_contents
from mdnrnn.data.importing.duplicates import hash_strokes
from mdnrnn.data.importing.recipe import Recipe, reshape
from mdnrnn.data.importing.sources import STDIN, PathInfo, SplitNames, list_files
from mdnrnn.data.importing.splits import assign_splits
from mdnrnn.data.metadata import SPLITS
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.errors import DataError, InputError, quantity
from mdnrnn.pen_events import DOWN

_KNOWN_EXTENSIONS = (".svg", ".inkml", ".ndjson", ".jsonl", ".npz", ".xopp", ".excalidraw", ".tldr")
"""A file of unrecognized format in a folder is an error if it has one of these extensions; otherwise it is ignored."""


class ChunkTask(NamedTuple):
    """A chunk of a file, with everything that a worker process needs to process it."""

    path: Path
    is_first: bool
    """Whether the chunk is the first of its file."""
    parse: Callable[[Any], DrawingBatch]
    chunk: Any
    layout: StepLayout
    path_info: PathInfo
    source: Path | None
    """Folder of the file, or the file itself if its format divides files into chunks. None if it is the only source;
    then no strokes can be imported twice."""
    recipe: Recipe


class ChunkResult(NamedTuple):
    """Sequences of a chunk, and remarks on its dropped and repaired records."""

    block: Block
    layout: StepLayout
    is_first: bool
    """Whether the chunk is the first of its file."""
    has_labels: bool
    """Whether any record of the chunk contains a class."""
    dropped: list[Remark]
    repaired: list[Remark]
    lost: list[Remark]
    """Remarks on content of the files that the corpus does not contain, such as pressure."""
    source: str
    """Folder of the file, or the file itself if its format divides files into chunks."""
    stroke_hashes: np.ndarray
    """Hashes of the strokes of the chunk; see `duplicates.hash_strokes`."""


class Unreadable(NamedTuple):
    """A file, or a chunk of a file, that cannot be read."""

    path: Path
    error: DataError | None
    """Error to report; None for a file of unknown format that was found in a folder and is ignored."""
    kind: str = ""
    """Kind of the content of a file that is ignored."""


def chunk_tasks(paths: list[Path], recipe: Recipe) -> Iterator[ChunkTask | Unreadable]:
    """Yield the chunks of all files in order, and an `Unreadable` for each file that cannot be cut into chunks."""
    forced = formats.find_format(recipe.format) if recipe.format else None
    cutter = _Cutter(recipe, forced, SplitNames(paths), has_one_file=len(paths) == 1 and not paths[0].is_dir())
    try:
        for path, root in list_files(paths):
            try:
                yield from cutter.cut_contents(path, root)
            except (DataError, OSError) as error:
                yield _make_unreadable(path, error)
    finally:
        close_archives()


class _Cutter(NamedTuple):
    """Options of an import that determine the chunks of its files."""

    recipe: Recipe
    forced: Format | None
    """Format of all files; None: the format of each file is recognized."""
    split_names: SplitNames
    has_one_file: bool
    """Whether one file is imported, which may be an archive."""

    def cut_contents(self, path: Path, root: Path | None) -> Iterator[ChunkTask | Unreadable]:
        """Yield the chunks of a file or, if it is an archive, of the files in it."""
        if root and path.is_dir():
            os.scandir(path).close()  # raises the error of a folder that cannot be listed
        is_known = False
        for file in list_contents(path, root):
            if self.forced and file.root and file.path.suffix.lower() not in self.forced.extensions:
                continue
            for task in self._cut_file(file):
                is_known |= isinstance(task, ChunkTask) or task.error is not None
                yield task
        if root is None and not is_known:
            check_known_files(path)

    def _cut_file(self, file: SourceFile) -> Iterator[ChunkTask | Unreadable]:
        path, root = file.path, file.root
        try:
            form = ndjson.FORMAT if str(path) == STDIN else self.forced or formats.recognize_format(path)
            if form is None and root and path.suffix.lower() not in _KNOWN_EXTENSIONS:
                yield Unreadable(path, None, formats.describe_unknown(path).kind)
                return
            if form is None:
                raise formats.unknown_format_error(path)
            yield from self._cut(file, form)
        except (DataError, OSError) as error:
            yield _make_unreadable(path, error)

    def _cut(self, file: SourceFile, form: Format) -> Iterator[ChunkTask]:
        recipe, path, path_info = self.recipe, file.path, PathInfo()
        label_source = recipe.labels if recipe.labels in ("folder", "file") else form.default_label
        if label_source:
            by_file = label_source == "file"
            path_info = PathInfo.from_path(file.unpacked, file.root, by_file=by_file, split_names=self.split_names)
        source = file.unpacked.parent if form.chunks is single_chunk else file.unpacked
        is_only_source = self.has_one_file and file.root is None
        chunks = ndjson.read_chunks(sys.stdin.buffer, "stdin") if str(path) == STDIN else form.chunks(path)
        parse = (form.parse_outlines if recipe.outlines else None) or form.parse
        for number, chunk in enumerate(chunks):
            yield ChunkTask(
                path, number == 0, parse, chunk, form.layout, path_info, None if is_only_source else source, recipe
            )


def process_chunk(task: ChunkTask | Unreadable) -> ChunkResult | Unreadable:
    """Parse a chunk and convert its drawings into a block of sequences.

    If the chunk cannot be read, return an `Unreadable`. If `task` is an `Unreadable`, return it unchanged.

    Raises:
        InputError: the file contains streams, but the recipe has geometric options, which apply only to drawings.
    """
    if isinstance(task, Unreadable):
        return task
    try:
        return _process(task)
    except (DataError, OSError) as error:
        return _make_unreadable(task.path, error)


def _process(task: ChunkTask) -> ChunkResult:
    recipe, layout = task.recipe, task.layout
    # Streams can be much longer than drawings; the readers of the stream formats limit their size.
    drawings = task.parse(task.chunk).drop_invalid(np.inf if layout.is_stream else MAX_POINTS)
    drawings = assign_splits(drawings, recipe.split, task.path_info.split, layout.is_stream)
    has_hashes = task.source is not None and not layout.is_stream
    stroke_hashes = hash_strokes(drawings) if has_hashes else np.zeros(0, np.uint64)
    if layout.is_stream:
        if recipe.changes_positions or recipe.jump:
            raise InputError(
                "--jump, --box, --resample, --simplify and --grid apply to drawings only; omit them for streams"
            )
        motion, lengths = drawings.points, drawings.point_counts
        event = np.full(len(motion), DOWN, np.uint8)
    else:
        drawings = reshape(drawings, recipe, layout.grid)
        motion, event, lengths = drawings.to_steps(layout.start)
    records = drawings.records
    writers = [to_nfc(record.writer) for record in records]
    block = Block(
        motion=narrow_integers(motion),
        event=event,
        lengths=lengths,
        split=np.array([SPLITS.index(record.split or "") for record in records], np.uint8),
        labels=[to_nfc(_choose_label(record, task)) for record in records],
        texts=[to_nfc(record.text) for record in records],
        writers=writers if any(writers) else None,
    )
    keep = (lengths >= recipe.min_points) & (lengths <= (recipe.max_points or np.inf))
    keep &= np.array([bool(record.text) or not recipe.with_text for record in records], bool)
    return ChunkResult(
        block=block.select(keep),
        layout=layout,
        is_first=task.is_first,
        has_labels=any(record.label is not None for record in records),
        dropped=[*drawings.dropped, *_explain_dropped(records, lengths, keep, recipe)],
        repaired=drawings.repaired,
        lost=drawings.lost,
        source=str(task.source),
        stroke_hashes=stroke_hashes,
    )


def _explain_dropped(records: list[Record], lengths: np.ndarray, keep: np.ndarray, recipe: Recipe) -> Iterator[Remark]:
    for i in np.flatnonzero(~keep):
        if recipe.min_points <= lengths[i] <= (recipe.max_points or np.inf):
            yield Remark("no text", f"{records[i].location} has no text", malformed=False)
            continue
        is_short = lengths[i] < recipe.min_points
        limit = f"fewer than {recipe.min_points}" if is_short else f"more than {recipe.max_points}"
        yield Remark(f"{limit} points", f"{records[i].location} has {quantity(lengths[i], 'points')}", malformed=False)


def _choose_label(record: Record, task: ChunkTask) -> str | None:
    source = task.recipe.labels
    if source == "none":
        return None
    if source in ("folder", "file"):
        return task.path_info.label
    return record.label if record.label is not None or source == "record" else task.path_info.label


def _make_unreadable(path: Path, error: DataError | OSError) -> Unreadable:
    if isinstance(error, OSError):
        error = DataError(f"{path}: cannot be read ({error.strerror or error}); check the path")
    return Unreadable(path, error)
