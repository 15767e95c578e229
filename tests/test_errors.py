"""Tests of error messages: one line, and at most 500 characters with the prefix of the command line."""

from pathlib import Path

import pytest

from mdnrnn.cli import main
from mdnrnn.data.formats import FORMATS
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import MAX_MESSAGE, DataError, InputError, quantity, shorten


def test_middle_of_a_long_message_is_left_out() -> None:
    message = f"x.svg: received {'a' * 10_000}; save it as plain SVG"
    error = str(DataError(message))
    assert len(error) == len(shorten(message)) <= MAX_MESSAGE
    assert error.startswith("x.svg: received aaa")
    assert error.endswith("aaa; save it as plain SVG")
    assert "a...a" in error
    assert str(InputError("two\n lines")) == "two lines"
    assert shorten("b" * MAX_MESSAGE) == "b" * MAX_MESSAGE


@pytest.mark.parametrize(
    ("plural", "one"),
    [
        ("drawings", "1 drawing"),
        ("classes", "1 class"),
        ("touches", "1 touch"),
        ("responses", "1 response"),
        ("time values", "1 time value"),
        ("strokes of the eraser", "1 stroke of the eraser"),
        ("values besides x and y", "1 value besides x and y"),
        ("drawings with part numbers", "1 drawing with part numbers"),
        ("pressure", "1 pressure"),
    ],
)
def test_noun_after_1_is_singular(plural: str, one: str) -> None:
    assert quantity(1, plural) == one
    assert [quantity(n, plural) for n in (0, 2)] == [f"0 {plural}", f"2 {plural}"]


LONG = "z" * 20_000
CONTENTS = {
    "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><g><use href="#{LONG[:9_000]}"/></x{LONG}></svg>',
    "ndjson": f'{{"drawing": "{LONG}"}}\n',
    "inkml": f"<ink><traceFormat><channel name='{LONG}'/></traceFormat><trace>{LONG}</trace></ink>",
    "iam": f"<WhiteboardCaptureSession><StrokeSet><Stroke><Point x='{LONG}'/></Stroke></StrokeSet>",
    "unipen": f".VERSION 1\n.COORD {LONG}\n.PEN_DOWN\n{LONG}\n",
}
"""Malformed files with long values; the other formats get the long text alone."""


@pytest.mark.parametrize("name", FORMATS)
def test_error_of_each_reader_is_short(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / ("a" * 200) / ("b" * 200)
    folder.mkdir(parents=True)
    path = folder / ("c" * 200 + FORMATS[name].extensions[0])
    path.write_text(CONTENTS.get(name, LONG))
    with pytest.raises(DataError) as caught:
        pipeline.read(path, Recipe(format=name))
    assert len(str(caught.value)) <= MAX_MESSAGE
    for options in ([], ["--skip-bad"]):
        assert main(["data", "import", str(path), "--format", name, "--out", str(tmp_path / "out"), *options]) == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert len(line) <= 500
        assert line.count("\n") == 1


def test_error_of_a_long_path_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "info", str(tmp_path / "a" / ("b" * 3000))]) == 2
    assert len(capsys.readouterr().err) <= 500
