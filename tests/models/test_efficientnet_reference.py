"""EfficientNet-Lite gives the logits of the implementation that its weights were published with.

That implementation needs PyTorch: `uv run --group bench pytest tests/models/` has it.
"""

import importlib
import os
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from catsdogs_jax.config import ModelConfig
from catsdogs_jax.data.decode import decode, read_header, to_square
from catsdogs_jax.models import build_model, input_spec
from catsdogs_jax.pretrained import lay_over, read_weights
from catsdogs_jax.training.state import merge_model, split_model

if os.environ.get("CATSDOGS_REQUIRE_REFERENCE") != "1":
    pytest.importorskip("torch")
    pytest.importorskip("efficientnet_lite_pytorch")

PICTURES = 64


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_logits_are_those_of_the_reference(photos: Path, number: int) -> None:
    torch = importlib.import_module("torch")
    reference = importlib.import_module("efficientnet_lite_pytorch").EfficientNet

    name = f"efficientnet_lite{number}"
    spec = input_spec(name)
    files = sorted((photos / "validation").rglob("*.jpg"))[:: 600 // PICTURES][:PICTURES]
    images = []
    for file in files:
        data = file.read_bytes()
        images.append(to_square(decode(data, read_header(data)), spec.image_size, "crop"))
    inputs = ((np.stack(images) / 255 - spec.mean) / spec.std).astype(np.float32)

    weights = read_weights("imagenet", name)
    assert weights is not None
    model = reference.from_name(name.replace("_", "-"))
    model.load_state_dict(torch.load(weights.source, map_location="cpu", weights_only=True))
    with torch.no_grad():
        wanted = model.eval()(torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())).numpy()

    config = ModelConfig(name=name)
    fresh = nnx.eval_shape(lambda: build_model(config, spec.image_size, 1000, nnx.Rngs(0)))
    graphdef, params, statistics = split_model(fresh)
    laid = lay_over(params, statistics, weights)
    forward = jax.jit(lambda p, s, x: merge_model(graphdef, p, s)(x))
    parts = [forward(laid.params, laid.statistics, part) for part in np.split(inputs, 8)]
    found = np.concatenate(parts)

    assert len(files) == PICTURES
    assert np.abs(found - wanted).max() <= 1e-3
    np.testing.assert_array_equal(found.argmax(axis=1), wanted.argmax(axis=1))
