"""List the files to import, and read the class and the split of a file from its path."""

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
    """Yield each source that is "-" (stdin) or an existing path; expand the other sources as glob patterns.

    Raises:
        InputError: there are no sources, or a pattern matches nothing.
    """
    if not sources:
        raise InputError("sources: received none, expected files, folders, patterns, or - for JSON lines from stdin")
    for source in sources:
        found = [source] if source == STDIN or os.path.exists(source) else sorted(glob.glob(source, recursive=True))
        if not found:
            raise InputError(f"{source}: no such file or folder; expected drawings of any known format")
        yield from map(Path, found)


def list_files(paths: list[Path]) -> Iterator[tuple[Path, Path | None]]:
    """Yield a pair (file, folder) for every file to read.

    `folder` is the folder in `paths` in which the file was found, or None if the file itself is in `paths`. A corpus
    folder is treated as a file.

    Raises:
        DataError: one of the paths is a pipe or device.
    """
    for path in paths:
        if path.is_dir() and not native.recognizes(path):
            for inner in walk_folder(path):
                yield inner, path
        elif path.exists() and not (path.is_dir() or path.is_file()):
            raise DataError(f"{path} is a pipe or a device; expected a file, or - for JSON lines from stdin")
        else:
            yield path, None


def walk_folder(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder, sorted by name, then those in its subfolders. A corpus folder is treated as a file.

    Hidden files and folders are skipped. Symbolic links to folders are followed; each folder is visited once.
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
        except OSError:  # the error is reported when the importer opens this path
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
    except OSError:  # for example a symbolic link to itself
        return False


class PathInfo(NamedTuple):
    """Class and split of the drawings in a file, according to the path of the file."""

    label: str | None = None
    """Class name, from the name of a folder or of the file; None if there is none."""
    split: str | None = None

    @classmethod
    def from_path(cls, path: Path, root: Path | None, *, by_file: bool) -> PathInfo:
        """Read the class and the split from the names of the file and its folders.

        The split is given by the outermost folder below `root` that is called train, valid, test or a synonym such as
        training. If there is no such folder and `by_file` is true, a file of such a name gives the split. If `by_file`
        is true, the class is the name of the file; otherwise it is the name of the innermost folder, which can be
        `root`. A name that gives the split is skipped: the class of cat/train/1.svg is cat.

        Args:
            path: the file.
            root: the imported folder that contains the file; None if the file was imported by its own path.
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
