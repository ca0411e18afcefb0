"""docs/DELIVERY.md promises nothing without a proof that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TEXT = (REPOSITORY / "docs" / "DELIVERY.md").read_text()
PROOFS = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))


def test_every_proof_that_is_named_exists():
    functions = {
        path: {
            node.name
            for node in ast.walk(ast.parse((REPOSITORY / path).read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for path in {path for path, _ in PROOFS}
    }
    assert [f"{path}::{name}" for path, name in PROOFS if name not in functions[path]] == []
    assert len(PROOFS) > 30


def test_every_line_of_a_promise_is_followed_by_its_proof():
    promises = TEXT.partition("## Under each fault")[2].partition("## How to read")[0]
    bare = [
        block.split("\n", 1)[0] for block in re.split(r"\n(?=- \*\*)", promises)[1:] if not re.search(r"`tests/", block)
    ]
    assert bare == []


def test_every_variable_that_makes_a_run_longer_is_read_by_some_test():
    variables = set(re.findall(r"\bINGEST_[A-Z_]+", TEXT))
    code = "".join(path.read_text() for path in (REPOSITORY / "tests").rglob("*.py") if path != Path(__file__))
    assert [name for name in variables if f'"{name}"' not in code] == []
    assert len(variables) > 5
