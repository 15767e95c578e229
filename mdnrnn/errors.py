"""Errors that a user can correct. The command line prints the message on one line and exits with status 2."""


class InputError(ValueError):
    """Invalid input. The message is one line that states what was received, what was expected and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class DataError(InputError):
    """An invalid file, or an invalid record in a file. The message starts with the file name and the position."""
