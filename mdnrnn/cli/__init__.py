"""Command line: `mdnrnn COMMAND ...`. Results are printed to stdout, progress and errors to stderr."""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
import warnings
from typing import TextIO

from mdnrnn.cli.dispatch import choose
from mdnrnn.errors import InputError, InputWarning, shorten
from mdnrnn.version import VERSION

COMMANDS = {
    "quickstart": "Train a small model for about a minute and draw with it.",
    "train": "Train a model, or resume a training run.",
    "presets": "List the presets of mdnrnn train.",
    "info": "Describe a trained model: sizes, data, license, training.",
    "evaluate": "Compute the likelihood of held-out data.",
    "generate": "Generate drawings, complete a drawing, or write a text.",
    "respond": "Respond to a touch performance.",
    "reconstruct": "Reconstruct drawings from their latent vectors.",
    "interpolate": "Interpolate between drawings.",
    "combine": "Add and subtract the latent vectors of drawings.",
    "nearest": "Find similar drawings.",
    "map": "Draw a map of the latent space.",
    "export": "Write a model as ONNX or PT2, for programs without mdnrnn.",
    "demo": "Train mixture density networks on toy problems.",
    "data": "List, download, import, export, inspect and draw data.",
    "benchmark": "Measure speed, and compare likelihoods with reference models.",
}
"""Commands and their descriptions. The module `mdnrnn.cli.NAME` implements command NAME and is imported to run it."""

_USAGE = """\
usage: mdnrnn COMMAND ...
       mdnrnn --version
       mdnrnn --print-completion bash|zsh|fish

Mixture density networks for sequences: train on drawings, handwriting and gestures, and generate new ones."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0 for success, 2 for a user error, and 130 after Ctrl-C.

    Args:
        arguments: command line without the name of the program; by default `sys.argv[1:]`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the encoding may lack characters of file names and labels
    try:
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="matplotlib")
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = _print_warning
            status = _run(arguments)
        sys.stdout.flush()
        return status
    except SystemExit as end:  # raised by --help and on SIGTERM
        return int(end.code or 0)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # stdout is a pipe whose reader, for example `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message = shorten(f"{error.filename or 'a file'}: {error.strerror or error}; check the path")
        print(f"error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print an `InputWarning` on one line, without its location in the code; print other warnings as usual."""
    text = warnings.formatwarning(message, category, filename, lineno, line)
    if issubclass(category, InputWarning):
        text = f"warning: {' '.join(str(message).split())}\n"
    print(text, file=file or sys.stderr, end="")


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(VERSION)
        return 0
    if arguments[:1] == ["--print-completion"]:
        from mdnrnn.cli.completion_scripts import completion_script

        print(completion_script(" ".join(arguments[1:])), end="")
        return 0
    name = choose(arguments, COMMANDS, command="mdnrnn", kind="command", usage=_USAGE)
    status: int = importlib.import_module(f"mdnrnn.cli.{name}").main(arguments[1:])
    return status
