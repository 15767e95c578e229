"""Run folders: what a training leaves, and all that is done with the model that it holds."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batches import Batches, to_code_points
from mdnrnn.data.catalog import open_corpus
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.metadata import Metadata
from mdnrnn.device import full_precision
from mdnrnn.distributions import Step
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import Likelihood, evaluate
from mdnrnn.events import END, UP
from mdnrnn.generation.latent_completion import PROPOSALS, sample_latents_given_prefix
from mdnrnn.generation.loop import check_generation_arguments, generate
from mdnrnn.generation.prefix import Policy
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.handwriting import check_text_corpus, require_text_model
from mdnrnn.models.latent import require_encoder
from mdnrnn.runs.config import RunConfig
from mdnrnn.training.checkpoint import WEIGHTS_FILE, load_weights

_PATIENCE = 1.25
"""Steps that a text may take, in the most that as many characters of the corpus took."""
_SCREEN = (0.0, 1.0)
"""Where the touches of performances lie, or have been moved to."""
_MARGIN = 4
"""Characters more: one may take far more steps than all together on average."""


@dataclass(frozen=True)
class Run:
    """A trained model with what belongs to it."""

    folder: Path
    config: RunConfig
    model: SequenceModel

    def open_data(self, data: str | None = None, recipe: Recipe | None = None) -> Corpus:
        """The corpus that it was trained on, or another of the same make; all of it is checked."""
        corpus = open_corpus(data if data is not None else self.config.data, recipe)
        corpus.check()
        self._check_shape(corpus)
        if corpus.metadata.start != self.config.metadata.start:
            raise InputError(
                f"{corpus.metadata.name} starts {corpus.metadata.start!r}; the run expects {self.config.metadata.start!r}"
            )
        return corpus

    def _check_shape(self, corpus: Corpus) -> None:
        shape, own = StepShape.from_corpus(corpus), self.config.shape
        if (shape.features, shape.inputs) != (own.features, own.inputs):
            raise InputError(
                f"{corpus.metadata.name} has {shape.features} features and {shape.inputs} inputs a step; "
                f"the run expects {own.features} and {own.inputs}"
            )

    def evaluate(self, split: str = "test", data: str | None = None, importance: int = 0) -> Likelihood:
        """The likelihood of a split; `importance`: draws of z that estimate the marginal likelihood, 0 for none."""
        corpus = self.with_run_classes(self.open_data(data))
        return evaluate(self.model, Batches(corpus, split, self.config.normalizer), importance=importance)

    def with_run_classes(self, corpus: Corpus) -> Corpus:
        """The corpus with the run's own numbers for its classes, all of them known; with texts, if it writes."""
        if self.model.uses_text:
            check_text_corpus(corpus)
        if not self.config.shape.classes:
            return corpus
        known, names = self.config.metadata.classes, corpus.metadata.classes
        other = [name for name in names if name not in known]
        if corpus.label is None or other:
            found = f"classes that the run does not know: {', '.join(other[:5])}" if other else "no classes"
            raise InputError(f"{corpus.metadata.name} has {found}; expected some of {', '.join(known)}")
        numbers = np.array([known.index(name) for name in names], np.int32)
        return replace(corpus, metadata=replace(corpus.metadata, classes=known), label=numbers[corpus.label])

    def generate(
        self,
        n: int,
        *,
        labels: Items[str] | np.ndarray | None = None,
        latents: np.ndarray | None = None,
        texts: Items[str] | None = None,
        prefix: Sequence | None = None,
        inputs: np.ndarray | None = None,
        policy: Policy | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        shared_noise: bool = False,
        workers: int = 1,
    ) -> Corpus:
        """n drawings as a corpus, raw units.

        Args:
            labels: class names, one for all or one each, or weights (n, classes) of blends; by default the prefix's,
                or all classes in turn.
            latents: (n, Z), for a model that takes them, as `encode` gives them; by default from the prior, or from
                what it is given the prefix.
            texts: what each says, (n,), for a model that writes; it includes what a prefix says.
            prefix: an unfinished drawing that all of them complete; an END in it counts as a lifted pen.
            inputs: what is known before each step, (n, T, A), for a model that takes them.
            policy: makes them as it goes, instead; see `mdnrnn.dream`.
            max_steps: of new steps, by default as many as the longest training sequence has, or by the number of
                characters where there are texts.
            shared_noise: all drawings have the noise of the first: only labels and latents tell them apart.
            workers: processes that share the drawings, on a CPU; they draw the same.
        """
        check_generation_arguments(n, seed)
        if prefix is not None:
            self._check_prefix(prefix)
        weights = self.label_weights(n, labels, None if prefix is None else prefix.label)
        metadata = self.config.metadata
        if latents is None and prefix is not None and len(prefix.event) and self.model.latent:
            latents = self._sample_latents_given_prefix(prefix, weights, n, seed)
        bin_width, first_bin_width = self.bin_widths()
        drawn = generate(
            self.model,
            n,
            Condition(
                _tensor(weights),
                self._checked_inputs(inputs, n),
                self._checked_latents(latents, n),
                self._checked_texts(texts, n),
            ),
            None if prefix is None else self._prefix(prefix),
            policy=policy,
            sampling=sampling,
            seed=seed,
            max_steps=self._limits(texts, prefix) if max_steps is None else max_steps,
            bin_width=bin_width,
            first_bin_width=first_bin_width,
            bounds=self.bounds(),
            shared_noise=shared_noise,
            workers=workers,
        )
        sequences = [
            Sequence(
                self.to_raw(motion),
                event,
                None if weights is None else int(weights[i].argmax()),
                acts,
                None if texts is None else texts[i],
            )
            for i, (motion, event, acts) in enumerate(drawn)
        ]
        source = f"generated by a run on {metadata.name}, seed {seed}"
        return pack(
            Metadata(**{**asdict(metadata), "name": f"{metadata.name} (generated)", "source": source}),
            {"test": sequences},
        )

    def bin_widths(self) -> tuple[Tensor | None, Tensor | None]:
        """The widths (D,), normalized, of the bin_widths that steps are drawn in, and those of first steps."""
        normalizer, metadata = self.config.normalizer, self.config.metadata
        return _tensor(normalizer.bin_widths(metadata)), _tensor(normalizer.bin_widths(metadata, first=True))

    def bounds(self) -> Tensor | None:
        """Least and greatest places (2, P), normalized, that are drawn: those of a screen, where touches are learned."""
        scale = np.asarray(self.config.normalizer.scale)[: self.config.shape.position_features]
        return _tensor(np.outer(_SCREEN, 1 / scale)) if self.config.metadata.is_touch else None

    def to_raw(self, motion: np.ndarray, begins: bool = True) -> np.ndarray:
        """Motions (T, D), as drawn, in raw units and on the data's grid; whether their first begins a sequence."""
        metadata, raw = self.config.metadata, self.config.normalizer.denormalize(motion)
        raw[: int(begins), list(metadata.time_features)] = 0
        grid = metadata.bin_widths(raw.shape[1])
        on_grid = grid > 0
        raw[:, on_grid] = np.rint(raw[:, on_grid] / grid[on_grid]) * grid[on_grid]
        return raw

    def encode(self, corpus: Corpus, split: str | None = None) -> np.ndarray:
        """The latents (M, Z) of a corpus's drawings, means of q(z | drawing), in their order: of a split, or of all."""
        model = require_encoder(self.model)
        self._check_shape(corpus)
        corpus = self.with_run_classes(corpus)
        if split is None:
            split, corpus = "all", replace(corpus, splits={"all": (0, len(corpus))})
        indices = corpus.indices(split)
        means = np.zeros((len(indices), model.latent), np.float32)
        device = next(model.parameters()).device
        with full_precision(), torch.inference_mode():
            for batch in Batches(corpus, split, self.config.normalizer):
                means[batch.indices.numpy() - indices.start] = model.encode(batch.to(device)).mean.cpu().numpy()
        return means

    def attention(self, corpus: Corpus) -> list[np.ndarray]:
        """Where the window stood as each line was written: weights (T, U + 1) of its text's characters and of the place
        behind them, at every step."""
        model, windows = require_text_model(self.model), []
        device = next(model.parameters()).device
        check_text_corpus(corpus)
        with full_precision(), torch.inference_mode():
            for i, characters in enumerate(corpus.text_lengths.tolist()):
                batch = Batches(corpus, "test", self.config.normalizer).batch(np.array([i]))
                windows.append(model.attention(batch.to(device))[:, : characters + 1].cpu().numpy())
        return windows

    def _sample_latents_given_prefix(self, prefix: Sequence, weights: np.ndarray | None, n: int, seed: int) -> np.ndarray:
        """Latents (n, Z) that the prefix may come from, of drawings of the classes asked for."""
        if self.config.shape.inputs:
            raise InputError("a prefix for a model with inputs and a latent was given; give the latents, too")
        part = prefix._replace(event=mark_end(_lifted(prefix.event)), label=None, text=None)
        whole = pack(replace(self.config.metadata, classes=()), {"test": [part]})
        batch = Batches(whole, "test", self.config.normalizer).batch(np.zeros(PROPOSALS, np.int64))
        batch, model = batch.to(next(self.model.parameters()).device), require_encoder(self.model)
        if weights is None:
            return sample_latents_given_prefix(model, batch, n, seed).cpu().numpy()
        latents = np.zeros((n, model.latent), np.float32)
        for blend in np.unique(weights, axis=0):
            of_blend = (weights == blend).all(1)
            label = torch.tensor(blend, dtype=torch.float32, device=batch.lengths.device).expand(PROPOSALS, -1)
            latents[of_blend] = sample_latents_given_prefix(model, replace(batch, label=label), n, seed).cpu().numpy()[of_blend]
        return latents

    def _checked_latents(self, latents: np.ndarray | None, n: int) -> Tensor | None:
        if latents is None:
            return None
        if not self.model.latent:
            raise InputError("latents were given; the run's model takes none; leave them out")
        if np.shape(latents) != (n, self.model.latent):
            raise InputError(f"latents: received shape {np.shape(latents)}, expected ({n}, {self.model.latent})")
        if not np.isfinite(latents).all():
            raise InputError("latents: received some that are infinite or no numbers, expected real numbers")
        return _tensor(latents)

    def _checked_texts(self, texts: Items[str] | None, n: int) -> Tensor | None:
        if texts is None:
            return None
        require_text_model(self.model)
        if len(texts) != n or not all(texts):
            raise InputError(f"{len(texts)} texts were given for {n} lines; expected one each, none of them empty")
        alphabet = self.config.shape.alphabet
        if strange := "".join(sorted(set("".join(texts)) - set(alphabet))):
            raise InputError(f"the text has {strange!r}, which the run has not learned; expected some of {alphabet!r}")
        return to_code_points(list(texts))

    def _limits(self, texts: Items[str] | None, prefix: Sequence | None) -> int | np.ndarray:
        """The most new steps: of any drawing, or (n,) of each text that is still to be written."""
        if texts is None or not self.config.steps_per_character:
            return self.config.max_steps
        written = 0 if prefix is None or prefix.text is None else len(prefix.text)
        characters = np.array([max(0, len(text) - written) for text in texts]) + _MARGIN
        return np.ceil(_PATIENCE * self.config.steps_per_character * characters).astype(np.int64)

    def label_weights(
        self, n: int, names: Items[str] | np.ndarray | None = None, default: int | None = None
    ) -> np.ndarray | None:
        """What every drawing is of, as weights (n, classes): all classes in turn where there are no `names`; None where
        the run has no classes."""
        metadata, classes = self.config.metadata, self.config.shape.classes
        if names is None and not classes:
            return None
        if not classes:
            raise InputError(f"labels {names} were asked for; the run has none; leave them out")
        if isinstance(names, np.ndarray):
            if names.shape != (n, classes):
                raise InputError(f"labels: received weights of shape {names.shape}, expected ({n}, {classes})")
            return names
        if names is None:
            numbers = [i % classes if default is None else default for i in range(n)]
        else:
            if len(names) not in (1, n):
                raise InputError(f"{len(names)} labels were asked for {n} drawings; expected one, or one each")
            numbers = [metadata.class_index(name) for name in names] * (n if len(names) == 1 else 1)
        return np.eye(classes, dtype=np.float32)[numbers]

    def _check_prefix(self, prefix: Sequence) -> None:
        if prefix.motion.shape[-1] != self.config.shape.features:
            raise InputError(
                f"the prefix has {prefix.motion.shape[-1]} features a step; "
                f"the run expects {self.config.shape.features}"
            )
        if len(prefix.event):
            metadata = replace(self.config.metadata, name="the prefix", bin_width=None, classes=())
            pack(metadata, {"test": [Sequence(prefix.motion, _lifted(prefix.event), inputs=prefix.inputs)]}).check()
        width = 0 if prefix.inputs is None else prefix.inputs.shape[-1]
        if width not in (0, self.config.shape.inputs):
            raise InputError(f"the prefix has {width} inputs a step; the run expects {self.config.shape.inputs}")

    def _prefix(self, prefix: Sequence) -> Step:
        event = torch.from_numpy(_lifted(prefix.event).astype(np.int64))
        return Step(torch.from_numpy(self.config.normalizer.normalize(prefix.motion, 0)), event, _tensor(prefix.inputs))

    def _checked_inputs(self, inputs: np.ndarray | None, n: int) -> Tensor | None:
        if inputs is None:
            return None
        shape, width = np.shape(inputs), self.config.shape.inputs
        if not width:
            raise InputError("inputs were given; the run's model takes none; leave them out")
        if len(shape) != 3 or (shape[0], shape[2]) != (n, width):
            raise InputError(f"inputs: received shape {shape}, expected ({n}, T, {width})")
        if not np.isfinite(inputs).all():
            raise InputError("inputs: received some that are infinite or no numbers, expected real numbers")
        return _tensor(inputs)


def _lifted(event: np.ndarray) -> np.ndarray:
    """Events (P,) of which none is END: the pen is lifted instead."""
    return np.where(np.asarray(event) == END, UP, event)


def _tensor(array: np.ndarray | None) -> Tensor | None:
    return None if array is None else torch.from_numpy(np.asarray(array, dtype=np.float32))


def load(folder: Path | str, device: torch.device | str = "cpu") -> Run:
    """A run's best weights in its model, ready to draw."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such run folder; expected one that mdnrnn train made")
    config = RunConfig.read(folder)
    model = config.build()
    load_weights(folder / WEIGHTS_FILE, model)
    return Run(folder, config, model.to(device).eval())


def read_prefix(run: Run, data: str, index: int = 0, points: int | None = None) -> Sequence:
    """Drawing `index` of some data, its first `points` steps, for `run` to complete; its label where both know it."""
    corpus = run.open_data(data, Recipe(split="1,0,0"))  # in the order of the file
    if not 0 <= index < len(corpus):
        raise InputError(f"prefix {index} was asked for; {data} has drawings 0 to {len(corpus) - 1}")
    if points is not None and points < 1:
        raise InputError(f"{points} points of the prefix were asked for; expected 1 or more")
    prefix, known = corpus[index], run.config.metadata.classes
    name = None if prefix.label is None else corpus.metadata.classes[prefix.label]
    label = known.index(name) if name is not None and name in known else None
    return Sequence(prefix.motion[:points], prefix.event[:points], label)
