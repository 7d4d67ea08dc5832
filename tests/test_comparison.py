"""Promises of the comparison of two runs."""

import json
from pathlib import Path

import pytest

from catsdogs_jax import report
from catsdogs_jax.comparison import compare_runs
from catsdogs_jax.errors import UserError


def write_run(
    folder: Path, right: list[bool], *, hashes: str | None = "abc", names: str = "", true="cat"
) -> Path:
    folder.mkdir()
    files = [f"{names}{i}.png" for i in range(len(right))]
    lines = ["file,true,predicted,cat,dog,split", "test.png,cat,cat,1,0,test"]
    for file, hit in zip(files, right, strict=True):
        lines.append(f"{file},{true},{true if hit else 'wrong'},0.5,0.5,validation")
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n")
    if hashes is not None:
        other = dict.fromkeys(("width", "height", "orientation", "plain_jpeg"), 1)
        other |= {"labels": [0], "split": "validation", "perceptual_hash": ""}
        pictures = [{"file": file, "content_hash": hashes + file, **other} for file in files]
        (folder / "manifest.json").write_text(json.dumps({"pictures": pictures}))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    a = [True] * 30 + [True] * 5 + [False] * 12 + [False] * 3
    b = [True] * 30 + [False] * 5 + [True] * 12 + [False] * 3
    return write_run(tmp_path / "a", a), write_run(tmp_path / "b", b)


def test_the_report_counts_the_pictures_on_which_two_runs_differ(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    report.main(["--compare", str(runs[0]), str(runs[1])])
    said = capsys.readouterr().out
    assert "B is right on 12 pictures where A is wrong, 5 the other way: p = 0.14" in said
    assert said.count("no evidence of a difference") == 1
    assert "70.0% of 50 validation pictures right (95 % interval 56.2% to 80.9%)" in said
    assert "B - A: +14.0 points (95 % interval" in said
    assert "A right                     30         5" in said
    assert "A wrong                     12         3" in said
    assert "optimistic" in said


def test_a_clear_difference_is_called_one(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", [False] * 20), write_run(tmp_path / "b", [True] * 20)
    said = compare_runs(a, b, "validation").describe()
    assert "evidence of a difference" in said
    assert "no evidence" not in said
    assert "p = 1.9e-06" in said or "p = 2e-06" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hashes": "other"}, "they share 0 .same name and content."),
        ({"hashes": None, "names": "x"}, "they share 0 .same name.:"),
        ({"true": "dog"}, "'0.png' is 'cat' in .* but 'dog'"),
    ],
)
def test_runs_on_other_pictures_are_refused(tmp_path: Path, change: dict, words: str) -> None:
    a = write_run(tmp_path / "a", [True] * 4)
    with pytest.raises(UserError, match=words):
        compare_runs(a, write_run(tmp_path / "b", [True] * 4, **change), "validation")


def test_a_longer_list_of_pictures_is_refused_with_the_number_shared(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", [True] * 4), write_run(tmp_path / "b", [True] * 6)
    with pytest.raises(UserError, match=r"has 4, .* has 6, and they share 4"):
        compare_runs(a, b, "validation")


def test_names_alone_are_compared_where_a_folder_knows_no_contents(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", [True] * 4)
    b = write_run(tmp_path / "b", [False] * 4, hashes=None)
    assert compare_runs(a, b, "validation").first_alone == 4


def test_a_folder_without_predictions_and_a_split_misspelt_are_one_line(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"no predictions.csv: give a folder in which"):
        compare_runs(runs[0], tmp_path, "validation")
    with pytest.raises(UserError, match="no split 'validaton'.*Did you mean 'validation'"):
        compare_runs(*runs, "validaton")
    with pytest.raises(UserError, match="give either --workdir RUN, or --compare A B"):
        report.main([])
