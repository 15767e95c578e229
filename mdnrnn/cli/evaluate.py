"""`mdnrnn evaluate RUN`: compute the negative log-likelihood of held-out data under a model and a null model."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

from mdnrnn.cli.options import Json, OtherData, RunOptions, parse, print_json
from mdnrnn.errors import InputWarning, quantity
from mdnrnn.runs.training_checks import describe_null_model, is_worse

if TYPE_CHECKING:
    from mdnrnn.evaluation.likelihood import ClassLikelihood, Likelihood


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(RunOptions):
    """Compute the negative log-likelihood of held-out data in nats; lower is better.

    For models without a latent vector the result is exact. For models with a latent vector it is an upper bound, the
    negative ELBO (evidence lower bound).
    """

    data: OtherData = None
    split: Annotated[str, arg(metavar="SPLIT")] = "test"
    """Split to evaluate: train, valid or test."""
    importance: int = 0
    """Number of latent vectors to sample per drawing, for example 64, for an importance-sampling estimate of the exact
    negative log-likelihood and for a more precise bound. With 0, one sample is used, and only the bound is computed.
    Models without a latent vector ignore this option."""
    json: Json = False


def main(arguments: list[str]) -> int:
    """Evaluate the model and print the result. With several processes, only rank 0 prints."""
    options = parse(EvaluateOptions, "evaluate", arguments)
    from mdnrnn.training import distributed

    with distributed.process_group():
        likelihood = options.load().evaluate(options.split, options.data, options.importance)
        if distributed.rank() != 0:
            return 0
    if options.json:
        print_json({"run": str(options.run), "split": options.split, **dataclasses.asdict(likelihood)})
    else:
        print(format_likelihood(likelihood, options.split))
    warn_if_worse(likelihood)
    return 0


def warn_if_worse(likelihood: Likelihood) -> None:
    """Issue an `InputWarning` if a model is not better than the null model."""
    nll, null_nll = likelihood.nll_per_sequence, likelihood.null_nll_per_sequence
    if is_worse(nll, null_nll):
        sequences_per_point = likelihood.sequences / likelihood.points
        message = describe_null_model(nll * sequences_per_point, null_nll * sequences_per_point)
        warnings.warn(message, InputWarning, stacklevel=2)


def format_likelihood(likelihood: Likelihood, split: str) -> str:
    """Return the likelihood of a split as a table in plain text."""
    measure = {
        "discretized": "probability of bins",
        "density": "density in raw units",
        "mixed": "probability of bins, density of times in raw units",
    }[likelihood.measure]
    is_bound = likelihood.kl_per_sequence > 0
    model, null = "model, bound" if is_bound else "model", "null model"
    sequences, points = quantity(likelihood.sequences, "sequences"), quantity(likelihood.points, "points")
    density = (likelihood.density_nll_per_sequence, likelihood.density_nll_per_point)
    return "\n".join(
        [
            f"{split}: {sequences}, {points}; nats, {measure}",
            f"{'':28}{'per sequence':>14}{'per point':>12}",
            _row(model, likelihood.nll_per_sequence, likelihood.nll_per_point),
            *(_latent_rows(likelihood) if is_bound else []),
            _row(null, likelihood.null_nll_per_sequence, likelihood.null_nll_per_point),
            _row("model, normalized density", *density),
            f"model, per point: motion {likelihood.motion_nll_per_point:.4f}, "
            f"event {likelihood.event_nll_per_point:.4f}",
            *_paper_lines(likelihood, is_bound),
            *(_class_rows(likelihood.by_class) if len(likelihood.by_class) > 1 else []),
        ]
    )


def _row(name: str, per_sequence: float, per_point: float) -> str:
    return f"{name:28}{per_sequence:14.2f}{per_point:12.4f}"


def _paper_lines(likelihood: Likelihood, is_bound: bool) -> list[str]:
    """Return a line with the losses as defined by Ha and Eck and by Graves, or [] if these are undefined."""
    loss, graves = likelihood.paper_L_R, likelihood.graves_nll_per_sequence
    if loss is None or graves is None:
        return []
    latent = f", L_KL: {likelihood.paper_L_KL:.4f}" if is_bound else ""
    return [f"Sketch-RNN's L_R: {loss:.4f}{latent}; Graves' convention: {graves:.1f} nats per sequence"]


def _latent_rows(likelihood: Likelihood) -> list[str]:
    """Return table rows for the terms of the bound and, if there is one, the importance-sampling estimate."""
    sequences_per_point = likelihood.sequences / likelihood.points
    terms = {
        "  reconstruction": likelihood.reconstruction_nll_per_sequence,
        "  KL divergence": likelihood.kl_per_sequence,
    }
    rows = [_row(name, nll, nll * sequences_per_point) for name, nll in terms.items()]
    estimate, error = likelihood.importance_nll_per_sequence, likelihood.importance_standard_error
    if estimate is None or error is None:
        return rows
    row = _row("model, importance-weighted", estimate, estimate * sequences_per_point)
    return [*rows, f"{row}  ± {error:.2f} per sequence"]


def _class_rows(classes: dict[str, ClassLikelihood]) -> list[str]:
    width = max(28, *(len(name) + 2 for name in classes))
    return [
        "",
        f"{'class':{width}}{'sequences':>12}{'per sequence':>14}{'per point':>12}",
        *(
            f"{name:{width}}{likelihood.sequences:12}{likelihood.nll_per_sequence:14.2f}{likelihood.nll_per_point:12.4f}"
            for name, likelihood in classes.items()
        ),
    ]
