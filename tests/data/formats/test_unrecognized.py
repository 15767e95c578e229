"""Errors about unknown files say what the file contains."""

import bz2
import io
import json
import lzma
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.errors import DataError
from tests.data.formats.samples import saved_bytes


def make_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.svg"))
    return buffer.getvalue()


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
    "x.bz2": (bz2.compress(b"a"), "compressed with bzip2; decompress it"),
    "x.xz": (lzma.compress(b"a"), "compressed with xz; decompress it"),
    "x.tar": (make_tar(), "a tar archive; unpack it"),
    "x.pkl": (pickle.dumps([1]), "a Python pickle"),
    "x.png": (b"\x89PNG\r\n\x1a\n", "a PNG image, which has pixels and no strokes"),
    "x.txt": (b"hello", "not a known format"),
    "empty.svg": (b"", "the file is empty"),
}


@pytest.mark.parametrize("name", FILES)
def test_content_of_an_unknown_file_is_named(name: str, tmp_path: Path) -> None:
    data, message = FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError) as caught:
        import_corpus(tmp_path / name, tmp_path / "out")
    assert f"{name}: {message}" in str(caught.value)
    assert len(str(caught.value)) <= 500 + len(str(tmp_path))
