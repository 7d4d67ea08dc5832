"""The space of a search: config keys, and the values that each may take."""

import importlib.util
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from catsdogs_jax.config.reader import checked
from catsdogs_jax.errors import UserError, nearest

_RANGE_WORDS = ("low", "high", "log", "step")
_WORDS = (*_RANGE_WORDS, "choices")
_MEASURES = {
    "seed": "a search over seeds chooses luck: use train --repeat",
    "checkpoint.metric": "it is what the search compares",
}
"""Keys that change what is measured, not how well it is done, and why they are refused."""

_DATA_THAT_MAY_VARY = ("image_size", "resize", "batch_size")


class Space:
    """What a search varies.

    Attributes:
        entries: The config keys, and the range or choices of each as the file has them.
        distributions: The same for Optuna. A choice that is a list stands as its JSON text.
    """

    def __init__(self, entries: Mapping[str, Any]):
        """Checks the keys, ranges and choices.

        Raises:
            UserError: A key is no config key, or a value is not one that the key may have.
        """
        if not entries:
            raise UserError("the space is empty: name at least one config key")
        try:  # As a storage gives it back to whoever goes on with the search.
            self.entries = json.loads(json.dumps(dict(entries), default=_plain))
        except (TypeError, ValueError) as error:
            raise UserError(f"the space cannot be written down: {error}") from error
        self.distributions = {k: _distribution(k, entry) for k, entry in self.entries.items()}

    def values(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the config values of the parameters of a trial."""
        return {
            key: json.loads(value) if _is_listed(self.entries[key], value) else value
            for key, value in parameters.items()
        }


def read_space(path: str | Path) -> Space:
    """Reads a space from a file: TOML, JSON, or Python with `get_space() -> dict`.

    Keys may be dotted or nested. The value of a key is `{low, high}` with `log` (true or false) or
    `step` if wanted, or `{choices}`, or a plain list of choices.

    Raises:
        UserError: The file cannot be read, or see `Space`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no space file {str(path)!r}: see docs/search.md for what it holds")
    readers: Mapping[str, Callable[[Path], Any]] = {
        ".toml": lambda path: tomllib.loads(path.read_text(encoding="utf-8")),
        ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
        ".py": _call_get_space,
    }
    if path.suffix not in readers:
        raise UserError(f"space file {str(path)!r} must end in {', '.join(readers)}")
    try:
        tree = readers[path.suffix](path)
    except Exception as error:
        raise UserError(f"space file {str(path)!r} failed: {error!r}") from error
    if not isinstance(tree, Mapping):
        raise UserError(f"space file {str(path)!r} holds {type(tree).__name__}, not keys")
    return Space(_flat(tree, ""))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{value!r} is no number, text, true, false, or list of them")


def _call_get_space(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("catsdogs_jax_space", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_space()


def _flat(tree: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        group = isinstance(value, Mapping) and not set(value) & set(_WORDS)
        flat |= _flat(value, f"{prefix}{key}.") if group and value else {f"{prefix}{key}": value}
    return flat


def _distribution(key: str, entry: Any) -> BaseDistribution:
    _check_key(key)
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        entry = {"choices": entry}
    if not isinstance(entry, Mapping):
        raise UserError(
            f"space key {key!r} is {entry!r}: give {{low, high}}, with log or step, or {{choices}}"
        )
    for word in entry:
        if word not in _WORDS:
            hint = nearest(str(word), list(_WORDS))
            raise UserError(f"space key {key!r} has {word!r}; known: {', '.join(_WORDS)}.{hint}")
    if "choices" in entry:
        return _choices(key, entry)
    return _range(key, entry)


def _check_key(key: str) -> None:
    group, _, name = key.partition(".")
    reason = _MEASURES.get(key)
    if group == "data" and name and name not in _DATA_THAT_MAY_VARY:
        reason = "trials on other pictures cannot be compared"
    if group == "mesh":
        reason = "devices change the speed, not the result"
    if reason:
        raise UserError(f"space key {key!r} cannot be searched: {reason}")


def _choices(key: str, entry: Mapping[str, Any]) -> CategoricalDistribution:
    choices = entry["choices"]
    if len(entry) > 1 or not isinstance(choices, Sequence) or isinstance(choices, str):
        raise UserError(f"space key {key!r} is {dict(entry)!r}: give choices alone, as a list")
    if not choices:
        raise UserError(f"space key {key!r} has no choices")
    found = [checked(key, choice) for choice in choices]
    return CategoricalDistribution([json.dumps(v) if isinstance(v, tuple) else v for v in found])


def _range(key: str, entry: Mapping[str, Any]) -> FloatDistribution | IntDistribution:
    missing = [word for word in ("low", "high") if word not in entry]
    if missing:
        raise UserError(f"space key {key!r} has no {missing[0]}: give low and high, or choices")
    low, high = checked(key, entry["low"]), checked(key, entry["high"])
    log, step = entry.get("log", False), entry.get("step")
    numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (low, high))
    if not numeric:
        raise UserError(f"space key {key!r} has no range of numbers: give choices")
    if not isinstance(log, bool):
        raise UserError(f"space key {key!r} has log {log!r}: true or false")
    try:
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=log, step=1 if step is None else step)
        return FloatDistribution(low, high, log=log, step=step)
    except (ValueError, TypeError) as error:
        raise UserError(f"space key {key!r} is {dict(entry)!r}: {error}") from error


def _is_listed(entry: Any, value: Any) -> bool:
    choices = entry.get("choices", ()) if isinstance(entry, Mapping) else entry
    return isinstance(value, str) and any(isinstance(choice, (list, tuple)) for choice in choices)
