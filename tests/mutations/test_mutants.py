"""Promises of the mutants: each runs other code, and such as a person could have written."""

from tests.mutations.mutants import mutants_of

SOURCE = '''def sign(kind: str | None, n: int) -> str | None:
    """Returns a word."""
    if kind == "none" or n < 0:
        return None
    return "+"
'''


def test_what_runs_is_changed_and_nothing_else() -> None:
    changed = [mutant.changed for mutant in mutants_of("sign.py", SOURCE)]
    assert len(changed) == len(set(changed))
    assert 'if kind == "none" or n <= 0:' in changed
    assert 'if kind != "none" or n < 0:' in changed
    assert 'if kind == "none" and n < 0:' in changed
    assert 'if kind == "none" or n < 1:' in changed
    assert all(text.startswith("if ") for text in changed)  # Neither annotations nor words.
    assert not any(f'kind {order} "none"' in text for text in changed for order in ("<", ">", "is"))


def test_a_mutant_says_where_and_what_it_changes() -> None:
    (mutant,) = [m for m in mutants_of("sign.py", SOURCE) if m.changed.endswith("n > 0:")]
    assert mutant.line == 3
    assert mutant.diff.splitlines() == [
        '-    if kind == "none" or n < 0:',
        '+    if kind == "none" or n > 0:',
    ]
