"""Files to import: patterns and folders to the files that they name."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mdnrnn.data.formats import native
from mdnrnn.errors import DataError, InputError

STDIN = "-"


def expanded(sources: list[str]) -> Iterator[Path]:
    """The paths that sources name: themselves, or what matches them as patterns; an error where nothing does."""
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
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError:  # whoever opens it will tell
            yield place
            continue
        for entry in entries:
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


def files(paths: list[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Every file to read, and the folder that was given, if it was met inside one: not all there need be drawings."""
    for path in paths:
        if path.is_dir() and not native.recognizes(path):
            for inner in files_in(path):
                yield inner, path
        elif path.exists() and not (path.is_dir() or path.is_file()):
            raise DataError(f"{path}: no file but a pipe or a device; expected a file, or - for lines on stdin")
        else:
            yield path, None


class Place(NamedTuple):
    """What a file's own place says of its drawings."""

    group: str | None = None
    """The class of those that have none of their own."""
    split: str | None = None

    @classmethod
    def of(cls, path: Path, root: Path | None, *, by_file: bool) -> Place:
        """By the name of the file, or of the nearest folder, up to `root`; the outermost folder below `root`, or the
        file, that is called as a split is gives the split instead."""
        folders = list(path.absolute().parent.parts[-1:] if root is None else path.relative_to(root).parent.parts)
        inside = [*(folders if root else ()), *([path.stem] if by_file else ())]
        called = next((name for name in inside if name.lower() in _SPLIT_NAMES), None)
        names = [path.stem] if by_file else [*([root.absolute().name] if root else []), *folders]
        if called in names:
            names.remove(called)
        return cls(names[-1] if names else None, _SPLIT_NAMES[called.lower()] if called else None)


_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
