"""The mutants of a file: every small change to one of its functions that a test should notice.

cosmic-ray's operators make them, and some of our own, since forgetting a step (`task.uncancel()`, say), or a
part of a condition, is how code like this breaks. Left alone is what changes nothing while a program runs:
annotations, assertions (they narrow types), overloads, protocols and abstract methods; and texts, which no
operator touches, since the suite holds on to what a message names and not to its words. What is outside of
functions is not mutated either.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import parso
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.boolean_replacer import AddNot
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.operators.provider import OperatorProvider

# One replacement of each comparison, where cosmic-ray has seven: `<` by `is not`, say, tells of nothing.
COSMIC_RAY = (
    "ExceptionReplacer",
    "NumberReplacer",
    "Replace*With*",
    "ReplaceBinaryOperator_Add_Sub",
    "ReplaceBinaryOperator_Sub_Add",
    "ReplaceBinaryOperator_BitAnd_BitOr",
    "ReplaceBinaryOperator_BitOr_BitAnd",
    "ReplaceComparisonOperator_Eq_NotEq",
    "ReplaceComparisonOperator_NotEq_Eq",
    "ReplaceComparisonOperator_Is_IsNot",
    "ReplaceComparisonOperator_IsNot_Is",
    "ReplaceComparisonOperator_Lt_*tE",
    "ReplaceComparisonOperator_LtE_?t",
    "ReplaceComparisonOperator_Gt_*tE",
    "ReplaceComparisonOperator_GtE_?t",
    "ReplaceUnaryOperator_Delete_*",
    "ZeroIterationForLoop",
)
NO_CODE_OF_ITS_OWN = {"overload", "abstractmethod"}


@dataclass(frozen=True)
class Mutant:
    """One change to one function.

    Attributes:
        statement: the lines of the statement that it is in, without its block: what does not run these is the
            same with the change.
    """

    file: Path
    function: str
    line: int
    statement: range
    operator: str
    occurrence: int

    def source(self) -> str:
        """The text of the whole file with the change in it."""
        return str(mutate_code(self.file.read_text("utf-8"), OPERATORS[self.operator](), self.occurrence))

    def change(self) -> tuple[str, str]:
        """The lines that are changed, and what they become."""
        old, new = self.file.read_text("utf-8").splitlines(), self.source().splitlines()
        changes = [
            (_one_line(old[a:b]), _one_line(new[c:d]))
            for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
            if what != "equal"
        ]
        return " … ".join(was for was, _ in changes), " … ".join(now for _, now in changes)


def _one_line(lines: list[str]) -> str:
    return " ".join(line.partition("  # ")[0].strip() for line in lines)


def mutants(file: Path) -> Iterator[Mutant]:
    """All mutants of the functions in `file`, from top to bottom."""
    source = file.read_text("utf-8")
    functions = dict(_functions(ast.parse(source)))
    nodes = list(ast_nodes(get_ast(source)))
    found: list[Mutant] = []
    for name, operator in OPERATORS.items():
        positions = [position for node in nodes for position in operator().mutation_positions(node)]
        for occurrence, (start, _) in enumerate(positions):
            for function, code in functions.items():
                if _holds(code, start) and not any(_holds(part, start) for part in _left_alone(code)):
                    statement = _lines_of_statement(code, start)
                    found.append(Mutant(file, function, start[0], statement, name, occurrence))
    yield from sorted(found, key=lambda mutant: (mutant.line, mutant.operator, mutant.occurrence))


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The functions that are in no other function, by qualified name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            if not any(
                isinstance(base, ast.Name | ast.Subscript) and "Protocol" in ast.unparse(base)
                for base in node.bases
            ):
                yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _is_only_declared(node):
            sets = any(ast.unparse(decorator).endswith(".setter") for decorator in node.decorator_list)
            yield prefix + node.name + (".fset" if sets else ""), node


def _is_only_declared(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return bool(NO_CODE_OF_ITS_OWN & {ast.unparse(decorator) for decorator in function.decorator_list})


def _left_alone(function: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            yield node
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                yield annotation


def _lines_of_statement(function: ast.AST, position: tuple[int, int]) -> range:
    *_, innermost = (
        node
        for node in ast.walk(function)
        if isinstance(node, ast.stmt | ast.excepthandler) and _holds(node, position)
    )
    body = getattr(innermost, "body", None)
    return range(innermost.lineno, body[0].lineno if body else (innermost.end_lineno or innermost.lineno) + 1)


def _holds(node: Any, position: tuple[int, int]) -> bool:
    return (node.lineno, node.col_offset) <= position < (node.end_lineno, node.end_col_offset)


class RemoveStatement(Operator):  # type: ignore[misc]  # cosmic-ray carries no types
    """A statement that is not carried out; of `return`, its value."""

    # "keyword" are break, continue, and a bare raise or return
    KINDS = ("atom_expr", "await_expr", "del_stmt", "expr_stmt", "raise_stmt", "return_stmt", "keyword")

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "simple_stmt" and self._does_something(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def _does_something(self, statement: Any) -> bool:
        declares = statement.type == "expr_stmt" and (
            statement.children[1].type == "annassign" and len(statement.children[1].children) == 2
        )
        # as it would without; and `False` is made `True` by cosmic-ray, which tells of more
        returns_none = statement.get_code().strip() in {"return None", "return False"}
        return statement.type in self.KINDS and statement != "pass" and not declares and not returns_none

    def mutate(self, node: Any, index: int) -> Any:
        statement = node.children[0]
        left = "return" if statement.type == "return_stmt" else "pass"
        node.children[0] = parso.python.tree.Keyword(
            left, statement.start_pos, statement.get_first_leaf().prefix
        )
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (
            Example("def f():\n    g()\n", "def f():\n    pass\n"),
            Example("def f():\n    return 1\n", "def f():\n    return\n"),
        )


class DropOperand(Operator):  # type: ignore[misc]
    """A part of an `and` or `or` that is left out."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type in ("and_test", "or_test"):
            for operand in node.children[::2]:
                yield operand.start_pos, operand.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        prefix = node.get_first_leaf().prefix
        del node.children[max(0, 2 * index - 1) : 2 * index + (1 if index else 2)]
        node.get_first_leaf().prefix = prefix
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("a and b", "b"), Example("a or b or c", "a or c", occurrence=1))


class DropArgument(Operator):  # type: ignore[misc]
    """A keyword argument that is not handed on."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.type == "arglist":
            for argument in node.children:
                if self._is_named(argument):
                    yield argument.start_pos, argument.end_pos

    def _is_named(self, argument: Any) -> bool:
        return argument.type == "argument" and argument.children[1] == "="

    def mutate(self, node: Any, index: int) -> Any:
        at = [at for at, argument in enumerate(node.children) if self._is_named(argument)][index]
        del node.children[at - 1 if at else 0 : at + 1 if at else 2]
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(a, b=1)", "f(a)"), Example("f(a, b=1, c=2)", "f(a, b=1)", occurrence=1))


class Negate(AddNot):  # type: ignore[misc]
    """A condition that is turned round; by the other operators, if it is a comparison or a `not`."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for start, end in super().mutation_positions(node):
            condition = next(child for child in node.children if child.start_pos == start)
            if condition.type not in ("comparison", "not_test"):
                yield start, end


def _operators() -> Iterator[type[Operator]]:
    provider = OperatorProvider()
    yield from (
        provider[name] for name in provider if any(fnmatchcase(name, pattern) for pattern in COSMIC_RAY)
    )
    yield from (RemoveStatement, DropOperand, DropArgument, Negate)


OPERATORS = {operator.__name__: operator for operator in _operators()}
