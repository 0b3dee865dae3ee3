"""What keeps eval/ one program: options are values (as in the recipe and in data_synth),
signatures are typed, names carry no meaning.
"""

from __future__ import annotations

import ast
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT

FILES = sorted((ROOT / "eval").rglob("*.py"))
PARSED = sorted(
    p
    for room in ("econmoral", "eval", "data_synth", "recipes")
    for p in (ROOT / room).rglob("*.py")
    if p != ROOT / "econmoral" / "files" / "options.py"
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


# the only code outside robust.py that may compute a clustered covariance, and why
ESTIMATION = "econmoral/estimation"
ROBUST = f"{ESTIMATION}/robust.py"
OWN_COVARIANCE = {
    ("recipes/benchmarks/power_check.py", "logit_ratio"): "checks the power calculation by itself",
    (f"{ESTIMATION}/inference.py", "wild_test"): "each draw has a spread of its own, no factor",
    (f"{ESTIMATION}/power.py", "_counts"): "n / (n - 1) of independent answers, no clusters",
}


def factors(node: ast.expr) -> tuple[list[ast.expr], list[ast.expr]]:
    """Numerators and denominators of a chain of ``*``, ``@`` and ``/``, from left to right."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult | ast.MatMult | ast.Div):
        return [node], []
    over, under = factors(node.left)
    more, less = factors(node.right)
    if isinstance(node.op, ast.Div):
        more, less = less, more
    return [*over, *more], [*under, *less]


def small_sample_factor(node: ast.expr) -> bool:
    """Whether a product holds ``j / (j - 1)``, ``(j - 1) / j`` or ``(n - 1) / (n - k)``."""
    if not isinstance(node, ast.BinOp):
        return False
    over, under = ([ast.unparse(part) for part in parts] for parts in factors(node))
    return any(
        b == f"{a} - 1" or a == f"{b} - 1" or (a.endswith(" - 1") and b.startswith(a[:-1]))
        for a in over
        for b in under
    )


def squared(node: ast.expr) -> bool:
    """Whether a matrix is multiplied by its own transpose, or squares are summed."""
    if isinstance(node, ast.BinOp):
        over = [ast.unparse(part) for part in factors(node)[0]]
        return any(a == f"{b}.T" for a, b in pairwise(over))
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    of = [ast.unparse(a) for a in node.args]
    if name in ("np.dot", "np.matmul", "np.einsum"):
        return of[-2].removesuffix(".T") == of[-1].removesuffix(".T")
    return name.endswith("** 2).sum")


def sandwich(node: ast.expr) -> bool:
    """Whether one matrix stands on both sides of a square: ``a @ s.T @ s @ a``."""
    if not isinstance(node, ast.BinOp):
        return False
    over = [ast.unparse(part) for part in factors(node)[0]]
    return any(
        a == f"{b}.T" and set(over[:i]) & set(over[i + 2 :])
        for i, (a, b) in enumerate(pairwise(over))
    )


def summed_by_group(node: ast.expr) -> bool:
    """Whether numbers, not rows, are summed by cluster."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func)
    if name == "np.bincount":
        return len(node.args) > 1 or any(k.arg == "weights" for k in node.keywords)
    grouped = name.endswith(".sum") and ".groupby(" in name
    return grouped or name in ("np.add.at", "np.add.reduceat", "cluster_sums")


def own_covariances(source: str) -> list[str]:
    """Functions that compute a clustered covariance: by its small-sample factor, as a sandwich, or
    by squares of sums over clusters.
    """
    return [
        f.name
        for f in functions(ast.parse(source))
        for inside in [[n for n in ast.walk(f) if isinstance(n, ast.expr)]]
        if any(small_sample_factor(n) or sandwich(n) for n in inside)
        or (any(map(squared, inside)) and any(map(summed_by_group, inside)))
    ]


@pytest.mark.parametrize(
    "body",
    [
        "sums = np.column_stack([np.bincount(c, s) for s in x.T]); v = a @ (sums.T @ sums) @ a",
        "np.add.at(sums, c, x); v = a @ sums.T @ sums @ a",
        "v = inverse @ (sums.T @ sums * q) @ inverse",
        "v = a @ np.einsum('ck,cl->kl', s, s) @ a; np.add.at(s, c, x)",
        "v = inverse @ (s.T @ s) @ inverse * (n - 1) / (n - p) * j / (j - 1)",
        "np.add.at(groups, c, x); q = (n - 1) / (n - k) * j / (j - 1)",
        "se = np.sqrt(len(codes) / (len(codes) - 1) * (sums**2).sum()) / len(values)",
        "sums = np.bincount(place, x - mean); se = np.sqrt((sums**2).sum()) / len(values)",
        "v = gap.T @ gap * (len(values) - 1) / len(values)",
        "s = x.groupby(c).sum().to_numpy(); v = a @ s.T @ s @ a",
        "v = (j - 1) / j * np.dot(gap.T, gap)",
    ],
)
def test_a_covariance_is_found_in_any_spelling(body: str) -> None:
    assert own_covariances(f"def f():\n    {body}") == ["f"]


def test_there_is_one_clustered_covariance() -> None:
    """Sums within clusters are squared, and corrected for small samples, in one module only."""
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in PARSED
        for name in own_covariances(path.read_text(encoding="utf-8"))
    }
    assert {(p, n) for p, n in found if p != ROBUST} == set(OWN_COVARIANCE)
    assert {n for p, n in found if p == ROBUST} == {
        "small_sample",
        "sandwich",
        "jackknife_covariance",
    }


def test_an_estimate_is_written_in_one_place() -> None:
    """A number with its error is an f-string of ``shown.py`` only; the lab's have other digits."""
    found = {
        path.relative_to(ROOT).as_posix()
        for path in PARSED
        for node in ast.walk(tree(path))
        if isinstance(node, ast.JoinedStr)
        for part, after in pairwise(node.values)
        if isinstance(part, ast.Constant)
        and str(part.value).endswith("± ")
        and isinstance(after, ast.FormattedValue)
    }
    assert found == {"econmoral/files/shown.py", "eval/compare.py"}  # a margin: within ± 0.1
