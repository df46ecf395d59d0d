"""Answers to chapter 0's exercises, written without a look at the checks."""

import math
from fractions import Fraction

import numpy as np
import sympy
import torch

# 0.1: how many of the 77 vectors move --------------------------------------------------------------------


def moves(red, night, nothing):
    return {"red becomes blue": red, "night becomes sunset": night, "nothing is said": nothing}


MOVES_WRONG = [
    moves(1, 1, 8),  # only the changed words themselves
    moves(7, 1, 8),  # from the word to the last word; the end signs are thought not to move
    moves(8, 2, 9),  # up to the end sign, its sixty-seven repetitions forgotten
    moves(74, 68, 75),  # the vectors after the word, without the word's own
    moves(76, 70, 77),  # the start sign forgotten: a is row 0
    moves(2, 8, 1),  # counted those that stay
    moves(77, 77, 77),  # everything looks at everything
    moves(75, 69, 77),  # the start sign taken to know that nothing follows
    moves(75, 69, 8),  # for the empty sentence only the words counted
    moves(75, 69, 75),  # start sign and the first end sign taken to stay
    moves(75, 1, 76),  # night is the last word, so nobody after it
    moves(69, 75, 76),  # the two words exchanged
    moves(75 / 77, 69 / 77, 76 / 77),  # shares in place of numbers
    moves(3, 9, 77),  # rows up to and with the changed one, as if it read from right to left
]

MOVES_RIGHT = [
    moves(75, 69, 76),
    moves(75.0, 69.0, 76.0),
    moves(77 - 2, 77 - 8, 77 - 1),
    {"nothing is said": 76, "red becomes blue": 75, "night becomes sunset": 69},  # another order
    moves(*np.array([75, 69, 76])),  # NumPy whole numbers
    moves(len(range(2, 77)), len(range(8, 77)), len(range(1, 77))),
    moves(sympy.Integer(75), sympy.Integer(69), sympy.Integer(76)),
    dict(zip(["red becomes blue", "night becomes sunset", "nothing is said"], torch.tensor([75, 69, 76]))),
]

# 0.2: rows ------------------------------------------------------------------------------------------------


def rows(three, unguided, over, decoder):
    return {
        "U-Net, three sentences": three,
        "U-Net, three sentences, guidance 1": unguided,
        "U-Net, one sentence over a picture, strength 0.3": over,
        "decoder, three sentences": decoder,
    }


ROWS_WRONG = [
    rows(30, 30, 3, 3),  # guidance's second question forgotten
    rows(60, 60, 6, 3),  # asks twice at guidance 1 as well
    rows(60, 30, 20, 3),  # strength taken for something that doesn't save steps
    rows(60, 30, 14, 3),  # strength read as the share that is left out
    rows(60, 30, 3, 3),  # three steps, but one guess each
    rows(60, 30, 6, 30),  # the decoder works in every step
    rows(60, 30, 6, 1),  # the decoder's calls, not its rows
    rows(10, 10, 3, 1),  # calls of the networks, not rows
    rows(20, 10, 6, 3),  # one sentence for three
    rows(225, 30, 22.5, 3),  # multiplied by 7.5
    rows(60, 30, 6, 6),  # the decoder too has to decode with words and without
    rows(60, 30, 7, 3),  # a row for the encoder counted with the U-Net's
    rows(60, 30, 18, 3),  # three sentences over a picture
    rows(66, 33, 8, 3),  # a step too many: from 10 to 0 counted with both ends
]

ROWS_RIGHT = [
    rows(60, 30, 6, 3),
    rows(60.0, 30.0, 6.0, 3.0),
    rows(3 * 10 * 2, 3 * 10, round(0.3 * 10) * 2, 3),
    rows(*np.array([60, 30, 6, 3], dtype=np.int32)),
    rows(*torch.tensor([60.0, 30.0, 6.0, 3.0]).tolist()),
    dict(reversed(rows(60, 30, 6, 3).items())),  # another order
    rows(60, 30, 2 * 10 * 0.3, 3),  # 6.0
    rows(Fraction(60), Fraction(30), Fraction(3, 10) * 20, Fraction(3)),
]

# 0.3: a step without the guessed picture -------------------------------------------------------------------

ab_t, ab_next = sympy.symbols("ab_t ab_next", positive=True)
root = sympy.sqrt
A, B = root(ab_next / ab_t), root(1 - ab_next) - root(ab_next * (1 - ab_t) / ab_t)


def solved_for_the_step():
    """Let sympy substitute (0.3) into (0.5) and collect."""
    z_t, noise_hat = sympy.symbols("z_t noise_hat")
    z_hat = (z_t - root(1 - ab_t) * noise_hat) / root(ab_t)
    step = sympy.expand(root(ab_next) * z_hat + root(1 - ab_next) * noise_hat)
    return step.coeff(z_t), step.coeff(noise_hat)


COEFFICIENTS_WRONG = [
    (A, root(1 - ab_next) + root(ab_next * (1 - ab_t) / ab_t)),  # the sign of (0.3) lost
    (A, -B),  # wanted a B that is subtracted
    (ab_next / ab_t, root(1 - ab_next) - ab_next / ab_t * root(1 - ab_t)),  # the roots of the ratio forgotten
    (A, (1 - ab_next) - A * (1 - ab_t)),  # the roots of the noises' factors forgotten
    (1 / A, root(1 - ab_next) - root(1 - ab_t) / A),  # the ratio upside down
    (A, root(1 - ab_next) - root(1 - ab_t)),  # A not multiplied into the noise
    (A, root(1 - ab_t) - root(ab_next * (1 - ab_t) / ab_t)),  # noise put back with the factor of t
    (A, -root(ab_next * (1 - ab_t) / ab_t)),  # (0.5)'s second term forgotten
    (B, A),  # in the wrong order
    (
        root(ab_next),
        root(1 - ab_next),
    ),  # (0.5) itself: these multiply the guessed picture and the guessed noise
    (
        root(ab_t / ab_next),
        root(1 - ab_t) - root(ab_t * (1 - ab_next) / ab_next),
    ),  # the two exchanged: a step up
    (1 / root(ab_t), -root((1 - ab_t) / ab_t)),  # (0.3) alone, all the way to the picture
    (A, root(1 - ab_next / ab_t)),  # the fresh noise of a jump (1.15)
    (
        root(ab_next),
        root(1 - ab_next) - root(ab_next) * root(1 - ab_t),
    ),  # forgot to divide by the root of ab_t
    (A, root(1 - ab_next) - root(ab_next * (1 - ab_t))),  # the division forgotten in B only
    (sympy.Integer(1), sympy.Integer(-1)),  # "subtracts the noise"
]

COEFFICIENTS_RIGHT = [
    (A, B),
    [A, B],  # a list
    (root(ab_next) / root(ab_t), root(1 - ab_next) - root(ab_next) * root(1 - ab_t) / root(ab_t)),
    solved_for_the_step(),
    (ab_next**0.5 / ab_t**0.5, (1 - ab_next) ** 0.5 - ab_next**0.5 * (1 - ab_t) ** 0.5 / ab_t**0.5),  # ** 0.5
    (A, (root(ab_t * (1 - ab_next)) - root(ab_next * (1 - ab_t))) / root(ab_t)),  # over one denominator
    (A, root(ab_next) * (root(1 / ab_next - 1) - root(1 / ab_t - 1))),  # by the noise levels
    (
        sympy.exp((sympy.log(ab_next) - sympy.log(ab_t)) / 2),
        root(1 - ab_next) - sympy.exp((sympy.log(ab_next) - sympy.log(ab_t)) / 2) * root(1 - ab_t),
    ),
    sympy.Tuple(A, B),
    # multiplied above and below by the sum of the two roots
    (A, (ab_t - ab_next) / ab_t / (root(1 - ab_next) + root(ab_next * (1 - ab_t) / ab_t))),
]

# 0.4: the painter of pebbles -------------------------------------------------------------------------------


def only_the_halves_repaired(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t] * noise_hat  # pebbles still


def only_the_noise_repaired(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    words, no_words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)  # still exchanged
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def exchanged_twice(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The halves are named rightly now, and the guidance line has them the wrong way round."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * no_words + (1 - scale) * words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def both_noises_of_t_next(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Replaced noise_factor[t] in both places."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t_next] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def the_other_noise_changed(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """noise_factor[t_next] put in the first place, where [t] was right."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t_next] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t] * noise_hat


def picture_factors_exchanged(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The two factors of the picture exchanged while repairing the rest."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t_next]
    return picture_factor[t] * z_hat + noise_factor[t_next] * noise_hat


def guided_once_too_much(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """words + scale * difference: Ho and Salimans' w taken for s."""
    bars_t, bars_next = alphas_cumprod[t], alphas_cumprod[t_next]
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = words + scale * (words - no_words)
    z_hat = (z_t - (1 - bars_t).sqrt() * noise_hat) / bars_t.sqrt()
    return bars_next.sqrt() * z_hat + (1 - bars_next).sqrt() * noise_hat


def no_roots(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    bars_t, bars_next = alphas_cumprod[t], alphas_cumprod[t_next]
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = no_words + scale * (words - no_words)
    z_hat = (z_t - (1 - bars_t) * noise_hat) / bars_t
    return bars_next * z_hat + (1 - bars_next) * noise_hat


def stops_at_the_picture(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Returns the guessed picture: (0.5) left out."""
    bar = alphas_cumprod[t]
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = no_words + scale * (words - no_words)
    return (z_t - (1 - bar).sqrt() * noise_hat) / bar.sqrt()


def always_seven_and_a_half(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The scale of the example written into the function."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = 7.5 * words - 6.5 * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def always_33_further(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The step of thirty even steps written into the function: t_next isn't read."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    after = max(t - 33, 0)
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[after] * z_hat + noise_factor[after] * noise_hat


def one_guess_per_batch(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Takes the first two rows of the answer: right for one picture, wrong for a batch."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    guesses = unet(torch.cat([z_t, z_t]), t, both)
    no_words, words = guesses[0], guesses[1]
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def batch_doubled(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Forgot to take the two halves apart: returns twice as many latents."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    z_t = torch.cat([z_t, z_t])
    noise_hat = unet(z_t, t, both)
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def words_alone(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """No guidance at all: the scale isn't read."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    _, noise_hat = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def asked_for_t_next(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The U-Net is told the timestep of the latents that are to come."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t_next, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def nothing_returned(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Repaired, but the return was lost on the way."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    larger = picture_factor[t_next] / picture_factor[t]
    z_t = larger * (z_t - noise_factor[t] * noise_hat) + noise_factor[t_next] * noise_hat


def writes_into_the_latents(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The right numbers, but the caller's latents are overwritten."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_t -= noise_factor[t] * noise_hat
    z_t *= picture_factor[t_next] / picture_factor[t]
    z_t += noise_factor[t_next] * noise_hat
    return z_t


def repaired(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def repaired_in_the_guidance_line(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The names stay exchanged, and so does what guidance does with them: clumsy, but right."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    words, no_words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = scale * no_words + (1 - scale) * words
    z_hat = (z_t - noise_factor[t] * noise_hat) / picture_factor[t]
    return picture_factor[t_next] * z_hat + noise_factor[t_next] * noise_hat


def by_the_equations(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """(0.6), (0.3), (0.5), one line each, with plain numbers for the factors."""
    bar, bar_next = float(alphas_cumprod[t]), float(alphas_cumprod[t_next])
    without, with_words = unet(torch.cat((z_t, z_t), dim=0), t, both).chunk(2, dim=0)
    noise_hat = without + scale * (with_words - without)
    z_hat = (z_t - math.sqrt(1 - bar) * noise_hat) / math.sqrt(bar)
    return math.sqrt(bar_next) * z_hat + math.sqrt(1 - bar_next) * noise_hat


def two_coefficients(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """The step of exercise 0.3."""
    now, after = alphas_cumprod[t], alphas_cumprod[t_next]
    guesses = unet(z_t.repeat(2, 1, 1, 1), t, both)
    half = len(guesses) // 2
    noise_hat = torch.lerp(guesses[:half], guesses[half:], scale)
    a = (after / now).sqrt()
    b = (1 - after).sqrt() - a * (1 - now).sqrt()
    return a * z_t + b * noise_hat


def asked_one_after_the_other(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Two calls of the U-Net in place of one with a doubled batch."""
    empty, sentence = both.chunk(2)
    no_words, words = unet(z_t, t, empty), unet(z_t, t, sentence)
    noise_hat = (1 - scale) * no_words + scale * words
    bar, bar_next = alphas_cumprod[t], alphas_cumprod[t_next]
    z_hat = (z_t - (1 - bar) ** 0.5 * noise_hat) / bar**0.5
    return bar_next**0.5 * z_hat + (1 - bar_next) ** 0.5 * noise_hat


def contexts_turned_round(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """Keeps `words, no_words` and hands the contexts over in that order."""
    picture_factor, noise_factor = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    turned = torch.cat(both.chunk(2)[::-1])
    words, no_words = unet(torch.cat([z_t, z_t]), t, turned).chunk(2)
    noise_hat = scale * words + (1 - scale) * no_words
    larger = picture_factor[t_next] / picture_factor[t]
    return larger * z_t + (noise_factor[t_next] - larger * noise_factor[t]) * noise_hat


def in_double(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    """float64 inside, cast back at the end."""
    bars = alphas_cumprod.double()
    guesses = unet(torch.cat([z_t, z_t]), t, both).double()
    guesses = guesses.view(2, *z_t.shape)
    noise_hat = torch.einsum("g,gbchw->bchw", torch.tensor([1 - scale, scale]).double(), guesses)
    z_hat = (z_t.double() - (1 - bars[t]).sqrt() * noise_hat) / bars[t].sqrt()
    return (bars[t_next].sqrt() * z_hat + (1 - bars[t_next]).sqrt() * noise_hat).to(z_t.dtype)


# 0.5: keep one half ----------------------------------------------------------------------------------------


def mask_inverted(z_t, t, original, noise, mask, alphas_cumprod):
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    return (1 - mask) * z_t + mask * drowned


def clean_original(z_t, t, original, noise, mask, alphas_cumprod):
    """Puts the original back without drowning it."""
    return mask * z_t + (1 - mask) * original


def root_of_the_noise_forgotten(z_t, t, original, noise, mask, alphas_cumprod):
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar) * noise
    return mask * z_t + (1 - mask) * drowned


def both_roots_forgotten(z_t, t, original, noise, mask, alphas_cumprod):
    alpha_bar = alphas_cumprod[t]
    return mask * z_t + (1 - mask) * (alpha_bar * original + (1 - alpha_bar) * noise)


def noise_drawn_anew(z_t, t, original, noise, mask, alphas_cumprod):
    """Draws noise of its own, although noise is given."""
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * torch.randn_like(original)
    return mask * z_t + (1 - mask) * drowned


def one_timestep_early(z_t, t, original, noise, mask, alphas_cumprod):
    """t - 1, and at t = 0 nothing but the original: the papers' counting on the code's table."""
    alpha_bar = alphas_cumprod[t - 1] if t > 0 else torch.tensor(1.0)
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    return mask * z_t + (1 - mask) * drowned


def one_timestep_late(z_t, t, original, noise, mask, alphas_cumprod):
    alpha_bar = alphas_cumprod[min(t + 1, len(alphas_cumprod) - 1)]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    return mask * z_t + (1 - mask) * drowned


def original_and_noise_exchanged(z_t, t, original, noise, mask, alphas_cumprod):
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * noise + (1 - alpha_bar).sqrt() * original
    return mask * z_t + (1 - mask) * drowned


def noise_leaks_into_the_mask(z_t, t, original, noise, mask, alphas_cumprod):
    """(1 - mask) multiplies the original alone."""
    alpha_bar = alphas_cumprod[t]
    return mask * z_t + (1 - mask) * alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise


def latents_drowned_too(z_t, t, original, noise, mask, alphas_cumprod):
    """Puts the halves together first and drowns both."""
    alpha_bar = alphas_cumprod[t]
    clean = mask * z_t + (1 - mask) * original
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


def always_the_right_half(z_t, t, original, noise, mask, alphas_cumprod):
    """The example's mask written into the function."""
    alpha_bar = alphas_cumprod[t]
    out = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    out = out.clone()
    out[..., 8:] = z_t[..., 8:]
    return out


def written_into_the_latents(z_t, t, original, noise, mask, alphas_cumprod):
    """The right numbers, but z_t itself is changed."""
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    z_t.mul_(mask).add_((1 - mask) * drowned)
    return z_t


def original_drowned_in_place(z_t, t, original, noise, mask, alphas_cumprod):
    """Drowns the caller's original: in a walk it would drown again at every step."""
    alpha_bar = alphas_cumprod[t]
    original *= alpha_bar.sqrt()
    original += (1 - alpha_bar).sqrt() * noise
    return mask * z_t + (1 - mask) * original


def evenly_in_t(z_t, t, original, noise, mask, alphas_cumprod):
    """Takes t / 1000 for the share of the noise."""
    share = t / 1000
    return mask * z_t + (1 - mask) * ((1 - share) * original + share * noise)


def first_channel_only(z_t, t, original, noise, mask, alphas_cumprod):
    """mask[0, 0] used as an index into the first channel: the other three aren't put back."""
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    out = z_t.clone()
    outside = mask[0, 0] == 0
    out[:, 0, outside] = drowned[:, 0, outside]
    return out


def nothing_handed_back(z_t, t, original, noise, mask, alphas_cumprod):
    """Computes everything and returns None."""
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    z_t = mask * z_t + (1 - mask) * drowned


def only_the_drowned(z_t, t, original, noise, mask, alphas_cumprod):
    """Image to image: drowns everything, the mask isn't read."""
    alpha_bar = alphas_cumprod[t]
    return alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise


def as_in_the_chapter(z_t, t, original, noise, mask, alphas_cumprod):
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    return mask * z_t + (1 - mask) * drowned


def with_where(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod[t].item()
    return torch.where(mask > 0.5, z_t, math.sqrt(bar) * original + math.sqrt(1 - bar) * noise)


def with_lerp(z_t, t, original, noise, mask, alphas_cumprod):
    """drowned + mask * (z_t - drowned)."""
    bar = alphas_cumprod[t]
    drowned = bar**0.5 * original + (1 - bar) ** 0.5 * noise
    return drowned + mask * (z_t - drowned)


def copied_and_overwritten(z_t, t, original, noise, mask, alphas_cumprod):
    """A copy of the latents, with the drowned original written where the mask is 0."""
    bars = alphas_cumprod.double()
    drowned = (bars[t].sqrt() * original.double() + (1.0 - bars[t]).sqrt() * noise.double()).to(z_t.dtype)
    out = z_t.clone()
    outside = (mask == 0).expand_as(out)
    out[outside] = drowned.expand_as(out)[outside]
    return out


def channel_by_channel(z_t, t, original, noise, mask, alphas_cumprod):
    """Loops where the chapter broadcasts."""
    factor, level = alphas_cumprod[t] ** 0.5, (1 - alphas_cumprod[t]) ** 0.5
    out = torch.empty_like(z_t)
    original, noise = original.expand_as(z_t), noise.expand_as(z_t)
    for i in range(z_t.shape[0]):
        for c in range(z_t.shape[1]):
            put_back = factor * original[i, c] + level * noise[i, c]
            out[i, c] = mask[0, 0] * z_t[i, c] + (1 - mask[0, 0]) * put_back
    return out


def in_numpy(z_t, t, original, noise, mask, alphas_cumprod):
    bar = alphas_cumprod.numpy()[t]
    put_back = np.sqrt(bar) * original.numpy() + np.sqrt(1 - bar) * noise.numpy()
    return torch.from_numpy(np.where(mask.numpy() == 1, z_t.numpy(), put_back)).to(z_t.dtype)


keep_in_one_line = lambda z_t, t, original, noise, mask, bars: (  # noqa: E731
    z_t * mask + (bars[t].sqrt() * original + (1 - bars[t]).sqrt() * noise) * (1 - mask)
)

# 0.6: five rows of the U-Net -------------------------------------------------------------------------------
# Written for six rows, and cut to five with the exercise.

PLANS_WRONG = [
    [(958, 7.5), (479, 7.5)],  # the customary guidance
    [(958, 1), (600, 7.5), (300, 7.5)],  # guided at the end, where all is decided
    [(300, 2), (200, 2), (100, 1)],  # begins far down, with noise that holds no picture
    [(990, 2), (958, 2), (925, 1)],  # all steps at the top, then one long jump
    [(958, 2)],  # a single jump
    [(958, 0), (639, 0), (319, 1)],  # two of three steps don't listen to the words
    [(319, 2), (639, 2), (958, 1)],  # from little noise to much
    [(958, -2), (639, -2), (319, 1)],  # the sign of the guidance
    [(958, 12), (479, 12)],  # far too loud
    [(958, 2), (958, 2), (958, 1)],  # asks three times at one place
    [(958, 2), (639, 2), (319, 2)],  # six rows: paints well, but costs too much
    [(958, 2), (639, 2), (319, 1), (100, 1)],  # six rows: one too many
    [(958 - 33 * i, 7.5) for i in range(29)],  # the chapter's painting: fifty-eight rows
    [(958 - 160 * i, 1.0) for i in range(6)],  # six steps at scale 1: six rows
    [(2, 958), (2, 639), (1, 319)],  # the pairs turned round: (scale, timestep)
]

PLANS_RIGHT = [
    [(958, 2), (639, 2), (319, 1)],
    [[958, 2], [600, 2], [300, 1]],  # lists for pairs
    [(t, np.float64(s)) for t, s in zip(np.array([958, 600, 300]), (2, 2, 1))],  # NumPy's numbers
    list(zip((958, 600, 300), (2.0, 2.0, 1.0))),
]

# 0.7: how many pictures are enough ------------------------------------------------------------------------


def needed(first, second, times):
    return {
        "60 % against 90 %": first,
        "75 % against 90 %": second,
        "half as wide, times as many": times,
    }


def until_they_touch(low, high, sigmas=1.96):
    """The two reaches together are as long as the distance, solved for n."""
    reach = (low * (1 - low)) ** 0.5 + (high * (1 - high)) ** 0.5
    return (sigmas * reach / (high - low)) ** 2


def counted_up(low, high):
    """The first whole n at which the upper end of one is below the lower end of the other."""
    n = 1
    while low + 1.96 * math.sqrt(low * (1 - low) / n) >= high - 1.96 * math.sqrt(high * (1 - high) / n):
        n += 1
    return n


def wilson_reach(share, n, side):
    """An end of section 0.6's own interval."""
    extra = 1.96**2 / n
    half = (extra * share * (1 - share) + extra**2 / 4) ** 0.5
    return (share + extra / 2 + side * half) / (1 + extra)


def counted_with_wilson(low, high):
    return next(n for n in range(1, 1000) if wilson_reach(low, n, 1) < wilson_reach(high, n, -1))


def solved_by_sympy(low, high):
    n = sympy.symbols("n", positive=True)
    reaches = sum(sympy.Rational(196, 100) * sympy.sqrt(p * (1 - p) / n) for p in (low, high))
    return float(sympy.solve(sympy.Eq(reaches, high - low), n)[0])


NEEDED_WRONG = [
    needed(27, 92, 2),  # twice as many pictures for half the width
    needed(27, 92, 2**0.5),  # the root for the square
    needed(27, 92, 16),  # squared twice
    needed(27, 92, 0.25),  # the fraction upside down
    needed(27, 92, 400),  # how many, not how many times
    needed(27, 92, 300),  # how many more
    needed(27, 54, 4),  # half the distance: twice as many
    needed(27, 27, 4),  # the second pair not worked out
    needed(92, 27, 4),  # the two pairs exchanged
    needed(5.16, 9.58, 4),  # the root of n
    needed(54, 184, 4),  # pictures at both scales together
    needed(7, 72, 4),  # those still to be painted, twenty being there
    needed(7, 24, 4),  # 1.96 forgotten
    needed(14, 47, 4),  # the difference's own interval: the reaches' squares added
    needed(15, 48, 4),  # and rounded up
    needed(10.2, 32.0, 4),  # the reach of the lower share alone
    needed(3.84, 15.4, 4),  # the reach of the higher share alone
    needed(41, 128, 4),  # each reach half the distance, with the wider interval's for both
    needed(15.4, 61.5, 4),  # and with the narrower interval's for both
    needed(107, 367, 4),  # the distance halved, the reaches not
    needed(4.65, 13.2, 4),  # the root around p (1 - p) forgotten
    needed(23, 23, 4),  # one number for both
    needed(20, 20, 4),  # twenty are enough: the bars hardly overlap
    needed(27, 92, 1),  # the interval is the spread of the pictures: more of them change nothing
    needed(0.0027, 0.0092, 4),  # shares in percent put into the distance only
]

NEEDED_RIGHT = [
    needed(27, 92, 4),
    needed(26.6, 91.7, 4.0),  # not rounded up
    needed(until_they_touch(0.6, 0.9), until_they_touch(0.75, 0.9), 2**2),
    needed(counted_up(0.6, 0.9), counted_up(0.75, 0.9), 4),
    needed(counted_with_wilson(0.6, 0.9), counted_with_wilson(0.75, 0.9), 4.12),  # as the cell below measures
    needed(solved_by_sympy(0.6, 0.9), solved_by_sympy(0.75, 0.9), 4),
    needed(30, 95, 4),  # to the nearest five
    needed(until_they_touch(0.6, 0.9, 2), until_they_touch(0.75, 0.9, 2), 4),  # 2 for 1.96
    needed(*np.ceil([until_they_touch(0.6, 0.9), until_they_touch(0.75, 0.9)]), np.float64(4)),  # NumPy's
    {"half as wide, times as many": 4, "75 % against 90 %": 91, "60 % against 90 %": 28},  # another order
    needed(Fraction(2663, 100), Fraction(9174, 100), Fraction(4)),
    needed(27, 4 * 27, 4),  # half the distance: four times as many; within a quarter
    needed(*(int(np.int64(value)) for value in (27, 92, 4))),
]

BANK = {
    "0.1": {"wrong": MOVES_WRONG, "right": MOVES_RIGHT},
    "0.2": {"wrong": ROWS_WRONG, "right": ROWS_RIGHT},
    "0.3": {"wrong": COEFFICIENTS_WRONG, "right": COEFFICIENTS_RIGHT},
    "0.4": {
        "wrong": [
            only_the_halves_repaired,
            only_the_noise_repaired,
            exchanged_twice,
            both_noises_of_t_next,
            the_other_noise_changed,
            picture_factors_exchanged,
            guided_once_too_much,
            no_roots,
            stops_at_the_picture,
            always_seven_and_a_half,
            always_33_further,
            one_guess_per_batch,
            batch_doubled,
            words_alone,
            asked_for_t_next,
            nothing_returned,
            writes_into_the_latents,
        ],
        "right": [
            repaired,
            repaired_in_the_guidance_line,
            by_the_equations,
            two_coefficients,
            asked_one_after_the_other,
            contexts_turned_round,
            in_double,
        ],
    },
    "0.5": {
        "wrong": [
            mask_inverted,
            clean_original,
            root_of_the_noise_forgotten,
            both_roots_forgotten,
            noise_drawn_anew,
            one_timestep_early,
            one_timestep_late,
            original_and_noise_exchanged,
            noise_leaks_into_the_mask,
            latents_drowned_too,
            always_the_right_half,
            written_into_the_latents,
            original_drowned_in_place,
            evenly_in_t,
            first_channel_only,
            nothing_handed_back,
            only_the_drowned,
        ],
        "right": [
            as_in_the_chapter,
            with_where,
            with_lerp,
            copied_and_overwritten,
            channel_by_channel,
            in_numpy,
            keep_in_one_line,
        ],
    },
    "0.6": {"wrong": PLANS_WRONG, "right": PLANS_RIGHT},
    "0.7": {"wrong": NEEDED_WRONG, "right": NEEDED_RIGHT},
}
