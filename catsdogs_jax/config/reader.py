"""From a config file and `--config.a.b=value` overrides to a checked `Config`.

Each mistake ends in one line that names the key, the value, what is allowed and the nearest right
spelling, before any work is done.
"""

import ast
import dataclasses
import importlib.util
import math
import operator
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from catsdogs_jax.config import Config
from catsdogs_jax.config.checks import check_together
from catsdogs_jax.config.hints import hint_for
from catsdogs_jax.config.shipped import config_file
from catsdogs_jax.errors import UserError, nearest

_BOUNDS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "minimum": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "maximum": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}


_ALTERNATIVES = (
    ("train.steps", "train.epochs", "train.budget"),
    ("eval.every_steps", "eval.every_epochs"),
)
"""Keys of which one is set: one that is given takes the place of the others."""


def read_config(path: str | os.PathLike[str], overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads a config file and returns the complete, checked config.

    Args:
        path: A Python file with `get_config() -> ml_collections.ConfigDict`, or the name of a
            config that comes with the package, see `shipped.config_file`.
        overrides: Dotted keys and their values as typed, for example
            `{"data.batch_size": "64"}`, or as they are, `{"data.batch_size": 64}`.

    Raises:
        UserError: The file cannot be read, or a key, type or value is not allowed.
    """
    tree = _call_get_config(config_file(path))
    given = {key: _parse(value, _annotation(key), key) for key, value in (overrides or {}).items()}
    _set_all(tree, given)
    return config_from_dict(tree)


def config_from_dict(tree: Mapping[str, Any], *, together: bool = True) -> Config:
    """Builds a checked config from nested mappings that may leave out any key.

    Args:
        tree: The mappings.
        together: Whether to check as well which keys go together.

    Raises:
        UserError: A key is unknown, or a value has the wrong type or is out of bounds.
    """
    config = _build(Config, tree, "")
    if together:
        check_together(config)
    return config


def config_to_dict(config: Config) -> dict[str, Any]:
    """Returns the complete config as nested dicts of JSON types."""
    return _listed(dataclasses.asdict(config))


def checked(key: str, value: Any) -> Any:
    """Returns a value as the config would hold it under a dotted key.

    Raises:
        UserError: The key is unknown, or the value has the wrong type or is out of bounds.
    """
    value = _coerce(value, _annotation(key), key)
    _check_bounds(value, dict(_leaves(Config))[key].metadata, key)
    return value


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns the config with other values under dotted keys, checked as a whole.

    Raises:
        UserError: As `config_from_dict`.
    """
    tree = config_to_dict(config)
    _set_all(tree, values)
    return config_from_dict(tree)


def changed_values(config: Config) -> dict[str, Any]:
    """Returns, as nested dicts, only what differs from the defaults: what a config file holds."""
    return _changed(config_to_dict(config), config_to_dict(Config()))


def differing_keys(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Returns one "key: old -> new" for each leaf in which two config dicts differ."""
    lines = []
    for key in sorted(set(old) | set(new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differing_keys(before, after, f"{prefix}{key}.")
        elif before != after:
            lines.append(f"{prefix}{key}: {before!r} -> {after!r}")
    return lines


@dataclasses.dataclass(frozen=True)
class Option:
    """What `--config.KEY=VALUE` may set; `choices` is empty where any value of its type goes."""

    key: str
    default: Any
    help: str
    choices: tuple[str, ...]


def options() -> list[Option]:
    """Returns every key that a config has, in the order of `catsdogs_jax.config`."""
    made = []
    for key, field in _leaves(Config):
        annotation = _annotation(key)
        literal = typing.get_origin(annotation) is typing.Literal
        choices = typing.get_args(annotation) if literal else ()
        made.append(Option(key, field.default, field.metadata["help"], choices))
    return made


def describe_options() -> str:
    """Returns a table of every key with its default and one line of help."""
    rows = []
    for option in options():
        one_of = f" One of {', '.join(option.choices)}." if option.choices else ""
        rows.append((f"--config.{option.key}", repr(option.default), option.help + one_of))
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"  {name:<{width}}  {text} [{default}]" for name, default, text in rows)


def _call_get_config(path: Path) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("catsdogs_jax_run_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"config file {str(path)!r} is not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        tree = module.get_config()
    except Exception as error:
        raise UserError(f"config file {str(path)!r} failed: {error!r}") from error
    if isinstance(tree, ml_collections.ConfigDict):
        return tree.to_dict()
    raise UserError(
        f"get_config() in {str(path)!r} returned {type(tree).__name__}, "
        "not an ml_collections.ConfigDict"
    )


def _leaves(cls: type, prefix: str = "") -> list[tuple[str, dataclasses.Field[Any]]]:
    leaves = []
    for field in dataclasses.fields(cls):
        annotation = typing.get_type_hints(cls)[field.name]
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            leaves += _leaves(annotation, f"{prefix}{field.name}.")
        else:
            leaves.append((f"{prefix}{field.name}", field))
    return leaves


def _unknown(key: str) -> UserError:
    known = [name for name, _ in _leaves(Config)]
    return UserError(f"unknown config key {key!r}.{hint_for(key, known)}")


def _annotation(key: str) -> Any:
    annotation: Any = Config
    for part in key.split("."):
        hints = typing.get_type_hints(annotation) if dataclasses.is_dataclass(annotation) else {}
        if part not in hints:
            raise _unknown(key)
        annotation = hints[part]
    if dataclasses.is_dataclass(annotation):
        raise UserError(f"config key {key!r} is a group: give one of its keys, {key}.KEY=value")
    return annotation


def _set_all(tree: dict[str, Any], values: Mapping[str, Any]) -> None:
    for keys in _ALTERNATIVES:
        if any(values.get(key) is not None for key in keys):
            for group, _, name in (key.partition(".") for key in keys):
                if isinstance(tree.get(group), dict):
                    tree[group].pop(name, None)
    for key, value in values.items():
        _set_path(tree, key, value)


def _set_path(tree: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise UserError(f"config key {group!r} is a group of keys, not {tree!r}")
    tree[last] = value


def _parse(text: Any, annotation: Any, key: str) -> Any:
    """Reads an override as typed in a shell: strings need no quotes, lists need no brackets."""
    if not isinstance(text, str):
        return text  # Given from Python; its type is checked with all others.
    options = _alternatives(annotation)
    if text.lower() in ("none", "null") and type(None) in options:
        return None
    if str in options or any(typing.get_origin(o) is typing.Literal for o in options):
        # No shell does so behind an equals sign.
        return os.path.expanduser(text) if text.startswith("~/") else text
    if bool in options and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if any(typing.get_origin(o) is tuple for o in options):
        inner = text.strip().strip("()[]").strip()
        parts = [part.strip().strip("'\"") for part in inner.split(",") if part.strip()]
        element = typing.get_args(options[0])[0]
        return tuple(_parse(part, element, key) for part in parts)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text  # The type check that follows names the key and what it allows.


def _build(cls: type, tree: Any, prefix: str) -> Any:
    if not isinstance(tree, Mapping):
        raise UserError(f"config key {prefix.rstrip('.')!r} is a group of keys, not {tree!r}")
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in tree.items():
        if key not in hints:
            raise _unknown(f"{prefix}{key}")
        annotation = hints[key]
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            values[key] = _build(annotation, value, f"{prefix}{key}.")
        else:
            values[key] = _coerce(value, annotation, f"{prefix}{key}")
    for field in dataclasses.fields(cls):
        if field.name in values:
            _check_bounds(values[field.name], field.metadata, f"{prefix}{field.name}")
    return cls(**values)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _coerce(value: Any, annotation: Any, key: str) -> Any:
    for kind in _alternatives(annotation):
        if kind is type(None) and value is None:
            return None
        if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if kind in (bool, str) and isinstance(value, kind):
            return value
        if typing.get_origin(kind) is typing.Literal and value in typing.get_args(kind):
            return value
        if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
            return _coerce_tuple(value, kind, key)
    allowed = _spelled(annotation)
    words = [str(o) for k in _alternatives(annotation) for o in typing.get_args(k)]
    hint = nearest(value, words) if isinstance(value, str) else ""
    raise UserError(f"config key {key!r} is {value!r}, but must be {allowed}.{hint}")


def _coerce_tuple(value: Sequence[Any], kind: Any, key: str) -> tuple[Any, ...]:
    kinds = typing.get_args(kind)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise UserError(f"config key {key!r} is {tuple(value)!r}, but must be {_spelled(kind)}.")
    return tuple(_coerce(v, k, key) for v, k in zip(value, kinds, strict=True))


def _spelled(annotation: Any) -> str:
    """Returns a type in words: "an integer or none"."""
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    words = []
    for kind in _alternatives(annotation):
        if typing.get_origin(kind) is typing.Literal:
            words.append("one of " + ", ".join(typing.get_args(kind)))
        elif typing.get_origin(kind) is tuple:
            inner = typing.get_args(kind)
            count = "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)}"
            words.append(f"{count}, each {_spelled(inner[0])}")
        else:
            words.append(names.get(kind, "none"))
    return " or ".join(words)


def _check_bounds(value: Any, bounds: Mapping[str, Any], key: str) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if not isinstance(number, (int, float)) or isinstance(number, bool):
            continue
        if not math.isfinite(number):
            raise UserError(f"config key {key!r} is {number}, but must be a finite number.")
        for name, (holds, words) in _BOUNDS.items():
            bound = bounds.get(name)
            if bound is not None and not holds(number, bound):
                raise UserError(f"config key {key!r} is {number}, but must be {words} {bound}.")


def _changed(tree: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            value = _changed(value, default[key])
            if value:
                kept[key] = value
        elif value != default[key]:
            kept[key] = value
    return kept


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value
