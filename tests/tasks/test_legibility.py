"""Legibility of the bundled handwriting run, measured with Tesseract (Debian package tesseract-ocr); slow."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import mdnrnn
from mdnrnn.data.corpus import Sequence
from mdnrnn.data.strokes import from_polylines, to_polylines
from mdnrnn.data.synthetic import pen_text
from mdnrnn.data.synthetic.corpora import PEN_TEXT_WRITERS, make_writer
from mdnrnn.data.synthetic.pen_text import Script, Writer
from mdnrnn.data.text_lines import measure_line
from mdnrnn.generation.sampling import Sampling
from mdnrnn.pen_events import END
from mdnrnn.render.save import save_picture
from mdnrnn.render.style import DrawingOptions
from mdnrnn.runs.run import Run
from mdnrnn.tasks.handwriting import WrittenLines, write

pytestmark = pytest.mark.slow
FOLDER = Path(__file__).parents[2] / "checkpoints" / "handwriting"
LINES = (
    "the night train was late", "a bowl of warm soup", "nobody saw the old ship", "we walked along the river",
    "seven birds on a wire", "she painted the door blue", "rain fell over the hills", "do you like green tea",
    "my brother plays chess", "open the window please", "they sold every ticket", "a letter from the sea",
    "the clock on the tower", "bread and salted butter", "he lost both his gloves", "winter came too early",
    "a quiet place to read", "our garden needs water", "the baker is very kind", "turn left at the church",
    "some clouds look heavy", "an apple fell from it", "you forgot your umbrella", "the dog sleeps all day",
    "music from another room", "we will meet at noon", "this road has no end", "a small boat far away",
    "the lamp went out again", "keep the change for now", "cold hands, warm heart", "all roads lead to Rome",
    "What time is it there?", "Nothing ever happens here", "She wrote two long books", "Please water the plants",
    "Great oaks grow slowly", "Half of them went home", "Bring me a glass of milk", "His answer was simple",
    "They danced until dawn", "The map was upside down", "Who left the light on?", "Every story has an end",
    "I had never seen snow", "Our train leaves at five", "Sing it once more for me", "The lake froze in March",
    "You can see the harbour", "Leave your shoes outside",
)  # fmt: skip
"""Lines that were written for this test; the generator of pen text cannot make them."""


@pytest.fixture(scope="module")
def run() -> Run:
    """Return the bundled run; skip the test if Tesseract is missing."""
    if shutil.which("tesseract") is None:
        pytest.skip("needs tesseract; apt-get install tesseract-ocr")
    return mdnrnn.load(FOLDER)


def test_lines_are_fifty_of_10_to_30_characters() -> None:
    assert len(LINES) == len(set(LINES)) == 50
    assert all(10 <= len(line) <= 30 for line in LINES)


def make_style(script: Script, number: int = 0) -> tuple[Sequence, Writer]:
    """Return a style line by a writer of the test split, the number-th one with this script, and the writer."""
    first = PEN_TEXT_WRITERS["train"] + PEN_TEXT_WRITERS["valid"]
    writers = [make_writer(i) for i in range(first, first + PEN_TEXT_WRITERS["test"])]
    writer = [writer for writer in writers if writer.script == script][number]
    return write_as(writer, "some words in my own hand", 10**6), writer


def write_as(writer: Writer, text: str, seed: int) -> Sequence:
    """Return a line of synthetic handwriting of a writer."""
    motion, event = from_polylines(pen_text.write(text, writer, np.random.default_rng(seed)))
    return Sequence(motion, event, text=text)


def recognize(sequence: Sequence, folder: Path) -> str:
    """Return the text that Tesseract recognizes, with small letters about 30 pixels high."""
    strokes = to_polylines(sequence.motion, sequence.event)
    extent = np.ptp(np.concatenate(strokes), axis=0)
    height = measure_line(strokes).height
    picture = folder / "line.png"
    width = 0.1 * height / np.sqrt(extent[0] * extent[1])
    save_picture([strokes], picture, DrawingOptions(line_width=float(np.clip(width, 0.003, 0.05)), margin=0.2))
    done = subprocess.run(
        ["tesseract", str(picture), "-", "--psm", "7", "-l", "eng"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def levenshtein_distance(first: str, second: str) -> int:
    """Return the minimum number of insertions, deletions and substitutions that turn one string into the other."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def error_rate(sequences: list[Sequence], folder: Path) -> float:
    """Return the number of edits per character between the texts and the recognized texts."""
    texts = [sequence.text or "" for sequence in sequences]
    pairs = zip(texts, sequences, strict=True)
    return sum(levenshtein_distance(text, recognize(line, folder)) for text, line in pairs) / sum(map(len, texts))


def write_all(run: Run, script: Script, number: int = 0) -> WrittenLines:
    """Write all lines in the style of a writer."""
    return write(run, LINES, make_style(script, number)[0], sampling=Sampling(bias=1.0), seed=0)


def test_error_rate_of_printed_handwriting_is_at_most_15_percent(run: Run, tmp_path: Path) -> None:
    rate = error_rate(write_all(run, "printed").sequences(), tmp_path)
    print(f"printed: error rate {rate:.1%}")
    assert rate <= 0.15


@pytest.mark.parametrize("number", [0, 1, 2])
def test_error_rate_of_joined_handwriting_is_at_most_half_above_that_of_its_writer(
    run: Run, tmp_path: Path, number: int
) -> None:
    rate = error_rate(write_all(run, "joined", number).sequences(), tmp_path)
    writer = make_style("joined", number)[1]
    writer_rate = error_rate([write_as(writer, text, i) for i, text in enumerate(LINES)], tmp_path)
    print(f"joined {number}: error rate {rate:.1%}, of the writer {writer_rate:.1%}")
    assert rate <= 1.5 * writer_rate


@pytest.mark.parametrize("script", ["printed", "joined"])
def test_window_visits_every_character_in_order_and_every_line_ends(run: Run, script: Script) -> None:
    """In at least 95% of the lines, the window's maximum visits all characters and goes back by one at most."""
    written = write_all(run, script)
    ordered = 0
    for window, text in zip(written.windows, LINES, strict=True):
        position = window[:, : len(text)].argmax(1)
        ordered += bool((np.diff(position) >= -1).all() and set(position) == set(range(len(text))))
    is_ended = [int(line.event[-1]) == END for line in written.sequences()]
    print(f"{script}: the window visits all characters of {ordered} of {len(LINES)} lines; {sum(is_ended)} end")
    assert ordered >= 0.95 * len(LINES)
    assert all(is_ended)


@pytest.mark.parametrize("script", ["printed", "joined"])
@pytest.mark.parametrize("number", [0, 1])
def test_slant_and_width_are_close_to_those_of_the_writer(run: Run, script: Script, number: int) -> None:
    """On the same texts, the mean slant differs by at most 6 degrees and the mean width by at most 20%."""
    style, writer = make_style(script, number)
    texts = LINES[:20]
    lines = write(run, texts, style, sampling=Sampling(bias=1.0), seed=0).sequences()
    slant, width = mean_slant_and_width(lines)
    writer_slant, writer_width = mean_slant_and_width([write_as(writer, text, i) for i, text in enumerate(texts)])
    print(f"{script} {number}: slant {slant:.1f}, writer {writer_slant:.1f}; width {width:.1f}, {writer_width:.1f}")
    assert slant == pytest.approx(writer_slant, abs=6)
    assert width == pytest.approx(writer_width, rel=0.2)


def mean_slant_and_width(lines: list[Sequence]) -> tuple[float, float]:
    """Return the mean slant in degrees and the mean width of lines."""
    drawings = [to_polylines(line.motion, line.event) for line in lines]
    widths = [np.ptp(np.concatenate(strokes)[:, 0]) for strokes in drawings]
    return float(np.mean([measure_line(strokes).slant for strokes in drawings])), float(np.mean(widths))
