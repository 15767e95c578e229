"""JSON files: arrays, objects one after another and objects with a list give the same drawings as JSON lines."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdnrnn.data import formats
from mdnrnn.data.drawings import DrawingBatch
from mdnrnn.data.formats import json_file
from mdnrnn.data.formats.json_file import FORMAT, split_records
from mdnrnn.data.importing import pipeline
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError

CAT = {"word": "cat", "drawing": [[[1, 2], [3, 4]], [[5], [6]]]}
DOG = {"word": "dog", "drawing": [[[7, 8, 9], [0, 0, 1]]]}
POINTS, LABELED = {"strokes": [[[1, 3], [2, 4]], [[5, 6]]]}, {"label": "cat"}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def parse(path: Path) -> DrawingBatch:
    assert formats.recognize_format(path) is FORMAT
    (chunk,) = FORMAT.chunks(path)
    return FORMAT.parse(chunk)


SAME = {
    "array": json.dumps([CAT, DOG]),
    "pretty array": json.dumps([CAT, DOG], indent=2),
    "array with BOM": "\ufeff\n" + json.dumps([CAT, DOG]),
    "object with a list": json.dumps({"version": 1, "drawings": [CAT, DOG]}, indent=1),
    "pretty objects": json.dumps(CAT, indent=2) + "\n" + json.dumps(DOG, indent=2),
    "arrays": json.dumps([CAT]) + json.dumps([DOG]),
    "list of drawings in data": json.dumps({"data": [CAT, DOG]}, indent=1),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME.keys())
def test_records_give_the_same_drawings(text: str, tmp_path: Path) -> None:
    drawings = parse(write(tmp_path / "x.json", text))
    assert [stroke.tolist() for stroke in drawings.polylines(0)] == [[[1, 3], [2, 4]], [[5, 6]]]
    assert [stroke.tolist() for stroke in drawings.polylines(1)] == [[[7, 0], [8, 0], [9, 1]]]
    assert [record.label for record in drawings.records] == ["cat", "dog"]
    assert drawings.records[0].location.startswith(f"{tmp_path / 'x.json'}, drawing 1")
    assert not drawings.dropped


SINGLE = {
    "strokes of points": POINTS["strokes"],
    "stroke objects": [
        {"penColor": "black", "points": [{"x": 1, "y": 3}, {"x": 2, "y": 4}]},
        {"points": [{"x": 5, "y": 6}]},
    ],
    "paths": [{"drawMode": True, "paths": [{"x": 1, "y": 3}, {"x": 2, "y": 4}]}, {"paths": [{"x": 5, "y": 6}]}],
    "object": {"lines": [{"points": [[1, 3], [2, 4]]}, {"points": [[5, 6]]}], "width": 400},
}


@pytest.mark.parametrize("value", SINGLE.values(), ids=SINGLE.keys())
def test_file_of_strokes_is_one_drawing(value: Any, tmp_path: Path) -> None:
    drawings = parse(write(tmp_path / "x.json", json.dumps(value, indent=1)))
    assert [stroke.tolist() for stroke in drawings.polylines(0)] == [[[1, 3], [2, 4]], [[5, 6]]]
    assert len(drawings) == 1


def test_array_of_drawings_without_objects(tmp_path: Path) -> None:
    drawings = parse(write(tmp_path / "x.json", [POINTS["strokes"], CAT["drawing"]]))
    assert [[len(stroke) for stroke in drawings.polylines(i)] for i in range(2)] == [[2, 1], [2, 1]]


def test_class_of_an_object_applies_to_the_drawings_in_it(tmp_path: Path) -> None:
    items = [POINTS, {**POINTS, "label": "dog"}, {**POINTS, "category": "owl"}]
    drawings = parse(write(tmp_path / "x.json", json.dumps({**LABELED, "items": items})))
    assert [record.label for record in drawings.records] == ["cat", "dog", "owl"]


def test_file_name_is_the_default_class(tmp_path: Path) -> None:
    write(tmp_path / "cat.json", [POINTS])
    write(tmp_path / "dog.json", [POINTS])
    import_corpus([tmp_path / "cat.json", tmp_path / "dog.json"], tmp_path / "out")
    assert pipeline.read(tmp_path / "out").metadata.classes == ("cat", "dog")


@pytest.mark.parametrize("end", [40, 60, -3, -1])
def test_truncated_array_is_reported_and_its_complete_drawings_are_kept(end: int, tmp_path: Path) -> None:
    text = json.dumps([CAT, DOG])[:end]
    drawings = parse(write(tmp_path / "x.json", text))
    assert [remark.reason for remark in drawings.dropped] == ["not JSON"]
    assert len(drawings) == {40: 0, 60: 1, -3: 1, -1: 2}[end]


def test_bad_record_is_dropped_with_its_number(tmp_path: Path) -> None:
    drawings = parse(write(tmp_path / "x.json", [CAT, {"drawing": 3}, {"a": 1, "b": 2}, DOG]))
    assert len(drawings) == 2
    assert [remark.reason for remark in drawings.dropped] == ["not strokes", "no drawing"]
    assert (
        ", drawing 3: received an object without a drawing, but with the keys 'a', 'b'; expected"
        in drawings.dropped[1].detail
    )


@pytest.mark.parametrize("text", ['{"name": "x", "version": "1"}', '{"paths": {"/a": {}}}', "[1, 2]", "{}", "[]"])
def test_other_json_is_not_recognized_and_described(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", text)
    assert formats.recognize_format(path) is None
    with pytest.raises(DataError, match=r"x\.json: a JSON (object with (the keys \w+|no keys)|array)"):
        import_corpus([path], tmp_path / "out")


values = st.recursive(
    st.sampled_from(["", '"', "\\", 'a"]{', "é"]) | st.integers(-9, 9) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "}", "\\"]), inner, max_size=2),
    max_leaves=6,
)
containers = values.filter(lambda value: isinstance(value, (list, dict)))


@settings(max_examples=60)
@given(items=st.lists(containers, min_size=1, max_size=5), size=st.integers(1, 40), pretty=st.booleans())
def test_split_records_are_the_items_of_an_array(items: list[Any], size: int, pretty: bool) -> None:
    indent = 1 if pretty else None
    array = json.dumps(items, ensure_ascii=False, indent=indent)
    objects = "\n".join(json.dumps({"r": item}, indent=indent) for item in items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_file, "BLOCK_BYTES", size)
        found = [json.loads(record or b"") for record in split_records(io.BytesIO(array.encode()), "x")]
        assert found == items
        found = [json.loads(record or b"") for record in split_records(io.BytesIO(objects.encode()), "x")]
        assert found == [{"r": item} for item in items]


def test_too_long_record_is_dropped_and_the_next_one_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_file, "MAX_RECORD_BYTES", 100)
    monkeypatch.setattr(json_file, "BLOCK_BYTES", 16)
    text = json.dumps([CAT, {"a": [0] * 200}, DOG]).encode()
    assert [record and json.loads(record) for record in split_records(io.BytesIO(text), "x")] == [CAT, None, DOG]
    with pytest.raises(DataError, match="x: a JSON string of over"):
        list(split_records(io.BytesIO(b'["' + b"a" * 200), "x"))


def test_chunks_together_contain_all_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_file, "CHUNK_BYTES", 100)
    records = [{"word": "a", "drawing": [[[number, 1], [2, 3]]]} for number in range(9)]
    chunks = list(FORMAT.chunks(write(tmp_path / "x.json", records)))
    assert len(chunks) > 2
    points = np.concatenate([FORMAT.parse(chunk).points for chunk in chunks])
    np.testing.assert_array_equal(points[::2, 0], range(9))
