"""Promises of the page of a run."""

import csv
import dataclasses
import html.parser
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catsdogs_jax import explain, report
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.data.marks import apply_marks
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.data.tables import list_table
from catsdogs_jax.errors import UserError
from catsdogs_jax.insight import gather as report_gather
from catsdogs_jax.insight.galleries import galleries, surest_mistake
from catsdogs_jax.insight.gather import gather, write_report
from catsdogs_jax.insight.mistakes import Suspect
from catsdogs_jax.insight.network import Network
from catsdogs_jax.insight.source import Source, read_run
from catsdogs_jax.reporting.page import render
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.evaluation import Evaluation

EVIL = '<script>alert(1)</script>&"'
CLASSES = ["blue", EVIL.replace("/", "∕"), "red"]
COLOURS = [(40, 40, 200), (40, 200, 40), (200, 40, 40)]


class Page(html.parser.HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def paint_table(folder: Path, kind: str) -> Path:
    """Paints pictures of two or three colours, and lists them in a table."""
    rng = np.random.default_rng(0)
    lines = []
    for split, count in (("train", 10), ("validation", 6), ("test", 6)):
        for label in range(2 if kind == "binary" else 3):
            for number in range(count):
                noise = rng.integers(-40, 40, (24, 20 + number, 3))
                pixels = (np.array(COLOURS[label]) + noise).clip(0, 255).astype(np.uint8)
                # The first has a name that is no UTF-8.
                odd = "\udcff" * (split == "validation" and label == number == 0)
                name = f"{split}-{label}-{number}{odd}.png"
                Image.fromarray(pixels).save(folder / name)
                labels = [CLASSES[label]]
                if kind == "multilabel" and number % 2:
                    labels.append(CLASSES[(label + 1) % 3])
                shown = labels if kind == "multilabel" else labels[0]
                lines.append(json.dumps({"file": name, "label": shown, "split": split}))
    table = folder / "pictures.jsonl"
    table.write_text("\n".join(lines), encoding="utf-8")
    return table


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(
    scope="module",
    params=[
        "binary",
        pytest.param("multiclass", marks=pytest.mark.heavy),
        pytest.param("multilabel", marks=pytest.mark.heavy),
    ],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp(request.param)
    table = paint_table(folder, request.param)
    config = config_from_dict(
        {
            "data": {"source": "table", "table": str(table), "image_size": 16, "batch_size": 8},
            "model": {"widths": (4,), "hidden": 8},
            "train": {"steps": 4, "learning_rate": 1e-3},
            "mesh": {"devices": 1},
        }
    )
    train_and_evaluate(config, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def source(run: Path) -> Source:
    return read_run(run)


def test_a_page_needs_no_other_file_and_escapes_every_name(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert len(text) < 5e6
    assert "http:" not in text
    assert "https:" not in text
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) > 10
    assert all(str(image["src"]).startswith("data:image/") for image in images)
    assert CLASSES[1] in page.text
    for _, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)


def test_a_page_shows_what_result_json_says_of_the_split_that_chose_nothing(run: Path) -> None:
    split = json.loads((run / "result.json").read_text())["splits"]["test"]
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    low, high = split["accuracy_ci95"]
    assert f"n = {split['n']}, 95 % interval" in page.text.replace("\xa0", " ")
    assert f"{100 * low:.1f}" in page.text
    assert f"{100 * high:.1f}" in page.text
    assert page.text.index("test accuracy") < page.text.index("validation accuracy")
    assert "these pictures chose nothing" in page.text


def test_mistakes_stand_on_the_page_with_heat_map_and_neighbours(source: Source) -> None:
    content = gather(source)
    mistakes = content.galleries[0].cases
    matrix = np.array(source.values["splits"]["test"]["confusion_matrix"])
    if matrix.ndim == 2:
        assert len(mistakes) == min(12, matrix.sum() - np.trace(matrix))
    assert mistakes
    for case in mistakes:
        assert case.true != case.predicted
        assert len(case.photos) == 2
        assert len(case.neighbours) == 3
        assert all(photo.file.startswith("train") for photo in case.neighbours)
    sure = [case.words for case in mistakes]
    confidences = [float(words.split()[1].split("\xa0")[0]) for words in sure]
    assert confidences == sorted(confidences, reverse=True)


def test_training_pictures_are_embedded_only_where_something_is_shown_beside_them(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source.task.kind != "binary":
        pytest.skip("Top losses are shown of any run with more than two classes.")

    def faultless(pictures: PictureSet) -> Evaluation:
        return Evaluation(20 * (2 * pictures.targets - 1), loss=0.0, accuracy=1.0)

    evaluations = {name: faultless(source.sets[name]) for name in source.evaluations}
    monkeypatch.setattr(Network, "embeddings", lambda *_: pytest.fail("embedded"))
    found = galleries(dataclasses.replace(source, evaluations=evaluations))
    assert [len(gallery.cases) for gallery in found] == [0, 0]


def test_a_label_above_a_low_threshold_is_no_confident_mistake() -> None:
    probabilities = np.array([[0.06, 0.1], [0.9, 0.1], [0.06, 0.01]])
    predicted = probabilities > [0.05, 0.5]
    true = np.array([[False, False], [False, False], [True, True]])
    found = surest_mistake(probabilities, predicted, true)
    np.testing.assert_allclose(found, [0.06, 0.9, 0.99])


def test_slices_hold_every_picture_once(source: Source) -> None:
    for _, table in gather(source).slices:
        assert sum(int(row[1]) for row in table.rows) == len(source.sets["test"])


def test_suspects_are_listed_with_a_label_other_than_the_given(run: Path) -> None:
    rows = rows_of(run / "suspects.csv")
    assert all(row["label"] != row["given"] for row in rows)
    assert {row["split"] for row in rows} <= {"validation", "test"}


def test_all_doubtful_labels_of_a_picture_are_one_row_that_training_takes(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source.task.kind != "multilabel":
        pytest.skip("of one label there is one doubt")
    pictures, classes = source.sets["validation"].pictures, source.task.classes
    found = [(0, 1, 0.9), (1, 2, 0.8), (0, 0, 0.7), (0, 2, 0.6)]
    suspects = [("validation", Suspect(index, k, k, margin)) for index, k, margin in found]
    monkeypatch.setattr(report_gather, "suspects", lambda _: suspects)
    folder = dataclasses.replace(source.folder, path=tmp_path / "run")
    write_report(dataclasses.replace(source, folder=folder))
    rows = rows_of(folder.suspects)
    assert [row["file"] for row in rows] == [pictures[0].file, pictures[1].file]
    assert [row["margin"] for row in rows] == ["0.9000", "0.8000"]
    listing = list_table(source.manifest.root / "pictures.jsonl", None)
    now = apply_marks(listing, "", str(folder.suspects)).examples
    assert "\udcff" in pictures[0].file
    labels = {example.file: {classes.index(name) for name in example.labels} for example in now}
    assert labels[pictures[0].file] == {0, 1, 2} - set(pictures[0].labels)
    assert labels[pictures[1].file] == {2} ^ set(pictures[1].labels)


def test_the_command_writes_the_page_of_the_run_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "report.html").unlink()
    report.main(["--workdir", str(copy)])
    assert str(copy / "report.html") in capsys.readouterr().out
    again, first = (Page((path / "report.html").read_text("utf-8")) for path in (copy, run))
    assert again.text == first.text
    assert len(again.tags) == len(first.tags)


def test_an_unfinished_run_has_no_page(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "result.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        read_run(copy)


def test_explain_writes_maps_beside_the_original_and_tells_what_it_cannot_use(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, broken, out = run.parent / "test-0-0.png", tmp_path / "broken.jpg", tmp_path / "maps"
    broken.write_bytes(b"no picture")
    explain.main(["--workdir", str(run), str(picture), str(broken), "--out", str(out)])
    (written,) = out.iterdir()
    with Image.open(written) as shown:
        assert shown.size == (3 * 400 + 2 * 12, 480)  # Of 20 x 24 pixels.
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{written}: ")
    assert lines[1].startswith(f"{broken}: ")
    with pytest.raises(UserError, match="Did you mean 'blue'"):
        explain.explain(run, [picture], out, label="bleu")


def test_names_that_no_page_can_show_become_escapes(source: Source) -> None:
    content = dataclasses.replace(gather(source), title="bad \udcff name")
    assert "bad \\udcff name" in Page(render(content)).text
    render(content).encode("utf-8")


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[Path], str]:
    """Returns a function that opens a page in Chromium, and gives its text when it has loaded."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on the path")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]

    def browse(page: Path) -> str:
        command = [found, *flags, "--enable-logging=stderr", "--dump-dom", page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert "CONSOLE" not in done.stderr
        return done.stdout

    return browse


def test_a_browser_shows_every_picture_without_an_error(
    run: Path, tmp_path: Path, browse: Callable[[Path], str]
) -> None:
    count = "document.images.length"
    loaded = "[...document.images].filter(i => i.complete && i.naturalWidth > 0).length"
    script = f"<script>addEventListener('load', () => document.title = {loaded} + '/' + {count})"
    page = tmp_path / "page.html"
    text = (run / "report.html").read_text(encoding="utf-8")
    page.write_text(f"{text}{script}</script>", encoding="utf-8")
    images = sum(tag == "img" for tag, _ in Page(text).tags)
    assert f"<title>{images}/{images}</title>" in browse(page)
