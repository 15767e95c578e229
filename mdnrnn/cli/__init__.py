"""The command line: `mdnrnn COMMAND ...`. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import importlib
import io
import os
import sys

from mdnrnn.errors import InputError
from mdnrnn.version import VERSION

COMMANDS = {
    "quickstart": "train on doodles for a minute, draw, and say what to do next",
    "train": "train a model on drawings, or go on with a training",
    "evaluate": "the likelihood of a run on held-out drawings, exact or bounded",
    "generate": "draw with a trained model, complete a drawing, write a text",
    "respond": "answer a touch performance",
    "reconstruct": "encode drawings, and draw them again from their latents",
    "interpolate": "draw what lies between two or four drawings",
    "combine": "add and subtract drawings",
    "nearest": "find the drawings most like some others",
    "map": "a plane of drawings, like beside like",
    "demo": "mixture density networks on static problems, beside the best possible",
    "data": "list, get, import, export, inspect and draw corpora",
    "benchmark": "speed as ratios, and likelihoods beside those of others",
}


def help_text() -> str:
    """What `mdnrnn --help` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mdnrnn COMMAND ...",
            "",
            "MDN-RNN sequence generation: train on strokes and gestures, draw to SVG, play, dream.",
            "",
            *lines,
            "",
            "mdnrnn COMMAND --help tells a command's options.",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the result is the exit status: 0, or 2 for what the user can put right."""
    given = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name, or a label, need not be text
    if not given or given[0] in ("-h", "--help"):
        print(help_text())
        return 0 if given else 2
    if given[0] == "--version":
        print(VERSION)
        return 0
    try:
        if given[0] not in COMMANDS:
            raise InputError(f"unknown command {given[0]!r}; expected one of {', '.join(COMMANDS)}")
        status: int = importlib.import_module(f"mdnrnn.cli.{given[0]}").main(given[1:])
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has gone: nothing more to do, nothing to complain about
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"error: {error.strerror or error}: {error.filename or 'a file'}; check the place",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
