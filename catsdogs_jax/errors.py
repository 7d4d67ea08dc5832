"""Errors that a user can mend."""


class UserError(Exception):
    """Something the user can mend: shown as one line, without a traceback, exit code 2.

    The message holds the bad value, why it cannot be used, and what to do about it.
    """


class Interrupted(Exception):
    """The run was asked to stop by a signal, and has saved its state.

    Attributes:
        signal_number: The signal that asked, for example `signal.SIGTERM`; the exit code of
            the program is 128 + this number, as shells and schedulers expect.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


def nearest(word: str, allowed: list[str]) -> str:
    """Returns " Did you mean 'x'?" for the allowed word most like `word`, or an empty string."""
    import difflib

    matches = difflib.get_close_matches(word, allowed, n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""
