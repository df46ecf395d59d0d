"""The parts by themselves: how sharp the autoencoder is, and what the text encoder understands.

    python benchmarks/parts.py                       measure, write parts.json and parts.md

The autoencoder: fresh renders through encode (the posterior's mode) and decode, clipped to [0, 1].
THE figure is the PSNR of the mean error, 10 log10(1 / MSE) with the squared error averaged over all
pictures: what training lowers, and by Jensen's inequality never above the mean of the pictures' own
PSNRs, which is told beside it.

The text encoder: for a fresh picture of two things of different colours, is its caption nearer to it
(by cosine, in CLIP's common space) than a caption with the places flipped, with the colours swapped,
or with one attribute altered? All four have the same phrasing. CLIP sees the picture averaged down to the
size that its image encoder takes.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common import HERE, SEED, count, heading, model_folder, on_machine, table, with_interval, write_text
from minisd import CLIP, StableDiffusion
from minisd.checkpoint import TEXT_WEIGHTS, load_model, write_json
from minisd.pictures import to_pil
from minisd.scenes import Scene, caption, render_many, sample
from minisd.scenes.judge import as_pictures
from minisd.sheets import labelled_sheet
from minisd.training.data import shrunk

SPLITS = {"seen pairs": "train", "a held-out pair": "held_out"}
FIRST_SEED = SEED + 1_000_000  # above the seeds of the adherence prompts
ROOM = 100_000  # seeds that each split has to itself
BATCH = 25
SHOWN = 18  # pairs on the sheet
AMONG = 64  # captions, or pictures, that one is to be found among
TWINS = ("flipped", "swapped", "altered")


def seeds(split: str, n: int) -> range:
    first = FIRST_SEED + ROOM * list(SPLITS.values()).index(split)
    return range(first, first + n)


def reconstruct(pipe: StableDiffusion, pictures: np.ndarray) -> np.ndarray:
    """uint8 (number, 128, 128, 3) through the autoencoder: float in [0, 1], the same shape."""
    found = []
    with torch.inference_mode():
        for i in tqdm(range(0, len(pictures), BATCH), desc="autoencoder", unit="batch"):
            mode = pipe.vae.encode(as_pictures(pictures[i : i + BATCH]).to(pipe.device, pipe.dtype)).mode()
            found.append(pipe.decode(mode * pipe.vae.scaling_factor))
    return np.concatenate(found)


def psnr(error: np.ndarray | np.floating) -> np.ndarray | np.floating:
    """10 log10(1 / mean squared error), in dB, for values in [0, 1]."""
    return -10 * np.log10(error)


def squared_errors(pictures: np.ndarray, rebuilt: np.ndarray) -> np.ndarray:
    """Each picture's mean squared error on [0, 1]: uint8 against float, (number, ...) -> (number,)."""
    error = pictures.astype(np.float64) / 255 - rebuilt
    return np.square(error).mean(axis=tuple(range(1, error.ndim)))


def measure_vae(pipe: StableDiffusion, split: str, n: int, sheet: Path | None) -> dict:
    """PSNR over n fresh renders of a split, as many one-object ones among them as training has."""
    drawn = seeds(split, n)
    scenes = [sample(np.random.default_rng(seed), split, full=True) for seed in drawn]
    pictures = render_many(scenes, drawn)
    rebuilt = reconstruct(pipe, pictures)
    errors = squared_errors(pictures, rebuilt)
    if sheet is not None:
        shown = [
            image for pair in zip(pictures[:SHOWN] / 255, rebuilt[:SHOWN]) for image in to_pil(np.stack(pair))
        ]
        labels = [text for error in errors[:SHOWN] for text in ("rendered", f"rebuilt, {psnr(error):.1f} dB")]
        labelled_sheet(shown, labels, columns=6, scale=1).save(sheet)
    return {
        "n": n,
        "psnr": float(psnr(errors.mean())),
        "mean_of_psnrs": float(psnr(errors).mean()),
        "lowest": float(psnr(errors.max())),
    }


def load_clip(folder: Path, device: torch.device) -> CLIP:
    """CLIP with both towers: FOLDER/clip holds all but the text tower, which is in FOLDER/text_encoder."""
    text = folder / "text_encoder" / TEXT_WEIGHTS
    return load_model(CLIP, folder / "clip", TEXT_WEIGHTS, str(device), torch.float32, more=text).eval()


def two_coloured(rng: np.random.Generator, split: str) -> Scene:
    """A complete scene of two things of different colours."""
    while True:
        scene = sample(rng, split, things=2, full=True)
        if scene.things[0].colour != scene.things[1].colour:
            return scene


def captions_of(scene: Scene, seed: int) -> dict[str, str]:
    """The scene's caption and its twins', all in the phrasing that the seed chooses."""
    altered = scene.altered(np.random.default_rng((seed, 1)))
    told = {"true": scene, "flipped": scene.flipped(), "swapped": scene.colours_swapped(), "altered": altered}
    return {name: caption(one, np.random.default_rng(seed)) for name, one in told.items()}


def preferences(images: Tensor, texts: dict[str, Tensor]) -> dict[str, dict]:
    """How often each image is nearer to its true text than to its twins; unit vectors (number, width)."""
    cosine = {name: (images * vectors).sum(dim=1) for name, vectors in texts.items()}
    nearer = {name: cosine["true"] > cosine[name] for name in TWINS}
    found = {name: count(verdicts.tolist()) for name, verdicts in nearer.items()}
    return found | {"flipped and swapped": count((nearer["flipped"] & nearer["swapped"]).tolist())}


def retrieval(images: Tensor, texts: Tensor, scenes: list[Scene], among: int = AMONG) -> dict[str, dict]:
    """How often the nearest of `among` texts says the image's scene, and the nearest image shows the text's.

    The last few that fill no group of `among` are left out.
    """
    of_image, of_text = [], []
    for i in range(0, len(scenes) - among + 1, among):
        cosine, group = images[i : i + among] @ texts[i : i + among].T, scenes[i : i + among]
        of_image += [group[j] == scene for j, scene in zip(cosine.argmax(dim=1).tolist(), group)]
        of_text += [group[j] == scene for j, scene in zip(cosine.argmax(dim=0).tolist(), group)]
    return {"the picture's caption": count(of_image), "the caption's picture": count(of_text)}


def measure_text(clip: CLIP, pipe: StableDiffusion, split: str, n: int) -> dict:
    """What CLIP prefers for n fresh renders of a split."""
    drawn, side = seeds(split, n), clip.config.vision_config.image_size
    scenes = [two_coloured(np.random.default_rng(seed), split) for seed in drawn]
    said = [captions_of(scene, seed) for scene, seed in zip(scenes, drawn)]
    pictures = render_many(scenes, drawn)
    images: list[Tensor] = []
    texts: dict[str, list[Tensor]] = {name: [] for name in ("true", *TWINS)}
    with torch.inference_mode():
        for i in tqdm(range(0, n, BATCH), desc="text encoder", unit="batch"):
            shown = shrunk(as_pictures(pictures[i : i + BATCH]), side)
            images.append(clip.encode_image(shown.to(pipe.device)))
            for name, vectors in texts.items():
                ids = pipe.tokenizer([captions[name] for captions in said[i : i + BATCH]])
                vectors.append(clip.encode_text(ids.to(pipe.device)))
    image_vectors, text_vectors = torch.cat(images), {name: torch.cat(found) for name, found in texts.items()}
    return preferences(image_vectors, text_vectors) | {
        "among": AMONG,
        "retrieval": retrieval(image_vectors, text_vectors["true"], scenes),
    }


def vae_table(results: dict) -> str:
    rows = [
        [
            name,
            f"**{found['psnr']:.2f}**",
            f"{found['mean_of_psnrs']:.2f}",
            f"{found['lowest']:.2f}",
            str(found["n"]),
        ]
        for name, found in results["vae"].items()
    ]
    return table(["dB", "PSNR of the mean error", "mean of the pictures' PSNRs", "worst picture", "n"], rows)


def text_table(results: dict) -> str:
    names = ("flipped", "swapped", "flipped and swapped", "altered")
    head = [
        "true caption preferred, % over",
        "places flipped",
        "colours swapped",
        "both of these",
        "one attribute altered",
    ]
    return table(
        head,
        [
            [split, *(with_interval(found[name]) for name in names)]
            for split, found in results["text_encoder"].items()
        ],
    )


def retrieval_table(results: dict) -> str:
    found = results["text_encoder"]
    kinds = list(next(iter(found.values()))["retrieval"])
    among = next(iter(found.values()))["among"]
    return table(
        [f"found among {among}, %", *kinds],
        [[split, *(with_interval(one["retrieval"][kind]) for kind in kinds)] for split, one in found.items()],
    )


def markdown(results: dict) -> str:
    """The whole of parts.md."""
    n = next(iter(results["text_encoder"].values()))["flipped"]["n"]
    return f"""# The parts by themselves

Written by `python benchmarks/parts.py`; the figures are those of `parts.json`.

Model `{results["model"]["name"]}`, {results["date"]}, {on_machine(results["machine"])}.

## The autoencoder

Fresh renders, encoded (the posterior's mode), decoded, clipped to [0, 1]. The figure is the PSNR of the mean
error, 10 log10(1 / MSE), with the squared error averaged over all pictures. The mean of the pictures' own
PSNRs, which others report, is never lower.

{vae_table(results)}

## The text encoder

{n} fresh renders of two things of different colours in each row, everything stated. A caption is preferred if
its cosine with the picture is the higher one; the twins have the same phrasing. In brackets: 95 % intervals
(Wilson).

{text_table(results)}

{retrieval_table(results)}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure the autoencoder and the text encoder by themselves."
    )
    parser.add_argument("--model", default="tiny", help="tiny, or a model folder that holds clip/ too")
    parser.add_argument("--device", help="cpu, cuda, mps; by default a GPU where there is one")
    parser.add_argument("--pictures", type=int, default=500, help="renders of each split for the autoencoder")
    parser.add_argument("--n", type=int, default=1000, help="renders of each split for the text encoder")
    parser.add_argument(
        "--out", type=Path, default=HERE / "parts.json", help="the table goes beside it, as .md"
    )
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="pictures before and after, to look at")
    options = parser.parse_args(arguments)
    if not 1 <= options.pictures <= ROOM or not AMONG <= options.n <= ROOM:
        parser.error(f"--pictures must be from 1 to {ROOM}, --n from {AMONG} to {ROOM}")

    pipe = StableDiffusion.from_pretrained(options.model, options.device)
    clip = load_clip(model_folder(options.model), pipe.device)
    results = heading(options.model, str(pipe.device))
    results["vae"] = {
        name: measure_vae(pipe, split, options.pictures, options.sheet if split == "train" else None)
        for name, split in SPLITS.items()
    }
    results["text_encoder"] = {
        name: measure_text(clip, pipe, split, options.n) for name, split in SPLITS.items()
    }
    write_json(results, options.out)
    write_text(markdown(results), options.out.with_suffix(".md"))
    print(f"{vae_table(results)}\n\n{text_table(results)}\n\n{retrieval_table(results)}")


if __name__ == "__main__":
    main()
