"""The reader's folder my/, `minisd book` and `minisd check`, and the progress that is kept."""

import json
import shutil
import sys
import time

import pytest

from minisd import cli
from minisd.commands import book, check
from minisd.commands.check import answer_of, answers_in, notebooks
from minisd.teaching import checks, kinds, progress, workspace
from minisd.teaching.book import ROOT, load_book

FIRST = load_book().chapters[1].name


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A book with the exercises of chapter 1, which is the one that the commands see."""
    folder = tmp_path / "book"
    (folder / "exercises").mkdir(parents=True)
    (folder / "chapters").mkdir()
    (folder / "chapters" / FIRST).write_text("{}")
    shutil.copy(ROOT / "book.toml", folder)
    shutil.copy(ROOT / "exercises" / FIRST, folder / "exercises")
    monkeypatch.setattr(book, "ROOT", folder)
    return folder


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; returns the exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        capsys.readouterr()
        return cli.main([*map(str, words)]), *capsys.readouterr()

    return command


# ---- copies


def test_exercises_are_copied_once_and_never_overwritten(root):
    mine, source = root / "my" / FIRST, root / "exercises" / FIRST
    assert workspace.prepare(root) == [f"my/{FIRST} is new: your copy of the exercises"]
    assert mine.read_bytes() == source.read_bytes()
    assert workspace.prepare(root) == []
    mine.write_text("my answers")
    assert workspace.prepare(root) == [] and mine.read_text() == "my answers"


def test_a_newer_version_is_offered_once(root):
    mine, source = root / "my" / FIRST, root / "exercises" / FIRST
    new = mine.with_suffix(".new.ipynb")
    workspace.prepare(root)
    mine.write_text("my answers")
    source.write_text("second edition")
    (said,) = workspace.prepare(root)
    assert f"my/{FIRST} stays as you left it" in said and f"my/{new.name}" in said
    assert (mine.read_text(), new.read_text()) == ("my answers", "second edition")
    assert workspace.prepare(root) == []
    source.write_text("third edition")
    (said,) = workspace.prepare(root)
    assert "an older one that you kept" in said and new.read_text() == "second edition"
    new.unlink()
    assert workspace.prepare(root) == [] and not new.exists()
    mine.unlink()  # to begin again
    assert workspace.prepare(root) == [f"my/{FIRST} is new: your copy of the exercises"]
    assert mine.read_text() == "third edition"


@pytest.mark.parametrize("damaged", ["", "{", "[]", "\udcff"])
def test_a_damaged_record_loses_no_answers(root, damaged):
    workspace.prepare(root)
    (root / "my" / FIRST).write_text("my answers")
    (root / "my" / workspace.COPIED).write_bytes(damaged.encode("utf-8", "surrogateescape"))
    workspace.prepare(root)
    assert (root / "my" / FIRST).read_text() == "my answers"


def test_git_does_not_see_the_readers_folder():
    assert "/my/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_a_chapter_that_was_only_opened_stays_as_it_was():
    def saved(path):
        info = {"name": "python", "version": "3.14.0"}
        model = {"type": "notebook", "content": {"metadata": {"language_info": info}}}
        workspace.before_save(path=path, model=model, contents_manager=None)
        return info

    assert saved("chapters/01_noise.ipynb") == {"name": "python"}
    assert saved("my/01_noise.ipynb") == {"name": "python", "version": "3.14.0"}
    workspace.before_save("chapters/notation.md", {"type": "file", "content": ""}, None)


# ---- progress


@pytest.fixture
def inside(root, monkeypatch):
    """Python runs in the reader's folder, as the kernel of a notebook there does."""
    workspace.prepare(root)
    monkeypatch.chdir(root / "my")
    return root / "my"


def written_as_a_function(chapter):
    """The chapter's first exercise whose answer is a function."""
    return next(one for one in checks.exercises(chapter) if type(one) is kinds.Build)


def test_a_check_tells_what_is_done_and_what_comes_next(inside, capsys):
    every = checks.exercises(1)
    function = written_as_a_function(1)
    first, second = every[0].number, function.number
    checks.check(second, function.right)
    said = " ".join(capsys.readouterr().out.split())
    left = ", ".join(exercise.number for exercise in every if exercise is not function)
    coming = f"{first} ({every[0].kind}, {every[0].minutes} minutes)"
    assert f" is right. Chapter 1: 1 of {len(every)} done; left: {left}; next: {coming}." in said
    assert json.loads((inside / "progress.json").read_text()) == {second: "right"}
    with pytest.raises(checks.CheckFailed, match=rf"(?s)See section .*\nChapter 1: 1 of {len(every)} done"):
        checks.check(first, lambda *values: None)
    assert json.loads((inside / "progress.json").read_text()) == {second: "right", first: "wrong"}


def test_an_exercise_that_is_emptied_again_stays_done(inside, capsys):
    first = written_as_a_function(1)

    def unwritten(*values):
        raise NotImplementedError(f"{first.number}: write it here")

    checks.check(first.number, first.right)
    checks.check(first.number, unwritten)
    assert progress.load(inside) == {first.number: "right"}


def test_all_of_a_chapter():
    every = checks.exercises(1)
    done = {exercise.number: "right" for exercise in every}
    assert (
        checks.summary(1, every, done) == f"Chapter 1: {len(every)} of {len(every)} done. That is all of it."
    )


def test_elsewhere_nothing_is_kept(root, monkeypatch, capsys):
    monkeypatch.chdir(root / "exercises")
    first = written_as_a_function(1)
    checks.check(first.number, first.right)
    assert "Chapter 1" not in capsys.readouterr().out and not (root / "my").exists()


@pytest.mark.parametrize("damaged", ["", "{", "[1]", '{"1.1": "perhaps"}'])
def test_damaged_progress_begins_anew(inside, damaged):
    (inside / "progress.json").write_text(damaged)
    assert progress.load(inside) == {}
    assert progress.record(inside, "1.2", "right") == progress.load(inside) == {"1.2": "right"}


# ---- book


def test_jupyterlab_has_the_repository_as_its_folder(run, monkeypatch):
    started = []
    monkeypatch.setattr(book, "check_installed", lambda library: None)
    monkeypatch.setattr(book, "prepare", lambda root: [])
    monkeypatch.setattr(book, "waited_for", lambda command: started.append(command) or 7)
    monkeypatch.setattr(book.os, "geteuid", lambda: 0, raising=False)
    assert run("book", "2", "--no-browser", "--port", "9999")[0] == 7
    page = load_book().chapters[2].file
    assert started[0][1:5] == [
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{page}",
    ]
    assert started[0][5:] == [
        "--ContentsManager.pre_save_hook=minisd.teaching.workspace.before_save",
        "--allow-root",
        "--no-browser",
        "--port",
        "9999",
    ]
    monkeypatch.setattr(book.os, "geteuid", lambda: 1000, raising=False)
    assert run("book")[0] == 7 and "--allow-root" not in started[1]


def test_the_book_makes_copies_and_says_how_to_clean_up(run, root, monkeypatch):
    def ran_a_chapter(command):
        (root / "chapters" / FIRST).write_text("outputs")
        return 0

    monkeypatch.setattr(book, "check_installed", lambda library: None)
    monkeypatch.setattr(book, "waited_for", ran_a_chapter)
    code, out, _ = run("book", "1")
    assert code == 0 and (root / "my" / FIRST).is_file()
    assert f"my/{FIRST} is new" in out and f"git restore chapters/{FIRST}" in out
    assert run("book", "1")[1] == ""


def test_answers_in_the_books_own_exercises_are_not_given_up(run, root, monkeypatch):
    def wrote_into_the_wrong_file(command):
        (root / "exercises" / FIRST).write_text("my answer")
        return 0

    monkeypatch.setattr(book, "check_installed", lambda library: None)
    monkeypatch.setattr(book, "waited_for", wrote_into_the_wrong_file)
    _, out, _ = run("book", "1")
    assert f"take your answers over into my/, then git restore exercises/{FIRST}" in out
    assert (root / "exercises" / FIRST).read_text() == "my answer"


def test_what_a_book_needs(run, monkeypatch, tmp_path):
    monkeypatch.setattr(book.importlib.util, "find_spec", lambda name: None)
    code, _, err = run("book")
    assert code == 2 and "jupyterlab is not installed" in err
    assert "no chapter 99" in run("book", "99")[2]
    monkeypatch.setattr(book, "ROOT", tmp_path)
    assert "clone of the repository" in run("book")[2]


def test_a_program_is_waited_for(run, tmp_path):
    assert book.waited_for([sys.executable, "-c", "import sys; sys.exit(5)"]) == 5
    start = time.perf_counter()
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    if sys.platform != "win32":
        assert book.waited_for([sys.executable, "-c", kill]) == 143
    assert time.perf_counter() - start < 60


# ---- check


def output(kind, **more):
    return type("Output", (), {"output_type": kind, **more})


@pytest.mark.parametrize(
    "outputs, result, why",
    [
        ([output("stream", text="1.1 f is right.\n")], "right", ""),
        ([output("stream", text="1.1 f is right: error 0.2 (x). Chapter 1: 1 of 2 done.\n")], "right", ""),
        ([output("stream", text="1.1 is still to be written: put\n")], "to do", ""),
        ([output("stream", text="1.1 is still to be repaired: f\n")], "to do", ""),
        ([output("error", ename="CheckFailed", evalue="1.1: off by 2.\nChapter 1")], "WRONG", "off by 2."),
        ([output("error", ename="CheckFailed", evalue="1.1: off by 2. See section 3.")], "WRONG", "off by 2"),
        ([output("error", ename="NameError", evalue="name 'f' is not defined")], "WRONG", "NameError: name"),
        ([], "WRONG", "said nothing"),
        ([output("stream", text="1.10 g is right.\n")], "WRONG", "said nothing"),
    ],
)
def test_what_a_check_said(outputs, result, why):
    answer = answer_of("1.1", outputs)
    assert answer.result == result and why in answer.why


def in_my(root, *sources):
    """The reader's notebook of chapter 1 with these cells."""
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    workspace.prepare(root)
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "my" / FIRST)
    return root / "my" / FIRST


# A chapter's checks stand in for these in a kernel of its own: exercises of every chapter may change.
STUB = """
from minisd.teaching import checks, kinds
numbers = ["1.1", "1.2", "1.3"]
cases = lambda rng: [(1.0,), (2.0,), (3.0,)]
made = [kinds.Build(number=n, name="f", section="1.1", right=lambda x: x + 1, cases=cases) for n in numbers]
checks.exercises = lambda chapter: made
check = checks.check
"""


def test_exercises_are_run_as_they_are(run, root):
    """A notebook of three checks: one answered wrongly, one not at all, one rightly."""
    path = in_my(
        root,
        STUB,
        "def f(x):\n    return x + 1",
        "check('1.1', lambda x: x + 2)",
        "def g(x):\n    raise NotImplementedError('1.2: write it')\ncheck('1.2', g)",
        'check("1.3", f)',
    )
    before = path.read_bytes()
    code, out, _ = run("check", "1", "--json")
    told = json.loads(out)
    assert code == 1 and told["right"] == 1
    # Only checks at the start of a line count: the second cell's stands there, too.
    assert [(one["number"], one["result"]) for one in told["exercises"]] == [
        ("1.1", "WRONG"),
        ("1.2", "to do"),
        ("1.3", "right"),
    ]
    assert told["exercises"][0]["why"].endswith("or the hints.")
    assert path.read_bytes() == before
    assert progress.load(root / "my") == {"1.1": "wrong", "1.3": "right"}
    assert told["progress"][FIRST] == {"done": 1, "of": len(checks.exercises(1))}
    assert told["next"]["number"] == checks.exercises(0)[0].number
    code, out, _ = run("check")
    lines = out.splitlines()
    assert lines[0].startswith("WRONG  1.1") and lines[2] == "right  1.3"
    assert lines[3] == "1 of 3 exercises are right"
    assert (
        lines[4].startswith("in the book so far 1 of ") and f"1: 1 of {len(checks.exercises(1))}" in lines[4]
    )
    assert lines[5].startswith(f"next: {checks.exercises(0)[0].number} (")


def test_a_cell_that_does_not_end_or_ends_python(run, root, monkeypatch):
    path = in_my(root, STUB, "check('1.1', lambda x: x + 1)", "while True: pass", "check('1.2', None)")
    monkeypatch.setattr(check, "LONGEST_CELL", 15)
    first, second = answers_in(path)
    assert (first.result, second.result) == ("right", "WRONG") and "more than 15 seconds" in second.why
    path = in_my(root, STUB, "import os; os._exit(1)", "check('1.2', None)")
    (only,) = answers_in(path)
    assert only.result == "WRONG" and "ended Python itself" in only.why


def test_a_notebook_that_is_none(run, root):
    in_my(root, STUB).write_text("{")
    code, out, err = run("check")
    assert (code, out) == (2, "") and "is no notebook" in err and err.count("\n") == 1


def test_chapters_without_exercises_and_without_a_copy_are_named(root, run):
    with pytest.raises(ValueError, match="chapter 99 has no exercises; there are some for 1"):
        notebooks(root, [99])
    with pytest.raises(
        FileNotFoundError, match="the exercises of chapter 1 in my/ yet; minisd book makes it"
    ):
        notebooks(root, [1])
    with pytest.raises(FileNotFoundError, match="any exercises in my/ yet"):
        notebooks(root, [])
    workspace.prepare(root)
    assert notebooks(root, []) == notebooks(root, [1]) == [root / "my" / FIRST]
