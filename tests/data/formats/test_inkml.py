"""InkML: the standard's own example, files as others write them, and every corpus back as it was written."""

import contextlib
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import inkml, inkml_writer
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Start, from_polylines
from mdnrnn.errors import DataError, InputError
from tests.data.formats.fuzzing import EXAMPLES
from tests.data.formats.samples import INKML, parse_bytes, strokes_as_lists
from tests.helpers import random_corpus


def traces(tmp_path: Path, inside: str, start: str = "<ink>") -> DrawingBatch:
    """The drawings of an InkML file with this inside."""
    return parse_bytes(tmp_path / "x.inkml", f"{start}{inside}</ink>".encode())


def test_a_crohme_file_is_one_drawing_with_its_formula(tmp_path: Path) -> None:
    drawings = parse_bytes(tmp_path / "x.inkml", INKML)
    assert strokes_as_lists(drawings) == [
        [[985, 3317], [1019, 3340.5], [1020, 3341]],
        [[5, 6], [11, 2], [7, 8]],
    ]
    record = drawings.records[0]
    assert (record.text, record.label, record.key, record.location) == ("$a+b$", None, None, str(tmp_path / "x.inkml"))
    assert not drawings.dropped
    assert not drawings.repaired


def test_the_example_of_the_standard_is_decoded_to_its_values(tmp_path: Path) -> None:
    """InkML, 3.2.1: differences of first and second order, T and F in channels that come and go."""
    drawings = traces(
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
    "further values after X and Y": ("<trace>1 2 900 5, 3 4 910 6,</trace>", [[[1, 2], [3, 4]]]),
    "time and force before Y and X": (
        '<traceFormat><channel type="integer" name="T"/><channel name="F"/><channel name="Y"/><channel name="X"/>'
        "</traceFormat><trace>0 9 2 1,\n10 8 4 3</trace>",
        [[[1, 2], [3, 4]]],
    ),
    "Y upwards": (
        '<traceFormat><channel name="X"/><channel name="Y" orientation="-ve"/></traceFormat><trace>1 2,3 4</trace>',
        [[[1, -2], [3, -4]]],
    ),
    "no commas, as in the drafts": ("<trace>10 0 9 14 8 28</trace>", [[[10, 0], [9, 14], [8, 28]]]),
    "a dot": ("<trace> 1e2 -.5 </trace>", [[[100, -0.5]]]),
    "signs as separators": ("<trace>1-2,+3-4</trace>", [[[1, -2], [3, -4]]]),
    "the value before": ("<trace>1 2,* 4,'1'*,1 1</trace>", [[[1, 2], [1, 4], [2, 4], [3, 5]]]),
    "hexadecimal": ("<trace>#1F -#a,1 2</trace>", [[[31, -10], [1, 2]]]),
    "a pen-up trace": ('<trace type="penUp">1 2,3 4</trace><trace type="penDown">5 6</trace>', [[[5, 6]]]),
    "an empty trace": ("<trace/><trace> </trace><trace>5 6</trace>", [[[5, 6]]]),
    "traces in groups": ("<traceGroup><trace>1 2</trace><traceGroup><trace>3 4</trace></traceGroup></traceGroup>",
                         [[[1, 2]], [[3, 4]]]),
    "a trace that goes on": (
        '<trace xml:id="a" continuation="begin">1 2</trace><trace>9 9</trace>'
        '<trace id="b" continuation="middle" priorRef="#a">3 4</trace>'
        '<trace continuation="end" priorRef="b">5 6</trace>',
        [[[1, 2], [3, 4], [5, 6]], [[9, 9]]],
    ),
    "formats by context": (
        '<definitions><inkSource xml:id="s"><traceFormat><channel name="T"/><channel name="X"/><channel name="Y"/>'
        '</traceFormat></inkSource><traceFormat xml:id="f"><channel name="Y"/><channel name="X"/></traceFormat>'
        '<context xml:id="c" inkSourceRef="#s"/><context xml:id="d" traceFormatRef="#f"/></definitions>'
        '<trace contextRef="#c">0 1 2</trace><traceGroup contextRef="#d"><trace>2 1</trace></traceGroup>',
        [[[1, 2]], [[1, 2]]],
    ),
    "a context that is current from there on": (
        '<definitions><traceFormat xml:id="e"><channel name="X"/><channel name="Y"/></traceFormat>'
        '<traceFormat xml:id="f"><channel name="T"/><channel name="X"/><channel name="Y"/></traceFormat>'
        '<context xml:id="c" traceFormatRef="#e"/></definitions>'
        '<trace>1 2</trace><context traceFormatRef="#f"/><trace>0 1 2</trace><trace contextRef="#c">3 4</trace>'
        '<context brushRef="#b"/><traceGroup><trace>0 5 6</trace></traceGroup>'
        '<context contextRef="#c"/><trace>7 8</trace>',
        [[[1, 2]], [[1, 2]], [[3, 4]], [[5, 6]], [[7, 8]]],
    ),
    "formats in contexts and alone, none before the first": (
        '<trace>1 2</trace><context><inkSource><traceFormat><channel name="T"/><channel name="X"/><channel name="Y"/>'
        '</traceFormat></inkSource></context><trace>0 1 2</trace>'
        '<traceFormat><channel name="Y"/><channel name="X"/></traceFormat><trace>2 1</trace>',
        [[[1, 2]], [[1, 2]], [[1, 2]]],
    ),
    "definitions change nothing by themselves": (
        '<traceFormat><channel name="X"/><channel name="Y"/></traceFormat><definitions><context><traceFormat>'
        '<channel name="Y"/><channel name="X"/></traceFormat></context></definitions><trace>1 2</trace>',
        [[[1, 2]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("inside", "expected"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize(
    "start", ["<ink>", '<ink xmlns="http://www.w3.org/2003/InkML">', '<i:ink xmlns:i="urn:x" xmlns="urn:x">']
)
def test_what_others_write_is_read(tmp_path: Path, inside: str, expected: list[list[list[float]]], start: str) -> None:
    end = "</i:ink>" if "i:ink" in start else "</ink>"
    data = f'<?xml version="1.0"?><!-- <svg> -->{start}{inside}{end}'.encode()
    drawings = parse_bytes(tmp_path / "x.inkml", data)
    assert strokes_as_lists(drawings) == expected
    assert inkml.FORMAT.recognizes(tmp_path / "x.inkml", data[:4096])


SAID = {
    "MathWriting": (
        {"label": "1 \\over 2", "normalizedLabel": "\\frac{1}{2}", "splitTagOriginal": "valid", "sampleId": "00a"},
        (None, "\\frac{1}{2}", "valid"),
    ),
    "MathWriting, made of symbols": (
        {"label": "x", "normalizedLabel": "x", "splitTagOriginal": "synthetic", "inkCreationMethod": "boundingBoxes"},
        (None, "x", None),
    ),
    "MathWriting, a symbol": ({"label": "f", "splitTagOriginal": "symbols", "sampleId": "00a"}, (None, "f", None)),
    "of its own": ({"label": "cat", "text": "a cat", "split": "test"}, ("cat", "a cat", "test")),
    "of another division": ({"label": "cat", "split": "dev"}, ("cat", None, None)),
}


@pytest.mark.parametrize(("annotations", "expected"), SAID.values(), ids=SAID.keys())
def test_annotations_say_class_text_and_split(
    tmp_path: Path, annotations: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    said = "".join(f'<annotation type="{kind}">{text}</annotation>' for kind, text in annotations.items())
    channels = "".join(f'<channel name="{name}" type="decimal"/>' for name in "XYT")
    drawings = traces(tmp_path, f"{said}<traceFormat>{channels}</traceFormat><trace>1.5 2 0.0,3 4 12.0</trace>")
    record = drawings.records[0]
    assert (record.label, record.text, record.split) == expected
    assert strokes_as_lists(drawings) == [[[1.5, 2], [3, 4]]]


def test_a_label_and_another_encoding_are_read(tmp_path: Path) -> None:
    ink = '<ink><annotation type="class">é</annotation><trace>1 2</trace></ink>'
    data = f'<?xml version="1.0" encoding="UTF-16"?>{ink}'.encode("utf-16")
    assert parse_bytes(tmp_path / "x.inkml", data).records[0].label == "é"
    assert inkml.FORMAT.recognizes(tmp_path / "x.inkml", data)


def test_points_without_a_value_are_left_out_and_told(tmp_path: Path) -> None:
    drawings = traces(tmp_path, '<trace>1 2,? 3,4 5</trace><trace continuation="end" priorRef="#z">7 8</trace>')
    assert strokes_as_lists(drawings) == [[[1, 2], [4, 5]], [[7, 8]]]
    assert [remark.reason for remark in drawings.repaired] == ["no value", "no prior trace"]


@pytest.mark.parametrize("text", ["1", "1 2,3", "1 2,,3 4", "a b", "1 2,T F", "1 2;3 4", "1.2.3 x", "'' 1 2"])
def test_a_malformed_trace_costs_its_drawing(tmp_path: Path, text: str) -> None:
    good = '<traceGroup><annotation type="drawing">1</annotation><trace>1 2</trace></traceGroup>'
    drawings = traces(tmp_path, good.replace("1 2", text) + good)
    assert [record.location for record in drawings.records] == [f"{tmp_path}/x.inkml, drawing 1"]
    assert drawings.dropped[0].reason == "malformed trace"
    assert drawings.dropped[0].malformed
    assert f"{tmp_path}/x.inkml, drawing 0, trace 0 has" in drawings.dropped[0].detail


def test_a_file_without_traces_is_an_empty_drawing(tmp_path: Path) -> None:
    drawings = traces(tmp_path, "")
    assert [remark.reason for remark in drawings.dropped] == ["empty"]


BAD = {
    "nothing": (b"", "not XML"),
    "cut short": (INKML[:300], "not XML"),
    "another root": (b"<svg/>", "its root is <svg>; expected <ink>"),
    "no X": (b'<ink><traceFormat><channel name="U"/></traceFormat></ink>', "expected X and Y"),
    "an entity": (b'<!DOCTYPE ink [<!ENTITY a "1 2">]><ink><trace>&a;</trace></ink>', "entities"),
    "an entity bomb": (
        b'<!DOCTYPE ink [<!ENTITY a "1 2,">'
        + b"".join(b'<!ENTITY %c "%b">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(12))
        + b"]><ink><trace>&m;</trace></ink>",
        "entities",
    ),
    "a file as an entity": (
        b'<!DOCTYPE ink [<!ENTITY a SYSTEM "file:///etc/passwd">]><ink><trace>&a;</trace></ink>',
        "entities",
    ),
    "a DTD from elsewhere": (b'<!DOCTYPE ink [<!ENTITY % a SYSTEM "http://127.0.0.1:9/x.dtd"> %a;]><ink/>', "entities"),
    "an unknown encoding": (b'<?xml version="1.0" encoding="foo"?><ink/>', "encoding"),
    "many tags": (b"<ink>" + b"<a/>" * (1 << 22) + b"</ink>", "tags and attributes; expected at most"),
    "too long": (b"<ink>" + b" " * (64 << 20) + b"</ink>", "over 64 MB"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "complaint"), BAD.values(), ids=BAD.keys())
def test_bad_files_are_told_in_one_line_and_soon(tmp_path: Path, data: bytes, complaint: str) -> None:
    started = time.monotonic()
    with pytest.raises(DataError, match=complaint) as told:
        parse_bytes(tmp_path / "x.inkml", data)
    assert str(told.value).startswith(str(tmp_path / "x.inkml"))
    assert time.monotonic() - started < 5


def test_a_dtd_that_declares_no_entities_is_borne(tmp_path: Path) -> None:
    drawings = parse_bytes(tmp_path / "x.inkml", b"<!DOCTYPE ink [<!ELEMENT ink ANY>]><ink><trace>1 2</trace></ink>")
    assert strokes_as_lists(drawings) == [[[1, 2]]]


@pytest.mark.parametrize(
    "data",
    [
        b"<ink>" + b"<traceGroup>" * 300_000 + b"<trace>1 2</trace>" + b"</traceGroup>" * 300_000 + b"</ink>",
        b"<ink><trace>" + b"1 " * (1 << 23) + b"</trace></ink>",
        b"<ink><trace>" + b"'" * (1 << 20) + b"</trace></ink>",
        b"<ink><trace>" + b"1" * (1 << 22) + b"x</trace></ink>",
        b"<ink><trace>" + b"," * (1 << 21) + b"</trace></ink>",
        b"<ink>" + b"<context>" * 100_000 + b"</context>" * 100_000 + b"</ink>",
    ],
    ids=["deep", "one endless point", "only prefixes", "one endless number", "only commas", "contexts in contexts"],
)
def test_what_nobody_drew_takes_no_more_than_seconds(tmp_path: Path, data: bytes) -> None:
    started = time.monotonic()
    with contextlib.suppress(DataError):
        parse_bytes(tmp_path / "x.inkml", data)
    assert time.monotonic() - started < 10


def same(corpus: Corpus, drawings: DrawingBatch) -> None:
    """Whether each sequence came back: its polylines to nine digits, its class."""
    assert len(drawings) == len(corpus)
    for i in range(len(corpus)):
        written, back = corpus.drawing(i), drawings.polylines(i)
        assert [len(stroke) for stroke in back] == [len(stroke) for stroke in written]
        scale = max(float(np.abs(stroke).max()) for stroke in written)
        for stroke, other in zip(written, back, strict=True):
            np.testing.assert_allclose(other, stroke, rtol=1e-8, atol=1e-8 * scale)
        label = None if corpus.label is None else corpus.metadata.classes[int(corpus.label[i])]
        assert drawings.records[i].label == label


def test_a_corpus_of_integers_comes_back_exactly(tmp_path: Path) -> None:
    corpus = random_corpus([1, 2, 30], classes=('a <b> & "c"', " two\r\nlines "))
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    drawings = inkml.FORMAT.parse(tmp_path / "x.inkml")
    same(corpus, drawings)
    for i in range(len(corpus)):
        assert all(np.array_equal(a, b) for a, b in zip(corpus.drawing(i), drawings.polylines(i), strict=True))
    assert inkml.FORMAT.recognizes(tmp_path / "x.inkml", (tmp_path / "x.inkml").read_bytes()[:4096])


coordinates = st.floats(-1e6, 1e6, width=32)
strokes = st.lists(st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=6), min_size=1, max_size=4)


printable = st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff", min_codepoint=32)
names = st.text(printable | st.sampled_from("\t\n\r"), min_size=1, max_size=8)


@settings(max_examples=EXAMPLES, derandomize=True, deadline=None)
@given(st.lists(strokes, min_size=1, max_size=3), st.sampled_from(["down", "up"]), names)
def test_what_is_written_comes_back(drawings: list[list[list[tuple[float, float]]]], start: Start, name: str) -> None:
    sequences = []
    for drawing in drawings:
        motion, event = from_polylines([np.array(stroke) for stroke in drawing], start)
        sequences.append(Sequence(motion.astype(np.float32), event, 0))
    corpus = pack(Metadata(name="x", start=start, classes=(name,)), {"train": sequences})
    with tempfile.TemporaryDirectory() as folder:
        inkml_writer.write(corpus, Path(folder) / "x.inkml")
        same(corpus, inkml.FORMAT.parse(Path(folder) / "x.inkml"))


def test_splits_come_back(tmp_path: Path) -> None:
    sequences = [random_corpus([length])[0] for length in (1, 2, 3)]
    corpus = pack(Metadata(name="x"), {"train": sequences[:1], "test": sequences[1:2], "mine": sequences[2:]})
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    records = inkml.FORMAT.parse(tmp_path / "x.inkml").records
    assert [record.split for record in records] == ["train", "test", None]


@pytest.mark.parametrize(("limit", "most"), [("MAX_BYTES", 2 << 10), ("MAX_MARKS", 60)])
def test_more_than_is_read_again_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(inkml_writer, limit, most)
    inkml_writer.write(random_corpus([3]), tmp_path / "small.inkml")
    with pytest.raises(InputError, match="the most that is read; use --format ndjson"):
        inkml_writer.write(random_corpus([30] * 30), tmp_path / "x.inkml")
    assert [path.name for path in tmp_path.iterdir()] == ["small.inkml"]


def test_touches_are_not_written(tmp_path: Path) -> None:
    touch = Sequence(np.array([[0.5, 0.5, 0.25]], np.float32), np.array([2], np.uint8))
    metadata = Metadata(name="touches", start="up", features=("dx", "dy", "dt"))
    with pytest.raises(InputError, match="touches"):
        inkml_writer.write(pack(metadata, {"train": [touch]}), tmp_path / "x.inkml")
    assert not list(tmp_path.iterdir())


def test_numbers_are_written_as_the_standard_has_them(tmp_path: Path) -> None:
    motion = np.array([[2.0**-16, -3e8], [0, 0.5]], np.float32)
    corpus = pack(Metadata(name="x"), {"train": [Sequence(motion, np.array([0, 2], np.uint8))]})
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    small = "0.0000152587890625"
    traces = [line for line in (tmp_path / "x.inkml").read_text().splitlines() if "<trace>" in line]
    assert traces == [f"<trace>0 0, {small} -300000000, {small} -299999999.5</trace>"]


@pytest.mark.parametrize("name", ["a\0b", "\x1b", "\ud800", "\uffff"])
def test_what_xml_cannot_hold_is_told_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"the label of sequence 0 holds .* which XML cannot"):
        inkml_writer.write(random_corpus([3], classes=(name,)), tmp_path / "x.inkml")
    assert list(tmp_path.iterdir()) == []


def test_texts_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Lettered(Sequence):
        text = "  Mr. <Gaitskell> & \"co\"\n'é' "

    monkeypatch.setattr(Corpus, "__getitem__", lambda self, i: Lettered(*whole(self, i)))
    corpus = random_corpus([5])
    inkml_writer.write(corpus, tmp_path / "x.inkml")
    assert inkml.FORMAT.parse(tmp_path / "x.inkml").records[0].text == Lettered.text


whole = Corpus.__getitem__
