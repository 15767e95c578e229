"""tldraw files: segments in three encodings, parents, pages and lost shapes."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data import formats
from mdnrnn.data.formats.tldraw import FORMAT
from mdnrnn.errors import DataError
from tests.data.formats.samples import TLDRAW

POINTS = np.array([[0, 0, 0.5], [0, 40, 0.5], [50, 40, 0.75], [50, 0.25, 0.5]])


def shape(segment: Any, **fields: Any) -> dict[str, Any]:
    properties = {"segments": [{"type": "free", **segment}]}
    return {"typeName": "shape", "id": "shape:a", "type": "draw", "parentId": "page:p", "props": properties, **fields}


def write(path: Path, *shapes: Any) -> Path:
    path.write_text(json.dumps({"tldrawFileFormatVersion": 1, "records": shapes}))
    return path


def to_base64(*arrays: np.ndarray) -> str:
    return base64.b64encode(b"".join(array.tobytes() for array in arrays)).decode()


ENCODINGS = {
    "list": {"points": [{"x": x, "y": y, "z": z} for x, y, z in POINTS.tolist()]},
    "offsets": {"path": to_base64(POINTS[:1].astype("<f4"), np.diff(POINTS, axis=0).astype("<f2"))},
    "float16": {"points": to_base64(POINTS.astype("<f2"))},
}


@pytest.mark.parametrize("segment", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_encodings_give_the_same_points(segment: Any, tmp_path: Path) -> None:
    drawings = FORMAT.parse(write(tmp_path / "x.tldr", shape(segment, x=10, y=50)))
    np.testing.assert_array_equal(drawings.points, POINTS[:, :2] + (10, 50))
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("pressure values", 4)]


def test_shapes_are_placed_in_their_parents_and_ordered_by_index(tmp_path: Path) -> None:
    """Shape a is at (10, 0) in a group at (100, 0) turned by a right angle; the path of shape b is scaled by 2 in x."""
    (tmp_path / "x.tldr").write_bytes(TLDRAW)
    assert formats.recognize_format(tmp_path / "x.tldr") is FORMAT
    drawings = FORMAT.parse(tmp_path / "x.tldr")
    in_group, path, line = drawings.polylines(0)
    np.testing.assert_allclose(in_group, [[100, 10], [98, 14], [91, 10]], atol=1e-12)
    np.testing.assert_array_equal(path, [[12, 52], [16, 54]])
    np.testing.assert_array_equal(line, [[0, 0], [5, 6]])
    assert [(remark.reason, remark.count) for remark in drawings.lost] == [("pressure values", 3), ("text shapes", 1)]


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([[], [[0, 0], [1, 1]]], [[0, 0], [1, 1]]),
        ([[[0, 0], [1, 1]], [], [[5, 5], [6, 6]]], [[0, 0], [1, 1], [5, 5], [6, 6]]),
        ([[[0, 0], [1, 1]], [], [[1, 1], [6, 6]]], [[0, 0], [1, 1], [6, 6]]),
        ([[[0, 0], [1, 1]], [[1, 1]], [[1, 1], [2, 2]]], [[0, 0], [1, 1], [2, 2]]),
    ],
)
def test_only_a_repeated_point_is_removed_between_segments(segments: Any, expected: Any, tmp_path: Path) -> None:
    """An empty segment repeats nothing."""
    properties = {"segments": [{"points": [{"x": x, "y": y} for x, y in segment]} for segment in segments]}
    drawings = FORMAT.parse(write(tmp_path / "x.tldr", shape({}, props=properties)))
    assert drawings.points.tolist() == expected
    assert not drawings.lost


@pytest.mark.parametrize("nested", [False, True])
def test_snapshot_of_the_editor_has_the_same_records(nested: bool, tmp_path: Path) -> None:
    store = {record["id"]: record for record in json.loads(TLDRAW)["records"]}
    snapshot = {"schema": {"sequences": {"com.tldraw.store": 4}}, "store": store}
    (tmp_path / "x.json").write_text(json.dumps({"document": snapshot} if nested else snapshot))
    (tmp_path / "x.tldr").write_bytes(TLDRAW)
    assert formats.recognize_format(tmp_path / "x.json") is FORMAT
    drawings, expected = FORMAT.parse(tmp_path / "x.json"), FORMAT.parse(tmp_path / "x.tldr")
    np.testing.assert_array_equal(drawings.points, expected.points)


def test_each_page_is_a_drawing(tmp_path: Path) -> None:
    shapes = [shape(ENCODINGS["list"], id=f"shape:{page}", parentId=f"page:{page}") for page in "ab"]
    drawings = FORMAT.parse(write(tmp_path / "x.tldr", *shapes))
    assert [record.location for record in drawings.records] == [f"{tmp_path / 'x.tldr'}, page {n}" for n in (1, 2)]


BAD: dict[str, Any] = {
    "cycle": shape(ENCODINGS["list"], parentId="shape:a"),
    "no properties": {"typeName": "shape", "type": "draw"},
    "no segments": shape({}, props={}),
    "no points": shape({"type": "free"}),
    "bytes of half a point": shape({"path": to_base64(POINTS[0].astype("<f4"), np.zeros(1, "<f2"))}),
    "no base64": shape({"path": "???"}),
    "text as position": shape(ENCODINGS["list"], x="left"),
    "line of numbers": shape({}, type="line", props={"points": [1, 2]}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_malformed_shape_is_an_error_in_one_line(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.tldr: shape .*; expected segments with points; save the file again"):
        FORMAT.parse(write(tmp_path / "x.tldr", bad))


def test_file_of_tldraw_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.tldr").write_text('{"document": {"pages": {}}}')
    with pytest.raises(DataError, match="has no list `records`, so it may be a file of tldraw 1; open it in"):
        FORMAT.parse(tmp_path / "x.tldr")
