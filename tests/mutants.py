"""Mutants: break the core in a few hundred ways, one at a time, and see whether the tests notice.

    make mutants                                         the whole run; writes tests/mutants.md
    make mutants ARGS="--files samplers.py --number 20"  a part of it; writes nothing

A mutant is the package with one small change in one place: < made <=, a number one higher, an argument or a
statement left out. It is *killed* when a test fails. One that lives is either equivalent (nobody could tell)
or shows a test that is missing; tests/mutants.md lists every survivor with the reason. The sample is drawn
by a seed, so the same code gives the same mutants.

Why not a ready-made tool: mutmut 3.8 ran here (812 mutants of two modules, nine a second on a test file of a
second), and it has neither a sample nor a table of which tests concern which module; it leaves constants of
modules and dataclasses alone, methods with any decorator but two, whole statements and keyword arguments,
and most survivors that were found by hand were of these kinds. Tests that read the package's source, as the
comparison with the notebooks does, meet its trampolines there. What is left to write is short: each mutant
is a forked process in which torch and diffusers are loaded already, and runs `pytest -x` on the tests of its
module (TESTS). Tests that start another process see the unbroken package, so they count for nothing here.
fork needs Linux or macOS.
"""

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import itertools
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "mutants.md"
NUMBER, SEED, SECONDS, LEAST = 300, 0, 300, 0.95
WIDE = 80  # longer code is not shown around a change
GIGABYTES = 24  # of address space, of which torch alone takes several

# Which tests concern a module, the likeliest to fail first.
TESTS = {
    "config.py": "config networks commands",
    "schedule.py": "schedule scheduler_configs samplers",
    "samplers.py": "samplers scheduler_configs",
    "attention.py": "networks",
    "blocks.py": "networks",
    "unet.py": "networks controlnet",
    "controlnet.py": "controlnet",
    "vae.py": "networks pipeline",
    "clip.py": "networks pipeline training",
    "tokenizer.py": "tokenizer tokenizer_files",
    "tokenizer_files.py": "tokenizer_files words_hostile",
    "pictures.py": "pictures pipeline",
    "tensors.py": "checkpoint formats_hostile single_file",
    "checkpoint.py": "checkpoint formats_hostile",
    "single_file.py": "single_file export formats_hostile",
    "lora_files.py": "lora_kinds lora words_hostile",
    "embeddings.py": "embeddings words_hostile",
    "lora.py": "lora lora_kinds",
    "models.py": "pipeline checkpoint single_file",
    "pipeline.py": "pipeline pictures scheduler_configs",
    "training/objectives.py": "training",
    "training/loop.py": "training training_faults",
}

COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """The `number`th mutant of minisd's file `path`; `before` and `after` are the code about the change."""

    path: str
    number: int
    line: int
    within: str
    before: str
    after: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What stays the same when lines are added above."""
        return self.path, self.within, self.before, self.after


# ---- how to break a module


def changed(node: ast.AST) -> Iterator[ast.AST]:  # noqa: C901 (a table: one line a way to break)
    """Copies of an expression or statement, each with one change of its own (not of its parts)."""

    def but(**fields: object) -> ast.AST:
        other = copy.copy(node)
        for name, value in fields.items():
            setattr(other, name, value)
        return other

    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            yield but(ops=[COMPARED[type(op)]()])
        case ast.BinOp(op=op) if type(op) in COMPUTED:
            yield but(op=COMPUTED[type(op)]())
        case ast.BoolOp(op=op):
            yield but(op=ast.Or() if isinstance(op, ast.And) else ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand) | ast.UnaryOp(op=ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(body=body, orelse=other):
            yield body
            yield other
        case ast.Constant(value=bool(value)):
            yield but(value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield but(value=value + 1)
        case ast.Constant(value=str(value)):
            yield but(value=value + "X")
        case ast.Slice(lower=lower, upper=upper):
            if lower is not None:
                yield but(lower=None)
            if upper is not None:
                yield but(upper=None)
        case ast.Call(keywords=keywords):
            for keyword in keywords:
                yield but(keywords=[other for other in keywords if other is not keyword])
        case ast.Return(value=value) if value is not None:
            yield but(value=ast.Constant(None))
        case ast.Expr() | ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.If(body=[ast.Raise() | ast.Return() | ast.Continue()], orelse=[]):
            yield ast.Pass()


def told(node: ast.AST) -> bool:
    """Whether a node only tells something to people or to a type checker: it isn't broken, nor its parts."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import():
            return True
        case ast.Call(func=ast.Attribute(attr="warn")) | ast.If(test=ast.Name("TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name("__all__")]):
            return True
    return False


def places(node: ast.AST, within: str = "") -> Iterator[tuple[ast.AST, str, int | None, ast.AST, str]]:
    """Every (parent, field, index or None, node, function) below a node that may be changed."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(child, ast.AST) or told(child):
                continue
            inside = child.name if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else within
            yield node, name, i if isinstance(value, list) else None, child, inside
            yield from places(child, inside)


def as_code(node: ast.AST) -> str:
    """The node in one line."""
    return " ".join(ast.unparse(node).split())


def broken(tree: ast.Module) -> Iterator[tuple[int, str, str, str]]:
    """Breaks a module in one way after the other, and tells line, function, code before, code after.

    While a description is out, the tree is broken in that way; then it is mended.
    """
    for parent, field, i, node, within in list(places(tree)):
        old = getattr(parent, field)
        for new in changed(node):
            before, about = as_code(node), as_code(parent)
            setattr(parent, field, new if i is None else [*old[:i], new, *old[i + 1 :]])
            after, about_after = as_code(new), as_code(parent)
            if isinstance(parent, (ast.expr, ast.arguments, ast.keyword)) and len(about) < WIDE:
                before, after = about, about_after  # a lone 1 -> 2 says little
            yield node.lineno, within, before, after
            setattr(parent, field, old)


def parsed(path: str) -> ast.Module:
    return ast.parse((ROOT / "minisd" / path).read_text(encoding="utf-8"))


def mutants(path: str) -> list[Mutant]:
    """Every mutant of a module."""
    return [Mutant(path, number, *told) for number, told in enumerate(broken(parsed(path)))]


def tree_of(mutant: Mutant) -> ast.Module:
    """Its module, broken."""
    tree = parsed(mutant.path)
    next(itertools.islice(broken(tree), mutant.number, None))
    return ast.fix_missing_locations(tree)


def sample(paths: list[str], number: int, seed: int) -> list[Mutant]:
    """`number` mutants, from each file as many as its share of all; at least five where there are five."""
    every = {path: mutants(path) for path in paths}
    total = sum(map(len, every.values()))
    chosen = []
    for path, all_of in every.items():
        share = min(len(all_of), max(5, round(number * len(all_of) / total)))
        picked = random.Random(f"{seed} {path}").sample(range(len(all_of)), share)
        chosen += [all_of[i] for i in sorted(picked)]
    return chosen


# ---- how to run one


class Broken(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports a mutant in the place of its module."""

    def __init__(self, mutant: Mutant):
        self.file = ROOT / "minisd" / mutant.path
        self.name = "minisd." + mutant.path.removesuffix(".py").replace("/", ".")
        self.tree = tree_of(mutant)

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.file, loader=self)
        return None

    def get_code(self, name):
        return compile(self.tree, self.file, "exec")

    def get_source(self, name):
        return self.file.read_text(encoding="utf-8")


def files_of(path: str) -> list[str]:
    files = [ROOT / "tests" / f"test_{name}.py" for name in TESTS[path].split()]
    return [str(file) for file in files if file.exists()]


def child(files: list[str], mutant: Mutant | None) -> None:
    """In a process of its own: the tests on the package, broken or not; the exit status is pytest's."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30,) * 2)
    if mutant is not None:
        signal.alarm(SECONDS)  # whose default is to end the process
        sys.meta_path.insert(0, Broken(mutant))
    status = 1
    try:
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not full and not slow"]
        status = int(pytest.main([*options, *files]))
    finally:
        os._exit(status)


def start(files: list[str], mutant: Mutant | None) -> int:
    """The number of a new process that runs the tests."""
    pid = os.fork()
    if pid == 0:
        child(files, mutant)
    return pid


def results(waiting: Iterable[tuple[Any, list[str], Mutant | None]], jobs: int) -> Iterator[tuple[Any, bool]]:
    """Runs (name, test files, mutant) for (name, whether the tests passed), `jobs` at a time."""
    waiting, running = iter(waiting), {}
    while True:
        for name, files, mutant in itertools.islice(waiting, jobs - len(running)):
            running[start(files, mutant)] = name
        if not running:
            return
        pid, status = os.wait()
        yield running.pop(pid), status == 0


def unsound(files: list[str], jobs: int) -> list[str]:
    """The test files that fail on the unbroken package."""
    return [file for file, passed in results(((file, [file], None) for file in files), jobs) if not passed]


def survivors(chosen: list[Mutant], jobs: int) -> list[Mutant]:
    """The mutants that no test noticed."""
    alive, began = [], time.monotonic()
    runs = ((mutant, files_of(mutant.path), mutant) for mutant in chosen)
    for done, (mutant, passed) in enumerate(results(runs, jobs), 1):
        alive += [mutant] * passed
        where = f"{mutant.path}:{mutant.line} {mutant.before} -> {mutant.after}"
        said = f"{done}/{len(chosen)} {time.monotonic() - began:5.0f} s  {'LIVES' if passed else 'killed'}"
        print(f"{said}  {where}"[:160], flush=True)
    return sorted(alive, key=chosen.index)


def load_libraries() -> None:
    """What nearly every test imports and what takes seconds; not minisd itself."""
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    sys.dont_write_bytecode = False  # or else every process compiles every test
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    os.chdir(ROOT)
    import diffusers
    import peft
    import torch
    import transformers

    for name in ("UNet2DConditionModel", "AutoencoderKL", "StableDiffusionPipeline", "DDIMScheduler"):
        getattr(diffusers, name)
    for name in ("CLIPTextModel", "CLIPTokenizer", "CLIPModel"):
        getattr(transformers, name)
    torch.set_num_threads(1)
    assert peft and "minisd" not in sys.modules


# ---- the record


def explained() -> dict[tuple[str, ...], str]:
    """The explanations in tests/mutants.md, by what they explain."""
    if not RECORD.exists():
        return {}
    row = r"^\| ([\w/.]+):\d+ in (\w*) \| `` (.*?) `` \| `` (.*?) `` \| (.*) \|$"
    rows = re.findall(row, RECORD.read_text(encoding="utf-8"), re.M)
    return {tuple(cell.replace(r"\|", "|") for cell in row[:4]): row[4] for row in rows}


def record(chosen: list[Mutant], alive: list[Mutant], minutes: float) -> float:
    """Writes tests/mutants.md; the share of the non-equivalent mutants that were killed."""
    known = explained()
    reasons = [known.get(mutant.key, "not explained yet") for mutant in alive]
    equivalent = sum(reason.startswith("equivalent") for reason in reasons)
    killed, real = len(chosen) - len(alive), len(chosen) - equivalent
    summary = (
        f"Written by `make mutants` (seed {SEED}) in {minutes:.0f} minutes: {len(chosen)} mutants, "
        f"of which {killed} were killed by a test. {len(alive)} live, {equivalent} of them because they are "
        f"equivalent. Killed of the others: **{killed / real:.1%}**; at least {LEAST:.0%} are asked for."
    )
    lines = [
        "# Mutants",
        "",
        summary,
        "",
        "| file | mutants | killed |",
        "|---|---|---|",
    ]
    for path in TESTS:
        mine = [mutant for mutant in chosen if mutant.path == path]
        left = [mutant for mutant in alive if mutant.path == path]
        lines += [f"| {path} | {len(mine)} | {len(mine) - len(left)} |"] * bool(mine)
    lines += ["", "## The survivors", "", "| where | was | became | why it lives |", "|---|---|---|---|"]
    for mutant, reason in zip(alive, reasons):
        was, became = (text.replace("|", r"\|") for text in (mutant.before, mutant.after))
        lines.append(
            f"| {mutant.path}:{mutant.line} in {mutant.within} | `` {was} `` | `` {became} `` | {reason} |"
        )
    RECORD.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return killed / real


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=NUMBER, help="how many mutants (%(default)s)")
    parser.add_argument("--files", nargs="+", choices=list(TESTS), help="only these modules")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="so many at a time (%(default)s)"
    )
    options = parser.parse_args()
    paths = [path for path in options.files or TESTS if (ROOT / "minisd" / path).exists()]
    chosen = sample(paths, options.number, SEED)
    load_libraries()
    began = time.monotonic()
    if failing := unsound(sorted({file for path in paths for file in files_of(path)}), options.jobs):
        print("these tests fail without a mutant:", *failing)
        return 2
    alive = survivors(chosen, options.jobs)
    if options.files or options.number != NUMBER:
        print(*[f"{m.path}:{m.line} in {m.within}: {m.before} -> {m.after}" for m in alive], sep="\n")
        return 0
    share = record(chosen, alive, (time.monotonic() - began) / 60)
    print(f"{share:.1%} of the mutants that are not equivalent were killed; survivors: {RECORD}")
    return int(share < LEAST)


if __name__ == "__main__":
    sys.exit(main())
