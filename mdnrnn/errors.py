"""Errors that a user can correct, and warnings.

The command line prints the message of an error on one line and exits with status 2. It prints the message of an
`InputWarning` on one line and goes on.
"""


class InputError(ValueError):
    """Invalid input. The message is one line that states what was received, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class DataError(InputError):
    """An invalid file, or an invalid record in a file. The message starts with the file name and the position."""


class InputWarning(UserWarning):
    """A warning about valid input that gives a poor result. The message states what was received and what to do."""
