"""What latent an unfinished sequence may come from: p(z | prefix), by importance resampling."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mdnrnn.data.batches import Batch
from mdnrnn.device import full_precision
from mdnrnn.events import END
from mdnrnn.models.base import negative_log_likelihood
from mdnrnn.models.latent import LatentModel

PROPOSALS = 256


@full_precision()
@torch.inference_mode()
def sample_latents_given_prefix(model: LatentModel, batch: Batch, n: int, seed: int = 0) -> Tensor:
    """n draws (n, Z) of z given a prefix, of which `batch` holds copies, each the home of one proposal.

    Half of the proposals are draws from the prior, half from q(z | the prefix as a finished sequence), which knows the
    start of it but was never shown one cut short. They are weighed by p(prefix | z) p(z) / their own density, and
    resampled (Rubin 1987, "sampling importance resampling").
    """
    generator = np.random.Generator(np.random.Philox([seed, 2**32]))  # no sequence has this number
    noise = torch.from_numpy(generator.standard_normal((batch.size, model.latent), np.float32)).to(batch.lengths.device)
    posterior = model.encode(batch)
    from_prior = torch.arange(batch.size, device=noise.device) % 2 == 0
    latent = torch.where(from_prior.unsqueeze(-1), noise, posterior.sample(noise))
    motion, event = negative_log_likelihood(model.decode(batch, latent), batch)
    # Where the prefix ends is no event of the sequence.
    nats = motion + torch.where(batch.target.event == END, 0, event)
    sequence = batch.sequence_of_row()
    log_prefix = -nats.new_zeros(batch.size).index_add_(0, sequence, nats)
    log_proposal = torch.logaddexp(torch.zeros_like(log_prefix), posterior.log_ratio(latent)) - math.log(2)
    weights = torch.softmax((log_prefix - log_proposal).double(), 0)
    bounds = weights.cumsum(0)
    places = torch.from_numpy(generator.random(n)).to(bounds.device) * bounds[-1]
    return latent[torch.searchsorted(bounds, places).clamp_max(batch.size - 1)]
