"""Describe files that no reader recognizes: what they contain, and how to convert them to a supported format.

The first bytes of the formats are from the list at https://en.wikipedia.org/wiki/List_of_file_signatures and from the
documentation of the programs. The advice names two programs: vpype-dxf is a plug-in of vpype
(https://github.com/tatarize/vpype-dxf), and rmc converts the files of reMarkable tablets
(https://github.com/ricklupton/rmc).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mdnrnn.data.formats.tables import parse_header
from mdnrnn.data.formats.unipen import is_unipen
from mdnrnn.data.formats.xml import root_name


class Content(NamedTuple):
    """Content of a file."""

    kind: str
    """Kind of the content, for counts, for example "PNG picture"."""
    found: str
    """Description with an article, for error messages, for example "a PNG picture"."""
    advice: str = ""
    """How to convert the file to a format that is read; "" if there is no known way."""


_TRACE = "trace its lines to an SVG file, for example with Path > Trace Bitmap > Centerline tracing in Inkscape"
_TO_SVG = "open it in Inkscape and save it as SVG"
_UNPACK = "unpack it first"
_TO_NPZ = "save its arrays with numpy.savez"
_TO_NDJSON = 'write each drawing as a line {"word": "...", "drawing": [[xs, ys], ...]} of an .ndjson file'
_TO_CSV = "write the moves with the pen down as a CSV file with the columns x, y, stroke"

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG", "PNG picture", _TRACE),
    (b"\xff\xd8\xff", "JPEG picture", _TRACE),
    (b"GIF8", "GIF picture", _TRACE),
    (b"BM", "BMP picture", _TRACE),
    (b"II*\0", "TIFF picture", _TRACE),
    (b"MM\0*", "TIFF picture", _TRACE),
    (b"8BPS", "Photoshop document", "export its paths as SVG, or " + _TRACE),
    (b"%PDF-", "PDF or Illustrator document", _TO_SVG),
    (b"%!PS", "PostScript document", _TO_SVG),
    (b"\xc5\xd0\xd3\xc6", "PostScript document", _TO_SVG),
    (b"reMarkable .lines file, version=6", "page of a reMarkable tablet", "convert it: rmc -t svg -o page.svg page.rm"),
    (b"reMarkable .lines file", "page of a reMarkable tablet", "export it as SVG or PDF, or convert it to SVG"),
    (b"AutoCAD Binary DXF", "binary DXF drawing", "save it as a text DXF, open that in Inkscape and save it as SVG"),
    (b"AC10", "DWG drawing", "save it as DXF, open that in Inkscape and save it as SVG"),
    (b"\x89HDF", "HDF5 file", _TO_NPZ),
    (b"MATLAB 5.0", "MATLAB file", _TO_NPZ),
    (b"SQLite format 3", "SQLite database", _TO_NDJSON),
    (b"PAR1", "Parquet table", "write it as a CSV file"),
    (b"ARROW1", "Arrow table", "write it as a CSV file"),
    (b"\x1f\x8b", "gzip file", _UNPACK),
    (b"BZh", "bzip2 file", _UNPACK),
    (b"\xfd7zXZ", "xz file", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "Zstandard file", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "7z archive", _UNPACK),
    (b"Rar!", "RAR archive", _UNPACK),
    *(
        (bytes((0x80, version)), "Python pickle", "load it only if you trust it, and " + _TO_NPZ)
        for version in (2, 3, 4, 5)
    ),
    (b"version https://git-lfs", "Git LFS pointer", "download the file itself: git lfs pull"),
)
"""First bytes of a file, kind of the content, and advice. The first entry that matches is used."""
_TAR = (257, b"ustar")
_EXTENSIONS: dict[str, tuple[str, str]] = {
    ".procreate": ("Procreate document", "it contains pixels; export it as a picture, and " + _TRACE),
    ".kra": ("Krita document", "export its vector layer as SVG"),
    ".pot": ("CASIA-OLHWDB file", _TO_NDJSON),
    ".ptts": ("CASIA-OLHWDB file", _TO_NDJSON),
    ".wptt": ("CASIA-OLHWDB file", _TO_NDJSON),
    ".gnt": ("CASIA-HWDB file", "it contains pictures; use the .pot files of CASIA-OLHWDB: " + _TO_NDJSON),
    ".dgrl": ("CASIA-HWDB file", "it contains pictures; use the .wptt files of CASIA-OLHWDB: " + _TO_NDJSON),
}
"""Kind and advice for binary files without a signature, by extension."""
_DXF = re.compile(rb"(?:[ \t]*999[ \t]*\r?\n[^\n]*\n)*[ \t]*0[ \t]*\r?\n[ \t]*SECTION\b")
_HPGL = re.compile(rb"\s*(?:\x1b[^\n]{0,40}?)?(?:IN|DF|SP\d?|PU|PD|PA|IP|SC|VS\d+|BP)[^A-Za-z<>{}]{0,80};")
_GCODE_LINE = re.compile(
    rb"^[ \t]*(?:N\d+[ \t]*)?[GM]\d{1,3}(?:\.\d)?(?:[ \t]*[A-Z][-+.\d]+)*[ \t]*(?:[;(].*)?\r?$", re.MULTILINE
)
_GCODE_MOVE = re.compile(rb"^[ \t]*(?:N\d+[ \t]*)?G0?[0-3]\b[^\n]*[XYZ][-+.\d]", re.MULTILINE)
_NUMBERS = re.compile(rb"\s*(?:[-+]?\d[-+.\deE]*[ \t]*[,;\t][ \t]*)+[-+]?\d[-+.\deE]*[ \t]*(?:\r?\n|\Z)")
_HTML = re.compile(rb"\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_SHOWN = 40
"""Number of characters of a text, or of a list of columns, in a message."""


def describe_content(path: Path, head: bytes) -> Content:
    """Describe the content of a file that no reader recognizes.

    Args:
        path: the file; only its extension is used.
        head: the first bytes of the file.
    """
    if not head:
        return Content("empty file", "an empty file")
    extension = path.suffix.lower()
    is_binary = _CONTROL.search(head[:4096]) is not None and head[:2] not in (b"\xff\xfe", b"\xfe\xff")
    if is_binary and extension in _EXTENSIONS:
        kind, advice = _EXTENSIONS[extension]
        return Content(kind, _with_article(kind), advice)
    for signature, kind, advice in _SIGNATURES:
        if head.startswith(signature) and (is_binary or signature.isascii()) and (kind != "BMP picture" or is_binary):
            return Content(kind, _with_article(kind), advice)
    if head[_TAR[0] :].startswith(_TAR[1]):
        return Content("tar archive", "a tar archive", _UNPACK)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1", b"avif"):
        return Content("HEIC or AVIF picture", "a HEIC or AVIF picture", _TRACE)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Content("WebP picture", "a WebP picture", _TRACE)
    if is_binary:
        return Content("binary data", f"binary data that begins {head[:8].hex(' ')}")
    return _describe_text(head)


def _describe_text(head: bytes) -> Content:
    if _DXF.match(head):
        plug_in = "or convert it with vpype and its plug-in vpype-dxf: vpype dread in.dxf write out.svg"
        return Content("DXF drawing", "a DXF drawing", f"{_TO_SVG}, {plug_in}")
    if _HPGL.match(head):
        return Content("HPGL plot", "an HPGL plot", _TO_SVG)
    if _GCODE_MOVE.search(head) and len(_GCODE_LINE.findall(head)) >= 2:
        return Content("G-code", "G-code", _TO_CSV)
    if _HTML.match(head):
        return Content("HTML page", "an HTML page", "download the file itself instead of the page that shows it")
    if is_unipen(head):
        advice = "import the file that includes it, or move it to a folder of another name"
        return Content("included UNIPEN file", "a UNIPEN file in a folder `include`", advice)
    if root := root_name(head):
        return Content("XML", f"XML with the root <{root[:_SHOWN]}>")
    header = parse_header(head)
    if header and all(header.names) and (len(header.names) > 2 or {"x", "y"} <= set(header.names)):
        columns = ", ".join(header.names)
        shown = columns if len(columns) <= 2 * _SHOWN else f"{columns[: 2 * _SHOWN]}..."
        return Content(
            "table", f"a table with the columns {shown}", "name columns x, y, and stroke or pen, or time, device, x, y"
        )
    if _NUMBERS.match(head):
        advice = "add a first line with the names of the columns, such as x,y,pen"
        return Content("table without header", "a table of numbers without a header", advice)
    begin = " ".join(head[:400].decode("utf-8", "replace").split())[:_SHOWN]
    return Content("text", f"text that begins {begin!r}")


def _with_article(noun: str) -> str:
    return f"{'an' if noun[:3] in ('HDF', 'Arr', 'xz ') else 'a'} {noun}"
