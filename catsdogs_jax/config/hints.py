"""What an unknown config key was meant to be: a wrong hint costs more than none."""

import difflib
from collections.abc import Mapping, Sequence

_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "data.batch_size": ("bs", "batch", "batchsize"),
    "data.classes": ("class_names",),
    "data.dir": ("data_dir", "root", "path"),
    "data.image_size": ("img_size", "imgsz", "input_size", "resolution", "target_size"),
    "data.test_share": ("test_split",),
    "data.validation_share": ("val_split", "validation_split", "val_share"),
    "finetune.weights": ("pretrained",),
    "model.drop_path": ("drop_path_rate", "stochastic_depth"),
    "model.dropout": ("drop_rate", "dropout_rate"),
    "model.dtype=bfloat16": ("amp", "bf16", "fp16", "half", "mixed_precision", "precision"),
    "model.name": ("arch", "architecture", "backbone"),
    "train.clip_norm": ("clip_grad", "clipnorm", "grad_clip", "gradient_clip_val", "max_norm"),
    "train.ema_decay": ("ema", "model_ema"),
    "train.epochs": ("max_epochs", "num_epochs", "n_epochs"),
    "train.label_smoothing": ("smoothing",),
    "train.learning_rate": ("lr", "base_lr", "init_lr", "lr0"),
    "train.optimizer": ("opt",),
    "train.patience": ("early_stopping",),
    "train.schedule": ("lr_schedule", "lr_scheduler", "sched", "scheduler"),
    "train.steps": ("max_steps", "num_steps", "iterations"),
    "train.weight_decay": ("wd",),
}
"""Our keys, and what other libraries call them."""

_NOT_SET: Mapping[str, str] = {
    "num_classes": "the pictures say how many classes there are",
    "num_workers": "every core reads pictures",
    "resume": "the same command, with the same --workdir, goes on from its last checkpoint",
    "workers": "every core reads pictures",
}
"""What other libraries ask for and this one does by itself."""


def hint_for(key: str, known: Sequence[str]) -> str:
    """Returns " Did you mean 'x'?", or else a sentence that leads on.

    Args:
        key: A dotted key that is not known.
        known: Those that are, in their order.
    """
    word = key.rpartition(".")[2].lower().replace("-", "_")
    if word in _NOT_SET:
        return f" There is none to set: {_NOT_SET[word]}."
    meant = _same_name(key, word, known) or _by_other_name(word) or _misspelled(key, known)
    if meant:
        return f" Did you mean {meant!r}?"
    group = key.partition(".")[0]
    inside = [name for name in known if name.startswith(f"{group}.")]
    if inside:
        return f" Keys of {group}: {', '.join(name.partition('.')[2] for name in inside)}."
    return f" The groups are {', '.join(_groups(known))}; train --help lists their keys."


def _same_name(key: str, word: str, known: Sequence[str]) -> str | None:
    """The key of that name in the group most like the one given; else the first, `data` before."""
    same = [name for name in known if name.rpartition(".")[2] == word]
    group = key.rpartition(".")[0]
    like = difflib.get_close_matches(group, [name.rpartition(".")[0] for name in same], 1, 0.6)
    return f"{like[0]}.{word}" if like else same[0] if same else None


def _by_other_name(word: str) -> str | None:
    return next((ours for ours, theirs in _ELSEWHERE.items() if word in theirs), None)


def _misspelled(key: str, known: Sequence[str]) -> str | None:
    """The key whose name, or else the whole of which, differs by a letter or two."""
    group, _, rest = key.partition(".")
    inside = [name.partition(".")[2] for name in known if rest and name.startswith(f"{group}.")]
    if found := difflib.get_close_matches(rest.lower(), inside, 1, 0.75):
        return f"{group}.{found[0]}"
    last = key.rpartition(".")[2].lower()
    names = {name.rpartition(".")[2]: name for name in reversed(known)}
    names |= {} if rest else {name: name for name in _groups(known)}
    if found := difflib.get_close_matches(last, list(names), 1, 0.75):
        return names[found[0]]
    return None


def _groups(known: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.partition(".")[0] for name in known if "." in name))
