"""Can section 14.11's test for copies find any? The short form, made to learn pictures by heart.

    python benchmarks/by_heart.py                       train, learn, write by_heart.json and .npz (6 minutes)
    python benchmarks/by_heart.py --run runs/pocket     the same with a short form that is trained already

The short form is trained by pocket.toml. Then five copies of its U-Net are each trained further, with nothing
but eight of its training pictures: other eight and other batches for each copy. Every copy paints captions of
its eight, each from several noises, and so does the U-Net as it was before, from the same noises.

The test asks how many paintings are nearer, in latents, to one of the first 400 training pictures than to any
of their twins, which are the same scenes with other random details. A painter without a memory for single
pictures comes to one half. "of_the_learned" counts paintings whose nearest among the 400 is one of the
eight: by chance, one in fifty. by_heart.npz: the two distances of every painting, before and after (copies,
paintings), and the first copy's paintings with the nearest picture and the nearest twin of each.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import trange

from adherence import SAMPLER
from common import HERE
from minisd import NoiseSchedule, StableDiffusion
from minisd.checkpoint import write_json
from minisd.files import whole
from minisd.scenes import caption, render_many
from minisd.training.data import to_tensor
from minisd.training.examples import Latents, latents_to_denoise
from minisd.training.loop import learning_rate, optimizers
from minisd.training.machine import machine
from minisd.training.objectives import UNetObjective
from minisd.training.recipe import POCKET_RECIPE, STAGES, read_recipe
from minisd.training.stages import SCHEDULE, Training
from minisd.unet import UNet

COPIES, LEARNED, PAIRS = 5, 8, 400  # networks; pictures that each learns by heart; pictures and twins
BATCH, PEAK, MUON_PEAK, WARMUP = 16, 3e-3, 2e-2, 5
GUIDANCE, SAMPLING_STEPS = 2.0, 8
CAPTION_SEED, NOISE_SEED, TWIN_SEED, LEARN_SEED = 12, 15, 2**31, 14


@dataclass
class ShortForm:
    """A finished short form, the pictures that it was trained on and their twins, both as scaled latents."""

    training: Training
    trained: Tensor
    twins: Tensor
    twin_pictures: np.ndarray
    said: list[str]

    @classmethod
    def of(cls, training: Training, pairs: int) -> "ShortForm":
        latents, scenes = training.open_latents(), training.scenes[:pairs]
        pictures = render_many(scenes, range(TWIN_SEED, TWIN_SEED + len(scenes)), training.recipe.size)
        with torch.no_grad():
            twins = latents.scale * training.open_decoder().encode(to_tensor(pictures)).mean
        rng = np.random.default_rng(CAPTION_SEED)
        trained = latents.scale * torch.from_numpy(latents.mean[: len(scenes)]).float()
        return cls(training, trained, twins, pictures, [caption(scene, rng) for scene in scenes])

    def paint(
        self, unet: UNet, said: list[str], seed: int, guidance_scale: float
    ) -> tuple[np.ndarray, Tensor]:
        """Pictures (n, side, side, 3) in [0, 1], and their latents."""
        parts = self.training.open_tokenizer(), self.training.open_text(), unet, self.training.open_decoder()
        pipe = StableDiffusion(*parts, SCHEDULE)
        asked = {"num_inference_steps": SAMPLING_STEPS, "guidance_scale": guidance_scale, "sampler": SAMPLER}
        *_, last = pipe.stream(said, seed=seed, **asked)
        return pipe.decode(last.latents), last.latents

    def compared(self, z: Tensor) -> dict[str, np.ndarray]:
        """How far each painting is from the nearest training picture and twin, and which those are."""
        width = z[0].numel() ** 0.5
        near = torch.cdist(z.flatten(1), self.trained.flatten(1)).min(1)
        far = torch.cdist(z.flatten(1), self.twins.flatten(1)).min(1)
        return {
            "to_trained": (near.values / width).numpy(),
            "to_twins": (far.values / width).numpy(),
            "which": near.indices.numpy(),
            "which_twin": far.indices.numpy(),
        }


def learned_by_heart(short: ShortForm, first: int, number: int, steps: int, seed: int) -> UNet:
    """A copy of the short form's U-Net, trained further with `number` of its pictures, from `first` on."""
    training, some = short.training, slice(first, first + number)
    latents, recipe = training.open_latents(), training.recipe.unet
    few = Latents(latents.mean[some], latents.std[some], latents.scale)
    batch = latents_to_denoise(
        training.scenes[some], few, training.open_tokenizer(), recipe.caption_dropout, 1000
    )
    net = training.open_unet().requires_grad_(True)
    schedule = NoiseSchedule.scaled_linear()
    objective = UNetObjective(net, training.open_text(), schedule, few.scale, recipe.snr_gamma)
    steppers = optimizers(objective, recipe)
    for k in trange(steps, desc=f"pictures {first} to {first + number - 1}"):
        objective.zero_grad()
        objective(*batch(np.random.default_rng((LEARN_SEED, seed, k)), BATCH)).backward()
        for stepper, peak in zip(steppers, (PEAK, MUON_PEAK), strict=False):
            stepper.param_groups[0]["lr"] = learning_rate(k, steps, peak, WARMUP)
            stepper.step()
    return net.eval()


def counts(found: dict[str, np.ndarray], learned: range) -> dict[str, int]:
    """How many paintings are nearer to a training picture, and how many to one of those learned by heart."""
    return {
        "n": len(found["which"]),
        "nearer": int((found["to_trained"] < found["to_twins"]).sum()),
        "of_the_learned": int(np.isin(found["which"], learned).sum()),
    }


def results(
    training: Training, copies: int, learned: int, pairs: int, steps: int, each: int
) -> tuple[dict, dict[str, np.ndarray]]:
    """All of by_heart.json, and the arrays of by_heart.npz."""
    short, runs, arrays = ShortForm.of(training, pairs), [], {}
    kept: dict[str, list[np.ndarray]] = {"to_trained": [], "to_twins": []}
    for i in range(copies):
        ours = range(i * learned, (i + 1) * learned)
        asked = [short.said[j] for j in ours] * each
        run = {}
        for when in ("before", "after"):
            net = (
                training.open_unet()
                if when == "before"
                else learned_by_heart(short, ours.start, learned, steps, i)
            )
            with torch.no_grad():
                pictures, z = short.paint(net, asked, NOISE_SEED + i, GUIDANCE)
            found = short.compared(z)
            run[when] = counts(found, ours)
            for name, of_all in kept.items():
                of_all.append(found[name])
        runs.append(run)
        print(f"copy {i + 1} of {copies}:", run)
        if i == 0:
            shown = [
                training.open_pictures()[found["which"][:learned]],
                short.twin_pictures[found["which_twin"][:learned]],
            ]
            painted = (255 * pictures[:learned]).round().astype(np.uint8)
            arrays = dict(zip(("painted", "nearest", "nearest_twin"), (painted, *shown), strict=True))
    for name, of_all in kept.items():
        arrays[name] = np.stack(of_all).reshape(copies, 2, -1).transpose(1, 0, 2).astype(np.float16)
    found = {
        "machine": machine(),
        "steps": steps,
        "learned": learned,
        "pairs": pairs,
        "guidance_scale": GUIDANCE,
        "runs": runs,
        "distance": by_scale(short),
    }
    return found, arrays


def by_scale(short: ShortForm, number: int = 64) -> dict[str, float]:
    """How far the short form's paintings are from the nearest training picture, by the guidance scale."""
    net, found = short.training.open_unet(), {}
    with torch.no_grad():
        for scale in (1.0, GUIDANCE, short.training.recipe.guidance_scale):
            _, z = short.paint(net, short.said[:number], NOISE_SEED, scale)
            found[f"{scale:g}"] = round(float(short.compared(z)["to_trained"].mean()), 4)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--run", type=Path, help="folder of the short form; what is not trained there yet is trained now")
    add("--config", type=Path, default=POCKET_RECIPE, help="its recipe (pocket.toml)")
    add("--copies", type=int, default=COPIES, help="networks that learn by heart")
    add("--learned", type=int, default=LEARNED, help="pictures that each of them learns")
    add("--pairs", type=int, default=PAIRS, help="training pictures and twins of the test")
    add("--steps", type=int, default=220, help="steps of learning by heart")
    add("--each", type=int, default=4, help="paintings of every picture's caption")
    add("--out", type=Path, default=HERE, help="folder for by_heart.json and by_heart.npz")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as empty:
        training = Training(read_recipe(options.config), options.run or empty, device="cpu")
        training.train(*STAGES["all"])
        wanted = (options.copies, options.learned, options.pairs, options.steps, options.each)
        found, arrays = results(training, *wanted)
    options.out.mkdir(parents=True, exist_ok=True)
    with whole(options.out / "by_heart.npz") as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's types know no such names
    write_json(found, options.out / "by_heart.json")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
