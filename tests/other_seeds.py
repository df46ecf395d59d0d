"""Runs the chapters again with other seeds: which of their claims were luck?

    make seeds                                                     all, ten seeds; writes tests/other_seeds.md
    make seeds ARGS=chapters/03_ddim.ipynb                         one; writes that chapter's part anew
    python tests/other_seeds.py chapters/03_ddim.ipynb --seeds 2   some, fewer; writes nothing

Every seed that stands in a cell as a number is shifted: manual_seed(7), default_rng(7), seed=7, {"seed": 7},
`for seed in (1, 2, 3)`, seeds=range(20). Assertions that fail are counted, and the cell goes on. One marked
`# this seed` on its first line is about the run that the page shows, a picture say; it is counted apart.
"""

import argparse
import ast
import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent
RECORD = ROOT / "tests" / "other_seeds.md"
STEP = 1000  # the k-th run adds k times this to every seed
SOURCES = {"manual_seed", "default_rng", "Random"}
HEAD = """# Other seeds

Written by `make seeds`: every seed of a chapter is replaced in a run, and each part says when it ran
and how often. A claim that held in all of n runs fails with fewer than 1 - 0.05^(1/n) of seeds, at 95 %
confidence: 26 % for ten runs. So much and no more do they say. Assertions marked `# this seed` are about the
run on the page alone.
"""
FAILED, HERE = "assertion that failed: line ", "# this seed"


class Shift(ast.NodeTransformer):
    """Adds `by` to the seeds of a cell, and lets it go on after an assertion that fails."""

    def __init__(self, by: int) -> None:
        self.by = by

    def moved(self, node: ast.expr) -> ast.expr:
        """The seed plus `by`, if it is written as a number; a variable was shifted where it got its value."""
        if any(isinstance(part, ast.Name) for part in ast.walk(node)):
            return node
        return ast.BinOp(node, ast.Add(), ast.Constant(self.by))

    def all_moved(self, nodes: ast.expr) -> ast.expr:
        here = ast.Name("one_seed", ast.Load())
        loop = ast.comprehension(ast.Name("one_seed", ast.Store()), nodes, [], 0)
        return ast.ListComp(ast.BinOp(here, ast.Add(), ast.Constant(self.by)), [loop])

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in SOURCES and node.args:
            node.args[0] = self.moved(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "seed":
                keyword.value = self.moved(keyword.value)
            elif keyword.arg == "seeds" and isinstance(keyword.value, ast.Call | ast.List | ast.Tuple):
                keyword.value = self.all_moved(keyword.value)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        self.generic_visit(node)
        for i, key in enumerate(node.keys):
            if isinstance(key, ast.Constant) and key.value == "seed":
                node.values[i] = self.moved(node.values[i])
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and node.target.id == "seed":
            node.iter = self.all_moved(node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and node.target.id == "seed":
            node.iter = self.all_moved(node.iter)
        return node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        self.generic_visit(node)
        told = ast.parse(f"print('\\n{FAILED}{node.lineno}')").body
        handler = ast.ExceptHandler(ast.Name("AssertionError", ast.Load()), None, told)
        return ast.Try([node], [handler], [], [])


def shifted(source: str, by: int) -> str:
    """A cell with other seeds."""
    return ast.unparse(ast.fix_missing_locations(Shift(by).visit(ast.parse(source))))


def failures(path: Path, by: int) -> tuple[int, set[tuple[int, int, str]]]:
    """Runs a chapter with seeds shifted: the number of its assertions, and cell, line and words of those
    that failed. A cell that stops with an error counts as one that failed in line 0.
    """
    book = nbformat.read(path, as_version=4)
    cells = [(i, cell) for i, cell in enumerate(book.cells) if cell.cell_type == "code"]
    sources = {i: cell.source for i, cell in cells}
    for _, cell in cells:
        cell.source = shifted(cell.source, by)
    quiet = {**os.environ, "MINISD_QUIET": "1", "PYTHONHASHSEED": "0"}
    place = {"metadata": {"path": str(path.parent)}}
    arguments = ["--log-level=ERROR"]
    client = NotebookClient(book, timeout=3600, allow_errors=True, resources=place, extra_arguments=arguments)
    client.execute(env=quiet)
    failed = set()
    for i, cell in cells:
        lines = ["", *sources[i].splitlines()]
        for output in cell.outputs:
            if output.output_type == "error":
                failed.add((i, 0, f"{output.ename}: {output.evalue}"))
            for line in output.get("text", "").splitlines():
                if line.startswith(FAILED):
                    number = int(line.removeprefix(FAILED))
                    failed.add((i, number, lines[number].strip()))
    statements = [node for source in sources.values() for node in ast.walk(ast.parse(source))]
    return sum(isinstance(node, ast.Assert) for node in statements), failed


def report(path: Path, seeds: int) -> str:
    """A chapter run with so many other seeds, in Markdown."""
    start, count = time.time(), 0
    runs: dict[tuple[int, int, str], list[int]] = defaultdict(list)
    for k in range(1, seeds + 1):
        count, failed = failures(path, k * STEP)
        for where in sorted(failed):
            runs[where].append(k * STEP)
            print(f"  seeds + {k * STEP}: cell {where[0]}: {where[2]}", flush=True)
        print(f"{path.stem}, seeds + {k * STEP}: {len(failed)} failed", flush=True)
    claims = {where: which for where, which in runs.items() if HERE not in where[2]}
    told = (
        f"{time.strftime('%Y-%m-%d')}: {count} assertions, {seeds} runs, {time.time() - start:.0f} s. "
        f"Claims that failed: {len(claims)}; "
        f"assertions about the run shown that fail in others: {len(runs) - len(claims)}."
    )
    lines = [f"## {path.stem}", "", told, ""]
    for (cell, _, words), which in sorted(runs.items()):
        lines.append(f"- cell {cell}: `{words}`: failed in {len(which)} of {seeds}")
    return "\n".join(lines).rstrip() + "\n"


def record(old: str, reports: list[str]) -> str:
    """The text of the record with these chapters' parts put in place of their old ones."""
    parts = {part.splitlines()[0]: part for part in old.split("\n## ")[1:]}
    parts.update({one.removeprefix("## ").splitlines()[0]: one.removeprefix("## ") for one in reports})
    return HEAD + "".join("\n## " + parts[name].rstrip() + "\n" for name in sorted(parts))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", type=Path, help="notebooks; all chapters if none is named")
    parser.add_argument("--seeds", type=int, default=10, help="how many other seeds (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write tests/other_seeds.md")
    asked = parser.parse_args(arguments)
    chapters = asked.chapters or sorted((ROOT / "chapters").glob("*.ipynb"))
    reports = [report(path.resolve(), asked.seeds) for path in chapters]
    if asked.write:
        RECORD.write_text(record(RECORD.read_text(encoding="utf-8"), reports), encoding="utf-8")
    print("\n".join(reports))
    return 1 if any("Claims that failed: 0;" not in one for one in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
