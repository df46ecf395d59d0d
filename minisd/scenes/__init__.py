"""The little world: scenes, their pictures, their captions, and how they are split."""

from .captions import caption, parse, unknown_words, vocabulary
from .plans import edge_agreement, outlines, overlap, read_map, semantic_map
from .render import PARTS, parts_of_picture, render, render_many
from .splits import HELD_OUT, loosened, sample
from .world import COLOURS, GROUNDS, HOURS, KINDS, SIZES, Scene, Thing

__all__ = [
    "COLOURS",
    "GROUNDS",
    "HELD_OUT",
    "HOURS",
    "KINDS",
    "PARTS",
    "SIZES",
    "Scene",
    "Thing",
    "caption",
    "edge_agreement",
    "loosened",
    "outlines",
    "overlap",
    "parse",
    "parts_of_picture",
    "read_map",
    "render",
    "render_many",
    "sample",
    "semantic_map",
    "unknown_words",
    "vocabulary",
]
