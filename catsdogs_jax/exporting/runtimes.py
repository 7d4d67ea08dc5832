"""Opens what a bundle holds with the runtime of its format."""

import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from catsdogs_jax.preprocessing import Preprocessing

Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""uint8 [n, size, size, 3] to calibrated and uncalibrated probabilities, float32 [n, classes]."""


@dataclasses.dataclass(frozen=True)
class Runtime:
    """How a format is run.

    Attributes:
        open: Takes the path of its main file.
        modules: Any one of these must be there.
        install: What to install where none is.
        compiles: Whether each number of pictures is a program of its own.
    """

    open: Callable[[Path], Run]
    modules: tuple[str, ...]
    install: str
    compiles: bool = False

    def ready(self) -> bool:
        """Whether this environment can run it."""
        return any(importlib.util.find_spec(name) is not None for name in self.modules)


def reason_of(error: Exception) -> str:
    """Returns the first line of what a runtime says of a file that it cannot use."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()
    )

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = session.run(["probabilities", "uncalibrated"], {"images": images})
        return np.asarray(found[0]), np.asarray(found[1])

    return run


def _stablehlo(path: Path) -> Run:
    import jax

    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    return _jitted(exported.call)


def _savedmodel(path: Path) -> Run:
    from catsdogs_jax.data.tensorflow import tf

    loaded = tf().saved_model.load(str(path))  # Holds the variables of its signatures.

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = loaded.signatures["serving_default"](images=tf().constant(images))
        return found["probabilities"].numpy(), found["uncalibrated"].numpy()

    return run


def _tflite(path: Path) -> Run:
    if importlib.util.find_spec("ai_edge_litert") is not None:
        from ai_edge_litert.interpreter import Interpreter
    else:
        from catsdogs_jax.data.tensorflow import tf

        Interpreter = tf().lite.Interpreter  # noqa: N806
    runner = Interpreter(model_path=str(path)).get_signature_runner("serving_default")

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [runner(images=image[None]) for image in images]
        return (
            np.concatenate([row["probabilities"] for row in found]),
            np.concatenate([row["uncalibrated"] for row in found]),
        )

    return run


def _safetensors(path: Path) -> Run:
    from safetensors.numpy import load_file

    from catsdogs_jax.config.reader import config_from_dict
    from catsdogs_jax.exporting.network import Network

    config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    model = config_from_dict({"model": config["model"]}, together=False).model
    built = Network.build(model, Preprocessing.from_dict(config["preprocessing"]))
    network = dataclasses.replace(
        built.with_weights(load_file(path)), temperature=config["temperature"]
    )
    return _jitted(lambda images: network(images))


def _jitted(function: Callable[..., Any]) -> Run:
    import jax

    compiled = jax.jit(function)

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = compiled(images)
        return np.asarray(found[0]), np.asarray(found[1])

    return run


_ONNX = Runtime(_onnx, ("onnxruntime",), "onnxruntime")
_TFLITE = Runtime(_tflite, ("ai_edge_litert", "tensorflow"), "ai-edge-litert")

RUNTIMES: Mapping[str, Runtime] = {
    "onnx": _ONNX,
    "onnx-int8": _ONNX,
    "stablehlo": Runtime(_stablehlo, ("jax",), "jax", compiles=True),
    "savedmodel": Runtime(_savedmodel, ("tensorflow",), "tensorflow"),
    "tflite": _TFLITE,
    "tflite-int8": _TFLITE,
    "safetensors": Runtime(_safetensors, ("safetensors",), "safetensors", compiles=True),
}
"""By the name of the format."""
