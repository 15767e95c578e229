"""Small valid files of every format as text, bytes or arrays, and functions that build and parse files."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import impsy, inkml, lightpad, microjam, sketchrnn
from mdnrnn.data.formats.format import HEAD_BYTES, Format

KANJIVG_SVG = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Copyright, and so on -->
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.0//EN" "http://www.w3.org/TR/2001/REC-SVG-20010904/DTD/svg10.dtd" [
<!ATTLIST g
xmlns:kvg CDATA #FIXED "http://kanjivg.tagaini.net"
kvg:element CDATA #IMPLIED
kvg:radical CDATA #IMPLIED >
<!ATTLIST path
xmlns:kvg CDATA #FIXED "http://kanjivg.tagaini.net"
kvg:type CDATA #IMPLIED >
]>
<svg xmlns="http://www.w3.org/2000/svg" width="109" height="109" viewBox="0 0 109 109">
<g id="kvg:StrokePaths_12345" style="fill:none;stroke:#000000;stroke-width:3;stroke-linecap:round;">
<g id="kvg:12345" kvg:element="仂">
  <g id="kvg:12345-g1" kvg:element="亻" kvg:radical="general">
    <path id="kvg:12345-s1" kvg:type="&#x31D2;" d="M39.5,13.5c0.4,2.8,0.1,4.9-1.1,7.4C31.5,35.6,24,46,11.5,59.5"/>
    <path id="kvg:12345-s2" kvg:type="㇑" d="M30.5,40.5c1,1,1.5,2.2,1.5,4.6S31,80,31,95"/>
  </g>
</g>
</g>
<g id="kvg:StrokeNumbers_12345" style="font-size:8;fill:#808080">
  <text transform="matrix(1 0 0 1 45 16)">1</text><text transform="matrix(1 0 0 1 20 50)">2</text>
</g>
</svg>
"""
"""A character of KanjiVG: two strokes."""

INKSCAPE_SVG = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<!-- Created with Inkscape (http://www.inkscape.org/) -->
<svg width="210mm" height="297mm" viewBox="0 0 210 297" id="svg5" xmlns="http://www.w3.org/2000/svg"
 xmlns:inkscape="http://www.inkscape.org/namespaces/inkscape" xmlns:xlink="http://www.w3.org/1999/xlink"
 xmlns:sodipodi="http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd">
 <title>drawing-1</title>
 <sodipodi:namedview id="nv" showgrid="false"><inkscape:grid type="xygrid"/></sodipodi:namedview>
 <defs id="defs2"><g id="leaf"><path d="m0 0c10-20 30-20 40 0s-30 20-40 0z"/></g>
  <symbol id="sym" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4.5"/></symbol></defs>
 <g inkscape:groupmode="layer" id="layer1" transform="translate(10,-5) rotate(10 100 100)">
  <path style="fill:none;stroke:#000000" d="M 20,40 C 40,10 65,10 95,40 S 150,70 180,40 a1 2 3 0110 10" id="p1"/>
  <g transform="matrix(0.8,0.2,-0.3,0.9,20,60)">
   <ellipse cx="50" cy="40" rx="40" ry="18" style="fill:none;stroke:#00f" transform="skewX(20)"/>
   <rect x="100" y="10" width="50%" height="40" rx="15" ry="8" style="fill:none;stroke:#000"/>
   <polygon points="120,260 150,290,170 255 140 240" fill="#888"/><line x1="1" y1="2mm" x2="3" y2="4"/>
  </g>
  <use xlink:href="#leaf" x="40" y="200"/><use href="#sym" x="150" y="180" width="30" height="40"/>
  <svg x="5" width="50" height="50" viewBox="0 0 1 1" preserveAspectRatio="xMinYMax"><path d="M0 0L1 1"/></svg>
 </g>
</svg>
"""
"""A drawing with transforms, symbols and nested views, as Inkscape writes it."""

INKML = b"""<?xml version="1.0" encoding="UTF-8"?>
<ink xmlns="http://www.w3.org/2003/InkML">
<traceFormat><channel name="X" type="decimal"/><channel name="Y" type="decimal"/></traceFormat>
<annotation type="UI">103_alfonso0</annotation>
<annotation type="truth">$a+b$</annotation>
<trace id="0">985 3317, 1019 3340.5,
 1020 3341</trace>
<trace id="1">'5 6,"1 2,!7 8</trace>
<traceGroup xml:id="7"><annotation type="truth">Segmentation</annotation>
<traceGroup xml:id="8"><annotation type="truth">a</annotation><traceView traceDataRef="0"/></traceGroup>
</traceGroup></ink>"""
"""A CROHME file: two traces with relative values in the second, and the formula."""

EXCALIDRAW = b"""{"type": "excalidraw", "version": 2, "elements": [
{"type": "freedraw", "x": 10, "y": 50, "angle": 0, "points": [[0, 0], [0, 40], [50, 40]], "pressures": [0.5, 1, 1]},
{"type": "line", "x": 0, "y": 0, "angle": 1.5707963267948966, "points": [[0, 0], [20, 0]], "isDeleted": false},
{"type": "arrow", "x": 1, "y": 1, "angle": 0, "points": [[0, 0], [5, -2.5]], "isDeleted": true},
{"type": "text", "x": 1, "y": 1, "text": "points"}, {"type": "text"}, {"type": "rectangle", "width": 3}]}"""
"""A scene with two strokes and a deleted one."""

TLDRAW = b"""{"tldrawFileFormatVersion": 1, "schema": {}, "records": [
{"typeName": "page", "id": "page:p"},
{"typeName": "shape", "id": "shape:b", "type": "draw", "x": 10, "y": 50, "rotation": 0, "index": "a2",
 "parentId": "page:p", "props": {"segments": [{"type": "free",
 "path": "AACAPwAAAEAAAAA/AEAAQAAA"}], "scaleX": 2, "scaleY": 1}},
{"typeName": "shape", "id": "shape:a", "type": "draw", "x": 10, "y": 0, "rotation": 0, "index": "a1",
 "parentId": "shape:g", "props": {"segments": [
 {"type": "free", "points": [{"x": 0, "y": 0, "z": 0.5}, {"x": 4, "y": 2}]},
 {"type": "straight", "points": [{"x": 4, "y": 2}, {"x": 0, "y": 9}]}]}},
{"typeName": "shape", "id": "shape:g", "type": "group", "x": 100, "y": 0, "rotation": 1.5707963267948966,
 "parentId": "page:p", "props": {}},
{"typeName": "shape", "id": "shape:l", "type": "line", "x": 0, "y": 0, "index": "a3", "parentId": "page:p",
 "props": {"points": {"a2": {"index": "a2", "x": 5, "y": 6}, "a1": {"index": "a1", "x": 0, "y": 0}}}},
{"typeName": "shape", "id": "shape:t", "type": "text", "x": 0, "y": 0, "parentId": "page:p", "props": {}}]}"""
"""Three strokes on one page: the second one in a group that is turned by a right angle."""

MEDIANS = """{"character":"\u4e3f","strokes":["M 1 2 L 3 4"],"medians":[[[1,900],[3,-124]]]}
{"character":"\u4e59","strokes":["M 0 0","M 1 1"],"medians":[[[5,6],[7,8.5]],[[0,0]]]}
""".encode()
"""Two characters in the format of Make Me a Hanzi."""

IAM_LINE = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession>
<WhiteboardDescription>
<SensorLocation corner="top_left"/>
<DiagonallyOppositeCoords x="6512" y="1376"/>
<VerticallyOppositeCoords x="966" y="1376"/>
<HorizontallyOppositeCoords x="6512" y="787"/>
</WhiteboardDescription>
<StrokeSet>
<Stroke color="black" start_time="769.05" end_time="769.64">
<Point x="1073" y="1058" time="769.05"/>
<Point x="1072" y="1085" time="769.07"/>
</Stroke>
<Stroke color="black" start_time="769.70" end_time="769.70"><Point time="769.70" y="900" x="1204"/></Stroke>
</StrokeSet>
</WhiteboardCaptureSession>"""
"""A line of IAM-OnDB: two strokes."""

NICI_UNIPEN = r""".VERSION 1.0
.DATA_SOURCE nici
.SETUP   Site: NICI, Room A04.33
         .DT in the text, not at the start of its line
.COORD                      X Y
.X_POINTS_PER_MM             50
.HIERARCHY WORD CHAR
.SEGMENT WORD 0-2 OK "ab\"c"
.SEGMENT CHAR 0:1-1:0 BAD "a"
.SEGMENT CHAR 1:1-2:1 BAD "\""
.START_SET
.COMMENT number W001
.PEN_DOWN
 10  30
 11  31
 12  32
.PEN_UP
 13 33
 14 34
.PEN_DOWN
 15 35
 16 36
 17 37
"""
"""Three components, segmented into words and characters."""

PENDIGITS_UNIPEN = """.INCLUDE dene.doc
.LEXICON "0" "1" "2"
.HIERARCHY DIGIT
.SEGMENT DIGIT 0-1 ? "4"
.COMMENT 4 12 224
.PEN_DOWN
 0 1
 2 3
.PEN_UP
.DT 100
.PEN_DOWN
 8 9
.PEN_UP
.DT 100
.SEGMENT DIGIT 2 ? "1"
.COMMENT 1 12 225
.PEN_DOWN
 5 5
 6 6
.PEN_UP
.DT 100
"""
"""Two digits of Pendigits, whose included file is missing."""

QuickDrawDrawing = tuple[int, list[list[tuple[int, int]]]]

QUICKDRAW_DRAWINGS: list[QuickDrawDrawing] = [
    (5_891_796_615_823_360, [[(1, 2), (3, 4), (255, 0)], [(5, 6)]]),
    (2**64 - 1, [[(0, 255), (9, 9)]]),
]
"""Key and strokes of each drawing."""

MICROJAM_CSV = "time,x,y,z,moving\n0.5, 0.1, 0.2, 20.0,0\n0.75, 0.2, 0.4, 20.0,1\n1.0, 0.9, 0.8, 38.0,0\n"
"""A performance of two touches."""

TOUCH_ROWS = np.array([[0.1, 0.2, 0.5, 0], [0.2, 0.4, 0.25, 1], [0.9, 0.8, 0.25, 0]])
"""Rows (x, y, dt, moving): the performance of `MICROJAM_CSV`."""

IMPSY_LOG = """\
2019-01-17T12:37:38.109979,interface,0.25,0.5
2019-01-17T12:37:38.300000,rnn,0.9,0.9
2019-01-17T12:37:38.609979,interface,0.5,0.75
2019-01-17T12:37:38.700000,rnn,0.8,0.8
2019-01-17T12:50:23.609979,interface,1.0,0.0
"""
"""Three played rows, two rows of the model."""

CONTROL_ROWS = np.array([[0.03, 0.9, 0.8, 0.0], [765.0, 0.9, 0.7, 0.5]], np.float32)
"""Rows (dt, x1, x2, x3) of an IMPSY stream."""

LIGHTPAD_LOG = """\
time,ip,message
34.217415, 127.0.0.1, /block 29 88 4
34.236809, 127.0.0.1, /block 29 30 1
43.047878, 127.0.0.1, /block 0 127 0
"""
"""Three rows of position and pressure."""

PEN_CSV = "x,y,pen,time\n1,5,1,0\n1,9,1,8\n6,9,0,16\n2,2,1,800\n3,3,0,808\n"
"""Two strokes of three and two points; the pen is 0 in the last row of a stroke."""

PEN_STROKE_CSV = "stroke,t,x,y,pressure\n0,0,1,5,9\n0,8,1,9,9\n0,16,6,9,9\n1,800,2,2,9\n1,808,3,3,9\n"
"""The strokes of `PEN_CSV`, numbered."""

TOUCH_CSV = """\
time,device,x,y,pressure,moving
0.5,a,0.1,0.2,20,0
0.6,b,0.5,0.5,20,0
0.75,a,0.2,0.4,20,1
1.0,a,0.9,0.8,,0
"""
"""The performance of `MICROJAM_CSV` on the device a, and a tap on the device b."""

OMNIGLOT = "START\n17,-33,0\n18.5,-34,12\nBREAK\n90,-10,700\nBREAK\n"
"""A drawing of a stroke and a dot."""

UJI = """\
//
// UJI: 100 units per millimetre
//
// ASCII char: ;
WORD ; trn_UJI_W03-01
  NUMSTROKES 2
  POINTS 3 # 541 1001 540 987 530 977
  POINTS 2 # 518 1227 -71 1312
// Non-ASCII char: ntilde
WORD \u00f1 tst_UPV_W18-02
  NUMSTROKES 1
  POINTS 1 # 7 8
"""
"""Two characters."""

XOURNAL = """<?xml version="1.0" standalone="no"?>
<xournal creator="xournalpp 1.2.0" fileversion="4">
<title>Xournal++ document - see https://xournalpp.github.io/</title>
<page width="612" height="792">
<background type="solid" color="#ffffffff" style="lined"/>
<layer>
<stroke tool="pen" color="#000000ff" width="1.41 0.8 0.9">10.00 50.00 10.00 90.00 60.00 90.00</stroke>
<stroke tool="highlighter" color="#ffff007f" width="8.5">0 0 9 9</stroke>
<text font="Sans" size="12" x="20" y="20" color="#000000ff">a note</text>
</layer>
<layer><stroke tool="pen" color="#ff0000ff" width="1.41" capStyle="round">5 55 35 20</stroke></layer>
</page>
<page width="612" height="792"><background type="pdf" pageno="2"/><layer/></page>
<page width="612" height="792"><background type="solid"/><layer>
<stroke tool="pen" color="#000000ff" width="1">1 2 3 4</stroke><image left="0" top="0" right="9" bottom="9">iVBO</image>
</layer></page>
</xournal>
"""
"""Two pages with drawings and one without, as Xournal++ writes them."""

ODD_FILE_NAMES = ["two\nlines", "\r\n", 'it\'s "this"', "a\tb", " ", "-x", "$(touch ran)", "é 仂 🦊", "\x1b[31m"]
"""Legal file names with quotes, control characters, line breaks and shell syntax."""


def parse_bytes(path: Path, data: bytes, form: Format = inkml.FORMAT) -> DrawingBatch:
    """Write `data` to `path` and parse it as the given format, whose files are one chunk."""
    path.write_bytes(data)
    return DrawingBatch.from_polylines([]) if not (chunks := list(form.chunks(path))) else form.parse(chunks[0])


def parse_chunks(form: Format, path: Path) -> list[DrawingBatch]:
    """Return the drawings of each chunk of a file."""
    return [form.parse(chunk) for chunk in form.chunks(path)]


def performance_formats(path: Path) -> list[str]:
    """Return the names of the formats of performances, or of sketch-rnn, that recognize a file."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    forms = (microjam.CSV, microjam.ARRAYS, impsy.LOG, impsy.ARRAYS, lightpad.FORMAT, sketchrnn.FORMAT)
    return [form.name for form in forms if form.recognizes(path, head)]


def strokes_as_lists(drawings: DrawingBatch, index: int = 0) -> list[list[list[float]]]:
    """Return the points of one drawing, stroke by stroke."""
    return [stroke.tolist() for stroke in drawings.polylines(index)]


def write_text(path: Path, content: str) -> Path:
    """Write a text file and return its path."""
    path.write_text(content)
    return path


def ndjson_line(number: int, **fields: Any) -> str:
    """Return a Quick, Draw! line whose only step, (number, 1), identifies it."""
    return json.dumps({"drawing": [[[0, number], [0, 1]]], **fields}) + "\n"


def pack_quickdraw(drawings: list[QuickDrawDrawing]) -> bytes:
    """Encode drawings as a Quick, Draw! `.bin` file."""
    data = b""
    for key, strokes in drawings:
        data += struct.pack("<Q2sbIH", key, b"DE", 1, 1_490_000_000, len(strokes))
        for stroke in strokes:
            xs, ys = zip(*stroke, strict=True) if stroke else ((), ())
            data += struct.pack("<H", len(stroke)) + bytes(xs) + bytes(ys)
    return data


def object_array(*records: Any) -> Any:
    """Return an object array, as NumPy stores records of different lengths."""
    array = np.empty(len(records), dtype=object)
    array[:] = records
    return array


def saved_bytes(save: Callable[..., object], *arguments: Any, **arrays: Any) -> bytes:
    """Return what `np.save`, `np.savez` or `np.savez_compressed` writes."""
    file = io.BytesIO()
    save(file, *arguments, **arrays)
    return file.getvalue()


def write_member(path: Path, data: bytes, member: str = "train") -> Path:
    """Write a valid archive with one member `member`.npy that consists of `data`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{member}.npy", data)
    return path


class PickledCall:
    """An object that pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call
