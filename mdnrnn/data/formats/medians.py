"""Reader of Chinese characters from files such as Make Me a Hanzi's `graphics.txt`, AnimCJK and hanzi-writer-data.

Each line is a JSON object, which describes one character; a file can have one or many lines. The field `medians` is a
list of strokes [[x, y], ...], which are the center lines of brush strokes. The field `strokes` contains the outlines of
the brush strokes as SVG paths; it is not read. In the file, y points up and ranges from -124 to 900; it is converted to
900 - y. The field `character` is the text of the drawing. If this field is missing and the file name without extension
is a single character, this character is the text.

Format: https://github.com/skishore/makemeahanzi
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from mdnrnn.data.drawings import DrawingBatch, Record, Remark, lost_remarks
from mdnrnn.data.formats import ndjson
from mdnrnn.data.formats.format import Format
from mdnrnn.data.formats.json_document import to_points
from mdnrnn.data.formats.json_records import RecordChunk, load_json, top_level_keys
from mdnrnn.data.formats.json_strokes import StrokesError
from mdnrnn.data.strokes import Drawing

_TOP = 900.0
"""y of the upper edge of the square in which the characters are drawn."""


def _recognizes(path: Path, head: bytes) -> bool:
    """Return whether the first object of the file has medians."""
    head = head.lstrip()
    return head.startswith(b"{") and "medians" in top_level_keys(head)


def _parse(chunk: RecordChunk) -> DrawingBatch:
    drawings: list[tuple[Drawing, Record]] = []
    dropped: list[Remark] = []
    outlines = 0
    for number, data in enumerate(chunk.records, chunk.first):
        if data is not None and not data.strip():
            continue
        location = f"{chunk.name} {number}"
        try:
            fields = load_json(data)
            strokes = [to_points(median) * (1, -1) + (0, _TOP) for median in fields["medians"]]
        except (StrokesError, ValueError, TypeError, LookupError) as error:
            reason = error.reason if isinstance(error, StrokesError) else "no medians"
            dropped.append(Remark(reason, f"{location}: {str(error)[:120]}; expected medians [[x, y], ...]"))
            continue
        drawings.append((strokes, Record(location, text=_find_character(fields, chunk.name))))
        outlines += len(fields["strokes"]) if isinstance(fields.get("strokes"), list) else 0
    lost = lost_remarks({"stroke outlines": outlines}, f"{chunk.name} {chunk.first} and others")
    return DrawingBatch.from_polylines(drawings, dropped, lost=lost)


def _find_character(fields: dict[str, Any], name: str) -> str | None:
    character = fields.get("character")
    stem = PurePath(name.removesuffix(", line")).stem
    return character if isinstance(character, str) else stem if len(stem) == 1 else None


FORMAT = Format(
    "characters with medians",
    (".txt", ".json", ".jsonl", ".ndjson"),
    _recognizes,
    ndjson.FORMAT.chunks,
    _parse,
    default_label=None,
)
