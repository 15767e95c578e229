"""The exceptions for what a user can put right: the command line prints them as one line and exits with 2."""


class InputError(ValueError):
    """What was received, what was expected, what to do: one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class DataError(InputError):
    """A file, or a record in one, that is not what its format says: its name and place stand first."""
