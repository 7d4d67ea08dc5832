"""Promises of populations: each member is the run of its seed and learning rate."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from catsdogs_jax import sweep
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import read_config, with_values
from catsdogs_jax.data.dataset import Dataset, load_dataset
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import input_spec
from catsdogs_jax.search import contest
from catsdogs_jax.search.contest import choose_members
from catsdogs_jax.search.outcome import config_file
from catsdogs_jax.search.population import Members, Population
from catsdogs_jax.search.space import Space
from catsdogs_jax.training.plan import make_plan
from catsdogs_jax.training.sharding import make_sharding
from catsdogs_jax.training.state import TrainState
from catsdogs_jax.training.trainer import build_trainer
from tests.models.small import STAGED

Tiny = Callable[..., Config]
MEMBERS = Members(np.array([3, 4, 3, 9], np.int32), np.array([1e-2, 1e-2, 3e-3, 1e-3], np.float32))
STEPS = 5


def single_run(config: Config, seed: int, rate: float) -> TrainState:
    changed = {"seed": seed, "train.learning_rate": rate, "model.convolutions": "native"}
    config = with_values(config, changed)
    dataset, sharding = load_dataset(config), make_sharding(1)
    plan = make_plan(config, len(dataset.splits["train"]))
    trainer = build_trainer(config, dataset.preprocessing, sharding, plan, ())
    state = trainer.initialize()
    data = config.data
    batches = dataset.training.training_batches(0, STEPS, data.batch_size, seed, data.sampling)
    for batch in batches:
        state, _ = trainer.train(state, jax.device_put(dict(batch), sharding.batch))
    return state


@pytest.mark.heavy
def test_each_member_is_the_single_run_of_its_seed_and_rate(tiny: Tiny) -> None:
    config = tiny(
        data={"sampling": "balanced"},
        augment={"flip": True, "zoom": (0.8, 1.2)},
        train={
            "steps": STEPS,
            "optimizer": "adamw",
            "weight_decay": 0.1,
            "clip_norm": 1.0,
            "schedule": "one_cycle",
            "ema_decay": 0.9,
        },
    )
    dataset, sharding = load_dataset(config), make_sharding(2)
    plan = make_plan(config, len(dataset.splits["train"]))
    population = Population(config, dataset, sharding, plan, MEMBERS)
    population.train(0, 2)
    population.train(2, STEPS)
    for member in (1, 3):
        expected = single_run(config, int(MEMBERS.seeds[member]), float(MEMBERS.rates[member]))
        found = jax.tree.map(lambda leaf, k=member: np.asarray(leaf)[k], population.state)
        assert int(found.step) == STEPS
        for name in ("params", "average", "sums"):
            jax.tree.map(
                lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5),
                getattr(found, name),
                jax.device_get(getattr(expected, name)),
            )
    measured = population.evaluate("validation")
    assert len(measured) == 4
    assert all(0 <= member["accuracy"] <= 1 for member in measured)
    assert round(9 * measured[0]["accuracy"], 6) == round(9 * measured[0]["accuracy"])


def test_members_that_the_devices_cannot_share_are_refused(tiny: Tiny) -> None:
    config = tiny()
    dataset = load_dataset(config)
    with pytest.raises(UserError, match="--population is 4, which 3 devices cannot share"):
        Population(config, dataset, make_sharding(3), make_plan(config, 24), MEMBERS)


@pytest.mark.heavy
def test_the_command_prints_every_member_and_writes_the_best(
    tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.py").write_text(config_file(tiny(train={"learning_rate": 3e-3}), "A config."))
    (tmp_path / "s.toml").write_text("train.learning_rate = {low = 1e-4, high = 1e-2, log = true}")
    words = ["--config", str(tmp_path / "c.py"), "--space", str(tmp_path / "s.toml")]
    sweep.main([*words, "--population", "3", "--workdir", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "step 6 of 6: validation accuracy of the members" in said
    assert "accuracy on n = 9 validation pictures" in said
    values = json.loads((tmp_path / "out/population.json").read_text())
    rates = [member["learning_rate"] for member in values["members"]]
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2])
    assert [member["seed"] for member in values["members"]] == [0, 1, 2]
    best = read_config(tmp_path / "out/best_config.py")
    assert best.seed == values["best"]
    assert best.train.learning_rate == rates[values["best"]]


def test_members_see_the_colours_that_their_model_takes(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny(model={"name": "resnet_small", **STAGED, "hidden": "unset"})

    def look(_: Config, dataset: Dataset, *__: object) -> None:
        assert dataset.preprocessing.mean == input_spec("resnet_small").mean != (0.0, 0.0, 0.0)
        raise UserError("seen")

    monkeypatch.setattr(contest, "Population", look)
    with pytest.raises(UserError, match="seen"):
        contest.run_population(config, choose_members(config, None, 2), tmp_path)


def test_members_that_would_begin_with_weights_are_refused(tiny: Tiny) -> None:
    config = tiny(finetune={"weights": "some.safetensors", "depth": "all"})
    data, members = load_dataset(config), choose_members(config, None, 2)
    with pytest.raises(UserError, match=r"weights is 'some.safetensors', but a population begins"):
        Population(config, data, make_sharding(1), make_plan(config, 24), members)


@pytest.mark.parametrize(
    "changes",
    [
        {"train.teacher": "runs/other"},
        {"train.budget": "10m", "train.steps": None},
        {"train.patience": 3},
    ],
)
def test_what_members_would_not_follow_is_refused(tiny: Tiny, changes: dict[str, object]) -> None:
    config = with_values(tiny(), changes)
    data, members = load_dataset(config), choose_members(config, None, 2)
    key, value = next(iter(changes.items()))
    with pytest.raises(UserError, match=f"{key} is {value!r}, but a population"):
        Population(config, data, make_sharding(1), make_plan(config, 24), members)


@pytest.mark.heavy
def test_a_member_that_diverged_has_no_loss_however_well_its_average_looks(tiny: Tiny) -> None:
    config = tiny(train={"optimizer": "sgd", "momentum": 0.0, "ema_decay": 0.9, "steps": STEPS})
    members = Members(np.zeros(2, np.int32), np.array([1e-3, 1e25], np.float32))
    dataset, plan = load_dataset(config), make_plan(config, 24)
    population = Population(config, dataset, make_sharding(1), plan, members)
    population.train(0, STEPS)
    well, ill = population.evaluate("validation")
    assert np.isfinite(well["loss"])
    assert np.isnan(ill["loss"])


def test_what_cannot_differ_within_one_program_is_refused(tiny: Tiny) -> None:
    space = Space({"train.learning_rate": [1e-3, 1e-2], "model.hidden": [4, 8]})
    with pytest.raises(UserError, match="'model.hidden' cannot differ within one program"):
        choose_members(tiny(), space, 4)
    with pytest.raises(UserError, match="at least 2 members"):
        choose_members(tiny(), None, 1)
    rates = choose_members(tiny(), Space({"train.learning_rate": [1e-3, 1e-2]}), 3).rates
    np.testing.assert_allclose(rates, [1e-3, 1e-2, 1e-3])
