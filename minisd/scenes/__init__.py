"""The little world: scenes, their pictures, their captions, and how they are split."""

from .captions import caption, parse, unknown_words, vocabulary
from .render import render, render_many
from .splits import HELD_OUT, loosened, sample
from .world import COLOURS, GROUNDS, HOURS, KINDS, SIZES, Scene, Thing

__all__ = [
    "COLOURS",
    "GROUNDS",
    "HELD_OUT",
    "HOURS",
    "KINDS",
    "SIZES",
    "Scene",
    "Thing",
    "caption",
    "loosened",
    "parse",
    "render",
    "render_many",
    "sample",
    "unknown_words",
    "vocabulary",
]
