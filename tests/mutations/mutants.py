"""The mutants of a file, by the operators of Cosmic Ray."""

import ast
import dataclasses
import difflib

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A file with one small change.

    Attributes:
        file: Path in the repository.
        source: The changed text.
        line: Where the change is, from 1.
        diff: The change, as a unified diff without context.
    """

    file: str
    source: str
    line: int
    diff: str

    @property
    def changed(self) -> str:
        """The lines that the change puts in, without their indentation."""
        added = [line[1:].strip() for line in self.diff.splitlines() if line.startswith("+")]
        return "\n".join(added)


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Returns each mutant that runs other code than the file, and other code than those before it.

    Left out are changes to annotations, which no code here runs, and comparisons of texts by order
    or identity (`kind < "binary"`), which nobody would write and which say nothing of the tests.
    """
    seen, found = {_what_runs(source)}, []
    nodes = list(ast_nodes(get_ast(source)))
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if kind.arguments():  # Of what it replaces by what: these have no defaults.
            continue
        places = [place for node in nodes for place in kind().mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            changed = mutate_code(source, kind(), occurrence)
            runs = None if changed is None else _what_runs(changed)
            if changed is not None and runs is not None and runs not in seen:
                seen.add(runs)
                found.append(Mutant(file, changed, start[0], _difference(source, changed)))
    return found


def _what_runs(source: str) -> str | None:
    """Returns code in a normal form without annotations; none if nobody would write it."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.Compare) and _orders_text(node):
            return None
    return ast.unparse(tree)


def _orders_text(node: ast.Compare) -> bool:
    texts = [
        isinstance(side, ast.Constant) and isinstance(side.value, str) for side in node.comparators
    ]
    orders = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Is, ast.IsNot)
    return any(text and isinstance(op, orders) for text, op in zip(texts, node.ops, strict=True))


def _difference(before: str, after: str) -> str:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
