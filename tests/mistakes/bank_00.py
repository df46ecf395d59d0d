"""Chapter 0: what students write. Wrong answers with a part of the message that they should get, and right
ones.
"""

import torch


def by_lerp(unconditional, conditional, scale):
    return torch.lerp(unconditional, conditional, scale)


def by_weights(unconditional, conditional, scale):
    return (1 - scale) * unconditional + scale * conditional


def by_counting(height, width, channels, factor):
    pixels, latents = torch.zeros(3, height, width), torch.zeros(channels, height // factor, width // factor)
    return pixels.numel() / latents.numel()


BANK = {
    "0.1": {
        "wrong": [
            (lambda u, c, s: c + s * (c - u), "whose scale is ours less one"),
            (lambda u, c, s: (1 - s) * c + s * u, "changed places"),
            (lambda u, c, s: u + s * c, "difference from the guess without"),
            (lambda u, c, s: s * c - s * u, "added to something"),
            (lambda u, c, s: u + s * (u - c), "away from the words"),
        ],
        "right": [by_lerp, by_weights],
    },
    "0.2": {
        "wrong": [
            (lambda h, w, c, f: (h * w) / ((h / f) * (w / f)), "compared areas"),
            (lambda h, w, c, f: h * w / (c * (h / f) * (w / f)), "three colours"),
            (lambda h, w, c, f: 3 * h * w / ((h / f) * (w / f)), "channels of the latents are missing"),
            (lambda h, w, c, f: 3 * f / c, "one side only"),
            (lambda h, w, c, f: 3.0 * f**2 * c, "wrong side"),
            (lambda h, w, c, f: c * (h // f) * (w // f) / (h * w * 3), "Upside down"),
        ],
        "right": [by_counting, lambda h, w, c, f: 3 * f**2 / c],
    },
}
