"""What is done with latents: against closed forms, brute force, and the model's own drawings."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import mdnrnn
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.errors import InputError
from mdnrnn.events import END
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.configs import MDNRNNConfig, SketchRNNConfig
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.tasks.latent_space import (
    combine,
    find_nearest,
    interpolate,
    load_drawings,
    project_to_plane,
    reconstruct,
    save_map,
    select,
    serpentine_order,
    slerp,
)
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import random_corpus

SMALL = SketchRNNConfig(encoder=8, hidden=16, latent=4, components=3)
BRIEF = SequenceTrainConfig(steps=3, batch_size=16, validations=1, device="cpu")


def trained(corpus: Corpus, folder: Path, preset: str = "sketch-small", model: Any = SMALL) -> Run:
    native.write(corpus, folder / "data.npz")
    mdnrnn.train(PRESETS[preset], str(folder / "data.npz"), folder / "run", model=model, training=BRIEF)
    return mdnrnn.load(folder / "run")


@pytest.fixture(scope="module")
def run(doodles: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of 12 classes, with 12 drawings to test it on, one of each."""
    return trained(doodles, tmp_path_factory.mktemp("sketch"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Of no classes, on random drawings of 1 to 8 steps."""
    return trained(random_corpus([1, 5, 8, 3, 6, 2]), tmp_path_factory.mktemp("plain"))


@pytest.fixture
def drawings(run: Run) -> Corpus:
    return run.open_data().select_split("test")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `Run.generate` is asked for, call by call."""
    calls: list[dict[str, Any]] = []
    generate = Run.generate

    def spy(run: Run, n: int, **options: Any) -> Corpus:
        calls.append(options)
        return generate(run, n, **options)

    monkeypatch.setattr(Run, "generate", spy)
    return calls


def assert_same(one: Sequence, other: Sequence) -> None:
    np.testing.assert_array_equal(one.motion, other.motion)
    np.testing.assert_array_equal(one.event, other.event)
    assert one.label == other.label


def pairs(seed: int = 0, n: int = 50, width: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Random vectors (n, width) and others, of any length."""
    one, other = np.random.default_rng(seed).normal(size=(2, n, width))
    return one, other


def test_slerp_in_the_plane_is_the_arc_at_constant_speed() -> None:
    t = np.linspace(0, 1, 21)
    for end in (1e-9, 1e-5, 0.3, 2.0, 3.1):
        found = slerp(np.array([2.0, 0.0]), 2 * np.array([np.cos(end), np.sin(end)]), t)
        np.testing.assert_allclose(found, 2 * np.stack([np.cos(t * end), np.sin(t * end)], 1), rtol=0, atol=1e-11)


def test_slerp_begins_and_ends_where_it_should_and_runs_the_same_both_ways() -> None:
    a, b = pairs()
    np.testing.assert_array_equal(slerp(a, b, np.zeros(len(a))), a)
    np.testing.assert_array_equal(slerp(a, b, 1.0), b)
    np.testing.assert_allclose(slerp(a, b, 0.3), slerp(b, a, 0.7), rtol=1e-12)


def test_slerp_between_vectors_of_one_length_keeps_it_and_turns_by_the_same_angle() -> None:
    a, b = (3 * side / np.linalg.norm(side, axis=1, keepdims=True) for side in pairs(1))
    way = slerp(a, b, np.linspace(0, 1, 9)[:, None])
    np.testing.assert_allclose(np.linalg.norm(way, axis=-1), 3, rtol=1e-12)
    angles = np.array([np.arccos((p * q).sum(-1) / 9) for p, q in pairwise(way)])
    np.testing.assert_allclose(angles, np.broadcast_to(np.arccos((a * b).sum(-1) / 9) / 8, angles.shape), rtol=1e-6)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-7, 1e-5])
def test_slerp_of_a_tiny_angle_is_linear(size: float) -> None:
    a, b = pairs(2)
    b = a + size * b
    np.testing.assert_allclose(slerp(a, b, 0.3), 0.7 * a + 0.3 * b, rtol=0, atol=10 * size**2 + 1e-14)


def test_slerp_is_straight_between_opposite_vectors_and_from_nothing() -> None:
    a = pairs(3)[0]
    for b in (-a, -2 * a, 0 * a):
        np.testing.assert_allclose(slerp(a, b, 0.25), 0.75 * a + 0.25 * b, atol=1e-14)


def test_a_row_of_reconstructions_begins_with_the_drawing_and_has_one_a_temperature(run: Run, drawings: Corpus) -> None:
    rows = reconstruct(run, drawings, (0.1, 0.9), seed=3)
    assert len(rows) == 3 * len(drawings)
    for i in range(len(drawings)):
        assert_same(rows[3 * i], drawings[i])
        labels = [run.config.metadata.classes[drawings[i].label or 0]]
        latents = run.encode(select(drawings, [i]))
        for column, temperature in ((1, 0.1), (2, 0.9)):
            sampling = Sampling(temperature=temperature)
            expected = run.generate(1, labels=labels, latents=latents, sampling=sampling, seed=3)
            assert_same(rows[3 * i + column], expected[0])


def test_a_drawing_is_reconstructed_alike_whatever_stands_beside_it(run: Run, drawings: Corpus) -> None:
    all_of_them = reconstruct(run, drawings, (0.5,))
    for i in (0, 5):
        alone = reconstruct(run, select(drawings, [i]), (0.5,))
        assert_same(alone[1], all_of_them[2 * i + 1])


@pytest.mark.parametrize("count", [2, 4])
def test_an_interpolation_ends_in_the_reconstructions_of_its_ends(run: Run, drawings: Corpus, count: int) -> None:
    ends = select(drawings, [3, 7, 1, 9][:count])
    rows = 1 if count == 2 else 3
    grid = interpolate(run, ends, columns=5, rows=rows, temperature=0.4, seed=2)
    assert len(grid) == 5 * rows
    expected = reconstruct(run, ends, (0.4,), seed=2)
    corners = [0, 4, 10, 14][:count]
    for i, corner in enumerate(corners):
        assert_same(grid[corner], expected[2 * i + 1])


def test_the_sides_of_a_grid_are_the_ways_between_its_corners_and_its_rows_between_its_sides(
    run: Run, drawings: Corpus, asked: list[dict[str, Any]]
) -> None:
    ends = select(drawings, [3, 7, 1, 9])
    interpolate(run, ends, rows=4, columns=6)
    latents = np.concatenate([call["latents"] for call in asked]).reshape(4, 6, -1)
    a, b, c, d = run.encode(ends)
    down, across = np.linspace(0, 1, 4), np.linspace(0, 1, 6)
    np.testing.assert_allclose(latents[:, 0], slerp(a, c, down), atol=1e-6)
    np.testing.assert_allclose(latents[:, -1], slerp(b, d, down), atol=1e-6)
    np.testing.assert_allclose(latents[0], slerp(a, b, across), atol=1e-6)
    np.testing.assert_allclose(latents[-1], slerp(c, d, across), atol=1e-6)
    np.testing.assert_allclose(latents[1], slerp(latents[1, 0], latents[1, -1], across), atol=1e-6)


def test_labels_are_blended_in_proportion(run: Run, drawings: Corpus, asked: list[dict[str, Any]]) -> None:
    ends = select(drawings, [3, 7, 3, 9])
    interpolate(run, ends, rows=3, columns=5)
    weights = np.concatenate([call["labels"] for call in asked]).reshape(3, 5, -1)
    one = np.eye(12)[np.asarray(ends.label)]
    np.testing.assert_allclose(weights[1, 1], 0.375 * (one[0] + one[2]) + 0.125 * (one[1] + one[3]), atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_cells_with_one_latent_are_one_drawing(run: Run, drawings: Corpus) -> None:
    """The noise of a grid is the same in every cell."""
    grid = interpolate(run, select(drawings, [4, 4]), columns=4, temperature=1.0)
    for i in range(4):
        assert_same(grid[i], grid[0])


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (4, 3), (5, 2)])
def test_a_walk_visits_each_cell_once_going_to_neighbours(rows: int, columns: int) -> None:
    cells = serpentine_order(rows, columns)
    assert sorted(cells) == list(range(rows * columns))
    positions = [divmod(cell, columns) for cell in cells]
    assert all(abs(r - s) + abs(c - d) == 1 for (r, c), (s, d) in pairwise(positions))


def test_a_drawing_less_itself_changes_nothing(run: Run, drawings: Corpus) -> None:
    both = combine(run, select(drawings, [2, 2, 8]), [1, -1, 1], (0.3, 0.6))
    expected = reconstruct(run, select(drawings, [8]), (0.3, 0.6))
    assert len(both) == 5
    for i, index in enumerate((2, 2, 8)):
        assert_same(both[i], drawings[index])
    for i in (1, 2):
        assert_same(both[2 + i], expected[i])


def test_the_label_of_a_combination_is_the_sum_without_what_is_negative(
    run: Run, drawings: Corpus, asked: list[dict[str, Any]]
) -> None:
    labels = np.asarray(drawings.label)
    one = np.eye(12)[labels]
    cases = {
        ((0, 1, 2), (1, -1, 1)): (one[0] + one[2]) / 2,
        ((0, 1, 0), (1, -1, 1)): one[0],
        ((0, 1, 1), (1, -1, 1)): one[0],
        ((5, 5), (1, -1)): one[5],
    }
    for (indices, signs), expected in cases.items():
        asked.clear()
        combine(run, select(drawings, indices), signs, (0.2,))
        np.testing.assert_allclose(asked[0]["labels"], expected[None])
        np.testing.assert_allclose(
            asked[0]["latents"][0], np.array(signs) @ run.encode(select(drawings, indices)), atol=1e-6
        )


def test_the_nearest_are_those_of_brute_force(run: Run, drawings: Corpus) -> None:
    latents = run.encode(drawings)
    apart = cdist(latents, latents)
    np.fill_diagonal(apart, np.inf)
    found = find_nearest(run, [0, 4, 11], drawings, 5)
    np.testing.assert_allclose(found.distances, np.sort(apart[[0, 4, 11]], axis=1)[:, :5], atol=1e-6)
    for query, row, distances in zip((0, 4, 11), found.indices, found.distances, strict=True):
        np.testing.assert_allclose(apart[query, row], distances, atol=1e-6)
        assert query not in row
        assert len(set(row)) == 5


def test_a_copy_is_nearest_at_no_distance(run: Run, drawings: Corpus) -> None:
    queries = select(drawings, [6, 1])
    found = find_nearest(run, queries, drawings, 2)
    assert found.indices[:, 0].tolist() == [6, 1]
    np.testing.assert_allclose(found.distances[:, 0], 0, atol=1e-5)
    twice = select(drawings, [*range(12), 6])
    found = find_nearest(run, [6], twice, 1)
    assert found.indices.tolist() == [[12]]
    np.testing.assert_allclose(found.distances, 0, atol=1e-5)


def test_places_are_those_of_the_eigenvectors_of_the_covariance() -> None:
    latents = np.random.default_rng(0).normal(size=(40, 6)) * [1, 5, 2, 1, 0.5, 3] + 7
    found = project_to_plane(latents)
    values, vectors = np.linalg.eigh(np.cov(latents.T))
    expected = (latents - latents.mean(0)) @ vectors[:, [-1, -2]]
    np.testing.assert_allclose(np.abs(found.positions), np.abs(expected), atol=1e-9)
    np.testing.assert_allclose(found.explained_variance_ratio, values[[-1, -2]] / values.sum())
    assert found.latents is latents


def test_places_stay_when_latents_are_turned_and_moved_and_follow_them_when_reordered() -> None:
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(30, 5)) * [4, 3, 2, 1, 1]
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    found = project_to_plane(latents)
    moved = project_to_plane(latents @ turn + 3)
    np.testing.assert_allclose(moved.positions, found.positions, atol=1e-9)
    np.testing.assert_allclose(moved.explained_variance_ratio, found.explained_variance_ratio)
    order = rng.permutation(30)
    np.testing.assert_allclose(project_to_plane(latents[order]).positions, found.positions[order], atol=1e-9)


@pytest.mark.parametrize(
    ("latents", "positions", "explained_variance_ratio"),
    [
        (np.array([[3.0], [1.0], [8.0]]), [[-1, 0], [-3, 0], [4, 0]], [1, 0]),
        (np.array([[0.0, 0, 0], [0, 2, 0]]), [[1, 0], [-1, 0]], [1, 0]),
        (np.full((3, 4), 2.5), [[0, 0]] * 3, [0, 0]),
    ],
    ids=["on a line", "two", "all the same"],
)
def test_latents_that_span_no_plane_have_places_too(
    latents: np.ndarray, positions: list[list[float]], explained_variance_ratio: list[float]
) -> None:
    found = project_to_plane(latents)
    np.testing.assert_allclose(found.positions, positions, atol=1e-12)
    np.testing.assert_allclose(found.explained_variance_ratio, explained_variance_ratio, atol=1e-12)


def test_the_npz_of_a_map_holds_its_arrays(run: Run, drawings: Corpus, tmp_path: Path) -> None:
    found = save_map(run, drawings, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as arrays:
        assert set(arrays) == {"latents", "positions", "explained_variance_ratio", "label"}
        np.testing.assert_array_equal(arrays["latents"], run.encode(drawings))
        np.testing.assert_array_equal(arrays["positions"], found.positions)
        np.testing.assert_array_equal(arrays["label"], np.asarray(drawings.label))


def test_drawings_of_one_step_are_like_any_other(plain: Run, tmp_path: Path) -> None:
    drawings = plain.open_data().select_split("test")
    assert drawings.lengths.tolist() == [1, 5, 8, 3, 6, 2]
    rows = reconstruct(plain, drawings, (0.2,))
    assert rows.label is None
    assert_same(rows[0], drawings[0])
    assert np.isfinite(find_nearest(plain, [0], drawings, 5).distances).all()
    assert len(interpolate(plain, select(drawings, [0, 2]), columns=3)) == 3
    assert len(combine(plain, select(drawings, [0, 1, 2]), [1, 1, -1])) == 6
    save_map(plain, drawings, tmp_path / "map.svg")


def test_drawings_off_the_runs_grid_are_kept_as_they_are(plain: Run) -> None:
    smooth = random_corpus([4, 5], bin_width=None)
    smooth = replace(smooth, motion=smooth.motion + 0.25)
    rows = reconstruct(plain, smooth, (0.2,))
    rows.check()
    assert rows.metadata.bin_width is None
    np.testing.assert_array_equal(rows[0].motion, smooth[0].motion)
    np.testing.assert_array_equal(rows[1].motion, np.rint(rows[1].motion))


def test_drawings_are_of_a_split_or_of_a_file_or_of_a_class(run: Run, doodles: Corpus, tmp_path: Path) -> None:
    assert len(load_drawings(run)) == 12
    assert_same(load_drawings(run, split="valid")[3], doodles.select_split("valid")[3])
    data = str(run.folder.parent / "data.npz")
    assert len(load_drawings(run, data)) == len(doodles)
    assert_same(load_drawings(run, data)[17], doodles[17])
    assert len(load_drawings(run, data, "test")) == 12
    cats = load_drawings(run, data, label="cat")
    assert set(np.asarray(cats.label).tolist()) == {doodles.metadata.class_index("cat")}
    assert len(cats) == 20
    native.write(random_corpus([3, 4]), tmp_path / "bare.npz")
    bare = load_drawings(run, str(tmp_path / "bare.npz"), label="cat")
    assert [bare.metadata.classes[bare[i].label or 0] for i in range(len(bare))] == ["cat"] * 6


def test_drawings_of_a_file_are_in_its_order(plain: Run, tmp_path: Path) -> None:
    lines = [json.dumps({"drawing": [[[0, 1, i], [0, 0, 2 * i]]], "key_id": str(i)}) for i in range(40)]
    (tmp_path / "x.ndjson").write_text("\n".join(lines))
    found = load_drawings(plain, str(tmp_path / "x.ndjson"))
    assert [found[i].motion[-1].tolist() for i in range(len(found))] == [[i - 1, 2 * i] for i in range(40)]


def test_data_that_number_the_classes_otherwise_are_drawn_as_what_they_are(run: Run, drawings: Corpus) -> None:
    names = drawings.metadata.classes
    other = replace(
        drawings, metadata=replace(drawings.metadata, classes=names[::-1]), label=11 - np.asarray(drawings.label)
    )
    one, two = (reconstruct(run, corpus, (0.4,)) for corpus in (drawings, other))
    for i in range(len(one)):
        assert_same(one[i], two[i])


ONE, TWO, THREE, FOUR = ([0], [0, 1], [0, 1, 2], [0, 1, 2, 3])
WRONG: dict[str, tuple[Callable[[Run, Corpus], object], str]] = {
    "three ends": (lambda run, d: interpolate(run, select(d, THREE)), "3 drawings were given to interpolate"),
    "one end": (lambda run, d: interpolate(run, select(d, ONE)), "1 drawings were given"),
    "rows of two": (lambda run, d: interpolate(run, select(d, TWO), rows=3), "3 rows were asked for between 2"),
    "a row of four": (lambda run, d: interpolate(run, select(d, FOUR), rows=1), "1 rows were asked for between 4"),
    "no rows": (lambda run, d: interpolate(run, select(d, FOUR), rows=0), "0 rows were asked for"),
    "one column": (lambda run, d: interpolate(run, select(d, TWO), columns=1), "columns is 1; expected 2 or more"),
    "no temperature": (lambda run, d: reconstruct(run, d, ()), "no temperature was given"),
    "temperature below 0": (lambda run, d: reconstruct(run, d, (-1,)), "temperature: received -1, expected a number >= 0"),
    "seed below 0": (lambda run, d: reconstruct(run, d, seed=-1), "seed: received -1"),
    "signs of others": (lambda run, d: combine(run, select(d, TWO), [1]), "signs are [1]; expected 1 or -1 for each"),
    "signs that are none": (lambda run, d: combine(run, select(d, TWO), [1, 2]), "signs are [1, 2]; expected 1 or -1"),
    "one term": (lambda run, d: combine(run, select(d, ONE), [1]), "expected 2 or more, one of them added"),
    "nothing added": (lambda run, d: combine(run, select(d, TWO), [-1, -1]), "one of them added"),
    "too many neighbors": (lambda run, d: find_nearest(run, [0], d, 12), "12 neighbors were asked for"),
    "no neighbors": (lambda run, d: find_nearest(run, [0], d, 0), "0 neighbors were asked for"),
    "neighbors of none": (lambda run, d: find_nearest(run, [12], d), "drawing 12 was asked for; expected 0 to 11"),
    "beyond the end": (lambda run, d: select(d, [12]), "drawing 12 was asked for; expected 0 to 11"),
    "before the beginning": (lambda run, d: select(d, [-1]), "drawing -1 was asked for"),
    "nothing select": (lambda run, d: select(d, []), "holds no sequence"),
    "a map of one": (lambda run, d: save_map(run, select(d, ONE), "x.svg"), "received shape (1, 4), expected (M, Z)"),
    "a map of none": (lambda run, d: save_map(run, d, "x.svg", 0), "0 drawings were asked for"),
    "a map in sound": (lambda run, d: save_map(run, d, "x.wav"), "received extension '.wav', expected one of .svg"),
    "latents in one row": (lambda run, d: project_to_plane(np.zeros(5)), "received shape (5,), expected (M, Z)"),
    "latents of no width": (lambda run, d: project_to_plane(np.zeros((5, 0))), "received shape (5, 0), expected"),
    "latents of other width": (
        lambda run, d: run.generate(2, latents=np.zeros((2, 5))), "latents: received shape (2, 5), expected (2, 4)",
    ),
    "unknown label": (lambda run, d: load_drawings(run, label="unicorn"), "unknown label 'unicorn'"),
    "unknown split": (lambda run, d: load_drawings(run, split="dev"), "split 'dev' is not in doodles"),
}  # fmt: skip


@pytest.mark.parametrize(("use", "complaint"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_told(
    use: Callable[[Run, Corpus], object],
    complaint: str,
    run: Run,
    drawings: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(complaint)):
        use(run, drawings)
    assert not list(tmp_path.iterdir())


def test_data_that_the_run_cannot_encode_are_told(run: Run, plain: Run, tmp_path: Path) -> None:
    three = [Sequence(np.ones((4, 3), np.int16), np.array([0, 0, 0, END]))]
    native.write(pack(Metadata(name="three"), {"test": three}), tmp_path / "three.npz")
    native.write(random_corpus([3, 4]), tmp_path / "bare.npz")
    some = replace(random_corpus([3, 4], classes=("unicorn", "cat")), splits={"test": (0, 6)})
    native.write(some, tmp_path / "some.npz")
    for name, label, complaint in (
        ("three", None, "three has 3 features and 0 inputs per step; the run expects 2 and 0"),
        ("bare", None, "random has no classes; expected some of butterfly"),
        ("some", None, "classes that the run does not know: unicorn"),
    ):
        with pytest.raises(InputError, match=re.escape(complaint)):
            load_drawings(run, str(tmp_path / f"{name}.npz"), label=label)
    with pytest.raises(InputError, match="label 'cat': random has no labels; omit the label"):
        load_drawings(plain, label="cat")


def test_a_class_of_which_there_is_no_drawing_is_told(run: Run, drawings: Corpus, tmp_path: Path) -> None:
    first = run.config.metadata.classes[int(np.asarray(drawings.label)[0])]
    native.write(select(drawings, list(range(1, 12))), tmp_path / "rest.npz")
    with pytest.raises(InputError, match=f"doodles has no drawing of '{first}' among these 11; choose another"):
        load_drawings(run, str(tmp_path / "rest.npz"), label=first)


def test_a_run_without_an_encoder_is_told(doodles: Corpus, tmp_path: Path) -> None:
    unable = trained(doodles, tmp_path, "stroke", MDNRNNConfig(hidden=8, components=2))
    drawings = unable.open_data().select_split("test")
    for use in (
        lambda: load_drawings(unable),
        lambda: reconstruct(unable, drawings),
        lambda: interpolate(unable, select(drawings, TWO)),
        lambda: combine(unable, select(drawings, TWO), [1, 1]),
        lambda: find_nearest(unable, [0], drawings),
        lambda: save_map(unable, drawings, tmp_path / "map.svg"),
    ):
        with pytest.raises(InputError, match="received one without an encoder, expected a variational one"):
            use()
