"""What the run that ships writes, read by Tesseract (Debian's tesseract-ocr); slow, skipped where that is missing."""

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
from mdnrnn.events import END
from mdnrnn.generation.sampling import Sampling
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
"""WrittenLines for this test: none is made of the generator of pen text."""


@pytest.fixture(scope="module")
def run() -> Run:
    if shutil.which("tesseract") is None:
        pytest.skip("needs tesseract; apt-get install tesseract-ocr")
    return mdnrnn.load(FOLDER)


def test_the_lines_are_fifty_of_the_length_that_was_asked_for() -> None:
    assert len(LINES) == len(set(LINES)) == 50
    assert all(10 <= len(line) <= 30 for line in LINES)


def style(script: Script, number: int = 0) -> tuple[Sequence, Writer]:
    """A line by the first writer of the test split who writes this script, or by another one, and the writer."""
    first = PEN_TEXT_WRITERS["train"] + PEN_TEXT_WRITERS["valid"]
    found = [make_writer(i) for i in range(first, first + PEN_TEXT_WRITERS["test"])]
    writer = [each for each in found if each.script == script][number]
    text = "some words in my own hand"
    return by_writer(text, writer, 10**6), writer


def by_writer(text: str, writer: Writer, seed: int) -> Sequence:
    motion, event = from_polylines(pen_text.write(text, writer, np.random.default_rng(seed)))
    return Sequence(motion, event, text=text)


def read(sequence: Sequence, folder: Path) -> str:
    """What Tesseract makes of a line, rendered with small letters about 30 pixels high."""
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


def edits(one: str, other: str) -> int:
    """The Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def error_rate(sequences: list[Sequence], folder: Path) -> float:
    """Edits a character."""
    texts = [sequence.text or "" for sequence in sequences]
    return sum(edits(text, read(line, folder)) for text, line in zip(texts, sequences, strict=True)) / sum(
        map(len, texts)
    )


def written(run: Run, script: Script, number: int = 0) -> WrittenLines:
    return write(run, LINES, style(script, number)[0], sampling=Sampling(bias=1.0), seed=0)


def sequences(found: WrittenLines) -> list[Sequence]:
    return [found.lines[i] for i in range(len(found.lines))]


def test_a_printed_hand_can_be_read(run: Run, tmp_path: Path) -> None:
    rate = error_rate(sequences(written(run, "printed")), tmp_path)
    print(f"printed: {rate:.1%} of the characters are misread")
    assert rate <= 0.15


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_joined_hand_is_read_about_as_well_as_its_writer(run: Run, tmp_path: Path, number: int) -> None:
    rate = error_rate(sequences(written(run, "joined", number)), tmp_path)
    writer = style("joined", number)[1]
    real = error_rate([by_writer(text, writer, i) for i, text in enumerate(LINES)], tmp_path)
    print(f"joined {number}: {rate:.1%} of the characters are misread, {real:.1%} of the writer's own")
    assert rate <= 1.5 * real


@pytest.mark.parametrize("script", ["printed", "joined"])
def test_the_window_goes_over_every_character_and_no_line_runs_away(run: Run, script: Script) -> None:
    """Of at least 95 of 100 lines: where the window is heaviest never goes back by more than one, misses no letter."""
    found = written(run, script)
    good = 0
    for window, text in zip(found.windows, LINES, strict=True):
        place = window[:, : len(text)].argmax(1)
        good += bool((np.diff(place) >= -1).all() and set(place) == set(range(len(text))))
    ended = [int(line.event[-1]) == END for line in sequences(found)]
    print(f"{script}: the window goes over every character of {good} of {len(LINES)} lines; {sum(ended)} end")
    assert good >= 0.95 * len(LINES)
    assert all(ended)


@pytest.mark.parametrize("script", ["printed", "joined"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_hand_is_like_its_writer(run: Run, script: Script, number: int) -> None:
    """The slant of what a style is followed by within 6 degrees of the writer's own on the same texts, the width of
    its lines within a fifth."""
    given, writer = style(script, number)
    texts = LINES[:20]
    ours = sequences(write(run, texts, given, sampling=Sampling(bias=1.0), seed=0))
    (slant, width), (own_slant, own_width) = (
        _habits(lines) for lines in (ours, [by_writer(text, writer, i) for i, text in enumerate(texts)])
    )
    print(f"{script} {number}: slant {slant:.1f}, the writer's {own_slant:.1f}; width {width:.1f}, {own_width:.1f}")
    assert slant == pytest.approx(own_slant, abs=6)
    assert width == pytest.approx(own_width, rel=0.2)


def _habits(lines: list[Sequence]) -> tuple[float, float]:
    """Slant and width of a line, means."""
    drawn = [to_polylines(line.motion, line.event) for line in lines]
    widths = [np.ptp(np.concatenate(strokes)[:, 0]) for strokes in drawn]
    return float(np.mean([measure_line(strokes).slant for strokes in drawn])), float(np.mean(widths))
