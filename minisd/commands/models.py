"""`minisd download`, `minisd verify` and `minisd export`: models fetched, checked and passed on."""

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from .. import __version__, console
from ..notes import note
from .hints import ASTRONAUT, command_line
from .options import DTYPES, checked_device, chosen_dtype, computing, load_torch, number, reporting

RELEASES = ("v1-1", "v1-2", "v1-3", "v1-4", "v1-5")  # of Stable Diffusion, for `minisd verify --as`
FAULT = 1  # the exit code of a command that found one


def add_parsers(commands: Any) -> None:
    """Add the three to the commands."""
    add_download(commands)
    add_verify(commands)
    add_export(commands)


# minisd download


def add_download(commands: Any) -> None:
    """The options of `minisd download`."""
    parser = commands.add_parser(
        "download",
        help="fetch a published model",
        description="Fetch a published model from the Hugging Face hub, only the files that are needed, and "
        "check every byte. One that was stopped goes on when the same command is given again. "
        "Try: minisd download sd15 --fp16",
    )
    add = parser.add_argument
    add(
        "model",
        metavar="sd15|v1-4|OWNER/NAME",
        help="Stable Diffusion 1.5 or 1.4, or another repository of the hub",
    )
    add("--fp16", action="store_true", help="weights in half precision (2.1 GB instead of 4.3)")
    add("--dest", type=Path, metavar="FOLDER", help="a folder to fill (default: the hub's own cache)")
    parser.set_defaults(run=download, stopped="the same command fetches the rest")


def download(args: argparse.Namespace, notes: list[str]) -> int:
    """Fetch a published model and say where it is."""
    from ..hub import PUBLISHED, fetch

    folder = fetch(args.model, fp16=args.fp16, dest=args.dest)
    name = str(folder) if args.dest else PUBLISHED[args.model].repo if args.model in PUBLISHED else args.model
    console.say(f"the model  {folder}")
    console.say(f"next       {command_line('paint', ASTRONAUT, '--model', name)}")
    return 0


# minisd verify


def add_verify(commands: Any) -> None:
    """The options of `minisd verify`."""
    parser = commands.add_parser(
        "verify",
        parents=[computing(), reporting()],
        help="check a model, and print a report",
        description="Check that a model is whole and, for Stable Diffusion 1.x, that minisd paints with it "
        "what diffusers paints: three steps a picture, minutes on a CPU. Exit code 1 if a check failed.",
    )
    add = parser.add_argument
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
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="a folder with merges.txt, for a FILE that has none beside it",
    )
    add(
        "--seconds", type=number, default=math.inf, metavar="S", help="begin no picture after so many seconds"
    )
    parser.set_defaults(run=verify, stopped="the report is not whole")


def verify(args: argparse.Namespace, notes: list[str]) -> int:
    """Print the report on a model; 1 if a check failed."""
    device = checked_device(args)
    from ..verify import verify as checked

    lines = []
    for line in checked(args.model, device, chosen_dtype(args), args.release, args.seconds, args.tokenizer):
        lines.append(line)
        if not args.json:
            console.say(f"{line.result:<8} {line.subject:<22} {console.printable(line.figures)}")
    failed = sum(line.result == "FAILED" for line in lines)
    if args.json:
        report = {
            "model": args.model,
            "failed": failed,
            "lines": [dataclasses.asdict(line) for line in lines],
        }
        console.say(json.dumps(report | {"notes": notes, "version": __version__}, indent=2))
    else:
        console.say(f"{failed or 'no'} check{'' if failed == 1 else 's'} failed")
    return FAULT if failed else 0


# minisd export


def add_export(commands: Any) -> None:
    """The options of `minisd export`."""
    parser = commands.add_parser(
        "export",
        help="write a model as one file",
        description="Write a model as one .safetensors file in the layout of the original code, which "
        "ComfyUI, AUTOMATIC1111's web UI and stable-diffusion.cpp open.",
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="tiny, a folder, a file, or a hub's OWNER/NAME")
    add("file", type=Path, metavar="FILE.safetensors", help="the file to write")
    add("--dtype", choices=DTYPES, default="float32", help="of the weights in the file (float32)")
    add("--vae", type=Path, metavar="FILE", help="another VAE than the model's")
    add(
        "--tokenizer",
        type=Path,
        metavar="FOLDER",
        help="a folder with merges.txt, for a MODEL that is a file with none beside it",
    )
    add("--force", action="store_true", help="replace FILE if it is there")
    parser.set_defaults(run=export, stopped="no file was written")


def export(args: argparse.Namespace, notes: list[str]) -> int:
    """Write a model as one file and say where it is; a file that is there is kept, unless --force."""
    path = args.file
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: models are written as safetensors; give a name that ends in .safetensors")
    if path.exists() and not args.force:
        raise FileExistsError(f"{path} is there already; name another file, or replace it with --force")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; make it first")
    load_torch()
    from ..pipeline import StableDiffusion

    pipe = StableDiffusion.from_pretrained(args.model, device="cpu", tokenizer=args.tokenizer, vae=args.vae)
    if pipe.controlnet is not None:
        note("the model's ControlNet is left out: in this layout it has a file of its own")
        pipe.controlnet = None
    pipe.save_pretrained(path, chosen_dtype(args))
    console.say(f"the model  {path.absolute()}, {path.stat().st_size:,} bytes")
    return 0
