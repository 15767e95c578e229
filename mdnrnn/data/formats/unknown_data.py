"""Describe arrays, zip archives and JSON that no reader recognizes, for error messages."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mdnrnn.data.formats.archives import ArchivePath
from mdnrnn.data.formats.arrays import array_names, convert_errors, open_array, read_npy_header
from mdnrnn.data.formats.json_records import top_level_keys
from mdnrnn.data.formats.unknown import Content
from mdnrnn.errors import DataError

ARCHIVE_KINDS = ("zip archive", "arrays")
"""Values of `Content.kind` for files that are zip archives, such as an `.npz`."""
_ZIP_DOCUMENTS = (".procreate", ".kra")
"""Extensions of documents that are stored as zip archives. `unknown.py` describes these documents."""
_MAX_NAMES, _MAX_NAME = 4, 20


def describe_data(path: Path, head: bytes) -> Content | None:
    """Describe the content of an array file, a zip archive or a JSON text; return None for other files.

    Args:
        path: file of unknown format.
        head: first bytes of the file.
    """
    if head.startswith(b"\x93NUMPY"):
        return Content("array", f"an array {_describe_array(path, None)} that is not strokes (dx, dy, pen)")
    if head.startswith(b"PK") and path.suffix.lower() not in _ZIP_DOCUMENTS:
        return _describe_zip(path)
    text = head.lstrip()
    if text.startswith(b"{"):
        keys = top_level_keys(text)
        return Content(
            "JSON", f"a JSON object with {'the keys ' + _join(keys) if keys else 'no keys'}, without strokes"
        )
    return Content("JSON", "a JSON array without strokes") if text.startswith(b"[") else None


def _describe_zip(path: Path) -> Content:
    if isinstance(path, ArchivePath):
        return Content("zip archive", "a zip archive inside an archive", "unpack it first")
    if not zipfile.is_zipfile(path):
        found = "an .npz" if path.suffix.lower() == ".npz" else "a zip archive"
        return Content("zip archive", f"{found} that is truncated")
    names = array_names(path)
    if not names:
        return Content("zip archive", "a zip archive without .npy members")
    arrays = _join([f"{name[:_MAX_NAME]} {_describe_array(path, name)}" for name in names[: _MAX_NAMES + 1]])
    keys = "it has none of the keys train, valid, test, and no array of strokes"
    return Content("arrays", f"an .npz with the arrays {arrays}; {keys}")


def _describe_array(path: Path, name: str | None) -> str:
    """Return the shape of an array, for example "(3, 3)"."""
    try:
        with convert_errors(str(path)), open_array(path, name) as file:
            return str(read_npy_header(file)[0])
    except (DataError, OSError):
        return "(damaged)"


def _join(names: list[str]) -> str:
    return ", ".join(name[: 2 * _MAX_NAME] for name in names[:_MAX_NAMES]) + (
        ", ..." if len(names) > _MAX_NAMES else ""
    )
