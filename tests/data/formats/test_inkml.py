"""Tests of the InkML reader: trace formats, encodings of values, annotations, and invalid or costly files."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import inkml
from mdnrnn.errors import DataError
from tests.data.formats.fuzzing import memory_limit
from tests.data.formats.samples import INKML, parse_bytes, strokes_as_lists


def parse_ink(tmp_path: Path, inner: str) -> DrawingBatch:
    """Parse an InkML file with the given elements."""
    return parse_bytes(tmp_path / "x.inkml", f"<ink>{inner}</ink>".encode())


def test_crohme_file_is_one_drawing_with_its_formula(tmp_path: Path) -> None:
    drawings = parse_bytes(tmp_path / "x.inkml", INKML)
    assert strokes_as_lists(drawings) == [
        [[985, 3317], [1019, 3340.5], [1020, 3341]],
        [[5, 6], [11, 2], [7, 8]],
    ]
    record = drawings.records[0]
    assert (record.text, record.label, record.key, record.location) == ("$a+b$", None, None, str(tmp_path / "x.inkml"))
    assert not drawings.dropped
    assert not drawings.repaired


def test_example_of_the_specification_is_decoded(tmp_path: Path) -> None:
    """InkML, section 3.2.1: differences of first and second order, and T and F in intermittent channels."""
    drawings = parse_ink(
        tmp_path,
        """<traceFormat><channel name="X" type="integer"/><channel name="Y" type="integer"/><intermittentChannels>
        <channel name="S1" type="boolean" default="F"/><channel name="S2" type="boolean" default="F"/>
        </intermittentChannels></traceFormat>
        <trace xml:id="id4525abc">1125 18432,'23'43,"7"-8,3-5,7-3,6 2,6 8,3 6 T,2 4*T,3 6,3-6 F F</trace>""",
    )
    x = [1125, 1148, 1178, 1211, 1251, 1297, 1349, 1404, 1461, 1521, 1584]
    y = [18432, 18475, 18510, 18540, 18567, 18596, 18633, 18676, 18723, 18776, 18823]
    assert strokes_as_lists(drawings) == [np.stack([x, y], axis=1).tolist()]


CASES = {
    "no traceFormat": ("<trace>1 2,3 4</trace>", [[[1, 2], [3, 4]]]),
    "more values after X and Y": ("<trace>1 2 900 5, 3 4 910 6,</trace>", [[[1, 2], [3, 4]]]),
    "channels before Y and X": (
        '<traceFormat><channel type="integer" name="T"/><channel name="F"/><channel name="Y"/><channel name="X"/>'
        "</traceFormat><trace>0 9 2 1,\n10 8 4 3</trace>",
        [[[1, 2], [3, 4]]],
    ),
    "negative orientation of Y": (
        '<traceFormat><channel name="X"/><channel name="Y" orientation="-ve"/></traceFormat><trace>1 2,3 4</trace>',
        [[[1, -2], [3, -4]]],
    ),
    "no commas": ("<trace>10 0 9 14 8 28</trace>", [[[10, 0], [9, 14], [8, 28]]]),
    "dot": ("<trace> 1e2 -.5 </trace>", [[[100, -0.5]]]),
    "signs as separators": ("<trace>1-2,+3-4</trace>", [[[1, -2], [3, -4]]]),
    "repeated value": ("<trace>1 2,* 4,'1'*,1 1</trace>", [[[1, 2], [1, 4], [2, 4], [3, 5]]]),
    "hexadecimal": ("<trace>#1F -#a,1 2</trace>", [[[31, -10], [1, 2]]]),
    "pen-up trace": ('<trace type="penUp">1 2,3 4</trace><trace type="penDown">5 6</trace>', [[[5, 6]]]),
    "empty traces": ("<trace/><trace> </trace><trace>5 6</trace>", [[[5, 6]]]),
    "nested groups": ("<traceGroup><trace>1 2</trace><traceGroup><trace>3 4</trace></traceGroup></traceGroup>",
                         [[[1, 2]], [[3, 4]]]),
    "continued trace": (
        '<trace xml:id="a" continuation="begin">1 2</trace><trace>9 9</trace>'
        '<trace id="b" continuation="middle" priorRef="#a">3 4</trace>'
        '<trace continuation="end" priorRef="b">5 6</trace>',
        [[[1, 2], [3, 4], [5, 6]], [[9, 9]]],
    ),
    "formats by context reference": (
        '<definitions><inkSource xml:id="s"><traceFormat><channel name="T"/><channel name="X"/><channel name="Y"/>'
        '</traceFormat></inkSource><traceFormat xml:id="f"><channel name="Y"/><channel name="X"/></traceFormat>'
        '<context xml:id="c" inkSourceRef="#s"/><context xml:id="d" traceFormatRef="#f"/></definitions>'
        '<trace contextRef="#c">0 1 2</trace><traceGroup contextRef="#d"><trace>2 1</trace></traceGroup>',
        [[[1, 2]], [[1, 2]]],
    ),
    "current context": (
        '<definitions><traceFormat xml:id="e"><channel name="X"/><channel name="Y"/></traceFormat>'
        '<traceFormat xml:id="f"><channel name="T"/><channel name="X"/><channel name="Y"/></traceFormat>'
        '<context xml:id="c" traceFormatRef="#e"/></definitions>'
        '<trace>1 2</trace><context traceFormatRef="#f"/><trace>0 1 2</trace><trace contextRef="#c">3 4</trace>'
        '<context brushRef="#b"/><traceGroup><trace>0 5 6</trace></traceGroup>'
        '<context contextRef="#c"/><trace>7 8</trace>',
        [[[1, 2]], [[1, 2]], [[3, 4]], [[5, 6]], [[7, 8]]],
    ),
    "formats in contexts and alone, none before the first trace": (
        '<trace>1 2</trace><context><inkSource><traceFormat><channel name="T"/><channel name="X"/><channel name="Y"/>'
        '</traceFormat></inkSource></context><trace>0 1 2</trace>'
        '<traceFormat><channel name="Y"/><channel name="X"/></traceFormat><trace>2 1</trace>',
        [[[1, 2]], [[1, 2]], [[1, 2]]],
    ),
    "context in definitions is not current": (
        '<traceFormat><channel name="X"/><channel name="Y"/></traceFormat><definitions><context><traceFormat>'
        '<channel name="Y"/><channel name="X"/></traceFormat></context></definitions><trace>1 2</trace>',
        [[[1, 2]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("inner", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize(
    "start", ["<ink>", '<ink xmlns="http://www.w3.org/2003/InkML">', '<i:ink xmlns:i="urn:x" xmlns="urn:x">']
)
def test_traces_have_expected_points(tmp_path: Path, inner: str, expected: list[list[list[float]]], start: str) -> None:
    end = "</i:ink>" if "i:ink" in start else "</ink>"
    data = f'<?xml version="1.0"?><!-- <svg> -->{start}{inner}{end}'.encode()
    drawings = parse_bytes(tmp_path / "x.inkml", data)
    assert strokes_as_lists(drawings) == expected
    assert inkml.FORMAT.recognizes(tmp_path / "x.inkml", data[:4096])


ANNOTATIONS = {
    "MathWriting": (
        {"label": "1 \\over 2", "normalizedLabel": "\\frac{1}{2}", "splitTagOriginal": "valid", "sampleId": "00a"},
        (None, "\\frac{1}{2}", "valid"),
    ),
    "MathWriting, synthetic": (
        {"label": "x", "normalizedLabel": "x", "splitTagOriginal": "synthetic", "inkCreationMethod": "boundingBoxes"},
        (None, "x", None),
    ),
    "MathWriting, symbol": ({"label": "f", "splitTagOriginal": "symbols", "sampleId": "00a"}, (None, "f", None)),
    "written by this package": ({"label": "cat", "text": "a cat", "split": "test"}, ("cat", "a cat", "test")),
    "unknown split": ({"label": "cat", "split": "dev"}, ("cat", None, None)),
}


@pytest.mark.parametrize(("annotations", "expected"), ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_annotations_give_class_text_and_split(
    tmp_path: Path, annotations: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    elements = "".join(f'<annotation type="{kind}">{text}</annotation>' for kind, text in annotations.items())
    channels = "".join(f'<channel name="{name}" type="decimal"/>' for name in "XYT")
    drawings = parse_ink(tmp_path, f"{elements}<traceFormat>{channels}</traceFormat><trace>1.5 2 0.0,3 4 12.0</trace>")
    record = drawings.records[0]
    assert (record.label, record.text, record.split) == expected
    assert strokes_as_lists(drawings) == [[[1.5, 2], [3, 4]]]


def test_file_in_utf16_is_read(tmp_path: Path) -> None:
    ink = '<ink><annotation type="class">é</annotation><trace>1 2</trace></ink>'
    data = f'<?xml version="1.0" encoding="UTF-16"?>{ink}'.encode("utf-16")
    assert parse_bytes(tmp_path / "x.inkml", data).records[0].label == "é"
    assert inkml.FORMAT.recognizes(tmp_path / "x.inkml", data)


def test_points_without_value_are_left_out_and_reported(tmp_path: Path) -> None:
    drawings = parse_ink(tmp_path, '<trace>1 2,? 3,4 5</trace><trace continuation="end" priorRef="#z">7 8</trace>')
    assert strokes_as_lists(drawings) == [[[1, 2], [4, 5]], [[7, 8]]]
    assert [remark.reason for remark in drawings.repaired] == ["no value", "no prior trace"]


@pytest.mark.parametrize("text", ["1", "1 2,3", "1 2,,3 4", "a b", "1 2,T F", "1 2;3 4", "1.2.3 x", "'' 1 2"])
def test_malformed_trace_drops_its_drawing(tmp_path: Path, text: str) -> None:
    valid = '<traceGroup><annotation type="drawing">1</annotation><trace>1 2</trace></traceGroup>'
    drawings = parse_ink(tmp_path, valid.replace("1 2", text) + valid)
    path = tmp_path / "x.inkml"
    assert [record.location for record in drawings.records] == [f"{path}, drawing 1"]
    assert drawings.dropped[0].reason == "malformed trace"
    assert drawings.dropped[0].malformed
    assert f"{path}, drawing 0, trace 0 has" in drawings.dropped[0].detail


def test_file_without_traces_is_an_empty_drawing(tmp_path: Path) -> None:
    drawings = parse_ink(tmp_path, "")
    assert [remark.reason for remark in drawings.dropped] == ["empty"]


def test_dtd_without_entities_is_accepted(tmp_path: Path) -> None:
    drawings = parse_bytes(tmp_path / "x.inkml", b"<!DOCTYPE ink [<!ELEMENT ink ANY>]><ink><trace>1 2</trace></ink>")
    assert strokes_as_lists(drawings) == [[[1, 2]]]


INVALID: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not XML"),
    "incomplete": (lambda: INKML[:300], "not XML"),
    "other root": (lambda: b"<svg/>", "its root is <svg>; expected <ink>"),
    "no X": (lambda: b'<ink><traceFormat><channel name="U"/></traceFormat></ink>', "expected X and Y"),
    "entity": (lambda: b'<!DOCTYPE ink [<!ENTITY a "1 2">]><ink><trace>&a;</trace></ink>', "entities"),
    "expanding entities": (
        lambda: (
            b'<!DOCTYPE ink [<!ENTITY a "1 2,">'
            + b"".join(b'<!ENTITY %c "%b">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12))
            + b"]><ink><trace>&m;</trace></ink>"
        ),
        "entities",
    ),
    "entity of a file": (
        lambda: b'<!DOCTYPE ink [<!ENTITY a SYSTEM "file:///etc/passwd">]><ink><trace>&a;</trace></ink>',
        "entities",
    ),
    "external parameter entity": (
        lambda: b'<!DOCTYPE ink [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;]><ink/>',
        "entities",
    ),
    "unknown encoding": (lambda: b'<?xml version="1.0" encoding="foo"?><ink/>', "encoding"),
    "many tags": (lambda: b"<ink>" + b"<a/>" * (1 << 22) + b"</ink>", "tags and attributes; expected at most"),
    "large file": (lambda: b"<ink>" + b" " * (64 << 20) + b"</ink>", "over 64 MB"),
    "deep groups": (
        lambda: b"<ink>" + b"<traceGroup>" * 1000 + b"<trace>1 2</trace>" + b"</traceGroup>" * 1000 + b"</ink>",
        "elements nested over 256 levels deep",
    ),
    "deep contexts": (
        lambda: b"<ink>" + b"<context>" * 1000 + b"</context>" * 1000 + b"</ink>",
        "elements nested over 256 levels deep",
    ),
}


@pytest.mark.parametrize(("make", "message"), INVALID.values(), ids=INVALID)
def test_invalid_file_is_refused_with_its_path(tmp_path: Path, make: Callable[[], bytes], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        parse_bytes(tmp_path / "x.inkml", make())
    assert str(caught.value).startswith(str(tmp_path / "x.inkml"))


COSTLY: dict[str, Callable[[], bytes]] = {
    "long point": lambda: b"1 " * (1 << 21),
    "prefixes": lambda: b"'" * (1 << 18),
    "long number": lambda: b"1" * (1 << 20) + b"x",
    "commas": lambda: b"," * (1 << 19),
}


@pytest.mark.parametrize("make", COSTLY.values(), ids=COSTLY)
def test_long_trace_needs_bounded_memory(tmp_path: Path, make: Callable[[], bytes]) -> None:
    data = b"<ink><trace>" + make() + b"</trace></ink>"
    with memory_limit(), contextlib.suppress(DataError):
        parse_bytes(tmp_path / "x.inkml", data)


@pytest.mark.parametrize(("limit", "value"), [("MAX_TRACE", 10), ("MAX_POINTS", 3)])
def test_trace_beyond_a_limit_drops_its_drawing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(inkml, limit, value)
    drawings = parse_ink(tmp_path, "<trace>1 2,3 4,5 6,7 8</trace>")
    assert [remark.reason for remark in drawings.dropped] == ["malformed trace"]
    assert len(parse_ink(tmp_path, "<trace>1 2,3 4</trace>")) == 1


CHANNELS = {
    "force and time": (
        "<traceFormat><channel name='T'/><channel name='X'/><channel name='Y'/><channel name='F'/></traceFormat>"
        "<trace>0 1 2 9, 1 3 4 8</trace><trace type='penUp'>0 1 2 9</trace><trace>2 5 6 7</trace>",
        {"time values": 3, "force values": 3},
    ),
    "orientation of the pen": (
        "<traceFormat><channel name='X'/><channel name='Y'/><channel name='OTx'/><channel name='OTy'/></traceFormat>"
        "<trace>1 2 5 6, '1'2'3'4</trace>",
        {"tilt values": 4},
    ),
    "intermittent channel": (
        "<traceFormat><channel name='X'/><channel name='Y'/><intermittentChannels><channel name='Pressure'/>"
        "</intermittentChannels></traceFormat><trace>1 2, 3 4 7, 5 6</trace>",
        {"pressure values": 1},
    ),
    "unknown channels": ("<trace>1 2 900 5, 3 4 910 6</trace>", {"other channel values": 4}),
    "only X and Y": ("<trace>1 2, 3 4</trace>", {}),
}


@pytest.mark.parametrize(("inner", "lost"), CHANNELS.values(), ids=CHANNELS)
def test_values_of_other_channels_are_counted(inner: str, lost: dict[str, int], tmp_path: Path) -> None:
    remarks = parse_ink(tmp_path, inner).lost
    assert {remark.reason: remark.count for remark in remarks} == lost
    assert all(remark.detail.startswith(f"{tmp_path / 'x.inkml'}: ") for remark in remarks)


def test_values_of_dropped_drawings_are_not_counted(tmp_path: Path) -> None:
    assert not parse_ink(tmp_path, "<trace>1 2 3, 4 5 6</trace><trace>x</trace>").lost
