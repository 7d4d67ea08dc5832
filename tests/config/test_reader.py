"""Promises of the config: typed, complete, and clear about mistakes."""

import ast
import dataclasses
from pathlib import Path

import pytest

from catsdogs_jax.config import Config, hints
from catsdogs_jax.config.reader import (
    checked,
    config_from_dict,
    config_to_dict,
    describe_options,
    differing_keys,
    options,
    read_config,
    with_values,
)
from catsdogs_jax.durations import seconds_of
from catsdogs_jax.errors import UserError

REPOSITORY = Path(__file__).parents[2]
MINIMAL = {"train": {"steps": 1}}
PROBE = {"finetune.weights": "imagenet", "finetune.depth": "probe"}


def written(tmp_path: Path, body: str = "") -> Path:
    path = tmp_path / "some.py"
    path.write_text(
        "import ml_collections\n\ndef get_config():\n"
        "    config = ml_collections.ConfigDict()\n    config.train = {'steps': 1}\n"
        f"    {body}\n    return config\n"
    )
    return path


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "configs").glob("*.py")), ids=lambda p: p.stem
)
def test_every_shipped_config_reads(path: Path) -> None:
    assert isinstance(read_config(path), Config)


def test_a_config_survives_json(tmp_path: Path) -> None:
    config = read_config(written(tmp_path, "config.augment = {'zoom': (0.5, 1.5)}"))
    assert config_from_dict(config_to_dict(config)) == config


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("data.batch_size", "64", 64),
        ("train.learning_rate", "3", 3.0),
        ("train.learning_rate", "1e-4", 1e-4),
        ("data.dir", "123", "123"),
        ("data.classes", "cats,dogs", ("cats", "dogs")),
        ("augment.zoom", "(0.5, 1.5)", (0.5, 1.5)),
        ("augment.flip", "True", True),
        ("augment.flip", "false", False),
        ("mesh.devices", "none", None),
        ("train.betas", "0.9,0.99", (0.9, 0.99)),
        ("train.betas", "none", None),
        ("data.resize", "crop", "crop"),
        ("data.dir", "~/pets", str(Path.home() / "pets")),
        ("data.dir", "pets~", "pets~"),
    ],
)
def test_an_override_is_read_by_the_type_of_its_key(
    tmp_path: Path, key: str, text: str, value: object
) -> None:
    config = read_config(written(tmp_path), {key: text})
    group, name = key.split(".")
    assert getattr(getattr(config, group), name) == value


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"data.bach_size": "3"}, ["'data.bach_size'", "'data.batch_size'"]),
        ({"sed": "3"}, ["'sed'", "'seed'"]),
        ({"data": "3"}, ["'data'", "group"]),
        ({"data.batch_size.x": "3"}, ["'data.batch_size.x'"]),
        ({"data.batch_size": "many"}, ["'data.batch_size'", "'many'", "an integer"]),
        ({"data.batch_size": "3.5"}, ["3.5", "an integer"]),
        ({"data.batch_size": "0"}, ["0", "at least 1"]),
        ({"data.batch_size": "True"}, ["True", "an integer"]),
        ({"data.resize": "strech"}, ["'strech'", "stretch, crop, pad", "'stretch'"]),
        ({"augment.flip": "maybe"}, ["'maybe'", "true or false"]),
        ({"augment.zoom": "1"}, ["a list of 2"]),
        ({"augment.zoom": "1,2,3"}, ["a list of 2"]),
        ({"augment.zoom": "2,1"}, ["2.0, 1.0", "smaller one first"]),
        ({"augment.zoom": "0,1"}, ["0.0", "above 0"]),
        ({"augment.crop": "0.9,0.3"}, ["augment.crop", "0.9, 0.3", "smaller one first"]),
        ({"augment.crop": "0.3,1.5"}, ["1.5", "at most 1"]),
        ({"augment.crop_ratio": "1.5,2"}, ["augment.crop_ratio", "1.5, 2.0", "1 inside"]),
        ({"augment.erase_area": "0.3,0.1"}, ["augment.erase_area", "smaller one first"]),
        ({"augment.hue": "0.7"}, ["augment.hue", "0.7", "at most 0.5"]),
        ({"augment.policy": "trivia"}, ["'trivia'", "'trivial'", "randaugment"]),
        ({"augment.mixup": "1", "data.batch_size": "1"}, ["augment.mixup", "batch_size=2"]),
        ({"data.stream": "true", "data.dir": "pets"}, ["data.stream", "'pets'", "gs://"]),
        ({"train.learning_rate": "nan"}, ["'nan'", "a number"]),
        ({"train.learning_rate": "1e999"}, ["inf", "finite"]),
        ({"train.ema_decay": "1"}, ["1.0", "below 1"]),
        (
            {"train.epochs": "1", "train.steps": "3"},
            ["exactly one", "train.steps and train.epochs are set"],
        ),
        ({"train.steps": "none"}, ["train.steps, train.epochs and train.budget", "none of them"]),
        ({"train.budget": "1m", "train.steps": "3"}, ["train.steps and train.budget are set"]),
        ({"train.budget": "soon"}, ["'train.budget'", "'soon'", "25m"]),
        ({"train.budget": "0s"}, ["'train.budget'", "'0s'", "1h30m"]),
        (
            {"eval.every_steps": "1", "eval.every_epochs": "1"},
            ["eval.every_steps and eval.every_epochs are set"],
        ),
        ({"train.weight_decay": "0.1"}, ["train.weight_decay", "adamw"]),
        ({"train.profile_steps": "5", "train.steps_per_call": "8"}, ["calls of 8", "per_call=1"]),
        ({"train.momentum": "0.9"}, ["train.momentum is 0.9", "adam does not", "sgd, muon"]),
        ({"train.betas": "0.9,1"}, ["1.0", "below 1"]),
        ({"train.final_rate": "0.1"}, ["train.final_rate", "constant", "cosine"]),
        ({"train.schedule": "exponential"}, ["never reaches 0", "train.final_rate=0.01"]),
        (
            {"train.schedule": "wsd", "train.warmup": "0.5", "train.cooldown": "0.6"},
            ["train.warmup + train.cooldown is 1.1", "lower"],
        ),
        ({"data.source": "table"}, ["data.source=table", "--config.data.table"]),
        ({"data.source": "tfds"}, ["data.source=tfds", "--config.data.name"]),
        (
            {"data.sampling": "balanced", "train.class_weights": "balanced"},
            ["data.sampling=balanced", "train.class_weights=balanced", "one of them"],
        ),
        ({"data.sampling": "sqrt"}, ["'sqrt'", "square_root"]),
        ({**PROBE, "train.budget": "2m", "train.steps": "none"}, ["'2m'", "depth=head_then_all"]),
        ({**PROBE, "data.sampling": "balanced"}, ["depth=probe", "train.class_weights=balanced"]),
        ({"data.drawn_classes": "cats"}, ["cats", "2 or more different"]),
        ({"data.validation_share": "0.6", "data.test_share": "0.5"}, ["1.1", "nothing is left"]),
    ],
)
def test_a_mistake_names_the_key_the_value_and_what_is_allowed(
    tmp_path: Path, overrides: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        read_config(written(tmp_path), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("batch_size", "data.batch_size"),
        ("train.batch_size", "data.batch_size"),
        ("evl.batch_size", "eval.batch_size"),
        ("train.seed", "seed"),
        ("lr", "train.learning_rate"),
        ("train.lr", "train.learning_rate"),
        ("train.leaning_rate", "train.learning_rate"),
        ("learnig_rate", "train.learning_rate"),
        ("train.amp", "model.dtype=bfloat16"),
        ("model.pretrained", "finetune.weights"),
        ("data.val_split", "data.validation_share"),
        ("data.Batch_Size", "data.batch_size"),
    ],
)
def test_an_unknown_key_is_taken_for_the_one_that_was_meant(key: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"key '{key}'. Did you mean '{meant}'\\?$"):
        checked(key, 1)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("train.resume", "There is none to set: the same command"),
        ("data.num_workers", "There is none to set: every core"),
        ("mesh.quux", "Keys of mesh: devices, fsdp, "),
        ("quux", "The groups are data, model, "),
    ],
)
def test_a_key_that_resembles_none_gets_no_far_fetched_hint(key: str, words: str) -> None:
    with pytest.raises(UserError, match=f"key '{key}'. {words}") as caught:
        checked(key, 1)
    assert "Did you mean" not in str(caught.value)


def test_a_choice_in_capitals_is_taken_for_the_one_that_was_meant() -> None:
    with pytest.raises(UserError, match="Did you mean 'adamw'"):
        checked("train.optimizer", "AdamW")


def test_the_names_of_other_libraries_lead_to_keys_that_exist() -> None:
    known = {option.key for option in options()}
    names = {key.rpartition(".")[2] for key in known}
    assert {key.partition("=")[0] for key in hints._ELSEWHERE} <= known
    assert not names & {name for theirs in hints._ELSEWHERE.values() for name in theirs}
    assert not names & set(hints._NOT_SET)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("config.dta = {'dir': 'x'}", ["'dta'", "data"]),
        ("config.data = {'dirr': 'x'}", ["'data.dirr'", "'data.dir'"]),
        ("config.data = 3", ["'data'", "group", "3"]),
        ("1 / 0", ["ZeroDivisionError"]),
        ("return {}", ["dict", "ConfigDict"]),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, body: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        read_config(written(tmp_path, body))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("length", "left"),
    [
        ({"train.budget": "25m"}, (None, None, "25m")),
        ({"train.epochs": "2"}, (None, 2.0, None)),
        ({"train.steps": "7"}, (7, None, None)),
        ({"train.budget": "none"}, (1, None, None)),
    ],
)
def test_a_length_that_is_given_takes_the_place_of_the_files(
    tmp_path: Path, length: dict[str, str], left: tuple
) -> None:
    config = read_config(written(tmp_path), length)
    assert (config.train.steps, config.train.epochs, config.train.budget) == left
    train = with_values(config_from_dict({"train": {"epochs": 3}}), {"train.steps": 5}).train
    assert (train.steps, train.epochs) == (5, None)


def test_an_interval_that_is_given_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, "config.eval = {'every_epochs': 2}")
    evaluation = read_config(path, {"eval.every_steps": "50"}).eval
    assert (evaluation.every_steps, evaluation.every_epochs) == (50, None)


def test_an_override_from_python_is_taken_as_it_is_and_checked(tmp_path: Path) -> None:
    values = {
        **{"train.learning_rate": 0.1, "data.batch_size": 8, "augment.flip": True},
        **{"data.classes": ("cats", "dogs"), "mesh.devices": None},
    }
    config = read_config(written(tmp_path), values)
    assert (config.train.learning_rate, config.data.batch_size) == (0.1, 8)
    assert (config.augment.flip, config.data.classes) == (True, ("cats", "dogs"))
    for key, value in {"data.batch_size": 0.5, "data.dir": 3, "data.resize": 3}.items():
        with pytest.raises(UserError, match=f"'{key}' is {value}, but must be"):
            read_config(written(tmp_path), {key: value})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("25m", 1500), ("1h30m", 5400), ("0.5h", 1800), ("2m5s", 125)],
)
def test_durations_are_read_as_people_type_them(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


def test_a_missing_file_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean '.*seed_cnn.py'"):
        read_config(REPOSITORY / "configs" / "sed_cnn.py")


def test_differing_keys_are_spelled_out() -> None:
    old, new = config_from_dict(MINIMAL), config_from_dict({**MINIMAL, "seed": 3})
    assert differing_keys(config_to_dict(old), config_to_dict(new)) == ["seed: 0 -> 3"]


def test_every_option_has_help() -> None:
    text = describe_options()
    assert "--config.data.batch_size" in text
    assert all(line.strip() for line in text.splitlines())


def test_every_field_is_read_somewhere() -> None:
    read: set[str] = set()
    for path in (REPOSITORY / "catsdogs_jax").rglob("*.py"):
        if path.parent.name != "config":
            nodes = ast.walk(ast.parse(path.read_text()))
            read |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    # `zoom` and others are read as attributes of their group; a name alone is enough here.
    unread = []
    for group in dataclasses.fields(Config):
        fields = dataclasses.fields(group.type) if dataclasses.is_dataclass(group.type) else []
        unread += [f"{group.name}.{field.name}" for field in fields if field.name not in read]
    assert not unread
