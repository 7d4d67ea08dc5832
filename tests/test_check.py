"""Promises of the command that shows what a config does."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import check
from catsdogs_jax.augment_sheet import spell
from catsdogs_jax.errors import UserError
from catsdogs_jax.task import Task


def test_the_sheet_is_drawn_from_a_config_and_overrides(
    tmp_path: Path, colours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, sheet = tmp_path / "mine.py", tmp_path / "sheets" / "one.png"
    config.write_text(
        "import ml_collections\n\ndef get_config():\n"
        "    return ml_collections.ConfigDict({'train': {'steps': 1}, 'augment': {'flip': True}})\n"
    )
    size = [
        "--config.data.image_size=16",
        "--config.data.batch_size=4",
        f"--config.data.dir={colours}",
    ]
    words = ["--augment", str(config), "--out", str(sheet), "--pictures=2", "--variations=1"]
    check.main([*words, *size, "--config.augment.mixup=1.0"])
    assert f"wrote {sheet}" in capsys.readouterr().out
    assert Image.open(sheet).width > 400


def test_nothing_to_check_is_an_error_with_the_mend() -> None:
    with pytest.raises(UserError, match="--augment CONFIG"):
        check.main([])


def test_targets_are_spelled_with_shares_only_where_they_are_mixed() -> None:
    binary, several = Task("binary", ("cat", "dog")), Task("multilabel", ("ant", "bee"))
    assert spell(binary, np.array([0.0])) == ("cat",)
    assert spell(binary, np.array([0.7])) == ("70% dog", "30% cat")
    assert spell(several, np.array([1.0, 1.0])) == ("ant | bee",)
    assert spell(several, np.array([0.0, 0.0])) == ("none",)
