"""Quick, Draw! lines: each is a drawing or is told with its number, and says itself what it is."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import ndjson
from mdnrnn.data.formats.ndjson import FORMAT, read_chunks
from mdnrnn.data.importing import pipeline
from mdnrnn.errors import DataError

GOOD = '{"word":"cat","key_id":"7","drawing":[[[1,2],[3,4]],[[5],[6]]]}'


def parsed(data: str | bytes) -> DrawingBatch:
    """The drawings of a file of one chunk."""
    (chunk,) = read_chunks(io.BytesIO(data.encode() if isinstance(data, str) else data), "x.ndjson")
    return FORMAT.parse(chunk)


def line(drawing: Any, **fields: Any) -> str:
    return json.dumps({"drawing": drawing, **fields}) + "\n"


def test_a_line_is_a_drawing_with_its_key_and_its_word() -> None:
    drawings = parsed(GOOD)
    assert [stroke.tolist() for stroke in drawings.polylines(0)] == [[[1, 3], [2, 4]], [[5, 6]]]
    (record,) = drawings.records
    assert (record.location, record.key, record.label) == ("x.ndjson, line 1", "7", "cat")


SAME = {
    "the times of the points": GOOD.replace("[3,4]]", "[3,4],[0,17]]").replace("[6]]", "[6],[3]]"),
    "integers and fractions": GOOD.replace("[1,2]", "[1.0,2]"),
    "a number as the key": GOOD.replace('"7"', "7"),
    "a mark of the byte order": "\ufeff" + GOOD,
    "lines of Windows": GOOD + "\r\n",
    "blank lines": "\n \n" + GOOD + "\n\n",
    "an empty stroke": GOOD.replace("[[5]", "[[],[]],[[5]"),
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME.keys())
def test_it_may_be_written_in_other_ways(data: str) -> None:
    drawings, expected = parsed(data), parsed(GOOD)
    np.testing.assert_array_equal(drawings.points, expected.points)
    assert (drawings.stroke_lengths.tolist(), drawings.stroke_counts.tolist()) == ([2, 1], [2])
    assert drawings.records[0][1:] == expected.records[0][1:]
    assert not drawings.dropped


BAD: dict[str, tuple[str | bytes, str]] = {
    "no JSON": ("hello", "not JSON"),
    "half a line": (GOOD[:40], "not JSON"),
    "another encoding": (b'{"word":"caf\xe9","drawing":[]}', "not JSON"),
    "zeros": (b"\0\0\0\0", "not JSON"),
    "a number of thousands of digits": ('{"drawing":[[[1' + "0" * 5000 + "],[2]]]}", "not JSON"),
    "deep": ('{"drawing":' + "[" * 200_000 + "]" * 200_000 + "}", "not JSON"),
    "deep and open": ('{"a":' * 200_000, "not JSON"),
    "a list": ("[1, 2]", "no drawing"),
    "a number": ("3", "no drawing"),
    "no drawing": ('{"word":"cat"}', "no drawing"),
    "null": ('{"drawing":null}', "not strokes"),
    "words": ('{"drawing":"cat"}', "not strokes"),
    "an object": ('{"drawing":{"a":[[1],[2]]}}', "not strokes"),
    "strokes without ys": ('{"drawing":[[[1,2]]]}', "not strokes"),
    "points of truth": ('{"drawing":[[[true],[false]]]}', "not strokes"),
    "points of words": ('{"drawing":[[["1"],["2"]]]}', "not strokes"),
    "a number too large for any type": ('{"drawing":[[[1' + "0" * 400 + "],[2]]]}", "not strokes"),
    "points in points": ('{"drawing":[[[[1,2]],[[3,4]]]]}', "not strokes"),
    "empty points in points": ('{"drawing":[[[[]],[[]]]]}', "not strokes"),
    "more xs than ys": ('{"drawing":[[[1,2],[3]]]}', "ragged"),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_told_with_its_number_and_its_neighbours_are_whole(bad: str | bytes, reason: str) -> None:
    bad = bad.encode() if isinstance(bad, str) else bad
    drawings = parsed(b"\n".join([GOOD.encode(), bad, GOOD.encode()]))
    assert [record.location for record in drawings.records] == ["x.ndjson, line 1", "x.ndjson, line 3"]
    np.testing.assert_array_equal(drawings.points[3:], drawings.points[:3])
    ((found, detail, malformed),) = drawings.dropped
    assert (found, malformed) == (reason, True)
    assert detail.startswith("x.ndjson, line 2: ")
    assert "\n" not in detail


@pytest.mark.parametrize("drawing", [[], [[[], []]], [[[], [], []]]], ids=json.dumps)
def test_a_drawing_without_points_is_empty_not_malformed(drawing: Any) -> None:
    assert [(drop.reason, drop.malformed) for drop in parsed(line(drawing)).dropped] == [("empty", False)]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e300"])
def test_numbers_beyond_measure_are_dropped_before_the_geometry(number: str) -> None:
    drawings = parsed(GOOD.replace("[1,", f"[{number},")).drop_invalid()
    assert len(drawings) == 0
    assert drawings.dropped[0].reason in ("not finite", "too large")


coordinate = st.one_of(st.integers(-3000, 3000), st.floats(-3000, 3000))
stroke = st.lists(st.tuples(coordinate, coordinate), max_size=4)


@settings(deadline=None)
@given(drawings=st.lists(st.lists(stroke, max_size=3), max_size=6), size=st.integers(1, 200))
def test_the_lines_are_the_same_in_chunks_of_any_size(
    drawings: list[list[list[tuple[float, float]]]], size: int
) -> None:
    data = "".join(line([list(zip(*stroke, strict=True)) or [[], []] for stroke in each]) for each in drawings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ndjson, "CHUNK_BYTES", size)
        found = [FORMAT.parse(chunk) for chunk in read_chunks(io.BytesIO(data.encode()), "x")]
    lines = {
        record.location: [list(map(tuple, stroke.tolist())) for stroke in part.polylines(i)]
        for part in found
        for i, record in enumerate(part.records)
    }
    assert lines == {
        f"x, line {number}": strokes
        for number, each in enumerate(drawings, 1)
        if (strokes := [stroke for stroke in each if stroke])
    }


def test_a_line_that_is_too_long_is_passed_over_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_LINE_BYTES", 100)
    exactly = GOOD.ljust(100)
    drawings = parsed("\n".join([exactly, "x" * 250, exactly, GOOD.ljust(101), GOOD]))
    assert [record.location for record in drawings.records] == [f"x.ndjson, line {number}" for number in (1, 3, 5)]
    assert [drop.detail[:20] for drop in drawings.dropped] == ["x.ndjson, line 2: ov", "x.ndjson, line 4: ov"]
    assert {drop.reason for drop in drawings.dropped} == {"line too long"}


def test_the_word_of_a_record_is_its_class_whatever_the_file_is_called(tmp_path: Path) -> None:
    (tmp_path / "dog.ndjson").write_text(line([[[1], [2]]], word="cat") + line([[[1], [2]]]))
    pipeline.import_corpus([tmp_path / "dog.ndjson"], tmp_path / "out")
    assert pipeline.read(tmp_path / "out").metadata.classes == ("cat", "dog")


def test_keys_and_words_may_be_any_string_of_json(tmp_path: Path) -> None:
    words = ["\ud800", "a\nb", "仂 🦊", "\0", ""]
    (tmp_path / "x.ndjson").write_text("".join(line([[[1], [2]]], word=word, key_id=word) for word in words))
    pipeline.import_corpus([tmp_path / "x.ndjson"], tmp_path / "out")
    corpus = pipeline.read(tmp_path / "out")
    assert set(corpus.metadata.classes) == {*words[:-1], "x"}


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (GOOD, "x.ndjson", True),
        (GOOD, "x.json", True),
        ("\ufeff\n " + GOOD, "x", True),
        ('{"word":"cat"', "x.ndjson", True),
        ('{"word":"cat"', "x.json", False),
        ("half a line\n" + GOOD, "x.ndjson", True),
        ("half a line\n" + GOOD, "x.json", False),
        ("[1]", "x.ndjson", False),
        ("", "x.ndjson", False),
    ],
)
def test_it_is_recognized_by_a_drawing_or_by_its_ending(head: str, name: str, expected: bool) -> None:
    assert FORMAT.recognizes(Path(name), head.encode()) is expected


def test_a_bad_line_is_an_error_where_the_file_is_opened_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text(f"{GOOD}\nhello\n")
    with pytest.raises(DataError, match=r"x\.ndjson, line 2: Expecting value.*; correct it, or use mdnrnn data import"):
        pipeline.read(tmp_path / "x.ndjson")


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["raw", "simplified"])
def test_the_real_lines_are_what_json_says(kind: str, shared_data: Path) -> None:
    paths = sorted((shared_data / "quickdraw" / kind).glob("*.ndjson"))
    assert len(paths) == 26
    for path in paths:
        expected = [json.loads(text) for text in path.read_bytes().splitlines()]
        found = 0
        for chunk in FORMAT.chunks(path):
            drawings = FORMAT.parse(chunk)
            assert not drawings.dropped
            for i, record in enumerate(drawings.records):
                fields = expected[found + i]
                assert (record.key, record.label) == (fields["key_id"], fields["word"])
                for stroke, axes in zip(drawings.polylines(i), fields["drawing"], strict=True):
                    np.testing.assert_array_equal(stroke.T, np.array(axes[:2], float))
            found += len(drawings)
        assert found == len(expected)
