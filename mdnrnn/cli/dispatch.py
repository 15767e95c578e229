"""Selection of a command, subcommand or preset by the first argument of a command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from mdnrnn.errors import InputError


def choose(arguments: list[str], choices: Mapping[str, str], *, command: str, kind: str, usage: str) -> str:
    """Return the first argument, which must be one of the `choices`.

    With `--help`, print the choices to stdout and raise `SystemExit(0)`. Without arguments, print them to stderr and
    raise `SystemExit(2)`.

    Args:
        arguments: the arguments after `command`.
        choices: a description in one line for each choice.
        command: the command, for example "mdnrnn data".
        kind: the noun for a choice, for example "subcommand".
        usage: text that is printed above the choices.

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
    """Return the first line of the docstring of a class."""
    return (options.__doc__ or "").splitlines()[0]
