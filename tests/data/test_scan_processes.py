"""Promises of a scan by processes: what threads find, and nothing of it is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from catsdogs_jax.data import scan_processes
from catsdogs_jax.data.scan import scan_file
from catsdogs_jax.data.scan_processes import FileScanner
from catsdogs_jax.errors import UserError

Paint = Callable[..., Path]


@pytest.fixture
def scanner() -> Iterator[FileScanner]:
    made = FileScanner(few=0)
    yield made
    made.close()


def goes_on(process: int) -> bool:
    """Whether it has not ended; who should take note of its end may have been killed."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in text.split()}
    return [pid for pid, command in commands.items() if b"scan_processes" in command]


def test_processes_find_what_one_thread_finds_in_order(
    scanner: FileScanner, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_processes, "_AT_ONCE", 3)
    paths = [paint(f"{number}.jpg", seed=number) for number in range(10)]
    text = paths[0].with_name("text.jpg")
    text.write_text("no picture")
    odd = paths[0].with_name(os.fsdecode(b'\xff new\nline ".jpg'))
    odd.write_bytes(paths[4].read_bytes())
    paths[3:3] = [text, odd, paths[0].with_name("none.jpg")]
    for _ in range(2):
        assert list(scanner.scan(paths)) == list(map(scan_file, paths))
    assert children()
    scanner.close()
    assert not children()


def test_a_few_files_start_no_process(paint: Paint) -> None:
    scanner = FileScanner(few=10)
    path = paint("0.jpg")
    assert len(list(scanner.scan([path] * 10))) == 10
    assert not children()
    assert len(list(scanner.scan([path]))) == 1
    assert children()
    scanner.close()


def test_where_no_process_can_be_started_threads_go_on(
    scanner: FileScanner, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refused)
    path = paint("0.jpg")
    assert list(scanner.scan([path])) == [scan_file(path)]


def test_where_processes_end_at_once_the_files_are_scanned_here(
    scanner: FileScanner, paint: Paint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    path = paint("0.jpg")
    assert list(scanner.scan([path] * 40)) == [scan_file(path)] * 40


def test_a_module_of_the_same_name_in_the_current_folder_does_no_harm(
    scanner: FileScanner, paint: Paint, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise ImportError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(scan_processes, "scan_file", lambda _: pytest.fail("not by a process"))
    path = paint("0.jpg")
    assert list(scanner.scan([path])) == [scan_file(path)]


def test_a_process_that_is_killed_is_told_with_its_files(
    scanner: FileScanner, paint: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_processes, "cores", lambda: 1)
    path = paint("0.jpg")
    list(scanner.scan([path]))
    for child in children():
        os.kill(child, signal.SIGKILL)
    with pytest.raises(UserError, match=r"ended by SIGKILL, with '.*0\.jpg'.*memory"):
        list(scanner.scan([path]))


PARENT = """
import sys
from pathlib import Path
from catsdogs_jax.data.scan_processes import FileScanner
scanner = FileScanner(few=0)
results = scanner.scan([Path(sys.argv[1])] * 200_000)
next(results)
print("begun", flush=True)
list(results)
"""


def test_a_killed_run_leaves_no_process_behind(paint: Paint) -> None:
    path = paint("0.jpg")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE, process_group=0
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"begun\n"
    text = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text()
    assert text.split()
    # What Ctrl-C, or Slurm, sends to all of them is for the parent to answer.
    for child in map(int, text.split()):
        os.kill(child, signal.SIGINT)
        os.kill(child, signal.SIGTERM)
        assert goes_on(child)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while any(map(goes_on, map(int, text.split()))):
        assert time.monotonic() < deadline, "they go on"
        time.sleep(0.05)
