"""`mdnrnn demo NAME|all`: train mixture density networks on toy problems whose entropy is known."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdnrnn.cli.dispatch import choose
from mdnrnn.cli.options import DeviceOption, Json, Seed, parse, print_json
from mdnrnn.errors import InputError
from mdnrnn.tasks.toy_settings import DEMOS

if TYPE_CHECKING:
    from mdnrnn.tasks.toy_demos import DemoReport


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """Train two networks on a toy problem, evaluate them and save pictures of their predictions.

    One is a mixture density network; the other one minimizes the squared error.
    """

    out: Path
    """Folder for the pictures and result.json."""
    n: int | None = None
    """Number of training points. By default the number in the publication of the problem."""
    seed: Seed = 0
    device: DeviceOption = "auto"
    json: Json = False


def main(arguments: list[str]) -> int:
    """Run one demo; or run all demos and write a page with their results."""
    descriptions = {name: demo.description for name, demo in DEMOS.items()}
    name = choose(
        arguments,
        {**descriptions, "all": "All demos, and one page with their pictures."},
        command="mdnrnn demo",
        kind="demo",
        usage="usage: mdnrnn demo DEMO --out FOLDER ...",
    )
    options = parse(DemoOptions, f"demo {name}", arguments[1:])
    if options.n is not None and options.n < 2:
        raise InputError(f"--n: received {options.n}, expected 2 or more points")
    if options.seed < 0:
        raise InputError(f"--seed: received {options.seed}, expected 0 or more")
    from mdnrnn.device import single_thread
    from mdnrnn.files.atomic import make_folder
    from mdnrnn.tasks.toy_demos import run_demo, save_demo, save_index
    from mdnrnn.training.memory import keep_freed_memory

    make_folder(options.out)  # raise an error before the training
    keep_freed_memory()
    reports = []
    for each in DEMOS if name == "all" else (name,):
        print(f"demo {each}", file=sys.stderr)
        with single_thread():  # more threads do not speed up such small networks
            report = run_demo(each, n=options.n, seed=options.seed, device=options.device)
        pictures = save_demo(report, options.out / each if name == "all" else options.out)
        if not options.json:
            print(_format(report, pictures))
        reports.append(report)
    if name == "all":
        save_index(reports, options.out / "index.html")
    if options.json:
        results = [asdict(report.result) for report in reports]
        print_json(results if name == "all" else results[0])
    elif name == "all":
        print(f"all pictures on one page: {options.out / 'index.html'}")
    return 0


def _format(report: DemoReport, pictures: list[Path]) -> str:
    from mdnrnn.tasks.toy_demos import HELD_OUT, KS_LIMIT

    result = report.result
    shares = ", ".join(f"{share:.1%}" for share in report.coverage)
    distances = ", ".join(f"{distance:.4f}" for distance in report.distance)
    return (
        f"{result.name}: {result.n:,} training points, {HELD_OUT:,} held-out points, {result.seconds:.1f} s\n"
        f"  mixture density network: {result.parameters:,} parameters, {result.test_nll:.4f} nats per held-out point; "
        f"entropy {result.floor:.4f}, gap {result.gap:.4f}\n"
        f"  squared-error network: {report.baseline_parameters:,} parameters, held-out mean squared error "
        f"{result.baseline_mse:.4f}\n"
        f"  coverage of the 90% intervals: {shares}; Kolmogorov-Smirnov distance: {distances} "
        f"(calibrated: below {KS_LIMIT:.4f} with probability 99%)\n"
        f"  pictures: {', '.join(map(str, pictures))}"
    )
