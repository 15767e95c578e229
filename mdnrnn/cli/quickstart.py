"""`mdnrnn quickstart`: train a small model on the bundled doodles and draw with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mdnrnn.cli.evaluate import warn_if_worse
from mdnrnn.cli.options import Seed, parse
from mdnrnn.cli.train import report
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render.save import save_drawings, sequence_labels
from mdnrnn.render.style import DrawingOptions
from mdnrnn.runs.presets import PRESETS

MINUTES = 1.25
TEMPERATURE = 0.4


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """Train a small model on the bundled doodles for about a minute, then draw with it."""

    out: Path = Path("quickstart")
    """Run folder to create."""
    minutes: float = MINUTES
    """Training time in minutes."""
    seed: Seed = 0


def main(arguments: list[str]) -> int:
    """Train and evaluate a model, and save drawings that it generates."""
    options = parse(QuickstartOptions, "quickstart", arguments)
    from mdnrnn.runs.run import load
    from mdnrnn.runs.train import train
    from mdnrnn.training.memory import keep_freed_memory

    keep_freed_memory()
    preset = PRESETS["stroke-small"]
    training = replace(preset.training, minutes=options.minutes, seed=options.seed, validations=5)
    result = train(preset, "doodles", options.out, training=training)
    if result.interrupted:
        return report(result, options.out)
    run = load(options.out)
    likelihood = run.evaluate()
    print(
        f"held-out drawings: {likelihood.nll_per_point:.3f} nats per point; "
        f"null model: {likelihood.null_nll_per_point:.3f}"
    )
    warn_if_worse(likelihood)
    picture = options.out / "doodles.svg"
    drawings = run.generate(36, sampling=Sampling(temperature=TEMPERATURE), seed=options.seed)
    save_drawings(drawings, picture, DrawingOptions(columns=6, labels=sequence_labels(drawings)))
    print(
        f"drawings: {picture} (open it in a browser)\n"
        f"generate more: mdnrnn generate {options.out} --label cat -n 9 --temperature 0.4 --out cats.svg\n"
        "train on your own drawings: mdnrnn train stroke-small --data FOLDER --out RUN"
    )
    return 0
