"""The `minisd` command: paint pictures from words, train the models that paint them.

torch takes a second or more to import, so nothing here imports it, or a module that does, before a
command needs it: `minisd --help` and a mistyped option answer at once.
"""

import argparse
import errno
import math
import os
import re
import shlex
import shutil
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import __version__

EXAMPLE = "a big red house left of a yellow tent at sunset"
ANOTHER = "a blue car on the sand by day"
ASTRONAUT = "a photograph of an astronaut riding a horse"  # for models that were trained on photographs
LARGEST_SEED = (
    2**32 - 1
)  # torch's CPU generator reads the low 32 bits: seed 2**32 would paint seed 0's picture
MOST_STEPS = 1000  # the timesteps that Stable Diffusion is trained on
MOST_PICTURES = 100  # on one sheet, for each prompt
BATCH = 8  # pictures painted at a time
MOMENTS = 8  # pictures in a strip
ENLARGED = 256  # pixels; narrower pictures are shown at twice their size on a sheet
STRIP_WIDEST = 256  # pixels; wider pictures are made smaller on a strip
NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
)  # torch's words: GPU, CPU, CPU on Windows
NAME_BYTES = 60  # of the prompt in a file's name
SAMPLER_NAMES = {  # pipeline's name: AUTOMATIC1111's
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "pndm": "PLMS",
    "euler": "Euler",
    "euler_a": "Euler a",
    "lms": "LMS",
    "dpmpp_2m": "DPM++ 2M",
}
STRENGTH = 0.8  # of --image, unless --strength says otherwise
STAGES = {  # what `minisd train` accepts, and the methods of training.stages.Training that it stands for
    "tokenizer": ["tokenizer"],
    "clip": ["text_encoder", "clip"],
    "vae": ["vae", "latents", "decoder"],
    "unet": ["unet", "export"],
    "all": ["tokenizer", "text_encoder", "clip", "vae", "latents", "decoder", "unet", "export"],
}
TINY_RECIPE = Path(__file__).with_name("training") / "tiny.toml"
RELEASES = ("v1-1", "v1-2", "v1-3", "v1-4", "v1-5")  # of Stable Diffusion, for `minisd verify --as`
RECIPE_KEYS = ("seed", "pictures", "guidance_scale", "tokenizer", "text", "clip", "vae", "decoder", "unet")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 if `verify` found a fault, 2 for bad input, 130 if
    interrupted.

    What went wrong is told in one line on stderr. Any other exception is a bug and shows its traceback.
    """
    stopped = "nothing was written"
    try:
        args = build_parser().parse_args(argv)
        stopped = args.stopped
        with warnings_as_notes():
            return args.run(args) or 0
    except KeyboardInterrupt:
        print(f"minisd: stopped; {stopped}", file=sys.stderr)
        return 130
    except (ValueError, OSError, FloatingPointError) as error:
        problem = one_line(error)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in NO_MEMORY):
            raise
        problem = "there is not enough memory for that; ask for smaller pictures or batches"
    print(f"minisd: error: {problem}", file=sys.stderr)
    return 2


def one_line(error: Exception) -> str:
    """An error's message without line breaks; the operating system's errors with their file first."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; make room, or name a folder on another disk"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}; check the path and who may write there"
    return " ".join(str(error).split())


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Show each warning as one line, once, without Python's file and line number."""
    shown = set()

    def show(message, *_, **__) -> None:
        text = " ".join(str(message).split())
        if text not in shown:
            shown.add(text)
            note(text)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


# The command line


class Parser(argparse.ArgumentParser):
    """argparse's parser, with errors that `main` shows in one line."""

    def error(self, message: str) -> None:
        raise ValueError(f"{message}; see {self.prog} --help")


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argparse type: a whole number between `least` and `most`."""
    limits = f"between {least} and {most}" if most is not None else f"of at least {least}"

    def read(text: str) -> int:
        if (
            not re.fullmatch(r"[+-]?[0-9]{1,20}", text)
            or int(text) < least
            or (most is not None and int(text) > most)
        ):
            raise argparse.ArgumentTypeError(f"give a whole number {limits}, not {text!r}")
        return int(text)

    return read


def number(text: str) -> float:
    """An argparse type: a number that is neither infinite nor NaN."""
    try:
        if math.isfinite(float(text)):
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"give a number such as 4 or 0.5, not {text!r}")


def lora_and_scale(text: str) -> tuple[Path, float]:
    """An argparse type: style.safetensors or style.safetensors:0.7."""
    path, _, scale = text.rpartition(":")
    try:
        return (Path(path), number(scale)) if path else (Path(text), 1.0)
    except argparse.ArgumentTypeError:  # no scale behind the colon: C:\style.safetensors
        return Path(text), 1.0


def build_parser() -> Parser:
    about = "Stable Diffusion from scratch: paint pictures from words, train the models that paint them."
    parser = Parser(prog="minisd", description=about)
    parser.add_argument("--version", action="version", version=f"minisd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    paint_ = commands.add_parser(
        "paint",
        help="paint a picture of each sentence",
        description=(
            "Paint a picture of each PROMPT and save it as a PNG file that holds the prompt and the settings. "
            f'Try: minisd paint "{EXAMPLE}"'
        ),
    )
    add = paint_.add_argument
    add("prompt", nargs="+", metavar="PROMPT", help="the sentence to paint; several make a labelled sheet")
    add(
        "--model",
        default="tiny",
        metavar="tiny|FOLDER|FILE|HUB-ID",
        help="tiny, a folder in diffusers layout, a "
        ".safetensors or .ckpt file, or OWNER/NAME of the Hugging Face hub (default: tiny)",
    )
    add(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="a folder with merges.txt, for a FILE that has none beside it",
    )
    add(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="to compute in (float32)",
    )
    add("--device", choices=("cpu", "cuda", "mps"), help="to compute on (default: cuda where there is one)")
    add(
        "--out",
        type=Path,
        metavar="FILE",
        help="the PNG file to write; one that is there is replaced "
        "(default: a new file in this folder, named after the prompt and the seed)",
    )
    add(
        "--seed",
        type=whole(0, LARGEST_SEED),
        default=0,
        metavar="N",
        help="number of the noise to start from (0)",
    )
    add(
        "--steps", type=whole(1, MOST_STEPS), default=30, metavar="N", help="steps from noise to picture (30)"
    )
    add(
        "--guidance",
        type=number,
        metavar="S",
        help="how closely to follow the prompt; 1: no guidance (default: the model's own)",
    )
    add("--negative", default="", metavar="TEXT", help="what to stay away from")
    add(
        "--sampler",
        choices=SAMPLER_NAMES,
        default="ddim",
        metavar="NAME",
        help=f"{', '.join(SAMPLER_NAMES)} (ddim)",
    )
    add("--eta", type=number, default=0.0, metavar="X", help="fresh noise in ddim's steps, from 0 to 1 (0)")
    add(
        "--height",
        type=whole(1),
        metavar="PIXELS",
        help="a multiple of 8 (default: the model's own, or --image's)",
    )
    add(
        "--width",
        type=whole(1),
        metavar="PIXELS",
        help="a multiple of 8 (default: the model's own, or --image's)",
    )
    add("--image", type=Path, metavar="FILE", help="paint over this picture instead of from nothing")
    add(
        "--strength",
        type=number,
        metavar="X",
        help=f"how much of --image to paint anew: above 0 (nearly nothing) and at most 1 ({STRENGTH})",
    )
    add("--mask", type=Path, metavar="FILE", help="repaint --image only where this picture is white")
    add(
        "--lora",
        type=lora_and_scale,
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
        "--grid",
        type=whole(1, MOST_PICTURES),
        metavar="N",
        help="N pictures of each prompt on one labelled sheet, with the seeds from --seed on",
    )
    add(
        "--trace",
        action="store_true",
        help=f"a strip of the picture forming: {MOMENTS - 1} guesses at it on the way, and the finished one",
    )
    paint_.set_defaults(run=paint, stopped="no picture was written")

    train_ = commands.add_parser(
        "train",
        help="train the models from nothing",
        description=(
            "Train one part, or all in order, and write a model folder to OUT/model at the end. A training that was "
            "stopped goes on from its last checkpoint when the same command is given again."
        ),
    )
    add = train_.add_argument
    add("stage", choices=STAGES, metavar="|".join(STAGES), help="what to train; each needs those before it")
    add(
        "--config",
        type=Path,
        default=TINY_RECIPE,
        metavar="FILE",
        help="sizes and steps (default: tiny.toml)",
    )
    add("--out", type=Path, default=Path("runs/tiny"), metavar="FOLDER", help="where all goes (runs/tiny)")
    add("--cpu", action="store_true", help="leave a GPU alone")
    train_.set_defaults(run=train, stopped="the same command goes on from the last checkpoint")

    download_ = commands.add_parser(
        "download",
        help="fetch a published model",
        description=(
            "Fetch a published model from the Hugging Face hub, only the files that are needed, and check every byte. "
            "One that was stopped goes on when the same command is given again. "
            "Try: minisd download sd15 --fp16"
        ),
    )
    add = download_.add_argument
    add(
        "model",
        metavar="sd15|v1-4|OWNER/NAME",
        help="Stable Diffusion 1.5 or 1.4, or another repository of the hub",
    )
    add("--fp16", action="store_true", help="weights in half precision (2.1 GB instead of 4.3)")
    add("--dest", type=Path, metavar="FOLDER", help="a folder to fill (default: the hub's own cache)")
    download_.set_defaults(run=download, stopped="the same command fetches the rest")

    verify_ = commands.add_parser(
        "verify",
        help="check a model, and print a report",
        description=(
            "Check that a model is whole and, for Stable Diffusion 1.x, that minisd paints with it what diffusers paints: "
            "three steps a picture, minutes on a CPU. Exit code 1 if a check failed."
        ),
    )
    add = verify_.add_argument
    add(
        "model",
        metavar="MODEL",
        help="tiny, sd15, v1-4, a folder in diffusers layout, a file, or a hub's OWNER/NAME",
    )
    add(
        "--as",
        dest="release",
        choices=RELEASES,
        help="which Stable Diffusion it is (default: by digest or name)",
    )
    add(
        "--dtype",
        choices=("float32", "float16", "bfloat16"),
        default="float32",
        help="to compute in (float32)",
    )
    add("--device", metavar="NAME", help="cpu, cuda or mps (default: cuda where there is one)")
    add(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="for a single file: a tokenizer/ folder with merges.txt",
    )
    add(
        "--seconds", type=number, default=math.inf, metavar="S", help="begin no picture after so many seconds"
    )
    verify_.set_defaults(run=verify, stopped="the report is not whole")
    return parser


def called() -> str:
    """How the user called this program, so that printed commands can be typed as they stand."""
    typed = sys.argv[0]
    if Path(typed).name != "minisd" or shutil.which("minisd") == os.path.abspath(typed):
        return "minisd"
    return typed


def command_line(*words: str) -> str:
    """A `minisd` command as one types it: prompts and other arguments with spaces in double quotes."""
    plain = re.compile(r"[\w\-.,'()! ]+")
    return " ".join(
        [called(), *(f'"{w}"' if " " in w and plain.fullmatch(w) else shlex.quote(w) for w in words)]
    )


# minisd paint


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the time that the block takes to seconds[stage]."""
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def paint(args: argparse.Namespace) -> None:
    """Paint what was asked for, save one PNG file, say where it is and how long it took."""
    seeds = range(args.seed, args.seed + (args.grid or 1))
    if seeds[-1] > LARGEST_SEED:
        raise ValueError(
            f"--grid {args.grid} counts its seeds up to {seeds[-1]}, and {LARGEST_SEED} is the largest; "
            "give a smaller --seed"
        )
    check_out(args.out or Path.cwd() / default_name(args))
    given = given_pictures(args)
    seconds: dict[str, float] = {}
    with timed(seconds, "import"):
        from . import sheets  # noqa: F401  used further down; its time belongs here
        from .pipeline import StableDiffusion
    with timed(seconds, "loading"):
        pipe = StableDiffusion.from_pretrained(args.model, *device_and_dtype(args), args.tokenizer)
        learned = add_to(pipe, args)
    if args.guidance is None:
        args.guidance = pipe.guidance_scale
    with timed(
        seconds, "reading"
    ):  # `stream` reads the prompt again, in milliseconds; here its time can be told
        pipe.encode_prompt([*args.prompt, args.negative])
    note_unknown_words(
        args.model,
        [
            re.sub("|".join(map(re.escape, learned)), "", prompt, flags=re.IGNORECASE)
            for prompt in args.prompt
        ],
    )
    painted = paint_all(pipe, args, seeds, given, seconds)
    size = painted[0][-1][1].size
    path = args.out or free_name(Path.cwd() / default_name(args))
    replacing = " (in place of the file that was there)" if path.exists() else ""
    save_png(laid_out(painted, args, seeds), path, parameters(args, seeds, size))
    print(f"painted  {path.absolute()}{replacing}")
    print("took     " + "   ".join(f"{stage} {spent:.2f} s" for stage, spent in seconds.items()))
    print("next     " + "\n         ".join(what_next(args)))


def add_to(pipe, args: argparse.Namespace) -> list[str]:
    """Give a model the files of --lora and --embedding; returns the learned words."""
    from .lora import LoRA, add_embedding

    for path, scale in args.lora:
        LoRA.from_file(path).merge(pipe, scale)
    return [add_embedding(pipe, path) for path in args.embedding]


def device_and_dtype(args: argparse.Namespace) -> tuple:
    """What --device and --dtype stand for; ValueError for a device that this machine does not have."""
    import torch

    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if args.device in there and not there[args.device]():
        raise ValueError(
            f"--device {args.device}: torch finds none on this machine; give cpu, or leave --device out"
        )
    return args.device, getattr(torch, args.dtype)


def given_pictures(args: argparse.Namespace) -> dict:
    """The options of `StableDiffusion.stream` that --image, --strength and --mask stand for."""
    if args.image is None:
        for option in ("strength", "mask"):
            if getattr(args, option) is not None:
                raise ValueError(f"--{option} has no meaning without --image; name the picture to paint over")
        return {}
    args.strength = STRENGTH if args.strength is None else args.strength
    mask = None if args.mask is None else read_picture(args.mask, "--mask")
    return {"image": read_picture(args.image, "--image"), "strength": args.strength, "mask_image": mask}


def read_picture(path: Path, option: str):
    """A picture file, turned as its EXIF data say."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # all that Pillow raises
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(
            f"{option} {path} could not be read ({reason}); name a picture such as a PNG file"
        ) from None


Moments = list[tuple[str, object]]  # of one picture: labels and PIL images, the finished one last


def paint_all(
    pipe, args: argparse.Namespace, seeds: range, given: dict, seconds: dict[str, float]
) -> list[Moments]:
    """Every prompt with every seed, prompt by prompt: for each picture its moments."""
    from tqdm import tqdm

    batches = [(prompt, seeds[i : i + BATCH]) for prompt in args.prompt for i in range(0, len(seeds), BATCH)]
    painted = []
    steps = len(pipe.timesteps(args.steps, args.sampler, given.get("strength", 1.0)))
    # disable=None: no bar where stderr is a file.
    with tqdm(total=len(batches) * steps, desc="painting", unit="step", disable=None, leave=False) as bar:
        for prompt, batch in batches:
            with timed(seconds, "painting"):
                shown = moments_shown(steps) if args.trace else []
                moments = paint_batch(pipe, args, prompt, batch, given, shown, bar.update)
            with timed(seconds, "decoding"):
                painted += decoded(pipe, moments)
    return painted


def paint_batch(
    pipe, args: argparse.Namespace, prompt: str, seeds: range, given: dict, shown: list[int], tick: Callable
) -> Moments:
    """Labels and latents, (batch, 4, height / 8, width / 8), of the moments to show; the finished ones last."""
    moments = []
    for step in pipe.stream(
        [prompt] * len(seeds),
        negative_prompt=args.negative,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance,
        seed=seeds[0],
        sampler=args.sampler,
        eta=args.eta,
        height=args.height,
        width=args.width,
        **given,
    ):
        if step.index in shown:
            moments.append((f"step {step.index + 1}\nt = {step.t:.0f}", step.predicted_original))
        tick()
    # Reading a number off the latents also waits for a GPU to finish, so that the time is the true one.
    if not math.isfinite(float(step.latents.float().sum())):
        raise FloatingPointError(
            f"the picture went beyond what numbers can hold; give a smaller --guidance than {args.guidance:g}"
        )
    return [*moments, ("finished", step.latents)]


def moments_shown(steps: int) -> list[int]:
    """The steps of a strip, evenly spaced from the first on; the finished picture follows as its last."""
    return sorted({i * steps // (MOMENTS - 1) for i in range(MOMENTS - 1)})


def decoded(pipe, moments: list[tuple[str, object]]) -> list[Moments]:
    """Latents of a batch, moment by moment, to pictures, picture by picture."""
    from .pipeline import to_pil

    columns = [[(label, picture) for picture in to_pil(pipe.decode(latents))] for label, latents in moments]
    return [list(row) for row in zip(*columns)]


def laid_out(painted: list[Moments], args: argparse.Namespace, seeds: range):
    """One picture as it is; several, or a grid, as a labelled sheet; traces as strips, one under another."""
    from .sheets import labelled_sheet, stacked

    width = painted[0][-1][1].width
    labels = [
        f"{' '.join(prompt.split()) or '(no words)'}\nseed {seed}" for prompt in args.prompt for seed in seeds
    ]
    if args.trace:
        scale = min(1, STRIP_WIDEST / width)
        return stacked(
            [
                labelled_sheet(
                    [picture for _, picture in moments],
                    [label for label, _ in moments],
                    len(moments),
                    scale,
                    title,
                )
                for moments, title in zip(painted, labels)
            ]
        )
    finished = [moments[-1][1] for moments in painted]
    if args.grid is None and len(finished) == 1:
        return finished[0]
    one_row_each = len(args.prompt) > 1 and 1 < len(seeds) <= 6
    columns = len(seeds) if one_row_each else min(math.ceil(math.sqrt(len(finished))), 6)
    return labelled_sheet(finished, labels, columns, 2 if width < ENLARGED else 1)


def note_unknown_words(model: str, prompts: list[str]) -> None:
    """Say which words of the prompts a model of the little world never read, and what it can paint.

    Such a model says so itself: `minisd train` writes "_world": "minisd.scenes" into model_index.json.
    """
    from .checkpoint import read_json
    from .pipeline import TINY

    index = (TINY if model == "tiny" else Path(model)) / "model_index.json"
    if not index.is_file() or read_json(index).get("_world") != "minisd.scenes":
        return
    from .scenes import unknown_words

    if unknown := unknown_words(" ".join(prompts)):
        note(
            f"this model has never read {', '.join(map(repr, unknown))}: it paints a little world, and this is in it:"
        )
        print(world_in_words(), file=sys.stderr)


def world_in_words() -> str:
    """What captions of the little world can say, a paragraph for each subject, and an example."""
    from .scenes import vocabulary

    known = dict(vocabulary())
    known["places"] = [
        place for place in known["places"] if not place.startswith("on ")
    ]  # those need two blanks
    rows = [(subject, ", ".join(known[subject])) for subject in known if subject != "frames"]
    rows.append(("try", command_line("paint", EXAMPLE)))
    return "\n".join(
        textwrap.fill(
            text,
            88,
            initial_indent=f"      {subject:<9}",
            subsequent_indent=" " * 15,
            break_on_hyphens=False,
            break_long_words=False,
        )
        for subject, text in rows
    )


def what_next(args: argparse.Namespace) -> list[str]:
    """What to try after a picture, in three lines."""
    model = [] if args.model == "tiny" else ["--model", args.model]
    model += ["--tokenizer", str(args.tokenizer)] if args.tokenizer else []
    for path, scale in args.lora:
        model += ["--lora", str(path) if scale == 1 else f"{path}:{scale:g}"]
    return [
        f"another picture  {command_line('paint', ANOTHER, *model)}",
        "the same again   with --trace: a strip of it forming; with --grid 9: nine, from other seeds",
        f"all the options  {command_line('paint', '--help')}",
    ]


# Files


def default_name(args: argparse.Namespace) -> str:
    """A file's name that tells what is on it: a-red-house-and-2-more-seeds-0-to-8-trace.png."""
    words = "-".join(re.findall(r"[^\W_]+", args.prompt[0].lower())).encode()
    start = words[:NAME_BYTES].decode(errors="ignore")
    if len(words) > NAME_BYTES and "-" in start:
        start = start.rpartition("-")[0]  # whole words
    parts = [start or "picture"]
    if len(args.prompt) > 1:
        parts.append(f"and-{len(args.prompt) - 1}-more")
    parts.append(
        f"seed-{args.seed}" if args.grid is None else f"seeds-{args.seed}-to-{args.seed + args.grid - 1}"
    )
    return "-".join([*parts, *(["trace"] if args.trace else [])]) + ".png"


def free_name(path: Path) -> Path:
    """The path, or the first of name-2, name-3 ... that no file has."""
    free, n = path, 2
    while free.exists():
        free, n = path.with_name(f"{path.stem}-{n}{path.suffix}"), n + 1
    return free


def check_out(path: Path) -> None:
    """Raise, before any work is done, if no PNG file can be written there."""
    if path.suffix.lower() != ".png":
        raise ValueError(f"--out {path}: pictures are written as PNG; give a name that ends in .png")
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path.parent}; make it first, or name another place with --out"
        )
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(
            f"the folder {path.parent} is not yours to write in; name another place with --out"
        )


def save_png(picture, path: Path, text: str) -> None:
    """Write a PNG file with its parameters, under another name first: no half-written file is left."""
    from PIL.PngImagePlugin import PngInfo

    from .files import whole as written_whole

    info = PngInfo()
    info.add_text("parameters", text)  # a tEXt chunk; iTXt by itself where Latin-1 has not all the letters
    try:
        with written_whole(path) as part:
            picture.save(part, format="PNG", pnginfo=info)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"{path} could not be written ({reason}); name another place with --out") from None


def parameters(args: argparse.Namespace, seeds: range, size: tuple[int, int]) -> str:
    """What made the picture, in the format of AUTOMATIC1111's web UI, which many programs read.

    Prompts, one a line; the negative prompt; then `Steps: 30, Sampler: DDIM, ...` in one line.
    """
    path = Path(args.model)
    model = args.model if args.model == "tiny" else path.stem if path.is_file() else path.resolve().name
    facts = {
        "Steps": args.steps,
        "Sampler": SAMPLER_NAMES[args.sampler],
        "CFG scale": f"{args.guidance:g}",
        "Seed": seeds[0],
        "Size": f"{size[0]}x{size[1]}",
        "Model": model,
    }
    if args.image:
        facts["Denoising strength"] = f"{args.strength:g}"
    if args.eta:
        facts["Eta DDIM"] = f"{args.eta:g}"
    if args.lora:
        facts["LoRA"] = ", ".join(f"{path.stem} at {scale:g}" for path, scale in args.lora)
    if args.embedding:
        facts["Embeddings"] = ", ".join(path.stem for path in args.embedding)
    if len(seeds) > 1:
        facts["Seeds"] = ", ".join(map(str, seeds))
    facts["Version"] = f"minisd {__version__}"
    lines = [*args.prompt, *([f"Negative prompt: {args.negative}"] if args.negative else [])]
    return "\n".join([*lines, ", ".join(f"{name}: {quoted(str(value))}" for name, value in facts.items())])


def quoted(value: str) -> str:
    """In double quotes if the value holds what separates one from the next."""
    if not set(value) & set(',:"\n'):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


# minisd train


def train(args: argparse.Namespace) -> None:
    """Train the stages asked for, one after another."""
    if args.out.exists() and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out} is a file; name a folder")
    recipe = checked_recipe(args.config)
    from .training.stages import Training

    training = Training(recipe, args.out, cpu=args.cpu)
    for name in STAGES[args.stage]:
        start = time.perf_counter()
        getattr(training, name)()
        print(f"{name:<10} {time.perf_counter() - start:8.1f} s")
    if "export" in STAGES[args.stage]:
        print(f"the model  {(args.out / 'model').absolute()}")
        print(f"next       {command_line('paint', EXAMPLE, '--model', str(args.out / 'model'))}")


def checked_recipe(path: Path) -> dict:
    """The training config; ValueError, in one line, for one that can't be read or lacks a section."""
    import tomllib

    if not path.is_file():
        raise FileNotFoundError(f"there is no config {path}; leave --config out to train tiny")
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a TOML file ({error})") from None
    if missing := [key for key in RECIPE_KEYS if key not in recipe]:
        raise ValueError(f"{path} lacks {', '.join(missing)}; compare it with {TINY_RECIPE}")
    return recipe


# minisd download


def download(args: argparse.Namespace) -> None:
    """Fetch a published model and say where it is."""
    from .hub import PUBLISHED, fetch

    folder = fetch(args.model, fp16=args.fp16, dest=args.dest)
    name = str(folder) if args.dest else PUBLISHED[args.model].repo if args.model in PUBLISHED else args.model
    print(f"the model  {folder}")
    print(f"next       {command_line('paint', ASTRONAUT, '--model', name)}")


# minisd verify


def verify(args: argparse.Namespace) -> int:
    """Print the report on a model; 1 if a check failed."""
    import torch

    from .verify import verify as report

    failed = 0
    for line in report(
        args.model, args.device, getattr(torch, args.dtype), args.release, args.seconds, args.tokenizer
    ):
        print(f"{line.result:<8} {line.subject:<22} {line.figures}", flush=True)
        failed += line.result == "FAILED"
    print(f"{failed or 'no'} check{'s'[: failed != 1]} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
