"""From files of any known format to a corpus: found, cut into chunks, parsed, put in order, divided, written.

Chunks are worked on one by one, or by several processes at once; what comes out is the same, and so is the memory
that it takes, however much there is to read.
"""

from __future__ import annotations

import bisect
import glob
import hashlib
import os
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from tqdm import tqdm

from mdnrnn.data import formats
from mdnrnn.data.building import Block, Builder, smallest
from mdnrnn.data.corpus import SPLITS, Corpus, Facts
from mdnrnn.data.drawings import Drawings, Record, Remark
from mdnrnn.data.formats import native, ndjson
from mdnrnn.data.formats.format import Format, Kind
from mdnrnn.distributions.step import DOWN
from mdnrnn.errors import DataError, InputError
from mdnrnn.files import make_folder

DEFAULT_SPLIT = "0.9,0.05,0.05"
_STDIN = "-"
_KNOWN_ENDINGS = (".svg", ".inkml", ".ndjson", ".npz")
"""A file so called that no format knows is damaged; another one is none of ours."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is done to drawings on their way into a corpus, in this order."""

    format: str | None = None
    """Take all files for this format, in folders those with its ending; by default each is recognised."""
    box: float | None = None
    """Move each drawing to 0 and scale it so that its longer side is this long, 255 say."""
    resample: float | None = None
    """Put points at equal distances along each stroke, at most this far apart."""
    simplify: float | None = None
    """Keep the points that Ramer, Douglas and Peucker keep at this tolerance; Quick, Draw! uses 2 in a box of 255."""
    grid: float | None = None
    """Round coordinates to multiples of this; by default 1 where there is a box, else not at all. 0: not at all."""
    min_points: int = 1
    """Leave out drawings of fewer steps."""
    max_points: int | None = None
    """Leave out drawings of more steps."""
    labels: Literal["auto", "record", "folder", "file", "none"] = "auto"
    """Where classes come from: the records; the names of folders or of files; auto: the records, and where they have
    none, the folder, or the file if it holds many drawings, provided that there are several."""
    split: str | None = None
    """Shares of train, valid, test, such as 0.9,0.05,0.05, the default. A drawing's place follows from its key, or
    from its points, so it stays there when data are added. By default splits that the files have are kept."""
    limit: int | None = None
    """Stop after so many drawings."""
    skip_bad: bool = False
    """Leave out files that cannot be read, and count them, instead of stopping at the first."""

    def __post_init__(self) -> None:
        for name in ("box", "resample", "simplify", "limit", "max_points"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected more than 0")
        if self.grid is not None and not 0 <= self.grid < float("inf"):
            raise InputError(f"--grid is {self.grid}; expected 0 or more")
        if self.format is not None:
            formats.find(self.format)
        self.shares()

    def shares(self) -> tuple[float, ...]:
        """Of train, valid and test, summing to 1."""
        try:
            shares = tuple(float(part) for part in (self.split or DEFAULT_SPLIT).split(","))
        except ValueError:
            shares = ()
        if len(shares) != len(SPLITS) or not all(0 <= share <= 1 for share in shares) or abs(sum(shares) - 1) > 1e-6:
            raise InputError(f"--split is {self.split}; expected three shares that sum to 1, such as {DEFAULT_SPLIT}")
        return shares

    @property
    def rounding(self) -> float:
        """The grid that coordinates are rounded to; 0: none."""
        return self.grid if self.grid is not None else 1.0 if self.box else 0.0

    @property
    def reshapes(self) -> bool:
        """Whether drawings come out other than they are."""
        return bool(self.box or self.resample or self.simplify or self.rounding)


@dataclass
class Report:
    """What an import did."""

    files: int = 0
    read: int = 0
    """Records."""
    kept: int = 0
    points: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    """Steps a sequence: quantile -> T."""
    splits: dict[str, int] = field(default_factory=dict)
    classes: int = 0
    dropped: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Reason -> how many, and where the first stands."""
    mended: dict[str, tuple[int, str]] = field(default_factory=dict)
    bad_files: dict[str, tuple[int, str]] = field(default_factory=dict)
    unknown_files: tuple[int, str] = (0, "")
    """Files in folders that no format knows: how many, and the first."""

    def count(self, kept: int, drops: Iterable[Remark], mends: Iterable[Remark]) -> None:
        """Take in what became of one chunk."""
        self.kept += kept
        self.read += kept
        for remark in drops:
            self.read += 1
            _count(self.dropped, remark)
        for remark in mends:
            _count(self.mended, remark)


def _count(counts: dict[str, tuple[int, str]], remark: Remark) -> None:
    number, first = counts.get(remark.reason, (0, remark.detail))
    counts[remark.reason] = (number + 1, first)


class _Job(NamedTuple):
    """One chunk, and all that a process needs to work on it."""

    parse: Any
    chunk: Any
    kind: Kind
    group: str | None
    """The class of drawings that have none of their own."""
    recipe: Recipe


class _Done(NamedTuple):
    """What became of a chunk."""

    block: Block
    kind: Kind
    own_labels: bool
    drops: list[Remark]
    mends: list[Remark]


# Reading


def read(path: Path) -> Corpus:
    """A file or folder of any known format as a corpus. Malformed records are errors: `import_corpus` counts them."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; expected a corpus or a catalog name (mdnrnn data list)")
    if native.recognises(path):
        return _open(path)
    # The arrays stay mapped when the folder is gone.
    with tempfile.TemporaryDirectory(prefix="mdnrnn-", ignore_cleanup_errors=True) as folder:
        report = _build([path], Path(folder), Recipe(), Facts(name=path.stem, source=path.name), strict=True)
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
    sources: Iterable[str | Path],
    out: Path | str,
    recipe: Recipe | None = None,
    *,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Write a corpus of all drawings in files and folders; a folder, or one file where `out` ends in `.npz`.

    Malformed records are left out and counted. With workers, scripts need `if __name__ == "__main__":`.

    Args:
        sources: files, folders, patterns such as "*.svg", or "-" for lines of JSON on stdin.
        name: of the corpus, by default that of `out`.
        source: what it says of its origin, by default the names of the sources.
        workers: processes that parse; what is written is the same for any number.
        progress: show it on stderr.
    """
    out, given = Path(out), [str(each) for each in sources]
    if workers < 1:
        raise InputError(f"--workers is {workers}; expected 1 or more")
    if out.exists():
        raise InputError(f"{out} is there already; choose another name")
    paths = list(_expanded(given))
    facts = _facts(paths, name or out.stem, licence, source or ", ".join(Path(path).name for path in given[:5]))
    make_folder(out.parent)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".tmp", dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        try:
            report = _build(paths, folder, recipe or Recipe(), facts, workers=workers, progress=progress)
            native.zip_folder(folder, out) if out.suffix.lower() == ".npz" else folder.rename(out)
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"cannot write {out}: {reason}; free some space or choose another place") from error
    return report


def _facts(paths: list[Path], name: str, licence: str | None, source: str) -> Facts:
    """Of the new corpus; of one that is imported again, what nobody says otherwise stays."""
    if len(paths) == 1 and paths[0].exists() and native.recognises(paths[0]):
        old = _open(paths[0]).facts
        return replace(old, name=name, licence=licence or old.licence)
    return Facts(name=name, licence=licence or "unknown", source=source)


# Files


def _expanded(sources: list[str]) -> Iterator[Path]:
    if not sources:
        raise InputError("nothing to import; expected files, folders, patterns, or - for lines on stdin")
    for source in sources:
        found = [source] if source == _STDIN or os.path.exists(source) else sorted(glob.glob(source, recursive=True))
        if not found:
            raise InputError(f"{source}: no such file or folder; expected drawings of any known format")
        yield from map(Path, found)


def files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder, in the order of their names; hidden ones left out, links to folders followed once.

    A corpus folder is yielded whole."""
    pending, seen = [folder], set()
    while pending:
        place = pending.pop()
        state = place.stat()
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        below = []
        for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if _is_folder(path) and not (path / native.HEADER).is_file():
                below.append(path)
            elif path.is_dir() or path.is_file():
                yield path
        pending += reversed(below)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to itself
        return False


def _found(paths: list[Path], recipe: Recipe, report: Report) -> Iterator[tuple[Path, Format]]:
    """The files to read, each with its format."""
    only = formats.find(recipe.format) if recipe.format else None
    for given in paths:
        inside = given.is_dir() and not native.recognises(given)
        for path in files_in(given) if inside else [given]:
            if only and inside and path.suffix.lower() not in only.endings:
                continue
            form = ndjson.FORMAT if str(path) == _STDIN else only or formats.recognise(path)
            if form:
                yield path, form
            elif not inside or path.suffix.lower() in _KNOWN_ENDINGS:
                raise formats.unknown(path)
            else:
                number, first = report.unknown_files
                report.unknown_files = (number + 1, first or str(path))


# Work


def _jobs(paths: list[Path], recipe: Recipe, report: Report) -> Iterator[_Job]:
    for path, form in _found(paths, recipe, report):
        report.files += 1
        group = {"folder": path.absolute().parent.name, "file": path.stem}
        by = recipe.labels if recipe.labels in group else form.group
        try:
            for chunk in _chunks(path, form):
                yield _Job(form.parse, chunk, form.kind, group.get(by or ""), recipe)
        except DataError as error:
            _bad_file(error, recipe, report)


def _chunks(path: Path, form: Format) -> Iterator[Any]:
    if str(path) == _STDIN:
        stream: BinaryIO = sys.stdin.buffer
        return ndjson.chunks_of(stream, "stdin")
    return form.chunks(path)


def _bad_file(error: DataError, recipe: Recipe, report: Report) -> None:
    if not recipe.skip_bad:
        raise error
    _count(report.bad_files, Remark("cannot be read", str(error)))


def work(job: _Job) -> _Done:
    """Parse a chunk and bring its drawings into the shape that they have in the corpus."""
    recipe, kind = job.recipe, job.kind
    drawings = _divided(job.parse(job.chunk).checked(), recipe)
    if kind.stream:
        if recipe.reshapes:
            raise InputError("box, resample, simplify and grid are for drawings; these are streams; leave them out")
        motion, lengths = drawings.points, drawings.sizes
        event = np.full(len(motion), DOWN, np.uint8)
    else:
        drawings = _reshaped(drawings, recipe)
        motion, event, lengths = drawings.steps(kind.start)
    splits = np.array([SPLITS.index(record.split or "") for record in drawings.records], np.uint8)
    labels = [_label(record, job) for record in drawings.records]
    texts = [record.text for record in drawings.records]
    block = Block(smallest(motion), event, lengths, splits, labels, texts)
    keep = (lengths >= recipe.min_points) & (lengths <= (recipe.max_points or np.inf))
    own = any(record.label is not None for record in drawings.records)
    drops = [*drawings.drops, *_unwanted(drawings.records, lengths, keep, recipe)]
    return _Done(block.select(keep), kind, own, drops, drawings.mends)


def _reshaped(drawings: Drawings, recipe: Recipe) -> Drawings:
    if recipe.box:
        drawings = drawings.boxed(recipe.box)
    if recipe.resample:
        drawings = drawings.resampled(recipe.resample)
    if recipe.simplify:
        drawings = drawings.simplified(recipe.simplify)
    if recipe.rounding:
        drawings = drawings.rounded(recipe.rounding)
    return drawings


def _unwanted(records: list[Record], lengths: np.ndarray, keep: np.ndarray, recipe: Recipe) -> Iterator[Remark]:
    for i in np.flatnonzero(~keep):
        few = lengths[i] < recipe.min_points
        limit = f"fewer than {recipe.min_points}" if few else f"more than {recipe.max_points}"
        yield Remark(f"{limit} points", f"{records[i].where} has {lengths[i]}", malformed=False)


def _label(record: Record, job: _Job) -> str | None:
    if job.recipe.labels in ("folder", "file"):
        return job.group
    if job.recipe.labels == "none":
        return None
    return record.label if record.label is not None or job.recipe.labels == "record" else job.group


def _divided(drawings: Drawings, recipe: Recipe) -> Drawings:
    """The same, each record with its split: by what the drawing is, before anything is done to it."""
    ends, sizes = drawings.sizes.cumsum(), drawings.sizes
    bounds = np.cumsum(recipe.shares())[:-1].tolist()
    records = []
    for i, record in enumerate(drawings.records):
        if recipe.split is not None or record.split not in SPLITS:
            key = (record.key or "").encode()
            if record.key is None:
                points = drawings.points[ends[i] - sizes[i] : ends[i]]
                key = (points - points[0]).tobytes()
            place = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
            record = record._replace(split=SPLITS[bisect.bisect_right(bounds, place)])
        records.append(record)
    return replace(drawings, records=records)


# All of it


def _build(
    paths: list[Path],
    folder: Path,
    recipe: Recipe,
    facts: Facts,
    *,
    strict: bool = False,
    workers: int = 1,
    progress: bool = False,
) -> Report:
    """Make a corpus folder. `strict`: the first malformed record is an error."""
    report, builder = Report(), Builder(folder)
    kind, own_labels = None, False
    try:
        with tqdm(unit=" drawings", disable=not progress, file=sys.stderr) as bar:
            for done in _results(_jobs(paths, recipe, report), workers, recipe, report):
                if strict and (wrong := next((drop for drop in done.drops if drop.malformed), None)):
                    raise DataError(f"{wrong.detail}; put it right, or leave it out with mdnrnn data import")
                if kind not in (None, done.kind) and len(done.block):
                    raise InputError(f"{facts.name} mixes {_say(kind)} and {_say(done.kind)}; import them apart")
                kind = done.kind if len(done.block) else kind
                block = _within_limit(done.block, recipe, report)
                own_labels |= done.own_labels
                builder.add(block)
                report.count(len(block), done.drops, done.mends)
                bar.update(len(block))
                if report.kept == recipe.limit:
                    break
        if kind is None or not report.kept:
            raise _nothing(paths, report)
        fallback = recipe.labels == "auto" and not own_labels
        labelled = recipe.labels != "none" and not (fallback and len(builder.classes) < 2)
        labelled &= set(builder.classes) != {None}
        builder.finish(_completed(facts, kind, builder, recipe), labelled=labelled)
    finally:
        builder.close()
    report.classes = len(builder.classes) if labelled else 0
    report.splits = builder.sequences
    report.points = sum(length * count for length, count in builder.lengths.items())
    report.lengths = _quantiles(builder.lengths)
    return report


def _results(jobs: Iterator[_Job], workers: int, recipe: Recipe, report: Report) -> Iterator[_Done]:
    """What becomes of the jobs, in their order, a few of them at a time in memory."""
    if workers == 1:
        for job in jobs:
            try:
                yield work(job)
            except DataError as error:
                _bad_file(error, recipe, report)
        return
    # Not forked: the libraries here have threads of their own.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[_Done]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(work, job))
                if len(waiting) > 2 * workers:
                    yield from _result(waiting.popleft(), recipe, report)
            while waiting:
                yield from _result(waiting.popleft(), recipe, report)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _result(future: Future[_Done], recipe: Recipe, report: Report) -> Iterator[_Done]:
    try:
        yield future.result()
    except DataError as error:
        _bad_file(error, recipe, report)


def _within_limit(block: Block, recipe: Recipe, report: Report) -> Block:
    if recipe.limit is None or report.kept + len(block) <= recipe.limit:
        return block
    return block.select(np.arange(len(block)) < recipe.limit - report.kept)


def _nothing(paths: list[Path], report: Report) -> DataError:
    counts = {**report.bad_files, **report.dropped}
    first = next(iter(counts.values()), (0, ""))[1]
    where = ", ".join(map(str, paths[:3]))
    return DataError(f"{where}: no drawings in it" + (f"; the first left out: {first}" if first else ""))


def _say(kind: Kind | None) -> str:
    return "nothing" if kind is None else f"sequences of ({', '.join(kind.features or ('dx', 'dy'))})"


def _completed(facts: Facts, kind: Kind, builder: Builder, recipe: Recipe) -> Facts:
    """With what the data turned out to be."""
    width = builder.features or 0
    features = ("dt", *(f"x{i}" for i in range(1, width))) if kind.stream else kind.features
    quantum = facts.quantum if not recipe.reshapes else None
    if recipe.rounding:
        quantum = recipe.rounding
    elif builder.whole and not features:
        quantum = 1.0
    units = facts.units if facts.units != Facts.units else kind.units
    return replace(facts, start=kind.start, features=features, units=units, quantum=quantum)


def _quantiles(lengths: Counter[int]) -> dict[str, int]:
    """T below which so many of a hundred sequences lie."""
    values = np.array(sorted(lengths))
    reached = np.cumsum([lengths[value] for value in values.tolist()])
    return {f"{q}%": int(values[np.searchsorted(reached, q / 100 * reached[-1])]) for q in (0, 5, 50, 95, 100)}
