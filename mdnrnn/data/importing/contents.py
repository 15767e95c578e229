"""Expand zip archives and gzip files: the files inside are imported as if they were unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mdnrnn.data import formats
from mdnrnn.data.formats.archives import ArchivePath, content_path, has_arrays, member_paths, read_kind
from mdnrnn.errors import DataError

_EXTENSIONS = frozenset(extension for form in formats.FORMATS.values() for extension in form.extensions)


class SourceFile(NamedTuple):
    """A file to import."""

    path: Path
    root: Path | None
    """Imported folder that contains the file. For an imported zip archive, the folder to which it would be unpacked.
    None if the file itself is imported."""
    unpacked: Path
    """Path that the file would have after unpacking. The class and the split are read from this path."""


def list_contents(path: Path, root: Path | None) -> Iterator[SourceFile]:
    """Yield the files inside a zip archive or a gzip file; yield any other file itself.

    A zip archive of arrays, such as a corpus, is not expanded. In a folder, only zip archives with the extension `.zip`
    are expanded, because many programs store documents as zip archives.

    Args:
        path: file or corpus folder.
        root: imported folder that contains the file; None if the file itself is imported.

    Raises:
        DataError: the archive is damaged or exceeds a limit.
    """
    kind = read_kind(path)
    if kind == "zip" and contains_files(path, root):
        for member in member_paths(path):
            inner = _skip_gzip(member)
            yield SourceFile(inner, root or path.with_suffix(""), inner.as_unpacked())
    elif kind == "gzip":
        inner = content_path(path, _EXTENSIONS)
        yield SourceFile(inner, root, inner.as_unpacked())
    else:
        yield SourceFile(path, root, path)


def contains_files(path: Path, root: Path | None) -> bool:
    """Return whether a zip archive is expanded. The arguments are those of `list_contents`."""
    extension = path.suffix.lower()
    if extension == ".npz" or (root is not None and extension != ".zip"):
        return False
    return not has_arrays(path) or formats.recognize_format(path) is None


def unpacked_name(name: str) -> str:
    """Return the name that a file would have after unpacking, if its content is compressed as its name states."""
    return content_path(Path(name), _EXTENSIONS).name if name.lower().endswith("z") else name


def _skip_gzip(member: ArchivePath) -> ArchivePath:
    try:
        return content_path(member, _EXTENSIONS) if read_kind(member) == "gzip" else member
    except DataError:  # the error is reported when the importer opens the member
        return member


def check_known_files(path: Path) -> None:
    """Raise `DataError` for a zip archive in which no file has a known format; ignore other files.

    Args:
        path: file from which nothing was imported.
    """
    if read_kind(path) != "zip" or not contains_files(path, None):
        return
    names = ", ".join(str(member.relative_to(path)) for member in islice(member_paths(path), 3))
    found = f"a zip archive without files of a known format ({names[:120]})" if names else "an empty zip archive"
    raise DataError(f"{path}: {found}; expected files of one of the formats {', '.join(formats.FORMATS)}")
