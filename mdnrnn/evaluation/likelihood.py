"""Exact likelihoods of held-out sequences, the null model beside them, and the sketch-rnn paper's convention."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mdnrnn.data.batches import Batch, Batches
from mdnrnn.data.corpus import Corpus
from mdnrnn.data.normalizer import WIDE, Normalizer
from mdnrnn.device import full_precision
from mdnrnn.distributions import StepDistribution
from mdnrnn.errors import InputError
from mdnrnn.evaluation.null_model import motion_moments, null_model_nll
from mdnrnn.models.base import SequenceModel, negative_log_likelihood
from mdnrnn.models.latent import LatentModel
from mdnrnn.training import distributed


@dataclass(frozen=True, kw_only=True)
class ClassLikelihood:
    """Of one class of a split."""

    sequences: int
    points: int
    nll_per_sequence: float
    nll_per_point: float


@dataclass(frozen=True, kw_only=True)
class Likelihood:
    """Negative log-likelihoods of a split, natural logarithm, means over its sequences or its points.

    `measure` says what the nats of a motion are: "discretized", the probability of its bin_width of one bin_width; "density", in raw
    units; or "mixed", bin_widths of what lies on a grid times the density of what does not. The time of a sequence's first
    row is no news and has neither. With a latent, all nats but those called otherwise are the variational bound:
    reconstruction, estimated from draws of z, plus the exact KL divergence.
    """

    sequences: int
    points: int
    measure: str
    nll_per_sequence: float
    nll_per_point: float
    motion_nll_per_point: float
    event_nll_per_point: float
    reconstruction_nll_per_sequence: float
    """Without the KL divergence of the latent."""
    kl_per_sequence: float
    """0 without a latent."""
    importance_nll_per_sequence: float | None
    """The marginal likelihood by importance sampling (Burda et al., arXiv:1509.00519), where it was asked for: from
    above, the closer the more draws. On one scale with models that have no latent."""
    importance_standard_error: float | None
    null_nll_per_sequence: float
    null_nll_per_point: float
    density_nll_per_sequence: float
    """With the density in normalized units, at points with uniform noise of one bin_width where there is one."""
    density_nll_per_point: float
    paper_L_R: float | None
    """Ha and Eck's L_R (arXiv:1704.03477): density in normalized units without noise, over N_max, not over T. None,
    as what follows, where there is more than dx and dy."""
    paper_L_KL: float
    """Ha and Eck's L_KL: of each of the latent's numbers; 0 without a latent."""
    graves_nll_per_sequence: float | None
    """As Graves counts (arXiv:1308.0850): density, without noise, of offsets scaled to a standard deviation of 1 along
    each axis over the train split; one bit a point, whether the stroke ends there, and no END. With a latent, of the
    reconstruction alone."""
    by_class: dict[str, ClassLikelihood]
    """By the corpus's classes, those that the split has."""


@full_precision()
@torch.no_grad()
def evaluate(model: SequenceModel, data: Batches, seed: int = 0, importance: int = 0) -> Likelihood:
    """The likelihood of one split, in float32. Several processes (see distributed.py) share its batches: the same number.

    `importance`: how many draws of z estimate the marginal likelihood, and the bound; by default the bound alone is
    estimated, from one. `seed` fixes all draws.
    """
    if importance < 0:
        raise InputError(f"importance is {importance}; expected a number of draws, 0 for none")
    device, training = next(model.parameters()).device, model.training
    generator = torch.Generator().manual_seed(seed)
    draws = max(1, importance) if model.latent else 1
    model.eval()
    indices = data.indices()
    table = np.zeros((len(indices), len(_NLLTerms._fields)))
    with tqdm(total=len(table) * draws, unit="draw", disable=draws == 1, leave=False, dynamic_ncols=True) as bar:
        for number, batch in enumerate(data):
            noise = torch.rand(batch.target.motion.shape, generator=generator) - 0.5
            if number % distributed.world_size() != distributed.rank():
                continue
            volume = _log_volume(batch, data.normalizer).to(device)
            latents = _latent_noise(model, batch, seed, draws).to(device)
            nats = _nats(model, batch.to(device), noise.to(device), volume, latents, bar)
            table[np.searchsorted(indices, batch.indices.numpy())] = np.stack(nats, 1)
    model.train(training)
    table = np.sum([part.numpy() for part in distributed.gather_objects(torch.from_numpy(table))], axis=0)
    return _summary(_NLLTerms(*table.T), data, model.latent, bool(importance))


class _NLLTerms(NamedTuple):
    """Of every sequence, each (B,); motion and importance in raw units, densities in normalized ones. Importance: its
    estimate, and the variance of that."""

    motion: np.ndarray
    event: np.ndarray
    density: np.ndarray
    bare: np.ndarray
    lift: np.ndarray
    kl: np.ndarray
    importance: np.ndarray
    variance: np.ndarray


def _latent_noise(model: SequenceModel, batch: Batch, seed: int, draws: int) -> Tensor:
    """Standard normal (draws, B, Z); that of a sequence comes from the seed and its number, whatever the batch."""
    shape = (draws, model.latent)
    noises = [np.random.Philox([seed, int(i)]) for i in batch.indices] if model.latent else []
    rows = [np.random.Generator(noise).standard_normal(shape, np.float32) for noise in noises]
    return torch.from_numpy(np.stack(rows, 1)) if rows else torch.zeros(draws, batch.size, 0)


def _nats(model: SequenceModel, batch: Batch, noise: Tensor, volume: Tensor, latents: Tensor, bar: tqdm) -> _NLLTerms:
    """Of a batch; motions at points with `noise` (S, D) in bin_widths for their density, with log `volume` (S,) of their
    units, z from noise (draws, B, Z)."""
    sums, log_weights, kl = torch.zeros(5, batch.size, dtype=torch.float64), [], torch.zeros(batch.size)
    posterior = model.encode(batch) if isinstance(model, LatentModel) and model.latent else None
    for latent in latents:
        if posterior is None or not isinstance(model, LatentModel):
            steps, log_ratio = model(batch), kl
        else:
            z = posterior.sample(latent)
            steps, log_ratio, kl = model.decode(batch, z), posterior.log_ratio(z).cpu(), posterior.kl().cpu()
        sequence = batch.sequence_of_row().expand(5, -1)
        own = torch.stack(_rows(steps, batch, noise)).double()
        own[0] += volume
        own = own.new_zeros(5, batch.size).scatter_add_(1, sequence, own).cpu()
        sums += own / len(latents)
        log_weights.append(-own[0] - own[1] - log_ratio)
        bar.update(batch.size)
    logs = torch.stack(log_weights)
    estimate = math.log(len(logs)) - logs.logsumexp(0)
    variance = torch.softmax(logs, 0).square().sum(0) - 1 / len(logs)  # of a log of a mean, by the delta method
    return _NLLTerms(*(part.double().numpy() for part in (*sums, kl, estimate, variance)))


def _log_volume(batch: Batch, normalizer: Normalizer) -> Tensor:
    """What log densities of the real steps, normalized, have over those in raw units, (S,)."""
    bin_widths = None if batch.bin_width is None else batch.bin_width.numpy()
    return torch.from_numpy(normalizer.log_abs_det_jacobian(batch.target.motion.numpy(), bin_widths))


def _rows(steps: StepDistribution, batch: Batch, noise: Tensor) -> tuple[Tensor, ...]:
    """Nats of every real step, (S,): its motion, its event, its density with noise and without, and whether the pen is
    lifted after it."""
    motion, event = negative_log_likelihood(steps, batch)
    lift = -steps.pen_log_prob(batch.target.event)
    place, bin_width = batch.target.motion, batch.bin_width
    if bin_width is None:
        return motion, event, motion, motion, lift
    no_news = torch.where(bin_width < WIDE, 0.0, bin_width)
    if not bool(no_news.any()):
        bare, density = (-steps.motion.log_prob(at) for at in (place, place + noise * bin_width))
    else:
        at = place + noise * (bin_width - no_news)
        bare, density = (-steps.motion.discretized_log_prob(value, no_news) for value in (place, at))
    return motion, event, density, bare, lift


def _summary(nats: _NLLTerms, data: Batches, latent: int, importance: bool) -> Likelihood:
    corpus, indices, strokes = data.corpus, data.indices(), not data.corpus.metadata.features
    lengths = corpus.lengths[indices]
    sequences, points = len(lengths), int(lengths.sum())
    total, density = nats.motion + nats.event + nats.kl, nats.density + nats.event + nats.kl
    longest = max(
        int(corpus.lengths[slice(*bounds)].max()) for bounds in corpus.splits.values() if bounds[0] < bounds[1]
    )
    null, rows = null_model_nll(corpus, data.split, data.normalizer), corpus.rows(data.split)
    return Likelihood(
        sequences=sequences,
        points=points,
        measure=_measure(data.normalizer.bin_widths(corpus.metadata)),
        nll_per_sequence=float(total.mean()),
        nll_per_point=float(total.sum()) / points,
        motion_nll_per_point=float(nats.motion.sum()) / points,
        event_nll_per_point=float(nats.event.sum()) / points,
        reconstruction_nll_per_sequence=float((nats.motion + nats.event).mean()),
        kl_per_sequence=float(nats.kl.mean()),
        importance_nll_per_sequence=float(nats.importance.mean()) if importance else None,
        importance_standard_error=math.sqrt(nats.variance.sum()) / sequences if importance else None,
        null_nll_per_sequence=null / len(corpus.indices(data.split)),  # of the whole split, whatever part is taken
        null_nll_per_point=null / (rows.stop - rows.start),
        density_nll_per_sequence=float(density.mean()),
        density_nll_per_point=float(density.sum()) / points,
        paper_L_R=float((nats.bare + nats.event).sum()) / (sequences * longest) if strokes else None,
        paper_L_KL=float(nats.kl.mean()) / latent if latent else 0.0,
        graves_nll_per_sequence=float((nats.bare + nats.lift + lengths * _log_unit(data)).mean()) if strokes else None,
        by_class=_by_class(total, lengths, corpus, indices),
    )


def _measure(bin_widths: np.ndarray | None) -> str:
    if bin_widths is None or not bin_widths.any():
        return "density"
    return "discretized" if bin_widths.all() else "mixed"


def _log_unit(data: Batches) -> float:
    """What a density in normalized units has, in nats a point, over one of offsets of standard deviation 1 each."""
    split = "train" if data.corpus.splits.get("train", (0, 0)) != (0, 0) else data.split
    _, covariance = motion_moments(data.corpus, data.corpus.rows(split), data.normalizer)
    data.corpus.release_memory()
    return -0.5 * float(np.log(np.maximum(np.diag(covariance), 1e-12)).sum())


def _by_class(
    total: np.ndarray, lengths: np.ndarray, corpus: Corpus, indices: np.ndarray
) -> dict[str, ClassLikelihood]:
    if corpus.label is None:
        return {}
    labels = np.asarray(corpus.label[indices])
    classes = {}
    for number, name in enumerate(corpus.metadata.classes):
        own = labels == number
        if own.any():
            points = int(lengths[own].sum())
            classes[name] = ClassLikelihood(
                sequences=int(own.sum()),
                points=points,
                nll_per_sequence=float(total[own].mean()),
                nll_per_point=float(total[own].sum()) / points,
            )
    return classes
