"""What one does with the latents of a variational run: reconstruct, interpolate, combine, compare and map drawings.

M drawings, Z numbers of a latent, Q queries. The latent of a drawing is the mean of q(z | drawing).
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence, pack
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.errors import InputError
from mdnrnn.files import atomic_file, write_bytes
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.latent import require_encoder
from mdnrnn.render.figures.scatter import map_figure
from mdnrnn.render.raster import figure_bytes
from mdnrnn.render.save import check_output_path
from mdnrnn.runs.run import Run

TEMPERATURES = (0.2, 0.5, 0.8)
MAP_EXTENSIONS = (".svg", ".png", ".pdf", ".npz")
_STRAIGHT = 1e-6


def load_drawings(run: Run, data: str | None = None, split: str | None = None, label: str | None = None) -> Corpus:
    """Drawings to encode: of the run's own data or of others, each with its class among the run's.

    Args:
        split: by default test of the run's own data, and of others all drawings, in the order of their file.
        label: this class only; where the data have no classes, the class of all of them.
    """
    require_encoder(run.model)
    if data is None or split is not None:
        corpus = run.open_data(data).select_split(split or "test")
    else:
        corpus = run.open_data(data, Recipe(split="1,0,0"))
    if label is None:
        return run.with_run_classes(corpus)
    number = run.config.metadata.class_index(label)
    if corpus.label is None:
        metadata = replace(corpus.metadata, classes=run.config.metadata.classes)
        return replace(corpus, metadata=metadata, label=np.full(len(corpus), number, np.int32))
    corpus = run.with_run_classes(corpus)
    members = np.flatnonzero(corpus.label == number)
    if not len(members):
        raise InputError(
            f"{corpus.metadata.name} has no drawing of {label!r} among these {len(corpus)}; choose another"
        )
    return select(corpus, members.tolist())


def select(drawings: Corpus, indices: Items[int]) -> Corpus:
    """The drawings with these numbers, in this order."""
    _check_indices(drawings, indices)
    return pack(drawings.metadata, {"test": [drawings[index] for index in indices]})


def reconstruct(run: Run, drawings: Corpus, temperatures: Items[float] = TEMPERATURES, seed: int = 0) -> Corpus:
    """A row for each drawing: the drawing, then what the model draws from its latent at each temperature."""
    _check_temperatures(temperatures)
    latents, weights = run.encode(drawings), _label_weights(run, drawings)
    drawn = [_draw(run, latents, weights, temperature, seed) for temperature in temperatures]
    rows = zip(_originals(run, drawings), *drawn, strict=True)
    return _corpus(run, drawings, "reconstructed", [sequence for row in rows for sequence in row])


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """Places (..., Z) on the way from a to b, both (..., Z), spherically: t (...) is 0 at a, 1 at b.

    (sin((1 - t) w) a + sin(t w) b) / sin(w), w being the angle between them (Shoemake 1985; Ha and Eck,
    arXiv:1704.03477): from a to b of one length, along the arc between them at a constant speed. The straight line
    where sin(w) is below 1e-6, which is its limit as w falls to 0; and between opposite vectors, which no arc
    joins rather than another; and where a or b is 0.
    """
    a, b, t = np.asarray(a, np.float64), np.asarray(b, np.float64), np.asarray(t, np.float64)[..., None]
    length_a, length_b = (np.linalg.norm(end, axis=-1, keepdims=True) for end in (a, b))
    apart, together = a * length_b - b * length_a, a * length_b + b * length_a  # Kahan's angle: exact when small, too
    angle = 2 * np.arctan2(*(np.linalg.norm(side, axis=-1, keepdims=True) for side in (apart, together)))
    straight = np.sin(angle) < _STRAIGHT
    sine = np.where(straight, 1.0, np.sin(angle))
    return (
        np.where(straight, 1 - t, np.sin((1 - t) * angle) / sine) * a
        + np.where(straight, t, np.sin(t * angle) / sine) * b
    )


def interpolate(
    run: Run, ends: Corpus, rows: int | None = None, columns: int = 8, temperature: float = 0.2, seed: int = 0
) -> Corpus:
    """Drawings between two ends, a row of them; or between four, row by row, the ends at the corners of the grid.

    Latents go by `slerp`: between four, down the left and the right side, then across. Labels are blended in
    proportion. All are drawn with the same noise, so that only the latent tells them apart.

    Args:
        ends: two drawings; or four: upper left, upper right, lower left, lower right.
        rows: 1 between two; between four 2 or more, by default 4.
    """
    rows = _checked_rows(len(ends), rows)
    if columns < 2:
        raise InputError(f"columns is {columns}; expected 2 or more, for the ends")
    latents, weights = _grid(run.encode(ends), rows, columns, slerp), _label_weights(run, ends)
    blends = None if weights is None else _grid(weights, rows, columns, _straight)
    return _corpus(run, ends, "interpolated", _draw(run, latents, blends, temperature, seed))


def serpentine_order(rows: int, columns: int) -> list[int]:
    """The cells of a grid row by row, every other row backwards: each step goes to a neighbor."""
    cells = np.arange(rows * columns).reshape(rows, columns)
    cells[1::2] = cells[1::2, ::-1]
    return cells.ravel().tolist()


def combine(
    run: Run, drawings: Corpus, signs: Items[int], temperatures: Items[float] = TEMPERATURES, seed: int = 0
) -> Corpus:
    """The drawings, then what the model draws, at each temperature, from the sum of their latents with these signs.

    A drawing of a - b + c has what tells a from b, on c. Its label is the same sum of theirs, without what comes out
    negative, as a blend; where nothing is left, the blend of those added.
    """
    _check_temperatures(temperatures)
    if len(signs) != len(drawings) or not set(signs) <= {1, -1}:
        raise InputError(f"signs are {list(signs)}; expected 1 or -1 for each of the {len(drawings)} drawings")
    if len(drawings) < 2 or 1 not in signs:
        raise InputError(
            f"{len(drawings)} drawings with signs {list(signs)} were given; expected 2 or more, one of them added"
        )
    sign = np.array(signs, np.float64)
    latent = sign @ run.encode(drawings).astype(np.float64)
    weights = _label_weights(run, drawings)
    if weights is not None:
        sums = np.maximum(sign @ weights, 0)
        sums = sums if sums.any() else np.maximum(sign, 0) @ weights
        weights = sums[None] / sums.sum()
    results = [_draw(run, latent[None], weights, temperature, seed)[0] for temperature in temperatures]
    return _corpus(run, drawings, "combined", [*_originals(run, drawings), *results])


class Neighbors(NamedTuple):
    """For each query the n drawings nearest to it, nearest first: indices (Q, n) and distances (Q, n)."""

    indices: np.ndarray
    distances: np.ndarray


def find_nearest(run: Run, queries: Corpus | Items[int], among: Corpus, n: int = 7) -> Neighbors:
    """The drawings of `among` whose latents are nearest to those of the queries, by Euclidean distance.

    Args:
        queries: drawings; or numbers of some of `among`, none of which is found as its own neighbor.
    """
    own = None if isinstance(queries, Corpus) else list(queries)
    others = len(among) - (own is not None)
    if not 1 <= n <= others:
        raise InputError(f"{n} neighbors were asked for; expected 1 or more, and there are {others} others")
    _check_indices(among, own or [])
    latents = run.encode(among).astype(np.float64)
    wanted = run.encode(queries) if isinstance(queries, Corpus) else latents[own]
    indices = np.zeros((len(wanted), n), np.int64)
    distances = np.zeros((len(wanted), n))
    for query, latent in enumerate(wanted):
        every = np.linalg.norm(latents - latent, axis=1)
        if own is not None:
            every[own[query]] = np.inf
        indices[query] = np.argsort(every, kind="stable")[:n]
        distances[query] = every[indices[query]]
    return Neighbors(indices, distances)


class Projection(NamedTuple):
    """Latents (M, Z) in a plane: positions (M, 2), and the share of the variance that each axis explains (2,)."""

    latents: np.ndarray
    positions: np.ndarray
    explained_variance_ratio: np.ndarray


def project_to_plane(latents: np.ndarray) -> Projection:
    """Latents (M, Z) onto their first two principal components, the wider first.

    An axis points to where the drawing that is farthest along it lies, of several as far the first: so a rotation of
    the latents changes nothing.
    """
    latents = np.asarray(latents)
    if latents.ndim != 2 or len(latents) < 2 or not latents.shape[1]:
        raise InputError(f"latents: received shape {latents.shape}, expected (M, Z) of 2 drawings or more")
    centered = latents.astype(np.float64) - latents.mean(0, dtype=np.float64)
    centered = np.pad(centered, ((0, 0), (0, max(2 - latents.shape[1], 0))))  # a line lies in a plane too
    left, scales, _ = np.linalg.svd(centered, full_matrices=False)
    positions, variances = left[:, :2] * scales[:2], np.square(scales)
    along = np.abs(positions)
    farthest = positions[(along >= along.max(0) * (1 - 1e-6)).argmax(0), [0, 1]]
    return Projection(latents, positions * np.where(farthest < 0, -1, 1), variances[:2] / (variances.sum() or 1.0))


def save_map(run: Run, drawings: Corpus, path: Path | str, n: int = 200) -> Projection:
    """Draw up to n drawings, small, at the positions of their latents, in the colors of their classes.

    An .npz holds the arrays of the projection of all drawings, and their labels where they have classes.
    """
    path = Path(path)
    check_output_path(path, MAP_EXTENSIONS)
    if n < 1:
        raise InputError(f"{n} drawings were asked for; expected 1 or more")
    found = project_to_plane(run.encode(drawings))
    known = run.with_run_classes(drawings)
    if path.suffix.lower() == ".npz":
        arrays: dict[str, Any] = found._asdict() if known.label is None else {**found._asdict(), "label": known.label}
        with atomic_file(path) as file:
            np.savez(file, **arrays)
    else:
        axes = [
            f"{name} principal component, {share:.0%} of the variance"
            for name, share in zip(("first", "second"), found.explained_variance_ratio, strict=True)
        ]
        figure = map_figure(
            found.positions, known.drawing, known.label, known.metadata.classes, max_drawings=n, axis_labels=axes
        )
        write_bytes(path, figure_bytes(figure, path.suffix.lower()))
    return found


def _draw(run: Run, latents: np.ndarray, weights: np.ndarray | None, temperature: float, seed: int) -> list[Sequence]:
    """A drawing for each latent (M, Z) and each blend of labels (M, classes), all with the noise of (seed, 0).

    So a latent is drawn alike whatever stands beside it, and like latents are drawn alike.
    """
    sampling = Sampling(temperature=temperature)
    drawn = run.generate(len(latents), labels=weights, latents=latents, sampling=sampling, seed=seed, shared_noise=True)
    return [drawn[i] for i in range(len(drawn))]


def _label_weights(run: Run, drawings: Corpus) -> np.ndarray | None:
    """The labels of drawings as weights (M, classes), one of them 1; None where the run has no classes."""
    classes = run.config.shape.classes
    return np.eye(classes, dtype=np.float32)[run.with_run_classes(drawings).label] if classes else None


def _originals(run: Run, drawings: Corpus) -> list[Sequence]:
    """The drawings as they were, with what drawings by the run have too: the run's labels, no more."""
    labels = run.with_run_classes(drawings).label if run.config.shape.classes else None
    return [Sequence(*drawings[i][:2], None if labels is None else int(labels[i])) for i in range(len(drawings))]


def _corpus(run: Run, drawings: Corpus, how: str, sequences: list[Sequence]) -> Corpus:
    """What the run made of drawings, and these too, which may lie on another grid."""
    metadata = run.config.metadata
    bin_width = metadata.bin_width if drawings.metadata.bin_width == metadata.bin_width else None
    source = f"{how} by a run on {metadata.name}, from drawings of {drawings.metadata.name}"
    return pack(
        replace(metadata, name=f"{metadata.name} ({how})", bin_width=bin_width, source=source), {"test": sequences}
    )


def _grid(ends: np.ndarray, rows: int, columns: int, between: Callable[..., np.ndarray]) -> np.ndarray:
    """Interpolate a grid (rows * columns, F) between two ends (2, F) or four corners (4, F), row by row."""
    down, across = np.linspace(0, 1, rows), np.linspace(0, 1, columns)
    left, right = between(ends[0], ends[-2], down), between(ends[1], ends[-1], down)
    return between(left[:, None], right[:, None], across).reshape(rows * columns, -1)


def _straight(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Places (..., F) on the straight way from a to b, (..., F); t (...)."""
    return (1 - t[..., None]) * a + t[..., None] * b


def _checked_rows(ends: int, rows: int | None) -> int:
    if ends not in (2, 4):
        raise InputError(f"{ends} drawings were given to interpolate between; expected 2, for a row, or 4, for a grid")
    rows = rows if rows is not None else 1 if ends == 2 else 4
    if (ends == 2) != (rows == 1) or rows < 1:
        raise InputError(f"{rows} rows were asked for between {ends} drawings; expected 1 row of 2, or 2 or more of 4")
    return rows


def _check_indices(drawings: Corpus, indices: Items[int]) -> None:
    for index in indices:
        if not 0 <= index < len(drawings):
            raise InputError(f"drawing {index} was asked for; expected 0 to {len(drawings) - 1}, of those chosen from")


def _check_temperatures(temperatures: Items[float]) -> None:
    if not len(temperatures):
        raise InputError("no temperature was given; expected one or more, such as 0.2 0.5")
