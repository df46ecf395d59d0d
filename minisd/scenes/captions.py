"""Captions of scenes: a small grammar that writes them and reads them back.

A caption is a sentence frame around three phrases: the things, the ground and the hour. The tables
below are the whole grammar; `caption` chooses from them and `parse` matches against them, so
that every caption can be read back: `parse(caption(scene, rng)) == scene`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from .world import COLOURS, KINDS, Scene, Thing

SIZE_WORDS = {"small": ("small", "little"), "big": ("big", "large")}
GROUND_PHRASES = {
    "grass": ("on grass", "on the grass", "in a meadow"),
    "sand": ("on sand", "on the sand", "in the desert"),
    "snow": ("on snow", "on the snow", "in the snow"),
}
HOUR_PHRASES = {
    "day": ("by day", "in daylight", "during the day"),
    "sunset": ("at sunset", "at dusk", "in the evening light"),
    "night": ("at night", "by night", "under the moon"),
}
GROUND_ADJECTIVES = {"grass": ("grassy",), "sand": ("sandy",), "snow": ("snowy",)}
HOUR_NOUNS = {"day": ("day",), "sunset": ("sunset",), "night": ("night",)}

ONE = ("{a}",)
LEFT_RIGHT = (  # {a} is on the left, {b} on the right
    "{a} left of {b}",
    "{a} to the left of {b}",
    "{b} right of {a}",
    "{b} to the right of {a}",
    "{a} on the left and {b} on the right",
    "{b} on the right and {a} on the left",
    "{a} on the left, {b} on the right",
)
ANYWHERE = ("{a} and {b}", "{a} next to {b}")  # {a} is mentioned first

FRAMES: dict[tuple[bool, bool], tuple[str, ...]] = {  # (ground stated, hour stated)
    (False, False): ("{things}", "a picture of {things}"),
    (True, False): ("{things} {ground}", "{ground}, {things}", "a {ground_adjective} scene with {things}"),
    (False, True): ("{things} {hour}", "{hour}, {things}", "a {hour_noun} scene with {things}"),
    (True, True): (
        "{things} {ground} {hour}",
        "{things} {hour} {ground}",
        "{hour}, {things} {ground}",
        "{ground}, {things} {hour}",
        "{hour} {ground}, {things}",
        "a {ground_adjective} {hour_noun} with {things}",
        "a {ground_adjective} scene with {things} {hour}",
    ),
}
TABLES: dict[str, Mapping[str, tuple[str, ...]]] = {
    "ground": GROUND_PHRASES,
    "hour": HOUR_PHRASES,
    "ground_adjective": GROUND_ADJECTIVES,
    "hour_noun": HOUR_NOUNS,
}


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the ways to say the scene: all that it states, and nothing else."""

    def pick(choices: Sequence[str]) -> str:
        return choices[int(rng.integers(len(choices)))]

    joins = ONE if len(scene.things) == 1 else LEFT_RIGHT if scene.ordered else ANYWHERE
    things = pick(joins).format(**{name: _describe(thing, pick) for name, thing in zip("ab", scene.things)})
    frame = pick(FRAMES[scene.ground is not None, scene.hour is not None])
    stated = {
        "ground": scene.ground,
        "hour": scene.hour,
        "ground_adjective": scene.ground,
        "hour_noun": scene.hour,
    }
    phrases = {slot: pick(TABLES[slot][value]) for slot, value in stated.items() if value is not None}
    return frame.format(things=things, **phrases)


def _describe(thing: Thing, pick: Callable[[Sequence[str]], str]) -> str:
    """A thing in words, its size too where it is stated: "a small red house"."""
    size = [] if thing.size is None else [pick(SIZE_WORDS[thing.size])]
    words = [*size, thing.colour, thing.kind]
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def parse(text: str) -> Scene:
    """Read a caption back. Case, punctuation and surplus spaces do not matter.

    Raises ValueError, with a sentence that says what to do, for a text outside the grammar.
    """
    plain = " ".join(_words(text))
    for pattern, ordered in _patterns():
        if match := pattern.fullmatch(plain):
            found = {name: value for name, value in match.groupdict().items() if value is not None}
            things = tuple(_thing(found, name) for name in "ab" if f"kind_{name}" in found)
            ground = _meaning(found, "ground") or _meaning(found, "ground_adjective")
            hour = _meaning(found, "hour") or _meaning(found, "hour_noun")
            return Scene(things, ground, hour, ordered)
    if unknown := unknown_words(text):
        raise ValueError(
            f"the little world does not know {', '.join(map(repr, unknown))}: "
            "use the words of minisd.scenes.vocabulary()"
        )
    raise ValueError(
        f"{text!r} is not a caption of the little world: write it like "
        "'a small red house left of a big yellow tent on sand at sunset'"
    )


def unknown_words(text: str) -> list[str]:
    """The words of `text` that no caption contains, each once, in order."""
    known = {word for words in vocabulary().values() for phrase in words for word in phrase.split()}
    return list(dict.fromkeys(word for word in _words(text) if word not in known))


@cache
def vocabulary() -> dict[str, tuple[str, ...]]:
    """All that captions can say, by what it is about: words or short phrases."""

    def flat(*tables: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        return tuple(phrase for table in tables for row in table.values() for phrase in row)

    def blank(rows: Iterable[str]) -> tuple[str, ...]:
        return tuple(" ".join(_words(re.sub(r"\{\w+\}", " ", row))) for row in rows)

    frames = [frame for row in FRAMES.values() for frame in row]
    return {
        "kinds": KINDS,
        "colours": COLOURS,
        "sizes": flat(SIZE_WORDS),
        "grounds": flat(GROUND_PHRASES, GROUND_ADJECTIVES),
        "hours": flat(HOUR_PHRASES, HOUR_NOUNS),
        "places": tuple(dict.fromkeys(blank(LEFT_RIGHT + ANYWHERE))),
        "frames": tuple(dict.fromkeys(filter(None, ("a", "an", *blank(frames))))),
    }


def _words(text: str) -> list[str]:
    """The words of a text in lower case, without its punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def _meaning(found: dict[str, str], slot: str) -> str | None:
    """What the phrase that was found in a slot of the frame stands for."""
    return next((meaning for meaning, phrases in TABLES[slot].items() if found.get(slot) in phrases), None)


def _thing(found: dict[str, str], name: str) -> Thing:
    """Thing "a" or "b" of a caption, from the words that were found."""
    size = next((size for size, words in SIZE_WORDS.items() if found.get(f"size_{name}") in words), None)
    return Thing(found[f"kind_{name}"], found[f"colour_{name}"], size)


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], bool], ...]:
    """Every frame with every join of things as one pattern, and whether that join is ordered."""

    def any_of(name: str, choices: Iterable[str]) -> str:
        return f"(?P<{name}>{'|'.join(choices)})"

    slots = {
        slot: any_of(slot, [phrase for row in table.values() for phrase in row])
        for slot, table in TABLES.items()
    }
    sizes = [word for row in SIZE_WORDS.values() for word in row]
    thing = {
        name: f"an? (?:{any_of(f'size_{name}', sizes)} )?"
        f"{any_of(f'colour_{name}', COLOURS)} {any_of(f'kind_{name}', KINDS)}"
        for name in "ab"
    }
    patterns = []
    for join in ONE + LEFT_RIGHT + ANYWHERE:
        things = join.format(**thing)
        for frame in (frame for row in FRAMES.values() for frame in row):
            text = frame.format(things=things, **slots).replace(",", "")
            patterns.append((re.compile(text), join not in ANYWHERE))
    return tuple(patterns)
