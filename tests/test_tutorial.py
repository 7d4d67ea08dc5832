"""The promise of docs/tutorial.md: from a folder of pictures to a verified file and a server."""

import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.local import free_port
from tests.test_docs import fenced

REPOSITORY = Path(__file__).parents[1]
_SECONDS = 600


@pytest.mark.long
def test_every_command_of_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    port = str(free_port())
    server: subprocess.Popen[bytes] | None = None
    try:
        for line in shown():
            words = [port if word == "8000" else word for word in shlex.split(line)]
            if words[1:2] == ["serve"]:
                server = subprocess.Popen([*_catsdogs(), *words[1:]], cwd=tmp_path)
                _wait(port, server)
            elif words[0] == "curl":
                line = line.replace(":8000/", f":{port}/")
                told = subprocess.check_output(shlex.split(line), cwd=tmp_path, text=True)
                assert '"predicted":"dogs"' in told
            else:
                subprocess.run(
                    [*_catsdogs(), *words[1:]], cwd=tmp_path, check=True, timeout=_SECONDS
                )
    finally:
        if server:
            server.terminate()
    assert server is not None
    assert server.wait(timeout=60) == 143
    _has_all_that_it_names(tmp_path)


def shown() -> list[str]:
    """Returns the commands of the tutorial in turn, but those that set the environment up."""
    text = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    lines = fenced(text).replace("\\\n", "").splitlines()
    return [line.removeprefix("uv run ") for line in lines if line.startswith(("uv run ", "curl"))]


def _catsdogs() -> list[str]:
    return [sys.executable, "-m", "catsdogs_jax.front"]


def _wait(port: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(10 * _SECONDS):
        assert server.poll() is None, "the server ended"
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", int(port))) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not listen")


def _has_all_that_it_names(folder: Path) -> None:
    for name in (
        "check/page.html",
        "check/relabel.csv",
        "runs/pets/report.html",
        "runs/pets/suspects.csv",
        "runs/more_pets/result.json",
        "maps/0000-cat.0000.png",
        "bundles/pets/model.onnx",
        "bundles/pets/README.md",
    ):
        assert (folder / name).stat().st_size, name
    assert len((folder / "found.csv").read_text().splitlines()) == 101
