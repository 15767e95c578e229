"""Sizes of drawings: measures of known drawings, and invariance of scales under the density of points."""

import numpy as np
import pytest

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.drawing_sizes import MEASURES, DrawingSizes
from mdnrnn.data.metadata import Metadata
from mdnrnn.data.strokes import Drawing, Start, from_polylines, resample
from tests.helpers import make_controls, make_episodes

SQUARE = [np.array([[0, 0], [40, 0], [40, 30], [0, 30], [0, 0]], float), np.array([[10, 10], [20, 10]], float)]


def make_corpus(drawings: list[Drawing], start: Start = "down") -> Corpus:
    sequences = [Sequence(*from_polylines(drawing, start)) for drawing in drawings]
    return pack(Metadata(name="x", start=start), {"train": sequences})


def zigzags(count: int = 40) -> list[Drawing]:
    """Make drawings of three zigzags in boxes of about 200 by 100."""
    rng = np.random.default_rng(0)
    steps = np.array([[x, 100 * (x // 20 % 2)] for x in range(0, 201, 20)], float)
    return [[steps * rng.uniform(0.8, 1.2, 2) + [0, 10 * k] for k in range(3)] for _ in range(count)]


def resample_strokes(drawing: Drawing, spacing: float) -> Drawing:
    return [resample(stroke, spacing)[0] for stroke in drawing]


def test_sizes_are_the_measures_of_the_drawings() -> None:
    """The rows: the whole drawing, its first stroke, its first two strokes; later rows repeat the first."""
    sizes = DrawingSizes.from_corpus(make_corpus([SQUARE]))
    rows = np.exp(np.reshape(sizes.means, (-1, MEASURES)))
    offsets = np.sqrt((40**2 + 30**2 + 40**2 + 30**2 + 10**2 + 10**2 + 10**2) / 12)
    np.testing.assert_allclose(rows[0], [40, 30, 40, offsets, (140 + 10) / 2])
    np.testing.assert_allclose(rows[1], [40, 30, 40, np.sqrt(5000 / 8), 140])
    np.testing.assert_allclose(rows[2:], np.tile(rows[0], (5, 1)))


@pytest.mark.parametrize("start", ["down", "up"])
@pytest.mark.parametrize("unfinished", [False, True])
def test_scale_is_proportional_to_the_size(start: Start, unfinished: bool) -> None:
    drawings = zigzags()
    sizes = DrawingSizes.from_corpus(make_corpus(drawings, start))
    scales = [
        sizes.scales(make_corpus([[f * s for s in each] for each in drawings], start), unfinished=unfinished)[0]
        for f in (1, 20, 1 / 20)
    ]
    np.testing.assert_allclose(scales[1], 20 * scales[0])
    np.testing.assert_allclose(scales[2], scales[0] / 20)
    assert np.exp(np.log(scales[0]).mean()) == pytest.approx(1, abs=0.02)


def test_density_of_points_is_not_taken_for_size() -> None:
    """The offsets become 30 times as small, the scale changes by less than 2%."""
    drawings = zigzags()
    sizes = DrawingSizes.from_corpus(make_corpus(drawings))
    dense = make_corpus([resample_strokes(drawing, 3.0) for drawing in drawings])
    plain, _ = sizes.scales(make_corpus(drawings))
    np.testing.assert_allclose(sizes.scales(dense)[0], plain, rtol=0.02)


def test_scale_of_a_part_of_a_drawing_is_that_of_the_drawing() -> None:
    drawings = zigzags()
    sizes = DrawingSizes.from_corpus(make_corpus(drawings))
    for strokes in (1, 2):
        scales, _ = sizes.scales(make_corpus([drawing[:strokes] for drawing in drawings]), unfinished=True)
        assert np.exp(np.log(scales).mean()) == pytest.approx(1, abs=0.02)


def test_text_lines_of_all_lengths_have_the_scale_of_their_letters() -> None:
    """The width varies by a factor of 8, the height by 20%: the scale follows the height."""
    rng = np.random.default_rng(0)
    letter = np.array([[0, 10], [3, 0], [6, 10], [8, 10]], float)
    lines = [
        [(letter + np.array([10, 0]) * i) * rng.uniform(0.9, 1.1) for i in range(int(rng.integers(2, 17)))]
        for _ in range(60)
    ]
    sizes = DrawingSizes.from_corpus(make_corpus(lines))
    scales, _ = sizes.scales(make_corpus(lines))
    assert np.abs(np.log(scales)).max() < np.log(1.5)


def test_dots_and_other_data_have_no_scale() -> None:
    sizes = DrawingSizes.from_corpus(make_corpus(zigzags()))
    assert sizes.scales(make_corpus([[np.zeros((1, 2))]]))[0].tolist() == [1.0]
    flat = DrawingSizes.from_corpus(make_corpus([[np.array([[0, 0], [length, 0]])] for length in (10, 12)]))
    assert flat.scales(make_corpus([[np.array([[0.0, 0], [110, 0]])]]))[0][0] == pytest.approx(10, rel=0.01)
    assert not DrawingSizes.from_corpus(make_controls())
    assert not DrawingSizes.from_corpus(make_episodes())
