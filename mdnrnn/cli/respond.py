"""`mdnrnn respond RUN CALL --out FILE`: generate responses to a touch performance."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, Suppress, arg

from mdnrnn.cli.options import Animate, Columns, RescaleOptions, Seed, check_count, parse
from mdnrnn.data.corpus import Sequence, pack
from mdnrnn.errors import InputError, quantity
from mdnrnn.generation.sampling import Sampling
from mdnrnn.render.save import PERFORMANCE_EXTENSIONS, PICTURE_EXTENSIONS, check_output_path, save_performances
from mdnrnn.render.style import PictureOptions
from mdnrnn.tasks.performance import RESPONSE_SAMPLING, respond


@dataclass(frozen=True, kw_only=True)
class _ResponseSampling(Sampling):
    """Sampling options of responses: without `endless`, which `respond` always sets, and without `min_strokes`."""

    temperature: float = RESPONSE_SAMPLING.temperature
    scale_temperature: float | None = RESPONSE_SAMPLING.scale_temperature
    """Sampling temperature of the scales of the mixture components; lower values reduce the noise of the touches."""
    endless: Annotated[bool, Suppress] = True
    min_strokes: Annotated[int | None, Suppress] = None


@dataclass(frozen=True, kw_only=True)
class RespondOptions(RescaleOptions):
    """Generate responses to a touch performance, the call.

    A response continues from the state of the model after the call. Its first touch is a tap. The RoboJam paper samples
    with --temperature 1.5 --scale-temperature 0.01.
    """

    call: Annotated[str, Positional, arg(metavar="CALL")]
    """File that contains the touch performance to respond to, for example a MicroJam CSV file."""
    out: Path
    """Output file; its extension selects the format: .svg .png .pdf .gif .json .csv .npz."""
    index: int = 0
    """Index of the call in the file, from 0."""
    n: Annotated[int, arg(aliases=["-n"])] = 1
    """Number of responses."""
    seconds: float = 5.0
    """Duration of each response in seconds."""
    sampling: Annotated[_ResponseSampling, arg(name="")] = field(default_factory=_ResponseSampling)
    seed: Seed = 0
    columns: Columns = None
    animate: Animate = False


def main(arguments: list[str]) -> int:
    """Generate the responses and save them; pictures and .json files include the call."""
    options = parse(RespondOptions, "respond", arguments)
    from mdnrnn.runs.run import read_prefix

    extension = options.out.suffix.lower()
    check_output_path(options.out, PERFORMANCE_EXTENSIONS, animate=options.animate)
    check_count(options.n)
    if extension == ".csv" and options.n > 1:
        raise InputError(
            f"{options.out}: received -n {options.n}, expected 1 for .csv; use .json for several responses"
        )
    run = options.load()
    call = read_prefix(run, options.call, options.index, rescale=options.rescaling)
    responses = respond(
        run,
        call,
        options.n,
        seconds=options.seconds,
        sampling=Sampling(**{option.name: getattr(options.sampling, option.name) for option in fields(Sampling)}),
        seed=options.seed,
    )
    names = ["response"] if options.n == 1 else [f"response {i + 1}" for i in range(options.n)]
    performances = responses
    if extension in (*PICTURE_EXTENSIONS, ".json"):
        sequences = [Sequence(call.motion, call.event), *(responses[i]._replace(label=None) for i in range(options.n))]
        performances, names = pack(responses.metadata, {"test": sequences}), ["call", *names]
    picture = PictureOptions(columns=options.columns, labels=names, animate=options.animate)
    save_performances(performances, options.out, picture)
    print(f"{options.out}: {quantity(options.n, 'responses')}, {quantity(len(responses.event), 'touches')}")
    return 0
