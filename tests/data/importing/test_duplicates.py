"""Ink that is imported twice: notices, hashes of strokes, and bounded memory."""

from pathlib import Path

import numpy as np
import pytest

from mdnrnn.cli import main
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.drawings import DrawingBatch, Record
from mdnrnn.data.importing import duplicates
from mdnrnn.data.importing.duplicates import InkIndex, hash_strokes
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.strokes import Drawing
from mdnrnn.errors import InputWarning
from tests.data.importing.helpers import SVG, write_text


def make_words(count: int, seed: int = 0) -> list[Drawing]:
    """Make words of two strokes of 12 points each."""
    rng = np.random.default_rng(seed)
    return [list(rng.integers(0, 500, (2, 12, 2)).astype(float)) for _ in range(count)]


def write_svg(path: Path, strokes: Drawing) -> None:
    data = " ".join("M" + " L".join(f"{x:g},{y:g}" for x, y in stroke) for stroke in strokes)
    write_text(path, SVG.format(data))


def write_words_and_sentences(folder: Path, words: list[Drawing], sentence: list[Drawing]) -> Path:
    for number, word in enumerate(words):
        write_svg(folder / "words" / f"{number}.svg", word)
    write_svg(folder / "sentences" / "0.svg", [stroke + np.array([900, 50]) for word in sentence for stroke in word])
    return folder


def test_words_and_sentences_of_the_same_ink_give_a_notice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = make_words(6)
    data = write_words_and_sentences(tmp_path / "data", words, words[:5])
    report = import_corpus(data, tmp_path / "out")
    (notice,) = report.notices
    assert notice.startswith(f"100% of the strokes of {data / 'sentences'} are also in {data / 'words'}, so they")
    assert report.kept == 7
    assert main(["data", "import", str(data), "--out", str(tmp_path / "again")]) == 0
    assert f"  notice: {notice}\n" in capsys.readouterr().out
    with pytest.warns(InputWarning, match="so they are imported twice; leave one of the two out"):
        open_corpus(str(data))


def write_iam(path: Path, strokes: Drawing) -> None:
    points = ["".join(f'<Point x="{x:g}" y="{y:g}"/>' for x, y in stroke) for stroke in strokes]
    body = "".join(f"<Stroke>{each}</Stroke>" for each in points)
    write_text(path, f"<WhiteboardCaptureSession>{body}</WhiteboardCaptureSession>")


def test_lines_and_forms_of_the_same_ink_give_a_notice(tmp_path: Path) -> None:
    """The files of a folder are one source, also in a format whose drawings have no class."""
    lines = make_words(3)
    for number, line in enumerate(lines, 1):
        write_iam(tmp_path / "data" / "lineStrokes" / f"a01-000u-{number:02}.xml", line)
    for number, stroke in enumerate(stroke for line in lines for stroke in line):
        write_iam(tmp_path / "data" / "words" / f"{number}.xml", [stroke])
    (notice,) = import_corpus(tmp_path / "data", tmp_path / "out").notices
    assert f"of {tmp_path / 'data' / 'lineStrokes'} are also in {tmp_path / 'data' / 'words'}, so" in notice


def test_different_ink_gives_no_notice(tmp_path: Path) -> None:
    data = write_words_and_sentences(tmp_path / "data", make_words(6), make_words(5, seed=1))
    assert import_corpus(data, tmp_path / "out").notices == []
    same_folder = write_words_and_sentences(tmp_path / "same", make_words(1) * 5, [])
    assert import_corpus(same_folder / "words", tmp_path / "out2").notices == []


def test_hash_depends_on_offsets_only() -> None:
    rng = np.random.default_rng(0)
    stroke, short = rng.integers(0, 99, (9, 2)).astype(float), np.zeros((7, 2))
    changed = stroke.copy()
    changed[4, 0] += 1
    strokes = [stroke, short, stroke + np.array([7, -3]), stroke[::-1], changed, stroke[:, ::-1], stroke[:8]]
    hashes = hash_strokes(DrawingBatch.from_polylines([(strokes, Record("x"))])).tolist()
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 5
    assert len(hash_strokes(DrawingBatch.from_polylines([([short], Record("x"))]))) == 0


def test_number_of_hashes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All strokes of the first source are among the strokes of the second; a sample shows it."""
    monkeypatch.setattr(duplicates, "_MAX_HASHES", 100)
    index, hashes = InkIndex(), np.random.default_rng(0).integers(0, 2**63, 2000).astype(np.uint64)
    for first in range(0, 1000, 50):
        index.add("a", hashes[first : first + 50])
    index.add("b", hashes)
    assert len(index._sources) <= 100
    assert index.notices()[0].startswith("100% of the strokes of a are also in b, so they")
