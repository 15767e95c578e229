"""List the files to import, and read the class and the split of a file from its path."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mdnrnn.data.folder_names import SPLIT_NAMES, from_folder_name
from mdnrnn.data.formats import native
from mdnrnn.data.importing.unpacked import Folder, UnpackedTree
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
    and third case, with the files of the same type beside it in place of the folders. Archives count as unpacked.

    Args:
        sources: imported files and folders. A file that is imported by its own path is compared with these.
    """

    def __init__(self, sources: Iterable[Path] = ()) -> None:
        self._sources = list(sources)
        self._tree = UnpackedTree(self._sources)
        self._known: dict[tuple[Path, str], bool] = {}

    def is_split_folder(self, folder: Path, extension: str, root: Path) -> bool:
        """Return whether a folder with the name of a split is a split.

        Args:
            folder: the folder.
            extension: extension of the drawings in it.
            root: the imported folder that contains it.
        """
        key = folder, extension
        if key not in self._known:
            self._known[key] = bool(self._tree.read_folder(folder, root).folders) or _are_splits(
                {_split_of(folder.name), *self._splits_of_folders(folder.parent, extension, root)}
            )
        return self._known[key]

    def _splits_of_folders(self, parent: Path, extension: str, root: Path) -> Iterator[str | None]:
        """Yield the split that the name of each subfolder with files of a type means, or None."""
        for name in [*self._tree.read_folder(parent, root).folders]:
            if self._tree.read_folder(parent / name, root).splits(extension):
                yield _split_of(name)

    def is_split_file(self, path: Path, root: Path | None) -> bool:
        """Return whether a file with the name of a split is a split.

        Args:
            path: the file.
            root: the imported folder that contains the file; None if the file was imported by its own path.
        """
        if root:
            splits = self._tree.read_folder(path.parent, root).splits(path.suffix)
        else:
            files = Folder()
            for each in self._sources:
                if not each.is_dir():
                    files.add_file(each.name)
            splits = files.splits(path.suffix)
        return _are_splits({_split_of(path.stem), *splits})


def _split_of(name: str) -> str | None:
    return SPLIT_NAMES.get(name.lower())


def _are_splits(splits: set[str | None]) -> bool:
    """Return whether all names are names of splits, or two of them are names of different splits.

    Args:
        splits: split that each name means; None for another name.
    """
    return None not in splits or len(splits) > 2


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
        folders: list[Path] = []
        split_folder = None
        if root is not None:
            folders = [root / each for each in path.relative_to(root).parents[::-1][1:]]  # outermost first
            named = (each for each in folders if _split_of(each.name))
            split_folder = next((each for each in named if split_names.is_split_folder(each, path.suffix, root)), None)
        if split_folder is not None:
            split, folders = split_folder.name, [each for each in folders if each != split_folder]
        else:
            is_split = by_file and _split_of(path.stem) and split_names.is_split_file(path, root)
            split = path.stem if is_split else ""
        if by_file:
            name = path.stem if split_folder or not split else ""
        else:
            name = [(root or path.parent).absolute(), *folders][-1].name
        return cls(from_folder_name(name) or None, _split_of(split))
