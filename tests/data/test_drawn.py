"""The drawn data set is repeatable, whole or absent, and gives the class away by shape alone."""

import json
import pathlib
import threading
from collections import Counter
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from catsdogs_jax.config import DataConfig
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.data import drawn
from catsdogs_jax.data.sources import list_source
from catsdogs_jax.errors import UserError


def _bytes(root: pathlib.Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def pictures() -> tuple[list[Image.Image], np.ndarray]:
    """1,000 pictures, the species alternating, and their labels."""
    labels = np.arange(1000) % 2
    made = [
        drawn.draw(drawn.DEFAULT_SPECIES[y], np.random.default_rng(i)) for i, y in enumerate(labels)
    ]
    return made, labels


def _held_out_accuracy(features: np.ndarray, labels: np.ndarray, strength: float) -> float:
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    model = LogisticRegression(C=strength, max_iter=200).fit(features[:750], labels[:750])
    return float(model.score(features[750:], labels[750:]))


def test_the_same_seed_draws_the_same_bytes(tmp_path: pathlib.Path) -> None:
    first = drawn.write_folder(tmp_path / "a", train=6, validation=4, seed=3)
    second = drawn.write_folder(tmp_path / "b", train=6, validation=4, seed=3)
    assert _bytes(first) == _bytes(second)


def test_every_seed_split_species_and_index_draws_another_picture(tmp_path: pathlib.Path) -> None:
    found = []
    for seed in (0, 1):
        root = drawn.write_folder(tmp_path / str(seed), train=6, validation=6, seed=seed)
        found += [path.read_bytes() for path in root.rglob("*.jpg")]
    assert len(found) == len(set(found)) == 24


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    drawn.draw("cats", np.random.default_rng(0))
    assert np.random.get_state()[1].tolist() == before  # type: ignore[union-attr]


def test_the_folder_holds_the_asked_number_of_pictures_per_split_and_class(
    tmp_path: pathlib.Path,
) -> None:
    root = drawn.write_folder(tmp_path / "deep" / "set", train=7, validation=4)
    counts = {
        f"{split}/{name}": sorted(p.name for p in (root / split / name).iterdir())
        for split in ("train", "validation")
        for name in drawn.DEFAULT_SPECIES
    }
    assert counts == {
        "train/cats": [f"cat.{i:04d}.jpg" for i in range(4)],
        "train/dogs": [f"dog.{i:04d}.jpg" for i in range(3)],
        "validation/cats": ["cat.0000.jpg", "cat.0001.jpg"],
        "validation/dogs": ["dog.0000.jpg", "dog.0001.jpg"],
    }
    with Image.open(root / "train/cats/cat.0000.jpg") as picture:
        assert picture.format == "JPEG"


def test_a_complete_folder_is_reused_and_not_written_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = drawn.write_folder(tmp_path / "set", train=2, validation=2)
    monkeypatch.setattr(drawn, "draw", lambda *_: pytest.fail("drew again"))
    assert drawn.write_folder(str(root), train=2, validation=2) == root


@pytest.mark.parametrize("change", [{"train": 4}, {"validation": 4}, {"seed": 1}])
def test_a_folder_with_other_settings_is_refused(
    tmp_path: pathlib.Path, change: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"train": 2, "validation": 2, "seed": 0}
    root = drawn.write_folder(tmp_path / "set", **settings)
    with pytest.raises(UserError, match="choose another folder"):
        drawn.write_folder(root, **(settings | change))


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path: pathlib.Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(UserError, match=str(tmp_path)):
        drawn.write_folder(tmp_path, train=2, validation=2)
    assert [p.name for p in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_run_that_stops_half_way_leaves_nothing_under_the_final_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        assert not (tmp_path / "set").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(drawn, "draw", stop)
    with pytest.raises(KeyboardInterrupt):
        drawn.write_folder(tmp_path / "set", train=2, validation=2)
    assert list(tmp_path.iterdir()) == []


def test_the_leftover_of_a_killed_run_does_no_harm(tmp_path: pathlib.Path) -> None:
    leftover = tmp_path / ".set.0123" / "train" / "cats"
    leftover.mkdir(parents=True)
    (leftover / "cat.0000.jpg").write_bytes(b"half")
    root = drawn.write_folder(tmp_path / "set", train=2, validation=2)
    assert len(list(root.rglob("*.jpg"))) == 4


def test_two_runs_that_race_both_end_with_the_whole_folder(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both_began, draw, ended = threading.Barrier(2), drawn.draw, []
    waited = threading.local()

    def draw_once_both_began(species: str, rng: np.random.Generator) -> Image.Image:
        if not hasattr(waited, "done"):
            waited.done = both_began.wait(timeout=20)
        return draw(species, rng)

    def run() -> None:
        ended.append(drawn.write_folder(tmp_path / "set", train=2, validation=2))

    monkeypatch.setattr(drawn, "draw", draw_once_both_began)
    runs = [threading.Thread(target=run) for _ in range(2)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert ended == [tmp_path / "set"] * 2
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert json.loads((tmp_path / "set/made_by_catsdogs_jax.json").read_text())["train"] == 2


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"drawn_classes": ("cats", "foxs")}, r"'foxs'; drawn are cats, dogs.*'foxes'"),
        ({"drawn_classes": ("cats",)}, "'data.drawn_classes' is cats, .* 2 or more different"),
        ({"drawn_classes": ("cats", "cats")}, "'data.drawn_classes' is cats, cats"),
        ({"drawn_classes": (), "drawn_animals": "several"}, "is empty, .* 1 or more different"),
    ],
)
def test_species_that_cannot_be_drawn_are_named(data: dict, words: str) -> None:
    def listed() -> None:
        config = config_from_dict({"data": {"source": "drawn", **data}, "train": {"steps": 1}})
        list_source(config.data)

    with pytest.raises(UserError, match=words):
        listed()


@pytest.mark.parametrize(
    ("name", "index", "size", "means"),
    [
        ("cats", 0, (108, 111), (136.6, 126.6, 158.7, 176.1)),
        ("cats", 2, (89, 98), (137.3, 143.3, 130.6, 126.4)),
        ("dogs", 0, (139, 122), (141.3, 143.2, 143.2, 146.9)),
        ("dogs", 1, (88, 138), (103.2, 106.4, 102.2, 93.7)),
    ],
)
def test_cats_and_dogs_are_drawn_as_they_were_by_version_1(
    name: str, index: int, size: tuple[int, int], means: tuple[float, ...]
) -> None:
    number = drawn.SPECIES.index(name)
    picture = drawn.draw(name, np.random.default_rng([drawn.VERSION, 0, number, index]))
    pixels = np.asarray(picture, float)
    assert picture.size == size
    # Not a hash: the last bit of a sine may differ between processors.
    found = (*pixels.mean((0, 1)), pixels[picture.height // 2 :].mean())
    assert found == pytest.approx(means, abs=0.2)


def test_a_species_looks_the_same_whichever_others_are_drawn(tmp_path: pathlib.Path) -> None:
    few = drawn.write_folder(tmp_path / "few", train=6, validation=2, species=("foxes", "cats"))
    all_of_them = drawn.write_folder(
        tmp_path / "all", train=24, validation=8, species=drawn.SPECIES
    )
    assert len(_bytes(all_of_them)) == 24 + 8 + 1
    for name in ("train/foxes/fox.0002.jpg", "validation/cats/cat.0000.jpg"):
        assert (few / name).read_bytes() == (all_of_them / name).read_bytes()


def test_several_animals_or_none_are_listed_with_who_is_in_the_picture() -> None:
    data = DataConfig(
        source="drawn",
        drawn_classes=("cats", "birds", "pigs"),
        drawn_animals="several",
        drawn_train=40,
        drawn_validation=10,
    )
    listing = list_source(data)
    assert listing.multilabel
    assert Counter(example.split for example in listing.examples) == {"train": 40, "validation": 10}
    sizes = Counter(len(example.labels) for example in listing.examples)
    assert set(sizes) == {0, 1, 2, 3}
    assert {name for example in listing.examples for name in example.labels} == {
        "cats",
        "birds",
        "pigs",
    }
    assert list_source(data) == listing


def test_the_number_of_animals_does_not_depend_on_the_size_of_the_picture() -> None:
    for species in ([], ["mice"], ["mice", "bears", "mice"]):
        sizes = [drawn.draw_several(species, np.random.default_rng(i)).size for i in range(3)]
        assert all(110 <= width <= 180 and 80 <= height <= 130 for width, height in sizes)


@pytest.mark.heavy
def test_pictures_come_in_many_sizes_within_the_promised_range(
    pictures: tuple[list[Image.Image], np.ndarray],
) -> None:
    sizes = {picture.size for picture in pictures[0]}
    assert len(sizes) > 400
    assert min(min(size) for size in sizes) >= 80
    assert max(max(size) for size in sizes) <= 140


@pytest.mark.heavy
def test_size_and_mean_colour_do_not_tell_which_of_eight_species_it_is() -> None:
    labels = np.arange(1000) % 8
    made = [drawn.draw(drawn.SPECIES[y], np.random.default_rng(i)) for i, y in enumerate(labels)]
    facts = np.array([[*p.size, *np.asarray(p).mean((0, 1))] for p in made])
    assert _held_out_accuracy(facts, labels, 1) < 0.22  # One in eight by chance.


@pytest.mark.heavy
def test_size_and_mean_colour_do_not_tell_the_class(
    pictures: tuple[list[Image.Image], np.ndarray],
) -> None:
    sizes = np.array([picture.size for picture in pictures[0]], float)
    colours = np.array([np.asarray(picture).mean((0, 1)) for picture in pictures[0]])
    assert _held_out_accuracy(sizes, pictures[1], 1) < 0.6
    assert _held_out_accuracy(colours, pictures[1], 1) < 0.6


@pytest.mark.heavy
@pytest.mark.parametrize("strength", [1e-4, 1e-2])
def test_a_linear_model_on_pixels_does_not_solve_it(
    pictures: tuple[list[Image.Image], np.ndarray], strength: float
) -> None:
    pixels = np.array([np.asarray(picture.resize((32, 32))).ravel() for picture in pictures[0]])
    assert _held_out_accuracy(pixels / 255, pictures[1], strength) < 0.75
