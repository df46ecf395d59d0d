"""The house rules that a machine can check: floors, short functions, nothing of one machine."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minisd"
# Imports point only downward: a name may import those of lower floors, and those named before it on its own.
FLOORS = {
    0: "notes files sd15 linear",  # notes to the user, whole files, Stable Diffusion 1.5 in names and numbers
    1: "config attention blocks schedule samplers prompts tokenizer_files tokenizer pictures sheets scenes",
    2: "clip vae unet controlnet",
    3: "tensors checkpoint sizes single_file transfer hub lora_files embeddings lora",
    4: "models likeness",
    5: "pipeline verify training teaching",
    6: "console commands cli __main__",
}
LONGEST = 40  # lines of a function's body, without its docstring
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


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_downward(path):
    order = " ".join(FLOORS.values()).split()
    for name in imports(path) & {*order} - {top(path)}:
        assert order.index(name) < order.index(top(path)), f"{path.name} reaches up to minisd.{name}"


def test_every_part_of_the_package_has_a_floor():
    assert {top(path) for path in FILES} == {*" ".join(FLOORS.values()).split()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_functions_are_short_enough_to_read(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        body = node.body[ast.get_docstring(node) is not None :]
        lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
        assert lines <= LONGEST, f"{path.name}: {node.name} has {lines} lines; it wants to be two functions"


def listed() -> list[Path]:
    """Every text file of the checkout."""
    if shutil.which("git") is None:
        pytest.skip("no git here")
    found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if found.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in found.stdout.splitlines()]
    return [path for path in paths if path.suffix not in {".safetensors", ".png", ".npz"} and path.is_file()]


def test_nothing_is_kept_from_the_formatter_or_left_for_later():
    """The formatter and E501 hold everywhere: no line is longer than 110 columns, none laid out by hand."""
    marks = re.compile(r"#\s*(fmt: *(skip|off)|TODO|FIXME|XXX)")
    for path in listed():
        if path.suffix == ".py" and path != Path(__file__):
            found = marks.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"


def test_no_path_of_one_machine_and_no_registry_stands_in_the_project():
    for path in listed():
        if path != Path(__file__):
            found = PRIVATE.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}"
