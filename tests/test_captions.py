"""Alternative texts: every figure of the book is told to those who cannot see it."""

import base64
import io
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbconvert import HTMLExporter
from PIL import Image

from minisd.teaching.captions import alt_text, spoken
from minisd.teaching.notebooks import as_text

CHAPTERS = sorted((Path(__file__).parent.parent / "chapters").glob("*.ipynb"))
WIDEST, TALLEST = 1000, 700  # pixels: what JupyterLab shows of a page on a screen of 1440 x 900
new = nbformat.v4


def figure(**metadata):
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    data = {"image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": "<Figure>"}
    return new.new_output("display_data", data=data, metadata=metadata)


def notebook(caption, **metadata):
    """A cell with a figure and the caption below it, as the script writes their file."""
    cells = [new.new_code_cell("draw()", outputs=[figure(**metadata)]), new.new_markdown_cell(caption)]
    return nbformat.reads(as_text(new.new_notebook(cells=cells)), as_version=4)


def alt(book):
    return book.cells[0].outputs[0].metadata["image/png"].get("alt")


@pytest.mark.parametrize(
    "formula, words",
    [
        (r"\epsilon", "epsilon"),
        (r"\sqrt{\bar\alpha_t}\,x_0", "sqrt(alpha-bar_t) x_0"),
        (r"\hat{x}_0 = \hat x_0", "x-hat_0 = x-hat_0"),
        (r"\hat\epsilon_\varnothing", "epsilon-hat_no words"),
        (r"\mathcal{N}(0, I) \approx \frac{1}{2}", "N(0, I) ≈ 1/2"),
        (r"128\times128", "128×128"),
        (r"x_{t-1}", "x_t-1"),
    ],
)
def test_formulas_in_words(formula, words):
    assert spoken(formula) == words


@pytest.mark.parametrize(
    "caption, words",
    [
        ("*Figure 1.2. A bell.*", "Figure 1.2. A bell."),
        (
            "*Figure 1.2. A [bell](https://a.org/b) of\n`numbers`, $x_t$.*\n\nMore *text*.",
            "Figure 1.2. A bell of numbers, x_t.",
        ),
        ("*Figure 1.2. With a* word *upright.*", "Figure 1.2. With a word upright."),
        ("Text. *Figure 1.2. Not at the start.*", None),
        ("*Figure 1.2 has no full stop*", None),
        ("", None),
    ],
)
def test_captions_in_words(caption, words):
    assert alt_text(caption) == words


def test_a_figure_gets_its_caption_and_loses_an_old_one():
    assert alt(notebook("*Figure 1.2. A bell, $\\hat\\epsilon$.*")) == "Figure 1.2. A bell, epsilon-hat."
    stale = notebook("Not a caption.", **{"image/png": {"alt": "old", "width": 8}})
    assert stale.cells[0].outputs[0].metadata["image/png"] == {"width": 8}
    changed = notebook("*Figure 1.2. New.*", **{"image/png": {"alt": "old", "width": 8}})
    assert changed.cells[0].outputs[0].metadata["image/png"] == {"width": 8, "alt": "Figure 1.2. New."}
    assert as_text(changed) == as_text(nbformat.reads(as_text(changed), as_version=4))


def test_nbconvert_finds_it():
    book = notebook("*Figure 1.2. A bell.*")
    page, _ = HTMLExporter(template_name="classic").from_notebook_node(book)
    assert 'alt="Figure 1.2. A bell."' in page


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_every_figure_of_the_book_is_described_and_fits_a_screen(path):
    book = nbformat.read(path, as_version=4)
    for cell, below in pairwise([*book.cells, new.new_markdown_cell()]):
        for output in cell.get("outputs", []):
            kinds = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            if not kinds:
                continue
            assert "image/png" in kinds, f"{cell.id}: a fresh clone shows no {kinds}"
            told = output.metadata.get("image/png", {}).get("alt")
            assert told and told == alt_text(below.source), f"{cell.id}: run: make notebooks"
            picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
            assert picture.width <= WIDEST and picture.height <= TALLEST, f"{cell.id}: {picture.size}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_under_every_slider_there_is_a_picture(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and ("interact(" in cell.source or "figures.slider(" in cell.source):
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            assert "image/png" in kinds, cell.id
