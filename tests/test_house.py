"""What keeps eval/ one program: options are values (as in the recipe and in data_synth),
signatures are typed, names carry no meaning.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

FILES = sorted((ROOT / "eval").rglob("*.py"))
PARSED = sorted(
    p
    for room in ("econmoral", "eval", "data_synth", "recipes")
    for p in (ROOT / room).rglob("*.py")
    if p != ROOT / "econmoral" / "options.py"
)
# of runs and conditions
NAMES = {"arm", "arms", "run", "agent", "adapter", "condition", "name", "label"}
TESTS = {"startswith", "endswith", "removeprefix", "removesuffix"}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(module: ast.Module) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("path", PARSED, ids=lambda p: p.name)
def test_a_namespace_does_not_leave_the_function_that_parses(path: Path) -> None:
    module = tree(path)
    for function in functions(module):
        hints = [
            *(a.annotation for a in (*function.args.args, *function.args.kwonlyargs)),
            function.returns,
        ]
        assert not any(hint is not None and "Namespace" in ast.unparse(hint) for hint in hints), (
            function.name
        )
    calls = [
        n
        for n in ast.walk(module)
        if isinstance(n, ast.Call) and ast.unparse(n.func).endswith("Namespace")
    ]
    assert not calls
    # and none parses by itself
    assert not any(
        isinstance(n, ast.Attribute) and n.attr == "parse_args" for n in ast.walk(module)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_public_signatures_say_what_they_take(path: Path) -> None:
    public = [
        n
        for n in tree(path).body
        if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
    ]
    for node in public:
        several = (
            [node]
            if isinstance(node, ast.FunctionDef)
            else [m for m in node.body if isinstance(m, ast.FunctionDef)]
        )
        for function in several:
            if function.name.startswith("_"):
                continue
            hints = [
                *(a.annotation for a in (*function.args.args, *function.args.kwonlyargs)),
                function.returns,
            ]
            said = [ast.unparse(hint) for hint in hints if hint is not None]
            assert not any("dict[str, Any]" in text for text in said), (
                f"{node.name}.{function.name}"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_no_meaning_is_read_from_the_name_of_a_run_or_condition(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        target, attribute = node.func.value, node.func.attr
        if attribute in TESTS:
            assert last_name(target) not in NAMES, f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(target, ast.Name) and target.id == "re":
            assert not any(last_name(a) in NAMES for a in node.args), (
                f"line {node.lineno}: {ast.unparse(node)}"
            )


def last_name(node: ast.expr) -> str:
    """``x`` of ``x``, of ``record.x`` and of ``record["x"]``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def test_there_is_one_clustered_covariance() -> None:
    """Sums of scores within clusters are squared in one place only."""
    found = [
        path.name
        for room in ("econmoral", "eval")
        for path in sorted((ROOT / room).rglob("*.py"))
        if "sums.T @ sums" in path.read_text(encoding="utf-8")
    ]
    assert found == ["robust.py"]
