"""Read files inside zip archives and gzip files without extracting them to disk.

An `ArchivePath` is a path that continues inside an archive, for example drawings.zip/cat/1.svg. The content of the gzip
file cat.ndjson.gz has the path cat.ndjson.gz/cat.ndjson. File readers open an `ArchivePath` like any other path.

Formats: PKWARE's APPNOTE.TXT (zip) and RFC 1952 (gzip).
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Literal

from mdnrnn.errors import DataError

if TYPE_CHECKING or sys.platform != "win32":
    from pathlib import PosixPath as _PlatformPath
else:
    from pathlib import WindowsPath as _PlatformPath

_GZIP_MAGIC, _ZIP_MAGIC = b"\x1f\x8b", (b"PK\3\4", b"PK\5\6")
_MAX_BYTES = 16 << 30
_MAX_RATIO = 100
"""Maximum ratio of unpacked to packed size. Drawings have a lower ratio, decompression bombs a higher one."""
_MIN_PACKED_BYTES = 1 << 20
"""A smaller packed size is treated as this size, because small files may have a ratio over `_MAX_RATIO`."""
_MAX_DIRECTORY_BYTES = 16 << 20
"""Maximum size of the list of members of a zip archive, in bytes. The list is held in memory.

The size is sufficient for about 150,000 members.
"""
_MAX_NAME = 4096
"""Maximum number of characters of the name of a member. Linux allows 4096 bytes."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
"""Compression methods that are read. Other methods, such as LZMA, can allocate as much memory as the file declares."""
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64_BYTES = 20
_DRIVE = re.compile(r"[A-Za-z]:")
_MAX_COMMENT_BYTES = (1 << 16) - 1
_DAMAGE: tuple[type[Exception], ...] = (
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    LookupError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)
"""Exceptions that a damaged archive can cause."""


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
            return _gunzip(archive.open("rb"), archive.stat().st_size, str(archive))
        zip_archive = open_zip(archive)
        if info := zip_archive.members.get(name):
            return zip_archive.open(info, str(self))
        packed = archive / name.rpartition("/")[0]
        info = zip_archive.members.get(packed.relative_to(archive).as_posix())
        if info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return _gunzip(zip_archive.open(info, str(packed)), info.file_size, str(packed))

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
    return "gzip" if head.startswith(_GZIP_MAGIC) else "zip" if head in _ZIP_MAGIC else None


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


def close_archives() -> None:
    """Close the zip archive that the functions of this module keep open between calls."""
    _open_zip_version.cache_clear()


class ZipArchive:
    """An open zip archive.

    Raises:
        DataError: the archive is damaged, or its list of members is too long.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        check_directory_size(path)
        try:
            self.file = zipfile.ZipFile(path)
        except _DAMAGE as error:
            raise _damaged(str(path), error) from error

    @cached_property
    def members(self) -> dict[str, zipfile.ZipInfo]:
        """Files in the archive, by path inside the archive with "/" as the separator.

        Raises:
            DataError: the files exceed a limit, or a name is a path out of the archive.
        """
        infos = [info for info in self.file.infolist() if not info.filename.endswith("/")]
        check_size(str(self.path), self.path.stat().st_size, sum(info.file_size for info in infos))
        return {_safe_name(self.path, info.filename): info for info in infos}

    def open(self, info: zipfile.ZipInfo, location: str) -> IO[bytes]:
        """Open a member for reading; `location` names it in messages.

        Raises:
            DataError: the member is damaged or encrypted, or its compression method is not supported. Reading the
                returned stream can raise the same error.
        """
        if info.flag_bits & 1:
            raise DataError(f"{location}: encrypted; expected a file without a password; unpack the archive first")
        if info.compress_type not in _METHODS:
            raise DataError(f"{location}: compressed by method {info.compress_type}; unpack the archive first")
        try:
            return _bound(self.file.open(info), info.file_size, location)
        except _DAMAGE as error:
            raise _damaged(location, error) from error


def open_zip(path: Path) -> ZipArchive:
    """Open a zip archive, which stays open for the next calls: until another one is opened, or until `close_archives`.

    If the file has changed since the last call, it is opened again.
    """
    status = path.stat()
    return _open_zip_version(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _open_zip_version(path: Path, _modified: int, _size: int) -> ZipArchive:
    return ZipArchive(path)


def check_size(location: str, packed: int, unpacked: int) -> None:
    """Raise `DataError` if a file or archive is too large, or much larger unpacked than packed.

    Args:
        location: name of the file, for the message.
        packed: compressed size in bytes.
        unpacked: size in bytes after decompression, as declared.
    """
    if unpacked > _limit(packed):
        raise _bomb(location, packed, unpacked)


def check_directory_size(path: Path) -> None:
    """Raise `DataError` if a zip archive is truncated, or if its list of members has over `_MAX_DIRECTORY_BYTES`."""
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _END.size - _MAX_COMMENT_BYTES - _LOCATOR_64_BYTES - _END_64.size))
        tail = file.read()
    end = len(tail) - _END.size if tail[-_END.size :].startswith(_ZIP_MAGIC[1]) else tail.rfind(_ZIP_MAGIC[1])
    if end < 0 or end + _END.size > len(tail):
        raise DataError(f"{path}: a zip archive that is truncated; download it again")
    directory_bytes = _END.unpack_from(tail, end)[5]
    end_64 = end - _LOCATOR_64_BYTES - _END_64.size
    if end_64 >= 0 and tail[end_64:].startswith(b"PK\6\6"):
        directory_bytes = max(
            directory_bytes if directory_bytes < 0xFFFFFFFF else 0, _END_64.unpack_from(tail, end_64)[8]
        )
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        raise DataError(
            f"{path}: the list of its members has {directory_bytes} bytes; expected at most {_MAX_DIRECTORY_BYTES}; "
            "unpack it and import the folder"
        )


def _safe_name(path: Path, name: str) -> str:
    if len(name) > _MAX_NAME:
        found = f"a member with a name of {len(name)} characters"
        raise DataError(f"{path}: {found}; expected at most {_MAX_NAME}; do not trust this file")
    pure = PurePosixPath(name.replace("\\", "/"))  # some programs write the path separator of Windows
    if pure.is_absolute() or ".." in pure.parts or not pure.parts or _DRIVE.match(name):
        raise DataError(
            f"{path}: its member {name[:80]!r} would be outside of the archive's folder; expected relative names; do "
            "not trust this file"
        )
    return pure.as_posix()


def _limit(packed: int) -> int:
    return min(_MAX_BYTES, _MAX_RATIO * max(packed, _MIN_PACKED_BYTES))


def _gunzip(packed: IO[bytes], size: int, location: str) -> IO[bytes]:
    return _bound(gzip.GzipFile(fileobj=packed), _limit(size), location, packed)


def _bound(stream: IO[bytes] | gzip.GzipFile, limit: int, location: str, packed: IO[bytes] | None = None) -> IO[bytes]:
    return io.BufferedReader(_BoundedReader(stream, limit, location, packed), 1 << 18)


class _BoundedReader(io.RawIOBase):
    """Wrapper of a decompressed stream that raises `DataError` if the stream is damaged or has over `limit` bytes."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, limit: int, location: str, packed: IO[bytes] | None) -> None:
        self._stream, self._left, self._limit, self._location, self._packed = stream, limit, limit, location, packed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except DataError:
            raise
        except _DAMAGE as error:
            raise _damaged(self._location, error) from error
        self._left -= len(data)
        if self._left < 0:
            raise _bomb(self._location, None, self._limit)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        if self._packed is not None:
            self._packed.close()
        super().close()


def _damaged(location: str, error: BaseException) -> DataError:
    return DataError(f"{location}: a damaged or truncated archive ({error}); download it again")


def _bomb(location: str, packed: int | None, unpacked: int) -> DataError:
    source = "" if packed is None else f" from {packed} bytes"
    return DataError(
        f"{location}: unpacks{source} to over {unpacked} bytes; expected at most {_MAX_RATIO} times the packed size, "
        f"and at most {_MAX_BYTES >> 30} GB; do not trust this file"
    )
