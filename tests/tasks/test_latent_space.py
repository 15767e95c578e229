"""Reconstruction, interpolation, combination, neighbors and maps, against `Run.generate` and brute force."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import mdnrnn
from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.formats import native
from mdnrnn.data.metadata import Metadata
from mdnrnn.device import single_thread
from mdnrnn.errors import InputError, InputWarning
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.configs import SketchRNNConfig
from mdnrnn.pen_events import END
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import Run
from mdnrnn.tasks.latent_geometry import interpolate_grid
from mdnrnn.tasks.latent_space import (
    combine,
    find_nearest,
    interpolate,
    load_drawings,
    reconstruct,
    save_map,
    select,
)
from mdnrnn.training.config import SequenceTrainConfig
from tests.helpers import make_run, random_corpus


def train_run(corpus: Corpus, folder: Path) -> Run:
    """Train a small Sketch-RNN for three steps."""
    native.write(corpus, folder / "data.npz")
    model = SketchRNNConfig(encoder=8, hidden=16, latent=4, components=3)
    training = SequenceTrainConfig(steps=3, batch_size=16, validations=1, device="cpu")
    with single_thread():
        mdnrnn.train(PRESETS["sketch-small"], str(folder / "data.npz"), folder / "run", model=model, training=training)
    return mdnrnn.load(folder / "run")


@pytest.fixture(scope="module")
def run(doodles: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run on 12 classes, with one drawing of each class in its test split."""
    return train_run(doodles, tmp_path_factory.mktemp("labeled"))


@pytest.fixture(scope="module")
def unlabeled_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run on random drawings of 1 to 8 steps without classes."""
    return train_run(random_corpus([1, 5, 8, 3, 6, 2]), tmp_path_factory.mktemp("unlabeled"))


@pytest.fixture
def drawings(run: Run) -> Corpus:
    """Return the test split of the run's data."""
    return run.open_data().select_split("test")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the keyword arguments of all calls of `Run.generate`."""
    calls: list[dict[str, Any]] = []
    generate = Run.generate

    def record(run: Run, n: int, **options: Any) -> Corpus:
        calls.append(options)
        return generate(run, n, **options)

    monkeypatch.setattr(Run, "generate", record)
    return calls


def assert_equal(first: Sequence, second: Sequence) -> None:
    """Assert that two sequences have the same motion, events and label."""
    np.testing.assert_array_equal(first.motion, second.motion)
    np.testing.assert_array_equal(first.event, second.event)
    assert first.label == second.label


def test_reconstructions_equal_drawings_generated_from_the_latent_vectors(run: Run, drawings: Corpus) -> None:
    rows = reconstruct(run, drawings, (0.1, 0.9), seed=3)
    assert len(rows) == 3 * len(drawings)
    for i in range(len(drawings)):
        assert_equal(rows[3 * i], drawings[i])
        labels = [run.config.metadata.classes[drawings[i].label or 0]]
        latents = run.encode(select(drawings, [i]))
        for column, temperature in ((1, 0.1), (2, 0.9)):
            sampling = Sampling(temperature=temperature)
            expected = run.generate(1, labels=labels, latents=latents, sampling=sampling, seed=3)
            assert_equal(rows[3 * i + column], expected[0])


def test_reconstruction_does_not_depend_on_the_other_drawings(run: Run, drawings: Corpus) -> None:
    together = reconstruct(run, drawings, (0.5,))
    for i in (0, 5):
        alone = reconstruct(run, select(drawings, [i]), (0.5,))
        assert_equal(alone[1], together[2 * i + 1])


@pytest.mark.parametrize("count", [2, 4])
def test_corners_of_an_interpolation_are_reconstructions(run: Run, drawings: Corpus, count: int) -> None:
    ends = select(drawings, [3, 7, 1, 9][:count])
    rows = 1 if count == 2 else 3
    grid = interpolate(run, ends, columns=5, rows=rows, temperature=0.4, seed=2)
    assert len(grid) == 5 * rows
    expected = reconstruct(run, ends, (0.4,), seed=2)
    for i, corner in enumerate([0, 4, 10, 14][:count]):
        assert_equal(grid[corner], expected[2 * i + 1])


def test_latents_of_an_interpolation_are_a_spherical_grid(
    run: Run, drawings: Corpus, calls: list[dict[str, Any]]
) -> None:
    ends = select(drawings, [3, 7, 1, 9])
    interpolate(run, ends, rows=4, columns=6)
    latents = np.concatenate([call["latents"] for call in calls])
    np.testing.assert_allclose(latents, interpolate_grid(run.encode(ends), 4, 6), atol=1e-6)


def test_labels_of_an_interpolation_are_blended_linearly(
    run: Run, drawings: Corpus, calls: list[dict[str, Any]]
) -> None:
    ends = select(drawings, [3, 7, 3, 9])
    interpolate(run, ends, rows=3, columns=5)
    weights = np.concatenate([call["labels"] for call in calls]).reshape(3, 5, -1)
    one_hot = np.eye(12)[np.asarray(ends.label)]
    expected = 0.375 * (one_hot[0] + one_hot[2]) + 0.125 * (one_hot[1] + one_hot[3])
    np.testing.assert_allclose(weights[1, 1], expected, atol=1e-6)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


def test_equal_latents_give_equal_drawings(run: Run, drawings: Corpus) -> None:
    grid = interpolate(run, select(drawings, [4, 4]), columns=4, temperature=1.0)
    for i in range(4):
        assert_equal(grid[i], grid[0])


def test_drawing_minus_itself_adds_nothing(run: Run, drawings: Corpus) -> None:
    combined = combine(run, select(drawings, [2, 2, 8]), [1, -1, 1], (0.3, 0.6))
    expected = reconstruct(run, select(drawings, [8]), (0.3, 0.6))
    assert len(combined) == 5
    for i, index in enumerate((2, 2, 8)):
        assert_equal(combined[i], drawings[index])
    for i in (1, 2):
        assert_equal(combined[2 + i], expected[i])


def test_label_of_a_combination_is_the_signed_sum_clipped_at_0(
    run: Run, drawings: Corpus, calls: list[dict[str, Any]]
) -> None:
    one_hot = np.eye(12)[np.asarray(drawings.label)]
    cases = {
        ((0, 1, 2), (1, -1, 1)): (one_hot[0] + one_hot[2]) / 2,
        ((0, 1, 0), (1, -1, 1)): one_hot[0],
        ((0, 1, 1), (1, -1, 1)): one_hot[0],
        ((5, 5), (1, -1)): one_hot[5],
    }
    for (indices, signs), expected in cases.items():
        calls.clear()
        combine(run, select(drawings, indices), signs, (0.2,))
        np.testing.assert_allclose(calls[0]["labels"], expected[None])
        latent = np.array(signs) @ run.encode(select(drawings, indices))
        np.testing.assert_allclose(calls[0]["latents"][0], latent, atol=1e-6)


def test_neighbors_equal_those_of_brute_force(run: Run, drawings: Corpus) -> None:
    latents = run.encode(drawings)
    distances = cdist(latents, latents)
    np.fill_diagonal(distances, np.inf)
    neighbors = find_nearest(run, [0, 4, 11], drawings, 5)
    np.testing.assert_allclose(neighbors.distances, np.sort(distances[[0, 4, 11]], axis=1)[:, :5], atol=1e-6)
    for query, indices, expected in zip((0, 4, 11), neighbors.indices, neighbors.distances, strict=True):
        np.testing.assert_allclose(distances[query, indices], expected, atol=1e-6)
        assert query not in indices
        assert len(set(indices)) == 5


def test_copy_of_a_drawing_is_its_nearest_neighbor(run: Run, drawings: Corpus) -> None:
    neighbors = find_nearest(run, select(drawings, [6, 1]), drawings, 2)
    assert neighbors.indices[:, 0].tolist() == [6, 1]
    np.testing.assert_allclose(neighbors.distances[:, 0], 0, atol=1e-5)
    with_copy = select(drawings, [*range(12), 6])
    neighbors = find_nearest(run, [6], with_copy, 1)
    assert neighbors.indices.tolist() == [[12]]
    np.testing.assert_allclose(neighbors.distances, 0, atol=1e-5)


def test_npz_of_a_map_has_the_projection_and_the_labels(run: Run, drawings: Corpus, tmp_path: Path) -> None:
    projection = save_map(run, drawings, tmp_path / "map.npz")
    with np.load(tmp_path / "map.npz") as arrays:
        assert set(arrays) == {"latents", "positions", "explained_variance_ratio", "label"}
        np.testing.assert_array_equal(arrays["latents"], run.encode(drawings))
        np.testing.assert_array_equal(arrays["positions"], projection.positions)
        np.testing.assert_array_equal(arrays["explained_variance_ratio"], projection.explained_variance_ratio)
        np.testing.assert_array_equal(arrays["label"], np.asarray(drawings.label))


def test_drawings_of_one_step_and_without_classes_are_supported(unlabeled_run: Run, tmp_path: Path) -> None:
    drawings = unlabeled_run.open_data().select_split("test")
    assert drawings.lengths.tolist() == [1, 5, 8, 3, 6, 2]
    rows = reconstruct(unlabeled_run, drawings, (0.2,))
    assert rows.label is None
    assert_equal(rows[0], drawings[0])
    assert np.isfinite(find_nearest(unlabeled_run, [0], drawings, 5).distances).all()
    assert len(interpolate(unlabeled_run, select(drawings, [0, 2]), columns=3)) == 3
    assert len(combine(unlabeled_run, select(drawings, [0, 1, 2]), [1, 1, -1])) == 6
    save_map(unlabeled_run, drawings, tmp_path / "map.svg")


def test_originals_with_another_bin_width_are_not_rounded(unlabeled_run: Run) -> None:
    continuous = random_corpus([4, 5], bin_width=None)
    continuous = replace(continuous, motion=continuous.motion + 0.25)
    rows = reconstruct(unlabeled_run, continuous, (0.2,))
    rows.check()
    assert rows.metadata.bin_width is None
    np.testing.assert_array_equal(rows[0].motion, continuous[0].motion)
    np.testing.assert_array_equal(rows[1].motion, np.rint(rows[1].motion))


def test_drawings_are_loaded_from_a_split_a_file_or_a_class(run: Run, doodles: Corpus, tmp_path: Path) -> None:
    assert len(load_drawings(run)) == 12
    assert_equal(load_drawings(run, split="valid")[3], doodles.select_split("valid")[3])
    data = str(run.folder.parent / "data.npz")
    assert len(load_drawings(run, data)) == len(doodles)
    assert_equal(load_drawings(run, data)[17], doodles[17])
    assert len(load_drawings(run, data, "test")) == 12
    cats = load_drawings(run, data, label="cat")
    assert set(np.asarray(cats.label).tolist()) == {doodles.metadata.class_index("cat")}
    assert len(cats) == 20
    native.write(random_corpus([3, 4]), tmp_path / "bare.npz")
    with pytest.warns(InputWarning, match="6 of 6 drawings are"):
        bare = load_drawings(run, str(tmp_path / "bare.npz"), label="cat")
    assert [bare.metadata.classes[bare[i].label or 0] for i in range(len(bare))] == ["cat"] * 6


def test_drawings_of_a_file_keep_its_order(unlabeled_run: Run, tmp_path: Path) -> None:
    records = [json.dumps({"drawing": [[[0, 1, i], [0, 0, 2 * i]]], "key_id": str(i)}) for i in range(40)]
    (tmp_path / "x.ndjson").write_text("\n".join(records))
    with pytest.warns(InputWarning, match="24 of 40 drawings are"):
        corpus = load_drawings(unlabeled_run, str(tmp_path / "x.ndjson"), rescale=False)
    assert [corpus[i].motion[-1].tolist() for i in range(len(corpus))] == [[i - 1, 2 * i] for i in range(40)]


def test_classes_in_another_order_are_matched_by_name(run: Run, drawings: Corpus) -> None:
    metadata = replace(drawings.metadata, classes=drawings.metadata.classes[::-1])
    reordered = replace(drawings, metadata=metadata, label=11 - np.asarray(drawings.label))
    first, second = (reconstruct(run, corpus, (0.4,)) for corpus in (drawings, reordered))
    for i in range(len(first)):
        assert_equal(first[i], second[i])


ONE, TWO, THREE, FOUR = ([0], [0, 1], [0, 1, 2], [0, 1, 2, 3])
MISTAKES: dict[str, tuple[Callable[[Run, Corpus], object], str]] = {
    "three ends": (lambda run, d: interpolate(run, select(d, THREE)), "drawings to interpolate: received 3, expected"),
    "one end": (lambda run, d: interpolate(run, select(d, ONE)), "drawings to interpolate: received 1, expected 2"),
    "rows for two": (lambda run, d: interpolate(run, select(d, TWO), rows=3), "rows: received 3 for 2 drawings"),
    "one row for four": (lambda run, d: interpolate(run, select(d, FOUR), rows=1), "received 1 for 4 drawings"),
    "no rows": (lambda run, d: interpolate(run, select(d, FOUR), rows=0), "rows: received 0 for 4 drawings"),
    "one column": (lambda run, d: interpolate(run, select(d, TWO), columns=1), "columns: received 1, expected 2"),
    "no temperatures": (lambda run, d: reconstruct(run, d, ()), "temperatures: received none, expected one or more"),
    "negative temperature": (lambda run, d: reconstruct(run, d, (-1,)), "temperature: received -1, expected a number"),
    "negative seed": (lambda run, d: reconstruct(run, d, seed=-1), "seed: received -1"),
    "missing sign": (lambda run, d: combine(run, select(d, TWO), [1]), "signs: received [1], expected 1 or -1 per"),
    "invalid sign": (lambda run, d: combine(run, select(d, TWO), [1, 2]), "signs: received [1, 2], expected 1 or -1"),
    "one term": (lambda run, d: combine(run, select(d, ONE), [1]), "at least one of them"),
    "nothing added": (lambda run, d: combine(run, select(d, TWO), [-1, -1]), "at least one of them 1"),
    "too many neighbors": (lambda run, d: find_nearest(run, [0], d, 12), "n: received 12 neighbors, expected 1 to 11"),
    "no neighbors": (lambda run, d: find_nearest(run, [0], d, 0), "n: received 0 neighbors, expected 1 to 11"),
    "query out of range": (lambda run, d: find_nearest(run, [12], d), "index: received 12, expected 0 to 11"),
    "index too large": (lambda run, d: select(d, [12]), "index: received 12, expected 0 to 11"),
    "negative index": (lambda run, d: select(d, [-1]), "index: received -1, expected 0 to 11"),
    "no indices": (lambda run, d: select(d, []), "contains no sequences"),
    "map of one drawing": (lambda run, d: save_map(run, select(d, ONE), "x.svg"), "received shape (1, 4), expected"),
    "map without drawings": (lambda run, d: save_map(run, d, "x.svg", 0), "n: received 0 drawings, expected 1 or more"),
    "map as sound": (lambda run, d: save_map(run, d, "x.wav"), "received extension '.wav', expected one of .svg"),
    "wrong latent size": (
        lambda run, d: run.generate(2, latents=np.zeros((2, 5))), "latents: received shape (2, 5), expected (2, 4)",
    ),
    "unknown label": (lambda run, d: load_drawings(run, label="unicorn"), "unknown label 'unicorn'"),
    "unknown split": (lambda run, d: load_drawings(run, split="dev"), "split 'dev' is not in doodles"),
}  # fmt: skip


@pytest.mark.parametrize(("use", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_raises_an_error_and_writes_nothing(
    use: Callable[[Run, Corpus], object],
    message: str,
    run: Run,
    drawings: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        use(run, drawings)
    assert not list(tmp_path.iterdir())


def test_data_that_do_not_fit_the_run_are_refused(run: Run, unlabeled_run: Run, tmp_path: Path) -> None:
    three = [Sequence(np.ones((4, 3), np.int16), np.array([0, 0, 0, END]))]
    native.write(pack(Metadata(name="three"), {"test": three}), tmp_path / "three.npz")
    native.write(random_corpus([3, 4]), tmp_path / "bare.npz")
    unicorns = replace(random_corpus([3, 4], classes=("unicorn", "cat")), splits={"test": (0, 6)})
    native.write(unicorns, tmp_path / "unicorns.npz")
    for name, message in (
        ("three", "three has 3 features and 0 inputs per step; the run expects 2 and 0"),
        ("bare", "random has no classes; expected classes from butterfly"),
        ("unicorns", "unicorn"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            load_drawings(run, str(tmp_path / f"{name}.npz"))
    with pytest.raises(InputError, match="label 'cat': random has no labels"):
        load_drawings(unlabeled_run, label="cat")


def test_class_without_drawings_is_refused(run: Run, drawings: Corpus, tmp_path: Path) -> None:
    first = run.config.metadata.classes[int(np.asarray(drawings.label)[0])]
    native.write(select(drawings, list(range(1, 12))), tmp_path / "rest.npz")
    with pytest.raises(InputError, match=f"label: received '{first}', but doodles contains no drawing of this class"):
        load_drawings(run, str(tmp_path / "rest.npz"), label=first)


def test_run_without_encoder_is_refused(doodles: Corpus, tmp_path: Path) -> None:
    run, drawings = make_run(doodles), doodles.select_split("test")
    for use in (
        lambda: load_drawings(run),
        lambda: reconstruct(run, drawings),
        lambda: interpolate(run, select(drawings, TWO)),
        lambda: combine(run, select(drawings, TWO), [1, 1]),
        lambda: find_nearest(run, [0], drawings),
        lambda: save_map(run, drawings, tmp_path / "map.svg"),
    ):
        with pytest.raises(InputError, match="received a model without an encoder"):
            use()
