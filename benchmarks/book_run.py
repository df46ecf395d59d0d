"""What the full form of chapter 14 learned, and when: measured on a finished run, stored for the chapter.

    OMP_NUM_THREADS=1 torchrun --nproc_per_node 2 --no-python \\
        minisd train all --config minisd/training/book.toml --out runs/book
    python benchmarks/book_run.py runs/book         paint, judge, write book_run.json and book_run.npz

book_run.json: seconds and losses of the stages; how often everything that a sentence says is right, for four
kinds of sentences ("adherence"), and after each snapshot's steps, by the averaged weights ("when", "average")
and by those that the last step left ("raw"), always from the same noise; how many pictures that the judge
passes have no slip, and in how many true pictures of the same scenes, and in how many of their
reconstructions that the judge passes, one is found ("whole"); how many reconstructions of true pictures of
the four kinds' scenes the judge passes ("reconstructed"); of how many prompts the scene, or the very
sentence, was in the U-Net's training ("overlap"); how often a painting is nearer to a picture that was
trained on than to any twin that was not ("copying"). book_run.npz: sentences
from the same noises through the training ("film", and "film_raw" at its end), and the first pictures of the
test, none left out ("gallery"). What has been counted is kept in RUN/book_run.part.json, and a run that was
stopped goes on from there.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from adherence import GROUPS, SAMPLER, Prompt, model_painter, prompts, score
from common import HERE, ROOT, SEED, count
from minisd import StableDiffusion
from minisd.checkpoint import read_json, write_json
from minisd.files import whole
from minisd.scenes import caption, loosened, parse, render_many
from minisd.scenes.anatomy import examine
from minisd.scenes.judge import Judge
from minisd.scenes.render import FRAME
from minisd.tensors import checksum
from minisd.training.data import to_tensor, training_scenes
from minisd.training.recipe import BOOK_RECIPE, Recipe, read_recipe
from minisd.training.stages import SCHEDULE, Training
from minisd.training.store import seconds_taken

NETWORKS = ("clip-mixed", "clip-twins", "vae-corners", "vae-whole", "decoder", "unet")
MIXED = (
    "one object, seen pairs",
    "two objects, seen pairs",
)  # what the snapshots are asked for, half and half
FILM = (
    "a big red house on the grass by day",
    "a small blue tent in the snow at night",
    "a big yellow flower on the sand at sunset",
    "a green rocket left of an orange mushroom on the grass by day",
)
FILM_SEED, COPY_SEED, TWIN_SEED = SEED + 50_000_000, SEED + 60_000_000, SEED + 70_000_000
GALLERY = 6  # pictures of each kind of sentence
ENCODED = 50  # pictures that the encoder reads at a time


def enlarged(pictures: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1], (number, side, side, 3), as bytes of the size that the judge reads."""
    as_bytes = (255 * np.asarray(pictures)).round().astype(np.uint8)
    if as_bytes.shape[1] == FRAME:
        return as_bytes
    size = (FRAME, FRAME)
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BICUBIC)) for p in as_bytes])


class Run:
    """A finished training: its parts, its U-Net as it was on the way, and what has been counted so far."""

    def __init__(self, folder: Path, config: Path, steps: int, batch: int) -> None:
        self.folder, self.steps, self.batch = folder, steps, batch
        self.training = Training(read_recipe(config), folder, device="cpu")
        self.recipe = self.training.recipe
        self.tokenizer, self.text = self.training.open_tokenizer(), self.training.open_text()
        self.vae, self.latents = self.training.open_decoder(), self.training.open_latents()
        self.judge = Judge.load()
        self.part = folder / "book_run.part.json"
        weights = {"unet": checksum(self.training.open_unet().state_dict()), "steps": steps}
        known = read_json(self.part) if self.part.is_file() else {}
        self.counted = known if known.get("of") == weights else {"of": weights}

    def once(self, name: str, count_it: Callable[[], dict]) -> dict:
        """What is counted under a name: now, or when an earlier run did it."""
        if name not in self.counted:
            self.counted[name] = count_it()
            write_json(self.counted, self.part)
        print(name, {k: v for k, v in self.counted[name].items() if k in ("right", "n", "whole", "nearer")})
        return self.counted[name]

    def pipe(self, step: int | None = None, raw: bool = False) -> StableDiffusion:
        """The model with the U-Net as it was after so many steps, by default the last."""
        unet = self.training.open_unet(step, raw)
        parts = self.tokenizer, self.text, unet, self.vae
        return StableDiffusion(*parts, SCHEDULE, self.recipe.guidance_scale)

    def painter(self, pipe: StableDiffusion) -> Callable[[list[Prompt]], np.ndarray]:
        """Prompts with seeds in a row -> pictures as the judge reads them."""
        paint = model_painter(pipe, pipe.guidance_scale, self.steps)
        return lambda asked: enlarged(paint(asked))

    def right(self, pipe: StableDiffusion, asked: list[Prompt]) -> dict:
        """{"right", "n", "attributes": {name: {"right", "n"}}} of the pictures of some prompts."""
        found = score(self.judge, self.painter(pipe), asked, self.batch)
        return {key: found[key] for key in ("right", "n", "attributes")}


def added(counts: list[dict]) -> dict:
    """Several counts of `Run.right` as one: everything right of n, and the share of each attribute."""
    total: dict[str, dict] = {}
    for counted in counts:
        for name, one in counted["attributes"].items():
            before = total.get(name, {"right": 0, "n": 0})
            total[name] = {key: before[key] + one[key] for key in before}
    share = {name: round(one["right"] / one["n"], 4) for name, one in total.items() if one["n"]}
    return {"right": sum(c["right"] for c in counts), "n": sum(c["n"] for c in counts), "share": share}


def on_the_way(run: Run, n: int) -> dict:
    """The same n sentences of two kinds after each snapshot's steps: "when", "average" and "raw"."""
    found: dict[str, dict] = {"when": {}, "average": {}, "raw": {}}
    for step in run.recipe.unet.snapshots:
        for weights in ("average", "raw"):
            name, pipe = f"{weights} after {step}, {n} a kind", run.pipe(step, raw=weights == "raw")

            def both(pipe: StableDiffusion = pipe) -> dict:
                return added([run.right(pipe, prompts(kind, n // 2)) for kind in MIXED])

            counted = run.once(name, both)
            found[weights][str(step)] = {key: counted[key] for key in ("right", "n")}
            if weights == "average":
                found["when"][str(step)] = counted
    return found


def adherence(run: Run, n: int) -> dict:
    """Four kinds of sentences, by the finished model."""
    pipe = run.pipe()
    return {
        kind: run.once(f"{kind}, {n}", lambda k=kind: added([run.right(pipe, prompts(k, n))]))
        for kind in GROUPS
    }


def reconstructed(run: Run, n: int) -> dict:
    """The same scenes' true pictures through the autoencoder: how many of n of each kind the judge passes."""

    def right(asked: list[Prompt]) -> list[bool]:
        seen = run.judge.read(reconstructions(run, asked))
        return [prompt.scene.admits(scene) for prompt, scene in zip(asked, seen, strict=True)]

    return {
        kind: count([ok for i in range(0, n, run.batch) for ok in right(prompts(kind, n)[i : i + run.batch])])
        for kind in GROUPS
    }


def reconstructions(run: Run, asked: list[Prompt]) -> np.ndarray:
    """What the autoencoder makes of true pictures of the prompts' scenes, as the judge reads them."""
    drawn = render_many([p.scene for p in asked], [p.seed for p in asked], run.recipe.size, workers=1)
    with torch.inference_mode():
        back = run.vae.decode(run.vae.encode(to_tensor(drawn)).mean)
    return enlarged((back.permute(0, 2, 3, 1) / 2 + 0.5).clamp(0, 1).numpy())


def without_slips(run: Run, n: int) -> dict:
    """Of the pictures of n sentences of each kind that the judge passes ("right"), those without a slip."""

    def counted() -> dict:
        paint, right, slips = run.painter(run.pipe()), [], []
        for kind in GROUPS:
            asked = prompts(kind, n)
            pictures = np.concatenate([paint(asked[i : i + run.batch]) for i in range(0, n, run.batch)])
            for prompt, picture, seen in zip(asked, pictures, run.judge.read(pictures), strict=True):
                right.append(prompt.scene.admits(seen))
                slips.append(len(examine(picture, prompt.scene).slips) if right[-1] else 0)
        passed = [slip for slip, ok in zip(slips, right, strict=True) if ok]
        return {"n": len(right), "right": len(passed), "whole": passed.count(0)}

    return run.once(f"whole, {n} a kind", counted)


def slips_of_renders(n: int) -> dict:
    """The same count of slips in true pictures of the same scenes: how many of them have any."""
    asked = [prompt for kind in GROUPS for prompt in prompts(kind, n)]
    drawn = render_many([prompt.scene for prompt in asked], [prompt.seed for prompt in asked], FRAME)
    found = [examine(picture, prompt.scene).slips for picture, prompt in zip(drawn, asked, strict=True)]
    return {"n": len(found), "with_slips": sum(map(bool, found))}


def slips_of_reconstructions(run: Run, n: int) -> dict:
    """The same count in their reconstructions: how many the judge passes, and how many of these have any."""
    asked, slips = [prompt for kind in GROUPS for prompt in prompts(kind, n)], []
    for i in range(0, len(asked), run.batch):
        some = asked[i : i + run.batch]
        pictures = reconstructions(run, some)
        for prompt, picture, seen in zip(some, pictures, run.judge.read(pictures), strict=True):
            if prompt.scene.admits(seen):
                slips.append(len(examine(picture, prompt.scene).slips))
    return {"n": len(asked), "right": len(slips), "with_slips": sum(map(bool, slips))}


def overlap(recipe: Recipe, n: int, processes: int) -> dict:
    """Of how many of n prompts of each kind the U-Net's training held the scene, and the very sentence.

    Needs no weights: training draws what it says in step k from a generator that is seeded by k, and the same
    draws are made here again (examples.latents_to_denoise, loop.Loop.take_step). A scene is the same if what
    can be said of it is. Sentences are compared word for word, the empty caption apart.
    """
    scenes = training_scenes(recipe.pictures, recipe.seed)
    share, said = recipe.unet.batch_size // processes, set()
    for step in range(recipe.unet.steps):
        for place in range(processes):
            rng = np.random.default_rng((recipe.seed, step, 1 + place))
            texts = [caption(loosened(scenes[i], rng), rng) for i in rng.integers(len(scenes), size=share)]
            dropped = rng.random(share) < recipe.unet.caption_dropout
            said |= {text for text, drop in zip(texts, dropped, strict=True) if not drop}
    found = {"captions": recipe.unet.steps * recipe.unet.batch_size, "different": len(said)}
    known = set(scenes)
    kinds = {
        kind: {
            "n": n,
            "scenes": sum(prompt.scene in known for prompt in prompts(kind, n)),
            "sentences": sum(prompt.text in said for prompt in prompts(kind, n)),
        }
        for kind in GROUPS
    }
    return found | {"kinds": kinds}


def film(run: Run) -> dict[str, np.ndarray]:
    """Sentences after each snapshot's steps, from the same noises: uint8 (steps, sentences, 128, 128, 3)."""

    def painted(step: int | None, raw: bool) -> np.ndarray:
        asked = [Prompt(parse(text), text, FILM_SEED) for text in FILM]
        return run.painter(run.pipe(step, raw))(asked)

    averaged = [painted(step, raw=False) for step in run.recipe.unet.snapshots or (None,)]
    return {"film": np.stack(averaged), "film_raw": painted(None, raw=True)}


def gallery(run: Run) -> tuple[np.ndarray, list[dict]]:
    """The first pictures of each kind of sentence, in turn, and what was asked for and found in each."""
    paint, rows = run.painter(run.pipe()), []
    for kind, (split, _) in GROUPS.items():
        asked = prompts(kind, GALLERY)
        pictures = paint(asked)
        rows.append([(split, *one) for one in zip(asked, pictures, run.judge.read(pictures), strict=True)])
    turns = [one for turn in zip(*rows, strict=True) for one in turn]
    told = []
    for split, prompt, picture, seen in turns:
        right = prompt.scene.admits(seen)
        slips = len(examine(picture, prompt.scene).slips) if right else 0
        told.append({"prompt": prompt.text, "split": split, "right": right, "slips": slips})
    return np.stack([picture for _, _, picture, _ in turns]), told


def nearest(z: torch.Tensor, others: torch.Tensor) -> list[float]:
    """The root mean square distance of each painting's latents to the nearest of the others."""
    least = torch.cdist(z.flatten(1), others.flatten(1)).amin(1)
    return (least / z[0].numel() ** 0.5).tolist()


def copying(run: Run, paintings: int, twins: int) -> dict:
    """How many paintings of training scenes are nearer to a picture that was trained on than to any twin.

    Twins are the same scenes with other random details. A painter without a memory for single pictures comes
    to one half.
    """

    def counted() -> dict:
        scenes = run.training.scenes[:twins]
        drawn = render_many(scenes, range(TWIN_SEED, TWIN_SEED + len(scenes)), run.recipe.size)
        scale, painted = run.latents.scale, latents_of_paintings(run, paintings)
        with torch.inference_mode():
            parts = [to_tensor(drawn[i : i + ENCODED]) for i in range(0, len(drawn), ENCODED)]
            not_trained = scale * torch.cat([run.vae.encode(part).mean for part in parts])
        trained = scale * torch.from_numpy(run.latents.mean[: len(scenes)]).float()
        to_trained, to_twins = nearest(painted, trained), nearest(painted, not_trained)
        nearer = count([a < b for a, b in zip(to_trained, to_twins, strict=True)])
        distances = {"to_trained": to_trained, "to_twins": to_twins}
        return {
            "nearer": nearer["right"],
            "n": nearer["n"],
            "pictures": len(scenes),
            **{name: [round(x, 4) for x in values] for name, values in distances.items()},
        }

    return run.once(f"copying, {paintings} of {twins}", counted)


def latents_of_paintings(run: Run, number: int) -> torch.Tensor:
    """What the finished model makes of captions of the first training scenes: (number, 4, height, width)."""
    pipe, rng, found = run.pipe(), np.random.default_rng(COPY_SEED), []
    said = [caption(loosened(scene, rng), rng) for scene in run.training.scenes[:number]]
    for i in range(0, len(said), run.batch):
        some = said[i : i + run.batch]
        *_, last = pipe.stream(some, num_inference_steps=run.steps, seed=COPY_SEED + i, sampler=SAMPLER)
        found.append(last.latents)
    return torch.cat(found)


def results(run: Run, config: Path, options: argparse.Namespace) -> tuple[dict, dict[str, np.ndarray]]:
    """All of book_run.json, and the arrays of book_run.npz."""
    done = {name: read_json(run.folder / f"{name}.json") for name in NETWORKS}
    pictures, told = gallery(run)
    found = {
        "config": config.resolve().relative_to(ROOT).as_posix()
        if ROOT in config.resolve().parents
        else config.name,
        "machine": done["unet"]["machine"] | {"processes": done["unet"]["processes"]},
        "seconds": {stage: round(seconds, 1) for stage, seconds in seconds_taken(run.folder).items()},
        "losses": {name: [round(loss, 5) for loss in one["losses"]] for name, one in done.items()},
        "steps": run.recipe.unet.steps,
        "snapshots": list(run.recipe.unet.snapshots),
        "sampling_steps": run.steps,
        "adherence": adherence(run, options.n),
        "reconstructed": reconstructed(run, options.n),
        **on_the_way(run, options.when_n),
        "whole": without_slips(run, options.examined)
        | {
            "renders": slips_of_renders(options.examined),
            "reconstructed": slips_of_reconstructions(run, options.examined),
        },
        "overlap": overlap(run.recipe, options.n, done["unet"]["processes"]),
        "copying": copying(run, options.paintings, options.twins),
        "film": list(FILM),
        "gallery": told,
    }
    return found, film(run) | {"gallery": pictures}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("run", type=Path, help="folder of a finished training")
    add("--config", type=Path, default=BOOK_RECIPE, help="its recipe (book.toml)")
    add("--n", type=int, default=500, help="sentences of each of four kinds, for the finished model")
    add(
        "--when-n",
        type=int,
        default=100,
        help="sentences for each snapshot, half with one thing, half with two",
    )
    add(
        "--examined",
        type=int,
        default=50,
        help="sentences of each kind whose pictures are looked at for slips",
    )
    add(
        "--paintings", type=int, default=200, help="paintings that are looked for among the training pictures"
    )
    add(
        "--twins",
        type=int,
        default=2000,
        help="training pictures that they are compared with, and as many twins",
    )
    add("--steps", type=int, default=30, help="DDIM steps of a painting")
    add("--batch", type=int, default=25, help="paintings at a time")
    add("--out", type=Path, default=HERE, help="folder for book_run.json and book_run.npz")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    run = Run(options.run, options.config, options.steps, options.batch)
    found, arrays = results(run, options.config, options)
    options.out.mkdir(parents=True, exist_ok=True)
    with whole(options.out / "book_run.npz") as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's types know no such names
    write_json(found, options.out / "book_run.json")
    print(f"trained in {sum(found['seconds'].values()) / 60:.1f} minutes; written to {options.out}")


if __name__ == "__main__":
    main()
