"""Names in the imported folders as they would be after all archives are unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath

from mdnrnn.data.folder_names import SPLIT_NAMES
from mdnrnn.data.formats.archives import member_names, read_kind
from mdnrnn.data.importing.contents import contains_files, unpacked_name
from mdnrnn.errors import DataError

_MAX_ENTRIES = 1 << 18
"""Maximum number of folders in archives, plus the kinds of files in each of them. They are held in memory."""


class Folder:
    """Visible subfolders and kinds of files of a folder."""

    def __init__(self) -> None:
        self.folders: dict[str, Folder] = {}
        """Subfolders by name."""
        self.is_read = False
        """Whether the entries on disk have been added."""
        self._kinds: set[tuple[str, str | None]] = set()
        """Extension of a file, and split that its name means."""

    def splits(self, extension: str) -> set[str | None]:
        """Return the splits that names of files with an extension mean, and None if there is any other name."""
        return {split for split in (None, *SPLIT_NAMES.values()) if (extension.lower(), split) in self._kinds}

    def add_file(self, name: str) -> bool:
        """Add a file; return whether it is the first file of its kind."""
        path, count = PurePath(unpacked_name(name)), len(self._kinds)
        self._kinds.add((path.suffix.lower(), SPLIT_NAMES.get(path.stem.lower())))
        return len(self._kinds) > count


class UnpackedTree:
    """Folders on disk and in archives. They are read when they are needed.

    Args:
        sources: imported files and folders.
    """

    def __init__(self, sources: Iterable[Path]) -> None:
        self._sources = list(sources)
        self._roots: dict[Path, tuple[Folder, bool]] = {}
        """Imported folder -> its names, and whether folders on disk contribute to them."""
        self._entries = 0

    def read_folder(self, folder: Path, root: Path) -> Folder:
        """Return the names in a folder. The folders from `root` down to it are read, as their archives can contain it.

        Args:
            folder: `root` or a folder below it.
            root: imported folder, or the folder to which an imported archive would be unpacked.

        Raises:
            DataError: the archives have over `_MAX_ENTRIES` folders and kinds of files.
        """
        self._check_entries(root)
        if root not in self._roots:
            self._add_root(root)
        found, is_on_disk = self._roots[root]
        path = root
        self._read_disk(found, path, is_on_disk)
        for name in folder.relative_to(root).parts:
            path, found = path / name, found.folders.setdefault(name, Folder())
            self._read_disk(found, path, is_on_disk)
        return found

    def _add_root(self, root: Path) -> None:
        archives = [each for each in self._sources if each.is_file() and each.with_suffix("") == root]
        # If only the archive is imported, a folder beside it with the same name does not matter.
        self._roots[root] = Folder(), root in self._sources or not archives
        for archive in archives:
            self._add_archive(self._roots[root][0], (), archive, None)

    def _read_disk(self, folder: Folder, path: Path, is_on_disk: bool) -> None:
        """Add the visible entries of a folder on disk, unless they have been added. Zip archives become folders."""
        if folder.is_read or not is_on_disk:
            return
        folder.is_read = True
        with suppress(OSError), os.scandir(path) as entries:  # errors are reported when the importer lists the folder
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    folder.folders.setdefault(entry.name, Folder())
                    continue
                folder.add_file(entry.name)
                if entry.name.lower().endswith(".zip"):
                    archive = Path(entry.path)
                    self._add_archive(folder, (archive.stem,), archive, path)

    def _add_archive(self, folder: Folder, prefix: tuple[str, ...], archive: Path, root: Path | None) -> None:
        """Add the members of a zip archive, if it is expanded, to the subfolder `prefix` of a folder."""
        try:
            if read_kind(archive) != "zip" or not contains_files(archive, root):
                return
            files, folders = member_names(archive)
        except (DataError, OSError):  # reported when the importer opens the archive
            return
        for name in folders:
            self._add_folders(folder, (*prefix, *PurePosixPath(name).parts), archive)
        for name in files:
            *parents, last = PurePosixPath(name).parts
            if self._add_folders(folder, (*prefix, *parents), archive).add_file(last):
                self._count_entry(archive)

    def _add_folders(self, folder: Folder, names: Iterable[str], archive: Path) -> Folder:
        """Add nested folders, and return the innermost one."""
        for name in names:
            if name not in folder.folders:
                folder.folders[name] = Folder()
                self._count_entry(archive)
            folder = folder.folders[name]
        return folder

    def _count_entry(self, archive: Path) -> None:
        self._entries += 1
        self._check_entries(archive)

    def _check_entries(self, path: Path) -> None:
        if self._entries > _MAX_ENTRIES:
            raise DataError(f"{path}: over {_MAX_ENTRIES} folders and kinds of files in archives; unpack the archives")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # for example a symbolic link to itself
        return False
