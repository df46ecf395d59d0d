"""`minisd paint`: pictures from words, in one PNG file."""

import argparse
import json
import math
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import console
from ..config import LARGEST_SEED, SAMPLER_NAMES, STEPS, STRENGTH
from ..notes import note
from .hints import ANOTHER, EXAMPLE, command_line, note_unknown_words
from .memory import forget_peak, peak
from .options import (
    checked_device,
    chosen_dtype,
    computing,
    file_and_scale,
    load_torch,
    number,
    reporting,
    seed,
    whole_number,
    words,
)
from .picture_file import Settings, check_out, default_name, place, save_png
from .threads import limit_threads

if TYPE_CHECKING:
    import torch
    from PIL import Image
    from torch import Tensor

    from ..pipeline import Painting, StableDiffusion

MOST_STEPS = 1000  # the timesteps that Stable Diffusion is trained on
MOST_PICTURES = 100  # on one sheet, for each prompt
BATCH = 8  # pictures painted at a time
MOMENTS = 8  # pictures in a strip
ENLARGED = 256  # pixels; narrower pictures are shown at twice their size on a sheet
STRIP_WIDEST = 256  # pixels; wider pictures are made smaller on a strip
Moments = list[tuple[str, "Image.Image"]]  # of one picture: labels and pictures, the finished one last


# Options


def add_parser(commands: Any) -> None:
    """Add `minisd paint` to the commands."""
    parser = commands.add_parser(
        "paint",
        parents=[computing(), reporting()],
        help="paint a picture of each sentence",
        description="Paint a picture of each PROMPT and save it as a PNG file that holds the prompt and the "
        f'settings. Try: minisd paint "{EXAMPLE}"',
    )
    parser.add_argument(
        "prompt",
        nargs="+",
        type=words,
        metavar="PROMPT",
        help="the sentence to paint; several make a labelled sheet",
    )
    add_options_of_the_model(parser.add_argument_group("the model").add_argument)
    add_options_of_the_painting(parser.add_argument_group("the painting").add_argument)
    add_options_of_painting_over(parser.add_argument_group("painting over a picture").add_argument)
    add_options_of_control(parser.add_argument_group("painting by a plan").add_argument)
    add_options_of_the_file(parser.add_argument_group("the file").add_argument)
    parser.set_defaults(run=paint, stopped="no picture was written")


def add_options_of_the_model(add: Callable[..., Any]) -> None:
    """Which networks paint, and what is added to them."""
    add(
        "--model",
        default="tiny",
        metavar="tiny|FOLDER|FILE|HUB-ID",
        help="tiny, a folder in diffusers layout, a .safetensors or .ckpt file, or OWNER/NAME of the Hugging "
        "Face hub (default: tiny)",
    )
    add(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="a folder with merges.txt, for a FILE that has none beside it",
    )
    add("--vae", type=Path, metavar="FILE", help="another VAE than the model's, or one for a FILE without")
    add("--offload", action="store_true", help="have one network at a time on the GPU: less memory there")
    add(
        "--lora",
        type=file_and_scale,
        action="append",
        default=[],
        metavar="FILE[:SCALE]",
        help="a LoRA to merge into the model, at a scale of its own (1); may be given several times",
    )
    add(
        "--embedding",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a learned word (textual inversion) for the prompt; may be given several times",
    )
    add(
        "--clip-skip",
        type=whole_number(0),
        default=0,
        metavar="N",
        help="leave out the text encoder's last N layers (0); AUTOMATIC1111's web UI counts one more",
    )


def add_options_of_the_painting(add: Callable[..., Any]) -> None:
    """From noise to picture."""
    add(
        "--seed",
        type=seed,
        default=0,
        metavar="N",
        help="number of the noise to start from (0); `random` draws one and tells it",
    )
    add(
        "--steps",
        type=whole_number(1, MOST_STEPS),
        default=STEPS,
        metavar="N",
        help=f"steps from noise to picture ({STEPS})",
    )
    add(
        "--guidance",
        type=number,
        metavar="S",
        help="how closely to follow the prompt; 1: no guidance (default: the model's own)",
    )
    add("--negative", type=words, default="", metavar="TEXT", help="what to stay away from")
    names = ", ".join(SAMPLER_NAMES)
    add("--sampler", choices=SAMPLER_NAMES, metavar="NAME", help=f"{names} (default: the model's own)")
    add(
        "--karras",
        action="store_true",
        default=None,
        help="noise levels spaced as by Karras et al. (2022), for the samplers that have levels",
    )
    add("--eta", type=number, default=0.0, metavar="X", help="fresh noise in ddim's steps, from 0 to 1 (0)")
    size = "a multiple of 8 (default: the model's own, or --image's)"
    add("--height", type=whole_number(1), metavar="PIXELS", help=size)
    add("--width", type=whole_number(1), metavar="PIXELS", help=size)
    add(
        "--vae-tiling",
        action="store_true",
        help="decode the picture tile by tile, which needs less memory and changes it a little",
    )


def add_options_of_painting_over(add: Callable[..., Any]) -> None:
    """From a picture to another."""
    add("--image", type=Path, metavar="FILE", help="paint over this picture instead of from nothing")
    add(
        "--strength",
        type=number,
        metavar="X",
        help=f"how much of --image to paint anew: above 0 (nearly nothing) and at most 1 ({STRENGTH})",
    )
    add("--mask", type=Path, metavar="FILE", help="repaint --image only where this picture is white")
    add(
        "--no-paste",
        action="store_true",
        help="leave the kept part as the VAE gives it back, as diffusers does, instead of pasting --image's "
        "own pixels over it",
    )


def add_options_of_control(add: Callable[..., Any]) -> None:
    """A picture that says where things go."""
    add(
        "--controlnet",
        type=Path,
        metavar="tiny-plans|FOLDER|FILE",
        help="what reads --control-image: tiny-plans, for tiny, or a ControlNet 1.x (default: the model's "
        "own, where it has one)",
    )
    add(
        "--control-image",
        type=Path,
        metavar="FILE",
        help="the outlines, map, pose ... that the ControlNet was trained on, as a picture; tiny-plans reads "
        "white outlines on black, and maps in the colours of minisd.scenes.semantic_map",
    )
    add("--control-scale", type=number, metavar="X", help="how much of what the ControlNet says is added (1)")


def add_options_of_the_file(add: Callable[..., Any]) -> None:
    """What is written."""
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="the PNG file to write; one that is there is replaced (default: a new file in this folder, "
        "named after the prompt and the seed)",
    )
    add(
        "--grid",
        type=whole_number(1, MOST_PICTURES),
        metavar="N",
        help="N pictures of each prompt on one labelled sheet, with the seeds from --seed on",
    )
    add(
        "--trace",
        action="store_true",
        help=f"a strip of the picture forming: {MOMENTS - 1} guesses at it on the way, and the finished one",
    )
    add("--memory", action="store_true", help="tell how much memory each stage took at most")


# The work


class Clock:
    """Seconds spent on each stage of the work and, once `device` is set, bytes of memory at most."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.bytes: dict[str, int] = {}
        self.device: torch.device | None = None  # whose memory to watch
        self.watched = ""  # what the bytes are, in words

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to the stage's."""
        if self.device is not None:
            self.watched = forget_peak(self.device)
        start = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
        if self.device is not None:
            self.bytes[stage] = max(self.bytes.get(stage, 0), peak(self.device))


def paint(args: argparse.Namespace, notes: list[str]) -> int:
    """Paint what was asked for, save one PNG file, say where it is and how long it took."""
    seeds = chosen_seeds(args)
    name = default_name(args, seeds)
    check_options(args)
    check_out(args.out or Path(name))
    alone = "torch" not in sys.modules  # else the threads are those of the program that called this one
    clock = Clock()
    with clock.time("import"):
        load_torch()
        from ..pipeline import UNUSED  # its first import takes a second
        from ..sheets import labelled_sheet  # noqa: F401  used further down; its time belongs here
    given = given_pictures(args)
    with clock.time("loading"):
        pipe, learned = loaded(args)
    clock.device = pipe.device if args.memory else None
    if unused := pipe.unused_words([*args.prompt, args.negative]):
        note(f"{UNUSED} {', '.join(map(repr, unused))}: write it to use it")
    if paints_little_world(args.model):
        note_unknown_words(args.prompt, learned)
    painted = paint_all(pipe, args, seeds, given, clock, alone)
    settings = settled(pipe, args, seeds, painted[0][-1][1].size)
    with place(args.out, name) as path:
        replaced = args.out is not None and path.exists()
        save_png(laid_out(painted, args, seeds), path, settings.parameters())
    report(args, path, replaced, learned, settings, clock, notes)
    return 0


def chosen_seeds(args: argparse.Namespace) -> range:
    """The seeds of --seed and --grid, drawn if the seed is to be random; ValueError beyond the largest."""
    pictures = args.grid or 1
    first = secrets.randbelow(LARGEST_SEED + 2 - pictures) if args.seed is None else args.seed
    seeds = range(first, first + pictures)
    if seeds[-1] > LARGEST_SEED:
        raise ValueError(
            f"--grid {args.grid} counts its seeds up to {seeds[-1]}, and {LARGEST_SEED} is the largest; "
            "give a smaller --seed"
        )
    return seeds


def check_options(args: argparse.Namespace) -> None:
    """Raise ValueError for options that have no meaning without another."""
    for option in ("strength", "mask"):
        if getattr(args, option) is not None and args.image is None:
            raise ValueError(f"--{option} has no meaning without --image; name the picture to paint over")
    for option in ("controlnet", "control_scale"):
        if getattr(args, option) is not None and args.control_image is None:
            raise ValueError(
                f"--{option.replace('_', '-')} has no meaning without --control-image; name the picture that "
                "the ControlNet is to read"
            )
    if args.no_paste and args.mask is None:
        raise ValueError("--no-paste has no meaning without --mask; name the part to repaint")


def given_pictures(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `StableDiffusion.stream` that --image, --mask, --control-image and theirs stand for."""
    from ..pictures import open_picture

    given: dict[str, Any] = {}
    if args.image is not None:
        given["image"] = open_picture(args.image, "--image")
        given["strength"] = STRENGTH if args.strength is None else args.strength
    if args.mask is not None:
        given |= {"mask_image": open_picture(args.mask, "--mask"), "paste_back": not args.no_paste}
    if args.control_image is not None:
        given["control_image"] = open_picture(args.control_image, "--control-image")
        given["controlnet_conditioning_scale"] = control_scale(args)
    return given


def control_scale(args: argparse.Namespace) -> float:
    """What the ControlNet's part is multiplied by."""
    return 1.0 if args.control_scale is None else float(args.control_scale)


def loaded(args: argparse.Namespace) -> tuple["StableDiffusion", list[str]]:
    """The model with the files of --vae, --lora and --embedding, and the words that it learned from them."""
    from ..lora import LoRA, add_embedding
    from ..pipeline import StableDiffusion

    pipe = StableDiffusion.from_pretrained(
        args.model,
        device=checked_device(args),
        dtype=chosen_dtype(args),
        tokenizer=args.tokenizer,
        vae=args.vae,
        offload=args.offload,
        **({} if args.controlnet is None else {"controlnet": args.controlnet}),
    )
    pipe.vae.enable_tiling(args.vae_tiling)
    for path, scale in args.lora:
        LoRA.from_file(path).merge(pipe, scale)
    return pipe, [add_embedding(pipe, path) for path in args.embedding]


def paints_little_world(model: str) -> bool:
    """Whether a model says so itself: `minisd train` writes "_world": "minisd.scenes" into its index."""
    from ..checkpoint import read_json
    from ..models import locate

    index = locate(model) / "model_index.json"
    return index.is_file() and read_json(index).get("_world") == "minisd.scenes"


def paint_all(
    pipe: "StableDiffusion",
    args: argparse.Namespace,
    seeds: range,
    given: dict[str, Any],
    clock: Clock,
    alone: bool,
) -> list[Moments]:
    """Every prompt with every seed, prompt by prompt: for each picture its moments.

    alone: whether this process does nothing else, so that the number of its threads may be changed.
    """
    from tqdm.auto import tqdm

    batches = [(prompt, seeds[i : i + BATCH]) for prompt in args.prompt for i in range(0, len(seeds), BATCH)]
    painted = []
    # disable=None: no bar where stderr is a file. delay: the notes on a prompt come before the bar.
    with tqdm(total=1, desc="painting", unit="step", disable=None, leave=False, delay=1) as bar:
        for prompt, batch in batches:
            with clock.time("reading"):
                painting = begun(pipe, args, prompt, batch, given)
            bar.total = len(batches) * len(painting)
            if alone:
                limit_threads(pipe, painting.shape)
            with clock.time("painting"):
                moments = walked(painting, args.trace, bar.update)
            with clock.time("decoding"):
                painted += decoded(painting, moments, args)
    return painted


def begun(
    pipe: "StableDiffusion", args: argparse.Namespace, prompt: str, seeds: range, given: dict[str, Any]
) -> "Painting":
    """A painting of one prompt with some seeds, planned and with its prompt read."""
    from ..pipeline import UNUSED

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", UNUSED)  # `paint` looks at all the prompts together
        return pipe.stream(
            [prompt] * len(seeds),
            negative_prompt=args.negative,
            num_inference_steps=args.steps,
            guidance_scale=args.guidance,
            seed=seeds[0],
            sampler=args.sampler,
            use_karras_sigmas=args.karras,
            clip_skip=args.clip_skip,
            eta=args.eta,
            height=args.height,
            width=args.width,
            **given,
        )


def walked(painting: "Painting", trace: bool, tick: Callable[[], object]) -> list[tuple[str, "Tensor"]]:
    """Labels and latents, (batch, 4, height / 8, width / 8), of the moments to show, the finished last."""
    shown = moments_shown(len(painting)) if trace else []
    moments = []
    for step in painting:
        if step.index in shown:
            moments.append((f"step {step.index + 1}\nt = {step.t:.0f}", step.predicted_original))
        tick()
    float(
        step.latents.sum()
    )  # a number read off them waits for a GPU to finish: the time told is the true one
    return [*moments, ("finished", step.latents)]


def moments_shown(steps: int) -> list[int]:
    """The steps of a strip, evenly spaced from the first on; the finished picture follows as its last."""
    return sorted({i * steps // (MOMENTS - 1) for i in range(MOMENTS - 1)})


def decoded(
    painting: "Painting", moments: Sequence[tuple[str, "Tensor"]], args: argparse.Namespace
) -> list[Moments]:
    """Latents of a batch, moment by moment, to pictures, picture by picture."""
    from ..pictures import to_pil

    try:
        columns = [
            [(label, picture) for picture in to_pil(painting.decode(latents))] for label, latents in moments
        ]
    except FloatingPointError as error:
        raise FloatingPointError(f"{error} (painted with {suspects(args)})") from None
    return [list(row) for row in zip(*columns, strict=True)]


def suspects(args: argparse.Namespace) -> str:
    """The options that may have made NaN or infinity of a picture, as they were given."""
    given = [f"--model {args.model}", f"--dtype {args.dtype}"]
    given += [f"--guidance {args.guidance:g}"] if args.guidance is not None else []
    given += [f"--vae {args.vae}"] if args.vae else []
    given += [f"--controlnet {args.controlnet}"] if args.controlnet else []
    given += [f"--lora {path}:{scale:g}" for path, scale in args.lora]
    return " ".join(given + [f"--embedding {path}" for path in args.embedding])


def laid_out(painted: Sequence[Moments], args: argparse.Namespace, seeds: range) -> "Image.Image":
    """One picture as it is; several, or a grid, as a labelled sheet; traces as strips, one under another."""
    from ..sheets import labelled_sheet, stacked

    width = painted[0][-1][1].width
    titles = [" ".join(prompt.split()) or "(no words)" for prompt in args.prompt]
    labels = [f"{title}\nseed {seed}" for title in titles for seed in seeds]
    if args.trace:
        return stacked([strip(moments, label) for moments, label in zip(painted, labels, strict=True)])
    finished = [moments[-1][1] for moments in painted]
    if args.grid is None and len(finished) == 1:
        return finished[0]
    one_row_each = len(args.prompt) > 1 and 1 < len(seeds) <= 6
    columns = len(seeds) if one_row_each else min(math.ceil(math.sqrt(len(finished))), 6)
    return labelled_sheet(finished, labels, columns, 2 if width < ENLARGED else 1)


def strip(moments: Moments, title: str) -> "Image.Image":
    """The moments of one picture side by side."""
    from ..sheets import labelled_sheet

    labels = [label for label, _ in moments]
    pictures = [picture for _, picture in moments]
    return labelled_sheet(pictures, labels, len(moments), min(1, STRIP_WIDEST / pictures[0].width), title)


def settled(
    pipe: "StableDiffusion", args: argparse.Namespace, seeds: range, size: tuple[int, int]
) -> Settings:
    """What the pictures were painted with, now that every default is known."""
    from ..samplers import SAMPLERS

    guidance = pipe.guidance_scale if args.guidance is None else args.guidance
    sampler = args.sampler or pipe.default_sampler
    karras = args.karras or SAMPLERS[sampler].settings(pipe.scheduler_config).get("use_karras_sigmas", False)
    path = Path(args.model)
    return Settings(
        prompts=tuple(args.prompt),
        negative=args.negative if guidance != 1 else "",
        model=args.model if args.model == "tiny" else path.stem if path.is_file() else path.resolve().name,
        seeds=seeds,
        steps=args.steps,
        sampler=sampler,
        guidance=guidance,
        size=size,
        karras=karras,
        strength=(STRENGTH if args.strength is None else args.strength) if args.image else None,
        eta=args.eta,
        clip_skip=args.clip_skip,
        vae=args.vae,
        vae_tiling=args.vae_tiling,
        control_image=args.control_image,
        controlnet=args.controlnet,
        control_scale=control_scale(args),
        loras=tuple(args.lora),
        embeddings=tuple(args.embedding),
    )


def report(
    args: argparse.Namespace,
    path: Path,
    replaced: bool,
    learned: Sequence[str],
    settings: Settings,
    clock: Clock,
    notes: Sequence[str],
) -> None:
    """Say where the picture is, how long it took and, where asked for, how much memory."""
    if args.json:
        facts = {"file": str(path.absolute()), "replaced": replaced, **settings.as_json()}
        facts |= {"learned_words": list(learned), "seconds": clock.seconds, "notes": list(notes)}
        facts |= {"memory": {"what": clock.watched, "bytes": clock.bytes}} if clock.bytes else {}
        console.say(json.dumps(facts, indent=2))
        return
    rest = " (in place of the file that was there)" if replaced else ""
    console.say(f"painted  {path.absolute()}{rest}")
    if args.seed is None:
        console.say(
            f"seed     {settings.seeds[0]}, drawn at random; give --seed {settings.seeds[0]} to have it again"
        )
    for file, word in zip(args.embedding, learned, strict=True):
        console.say(f"learned  {console.printable(word)}, from {file}")
    console.say("took     " + "   ".join(f"{stage} {spent:.2f} s" for stage, spent in clock.seconds.items()))
    if clock.bytes:
        most = "   ".join(f"{stage} {held / 1e9:.2f} GB" for stage, held in clock.bytes.items())
        console.say(f"memory   {most}   ({clock.watched})")
    console.say("next     " + "\n         ".join(what_next(args)))


def what_next(args: argparse.Namespace) -> list[str]:
    """What to try after a picture, in three lines."""
    model = [] if args.model == "tiny" else ["--model", args.model]
    model += ["--tokenizer", str(args.tokenizer)] if args.tokenizer else []
    model += ["--vae", str(args.vae)] if args.vae else []
    for path, scale in args.lora:
        model += ["--lora", str(path) if scale == 1 else f"{path}:{scale:g}"]
    return [
        f"another picture  {command_line('paint', ANOTHER, *model)}",
        "the same again   with --trace: a strip of it forming; with --grid 9: nine, from other seeds",
        f"all the options  {command_line('paint', '--help')}",
    ]
