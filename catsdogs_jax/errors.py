"""Errors that a user can mend."""

import errno

_MENDS = {
    errno.ENOSPC: "make room, and give the same command again",
    errno.EDQUOT: "make room, and give the same command again",
    errno.EFBIG: "raise the limit of file sizes, and give the same command again",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "choose a folder that you may read and write",
    errno.EPERM: "choose a folder that you may read and write",
    errno.ENOENT: "it was removed or never there; check the name",
    errno.ENOTDIR: "a part of the path is a file; check the name",
    errno.EIO: "the disk does not answer; check it",
    errno.ESTALE: "the network file system lost it; mount it again",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class UserError(Exception):
    """Something the user can mend: shown as one line, without a traceback, exit code 2.

    The message holds the bad value, why it cannot be used, and what to do about it.
    """


class Diverged(UserError):
    """The loss is not finite any more: the run's settings are to blame, not its data or machine."""


class Interrupted(Exception):
    """The run was asked to stop by a signal, and has saved its state.

    Attributes:
        signal_number: The signal that asked, for example `signal.SIGTERM`; the exit code of
            the program is 128 + this number, as shells and schedulers expect.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


def explained(error: OSError) -> UserError | None:
    """Returns an error of the system in one line with its mend; none if it may be a bug of ours."""
    if error.errno not in _MENDS:
        return None
    where = f"{str(error.filename)!r}: " if error.filename is not None else ""
    return UserError(f"{where}{error.strerror}: {_MENDS[error.errno]}")


def extra(*names: str) -> str:
    """Returns how to install extras of this package, which is on no index: from its clone."""
    flags = " ".join(f"--extra {name}" for name in names)
    # Beam and the default groups want different releases of the same packages. Elsewhere the extras
    # that are there already are to stay.
    apart = f"run --no-default-groups {flags} catsdogs ..."
    uv = apart if "beam" in names else f"sync --inexact {flags}"
    return f"in the clone: `uv {uv}`, or `pip install -e '.[{','.join(names)}]'`"


def package(name: str) -> str:
    """Returns how to install a package of the index; an environment that uv made has no pip."""
    return f"`uv pip install {name}`, or `pip install {name}`"


UPGRADE = "upgrade it: `git pull` in its clone, then `uv sync --inexact`, or `pip install -e .`"


def nearest(word: str, allowed: list[str]) -> str:
    """Returns " Did you mean 'x'?" for the allowed word most like `word`, or an empty string.

    Small and capital letters are alike.
    """
    import difflib

    by_lower = {name.lower(): name for name in reversed(allowed)}
    matches = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" Did you mean {by_lower[matches[0]]!r}?" if matches else ""


def check_path(name: str, value: str) -> None:
    """Refuses a URL where a path is meant: "gs://a" would become a folder "gs:" here.

    Raises:
        UserError: It is one.
    """
    if "://" in value:
        raise UserError(
            f"{name} is {value!r}, a URL, but must be a path: mount the bucket, as by gcsfuse "
            "(docs/launch.md), or copy what is written when it is whole"
        )


def first_line(error: Exception) -> str:
    """Returns what another package's error says, in one line of at most 200 characters."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200]
