"""Slips in a picture that the judge doesn't count: two moons, windows run into one, a lost stem.

The judge reads a whole picture and was trained to read poor ones, so it passes a red house whose windows
are gone. Here each thing is laid beside the renderer's own drawings of it. `fit` finds the drawing, and its
place, that come nearest to the picture; then each of the drawing's parts is looked up there. It is plain
image analysis, and can be checked on renders, where no slip should be found.

A scene must be complete, and pictures are uint8 (128, 128, 3). What is examined is the scene that was asked
for, so it tells something only of pictures that show it: let the judge read them first.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import cast

import numpy as np
from PIL import Image, ImageDraw
from scipy import fft, ndimage  # type: ignore[import-untyped]

from minisd.scenes import Scene, Thing
from minisd.scenes.render import (
    FINER,
    FORMS,
    FRAME,
    SIDE,
    Canvas,
    Colour,
    Look,
    Pen,
    Placed,
    draw_ground,
    draw_sky,
    draw_thing,
    mix,
    stated,
)

PARTS = {  # which tones of a drawing are looked up, and what they show
    "house": {"glass": "windows", "wood": "door", "slate": "roof"},
    "tree": {"wood": "trunk"},
    "tent": {"slate": "opening", "cream": "flaps"},
    "car": {"steel": "wheels", "glass": "windows"},
    "balloon": {"wood": "basket"},
    "rocket": {"steel": "porthole and nozzle", "cream": "band", "dark": "nose and fins"},
    "mushroom": {"stem": "stem", "cream": "spots"},
    "flower": {"slate": "heart", "leaf": "stem and leaves"},
}
SMALLEST = 12  # pixels that a part needs wholly to itself to be looked up
FAINTEST = 40.0  # and how far its colour must lie from what is around it, in steps of RGB
MISSING = 0.25  # a part is missing if less than this share of its contrast is seen
SMEARED = 40.0  # a thing is smeared if it differs from its drawing by more (root mean square, steps of RGB)
TWIN = 30.0  # a thing is there twice if its drawing fits elsewhere, too, with less difference than this

X, Y = 64.0, 100.0  # where drawings stand; a fit moves them by whole pixels
HORIZON = 76.0  # the middle of what renders have
SIDES = (0.97, 1.0, 1.03)  # of a thing's usual side, as in renders
SHARES = (0.15, 0.5, 0.85)  # of what varies in a drawing: from lean to stout
DOWN = range(-10, 11)  # pixels by which a fit may move a drawing down
ACROSS = {  # where the middles of things are looked for: one thing; the left and the right of two
    1: [range(36, 93)],
    2: [range(12, 57), range(72, 117)],
}

LIGHT_ROWS = 50  # the sun by day and the moon stand above this row
LIGHT_AREA = 30  # pixels that a sun or a moon has at least; a star has 10
LIGHT_WIDTH = 20  # pixels; pieces nearer than this are one light, cut by something


class Even:
    """In a random generator's place: every number lies at the same share of its range."""

    def __init__(self, share: float) -> None:
        self.share = share

    def uniform(self, low: float, high: float, size: int | None = None) -> float | np.ndarray:
        value = low + self.share * (high - low)
        return value if size is None else np.full(size, value)


@dataclass(frozen=True)
class Part:
    """A piece of a drawing in one tone: its pixels, and those around it, (128, 128) of bool."""

    name: str
    inside: np.ndarray
    around: np.ndarray


@dataclass(frozen=True)
class Fit:
    """The drawing nearest to a picture: its choices, how far it is moved, the mean squared difference."""

    side: float
    share: float
    across: int
    down: int
    error: float


@dataclass(frozen=True)
class ThingMarks:
    """How a thing in a picture compares with its drawing.

    rest: root mean square of the difference inside its outline, in steps of RGB.
    sharpness: the slope of the picture's gradients on the drawing's: 1 as drawn, 0 where nothing is seen.
    parts: each part that was looked up, and the share of its contrast with what is around it that is seen.
    """

    kind: str
    rest: float
    sharpness: float
    parts: tuple[tuple[str, float], ...]

    @property
    def smeared(self) -> bool:
        return self.rest > SMEARED

    @property
    def missing(self) -> list[str]:
        return [name for name, seen in self.parts if seen < MISSING]


@dataclass(frozen=True)
class Examination:
    """What was found in a picture.

    things: those of the scene, beside their drawings. lights: the suns or moons in the sky; None at sunset.
    twin: whether a scene's only thing is there twice; None where there should be two things.
    """

    things: tuple[ThingMarks, ...]
    lights: int | None
    twin: bool | None

    @property
    def slips(self) -> list[str]:
        """All that is wrong, in words."""
        found = [f"{thing.kind}: {name} missing" for thing in self.things for name in thing.missing]
        found += [f"{thing.kind} smeared" for thing in self.things if thing.smeared]
        if self.twin:
            found.append("the same thing twice")
        if self.lights == 0:
            found.append("no light in the sky")
        elif self.lights is not None and self.lights > 1:
            found.append(f"{self.lights} lights in the sky")
        return found


def examine(picture: np.ndarray, scene: Scene) -> Examination:
    """Lay the scene's things beside a picture of it, and count the lights of its sky."""
    ground, hour = stated(scene.ground), stated(scene.hour)
    things, covered, twin = [], np.zeros((FRAME, FRAME), bool), None
    for thing, middles in zip(scene.things, ACROSS[len(scene.things)], strict=True):
        found = fit(picture, thing, ground, hour, middles)
        things.append(marks(picture, thing, ground, hour, found))
        outline, _ = anatomy(thing.kind, found.side, found.share)
        covered |= np.roll(outline > 0, (found.down, found.across), axis=(0, 1))
        if len(scene.things) == 1:
            twin = has_twin(picture, thing, ground, hour, found)
    return Examination(tuple(things), count_lights(picture, hour, covered), twin)


# ---- the drawings


@lru_cache(maxsize=64)
def drawing(thing: Thing, ground: str, hour: str, side: float, share: float) -> np.ndarray:
    """The thing alone on a plain landscape, as `render` draws it: float (128, 128, 3) in [0, 255]."""
    canvas, rng = Canvas(FRAME), cast(np.random.Generator, Even(share))
    draw_sky(canvas, hour, HORIZON)
    draw_ground(canvas, ground, hour, rng, HORIZON)
    draw_thing(canvas, Placed(thing, X, Y, side), ground, hour, rng)
    return np.clip(canvas.rgb, 0, 255).transpose(1, 2, 0)


def tone_codes() -> dict[str, Colour]:
    """A colour for each tone of a Look that no other tone has, nor any blend of two."""
    names = Look.__dataclass_fields__
    return {name: (10.0 * i, 200.0 * (i % 2), 200.0 - 15 * i) for i, name in enumerate(names, 1)}


def number_of(colour: Colour | np.ndarray) -> np.ndarray:
    """Colours (..., 3), rounded as they are drawn, as one whole number each."""
    return np.rint(colour).astype(int) @ (1, 256, 65536)


@cache
def anatomy(kind: str, side: float, share: float) -> tuple[np.ndarray, list[Part]]:
    """How much of each pixel the thing covers, (128, 128) in [0, 1], and the parts that are looked up.

    The thing is drawn once more, in codes for its tones; each connected piece of one code is a part.
    """
    codes, rng = tone_codes(), Even(share)
    vary, lift = float(rng.uniform(-1, 1)), float(rng.uniform(6, 10))
    foot = Y - lift if FORMS[kind].floats else Y
    fine = Image.new("RGBA", (FRAME * FINER, FRAME * FINER))
    pen = Pen(ImageDraw.Draw(fine), (X * FINER, foot * FINER), side * FINER)
    FORMS[kind].draw(pen, Look(**codes), vary)
    pixels = np.asarray(fine)
    inked, colours = pixels[..., 3] > 0, number_of(pixels[..., :3])
    codes["stem"] = mix(codes["cream"], codes["wood"], 0.12)  # a mushroom's, as `draw_mushroom` blends it
    parts = []
    for tone, name in PARTS[kind].items():
        parts += pieces(name, inked & (colours == number_of(codes[tone])))
    return shrunk(inked), parts


def pieces(name: str, mask: np.ndarray) -> list[Part]:
    """The connected pieces of a fine mask (512, 512) that are large enough to be looked up."""
    labels, number = ndimage.label(mask)
    found = []
    for label in range(1, number + 1):
        cover = shrunk(labels == label)
        inside, touched = cover > 0.7, cover > 0.05
        if inside.sum() >= SMALLEST:
            found.append(Part(name, inside, ndimage.binary_dilation(touched, iterations=3) & ~touched))
    return found


def shrunk(mask: np.ndarray) -> np.ndarray:
    """A fine mask averaged down to the picture's pixels."""
    return mask.reshape(FRAME, FINER, FRAME, FINER).mean(axis=(1, 3))


# ---- beside the picture


@dataclass(frozen=True)
class Spectra:
    """A picture (3, 128, 128) and the sum over its channels squared, Fourier transformed."""

    values: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray) -> "Spectra":
        painted = picture.astype(np.float32).transpose(2, 0, 1)
        return cls(fft.rfft2(painted), fft.rfft2(np.square(painted).sum(axis=0)))

    def differences(self, drawn: np.ndarray, outline: np.ndarray) -> np.ndarray:
        """The mean squared difference inside the outline, for the drawing moved (down, across), (128, 128).

        The sum over pixels of m (p - d)^2, for the picture p and the drawing d with its mask m, holds two
        correlations, and a correlation is a product after a Fourier transform. Moves go round the edges.
        """
        mask = (outline > 0.99).astype(np.float32)
        masked = mask * drawn.transpose(2, 0, 1)
        products = self.squares * fft.rfft2(mask).conj()
        products -= 2 * (self.values * fft.rfft2(masked).conj()).sum(axis=0)
        sums = fft.irfft2(products, s=mask.shape) + np.square(masked).sum()
        return np.maximum(sums, 0) / mask.sum() / 3


def fit(picture: np.ndarray, thing: Thing, ground: str, hour: str, middles: range) -> Fit:
    """The drawing and the place, its middle among these, with the least difference inside the outline."""
    spectra, fits = Spectra.of(picture), []
    places = np.ix_([down % FRAME for down in DOWN], [(x - int(X)) % FRAME for x in middles])
    for side in (factor * SIDE[stated(thing.size)] for factor in SIDES):
        for share in SHARES:
            outline, _ = anatomy(thing.kind, side, share)
            errors = spectra.differences(drawing(thing, ground, hour, side, share), outline)[places]
            row, column = divmod(int(errors.argmin()), len(middles))
            least = float(errors[row, column])
            fits.append(Fit(side, share, middles[column] - int(X), DOWN[row], least))
    return min(fits, key=lambda found: found.error)


def has_twin(picture: np.ndarray, thing: Thing, ground: str, hour: str, found: Fit) -> bool:
    """Whether the same drawing fits beside the place where it was found, clear of it, as well."""
    width = FORMS[thing.kind].width * found.side
    middle = int(X) + found.across
    beside = [x for x in range(int(width / 2), FRAME - int(width / 2)) if abs(x - middle) > width]
    if not beside:
        return False
    outline, _ = anatomy(thing.kind, found.side, found.share)
    drawn = drawing(thing, ground, hour, found.side, found.share)
    errors = Spectra.of(picture).differences(drawn, outline)
    places = np.ix_([down % FRAME for down in DOWN], [(x - int(X)) % FRAME for x in beside])
    return bool(errors[places].min() < TWIN**2)


def marks(picture: np.ndarray, thing: Thing, ground: str, hour: str, found: Fit) -> ThingMarks:
    """What the nearest drawing and the picture, moved under it, have in common."""
    drawn = drawing(thing, ground, hour, found.side, found.share)
    outline, parts = anatomy(thing.kind, found.side, found.share)
    painted = np.roll(picture.astype(np.float32), (-found.down, -found.across), axis=(0, 1))
    inner = ndimage.binary_erosion(outline > 0.99)
    ours, theirs = (np.array(np.gradient(image, axis=(0, 1)))[:, inner] for image in (painted, drawn))
    looked_up = []
    for part in parts:
        contrast = drawn[part.inside].mean(axis=0) - drawn[part.around].mean(axis=0)
        if np.linalg.norm(contrast) >= FAINTEST:
            seen = painted[part.inside].mean(axis=0) - painted[part.around].mean(axis=0)
            looked_up.append((part.name, float(seen @ contrast / (contrast @ contrast))))
    sharpness = float((ours * theirs).sum() / np.square(theirs).sum())
    return ThingMarks(thing.kind, found.error**0.5, sharpness, tuple(looked_up))


def count_lights(picture: np.ndarray, hour: str, covered: np.ndarray) -> int | None:
    """How many suns (by day) or moons (at night) are in the sky, clear of what the things cover.

    None at sunset: the sun is low then, of the sky's own colours, and hills and things may hide it.
    """
    if hour == "sunset":
        return None
    red, green, blue = picture[:LIGHT_ROWS].astype(int).transpose(2, 0, 1)
    if hour == "day":
        bright = (red > 215) & (green > 190) & (red - blue > 60)
    else:
        bright = red + green + blue > 3 * 165
    clear = ~ndimage.binary_dilation(covered, iterations=3)[:LIGHT_ROWS]
    labels, number = ndimage.label(bright & clear, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(labels > 0, labels, range(1, number + 1))
    large = [i for i, size in enumerate(sizes, 1) if size >= LIGHT_AREA]
    lights: list[np.ndarray] = []
    for middle in ndimage.center_of_mass(labels > 0, labels, large):
        if all(np.linalg.norm(np.subtract(middle, other)) > LIGHT_WIDTH for other in lights):
            lights.append(np.array(middle))
    return len(lights)
