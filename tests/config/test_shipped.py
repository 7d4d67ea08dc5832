"""Promises of the configs that come with the package: a name is enough, wherever one works."""

from pathlib import Path

import pytest

from catsdogs_jax.config import shipped
from catsdogs_jax.config.reader import read_config
from catsdogs_jax.config.shipped import config_file
from catsdogs_jax.errors import UserError

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["quickstart", "configs/quickstart.py"])
def test_a_name_is_enough(name: str) -> None:
    assert config_file(name) == CONFIGS / "quickstart.py"
    assert read_config(name) == read_config(CONFIGS / "quickstart.py")


@pytest.mark.parametrize("name", ["quickstart", "configs/quickstart.py"])
def test_a_file_of_that_name_here_comes_first(name: str, tmp_path: Path) -> None:
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.touch()
    assert config_file(name) == Path(name)


def test_an_installed_package_has_them_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/quickstart.py").touch()
    monkeypatch.setattr(shipped, "_INSTALLED", tmp_path / "inside")
    assert config_file("quickstart") == tmp_path / "inside/quickstart.py"


@pytest.mark.parametrize("name", ["quickstrat", "elsewhere/quickstart.py", "quickstart.py"])
def test_another_name_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(UserError, match=r"no config file.*finetune, .*Did you mean 'quickstart'"):
        config_file(name)
