"""Tests of the description of files that no reader recognizes: their kind, and a way to convert them."""

import gzip
import pickle
from pathlib import Path

import pytest

from mdnrnn.data import formats
from mdnrnn.data.formats.format import HEAD_BYTES
from mdnrnn.data.formats.unknown import describe_content
from mdnrnn.data.importing import pipeline
from mdnrnn.errors import DataError

DXF = b"  0\r\nSECTION\r\n  2\r\nENTITIES\r\n  0\r\nLINE\r\n"
GCODE = b"; made by a slicer\nG21\nG90\nG0 X10 Y20\nG1 X30.5 Y40 F300\nM5\n"
KNOWN: dict[str, tuple[str, bytes, str, str]] = {
    "PNG": ("x.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG picture", "Centerline tracing"),
    "JPEG": ("x.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture", "Centerline tracing"),
    "JPEG with another name": ("x.svg", b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG picture", "SVG"),
    "GIF": ("x.gif", b"GIF89a\1\0\1\0", "a GIF picture", "SVG"),
    "WebP": ("x.webp", b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP picture", "SVG"),
    "HEIC": ("x.heic", b"\0\0\0\x18ftypheic", "a HEIC or AVIF picture", "SVG"),
    "PDF": ("x.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF or Illustrator document", "save it as SVG"),
    "Illustrator": ("x.ai", b"%PDF-1.5\r%\xe2\xe3\r\n", "a PDF or Illustrator document", "save it as SVG"),
    "Photoshop": ("x.psd", b"8BPS\0\1\0\0\0\0", "a Photoshop document", "export its paths as SVG"),
    "Procreate": ("x.procreate", b"PK\3\4\x14\0\0\0\0\0", "a Procreate document", "contains pixels"),
    "PostScript": ("x.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript document", "save it as SVG"),
    "reMarkable 6": ("x.rm", b"reMarkable .lines file, version=6          \0\0", "a page of a reMarkable", "rmc -t"),
    "reMarkable 5": ("x.rm", b"reMarkable .lines file, version=5          \0\0", "a page of a reMarkable", "as SVG"),
    "CASIA": ("1001.pot", b"\x80\0\xa1\xb0\0\0\3\0\x66\1\x5d\1", "a CASIA-OLHWDB file", ".ndjson"),
    "CASIA lines": ("001.wptt", b"\x80\0\xa1\xb0\0\0\3\0\x66\1\x5d\1", "a CASIA-OLHWDB file", ".ndjson"),
    "CASIA pictures": ("1001.gnt", b"\x9e\1\0\0\xb0\xa1\x40\0\x40\0\xff\xff", "a CASIA-HWDB file", "contains pictures"),
    "DXF": ("x.dxf", DXF, "a DXF drawing", "vpype dread in.dxf write out.svg"),
    "DXF with comments": ("x.dxf", b"999\nby hand\n" + DXF, "a DXF drawing", "Inkscape"),
    "binary DXF": ("x.dxf", b"AutoCAD Binary DXF\r\n\x1a\0", "a binary DXF drawing", "Inkscape"),
    "DWG": ("x.dwg", b"AC1032\0\0\0\0", "a DWG drawing", "save it as DXF"),
    "HPGL": ("x.hpgl", b"IN;SP1;PU100,200;PD300,400;PU;", "an HPGL plot", "Inkscape"),
    "HPGL with escape": ("x.plt", b"\x1b.(;\x1b.I81;;17:IN;PU0,0;PD1,1;", "an HPGL plot", "Inkscape"),
    "G-code": ("x.gcode", GCODE, "G-code", "a CSV file with the columns x, y, stroke"),
    "G-code with numbers": ("x.nc", b"%\nN10 G00 X0 Y0\nN20 G01 X5 Y5\nN30 M30\n", "G-code", "CSV"),
    "gzip": ("x.gz", gzip.compress(b"text"), "a gzip file", "unpack"),
    "tar": ("x.tar", b"a.svg".ljust(257, b"\0") + b"ustar\0", "a tar archive", "unpack"),
    "xz": ("x.xz", b"\xfd7zXZ\0\0", "an xz file", "unpack"),
    "pickle": ("x.pkl", pickle.dumps([1.5, {"a": 2}]), "a Python pickle", "only if you trust it"),
    "HDF5": ("x.h5", b"\x89HDF\r\n\x1a\n\0", "an HDF5 file", "numpy.savez"),
    "MATLAB": ("x.mat", b"MATLAB 5.0 MAT-file, Platform: GLNXA64\0\1IM", "a MATLAB file", "numpy.savez"),
    "Git LFS": ("x.svg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer", "git lfs"),
    "web page": ("x.svg", b"\n<!DOCTYPE html>\n<html><body></body></html>", "an HTML page", "the file itself"),
    "included file": ("include/x.dat", b".COORD X Y\n.PEN_DOWN\n1 2\n", "a UNIPEN file in a folder", "includes it"),
    "numbers": ("x.csv", b"10,50,1\n10,90,1\n", "a table of numbers without a header", "such as x,y,pen"),
    "table": ("x.csv", b"x,y,t\n1,2,3\n", "a table with the columns x, y, t", "name columns x, y, and stroke or pen"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "found", "advice"), KNOWN.values(), ids=KNOWN)
def test_error_names_the_content_and_a_way_to_convert_it(
    tmp_path: Path, name: str, data: bytes, found: str, advice: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(data)
    assert formats.recognize_format(tmp_path / name) is None
    error = str(formats.unknown_format_error(tmp_path / name))
    assert error.startswith(f"{tmp_path / name}: {found}")
    assert "not a known format; expected strokes; " in error
    assert advice in error
    assert len(error) - len(str(tmp_path)) < 400


OTHER: dict[str, tuple[str, bytes, str]] = {
    "text": ("x.txt", b"All rights\n  reserved. " + b"a" * 99, f"text that begins 'All rights reserved. {'a' * 19}'"),
    "text in capitals": ("x", b"SPECIAL;IN 5 DAYS;", "text that begins 'SPECIAL;IN 5 DAYS;'"),
    "text that begins like a picture": ("x", b"BMW and more", "text that begins 'BMW and more'"),
    "a command": ("x", b"G1 is a gene\n", "text that begins 'G1 is a gene'"),
    "XML": ("x.xml", b"<?xml version='1.0'?><gpx><trk/></gpx>", "XML with the root <gpx>"),
    "binary data": ("x.dat", b"\0\1\2abc\xff\xfe99", "binary data that begins 00 01 02 61 62 63 ff fe"),
    "not an archive": ("x.npz", b"hello", "not an .npz file, but text that begins 'hello'"),
    "archive": ("x.npz", b"PK\3\4", "an .npz that is truncated"),
    "nothing": ("x.svg", b"", "the file is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "found"), OTHER.values(), ids=OTHER)
def test_error_says_how_other_content_begins(tmp_path: Path, name: str, data: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as error:
        pipeline.read(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: {found}")
    assert "expected one of sketchrnn, " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "unit",
    [
        b"\n",
        b" ",
        b"999\n",
        b"\t\r\n",
        b"G1 ",
        b"G1X",
        b"N1",
        b"IN",
        b"\x1b",
        b"<!--",
        b"a,",
        b'"',
        b"0\n",
        b"1,",
        b"1e",
        b", ",
    ],
)
def test_long_runs_of_one_text_are_described_at_once(unit: bytes) -> None:
    head = (unit * HEAD_BYTES)[:HEAD_BYTES]
    for prefix in (b"", b"999", b"<"):
        assert describe_content(Path("x"), prefix + head).kind in ("text", "XML", "table")
