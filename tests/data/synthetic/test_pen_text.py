"""Pen text: the same for the same seed, the letters of the fonts, the habits of their writers."""

import dataclasses
import string
from pathlib import Path

import numpy as np
import pytest
from HersheyFonts import HersheyFonts

from mdnrnn.data.corpus import Corpus
from mdnrnn.data.formats import native
from mdnrnn.data.importing.pipeline import import_corpus
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.synthetic import pen_text, texts
from mdnrnn.data.synthetic.corpora import make_pen_text
from mdnrnn.data.synthetic.pen_text import Script, Writer
from mdnrnn.data.text_lines import shape_of
from mdnrnn.errors import InputError

WRITERS = {"train": 12, "valid": 3, "test": 3}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_pen_text(6, WRITERS)


def still(script: Script) -> Writer:
    """A hand without accidents of its own, upright, in the size of the font."""
    return Writer(
        script=script, slant=0.0, width=1.0, size=10.0, spacing=0.0, gap=1.0, drift=0.0, sway=0.0, wobble=0.0,
        softness=0.0, stride=2.0,
    )  # fmt: skip


def test_the_same_seed_makes_the_same_corpus(corpus: Corpus) -> None:
    again, other = make_pen_text(6, WRITERS), make_pen_text(6, WRITERS, seed=1)
    assert again.fingerprint == corpus.fingerprint != other.fingerprint
    corpus.check()


def test_no_writer_is_in_two_splits_and_each_has_their_lines(corpus: Corpus) -> None:
    assert corpus.writer is not None
    found = {split: np.asarray(corpus.part(split).writer) for split in WRITERS}
    for split, count in WRITERS.items():
        assert (np.unique(found[split], return_counts=True)[1] == 6).all()
        assert len(np.unique(found[split])) == count
    assert len(np.unique(corpus.writer)) == sum(WRITERS.values())


def test_lines_are_no_longer_than_asked_and_all_characters_come() -> None:
    rng = np.random.default_rng(0)
    lines = [texts.line(rng, 6, 44) for _ in range(4000)]
    assert all(6 <= len(line) <= 44 and line == line.strip() for line in lines)
    assert set("".join(lines)) == set(string.ascii_letters + string.digits + string.punctuation + " ")
    assert set(pen_text.alphabet()) == set("".join(lines))
    assert len(set(lines)) > 3900


@pytest.mark.parametrize("script", ["printed", "joined"])
@pytest.mark.parametrize("character", "aAgM8?&x")
def test_a_still_hand_follows_the_font(script: Script, character: str) -> None:
    """Apart from a lean of 0.03 and a size of 1 +- 0.03: every point of the glyph has a point of the pen near by."""
    font = HersheyFonts(load_default_font={"printed": "futural", "joined": "scripts"}[script])
    glyph = font.all_glyphs[character]
    expected = np.concatenate([np.array(stroke, float) - (glyph.left_offset, 9) for stroke in glyph.strokes])
    found = np.concatenate(pen_text.write(character, still(script), np.random.default_rng(0))) / 10
    distances = np.linalg.norm(expected[:, None] - found[None], axis=2).min(1)
    assert distances.max() < 3.2


def test_joined_hands_lift_less() -> None:
    def strokes(script: Script) -> int:
        return len(pen_text.write("nonce lemon", still(script), np.random.default_rng(0)))

    assert strokes("joined") < 0.5 * strokes("printed")


@pytest.mark.parametrize(("habit", "low", "high"), [("slant", -8.0, 18.0), ("size", 1.6, 2.6), ("width", 0.8, 1.2)])
def test_a_habit_shows(habit: str, low: float, high: float) -> None:
    shapes, extents = [], []
    for value in (low, high):
        hand = dataclasses.replace(still("printed"), **{"size": 2.0, habit: value})  # type: ignore[arg-type]
        strokes = [s.astype(float) for s in pen_text.write("the morning is bright", hand, np.random.default_rng(1))]
        shapes.append(shape_of(strokes))
        extents.append(np.ptp(np.concatenate(strokes)[:, 0]))
    if habit == "slant":
        assert shapes[1].slant - shapes[0].slant == pytest.approx(high - low, abs=3)
    else:
        assert extents[1] / extents[0] == pytest.approx(high / low, rel=0.03)


def test_the_pen_slows_down_in_turns(corpus: Corpus) -> None:
    """Steps where the direction turns by more than 45 degrees are shorter than those straight on."""
    ratios = []
    for i in range(20):
        motion, event = corpus[i].motion.astype(float), corpus[i].event
        inside = (event[1:-1] == 0) & (event[:-2] == 0)
        length = np.hypot(*motion[1:-1].T)
        angle = np.arctan2(*motion.T)
        turn = np.abs(np.angle(np.exp(1j * np.diff(angle))))[:-1]
        sharp, straight = inside & (turn > np.pi / 4), inside & (turn < np.pi / 16)
        ratios.append(np.median(length[sharp]) / np.median(length[straight]))
    assert np.median(ratios) < 0.9


def test_writers_stay_with_their_lines_through_an_import(corpus: Corpus, tmp_path: Path) -> None:
    """Divided anew, nobody is in two splits."""
    native.write(corpus, tmp_path / "lines.npz")
    import_corpus([tmp_path / "lines.npz"], tmp_path / "again", Recipe(split="0.6,0.2,0.2"))
    again = native.read(tmp_path / "again")
    assert again.writer is not None
    assert corpus.writer is not None
    hands = {corpus[i].text: corpus[i].writer for i in range(len(corpus))}
    pairs = {(hands[again[i].text], again[i].writer) for i in range(len(again))}
    assert len(pairs) == sum(WRITERS.values())  # the same hands, by other numbers
    of_split = [set(again.writer[first:last].tolist()) for first, last in again.splits.values()]
    assert sum(map(len, of_split)) == len(set.union(*of_split)) == sum(WRITERS.values())


@pytest.mark.parametrize("text", ["", "  ", "naïve", "a\nb"])
def test_what_the_fonts_lack_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected characters of ASCII"):
        pen_text.write(text, still("printed"), np.random.default_rng(0))
