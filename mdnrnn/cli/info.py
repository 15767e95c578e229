"""`mdnrnn info RUN`: describe a trained model."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mdnrnn.cli.options import Json, RunFolder, parse, print_json


@dataclass(frozen=True, kw_only=True)
class InfoOptions:
    """Print the model, the data, the training and the license of a run, and the command that trained it."""

    run: RunFolder
    json: Json = False


def main(arguments: list[str]) -> int:
    """Print the description of a run."""
    options = parse(InfoOptions, "info", arguments)
    from mdnrnn.runs.description import describe_run, format_description

    description = describe_run(options.run)
    if options.json:
        print_json(asdict(description))
        return 0
    for name, value in format_description(description).items():
        print(f"{name:12}{value if value.isprintable() else repr(value)}")
    return 0
