"""`mdnrnn demo NAME|all`: the static toy problems, beside the best that any model could do."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from mdnrnn.cli.arguments import parse, print_json
from mdnrnn.errors import InputError
from mdnrnn.files import make_folder
from mdnrnn.tasks.toy_demos import DEMOS, HELD_OUT, KS_LIMIT, DemoReport, run_demo, save_demo, save_index
from mdnrnn.training.config import Device

Json = tyro.conf.FlagCreatePairsOff[bool]


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Train a mixture density network and a squared-error network on a static problem; measure and draw both."""

    out: Path
    """The folder for the pictures."""
    n: int | None = None
    """Points to train on; by default as many as published."""
    seed: int = 0
    """Of the points and of the networks."""
    device: Device = "auto"
    """Where to train."""
    json: Json = False
    """Print JSON."""


def main(arguments: list[str]) -> int:
    """Run one demo, or all of them with a page."""
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    if name != "all" and name not in DEMOS:
        raise InputError(f"unknown demo {name!r}; expected one of {', '.join(DEMOS)}, or all")
    options = parse(DemoOptions, f"demo {name}", arguments[1:])
    if options.n is not None and options.n < 2:
        raise InputError(f"n: received {options.n}, expected 2 points or more")
    if options.seed < 0:
        raise InputError(f"the seed is {options.seed}; expected 0 or more")
    make_folder(options.out)  # before anything is trained
    reports = []
    for each in DEMOS if name == "all" else (name,):
        print(f"demo {each}", file=sys.stderr)
        report = run_demo(each, n=options.n, seed=options.seed, device=options.device)
        pictures = save_demo(report, options.out / each if name == "all" else options.out)
        if not options.json:
            _print(report, pictures)
        reports.append(report)
    if name == "all":
        save_index(reports, options.out / "index.html")
    if options.json:
        results = [asdict(report.result) for report in reports]
        print_json(results if name == "all" else results[0])
    elif name == "all":
        print(f"all of them on one page: {options.out / 'index.html'}")
    return 0


def _print(report: DemoReport, pictures: list[Path]) -> None:
    result = report.result
    shares = ", ".join(f"{share:.1%}" for share in report.coverage)
    distances = ", ".join(f"{distance:.4f}" for distance in report.distance)
    print(
        f"{result.name}: {result.n:,} points to learn from, {HELD_OUT:,} held out, {result.seconds:.1f} s\n"
        f"  mixture density network  {result.parameters:,} parameters, {result.test_nll:.4f} nats held out; "
        f"the floor is {result.floor:.4f}, the gap {result.gap:.4f}\n"
        f"  squared-error network    {report.baseline_parameters:,} parameters, mean squared error "
        f"{result.baseline_mse:.4f} held out\n"
        f"  90% intervals hold {shares} of the held-out targets; Kolmogorov-Smirnov distance {distances} "
        f"(calibrated: below {KS_LIMIT:.4f} in 99 of 100)\n"
        f"  pictures: {', '.join(map(str, pictures))}"
    )


def _help() -> str:
    width = max(map(len, DEMOS)) + 2
    lines = [f"  {name:<{width}}{demo.what}" for name, demo in DEMOS.items()]
    return "\n".join(
        [
            "usage: mdnrnn demo NAME --out DIR ...",
            "",
            "demos:",
            *lines,
            f"  {'all':<{width}}All of these, and one page of them.",
            "",
            "mdnrnn demo NAME --help tells a demo's options.",
        ]
    )
