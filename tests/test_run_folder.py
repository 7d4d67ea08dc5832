"""Promises of the run folder."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.data.manifest import Manifest
from catsdogs_jax.data.pictures import Pictures
from catsdogs_jax.errors import UserError
from catsdogs_jax.run_folder import RunFolder, write_json, write_text
from catsdogs_jax.task import Task

Tiny = Callable[..., Config]

PICTURES, OTHERS = (
    Manifest(Path("pictures"), Task("binary", classes), Pictures.of([]), ())
    for classes in (("cat", "dog"), ("dog", "cat"))
)


def claim(folder: RunFolder, config: Config, manifest: Manifest, formulation: dict) -> None:
    with folder.claimed(config, manifest, formulation):
        pass


def test_checking_writes_nothing(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.check(tiny())
    assert not folder.path.exists()


def test_a_run_with_another_config_is_refused_with_the_keys(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    claim(folder, tiny(), PICTURES, {})
    folder.check(tiny())
    with pytest.raises(UserError, match=r"model.hidden: 8 -> 9.*another --workdir"):
        folder.check(tiny(model={"hidden": 9}))


def test_changed_pictures_are_refused(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    claim(folder, tiny(), PICTURES, {})
    with pytest.raises(
        UserError, match=rf"have changed.*{PICTURES.fingerprint}, now {OTHERS.fingerprint}"
    ):
        claim(folder, tiny(), OTHERS, {})


def test_a_folder_of_other_files_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    (tmp_path / "letter.txt").touch()
    with pytest.raises(UserError, match="holds files but no run"):
        RunFolder(tmp_path).check(tiny())
    with pytest.raises(UserError, match="is a file"):
        RunFolder(tmp_path / "letter.txt").check(tiny())


def test_reading_where_no_run_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no run"):
        RunFolder(tmp_path).read_config()


def test_the_config_that_was_claimed_is_read_back(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    claim(folder, tiny(), PICTURES, {})
    assert folder.read_config() == tiny()


def test_text_is_replaced_in_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_a_second_run_in_the_folder_is_refused_until_the_first_ends(
    tmp_path: Path, tiny: Tiny
) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with first.claimed(tiny(), PICTURES, {}):
        for attempt in (
            lambda: second.check(tiny()),
            lambda: claim(second, tiny(), PICTURES, {}),
        ):
            with pytest.raises(UserError, match=rf"another run \(process {os.getpid()} on .* at"):
                attempt()
    claim(second, tiny(), PICTURES, {})


def test_a_lock_does_not_outlive_a_killed_process(tmp_path: Path, tiny: Tiny) -> None:
    code = """
import os, sys
from pathlib import Path
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.data.manifest import Manifest
from catsdogs_jax.data.pictures import Pictures
from catsdogs_jax.run_folder import RunFolder
from catsdogs_jax.task import Task
config = config_from_dict({"train": {"steps": 1}})
pictures = Manifest(Path("pictures"), Task("binary", ("cat", "dog")), Pictures.of([]), ())
with RunFolder(Path(sys.argv[1])).claimed(config, pictures, {}):
    os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")])
    assert killed.returncode == -9
    with pytest.raises(UserError, match="another config"):  # Not: another run.
        RunFolder(tmp_path / "run").check(tiny())


@pytest.mark.parametrize("written", [0, 1, 2, 3])
def test_a_run_killed_while_it_claims_the_folder_can_begin_again(
    tmp_path: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    folder, left = RunFolder(tmp_path / "run"), iter(range(written))

    def write(path: Path, tree: dict) -> None:
        if next(left, None) is None:
            path.with_name(f".{path.name}.draft").touch()
            raise KeyboardInterrupt
        write_json(path, tree)

    monkeypatch.setattr("catsdogs_jax.run_folder.write_json", write)
    with contextlib.suppress(KeyboardInterrupt):
        claim(folder, tiny(), PICTURES, {})
    monkeypatch.undo()
    folder.check(tiny())
    claim(folder, tiny(), PICTURES, {})
