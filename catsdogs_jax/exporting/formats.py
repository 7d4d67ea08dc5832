"""Writes a network in each format."""

import dataclasses
import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from catsdogs_jax.errors import UserError, extra
from catsdogs_jax.exporting.in_tensorflow import in_tensorflow
from catsdogs_jax.exporting.network import Network, resized, sigmoid_by_tanh
from catsdogs_jax.exporting.onnx_graph import to_onnx

OUTPUTS = ("probabilities", "uncalibrated")
"""What every graph gives: calibrated probabilities, and those of `predict`."""

PLATFORMS = ("tpu", "cuda", "cpu")
EXTRA = extra("export")


@dataclasses.dataclass(frozen=True)
class Format:
    """A way to write a network.

    Attributes:
        write: Called with a network, the folder, and uint8 training pictures; returns the names of
            the files or folders that it has written, the main one first.
        needs: Modules that writing takes besides the package's own dependencies.
        words: What it is, in a line.
        quantised: Whether it computes in 8-bit integers.
    """

    write: Callable[[Network, Path, np.ndarray], list[str]]
    needs: tuple[str, ...]
    words: str
    quantised: bool = False

    def missing(self) -> list[str]:
        """Returns the modules that it needs and this environment lacks."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


def _stablehlo(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    del examples
    n, height, width = jax.export.symbolic_shape("n, height, width")
    to = network.preprocessing
    functions = {
        "model.stablehlo": (lambda x: network(x), (n, to.image_size, to.image_size, 3)),
        "resize.stablehlo": (
            lambda x: resized(x, to.image_size, to.resize),
            (n, height, width, 3),
        ),
    }
    for name, (function, shape) in functions.items():
        exported = jax.export.export(jax.jit(function), platforms=PLATFORMS)(
            jax.ShapeDtypeStruct(shape, np.uint8)
        )
        (folder / name).write_bytes(exported.serialize())
    return list(functions)


def _onnx(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    del examples
    n, height, width = jax.export.symbolic_shape("n, height, width")
    to, what = network.preprocessing, network.model.name
    size = to.image_size
    model = to_onnx(lambda x: network(x), (n, size, size, 3), OUTPUTS, what)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    square = to_onnx(
        lambda x: (resized(x, size, to.resize),), (n, height, width, 3), ["square"], "the resizing"
    )
    (folder / "resize.onnx").write_bytes(square.SerializeToString())
    return ["model.onnx", "resize.onnx"]


def _onnx_int8(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    """Static quantisation: weights of each channel, activations by their range on the examples."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Examples(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(np.array_split(examples, max(1, len(examples) // 16)))

        def get_next(self) -> Any:
            batch = next(self.rest, None)
            return None if batch is None else {"images": batch}

    with tempfile.TemporaryDirectory() as place:
        _onnx(network, Path(place), examples)
        prepared = Path(place) / "prepared.onnx"
        quant_pre_process(str(Path(place) / "model.onnx"), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(folder / "model.int8.onnx"),
            Examples(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MatMul"],
            per_channel=True,
            extra_options={"MatMulConstBOnly": True},
        )
    return ["model.int8.onnx"]


def _signature(function: Callable[..., Any], sides: tuple[int | None, ...]) -> Any:
    """Returns a TensorFlow function of uint8 pictures that names its results."""
    from catsdogs_jax.data.tensorflow import tf

    def named(images: Any) -> dict[str, Any]:
        return dict(zip(OUTPUTS, function(images), strict=True))

    spec = tf().TensorSpec(sides, tf().uint8, name="images")
    return tf().function(named, autograph=False, input_signature=[spec])


def _savedmodel(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    del examples
    from catsdogs_jax.data.tensorflow import tf

    n, height, width = jax.export.symbolic_shape("n, height, width")
    to, size = network.preprocessing, network.preprocessing.image_size
    model = in_tensorflow(lambda x: network(x), (n, size, size, 3), PLATFORMS)
    square = in_tensorflow(
        lambda x: [resized(x, size, to.resize)], (n, height, width, 3), PLATFORMS
    )
    module = tf().Module()
    module.model = _signature(model, (None, size, size, 3))
    module.any_size = _signature(
        lambda images: module.model(images=square(images)[0]).values(), (None, None, None, 3)
    )
    module.encoded = _encoded(module.model, square)
    signatures = {
        "serving_default": module.model,
        "any_size": module.any_size,
        "encoded": module.encoded,
    }
    tf().saved_model.save(module, str(folder / "savedmodel"), signatures=signatures)
    return ["savedmodel"]


def _encoded(model: Any, square: Callable[[Any], list[Any]]) -> Any:
    """Returns a TensorFlow function of the bytes of files, decoded by TensorFlow one by one."""
    from catsdogs_jax.data.tensorflow import tf

    def one(file: Any) -> Any:
        image = tf().io.decode_image(file, channels=3, expand_animations=False)
        return square(tf().ensure_shape(image, (None, None, 3))[None])[0][0]

    def named(files: Any) -> Any:
        return model(images=tf().map_fn(one, files, fn_output_signature=tf().uint8))

    spec = tf().TensorSpec((None,), tf().string, name="files")
    return tf().function(named, autograph=False, input_signature=[spec])


def _tflite_bytes(network: Network, settings: Callable[[Any], None]) -> bytes:
    """Converts the network for one picture at a time: the converter knows no symbolic sides."""
    from catsdogs_jax.data.tensorflow import tf
    from catsdogs_jax.exporting.plain import plain

    size = network.preprocessing.image_size
    function = plain(lambda x: network(x, sigmoid_by_tanh))
    one = in_tensorflow(function, (1, size, size, 3), ("cpu",))
    module = tf().Module()
    module.model = _signature(one, (1, size, size, 3))
    with tempfile.TemporaryDirectory() as place:
        tf().saved_model.save(module, place, signatures={"serving_default": module.model})
        converter = tf().lite.TFLiteConverter.from_saved_model(place)
        settings(converter)
        return converter.convert()


def _tflite(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    del examples
    (folder / "model.tflite").write_bytes(_tflite_bytes(network, lambda converter: None))
    return ["model.tflite"]


def _tflite_int8(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    from catsdogs_jax.data.tensorflow import tf

    def quantise(converter: Any) -> None:
        converter.optimizations = [tf().lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in examples)

    (folder / "model.int8.tflite").write_bytes(_tflite_bytes(network, quantise))
    return ["model.int8.tflite"]


def _safetensors(network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    del examples
    from safetensors.numpy import save_file

    weights = {name: np.ascontiguousarray(v) for name, v in network.named_weights().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "catsdogs_jax"})
    config = {
        "model": dataclasses.asdict(network.model),
        "preprocessing": network.preprocessing.to_dict(),
        "temperature": network.temperature,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return ["model.safetensors", "config.json"]


FORMATS: Mapping[str, Format] = {
    "onnx": Format(_onnx, ("onnx",), "ONNX, float32"),
    "onnx-int8": Format(_onnx_int8, ("onnx", "onnxruntime"), "ONNX, int8", quantised=True),
    "stablehlo": Format(_stablehlo, (), "StableHLO by jax.export for TPU, CUDA and CPU"),
    "savedmodel": Format(_savedmodel, ("tensorflow",), "TensorFlow SavedModel"),
    "tflite": Format(_tflite, ("tensorflow",), "LiteRT (TFLite), float32"),
    "tflite-int8": Format(_tflite_int8, ("tensorflow",), "LiteRT (TFLite), int8", quantised=True),
    "safetensors": Format(_safetensors, ("safetensors",), "weights by name, and their config"),
}
"""By name; the first that can be run is the one that `load` takes."""


def write_format(name: str, network: Network, folder: Path, examples: np.ndarray) -> list[str]:
    """Writes one format; returns the names of its files or folders.

    Raises:
        UserError: It cannot take this model; the message names the operation.
    """
    try:
        return FORMATS[name].write(network, folder, examples)
    except (UserError, OSError, MemoryError):
        raise
    except Exception as error:  # Converters raise many types.
        reason = next(
            (line for line in str(error).splitlines() if "op" in line.split()), str(error)
        )
        raise UserError(
            f"{name} cannot take {network.model.name} ({type(error).__name__}: "
            f"{reason.strip()[:300]}): leave it out of --format"
        ) from error
