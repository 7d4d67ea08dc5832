"""What each ingredient is worth when training from scratch: uv run python -m benchmarks.ablation.

Trains `configs/scratch.py` in a short form, 64 pixels throughout, as it is and with one thing
changed at a time, and compares the predictions picture by picture (McNemar's exact test).
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from PIL import Image

from benchmarks.harness import OURS, Row, arguments, cpu_name, photographs, write
from catsdogs_jax.comparison import compare_runs

_SHORT = (
    "--config.augment.size=64",
    "--config.augment.grow_from=()",
    "--config.data.image_size=85",
    "--config.eval.center_crop=64",
)
_EPOCHS = 8.0
_QUICK = 0.1

_TURNS = {
    "0": None,
    "90": Image.Transpose.ROTATE_90,
    "180": Image.Transpose.ROTATE_180,
    "270": Image.Transpose.ROTATE_270,
}
_PRETEXT = (
    "--config.augment.flip=False",  # A mirror makes a turn to the left one to the right.
    "--config.eval.mirror=False",
    "--config.augment.mixup=0",
    "--config.augment.cutmix=0",
)
_PRETEXT_SHARE = 1 / 2
"""Epochs of telling turns, of four times the pictures, for each epoch of telling labels."""

_SHIPPED = "as it is"
_TURNED = "begun with telling turns"

_VARIANTS = {
    _SHIPPED: (),
    "TrivialAugment on top": ("--config.augment.policy=trivial",),
    "drop path 0.1": ("--config.model.drop_path=0.1",),
    "no MixUp, no CutMix": ("--config.augment.mixup=0", "--config.augment.cutmix=0"),
    "no average of the weights": ("--config.train.ema_decay=0",),
    "anti-aliased": ("--config.model.antialias=True",),
    "sharpness-aware, radius 0.05": ("--config.train.sam_radius=0.05",),
    "wavelet stem": ("--config.model.name=benchmarks.wavelet:WaveletResNet",),
    _TURNED: ("--config.finetune.depth=all",),
}


@dataclasses.dataclass(frozen=True)
class _Trials:
    """Where the runs lie, and what they are of."""

    folder: Path
    photos: Path
    epochs: float

    def train(self, name: str) -> tuple[Path, float]:
        """Trains a variant; returns its run folder and the minutes that it took."""
        start, flags = time.monotonic(), list(_VARIANTS[name])
        if name == _TURNED:
            flags.append(f"--config.finetune.weights={self._that_tell_turns()}")
        run = self._run(name.replace(" ", "_"), self.photos, self.epochs, flags)
        return run, (time.monotonic() - start) / 60

    def _that_tell_turns(self) -> Path:
        """Returns weights that learned which way up pictures are (Gidaris et al., 2018).

        https://arxiv.org/abs/1803.07728: no label is used, nor a picture of validation for more
        than the choice of the checkpoint.
        """
        turned, bundle = self.folder / "turned", self.folder / "turns_bundle"
        if not turned.exists():
            _write_turned(self.photos, turned)
        run = self._run("turns", turned, self.epochs * _PRETEXT_SHARE, _PRETEXT)
        command = [sys.executable, "-m", "catsdogs_jax.export", "--workdir", str(run)]
        command += ["--format", "safetensors", "--out", str(bundle)]
        if not bundle.exists():
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return bundle / "model.safetensors"

    def _run(self, name: str, pictures: Path, epochs: float, flags: Sequence[str]) -> Path:
        run = self.folder / name
        command = [sys.executable, "-m", "catsdogs_jax.train", "--config", "configs/scratch.py"]
        command += [f"--config.data.dir={pictures}", "--workdir", str(run), *_SHORT]
        command += [f"--config.train.epochs={epochs:g}", f"--config.eval.every_epochs={epochs:g}"]
        subprocess.run([*command, *flags], check=True, stdout=subprocess.DEVNULL)
        return run


def main() -> None:
    """Trains each variant, and prints a table."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--epochs", type=float, default=_EPOCHS, help=f"of each run [{_EPOCHS:g}]")
    parser.add_argument("--only", nargs="*", choices=list(_VARIANTS), help="these alone")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="keep the runs, and go on there")
    flags = parser.parse_args()
    wanted = [name for name in _VARIANTS if flags.only is None or name in flags.only]
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.runs or Path(temporary)
        trials = _Trials(folder, photographs(), _QUICK if flags.quick else flags.epochs)
        print(f"\n{cpu_name()}; jax {version('jax')}; {trials.epochs:g} epochs\n")
        print("| `configs/scratch.py` | accuracy | 95 % | loss | alone : not, p | time |")
        print("|---|---|---|---|---|---|")
        shipped, minutes = trials.train(_SHIPPED)
        rows = [_row(_SHIPPED, shipped, shipped, minutes)]
        for name in wanted:
            if name != _SHIPPED:
                rows.append(_row(name, shipped, *trials.train(name)))
    write(rows, {"jax": version("jax")}, flags)


def _row(name: str, shipped: Path, run: Path, minutes: float) -> Row:
    """Prints the row of a variant, compared with the recipe as it is; returns it as data."""
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    found = result["splits"]["validation"]
    (low, high), compared = found["accuracy_ci95"], ""
    if run != shipped:
        pairs = compare_runs(shipped, run, "validation")
        compared = f"{pairs.second_alone} : {pairs.first_alone}, {pairs.p:.2g}"
    print(
        f"| {name} | {found['accuracy']:.1%} of {found['n']} | {low:.1%} to {high:.1%} | "
        f"{found['loss']:.3f} | {compared} | {minutes:.1f} min |",
        flush=True,
    )
    return Row(name, OURS, 100 * found["accuracy"], "%", None, 100 * low, 100 * high, found["n"])


def _write_turned(photos: Path, folder: Path) -> None:
    """Writes each picture four times, in a folder for each quarter of a turn."""
    for path in sorted(p for split in ("train", "validation") for p in photos.glob(f"{split}/*/*")):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        for degrees, turn in _TURNS.items():
            at = folder / path.relative_to(photos).parts[0] / degrees
            at.mkdir(parents=True, exist_ok=True)
            turned = image if turn is None else image.transpose(turn)
            turned.save(at / f"{path.parent.name}_{path.stem}.jpg", quality=95)


if __name__ == "__main__":
    main()
