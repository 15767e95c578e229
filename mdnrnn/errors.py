"""Errors that a user can correct, and warnings.

The command line prints the message of an error on one line and exits with status 2. It prints the message of an
`InputWarning` on one line, and the command continues.
"""

import re

MAX_MESSAGE = 480
"""Maximum number of characters of an error message.

With the prefix "error: " of the command line, the printed line has fewer than 500 characters.
"""

_PLURAL_ENDING = re.compile(r"(?:(?<=ch)es|(?<=ss)es|s)(?=$| (?:of|outside|besides|with|without) )")


def shorten(text: str) -> str:
    """Return a text as one line of at most `MAX_MESSAGE` characters. In a longer text, "..." replaces the middle.

    Start and end are kept, because an error message starts with the position of the error and ends with the advice.
    """
    line = " ".join(text.split())
    if len(line) <= MAX_MESSAGE:
        return line
    half = (MAX_MESSAGE - 3) // 2
    return f"{line[:half]}...{line[-half:]}"


def quantity(n: int, plural: str) -> str:
    """Return a number and a noun, for example "2 drawings" for `quantity(2, "drawings")` or "1 class" for "classes".

    Args:
        n: the number.
        plural: plural of the noun. A phrase such as "of the eraser" can follow the noun.
    """
    if n == 1:
        plural = _PLURAL_ENDING.sub("", plural, count=1)
    return f"{n} {plural}"


class InputError(ValueError):
    """Invalid input. The message is one line that states what was received, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


class DataError(InputError):
    """An invalid file, or an invalid record in a file. The message starts with the file name and the position."""


class InputWarning(UserWarning):
    """A warning about valid input that gives a poor result. The message states what was received and what to do."""
