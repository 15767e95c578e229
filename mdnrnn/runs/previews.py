"""Previews of a run during training: the loss curve and a few samples, written after each validation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence as Items
from pathlib import Path

import numpy as np

from mdnrnn.data.corpus import Corpus, Sequence
from mdnrnn.errors import InputWarning
from mdnrnn.files.atomic import write_bytes
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render.figures.losses import loss_figure
from mdnrnn.render.raster import figure_bytes
from mdnrnn.render.save import render, render_performances, save_drawings, save_performances, to_performances
from mdnrnn.runs.run import Run
from mdnrnn.training.callbacks import Callback, TrainingState
from mdnrnn.training.loggers import TensorBoardLogger
from mdnrnn.training.metrics import read_metrics

LOSS_CURVE_FILE, SAMPLES_FOLDER = "loss.svg", "samples"
_SAMPLES = 16
_TEMPERATURE = 0.4
"""Sampling temperature of drawings. Touch performances and streams are sampled at temperature 1."""
_MAX_STEPS = 300
"""Maximum number of steps of sampled touch performances and streams, which do not always end by themselves."""


class PreviewWriter(Callback):
    """Writes loss.svg and, for data that can be drawn, samples/step-N.svg into the run folder after each validation.

    Args:
        run: the run in training.
        corpus: training corpus of the run. The samples of a text-conditional model are texts from the split "valid".
        null_nll_per_point: negative log-likelihood of the null model, in nats per point, for the loss curve.
        boards: loggers that receive the samples, too, as PNG.
    """

    def __init__(
        self, run: Run, corpus: Corpus, null_nll_per_point: float, boards: Items[TensorBoardLogger] = ()
    ) -> None:
        self._run, self._corpus, self._null_nll_per_point = run, corpus, null_nll_per_point
        self._boards = boards

    def on_validation(self, state: TrainingState) -> None:
        """Write the loss curve; for drawings, touch performances and streams, also write samples."""
        folder = self._run.folder
        figure = loss_figure(read_metrics(folder), {"null model": self._null_nll_per_point})
        write_bytes(folder / LOSS_CURVE_FILE, figure_bytes(figure, ".svg"))
        if self._has_pictures():
            self._write_samples(folder / SAMPLES_FOLDER / f"step-{state.step:06d}.svg", state.step)

    def _has_pictures(self) -> bool:
        metadata, shape = self._run.config.metadata, self._run.config.shape
        return metadata.is_stream or metadata.is_touch or (shape.features == 2 and not shape.inputs)

    def _write_samples(self, path: Path, step: int) -> None:
        config, metadata = self._run.config, self._run.config.metadata
        timed = metadata.is_stream or metadata.is_touch
        samples = self._run.generate(
            _SAMPLES,
            texts=self._texts() if self._run.model.uses_text else None,
            context=self._context() if config.shape.context else None,
            sampling=Sampling(temperature=1.0 if timed else _TEMPERATURE),
            max_steps=min(config.max_steps, _MAX_STEPS) if timed else None,
        )
        if not np.isfinite(samples.motion).all():
            warnings.warn(
                f"{path.name} is not written: the generated drawings contain infinite values, because training has "
                "diverged; lower --learning-rate or --clip",
                InputWarning,
                stacklevel=2,
            )
            return
        (save_performances if metadata.is_touch else save_drawings)(samples, path)
        if self._boards:
            if metadata.is_touch:
                picture = render_performances(to_performances(samples), ".png")
            else:
                picture = render([samples.drawing(i) for i in range(len(samples))], ".png")
            for board in self._boards:
                board.add_picture("samples", picture, step)

    def _texts(self) -> list[str]:
        return [str(sequence.text) for sequence in self._valid_sequences()]

    def _context(self) -> np.ndarray:
        return np.stack([np.asarray(sequence.context) for sequence in self._valid_sequences()])

    def _valid_sequences(self) -> list[Sequence]:
        """Return the first sequences of the split "valid", repeated if there are fewer than samples."""
        indices = self._corpus.indices("valid")
        return [self._corpus[indices[i % len(indices)]] for i in range(_SAMPLES)]
