"""The house rules that a machine can check: floors, the size of the core, nothing of one machine."""

import ast
import io
import re
import shutil
import subprocess
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minisd"
# Imports point only downward (names on one floor may import those named before them).
FLOORS = [
    ["files", "sd15", "scenes"],
    ["schedule", "samplers", "tokenizer", "attention", "blocks", "sheets"],
    ["clip", "vae", "unet"],
    ["checkpoint", "lora", "single_file", "hub"],
    ["pipeline"],
    ["verify", "teaching", "training"],
    ["cli"],
]
# The core is what computes a picture, or reads and writes a model. Not in it, besides the little world, the
# training and the teaching: how files come from the hub, a report on a checkpoint, the layout of a sheet, the
# command line.
NOT_CORE = {"scenes", "training", "teaching", "hub", "verify", "sheets", "cli"}
CORE_LINES = 1500
PRIVATE = re.compile(r"(?<![\w.])/(home|root|work|tmp|Users)/\w|file:///|/simple/")  # of one machine


def top(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The parts of the package that a file imports, at its top or inside a function."""
    parts = path.relative_to(ROOT).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = list(parts[: len(parts) - node.level + 1]) if node.level else []
            full = [*base, *(node.module.split(".") if node.module else [])]
            names = [[*full, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {name[1] for name in names if name[0] == "minisd" and len(name) > 1}
    return found


def code_lines(path: Path) -> int:
    """Lines that hold code: no blank ones, comments or docstrings."""
    source = path.read_text(encoding="utf-8")
    docstrings = set()
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            docstrings |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in silent:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_downward(path):
    place = {name: (floor, i) for floor, names in enumerate(FLOORS) for i, name in enumerate(names)}
    for name in imports(path) & place.keys() - {top(path)}:
        assert place[name] < place[top(path)], f"{path.name} reaches up to minisd.{name}"


def test_every_part_of_the_package_has_a_floor():
    assert {top(path) for path in FILES} == {name for names in FLOORS for name in names}


def test_the_core_can_be_read_in_one_evening():
    lines = sum(code_lines(path) for path in FILES if top(path) not in NOT_CORE)
    assert 500 < lines < CORE_LINES


def test_no_path_of_one_machine_and_no_registry_stands_in_the_project():
    if shutil.which("git") is None:
        pytest.skip("no git here")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8")
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".safetensors", ".png"} or path == Path(__file__) or not path.is_file():
            continue
        found = PRIVATE.search(path.read_text(encoding="utf-8"))
        assert not found, f"{name}: {found.group()}"
