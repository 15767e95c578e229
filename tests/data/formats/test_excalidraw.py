"""Excalidraw scenes: positions, rotation about the center, deleted elements, libraries and lost elements."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdnrnn.data import formats
from mdnrnn.data.formats.excalidraw import FORMAT
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError
from tests.data.formats.samples import EXCALIDRAW


def element(points: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "freedraw", "x": 0, "y": 0, "angle": 0, "points": points, **fields}


def write(path: Path, elements: Any, **fields: Any) -> Path:
    path.write_text(json.dumps({"type": "excalidraw", "elements": elements, **fields}))
    return path


def test_scene_is_one_drawing(tmp_path: Path) -> None:
    """The line of length 20 at (0, 0) is turned by a right angle about its center (10, 0)."""
    (tmp_path / "x.excalidraw").write_bytes(EXCALIDRAW)
    assert formats.recognize_format(tmp_path / "x.excalidraw") is FORMAT
    drawings = FORMAT.parse(tmp_path / "x.excalidraw")
    first, second = drawings.polylines(0)
    assert first.tolist() == [[10, 50], [10, 90], [60, 90]]
    np.testing.assert_allclose(second, [[10, -10], [10, 10]], atol=1e-12)
    lost = {remark.reason: remark.count for remark in drawings.lost}
    assert lost == {"text elements": 2, "rectangle elements": 1, "pressure values": 3}


def test_rotation_is_clockwise_on_the_page(tmp_path: Path) -> None:
    path = write(tmp_path / "x.excalidraw", [element([[0, 0], [4, 0], [4, 2]], x=10, y=10, angle=np.pi / 2)])
    np.testing.assert_allclose(FORMAT.parse(path).points, [[13, 9], [13, 13], [11, 13]], atol=1e-12)


def test_items_of_a_library_are_drawings(tmp_path: Path) -> None:
    items = [{"elements": [element([[0, 0], [1, 1]])]}, {"elements": [element([[0, 0], [2, 2]])]}]
    path = write(tmp_path / "x.excalidrawlib", [], type="excalidrawlib", libraryItems=items)
    assert formats.recognize_format(path) is FORMAT
    drawings = FORMAT.parse(path)
    assert [drawings.polylines(i)[0].tolist() for i in range(2)] == [[[0, 0], [1, 1]], [[0, 0], [2, 2]]]
    assert drawings.records[1].location == f"{path}, item 2"


@pytest.mark.parametrize("bad", [None, "x", [[1]], [["a", "b"]], [[[1], [2]]], [{"x": 1}], [1, 2]], ids=str)
def test_malformed_points_drop_the_scene(bad: Any, tmp_path: Path) -> None:
    drawings = FORMAT.parse(write(tmp_path / "x.excalidraw", [element([[0, 0]]), element(bad)]))
    assert (len(drawings), drawings.dropped[0].reason) == (0, "malformed element")


@pytest.mark.parametrize(
    "elements", [[], None, 3, [3], [{"type": "text"}], [element([])], [element([], isDeleted=True)]]
)
def test_scene_without_strokes_is_empty(elements: Any, tmp_path: Path) -> None:
    drawings = FORMAT.parse(write(tmp_path / "x.excalidraw", elements))
    assert [(remark.reason, remark.malformed) for remark in drawings.dropped] == [("empty", False)]


@pytest.mark.parametrize("text", ['{"type": "excalidraw"', '{"type": "excalidraw", "a": ' + "[" * 100_000])
def test_damaged_json_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.excalidraw").write_text(text)
    with pytest.raises(DataError, match=r"x\.excalidraw: (not JSON|its JSON is nested too deep)"):
        import_corpus([tmp_path / "x.excalidraw"], tmp_path / "out")
