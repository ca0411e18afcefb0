"""Every event that the code logs stands in the reference, and nothing else does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "reference" / "log-events.md"
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
ANNOUNCERS = {"announce", "announcer", "say"}
NAME = re.compile(r"[a-z]+(?:_[a-z]+)*")


def speaks(function: ast.expr) -> bool:
    """Whether calling this logs: `log.info`, `announce`, `self._announce`, `(log.info if good else log.error)`."""
    if isinstance(function, ast.IfExp):
        return speaks(function.body)
    if isinstance(function, ast.Attribute):
        return function.attr in LEVELS or function.attr.lstrip("_") in ANNOUNCERS
    return isinstance(function, ast.Name) and function.id in ANNOUNCERS - {"say"}  # that is a command's answer


def constants(expression: ast.expr) -> Iterator[str]:
    """The texts that an expression may be: of `x if y else z` both, of `{...}[key]` all."""
    if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        yield expression.value
    elif isinstance(expression, ast.IfExp):
        yield from constants(expression.body)
        yield from constants(expression.orelse)
    elif isinstance(expression, ast.Subscript) and isinstance(expression.value, ast.Dict):
        for value in expression.value.values:
            yield from constants(value)


def texts(expression: ast.expr, function: ast.AST) -> Iterator[str]:
    """The same, of a name as well that this function gives a value to."""
    yield from constants(expression)
    if isinstance(expression, ast.Name):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == expression.id for t in node.targets
            ):
                yield from constants(node.value)


def logged(tree: ast.Module) -> Iterator[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            arguments = node.args
            if speaks(node.func):
                yield from (text for argument in arguments[:1] for text in texts(argument, function))
            # what is handed on to be called: `partial(log.warning, "name")`, `fleet.change(wanted, announce, "name")`
            for before, argument in pairwise(arguments):
                if speaks(before):
                    yield from constants(argument)


def test_the_reference_has_every_event_that_is_logged_and_no_other():
    in_code = {
        name
        for path in (REPOSITORY / "src").rglob("*.py")
        for name in logged(ast.parse(path.read_text(encoding="utf-8")))
        if NAME.fullmatch(name)
    }
    cells = re.findall(r"^\| (`[^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    in_page = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(in_page) == sorted(in_code)
    assert len(in_code) > 60
