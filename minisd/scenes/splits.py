"""Which scenes are trained on, and which colour-kind pairs are kept for measuring composition."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .world import COLOURS, KINDS, Scene, Thing

HELD_OUT: tuple[tuple[str, str], ...] = (  # (colour, kind): every colour and every kind once
    ("red", "balloon"),
    ("orange", "car"),
    ("yellow", "flower"),
    ("green", "tent"),
    ("blue", "house"),
    ("purple", "mushroom"),
    ("pink", "tree"),
    ("white", "rocket"),
)
SPLITS = ("train", "held_out")
ONE_THING, STATED, ORDERED = 0.4, 0.75, 0.8  # probabilities


def sample(
    rng: np.random.Generator, split: str = "train", things: int | None = None, full: bool = False
) -> Scene:
    """Draw a scene of one or two `things` (`None`: one with probability 0.4).

    No thing of a `train` scene is a held-out pair; at least one of a `held_out` scene is. With
    `full` everything is stated and two things are ordered; otherwise each size, the ground and
    the hour are stated with probability 0.75, and two things are ordered with probability 0.8.
    """
    if split not in SPLITS:
        raise ValueError(f"{split!r} is not a split: choose one of {', '.join(SPLITS)}")
    if things not in (None, 1, 2):
        raise ValueError(f"a scene has 1 or 2 things, not {things}: pass 1, 2 or None")
    if things is None:
        things = 1 if rng.random() < ONE_THING else 2
    pairs = _pairs(rng, split, things)
    scene = Scene(tuple(Thing(kind, colour) for colour, kind in pairs)).complete(rng)
    return scene if full else loosened(scene, rng)


def loosened(scene: Scene, rng: np.random.Generator) -> Scene:
    """A complete scene as a caption might state it: some of it left open, the rest as it is.

    Each size, the ground and the hour stay stated with probability 0.75, the order of two things with
    probability 0.8; without it either may be mentioned first.
    """

    def state(value: str | None) -> str | None:
        return value if rng.random() < STATED else None

    things = tuple(replace(thing, size=state(thing.size)) for thing in scene.things)
    ordered = len(things) == 1 or bool(rng.random() < ORDERED)
    if not ordered and rng.random() < 0.5:
        things = things[::-1]
    return Scene(things, state(scene.ground), state(scene.hour), ordered)


def _pairs(rng: np.random.Generator, split: str, things: int) -> list[tuple[str, str]]:
    """Colour-kind pairs drawn uniformly among those that the split allows."""
    while True:
        kinds = rng.choice(KINDS, things, replace=False)
        pairs = [(str(rng.choice(COLOURS)), str(kind)) for kind in kinds]
        if any(pair in HELD_OUT for pair in pairs) == (split == "held_out"):
            return pairs
