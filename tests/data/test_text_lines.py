"""Tests of the geometry of handwritten lines: measured shapes equal simulated ones, corrections remove them."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from mdnrnn.data.strokes import Drawing
from mdnrnn.data.synthetic import pen_text
from mdnrnn.data.synthetic.pen_text import Writer
from mdnrnn.data.text_lines import measure_line, remove_slant, remove_slope, stack_lines

TEXTS = ("never mind the weather, go outside", "twelve brown birds are on the wall", "Some words say more than others")


def make_printing_writer(seed: int, **habits: float) -> Writer:
    return dataclasses.replace(Writer.sample(np.random.default_rng(seed), "printed"), **habits)  # type: ignore[arg-type]


def write_line(text: str, writer: Writer) -> Drawing:
    return [stroke.astype(float) for stroke in pen_text.write(text, writer, np.random.default_rng(1))]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("drift", [-4.0, 0.0, 3.0])
@pytest.mark.parametrize("slant", [-12.0, 5.0, 20.0])
def test_slope_and_slant_are_those_of_the_writer(text: str, drift: float, slant: float) -> None:
    shape = measure_line(write_line(text, make_printing_writer(0, drift=drift, slant=slant)))
    assert np.degrees(np.arctan(shape.slope)) == pytest.approx(drift, abs=0.6)
    assert shape.slant == pytest.approx(slant, abs=3.5)


@pytest.mark.parametrize("size", [1.7, 2.5])
def test_height_is_that_of_small_letters(size: float) -> None:
    """Small letters are 14 font units high; the text has few tall letters."""
    writer = make_printing_writer(2, size=size, drift=0.0, sway=0.0)
    shape = measure_line(write_line("sum more or less on us even now", writer))
    assert shape.height == pytest.approx(14 * size, rel=0.12)


def test_corrections_remove_slope_and_slant() -> None:
    strokes = write_line(TEXTS[0], make_printing_writer(3, drift=3.0, slant=15.0))
    level = remove_slope(strokes, measure_line(strokes))
    assert abs(measure_line(level).slope) < 0.004
    upright = remove_slant(level, measure_line(level))
    assert abs(measure_line(upright).slant) < 2
    assert measure_line(upright).height == pytest.approx(measure_line(level).height, rel=0.1)


def test_stacked_lines_are_left_aligned_at_equal_distances() -> None:
    lines = [write_line(text, make_printing_writer(4, drift=0.0, sway=0.0)) for text in TEXTS]
    placed = stack_lines(lines)
    bounds = np.cumsum([0, *map(len, lines)])
    baselines = []
    for first, last in pairwise(bounds):
        line = placed[first:last]
        assert np.concatenate(line)[:, 0].min() == pytest.approx(0)
        baselines.append(measure_line(line).baseline)
    height = np.median([measure_line(line).height for line in lines])
    np.testing.assert_allclose(np.diff(baselines), 3 * height, rtol=0.02)
    assert measure_line(stack_lines(lines[:1])).baseline == pytest.approx(0, abs=1)


@pytest.mark.parametrize("stroke", [np.zeros((1, 2)), np.array([[0.0, 0.0], [5.0, 0.0]])], ids=["dot", "dash"])
def test_degenerate_lines_have_a_finite_shape(stroke: np.ndarray) -> None:
    assert np.isfinite(measure_line([stroke])).all()
    assert np.isfinite(np.concatenate(stack_lines([[stroke], [stroke]]))).all()
