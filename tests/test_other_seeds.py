"""The script that runs the chapters with other seeds finds the seeds, and counts what fails."""

import nbformat
import pytest

from other_seeds import failures, record, report, shifted


@pytest.mark.parametrize(
    "before, after",
    [
        ("torch.manual_seed(7)", "torch.manual_seed(7 + 1000)"),
        ("Generator().manual_seed(seed)", "Generator().manual_seed(seed)"),
        ("np.random.default_rng(0)", "np.random.default_rng(0 + 1000)"),
        ("pipe(prompt, seed=2 * 3)", "pipe(prompt, seed=2 * 3 + 1000)"),
        ("walk(start, seed=seed + n)", "walk(start, seed=seed + n)"),
        ("{'seed': 1, 'eta': 2}", "{'seed': 1 + 1000, 'eta': 2}"),
        ("[f(seed) for seed in (1, 2)]", "[f(seed) for seed in [one_seed + 1000 for one_seed in (1, 2)]]"),
        (
            "render_many(s, seeds=range(3))",
            "render_many(s, seeds=[one_seed + 1000 for one_seed in range(3)])",
        ),
        ("for t in (1, 2):\n    print(t)", "for t in (1, 2):\n    print(t)"),
    ],
)
def test_seeds_written_as_numbers_are_shifted(before, after):
    assert shifted(before, 1000) == after


def test_failures_are_counted_and_the_cell_goes_on(tmp_path):
    cells = [
        "import random\nluck = random.Random(3).random()\nassert luck < 0\nassert 0 <= luck < 1\ngoes_on = 1",
        "assert goes_on == 2  # this seed\nassert goes_on == 1",
    ]
    path = tmp_path / "09_luck.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells]), path)
    count, failed = failures(path, 1000)
    assert count == 4
    assert failed == {(0, 3, "assert luck < 0"), (1, 1, "assert goes_on == 2  # this seed")}
    text = report(path, 1)
    assert "Claims that failed: 1; assertions about the run shown that fail in others: 1." in text


def test_a_chapter_written_anew_leaves_the_others_as_they_were():
    old = record("", ["## 01_b\n\nold words\n", "## 00_a\n\nwords\n"])
    assert old.index("## 00_a\n\nwords\n") < old.index("## 01_b\n\nold words\n")
    assert record(old, ["## 01_b\n\nnew words\n"]) == old.replace("old words", "new words")
