"""The script that runs the notebooks: outputs that repeat, failures that are told, exercises made from
solutions.
"""

import nbformat
import pytest

from minisd.teaching import notebooks
from minisd.teaching.notebooks import NotebookError, exercises_from, main, run, unanswered

PICTURE = """
import numpy as np
from matplotlib import pyplot as plt
from minisd.teaching import figures
figures.use()
for i in figures.progress(range(3), "walking"):
    print(i, flush=True)
plt.plot([1, 2, 3])
plt.show()
"""
WIDGET = "import ipywidgets\nipywidgets.interact(lambda k: print(k), k=(0, 3))"
SHOWN = "from minisd.teaching.checks import CheckFailed\nraise CheckFailed('1.3: the noise is too weak')"


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """Writes a notebook; a str is a code cell, in a list it is Markdown."""
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)

    def write(*sources, name="chapters/01_noise.ipynb"):
        new = nbformat.v4
        cells = [
            new.new_markdown_cell(s[0]) if isinstance(s, list) else new.new_code_cell(s) for s in sources
        ]
        for i, cell in enumerate(cells):
            cell["id"] = f"cell-{i}"
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        nbformat.write(new.new_notebook(cells=cells), path)
        return path

    return write


@pytest.mark.slow
def test_two_runs_are_byte_identical(notebook, capsys, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    policy = "import os\nprint(os.environ['OMP_WAIT_POLICY'])"
    path = notebook(["# 1"], policy, PICTURE, WIDGET, "{f'{i}' for i in range(20)}")
    assert main([str(path)]) == 0
    first = path.read_bytes()
    book = nbformat.read(path, as_version=4)
    assert book.cells[1].outputs[0].text == "passive\n"  # a busy machine is slow enough
    assert [cell.id for cell in book.cells] == [f"cell-{i}" for i in range(5)]
    assert [output.output_type for output in book.cells[2].outputs] == ["stream", "display_data"]
    assert book.cells[2].outputs[0].text == "0\n1\n2\n" and "image/png" in book.cells[2].outputs[1].data
    assert not any("widget" in kind for output in book.cells[3].outputs for kind in output.get("data", {}))
    assert "widgets" not in book.metadata and "version" not in book.metadata.language_info
    assert main([str(path)]) == 0
    assert path.read_bytes() == first and "unchanged" in capsys.readouterr().out


def test_a_cell_that_fails_is_told_and_the_file_stays(notebook, capsys):
    path = notebook("x = 1\nprint(x)", "y = 2\nx / 0")
    before = path.read_bytes()
    assert main([str(path)]) == 1
    said = capsys.readouterr().out
    assert "cell 1 (cell-1)" in said and "| x / 0" in said and "ZeroDivisionError: division by zero" in said
    assert len(said.splitlines()) < 8 and path.read_bytes() == before


def test_the_cell_that_failed_is_named_though_later_ones_have_old_outputs(notebook):
    path = notebook("print(1)", "1 / 0", "print(3)")
    book = nbformat.read(path, as_version=4)
    book.cells[2].outputs = [nbformat.v4.new_output("stream", text="3\n")]
    nbformat.write(book, path)
    with pytest.raises(NotebookError, match="cell 1 "):
        run(path)


def test_a_warning_fails_too(notebook):
    with pytest.raises(NotebookError, match="cell 1 .*\n.*warn.*\n *wrote to stderr: .*beware"):
        run(notebook("import warnings", "warnings.warn('beware')"))


@pytest.mark.slow
def test_a_failed_check_is_an_error_without_a_traceback(notebook):
    import nbclient

    book = nbformat.read(notebook(SHOWN), as_version=4)
    nbclient.NotebookClient(book, allow_errors=True).execute()
    (error,) = book.cells[0].outputs
    assert error.output_type == "error" and error.traceback == ["1.3: the noise is too weak"]


SOLUTION = """def f(x):
    \"\"\"Twice x.\"\"\"
    y = x
    ### BEGIN SOLUTION
    y = 2 * y
    return y
    ### END SOLUTION"""


def test_exercises_are_made_without_running_anything(notebook, tmp_path, capsys):
    master = notebook(
        ["# Exercises"],
        ["## 1.1 Twice\n\ntask\n\n<!-- BEGIN SOLUTION -->\nwhy\n<!-- END SOLUTION -->"],
        SOLUTION,
        ["<!-- BEGIN SOLUTION -->\nmore\n<!-- END SOLUTION -->"],
        "print(f(1))",
        name="solutions/01_noise.ipynb",
    )
    stray = notebook("1", name="exercises/09_gone.ipynb")
    notebooks.write_exercises(tmp_path)
    assert not stray.exists()
    book = nbformat.read(tmp_path / "exercises" / "01_noise.ipynb", as_version=4)
    assert [cell.id for cell in book.cells] == ["cell-0", "cell-1", "cell-2", "cell-4"]
    assert book.cells[1].source == "## 1.1 Twice\n\ntask"
    assert book.cells[2].source.splitlines()[2:] == [
        "    y = x",
        '    raise NotImplementedError("1.1: write f here")',
    ]
    assert exercises_from(master) == (tmp_path / "exercises" / "01_noise.ipynb").read_text(encoding="utf-8")


def test_exercises_say_where_ones_own_copy_is(notebook):
    master = notebook(["# 1. Noise: exercises\n\nTo chapter 1."], ["## 1.1 Twice"], SOLUTION)
    heading = nbformat.reads(exercises_from(master), as_version=4).cells[0].source.split("\n\n")
    assert heading[0] == "# 1. Noise: exercises" and heading[2] == "To chapter 1."
    assert "[my/01_noise.ipynb](../my/01_noise.ipynb): `minisd book` makes it" in heading[1]


@pytest.mark.parametrize(
    ("source", "number", "words"),
    [
        ("### BEGIN SOLUTION\nx = 1", "1.1", "BEGIN SOLUTION without the other half"),
        ("### END SOLUTION", "1.1", "without the other half"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "1.1", "without the other half"),
        (SOLUTION, None, "before the first heading"),
    ],
)
def test_marks_that_do_not_fit(source, number, words):
    with pytest.raises(ValueError, match=words):
        unanswered(source, number)


def test_solutions_in_one_cell_and_none(notebook):
    twice = SOLUTION + "\n\n\n" + SOLUTION.replace("def f", "def g")
    assert unanswered(twice, "2.4").count("raise NotImplementedError") == 2
    assert 'NotImplementedError("2.4: write g here")' in unanswered(twice, "2.4")
    assert unanswered("x = 1", None) == "x = 1"
    master = notebook(["no heading"], SOLUTION)
    with pytest.raises(NotebookError, match="cell 1"):
        exercises_from(master)
