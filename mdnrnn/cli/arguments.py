"""Dataclasses as command lines, by tyro; what is wrong with one comes out as one line."""

from __future__ import annotations

import contextlib
import io
import json
import re
from typing import Any, TypeVar

import tyro

from mdnrnn.errors import InputError

T = TypeVar("T")
_ASIDES = re.compile(r"Argument helptext|For full helptext")
_FRAME = re.compile(r"[╭╮╰╯│─━┃┏┓┗┛]+")


def parse(options: type[T], command: str, arguments: list[str], default: T | None = None) -> T:
    """The options as `arguments` give them. `--help` prints and exits with 0; a wrong one is an InputError."""
    complaint = io.StringIO()
    settings: dict[str, Any] = {"prog": f"mdnrnn {command}", "args": arguments}
    if default is not None:
        settings["default"] = default
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(options, **settings)
    except SystemExit as end:
        if not end.code:
            raise
        words = _ASIDES.split(" ".join(_FRAME.sub(" ", complaint.getvalue()).split()))[0].strip()
        raise InputError(f"{words or 'these options do not fit'}; see mdnrnn {command} --help") from None
    except ValueError as error:  # a config that refuses a value
        raise InputError(str(error)) from error


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=2))
