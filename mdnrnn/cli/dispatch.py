"""Selection of a command, subcommand or preset by the first argument, without importing any of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from mdnrnn.errors import InputError


def choose(arguments: list[str], choices: Mapping[str, str], *, command: str, kind: str, usage: str) -> str:
    """Return the first argument, one of the `choices`.

    `--help` prints the choices and raises `SystemExit(0)`; without arguments they go to stderr, with exit status 2.

    Args:
        arguments: command line after the command.
        choices: one line of description per name.
        command: the command, for example "mdnrnn data".
        kind: noun for a choice, for example "subcommand".
        usage: usage and introduction, printed above the choices.

    Raises:
        InputError: the first argument is not one of the choices.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, choices)) + 2
        lines = [f"  {name:<{width}}{description}" for name, description in choices.items()]
        ending = f"Print the options of a {kind} with: {command} {kind.upper()} --help"
        print("\n".join([usage, "", f"{kind}s:", *lines, "", ending]), file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    if arguments[0] not in choices:
        raise InputError(f"{kind}: received {arguments[0]!r}, expected one of {', '.join(choices)}")
    return arguments[0]


def summary(options: type[object]) -> str:
    """Return the first line of a class docstring."""
    return (options.__doc__ or "").splitlines()[0]
