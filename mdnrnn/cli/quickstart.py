"""`mdnrnn quickstart`: from nothing to drawings in two minutes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mdnrnn.cli.arguments import parse
from mdnrnn.cli.train import report
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render import save as saving
from mdnrnn.runs.presets import PRESETS
from mdnrnn.runs.run import load
from mdnrnn.runs.train import train

MINUTES = 1.25
TEMPERATURE = 0.4


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """Train on the bundled doodles for about a minute, then draw."""

    out: Path = Path("quickstart")
    """The run folder to make."""
    minutes: float = MINUTES
    """How long to train."""
    seed: int = 0
    """Of all that is random."""


def main(arguments: list[str]) -> int:
    """Train, evaluate, draw."""
    options = parse(QuickstartOptions, "quickstart", arguments)
    preset = PRESETS["stroke-small"]
    training = replace(preset.training, minutes=options.minutes, seed=options.seed, validations=5)
    result = train(preset, "doodles", options.out, training=training)
    if result.interrupted:
        return report(result, options.out)
    run = load(options.out)
    likelihood = run.evaluate()
    print(
        f"held-out drawings: {likelihood.nll_per_point:.3f} nats a point; "
        f"the null model: {likelihood.null_nll_per_point:.3f}"
    )
    picture = options.out / "doodles.svg"
    drawn = run.generate(36, sampling=Sampling(temperature=TEMPERATURE), seed=options.seed)
    saving.save_drawings(drawn, picture, labels=True, columns=6)
    print(
        f"drawings: {picture} (open it in a browser)\n"
        f"draw more: mdnrnn generate {options.out} --label cat -n 9 --temperature 0.4 --out cats.svg\n"
        "your own drawings: mdnrnn train stroke --data FILE --out RUN"
    )
    return 0
