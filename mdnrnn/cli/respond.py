"""`mdnrnn respond RUN CALL --out FILE`: answers to a touch performance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from mdnrnn.cli.arguments import parse
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.device import choose_device
from mdnrnn.errors import InputError
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render import ENDINGS, MOVING
from mdnrnn.render import save as saving
from mdnrnn.runs.run import load, read_prefix
from mdnrnn.tasks.performance import RESPONSE_SAMPLING, respond
from mdnrnn.training.config import Device


@dataclass(frozen=True, kw_only=True)
class RespondOptions:
    """Answer a call: a performance goes on from the state that it leaves, begins with a tap and lasts as long as asked.

    RoboJam plays at --temperature 1.5 --scale-temperature 0.01.
    """

    run: tyro.conf.Positional[Path]
    """The run folder, of touch performances."""
    call: tyro.conf.Positional[str]
    """What is answered, a performance in a file, MicroJam's CSV say."""
    out: Path
    """The file to write; its ending picks the format: .svg .png .pdf .gif .json .csv .npz."""
    index: int = 0
    """Which performance of the file is answered."""
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 1
    """How many answers."""
    seconds: float = 5.0
    """How long an answer lasts."""
    temperature: float = RESPONSE_SAMPLING.temperature
    """Above 1: wilder; 0: the most probable answer."""
    scale_temperature: float | None = RESPONSE_SAMPLING.scale_temperature
    """The temperature of the places and times within a component alone."""
    seed: int = 0
    """Answer i is the same for the same seed, however many are given."""
    columns: int | None = None
    """Of the grid in pictures; by default about as many as rows."""
    animate: tyro.conf.FlagCreatePairsOff[bool] = False
    """An SVG that plays in real time."""
    device: Device = "auto"
    """Where to compute; auto: a GPU if there is one."""


def main(arguments: list[str]) -> int:
    """Answer and save."""
    options = parse(RespondOptions, "respond", arguments)
    ending = options.out.suffix.lower()
    saving.check_out(options.out, saving.PERFORMANCE_ENDINGS)
    if options.n < 1:
        raise InputError(f"-n is {options.n}; expected 1 or more")
    if ending == ".csv" and options.n > 1:
        raise InputError(f"{options.out}: a .csv is one performance, {options.n} were asked for; try .json")
    if options.animate and ending not in MOVING:
        raise InputError(f"{options.out}: its ending is {options.out.suffix!r}; to animate, expected .svg or .gif")
    run = load(options.run, choose_device(options.device))
    call = read_prefix(run, options.call, options.index)
    answers = respond(
        run,
        call,
        options.n,
        seconds=options.seconds,
        sampling=Sampling(temperature=options.temperature, scale_temperature=options.scale_temperature),
        seed=options.seed,
    )
    names = ["answer"] if options.n == 1 else [f"answer {i + 1}" for i in range(options.n)]
    played, labels = answers, names
    if ending in (*ENDINGS, ".json"):  # where there is room for both
        both = [Sequence(call.motion, call.event), *(answers[i]._replace(label=None) for i in range(options.n))]
        played, labels = pack(answers.metadata, {"test": both}), ["call", *names]
    saving.save_performances(played, options.out, labels=labels, columns=options.columns, animate=options.animate)
    print(f"{options.out}: {options.n} answers, {len(answers.event)} touches")
    return 0
