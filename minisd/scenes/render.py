"""Draw a scene: a small landscape with one or two things in it, at any hour.

Lengths are in pixels of a 128-pixel picture, whatever `size` is asked for; x runs to the right
and y runs down. Each kind of thing is drawn once, in a unit frame of its own (see `Pen`), so that
its small and its big form share the drawing. Colours are float RGB in [0, 255].
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.process import BaseProcess

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .world import KINDS, Scene, Thing

Colour = tuple[float, float, float]

PARTS = ("sky", "hills", "ground", *KINDS)  # of a picture, as `parts_of_picture` numbers them
FRAME = 128  # the picture's side, in our units of length
FINER = 4  # things are drawn this much finer, then averaged down

PAINT: dict[str, Colour] = {
    "red": (217, 52, 48),
    "orange": (247, 138, 32),
    "yellow": (250, 212, 56),
    "green": (52, 152, 76),
    "blue": (44, 104, 214),
    "purple": (140, 74, 200),
    "pink": (250, 142, 184),
    "white": (250, 250, 250),
}
CREAM, TAN = (255, 244, 222), (206, 178, 142)
WOOD, SLATE, STEEL, LEAF = (138, 94, 62), (96, 76, 72), (66, 68, 82), (92, 148, 70)
GLASS, LAMPLIGHT, DUSK_BLUE = (176, 214, 232), (255, 216, 120), (44, 36, 92)
SUN, MOON, STAR = (255, 244, 190), (252, 246, 220), (255, 252, 235)

SIDE = {"small": 34.5, "big": 57.0}  # the longer side of a thing, in pixels

SKY: dict[str, tuple[Colour, Colour, Colour]] = {  # at the top, half-way, at the horizon
    "day": ((92, 170, 234), (148, 206, 245), (220, 240, 247)),
    "sunset": ((110, 92, 164), (234, 136, 146), (255, 206, 152)),
    "night": ((15, 22, 60), (32, 44, 98), (76, 88, 146)),
}
GROUND: dict[tuple[str, str], tuple[Colour, Colour]] = {  # at the horizon, at the lower edge
    ("grass", "day"): ((176, 214, 124), (116, 180, 88)),
    ("grass", "sunset"): ((192, 188, 108), (108, 142, 78)),
    ("grass", "night"): ((66, 114, 94), (36, 76, 68)),
    ("sand", "day"): ((248, 228, 178), (232, 198, 136)),
    ("sand", "sunset"): ((244, 192, 142), (216, 148, 104)),
    ("sand", "night"): ((152, 130, 114), (108, 92, 98)),
    ("snow", "day"): ((240, 246, 252), (210, 225, 242)),
    ("snow", "sunset"): ((250, 226, 224), (220, 192, 214)),
    ("snow", "night"): ((148, 166, 208), (104, 124, 176)),
}
SHADE = (0.83, 0.79, 0.87)  # what the side of a thing that lies in shade keeps of its colour
TINT = {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.94, 0.90), "night": (0.92, 0.91, 1.0)}


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a share in [0, 1] of `b`."""
    return (
        (1 - share) * a[0] + share * b[0],
        (1 - share) * a[1] + share * b[1],
        (1 - share) * a[2] + share * b[2],
    )


def scaled(a: Colour, b: Colour) -> Colour:
    """`a` with each of its parts times that of `b`."""
    return a[0] * b[0], a[1] * b[1], a[2] * b[2]


class Canvas:
    """A float picture (3, size, size) in [0, 255] that is painted through masks in [0, 1]."""

    def __init__(self, size: int) -> None:
        self.size, self.pixel = size, FRAME / size
        place = ((np.arange(size) + 0.5) * self.pixel).astype(np.float32)
        self.x, self.y = place[None, :], place[:, None]
        self.rgb = np.zeros((3, size, size), np.float32)
        self.labels = np.full((size, size), PARTS.index("sky"), np.uint8)  # what each pixel is part of

    def paint(self, mask: np.ndarray, colour: Colour | np.ndarray) -> None:
        """Lay a colour (3,), or one for each row (3, size, 1), over the picture."""
        if isinstance(colour, tuple):
            colour = np.array(colour, np.float32)[:, None, None]
        self.rgb += mask.astype(np.float32) * (colour - self.rgb)

    def label(self, mask: np.ndarray, part: str) -> None:
        """Say that the pixels of a mask are part of something, from here on until something covers them."""
        self.labels[mask] = PARTS.index(part)

    def inside(self, depth: np.ndarray, soft: float = 1.0) -> np.ndarray:
        """The mask of `depth > 0`, its edge `soft` pixels wide."""
        return np.clip(depth / (soft * self.pixel) + 0.5, 0, 1)

    def distance(self, x: float, y: float, squeeze: float = 1.0) -> np.ndarray:
        """How far each pixel is from (x, y), heights counted `squeeze` times, (size, size)."""
        return np.sqrt((self.x - x) ** 2 + (squeeze * (self.y - y)) ** 2)

    def blend_rows(self, start: float, end: float, colours: Sequence[Colour]) -> np.ndarray:
        """A vertical gradient through `colours` from y = start to y = end, (3, size, 1)."""
        stops = np.linspace(start, end, len(colours))
        rows = [np.interp(self.y[:, 0], stops, channel) for channel in zip(*colours)]
        return np.array(rows, np.float32)[..., None]


# ---------------------------------------------------------------- the landscape


def draw_sky(canvas: Canvas, hour: str, horizon: float) -> None:
    canvas.rgb += canvas.blend_rows(0, horizon, SKY[hour])


def draw_sun(canvas: Canvas, rng: np.random.Generator, x: float, horizon: float) -> None:
    far = canvas.distance(x, rng.uniform(16, 28))
    canvas.paint(0.55 * np.exp(-((far / 22) ** 2)), SUN)
    canvas.paint(canvas.inside(9.5 - far, soft=1.5), (255, 232, 128))


def draw_low_sun(canvas: Canvas, rng: np.random.Generator, x: float, horizon: float) -> None:
    far = canvas.distance(x, horizon - rng.uniform(10, 15))
    canvas.paint(0.75 * np.exp(-((far / 34) ** 2)), (255, 226, 160))
    canvas.paint(canvas.inside(12.5 - far, soft=1.5), (255, 240, 190))


def draw_moon_and_stars(canvas: Canvas, rng: np.random.Generator, x: float, horizon: float) -> None:
    y = rng.uniform(16, 28)
    stars = [(10 + 18 * i + rng.uniform(-6, 6), rng.uniform(5, 50)) for i in range(7)]
    near = np.min(
        [canvas.distance(*star) for star in stars if np.hypot(star[0] - x, star[1] - y) > 18], axis=0
    )
    canvas.paint(0.9 * np.exp(-((near / 1.5) ** 2)), STAR)
    far = canvas.distance(x, y)
    canvas.paint(0.35 * np.exp(-((far / 20) ** 2)), MOON)
    bite = canvas.inside(canvas.distance(x + 5, y - 2.5) - 7.5, soft=1.5)
    canvas.paint(bite * canvas.inside(9.5 - far, soft=1.5), MOON)


LIGHT_OF_THE_SKY = {"day": draw_sun, "sunset": draw_low_sun, "night": draw_moon_and_stars}
CLOUD: dict[str, tuple[Colour, float]] = {  # its colour and how dense it is
    "day": ((255, 255, 255), 0.85),
    "sunset": ((255, 200, 190), 0.6),
    "night": ((92, 104, 160), 0.4),
}


def draw_clouds(canvas: Canvas, hour: str, rng: np.random.Generator, light_x: float) -> None:
    """Two soft clouds, one on either side of the sun or moon, each of three puffs on a flat foot."""
    (colour, density), depths = CLOUD[hour], []
    for side in (-1, 1):
        x, y, wide = (
            (light_x + side * rng.uniform(30, 50)) % FRAME,
            rng.uniform(12, 36),
            rng.uniform(0.8, 1.2),
        )
        puffs = [(-8 * wide, 0, 5), (0, -2.5, 7.5), (8 * wide, 0, 5.5)]
        depth = np.max([r - canvas.distance(x + dx, y + dy, 1.15) for dx, dy, r in puffs], axis=0)
        depths.append(np.minimum(depth, y + 3 - canvas.y))
    canvas.paint(density * canvas.inside(np.maximum(*depths), soft=3.0), colour)


RELIEF = {"grass": 5.0, "sand": 3.5, "snow": 8.0}  # how high the distant hills swing


def draw_hills(canvas: Canvas, ground: str, hour: str, rng: np.random.Generator, horizon: float) -> None:
    """Two layers of distant hills, the farther one nearer to the colour of the sky."""
    far_ground, swing = GROUND[ground, hour][0], RELIEF[ground]
    dark = mix(far_ground, mix(SKY[hour][0], DUSK_BLUE, 0.3), 0.28)
    for rise, haze in ((11, 0.6), (4, 0.25)):
        phase, length = rng.uniform(0, 2 * np.pi), rng.uniform(40, 64)
        ridge = horizon - rise - swing * np.sin(2 * np.pi * canvas.x / length + phase)
        canvas.paint(canvas.inside(canvas.y - ridge), mix(dark, SKY[hour][2], haze))
        canvas.label(canvas.y > ridge, "hills")


def draw_ground(canvas: Canvas, ground: str, hour: str, rng: np.random.Generator, horizon: float) -> None:
    """The ground, gently curved, with one low swell in front."""
    far, near = GROUND[ground, hour]
    crest = rng.uniform(30, 98)
    edge = horizon + 0.0012 * (canvas.x - crest) ** 2
    canvas.paint(canvas.inside(canvas.y - edge), canvas.blend_rows(horizon, FRAME, (far, near)))
    canvas.label(canvas.y > edge, "ground")
    swell = 112 + 4 * np.sin(2 * np.pi * canvas.x / 150 + rng.uniform(0, 2 * np.pi))
    canvas.paint(0.5 * canvas.inside(canvas.y - swell, soft=2.0), mix(near, DUSK_BLUE, 0.12))


# ---------------------------------------------------------------- the things


@dataclass(frozen=True)
class Look:
    """The colours that one thing is drawn with: its own in three tones, and neutral ones."""

    base: Colour
    light: Colour
    dark: Colour
    cream: Colour
    wood: Colour
    slate: Colour
    steel: Colour
    leaf: Colour
    glass: Colour
    lamp: Colour

    @classmethod
    def of(cls, colour: str, hour: str, rng: np.random.Generator) -> Look:

        def tinted(c: Colour) -> Colour:
            return scaled(c, TINT[hour])

        base = tuple(np.clip(np.array(PAINT[colour]) + rng.uniform(-5, 5, 3), 0, 255))
        return cls(
            base=tinted(base),
            light=tinted(mix(base, (255, 252, 232), 0.20)),
            dark=tinted(scaled(base, SHADE)),
            cream=tinted(TAN if colour == "white" else CREAM),
            wood=tinted(WOOD),
            slate=tinted(SLATE),
            steel=tinted(STEEL),
            leaf=tinted(LEAF),
            glass=LAMPLIGHT if hour == "night" else tinted(GLASS),
            lamp=LAMPLIGHT if hour == "night" else tinted(CREAM),
        )


@dataclass
class Pen:
    """Draws in a thing's own frame: x to the right of its middle, y up from its foot, its longer
    side 1. `origin` is the foot's place and `unit` the length of 1, both in fine pixels."""

    draw: ImageDraw.ImageDraw
    origin: tuple[float, float]
    unit: float
    lamps: list[tuple[float, float, float]] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.origin[0] + x * self.unit, self.origin[1] - y * self.unit

    def ellipse(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """An ellipse about (x, y) with these half axes."""
        self.draw.ellipse([self.at(x - wide, y + high), self.at(x + wide, y - high)], fill=_rgb(colour))

    def half(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """The upper half of an ellipse that stands on (x, y)."""
        box = [self.at(x - wide, y + high), self.at(x + wide, y - high)]
        self.draw.pieslice(box, 180, 360, fill=_rgb(colour))

    def box(
        self, left: float, foot: float, right: float, top: float, colour: Colour, bend: float = 0.0
    ) -> None:
        """A box whose corners are rounded with radius `bend`."""
        corners = [self.at(left, top), self.at(right, foot)]
        self.draw.rounded_rectangle(corners, bend * self.unit, fill=_rgb(colour))

    def shape(self, points: Sequence[tuple[float, float]], colour: Colour, bend: float = 0.0) -> None:
        """A polygon, made `bend` larger all round, which rounds its corners."""
        corners = [self.at(x, y) for x, y in points]
        self.draw.polygon(corners, fill=_rgb(colour))
        if bend:
            around = corners + corners[:2]
            self.draw.line(around, fill=_rgb(colour), width=round(2 * bend * self.unit), joint="curve")

    def lamp(self, x: float, y: float, reach: float) -> None:
        """Remember a light here that shines `reach` far at night."""
        self.lamps.append((x, y, reach))


def _rgb(colour: Colour) -> tuple[int, int, int, int]:
    red, green, blue = (min(255, round(part)) for part in colour)
    return red, green, blue, 255


def draw_house(pen: Pen, look: Look, vary: float) -> None:
    pen.box(0.17, 0.6, 0.30, 0.97, look.slate, 0.015)
    pen.box(-0.36, 0, 0.36, 0.6, look.base)
    pen.shape([(-0.36, 0.5), (0.36, 0.5), (0, 0.86)], look.base)
    pen.box(0.18, 0, 0.36, 0.5, look.dark)
    for side in (-1, 1):
        roof = [(0, 0.93), (side * 0.47, 0.5), (side * 0.43, 0.44), (0, 0.84)]
        pen.shape(roof, look.slate, 0.02)
    pen.box(-0.09, 0, 0.10, 0.32, look.wood, 0.03)
    for x in (-0.225, 0.235):
        pen.box(x - 0.085, 0.2, x + 0.085, 0.4, look.cream, 0.02)
        pen.box(x - 0.06, 0.225, x + 0.06, 0.375, look.glass)
        pen.lamp(x, 0.3, 0.16)
    pen.ellipse(0, 0.58, 0.075, 0.075, look.cream)
    pen.ellipse(0, 0.58, 0.05, 0.05, look.glass)


def draw_tree(pen: Pen, look: Look, vary: float) -> None:
    pen.box(-0.06, 0, 0.06, 0.3, look.wood, 0.02)
    tiers = [(0.15, 0.52, 0.35, look.dark), (0.37, 0.74, 0.285, look.base), (0.59, 0.96, 0.215, look.light)]
    for foot, top, wide, colour in tiers:
        wide *= 1 + 0.08 * vary
        pen.shape([(-wide, foot + 0.04), (wide, foot + 0.04), (0, top)], colour, 0.04)


def draw_tent(pen: Pen, look: Look, vary: float) -> None:
    ridge = 0.70 + 0.03 * vary
    pen.shape([(-0.10, ridge), (0.24, ridge - 0.04), (0.46, 0.02), (0.2, 0.02)], look.dark, 0.015)
    pen.shape([(-0.46, 0.02), (0.26, 0.02), (-0.10, ridge)], look.base, 0.02)
    pen.shape(
        [(-0.26, 0.0), (0.06, 0.0), (-0.10, 0.46)], look.glass if look.glass == LAMPLIGHT else look.slate
    )
    pen.shape([(-0.10, 0.46), (-0.26, 0.0), (-0.34, 0.0)], look.cream)
    pen.shape([(-0.10, 0.46), (0.06, 0.0), (0.14, 0.0)], look.cream)
    pen.lamp(-0.10, 0.15, 0.22)


def draw_car(pen: Pen, look: Look, vary: float) -> None:
    roof = 0.55 + 0.02 * vary
    pen.shape([(-0.31, 0.3), (0.25, 0.3), (0.12, roof - 0.04), (-0.21, roof - 0.04)], look.base, 0.04)
    pen.box(-0.47, 0.1, 0.47, 0.37, look.base, 0.09)
    pen.box(-0.46, 0.1, 0.46, 0.19, look.dark, 0.04)
    pen.shape([(-0.25, 0.34), (-0.05, 0.34), (-0.05, roof - 0.06), (-0.18, roof - 0.06)], look.glass)
    pen.shape([(0.03, 0.34), (0.20, 0.34), (0.10, roof - 0.06), (0.03, roof - 0.06)], look.glass)
    for x in (-0.26, 0.26):
        pen.ellipse(x, 0.12, 0.125, 0.125, look.steel)
        pen.ellipse(x, 0.12, 0.055, 0.055, look.cream)
    pen.ellipse(0.425, 0.27, 0.05, 0.05, look.lamp)
    pen.lamp(0.45, 0.27, 0.22)


def draw_balloon(pen: Pen, look: Look, vary: float) -> None:
    wide = 0.365 * (1 + 0.03 * vary)
    for side in (-1, 1):
        pen.shape(
            [(side * 0.19, 0.34), (side * 0.15, 0.34), (side * 0.06, 0.15), (side * 0.10, 0.15)], look.wood
        )
    pen.shape([(-0.27, 0.42), (0.27, 0.42), (0.11, 0.255), (-0.11, 0.255)], look.dark, 0.02)
    pen.ellipse(0, 0.63, wide, 0.365, look.dark)
    pen.ellipse(0, 0.63, 0.72 * wide, 0.365, look.base)
    pen.shape([(-0.19, 0.42), (0.19, 0.42), (0.07, 0.245), (-0.07, 0.245)], look.base)
    pen.ellipse(0, 0.63, 0.29 * wide, 0.365, look.light)
    pen.shape([(-0.075, 0.42), (0.075, 0.42), (0.03, 0.245), (-0.03, 0.245)], look.light)
    pen.box(-0.12, 0, 0.12, 0.16, look.wood, 0.035)
    pen.box(-0.13, 0.13, 0.13, 0.18, look.slate, 0.02)


def draw_rocket(pen: Pen, look: Look, vary: float) -> None:
    wide = 0.175 * (1 + 0.05 * vary)
    pen.box(-0.09, 0.02, 0.09, 0.16, look.steel, 0.02)
    for side in (-1, 1):
        pen.shape(
            [(side * 0.1, 0.42), (side * 0.31, 0.2), (side * 0.31, 0.02), (side * 0.1, 0.16)], look.dark, 0.02
        )
    body = [(wide * np.cos(turn), 0.42 + 0.56 * np.sin(turn)) for turn in np.linspace(0, np.pi, 25)]
    pen.shape([*body, (-wide * 0.8, 0.11), (wide * 0.8, 0.11)], look.base, 0.01)
    nose = [(x, y) for x, y in body if y > 0.80]
    pen.shape(nose, look.dark, 0.01)
    pen.ellipse(0, 0.60, 0.105, 0.105, look.cream)
    pen.ellipse(0, 0.60, 0.07, 0.07, look.glass if look.glass == LAMPLIGHT else look.steel)
    pen.box(-wide * 0.93, 0.26, wide * 0.93, 0.32, look.cream)
    pen.lamp(0, 0.60, 0.16)


def draw_mushroom(pen: Pen, look: Look, vary: float) -> None:
    stem = mix(look.cream, look.wood, 0.12)
    pen.shape([(-0.10, 0.5), (0.10, 0.5), (0.15, 0.06), (-0.15, 0.06)], stem, 0.05)
    pen.ellipse(0, 0.44, 0.40, 0.10, look.dark)
    pen.half(0, 0.42, 0.47, 0.53 + 0.03 * vary, look.base)
    pen.ellipse(0, 0.425, 0.47, 0.06, look.base)
    pen.ellipse(0, 0.39, 0.24, 0.04, mix(stem, look.slate, 0.3))
    for x, y, wide in ((-0.01, 0.75, 0.095), (-0.26, 0.56, 0.075), (0.24, 0.58, 0.085), (0.01, 0.51, 0.05)):
        pen.ellipse(x, y, wide, 0.85 * wide, look.cream)


def draw_flower(pen: Pen, look: Look, vary: float) -> None:
    pen.box(-0.04, 0, 0.04, 0.6, look.leaf, 0.02)
    for side in (-1, 1):
        leaf = [(0, 0.06), (side * 0.16, 0.12), (side * 0.27, 0.27), (side * 0.1, 0.24)]
        pen.shape(leaf, look.leaf, 0.02)
    for turn in np.arange(6) * np.pi / 3 + 0.5 + 0.4 * vary:
        tone = look.dark if np.sin(turn) < -0.6 else look.base
        pen.ellipse(0.21 * np.cos(turn), 0.64 + 0.21 * np.sin(turn), 0.145, 0.145, tone)
    pen.ellipse(0, 0.64, 0.2, 0.2, look.base)
    pen.ellipse(0, 0.64, 0.115, 0.115, look.slate)


@dataclass(frozen=True)
class Form:
    """How a kind is drawn, how wide it is (its longer side is 1), and whether it floats."""

    draw: Callable[[Pen, Look, float], None]
    width: float
    floats: bool = False


FORMS = {
    "house": Form(draw_house, 0.98),
    "tree": Form(draw_tree, 0.84),
    "tent": Form(draw_tent, 0.96),
    "car": Form(draw_car, 0.94),
    "balloon": Form(draw_balloon, 0.76, floats=True),
    "rocket": Form(draw_rocket, 0.66),
    "mushroom": Form(draw_mushroom, 0.94),
    "flower": Form(draw_flower, 0.72),
}


@dataclass(frozen=True)
class Placed:
    """A thing with its place: the x of its middle, the y of the ground under it, its longer side."""

    thing: Thing
    x: float
    y: float
    side: float

    @property
    def half_width(self) -> float:
        return FORMS[self.thing.kind].width * self.side / 2


def place(things: tuple[Thing, ...], rng: np.random.Generator) -> list[Placed]:
    """Choose where the things stand; two things never overlap."""
    ranges = [(44, 84)] if len(things) == 1 else [(29, 40), (88, 99)]
    placed = [
        Placed(
            thing,
            rng.uniform(*where),
            rng.uniform(96, 103),
            SIDE[stated(thing.size)] * rng.uniform(0.97, 1.03),
        )
        for thing, where in zip(things, ranges)
    ]
    if len(placed) == 2:
        left, right = placed
        push = max(0.0, left.half_width + right.half_width + 2 - (right.x - left.x)) / 2
        placed = [
            Placed(left.thing, left.x - push, left.y, left.side),
            Placed(right.thing, right.x + push, right.y, right.side),
        ]
    return placed


def draw_thing(canvas: Canvas, placed: Placed, ground: str, hour: str, rng: np.random.Generator) -> None:
    """The thing's shadow, its soft rim, the thing itself, and at night its lamps."""
    form, side = FORMS[placed.thing.kind], placed.side
    look, vary, lift = Look.of(placed.thing.colour, hour, rng), rng.uniform(-1, 1), rng.uniform(6, 10)
    foot = placed.y - lift if form.floats else placed.y
    shade = mix(GROUND[ground, hour][1], DUSK_BLUE, 0.65)
    reach = placed.half_width * (0.7 if form.floats else 1.0) + 3
    far = canvas.distance(placed.x + 1.5, placed.y, squeeze=reach / 5)
    canvas.paint(0.55 * np.clip(1.5 - 1.5 * far / reach, 0, 1), shade)

    margin, scale = 5, 1 / canvas.pixel
    left, top = int((placed.x - side / 2 - margin) * scale), int((foot - side - margin) * scale)
    cells = int((side + 2 * margin) * scale) + 2
    fine = Image.new("RGBA", (cells * FINER, cells * FINER))
    origin = (placed.x * scale - left) * FINER, (foot * scale - top) * FINER
    pen = Pen(ImageDraw.Draw(fine), origin, side * scale * FINER)
    form.draw(pen, look, vary)
    lay(canvas, fine.reduce(FINER), left, top, shade, placed.thing.kind)
    if hour == "night" and pen.lamps:
        glows = [
            canvas.distance(placed.x + x * side, foot - y * side) / (reach * side)
            for x, y, reach in pen.lamps
        ]
        canvas.paint(0.36 * np.exp(-(np.min(glows, axis=0) ** 2)), LAMPLIGHT)


def lay(canvas: Canvas, sprite: Image.Image, left: int, top: int, shade: Colour, kind: str) -> None:
    """Lay a thing's square picture on the canvas at this pixel, in a soft rim, lit from the upper left."""
    cells = sprite.width
    rim = (
        np.asarray(sprite.getchannel("A").filter(ImageFilter.GaussianBlur(2 / canvas.pixel)), np.float32)
        / 255
    )
    pixels = np.asarray(sprite, np.float32).transpose(2, 0, 1)
    slope = np.linspace(0, 1, cells, dtype=np.float32)
    light = 1.05 - 0.07 * (slope[:, None] + slope[None, :])

    rows = slice(max(top, 0), min(top + cells, canvas.size))
    columns = slice(max(left, 0), min(left + cells, canvas.size))
    part = np.s_[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    window = canvas.rgb[:, rows, columns]
    window += 0.35 * rim[part] * (np.array(shade, np.float32)[:, None, None] - window)
    window += pixels[3][part] / 255 * (pixels[:3][part] * light[part] - window)
    canvas.labels[rows, columns][pixels[3][part] >= 128] = PARTS.index(kind)


# ---------------------------------------------------------------- whole pictures


def stated(value: str | None) -> str:
    """A value of a complete scene, where nothing is open; ValueError if it is."""
    if value is None:
        raise ValueError("a scene is drawn when all of it is stated: call complete() first")
    return value


def render(scene: Scene, seed: int, size: int = FRAME) -> np.ndarray:
    """Draw a scene as uint8 (size, size, 3); the same scene and seed give the same picture.

    What the scene leaves open is filled by `scene.complete(np.random.default_rng(seed))`.
    """
    return render_with_parts(scene, seed, size)[0]


def render_with_parts(scene: Scene, seed: int, size: int = FRAME) -> tuple[np.ndarray, np.ndarray]:
    """What `render` draws, and what `parts_of_picture` says of it, in one go."""
    canvas = draw(scene, seed, size)
    return np.clip(canvas.rgb + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0).copy(), canvas.labels


def parts_of_picture(scene: Scene, seed: int, size: int = FRAME) -> np.ndarray:
    """What each pixel of `render(scene, seed, size)` is part of: uint8 (size, size), numbers of PARTS."""
    return render_with_parts(scene, seed, size)[1]


def draw(scene: Scene, seed: int, size: int) -> Canvas:
    """The canvas with a scene painted on it."""
    if size < 1:
        raise ValueError(f"a picture's size is {size}: give the pixels of its side, 1 or more")
    scene = scene.complete(np.random.default_rng(seed))
    ground, hour = stated(scene.ground), stated(scene.hour)
    rng = np.random.default_rng((seed, 1))
    canvas, horizon, light_x = Canvas(size), rng.uniform(72, 80), rng.uniform(16, 112)
    draw_sky(canvas, hour, horizon)
    LIGHT_OF_THE_SKY[hour](canvas, rng, light_x, horizon)
    draw_clouds(canvas, hour, rng, light_x)
    draw_hills(canvas, ground, hour, rng, horizon)
    draw_ground(canvas, ground, hour, rng, horizon)
    for placed in place(scene.things, rng):
        draw_thing(canvas, placed, ground, hour, rng)
    return canvas


def render_many(
    scenes: Sequence[Scene], seeds: Sequence[int], size: int = FRAME, workers: int | None = None
) -> np.ndarray:
    """Draw many scenes on all processors (or `workers`), uint8 (number, size, size, 3)."""
    if len(scenes) != len(seeds):
        raise ValueError(f"each scene needs a seed: got {len(scenes)} scenes and {len(seeds)} seeds")
    workers = workers or os.cpu_count() or 1
    one = partial(render, size=size)
    if workers == 1 or len(scenes) < 64:
        return np.stack([one(scene, seed) for scene, seed in zip(scenes, seeds)])
    with ProcessPoolExecutor(workers, initializer=end_with_parent) as pool:
        return np.stack(list(pool.map(one, scenes, seeds, chunksize=32)))


def end_with_parent() -> None:
    """Let a worker live no longer than the process that started it, even if that one is killed.

    Ctrl-C reaches all of them; it is for the parent to answer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent,), daemon=True).start()


def _exit_after(process: BaseProcess) -> None:
    """End this process as soon as the other has ended."""
    process.join()
    os._exit(1)
