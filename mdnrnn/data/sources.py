"""Files to import: patterns and folders to the files that they name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from mdnrnn.data.formats import native
from mdnrnn.errors import DataError, InputError

STDIN = "-"


def expanded(sources: list[str]) -> Iterator[Path]:
    if not sources:
        raise InputError("nothing to import; expected files, folders, patterns, or - for lines on stdin")
    for source in sources:
        found = [source] if source == STDIN or os.path.exists(source) else sorted(glob.glob(source, recursive=True))
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


def files(paths: list[Path]) -> Iterator[tuple[Path, bool]]:
    """Every file to read, and whether it was met inside a folder: not all that lies there need be drawings."""
    for path in paths:
        if path.is_dir() and not native.recognises(path):
            for inner in files_in(path):
                yield inner, True
        elif path.is_file() or str(path) == STDIN:
            yield path, False
        else:
            raise DataError(f"{path}: no file but a pipe or a device; expected a file, or - for lines on stdin")
