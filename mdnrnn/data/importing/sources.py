"""Files to import: expansion of patterns and folders, and the class and split in the path of a file."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mdnrnn.data.formats import native
from mdnrnn.errors import DataError, InputError

STDIN = "-"


def expand_sources(sources: list[str]) -> Iterator[Path]:
    """Yield each source that exists; expand the others as glob patterns.

    Raises:
        InputError: there are no sources, or a source matches nothing.
    """
    if not sources:
        raise InputError("nothing to import; expected files, folders, patterns, or - for lines on stdin")
    for source in sources:
        found = [source] if source == STDIN or os.path.exists(source) else sorted(glob.glob(source, recursive=True))
        if not found:
            raise InputError(f"{source}: no such file or folder; expected drawings of any known format")
        yield from map(Path, found)


def list_files(paths: list[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Yield every file to read and the folder in `paths` that contains it; None if the file itself is in `paths`.

    A corpus folder counts as a file.

    Raises:
        DataError: one of the paths is a pipe or device.
    """
    for path in paths:
        if path.is_dir() and not native.recognizes(path):
            for inner in walk_folder(path):
                yield inner, path
        elif path.exists() and not (path.is_dir() or path.is_file()):
            raise DataError(f"{path}: is a pipe or a device; expected a file, or - for lines on stdin")
        else:
            yield path, None


def walk_folder(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder in the order of their names; a corpus folder counts as a file.

    Hidden files are skipped. Symbolic links to folders are followed; each folder is visited once.
    """
    pending, visited = [folder], set()
    while pending:
        current = pending.pop()
        status = current.stat()
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        subfolders = []
        try:
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:  # opening it later reports the error
            yield current
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if _is_folder(path) and not (path / native.HEADER).is_file():
                subfolders.append(path)
            elif path.is_dir() or path.is_file():
                yield path
        pending += reversed(subfolders)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # for example a link to itself
        return False


class PathInfo(NamedTuple):
    """Class and split in the path of a file."""

    label: str | None = None
    """Class for drawings whose record has no class."""
    split: str | None = None

    @classmethod
    def from_path(cls, path: Path, root: Path | None, *, by_file: bool) -> PathInfo:
        """Read the class and the split from the names of the file and its folders.

        The split is the name of the outermost folder below `root` that is called train, valid or test or, if there is
        none and `by_file` is true, of the file. The class is the name of the file if `by_file` is true, else of its
        innermost folder, up to `root`. The name of the split is not used as the class.

        Args:
            root: the imported folder that contains the file, or None.
            by_file: whether to use the name of the file.
        """
        folders = list(path.absolute().parent.parts[-1:] if root is None else path.relative_to(root).parent.parts)
        split_candidates = [*(folders if root else ()), *([path.stem] if by_file else ())]
        split_name = next((name for name in split_candidates if name.lower() in _SPLIT_NAMES), None)
        names = [path.stem] if by_file else [*([root.absolute().name] if root else []), *folders]
        if split_name in names:
            names.remove(split_name)
        return cls(names[-1] if names else None, _SPLIT_NAMES[split_name.lower()] if split_name else None)


_SPLIT_NAMES = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
