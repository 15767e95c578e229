"""Errors about unknown arrays, archives and JSON say what the file contains."""

import json
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError
from tests.data.formats.samples import saved_bytes

FILES: dict[str, tuple[bytes, str]] = {
    "x.json": (
        json.dumps({"name": "x", "b" * 99: [1], "c": {"d": 1}}).encode(),
        "a JSON object with the keys name, bbb",
    ),
    "many.json": (
        json.dumps(dict.fromkeys("abcdefgh")).encode(),
        "a JSON object with the keys a, b, c, d, ..., without strokes",
    ),
    "list.json": (b"[1, 2, 3]", "a JSON array without strokes"),
    "x.npy": (saved_bytes(np.save, np.zeros((4, 2))), "an array (4, 2) that is not strokes (dx, dy, pen)"),
    "x.npz": (
        saved_bytes(np.savez, a=np.zeros(3), b=np.ones(2)),
        "an .npz with the arrays a (3,), b (2,); it has none",
    ),
    "cut.npz": (saved_bytes(np.savez, train=np.zeros(300))[:200], "an .npz that is truncated"),
}


@pytest.mark.parametrize("name", FILES)
def test_content_of_an_unknown_file_is_named(name: str, tmp_path: Path) -> None:
    data, message = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        import_corpus(tmp_path / name, tmp_path / "out")
    assert f"{name}: {message}" in str(caught.value)
    assert len(str(caught.value)) <= 500 + len(str(tmp_path))
