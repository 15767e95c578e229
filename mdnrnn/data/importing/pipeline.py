"""From files of any known format to a corpus: found, cut into chunks, parsed, put in order, divided, written.

Chunks are worked on one by one, or by several processes at once; what comes out is the same, and so is the memory
that it takes, however much there is to read.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mdnrnn.data import formats
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native, ndjson
from mdnrnn.data.formats.format import StepLayout
from mdnrnn.data.formats.streams import BAD_LINE
from mdnrnn.data.importing.builder import Block, Builder
from mdnrnn.data.importing.chunks import Job, Trouble, trouble_with, worked
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.importing.report import Report, quantiles
from mdnrnn.data.importing.sources import STDIN, Place, expanded, files
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import DataError, InputError
from mdnrnn.files import atomic_path, make_folder

_KNOWN_ENDINGS = (".svg", ".inkml", ".ndjson", ".npz")
"""A file so called that no format knows is damaged; another one is none of ours."""
_GRIDS = [1.0, 1 / 128]
"""What the values of controllers lie on: their own whole numbers, or IMPSY's shares of 128."""


# Reading


def read(path: Path, recipe: Recipe | None = None) -> Corpus:
    """A file or folder of any known format as a corpus. Malformed records are errors: `import_corpus` counts them.

    Args:
        recipe: what is done to it on the way; a corpus of our own stays as it is.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a corpus or a catalog name (mdnrnn data list)")
    if native.recognizes(path):
        return _open(path)
    # The arrays stay mapped when the folder is gone.
    with tempfile.TemporaryDirectory(prefix="mdnrnn-", ignore_cleanup_errors=True) as folder:
        metadata = Metadata(name=path.absolute().stem, source=path.name)
        report = _build([path], Path(folder), recipe or Recipe(), metadata, strict=True)
        skipped = {reason: count for reason, (count, _) in report.dropped.items()}
        return replace(native.read(Path(folder)), skipped=skipped)


def _open(path: Path) -> Corpus:
    try:
        return native.read(path)
    except InputError:
        raise
    except (OSError, EOFError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); import it again") from error


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
    """Write a corpus of all drawings in files and folders; a folder, or one file where `out` ends in `.npz`.

    Malformed records are left out and counted. With workers, scripts need `if __name__ == "__main__":`.

    Args:
        sources: one or several: files, folders, patterns such as "*.svg", or "-" for lines of JSON on stdin.
        name: of the corpus, by default that of `out`.
        source: what it says of its origin, by default the names of the sources.
        workers: processes that parse; what is written is the same for any number.
        progress: show it on stderr.
    """
    out, given = Path(out), [sources] if isinstance(sources, str | Path) else list(sources)
    if workers < 1:
        raise InputError(f"--workers is {workers}; expected 1 or more")
    if out.exists():
        raise InputError(f"{out} is there already; choose another name")
    recipe, paths = recipe or Recipe(), list(expanded([str(each) for each in given]))
    if Path(STDIN) in paths and recipe.format not in (None, "ndjson"):
        raise InputError(f"--format is {recipe.format}; expected ndjson for lines on stdin")
    metadata = _metadata(paths, name or out.stem, license, source or ", ".join(Path(path).name for path in given[:5]))
    make_folder(out.parent)
    with atomic_path(out) as temporary:
        folder = temporary.with_name("arrays") if out.suffix.lower() == ".npz" else temporary
        folder.mkdir()
        report = _build(paths, folder, recipe, metadata, workers=workers, progress=progress)
        if folder != temporary:
            native.zip_folder(folder, temporary)
    return report


def _metadata(paths: list[Path], name: str, license: str | None, source: str) -> Metadata:
    """Of the new corpus; of one that is imported again, what nobody says otherwise stays."""
    if len(paths) == 1 and paths[0].exists() and native.recognizes(paths[0]):
        old = _open(paths[0]).metadata
        return replace(old, name=name, license=license or old.license)
    return Metadata(name=name, license=license or "unknown", source=source)


# Work


def _items(paths: list[Path], recipe: Recipe) -> Iterator[Job | Trouble]:
    """All chunks of all files, in order, and what cannot be cut into chunks."""
    only = formats.find_format(recipe.format) if recipe.format else None
    for path, root in files(paths):
        if only and root and path.suffix.lower() not in only.extensions:
            continue
        try:
            form = ndjson.FORMAT if str(path) == STDIN else only or formats.recognize_format(path)
            if form is None and root and path.suffix.lower() not in _KNOWN_ENDINGS:
                yield Trouble(path, None)
                continue
            if form is None:
                raise formats.unknown_format_error(path)
            by = recipe.labels if recipe.labels in ("folder", "file") else form.default_label
            place = Place.of(path, root, by_file=by == "file") if by else Place()
            chunks = ndjson.read_chunks(sys.stdin.buffer, "stdin") if str(path) == STDIN else form.chunks(path)
            for number, chunk in enumerate(chunks):
                yield Job(path, number == 0, form.parse, chunk, form.layout, place, recipe)
        except (DataError, OSError) as error:
            yield trouble_with(path, error)


# All of it


def _build(
    paths: list[Path],
    folder: Path,
    recipe: Recipe,
    metadata: Metadata,
    *,
    strict: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Make a corpus folder. `strict`: the first malformed record is an error."""
    report, builder = Report(), Builder(folder)
    kind, own_labels, grids = None, False, _GRIDS
    try:
        with tqdm(unit=" drawings", disable=not progress, file=sys.stderr) as bar:
            for item, done in worked(_items(paths, recipe), workers):
                if isinstance(done, Trouble):
                    _put_up_with(done, recipe, report, strict)
                    continue
                report.files += item.first
                unread = [*done.drops, *(mend for mend in done.mends if mend.reason == BAD_LINE)]
                if strict and (wrong := next((remark for remark in unread if remark.malformed), None)):
                    raise DataError(f"{wrong.detail}; put it right, or leave it out with mdnrnn data import")
                if kind not in (None, done.kind) and len(done.block):
                    raise InputError(f"{metadata.name} mixes {_say(kind)} and {_say(done.kind)}; import them apart")
                kind = done.kind if len(done.block) else kind
                block = _within_limit(done.block, recipe, report)
                if done.kind.is_stream:
                    grids = [grid for grid in grids if _lies_on(block.motion[:, 1:], grid)]
                own_labels |= done.own_labels
                builder.add(block)
                report.count(len(block), done.drops, done.mends)
                bar.update(len(block))
                if report.kept == recipe.limit:
                    break
        if kind is None or not report.kept:
            where = ", ".join(map(str, paths[:3]))
            raise DataError(f"{where}: no drawings in it{report.nothing()}")
        fallback = recipe.labels == "auto" and not own_labels
        labeled = recipe.labels != "none" and not (fallback and len(builder.classes) < 2)
        labeled &= set(builder.classes) != {None}
        builder.finish(_completed(metadata, kind, builder, recipe, grids), labeled=labeled)
    finally:
        builder.close()
    report.classes = len(builder.classes) if labeled else 0
    report.splits = builder.sequences
    report.points = sum(length * count for length, count in builder.lengths.items())
    report.lengths = quantiles(builder.lengths)
    return report


def _put_up_with(trouble: Trouble, recipe: Recipe, report: Report, strict: bool) -> None:
    if trouble.error is None:
        report.pass_over(trouble.path)
    elif recipe.skip_bad:
        report.skip(trouble.error)
    else:
        raise trouble.error if strict else DataError(f"{trouble.error}; --skip-bad leaves such files out")


def _within_limit(block: Block, recipe: Recipe, report: Report) -> Block:
    if recipe.limit is None or report.kept + len(block) <= recipe.limit:
        return block
    return block.select(np.arange(len(block)) < recipe.limit - report.kept)


def _say(kind: StepLayout | None) -> str:
    return "nothing" if kind is None else f"sequences of ({', '.join(kind.features or ('dx', 'dy'))})"


def _lies_on(values: np.ndarray, grid: float) -> bool:
    return bool(np.array_equal(np.rint(values / grid) * grid, values))


def _completed(metadata: Metadata, kind: StepLayout, builder: Builder, recipe: Recipe, grids: list[float]) -> Metadata:
    """With what the data turned out to be; the values of streams lie on all of `grids`."""
    width = builder.features or 0
    features = ("dt", *(f"x{i}" for i in range(1, width))) if kind.is_stream else kind.features
    bin_width = metadata.bin_width if not recipe.reshapes else None
    if kind.is_stream:
        bin_width = next(iter(grids), None)
    elif features or recipe.rounding(kind.grid):
        bin_width = recipe.rounding(kind.grid) or None
    elif builder.whole and bin_width is None:
        bin_width = 1.0
    units = metadata.units if metadata.units != Metadata.units else kind.units
    return replace(metadata, start=kind.start, features=features, units=units, bin_width=bin_width)
