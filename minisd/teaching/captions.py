"""Alternative texts: what a screen reader says in place of a figure, taken from the caption below it.

They are kept where nbconvert and nbsphinx look for them and where IPython.display.Image puts its own: in the
output's metadata, as metadata["image/png"]["alt"]. JupyterLab does not show them yet; there the caption
itself, in the next cell, is what is read.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

CAPTION = re.compile(r"\*(Figure \d+\.\d+\. .+?)\*(?:\n\s*\n|\s*\Z)", re.S)
SIGNS = {
    "times": "×",
    "cdot": "·",
    "approx": "≈",
    "sim": "~",
    "le": "≤",
    "leq": "≤",
    "ge": "≥",
    "geq": "≥",
    "neq": "≠",
    "pm": "±",
    "to": "→",
    "infty": "infinity",
    "varnothing": "no words",
    "dots": "...",
    "ldots": "...",
    "cdots": "...",
    "mid": "|",
    "left": "",
    "right": "",
    "quad": " ",
    "degree": "°",
}


def alt_text(caption: str) -> str | None:
    """The caption at the start of a Markdown cell as plain text, formulas in words; None if it has none."""
    found = CAPTION.match(caption)
    if found is None:
        return None
    text = re.sub(r"\$([^$]+)\$", lambda formula: spoken(formula[1]), found[1])
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)  # a link's words
    text = re.sub(r"[*`]", "", text)
    return re.sub(r"\s+", " ", text).strip()


def spoken(formula: str) -> str:
    r"""A formula in words: \sqrt{\bar\alpha_t} becomes sqrt(alpha-bar_t)."""
    text = re.sub(r"\\(bar|hat|tilde)\s*(?:\{\\?(\w+)\}|\\?([A-Za-z]+))", accented, formula)
    text = re.sub(r"\\(?:mathrm|mathcal|mathbf|mathbb|text|operatorname)\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)
    text = re.sub(r"\\sqrt\{([^{}]*)\}", r"sqrt(\1)", text)
    text = re.sub(r"\\[,;:! ]", " ", text)
    text = re.sub(r"\\([A-Za-z]+)", lambda name: SIGNS.get(name[1], name[1]), text)
    return re.sub(r"[{}\\]", "", text)


def accented(found: re.Match) -> str:
    r"""\hat x_0 as x-hat_0."""
    return f"{found[2] or found[3]}-{found[1]}"


def describe(book: "NotebookNode") -> None:
    """Give every figure of a notebook its caption as alternative text; take away one that no longer fits."""
    for cell, below in zip(book.cells, [*book.cells[1:], None]):
        words = alt_text(below.source) if below is not None and below.cell_type == "markdown" else None
        for output in cell.get("outputs", []):
            for kind in output.get("data", {}):
                if kind.startswith("image/"):
                    told = {key: x for key, x in output.metadata.get(kind, {}).items() if key != "alt"}
                    output.metadata[kind] = {**told, "alt": words} if words else told
