"""`minisd train`: the models that paint, from nothing."""

import argparse
from pathlib import Path
from typing import Any

from .. import console
from ..training.recipe import STAGES, TINY_RECIPE, read_recipe
from .hints import EXAMPLE, command_line
from .options import checked_device, computing


def add_parser(commands: Any) -> None:
    """Add `minisd train` to the commands."""
    parser = commands.add_parser(
        "train",
        parents=[computing()],
        help="train the models from nothing",
        description="Train one part, or all in order, and write a model folder to OUT/model at the end. A "
        "training that was stopped goes on from its last checkpoint when the same command is given again.",
    )
    add = parser.add_argument
    add(
        "stage",
        choices=tuple(STAGES),
        metavar="|".join(STAGES),
        help="what to train; each needs those before it",
    )
    add(
        "--config",
        type=Path,
        default=TINY_RECIPE,
        metavar="FILE",
        help="sizes and steps (default: tiny.toml)",
    )
    add(
        "--out",
        type=Path,
        default=Path("runs/tiny"),
        metavar="FOLDER",
        help="where everything goes (runs/tiny)",
    )
    parser.set_defaults(run=train, stopped="the same command goes on from the last checkpoint")


def train(args: argparse.Namespace, notes: list[str]) -> int:
    """Train the stages asked for, one after another, and say how long each took."""
    recipe = read_recipe(args.config)
    if args.out.exists() and not args.out.is_dir():
        raise NotADirectoryError(f"--out {args.out} is a file; name a folder")
    device = checked_device(args)
    from ..training.stages import Training

    def report(name: str, seconds: float) -> None:
        console.say(f"{name:<10} {seconds:8.1f} s")

    training = Training(recipe, args.out, device=device, dtype=args.dtype)
    training.train(*STAGES[args.stage], report=report)
    if "export" in STAGES[args.stage] and training.processes.is_main_process:
        model = args.out / "model"
        console.say(f"the model  {model.absolute()}")
        console.say(f"next       {command_line('paint', EXAMPLE, '--model', str(model))}")
    return 0
