"""The checks of chapter 0: A picture from words. It spoils the exercises to read this first."""

import torch

from ..kinds import Build, Mistake


def guide(unconditional, conditional, scale):
    return unconditional + scale * (conditional - unconditional)


def guesses(rng):
    return [
        (*torch.randn(2, *shape, generator=rng), scale)
        for shape, scale in (((2, 4, 8, 8), 7.5), ((3,), 0.0), ((1, 4, 5, 5), 1.0), ((2, 2), 2.5))
    ]


def times_fewer(height, width, channels, factor):
    return 3 * height * width / (channels * (height // factor) * (width // factor))


def sizes(rng):
    return [(512, 512, 4, 8), (128, 192, 4, 8), (96, 64, 16, 8), (64, 96, 5, 4)]


EXERCISES = [
    Build(
        number="0.1",
        name="guide",
        minutes=5,
        right=guide,
        cases=guesses,
        section="0.6",
        mistakes=(
            Mistake(
                lambda u, c, s: c + s * (c - u),
                "At scale 1 you are twice as far as you should be. This is the paper's form, whose scale is "
                "ours "
                "less one; here one starts from the guess without words.",
            ),
            Mistake(
                lambda u, c, s: c + s * (u - c),
                "The two guesses have changed places: at scale 0 the words should not be heard.",
            ),
            Mistake(
                lambda u, c, s: u + s * c,
                "You added all of the guess with words. What is amplified is its difference from the guess "
                "without.",
            ),
            Mistake(lambda u, c, s: s * (c - u), "Only the difference is left: it is added to something."),
            Mistake(lambda u, c, s: u - s * (c - u), "The sign leads away from the words."),
        ),
    ),
    Build(
        number="0.2",
        name="times_fewer",
        minutes=5,
        right=times_fewer,
        cases=sizes,
        section="0.4",
        mistakes=(
            Mistake(lambda h, w, c, f: float(f * f), "You compared areas. Colours and channels count, too."),
            Mistake(lambda h, w, c, f: 3.0 * f * f, "The channels of the latents are missing."),
            Mistake(lambda h, w, c, f: h * w / (c * (h // f) * (w // f)), "A picture has three colours."),
            Mistake(
                lambda h, w, c, f: 3 * f / c, "You shrank one side only: the picture is smaller both ways."
            ),
            Mistake(
                lambda h, w, c, f: float(3 * f * f * c),
                "The channels stand on the wrong side: more of them mean less saved.",
            ),
            Mistake(
                lambda h, w, c, f: c * (h // f) * (w // f) / (3 * h * w),
                "Upside down: this is the share that remains.",
            ),
        ),
    ),
]
