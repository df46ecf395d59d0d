"""Sheets of pictures with a label under each, and strips stacked to one picture. No matplotlib."""

import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = (249, 248, 245), (44, 44, 48), (122, 119, 112)
# Pixels around the sheet, between columns, between rows, between a picture and its label.
MARGIN, GAP, ROW_GAP, UNDER = 28, 18, 26, 8
NARROWEST = 112  # pixels; a cell is never narrower, so that the label of a small picture can be read
FONT_SIZES = (13, 16)  # for the narrowest cells, for cells of 256 pixels and more
LINE = 1.3  # a line's height in font sizes
Line = tuple[str, tuple[int, int, int]]  # of a label: its text and its colour


def font_of_size(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font; OSError where Pillow was built without FreeType and has letters of one size only."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise OSError("this Pillow can't write labels: it was built without FreeType; pip install pillow")
    return font


def font_for(width: int) -> ImageFont.FreeTypeFont:
    """The font in the size that suits a cell of that width."""
    smallest, largest = FONT_SIZES
    return font_of_size(min(max(width // 16, smallest), largest))


def plain(text: str) -> str:
    """A text without its accents: Pillow's font has letters for English only, and draws boxes for others."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels: between words, inside one that is too long."""
    lines, line = [], ""
    for word in text.split():
        if font.getlength(f"{line} {word}".strip()) <= width:
            line = f"{line} {word}".strip()
            continue
        lines.append(line)
        line = ""
        for letter in word:
            if line and font.getlength(line + letter) > width:
                lines.append(line)
                line = ""
            line += letter
    return [part for part in [*lines, line] if part]


def label_lines(label: str, font: ImageFont.FreeTypeFont, width: int) -> list[Line]:
    """A label's lines and their colours: its first (wrapped) in ink, what follows a line break fainter."""
    first, *rest = plain(label).split("\n")
    lines = [(line, INK) for line in wrap(first, font, width)]
    return lines + [(line, FAINT) for part in rest for line in wrap(part, font, width)]


def draw_lines(
    sheet: Image.Image, lines: Sequence[Line], left: int, top: int, font: ImageFont.FreeTypeFont
) -> None:
    """Write lines from (left, top) down."""
    draw = ImageDraw.Draw(sheet)
    for i, (line, colour) in enumerate(lines):
        draw.text((left, top + round(i * LINE * font.size)), line, fill=colour, font=font)


def height_of(lines: Sequence[Line], font: ImageFont.FreeTypeFont) -> int:
    """Pixels that the lines take."""
    return round(len(lines) * LINE * font.size)


def labelled_sheet(
    pictures: Sequence[Image.Image], labels: Sequence[str], columns: int, scale: float = 1, title: str = ""
) -> Image.Image:
    """Pictures of one size in rows of `columns`, each with its label below, on a calm ground.

    scale: how much the pictures are enlarged, smoothly. title: a line above them all. In labels and
    title, what follows a line break is written fainter. Raises ValueError for no pictures, unequal
    sizes, or not one label a picture.
    """
    check_cells(pictures, labels, columns)
    columns = min(columns, len(pictures))
    width, height = (round(side * scale) for side in pictures[0].size)
    cell = max(width, NARROWEST)
    font, title_font = font_for(cell), font_of_size(FONT_SIZES[1])
    written = [label_lines(label, font, cell) for label in labels]
    rows = [range(i, min(i + columns, len(pictures))) for i in range(0, len(pictures), columns)]
    row_heights = [height + UNDER + max(height_of(written[i], font) for i in row) for row in rows]

    full = 2 * MARGIN + columns * cell + (columns - 1) * GAP
    heading = label_lines(title, title_font, full - 2 * MARGIN)
    top = MARGIN + (height_of(heading, title_font) + UNDER if heading else 0)
    sheet = Image.new("RGB", (full, top + sum(row_heights) + (len(rows) - 1) * ROW_GAP + MARGIN), PAPER)
    draw_lines(sheet, heading, MARGIN, MARGIN - 4, title_font)
    for row, row_height in zip(rows, row_heights, strict=True):
        for column, i in enumerate(row):
            left = MARGIN + column * (cell + GAP)
            sheet.paste(resized(pictures[i], (width, height)), (left, top))
            draw_lines(sheet, written[i], left, top + height + UNDER, font)
        top += row_height + ROW_GAP
    return sheet


def check_cells(pictures: Sequence[Image.Image], labels: Sequence[str], columns: int) -> None:
    """Raise ValueError for what makes no sheet."""
    if not pictures or len(pictures) != len(labels) or columns < 1:
        raise ValueError(
            f"a sheet needs pictures, a label each and a column: got {len(pictures)} pictures, "
            f"{len(labels)} labels, {columns} columns"
        )
    if len({picture.size for picture in pictures}) > 1:
        raise ValueError("the pictures of a sheet must have one size; resize them first")


def resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A picture in colour and in that size, (width, height)."""
    picture = picture.convert("RGB")
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BICUBIC)


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Sheets one under another."""
    if len(sheets) == 1:
        return sheets[0]
    whole = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), PAPER)
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height
    return whole
