"""The tool that breaks the core on purpose (tests/mutants.py): what it breaks, one thing a time."""

import ast

import pytest

pytest.importorskip("resource", reason="make mutants needs Linux or macOS")
import mutants


@pytest.mark.parametrize(
    ("code", "broken"),
    [
        ("y = a < b", ["y = a <= b"]),
        ("y = a in b and c", ["y = a in b or c", "y = a not in b and c"]),
        ("y = x[1:]", ["y = x[:]", "y = x[2:]"]),
        ("f(n=2)", ["pass", "f()", "f(n=3)"]),
        ("y = not a", ["y = a"]),
        (
            "def f(x=True):\n    return x",
            ["def f(x=False):\n    return x", "def f(x=True):\n    return None"],
        ),
        ("if a:\n    raise ValueError('no')", ["pass"]),
        ("x += y", ["pass"]),
        ('"""Told to people."""', []),
        ("warnings.warn('told to people')", ["pass"]),
    ],
)
def test_each_mutant_has_one_change(code, broken, tmp_path, monkeypatch):
    (tmp_path / "minisd").mkdir()
    (tmp_path / "minisd" / "some.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(mutants, "ROOT", tmp_path)
    made = [ast.unparse(mutants.tree_of(mutant)) for mutant in mutants.mutants("some.py")]
    assert sorted(made) == sorted(broken)


def test_the_sample_is_the_same_every_time_and_holds_every_module():
    first, again = (mutants.sample(["schedule.py", "vae.py"], 30, 0) for _ in range(2))
    assert [mutant.key for mutant in first] == [mutant.key for mutant in again]
    assert {mutant.path for mutant in first} == {"schedule.py", "vae.py"}
    assert mutants.sample(["vae.py"], 10, 0)[0].key != mutants.sample(["vae.py"], 10, 1)[0].key


def test_every_module_and_test_file_that_it_names_exists():
    for path, names in mutants.TESTS.items():
        assert (mutants.ROOT / "minisd" / path).is_file(), path
        assert len(mutants.files_of(path)) == len(names.split()), path
