"""The one exception for what a user can put right: the command line prints it as one line and exits with 2."""


class InputError(ValueError):
    """What was received, what was expected, what to do: one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
