"""Latent vectors of an unfinished sequence: samples of p(z | prefix) by sampling importance resampling."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batch import Batch
from mdnrnn.device import full_precision
from mdnrnn.models.base import negative_log_likelihood
from mdnrnn.models.latent import LatentModel
from mdnrnn.pen_events import END

PROPOSALS = 256
"""Number of proposals of z per prefix in `Run.generate`."""


@full_precision()
@torch.inference_mode()
def sample_latents_given_prefix(model: LatentModel, batch: Batch, n: int, seed: int = 0) -> Tensor:
    """Return n samples of z, shape (n, Z), approximately from p(z | prefix).

    Half of the proposals are sampled from the encoder's q(z | prefix). This distribution may be inaccurate, because the
    encoder was trained on finished sequences only. The other half are therefore sampled from the prior p(z). The
    proposal density is the mean of both densities. Each proposal has the weight p(prefix | z) p(z) / (proposal
    density). The n samples are drawn from the proposals, with replacement and with probabilities proportional to the
    weights (Rubin 1987, "sampling importance resampling").

    Args:
        model: model with an encoder.
        batch: copies of the prefix, one per proposal.
        n: number of samples.
        seed: random seed.
    """
    generator = np.random.Generator(np.random.Philox([seed, 2**32]))  # index 2**32: noise that no sequence uses
    noise = torch.from_numpy(generator.standard_normal((batch.size, model.latent), np.float32)).to(batch.lengths.device)
    posterior = model.encode(batch)
    is_from_prior = torch.arange(batch.size, device=noise.device) % 2 == 0
    latent = torch.where(is_from_prior.unsqueeze(-1), noise, posterior.sample(noise))
    motion, event = negative_log_likelihood(model.decode(batch, latent), batch)
    # END only marks the end of the prefix in the batch; it is not an observed event.
    nll = motion + torch.where(batch.target.event == END, 0, event)
    log_prefix = -nll.new_zeros(batch.size).index_add_(0, batch.sequence_of_row(), nll)
    log_proposal = torch.logaddexp(torch.zeros_like(log_prefix), posterior.log_ratio(latent)) - math.log(2)
    cumulative = torch.softmax((log_prefix - log_proposal).cpu().double(), 0).cumsum(0)
    uniform = torch.from_numpy(generator.random(n)) * cumulative[-1]
    return latent[torch.searchsorted(cumulative, uniform).clamp_max(batch.size - 1).to(latent.device)]
