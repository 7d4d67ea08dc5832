"""Promises of the run folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from catsdogs_jax.config import Config
from catsdogs_jax.errors import UserError
from catsdogs_jax.run_folder import RunFolder, write_text

Tiny = Callable[..., Config]


def test_checking_writes_nothing(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.check(tiny())
    assert not folder.path.exists()


def test_a_run_with_another_config_is_refused_with_the_keys(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(tiny(), {"fingerprint": "x"}, {})
    folder.check(tiny())
    with pytest.raises(UserError, match=r"model.hidden: 8 -> 9.*another --workdir"):
        folder.check(tiny(model={"hidden": 9}))


def test_changed_pictures_are_refused(tmp_path: Path, tiny: Tiny) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim(tiny(), {"fingerprint": "x"}, {})
    with pytest.raises(UserError, match=r"pictures have changed.*x, now y"):
        folder.claim(tiny(), {"fingerprint": "y"}, {})


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
    folder.claim(tiny(), {"fingerprint": "x"}, {})
    assert folder.read_config() == tiny()


def test_text_is_replaced_in_one_piece(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
