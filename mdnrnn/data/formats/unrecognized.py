"""Description of the content of a file that no format recognizes, for error messages."""

from __future__ import annotations

import zipfile
from pathlib import Path

from mdnrnn.data.formats.archives import ArchivePath
from mdnrnn.data.formats.arrays import array_names, convert_errors, open_array, read_npy_header
from mdnrnn.data.formats.json_records import top_level_keys
from mdnrnn.errors import DataError

_MAGIC = {
    b"\x1f\x8b": "gzip inside an archive; unpack it",
    b"BZh": "compressed with bzip2; decompress it",
    b"\xfd7zXZ\0": "compressed with xz; decompress it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; decompress it",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive; unpack it",
    b"Rar!": "a RAR archive; unpack it",
    b"\x89PNG": "a PNG image, which has pixels and no strokes",
    b"\xff\xd8\xff": "a JPEG image, which has pixels and no strokes",
    b"GIF8": "a GIF image, which has pixels and no strokes",
    b"%PDF": "a PDF document; convert it to SVG",
    b"\x89HDF\r\n": "an HDF5 file; save its arrays as .npz",
    b"\x80\2": "a Python pickle, which can run code when it is loaded; save its arrays as .npz",
    b"\x80\3": "a Python pickle, which can run code when it is loaded; save its arrays as .npz",
    b"\x80\4": "a Python pickle, which can run code when it is loaded; save its arrays as .npz",
    b"\x80\5": "a Python pickle, which can run code when it is loaded; save its arrays as .npz",
}
_MAX_NAMES, _MAX_NAME = 4, 20


def describe_content(path: Path, head: bytes) -> str:
    """Return what a file contains, for example "a JSON object with the keys a, b, c".

    Args:
        path: file of unknown format.
        head: first bytes of the file.
    """
    for magic, description in _MAGIC.items():
        if head.startswith(magic):
            return description
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if head.startswith(b"\x93NUMPY"):
        return f"an array {_describe_array(path, None)} that is not strokes (dx, dy, pen)"
    if head.startswith(b"PK"):
        return _describe_zip(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        keys = top_level_keys(text)
        return f"a JSON object with {'the keys ' + _join(keys) if keys else 'no keys'}, without strokes"
    if text.startswith(b"["):
        return "a JSON array without strokes"
    return "not an .npz file" if path.suffix.lower() == ".npz" else "not a known format"


def _describe_zip(path: Path) -> str:
    if isinstance(path, ArchivePath):
        return "a zip archive inside an archive; unpack it"
    if not zipfile.is_zipfile(path):
        return f"{'an .npz' if path.suffix.lower() == '.npz' else 'a zip archive'} that is truncated"
    names = array_names(path)
    if not names:
        return "a zip archive without .npy members"
    arrays = _join([f"{name[:_MAX_NAME]} {_describe_array(path, name)}" for name in names[: _MAX_NAMES + 1]])
    return f"an .npz with the arrays {arrays}; it has none of the keys train, valid, test, and no array of strokes"


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
