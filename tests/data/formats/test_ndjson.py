"""Quick, Draw! lines: each line is a drawing, or is dropped and reported with its number."""

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
from tests.data.formats.fuzzing import memory_limit

VALID = '{"word":"cat","key_id":"7","drawing":[[[1,2],[3,4]],[[5],[6]]]}'


def parse(data: str | bytes) -> DrawingBatch:
    """Return the drawings of a file that is one chunk."""
    (chunk,) = read_chunks(io.BytesIO(data.encode() if isinstance(data, str) else data), "x.ndjson")
    return FORMAT.parse(chunk)


def make_line(drawing: Any, **fields: Any) -> str:
    return json.dumps({"drawing": drawing, **fields}) + "\n"


def test_line_is_a_drawing_with_key_and_class() -> None:
    drawings = parse(VALID)
    assert [stroke.tolist() for stroke in drawings.polylines(0)] == [[[1, 3], [2, 4]], [[5, 6]]]
    (record,) = drawings.records
    assert (record.location, record.key, record.label) == ("x.ndjson, line 1", "7", "cat")


SAME = {
    "times": VALID.replace("[3,4]]", "[3,4],[0,17]]").replace("[6]]", "[6],[3]]"),
    "floats": VALID.replace("[1,2]", "[1.0,2]"),
    "numeric key": VALID.replace('"7"', "7"),
    "BOM": "\ufeff" + VALID,
    "Windows line end": VALID + "\r\n",
    "blank lines": "\n \n" + VALID + "\n\n",
    "empty stroke": VALID.replace("[[5]", "[[],[]],[[5]"),
}


@pytest.mark.parametrize("data", SAME.values(), ids=SAME.keys())
def test_equivalent_lines_give_the_same_drawing(data: str) -> None:
    drawings, expected = parse(data), parse(VALID)
    np.testing.assert_array_equal(drawings.points, expected.points)
    assert (drawings.stroke_lengths.tolist(), drawings.stroke_counts.tolist()) == ([2, 1], [2])
    assert drawings.records[0][1:] == expected.records[0][1:]
    assert not drawings.dropped


BAD: dict[str, tuple[str | bytes, str]] = {
    "text": ("hello", "not JSON"),
    "cut short": (VALID[:40], "not JSON"),
    "Latin-1": (b'{"word":"caf\xe9","drawing":[]}', "not JSON"),
    "zeros": (b"\0\0\0\0", "not JSON"),
    "number of 5000 digits": ('{"drawing":[[[1' + "0" * 5000 + "],[2]]]}", "not JSON"),
    "deeply nested": ('{"drawing":' + "[" * 200_000 + "]" * 200_000 + "}", "not JSON"),
    "deeply nested, not closed": ('{"a":' * 200_000, "not JSON"),
    "list": ("[1, 2]", "no drawing"),
    "number": ("3", "no drawing"),
    "no drawing": ('{"word":"cat"}', "no drawing"),
    "null": ('{"drawing":null}', "not strokes"),
    "word": ('{"drawing":"cat"}', "not strokes"),
    "object": ('{"drawing":{"a":[[1],[2]]}}', "not strokes"),
    "no ys": ('{"drawing":[[[1,2]]]}', "not strokes"),
    "booleans": ('{"drawing":[[[true],[false]]]}', "not strokes"),
    "strings": ('{"drawing":[[["1"],["2"]]]}', "not strokes"),
    "number beyond float": ('{"drawing":[[[1' + "0" * 400 + "],[2]]]}", "not strokes"),
    "nested points": ('{"drawing":[[[[1,2]],[[3,4]]]]}', "not strokes"),
    "empty nested points": ('{"drawing":[[[[]],[[]]]]}', "not strokes"),
    "more xs than ys": ('{"drawing":[[[1,2],[3]]]}', "ragged"),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "reason"), BAD.values(), ids=BAD.keys())
def test_bad_line_is_dropped_with_its_number_and_its_neighbors_are_kept(bad: str | bytes, reason: str) -> None:
    bad = bad.encode() if isinstance(bad, str) else bad
    drawings = parse(b"\n".join([VALID.encode(), bad, VALID.encode()]))
    assert [record.location for record in drawings.records] == ["x.ndjson, line 1", "x.ndjson, line 3"]
    np.testing.assert_array_equal(drawings.points[3:], drawings.points[:3])
    (remark,) = drawings.dropped
    assert (remark.reason, remark.malformed) == (reason, True)
    assert remark.detail.startswith("x.ndjson, line 2: ")
    assert "\n" not in remark.detail


@pytest.mark.parametrize("drawing", [[], [[[], []]], [[[], [], []]]], ids=json.dumps)
def test_drawing_without_points_is_empty_not_malformed(drawing: Any) -> None:
    assert [(remark.reason, remark.malformed) for remark in parse(make_line(drawing)).dropped] == [("empty", False)]


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e300"])
def test_infinite_and_huge_numbers_are_dropped_before_the_geometry(number: str) -> None:
    drawings = parse(VALID.replace("[1,", f"[{number},")).drop_invalid()
    assert len(drawings) == 0
    assert drawings.dropped[0].reason in ("not finite", "too large")


coordinate = st.one_of(st.integers(-3000, 3000), st.floats(-3000, 3000))
stroke = st.lists(st.tuples(coordinate, coordinate), max_size=4)


@settings(max_examples=40)
@given(drawings=st.lists(st.lists(stroke, max_size=3), max_size=6), size=st.integers(1, 200))
def test_drawings_do_not_depend_on_the_chunk_size(drawings: list[list[list[tuple[float, float]]]], size: int) -> None:
    data = "".join(make_line([list(zip(*stroke, strict=True)) or [[], []] for stroke in each]) for each in drawings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ndjson, "CHUNK_BYTES", size)
        batches = [FORMAT.parse(chunk) for chunk in read_chunks(io.BytesIO(data.encode()), "x")]
    found = {
        record.location: [list(map(tuple, stroke.tolist())) for stroke in batch.polylines(i)]
        for batch in batches
        for i, record in enumerate(batch.records)
    }
    assert found == {
        f"x, line {number}": strokes
        for number, each in enumerate(drawings, 1)
        if (strokes := [stroke for stroke in each if stroke])
    }


POINTS = '{"word":"cat","drawing":[[[1,3],[2,4]],[[5,6]]]}'


def test_points_are_not_read_as_channels() -> None:
    """Shapes of the same points: channels of 2 and 1 points; points of 2 and 1 rows."""
    np.testing.assert_array_equal(parse(POINTS).points, parse(VALID).points)
    assert parse(POINTS).stroke_lengths.tolist() == [2, 1]


@pytest.mark.parametrize(("other", "expected"), [(VALID, [[1, 3], [2, 4]]), (POINTS, [[1, 2], [3, 4]])])
def test_ambiguous_drawing_has_the_layout_of_the_other_lines(other: str, expected: list[list[int]]) -> None:
    """Two strokes of two points, and two channels of two values, have the same shape."""
    drawings = parse(make_line([[[1, 2], [3, 4]]]) + other)
    assert drawings.polylines(0)[0].tolist() == expected


@pytest.mark.parametrize("key", ["drawing", "strokes", "paths", "lines", "points"])
@pytest.mark.parametrize("label", ["word", "label", "class", "category"])
def test_other_keys_are_read(key: str, label: str) -> None:
    drawings = parse(json.dumps({label: "cat", key: [[[1, 2], [3, 4]], [[5], [6]]]}))
    np.testing.assert_array_equal(drawings.points, parse(VALID).points)
    assert drawings.records[0].label == "cat"


@pytest.mark.parametrize(("times", "count"), [([[0, 9], [30]], 3), ([[0, 1, 2, 3, 4, 5, 6]] * 2, 14)])
def test_times_are_counted_as_lost(times: list[list[int]], count: int) -> None:
    drawing = [[row, row, row] for row in times]
    (remark,) = parse(make_line(drawing)).lost
    assert (remark.reason, remark.count) == ("values besides x and y", count)
    assert not parse(VALID).lost


def test_class_may_be_a_number() -> None:
    assert parse(make_line([[[1], [2]]], label=3)).records[0].label == "3"


def test_line_without_strokes_names_its_keys() -> None:
    (remark,) = parse('{"word":"cat","svg":"M 0 0"}').dropped
    assert "received an object without a drawing, but with the keys 'word', 'svg'; expected" in remark.detail


def test_too_long_line_is_dropped_and_the_next_line_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "MAX_LINE_BYTES", 100)
    longest = VALID.ljust(100)
    drawings = parse("\n".join([longest, "x" * 250, longest, VALID.ljust(101), VALID]))
    assert [record.location for record in drawings.records] == [f"x.ndjson, line {number}" for number in (1, 3, 5)]
    assert [remark.detail[:20] for remark in drawings.dropped] == ["x.ndjson, line 2: ov", "x.ndjson, line 4: ov"]
    assert {remark.reason for remark in drawings.dropped} == {"line too long"}


def test_word_is_the_class_and_the_file_name_its_default(tmp_path: Path) -> None:
    (tmp_path / "dog.ndjson").write_text(make_line([[[1], [2]]], word="cat") + make_line([[[1], [2]]]))
    pipeline.import_corpus([tmp_path / "dog.ndjson"], tmp_path / "out")
    assert pipeline.read(tmp_path / "out").metadata.classes == ("cat", "dog")


def test_keys_and_words_may_be_any_json_string(tmp_path: Path) -> None:
    words = ["\ud800", "a\nb", "仂 🦊", "\0", ""]
    (tmp_path / "x.ndjson").write_text("".join(make_line([[[1], [2]]], word=word, key_id=word) for word in words))
    pipeline.import_corpus([tmp_path / "x.ndjson"], tmp_path / "out")
    corpus = pipeline.read(tmp_path / "out")
    assert set(corpus.metadata.classes) == {*words[:-1], "x"}


@pytest.mark.parametrize(
    ("head", "name", "expected"),
    [
        (VALID, "x.ndjson", True),
        (VALID, "x.json", True),
        ("\n " + VALID, "x", True),
        ('{"word":"cat"', "x.ndjson", True),
        ('{"word":"cat"', "x.json", False),
        ("half a line\n" + VALID, "x.ndjson", True),
        ("half a line\n" + VALID, "x.json", False),
        ("[1]", "x.ndjson", False),
        ('{"strokes":[[[1],[2]]]}', "x.json", True),
        ('{\n"drawing":[[[1],[2]]]}', "x.ndjson", False),
        ('{"records":[{"drawing":[[[1],[2]]]}]}', "x.json", False),
        ("", "x.ndjson", False),
    ],
)
def test_file_is_recognized_by_a_drawing_or_by_its_extension(head: str, name: str, expected: bool) -> None:
    assert FORMAT.recognizes(Path(name), head.encode()) is expected


def test_bad_line_is_an_error_if_a_file_is_opened_without_import(tmp_path: Path) -> None:
    (tmp_path / "x.ndjson").write_text(f"{VALID}\nhello\n")
    with pytest.raises(DataError, match=r"x\.ndjson, line 2: Expecting value.*; correct it, or use mdnrnn data import"):
        pipeline.read(tmp_path / "x.ndjson")


@pytest.mark.shared
@pytest.mark.parametrize("kind", ["raw", "simplified"])
def test_real_lines_equal_their_json(kind: str, shared_data: Path) -> None:
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


def test_long_text_among_the_coordinates_needs_little_memory() -> None:
    n = 20_000
    with memory_limit(100 << 20):
        (remark,) = parse(make_line([[["a" * n, *"b" * n], [0] * (n + 1)]])).dropped
    assert remark.reason == "not strokes"
