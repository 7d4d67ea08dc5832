"""Answers over HTTP: python -m catsdogs_jax.serve --workdir RUN_OR_BUNDLE --port 8000."""

import argparse
import errno
import importlib.util
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from catsdogs_jax import cli, runtime
from catsdogs_jax.errors import UserError, extra

_HOME = ("127.0.0.1", "localhost", "::1")
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)


def main(argv: Sequence[str]) -> None:
    """Parses flags and serves until a signal comes; requests in flight are finished."""
    flags = parser().parse_args(argv)
    if any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn")):
        raise UserError(f"serving needs more packages: {extra('demo')}")
    if min(flags.max_mb, flags.max_files, flags.timeout) <= 0:
        raise UserError("--max-mb, --max-files and --timeout must be more than 0")
    runtime.start(flags.require)
    with _listening(flags.host, flags.port) as listener:
        from catsdogs_jax.serving.app import Limits, make_app
        from catsdogs_jax.serving.models import open_model

        model = open_model(Path(flags.workdir))
        limits = Limits(flags.max_mb * 2**20, flags.max_files, flags.timeout)
        where = _address(*listener.getsockname()[:2])
        if flags.host not in _HOME:
            print(
                "warning: whoever reaches this machine can ask; there is no password. Put a proxy "
                "that asks for one before it, or leave --host out",
                file=sys.stderr,
            )
        print(f"serving {model.about}", f"open http://{where}/", sep="\n", flush=True)
        print(f"API     http://{where}/docs   stop: Ctrl-C", flush=True)
        _run(make_app(model, limits), listener)


def parser() -> argparse.ArgumentParser:
    """Returns the flags of this command."""
    made = cli.parser(
        "serve",
        "Answer over HTTP, with a page to drop pictures on.",
        "python -m catsdogs_jax.serve --workdir runs/mine --port 8000",
    )
    add = made.add_argument
    add("--workdir", required=True, metavar="DIR", help="a run folder, or a bundle of export")
    add("--port", type=int, default=8000, metavar="P", help="0: any that is free [8000]")
    add("--host", default="127.0.0.1", metavar="H", help="where to listen [127.0.0.1]")
    add("--max-mb", type=int, default=32, metavar="MB", help="longest request [32]")
    add("--max-files", type=int, default=16, metavar="N", help="pictures of a request [16]")
    add("--timeout", type=float, default=30, metavar="S", help="until a request is given up [30]")
    cli.add_require(made)
    return made


def _listening(host: str, port: int) -> socket.socket:
    """Returns a socket that listens, before anything slow is done; at "::" to IPv6 alone."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        mend = "another --port, 0 for any that is free"
        if isinstance(error, socket.gaierror) or getattr(error, "errno", 0) in _NOT_HERE:
            mend = "a --host that is an address of this machine"
        raise UserError(
            f"cannot listen on {_address(host, port)} ({error}): give {mend}"
        ) from error


def _address(host: str, port: int) -> str:
    """Returns host and port as a URL has them: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _run(app: object, listener: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_level="warning",
        timeout_graceful_shutdown=10,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    cli.run(main)
