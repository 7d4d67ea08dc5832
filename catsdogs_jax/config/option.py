"""One field of a config: its default, a line of help, and the bounds of its value."""

import dataclasses
from typing import Any


def option(
    default: Any,
    help: str,  # noqa: A002
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """Returns a dataclass field with a default, a line of help and the bounds of its value.

    Args:
        default: The value of a run that says nothing.
        help: One line for a reader of `--help`, with the unit.
        minimum: The smallest allowed value.
        above: Every allowed value is greater than this.
        maximum: The greatest allowed value.
        below: Every allowed value is less than this.
    """
    bounds = {"minimum": minimum, "above": above, "maximum": maximum, "below": below}
    return dataclasses.field(default=default, metadata={"help": help, **bounds})
