"""Drawings one after the other in one place: the frames and their times."""

import io

import numpy as np
import pytest
from PIL import Image

from mdnrnn.render import Drawing, Style, figure_bytes, to_figure, to_morph
from mdnrnn.render.animation import MORPH_END, MORPH_FRAME
from mdnrnn.render.layout import CELL, lay_out
from mdnrnn.render.style import PALETTE


def frames(gif: bytes) -> tuple[list[np.ndarray], list[int]]:
    """The frames as colors, and their milliseconds."""
    image = Image.open(io.BytesIO(gif))
    colors, durations = [], []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        colors.append(np.asarray(image.convert("RGB"), dtype=int))
        durations.append(image.info["duration"])
    return colors, durations


def test_a_morph_goes_forth_and_back_and_stands_at_its_ends(drawings: list[Drawing]) -> None:
    colors, durations = frames(to_morph(drawings[:4], size=80))
    assert durations == [MORPH_END, MORPH_FRAME, MORPH_FRAME, MORPH_END, MORPH_FRAME, MORPH_FRAME]
    for there, back in ((1, 5), (2, 4)):
        np.testing.assert_array_equal(colors[there], colors[back])
    assert all((colors[i] != colors[i + 1]).any() for i in range(5))


@pytest.mark.parametrize("color", ["ink", "stroke"])
def test_each_frame_is_the_picture_of_its_drawing_alone(drawings: list[Drawing], color: str) -> None:
    style = Style(color=color)  # type: ignore[arg-type]
    square = [drawing for drawing in drawings if lay_out([drawing], style).width == CELL]
    assert len(square) > 2
    colors, _ = frames(to_morph(square, style, size=100))
    for frame, drawing in zip(colors, square, strict=False):
        png = figure_bytes(to_figure([drawing], style, size=100), ".png")
        expected = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=int)
        assert frame.shape == expected.shape
        assert np.abs(frame - expected).mean() < 1  # of 255: shades of gray that the palette lacks
        assert frame[0, 0].tolist() == [255, 255, 255]


def test_colors_that_the_first_drawing_lacks_are_there() -> None:
    lines = [np.array([[0.0, i], [9.0, i]]) for i in range(0, 9, 2)]
    colors, _ = frames(to_morph([lines[:1], lines], Style(color="stroke", width=0.05), size=80))
    for color in PALETTE[: len(lines)]:
        assert np.abs(colors[1] - list(bytes.fromhex(color[1:]))).max(-1).min() < 8


@pytest.mark.parametrize(("count", "frames_of_it"), [(1, 1), (2, 2)])
def test_few_drawings_make_a_morph_too(drawings: list[Drawing], count: int, frames_of_it: int) -> None:
    colors, durations = frames(to_morph(drawings[:count], size=50))
    assert len(colors) == frames_of_it
    assert durations == [MORPH_END] * count


def test_nothing_to_morph_is_told() -> None:
    with pytest.raises(ValueError, match="drawings: received none, expected one or more"):
        to_morph([])
