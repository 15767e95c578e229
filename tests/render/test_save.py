"""Saving: the extension selects the format, files are complete, errors are one line and leave no file."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from defusedxml import ElementTree

from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Drawing
from mdnrnn.pen_events import DOWN, END, UP
from mdnrnn.render.animation import to_animated_svg, to_gif
from mdnrnn.render.layout import lay_out
from mdnrnn.render.save import (
    DRAWING_EXTENSIONS,
    PICTURE_EXTENSIONS,
    check_output_path,
    render,
    render_performances,
    save_drawings,
    save_performances,
    save_picture,
    sequence_labels,
    to_performances,
)
from mdnrnn.render.style import PLASMA, DrawingOptions, PictureOptions
from mdnrnn.render.svg import to_svg
from mdnrnn.render.touch_performance import MARGIN, TAP
from tests.helpers import make_touches, random_corpus
from tests.render.helpers import FILE_STARTS, ONE_TAP, PERFORMANCES, SVG, png_pixels

ANIMATED = DrawingOptions(animate=True)

# Drawings


@pytest.mark.parametrize("extension", PICTURE_EXTENSIONS)
def test_extension_selects_the_format_and_equal_drawings_have_equal_files(
    tmp_path: Path, drawings: list[Drawing], extension: str
) -> None:
    options = DrawingOptions(color="order", columns=2, labels=["a", "b", "c"], seconds=0.5)
    path = tmp_path / f"picture{extension.upper()}"
    save_picture(drawings[:3], path, options)
    data = path.read_bytes()
    assert data.startswith(FILE_STARTS[extension])
    assert data == render(drawings[:3], extension, options)
    assert list(tmp_path.iterdir()) == [path]


def test_animate_animates_an_svg_and_does_not_change_a_gif(drawings: list[Drawing]) -> None:
    assert render(drawings, ".svg").decode() == to_svg(lay_out(drawings))
    assert render(drawings, ".svg", ANIMATED).decode() == to_animated_svg(lay_out(drawings))
    short = DrawingOptions(seconds=0.5)
    gif = to_gif(lay_out(drawings[:1]), seconds=0.5)
    assert render(drawings[:1], ".gif", short) == render(drawings[:1], ".gif", replace(short, animate=True)) == gif


@pytest.mark.parametrize(
    ("name", "animate", "expected"),
    [
        ("a.bmp", False, ".svg, .png, .pdf, .gif"),
        ("a", False, ".svg, .png, .pdf, .gif"),
        ("a.png", True, ".svg, .gif"),
    ],
)
def test_other_extensions_are_one_line_errors(tmp_path: Path, name: str, animate: bool, expected: str) -> None:
    with pytest.raises(ValueError, match=r": received extension '.*expected one of ") as error:
        save_picture([], tmp_path / name, DrawingOptions(animate=animate))
    message = str(error.value)
    assert message.startswith(str(tmp_path / name))
    assert message.endswith(expected)
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_invalid_drawing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    path.write_text("old")
    with pytest.raises(ValueError, match="drawing 0, stroke 0"):
        save_picture([[np.array([[0.0, np.nan]])]], path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("extension", PICTURE_EXTENSIONS)
def test_no_drawings_and_empty_drawings_make_a_file(extension: str) -> None:
    empty: list[list[Drawing]] = [[], [[]]]
    for drawings in empty:
        assert render(drawings, extension, DrawingOptions(seconds=0.5)).startswith(FILE_STARTS[extension])


@pytest.mark.parametrize("extension", DRAWING_EXTENSIONS)
def test_corpus_is_saved_in_every_format(tmp_path: Path, extension: str) -> None:
    corpus = random_corpus([5])
    path = tmp_path / f"x{extension}"
    options = DrawingOptions(columns=1, seconds=0.5)
    save_drawings(corpus, str(path), options)
    if extension in PICTURE_EXTENSIONS:
        drawings = [corpus.drawing(i) for i in range(len(corpus))]
        assert path.read_bytes() == render(drawings, extension, options)
    else:
        import_corpus([str(path)], tmp_path / "again.npz")
        assert len(open_corpus(str(tmp_path / "again.npz"))) == len(corpus)


def test_output_path_with_a_wrong_extension_or_folder_is_an_error(tmp_path: Path) -> None:
    check_output_path(tmp_path / "x.SVG")
    (tmp_path / "folder.svg").mkdir()
    for name, message in {
        "x.bmp": "received extension '.bmp', expected one of .svg, .*.npz$",
        "none/x.svg": "the folder .* does not exist; create it, or choose another path$",
        "folder.svg": "is a folder; expected a file name$",
    }.items():
        with pytest.raises(ValueError, match=message):
            check_output_path(tmp_path / name)
    with pytest.raises(ValueError, match=r"received extension '\.png' to animate, expected one of \.svg, \.gif$"):
        check_output_path(tmp_path / "x.png", animate=True)


# Touch performances


def steps(performance: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return motion (T, 3) and event (T,) of a performance in a JSON file."""
    touches = performance["touches"]
    rows = np.array([[touch["x"], touch["y"], touch["time"]] for touch in touches])
    event = np.array([DOWN if touch["moving"] else UP for touch in touches[1:]] + [END])
    return np.diff(rows, axis=0, prepend=0), event


def assert_same(document: dict[str, Any], corpus: Corpus) -> None:
    """Assert that the JSON has every touch of the corpus, to its 6 decimals."""
    assert len(document["performances"]) == len(corpus)
    for index, performance in enumerate(document["performances"]):
        motion, event = steps(performance)
        np.testing.assert_allclose(motion[:, :2], corpus[index].motion[:, :2], atol=1.1e-6)
        np.testing.assert_allclose(motion[1:, 2], corpus[index].motion[1:, 2], atol=1.1e-6)
        assert (event == corpus[index].event).all()
        assert performance["seconds"] == pytest.approx(corpus[index].motion[1:, 2].sum(), abs=1e-5)


def labeled_touches(touches: int = 20, performances: int = 3) -> Corpus:
    """Return performances inside the screen with class names; one touch in five is lifted."""
    rng = np.random.default_rng(3)
    sequences = []
    for number in range(performances):
        positions = np.rint(rng.random((touches, 2)) * 1024) / 1024
        dt = np.concatenate([[0.0], rng.lognormal(-3, 0.5, touches - 1)])
        motion = np.column_stack([np.diff(positions, axis=0, prepend=0), dt]).astype(np.float32)
        event = np.where(rng.random(touches) < 0.2, UP, DOWN)
        event[-1] = END
        sequences.append(Sequence(motion, event, number))
    classes = tuple(f"a name that is longer than a caption {i}" for i in range(performances))
    metadata = Metadata(name="played", start="up", bin_width=1 / 1024, features=("dx", "dy", "dt"), classes=classes)
    return pack(metadata, {"train": sequences})


def test_to_performances_keeps_the_touches_of_the_corpus() -> None:
    corpus = labeled_touches()
    for index, performance in enumerate(to_performances(corpus, [2, 0])):
        motion, event = corpus[(2, 0)[index]][:2]
        np.testing.assert_allclose(performance.positions, np.cumsum(motion[:, :2], axis=0), atol=1e-6)
        np.testing.assert_allclose(np.diff(performance.seconds), motion[1:, 2], atol=1e-6)
        assert performance.down.tolist() == [True, *(event[:-1] != DOWN)]


def test_json_has_every_touch_of_a_corpus(tmp_path: Path) -> None:
    corpus = make_touches(12)
    save_performances(corpus, tmp_path / "x.json")
    document = json.loads((tmp_path / "x.json").read_text())
    assert document["name"] == "touches"
    assert_same(document, corpus)
    assert {performance["label"] for performance in document["performances"]} == {None}


@pytest.mark.shared
def test_json_has_every_touch_of_real_performances(tmp_path: Path, shared_data: Path) -> None:
    corpus = open_corpus(str(shared_data / "touch" / "tiny_performances_dev.npz")).select_split("test")
    save_performances(corpus, tmp_path / "x.json")
    assert_same(json.loads((tmp_path / "x.json").read_text()), corpus)


def test_json_has_the_given_labels(tmp_path: Path) -> None:
    labels = ["call", "answer 1", "x" * 50]
    save_performances(labeled_touches(), tmp_path / "x.json", PictureOptions(labels=labels))
    document = json.loads((tmp_path / "x.json").read_text())
    assert [performance["label"] for performance in document["performances"]] == labels


def test_sequence_labels_are_class_names_shortened_for_pictures(tmp_path: Path) -> None:
    corpus = labeled_touches()
    assert sequence_labels(corpus, max_length=100) == list(corpus.metadata.classes)
    assert sequence_labels(corpus, [1], max_length=100) == [corpus.metadata.classes[1]]
    assert sequence_labels(random_corpus([5])) is None
    save_performances(corpus, tmp_path / "x.svg", PictureOptions(labels=sequence_labels(corpus)))
    written = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "x.svg").read_text())
    assert written[:3] == ["a name that is lo…"] * 3


@pytest.mark.parametrize("extension", PICTURE_EXTENSIONS)
def test_extension_selects_the_picture_format_of_performances(tmp_path: Path, extension: str) -> None:
    save_performances(labeled_touches(), tmp_path / f"x{extension}", PictureOptions(columns=3))
    assert (tmp_path / f"x{extension}").read_bytes().startswith(FILE_STARTS[extension])
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("animate", [False, True])
def test_svg_of_performances_is_animated_on_request(tmp_path: Path, animate: bool) -> None:
    save_performances(labeled_touches(), tmp_path / "x.svg", PictureOptions(animate=animate))
    assert ("<animate" in (tmp_path / "x.svg").read_text()) == animate


def test_labels_are_below_their_cells_and_a_tap_is_a_dot() -> None:
    options = PictureOptions(labels=["call", "answer"])
    root = ElementTree.fromstring(render_performances(PERFORMANCES[:2], ".svg", options).decode())
    assert [text.text for text in root.iter(f"{SVG}text")][:2] == ["call", "answer"]
    root = ElementTree.fromstring(render_performances([ONE_TAP], ".svg").decode())
    assert [path.attrib["d"].endswith("h 0.1") for path in root.iter(f"{SVG}path")] == [False, True]


def test_pixels_have_the_time_color_at_the_position_of_a_touch() -> None:
    pixels = png_pixels(
        render_performances([ONE_TAP, PERFORMANCES[0]], ".png", PictureOptions(columns=2, cell_size=100))
    )
    x, y = (2 * 100 * (MARGIN + (1 - 2 * MARGIN) * position) for position in (0.25, 0.75))
    assert "#" + bytes(pixels[int(y), int(x)].tolist()).hex() == PLASMA[0]
    around = pixels[int(y) - 12 : int(y) + 13, int(x) - 12 : int(x) + 13].min(axis=2)
    assert (around < 128).sum() == pytest.approx(np.pi * (0.5 * TAP * 200) ** 2, rel=0.2)


@pytest.mark.parametrize("extension", PICTURE_EXTENSIONS)
def test_picture_without_performances_is_an_error(extension: str) -> None:
    with pytest.raises(ValueError, match=r"^performances: received none, expected one or more to draw$"):
        render_performances([], extension)


def test_picture_of_performances_with_another_extension_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"received extension '.bmp', expected one of .svg, .png, .pdf, .gif$"):
        render_performances([ONE_TAP], ".bmp")
    with pytest.raises(ValueError, match=r"received extension '.png' to animate, expected one of .svg, .gif$"):
        render_performances([ONE_TAP], ".png", ANIMATED)


def test_csv_of_one_performance_is_imported_unchanged(tmp_path: Path) -> None:
    corpus = labeled_touches(performances=1)
    save_performances(corpus, tmp_path / "x.csv")
    import_corpus([str(tmp_path / "x.csv")], tmp_path / "again.npz")
    again = open_corpus(str(tmp_path / "again.npz"))
    np.testing.assert_allclose(again.motion, corpus.motion, atol=1e-6)
    assert (again.event == corpus.event).all()


def test_npz_is_the_corpus(tmp_path: Path) -> None:
    corpus = labeled_touches()
    save_performances(corpus, str(tmp_path / "x.npz"))
    assert open_corpus(str(tmp_path / "x.npz")).fingerprint == corpus.fingerprint


STREAM = pack(
    Metadata(name="a stream", start="up", features=("dt", "x1", "x2")),
    {"train": [Sequence(np.ones((3, 3), np.float32), np.array([DOWN, DOWN, END]))]},
)
EMPTY = Corpus(
    Metadata(name="none", start="up", features=("dx", "dy", "dt")),
    np.zeros((0, 3), np.float32), np.zeros(0, np.uint8), np.zeros(1, np.int64), {},
)  # fmt: skip
INVALID: dict[str, tuple[Corpus, str, dict[str, Any], str]] = {
    "csv": (
        labeled_touches(), "x.csv", {}, r"x\.csv: received 3 performances, expected 1 for \.csv; .* \.json or \.npz$"
    ),
    "drawings": (
        random_corpus([5]), "x.json", {}, r"^random: received features dx, dy and the pen down at the start, "
        r"expected touch performances \(features dx, dy, dt; pen up at the start\); save it as drawings$",
    ),
    "stream": (STREAM, "x.svg", {}, "^a stream: received features dt, x1, x2 and the pen up at the start, expected"),
    "extension": (
        labeled_touches(), "x.ndjson", {}, r"received extension '.ndjson', expected one of \.svg, .*\.json, \.csv"
    ),
    "folder": (labeled_touches(), "none/x.json", {}, "folder .* does not exist; create it, or choose another path$"),
    "animation": (
        labeled_touches(), "x.png", {"animate": True}, r"received extension '\.png' to animate, expected one of \.svg"
    ),
    "labels": (labeled_touches(), "x.svg", {"labels": ["call"]}, "^labels: received 1, expected 3: one per drawing"),
    "empty": (EMPTY, "x.svg", {}, "^performances: received none, expected one or more to draw$"),
}  # fmt: skip


@pytest.mark.parametrize(("corpus", "name", "options", "message"), INVALID.values(), ids=INVALID.keys())
def test_performances_that_cannot_be_saved_are_one_line_errors_and_leave_no_file(
    tmp_path: Path, corpus: Corpus, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        save_performances(corpus, tmp_path / name, PictureOptions(**options))
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
