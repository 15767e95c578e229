"""Commands, options and values that shell completion offers; `mdnrnn.cli.completion_scripts` writes the scripts."""

from __future__ import annotations

import argparse
import importlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tyro

from mdnrnn.cli import COMMANDS
from mdnrnn.cli.benchmark import BENCHMARKS, TableOptions
from mdnrnn.cli.data import SUBCOMMANDS
from mdnrnn.cli.demo import DemoOptions
from mdnrnn.cli.dispatch import summary
from mdnrnn.cli.options import PARSER_MARKERS
from mdnrnn.cli.train import ResumeOptions, TrainOptions, preset_defaults
from mdnrnn.data.catalog import CATALOG
from mdnrnn.data.formats import FORMATS
from mdnrnn.runs.bundled import bundled_runs
from mdnrnn.runs.presets import PRESETS
from mdnrnn.tasks.toy_settings import DEMOS

_DEFAULT = re.compile(r"\s*\((default: .*|required)\)\s*$", re.DOTALL)


@dataclass(frozen=True)
class Values:
    """Values of an argument: fixed words, and paths of files and folders."""

    words: tuple[str, ...] = ()
    """A word that ends in / is the start of a value."""
    files: bool = False


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    names: tuple[str, ...]
    """All spellings, for example ("-n", "--n")."""
    description: str
    values: Values | None
    """Values of the option; None for an option without a value."""


@dataclass(frozen=True)
class Command:
    """What can follow a command or subcommand on the command line."""

    subcommands: tuple[tuple[str, str], ...] = ()
    """Names and descriptions."""
    options: tuple[Option, ...] = ()
    arguments: Values | None = None
    """Values of all positional arguments together; None if the command has no positional arguments."""


def list_commands() -> dict[str, Command]:
    """Return all commands by name, for example "data info". The name of the program itself is ""."""
    options = [
        Option(("--version",), "Print the version", None),
        Option(("--print-completion",), "Print a script for shell completion", Values(("bash", "zsh", "fish"))),
    ]
    commands = {"": Command(tuple(COMMANDS.items()), (_HELP, *options))}
    groups = _list_groups()
    for name in COMMANDS:
        if name not in groups:
            module = importlib.import_module(f"mdnrnn.cli.{name}")
            commands[name] = _describe(getattr(module, f"{name.capitalize()}Options"))
            continue
        group = groups[name]
        general = _options_without_preset() if name == "train" else (_HELP,)
        commands[name] = Command(tuple((each, description) for each, description, *_ in group), general)
        commands.update({f"{name} {each}": _describe(*form) for each, _, *form in group})
    return commands


def _options_without_preset() -> tuple[Option, ...]:
    """Return the options that can follow `mdnrnn train` without a preset: those of --resume and of --from."""
    fine_tuning = _describe(TrainOptions, preset_defaults(next(iter(PRESETS.values())))).options
    options = {option.names: option for option in _describe(ResumeOptions).options}
    options.update({option.names: option for option in fine_tuning if not option.names[0].startswith("--model.")})
    return tuple(options.values())


_HELP = Option(("-h", "--help"), "Print the help", None)


def _list_groups() -> dict[str, list[tuple[Any, ...]]]:
    """Return the name, description, option dataclass and default values of each subcommand, by command."""
    demos = {**{name: demo.description for name, demo in DEMOS.items()}, "all": "All demos"}
    benchmarks = {**BENCHMARKS, "table": TableOptions}
    return {
        "train": [
            (name, preset.description, TrainOptions, preset_defaults(preset)) for name, preset in PRESETS.items()
        ],
        "demo": [(name, description, DemoOptions) for name, description in demos.items()],
        "data": [(name, summary(options), options) for name, options in SUBCOMMANDS.items()],
        "benchmark": [(name, summary(options), options) for name, options in benchmarks.items()],
    }


def _describe(options: type[Any], default: object | None = None) -> Command:
    """Return the options and positional arguments of an option dataclass, as `mdnrnn.cli.options.parse` reads it."""
    settings: dict[str, Any] = {} if default is None else {"default": default}
    with warnings.catch_warnings():
        # tyro's own completion scripts do not complete positional arguments, and only this function lists options.
        warnings.simplefilter("ignore", DeprecationWarning)
        actions = tyro.extras.get_parser(options, config=PARSER_MARKERS, **settings)._actions
    positional = [_values(action) for action in actions if not action.option_strings]
    arguments = Values(
        tuple(word for each in positional for word in each.words), any(each.files for each in positional)
    )
    return Command((), tuple(_list_options(actions)), arguments if positional else None)


def _list_options(actions: list[argparse.Action]) -> Iterator[Option]:
    for action in actions:
        if action.dest == "help":
            yield _HELP
        elif action.option_strings:
            text = " ".join(_DEFAULT.sub("", action.help or "").split())
            description = re.split(r"(?<=\w)\. ", text)[0].rstrip(".")
            yield Option(tuple(action.option_strings), description, None if action.nargs == 0 else _values(action))


def _values(action: argparse.Action) -> Values:
    """Return the values of an argument: its choices, or values that its name or its placeholder in the help implies."""
    if action.choices is not None:
        return Values(tuple(sorted(map(str, action.choices))))  # tyro lists those of a union in random order
    data = tuple(name.removesuffix("CATEGORY") for name in CATALOG)
    files = Values(files=True)
    implied = {
        "--device": Values(("auto", "cpu", "cuda", "mps")),
        "--format": Values(tuple(FORMATS)),
        "--style": files,
        "RUN": Values(tuple(bundled_runs()), files=True),
        "DATA": Values(data, files=True),
        "SOURCE": Values(data, files=True),
        "NAME": Values(data),
        "PRESET": Values(tuple(PRESETS)),
        "SPLIT": Values(("train", "valid", "test")),
        "PATH": files,
        "CALL": files,
        "FILE": files,
    }
    keys = (*action.option_strings, str(action.metavar).split(" ")[0])
    return next((implied[key] for key in keys if key in implied), Values())
