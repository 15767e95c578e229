"""The geometry of lines of writing: what is measured is what was put in, and what is corrected is gone."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from mdnrnn.data.synthetic import pen_text
from mdnrnn.data.synthetic.pen_text import Writer
from mdnrnn.data.text_lines import leveled, made_upright, page, shape_of

TEXTS = ("never mind the weather, go outside", "twelve brown birds are on the wall", "Some words say more than others")


def writer(seed: int, **habits: float) -> Writer:
    """Somebody who prints, with these habits."""
    return dataclasses.replace(Writer.drawn(np.random.default_rng(seed), "printed"), **habits)  # type: ignore[arg-type]


def written(text: str, hand: Writer) -> list[np.ndarray]:
    return [stroke.astype(float) for stroke in pen_text.write(text, hand, np.random.default_rng(1))]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("drift", [-4.0, 0.0, 3.0])
@pytest.mark.parametrize("slant", [-12.0, 5.0, 20.0])
def test_slope_and_slant_are_those_of_the_hand(text: str, drift: float, slant: float) -> None:
    shape = shape_of(written(text, writer(0, drift=drift, slant=slant)))
    assert np.degrees(np.arctan(shape.slope)) == pytest.approx(drift, abs=0.6)
    assert shape.slant == pytest.approx(slant, abs=3.5)


@pytest.mark.parametrize("size", [1.7, 2.5])
def test_the_height_is_that_of_small_letters(size: float) -> None:
    """14 font units, in a text with few tall letters."""
    shape = shape_of(written("sum more or less on us even now", writer(2, size=size, drift=0.0, sway=0.0)))
    assert shape.height == pytest.approx(14 * size, rel=0.12)


def test_what_is_corrected_is_gone() -> None:
    strokes = written(TEXTS[0], writer(3, drift=3.0, slant=15.0))
    flat = leveled(strokes, shape_of(strokes))
    assert abs(shape_of(flat).slope) < 0.004
    straight = made_upright(flat, shape_of(flat))
    assert abs(shape_of(straight).slant) < 2
    assert shape_of(straight).height == pytest.approx(shape_of(flat).height, rel=0.1)


def test_a_page_has_its_lines_at_the_left_and_a_pitch_apart() -> None:
    lines = [written(text, writer(4, drift=0.0, sway=0.0)) for text in TEXTS]
    placed = page(lines)
    counts = np.cumsum([0, *map(len, lines)])
    baselines = []
    for first, last in pairwise(counts):
        line = placed[first:last]
        assert np.concatenate(line)[:, 0].min() == pytest.approx(0)
        baselines.append(shape_of(line).baseline)
    height = np.median([shape_of(line).height for line in lines])
    np.testing.assert_allclose(np.diff(baselines), 3 * height, rtol=0.02)
    assert shape_of(page(lines[:1])).baseline == pytest.approx(0, abs=1)


def test_a_dot_and_a_dash_have_a_shape() -> None:
    for strokes in ([np.zeros((1, 2))], [np.array([[0.0, 0.0], [5.0, 0.0]])]):
        assert np.isfinite(shape_of(strokes)).all()
        assert np.isfinite(np.concatenate(page([strokes, strokes]))).all()
