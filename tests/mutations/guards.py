"""Which tests guard which file, and the changes that change nothing."""

from collections.abc import Mapping, Sequence

_METRICS = ("tests/training/test_metrics.py", "tests/training/test_class_metrics.py")

GUARDS: Mapping[str, Sequence[str]] = {
    "catsdogs_jax/data/order.py": ("tests/data/test_order.py", "tests/test_properties.py"),
    "catsdogs_jax/statistics.py": ("tests/test_statistics.py",),
    "catsdogs_jax/training/class_metrics.py": _METRICS,
    "catsdogs_jax/training/metrics.py": _METRICS,
}
"""Tests by the file that they guard; those that find most come first."""

EQUIVALENT: Mapping[str, Mapping[str, str]] = {
    "catsdogs_jax/data/order.py": {
        "STEPS_AT_ONCE = 65": "how many steps are worked out at a time does not show",
        "STEPS_AT_ONCE = 63": "likewise",
        "here = epochs >= epoch": "epochs ascend: what is not of this one is written over",
        "half = np.uint64(max(_LEAST_HALF, ((count - 1).bit_length() + 1) / 2))": (
            "an unsigned integer is rounded down"
        ),
        "found[outside] = left << half ^ right": "the halves share no bit",
    },
    "catsdogs_jax/statistics.py": {
        "if product >= 0:  # Edwards's correction for continuity, as Newcombe has it.": (
            "of nothing the correction leaves nothing"
        ),
        "if product > -1:  # Edwards's correction for continuity, as Newcombe has it.": "likewise",
    },
    "catsdogs_jax/training/class_metrics.py": {
        "if classes <= 2:  # scikit-learn takes two classes for a binary problem.": (
            "a task has two classes or more"
        ),
        "n, present = int(support), support != 0": "a count is not negative",
        "for name, precision, recall, f1, support in zip(task.classes, *found, strict=False):": (
            "scikit-learn returns a figure for each of the labels that it is given"
        ),
    },
    "catsdogs_jax/training/metrics.py": {
        'columns = [ 0] if task.kind == "binary" else range(len(task.classes))': (
            "the area is the same for a class and for all that is not it"
        ),
        "if len(np.unique(members[:, column])) != 2:": "a member is 0 or 1",
        "right = np.all(right.reshape(len(right), ~1), axis=1)": (
            "NumPy takes each negative length for the one that is left"
        ),
        "right = np.all(right.reshape(len(right), - 2), axis=1)": "likewise",
    },
}
"""By file and changed line, why no test could tell a change from the file as it is."""
