"""Read files inside zip archives and gzip files without extracting them to disk.

An `ArchivePath` is a path that continues inside an archive, for example drawings.zip/cat/1.svg. The content of the gzip
file cat.ndjson.gz has the path cat.ndjson.gz/cat.ndjson. File readers open an `ArchivePath` like any other path.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal

from mdnrnn.data.formats.decompression import GZIP_MAGIC, ZIP_MAGIC, gunzip, open_zip

if TYPE_CHECKING or sys.platform != "win32":
    from pathlib import PosixPath as _PlatformPath
else:
    from pathlib import WindowsPath as _PlatformPath


class ArchivePath(_PlatformPath):
    """Path of a file in a zip archive or gzip file: the path of the archive, then the path inside the archive."""

    def open(self, mode: str = "rb", *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]
        """Open the file for reading bytes.

        Raises:
            DataError: the archive is damaged or encrypted, or the file exceeds a limit. Reading the returned stream can
                raise the same error.
            FileNotFoundError: the file is not in the archive.
        """
        if mode != "rb":
            raise ValueError(f"mode: received {mode!r}, expected 'rb'")
        archive, name = self._split()
        if read_kind(archive) == "gzip":
            return gunzip(archive.open("rb"), archive.stat().st_size, str(archive))
        zip_archive = open_zip(archive)
        if info := zip_archive.members.get(name):
            return zip_archive.open(info, str(self))
        packed = archive / name.rpartition("/")[0]
        info = zip_archive.members.get(packed.relative_to(archive).as_posix())
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return gunzip(zip_archive.open(info, str(packed)), info.file_size, str(packed))

    def is_dir(self, **_: Any) -> bool:
        """Return False, because an `ArchivePath` denotes a file."""
        return False

    def _split(self) -> tuple[Path, str]:
        """Return the archive, and the path in the archive."""
        archive = next((Path(parent) for parent in self.parents if os.path.isfile(parent)), None)
        if archive is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return archive, PurePosixPath(*self.parts[len(archive.parts) :]).as_posix()

    def as_unpacked(self) -> Path:
        """Return the path that the file would have after unpacking.

        A zip archive is unpacked into a folder with the name of the archive, without the extension. A gzip file is
        unpacked into the folder that contains the gzip file.
        """
        archive, name = self._split()
        if read_kind(archive) == "gzip":
            return archive.parent / name
        if name not in open_zip(archive).members:  # a gzip file in a zip archive
            name = str(PurePosixPath(name).parent.parent / PurePosixPath(name).name)
        return archive.with_suffix("") / name

    def find_member(self, unpacked: Path) -> ArchivePath | None:
        """Return the file of the same zip archive that would be unpacked to a path; None if there is none.

        Raises:
            DataError: the archive is damaged or exceeds a limit.
        """
        archive, _ = self._split()
        folder = archive.with_suffix("")
        if not unpacked.is_relative_to(folder) or read_kind(archive) != "zip":
            return None
        name = unpacked.relative_to(folder).as_posix()
        return ArchivePath(archive, name) if name in open_zip(archive).members else None


def read_kind(path: Path) -> Literal["gzip", "zip"] | None:
    """Return the kind of an archive, recognized by its first bytes; None for other files and for folders."""
    if not isinstance(path, ArchivePath) and not path.is_file():
        return None
    with path.open("rb") as file:
        head = file.read(4)
    return "gzip" if head.startswith(GZIP_MAGIC) else "zip" if head in ZIP_MAGIC else None


def content_path(path: Path, extensions: frozenset[str]) -> ArchivePath:
    """Return the path of the content of a gzip file.

    The name of the content is the name of the gzip file without `.gz`, or without the z of an extension such as
    `.svgz`.

    Args:
        path: gzip file.
        extensions: extensions of uncompressed files, for example ".svg".
    """
    extension = path.suffix.lower()
    if extension == ".gz":
        return ArchivePath(path, path.stem)
    is_short = extension.endswith("z") and extension[:-1] in extensions
    return ArchivePath(path, path.name[:-1] if is_short else path.name)


def member_paths(path: Path) -> Iterator[ArchivePath]:
    """Yield the paths of the files in a zip archive.

    In each folder, the files come first and the subfolders follow; both are sorted by name. Files and folders whose
    names begin with "." or "__MACOSX" are left out.

    Raises:
        DataError: the archive is damaged or exceeds a limit, or the name of a member is a path out of the archive.
    """
    for name in sorted(filter(_is_visible, open_zip(path).members), key=_order):
        yield ArchivePath(path, name)


def member_names(path: Path) -> tuple[list[str], list[str]]:
    """Return the names of the visible files in a zip archive, and of the visible folders that it lists explicitly.

    Raises:
        DataError: as for `member_paths`.
    """
    archive = open_zip(path)
    folders = [name.rstrip("/") for name in archive.file.namelist() if name.endswith("/")]
    return list(filter(_is_visible, archive.members)), list(filter(_is_visible, folders))


def _is_visible(name: str) -> bool:
    return not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def has_arrays(path: Path) -> bool:
    """Return whether a zip archive contains an `.npy` file at its top level.

    Raises:
        DataError: as for `member_paths`.
    """
    return any(name.endswith(".npy") and "/" not in name for name in open_zip(path).members)


def _order(name: str) -> tuple[tuple[bool, str], ...]:
    *folders, last = PurePosixPath(name).parts
    return (*((True, folder) for folder in folders), (False, last))
