"""Negative log-likelihood of held-out sequences under a model and under the null model.

Without a latent vector the result is exact. With a latent vector z the result is the variational bound and, on request,
an importance-sampling estimate. The losses defined by Ha and Eck (sketch-rnn) and by Graves (handwriting) are included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from mdnrnn.data.batch import Batch
from mdnrnn.data.batches import Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import CERTAIN_BIN_WIDTH, Normalizer
from mdnrnn.device import full_precision
from mdnrnn.distributions import StepDistribution
from mdnrnn.evaluation.arguments import check_evaluation_arguments, to_torch_seed
from mdnrnn.evaluation.null_model import motion_moments, null_model_nll
from mdnrnn.generation.noise import noise_stream
from mdnrnn.models.base import SequenceModel, negative_log_likelihood
from mdnrnn.models.latent import LatentModel
from mdnrnn.nn.evaluation_mode import evaluation_mode
from mdnrnn.training import distributed


@dataclass(frozen=True, kw_only=True)
class ClassLikelihood:
    """Negative log-likelihood of the sequences of one class, in nats."""

    sequences: int
    points: int
    nll_per_sequence: float
    nll_per_point: float


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Negative log-likelihoods (NLL) of a split, in nats, as means over its sequences or over its points.

    For a model with a latent vector z, these fields are a variational upper bound: `nll_per_sequence`, `nll_per_point`,
    `density_nll_per_sequence`, `density_nll_per_point` and `by_class`. The bound is the reconstruction term, estimated
    from samples of z, plus the exact KL divergence.
    """

    sequences: int
    points: int
    measure: str
    """Kind of the likelihood of motions. "discretized": probability of the bin around the motion, with the bin width of
    the data. "density": density in raw units. "mixed": bin probabilities of some features times the density of all
    other features. The likelihood of the first row of a sequence does not include time features, which are undefined in
    this row."""
    nll_per_sequence: float
    nll_per_point: float
    motion_nll_per_point: float
    event_nll_per_point: float
    reconstruction_nll_per_sequence: float
    """`nll_per_sequence` without the KL divergence."""
    kl_per_sequence: float
    """KL divergence KL(q(z | sequence) || p(z)); 0 for a model without a latent vector."""
    importance_nll_per_sequence: float | None
    """Importance-sampling estimate of the marginal NLL (Burda et al., arXiv:1509.00519). The
    expectation of the estimate is an upper bound of the marginal NLL and decreases with the number of samples. The
    estimate is comparable with the `nll_per_sequence` of a model without a latent vector. None if not requested."""
    importance_standard_error: float | None
    """Standard error of `importance_nll_per_sequence` due to the sampling of z; None if not requested."""
    null_nll_per_sequence: float
    """NLL under the null model (`mdnrnn.evaluation.null_model`), as a baseline for `nll_per_sequence`. The null model
    consists of one Gaussian for all motions, and of the frequencies of the events."""
    null_nll_per_point: float
    density_nll_per_sequence: float
    """NLL in which the likelihood of a motion is its density in normalized units. If the data have bins, uniform noise
    with a range of one bin width is added to the motions (dequantization)."""
    density_nll_per_point: float
    paper_L_R: float | None
    """Reconstruction loss L_R of Ha and Eck (arXiv:1704.03477). The likelihood of a motion is its density in normalized
    units, without dequantization noise. The NLL of a sequence is divided by N_max, the number of points of the longest
    sequence of the corpus. None if there are motion features other than dx and dy."""
    paper_L_KL: float
    """KL loss L_KL of Ha and Eck: KL divergence divided by the size of z; 0 for a model without a latent vector."""
    graves_nll_per_sequence: float | None
    """NLL as defined by Graves (arXiv:1308.0850). The likelihood of a motion is its density, without dequantization
    noise, in units in which dx and dy have standard deviation 1 on the train split. The event is replaced by a binary
    variable: whether the point is the last of a stroke. END is thus not distinguished from UP. The KL divergence of a
    latent vector is not included. None if there are motion features other than dx and dy."""
    by_class: dict[str, ClassLikelihood]
    """NLL by class name, for the classes that occur in the split."""


@full_precision()
@torch.no_grad()
def evaluate(model: SequenceModel, data: Batches, seed: int = 0, importance: int = 0) -> Likelihood:
    """Return the likelihood of a split, computed in float32 without dropout.

    In a distributed run the batches are divided among the ranks. All ranks return the same result.

    Args:
        model: the model. Dropout is off during the evaluation; afterwards, the previous mode of the model is restored.
        data: batches of the split, with the features, inputs, labels and texts that the model expects.
        seed: random seed of the samples of z and of the dequantization noise, a whole number >= 0 of any size. The
            samples of z for a sequence do not depend on the other sequences of its batch.
        importance: number of samples of z per sequence. The importance-sampling estimate and the variational bound use
            the same samples. 0 omits the estimate and uses one sample for the bound.

    Raises:
        InputError: an argument is invalid, or the data do not fit the model.
    """
    check_evaluation_arguments(model, data, seed, importance)
    data, device = replace(data, rank=0, world_size=1), next(model.parameters()).device
    generator = torch.Generator().manual_seed(to_torch_seed(seed))
    samples = max(1, importance) if model.latent else 1
    indices = data.indices()
    table = np.zeros((len(indices), len(_SequenceTerms._fields)))
    with (
        evaluation_mode(model),
        tqdm(total=len(table) * samples, unit="sample", disable=samples == 1, leave=False, dynamic_ncols=True) as bar,
    ):
        for number, batch in enumerate(data):
            noise = torch.rand(batch.target.motion.shape, generator=generator) - 0.5
            if number % distributed.world_size() != distributed.rank():
                continue
            log_det = _log_abs_det_jacobian(batch, data.normalizer)
            latent_noise = _latent_noise(model, batch, seed, samples).to(device)
            terms = _sequence_terms(model, batch.to(device), noise.to(device), log_det, latent_noise, bar)
            table[np.searchsorted(indices, batch.indices.numpy())] = np.stack(terms, 1)
    table = np.sum([part.numpy() for part in distributed.gather_objects(torch.from_numpy(table))], axis=0)
    return _summarize(_SequenceTerms(*table.T), data, model.latent, bool(importance))


class _SequenceTerms(NamedTuple):
    """Terms of the negative log-likelihood (NLL) of each sequence, in nats; arrays of shape (B,)."""

    motion: np.ndarray
    """NLL of motions. The likelihood of a feature is its bin probability or, without bins, its density in raw units."""
    event: np.ndarray
    """NLL of events."""
    noisy_density: np.ndarray
    """NLL of motions as a density in normalized units, after adding uniform noise with a range of one bin width."""
    density: np.ndarray
    """NLL of motions as a density in normalized units, without noise."""
    pen: np.ndarray
    """NLL of a binary variable: whether the point is the last of a stroke (UP or END) or not (DOWN)."""
    kl: np.ndarray
    """KL(q(z | sequence) || p(z)); 0 for a model without a latent vector."""
    importance: np.ndarray
    """Importance-sampling estimate of the NLL of motions and events; motion densities are in raw units."""
    importance_variance: np.ndarray
    """Variance of `importance` due to the sampling of z."""


def _latent_noise(model: SequenceModel, batch: Batch, seed: int, samples: int) -> Tensor:
    """Return standard normal noise, shape (samples, B, Z).

    The noise of a sequence depends only on the seed and on the index of the sequence in the corpus.
    """
    if not model.latent:
        return torch.zeros(samples, batch.size, 0)
    streams = [noise_stream(seed, int(i)) for i in batch.indices]
    rows = [stream.standard_normal((samples, model.latent), np.float32) for stream in streams]
    return torch.from_numpy(np.stack(rows, 1))


def _sequence_terms(
    model: SequenceModel, batch: Batch, noise: Tensor, log_det: Tensor, latent_noise: Tensor, bar: tqdm
) -> _SequenceTerms:
    """Return the terms of the sequences of a batch. S is the number of real (unpadded) steps of the batch.

    Args:
        model: the model.
        batch: the batch, on the device of the model.
        noise: dequantization noise, uniform between -0.5 and 0.5, in units of the bin width, shape (S, D).
        log_det: log |d raw / d normalized| of the continuous features of the motions, shape (S,).
        latent_noise: standard normal noise for the samples of z, shape (samples, B, Z).
        bar: progress bar, which advances by the number of sequences after each sample of z.
    """
    sequence = batch.sequence_of_row().expand(5, -1).cpu()
    sums, log_weights, kl = torch.zeros(5, batch.size, dtype=torch.float64), [], torch.zeros(batch.size)
    posterior = model.encode(batch) if isinstance(model, LatentModel) and model.latent else None
    for sample in latent_noise:
        if posterior is None or not isinstance(model, LatentModel):
            steps, log_ratio = model(batch), kl
        else:
            z = posterior.sample(sample)
            steps, log_ratio, kl = model.decode(batch, z), posterior.log_ratio(z).cpu(), posterior.kl().cpu()
        rows = torch.stack(_row_terms(steps, batch, noise)).cpu().double()
        rows[0] += log_det
        terms = rows.new_zeros(5, batch.size).scatter_add_(1, sequence, rows)
        sums += terms / len(latent_noise)
        log_weights.append(-terms[0] - terms[1] - log_ratio)
        bar.update(batch.size)
    stacked = torch.stack(log_weights)
    estimate = math.log(len(stacked)) - stacked.logsumexp(0)
    # Variance of the log of the mean importance weight, by the delta method.
    variance = torch.softmax(stacked, 0).square().sum(0) - 1 / len(stacked)
    return _SequenceTerms(*(part.double().numpy() for part in (*sums, kl, estimate, variance)))


def _log_abs_det_jacobian(batch: Batch, normalizer: Normalizer) -> Tensor:
    """Return log |d raw / d normalized| of the continuous features of the motions of a batch's S steps, shape (S,)."""
    bin_widths = None if batch.bin_width is None else batch.bin_width.numpy()
    return torch.from_numpy(normalizer.log_abs_det_jacobian(batch.target.motion.numpy(), bin_widths))


def _row_terms(steps: StepDistribution, batch: Batch, noise: Tensor) -> tuple[Tensor, ...]:
    """Return five terms of the NLL of each of the S real (unpadded) steps, shape (S,) each, in normalized units.

    The terms are motion, event, noisy density, density and pen; see `_SequenceTerms`.

    Args:
        steps: distributions of the steps.
        batch: the batch.
        noise: dequantization noise, uniform between -0.5 and 0.5, in units of the bin width, shape (S, D).
    """
    motion, event = negative_log_likelihood(steps, batch)
    pen = -steps.pen_log_prob(batch.target.event)
    target, bin_width = batch.target.motion, batch.bin_width
    if bin_width is None:
        return motion, event, motion, motion, pen
    # Undefined times keep the bin width `CERTAIN_BIN_WIDTH`, so that their likelihood is 1. The likelihood of all other
    # features is their density.
    certain = torch.where(bin_width < CERTAIN_BIN_WIDTH, 0.0, bin_width)
    if not bool(certain.any()):
        density, noisy_density = (-steps.motion.log_prob(value) for value in (target, target + noise * bin_width))
    else:
        noisy = target + noise * (bin_width - certain)
        density, noisy_density = (-steps.motion.discretized_log_prob(value, certain) for value in (target, noisy))
    return motion, event, noisy_density, density, pen


def _summarize(terms: _SequenceTerms, data: Batches, latent: int, importance: bool) -> Likelihood:
    corpus, indices = data.corpus, data.indices()
    lengths = corpus.lengths[indices]
    sequences, points = len(lengths), int(lengths.sum())
    has_strokes = not corpus.metadata.features
    total, density = terms.motion + terms.event + terms.kl, terms.noisy_density + terms.event + terms.kl
    longest = max(int(corpus.lengths[first:last].max()) for first, last in corpus.splits.values() if first < last)
    # The null model is evaluated on the whole split, even if `data` contains only a part of the split.
    null, null_rows = null_model_nll(corpus, data.split, data.normalizer), corpus.rows(data.split)
    graves = terms.density + terms.pen + lengths * _log_unit_scale(data) if has_strokes else None
    return Likelihood(
        sequences=sequences,
        points=points,
        measure=_measure(data.normalizer.bin_widths(corpus.metadata)),
        nll_per_sequence=float(total.mean()),
        nll_per_point=float(total.sum()) / points,
        motion_nll_per_point=float(terms.motion.sum()) / points,
        event_nll_per_point=float(terms.event.sum()) / points,
        reconstruction_nll_per_sequence=float((terms.motion + terms.event).mean()),
        kl_per_sequence=float(terms.kl.mean()),
        importance_nll_per_sequence=float(terms.importance.mean()) if importance else None,
        importance_standard_error=math.sqrt(terms.importance_variance.sum()) / sequences if importance else None,
        null_nll_per_sequence=null / len(corpus.indices(data.split)),
        null_nll_per_point=null / (null_rows.stop - null_rows.start),
        density_nll_per_sequence=float(density.mean()),
        density_nll_per_point=float(density.sum()) / points,
        paper_L_R=float((terms.density + terms.event).sum()) / (sequences * longest) if has_strokes else None,
        paper_L_KL=float(terms.kl.mean()) / latent if latent else 0.0,
        graves_nll_per_sequence=None if graves is None else float(graves.mean()),
        by_class=_by_class(total, lengths, corpus, indices),
    )


def _measure(bin_widths: np.ndarray | None) -> str:
    if bin_widths is None or not bin_widths.any():
        return "density"
    return "discretized" if bin_widths.all() else "mixed"


def _log_unit_scale(data: Batches) -> float:
    """Return the change in NLL per point if dx and dy are each divided by their own standard deviation.

    In normalized units, dx and dy share one scale. The standard deviations are computed on the train split, or on the
    split of `data` if the corpus has no train split.
    """
    split = "train" if data.corpus.splits.get("train", (0, 0)) != (0, 0) else data.split
    _, covariance = motion_moments(data.corpus, data.corpus.rows(split), data.normalizer)
    data.corpus.release_memory()
    return -0.5 * float(np.log(np.maximum(np.diag(covariance), 1e-12)).sum())


def _by_class(nll: np.ndarray, lengths: np.ndarray, corpus: Corpus, indices: np.ndarray) -> dict[str, ClassLikelihood]:
    """Return the likelihood by class name, for the classes that occur in the given sequences.

    Args:
        nll: negative log-likelihoods of the sequences in nats, shape (M,).
        lengths: numbers of points of the sequences, shape (M,).
        corpus: the corpus.
        indices: indices of the sequences in the corpus, shape (M,).
    """
    if corpus.label is None:
        return {}
    labels = np.asarray(corpus.label[indices])
    classes = {}
    for index, name in enumerate(corpus.metadata.classes):
        selected = labels == index
        if selected.any():
            points = int(lengths[selected].sum())
            classes[name] = ClassLikelihood(
                sequences=int(selected.sum()),
                points=points,
                nll_per_sequence=float(nll[selected].mean()),
                nll_per_point=float(nll[selected].sum()) / points,
            )
    return classes
