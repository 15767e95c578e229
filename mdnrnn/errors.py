"""Errors that a user can correct, and warnings.

The command line prints the message of an error on one line and exits with status 2. It prints the message of an
`InputWarning` on one line and goes on.
"""

MAX_MESSAGE = 480
"""Maximum number of characters of an error message.

With the prefix "error: " of the command line, the printed line has fewer than 500 characters.
"""


def shorten(text: str) -> str:
    """Return a text as one line of at most `MAX_MESSAGE` characters. In a longer text, "..." replaces the middle.

    Start and end are kept, because an error message starts with the position of the error and ends with the advice.
    """
    line = " ".join(text.split())
    if len(line) <= MAX_MESSAGE:
        return line
    half = (MAX_MESSAGE - 3) // 2
    return f"{line[:half]}...{line[-half:]}"


class InputError(ValueError):
    """Invalid input. The message is one line that states what was received, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shorten(message))


class DataError(InputError):
    """An invalid file, or an invalid record in a file. The message starts with the file name and the position."""


class InputWarning(UserWarning):
    """A warning about valid input that gives a poor result. The message states what was received and what to do."""
