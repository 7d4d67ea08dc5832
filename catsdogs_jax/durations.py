"""Lengths of time as people type them: 90s, 25m, 1h30m."""

import re

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _UNITS))


def seconds_of(text: str) -> float:
    """Returns a duration in seconds.

    >>> seconds_of("1h30m")
    5400.0

    Raises:
        ValueError: The text is no duration, or one of no length.
    """
    found = _PATTERN.fullmatch(text.strip().lower())
    parts = found.groupdict() if found else {}
    seconds = sum(_UNITS[unit] * float(number) for unit, number in parts.items() if number)
    if not seconds:
        raise ValueError(f"{text!r} is no duration such as 90s, 25m or 1h30m")
    return seconds
