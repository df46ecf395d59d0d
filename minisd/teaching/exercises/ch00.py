"""The checks of chapter 0: A picture from words. It spoils the exercises to read this first."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...pipeline import StableDiffusion
from ...scenes import caption, sample
from ...scenes.judge import Judge
from ...schedule import NoiseSchedule
from ..kinds import Build, Derive, FindTheBug, Mistake, Predict, ReachTheMark, RuleBroken


@cache
def tiny() -> StableDiffusion:
    return StableDiffusion.from_pretrained("tiny", device="cpu")


# ---- 0.1 predict: how far one word reaches

SENTENCE = "a red house in the snow at night"
CHANGED = {
    "red becomes blue": "a blue house in the snow at night",
    "night becomes sunset": "a red house in the snow at sunset",
    "nothing is said": "",
}


@cache
def vectors_moved() -> dict[str, int]:
    """How many of the 77 vectors differ from those of SENTENCE."""
    with torch.inference_mode():
        context = tiny().encode_prompt([SENTENCE, *CHANGED.values()])
    moved = (context[1:] - context[0]).abs().amax(dim=-1) > 1e-4
    return dict(zip(CHANGED, moved.sum(dim=1).tolist(), strict=True))


# ---- 0.2 predict: how much work a picture is


def rows_of(module: torch.nn.Module, paint: Callable[[], Any]) -> int:
    """How many latents, counted singly, go through a module while `paint()` runs."""
    rows: list[int] = []
    hook = module.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    try:
        paint()
    finally:
        hook.remove()
    return sum(rows)


@cache
def work() -> dict[str, int]:
    """Rows of latents in 10 steps, from prompts of three sentences, or one sentence over a picture."""
    pipe, three = tiny(), ["a red car", "a blue tree", "a pink tent"]
    grey = np.full((1, 128, 128, 3), 0.5, dtype=np.float32)

    def rows(module: torch.nn.Module, prompt: Any, **options: Any) -> int:
        return rows_of(module, lambda: pipe(prompt, num_inference_steps=10, output_type="np", **options))

    return {
        "U-Net, three sentences": rows(pipe.unet, three),
        "U-Net, three sentences, guidance 1": rows(pipe.unet, three, guidance_scale=1),
        "U-Net, one sentence over a picture, strength 0.3": rows(
            pipe.unet, three[0], image=grey, strength=0.3
        ),
        "decoder, three sentences": rows(pipe.vae.decoder, three),
    }


# ---- 0.3 derive: a step without the guessed picture


def coefficients(ab_t: float, ab_next: float) -> tuple[float, float]:
    """(A, B) of z_next = A z_t + B noise."""
    return (ab_next / ab_t) ** 0.5, (1 - ab_next) ** 0.5 - (ab_next * (1 - ab_t) / ab_t) ** 0.5


# ---- 0.4 find the bug: a step that paints pebbles


def one_step(
    z_t: Tensor, t: int, t_next: int, both: Tensor, unet: Callable, scale: float, alphas_cumprod: Tensor
) -> Tensor:
    no_words, words = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    noise_hat = no_words + scale * (words - no_words)
    here, there = alphas_cumprod[t], alphas_cumprod[t_next]
    z_hat = (z_t - (1 - here).sqrt() * noise_hat) / here.sqrt()
    return there.sqrt() * z_hat + (1 - there).sqrt() * noise_hat


def pebbles(z_t, t, t_next, both, unet, scale, alphas_cumprod, swapped=True, noise_at=0, picture_at=1):
    """`one_step` with slips: the halves swapped, the wrong timestep for the noise or the picture."""
    first, second = unet(torch.cat([z_t, z_t]), t, both).chunk(2)
    words, no_words = (first, second) if swapped else (second, first)
    noise_hat = no_words + scale * (words - no_words)
    bars = alphas_cumprod[[t, t_next]]
    z_hat = (z_t - (1 - bars[0]).sqrt() * noise_hat) / bars[0].sqrt()
    return bars[picture_at].sqrt() * z_hat + (1 - bars[noise_at]).sqrt() * noise_hat


def given(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    return pebbles(z_t, t, t_next, both, unet, scale, alphas_cumprod)


def swapped_only(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    return pebbles(z_t, t, t_next, both, unet, scale, alphas_cumprod, noise_at=1)


def noisy_only(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    return pebbles(z_t, t, t_next, both, unet, scale, alphas_cumprod, swapped=False)


def stays(z_t, t, t_next, both, unet, scale, alphas_cumprod):
    return pebbles(z_t, t, t_next, both, unet, scale, alphas_cumprod, swapped=False, noise_at=1, picture_at=0)


def stand_in(z: Tensor, t: int, context: Tensor) -> Tensor:
    """What plays the U-Net in the check: it heeds all three inputs."""
    told = context.mean(dim=(1, 2)).view(-1, 1, 1, 1)
    return 0.6 * z + told * torch.cos(z) + 0.0003 * t


def steps(rng: torch.Generator) -> list[tuple]:
    bars = NoiseSchedule.scaled_linear().alphas_cumprod
    cases = []
    for batch, height, width, t, t_next, scale in (
        (1, 16, 16, 958, 925, 7.5),
        (2, 8, 12, 397, 364, 4.0),
        (1, 4, 8, 1, 0, 7.5),
        (1, 8, 8, 628, 331, 1.0),
        (1, 8, 8, 628, 331, 0.0),
    ):
        z_t = torch.randn(batch, 4, height, width, generator=rng)
        both = torch.randn(2 * batch, 7, 5, generator=rng)
        cases.append((z_t, t, t_next, both, stand_in, scale, bars))
    return cases


# ---- 0.5 build: keep a part of a picture


def keep_outside(
    z_t: Tensor, t: int, original: Tensor, noise: Tensor, mask: Tensor, alphas_cumprod: Tensor
) -> Tensor:
    alpha_bar = alphas_cumprod[t]
    drowned = alpha_bar.sqrt() * original + (1 - alpha_bar).sqrt() * noise
    return mask * z_t + (1 - mask) * drowned


def keepings(rng: torch.Generator) -> list[tuple]:
    bars = NoiseSchedule.scaled_linear().alphas_cumprod
    cases = []
    for batch, height, width, t in ((1, 16, 16, 958), (2, 8, 12, 397), (1, 8, 16, 0), (3, 4, 4, 999)):
        z_t, original, noise = torch.randn(3, batch, 4, height, width, generator=rng)
        mask = (torch.rand(1, 1, height, width, generator=rng) < 0.5).float()
        cases.append((z_t, t, original, noise, mask, bars))
    return cases


def mixed_by(root: Callable[[Tensor], Tensor], first: int) -> Callable:
    """`keep_outside` with other factors than the roots, or with the two of them exchanged."""

    def wrong(z_t, t, original, noise, mask, alphas_cumprod):
        factors = root(alphas_cumprod[t]), root(1 - alphas_cumprod[t])
        drowned = factors[first] * original + factors[1 - first] * noise
        return mask * z_t + (1 - mask) * drowned

    return wrong


# ---- 0.6 reach the mark: the work cut to a twelfth

SENTENCES, ROWS = 60, 5
SEED = 4_242  # sentences and noises that the notebook doesn't paint


@cache
def request() -> tuple[list, Tensor, Tensor]:
    """Scenes of two objects, the contexts of no words and of their captions, and the noise to start from."""
    rng = np.random.default_rng(SEED)
    scenes = [sample(rng, "held_out", 2, full=True) for _ in range(SENTENCES)]
    with torch.inference_mode():
        both = tiny().encode_prompt([""] * SENTENCES + [caption(scene, rng) for scene in scenes])
    noise = torch.randn(SENTENCES, 4, 16, 16, generator=torch.Generator().manual_seed(SEED))
    return scenes, both, noise


def sentences_right(plan: Any) -> int:
    """How many of the sentences the judge finds in what a plan of (timestep, scale) pairs paints."""
    pairs = checked(plan)
    rows = sum(1 if scale == 1 else 2 for _, scale in pairs)
    if rows > ROWS:
        raise RuleBroken(f"your plan costs {rows} rows of the U-Net for each picture; {ROWS} are allowed.")
    return painted(pairs)


def checked(plan: Any) -> tuple[tuple[int, float], ...]:
    """The plan as a tuple. Raises RuleBroken where it is none."""
    try:
        pairs = tuple((int(t), float(scale)) for t, scale in plan)
    except (TypeError, ValueError):
        raise RuleBroken(
            "a plan is a list of pairs (timestep, scale), such as [(958, 4), (300, 1)]."
        ) from None
    times = [t for t, _ in pairs]
    if not pairs or any(not 1 <= t <= 999 for t in times):
        raise RuleBroken("a plan has at least one step, and its timesteps lie between 1 and 999.")
    if any(later >= earlier for earlier, later in zip(times, times[1:])):
        raise RuleBroken("painting goes from much noise to little: each timestep is smaller than the last.")
    return pairs


@cache
def painted(pairs: tuple[tuple[int, float], ...]) -> int:
    pipe, (scenes, both, z) = tiny(), request()
    bars = pipe.schedule.alphas_cumprod
    with torch.inference_mode():
        for (t, scale), t_next in zip(pairs, [t for t, _ in pairs[1:]] + [0], strict=True):
            context = both[SENTENCES:] if scale == 1 else both
            noise_hat = pipe.noise_predictor(context, scale)(z, t)
            z_hat = (z - (1 - bars[t]).sqrt() * noise_hat) / bars[t].sqrt()
            z = bars[t_next].sqrt() * z_hat + (1 - bars[t_next]).sqrt() * noise_hat
        seen = Judge.load().read(pipe.decode(z))
    return sum(wanted.admits(found) for wanted, found in zip(scenes, seen, strict=True))


def scales_of(plan: Any) -> list[float]:
    return [scale for _, scale in checked(plan)]


# ---- 0.7 predict: how many pictures are enough


def interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval for a true share where this share of n was seen (Wilson 1927), as in section 0.6."""
    extra = 1.96**2 / n
    half = (extra * share * (1 - share) + extra**2 / 4) ** 0.5
    return (share + extra / 2 - half) / (1 + extra), (share + extra / 2 + half) / (1 + extra)


def pictures_needed() -> dict[str, float]:
    """From how many pictures on two intervals no longer overlap, or one is half as wide as with 100."""

    def apart(low: float, high: float) -> int:
        return next(n for n in range(1, 1000) if interval(low, n)[1] < interval(high, n)[0])

    def width(n: int) -> float:
        low, high = interval(0.6, n)
        return high - low

    half = next(n for n in range(100, 1000) if width(n) <= width(100) / 2)
    return {
        "60 % against 90 %": apart(0.6, 0.9),
        "75 % against 90 %": apart(0.75, 0.9),
        "half as wide, times as many": half / 100,
    }


EXERCISES = [
    Predict(
        number="0.1",
        name="moved",
        section="0.3",
        minutes=5,
        measure=vectors_moved,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"red becomes blue": 1},
                "You let only the word's own vector move. Figure 0.5 changed one word, too: how many bars "
                "are there?",
            ),
            Mistake(
                lambda: {"red becomes blue": 7},
                "You counted up to the last word. The table has 77 rows, and those after the last word hold "
                "vectors, too: can they look back?",
            ),
            Mistake(
                lambda: {"red becomes blue": 77},
                "You let all of them move. Which of them stand before the changed word, and can they see it?",
            ),
            Mistake(
                lambda: {"red becomes blue": 76},
                "One too many for red: the first row of the table is not the first word. Look at the pieces "
                "that the tokenizer printed.",
            ),
            Mistake(
                lambda: {"nothing is said": 77},
                "An empty sentence still has its markers. One of them is where it was before, with nothing "
                "in front of it.",
            ),
            Mistake(
                lambda: {"nothing is said": 9},
                "You counted the words and a marker. The rows that hold the same end marker in both tables "
                "have different rows in front of them.",
            ),
        ),
    ),
    Predict(
        number="0.2",
        name="rows",
        section="0.6",
        minutes=5,
        measure=work,
        within=0,
        mistakes=(
            Mistake(
                lambda: {"U-Net, three sentences": 30},
                "You counted one guess in each step. How many does (0.6) need?",
            ),
            Mistake(
                lambda: {"U-Net, three sentences": 20},
                "That is the work for one picture: every sentence has latents of its own.",
            ),
            Mistake(
                lambda: {"U-Net, three sentences": 10},
                "You counted calls. Count rows: every sentence has latents of its own, and they go in for "
                "both guesses.",
            ),
            Mistake(
                lambda: {"U-Net, three sentences, guidance 1": 60},
                "Put s = 1 into (0.6): is there anything left of the guess without words?",
            ),
            Mistake(
                lambda: {"U-Net, one sentence over a picture, strength 0.3": 20},
                "You walked all ten steps. Started from a picture, only a share of them is left.",
            ),
            Mistake(
                lambda: {"U-Net, one sentence over a picture, strength 0.3": 14},
                "You left out the share that should be walked: a low strength means little work.",
            ),
            Mistake(
                lambda: {"U-Net, one sentence over a picture, strength 0.3": 3},
                "The number of steps is right, but each of them still needs two guesses.",
            ),
            Mistake(
                lambda: {"decoder, three sentences": 30},
                "You decoded after every step. Section 0.2 does so to watch; what does the machine need?",
            ),
        ),
    ),
    Derive(
        number="0.3",
        name="coefficients",
        section="0.5",
        minutes=10,
        right=coefficients,
        ranges={"ab_t": (0.05, 0.5), "ab_next": (0.55, 0.95)},
        mistakes=(
            Mistake(
                lambda ab_t, ab_next: (ab_next**0.5, (1 - ab_next) ** 0.5),
                "These are the factors of the guessed picture and of the noise in (0.5). The guessed picture "
                "has to go: put (0.3) in for it.",
            ),
            Mistake(
                lambda ab_t, ab_next: ((ab_next / ab_t) ** 0.5, (1 - ab_next) ** 0.5),
                "A is right. The guessed noise comes in twice, once by itself and once hidden in the guessed "
                "picture: B has only the first.",
            ),
            Mistake(
                lambda ab_t, ab_next: ((ab_next / ab_t) ** 0.5, -((ab_next * (1 - ab_t) / ab_t) ** 0.5)),
                "A is right. B takes out the noise of the guessed picture and forgets the noise that (0.5) "
                "puts back in.",
            ),
            Mistake(
                lambda ab_t, ab_next: (
                    (ab_next / ab_t) ** 0.5,
                    (1 - ab_next) ** 0.5 + (ab_next * (1 - ab_t) / ab_t) ** 0.5,
                ),
                "A is right. Mind the sign in the numerator of (0.3): B is a difference.",
            ),
            Mistake(
                lambda ab_t, ab_next: (
                    (ab_next / ab_t) ** 0.5,
                    (1 - ab_next) ** 0.5 - (ab_next * (1 - ab_t)) ** 0.5,
                ),
                "A is right. In (0.3) the noise is divided as well as the latents.",
            ),
            Mistake(
                lambda ab_t, ab_next: (
                    (ab_t / ab_next) ** 0.5,
                    (1 - ab_t) ** 0.5 - (ab_t * (1 - ab_next) / ab_next) ** 0.5,
                ),
                "This is the step back, from t' to t: the two timesteps have changed places.",
            ),
        ),
    ),
    FindTheBug(
        number="0.4",
        name="one_step",
        section="0.7",
        minutes=15,
        right=one_step,
        cases=steps,
        given=given,
        mistakes=(
            Mistake(
                swapped_only,
                "The pebbles are gone, and another fault is left: guidance leads away from your words. Which "
                "of the two contexts comes first in `both`?",
            ),
            Mistake(
                noisy_only,
                "Your words are heard now, but the pebbles are still there: after the step there is "
                "as much noise as before it.",
            ),
            Mistake(
                stays,
                "The noise is that of the next timestep now; the picture still has the factor of this one.",
            ),
        ),
    ),
    Build(
        number="0.5",
        name="keep_outside",
        section="0.8",
        minutes=15,
        right=keep_outside,
        cases=keepings,
        mistakes=(
            Mistake(
                lambda z_t, t, original, noise, mask, bars: mask * z_t + (1 - mask) * original,
                "You paste the clean picture into noisy latents. The network is told one timestep for all "
                "places: how deep must the kept part be drowned?",
            ),
            Mistake(
                lambda z_t, t, original, noise, mask, bars: keep_outside(
                    z_t, t, original, noise, 1 - mask, bars
                ),
                "The mask is inverted: you keep what should be repainted.",
            ),
            Mistake(
                lambda z_t, t, original, noise, mask, bars: keep_outside(
                    bars[t].sqrt() * z_t + (1 - bars[t]).sqrt() * noise, t, original, noise, mask, bars
                ),
                "The part that is being painted is drowned a second time: z_t already has its noise.",
            ),
            Mistake(
                mixed_by(lambda bar: bar, 0),
                "The kept part has too little noise: the factors of (0.1) are roots.",
            ),
            Mistake(
                mixed_by(lambda bar: bar.sqrt(), 1),
                "In the kept part, picture and noise have each other's factors. What should it be at t = 0?",
            ),
            Mistake(
                lambda z_t, t, original, noise, mask, bars: mask * z_t + (1 - mask) * (original + noise),
                "The kept part is picture plus noise at full strength, at every depth: (0.1) weighs the two.",
            ),
        ),
    ),
    ReachTheMark(
        number="0.6",
        name="plan",
        section="0.11",
        minutes=20,
        score=sentences_right,
        what=f"of {SENTENCES} sentences, right",
        mark=54,
        higher=True,
        right=[(958, 2), (600, 2), (300, 1)],
        mistakes=(
            Mistake(
                None,
                "All your guided steps have a scale of 6 or more. With so few steps there is no time to "
                "correct guesses exaggerated that far: see what large scales do in section 0.6.",
                seen=lambda plan, cases: min((s for s in scales_of(plan) if s != 1), default=1.0) >= 6,
            ),
            Mistake(
                None,
                "None of your steps is guided, so the words are followed loosely. A guided step costs two "
                "rows: how many of them can you pay?",
                seen=lambda plan, cases: set(scales_of(plan)) == {1.0},
            ),
            Mistake(
                None,
                "Your first timestep says that most of the noise is gone, yet you start from pure noise.",
                seen=lambda plan, cases: checked(plan)[0][0] < 800,
            ),
            Mistake(
                None,
                "Two steps with guidance cost four rows, and a fifth is allowed. What would one more step, "
                "without guidance, be worth, and where?",
                seen=lambda plan, cases: len(checked(plan)) == 2 and 1.0 not in scales_of(plan),
            ),
        ),
    ),
    Predict(
        number="0.7",
        name="pictures_needed",
        section="0.6",
        minutes=10,
        measure=pictures_needed,
        within=0.25,
        mistakes=(
            Mistake(
                lambda: {"60 % against 90 %": 10},
                "You let one interval end where the other has its middle. Both of them reach towards each "
                "other: where do they meet?",
            ),
            Mistake(
                lambda: {"60 % against 90 %": 15},
                "You put the two reaches together as a root of squares. That tells how sure the difference "
                "is, which is another question; here two whole intervals have to find room side by side.",
            ),
            Mistake(
                lambda: {"60 % against 90 %": 20},
                "With twenty pictures they still overlap, as in figure 0.12. How much has each to shrink?",
            ),
            Mistake(
                lambda: {"75 % against 90 %": 60},
                "For half the distance you took about twice the pictures. Look where n stands in the "
                "formula: what do twice the pictures do to a reach?",
            ),
            Mistake(
                lambda: {"half as wide, times as many": 2},
                "An interval doesn't shrink with n itself: in the formula, n stands under a root.",
            ),
            Mistake(
                lambda: {"half as wide, times as many": 1.4},
                "You took the root the wrong way round: that many times as many pictures give an interval "
                "that is hardly narrower.",
            ),
        ),
    ),
]
