"""The sheet at the top of the README: twelve prompts, each painted once.

    python benchmarks/sheet.py                       paint, write assets/sheet.png

Nothing is picked: every prompt gets the noise of seed 0, and `minisd paint PROMPT` paints the same picture.
"""

import argparse
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from common import ROOT
from minisd import StableDiffusion
from minisd.files import whole
from minisd.pictures import to_pil
from minisd.scenes import HELD_OUT, parse
from minisd.sheets import labelled_sheet

PROMPTS = (
    "a red house left of a yellow tent in the snow at night",
    "a big green tree in a meadow by day",
    "an orange balloon at sunset",
    "a small blue car to the right of a pink flower on the sand",
    "a blue house on the snow at dusk",  # a held-out pair
    "a big red mushroom next to a little white flower on the grass",
    "a yellow rocket in the desert under the moon",
    "a snowy night with a purple tent",
    "a purple car on the left and an orange tent on the right by day",
    "a white rocket and a red flower on sand in the evening light",  # a held-out pair
    "in a meadow, a large white tree left of a small green balloon at sunset",
    "a pink house and a blue mushroom on grass at night",
)
SEED, STEPS = 0, 30
COLUMNS, SCALE = 4, 1.5


def label(prompt: str) -> str:
    """The prompt, and which pairs in it are held out of training."""
    unseen = [f"{t.colour} {t.kind}" for t in parse(prompt).things if (t.colour, t.kind) in HELD_OUT]
    return "\n".join([prompt, *(f"{pair}: held out" for pair in unseen)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Paint the sheet at the top of the README.")
    parser.add_argument("--model", default="tiny", help="tiny, or a model folder")
    parser.add_argument("--out", type=Path, default=ROOT / "assets" / "sheet.png")
    options = parser.parse_args(arguments)

    pipe = StableDiffusion.from_pretrained(options.model, "cpu")
    pictures: list[Image.Image] = []
    for prompt in tqdm(PROMPTS, unit="picture"):
        painting = pipe.stream(prompt, num_inference_steps=STEPS, seed=SEED)
        *_, last = painting
        pictures += to_pil(painting.decode(last.latents))
    with whole(options.out) as part:
        labelled_sheet(pictures, [label(prompt) for prompt in PROMPTS], COLUMNS, SCALE).save(
            part, format="PNG"
        )
    print(options.out)


if __name__ == "__main__":
    main()
