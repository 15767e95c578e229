"""Latent space of a variational model: reconstruct, interpolate, combine, compare and map drawings.

Shapes: M drawings, Z latent size, Q queries. The latent vector of a drawing is the mean of q(z | drawing). All drawings
that one call generates use the same noise, so that they differ only by latent vector, label and temperature.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import InputError
from mdnrnn.files.atomic import atomic_file, write_bytes
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render.figures.scatter import map_figure
from mdnrnn.render.raster import figure_bytes
from mdnrnn.render.save import check_output_path
from mdnrnn.runs.rescaling import fit_scale
from mdnrnn.tasks.latent_geometry import Projection, interpolate_grid, lerp, project_to_plane

if TYPE_CHECKING:
    from mdnrnn.runs.run import Run

TEMPERATURES = (0.2, 0.5, 0.8)
"""Default sampling temperatures of `reconstruct` and `combine`."""
MAP_EXTENSIONS = (".svg", ".png", ".pdf", ".npz")


def load_drawings(
    run: Run,
    data: str | None = None,
    split: str | None = None,
    label: str | None = None,
    rescale: bool | None = None,
) -> Corpus:
    """Return drawings to encode; their labels are indices of the run's classes.

    An `InputWarning` is issued if drawings in `data` are not at the scale of the training drawings.

    Args:
        run: run of a variational model.
        data: a catalog name or a path; by default the data of the run.
        split: name of the split. By default the split "test" of the run's data or, if `data` is given, all drawings in
            the order of the file.
        label: name of the class to select; by default all classes. If the data have no classes, all drawings are
            assigned this class.
        rescale: whether to scale the drawings in `data` to the size of the training drawings; see
            `rescaling.fit_scale`.

    Raises:
        InputError: the model has no encoder, the data do not fit the run, or there are no drawings of the class.
    """
    from mdnrnn.models.latent import require_encoder  # not at module level: it imports torch

    require_encoder(run.model)
    if data is None or split is not None:
        corpus = run.open_data(data).select_split(split or "test")
    else:
        corpus = run.open_data(data, Recipe(split="1,0,0"))
    corpus = run.with_run_classes(corpus) if label is None else _select_class(run, corpus, label)
    return corpus if data is None else fit_scale(run.config, corpus, data, rescale)


def _select_class(run: Run, corpus: Corpus, label: str) -> Corpus:
    """Return the drawings of a class. If the corpus has no classes, return all drawings, with this class as label."""
    index = run.config.metadata.class_index(label)
    if corpus.label is None:
        metadata = replace(corpus.metadata, classes=run.config.metadata.classes)
        return replace(corpus, metadata=metadata, label=np.full(len(corpus), index, np.int32))
    corpus = run.with_run_classes(corpus)
    members = np.flatnonzero(corpus.label == index)
    if not len(members):
        raise InputError(
            f"label: received {label!r}, but {corpus.metadata.name} contains no drawing of this class; use another"
        )
    return select(corpus, members.tolist())


def select(drawings: Corpus, indices: Items[int]) -> Corpus:
    """Return a corpus of the drawings with these indices, in this order. Its only split is "test".

    Raises:
        InputError: there are no indices, or an index is out of range.
    """
    _check_indices(drawings, indices)
    return pack(drawings.metadata, {"test": [drawings[index] for index in indices]})


def reconstruct(run: Run, drawings: Corpus, temperatures: Items[float] = TEMPERATURES, seed: int = 0) -> Corpus:
    """Encode drawings, and generate reconstructions from their latent vectors.

    Args:
        run: run of a variational model.
        drawings: drawings to reconstruct.
        temperatures: sampling temperatures, one per reconstruction.
        seed: random seed of the noise.

    Returns:
        Each drawing, followed by its reconstructions.

    Raises:
        InputError: the model has no encoder, the drawings do not fit the run, or there are no temperatures.
    """
    _check_temperatures(temperatures)
    latents, weights = run.encode(drawings), _label_weights(run, drawings)
    columns = [_decode(run, latents, weights, temperature, seed) for temperature in temperatures]
    rows = zip(_originals(run, drawings), *columns, strict=True)
    return _to_corpus(run, drawings, "reconstructed", [sequence for row in rows for sequence in row])


def interpolate(
    run: Run, ends: Corpus, rows: int | None = None, columns: int = 8, temperature: float = 0.2, seed: int = 0
) -> Corpus:
    """Interpolate a row of drawings between two drawings, or a grid between four drawings at its corners.

    Latent vectors are interpolated spherically with `slerp`, and label weights linearly. In a grid, the left and right
    columns are interpolated first, then the rows between them.

    Args:
        run: run of a variational model.
        ends: two drawings; or four drawings in the order upper left, upper right, lower left, lower right.
        rows: number of rows: 1 for two drawings; 2 or more for four drawings, by default 4.
        columns: number of columns.
        temperature: sampling temperature.
        seed: random seed of the noise.

    Returns:
        The drawings row by row.

    Raises:
        InputError: the model has no encoder, or the number of drawings, rows or columns is wrong.
    """
    rows = _check_rows(len(ends), rows)
    if columns < 2:
        raise InputError(f"columns: received {columns}, expected 2 or more")
    latents, weights = interpolate_grid(run.encode(ends), rows, columns), _label_weights(run, ends)
    blends = None if weights is None else interpolate_grid(weights, rows, columns, lerp)
    return _to_corpus(run, ends, "interpolated", _decode(run, latents, blends, temperature, seed))


def combine(
    run: Run, drawings: Corpus, signs: Items[int], temperatures: Items[float] = TEMPERATURES, seed: int = 0
) -> Corpus:
    """Generate one drawing per temperature from a signed sum of the latent vectors of drawings.

    For example, the sum a - b + c adds the difference between a and b to c. The label weights are the signed sum of the
    one-hot labels, clipped at 0 and normalized. If all weights are 0 after clipping, they are the mean of the one-hot
    labels of the drawings with sign 1.

    Args:
        run: run of a variational model.
        drawings: drawings to combine, two or more.
        signs: 1 or -1 for each drawing; at least one is 1.
        temperatures: sampling temperatures.
        seed: random seed of the noise.

    Returns:
        The drawings to combine, followed by the generated drawings.

    Raises:
        InputError: the model has no encoder, or the drawings, signs or temperatures are wrong.
    """
    _check_temperatures(temperatures)
    if len(signs) != len(drawings) or not set(signs) <= {1, -1}:
        raise InputError(f"signs: received {list(signs)}, expected 1 or -1 per drawing, {len(drawings)} in total")
    if len(drawings) < 2 or 1 not in signs:
        raise InputError(f"signs: received {list(signs)}, expected 2 or more signs, at least one of them 1")
    sign = np.array(signs, np.float64)
    latent = sign @ run.encode(drawings).astype(np.float64)
    weights = _label_weights(run, drawings)
    if weights is not None:
        total = np.maximum(sign @ weights, 0)
        total = total if total.any() else np.maximum(sign, 0) @ weights
        weights = total[None] / total.sum()
    results = [_decode(run, latent[None], weights, temperature, seed)[0] for temperature in temperatures]
    return _to_corpus(run, drawings, "combined", [*_originals(run, drawings), *results])


class Neighbors(NamedTuple):
    """Indices (Q, n) of the n nearest drawings of each query, nearest first, and their distances (Q, n)."""

    indices: np.ndarray
    distances: np.ndarray


def find_nearest(run: Run, queries: Corpus | Items[int], among: Corpus, n: int = 7) -> Neighbors:
    """Find the drawings whose latent vectors are nearest to those of the queries, by Euclidean distance.

    Args:
        run: run of a variational model.
        queries: drawings; or indices of drawings in `among`, each of which is excluded from its own neighbors.
        among: drawings to search.
        n: number of neighbors of each query.

    Raises:
        InputError: the model has no encoder, or `n` or an index is out of range.
    """
    query_indices = None if isinstance(queries, Corpus) else list(queries)
    candidates = len(among) - (query_indices is not None)
    if not 1 <= n <= candidates:
        raise InputError(f"n: received {n} neighbors, expected 1 to {candidates}")
    _check_indices(among, query_indices or [])
    latents = run.encode(among).astype(np.float64)
    query_latents = run.encode(queries) if isinstance(queries, Corpus) else latents[query_indices]
    indices = np.zeros((len(query_latents), n), np.int64)
    distances = np.zeros((len(query_latents), n))
    for query, latent in enumerate(query_latents):
        all_distances = np.linalg.norm(latents - latent, axis=1)
        if query_indices is not None:
            all_distances[query_indices[query]] = np.inf
        indices[query] = np.argsort(all_distances, kind="stable")[:n]
        distances[query] = all_distances[indices[query]]
    return Neighbors(indices, distances)


def save_map(run: Run, drawings: Corpus, path: Path | str, n: int = 200) -> Projection:
    """Save a map of drawings, colored by class, and return the projection that it shows.

    The position of a drawing is given by the first two principal components of the latent vectors.

    Args:
        run: run of a variational model.
        drawings: drawings of the map.
        path: file to write: a picture (.svg, .png or .pdf); or an .npz file with the arrays of the projection and, if
            the drawings have labels, the labels.
        n: maximum number of drawings whose strokes are shown; the remaining drawings are shown as dots.

    Raises:
        InputError: the model has no encoder, there is only one drawing, `n` is less than 1, or the file cannot be
            written.
    """
    path = Path(path)
    check_output_path(path, MAP_EXTENSIONS)
    if n < 1:
        raise InputError(f"n: received {n} drawings, expected 1 or more")
    projection = project_to_plane(run.encode(drawings))
    drawings = run.with_run_classes(drawings)
    if path.suffix.lower() == ".npz":
        arrays: dict[str, Any] = projection._asdict()
        if drawings.label is not None:
            arrays["label"] = drawings.label
        with atomic_file(path) as file:
            np.savez(file, **arrays)
        return projection
    axis_labels = [
        f"{name} principal component, {ratio:.0%} of the variance"
        for name, ratio in zip(("first", "second"), projection.explained_variance_ratio, strict=True)
    ]
    figure = map_figure(
        projection.positions,
        drawings.drawing,
        drawings.label,
        drawings.metadata.classes,
        max_drawings=n,
        axis_labels=axis_labels,
    )
    write_bytes(path, figure_bytes(figure, path.suffix.lower()))
    return projection


def _decode(run: Run, latents: np.ndarray, weights: np.ndarray | None, temperature: float, seed: int) -> list[Sequence]:
    """Generate one drawing per latent vector, all with the noise of sequence 0.

    Args:
        run: run of a variational model.
        latents: latent vectors, shape (M, Z).
        weights: label weights, shape (M, classes), or None.
        temperature: sampling temperature.
        seed: random seed of the noise.
    """
    sampling = Sampling(temperature=temperature)
    drawings = run.generate(
        len(latents), labels=weights, latents=latents, sampling=sampling, seed=seed, shared_noise=True
    )
    return [drawings[i] for i in range(len(drawings))]


def _label_weights(run: Run, drawings: Corpus) -> np.ndarray | None:
    """Return the one-hot labels of drawings, shape (M, classes), or None if the run has no classes."""
    classes = run.config.shape.classes
    return np.eye(classes, dtype=np.float32)[run.with_run_classes(drawings).label] if classes else None


def _originals(run: Run, drawings: Corpus) -> list[Sequence]:
    """Return the drawings with motion, event and label only.

    Labels are indices of the run's classes, or None if the run has no classes.
    """
    labels = run.with_run_classes(drawings).label if run.config.shape.classes else None
    return [Sequence(*drawings[i][:2], None if labels is None else int(labels[i])) for i in range(len(drawings))]


def _to_corpus(run: Run, drawings: Corpus, method: str, sequences: list[Sequence]) -> Corpus:
    """Return original and generated drawings as one corpus.

    The corpus has a bin width only if the original drawings and the run's data have the same bin width.

    Args:
        run: run that generated the drawings.
        drawings: corpus of the original drawings.
        method: past participle for the name and the source of the corpus, for example "interpolated".
        sequences: drawings of the corpus.
    """
    metadata = run.config.metadata
    bin_width = metadata.bin_width if drawings.metadata.bin_width == metadata.bin_width else None
    source = f"{method} by a run on {metadata.name}, from drawings of {drawings.metadata.name}"
    metadata = replace(metadata, name=f"{metadata.name} ({method})", bin_width=bin_width, source=source)
    return pack(metadata, {"test": sequences})


def _check_rows(ends: int, rows: int | None) -> int:
    if ends not in (2, 4):
        raise InputError(
            f"drawings to interpolate: received {ends}, expected 2 for one row, or 4 for a grid of several rows"
        )
    rows = rows if rows is not None else 1 if ends == 2 else 4
    if (ends == 2) != (rows == 1) or rows < 1:
        raise InputError(
            f"rows: received {rows} for {ends} drawings; two drawings need exactly 1 row, four drawings at least 2 rows"
        )
    return rows


def _check_indices(drawings: Corpus, indices: Items[int]) -> None:
    for index in indices:
        if not 0 <= index < len(drawings):
            raise InputError(f"index: received {index}, expected 0 to {len(drawings) - 1}")


def _check_temperatures(temperatures: Items[float]) -> None:
    if not len(temperatures):
        raise InputError("temperatures: received none, expected one or more, for example 0.2 0.5")
