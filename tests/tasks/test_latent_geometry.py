"""Spherical interpolation, grids, serpentine order and projection, against closed forms and eigenvectors."""

from itertools import pairwise

import numpy as np
import pytest

from mdnrnn.errors import InputError
from mdnrnn.tasks.latent_geometry import interpolate_grid, lerp, project_to_plane, serpentine_order, slerp


def random_pairs(seed: int = 0, n: int = 50, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return n pairs of random vectors, two arrays (n, width)."""
    first, second = np.random.default_rng(seed).normal(size=(2, n, width))
    return first, second


def test_slerp_in_the_plane_is_an_arc_at_constant_speed() -> None:
    t = np.linspace(0, 1, 21)
    for angle in (1e-9, 1e-5, 0.3, 2.0, 3.1):
        points = slerp(np.array([2.0, 0.0]), 2 * np.array([np.cos(angle), np.sin(angle)]), t)
        np.testing.assert_allclose(points, 2 * np.stack([np.cos(t * angle), np.sin(t * angle)], 1), rtol=0, atol=1e-11)


def test_slerp_starts_at_a_ends_at_b_and_is_symmetric() -> None:
    a, b = random_pairs()
    np.testing.assert_array_equal(slerp(a, b, np.zeros(len(a))), a)
    np.testing.assert_array_equal(slerp(a, b, 1.0), b)
    np.testing.assert_allclose(slerp(a, b, 0.3), slerp(b, a, 0.7), rtol=1e-12)


def test_slerp_between_vectors_of_equal_length_keeps_the_length_and_turns_by_equal_angles() -> None:
    a, b = (3 * vector / np.linalg.norm(vector, axis=1, keepdims=True) for vector in random_pairs(1))
    points = slerp(a, b, np.linspace(0, 1, 9)[:, None])
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 3, rtol=1e-12)
    angles = np.array([np.arccos((p * q).sum(-1) / 9) for p, q in pairwise(points)])
    np.testing.assert_allclose(angles, np.broadcast_to(np.arccos((a * b).sum(-1) / 9) / 8, angles.shape), rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-7, 1e-5])
def test_slerp_is_linear_for_small_angles(size: float) -> None:
    a, b = random_pairs(2)
    b = a + size * b
    np.testing.assert_allclose(slerp(a, b, 0.3), 0.7 * a + 0.3 * b, rtol=0, atol=10 * size**2 + 1e-14)


def test_slerp_is_linear_for_opposite_vectors_and_zero() -> None:
    a = random_pairs(3)[0]
    for b in (-a, -2 * a, 0 * a):
        np.testing.assert_allclose(slerp(a, b, 0.25), 0.75 * a + 0.25 * b, atol=1e-14)


def test_grid_interpolates_down_the_sides_and_then_across() -> None:
    corners = random_pairs(4, n=4)[0]
    a, b, c, d = corners
    grid = interpolate_grid(corners, 4, 6).reshape(4, 6, -1)
    down, across = np.linspace(0, 1, 4), np.linspace(0, 1, 6)
    np.testing.assert_allclose(grid[:, 0], slerp(a, c, down))
    np.testing.assert_allclose(grid[:, -1], slerp(b, d, down))
    for row in grid:
        np.testing.assert_allclose(row, slerp(row[0], row[-1], across))


def test_grid_of_two_vectors_is_one_row() -> None:
    ends = random_pairs(5, n=2)[0]
    np.testing.assert_allclose(interpolate_grid(ends, 1, 5), slerp(ends[0], ends[1], np.linspace(0, 1, 5)))
    np.testing.assert_allclose(interpolate_grid(ends, 1, 3, lerp)[1], ends.mean(0))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (4, 3), (5, 2)])
def test_serpentine_order_visits_every_cell_once_in_steps_to_adjacent_cells(rows: int, columns: int) -> None:
    cells = serpentine_order(rows, columns)
    assert sorted(cells) == list(range(rows * columns))
    positions = [divmod(cell, columns) for cell in cells]
    assert all(abs(r - s) + abs(c - d) == 1 for (r, c), (s, d) in pairwise(positions))


def test_positions_are_projections_on_the_eigenvectors_of_the_covariance() -> None:
    latents = np.random.default_rng(0).normal(size=(40, 6)) * [1, 5, 2, 1, 0.5, 3] + 7
    projection = project_to_plane(latents)
    values, vectors = np.linalg.eigh(np.cov(latents.T))
    expected = (latents - latents.mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(projection.positions), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(projection.explained_variance_ratio, values[[-1, -2]] / values.sum())
    assert projection.latents is latents


def test_positions_are_invariant_to_rotation_and_translation_and_follow_the_order() -> None:
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(30, 5)) * [4, 3, 2, 1, 1]
    rotation, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    projection, moved = project_to_plane(latents), project_to_plane(latents @ rotation + 3)
    np.testing.assert_allclose(moved.positions, projection.positions, atol=1e-9)
    np.testing.assert_allclose(moved.explained_variance_ratio, projection.explained_variance_ratio)
    order = rng.permutation(30)
    np.testing.assert_allclose(project_to_plane(latents[order]).positions, projection.positions[order], atol=1e-9)


@pytest.mark.parametrize(
    ("latents", "positions", "explained_variance_ratio"),
    [
        (np.array([[3.0], [1.0], [8.0]]), [[-1, 0], [-3, 0], [4, 0]], [1, 0]),
        (np.array([[0.0, 0, 0], [0, 2, 0]]), [[1, 0], [-1, 0]], [1, 0]),
        (np.full((3, 4), 2.5), [[0, 0]] * 3, [0, 0]),
    ],
    ids=["one number", "two drawings", "equal latents"],
)
def test_latents_that_span_no_plane_have_positions(
    latents: np.ndarray, positions: list[list[float]], explained_variance_ratio: list[float]
) -> None:
    projection = project_to_plane(latents)
    np.testing.assert_allclose(projection.positions, positions, atol=1e-12)
    np.testing.assert_allclose(projection.explained_variance_ratio, explained_variance_ratio, atol=1e-12)


@pytest.mark.parametrize("shape", [(5,), (5, 0), (1, 4)], ids=str)
def test_latents_of_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(M, Z\) with 2 or more drawings"):
        project_to_plane(np.zeros(shape))
