"""Open zip archives and gzip streams that are not trusted, with limits on sizes.

Formats: PKWARE's APPNOTE.TXT (zip) and RFC 1952 (gzip).
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import zipfile
import zlib
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mdnrnn.errors import DataError

GZIP_MAGIC, ZIP_MAGIC = b"\x1f\x8b", (b"PK\3\4", b"PK\5\6")
"""First bytes of a gzip file, and of a zip archive with and without members."""
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


def close_archives() -> None:
    """Close the zip archive that `open_zip` keeps open."""
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
    end = len(tail) - _END.size if tail[-_END.size :].startswith(ZIP_MAGIC[1]) else tail.rfind(ZIP_MAGIC[1])
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


def gunzip(packed: IO[bytes], size: int, location: str) -> IO[bytes]:
    """Return a stream of the content of a gzip stream. Reading it raises `DataError` if it is damaged or too large.

    Args:
        packed: the gzip stream, which is closed together with the returned stream.
        size: size of `packed` in bytes.
        location: name of the file, for messages.
    """
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
