"""Promises to users who bring a model of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.errors import UserError
from catsdogs_jax.models import InputSpec, build_model, input_spec

REPOSITORY = Path(__file__).parents[2]
MODULE = """
import jax.numpy as jnp
from flax import nnx
from catsdogs_jax.models import InputSpec

class Net(nnx.Module):
    input_spec = InputSpec(96)

    def __init__(self, config, *, image_size, outputs, rngs):
        self.outputs = outputs
        self.head = nnx.Linear(3, outputs, rngs=rngs)

    def __call__(self, images, *, keys=None):
        return self.head(images.mean((1, 2)))

    def stages(self):
        return [("mean", "Mean", lambda x: x.mean((1, 2))), ("head", "Dense", self.head)]

class NoStages(Net):
    stages = None

class NoKeys(Net):
    def __call__(self, images):
        return super().__call__(images)

class OneLogit(Net):
    def __call__(self, images, *, keys=None):
        return super().__call__(images)[:, :1]

class OtherStages(Net):
    def stages(self):
        return super().stages()[:1]

class Half(Net):
    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.head.kernel = nnx.Param(jnp.zeros((3, self.outputs), jnp.bfloat16))

class NoRngs(Net):
    def __init__(self, config, *, image_size, outputs):
        pass

def a_list(config, *, image_size, outputs, rngs):
    return [1]

number = 3
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"nets_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"broken_{name}.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_a_module_of_the_users_own_is_built_by_its_import_path(nets: str) -> None:
    model = build_model(ModelConfig(name=f"{nets}:Net"), 16, 4, nnx.Rngs(0))
    assert model.outputs == 4
    assert input_spec(f"{nets}:Net") == InputSpec(96)
    abstract = nnx.eval_shape(
        lambda: build_model(ModelConfig(name=f"{nets}:Net"), 16, 4, nnx.Rngs(0))
    )
    assert abstract.head.kernel.shape == (3, 4)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.nets:Net", "there is no module 'no_such_package': install it, or start"),
        ("broken_NETS:Net", r"importing broken_.* failed: ZeroDivisionError"),
        ("NETS:Nett", "has no 'Nett'. Did you mean 'Net'"),
        ("NETS:", "write it as my_package.my_module:MyModel"),
        ("NETS:number", "it is a int, not a class or function"),
        ("NETS:NoRngs", r"cannot be called as \(config, image_size=, outputs=, rngs=\).*'rngs'"),
        ("NETS:a_list", "it made a list, not a flax.nnx.Module"),
        ("NETS:NoStages", r"it has no stages\(\)"),
        ("NETS:NoKeys", r"model\(images, keys=None\), as in evaluation, failed: TypeError.*keys"),
        ("NETS:OneLogit", r"gave float32 \[2, 1\] for 2 pictures, not float logits \[2, 4\]"),
        ("NETS:OtherStages", r"model.stages\(\), one after the other, gave float32 \[2, 3\]"),
        ("NETS:Half", r"parameter \['head'\]\['kernel'\].* is bfloat16, not float32"),
    ],
)
def test_what_breaks_the_contract_is_named(nets: str, path: str, message: str) -> None:
    config = ModelConfig(name=path.replace("NETS", nets))
    with pytest.raises(UserError, match=message):
        build_model(config, 16, 4, nnx.Rngs(0))


def test_a_module_in_the_current_folder_is_found_by_the_installed_command(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(MODULE)
    program = (
        f"import os, sys; sys.path[:0] = [{str(REPOSITORY)!r}]\n"
        "from catsdogs_jax.models.own import import_model\n"
        "print(import_model('nets:Net').__name__, import_model('nets:Half').__name__)\n"
        "print(sys.path.count(os.getcwd()))"
    )
    # -P leaves the current folder out of the path, as a script in another folder does.
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["Net", "Half", "1"], done.stderr
