"""Tests of pen text: reproducibility, splits by writer, glyphs of the fonts and parameters of the writers."""

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
from mdnrnn.data.text_lines import measure_line
from mdnrnn.errors import InputError

WRITERS = {"train": 12, "valid": 3, "test": 3}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_pen_text(3, WRITERS)


def make_neutral_writer(script: Script) -> Writer:
    """Make a writer without slant or deviations, with ten page units per font unit."""
    return Writer(
        script=script, slant=0.0, width=1.0, size=10.0, spacing=0.0, gap=1.0, drift=0.0, sway=0.0, wobble=0.0,
        softness=0.0, stride=2.0,
    )  # fmt: skip


def test_same_seed_makes_the_same_corpus(corpus: Corpus) -> None:
    first, again, other = (make_pen_text(2, {"train": 1, "test": 1}, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    corpus.check()


def test_writers_are_in_one_split_with_all_their_lines(corpus: Corpus) -> None:
    assert corpus.writer is not None
    for split, count in WRITERS.items():
        writers, lines = np.unique(np.asarray(corpus.select_split(split).writer), return_counts=True)
        assert (lines == 3).all()
        assert len(writers) == count
    assert len(np.unique(corpus.writer)) == sum(WRITERS.values())


def test_lines_have_the_given_lengths_and_contain_all_characters() -> None:
    rng = np.random.default_rng(0)
    lines = [texts.sample_line(rng, 6, 44) for _ in range(2000)]
    assert all(6 <= len(line) <= 44 and line == line.strip() for line in lines)
    assert set("".join(lines)) == set(string.ascii_letters + string.digits + string.punctuation + " ")
    assert set(pen_text.alphabet()) == set("".join(lines))
    assert len(set(lines)) > 1950


@pytest.mark.parametrize("script", ["printed", "joined"])
@pytest.mark.parametrize("character", "aAgM8?&x")
def test_neutral_writer_follows_the_font(script: Script, character: str) -> None:
    """Up to a shear of 0.03 and a size of 1 +- 0.03, every point of the glyph is close to a point of the stroke."""
    font = HersheyFonts(load_default_font={"printed": "futural", "joined": "scripts"}[script])
    glyph = font.all_glyphs[character]
    expected = np.concatenate([np.array(stroke, float) - (glyph.left_offset, 9) for stroke in glyph.strokes])
    written = np.concatenate(pen_text.write(character, make_neutral_writer(script), np.random.default_rng(0))) / 10
    distances = np.linalg.norm(expected[:, None] - written[None], axis=2).min(1)
    assert distances.max() < 3.2


def test_joined_script_has_fewer_strokes() -> None:
    def count_strokes(script: Script) -> int:
        return len(pen_text.write("nonce lemon", make_neutral_writer(script), np.random.default_rng(0)))

    assert count_strokes("joined") < 0.5 * count_strokes("printed")


@pytest.mark.parametrize(("parameter", "low", "high"), [("slant", -8.0, 18.0), ("size", 1.6, 2.6), ("width", 0.8, 1.2)])
def test_writer_parameters_change_the_writing(parameter: str, low: float, high: float) -> None:
    shapes, extents = [], []
    for value in (low, high):
        writer = dataclasses.replace(make_neutral_writer("printed"), **{"size": 2.0, parameter: value})  # type: ignore[arg-type]
        strokes = [s.astype(float) for s in pen_text.write("the morning is bright", writer, np.random.default_rng(1))]
        shapes.append(measure_line(strokes))
        extents.append(np.ptp(np.concatenate(strokes)[:, 0]))
    if parameter == "slant":
        assert shapes[1].slant - shapes[0].slant == pytest.approx(high - low, abs=3)
    else:
        assert extents[1] / extents[0] == pytest.approx(high / low, rel=0.03)


def test_pen_is_slower_in_turns(corpus: Corpus) -> None:
    """Steps with turns above 45 degrees are shorter than steps with turns below 11 degrees."""
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


def test_import_keeps_the_writers_and_divides_by_them(corpus: Corpus, tmp_path: Path) -> None:
    """After a new division, no writer is in two splits."""
    native.write(corpus, tmp_path / "lines.npz")
    import_corpus([tmp_path / "lines.npz"], tmp_path / "imported", Recipe(split="0.6,0.2,0.2"))
    imported = native.read(tmp_path / "imported")
    assert imported.writer is not None
    assert corpus.writer is not None
    writers = {corpus[i].text: corpus[i].writer for i in range(len(corpus))}
    pairs = {(writers[imported[i].text], imported[i].writer) for i in range(len(imported))}
    assert len(pairs) == sum(WRITERS.values())  # the same writers under other numbers
    writers_by_split = [set(imported.writer[first:last].tolist()) for first, last in imported.splits.values()]
    assert sum(map(len, writers_by_split)) == len(set.union(*writers_by_split)) == sum(WRITERS.values())


@pytest.mark.parametrize("text", ["", "  ", "naïve", "a\nb"])
def test_unsupported_text_raises(text: str) -> None:
    with pytest.raises(InputError, match="expected printable ASCII characters"):
        pen_text.write(text, make_neutral_writer("printed"), np.random.default_rng(0))
