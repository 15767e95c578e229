"""One chunk of a file at a time, in this process or in several: parsed, divided, put in shape, made into steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.corpus import SPLITS
from mdnrnn.data.drawings import DrawingBatch, Record, Remark
from mdnrnn.data.formats.format import StepLayout
from mdnrnn.data.importing.builder import Block, smallest
from mdnrnn.data.importing.recipe import Recipe, divided, reshaped
from mdnrnn.data.importing.sources import Place
from mdnrnn.errors import DataError, InputError
from mdnrnn.events import DOWN


class Job(NamedTuple):
    """One chunk of a file, and all that a process needs to work on it."""

    path: Path
    first: bool
    """Whether it is the first of its file."""
    parse: Callable[[Any], DrawingBatch]
    chunk: Any
    kind: StepLayout
    place: Place
    recipe: Recipe


class Done(NamedTuple):
    """What became of a chunk."""

    block: Block
    kind: StepLayout
    own_labels: bool
    drops: list[Remark]
    mends: list[Remark]


class Trouble(NamedTuple):
    """A file, or a piece of one, that cannot be read; without an error, one that no format knows."""

    path: Path
    error: DataError | None


def work(job: Job) -> Done:
    """Parse a chunk and bring its drawings into the shape that they have in the corpus."""
    recipe, kind = job.recipe, job.kind
    drawings = divided(job.parse(job.chunk).drop_invalid(), recipe, job.place.split, kind.is_stream)
    if kind.is_stream:
        if recipe.reshapes or recipe.jump:
            raise InputError(
                "jump, box, resample, simplify and grid are for drawings; these are streams; leave them out"
            )
        motion, lengths = drawings.points, drawings.point_counts
        event = np.full(len(motion), DOWN, np.uint8)
    else:
        drawings = reshaped(drawings, recipe, kind.grid)
        motion, event, lengths = drawings.to_steps(kind.start)
    splits = np.array([SPLITS.index(record.split or "") for record in drawings.records], np.uint8)
    labels = [_label(record, job) for record in drawings.records]
    texts = [record.text for record in drawings.records]
    writers = [record.writer for record in drawings.records]
    block = Block(smallest(motion), event, lengths, splits, labels, texts, writers if any(writers) else None)
    keep = (lengths >= recipe.min_points) & (lengths <= (recipe.max_points or np.inf))
    keep &= np.array([bool(text) or not recipe.with_text for text in texts], bool)
    own = any(record.label is not None for record in drawings.records)
    drops = [*drawings.dropped, *_unwanted(drawings.records, lengths, keep, recipe)]
    return Done(block.select(keep), kind, own, drops, drawings.repaired)


def _unwanted(records: list[Record], lengths: np.ndarray, keep: np.ndarray, recipe: Recipe) -> Iterator[Remark]:
    for i in np.flatnonzero(~keep):
        if recipe.min_points <= lengths[i] <= (recipe.max_points or np.inf):
            yield Remark("no text", f"{records[i].where} has no text", malformed=False)
            continue
        few = lengths[i] < recipe.min_points
        limit = f"fewer than {recipe.min_points}" if few else f"more than {recipe.max_points}"
        yield Remark(f"{limit} points", f"{records[i].where} has {lengths[i]}", malformed=False)


def _label(record: Record, job: Job) -> str | None:
    if job.recipe.labels in ("folder", "file"):
        return job.place.group
    if job.recipe.labels == "none":
        return None
    return record.label if record.label is not None or job.recipe.labels == "record" else job.place.group


def worked(items: Iterator[Job | Trouble], workers: int) -> Iterator[tuple[Any, Done | Trouble]]:
    """What becomes of the items, in their order, whatever comes up ahead; a few of them at a time in memory."""
    if workers == 1:
        for item in items:
            yield item, item if isinstance(item, Trouble) else _outcome(item, partial(work, item))
        return
    # Not forked: the libraries here have threads of their own.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting: deque[tuple[Job, Callable[[], Done]] | Trouble] = deque()
        try:
            while True:
                for item in islice(items, 2 * workers - len(waiting)):
                    waiting.append(item if isinstance(item, Trouble) else (item, pool.submit(work, item).result))
                if not waiting:
                    return
                next_one = waiting.popleft()
                if isinstance(next_one, Trouble):
                    yield next_one, next_one
                else:
                    yield next_one[0], _outcome(*next_one)
        except BrokenProcessPool as error:
            raise InputError(
                f"one of {workers} processes was ended from outside, for want of memory perhaps; try fewer --workers"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(job: Job, result: Callable[[], Done]) -> Done | Trouble:
    try:
        return result()
    except (DataError, OSError) as error:
        return trouble_with(job.path, error)


def trouble_with(path: Path, error: DataError | OSError) -> Trouble:
    """What to tell of a file that could not be read."""
    if isinstance(error, OSError):
        error = DataError(f"{path}: cannot be read ({error.strerror or error}); check the place")
    return Trouble(path, error)
