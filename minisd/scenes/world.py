"""What can be in the little world: things, scenes, and how two scenes compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

KINDS = ("house", "tree", "tent", "car", "balloon", "rocket", "mushroom", "flower")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "big")
GROUNDS = ("grass", "sand", "snow")
HOURS = ("day", "sunset", "night")
VALUES = {"kind": KINDS, "colour": COLOURS, "size": SIZES, "ground": GROUNDS, "hour": HOURS}


def _check(name: str, value: str | None, optional: bool) -> None:
    """ValueError unless `value` is one of VALUES[name], or None where that is allowed."""
    if value is None and optional:
        return
    if value not in VALUES[name]:
        raise ValueError(f"{value!r} is not a {name}: choose one of {', '.join(VALUES[name])}")


@dataclass(frozen=True)
class Thing:
    """One thing that stands (or floats) in a scene; `size=None` leaves the size open."""

    kind: str
    colour: str
    size: str | None = None

    def __post_init__(self) -> None:
        _check("kind", self.kind, optional=False)
        _check("colour", self.colour, optional=False)
        _check("size", self.size, optional=True)

    def admits(self, seen: Thing) -> bool:
        """Whether all that this thing states is so in `seen`."""
        same = (self.kind, self.colour) == (seen.kind, seen.colour)
        return same and self.size in (None, seen.size)


@dataclass(frozen=True)
class Scene:
    """One or two things on a ground at an hour; `None` means that the caption leaves it open.

    If `ordered`, `things[0]` stands left of `things[1]`; if not, the places are open and the
    tuple keeps the order in which the caption mentions them. One thing alone is always ordered.
    """

    things: tuple[Thing, ...]
    ground: str | None = None
    hour: str | None = None
    ordered: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.things, tuple) or len(self.things) not in (1, 2):
            raise ValueError("a scene holds a tuple of one or two things: pass (thing,) or (left, right)")
        if len(self.things) == 2 and self.things[0].kind == self.things[1].kind:
            raise ValueError(f"two things must differ in kind: replace one {self.things[0].kind}")
        if len(self.things) == 1:
            object.__setattr__(self, "ordered", True)
        _check("ground", self.ground, optional=True)
        _check("hour", self.hour, optional=True)

    def complete(self, rng: np.random.Generator) -> Scene:
        """Fill at random all that is open; a scene without open places comes back equal."""

        def pick(value: str | None, choices: Sequence[str]) -> str:
            return value or str(rng.choice(choices))

        things = [replace(thing, size=pick(thing.size, SIZES)) for thing in self.things]
        if not self.ordered and rng.random() < 0.5:
            things.reverse()
        return Scene(tuple(things), pick(self.ground, GROUNDS), pick(self.hour, HOURS))

    def admits(self, seen: Scene) -> bool:
        """Whether everything that this scene states is so in `seen`, a complete scene."""
        if len(self.things) != len(seen.things):
            return False
        orders = [self.things] if self.ordered else [self.things, self.things[::-1]]
        things_agree = any(
            all(mine.admits(theirs) for mine, theirs in zip(order, seen.things)) for order in orders
        )
        return things_agree and self.ground in (None, seen.ground) and self.hour in (None, seen.hour)

    def flipped(self) -> Scene:
        """The two things with their places exchanged: what is left of the other is now right of it."""
        self._needs_two()
        return replace(self, things=self.things[::-1])

    def colours_swapped(self) -> Scene:
        """The two things with their colours exchanged."""
        self._needs_two()
        first, second = self.things
        things = (replace(first, colour=second.colour), replace(second, colour=first.colour))
        return replace(self, things=things)

    def altered(self, rng: np.random.Generator) -> Scene:
        """The same scene with ONE stated attribute changed to another value, at random."""
        stated: list[tuple[int | None, str]] = [
            (i, name)
            for i, thing in enumerate(self.things)
            for name in ("kind", "colour", "size")
            if getattr(thing, name) is not None
        ]
        stated += [(None, name) for name in ("ground", "hour") if getattr(self, name) is not None]
        where, name = stated[rng.integers(len(stated))]
        taken = {getattr(self if where is None else self.things[where], name)}
        if name == "kind":
            taken = {thing.kind for thing in self.things}
        value = str(rng.choice([value for value in VALUES[name] if value not in taken]))
        if where is None:
            return replace(self, ground=value) if name == "ground" else replace(self, hour=value)
        things = list(self.things)
        things[where] = replace(things[where], **{name: value})
        return replace(self, things=tuple(things))

    def _needs_two(self) -> None:
        if len(self.things) != 2:
            raise ValueError("only a scene with two things can exchange them: give it a second thing")
