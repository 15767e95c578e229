"""Layout of handwriting: cuts between characters, corrections, letter size, and files."""

from pathlib import Path

import numpy as np
import pytest
from defusedxml import ElementTree

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import to_polylines
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.text_lines import measure_line
from mdnrnn.pen_events import DOWN, END, UP
from mdnrnn.tasks.handwriting_layout import WrittenLines, layout_page, save_handwriting

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def lines() -> Corpus:
    """Return lines of pen text by 6 writers, 8 lines each."""
    return make_pen_text(8, {"train": 4, "valid": 1, "test": 1})


def write_line(sequence: Sequence, characters: list[int]) -> WrittenLines:
    """Return a line whose steps have the given characters."""
    windows = np.eye(len(sequence.text or "") + 1)[characters]
    return WrittenLines(pack(Metadata(name="x", bin_width=1.0), {"test": [sequence]}), [windows])


def write_lines(lines: Corpus, *indices: int) -> WrittenLines:
    """Return lines whose steps all belong to the first character."""
    sequences = [lines[i] for i in indices]
    windows = [np.eye(len(s.text or "") + 1)[np.zeros(len(s.event), int)] for s in sequences]
    return WrittenLines(pack(lines.metadata, {"test": sequences}), windows)


def segments(strokes: list[np.ndarray]) -> np.ndarray:
    """Return all line segments and dots in order, shape (n, 4)."""
    return np.concatenate([np.concatenate([s[:-1], s[1:]], 1) if len(s) > 1 else np.tile(s, 2) for s in strokes])


def test_strokes_are_cut_between_characters() -> None:
    """A stroke through a and b, a second stroke of b, and a dot."""
    motion = np.array([[1, 0], [1, 1], [1, 0], [3, 0], [0, 2], [4, 0]])
    event = np.array([DOWN, DOWN, UP, DOWN, UP, END], np.uint8)
    page = layout_page(write_line(Sequence(motion, event, text="ab"), [0, 0, 1, 1, 1, 1]), cut=True)
    assert page.characters == (0, 1, 1, 1)
    strokes = [(stroke - page.strokes[0][0]).tolist() for stroke in page.strokes]
    assert strokes == [[[0, 0], [1, 0], [2, 1]], [[2, 1], [3, 1]], [[6, 1], [6, 3]], [[10, 3]]]


def test_cut_strokes_have_the_segments_of_the_drawing(lines: Corpus) -> None:
    sequence, rng = lines[3], np.random.default_rng(0)
    characters = np.sort(rng.integers(0, len(sequence.text or ""), len(sequence.event))).tolist()
    page = layout_page(write_line(sequence, characters), cut=True)
    expected = to_polylines(sequence.motion, sequence.event)
    assert len(page.strokes) > len(expected)
    np.testing.assert_allclose(segments(page.strokes) - np.tile(page.strokes[0][0], 2), segments(expected))


def test_strokes_are_cut_only_on_request(lines: Corpus) -> None:
    written = write_lines(lines, 0, 1, 2)
    whole, cut = layout_page(written), layout_page(written, cut=True)
    assert whole.characters == ()
    assert len(whole.strokes) == sum(len(lines.drawing(i)) for i in range(3))
    assert len(cut.strokes) == len(cut.characters)


def test_written_lines_are_split_and_concatenated(lines: Corpus) -> None:
    written = write_lines(lines, 0, 1, 2)
    first, second = written.split(2)
    assert (len(first.lines), len(second.lines)) == (2, 1)
    joined = first.concatenate(second)
    for i in range(3):
        np.testing.assert_array_equal(joined.lines[i].motion, written.lines[i].motion)
        np.testing.assert_array_equal(joined.windows[i], written.windows[i])


def test_spacing_level_and_upright_change_the_page(lines: Corpus) -> None:
    written = write_lines(lines, 0, 1, 2)
    height, wide_height = (
        np.ptp(np.concatenate(layout_page(written, spacing=spacing).strokes)[:, 1]) for spacing in (1.0, 2.0)
    )
    assert wide_height > 1.4 * height
    corrected = measure_line(layout_page(write_lines(lines, 1), level=True, upright=True).strokes)
    assert abs(corrected.slope) < 0.004
    assert abs(corrected.slant) < 2
    assert measure_line(layout_page(write_lines(lines, 1)).strokes).slant != pytest.approx(corrected.slant, abs=1)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_letter_size_does_not_depend_on_the_number_of_lines(lines: Corpus, count: int, tmp_path: Path) -> None:
    """Small letters are about 12 pixels high, and the pen is a tenth of that wide."""
    written = write_lines(lines, *range(count))
    save_handwriting([written], tmp_path / "x.svg")
    group = ElementTree.parse(tmp_path / "x.svg").getroot().find(f"{SVG}g")
    assert group is not None
    drawn = np.concatenate([path_points(path.attrib["d"]) for path in group.iter(f"{SVG}path")])
    page = layout_page(written)
    scale = np.ptp(drawn[:, 0]) / np.ptp(np.concatenate(page.strokes)[:, 0])
    assert 9 < scale * page.height < 16
    assert float(group.attrib["stroke-width"]) == pytest.approx(1.2, abs=0.1)


def path_points(data: str) -> np.ndarray:
    """Return the points of an SVG path."""
    return np.array([tuple(map(float, pair.split(","))) for pair in data.split() if "," in pair])


@pytest.mark.parametrize("extension", [".svg", ".png", ".gif", ".npz"])
def test_pages_are_saved_in_every_format(lines: Corpus, tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x{extension}"
    save_handwriting(write_lines(lines, 0, 1, 0, 1).split(2), path, color="character")
    if extension == ".npz":
        texts = [lines[i].text for i in (0, 1, 0, 1)]
        assert [native.read(path)[i].text for i in range(4)] == texts
    else:
        first_bytes = {".svg": b"<svg", ".png": b"\x89PNG", ".gif": b"GIF8"}[extension]
        assert path.read_bytes().startswith(first_bytes)
