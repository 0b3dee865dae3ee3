"""The house: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    p
    for room in ("econmoral", "data_synth", "recipes", "eval")
    for p in (ROOT / room).rglob("*.py")
)
HEAVY = {
    "torch",
    "trl",
    "peft",
    "transformers",
    "vllm",
    "datasets",
    "accelerate",
    "bitsandbytes",
    "tokenizers",
}
# of the standard library, and not on Windows
UNIX = {"crypt", "fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
# The rooms of econmoral, lowest first: each may import only those before it, and itself
CORE = (
    "rooms", "files", "economics", "target", "estimation", "text", "instruments", "checkpoints",
    "training", "people", "commands", "__main__", "__init__",
)  # fmt: skip
# where torch and its kind may be imported, always inside functions of the core
LOADERS = {
    *(
        f"econmoral/checkpoints/{name}.py"
        for name in ("places", "loading", "attaching", "packaged")
    ),
    *(f"econmoral/training/{name}.py" for name in ("trainer", "gates", "processes", "card")),
    "econmoral/files/cells.py",
    *(f"eval/{name}.py" for name in ("bench", "parity", "retention")),
    "eval/frameworks/lm_eval_tasks.py",
    *(f"eval/engines/{name}.py" for name in ("choice", "with_transformers", "with_vllm")),
}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_are_entered_only_where_allowed(path: Path) -> None:
    room, names = path.relative_to(ROOT).parts[0], imports(path)
    ours = {
        n
        for n in names
        if n.split(".")[0] in ("econmoral", "data_synth", "recipes", "eval", "tests")
    }
    # neighbours are imported relatively: the rooms beside the core lie inside it where the wheel is
    # installed
    assert {n.split(".")[0] for n in ours} <= {"econmoral"}
    if room == "econmoral":
        home = path.relative_to(ROOT / "econmoral").parts[0].removesuffix(".py")
        below = CORE[: CORE.index(home) + path.parent.is_relative_to(ROOT / "econmoral" / home)]
        assert {n.split(".")[1] for n in ours if n != "econmoral"} <= set(below)
    if HEAVY & {n.split(".")[0] for n in names}:
        name = path.relative_to(ROOT).as_posix()
        assert room == "recipes" or name in LOADERS


def needed(path: Path) -> set[Path]:
    """Modules of ours that a module imports, inside functions too; a package is its __init__.py."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        place = path.parents[node.level - 1] if node.level else ROOT
        place = place / str(node.module or "").replace(".", "/")
        for alias in node.names:
            part = place / alias.name
            home = part if part.with_suffix(".py").exists() or part.is_dir() else place
            found |= {home.with_suffix(".py"), home / "__init__.py"}
    return found


def test_nothing_imports_in_a_circle() -> None:
    modules = {path for path in FILES if path.read_text(encoding="utf-8")}
    public = ROOT / "econmoral" / "__init__.py"  # loads what it offers when it is asked for
    graph = {path: needed(path) & modules - {path, public} for path in modules}
    list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert sum(map(len, graph.values())) > 500  # else the imports were not found


def loaded_on_import(node: ast.AST) -> set[str]:
    """Libraries that a module imports outside its functions, ``if`` and ``try`` included."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            found |= {alias.name.split(".")[0] for alias in child.names}
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            found.add(child.module.split(".")[0])
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            found |= loaded_on_import(child)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_loads_on_windows(path: Path) -> None:
    assert not loaded_on_import(ast.parse(path.read_text(encoding="utf-8"))) & UNIX


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_untrusted_text_is_never_run(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = (
                node.func.id
                if isinstance(node.func, ast.Name)
                else node.func.attr
                if isinstance(node.func, ast.Attribute)
                else ""
            )
            assert name not in ("exec", "system", "popen", "unsafe_load")
            assert not (isinstance(node.func, ast.Name) and name == "eval")
        if isinstance(node, ast.keyword):
            assert node.arg != "shell"
            assert node.arg != "trust_remote_code" or (
                isinstance(node.value, ast.Constant) and node.value.value is False
            )
    assert not imports(path) & {"pickle", "dill", "marshal", "shelve"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_things_say_what_they_are(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_core_loads_no_heavy_library_by_itself() -> None:
    code = (
        "import sys; from econmoral.checkpoints import loading, packaged; print([m for m in "
        f"{sorted(HEAVY)!r} if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"
