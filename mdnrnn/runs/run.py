"""`Run`, a trained model with its config: evaluation, generation and encoding in raw units."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus, Sequence, mark_end, pack
from mdnrnn.data.importing.recipe import Recipe
from mdnrnn.data.outliers import find_extremes
from mdnrnn.data.unicode_text import to_nfc
from mdnrnn.device import choose_device, full_precision
from mdnrnn.errors import InputError
from mdnrnn.evaluation.likelihood import Likelihood, evaluate
from mdnrnn.generation.arguments import check_generation_arguments
from mdnrnn.generation.latent_completion import PROPOSALS, sample_latents_given_prefix
from mdnrnn.generation.loop import generate
from mdnrnn.generation.prefix import Policy
from mdnrnn.generation.sampling import Sampling
from mdnrnn.models.base import Condition, SequenceModel, StepShape
from mdnrnn.models.handwriting import check_text_corpus, require_text_model
from mdnrnn.models.latent import require_encoder
from mdnrnn.runs import generation_arguments as arguments
from mdnrnn.runs.bundled import find_run
from mdnrnn.runs.config import RunConfig
from mdnrnn.runs.data import Data, label_single_class, open_data, open_training_data
from mdnrnn.runs.raw_stop import stop_in_raw_units
from mdnrnn.runs.rescaling import fit_scale
from mdnrnn.training.checkpoint import WEIGHTS_FILE, check_weights, load_weights

_SCREEN = (0.0, 1.0)
"""Range of both coordinates of a touch screen."""


@dataclass(frozen=True)
class Run:
    """A trained model with its config and folder."""

    folder: Path
    config: RunConfig
    model: SequenceModel

    def open_data(self, data: Data | None = None, recipe: Recipe | None = None) -> Corpus:
        """Open the training corpus, or another corpus whose steps have the same format, and check all its values.

        Args:
            data: a corpus, a path or a catalog name; by default the training data.
            recipe: import options of drawings that are not in the corpus format.

        Raises:
            InputError: the data are invalid, or they differ from the data of the run in the number of features, the
                number of inputs, or the pen state before the first step (`Metadata.start`).
        """
        corpus = open_training_data(self.config) if data is None else open_data(data, recipe)
        corpus.check()
        self._check_shape(corpus)
        if data is not None:
            self._check_magnitude(corpus)
        start = self.config.metadata.start
        if corpus.metadata.start != start:
            raise InputError(
                f"{corpus.metadata.name}: received sequences that start with the pen {corpus.metadata.start}, expected "
                f"the pen {start} as in the training data; use data of the same kind"
            )
        return corpus

    def _check_shape(self, corpus: Corpus) -> None:
        received, expected = StepShape.from_corpus(corpus), self.config.shape
        if (received.features, received.inputs) != (expected.features, expected.inputs):
            raise InputError(
                f"{corpus.metadata.name} has {received.features} features and {received.inputs} inputs per step; "
                f"the run expects {expected.features} and {expected.inputs}"
            )
        if expected.context and received.context != expected.context:
            raise InputError(
                f"{corpus.metadata.name} has a context vector of size {received.context}; the run expects "
                f"{expected.context}"
            )

    def _check_magnitude(self, corpus: Corpus) -> None:
        """Raise `InputError` if a motion is so large that the model's arithmetic would overflow."""
        mean, scale = self.config.normalizer.mean, self.config.normalizer.scale
        for value, sequence, row, feature in find_extremes(corpus):
            name = f"{corpus.metadata.name}, sequence {sequence}, row {row}"
            normalized = value / scale[feature] - mean[feature] / scale[feature]
            arguments.check_magnitude(name, np.array(value), np.array(normalized))

    def evaluate(self, split: str = "test", data: Data | None = None, importance: int = 0) -> Likelihood:
        """Return the likelihood of a split under the model.

        Args:
            split: name of the split.
            data: a corpus, a path or a catalog name; by default the training data.
            importance: number of samples of the latent vector z per sequence for the importance-sampling estimate of
                the likelihood; 0 omits the estimate.
        """
        corpus = self.with_run_classes(self.open_data(data))
        return evaluate(self.model, Batches(corpus, split, self.config.normalizer), importance=importance)

    def with_run_classes(self, corpus: Corpus) -> Corpus:
        """Return the corpus with labels that are indices of the run's classes; unchanged if the run has no classes.

        If the run has a single class, all sequences of a corpus without classes get this class.

        Raises:
            InputError: the corpus has a class that the run does not have, or lacks classes or texts that the model
                needs.
        """
        if self.model.uses_text:
            check_text_corpus(corpus)
        if not self.config.shape.classes:
            return corpus
        known = self.config.metadata.classes
        corpus = label_single_class(corpus, known)
        names = corpus.metadata.classes
        unknown = [name for name in names if name not in known]
        if corpus.label is None or unknown:
            found = f"classes that the run does not have: {', '.join(unknown[:5])}" if unknown else "no classes"
            raise InputError(f"{corpus.metadata.name} has {found}; expected classes from {', '.join(known)}")
        indices = np.array([known.index(name) for name in names], np.int32)
        return replace(corpus, metadata=replace(corpus.metadata, classes=known), label=indices[corpus.label])

    def generate(
        self,
        n: int,
        *,
        labels: Items[str] | np.ndarray | None = None,
        latents: np.ndarray | None = None,
        texts: Items[str] | None = None,
        context: np.ndarray | None = None,
        prefix: Sequence | None = None,
        inputs: np.ndarray | None = None,
        policy: Policy | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        max_steps: int | None = None,
        shared_noise: bool = False,
        workers: int = 1,
    ) -> Corpus:
        """Return n generated sequences as a corpus in raw units.

        Args:
            n: number of sequences.
            labels: class names, one for all or one per sequence; or weights (n, classes) that blend classes. By default
                the label of the prefix; if there is no prefix or the prefix has no label, sequence i has class i modulo
                the number of classes.
            latents: latent vectors (n, Z), as returned by `encode`; by default sampled from the prior or, with a
                prefix, from p(z | prefix).
            texts: one text per sequence, for a text-conditional model; each text begins with the text of the prefix.
            context: context vectors (n, C), for a model with a context vector; by default the context of the prefix.
            prefix: an unfinished sequence in raw units that all sequences continue; END in it is replaced by UP.
            inputs: inputs (n, T, A) of all steps, for a model with inputs.
            policy: function that chooses the inputs of each step, instead of `inputs`; see
                `mdnrnn.generation.prefix.Policy`. `mdnrnn.dream` accepts a simpler function, for world models.
            sampling: sampling options; by default steps are sampled from the model's distribution. A stopping rule
                receives motions in raw units.
            seed: random seed. The noise of sequence i depends only on the seed and i.
            max_steps: maximum number of new steps; by default the length of the longest training sequence or, with
                texts, a limit that grows with the number of characters.
            shared_noise: whether all sequences use the noise of sequence 0. The sequences then differ only because of
                other arguments, such as their labels or latent vectors.
            workers: number of worker processes; the result does not depend on this number. More than 1 requires a model
                on the CPU, no policy and no stopping rule.

        Raises:
            InputError: an argument does not fit the run's model.
        """
        config = self.config
        texts = None if texts is None else [to_nfc(text) for text in texts]
        check_generation_arguments(n, seed)
        if prefix is not None:
            arguments.check_prefix(config, prefix)
        prefix_step = None if prefix is None else arguments.prefix_to_step(config, prefix)
        weights = self.label_weights(n, labels, None if prefix is None else prefix.label)
        if context is None and prefix is not None and prefix.context is not None and config.shape.context:
            context = np.tile(prefix.context, (n, 1))
        vectors = arguments.check_context(context, n, config.shape.context)
        if latents is None and prefix is not None and len(prefix.event) and self.model.latent:
            latents = self._sample_latents(prefix, weights, vectors, n, seed)
        condition = Condition(
            label=arguments.to_tensor(weights),
            inputs=arguments.check_inputs(inputs, n, config.shape.inputs),
            latent=arguments.check_latents(latents, n, self.model.latent),
            text=self._check_texts(texts, n),
            context=vectors,
        )
        bin_width, first_bin_width = self.bin_widths()
        generated = generate(
            self.model,
            n,
            condition,
            prefix_step,
            policy=policy,
            sampling=stop_in_raw_units(self, sampling),
            seed=seed,
            max_steps=arguments.step_limits(config, texts, prefix) if max_steps is None else max_steps,
            bin_width=bin_width,
            first_bin_width=first_bin_width,
            bounds=self.bounds(),
            shared_noise=shared_noise,
            workers=workers,
        )
        sequences = [
            Sequence(
                self.to_raw(sequence.motion),
                sequence.event,
                label=None if weights is None else int(weights[i].argmax()),
                inputs=sequence.inputs,
                text=None if texts is None else texts[i],
                context=None if context is None else np.asarray(context[i]),
            )
            for i, sequence in enumerate(generated)
        ]
        name = config.metadata.name
        source = f"generated by a run on {name}, seed {seed}"
        return pack(replace(config.metadata, name=f"{name} (generated)", source=source), {"test": sequences})

    def label_weights(
        self, n: int, labels: Items[str] | np.ndarray | None = None, default: int | None = None
    ) -> np.ndarray | None:
        """Return the class weights (n, classes) of n sequences; see `generation_arguments.label_weights`."""
        return arguments.label_weights(self.config, n, labels, default)

    def _check_texts(self, texts: Items[str] | None, n: int) -> Tensor | None:
        if texts is not None:
            require_text_model(self.model)
        return arguments.check_texts(texts, n, self.config.shape.alphabet)

    def _sample_latents(
        self, prefix: Sequence, weights: np.ndarray | None, context: Tensor | None, n: int, seed: int
    ) -> np.ndarray:
        """Sample n latents (n, Z) from p(z | prefix, class, context).

        Args:
            prefix: the prefix, in raw units.
            weights: class weights (n, classes), or None.
            context: context vectors (n, C), or None.
            n: number of sequences.
            seed: random seed.
        """
        if self.config.shape.inputs:
            raise InputError(
                "latents: received none, expected latent vectors: for a model with inputs, they cannot be sampled from "
                "the prefix; pass latents"
            )
        prefix = prefix._replace(event=mark_end(arguments.replace_end(prefix.event)), label=None, text=None)
        corpus = pack(replace(self.config.metadata, classes=()), {"test": [prefix._replace(context=None)]})
        model, device = require_encoder(self.model), next(self.model.parameters()).device
        batch = Batches(corpus, "test", self.config.normalizer).batch(np.zeros(PROPOSALS, np.int64)).to(device)
        label = None if weights is None else torch.from_numpy(np.asarray(weights, np.float32))
        # Sequences of the same class weights and context share one sample of all n latent vectors.
        conditions = torch.cat([part for part in (torch.zeros(n, 1), label, context) if part is not None], -1)
        latents = np.zeros((n, model.latent), np.float32)
        for row in conditions.unique(dim=0):
            selected = (conditions == row).all(1)
            first = int(selected.int().argmax())
            label_row, context_row = (
                None if part is None else part[first].to(device).expand(PROPOSALS, -1) for part in (label, context)
            )
            samples = sample_latents_given_prefix(model, replace(batch, label=label_row, context=context_row), n, seed)
            latents[selected.numpy()] = samples.cpu().numpy()[selected.numpy()]
        return latents

    def bin_widths(self) -> tuple[Tensor | None, Tensor | None]:
        """Return two tensors of normalized bin widths (D,): for all steps but the first, and for the first step.

        Both tensors are None if the corpus has neither a bin width nor time features.
        """
        normalizer, metadata = self.config.normalizer, self.config.metadata
        return (
            arguments.to_tensor(normalizer.bin_widths(metadata)),
            arguments.to_tensor(normalizer.bin_widths(metadata, first=True)),
        )

    def bounds(self) -> Tensor | None:
        """Return the lower and upper bounds (2, P) of the P position features, normalized.

        Touch performances are bounded by the screen; for other data the result is None.
        """
        if not self.config.metadata.is_touch:
            return None
        scale = np.asarray(self.config.normalizer.scale)[: self.config.shape.position_features]
        return arguments.to_tensor(np.outer(_SCREEN, 1 / scale))

    def to_raw(self, motion: np.ndarray, starts_sequence: bool = True) -> np.ndarray:
        """Convert generated motion (T, D) to raw units, rounded to the grid of the data.

        Args:
            motion: motion (T, D), normalized.
            starts_sequence: whether motion[0] is the first step of a sequence; if so, its time is set to 0.
        """
        metadata, raw = self.config.metadata, self.config.normalizer.denormalize(motion)
        raw[: int(starts_sequence), list(metadata.time_features)] = 0
        bin_widths = metadata.bin_widths(raw.shape[1])
        on_grid = bin_widths > 0
        raw[:, on_grid] = np.rint(raw[:, on_grid] / bin_widths[on_grid]) * bin_widths[on_grid]
        return raw

    def encode(self, corpus: Corpus, split: str | None = None) -> np.ndarray:
        """Return the latent vectors (M, Z) of sequences: the means of q(z | sequence), in the order of the corpus.

        Args:
            corpus: sequences with the same features and inputs as the run's data.
            split: name of the split to encode; by default all sequences.

        Raises:
            InputError: the model has no encoder, the corpus does not match the model, or a latent vector is NaN or
                infinite.
        """
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
        if not np.isfinite(means).all():
            raise InputError(
                f"{corpus.metadata.name}: received drawings whose latent vectors are NaN or infinite; expected "
                "coordinates on the scale of the training data; train on these data, or rescale them"
            )
        return means

    def attention(self, corpus: Corpus) -> list[np.ndarray]:
        """Return the attention weights of a text-conditional model for each line of handwriting.

        Args:
            corpus: lines with their texts.

        Returns:
            One array (T, U + 1) per line. Its columns are the U characters of the text and the position after the last
            character.
        """
        model, windows = require_text_model(self.model), []
        device = next(model.parameters()).device
        check_text_corpus(corpus)
        with full_precision(), torch.inference_mode():
            for i, characters in enumerate(corpus.text_lengths.tolist()):
                batch = Batches(corpus, "test", self.config.normalizer).batch(np.array([i]))
                windows.append(model.attention(batch.to(device))[:, : characters + 1].cpu().numpy())
        return windows


def load(run: Path | str, device: torch.device | str = "cpu") -> Run:
    """Load a run. Its model has the weights with the lowest validation loss and is in evaluation mode.

    Args:
        run: run folder, or the name of a bundled model: doodles, handwriting or kanji.
        device: device of the model, or its name; see `mdnrnn.device.choose_device`.

    Raises:
        InputError: there is no such run, a file in its folder is missing or damaged, or the device does not exist.
    """
    device = choose_device(device) if isinstance(device, str) else device
    folder = find_run(run)
    config = RunConfig.read(folder)
    # A damaged config can contain arbitrary sizes: check the header of the weights before the model is allocated.
    check_weights(folder / WEIGHTS_FILE, config.weights_without_values(), only_header=True)
    model = config.build()
    load_weights(folder / WEIGHTS_FILE, model)
    return Run(folder, config, model.to(device).eval())


def read_prefix(
    run: Run, data: str, index: int = 0, points: int | None = None, rescale: bool | None = None
) -> Sequence:
    """Return the first `points` steps of a drawing as a prefix for `run.generate`.

    The prefix has the label of the drawing if the class of the drawing is one of the run's classes. An `InputWarning`
    is issued if the drawing is not at the scale of the training drawings.

    Args:
        run: run that completes the drawing.
        data: a catalog name or a path.
        index: index of the drawing, in the order of the file.
        points: number of steps. By default all steps; the whole drawing is then treated as an unfinished drawing when
            its scale is estimated, unless it is from a corpus or a touch performance.
        rescale: whether to scale the drawing to the size of the training drawings; see `rescaling.fit_scale`.
    """
    corpus = run.open_data(data, Recipe(split="1,0,0"))  # one split, so that the order of the file is kept
    if not 0 <= index < len(corpus):
        raise InputError(f"prefix index: received {index}, expected 0 to {len(corpus) - 1} for {data}")
    if points is not None and points < 1:
        raise InputError(f"prefix points: received {points}, expected 1 or more")
    drawing = pack(corpus.metadata, {"test": [corpus[index]]})
    unfinished = points is None and not corpus.metadata.is_touch
    prefix = fit_scale(run.config, drawing, data, rescale, unfinished=unfinished)[0]
    known = run.config.metadata.classes
    name = None if prefix.label is None else corpus.metadata.classes[prefix.label]
    label = known.index(name) if name is not None and name in known else None
    return Sequence(prefix.motion[:points], prefix.event[:points], label, context=prefix.context)
