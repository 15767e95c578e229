"""Errors that a user can correct, and warnings.

The command line prints the message of an error on one line and exits with status 2. It prints the message of an
`InputWarning` on one line and goes on.
"""

MAX_MESSAGE = 480
"""Maximum characters of an error message. With the "error: " of the command line, a line has fewer than 500."""


def shorten(text: str) -> str:
    """Return `text` in one line of at most `MAX_MESSAGE` characters; the middle of a longer text is left out.

    The start contains the position of an error, and the end contains the advice.
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
