"""Import stroke data: list the files, cut them into chunks, parse the drawings, apply the recipe, build the corpus.

Memory use does not depend on the amount of data, and the corpus does not depend on the number of worker processes.
"""

from __future__ import annotations

import re
import sys
import tempfile
import warnings
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.formats.format import StepLayout
from mdnrnn.data.formats.streams import BAD_LINE
from mdnrnn.data.importing.builder import Block, Builder
from mdnrnn.data.importing.chunks import ChunkResult, Unreadable, chunk_tasks, process_chunk
from mdnrnn.data.importing.duplicates import InkIndex
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.report import Report, length_percentiles
from mdnrnn.data.importing.sources import STDIN, expand_sources
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import DataError, InputError, InputWarning
from mdnrnn.files.atomic import atomic_path, make_folder, remove_leftovers
from mdnrnn.multiprocess import imap_in_processes

_CONTROL_GRIDS = (1.0, 1 / 128)
"""Candidate bin widths of streams of control values, in order of preference: 1 for integers, 1/128 for IMPSY."""


def read(path: Path, recipe: Recipe | None = None) -> Corpus:
    """Read a file or folder of any known format and return its drawings as a corpus.

    Args:
        path: file or folder.
        recipe: import options; ignored if `path` is already a corpus.

    Raises:
        InputError: `path` does not exist.
        DataError: a file or a record is malformed. `import_corpus` drops and counts malformed records instead.
    """
    if not path.exists():
        raise InputError(
            f"{path}: no such file or folder; expected a file, a folder or a catalog name (see mdnrnn data list)"
        )
    if native.recognizes(path):
        return _open_corpus(path)
    # The folder is deleted before the corpus is used. Memory maps of deleted files remain valid; `keep_open` keeps the
    # files open that are also read directly.
    with tempfile.TemporaryDirectory(prefix="mdnrnn-", ignore_cleanup_errors=True) as folder:
        metadata = Metadata(name=path.absolute().stem, source=path.name)
        report = _build_corpus([path], Path(folder), recipe or Recipe(), metadata, strict=True)
        for notice in filter(None, [*report.notices, report.describe_fills()]):
            warnings.warn(notice, InputWarning, stacklevel=3)
        skipped = {reason: count for reason, (count, _) in report.dropped.items()}
        corpus = replace(native.read(Path(folder)), skipped=skipped)
        corpus.keep_open()
        return corpus


def import_corpus(
    sources: str | Path | Iterable[str | Path],
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    name: str | None = None,
    license: str | None = None,
    source: str | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Import files and folders as one corpus, and return a report.

    The corpus is a single file if `out` ends in `.npz`, else a folder. Malformed records are dropped and counted. With
    several workers, guard the call with `if __name__ == "__main__":`.

    Args:
        sources: one or several files, folders, patterns such as "*.svg", or "-" for ndjson lines on stdin.
        out: path of the corpus, which must not exist.
        recipe: import options.
        name: name of the corpus; by default the name of `out` without its extension.
        license: license of the data; by default the license of the source if the only source is a corpus, else
            "unknown".
        source: origin of the data; by default the names of the first five sources or, if the only source is a corpus,
            the origin in its metadata.
        workers: number of processes that parse the files.
        progress: whether to show a progress bar on stderr.

    Raises:
        InputError: an argument is invalid, `out` cannot be written, or a file cannot be read and `recipe.skip_bad` is
            false.
    """
    out, sources = Path(out), [sources] if isinstance(sources, str | Path) else list(sources)
    if workers < 1:
        raise InputError(f"--workers: received {workers}, expected 1 or more")
    remove_leftovers(out.parent, re.escape(out.name))
    if out.exists():
        raise InputError(f"{out} exists; use another path")
    recipe, paths = recipe or Recipe(), list(expand_sources([str(each) for each in sources]))
    if Path(STDIN) in paths and recipe.format not in (None, "ndjson"):
        raise InputError(f"--format: received {recipe.format}, expected ndjson for JSON lines from stdin")
    names = ", ".join(Path(path).name for path in sources[:5])
    metadata = _initial_metadata(paths, name or out.stem, license, source, names)
    make_folder(out.parent)
    with atomic_path(out) as temporary:
        folder = temporary.with_name("arrays") if out.suffix.lower() == ".npz" else temporary
        folder.mkdir()
        report = _build_corpus(paths, folder, recipe, metadata, workers=workers, progress=progress)
        if folder != temporary:
            native.zip_folder(folder, temporary)
    return report


def _open_corpus(path: Path) -> Corpus:
    try:
        return native.read(path)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); import it again") from error


def _initial_metadata(
    paths: list[Path], name: str, license: str | None, source: str | None, default_source: str
) -> Metadata:
    """Return metadata with the given name, license and source.

    If the only path is a corpus, all other metadata are copied from the corpus. The license and the source are copied,
    too, if they are None.
    """
    if len(paths) == 1 and paths[0].exists() and native.recognizes(paths[0]):
        old = _open_corpus(paths[0]).metadata
        return replace(old, name=name, license=license or old.license, source=source or old.source)
    return Metadata(name=name, license=license or "unknown", source=source or default_source)


def _build_corpus(
    paths: list[Path],
    folder: Path,
    recipe: Recipe,
    metadata: Metadata,
    *,
    strict: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Import files and folders, and write the corpus into the empty folder `folder`.

    Args:
        strict: whether to raise an error at the first malformed record.
    """
    report, builder, contents, ink = Report(), Builder(folder), _Contents(metadata.name), InkIndex()
    results = imap_in_processes(process_chunk, chunk_tasks(paths, recipe), workers)
    try:
        with closing(results), tqdm(unit=" drawings", disable=not progress, file=sys.stderr) as bar:
            for result in results:
                if isinstance(result, Unreadable):
                    _handle_unreadable(result, recipe, report, strict)
                    continue
                if strict:
                    _check_records(result)
                block = _limit_block(result.block, recipe, report)
                contents.add(result, block)
                ink.add(result.source, result.stroke_hashes)
                builder.add(block)
                report.files += result.is_first
                report.add_drawings(len(block), result.dropped, result.repaired, result.lost)
                bar.update(len(block))
                if report.kept == recipe.limit:
                    break
        if contents.layout is None or not report.kept:
            names = ", ".join(map(str, paths[:3]))
            raise DataError(f"{names}: received no drawings{report.describe_first_problem()}")
        labeled = _is_labeled(builder, contents, recipe)
        builder.finish(_complete_metadata(metadata, contents, contents.layout, builder, recipe), labeled=labeled)
    finally:
        builder.close()
    report.classes = len(builder.classes) if labeled else 0
    report.notices = ink.notices()
    report.splits = builder.sequences
    report.points = sum(length * count for length, count in builder.lengths.items())
    report.lengths = length_percentiles(builder.lengths)
    return report


@dataclass
class _Contents:
    """Properties of the sequences that have been added to a corpus so far."""

    name: str
    layout: StepLayout | None = None
    """Step layout of all sequences; None before the first sequence."""
    has_labels: bool = False
    """Whether any record contains a class."""
    control_grids: list[float] = field(default_factory=lambda: list(_CONTROL_GRIDS))
    """Spacings in `_CONTROL_GRIDS` that divide all control values added so far."""

    def add(self, result: ChunkResult, block: Block) -> None:
        """Update the properties with the sequences that a chunk adds to the corpus.

        Args:
            result: result of the chunk.
            block: sequences of the chunk that are added to the corpus.

        Raises:
            InputError: the step layout of the chunk differs from that of the previous chunks.
        """
        if len(result.block):
            if self.layout not in (None, result.layout):
                mixed = f"{_describe_layout(self.layout)} and {_describe_layout(result.layout)}"
                raise InputError(f"{self.name} contains {mixed}; import them separately")
            self.layout = result.layout
        if result.layout.is_stream:
            self.control_grids = [grid for grid in self.control_grids if _lies_on_grid(block.motion[:, 1:], grid)]
        self.has_labels |= result.has_labels


def _describe_layout(layout: StepLayout | None) -> str:
    return "nothing" if layout is None else f"sequences of ({', '.join(layout.features or ('dx', 'dy'))})"


def _lies_on_grid(values: np.ndarray, grid: float) -> bool:
    return bool(np.array_equal(np.rint(values / grid) * grid, values))


def _handle_unreadable(unreadable: Unreadable, recipe: Recipe, report: Report, strict: bool) -> None:
    if unreadable.error is None:
        report.ignore(unreadable.path, unreadable.kind)
    elif recipe.skip_bad:
        report.skip(unreadable.error)
    else:
        raise unreadable.error if strict else DataError(f"{unreadable.error}; pass --skip-bad to skip such files")


def _check_records(result: ChunkResult) -> None:
    """Raise `DataError` if a record or a line of a log is malformed."""
    remarks = [*result.dropped, *(remark for remark in result.repaired if remark.reason == BAD_LINE)]
    for remark in remarks:
        if remark.malformed:
            raise DataError(f"{remark.detail}; correct it, or use mdnrnn data import, which drops it")


def _limit_block(block: Block, recipe: Recipe, report: Report) -> Block:
    """Return the first sequences of a block, so that the corpus has at most `recipe.limit` sequences."""
    if recipe.limit is None or report.kept + len(block) <= recipe.limit:
        return block
    return block.select(np.arange(len(block)) < recipe.limit - report.kept)


def _is_labeled(builder: Builder, contents: _Contents, recipe: Recipe) -> bool:
    """Return whether the corpus has classes."""
    if recipe.labels == "none" or set(builder.classes) == {None}:
        return False
    # With "auto", the name of the only folder or file is not used as a class.
    return recipe.labels != "auto" or contents.has_labels or len(builder.classes) > 1


def _complete_metadata(
    metadata: Metadata, contents: _Contents, layout: StepLayout, builder: Builder, recipe: Recipe
) -> Metadata:
    """Add the initial pen state, features, bin width and units of the imported data to the metadata."""
    features = layout.features
    bin_width = None if recipe.changes_positions else metadata.bin_width
    grid = recipe.effective_grid(layout.grid)
    if layout.is_stream:
        features = ("dt", *(f"x{i}" for i in range(1, builder.features or 0)))
        bin_width = next(iter(contents.control_grids), None)
    elif features or grid:
        bin_width = grid or None
    elif builder.all_integers and bin_width is None:
        bin_width = 1.0
    units = metadata.units if metadata.units != Metadata.units else layout.units
    return replace(metadata, start=layout.start, features=features, units=units, bin_width=bin_width)
