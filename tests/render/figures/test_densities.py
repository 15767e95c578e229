"""Figures of a mixture density network show their input numbers, without overlaps, and check their shapes."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from mdnrnn.errors import InputError
from mdnrnn.render.figures.densities import (
    OPACITY_LEVELS,
    PointCloud,
    calibrated_band,
    components_figure,
    density_figure,
    pit_figure,
    samples_figure,
)
from mdnrnn.render.figures.panels import MAX_POINTS
from mdnrnn.render.raster import figure_bytes
from tests.render.helpers import draft_bytes, png_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import Collection, LineCollection
    from matplotlib.figure import Figure

GRID = np.linspace(-3, 3, 41)
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
LABELS = {1: ("x", "y"), 2: ("z", "x1", "x2"), 3: ("t", "a", "b", "c")}


def curve(x: np.ndarray, targets: int) -> np.ndarray:
    """Return smooth targets of each x, (N, D)."""
    return np.stack([np.sin(x + target) + 2 * target for target in range(targets)], axis=1)


def cloud(count: int, targets: int = 1, seed: int = 0) -> PointCloud:
    """Return noisy points around the curve."""
    generator = np.random.default_rng(seed)
    x = generator.uniform(-3, 3, count)
    return PointCloud(x, curve(x, targets) + 0.1 * generator.standard_normal((count, targets)))


def samples(targets: int, count: int = 300) -> "Figure":
    data, sampled = cloud(count, targets), cloud(count, targets, seed=1)
    return samples_figure(data, PointCloud(GRID, curve(GRID, targets)), sampled, labels=LABELS[targets])


def components(targets: int, count: int = 300) -> "Figure":
    means = curve(GRID, targets)[:, None] + np.array([-0.5, 0, 0.5])[:, None]
    return components_figure(cloud(count, targets), GRID, mixture_weights(), means, labels=LABELS[targets])


def mixture_weights() -> np.ndarray:
    """Return weights of three components over the grid, (41, 3)."""
    scores = np.exp(GRID[:, None] * np.array([-2.0, 0.0, 1.0]))
    return scores / scores.sum(axis=1, keepdims=True)


def densities(targets: int, count: int = 60) -> "Figure":
    y = np.stack([np.linspace(-2, 2, count) + 2 * target for target in range(targets)], axis=1)
    centers = curve(GRID, targets)
    density = stats.norm.pdf(y[:, None], centers, 0.2)
    quantiles = centers + stats.norm.ppf(LEVELS)[:, None, None] * 0.2
    return density_figure(GRID, y, density, quantiles, labels=LABELS[targets])


def calibration(targets: int, count: int = 300) -> "Figure":
    values = np.random.default_rng(2).uniform(size=(count, targets))
    return pit_figure(values, coverage=[0.9] * targets, labels=LABELS[targets])


FIGURES: dict[str, Callable[..., "Figure"]] = {
    "samples": samples,
    "components": components,
    "density": densities,
    "calibration": calibration,
}
each_figure = pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)


@cache
def rendered(draw: Callable[..., "Figure"], targets: int) -> "tuple[Figure, bytes]":
    """Return a figure and its PNG; several tests use the same ones."""
    figure = draw(targets)
    return figure, figure_bytes(figure, ".png")


def axis_labels(figure: "Figure") -> list[tuple[str, str]]:
    """Return the axis labels of each panel, without color bars."""
    return [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes if axes.get_xlabel()]


def scatter_points(collection: "Collection") -> np.ndarray:
    """Return the points of a scatter plot, (N, 2)."""
    return np.asarray(collection.get_offsets())


def component_lines(axes: "Axes") -> "list[LineCollection]":
    """Return the lines of each component of a panel."""
    from matplotlib.collections import LineCollection

    return [collection for collection in axes.collections if isinstance(collection, LineCollection)]


def point_counts(lines: "LineCollection") -> list[int]:
    """Return the number of points of each line."""
    return [len(np.asarray(path.vertices)) for path in lines.get_paths()]


def test_samples_figure_shows_data_curve_and_samples_on_shared_axes() -> None:
    data, sampled = cloud(300), cloud(300, seed=1)
    baseline = PointCloud(GRID, curve(GRID, 1))
    panels = samples_figure(data, baseline, sampled).axes
    assert [axes.get_title() for axes in panels] == ["data", "squared-error network", "samples of the mixture"]
    for axes, points in zip(panels, (data, data, sampled), strict=True):
        np.testing.assert_array_equal(scatter_points(axes.collections[0]), np.column_stack([points.x, points.y]))
        assert axes.get_xlim() == panels[0].get_xlim()
        assert axes.get_ylim() == panels[0].get_ylim()
    np.testing.assert_array_equal(panels[1].get_lines()[0].get_xydata(), np.column_stack([GRID, baseline.y]))


def test_samples_figure_without_a_baseline_has_two_panels() -> None:
    points = PointCloud(np.arange(5.0), np.arange(5.0)[:, None])
    figure = samples_figure(points, None, points)
    assert [axes.get_title() for axes in figure.axes] == ["data", "samples of the mixture"]


def test_samples_figure_of_two_targets_shows_their_plane() -> None:
    figure = samples(2)
    np.testing.assert_array_equal(scatter_points(figure.axes[0].collections[0]), cloud(300, 2).y)
    np.testing.assert_array_equal(figure.axes[1].get_lines()[0].get_xydata(), curve(GRID, 2))
    assert axis_labels(figure) == [("x1", "x2"), ("x1", ""), ("x1", "")]


def test_limits_exclude_outliers_of_the_samples() -> None:
    data, sampled = cloud(2000), cloud(2000, seed=1)
    sampled.y[7] = 1e4
    low, high = samples_figure(data, PointCloud(GRID, curve(GRID, 1)), sampled).axes[0].get_ylim()
    assert low < data.y.min()
    assert data.y.max() < high < 3


@pytest.mark.parametrize("count", [1, 2500, MAX_POINTS, MAX_POINTS + 1, 100_000])
def test_scatter_draws_every_kth_of_many_points(count: int) -> None:
    data = cloud(count)
    (points, *_) = samples_figure(data, PointCloud(GRID, curve(GRID, 1)), data).axes[0].collections
    step = next(step for step in range(1, 100) if count <= step * MAX_POINTS)
    np.testing.assert_array_equal(scatter_points(points)[:, 0], data.x[::step])
    assert points.get_rasterized()


def test_opacity_of_a_component_is_its_mixture_weight() -> None:
    figure = components(2)
    weights, means = mixture_weights(), curve(GRID, 2)[:, None] + np.array([-0.5, 0, 0.5])[:, None]
    for target, axes in enumerate(figure.axes):
        for component, lines in enumerate(component_lines(axes)):
            points = np.concatenate([path.vertices for path in lines.get_paths()])
            np.testing.assert_allclose(
                points[:, 1], np.interp(points[:, 0], GRID, means[:, component, target]), atol=1e-12
            )
            opacity = np.zeros(len(GRID) - 1)
            for path, color in zip(lines.get_paths(), np.asarray(lines.get_colors()), strict=True):
                first, last = np.searchsorted(GRID, np.asarray(path.vertices)[[0, -1], 0])
                opacity[first:last] += color[3]
            expected = (weights[:-1, component] + weights[1:, component]) / 2
            np.testing.assert_allclose(opacity, expected, atol=0.5 / OPACITY_LEVELS + 1e-12)


def test_component_lines_have_gaps_at_jumps() -> None:
    means = np.where(GRID < 0.05, -1.0, 1.0) + 0.01 * GRID
    figure = components_figure(cloud(9), GRID, np.ones((41, 1)), means[:, None, None])
    ((lines,),) = [component_lines(axes) for axes in figure.axes]
    assert point_counts(lines) == [21, 20]


def test_density_is_a_map_with_y_upward() -> None:
    y = np.linspace(0, 3, 4)[:, None]
    density = np.arange(12.0).reshape(4, 3, 1)
    axes, bar = density_figure(np.array([0.0, 1.0, 2.0]), y, density).axes
    (mesh,) = axes.collections
    np.testing.assert_array_equal(mesh.get_array(), density[..., 0])
    low, high = axes.get_ylim()
    assert (low, high) == (-0.5, 3.5)
    assert bar.get_ylabel().startswith("density p(y | x)\nsquare-root scale, clipped at ")


def test_map_is_darkest_at_the_highest_density() -> None:
    density = np.full((4, 3, 1), 0.01)
    density[3, 0] = 1.0
    figure = density_figure(np.arange(3.0), np.arange(4.0)[:, None], density)
    picture = png_pixels(figure_bytes(figure, ".png"), "L")
    positions = [(0, 3), (0, 0), (2, 3), (2, 0)]
    pixels = figure.axes[0].transData.transform(positions).astype(int)
    top_left, *others = [picture[picture.shape[0] - 1 - y, x] for x, y in pixels]
    assert top_left < 80
    assert min(others) > 200


def test_quantiles_are_lines_with_their_levels_in_the_legend() -> None:
    figure = densities(2)
    for target, axes in enumerate(figure.axes[:2]):
        lines = {tuple(np.round(np.asarray(line.get_ydata()), 9)) for line in axes.get_lines()}
        expected = curve(GRID, 2)[:, target] + stats.norm.ppf(LEVELS)[:, None] * 0.2
        assert lines == {tuple(values) for values in np.round(expected, 9)}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["50%", "25% and 75%", "5% and 95%"]


def test_bars_are_the_histogram_with_total_area_1() -> None:
    values = np.random.default_rng(3).beta(2, 1, size=(500, 1))
    values[:3] = [[0.0], [1.0], [1 + 1e-7]]
    (axes,) = pit_figure(values).axes
    heights = [bar.get_height() for bar in axes.containers[0]]
    expected, _ = np.histogram(np.clip(values, 0, 1), bins=20, range=(0, 1), density=True)
    np.testing.assert_allclose(heights, expected)
    assert np.mean(heights) == pytest.approx(1)
    assert axes.get_ylim()[1] > max(heights)


@pytest.mark.parametrize("count", [0, 1, 40, 2500, 100_000])
def test_band_is_the_central_interval_of_the_binomial_distribution(count: int) -> None:
    assert calibrated_band(count) == tuple(stats.binom.ppf([0.005, 0.995], count, 1 / 20))


def test_band_is_drawn_around_density_1() -> None:
    (axes,) = pit_figure(np.full((400, 1), 0.5)).axes
    band = axes.patches[-1].get_extents().transformed(axes.transData.inverted())
    low, high = np.array(calibrated_band(400)) * 20 / 400
    assert (band.y0, band.y1) == pytest.approx((low, high))
    (level,) = axes.get_lines()
    assert list(np.asarray(level.get_ydata())) == [1, 1]


def test_coverage_is_in_the_title() -> None:
    figure = pit_figure(np.full((5, 2), 0.5), coverage=[0.897, 1.0], labels=("z", "$a$", "b"))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["$a$: 90% intervals hold 89.7%", "b: 90% intervals hold 100.0%"]
    assert figure_bytes(figure, ".png")


@pytest.mark.parametrize("targets", [1, 2, 3])
def test_each_target_has_a_panel(targets: int) -> None:
    x, *y = LABELS[targets]
    assert axis_labels(components(targets)) == [(x, name) for name in y]
    assert axis_labels(densities(targets)) == [(x, name) for name in y]
    assert [name for name, _ in axis_labels(calibration(targets))] == [
        f"cumulative probability of {name}" for name in y
    ]
    maps = densities(targets).axes[targets:]
    assert [axes.get_ylabel().split("\n")[0] for axes in maps] == [f"density p({name} | {x})" for name in y]


@each_figure
@pytest.mark.parametrize("targets", [1, 2])
def test_parts_of_the_figure_do_not_overlap_and_are_inside_the_figure(
    draw: Callable[..., "Figure"], targets: int
) -> None:
    figure, _ = rendered(draw, targets)
    outer = figure.bbox
    titles = [text for text in figure.texts if text.get_text()]
    boxes = [artist.get_tightbbox() for artist in (*figure.axes, *figure.legends, *titles)]
    assert len(boxes) > len(figure.axes) or draw is samples
    for number, box in enumerate(boxes):
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= outer.x1
        assert box.y1 <= outer.y1
        assert not any(box.overlaps(other) for other in boxes[:number] if other is not None)


@each_figure
@pytest.mark.parametrize("count", [0, 1])
def test_figure_of_no_points_and_of_one_point(draw: Callable[..., "Figure"], count: int) -> None:
    assert figure_bytes(draw(1, count=count), ".png").startswith(b"\x89PNG")


@pytest.mark.parametrize("nonfinite", [np.nan, np.inf, -np.inf])
def test_nonfinite_values_are_left_out(nonfinite: float) -> None:
    data = cloud(50)
    data.x[3] = data.y[4] = nonfinite
    line = curve(GRID, 1)
    line[5:7] = nonfinite
    figure = samples_figure(data, PointCloud(GRID, line), data)
    assert len(scatter_points(figure.axes[0].collections[0])) == 48
    weights, means = np.ones((41, 1)), line[:, None]
    weights[20] = nonfinite
    parts = components_figure(data, GRID, weights, means)
    (lines,) = component_lines(parts.axes[0])
    assert point_counts(lines) == [5, 13, 20]
    density = np.full((6, 41, 1), 0.5)
    density[2, 3] = nonfinite
    maps = density_figure(GRID, np.arange(6.0)[:, None], density, np.full((5, 41, 1), nonfinite))
    calibrated = pit_figure(np.array([[0.5], [nonfinite]]))
    assert sum(bar.get_height() for bar in calibrated.axes[0].containers[0]) == 20
    for each in (figure, parts, maps, calibrated):
        assert draft_bytes(each, ".png")


@each_figure
@pytest.mark.parametrize("extension", [".png", ".svg"])
def test_equal_numbers_have_equal_files(draw: Callable[..., "Figure"], extension: str) -> None:
    first = rendered(draw, 1)[1] if extension == ".png" else figure_bytes(draw(1), extension)
    assert first == figure_bytes(draw(1), extension)


X, Y = np.arange(4.0), np.arange(4.0)[:, None]
VALID = PointCloud(X, Y)
INVALID: dict[str, tuple[Callable[[], object], str]] = {
    "baseline targets": (
        lambda: samples_figure(VALID, PointCloud(X, np.ones((4, 2))), VALID),
        r"baseline\.y: received shape \(4, 2\), expected \(N = 4, D = 1\)",
    ),
    "three targets": (
        lambda: samples_figure(*[PointCloud(X, np.ones((4, 3)))] * 3),
        r"data\.y: received 3 target features, expected 1 or 2",
    ),
    "one-dimensional targets": (
        lambda: samples_figure(PointCloud(X, X), VALID, VALID),
        r"data\.y: received shape \(4,\), expected \(N = 4, D\)",
    ),
    "no targets": (
        lambda: pit_figure(np.empty((4, 0))),
        r"values: received shape \(4, 0\), expected \(N, D\)",
    ),
    "weights": (
        lambda: components_figure(VALID, X, np.ones((5, 2)), np.ones((4, 2, 1))),
        r"weights: received shape \(5, 2\), expected \(G = 4, K\)",
    ),
    "means": (
        lambda: components_figure(VALID, X, np.ones((4, 2)), np.ones((4, 3, 1))),
        r"means: received shape \(4, 3, 1\), expected \(G = 4, K = 2, D = 1\)",
    ),
    "transposed density": (
        lambda: density_figure(X, np.arange(5.0)[:, None], np.ones((4, 5, 1))),
        r"density: received shape \(4, 5, 1\), expected \(H = 5, G = 4, D = 1\)",
    ),
    "quantiles": (
        lambda: density_figure(X, Y, np.ones((4, 4, 1)), np.ones((2, 4, 1))),
        r"quantiles: received shape \(2, 4, 1\), expected \(Q = 5, G = 4, D = 1\)",
    ),
    "decreasing grid": (
        lambda: density_figure(X, -Y, np.ones((4, 4, 1))),
        r"y: received values that do not increase or are not finite, expected increasing numbers",
    ),
    "probabilities": (
        lambda: pit_figure(Y),
        r"values: received 0 to 3, expected 0 to 1",
    ),
    "labels": (
        lambda: pit_figure(Y / 4, labels=["y"]),
        r"labels: received 1, expected 2, for x and each target",
    ),
}


@pytest.mark.parametrize(("draw", "message"), INVALID.values(), ids=INVALID)
def test_arrays_of_another_shape_are_errors_with_their_name(draw: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        draw()


def test_matplotlib_is_imported_by_the_first_figure_and_pyplot_never() -> None:
    program = """
import sys
import numpy as np
from mdnrnn.render.figures.densities import pit_figure
assert "matplotlib" not in sys.modules
pit_figure(np.full((3, 1), 0.5))
assert "matplotlib" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
