"""Chapter 0: what readers answer. Wrong answers with a part of the message that they should get, and right
ones.
"""

import math

import sympy
import torch

AB_T, AB_NEXT = sympy.symbols("ab_t ab_next", positive=True)
A = sympy.sqrt(AB_NEXT / AB_T)


# ---- 0.1 and 0.2: numbers


def moved(red=75, night=69, nothing=76):
    return {"red becomes blue": red, "night becomes sunset": night, "nothing is said": nothing}


def rows(three=60, unguided=30, over=6, decoded=3):
    return {
        "U-Net, three sentences": three,
        "U-Net, three sentences, guidance 1": unguided,
        "U-Net, one sentence over a picture, strength 0.3": over,
        "decoder, three sentences": decoded,
    }


def needed(far=33, near=99, times=4):
    return {"60 % against 90 %": far, "75 % against 90 %": near, "half as wide, times as many": times}


# ---- 0.4: steps


def in_two_calls(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    no_words, words = (unet(z_t, t, half) for half in both.chunk(2))
    noise_hat = torch.lerp(no_words, words, scale)
    here, there = float(alphas_cumprod[t]), float(alphas_cumprod[t_next])
    z_hat = (z_t - math.sqrt(1 - here) * noise_hat) / math.sqrt(here)
    return math.sqrt(there) * z_hat + math.sqrt(1 - there) * noise_hat


def other_order(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    guesses = unet(z_t.repeat(2, 1, 1, 1), t, torch.roll(both, len(z_t), dims=0))
    words, no_words = guesses.split(len(z_t))
    noise_hat = (1 - scale) * no_words + scale * words
    here, there = alphas_cumprod[t], alphas_cumprod[t_next]
    return (there / here).sqrt() * z_t + ((1 - there).sqrt() - (there * (1 - here) / here).sqrt()) * noise_hat


def pebbles_gone(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    words, no_words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = no_words + scale * (words - no_words)
    here, there = alphas_cumprod[t], alphas_cumprod[t_next]
    z_hat = (z_t - (1 - here).sqrt() * noise_hat) / here.sqrt()
    return there.sqrt() * z_hat + (1 - there).sqrt() * noise_hat


def words_heard(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = no_words + scale * (words - no_words)
    here, there = alphas_cumprod[t], alphas_cumprod[t_next]
    z_hat = (z_t - (1 - here).sqrt() * noise_hat) / here.sqrt()
    return there.sqrt() * z_hat + (1 - here).sqrt() * noise_hat


def picture_stays(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = no_words + scale * (words - no_words)
    here, there = alphas_cumprod[t], alphas_cumprod[t_next]
    z_hat = (z_t - (1 - here).sqrt() * noise_hat) / here.sqrt()
    return here.sqrt() * z_hat + (1 - there).sqrt() * noise_hat


def forgets_to_return(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    in_two_calls(z_t, t, t_next, both, unet, scale, alphas_cumprod)


# ---- 0.5: what is kept


def by_where(z_t, t, original, noise, mask, alphas_cumprod):
    bar = float(alphas_cumprod[t])
    return torch.where(mask > 0, z_t, math.sqrt(bar) * original + math.sqrt(1 - bar) * noise)


def by_difference(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod[t]
    kept = bar.sqrt() * original + (1 - bar).sqrt() * noise
    return kept + mask * (z_t - kept)


def clean(z_t, t, original, noise, mask, alphas_cumprod):
    return torch.where(mask > 0, z_t, original)


def inverted(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod[t]
    return (1 - mask) * z_t + mask * (bar.sqrt() * original + (1 - bar).sqrt() * noise)


def drowned_twice(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod[t]
    return bar.sqrt() * (mask * z_t + (1 - mask) * original) + (1 - bar).sqrt() * noise


def without_roots(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod[t]
    return mask * z_t + (1 - mask) * (bar * original + (1 - bar) * noise)


def exchanged(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod[t]
    return mask * z_t + (1 - mask) * (bar.sqrt() * noise + (1 - bar).sqrt() * original)


def unweighted(z_t, t, original, noise, mask, alphas_cumprod):
    return mask * z_t + (1 - mask) * (noise + original)


# ---- 0.6: plans


def even(count, scale, top=958):
    return [(round(top * (count - i) / count), scale) for i in range(count)]


BANK = {
    "0.1": {
        "wrong": [
            (moved(1, 1, 9), "only the word's own vector"),
            (moved(7, 1, 10), "counted up to the last word"),
            (moved(77, 77, 77), "let all of them move"),
            (moved(76, 70, 76), "first row of the table is not the first word"),
            (moved(nothing=77), "still has its markers"),
            (moved(nothing=9), "the words and a marker"),
            (moved(night=68), '"night becomes sunset"'),
        ],
        "right": [moved(), [75, 69, 76]],
    },
    "0.2": {
        "wrong": [
            (rows(three=30), "How many does (0.6) need"),
            (rows(three=20), "the work for one picture"),
            (rows(three=10), "You counted calls"),
            (rows(unguided=60), "Put s = 1"),
            (rows(over=20), "walked all ten steps"),
            (rows(over=14), "left out the share"),
            (rows(over=3), "still needs two guesses"),
            (rows(decoded=30), "decoded after every step"),
            (rows(decoded=1), '"decoder, three sentences"'),
        ],
        "right": [rows(), (60.0, 30, 6, 3)],
    },
    "0.3": {
        "wrong": [
            ((sympy.sqrt(AB_NEXT), sympy.sqrt(1 - AB_NEXT)), "The guessed picture has to go"),
            ((A, sympy.sqrt(1 - AB_NEXT)), "B has only the first"),
            ((A, -sympy.sqrt(AB_NEXT * (1 - AB_T) / AB_T)), "forgets the noise"),
            ((A, sympy.sqrt(1 - AB_NEXT) + sympy.sqrt(AB_NEXT * (1 - AB_T) / AB_T)), "B is a difference"),
            ((A, sympy.sqrt(1 - AB_NEXT) - sympy.sqrt(AB_NEXT * (1 - AB_T))), "divided as well"),
            (
                (1 / A, sympy.sqrt(1 - AB_T) - sympy.sqrt(AB_T * (1 - AB_NEXT) / AB_NEXT)),
                "two timesteps have changed places",
            ),
        ],
        "right": [
            (A, sympy.sqrt(1 - AB_NEXT) - A * sympy.sqrt(1 - AB_T)),
            lambda ab_t, ab_next: (
                math.sqrt(ab_next) / math.sqrt(ab_t),
                math.sqrt(1 - ab_next) - math.sqrt(ab_next / ab_t - ab_next),
            ),
        ],
    },
    "0.4": {
        "wrong": [
            (pebbles_gone, "leads away from your words"),
            (words_heard, "as much noise as before"),
            (picture_stays, "the factor of this one"),
            (forgets_to_return, "return"),
        ],
        "right": [in_two_calls, other_order],
    },
    "0.5": {
        "wrong": [
            (clean, "how deep must the kept part be drowned"),
            (inverted, "The mask is inverted"),
            (drowned_twice, "drowned a second time"),
            (without_roots, "factors of (0.1) are roots"),
            (exchanged, "each other's factors"),
            (unweighted, "(0.1) weighs the two"),
        ],
        "right": [by_where, by_difference],
    },
    "0.6": {
        "wrong": [
            (even(2, 7.5), "no time to correct"),
            (even(5, 1), "None of your steps is guided"),
            ([(500, 2.5), (250, 2.5), (100, 1)], "pure noise"),
            (even(2, 2), "a fifth is allowed"),
            (even(3, 2), "costs 6 rows"),
            ([(250, 1), (958, 4)], "each timestep is smaller"),
            ([958, 500, 250], "list of pairs"),
            ([(958, 4), (0, 1)], "between 1 and 999"),
        ],
        "right": [
            [(958, 2), (600, 2), (300, 1)],
            [[958, 2.0], [639, 2.0], [319, 1.0]],
            [(958, 1), (639, 2), (319, 2)],  # the solution says so
        ],
    },
    "0.7": {
        "wrong": [
            (needed(far=10), "where do they meet"),
            (needed(far=14, near=47), "another question"),
            (needed(far=20), "still overlap"),
            (needed(near=54), "twice the pictures"),
            (needed(times=2), "under a root"),
            (needed(times=1.41), "the wrong way round"),
            (needed(near=400), '"75 % against 90 %"'),
        ],
        "right": [needed(), needed(27, 92), [30, 100, 4]],
    },
}
