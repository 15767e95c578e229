"""List the files to import, and read the class and the split of a file from its path."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mdnrnn.data.folder_names import SPLIT_NAMES, from_folder_name
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
    """Yield all files in a folder, sorted by name, then the files in its subfolders.

    A corpus folder is treated as a file.

    Hidden files and folders are skipped. Symbolic links to folders are followed; each folder is visited once.
    """
    pending, visited = [folder], set()
    while pending:
        current = pending.pop()
        subfolders = []
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(current), key=lambda entry: entry.name)
        except OSError:  # the error is reported when the importer opens this path
            yield current
            continue
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if _is_folder(path) and not _is_file(path / native.HEADER):
                subfolders.append(path)
            elif _is_folder(path) or _is_file(path):
                yield path
        pending += reversed(subfolders)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # for example a symbolic link to itself
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # for example, the folder of the path cannot be searched
        return False


class SplitNames:
    """Decides whether a folder or file with a name such as "train" is a split or a class.

    Such a folder is a split in three cases: it has subfolders; all folders beside it have names of splits; or a folder
    beside it has the name of a different split. Otherwise the folder is a class, as in the folders cat, train and bus.
    Only folders beside it that contain files of the same type count. A file with such a name is a split in the second
    and third case, with the files of the same type beside it in place of the folders.

    Args:
        sources: imported files and folders. A file that is imported by its own path is compared with these.
    """

    def __init__(self, sources: Iterable[Path] = ()) -> None:
        self._sources = list(sources)
        self._known: dict[tuple[Path, str], bool] = {}

    def is_split_folder(self, folder: Path, extension: str) -> bool:
        """Return whether a folder with the name of a split is a split.

        Args:
            folder: the folder.
            extension: extension of the drawings in it.
        """
        key = folder, extension
        if key not in self._known:
            siblings = [each.name for each in _visible_folders(folder.parent) if _has_file(each, extension)]
            self._known[key] = bool(_visible_folders(folder)) or _are_splits([folder.name, *siblings])
        return self._known[key]

    def is_split_file(self, path: Path, root: Path | None) -> bool:
        """Return whether a file with the name of a split is a split.

        Args:
            path: the file.
            root: the imported folder that contains the file; None if the file was imported by its own path.
        """
        key = (path.parent if root else Path(), path.suffix)
        if key not in self._known:
            files = _visible_entries(path.parent) if root else self._sources
            stems = [each.stem for each in files if each.suffix.lower() == path.suffix.lower() and not each.is_dir()]
            self._known[key] = _are_splits([path.stem, *stems])
        return self._known[key]


def _are_splits(names: Iterable[str]) -> bool:
    """Return whether all names are names of splits, or two of them are names of different splits."""
    splits = {SPLIT_NAMES.get(name.lower()) for name in names}
    return None not in splits or len(splits) > 2


def _visible_entries(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError:  # reported when the importer lists this folder
        return []


def _visible_folders(folder: Path) -> list[Path]:
    return [path for path in _visible_entries(folder) if _is_folder(path)]


def _has_file(folder: Path, extension: str) -> bool:
    return any(path.suffix.lower() == extension.lower() for path in _visible_entries(folder))


class PathInfo(NamedTuple):
    """Class and split of the drawings in a file, according to the path of the file."""

    label: str | None = None
    """Class name, from the name of a folder or of the file; None if there is none."""
    split: str | None = None

    @classmethod
    def from_path(
        cls, path: Path, root: Path | None, *, by_file: bool, split_names: SplitNames | None = None
    ) -> PathInfo:
        """Read the class and the split from the names of the file and its folders.

        Split: the name of the outermost folder below `root` that is called train, valid, test or a synonym such as
        training, and that is a split according to `SplitNames`. If there is no such folder and `by_file` is true, the
        name of the file gives the split under the same conditions.

        Class: the name of the file if `by_file` is true; otherwise the name of the innermost folder, which can be
        `root`. A folder that gives the split is skipped: the class of cat/train/1.svg is cat. A file whose own name
        gives the split has no class. Class names are decoded by `from_folder_name`.

        Args:
            path: the file.
            root: the imported folder that contains the file; None if the file was imported by its own path.
            by_file: whether to use the name of the file.
            split_names: decides which folders and files with such names are splits.
        """
        split_names = split_names or SplitNames()
        folders = [root / each for each in path.relative_to(root).parents[::-1][1:]] if root else []  # outermost first
        split_folder = next(
            (each for each in folders if _is_split_name(each.name) and split_names.is_split_folder(each, path.suffix)),
            None,
        )
        if split_folder is not None:
            split, folders = split_folder.name, [each for each in folders if each != split_folder]
        else:
            is_split = by_file and _is_split_name(path.stem) and split_names.is_split_file(path, root)
            split = path.stem if is_split else ""
        if by_file:
            name = path.stem if split_folder or not split else ""
        else:
            name = [(root or path.parent).absolute(), *folders][-1].name
        return cls(from_folder_name(name) or None, SPLIT_NAMES.get(split.lower()))


def _is_split_name(name: str) -> bool:
    return name.lower() in SPLIT_NAMES
