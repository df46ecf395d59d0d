"""Which text encoder paints best? Four ways to train one, a U-Net for each, and the judge.

    minisd train all --out runs/tiny                        if not trained yet: autoencoder, CLIP
    python benchmarks/text_encoders.py --run runs/tiny      train, paint, write text_encoders.json and .md

    plain     contrastive: pictures and their captions alone, the others of the batch are wrong (CLIP)
    hard      contrastive, with hard negatives: the run's own CLIP (mirrored and recoloured pictures, captions
              with a fault)
    labels    answers to what its captions say (how many things, which colours, ...), given by the grammar
    joint     no training before the U-Net's; the noise that it predicts is all there is to learn from

The first three get about the same time, and joint gets as much more of the U-Net's. All have the same
network, tokenizer, captions, autoencoder and first weights. A run that was stopped goes on where it was.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

from adherence import ATTRIBUTES, GROUPS, model_painter, prompts, score
from common import HERE, on_machine, table, with_interval, write_text
from minisd import StableDiffusion, TextEncoder, UNet
from minisd.checkpoint import read_json, write_json
from minisd.clip import end_of
from minisd.config import DEVICES
from minisd.scenes import COLOURS, GROUNDS, HOURS, KINDS, SIZES, Scene, loosened
from minisd.scenes.judge import Judge
from minisd.schedule import NoiseSchedule
from minisd.tokenizer import BPE
from minisd.training import examples
from minisd.training.data import shrunk, to_tensor
from minisd.training.loop import Batch, fit
from minisd.training.machine import machine
from minisd.training.objectives import CLIPObjective, Objective, UNetObjective
from minisd.training.recipe import Phase, read_recipe
from minisd.training.stages import SCHEDULE, Training

LABEL_STEPS, CAPTIONS, LABEL_RATE = 4000, 128, 1e-3  # of the training on labels: AdamW
UNET_STEPS, JOINT_STEPS = 5200, 6000
TIMED = 10  # steps that are timed of each training
NAMES = {
    "plain": "contrastive",
    "hard": "contrastive, hard negatives",
    "labels": "labels",
    "joint": "together with the U-Net",
}
FORMER = {  # rows of earlier recipes, which this script does not make again
    "first": "contrastive, hard negatives, first try",
    "labels, short": "labels, shorter training of the U-Net",
    "joint, short": "together with the U-Net, shorter training",
}


# What "labels" asks about a caption. The first thing stands left where the order is told.
THING = {"kind": KINDS, "colour": COLOURS, "size": SIZES}
CAPTION_QUESTIONS: dict[str, tuple] = {
    "things": (1, 2),
    "order": (True, False),
    "ground": (*GROUNDS, None),
    "hour": (*HOURS, None),
    **{
        f"{place} {name}": (*choices, None)
        for place in ("first", "second")
        for name, choices in THING.items()
    },
}


def captions_to_read(scenes: Sequence[Scene], tokenizer: BPE) -> Batch:
    """Captions, and the answers to CAPTION_QUESTIONS: ids (n, tokens), truth (n, questions)."""

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        said = [loosened(scenes[i], rng) for i in rng.integers(len(scenes), size=n)]
        return examples.short_ids(tokenizer, said, rng), torch.tensor([answers(scene) for scene in said])

    return batch


def answers(scene: Scene) -> list[int]:
    """What a caption says of a scene, a number for each of CAPTION_QUESTIONS; open is an answer too."""
    said = {"things": len(scene.things), "order": scene.ordered, "ground": scene.ground, "hour": scene.hour}
    for place, thing in zip(("first", "second"), scene.things):
        said |= {f"{place} kind": thing.kind, f"{place} colour": thing.colour, f"{place} size": thing.size}
    return [choices.index(said.get(question)) for question, choices in CAPTION_QUESTIONS.items()]


class ReadingObjective(Objective):
    """Say what a caption says: what stands first and second, in which colour, at what hour?

    One linear layer answers every question from the vector at the caption's end token. `questions`
    are the numbers of answers of each. A contrastive loss alone has little reason to heed the order of
    words (Yuksekgonul et al. 2023), and left and right are nothing else.
    """

    net: TextEncoder

    def __init__(self, net: TextEncoder, questions: list[int]):
        super().__init__()
        self.net, self.questions = net, questions
        self.answers = nn.Linear(net.config.hidden_size, sum(questions))

    def forward(self, ids: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy summed over the questions; ids (batch, tokens), truth (batch, questions)."""
        logits = self.answers(end_of(self.net(ids), ids)).split(self.questions, dim=1)
        losses = (F.cross_entropy(x, y) for x, y in zip(logits, truth.T, strict=True))
        return sum(losses, start=torch.zeros(()))


def plain_pairs(scenes: Sequence[Scene], pictures: np.ndarray, tokenizer: BPE, side: int) -> Batch:
    """Pictures and their captions; like `examples.pairs_to_match`, with no hard negatives."""

    def batch(rng: np.random.Generator, n: int) -> tuple[Tensor, ...]:
        shown = rng.integers(len(scenes), size=n)
        said = [loosened(scenes[i], rng) for i in shown]
        also_true = torch.tensor([[text.admits(scenes[i]) for text in said] for i in shown])
        also_true.fill_diagonal_(False)
        return examples.short_ids(tokenizer, said, rng), shrunk(to_tensor(pictures[shown]), side), also_true

    return batch


class JointObjective(Objective):
    """The U-Net's objective, its gradient let through to the text encoder."""

    def __init__(self, painting: UNetObjective):
        super().__init__()
        self.painting = painting
        self.net = nn.ModuleDict({"text": painting.text_encoder, "unet": painting.net})
        self.net.requires_grad_(True)

    def forward(
        self, ids: Tensor, mean: Tensor, std: Tensor, latent_noise: Tensor, noise: Tensor, t: Tensor
    ) -> Tensor:
        p = self.painting
        x = p.schedule.add_noise(p.scale * (mean + std * latent_noise), noise, t)
        error = (p.net(x, t, p.text_encoder(ids)) - noise).square()
        return (p.weight[t] * error.mean(dim=(1, 2, 3))).mean()


class Comparison:
    """The trainings of one kind of text encoder, in a folder of their own."""

    def __init__(self, run: Path, kind: str, device: str):
        self.training, self.kind, self.device = Training(read_recipe(), run, device=device), kind, device
        self.folder = run / "text_encoders" / kind
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer, self.latents = self.training.open_tokenizer(), self.training.open_latents()

    def new_text(self) -> TextEncoder:
        """The text encoder before training, the same for every kind."""
        clip = self.training._new_clip(self.tokenizer)
        text = TextEncoder(clip.config.text_config)
        text.text_model = clip.text_model
        return text

    def reading(self, text: TextEncoder) -> tuple[Objective, Batch, Phase]:
        """What trains the text encoder before the U-Net's training."""
        scenes, clip = self.training.scenes, self.training.recipe.clip
        if self.kind == "labels":
            questions = [len(choices) for choices in CAPTION_QUESTIONS.values()]
            phase = Phase(steps=LABEL_STEPS, batch_size=CAPTIONS, learning_rate_peak=LABEL_RATE)
            return ReadingObjective(text, questions), captions_to_read(scenes, self.tokenizer), phase
        net = self.training._new_clip(self.tokenizer)
        net.text_model = text.text_model
        side = clip.vision_config.image_size
        batch = plain_pairs(scenes, self.training.open_pictures(), self.tokenizer, side)
        return CLIPObjective(net), batch, replace(clip.mixed, steps=clip.mixed.steps + clip.twins.steps)

    def cost_of_clip(self) -> dict:
        """What the run's own CLIP cost."""
        clip, batches = self.training.recipe.clip, self.training.pairs_of
        net = CLIPObjective(self.training._new_clip(self.tokenizer))
        seconds = {
            phase: timed(net, batches(phase), getattr(clip, phase).batch_size) for phase in ("mixed", "twins")
        }
        steps = clip.mixed.steps + clip.twins.steps
        whole = sum(getattr(clip, phase).steps * each for phase, each in seconds.items())
        return {"steps": steps, "batch": clip.twins.batch_size, "seconds_a_step": whole / steps}

    def painting(self, text: TextEncoder) -> tuple[Objective, Batch, Phase]:
        """What trains the U-Net, and with it, if the kind is joint, the text encoder."""
        wanted, steps = self.training.recipe.unet, SCHEDULE["num_train_timesteps"]
        schedule = NoiseSchedule.scaled_linear(SCHEDULE["beta_start"], SCHEDULE["beta_end"], steps)
        net = self.training._new(UNet, wanted.config)
        objective: Objective = UNetObjective(net, text, schedule, self.latents.scale, wanted.snr_gamma)
        if self.kind == "joint":
            objective = JointObjective(objective)
        batch = examples.latents_to_denoise(
            self.training.scenes, self.latents, self.tokenizer, wanted.caption_dropout, steps
        )
        phase = Phase(
            steps=JOINT_STEPS if self.kind == "joint" else UNET_STEPS,
            batch_size=wanted.batch_size,
            learning_rate_peak=wanted.learning_rate_peak,
            ema_decay=wanted.ema_decay,
        )
        return objective, batch, phase

    def train(self) -> tuple[StableDiffusion, dict]:
        """Both trainings, and what they cost."""
        cost = {}
        text = self.training.open_text() if self.kind == "hard" else self.new_text()
        if self.kind == "hard":
            cost["text"] = self.cost_of_clip()
        elif self.kind != "joint":
            cost["text"] = self.fit("text", *self.reading(text))
        painting = self.painting(text)
        cost["unet"] = self.fit("unet", *painting)
        net = painting[0].net
        unet = net["unet"] if self.kind == "joint" else net
        parts = self.tokenizer, text.eval(), unet.eval(), self.training.open_decoder()
        return StableDiffusion(*parts, SCHEDULE, self.training.recipe.guidance_scale), cost

    def fit(self, name: str, objective: Objective, batch: Batch, phase: Phase) -> dict:
        """Train as minisd does; steps, batch, and the processor's seconds for a step without a GPU."""
        seconds = timed(objective, batch, phase.batch_size)
        settings = self.training.recipe.settings("tokenizer", "clip", "vae", "unet")
        settings |= {"kind": self.kind, "steps": phase.steps, "batch_size": phase.batch_size}
        accelerator = Accelerator(cpu=self.device == "cpu")
        done = fit(objective, batch, self.folder / f"{name}.pt", phase, accelerator, settings=settings)
        return {
            "steps": phase.steps,
            "batch": phase.batch_size,
            "seconds_a_step": seconds,
            "loss": done["losses"][-1],
        }


def timed(objective: Objective, batch: Batch, n: int) -> float:
    """The processor's seconds that a step takes, in the median; weights stay as they are."""
    found = []
    for i in range(TIMED):
        start = time.process_time()
        objective(*batch(np.random.default_rng(i), n)).backward()
        found.append(time.process_time() - start)
        objective.zero_grad()
    return float(np.median(found))


def measure(kind: str, run: Path, device: str, n: int, judge: Judge) -> dict:
    """Train one kind and count what is right in n pictures of every group."""
    pipe, cost = Comparison(run, kind, device).train()
    for part in (pipe.text_encoder, pipe.unet, pipe.vae):
        part.to(device)
    paint = model_painter(pipe, pipe.guidance_scale, steps=30)
    cells = {}
    for group in GROUPS:
        cells[group] = score(judge, paint, prompts(group, n), batch=50)
        print(kind, group, with_interval(cells[group]), flush=True)
    return {"cost": cost, "cells": cells, "date": time.strftime("%Y-%m-%d"), "machine": machine(device)}


def markdown(results: dict) -> str:
    """The whole of text_encoders.md."""
    rows = []
    for kind, name in {**NAMES, **FORMER}.items():
        if kind not in results["kinds"]:
            continue
        found = results["kinds"][kind]
        cost = found["cost"]
        spent = [f"{c['steps']:,} × {c['batch']}" for c in cost.values()]
        cells = [with_interval(cell) for cell in found["cells"].values()]
        where = f"{on_machine(found['machine'])}, {found['date']}"
        rows.append([name, spent[0] if "text" in cost else "none", spent[-1], *cells, where])
    head = ["trained", "steps × batch before", "of the U-Net", *GROUPS, "U-Net trained on"]
    wrong = []
    for kind, name in NAMES.items():
        if kind in results["kinds"]:
            found = results["kinds"][kind]["cells"]["two objects, seen pairs"]["attributes"]
            wrong.append([name, *(f"{100 * (1 - c['right'] / c['n']):.1f}" for c in found.values())])
    return f"""# Which text encoder paints best?

Written by `python benchmarks/text_encoders.py`, one training a row.

{table(head, rows)}

Everything right, %, {results["n"]} prompts a column, guidance {results["guidance_scale"]:g}, 30 DDIM steps;
in brackets 95 % intervals. One thing, another text encoder; the rest is the same. {results.get("note", "")}

Where two things of seen pairs were asked for, the share of pictures with an error, %:

{table(["trained", *ATTRIBUTES], wrong)}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"), help="folder of a training")
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--n", type=int, default=500, help="prompts of each group")
    parser.add_argument("--kinds", nargs="*", choices=NAMES, default=list(NAMES))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path, judge = HERE / "text_encoders.json", Judge.load()
    results = read_json(path) if path.is_file() else {"kinds": {}}
    for kind in options.kinds:
        results["kinds"][kind] = measure(kind, options.run, options.device, options.n, judge)
        results |= {"n": options.n, "guidance_scale": read_recipe().guidance_scale}
        write_json(results, path)
        write_text(markdown(results), path.with_suffix(".md"))


if __name__ == "__main__":
    main()
